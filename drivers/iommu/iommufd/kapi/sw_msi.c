// SPDX-License-Identifier: GPL-2.0
/* See sw_msi.h. */

#include <linux/slab.h>

#include "sw_msi.h"

static struct iommufd_hw_pagetable *new_inside(struct iommufd_hw_pagetable *parent)
{
	struct iommufd_hwpt_nested *nested = kzalloc(sizeof(*nested), GFP_KERNEL_ACCOUNT);

	if (!nested)
		return NULL;
	nested->common.obj.type = IOMMUFD_OBJ_HWPT_NESTED;
	nested->parent = to_hwpt_paging(parent);
	return &nested->common;
}

static struct iommufd_hw_pagetable *new_paging(void)
{
	struct iommufd_hwpt_paging *paging = kzalloc(sizeof(*paging), GFP_KERNEL_ACCOUNT);

	if (!paging)
		return NULL;
	paging->common.obj.type = IOMMUFD_OBJ_HWPT_PAGING;
	return &paging->common;
}

struct iommufd_hw_pagetable *iommufd_new_sw_msi_domain(struct iommu_domain *domain,
						       struct iommufd_hw_pagetable *parent)
{
	struct iommufd_hw_pagetable *hwpt = parent ? new_inside(parent) : new_paging();

	if (!hwpt)
		return NULL;
	hwpt->domain = domain;
	domain->iommufd_hwpt = hwpt;
	domain->cookie_type = IOMMU_COOKIE_IOMMUFD;
	return hwpt;
}

struct sw_msi_group {
	/* First, for it is what the caller has. */
	struct iommufd_device idev;
	struct iommufd_group igroup;
};

struct iommufd_device *iommufd_new_sw_msi_group(struct iommufd_ctx *ictx)
{
	struct sw_msi_group *group = kzalloc(sizeof(*group), GFP_KERNEL_ACCOUNT);

	if (!group)
		return NULL;
	group->idev.obj.type = IOMMUFD_OBJ_DEVICE;
	group->idev.ictx = ictx;
	group->idev.igroup = &group->igroup;
	group->igroup.ictx = ictx;
	group->igroup.sw_msi_start = PHYS_ADDR_MAX;
	return &group->idev;
}

void iommufd_place_sw_msi(struct iommufd_device *idev, phys_addr_t start)
{
	/* The kernel reads it with the core's lock of the group alone. */
	WRITE_ONCE(idev->igroup->sw_msi_start, start);
}

int iommufd_carry_sw_msi(struct iommufd_device *idev, struct iommufd_hw_pagetable *hwpt)
{
	const struct iommufd_group *group = idev->igroup;
	struct iommufd_sw_msi_map *doorbell;
	int ret = 0;

	guard(mutex)(&idev->ictx->sw_msi_lock);
	list_for_each_entry(doorbell, &idev->ictx->sw_msi_list, sw_msi_item) {
		if (!test_bit(doorbell->id, group->required_sw_msi.bitmap))
			continue;
		ret = iommufd_sw_msi_install(idev->ictx, find_hwpt_paging(hwpt), doorbell);
		if (ret)
			break;
	}
	return ret;
}
