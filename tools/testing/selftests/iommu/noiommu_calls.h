/* SPDX-License-Identifier: GPL-2.0 */
/* What devices without an IOMMU are told of memory, as in iommufd_calls.h. */
#ifndef SELFTESTS_IOMMU_NOIOMMU_CALLS_H
#define SELFTESTS_IOMMU_NOIOMMU_CALLS_H

#include "iommufd_calls.h"

static inline struct iommu_ioas_noiommu_get_pa pa_arg(int ioas, uint64_t iova, uint64_t length)
{
	return (struct iommu_ioas_noiommu_get_pa) {
		.size = sizeof(struct iommu_ioas_noiommu_get_pa),
		.ioas_id = ioas,
		.iova = iova,
		.length = length,
	};
}

/* Where the memory at @iova is, and how much of @most bytes is there in one piece. */
static inline int get_pa(int iommufd, int ioas, uint64_t iova, uint64_t most, uint64_t *phys,
			 uint64_t *length)
{
	struct iommu_ioas_noiommu_get_pa arg = pa_arg(ioas, iova, most);
	int ret = call(iommufd, IOMMU_IOAS_NOIOMMU_GET_PA, &arg);

	*phys = arg.out_phys;
	*length = arg.length;
	return ret;
}

/* Just whether there is an answer. */
static inline int ask_pa(int iommufd, int ioas, uint64_t iova)
{
	uint64_t phys, length;

	return get_pa(iommufd, ioas, iova, PAGE, &phys, &length);
}

#endif /* SELFTESTS_IOMMU_NOIOMMU_CALLS_H */
