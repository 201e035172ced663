# SPDX-License-Identifier: GPL-2.0
# Shared by the scripts beside it: where things are, and how to speak to a person.
# shellcheck shell=bash

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=config
. "$TOP/tools/env/config"

CACHE=${IOMMUFD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/iommufd}
SANDBOX=$CACHE/sandbox
[ "$IOMMUFD_DEBIAN" = trixie ] || SANDBOX+=.$IOMMUFD_DEBIAN
LOG=$CACHE/setup.log

say() { printf '%s\n' "$*" >&2; }

# die MESSAGE [WHAT TO DO ABOUT IT]
die() {
	say "error: $1"
	shift
	[ $# -eq 0 ] || printf '       %s\n' "$@" >&2
	exit 1
}

# machine_arch: the Debian name of this machine's architecture.
machine_arch() {
	case $(uname -m) in
	x86_64) echo amd64 ;;
	aarch64) echo arm64 ;;
	*) die "no support for building on $(uname -m)" "Use an x86-64 or arm64 machine." ;;
	esac
}

# debian_arch NAME: a kernel or Debian architecture name, as Debian spells it.
debian_arch() {
	case ${1:-$(machine_arch)} in
	amd64 | x86_64 | x86) echo amd64 ;;
	arm64 | aarch64) echo arm64 ;;
	*) die "unknown ARCH '$1'" "Known: amd64 (x86_64), arm64." ;;
	esac
}

# set_toolchain ARCH: set karch, the kernel's name for ARCH, srcarch, that of its folder in the
# source, and cross, the prefix of its tools; arch32, which its kernels run the programs of,
# too, and the compiler for that one.
set_toolchain() {
	case $1 in
	amd64)
		karch=x86_64 srcarch=x86 cross=x86_64-linux-gnu-
		arch32=i386 cc32=i686-linux-gnu-$GCC
		;;
	arm64)
		karch=arm64 srcarch=arm64 cross=aarch64-linux-gnu-
		arch32=armhf cc32="arm-linux-gnueabihf-$GCC -march=armv7ve+fp"
		;;
	esac
	: "$karch" "$srcarch" "$cross" "$arch32" "$cc32"
}

# kernel_release ARCH [KERNEL]: the release that the set-up chose for ARCH, or nothing; that of
# the checking kernel KERNEL, built or not; or KERNEL, if it is a release itself.
kernel_release() {
	local release
	release=$(cat "$CACHE/release.$1" 2>/dev/null) || :
	case ${2:-stock} in
	[0-9]*) release=$2 ;;
	stock) ;;
	*) [ -z "$release" ] || release=$(checking_release "$release" "$2") ;;
	esac
	[ -n "$release" ] && echo "$release"
}

# series_of RELEASE: linux-source-7.3 is the source of 7.3.4+deb13-amd64.
series_of() { sed 's/^\([0-9]*\.[0-9]*\).*/\1/' <<<"$1"; }

# of_release RELEASE: from here on, all is done in the sandbox of that release of Debian which the
# kernel is of, with the compiler that builds its kernels.
of_release() {
	case $1 in
	*+deb13*) IOMMUFD_DEBIAN=trixie ;;
	[0-9]*-amd64 | [0-9]*-arm64) IOMMUFD_DEBIAN=sid ;;
	*) return 0 ;;
	esac
	export IOMMUFD_DEBIAN
	. "$TOP/tools/env/lib.sh"
}

# refuse_old RELEASE: before anything is done for a kernel that cannot have the modules.
refuse_old() {
	local older
	older=$(printf '%s\n' "$KERNEL_OLDEST" "$1" | sort -V | head -n 1)
	[ "$older" = "$KERNEL_OLDEST" ] ||
		die "there are no modules for linux $1: Debian has Rust in its kernels from $KERNEL_OLDEST on" \
			"Boot a kernel of $BACKPORTS."
}

# iommufd_exports SOURCE: the names that the kernel's source has iommufd export, as modules
# that import from it are checked against.
iommufd_exports() {
	sed -n 's/^EXPORT_SYMBOL_NS_GPL(\(.*\), "\(.*\)");/0x00000000\t\1\tdrivers\/iommu\/iommufd\/iommufd\tEXPORT_SYMBOL_GPL\t\2/p' \
		"$1"/drivers/iommu/iommufd/*.c
}

# Kernels that are built here, from the source of the stock one, for what they check.
CHECKING_KERNELS="debug kcsan"

# checking_kernel NAME: true if it is one of those.
checking_kernel() { [[ " $CHECKING_KERNELS " = *" $1 "* ]]; }

# checking_config ARCH NAME: the configuration of that kernel. It is the debug kernel's but
# for the lines of a file of its own, and of one for the architecture.
checking_config() {
	local file names=
	for file in "$2.$1" "$2" "debug.$1" debug; do
		file=$TOP/tools/testing/vm/$file.config
		[ -e "$file" ] || continue
		grep -vFf <(printf %s "$names") "$file" || :
		names+=$(grep -o '^CONFIG_[A-Z0-9_]*=' "$file")$'\n'
	done
}

# checking_home RELEASE NAME: where that kernel is, or will be. Another configuration
# makes another kernel.
checking_home() {
	echo "$CACHE/kernel/$1/$2.$(checking_config "${1##*-}" "$2" | cksum | cut -d ' ' -f 1)"
}

# checking_release RELEASE KERNEL: what that kernel calls itself.
checking_release() {
	local suffix
	suffix=$(checking_config "${1##*-}" "$2" | sed -n 's/^CONFIG_LOCALVERSION="\(.*\)"$/\1/p')
	echo "${1%%[+~-]*}${suffix##*$'\n'}"
}

# step LABEL COMMAND...: run it, its output to the log, with a sign of life. It ends, with
# all that it has started, when the script is made to.
step() {
	local label=$1 start=$SECONDS pid rc last
	shift
	printf '\n== %s\n' "$label" >>"$LOG"
	say "  - $label"
	set -m
	"$@" >>"$LOG" 2>&1 </dev/null &
	set +m
	pid=$!
	# shellcheck disable=SC2064
	trap "kill -- -$pid" EXIT
	while kill -0 $pid 2>/dev/null; do
		sleep 1
		last=$(tail -n 1 "$LOG" | tr -d '\r' | cut -c 1-60)
		if [ -t 2 ]; then
			printf '\r    %4d s  %-60s' $((SECONDS - start)) "$last" >&2
		elif [ $(((SECONDS - start) % 30)) -eq 29 ]; then
			say "    $((SECONDS - start)) s: $last"
		fi
	done
	rc=0
	wait $pid || rc=$?
	trap - EXIT
	[ ! -t 2 ] || printf '\r%78s\r' '' >&2
	if [ $rc -ne 0 ]; then
		say "    failed after $((SECONDS - start)) s; the end of $LOG:"
		tail -n 25 "$LOG" | sed 's/^/    | /' >&2
		exit $rc
	fi
	say "    done in $((SECONDS - start)) s"
}
