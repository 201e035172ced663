/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Inline functions and macros of the kernel, made callable from Rust: each is one
 * call or one kind of access, or an optional operation that may not be there. What asks
 * for more is in files of its own: leaf.c, file.c, bar.c, params.c, pins.c,
 * unpin.c, dirty.c, noiommu.c, memory.c, worker.c.
 */
#ifndef IOMMUFD_HELPERS_H
#define IOMMUFD_HELPERS_H

#include <linux/types.h>

struct device;
struct dma_buf_attachment;
struct file;
struct folio;
struct iommu_domain;
struct iommu_iotlb_gather;
struct iommu_user_data;
struct iommu_user_data_array;
struct iopf_group;
struct iova_bitmap;
struct mm_struct;
struct mmu_interval_notifier;
struct mmu_interval_notifier_ops;
struct page;
struct phys_vec;
struct pt_iommu;
struct pt_iommu_ops;
struct scatterlist;
struct task_struct;
struct user_struct;
struct iommufd_worker;

/* Each word is read once; -EFAULT if some of it cannot be. */
int iommufd_get_user_words(u64 *to, const u64 __user *from, size_t words);
int iommufd_put_user_u64(u64 value, u64 __user *to);
unsigned long iommufd_clear_user(void __user *to, unsigned long size);

/*
 * Whether there is room for more pins on the folios of @pages, all of which were just pinned.
 * Asked of every batch, it is certain to find out what is pinned again and again, long before
 * there is no room at all.
 */
bool iommufd_has_room_for_pins(struct page *const *pages, unsigned int count);
/* One pin more on the folio of a page that is pinned; -ENOMEM if it has too many. */
int iommufd_add_pin(unsigned long pfn);
struct page *iommufd_pfn_to_page(unsigned long pfn);
/*
 * Gives back a pin on each of the pages from @pfn on; if @dirty, something may have been
 * written to them. May sleep.
 */
void iommufd_unpin(unsigned long pfn, unsigned long npages, bool dirty);
/* Both within the page. */
void iommufd_copy_from_page(void *to, unsigned long pfn, size_t offset, size_t len);
void iommufd_copy_to_page(unsigned long pfn, size_t offset, const void *from, size_t len);
void iommufd_sg_set(struct scatterlist *sg, unsigned long pfn, unsigned int len);

/*
 * Whether the page table of the current process has an entry for the page at @addr alone.
 * Nothing is looked up for addresses of the kernel: what is there must not show, not even
 * in how long this takes.
 */
bool iommufd_maps_single_pages(unsigned long addr);
/* The same of any entry, or of a table. */
bool iommufd_maps_something(unsigned long addr);

/*
 * The order of the block of pages, all of one folio, that a single entry of the current
 * process's page table maps around @addr, where @page is; zero if there is no such entry,
 * or none that lets the process access (and if @write, write to) the pages. The caller
 * holds a pin on @page, with which he has the whole folio.
 */
unsigned int iommufd_leaf_order(unsigned long addr, const struct page *page, bool write);

/*
 * Whether devices may read the memory of @file, and if @write, write to it, as far as the
 * way it was opened goes: -EACCES if it is not open for reading, or was opened to be appended
 * to only; -EPERM if it is not open for writing.
 */
int iommufd_check_access(const struct file *file, bool write);

bool iommufd_is_memory_file(struct file *file);
/*
 * Counts @file as mapped for writing, so that it cannot be sealed with F_SEAL_WRITE until
 * iommufd_end_writes(). -EPERM if it is sealed against that, -EINVAL if it is no memory file.
 */
int iommufd_begin_writes(struct file *file);
void iommufd_end_writes(struct file *file);

/*
 * Has memory for pages of @file from number @first on, if it is not there yet; they are not
 * pinned. -ENOMEM if that would leave others too little, or its control group: nobody is
 * killed for it. -EINTR for a fatal signal, -EINVAL if the file ends before. Does nothing for
 * other files than those of shmem. May sleep.
 */
int iommufd_fill_file(struct file *file, unsigned long first, unsigned long npages);
/* How many pages of memory the file has at this moment. */
unsigned long iommufd_file_pages(struct file *file);
/* Whether its pages are from a pool of huge ones. */
bool iommufd_has_huge_pages(struct file *file);
/*
 * How many pages there are in @folio of a memory file, on which the caller has a pin. They
 * hold nothing but what was written to them. May sleep.
 */
