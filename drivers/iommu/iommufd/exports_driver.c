// SPDX-License-Identifier: GPL-2.0
/* As exports.c, for what IOMMU drivers call: exports/driver.rs has it. */

#include <linux/export.h>
#include <linux/iommufd.h>

EXPORT_SYMBOL_NS_GPL(_iommufd_object_depend, "IOMMUFD");
EXPORT_SYMBOL_NS_GPL(_iommufd_object_undepend, "IOMMUFD");
EXPORT_SYMBOL_NS_GPL(_iommufd_alloc_mmap, "IOMMUFD");
EXPORT_SYMBOL_NS_GPL(_iommufd_destroy_mmap, "IOMMUFD");
EXPORT_SYMBOL_NS_GPL(iommufd_vdevice_to_device, "IOMMUFD");
EXPORT_SYMBOL_NS_GPL(iommufd_viommu_find_dev, "IOMMUFD");
EXPORT_SYMBOL_NS_GPL(iommufd_viommu_get_vdev_id, "IOMMUFD");
EXPORT_SYMBOL_NS_GPL(iommufd_viommu_report_event, "IOMMUFD");
