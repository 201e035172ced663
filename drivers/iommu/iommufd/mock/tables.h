/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Page tables of the IOMMU in software that <iommufd_test.h> has no names for. Tests in userspace
 * include this as well.
 */
#ifndef IOMMUFD_MOCK_TABLES_H
#define IOMMUFD_MOCK_TABLES_H

/* Of iommu_hwpt_selftest.pagetable_type: what the kernel has for real IOMMUs. */
enum {
	MOCK_IOMMUPT_VTDSS = 0x1000,	/* VT-d's second stage */
	MOCK_IOMMUPT_AMDV1,		/* AMD's first format */
};

#endif
