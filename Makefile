# SPDX-License-Identifier: GPL-2.0
# Short names for what people and CI do here. The work itself is in tools/.

MAKEFLAGS += --no-print-directory --no-builtin-rules

opt = $(if $($(1)),--$(2) '$($(1))')
flag = $(if $($(1)),--$(2))
target_options = $(call opt,ARCH,arch) $(call opt,KERNEL,kernel)

.PHONY: help setup modules programs iommuctl deb dist demo check fuzz bench lint htmldocs screens install uninstall clean clean-cache

help:
	@sed -n 's/^#: \?//p' $(firstword $(MAKEFILE_LIST))

#: make demo       see a PCI device do DMA through an address space of this driver
#:                 (15 s; the first time also the set-up); DEVICE=nvme: read a drive
#: make check      everything CI runs (an hour); SUITE=name for one suite,
#:                 'tools/testing/check --list' names them; CHANGED=1 for those that what you
#:                 changed can make fail; PROFILE=1 says what took how long; MATRIX=full
#:                 adds what takes hours: more machines, more kernels, longer runs
#: make fuzz       calls against a model, for hours (SECONDS=28800), or CALLS=1000000;
#:                 KERNEL=debug for that kernel, SEED=N repeats a run
#: make bench      this driver, VFIO type1 and mainline's C iommufd side by side
#:                 (9 minutes); QUICK=1 for the main rows, WALL=1 for real time
#: make modules    build/<kernel release>/*.ko for the stock kernel (10 s)
#:                 ARCH=arm64 for another machine; KERNEL=<release> for another kernel of Debian's,
#:                 from 7.2 on, which is fetched and prepared first (3 minutes); KERNEL=debug;
#:                 KDIR=/usr/lib/modules/<release>/build [KSRC=<source>] for the kernel of
#:                 another distribution, on its own headers and with its compilers
#: make programs   build/bin/<arch>/: sample VMM and selftests (5 s); ARCH=arm64
#: make iommuctl   build/bin/<arch>/iommuctl, which says who maps what, and what is wrong
#:                 (1 minute)
#: make deb        build/deb/*.deb: the modules for DKMS to build on the machine that they
#:                 are installed on, and iommuctl (1 minute)
#: make dist       build/dist/: the sources packed, with a PKGBUILD for Arch Linux and a spec for
#:                 Fedora, for makepkg and rpmbuild
#: make lint       formatting, clippy, checkpatch, SPDX, layering, documentation, ...
#:                 (1 minute)
#: make htmldocs   Documentation/ as HTML, in build/htmldocs (10 s)
#: make screens    take the manual's pictures of iommuctl anew (1 minute)
#: make setup      the sandbox, the toolchain and the kernel that all of the above use,
#:                 once (10 minutes, 6 GB, outside the checkout); they run it by themselves
#:                 ARCH=arm64, KERNEL=<release>, UPDATE=1 for the newest kernel,
#:                 DEBUG=1 for the debug kernel (10 minutes more)
#: make install    put the modules of the running kernel into /lib/modules (as root, after
#:                 'make modules KERNEL=$(uname -r)'); KERNEL=, INSTALL_MOD_PATH= move it;
#:                 REPLACE=1 in place of the kernel's own iommufd (CONFIG_IOMMUFD=m)
#: make uninstall  remove exactly what 'make install' put there
#: make clean      delete build/
#: make clean-cache  delete what the set-up made, after asking

setup:
	@tools/env/setup $(target_options) $(call flag,UPDATE,update) $(call flag,DEBUG,debug)

modules programs iommuctl:
	@$(if $(and $(KDIR),$(filter modules,$@)),tools/headers/build '$(KDIR)' $(KSRC),tools/env/build $(target_options) $@)

deb:
	@tools/deb/build

dist:
	@tools/dist

demo:
	@tools/testing/demo $(DEVICE)

check:
	@MATRIX='$(MATRIX)' tools/testing/check $(SUITE) \
		$(call flag,PROFILE,profile) $(call flag,CHANGED,changed)

fuzz:
	@tools/testing/lab/run-fuzz --kernel $(or $(KERNEL),stock) --seconds $(or $(SECONDS),28800) \
		$(call opt,CALLS,calls) $(call opt,SEED,seed)

bench:
	@tools/testing/bench/run $(if $(QUICK),--quick) $(if $(WALL),--wall)
	@$(if $(WALL),:,tools/testing/bench/dirty)

lint:
	@tools/lint/run

htmldocs:
	@Documentation/build

screens:
	@tools/testing/suites/iommuctl --screens

install uninstall:
	@INSTALL_MOD_PATH='$(INSTALL_MOD_PATH)' tools/install $@ $(call flag,REPLACE,replace) $(KERNEL)

clean:
	rm -rf build

clean-cache:
	@tools/clean-cache
