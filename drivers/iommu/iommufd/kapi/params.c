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
