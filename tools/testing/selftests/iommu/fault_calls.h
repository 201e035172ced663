/* SPDX-License-Identifier: GPL-2.0 */
/* Page faults of devices behind the IOMMU in software, and queues of them. */
#ifndef SELFTESTS_IOMMU_FAULT_CALLS_H
#define SELFTESTS_IOMMU_FAULT_CALLS_H

#include <poll.h>

#include "mock_pasid.h"

/* What the IOMMU is told: enum iommu_page_response_code of the kernel. */
#define SUCCESS 0
#define INVALID 1
#define FAILURE 2

#define FAULT_PERM (IOMMU_PGFAULT_PERM_READ | IOMMU_PGFAULT_PERM_WRITE)
#define FAULT_ADDR 0xdeadb000ULL

#define FAULT_SIZE sizeof(struct iommu_hwpt_pgfault)
#define ANSWER_SIZE sizeof(struct iommu_hwpt_page_response)

struct fault_queue {
	int id;
	int fd;
};

static inline int fault_queue_alloc(int iommufd, struct fault_queue *queue)
{
	struct iommu_fault_alloc arg = { .size = sizeof(arg) };
	int ret = call(iommufd, IOMMU_FAULT_QUEUE_ALLOC, &arg);

	if (!ret)
		*queue = (struct fault_queue) { arg.out_fault_id, arg.out_fault_fd };
	return ret;
}

/* A domain of @ioas whose faults go to a queue. */
static inline int hwpt_with_faults(int iommufd, int device, int ioas, uint32_t flags, int queue)
{
	struct iommu_hwpt_alloc arg = {
		.size = sizeof(arg), .flags = flags | IOMMU_HWPT_FAULT_ID_VALID,
		.dev_id = device, .pt_id = ioas, .fault_id = queue,
	};
	int ret = call(iommufd, IOMMU_HWPT_ALLOC, &arg);

	return ret ? ret : (int)arg.out_hwpt_id;
}

/* The same inside of @parent. */
static inline int nested_with_faults(int iommufd, int device, int parent, uint32_t flags,
				     int queue)
{
	struct iommu_hwpt_selftest data = { .iotlb = IOTLB };
	struct iommu_hwpt_alloc arg = nested_arg(device, parent, &data);
	int ret;

	arg.flags = flags | IOMMU_HWPT_FAULT_ID_VALID;
	arg.fault_id = queue;
	ret = call(iommufd, IOMMU_HWPT_ALLOC, &arg);
	return ret ? ret : (int)arg.out_hwpt_id;
}

/* A bound device asks for a page, as a part of a group; @op says whether as the last one. */
static inline int fault_with(int iommufd, uint32_t op, int device, uint32_t pasid, uint32_t group)
{
	struct iommu_test_cmd arg = {
		.trigger_iopf = {
			.dev_id = device, .pasid = pasid, .grpid = group,
			.perm = FAULT_PERM, .addr = FAULT_ADDR,
		},
	};

	return mock_call(iommufd, op, &arg);
}

static inline int fault(int iommufd, int device, uint32_t pasid, uint32_t group)
{
	return fault_with(iommufd, IOMMU_TEST_OP_TRIGGER_IOPF, device, pasid, group);
}

static inline int fault_in_part(int iommufd, int device, uint32_t pasid, uint32_t group)
{
	return fault_with(iommufd, IOMMUFD_MOCK_OP_TRIGGER_PART, device, pasid, group);
}

/* How often faults of a bound device were answered with @code, or a negative errno. */
static inline int answers(int iommufd, int device, uint32_t code)
{
	struct iommu_test_cmd arg = { .id = device, .check_dev_cache.id = code };
	int ret = mock_call(iommufd, IOMMUFD_MOCK_OP_ANSWERS, &arg);

	return ret ? ret : (int)arg.check_dev_cache.cache;
}

/* What read(2) and write(2) return, or a negative errno. */
static inline long read_faults(int fd, void *faults, size_t size)
{
	ssize_t got = read(fd, faults, size);

	return got < 0 ? -errno : got;
}

static inline long write_answers(int fd, const void *answers, size_t size)
{
	ssize_t got = write(fd, answers, size);

	return got < 0 ? -errno : got;
}

/* The cookie of the next fault, which is one alone, or a negative errno, or 0. */
static inline long read_fault(int fd)
{
	struct iommu_hwpt_pgfault fault;
	long got = read_faults(fd, &fault, sizeof(fault));

	return got > 0 ? (long)fault.cookie : got;
}

static inline long write_answer(int fd, uint32_t cookie, uint32_t code)
{
	struct iommu_hwpt_page_response answer = { .cookie = cookie, .code = code };

	return write_answers(fd, &answer, sizeof(answer));
}

/* What can be done with a descriptor at this moment. */
static inline int ready(int fd)
{
	struct pollfd poller = { .fd = fd, .events = POLLIN | POLLRDNORM | POLLOUT };

	return poll(&poller, 1, 0) < 0 ? -errno : poller.revents;
}

#endif /* SELFTESTS_IOMMU_FAULT_CALLS_H */
