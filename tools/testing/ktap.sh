# SPDX-License-Identifier: GPL-2.0
# For suites written in shell: run tests one by one and print their results as
# KTAP. For bash, and for busybox's shell in the guest.
# shellcheck shell=bash

ktap_number=0
ktap_failed=0

# ktap_plan COUNT: how many results will follow.
ktap_plan() {
	echo "KTAP version 1"
	echo "1..$1"
}

# ktap_test NAME COMMAND [ARG]...: one result. The command runs in a shell of its
# own under "set -e", where its first failure ends it; what it prints is shown.
ktap_test() {
	local name=$1 ktap_said status
	ktap_said=$(mktemp)
	shift
	ktap_number=$((ktap_number + 1))
	set +e
	(set -eu -o pipefail; "$@") >"$ktap_said" 2>&1 </dev/null
	status=$?
	set -e
	sed 's/^/# /' "$ktap_said"
	rm -f "$ktap_said"
	if [ $status -eq 0 ]; then
		echo "ok $ktap_number $name"
	else
		echo "not ok $ktap_number $name"
		ktap_failed=$((ktap_failed + 1))
	fi
}

# ktap_end: the suite's exit status.
ktap_end() {
	exit $((ktap_failed > 0))
}