unsigned long iommufd_cleared_pages(struct folio *folio);

/* Where the BAR is that the dma-buf of @attach stands for; the dma-buf is locked. */
int iommufd_bar_address(struct dma_buf_attachment *attach, struct phys_vec *bar);
/*
 * Whether VFIO has mapped a device's memory at @addr of @mm, which has users. Not in the page
 * table, maybe, nor all that follows.
 */
bool iommufd_is_bar(struct mm_struct *mm, unsigned long addr);
/*
 * Where what VFIO has mapped at @addr of @mm, which has users, begins: the longest piece of what
 * is contiguous, up to @len bytes, that a look at not too many entries of the page table
 * finds. What is not there is faulted in. -EFAULT: something is not VFIO's, is memory, or is
 * not to be read, or if @write, written to; or its device does not answer. -EINTR: a fatal
 * signal; -ENOMEM.
 */
int iommufd_find_bar(struct mm_struct *mm, unsigned long addr, unsigned long len, bool write,
		     struct phys_vec *bar);
/*
 * Has @watch told of what leaves the page table at @addr of @mm, which has users, from here on.
 * -EINTR: a fatal signal; -ENOMEM, -EOVERFLOW.
 */
int iommufd_watch(struct mmu_interval_notifier *watch, struct mm_struct *mm, unsigned long addr,
		  unsigned long len, const struct mmu_interval_notifier_ops *ops);

/*
 * The page table of @domain, if it is of the kernel's generic ones, and nobody else keeps book of
 * what is mapped there.
 */
struct pt_iommu *iommufd_table(struct iommu_domain *domain);
const struct pt_iommu_ops *iommufd_table_ops(const struct pt_iommu *table);
/* Tells the IOMMU of new mappings, if it has to be told. */
int iommufd_sync_map(struct iommu_domain *domain, unsigned long iova, size_t size);
/* What iommu_map() and iommu_unmap() trace. */
void iommufd_trace_map(unsigned long iova, phys_addr_t address, size_t size);
void iommufd_trace_unmap(unsigned long iova, size_t size, size_t unmapped);

void iommufd_iotlb_gather_init(struct iommu_iotlb_gather *gather);
void iommufd_iotlb_sync(struct iommu_domain *domain, struct iommu_iotlb_gather *gather);
bool iommufd_enforce_cache_coherency(struct iommu_domain *domain);
/* A domain for @dev as @data say; -EOPNOTSUPP if its IOMMU does not know any. */
struct iommu_domain *iommufd_alloc_paging(struct device *dev, u32 flags,
					  const struct iommu_user_data *data);

/*
 * A domain for devices that no IOMMU translates for, which has any address and maps none: NULL
 * if there is no memory. It can be freed, and nothing else.
 */
struct iommu_domain *iommufd_alloc_untranslated(void);
/* Whether an IOMMU has @dev. VFIO may have given it a group all the same. */
bool iommufd_is_behind_iommu(const struct device *dev);

/* Whether @domain can be asked which pages were written to, so that the answer arrives. */
bool iommufd_can_read_dirty(const struct iommu_domain *domain);
int iommufd_set_dirty_tracking(struct iommu_domain *domain, bool enable);
/*
 * Has iova_bitmap_set() called for what was written to of @size bytes from @iova on, if there
 * is a @bitmap, and then forgotten if there is a @gather, which says what IOTLBs may still
 * know. Nobody maps or unmaps there meanwhile. -EIO: the page table is not what this was built
 * for.
 */
int iommufd_read_dirty(struct iommu_domain *domain, unsigned long iova, size_t size,
		       struct iova_bitmap *bitmap, struct iommu_iotlb_gather *gather);
/* Sets @count bits of @page, one at least; others may change those beside them. */
void iommufd_set_bits(struct page *page, unsigned int first, unsigned int count);

