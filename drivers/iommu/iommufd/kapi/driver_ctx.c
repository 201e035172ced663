// SPDX-License-Identifier: GPL-2.0
/* See driver_ctx.h. */

#include <linux/mm.h>
#include <linux/slab.h>

#include "driver_ctx.h"

struct iommufd_ctx *iommufd_new_ctx(void)
{
	struct iommufd_ctx *ictx = kzalloc(sizeof(*ictx), GFP_KERNEL_ACCOUNT);

	if (!ictx)
		return NULL;
	mt_init_flags(&ictx->mt_mmap, MT_FLAGS_ALLOC_RANGE);
	mutex_init(&ictx->sw_msi_lock);
	INIT_LIST_HEAD(&ictx->sw_msi_list);
	return ictx;
}

void iommufd_free_ctx(struct iommufd_ctx *ictx)
{
	struct iommufd_sw_msi_map *doorbell, *next;

	list_for_each_entry_safe(doorbell, next, &ictx->sw_msi_list, sw_msi_item)
		kfree(doorbell);
	mutex_destroy(&ictx->sw_msi_lock);
	mtree_destroy(&ictx->mt_mmap);
	kfree(ictx);
}

struct maple_tree *iommufd_mmaps(struct iommufd_ctx *ictx)
{
	return &ictx->mt_mmap;
}

static void open_vma(struct vm_area_struct *vma)
{
	struct iommufd_object *owner = vma->vm_private_data;

	refcount_inc(&owner->users);
}

static void close_vma(struct vm_area_struct *vma)
{
	struct iommufd_object *owner = vma->vm_private_data;

	refcount_dec(&owner->users);
}

static const struct vm_operations_struct vma_ops = {
	.open = open_vma,
	.close = close_vma,
};

int iommufd_map_for_user(struct vm_area_struct *vma, struct iommufd_object *owner,
			 phys_addr_t address)
{
	vma->vm_private_data = owner;
	vma->vm_ops = &vma_ops;
	vma->vm_page_prot = pgprot_noncached(vma->vm_page_prot);
	return io_remap_pfn_range(vma, vma->vm_start, PHYS_PFN(address),
				  vma->vm_end - vma->vm_start, vma->vm_page_prot);
}

struct iommufd_device *iommufd_new_idev(struct iommufd_ctx *ictx, struct device *dev)
{
	struct iommufd_device *idev = kzalloc(sizeof(*idev), GFP_KERNEL_ACCOUNT);

	if (!idev)
		return NULL;
	idev->obj.type = IOMMUFD_OBJ_DEVICE;
	idev->ictx = ictx;
	idev->dev = dev;
	return idev;
}
