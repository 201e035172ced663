# SPDX-License-Identifier: GPL-2.0
# Shared by the lints beside it. Each prints what it checked, and for each
# finding "file:line: what is wrong and what to do", and fails if there was one.
# shellcheck shell=bash
. "$(dirname "${BASH_SOURCE[0]}")/../env/lib.sh"
cd "$TOP"

# shellcheck disable=SC2034
SOURCE=$CACHE/kernel/$(kernel_release "$(machine_arch)")/source

in_sandbox() { "$TOP/tools/env/enter" "$@"; }

# files [PATTERN]...: the repository's files, new ones too. A checkout that is
# someone else's is read all the same.
files() {
	git -c safe.directory="$TOP" ls-files --cached --others --exclude-standard \
		--deduplicate -- "$@" | while read -r file; do
		[ ! -f "$file" ] || echo "$file"
	done
}

# findings WHAT_TO_DO: pass findings through; fail, with the advice, if there were any.
findings() {
	local found
	found=$(cat)
	[ -n "$found" ] || return 0
	printf '%s\n' "$found"
	printf 'To do: %s\n' "$*"
	return 1
}
