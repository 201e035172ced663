/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Test calls that the kernel's own tests do not make: operations beside those of its
 * iommufd_test.h, with the arguments of others.
 */
#ifndef IOMMUFD_MOCK_OPS_H
#define IOMMUFD_MOCK_OPS_H

enum {
	/* As IOMMU_TEST_OP_TRIGGER_IOPF, but more faults of the group follow. */
	IOMMUFD_MOCK_OP_TRIGGER_PART = 0x1000,
	/*
	 * How often the IOMMU was told to answer a device's faults with a code (enum
	 * iommu_page_response_code): in check_dev_cache, @id is the code, and what is there is
	 * answered in @cache; iommu_test_cmd.id is the bound device.
	 */
	IOMMUFD_MOCK_OP_ANSWERS,
	/*
	 * How often the IOTLB of a domain, which iommu_test_cmd.id is the id of, would have been
	 * flushed: answered in check_dev_cache.cache.
	 */
	IOMMUFD_MOCK_OP_FLUSHES,
	/* As IOMMU_TEST_OP_MOCK_DOMAIN, but no IOMMU has the device. */
	IOMMUFD_MOCK_OP_ADD_UNTRANSLATED,
	/*
	 * As IOMMU_TEST_OP_MOCK_DOMAIN_FLAGS, in the group of the device whose id is in place of
	 * the flags, and like that one.
	 */
	IOMMUFD_MOCK_OP_ADD_BESIDE,
	/* The next PASID that goes to a domain does not get there with iommu_test_cmd.id. */
	IOMMUFD_MOCK_OP_FAIL_PASID,
	/*
	 * As IOMMU_TEST_OP_PASID_CHECK_HWPT, but of what the IOMMU was told last of this very
	 * device, and of domains that are inside of none.
	 */
	IOMMUFD_MOCK_OP_CHECK_TOLD,
};

#endif
