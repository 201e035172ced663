/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What IOMMU drivers, and the kernel's own functions for them (drivers/iommu/iommufd/driver.c),
 * see of a context and of a bound device: structures of C, which they look into.
 */
#ifndef IOMMUFD_DRIVER_CTX_H
#define IOMMUFD_DRIVER_CTX_H

#include <linux/iommufd.h>
#include <iommufd/iommufd_private.h>

/* Without anything to be mapped; NULL if there is no memory. */
struct iommufd_ctx *iommufd_new_ctx(void);
/* Nothing is left to be mapped. */
void iommufd_free_ctx(struct iommufd_ctx *ictx);
/* What can be mapped: each a struct iommufd_mmap, by where it begins. */
struct maple_tree *iommufd_mmaps(struct iommufd_ctx *ictx);

/*
 * Has @vma lead to what is at @address, uncached. @owner is used once already, and once more by
 * each mapping that comes of it; a mapping that goes gives its use back.
 */
int iommufd_map_for_user(struct vm_area_struct *vma, struct iommufd_object *owner,
			 phys_addr_t address);

/* A bound device; NULL if there is no memory. kfree() frees it. */
struct iommufd_device *iommufd_new_idev(struct iommufd_ctx *ictx, struct device *dev);

#endif
