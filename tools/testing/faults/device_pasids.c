// SPDX-License-Identifier: GPL-2.0
/*
 * Have the IOMMU core believe that a device has PASIDs, while this is loaded: then its IOMMU's
 * driver sets tables up for them, though the device never uses any.
 *
 *   insmod device_pasids.ko device=0000:00:05.0 bits=15
 */
#include <linux/iommu.h>
#include <linux/module.h>
#include <linux/pci.h>

static char *device;
module_param(device, charp, 0444);
MODULE_PARM_DESC(device, "the PCI device, bound to no driver that uses its IOMMU");

/* Without the device's own word, VT-d's driver makes room for no more than this. */
static uint bits = 15;
module_param(bits, uint, 0444);
MODULE_PARM_DESC(bits, "how many bits its PASIDs have");

static struct device *dev;
static u32 before;

static int __init device_pasids_init(void)
{
	dev = device ? bus_find_device_by_name(&pci_bus_type, NULL, device) : NULL;
	if (!dev)
		return -ENODEV;
	if (!dev->iommu || bits > 20) {
		put_device(dev);
		return -EINVAL;
	}
	before = dev->iommu->max_pasids;
	dev->iommu->max_pasids = 1 << bits;
	return 0;
}
module_init(device_pasids_init);

static void __exit device_pasids_exit(void)
{
	dev->iommu->max_pasids = before;
	put_device(dev);
}
module_exit(device_pasids_exit);

MODULE_DESCRIPTION("gives a device PASIDs that it does not have");
MODULE_LICENSE("GPL");