/* The parameter allow_unsafe_interrupts, as it is at this moment. */
bool iommufd_unsafe_interrupts_are_allowed(void);
/* The parameter map_device_memory, likewise. */
bool iommufd_maps_device_memory(void);
/* And those about threads that help with large maps. */
unsigned int iommufd_fill_threads(void);
bool iommufd_fill_always(void);
bool iommufd_has_interrupts(struct device *dev);
bool iommufd_has_domain_flags(struct device *dev);
bool iommufd_can_nest(struct device *dev);
/*
 * A domain inside of @parent; -EOPNOTSUPP where there are none, -EINVAL if another driver made
 * @parent.
 */
struct iommu_domain *iommufd_alloc_nested(struct device *dev, struct iommu_domain *parent,
					  u32 flags, const struct iommu_user_data *data);
/* -EOPNOTSUPP, with no request carried out, if @domain has nothing to invalidate. */
int iommufd_invalidate(struct iommu_domain *domain, struct iommu_user_data_array *requests);
/* Whether @dev is a virtual function that shares the page requests of another. */
bool iommufd_shares_page_requests(struct device *dev);
/* Takes a group of page faults off the list of those that the core would answer. */
void iommufd_dequeue_faults(struct iopf_group *group);
/* Answers it, with an enum iommu_page_response_code, and frees it. */
void iommufd_answer_faults(struct iopf_group *group, u32 code);
void *iommufd_hw_info(struct device *dev, u32 *length, u32 *type);
/* How many PASIDs there are for the device; zero if it or its IOMMU does without. */
u32 iommufd_max_pasids(struct device *dev);
/* Whether the device may also say that it wants to execute, or is privileged. */
struct iommufd_pasid_rights {
	bool exec;
	bool priv;
};

struct iommufd_pasid_rights iommufd_pasid_rights(struct device *dev);

struct user_struct *iommufd_get_current_user(void);
bool iommufd_user_is_current(const struct user_struct *user);
unsigned long iommufd_memlock_limit(const struct task_struct *process);
/*
 * Counts @npages as locked by @process, which @mm is the memory of: -ENOMEM if its
 * RLIMIT_MEMLOCK is exceeded, -EINTR for a fatal signal. account_locked_vm() looks at the limit
 * of whoever calls it, and cannot be killed.
 */
int iommufd_lock_vm(struct mm_struct *mm, struct task_struct *process, unsigned long npages);
/*
 * pin_user_pages_remote() for @mm, which has users: the number of pages, or -EINTR for a fatal
 * signal, or what that says.
 */
long iommufd_pin_remote(struct mm_struct *mm, unsigned long addr, unsigned long npages,
			unsigned int flags, struct page **pages);
void iommufd_add_pinned_vm(struct mm_struct *mm, long npages);
/*
 * The size of the pages at @addr in @mm, or if that is NULL, in the current process's memory, if
 * they are from a pool and come by themselves when they are used; else that of a page.
 */
unsigned long iommufd_page_size(struct mm_struct *mm, unsigned long addr);
/*
 * As iommufd_pin_remote(), or with NULL for the current process's memory, but nobody is waited
 * for, no drive and no userspace: the number of pages, which is 0 if the first has to be waited
 * for; -EFAULT also if userspace would have to bring it.
 */
long iommufd_pin_without_waiting(struct mm_struct *mm, unsigned long addr, unsigned long npages,
				 unsigned int flags, struct page **pages);
/* How many page faults of the current thread brought memory, by now. */
unsigned long iommufd_fault_count(void);

/*
 * How many processors the current thread may run on, of those that are near the memory that
 * it gets by default; 1 if workers are not to take any, 0 if it cannot have workers.
 */
unsigned int iommufd_worker_cpus(void);
/*
 * Has a thread of the current process call @work with @data, once, unless it is killed
 * before; NULL if there is none to be had. The thread never comes to userspace, stays on
 * processors near those of the caller, and ends after @work.
 */
struct iommufd_worker *iommufd_start_worker(void (*work)(void *data), void *data);
/*
 * Waits until the thread has left @work, if it has begun: if not, it never will. The thread
 * itself may be there for longer, if the process is stopped or frozen, and then keeps the
 * module. Gives up @worker.
 */
void iommufd_end_worker(struct iommufd_worker *worker);
/* What workers need of the module: before the first, and when no one can start any. */
int iommufd_init_workers(void);
void iommufd_exit_workers(void);

bool iommufd_fatal_signal_pending(void);
void iommufd_cond_resched(void);

#endif
