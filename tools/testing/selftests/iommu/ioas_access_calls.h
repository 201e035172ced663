/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the sample driver ioas_access can be asked to do, one function for each.
 * All return 0 or a positive result, or a negative errno.
 */
#ifndef SELFTESTS_IOMMU_IOAS_ACCESS_CALLS_H
#define SELFTESTS_IOMMU_IOAS_ACCESS_CALLS_H

#include "driver/ioas_access.h"
#include "iommufd_calls.h"

#define ACCESS_NODE "/dev/ioas-access"

/* The id of a new access, or a negative errno. */
static inline int access_create_with(int node, int iommufd, uint32_t flags)
{
	struct ioas_access_create arg = { .iommufd = iommufd, .flags = flags };
	int ret = call(node, IOAS_ACCESS_CREATE, &arg);

	return ret ? ret : (int)arg.id;
}

static inline int access_create(int node, int iommufd)
{
	return access_create_with(node, iommufd, 0);
}

static inline int access_number(int node, unsigned long request, unsigned long number)
{
	return call(node, request, (void *)number);
}

static inline int access_destroy(int node)
{
	return access_number(node, IOAS_ACCESS_DESTROY, 0);
}

static inline int access_attach(int node, int ioas)
{
	return access_number(node, IOAS_ACCESS_ATTACH, ioas);
}

static inline int access_replace(int node, int ioas)
{
	return access_number(node, IOAS_ACCESS_REPLACE, ioas);
}

static inline int access_detach(int node)
{
	return access_number(node, IOAS_ACCESS_DETACH, 0);
}

static inline int access_manners(int node, int manners)
{
	return access_number(node, IOAS_ACCESS_MANNERS, manners);
}

static inline int access_range(int node, unsigned long request, uint64_t iova, uint64_t length,
			       const void *data, uint32_t flags)
{
	struct ioas_access_range arg = {
		.iova = iova, .length = length, .data = (uintptr_t)data, .flags = flags,
	};

	return call(node, request, &arg);
}

static inline int access_pin(int node, uint64_t iova, uint64_t length, uint32_t flags)
{
	return access_range(node, IOAS_ACCESS_PIN, iova, length, NULL, flags);
}

static inline int access_unpin(int node, uint64_t iova, uint64_t length)
{
	return access_range(node, IOAS_ACCESS_UNPIN, iova, length, NULL, 0);
}

static inline int access_rw(int node, uint64_t iova, uint64_t length, const void *data,
			    uint32_t flags)
{
	return access_range(node, IOAS_ACCESS_RW, iova, length, data, flags);
}

static inline int access_pinned_rw(int node, uint64_t iova, uint64_t length, const void *data,
				   uint32_t flags)
{
	return access_range(node, IOAS_ACCESS_PINNED_RW, iova, length, data, flags);
}

static inline struct ioas_access_asked access_asked(int node)
{
	struct ioas_access_asked asked = {};

	call(node, IOAS_ACCESS_ASKED, &asked);
	return asked;
}

#endif /* SELFTESTS_IOMMU_IOAS_ACCESS_CALLS_H */
