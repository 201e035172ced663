// SPDX-License-Identifier: GPL-2.0
/* What kind of memory is where in a process: see helpers.h. */

#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/sched.h>
#include <linux/shmem_fs.h>
#include <linux/userfaultfd_k.h>

#include "helpers.h"

/* Neither somebody's file system nor another process has a part in how it comes. */
static bool comes_by_itself(struct vm_area_struct *vma)
{
	bool known = vma_is_anonymous(vma) || is_vm_hugetlb_page(vma) ||
		     (vma->vm_file && shmem_file(vma->vm_file));

	return known && !userfaultfd_armed(vma);
}

/* Where the memory at @addr is in @mm, if it comes by itself; whoever asks holds the mmap lock. */
static struct vm_area_struct *find_memory(struct mm_struct *mm, unsigned long addr)
{
	struct vm_area_struct *vma = vma_lookup(mm, untagged_addr_remote(mm, addr));

	return vma && comes_by_itself(vma) ? vma : NULL;
}

unsigned long iommufd_page_size(struct mm_struct *mm, unsigned long addr)
{
	unsigned long size = PAGE_SIZE;
	struct vm_area_struct *vma;

	if (!mm)
		mm = current->mm;
	if (mmap_read_lock_killable(mm))
		return size;
	vma = find_memory(mm, addr);
	if (vma)
		size = vma_kernel_pagesize(vma);
	mmap_read_unlock(mm);
	return size;
}

long iommufd_pin_without_waiting(struct mm_struct *mm, unsigned long addr, unsigned long npages,
				 unsigned int flags, struct page **pages)
{
	struct vm_area_struct *vma;
	long got = -EFAULT;

	if (!mm)
		mm = current->mm;
	if (mmap_read_lock_killable(mm))
		return -EINTR;
	/* What it is cannot change before it is pinned: the lock is not let go of in between. */
	vma = find_memory(mm, addr);
	if (vma) {
		npages = min(npages, (vma->vm_end - untagged_addr_remote(mm, addr)) >> PAGE_SHIFT);
		got = pin_user_pages_remote(mm, addr, npages, flags | FOLL_NOWAIT, pages, NULL);
	}
	mmap_read_unlock(mm);
	return got;
}
