// SPDX-License-Identifier: GPL-2.0
/* The kernel's generic page tables, for table.rs: see helpers.h. */

#include <linux/generic_pt/iommu.h>
#include <linux/iommu.h>
#include <trace/events/iommu.h>

#include "helpers.h"

struct pt_iommu *iommufd_table(struct iommu_domain *domain)
{
	/* That option has the core keep book of what is mapped. */
	if (IS_ENABLED(CONFIG_IOMMU_DEBUG_PAGEALLOC))
		return NULL;
	return iommupt_from_domain(domain);
}

const struct pt_iommu_ops *iommufd_table_ops(const struct pt_iommu *table)
{
	return table->ops;
}

int iommufd_sync_map(struct iommu_domain *domain, unsigned long iova, size_t size)
{
	if (!domain->ops->iotlb_sync_map)
		return 0;
	return domain->ops->iotlb_sync_map(domain, iova, size);
}

void iommufd_trace_map(unsigned long iova, phys_addr_t address, size_t size)
{
	trace_map(iova, address, size);
}

void iommufd_trace_unmap(unsigned long iova, size_t size, size_t unmapped)
{
	trace_unmap(iova, size, unmapped);
}
