// SPDX-License-Identifier: GPL-2.0
/*
 * Memory that has to move before it is pinned for long: what is in ZONE_MOVABLE, which all new
 * memory is as long as there is some (boot with movablecore=). Several threads that move the same
 * pages at a time make each other fail, and a map does not.
 */
#include "fill.h"
#include "iommufd_calls.h"
#include "mapper.h"
#include "pinning.h"
#include "sources.h"

#define AT (4 * GIB)

/* The first part is untouched, so that others come, and find that the rest is there. */
#define SIZE (96 * MIB)
#define UNTOUCHED (16 * MIB)

#define TRIES 6

FIXTURE(moving)
{
	int fd;
	int ioas;
	struct needer needer;
	long pins;
};

FIXTURE_VARIANT(moving)
{
	char *(*get)(size_t size);
	const char *threads;
};

FIXTURE_VARIANT_ADD(moving, small_pages) { .get = small_pages, .threads = "0" };
FIXTURE_VARIANT_ADD(moving, small_pages_alone) { .get = small_pages, .threads = "1" };
FIXTURE_VARIANT_ADD(moving, transparent_huge_pages) { .get = untouched_huge_pages, .threads = "0" };
FIXTURE_VARIANT_ADD(moving, memfd) { .get = memfd_pages, .threads = "0" };

FIXTURE_SETUP(moving)
{
	self->needer = NO_NEEDER;
	self->fd = open_iommufd();
	self->ioas = ioas_alloc(self->fd);
	if (self->ioas <= 0 || !set_threads(variant->threads))
		SKIP(return, "needs " IOMMU_NODE ", and to be root");
	if (system("sed -n '/zone *Movable/,/present/p' /proc/zoneinfo | grep -q 'present *[1-9]'"))
		SKIP(return, "needs memory in ZONE_MOVABLE: boot with movablecore=");
	if (variant->get == untouched_huge_pages && !has_transparent_huge_pages())
		SKIP(return, NO_TRANSPARENT_HUGE_PAGES);
	self->pins = held_pins();
	if (!need_pins(_metadata, &self->needer, self->fd, self->ioas))
		SKIP(return, NO_DEVICE);
}

FIXTURE_TEARDOWN(moving)
{
	needer_close(&self->needer);
	close(self->fd);
	EXPECT_TRUE(set_threads("0"));
	expect_nothing_left(_metadata, self->pins);
}

TEST_F(moving, all_of_it_is_mapped)
{
	long moved = counter("/proc/vmstat", "pgmigrate_success ");
	int try;

	for (try = 0; try < TRIES; try++) {
		char *memory = variant->get(SIZE);

		ASSERT_NE(NULL, memory);
		memset(memory + UNTOUCHED, 1 + try, SIZE - UNTOUCHED);
		ASSERT_OK(ioas_map(self->fd, self->ioas, memory, SIZE, AT));
		EXPECT_TRUE(is_zero(memory, UNTOUCHED));
		EXPECT_EQ(1 + try, memory[UNTOUCHED]);
		EXPECT_EQ(0, memcmp(memory + UNTOUCHED, memory + UNTOUCHED + 1,
				    SIZE - UNTOUCHED - 1));
		EXPECT_EQ((int64_t)SIZE, ioas_unmap(self->fd, self->ioas, 0, UINT64_MAX));
		munmap(memory, SIZE);
	}
	EXPECT_LT(moved, counter("/proc/vmstat", "pgmigrate_success "));
}

TEST_HARNESS_MAIN
