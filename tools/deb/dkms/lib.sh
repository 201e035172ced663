# SPDX-License-Identifier: GPL-2.0
# Sourced by the scripts beside it, on the machine that the package is installed on: what
# they ask of a kernel, of packages and of compilers.
# shellcheck shell=bash

PATH=/usr/sbin:/usr/bin:/sbin:/bin
IOMMUFD_CACHE=/var/cache/iommufd-dkms
# shellcheck source=../../env/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../env/lib.sh"
LOG=/var/log/iommufd-dkms.log

# series_of RELEASE: 7.3 of 7.3.4+deb13-amd64, whose source is in linux-source-7.3.
series_of() { sed 's/^\([0-9]*\.[0-9]*\).*/\1/' <<<"$1"; }

headers_of() { echo "/lib/modules/$1/build"; }

# setting RELEASE NAME: its value in that kernel's configuration.
setting() { sed -n "s/^CONFIG_$2=\"\?\([^\"]*\)\"\?$/\1/p" "$(headers_of "$1")/.config"; }

# version PACKAGE: what of it is installed.
version() { dpkg-query --show --showformat '${Version}' "$1" 2>/dev/null || :; }

# offered PACKAGE PREFIX: the newest version that apt knows and that begins so.
offered() {
	apt-cache madison "$1" 2>/dev/null |
		awk -v prefix="$2" 'index($3, prefix) == 1 { print $3; exit }'
}

# find_rustc TEXT: the compiler that says this of its version. Metadata of Rust code is
# only good for the very compiler that made it, so that an update of "rustc" takes it away:
# but there may be others. Root runs it, so that nobody's home is looked into.
find_rustc() {
	local rustc
	for rustc in /usr/bin/rustc /usr/bin/rustc-* /usr/lib/rust-*/bin/rustc /usr/local/bin/rustc \
		/opt/rust*/bin/rustc; do
		[ "$("$rustc" --version 2>/dev/null)" = "$1" ] || continue
		echo "$rustc"
		return
	done
	return 1
}

# rust_library RUSTC: the source of its library, without which no kernel's can be built.
rust_library() { readlink -f "$("$1" --print sysroot)/lib/rustlib/src/rust"; }

# rust_packages NUMBER: what apt is to be told for the compiler of that version to come.
# Whatever is of the same source goes along: it cannot stay behind.
rust_packages() {
	local name found
	{
		printf '%s\n' rustc libstd-rust-dev rust-src
		dpkg-query --show --showformat '${source:Package} ${db:Status-Status} ${Package}\n' |
			sed -n 's/^rustc installed //p'
	} | sort -u | while read -r name; do
		found=$(offered "$name" "$1+")
		[ -z "$found" ] || [ "$found" = "$(version "$name")" ] || printf ' %s=%s' "$name" "$found"
	done
}
