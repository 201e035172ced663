// SPDX-License-Identifier: GPL-2.0
/*
 * The parameters of the module. They are here, for those that Rust's module!() makes are
 * not to be seen in sysfs.
 */

#include <linux/module.h>
#include <linux/moduleparam.h>

#include "helpers.h"

static bool allow_unsafe_interrupts;
module_param(allow_unsafe_interrupts, bool, 0644);
MODULE_PARM_DESC(allow_unsafe_interrupts, "Accept devices whose interrupts no hardware isolates");

bool iommufd_unsafe_interrupts_are_allowed(void)
{
	/* Who may write to sysfs can change it at any time. */
	return READ_ONCE(allow_unsafe_interrupts);
}

static bool map_device_memory;
module_param(map_device_memory, bool, 0644);
MODULE_PARM_DESC(map_device_memory, "Let IOMMU_IOAS_MAP and containers map BARs by address");

bool iommufd_maps_device_memory(void)
{
	return READ_ONCE(map_device_memory);
}

static unsigned int fill_threads;
module_param(fill_threads, uint, 0644);
MODULE_PARM_DESC(fill_threads, "Threads that bring the memory of one map: 1 for none but the caller, 0 for up to 8");

unsigned int iommufd_fill_threads(void)
{
	return READ_ONCE(fill_threads);
}

static bool fill_always;
module_param(fill_always, bool, 0644);
MODULE_PARM_DESC(fill_always, "Have them for the smallest map, needed or not: for tests");

bool iommufd_fill_always(void)
{
	return READ_ONCE(fill_always);
}
