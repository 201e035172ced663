/* SPDX-License-Identifier: GPL-2.0 */
/* Virtual IOMMUs and their devices, of the IOMMU in software. */
#ifndef SELFTESTS_IOMMU_VIOMMU_CALLS_H
#define SELFTESTS_IOMMU_VIOMMU_CALLS_H

#include "nested_calls.h"

static inline struct iommu_viommu_alloc viommu_arg(int device, int hwpt)
{
	return (struct iommu_viommu_alloc) {
		.size = sizeof(struct iommu_viommu_alloc),
		.type = IOMMU_VIOMMU_TYPE_SELFTEST,
		.dev_id = device,
		.hwpt_id = hwpt,
	};
}

static inline int viommu_alloc(int iommufd, int device, int hwpt)
{
	struct iommu_viommu_alloc arg = viommu_arg(device, hwpt);
	int ret = call(iommufd, IOMMU_VIOMMU_ALLOC, &arg);

	return ret ? ret : (int)arg.out_viommu_id;
}

/* The same, with memory of it that can be mapped, at @data->out_mmap_offset. */
static inline int viommu_alloc_with(int iommufd, int device, int hwpt,
				    struct iommu_viommu_selftest *data)
{
	struct iommu_viommu_alloc arg = viommu_arg(device, hwpt);
	int ret;

	arg.data_len = sizeof(*data);
	arg.data_uptr = (uintptr_t)data;
	ret = call(iommufd, IOMMU_VIOMMU_ALLOC, &arg);
	return ret ? ret : (int)arg.out_viommu_id;
}

static inline struct iommu_hw_queue_alloc hw_queue_arg(int viommu, uint32_t index, uint64_t iova,
						       uint64_t length)
{
	return (struct iommu_hw_queue_alloc) {
		.size = sizeof(struct iommu_hw_queue_alloc),
		.viommu_id = viommu,
		.type = IOMMU_HW_QUEUE_TYPE_SELFTEST,
		.index = index,
		.nesting_parent_iova = iova,
		.length = length,
	};
}

static inline int hw_queue_alloc(int iommufd, int viommu, uint32_t index, uint64_t iova,
				 uint64_t length)
{
	struct iommu_hw_queue_alloc arg = hw_queue_arg(viommu, index, iova, length);
	int ret = call(iommufd, IOMMU_HW_QUEUE_ALLOC, &arg);

	return ret ? ret : (int)arg.out_hw_queue_id;
}

static inline struct iommu_veventq_alloc veventq_arg(int viommu, uint32_t depth)
{
	return (struct iommu_veventq_alloc) {
		.size = sizeof(struct iommu_veventq_alloc),
		.viommu_id = viommu,
		.type = IOMMU_VEVENTQ_TYPE_SELFTEST,
		.veventq_depth = depth,
	};
}

/* A queue of @depth events at most, which are read from @file. */
static inline int veventq_alloc(int iommufd, int viommu, uint32_t depth, int *file)
{
	struct iommu_veventq_alloc arg = veventq_arg(viommu, depth);
	int ret = call(iommufd, IOMMU_VEVENTQ_ALLOC, &arg);

	*file = ret ? -1 : (int)arg.out_veventq_fd;
	return ret ? ret : (int)arg.out_veventq_id;
}

/* An event of a bound device, for the virtual IOMMU on a domain of which it is. */
static inline int trigger_event(int iommufd, int device)
{
	struct iommu_test_cmd arg = { .trigger_vevent.dev_id = device };

	return mock_call(iommufd, IOMMU_TEST_OP_TRIGGER_VEVENT, &arg);
}

/* Have a virtual IOMMU know a device by @number. */
static inline int vdevice_alloc(int iommufd, int viommu, int device, uint64_t number)
{
	struct iommu_vdevice_alloc arg = {
		.size = sizeof(arg), .viommu_id = viommu, .dev_id = device, .virt_id = number,
	};
	int ret = call(iommufd, IOMMU_VDEVICE_ALLOC, &arg);

	return ret ? ret : (int)arg.out_vdevice_id;
}

static inline struct iommu_hwpt_invalidate
viommu_invalidate_arg(int viommu, const struct iommu_viommu_invalidate_selftest *requests,
		      unsigned int count)
{
	return (struct iommu_hwpt_invalidate) {
		.size = sizeof(struct iommu_hwpt_invalidate),
		.hwpt_id = viommu,
		.data_uptr = (uintptr_t)requests,
		.data_type = IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST,
		.entry_len = sizeof(*requests),
		.entry_num = count,
	};
}

/* Have the device of that number forget entry @id of its cache. */
static inline int viommu_invalidate(int iommufd, int viommu, uint32_t number, unsigned int id)
{
	struct iommu_viommu_invalidate_selftest request = { .vdev_id = number, .cache_id = id };
	struct iommu_hwpt_invalidate arg = viommu_invalidate_arg(viommu, &request, 1);

	return call(iommufd, IOMMU_HWPT_INVALIDATE, &arg);
}

/* 0 if the device has that in its cache, -EINVAL if not. */
static inline int check_cache(int iommufd, int device, unsigned int id, uint32_t value)
{
	struct iommu_test_cmd arg = {
		.id = device, .check_dev_cache = { .id = id, .cache = value },
	};

	return mock_call(iommufd, IOMMU_TEST_OP_DEV_CHECK_CACHE, &arg);
}

#endif /* SELFTESTS_IOMMU_VIOMMU_CALLS_H */
