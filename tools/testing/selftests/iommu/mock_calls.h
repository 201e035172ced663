/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The calls of the IOMMU in software that test builds of the driver have, one function
 * each, as in iommufd_calls.h. IOMMUFD_TEST_H is the kernel source's header of them.
 */
#ifndef SELFTESTS_IOMMU_MOCK_CALLS_H
#define SELFTESTS_IOMMU_MOCK_CALLS_H

#include "iommufd_calls.h"

/* That header wants the installed one: IOMMUFD_H is what stands in its place. */
#define _IOMMUFD_H
#include IOMMUFD_TEST_H
#include "../../../../drivers/iommu/iommufd/mock/ops.h"

/* A device: as what can be destroyed, as what is bound, and where it was attached at first. */
struct mock {
	int id;
	int device;
	int hwpt;
};

static inline int mock_call(int iommufd, uint32_t op, struct iommu_test_cmd *arg)
{
	arg->size = sizeof(*arg);
	arg->op = op;
	return call(iommufd, IOMMU_TEST_CMD, arg);
}

/* Plug a device in, bind it, and attach it. To destroy it is to unplug it. */
static inline int mock_add_with(int iommufd, int pt, uint32_t flags, struct mock *mock)
{
	struct iommu_test_cmd arg = { .id = pt, .mock_domain_flags.dev_flags = flags };
	int ret = mock_call(iommufd, IOMMU_TEST_OP_MOCK_DOMAIN_FLAGS, &arg);

	if (!ret)
		*mock = (struct mock) {
			.id = arg.mock_domain_flags.out_stdev_id,
			.device = arg.mock_domain_flags.out_idev_id,
			.hwpt = arg.mock_domain_flags.out_hwpt_id,
		};
	return ret;
}

/* The same, in the group of another one, and like that. */
static inline int mock_add_beside(int iommufd, int pt, int id, struct mock *mock)
{
	struct iommu_test_cmd arg = { .id = pt, .mock_domain_flags.dev_flags = id };
	int ret = mock_call(iommufd, IOMMUFD_MOCK_OP_ADD_BESIDE, &arg);

	if (!ret)
		*mock = (struct mock) {
			.id = arg.mock_domain_flags.out_stdev_id,
			.device = arg.mock_domain_flags.out_idev_id,
			.hwpt = arg.mock_domain_flags.out_hwpt_id,
		};
	return ret;
}

static inline int mock_add_as(int iommufd, uint32_t op, int pt, struct mock *mock)
{
	struct iommu_test_cmd arg = { .id = pt };
	int ret = mock_call(iommufd, op, &arg);

	if (!ret)
		*mock = (struct mock) {
			.id = arg.mock_domain.out_stdev_id,
			.device = arg.mock_domain.out_idev_id,
			.hwpt = arg.mock_domain.out_hwpt_id,
		};
	return ret;
}

static inline int mock_add(int iommufd, int pt, struct mock *mock)
{
	return mock_add_as(iommufd, IOMMU_TEST_OP_MOCK_DOMAIN, pt, mock);
}

/* One that no IOMMU has. */
static inline int mock_add_untranslated(int iommufd, int pt, struct mock *mock)
{
	return mock_add_as(iommufd, IOMMUFD_MOCK_OP_ADD_UNTRANSLATED, pt, mock);
}

/* Move a device; the id of the domain that it is on, or a negative errno. */
static inline int mock_move(int iommufd, int id, int pt)
{
	struct iommu_test_cmd arg = { .id = id, .mock_domain_replace.pt_id = pt };
	int ret = mock_call(iommufd, IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE, &arg);

	return ret ? ret : (int)arg.mock_domain_replace.pt_id;
}

/* How many devices in software the kernel has. */
static inline unsigned int mock_count(void)
{
	DIR *dir = opendir("/sys/bus/platform/devices");
	struct dirent *entry;
	unsigned int count = 0;

	while (dir && (entry = readdir(dir)))
		count += !strncmp(entry->d_name, "iommufd_mock", 12);
	if (dir)
		closedir(dir);
	return count;
}

/* 0 if a domain leads there to what @memory has, or, if that is NULL, anywhere. -EINVAL if not. */
static inline int mock_check_map(int iommufd, int hwpt, uint64_t iova, const void *memory,
				 uint64_t length)
{
	struct iommu_test_cmd arg = {
		.id = hwpt,
		.check_map = { .iova = iova, .length = length, .uptr = (uintptr_t)memory },
	};

	return mock_call(iommufd, IOMMU_TEST_OP_MD_CHECK_MAP, &arg);
}

/* A dma-buf. */
static inline int mock_buf(int iommufd, uint32_t length)
{
	struct iommu_test_cmd arg = {
		.dmabuf_get = { .length = length, .open_flags = O_CLOEXEC },
	};

	return mock_call(iommufd, IOMMU_TEST_OP_DMABUF_GET, &arg);
}

/* Take its memory back, or let others have it again. */
static inline int mock_buf_revoke(int iommufd, int buf, bool revoked)
{
	struct iommu_test_cmd arg = {
		.dmabuf_revoke = { .dmabuf_fd = buf, .revoked = revoked },
	};

	return mock_call(iommufd, IOMMU_TEST_OP_DMABUF_REVOKE, &arg);
}

/* A file that is a driver without DMA, which may pin. */
static inline int mock_access(int iommufd, int ioas)
{
	struct iommu_test_cmd arg = {
		.id = ioas, .create_access.flags = MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES,
	};
	int ret = mock_call(iommufd, IOMMU_TEST_OP_CREATE_ACCESS, &arg);

	return ret ? ret : (int)arg.create_access.out_access_fd;
}

static inline int mock_access_move(int iommufd, int access, int ioas)
{
	struct iommu_test_cmd arg = { .id = access, .access_replace_ioas.ioas_id = ioas };

	return mock_call(iommufd, IOMMU_TEST_OP_ACCESS_REPLACE_IOAS, &arg);
}

/* Pin, for writing as well; the number of the pins, or a negative errno. */
static inline int mock_access_pin(int iommufd, int access, uint64_t iova, uint64_t length)
{
	struct iommu_test_cmd arg = {
		.id = access,
		.access_pages = {
			.flags = MOCK_FLAGS_ACCESS_WRITE, .iova = iova, .length = length,
		},
	};
	int ret = mock_call(iommufd, IOMMU_TEST_OP_ACCESS_PAGES, &arg);

	return ret ? ret : (int)arg.access_pages.out_access_pages_id;
}

static inline int mock_access_unpin(int iommufd, int access, int pins)
{
	struct iommu_test_cmd arg = { .id = access, .destroy_access_pages.access_pages_id = pins };

	return mock_call(iommufd, IOMMU_TEST_OP_DESTROY_ACCESS_PAGES, &arg);
}

/* Read from there, or write, with @flags (MOCK_ACCESS_RW_WRITE). */
static inline int mock_access_rw(int iommufd, int access, uint64_t iova, void *data,
				 uint64_t length, uint32_t flags)
{
	struct iommu_test_cmd arg = {
		.id = access,
		.access_rw = {
			.iova = iova, .length = length, .uptr = (uintptr_t)data, .flags = flags,
		},
	};

	return mock_call(iommufd, IOMMU_TEST_OP_ACCESS_RW, &arg);
}

#endif /* SELFTESTS_IOMMU_MOCK_CALLS_H */
