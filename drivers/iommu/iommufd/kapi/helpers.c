// SPDX-License-Identifier: GPL-2.0
/* See helpers.h. */

#include <linux/cred.h>
#include <linux/fault-inject-usercopy.h>
#include <linux/highmem.h>
#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/pci-ats.h>
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
	/* As iommu_iotlb_sync(), which makes it ready for more in addition. */
	if (domain->ops->iotlb_sync && gather->start < gather->end)
		domain->ops->iotlb_sync(domain, gather);
}

bool iommufd_enforce_cache_coherency(struct iommu_domain *domain)
{
	return domain->ops->enforce_cache_coherency &&
	       domain->ops->enforce_cache_coherency(domain);
}

struct iommu_domain *iommufd_alloc_paging(struct device *dev, u32 flags,
					  const struct iommu_user_data *data)
{
	const struct iommu_ops *ops = dev_iommu_ops(dev);
	struct iommu_domain *domain;

	if (!ops->domain_alloc_paging_flags)
		return ERR_PTR(-EOPNOTSUPP);
	domain = ops->domain_alloc_paging_flags(dev, flags, data);
	if (IS_ERR(domain))
		return domain;
	/* What the core does to those that it makes. */
	domain->type = IOMMU_DOMAIN_UNMANAGED;
	domain->owner = ops;
	if (!domain->ops)
		domain->ops = ops->default_domain_ops;
	return domain;
}

void iommufd_set_bits(struct page *page, unsigned int first, unsigned int count)
{
	atomic_long_t *words = kmap_local_page(page);

	while (count > 0) {
		unsigned int bit = first % BITS_PER_LONG;
		unsigned int some = min(count, BITS_PER_LONG - bit);

		atomic_long_or(GENMASK(bit + some - 1, bit), &words[first / BITS_PER_LONG]);
		first += some;
		count -= some;
	}
	kunmap_local(words);
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

struct iommu_domain *iommufd_alloc_nested(struct device *dev, struct iommu_domain *parent,
					  u32 flags, const struct iommu_user_data *data)
{
	const struct iommu_ops *ops = dev_iommu_ops(dev);
	struct iommu_domain *domain;

	if (!ops->domain_alloc_nested)
		return ERR_PTR(-EOPNOTSUPP);
	if (parent->owner != ops)
		return ERR_PTR(-EINVAL);
	domain = ops->domain_alloc_nested(dev, parent, flags, data);
	if (!IS_ERR(domain))
		domain->owner = ops;
	return domain;
}

int iommufd_invalidate(struct iommu_domain *domain, struct iommu_user_data_array *requests)
{
	if (domain->ops->cache_invalidate_user)
		return domain->ops->cache_invalidate_user(domain, requests);
	requests->entry_num = 0;
	return -EOPNOTSUPP;
}

bool iommufd_shares_page_requests(struct device *dev)
{
	return dev_is_pci(dev) && to_pci_dev(dev)->is_virtfn &&
	       pci_pri_supported(to_pci_dev(dev));
}

void iommufd_dequeue_faults(struct iopf_group *group)
{
	iopf_group_dequeue(group);
}

void iommufd_answer_faults(struct iopf_group *group, u32 code)
{
	iopf_group_response(group, code);
	iopf_free_group(group);
}

void *iommufd_hw_info(struct device *dev, u32 *length, u32 *type)
{
	const struct iommu_ops *ops = dev_iommu_ops(dev);

	*type = ops->hw_info ? *type : IOMMU_HW_INFO_TYPE_NONE;
	return ops->hw_info ? ops->hw_info(dev, length, type) : NULL;
}

u32 iommufd_max_pasids(struct device *dev)
{
	return dev->iommu->max_pasids;
}

struct iommufd_pasid_rights iommufd_pasid_rights(struct device *dev)
{
	int ctrl = dev_is_pci(dev) ? pci_pasid_status(to_pci_dev(dev)) : 0;

	return (struct iommufd_pasid_rights){
		.exec = ctrl > 0 && ctrl & PCI_PASID_CTRL_EXEC,
		.priv = ctrl > 0 && ctrl & PCI_PASID_CTRL_PRIV,
	};
}

struct user_struct *iommufd_get_current_user(void)
{
	return get_uid(current_user());
}

bool iommufd_user_is_current(const struct user_struct *user)
{
	return user == current_user();
}

unsigned long iommufd_memlock_limit(const struct task_struct *process)
{
	return task_rlimit(process, RLIMIT_MEMLOCK);
}

int iommufd_lock_vm(struct mm_struct *mm, struct task_struct *process, unsigned long npages)
{
	int ret;

	if (mmap_write_lock_killable(mm))
		return -EINTR;
	ret = __account_locked_vm(mm, npages, true, process, false);
	mmap_write_unlock(mm);
	return ret;
}

long iommufd_pin_remote(struct mm_struct *mm, unsigned long addr, unsigned long npages,
			unsigned int flags, struct page **pages)
{
	int locked = 1;
	long got;

	if (mmap_read_lock_killable(mm))
		return -EINTR;
	got = pin_user_pages_remote(mm, addr, npages, flags, pages, &locked);
	if (locked)
		mmap_read_unlock(mm);
	return got;
}

void iommufd_add_pinned_vm(struct mm_struct *mm, long npages)
{
	atomic64_add(npages, &mm->pinned_vm);
}

unsigned long iommufd_fault_count(void)
{
	return current->min_flt + current->maj_flt;
}

bool iommufd_fatal_signal_pending(void)
{
	return fatal_signal_pending(current);
}

void iommufd_cond_resched(void)
{
	cond_resched();
}
