# SPDX-License-Identifier: GPL-2.0
# What the Makefiles of test programs have in common. They set TOP, and include this:
#   make [OUT=folder] [CC=compiler] [KSRC=kernel source]

OUT ?= $(TOP)/build/bin
CACHE := $(or $(IOMMUFD_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/iommufd)
KSRC ?= $(firstword $(wildcard $(CACHE)/kernel/*/source))
ifeq ($(origin CC),default)
CC := gcc
endif
CFLAGS ?= -O2 -Wall -Wextra -Werror -Wno-psabi
SAMPLES := $(TOP)/samples/iommufd
