// SPDX-License-Identifier: GPL-2.0
/*
 * Have the IOMMU core believe that devices have PASIDs, while this is loaded: then their IOMMU's
 * driver sets tables up for them, though the devices never use any.
 *
 *   insmod device_pasids.ko devices=0000:00:05.0 bits=15
 */
#include <linux/iommu.h>
#include <linux/module.h>
#include <linux/pci.h>

#define MOST 4

static char *devices[MOST];
static unsigned int count;
module_param_array(devices, charp, &count, 0444);
MODULE_PARM_DESC(devices, "PCI devices, bound to no drivers that use PASIDs");

/* Without the device's own word, VT-d's driver makes room for no more than this. */
static uint bits = 15;
module_param(bits, uint, 0444);
MODULE_PARM_DESC(bits, "how many bits its PASIDs have");

static struct {
	struct device *dev;
	u32 before;
} changed[MOST];

static void change_back(void)
{
	unsigned int i;

	for (i = 0; i < MOST && changed[i].dev; i++) {
		changed[i].dev->iommu->max_pasids = changed[i].before;
		put_device(changed[i].dev);
	}
}

static int __init change(unsigned int i)
{
	struct device *dev = bus_find_device_by_name(&pci_bus_type, NULL, devices[i]);

	if (!dev)
		return -ENODEV;
	if (!dev->iommu || bits > 20) {
		put_device(dev);
		return -EINVAL;
	}
	changed[i].dev = dev;
	changed[i].before = dev->iommu->max_pasids;
	dev->iommu->max_pasids = 1 << bits;
	return 0;
}

static int __init device_pasids_init(void)
{
	unsigned int i;
	int ret = count ? 0 : -ENODEV;

	for (i = 0; i < count && !ret; i++)
		ret = change(i);
	if (ret)
		change_back();
	return ret;
}
module_init(device_pasids_init);

static void __exit device_pasids_exit(void)
{
	change_back();
}
module_exit(device_pasids_exit);

MODULE_DESCRIPTION("gives devices PASIDs that they do not have");
MODULE_LICENSE("GPL");
