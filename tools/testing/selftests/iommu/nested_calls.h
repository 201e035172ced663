/* SPDX-License-Identifier: GPL-2.0 */
/* Domains inside of domains, behind the IOMMU in software. */
#ifndef SELFTESTS_IOMMU_NESTED_CALLS_H
#define SELFTESTS_IOMMU_NESTED_CALLS_H

#include "mock_calls.h"

#define NEST_PARENT IOMMU_HWPT_ALLOC_NEST_PARENT
/* What a domain's IOTLB is full of at first. */
#define IOTLB 0xcafe

static inline struct iommu_hwpt_alloc nested_arg(int device, int parent,
						 const struct iommu_hwpt_selftest *data)
{
	return (struct iommu_hwpt_alloc) {
		.size = sizeof(struct iommu_hwpt_alloc),
		.dev_id = device,
		.pt_id = parent,
		.data_type = IOMMU_HWPT_DATA_SELFTEST,
		.data_len = sizeof(*data),
		.data_uptr = (uintptr_t)data,
	};
}

/* A domain inside of @parent, or of a virtual IOMMU. */
static inline int nested_alloc(int iommufd, int device, int parent)
{
	struct iommu_hwpt_selftest data = { .iotlb = IOTLB };
	struct iommu_hwpt_alloc arg = nested_arg(device, parent, &data);
	int ret = call(iommufd, IOMMU_HWPT_ALLOC, &arg);

	return ret ? ret : (int)arg.out_hwpt_id;
}

static inline struct iommu_hwpt_invalidate
invalidate_arg(int hwpt, const struct iommu_hwpt_invalidate_selftest *requests, unsigned int count)
{
	return (struct iommu_hwpt_invalidate) {
		.size = sizeof(struct iommu_hwpt_invalidate),
		.hwpt_id = hwpt,
		.data_uptr = (uintptr_t)requests,
		.data_type = IOMMU_HWPT_INVALIDATE_DATA_SELFTEST,
		.entry_len = sizeof(*requests),
		.entry_num = count,
	};
}

/* Forget what entry @id of the IOTLB has. */
static inline int invalidate(int iommufd, int hwpt, unsigned int id)
{
	struct iommu_hwpt_invalidate_selftest request = { .iotlb_id = id };
	struct iommu_hwpt_invalidate arg = invalidate_arg(hwpt, &request, 1);

	return call(iommufd, IOMMU_HWPT_INVALIDATE, &arg);
}

/* 0 if that entry has @value, -EINVAL if not. */
static inline int check_iotlb(int iommufd, int hwpt, unsigned int id, uint32_t value)
{
	struct iommu_test_cmd arg = {
		.id = hwpt, .check_iotlb = { .id = id, .iotlb = value },
	};

	return mock_call(iommufd, IOMMU_TEST_OP_MD_CHECK_IOTLB, &arg);
}

#endif /* SELFTESTS_IOMMU_NESTED_CALLS_H */
