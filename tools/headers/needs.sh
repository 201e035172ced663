# SPDX-License-Identifier: GPL-2.0
# Sourced after tools/env/lib.sh: what it takes to build on a distribution's headers. What is
# missing ends the script, with a sentence that says what to install.
# shellcheck shell=bash

setting() { sed -n "s/^CONFIG_$1=\"\?\([^\"]*\)\"\?$/\1/p" "$headers/include/config/auto.conf"; }

# distribution: the column of the table that this machine is in, or nothing.
distribution() {
	local id
	for id in $(. /etc/os-release && echo "${ID-} ${ID_LIKE-}"); do
		case $id in
		arch) echo arch; return ;;
		fedora | rhel) echo fedora; return ;;
		ubuntu | debian) echo ubuntu; return ;;
		esac
	done
}

# to_install WHAT: the command that installs it.
to_install() {
	local name pkgbase
	pkgbase=$(cat "/usr/lib/modules/$release/pkgbase" 2>/dev/null || echo linux)
	name=$(awk -v what="$1" -v column="$(distribution)" '
		$2 == "what" { for (i = 3; i <= NF; i++) if ($i == column) at = i - 1 }
		$1 == what && at && $at != "-" { print $at }' "$TOP/tools/headers/packages" |
		sed -e "s/PKGBASE/$pkgbase/" -e "s/RELEASE/$release/")
	case $name/$(distribution) in
	/*) echo "Install your distribution's package of it ($1)." ;;
	*/arch) echo "As root: pacman -S $name" ;;
	*/fedora) echo "As root: dnf install $name" ;;
	*/ubuntu) echo "As root: apt install $name" ;;
	esac
}

need_command() { command -v "$1" >/dev/null || die "'$1' is missing" "$(to_install "$1")"; }

need_headers() {
	[ -e "$headers/include/config/auto.conf" ] ||
		die "no kernel's headers are in $headers" "$(to_install headers)"
	release=$(cat "$headers/include/config/kernel.release")
	version=$(sed -n 's/^#define LINUX_VERSION_\(MAJOR\|PATCHLEVEL\|SUBLEVEL\) //p' \
		"$headers/include/generated/uapi/linux/version.h" | paste -sd .)
}

need_kernel() {
	[ "$(printf '%s\n' "$KERNEL_OLDEST" "$version" | sort -V | head -n 1)" = "$KERNEL_OLDEST" ] ||
		die "linux $release is too old" "The driver needs $KERNEL_OLDEST or later."
	[ "$(setting RUST)" = y ] ||
		die "linux $release was built without support for Rust (CONFIG_RUST)" \
			"Boot another kernel: no module in Rust can be built for this one."
	[ "$(setting IOMMUFD)" != y ] ||
		die "linux $release has its iommufd built in (CONFIG_IOMMUFD=y)" \
			"No module can take its place: boot a kernel that has it as a module, or none."
}

# Metadata of Rust code is only good for the compiler that made it, to the last letter.
need_rustc() {
	local text candidate
	text=$(setting RUSTC_VERSION_TEXT)
	for candidate in ${RUSTC-} rustc /usr/bin/rustc /usr/bin/rustc-[0-9]* /usr/lib/rust-*/bin/rustc; do
		[ "$("$candidate" --version 2>/dev/null)" != "$text" ] || { rustc=$candidate; return; }
	done
	die "linux $release was built with '$text', and no such rustc is here" \
		"$(to_install rustc), in that version; RUSTC=/path/to/rustc names one that is elsewhere." \
		"The same version from somebody else, such as rustup, will not do."
}

# The kernel's C compiler, as near as it is here: what differs shows when it is used.
need_compilers() {
	local text candidate
	need_command make
	if [ "$(setting CC_IS_CLANG)" = y ]; then
		need_command clang
		need_command ld.lld
		tools="LLVM=1"
	else
		text=$(setting CC_VERSION_TEXT)
		for candidate in "${text%% *}" "gcc-$(($(setting GCC_VERSION) / 10000))" gcc; do
			! command -v "$candidate" >/dev/null || break
		done
		need_command "$candidate"
		tools="CC=$candidate HOSTCC=$candidate"
	fi
	bindgen=$(compgen -c bindgen | grep -xE 'bindgen(-[0-9.]+)?' | sort -rV | head -n 1) || :
	need_command "${bindgen:-bindgen}"
	tools+=" RUSTC=$rustc HOSTRUSTC=$rustc BINDGEN=$bindgen"
}

has_metadata() { [ -e "$headers/rust/libkernel.rmeta" ]; }

# Headers that come without the metadata: it is made, of the whole source.
need_metadata() {
	! has_metadata || return 0
	if [ -L "$headers/rust" ] && [ "$(distribution)" = ubuntu ]; then
		die "the Rust metadata of linux $release is not installed" "$(to_install metadata)"
	fi
	say "the headers of linux $release come without Rust metadata: it is made from the source"
	for tool in bc bison flex; do
		need_command $tool
	done
	[ -e "$("$rustc" --print sysroot)/lib/rustlib/src/rust/library/core/src/lib.rs" ] ||
		die "the source of Rust's standard library is missing" "$(to_install rust-src)"
}

# Headers of the IOMMU core, and assembly that macros of the kernel's crate read, are in the
# source alone.
need_source() {
	local candidate
	shopt -s nullglob
	for candidate in ${1:+"$1"} "$headers" "$headers/source" "/usr/src/linux-$version" \
		"/usr/src/linux-$version".tar.* "/usr/src/linux-source-$version".tar.* \
		"/usr/src/linux-source-${release%%-*}".tar.* "/usr/src/linux-source-${version%.*}".tar.*; do
		if [ -f "$candidate" ] || [ -e "$candidate/drivers/iommu/iommu-priv.h" ]; then
			source=$(realpath "$candidate")
			return
		fi
		[ -z "${1-}" ] || die "$1 is not a kernel's source" "KSRC= names a folder or a tarball of it."
	done
	die "the source of linux $version is needed, for $(why_source)" \
		"Put it into /usr/src, or say KSRC=/path/to/it (a folder or a tarball). It is" "$(where_source)"
}

why_source() {
	if has_metadata; then
		echo "a few files that no distribution installs"
	else
		echo "the Rust metadata that is not with its headers"
	fi
}

where_source() {
	case $(distribution) in
	ubuntu) echo "in the package linux-source (as root: apt install linux-source-${release%%-*})." ;;
	fedora) echo "linux-*.tar.xz in the kernel's source package (dnf download --source kernel-$version)." ;;
	*) echo "https://www.kernel.org/pub/linux/kernel/v${version%%.*}.x/linux-${version%.0}.tar.xz" ;;
	esac
}

# A VMM wants device files; who has groups alone uses those.
tell_of_groups() {
	[ "$(setting IOMMUFD)" != m ] || [ "$(setting VFIO_DEVICE_CDEV)" = y ] ||
		say "the VFIO of linux $release has no device files (CONFIG_VFIO_DEVICE_CDEV):" \
			"devices are to be had by their groups only"
}

# look HEADERS [SOURCE]: sets release, version, rustc, tools and source.
look() {
	headers=$1
	release=$(uname -r)
	need_headers
	need_kernel
	need_rustc
	need_compilers
	need_metadata
	need_source "${2-}"
	tell_of_groups
}
