/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Reads which pages were written to from page tables of one format: a template.
 *
 * The format is the kernel's own, from the source of the kernel that this is built for, with the
 * features that its driver is built with: who includes this has included generic_pt/fmt/iommu_*.c
 * before, but for the functions that make and fill such tables, whose guard
 * (__GENERIC_PT_IOMMU_PT_H) he has defined. Of the kernel's functions for page tables just this
 * one is left out without CONFIG_IOMMUFD_DRIVER.
 */

#include <linux/args.h>
#include <linux/iova_bitmap.h>

#include <generic_pt/pt_iter.h>
#include "dirty.h"

/* A driver's domain is the beginning of its page table. */
static_assert(offsetof(struct pt_iommu_table, iommu.domain) == 0);

/* Marks that are told, and then cleared if there is a gather. */
static void take_mark(struct pt_state *pts, const struct iommu_dirty_bitmap *dirty)
{
	unsigned int shift = pt_entry_oa_lg2sz(pts);
	pt_vaddr_t first = log2_set_mod(pts->range->va, 0, shift);
	size_t size = log2_to_int(shift);

	if (dirty->bitmap)
		iova_bitmap_set(dirty->bitmap, first, size);
	if (dirty->gather) {
		pt_entry_make_write_clean(pts);
		iommu_iotlb_gather_add_range(dirty->gather, first, size);
	}
}

static int take_marks(struct pt_range *range, void *dirty, unsigned int level,
		      struct pt_table_p *table)
{
	struct pt_state pts = pt_init(range, level, table);
	int ret = 0;

	for_each_pt_level_entry(&pts) {
		if (pts.type == PT_ENTRY_OA && pt_entry_is_write_dirty(&pts))
			take_mark(&pts, dirty);
		else if (pts.type == PT_ENTRY_TABLE)
			ret = pt_descend(&pts, dirty, take_marks);
		if (ret)
			break;
	}
	return ret;
}

static int translate(struct pt_range *range, void *to, unsigned int level,
		     struct pt_table_p *table)
{
	struct pt_state pts = pt_init(range, level, table);
	phys_addr_t *phys = to;

	switch (pt_load_single_entry(&pts)) {
	case PT_ENTRY_TABLE:
		return pt_descend(&pts, to, translate);
	case PT_ENTRY_OA:
		*phys = pt_entry_oa_exact(&pts);
		return 0;
	default:
		return -ENOENT;
	}
}

/* Whether the driver's functions find there what is found here. */
static bool is_read_alike(struct iommu_domain *domain, struct pt_common *common,
			  unsigned long iova)
{
	struct pt_range range = pt_make_range(common, iova, iova);
	phys_addr_t phys = 0;

	if (pt_walk_range(&range, translate, &phys))
		return false;
	return phys == domain->ops->iova_to_phys(domain, iova);
}

/* -EIO: it is not such a table after all. */
int CONCATENATE(iommufd_read_, PT_FMT)(struct iommu_domain *domain, unsigned long iova,
				       size_t size, unsigned long flags,
				       struct iommu_dirty_bitmap *dirty)
{
	struct pt_common *common =
		common_from_iommu(container_of(domain, struct pt_iommu, domain));
	struct pt_range range = pt_make_range(common, iova, iova + size - 1);
	int ret = pt_check_range(&range);

	if (ret)
		return ret;
	if (!is_read_alike(domain, common, iova))
		return -EIO;
	return pt_walk_range(&range, take_marks, dirty);
}
