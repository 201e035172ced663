// SPDX-License-Identifier: GPL-2.0
/*
 * Which pages devices have written to: see helpers.h.
 *
 * Without CONFIG_IOMMUFD_DRIVER, IOMMU drivers have devices mark such pages, but what is to read
 * the marks is left out of them. There it is done here, for formats of page tables that the
 * kernel's source defines, and for nobody else: who calls iova_bitmap_set() there calls what does
 * nothing.
 */

#include <linux/generic_pt/iommu.h>
#include <linux/iommu.h>

#include "dirty.h"
#include "helpers.h"

typedef int (*read_fn)(struct iommu_domain *domain, unsigned long iova, size_t size,
		       unsigned long flags, struct iommu_dirty_bitmap *dirty);

#if IS_ENABLED(CONFIG_IOMMUFD_DRIVER)

static read_fn reader(const struct iommu_domain *domain)
{
	return domain->dirty_ops ? domain->dirty_ops->read_and_clear_dirty : NULL;
}

#else

/*
 * What a driver has in its domains if their page table is of a format, and nobody else: the
 * function that translates, and the one that is to read. The second would not do. It is empty
 * for each format, so that a linker could make one function of them.
 */
struct format {
	phys_addr_t (*translate)(struct iommu_domain *domain, dma_addr_t iova);
	read_fn theirs;
	read_fn ours;
};

#define FORMAT(name, reads) {						\
	.translate = pt_iommu_##name##_iova_to_phys,			\
	.theirs = pt_iommu_##name##_read_and_clear_dirty,		\
	.ours = reads,							\
}

static const struct format formats[] = {
#if IS_ENABLED(CONFIG_IOMMU_PT_VTDSS)
	FORMAT(vtdss, iommufd_read_vtdss),
#endif
#if IS_ENABLED(CONFIG_IOMMU_PT_AMDV1)
	FORMAT(amdv1, iommufd_read_amdv1),
#endif
#ifdef IOMMUFD_MOCK
	/* It is part of this module, and answers. */
	FORMAT(amdv1_mock, pt_iommu_amdv1_mock_read_and_clear_dirty),
#endif
};

static read_fn reader(const struct iommu_domain *domain)
{
	unsigned int i;

	if (!domain->dirty_ops || !domain->is_iommupt)
		return NULL;
	for (i = 0; i < ARRAY_SIZE(formats); i++)
		if (domain->ops->iova_to_phys == formats[i].translate &&
		    domain->dirty_ops->read_and_clear_dirty == formats[i].theirs)
			return formats[i].ours;
	return NULL;
}

#endif

bool iommufd_can_read_dirty(const struct iommu_domain *domain)
{
	return reader(domain);
}

int iommufd_set_dirty_tracking(struct iommu_domain *domain, bool enable)
{
	if (!domain->dirty_ops)
		return -EOPNOTSUPP;
	return domain->dirty_ops->set_dirty_tracking(domain, enable);
}

int iommufd_read_dirty(struct iommu_domain *domain, unsigned long iova, size_t size,
		       struct iova_bitmap *bitmap, struct iommu_iotlb_gather *gather)
{
	unsigned long flags = gather ? 0 : IOMMU_DIRTY_NO_CLEAR;
	struct iommu_dirty_bitmap dirty = {
		.bitmap = bitmap,
		.gather = gather,
	};
	read_fn read = reader(domain);

	return read ? read(domain, iova, size, flags, &dirty) : -EOPNOTSUPP;
}
