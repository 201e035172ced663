// SPDX-License-Identifier: GPL-2.0
/*
 * The page table of the IOMMU in software is that of the kernel's own: AMD's first format,
 * with pages of 2 KiB. Nobody but this module uses it.
 */
#define __DISABLE_EXPORTS
#include <generic_pt/fmt/iommu_mock.c>
