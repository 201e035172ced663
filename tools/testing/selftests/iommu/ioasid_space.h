/* SPDX-License-Identifier: GPL-2.0 */
/* The fixture of tests that need one address space, some memory and, maybe, pins. */
#ifndef SELFTESTS_IOMMU_IOASID_SPACE_H
#define SELFTESTS_IOMMU_IOASID_SPACE_H

#include "pinning.h"

#define SPACE_PAGES 32

FIXTURE(space)
{
	int fd;
	int ioasid;
	char *memory;
	long pins;
	struct needer needer;
};

FIXTURE_SETUP(space)
{
	self->needer = NO_NEEDER;
	self->fd = open_iommufd();
	if (self->fd < 0)
		SKIP(return, "cannot open " IOMMU_NODE);
	self->ioasid = ioasid_alloc(self->fd, 64);
	ASSERT_LT(0, self->ioasid);
	self->memory = pages(SPACE_PAGES);
	ASSERT_NE(NULL, self->memory);
	ASSERT_EQ(0, pinned_pages());
	self->pins = held_pins();
}

FIXTURE_TEARDOWN(space)
{
	needer_close(&self->needer);
	close(self->fd);
	expect_nothing_left(_metadata, self->pins);
}

/* Have a device in the space: what is mapped is pinned. */
#define NEED_PINS() need_pins(_metadata, &self->needer, self->fd, self->ioasid)

/* Map COUNT pages of the test's memory, from page FROM of it on, at page AT of IOVA. */
#define MAP(at, from, count) \
	ioasid_map(self->fd, self->ioasid, self->memory + (from) * PAGE, \
		   IOVA + (at) * PAGE, (count) * PAGE, IOASID_RW)
#define UNMAP(at, count) \
	unmap(self->fd, self->ioasid, IOVA + (at) * PAGE, (count) * PAGE)

#endif /* SELFTESTS_IOMMU_IOASID_SPACE_H */
