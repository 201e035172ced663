/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A device that needs memory. What is mapped is pinned and charged as long as its space has
 * a domain, and not where there is none: tests about pins have one of these there.
 */
#ifndef SELFTESTS_IOMMU_PINNING_H
#define SELFTESTS_IOMMU_PINNING_H

#include "ioasid_utils.h"

struct needer {
	struct edu edu;
	int id;
};

/* One that was not opened can be closed. */
#define NO_NEEDER ((struct needer) { .edu.fd = -1 })

/*
 * Bind it to a context, and attach it to a space there: -ENODEV if there is no device to
 * test with. It is moved and detached by way of @edu; with its @id, other spaces can have
 * domains as well.
 */
static inline int needer_open(struct needer *needer, int iommufd, int space)
{
	int ret = edu_find(&needer->edu, getenv("EDU"));

	if (!ret)
		ret = edu_open(&needer->edu);
	if (ret)
		return ret;
	needer->id = vfio_bind(needer->edu.fd, iommufd);
	return needer->id < 0 ? needer->id : vfio_attach(needer->edu.fd, space);
}

static inline void needer_close(struct needer *needer)
{
	edu_close(&needer->edu);
}

/*
 * The same in a test; false if there is no device. First thing, for a SKIP hides what was
 * not as expected before.
 */
static inline bool need_pins(struct __test_metadata *_metadata, struct needer *needer,
			     int iommufd, int space)
{
	int ret = needer_open(needer, iommufd, space);

	if (ret != -ENODEV)
		ASSERT_OK(ret);
	return !ret;
}

#endif /* SELFTESTS_IOMMU_PINNING_H */
