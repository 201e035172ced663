/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Virtual IOMMUs, and what belongs to them, as IOMMU drivers have them: structures of C, as long
 * as the driver says, that begin with what <linux/iommufd.h> says. viommu.c has the functions.
 */
#ifndef IOMMUFD_VIOMMU_H
#define IOMMUFD_VIOMMU_H

#include <linux/iommu.h>
#include <linux/iommufd.h>

/* The IOMMU that @dev is behind. */
struct iommu_device *iommufd_iommu_of(struct device *dev);

/* Zeroes but for what all objects begin with; NULL if there is no memory. kfree() frees it. */
struct iommufd_object *iommufd_new_object(size_t size, enum iommufd_object_type type, u32 id);

/* How long a virtual IOMMU of that type is; 0 if @dev's IOMMU has none. */
size_t iommufd_viommu_size(struct device *dev, u32 type);
/* What comes of it the driver says, which may have set @viommu->ops if it fails, too. */
int iommufd_init_viommu(struct iommufd_viommu *viommu, struct iommu_domain *parent,
			const struct iommu_user_data *data);
void iommufd_end_viommu(struct iommufd_viommu *viommu);
/* -EOPNOTSUPP where there are none. */
struct iommu_domain *iommufd_viommu_alloc_nested(struct iommufd_viommu *viommu, u32 flags,
						 const struct iommu_user_data *data);
/* -EOPNOTSUPP, with no request carried out, if @viommu has nothing to invalidate. */
int iommufd_viommu_invalidate(struct iommufd_viommu *viommu,
			      struct iommu_user_data_array *requests);

/* How long a queue of that type is; 0 if @viommu has none. */
size_t iommufd_hw_queue_size(struct iommufd_viommu *viommu, u32 type);
/* Which one of @queue->viommu it is, and where its memory is. */
int iommufd_init_hw_queue(struct iommufd_hw_queue *queue, u32 index, phys_addr_t address);
void iommufd_end_hw_queue(struct iommufd_hw_queue *queue);

/* How long a device of @viommu is. */
size_t iommufd_vdevice_size(const struct iommufd_viommu *viommu);
/*
 * Has @vdev be found in its virtual IOMMU, when the driver has initialised it. -EEXIST if another
 * has its number there.
 */
int iommufd_init_vdevice(struct iommufd_vdevice *vdev);
/* It is not found there any more. */
void iommufd_end_vdevice(struct iommufd_vdevice *vdev);

#endif
