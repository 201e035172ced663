// SPDX-License-Identifier: GPL-2.0
/*
 * What a file lets a device do, and how its memory comes: see helpers.h. The rights are
 * those of mmap() with MAP_SHARED, which is the other way of getting at the memory.
 */

#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/hugetlb.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/shmem_fs.h>
#include <linux/sizes.h>
#include <linux/swap.h>
#include <uapi/linux/fcntl.h>

#include "helpers.h"

int iommufd_check_access(const struct file *file, bool write)
{
	if (!(file->f_mode & FMODE_READ))
		return -EACCES;
	if (!(file->f_mode & FMODE_WRITE))
		return write ? -EPERM : 0;
	return IS_APPEND(file_inode(file)) ? -EACCES : 0;
}

/* Where the seals of a memory file are; NULL if it is none. */
static const unsigned int *seals_of(struct file *file)
{
	if (shmem_file(file))
		return &SHMEM_I(file_inode(file))->seals;
#ifdef CONFIG_HUGETLBFS
	if (is_file_hugepages(file))
		return &HUGETLBFS_I(file_inode(file))->seals;
#endif
	return NULL;
}

bool iommufd_is_memory_file(struct file *file)
{
	return seals_of(file);
}

int iommufd_begin_writes(struct file *file)
{
	const unsigned int *seals = seals_of(file);
	int ret;

	if (!seals)
		return -EINVAL;
	/* Fails with F_SEAL_WRITE, and from here on that seal is refused. */
	ret = mapping_map_writable(file->f_mapping);
	if (!ret && READ_ONCE(*seals) & F_SEAL_FUTURE_WRITE) {
		mapping_unmap_writable(file->f_mapping);
		ret = -EPERM;
	}
	return ret;
}

void iommufd_end_writes(struct file *file)
{
	mapping_unmap_writable(file->f_mapping);
}

/*
 * Whether what is left is better kept for others. Pages that are pinned cannot be taken
 * back, and are part of no process that could be killed for them.
 */
static bool memory_is_low(void)
{
	unsigned long margin = min(totalram_pages() / 64, SZ_128M >> PAGE_SHIFT);

	return si_mem_available() + get_nr_swap_pages() < (long)margin;
}

/* How many pages of the file are there. */
static unsigned long count_pages(const struct address_space *mapping)
{
	/* One more or less, as others bring some: nobody has to know better. */
	return data_race(mapping->nrpages);
}

/* Whether all pages of the file are there, and none is swapped out. */
static bool is_complete(const struct address_space *mapping)
{
	return count_pages(mapping) >= DIV_ROUND_UP(i_size_read(mapping->host), PAGE_SIZE);
}

/* A page that is not there, unless it has come; @is_first if it is of several. */
static struct folio *allocate(struct address_space *mapping, unsigned long index, bool is_first)
{
	/* Fails where others would have a process killed. */
	gfp_t gfp = mapping_gfp_mask(mapping) | __GFP_RETRY_MAYFAIL | __GFP_NOWARN;

	if (fatal_signal_pending(current))
		return ERR_PTR(-EINTR);
	if (is_first && memory_is_low())
		return ERR_PTR(-ENOMEM);
	return shmem_read_folio_gfp(mapping, index, gfp);
}

int iommufd_fill_file(struct file *file, unsigned long first, unsigned long npages)
{
	struct address_space *mapping = file->f_mapping;
	unsigned long next = first, end = first + npages;
	bool is_first = true;
	struct folio *folio;
	unsigned int flags;
	int ret = 0;

	/* Huge pages come from a pool. */
	if (!shmem_file(file) || is_complete(mapping))
		return 0;
	flags = memalloc_pin_save();
	while (next < end) {
		folio = filemap_get_folio(mapping, next);
		if (IS_ERR(folio)) {
			folio = allocate(mapping, next, is_first);
			is_first = false;
		}
		if (IS_ERR(folio)) {
			ret = PTR_ERR(folio);
			break;
		}
		next = folio_next_index(folio);
		folio_put(folio);
	}
	memalloc_pin_restore(flags);
	return ret;
}

unsigned long iommufd_file_pages(struct file *file)
{
	return count_pages(file->f_mapping);
}

bool iommufd_has_huge_pages(struct file *file)
{
	return is_file_hugepages(file);
}

/* What fallocate() has made is cleared by the first who uses it. */
static noinline unsigned long clear_if_needed(struct folio *folio)
{
	if (!folio_test_uptodate(folio)) {
		folio_lock(folio);
		if (!folio_test_uptodate(folio)) {
			folio_zero_range(folio, 0, folio_size(folio));
			flush_dcache_folio(folio);
			folio_mark_uptodate(folio);
		}
		folio_unlock(folio);
	}
	return folio_nr_pages(folio);
}

unsigned long iommufd_cleared_pages(struct folio *folio)
{
	unsigned long flags = READ_ONCE(folio->flags.f);

	/* Most are of one page, and cleared. */
	if (unlikely((flags & (BIT(PG_head) | BIT(PG_uptodate))) != BIT(PG_uptodate)))
		return clear_if_needed(folio);
	return 1;
}
