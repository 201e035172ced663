/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Inline functions and macros of the kernel, made callable from Rust: each is one
 * call or one access, or an optional operation that may not be there.
 */
#ifndef IOMMUFD_HELPERS_H
#define IOMMUFD_HELPERS_H

#include <linux/types.h>

struct iommu_domain;
struct iommu_iotlb_gather;
struct mm_struct;
struct page;
struct user_struct;

int iommufd_put_user_u64(u64 value, u64 __user *to);

unsigned long iommufd_page_to_pfn(const struct page *page);
struct page *iommufd_pfn_to_page(unsigned long pfn);

void iommufd_iotlb_gather_init(struct iommu_iotlb_gather *gather);
void iommufd_iotlb_sync(struct iommu_domain *domain, struct iommu_iotlb_gather *gather);
bool iommufd_enforce_cache_coherency(struct iommu_domain *domain);

struct user_struct *iommufd_get_current_user(void);
bool iommufd_user_is_current(const struct user_struct *user);
unsigned long iommufd_memlock_limit(void);
void iommufd_add_pinned_vm(struct mm_struct *mm, long npages);

bool iommufd_fatal_signal_pending(void);
void iommufd_cond_resched(void);

#endif
