/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Inline functions and macros of the kernel, made callable from Rust: each is one
 * call or one kind of access, or an optional operation that may not be there. What asks
 * for more is in files of its own: leaf.c, file.c, bar.c, params.c, pins.c,
 * unpin.c.
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
struct mm_struct;
struct page;
struct phys_vec;
struct scatterlist;
struct user_struct;

/* Each word is read once; -EFAULT if some of it cannot be. */
int iommufd_get_user_words(u64 *to, const u64 __user *from, size_t words);
int iommufd_put_user_u64(u64 value, u64 __user *to);
unsigned long iommufd_clear_user(void __user *to, unsigned long size);

unsigned long iommufd_page_to_pfn(const struct page *page);
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
/*
 * How many pages there are in @folio of a memory file, on which the caller has a pin. They
 * hold nothing but what was written to them. May sleep.
 */
unsigned long iommufd_cleared_pages(struct folio *folio);

/* Where the BAR is that the dma-buf of @attach stands for; the dma-buf is locked. */
int iommufd_bar_address(struct dma_buf_attachment *attach, struct phys_vec *bar);

void iommufd_iotlb_gather_init(struct iommu_iotlb_gather *gather);
void iommufd_iotlb_sync(struct iommu_domain *domain, struct iommu_iotlb_gather *gather);
bool iommufd_enforce_cache_coherency(struct iommu_domain *domain);
/* The parameter allow_unsafe_interrupts, as it is at this moment. */
bool iommufd_unsafe_interrupts_are_allowed(void);
bool iommufd_has_interrupts(struct device *dev);
bool iommufd_has_domain_flags(struct device *dev);
bool iommufd_can_nest(struct device *dev);
void *iommufd_hw_info(struct device *dev, u32 *length, u32 *type);

struct user_struct *iommufd_get_current_user(void);
bool iommufd_user_is_current(const struct user_struct *user);
unsigned long iommufd_memlock_limit(void);
void iommufd_add_pinned_vm(struct mm_struct *mm, long npages);

bool iommufd_fatal_signal_pending(void);
void iommufd_cond_resched(void);

#endif
