// SPDX-License-Identifier: GPL-2.0
/*
 * Asking VFIO where a device's BAR is: the one of a dma-buf, and the one that a process
 * has mapped. VFIO's modules need this one, so they cannot be needed in turn: they are
 * asked for by name, if they are there.
 */

#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>

#include "helpers.h"

int iommufd_bar_address(struct dma_buf_attachment *attach, struct phys_vec *bar)
{
	int (*ask)(struct dma_buf_attachment *attach, struct phys_vec *bar);
	int ret;

	ask = symbol_get(vfio_pci_dma_buf_iommufd_map);
	if (!ask)
		return -EOPNOTSUPP;
	ret = ask(attach, bar);
	symbol_put(vfio_pci_dma_buf_iommufd_map);
	return ret;
}

static bool is_vfio_file(struct file *file)
{
	bool (*ask)(struct file *file);
	bool ret;

	ask = symbol_get(vfio_file_is_valid);
	if (!ask)
		return false;
	ret = ask(file);
	symbol_put(vfio_file_is_valid);
	return ret;
}

static bool is_bar(const struct vm_area_struct *vma)
{
	return vma && (vma->vm_flags & VM_PFNMAP) && vma->vm_file && is_vfio_file(vma->vm_file);
}

bool iommufd_is_bar(struct mm_struct *mm, unsigned long addr)
{
	bool ret;

	if (mmap_read_lock_killable(mm))
		return false;
	ret = is_bar(vma_lookup(mm, untagged_addr_remote(mm, addr)));
	mmap_read_unlock(mm);
	return ret;
}

int iommufd_watch(struct mmu_interval_notifier *watch, struct mm_struct *mm, unsigned long addr,
		  unsigned long len, const struct mmu_interval_notifier_ops *ops)
{
	int ret;

	if (mmap_write_lock_killable(mm))
		return -EINTR;
	addr = untagged_addr_remote(mm, addr);
	ret = mmu_interval_notifier_insert_locked(watch, mm, addr, len, ops);
	mmap_write_unlock(mm);
	/* What is on its way out of the page table already is not told of: let it go. */
	if (!ret)
		mmu_interval_read_begin(watch);
	return ret;
}

/* Each is looked at with the lock of the process's memory held, so others get their turn. */
#define MOST_ENTRIES 512

/* A walk over what a process has mapped. */
struct walk {
	struct mm_struct *mm;
	struct vm_area_struct *vma;
	bool write;
};

static bool find_vma_at(struct walk *walk, unsigned long addr)
{
	struct vm_area_struct *vma = walk->vma;

	if (vma && addr < vma->vm_end)
		return true;
	vma = vma_lookup(walk->mm, addr);
	if (!is_bar(vma) || !(vma->vm_flags & (walk->write ? VM_WRITE : VM_READ)))
		return false;
	walk->vma = vma;
	return true;
}

/* The part of an entry of the page table from @addr on; -ENOENT if there is none that will do. */
static int follow(struct walk *walk, unsigned long addr, struct phys_vec *part)
{
	struct follow_pfnmap_args args = { .address = addr };
	int ret = 0;

	if (!find_vma_at(walk, addr))
		return -EFAULT;
	args.vma = walk->vma;
	if (follow_pfnmap_start(&args))
		return -ENOENT;
	part->paddr = PFN_PHYS(args.pfn);
	part->len = ~args.addr_mask - (addr & ~args.addr_mask) + 1;
	if (walk->write && !args.writable)
		ret = -ENOENT;
	/* VFIO's drivers can give away memory as well, which is not what a BAR is. */
	else if (pfn_valid(args.pfn) && !PageReserved(pfn_to_page(args.pfn)))
		ret = -EFAULT;
	follow_pfnmap_end(&args);
	return ret;
}

/* The same; what is not in the page table yet is brought in. */
static int fault_in(struct walk *walk, unsigned long addr, struct phys_vec *part)
{
	unsigned int flags = walk->write ? FAULT_FLAG_WRITE : 0;
	bool unlocked = false;
	int ret = follow(walk, addr, part);

	if (ret != -ENOENT)
		return ret;
	if (walk->mm != current->mm)
		flags |= FAULT_FLAG_REMOTE;
	ret = fixup_user_fault(walk->mm, addr, flags, &unlocked);
	if (unlocked)
		walk->vma = NULL;
	if (!ret)
		ret = follow(walk, addr, part);
	return ret == -ENOENT ? -EFAULT : ret;
}

int iommufd_find_bar(struct mm_struct *mm, unsigned long addr, unsigned long len, bool write,
		     struct phys_vec *bar)
{
	struct walk walk = { .mm = mm, .write = write };
	struct phys_vec part;
	unsigned int i;
	int ret = 0;

	bar->len = 0;
	if (mmap_read_lock_killable(mm))
		return -EINTR;
	addr = untagged_addr_remote(mm, addr);
	for (i = 0; i < MOST_ENTRIES && bar->len < len; i++) {
		ret = fault_in(&walk, addr + bar->len, &part);
		if (ret)
			break;
		if (!bar->len)
			bar->paddr = part.paddr;
		else if (part.paddr != bar->paddr + bar->len)
			break;
		bar->len += min(part.len, len - bar->len);
	}
	mmap_read_unlock(mm);
	return ret;
}
