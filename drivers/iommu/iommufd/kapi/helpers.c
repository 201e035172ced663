// SPDX-License-Identifier: GPL-2.0
/* See helpers.h. */

#include <linux/cred.h>
#include <linux/fault-inject-usercopy.h>
#include <linux/highmem.h>
#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/pci.h>
#include <linux/scatterlist.h>
#include <linux/sched/signal.h>
#include <linux/sched/user.h>
#include <linux/uaccess.h>
#include <uapi/linux/iommufd.h>

#include <iommu-priv.h>
#include "helpers.h"

int iommufd_get_user_words(u64 *to, const u64 __user *from, size_t words)
{
	size_t i;

	if (should_fail_usercopy() || !user_read_access_begin(from, words * sizeof(*from)))
		return -EFAULT;
	for (i = 0; i < words; i++)
		unsafe_get_user(to[i], &from[i], fault);
	user_read_access_end();
	return 0;
fault:
	user_read_access_end();
	return -EFAULT;
}

int iommufd_put_user_u64(u64 value, u64 __user *to)
{
	return put_user(value, to);
}

unsigned long iommufd_clear_user(void __user *to, unsigned long size)
{
	return clear_user(to, size);
}

unsigned long iommufd_page_to_pfn(const struct page *page)
{
	return page_to_pfn(page);
}

struct page *iommufd_pfn_to_page(unsigned long pfn)
{
	return pfn_to_page(pfn);
}

void iommufd_copy_from_page(void *to, unsigned long pfn, size_t offset, size_t len)
{
	memcpy_from_page(to, pfn_to_page(pfn), offset, len);
}

void iommufd_copy_to_page(unsigned long pfn, size_t offset, const void *from, size_t len)
{
	memcpy_to_page(pfn_to_page(pfn), offset, from, len);
}

void iommufd_sg_set(struct scatterlist *sg, unsigned long pfn, unsigned int len)
{
	sg_set_page(sg, pfn_to_page(pfn), len, 0);
}

void iommufd_iotlb_gather_init(struct iommu_iotlb_gather *gather)
{
	iommu_iotlb_gather_init(gather);
}

void iommufd_iotlb_sync(struct iommu_domain *domain, struct iommu_iotlb_gather *gather)
{
	iommu_iotlb_sync(domain, gather);
}

bool iommufd_enforce_cache_coherency(struct iommu_domain *domain)
{
	return domain->ops->enforce_cache_coherency &&
	       domain->ops->enforce_cache_coherency(domain);
}

bool iommufd_has_interrupts(struct device *dev)
{
	return !dev_is_pci(dev) || pci_dev_msi_enabled(to_pci_dev(dev));
}

bool iommufd_has_domain_flags(struct device *dev)
{
	return dev_iommu_ops(dev)->domain_alloc_paging_flags;
}

bool iommufd_can_nest(struct device *dev)
{
	return dev_iommu_ops(dev)->domain_alloc_nested;
}

void *iommufd_hw_info(struct device *dev, u32 *length, u32 *type)
{
	const struct iommu_ops *ops = dev_iommu_ops(dev);

	*type = ops->hw_info ? *type : IOMMU_HW_INFO_TYPE_NONE;
	return ops->hw_info ? ops->hw_info(dev, length, type) : NULL;
}

struct user_struct *iommufd_get_current_user(void)
{
	return get_uid(current_user());
}

bool iommufd_user_is_current(const struct user_struct *user)
{
	return user == current_user();
}

unsigned long iommufd_memlock_limit(void)
{
	return rlimit(RLIMIT_MEMLOCK);
}

void iommufd_add_pinned_vm(struct mm_struct *mm, long npages)
{
	atomic64_add(npages, &mm->pinned_vm);
}

bool iommufd_fatal_signal_pending(void)
{
	return fatal_signal_pending(current);
}

void iommufd_cond_resched(void)
{
	cond_resched();
}
