// SPDX-License-Identifier: GPL-2.0
/*
 * Domains for devices that no IOMMU translates for: see helpers.h.
 *
 * There is no page table, for there is nobody to read one. What is mapped where is known to who
 * has it mapped, and that is where it is looked up: the core is not told of it.
 */

#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "helpers.h"

static void free_domain(struct iommu_domain *domain)
{
	kfree(domain);
}

static const struct iommu_domain_ops domain_ops = {
	.free = free_domain,
};

/* Nobody but these domains has it: no IOMMU takes one of them for its own. */
static const struct iommu_ops owner = {};

struct iommu_domain *iommufd_alloc_untranslated(void)
{
	struct iommu_domain *domain = kzalloc_obj(*domain, GFP_KERNEL_ACCOUNT);

	if (!domain)
		return NULL;
	domain->type = IOMMU_DOMAIN_UNMANAGED;
	domain->owner = &owner;
	domain->ops = &domain_ops;
	domain->pgsize_bitmap = PAGE_MASK;
	domain->geometry.aperture_end = ~(dma_addr_t)0;
	domain->geometry.force_aperture = true;
	return domain;
}

bool iommufd_is_behind_iommu(const struct device *dev)
{
	return dev->iommu;
}
