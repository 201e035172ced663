// SPDX-License-Identifier: GPL-2.0
/* What kind of memory is where in a process: see helpers.h. */

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

int iommufd_find_memory(struct mm_struct *mm, unsigned long addr, unsigned long *len,
			unsigned long *page_size)
{
	struct vm_area_struct *vma;
	int ret = -EFAULT;

	if (!mm)
		mm = current->mm;
	if (mmap_read_lock_killable(mm))
		return -EINTR;
	addr = untagged_addr_remote(mm, addr);
	vma = find_vma(mm, addr);
	if (vma && vma->vm_start <= addr && comes_by_itself(vma)) {
		*len = vma->vm_end - addr;
		*page_size = vma_kernel_pagesize(vma);
		ret = 0;
	}
	mmap_read_unlock(mm);
	return ret;
}
