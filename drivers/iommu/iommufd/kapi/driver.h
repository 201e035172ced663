/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the functions that IOMMU drivers call are made of, where the kernel has none of its own
 * (without CONFIG_IOMMUFD_DRIVER_CORE): see exports/driver.rs.
 */
#ifndef IOMMUFD_DRIVER_H
#define IOMMUFD_DRIVER_H

#include <linux/iommufd.h>

/* Whose device @idev is. */
struct device *iommufd_device_of(const struct iommufd_device *idev);

/* The first one with a number from @virt_id on; the caller has locked @viommu->vdevs. */
struct iommufd_vdevice *iommufd_vdevice_from(struct iommufd_viommu *viommu,
					     unsigned long virt_id);

/*
 * Adds an event, from any context that may take a semaphore: that it was lost, if there is no
 * room, or no memory (-ENOMEM). -EOPNOTSUPP if there is no queue for them.
 */
int iommufd_report_vevent(struct iommufd_viommu *viommu, u32 type, const void *data, size_t len);

#endif
