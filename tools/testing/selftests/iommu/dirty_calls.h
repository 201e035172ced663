/* SPDX-License-Identifier: GPL-2.0 */
/* Which pages devices have written to, and the writing, one function each, as in mock_calls.h. */
#ifndef SELFTESTS_IOMMU_DIRTY_CALLS_H
#define SELFTESTS_IOMMU_DIRTY_CALLS_H

#include "mock_calls.h"

#define ENABLE IOMMU_HWPT_DIRTY_TRACKING_ENABLE
#define KEEP IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR

static inline int track(int iommufd, int hwpt, uint32_t flags)
{
	struct iommu_hwpt_set_dirty_tracking arg = {
		.size = sizeof(arg), .flags = flags, .hwpt_id = hwpt,
	};

	return call(iommufd, IOMMU_HWPT_SET_DIRTY_TRACKING, &arg);
}

static inline struct iommu_hwpt_get_dirty_bitmap
bitmap_arg(int hwpt, uint64_t iova, uint64_t length, uint64_t page_size, const void *bitmap)
{
	return (struct iommu_hwpt_get_dirty_bitmap) {
		.size = sizeof(struct iommu_hwpt_get_dirty_bitmap),
		.hwpt_id = hwpt,
		.iova = iova,
		.length = length,
		.page_size = page_size,
		.data = (uintptr_t)bitmap,
	};
}

static inline int get(int iommufd, int hwpt, uint64_t iova, uint64_t length, uint64_t page_size,
		      const void *bitmap, uint32_t flags)
{
	struct iommu_hwpt_get_dirty_bitmap arg =
		bitmap_arg(hwpt, iova, length, page_size, bitmap);

	arg.flags = flags;
	return call(iommufd, IOMMU_HWPT_GET_DIRTY_BITMAP, &arg);
}

/* Have a device write to the page at @iova. */
static inline int mark(int iommufd, int hwpt, uint64_t iova)
{
	uint8_t bit = 1;
	struct iommu_test_cmd arg = {
		.id = hwpt,
		.dirty = {
			.iova = iova, .length = PAGE, .page_size = PAGE, .uptr = (uintptr_t)&bit,
		},
	};

	return mock_call(iommufd, IOMMU_TEST_OP_DIRTY, &arg);
}

static inline unsigned int count_set(const void *bitmap, size_t size)
{
	const uint8_t *bytes = bitmap;
	unsigned int count = 0;

	while (size-- > 0)
		count += __builtin_popcount(*bytes++);
	return count;
}

#endif /* SELFTESTS_IOMMU_DIRTY_CALLS_H */
