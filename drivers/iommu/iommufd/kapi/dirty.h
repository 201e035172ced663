/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What reads the marks of page tables whose drivers do not, a function for each format. Each is
 * what iommu_dirty_ops has as read_and_clear_dirty(): see dirty_format.h.
 */
#ifndef IOMMUFD_DIRTY_H
#define IOMMUFD_DIRTY_H

#include <linux/iommu.h>

int iommufd_read_vtdss(struct iommu_domain *domain, unsigned long iova, size_t size,
		       unsigned long flags, struct iommu_dirty_bitmap *dirty);
int iommufd_read_amdv1(struct iommu_domain *domain, unsigned long iova, size_t size,
		       unsigned long flags, struct iommu_dirty_bitmap *dirty);

#endif
