// SPDX-License-Identifier: GPL-2.0
/* See helpers.h. */

#include <linux/cred.h>
#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/user.h>
#include <linux/uaccess.h>

#include "helpers.h"

int iommufd_put_user_u64(u64 value, u64 __user *to)
{
	return put_user(value, to);
}

unsigned long iommufd_page_to_pfn(const struct page *page)
{
	return page_to_pfn(page);
}

struct page *iommufd_pfn_to_page(unsigned long pfn)
{
	return pfn_to_page(pfn);
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
