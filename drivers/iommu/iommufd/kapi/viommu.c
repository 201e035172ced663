// SPDX-License-Identifier: GPL-2.0
/* See viommu.h. */

#include <linux/iommu.h>
#include <linux/iommufd.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include <iommu-priv.h>
#include "viommu.h"

struct iommu_device *iommufd_iommu_of(struct device *dev)
{
	return __iommu_get_iommu_dev(dev);
}

struct iommufd_object *iommufd_new_object(size_t size, enum iommufd_object_type type, u32 id)
{
	struct iommufd_object *obj = kzalloc(size, GFP_KERNEL_ACCOUNT);

	if (!obj)
		return NULL;
	refcount_set(&obj->wait_cnt, 1);
	refcount_set(&obj->users, 1);
	obj->type = type;
	obj->id = id;
	return obj;
}

size_t iommufd_viommu_size(struct device *dev, u32 type)
{
	const struct iommu_ops *ops = dev_iommu_ops(dev);

	if (!ops->get_viommu_size || !ops->viommu_init)
		return 0;
	return ops->get_viommu_size(dev, type);
}

int iommufd_init_viommu(struct iommufd_viommu *viommu, struct iommu_domain *parent,
			const struct iommu_user_data *data)
{
	xa_init(&viommu->vdevs);
	INIT_LIST_HEAD(&viommu->veventqs);
	init_rwsem(&viommu->veventqs_rwsem);
	return viommu->iommu_dev->ops->viommu_init(viommu, parent, data);
}

void iommufd_end_viommu(struct iommufd_viommu *viommu)
{
	if (viommu->ops && viommu->ops->destroy)
		viommu->ops->destroy(viommu);
	xa_destroy(&viommu->vdevs);
}

struct iommu_domain *iommufd_viommu_alloc_nested(struct iommufd_viommu *viommu, u32 flags,
						 const struct iommu_user_data *data)
{
	struct iommu_domain *domain;

	if (!viommu->ops->alloc_domain_nested)
		return ERR_PTR(-EOPNOTSUPP);
	domain = viommu->ops->alloc_domain_nested(viommu, flags, data);
	if (!IS_ERR(domain))
		domain->owner = viommu->iommu_dev->ops;
	return domain;
}

int iommufd_viommu_invalidate(struct iommufd_viommu *viommu,
			      struct iommu_user_data_array *requests)
{
	if (viommu->ops->cache_invalidate)
		return viommu->ops->cache_invalidate(viommu, requests);
	requests->entry_num = 0;
	return -EOPNOTSUPP;
}

size_t iommufd_hw_queue_size(struct iommufd_viommu *viommu, u32 type)
{
	if (!viommu->ops->get_hw_queue_size || !viommu->ops->hw_queue_init_phys)
		return 0;
	return viommu->ops->get_hw_queue_size(viommu, type);
}

int iommufd_init_hw_queue(struct iommufd_hw_queue *queue, u32 index, phys_addr_t address)
{
	return queue->viommu->ops->hw_queue_init_phys(queue, index, address);
}

void iommufd_end_hw_queue(struct iommufd_hw_queue *queue)
{
	if (queue->destroy)
		queue->destroy(queue);
}

size_t iommufd_vdevice_size(const struct iommufd_viommu *viommu)
{
	return viommu->ops->vdevice_size ?: sizeof(struct iommufd_vdevice);
}

int iommufd_init_vdevice(struct iommufd_vdevice *vdev)
{
	struct iommufd_viommu *viommu = vdev->viommu;
	int ret;

	/* Nobody finds it before the driver has accepted it. */
	ret = xa_insert(&viommu->vdevs, vdev->virt_id, NULL, GFP_KERNEL_ACCOUNT);
	if (ret)
		return ret == -EBUSY ? -EEXIST : ret;
	if (viommu->ops->vdevice_init)
		ret = viommu->ops->vdevice_init(vdev);
	if (ret)
		xa_release(&viommu->vdevs, vdev->virt_id);
	else
		xa_store(&viommu->vdevs, vdev->virt_id, vdev, GFP_KERNEL_ACCOUNT);
	return ret;
}

void iommufd_end_vdevice(struct iommufd_vdevice *vdev)
{
	if (vdev->destroy)
		vdev->destroy(vdev);
	xa_erase(&vdev->viommu->vdevs, vdev->virt_id);
}
