/* SPDX-License-Identifier: GPL-2.0 */
/* Calls about the PASIDs of devices behind the IOMMU in software, as in mock_calls.h. */
#ifndef SELFTESTS_IOMMU_MOCK_PASID_H
#define SELFTESTS_IOMMU_MOCK_PASID_H

#include "nested_calls.h"

/* The id of the domain that the PASID is on, or a negative errno. */
static inline int pasid_attach(int iommufd, int id, uint32_t pasid, int pt)
{
	struct iommu_test_cmd arg = { .id = id, .pasid_attach = { .pasid = pasid, .pt_id = pt } };
	int ret = mock_call(iommufd, IOMMU_TEST_OP_PASID_ATTACH, &arg);

	return ret ? ret : (int)arg.pasid_attach.pt_id;
}

static inline int pasid_replace(int iommufd, int id, uint32_t pasid, int pt)
{
	struct iommu_test_cmd arg = { .id = id, .pasid_replace = { .pasid = pasid, .pt_id = pt } };
	int ret = mock_call(iommufd, IOMMU_TEST_OP_PASID_REPLACE, &arg);

	return ret ? ret : (int)arg.pasid_replace.pt_id;
}

static inline int pasid_detach(int iommufd, int id, uint32_t pasid)
{
	struct iommu_test_cmd arg = { .id = id, .pasid_detach.pasid = pasid };

	return mock_call(iommufd, IOMMU_TEST_OP_PASID_DETACH, &arg);
}

/* 0 if the PASID is on that domain, or on none if @hwpt is 0; -EINVAL if not. */
static inline int pasid_check(int iommufd, int id, uint32_t pasid, int hwpt)
{
	struct iommu_test_cmd arg = {
		.id = id, .pasid_check = { .pasid = pasid, .hwpt_id = hwpt },
	};

	return mock_call(iommufd, IOMMU_TEST_OP_PASID_CHECK_HWPT, &arg);
}

/* The same of what the IOMMU was told last of this very device, whatever is so for its group. */
static inline int pasid_told(int iommufd, int id, uint32_t pasid, int hwpt)
{
	struct iommu_test_cmd arg = {
		.id = id, .pasid_check = { .pasid = pasid, .hwpt_id = hwpt },
	};

	return mock_call(iommufd, IOMMUFD_MOCK_OP_CHECK_TOLD, &arg);
}

/* The id of a new domain inside of @parent, or a negative errno. */
static inline int nested_for(int iommufd, int device, int parent, uint32_t flags)
{
	struct iommu_hwpt_selftest data = { .iotlb = IOMMU_TEST_IOTLB_DEFAULT };
	struct iommu_hwpt_alloc arg = nested_arg(device, parent, &data);
	int ret;

	arg.flags = flags;
	ret = call(iommufd, IOMMU_HWPT_ALLOC, &arg);
	return ret ? ret : (int)arg.out_hwpt_id;
}

/* How many bits PASIDs of a bound device have, or a negative errno. */
static inline int pasid_width(int iommufd, int device)
{
	struct iommu_hw_info arg = { .size = sizeof(arg), .dev_id = device };
	int ret = call(iommufd, IOMMU_GET_HW_INFO, &arg);

	return ret ? ret : arg.out_max_pasid_log2;
}

#endif /* SELFTESTS_IOMMU_MOCK_PASID_H */
