// SPDX-License-Identifier: GPL-2.0
/*
 * What maps an address of the current process: see helpers.h.
 *
 * This would go if pin_user_pages() said of each page in what block it is mapped.
 *
 * Nothing is locked: page tables of a process are not freed while interrupts are off,
 * which is what the lockless pin_user_pages_fast() and KVM rely on as well.
 */

#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/sched.h>
#include <linux/uaccess.h>

#include "helpers.h"

struct leaf {
	unsigned long pfn;	/* of the address itself */
	unsigned int order;	/* log2 of the pages that the entry maps */
	bool is_permitted;
};

/* Whether there is a table of single pages, or a leaf of more, which is put into @leaf then. */
static bool find_leaf(unsigned long addr, bool write, struct leaf *leaf)
{
	pgd_t *pgdp = pgd_offset(current->mm, addr), pgd = READ_ONCE(*pgdp);
	p4d_t *p4dp, p4d;
	pud_t *pudp, pud;
	pmd_t pmd;

	if (!pgd_present(pgd))
		return false;
	p4dp = p4d_offset_lockless(pgdp, pgd, addr);
	p4d = READ_ONCE(*p4dp);
	if (!p4d_present(p4d))
		return false;
	pudp = pud_offset_lockless(p4dp, p4d, addr);
	pud = READ_ONCE(*pudp);
	if (!pud_present(pud))
		return false;
	if (pud_leaf(pud)) {
		leaf->order = PUD_SHIFT - PAGE_SHIFT;
		leaf->pfn = pud_pfn(pud) + ((addr & ~PUD_MASK) >> PAGE_SHIFT);
		leaf->is_permitted = pud_access_permitted(pud, write);
		return true;
	}
	pmd = READ_ONCE(*pmd_offset_lockless(pudp, pud, addr));
	if (!pmd_present(pmd))
		return false;
	if (pmd_leaf(pmd)) {
		leaf->order = PMD_SHIFT - PAGE_SHIFT;
		leaf->pfn = pmd_pfn(pmd) + ((addr & ~PMD_MASK) >> PAGE_SHIFT);
		leaf->is_permitted = pmd_access_permitted(pmd, write);
	}
	return true;
}

static bool find_leaf_of_user(unsigned long addr, struct leaf *leaf)
{
	unsigned long flags;
	bool found;

	/* The kernel's half of the table can change under us, and is nobody's business. */
	if (untagged_addr(addr) >= TASK_SIZE_MAX)
		return false;
	local_irq_save(flags);
	found = find_leaf(addr, false, leaf);
	local_irq_restore(flags);
	return found;
}

bool iommufd_maps_single_pages(unsigned long addr)
{
	struct leaf leaf = {};

	return find_leaf_of_user(addr, &leaf) && !leaf.order;
}

bool iommufd_maps_something(unsigned long addr)
{
	struct leaf leaf = {};

	return find_leaf_of_user(addr, &leaf);
}

unsigned int iommufd_leaf_order(unsigned long addr, const struct page *page, bool write)
{
	struct leaf leaf = {};
	unsigned long flags;

	local_irq_save(flags);
	find_leaf(addr, write, &leaf);
	local_irq_restore(flags);
	if (!leaf.is_permitted || leaf.pfn != page_to_pfn(page) ||
	    folio_order(page_folio(page)) < leaf.order)
		return 0;
	return leaf.order;
}
