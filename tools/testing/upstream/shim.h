/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Has the C driver's selftest.c do on kernels without CONFIG_IOMMUFD_TEST: its devices
 * are on the platform bus, for the core looks at no bus of a module's own.
 */
#include <linux/iommu.h>
#include <linux/platform_device.h>
#include <linux/property.h>

/* In the place of a struct device: as much before it as the platform bus looks at. */
#define SHIM_DEVICE						\
	union {							\
		struct platform_device pdev;			\
		struct {					\
			u8 before[offsetof(struct platform_device, dev)];	\
			struct device dev;			\
		};						\
	}

static inline int shim_register(struct iommu_device *iommu, const struct iommu_ops *ops,
				const struct bus_type *bus, struct notifier_block *nb)
{
	iommu->fwnode = fwnode_create_software_node(NULL, NULL);
	if (IS_ERR(iommu->fwnode))
		return PTR_ERR(iommu->fwnode);
	return iommu_device_register(iommu, ops, NULL);
}

static inline void shim_unregister(struct iommu_device *iommu, const struct bus_type *bus,
				   struct notifier_block *nb)
{
	iommu_device_unregister(iommu);
	fwnode_remove_software_node(iommu->fwnode);
}

static inline int shim_add(struct device *dev, struct iommu_device *iommu)
{
	to_platform_device(dev)->name = "iommufd_mock";
	dev->bus = &platform_bus_type;
	return iommu_fwspec_init(dev, iommu->fwnode) ?: device_add(dev);
}

#define iommu_device_register_bus	shim_register
#define iommu_device_unregister_bus	shim_unregister
#define iommu_mock_device_add		shim_add
