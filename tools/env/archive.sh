# SPDX-License-Identifier: GPL-2.0
# Sourced after lib.sh: Debian trees, made of what the archive has that this
# machine itself installs from.
# shellcheck shell=bash

# The machine's own apt configuration, with state of our own: works for anybody
# and before anyone ever ran "apt-get update".
host_apt() {
	local state=$CACHE/apt
	mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
	apt-get -o Dir::State::lists="$state/lists" -o Dir::Cache="$state/cache" \
		-o Debug::NoLocking=1 -o APT::Sandbox::User=root \
		-o APT::Update::Post-Invoke= -o APT::Update::Post-Invoke-Success= "$@"
}

# mmdebstrap is one perl script: unpacked into the cache, nothing is installed.
fetch_mmdebstrap() {
	command -v mmdebstrap >/dev/null && return
	[ ! -x "$CACHE/host/usr/bin/mmdebstrap" ] || return 0
	cd "$CACHE/apt"
	host_apt download mmdebstrap
	dpkg-deb --extract mmdebstrap_*.deb "$CACHE/host"
}

# The archive that this machine itself installs from, if it is Debian's.
mirror() {
	host_apt indextargets --format '$(CREATED_BY) $(ORIGIN) $(LABEL) $(SITE)' 2>/dev/null |
		awk '$1 == "Packages" && $2 == "Debian" && $3 == "Debian" { print $4; exit }'
}

# bootstrap DIR [OPTION]...: a minimal tree of the release, with backports at hand. Options are
# mmdebstrap's.
bootstrap() {
	local dir=$1 tmp=$1.new url tool mode=root
	shift
	url=$(mirror)
	tool=$(command -v mmdebstrap || echo "$CACHE/host/usr/bin/mmdebstrap")
	[ "$(id -u)" -eq 0 ] || mode=unshare
	rm -rf --one-file-system "$tmp" 2>/dev/null || unshare --map-root-user --map-auto rm -rf "$tmp"
	mkdir -p "$tmp"
	# Without an address, the tool writes its own default; backports follow it.
	perl "$tool" --mode=$mode --variant=apt --skip=check/qemu --components=main \
		--include=ca-certificates \
		--aptopt='Acquire::Retries "5"' --aptopt='APT::Install-Recommends "false"' \
		--aptopt='APT::Sandbox::User "root"' --dpkgopt=force-unsafe-io \
		"$@" "$SUITE" - ${url:+"$url"} >"$tmp.tar"
	if [ "$(id -u)" -eq 0 ]; then
		tar -C "$tmp" --numeric-owner -xpf "$tmp.tar"
	else
		unshare --map-root-user --map-auto \
			tar -C "$tmp" --numeric-owner --exclude='./dev/*' -xpf "$tmp.tar"
	fi
	rm -f "$tmp.tar"
	(
		cd "$tmp/etc/apt"
		sed -n "s/ $SUITE / $BACKPORTS /p" sources.list >sources.list.d/backports.list
		sort -u -o sources.list.d/backports.list sources.list.d/backports.list
	)
	mv "$tmp" "$dir"
}

# run_in TREE COMMAND...: run it there, with the network. What it installs is not started.
run_in() {
	# shellcheck disable=SC2016
	"$TOP/tools/env/enter" sh -euc '
		tree=$1
		shift
		mount -t proc proc "$tree/proc"
		mount --rbind /dev "$tree/dev"
		cp /etc/resolv.conf /etc/hosts "$tree/etc/"
		printf "#!/bin/sh\nexit 101\n" >"$tree/usr/sbin/policy-rc.d"
		chmod +x "$tree/usr/sbin/policy-rc.d"
		chroot "$tree" "$@"
		chroot "$tree" apt-get clean
		rm "$tree/usr/sbin/policy-rc.d"
	' sh "$@"
}

# install_into TREE ARG...: what apt-get is told to install there.
install_into() {
	local tree=$1
	shift
	run_in "$tree" apt-get update
	run_in "$tree" apt-get install -y --no-install-recommends "$@"
}
