// SPDX-License-Identifier: GPL-2.0
/*
 * A million areas in one space: what mapping costs as they become more, what memory
 * the driver takes for them, and how long it takes to be rid of them.
 *
 * For a clock that counts instructions (tools/testing/vm/run --icount): there a
 * nanosecond is an instruction, and what is measured repeats to a per mille.
 */
#include "ioasid_utils.h"
#include "sources.h"

#define COUNT 1000000U		/* areas */
#define LOOKED_AT 1000U		/* at each end */
#define STRIDE (2 * PAGE)	/* of areas, with as much of nothing between them */

/* What the driver may take for an area, in bytes. */
#define MOST_MEMORY 160

/*
 * Areas have as many pages of memory to be mapped in turn: a page has room for so
 * many pins only.
 */
#define MEMORY_PAGES 4096

FIXTURE(scale)
{
	int fd;
	int device;
	int ioasid;
	char *memory;
	long pins;
};

FIXTURE_VARIANT(scale)
{
	unsigned int factor;	/* 1 for areas in order, else in some other */
	bool unmap;		/* in the end, instead of a close */
};

FIXTURE_VARIANT_ADD(scale, in_order_then_unmap) { .factor = 1, .unmap = true };
FIXTURE_VARIANT_ADD(scale, in_disorder_then_close) { .factor = 611953 };

FIXTURE_SETUP(scale)
{
	struct bound bound;
	int ret = bound_open(&bound);

	if (ret == -ENODEV)
		SKIP(return, NO_DEVICE);
	ASSERT_OK(ret);
	self->fd = bound.fd;
	self->device = bound.edu.fd;
	self->ioasid = bound.ioasid;
	self->memory = small_pages(MEMORY_PAGES * PAGE);
	ASSERT_NE(NULL, self->memory);
	memset(self->memory, 1, MEMORY_PAGES * PAGE);
	self->pins = held_pins();
	ASSERT_OK(vfio_attach(bound.edu.fd, bound.ioasid));
}

FIXTURE_TEARDOWN(scale)
{
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Instructions so far. */
static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000ULL + time.tv_nsec;
}

/* The median of what a call cost; changes the order of @costs. */
static uint64_t median(uint64_t *costs, unsigned int count)
{
	qsort(costs, count, sizeof(*costs), compare);
	return costs[count / 2];
}

/* Map the areas numbered @first to @end; what a call costs. */
static uint64_t map_areas(struct __test_metadata *_metadata, struct _test_data_scale *self,
			  const struct _fixture_variant_scale *variant, unsigned int first,
			  unsigned int end)
{
	uint64_t *costs = calloc(end - first, sizeof(*costs)), place, start, result;
	unsigned int i;

	ASSERT_NE(NULL, costs);
	for (i = first; i < end; i++) {
		place = (uint64_t)i * variant->factor % COUNT;
		start = now();
		ASSERT_OK(ioasid_map(self->fd, self->ioasid,
				     self->memory + i % MEMORY_PAGES * PAGE,
				     4 * GIB + place * STRIDE, PAGE, IOASID_RW))
			TH_LOG("area %u", i);
		costs[i - first] = now() - start;
	}
	result = median(costs, end - first);
	free(costs);
	return result;
}

/* Bytes that the kernel has for its own objects. */
static long slab_bytes(void)
{
	/* Brings the counters of all processors together. */
	held_pins();
	return (counter("/proc/vmstat", "nr_slab_unreclaimable") +
		counter("/proc/vmstat", "nr_slab_reclaimable")) * PAGE;
}

/* End it all; what that cost by the area. */
static uint64_t end_areas(struct __test_metadata *_metadata, struct _test_data_scale *self,
			  const struct _fixture_variant_scale *variant)
{
	uint64_t start = now();

	if (variant->unmap) {
		EXPECT_EQ(COUNT * PAGE, unmap_all(self->fd, self->ioasid));
	} else {
		close(self->device);
		close(self->fd);
	}
	return (now() - start) / COUNT;
}

TEST_F_TIMEOUT(scale, a_million_areas, 900)
{
	uint64_t first, last, start, all, end;
	long slab, bytes;

	/* What the kernel makes once and keeps, it makes now. */
	map_areas(_metadata, self, variant, 0, LOOKED_AT);
	ASSERT_EQ(LOOKED_AT * PAGE, unmap_all(self->fd, self->ioasid));
	slab = slab_bytes();

	start = now();
	first = map_areas(_metadata, self, variant, 0, LOOKED_AT);
	map_areas(_metadata, self, variant, LOOKED_AT, COUNT - LOOKED_AT);
	last = map_areas(_metadata, self, variant, COUNT - LOOKED_AT, COUNT);
	all = (now() - start) / COUNT;
	EXPECT_EQ(COUNT, pinned_pages());
	bytes = (slab_bytes() - slab) / COUNT;
	end = end_areas(_metadata, self, variant);
	EXPECT_EQ(0, pinned_pages());
	EXPECT_EQ(self->pins, held_pins());
	TH_LOG("instructions: MAP %lu at first, %lu at last, %lu in the mean; the end %lu",
	       first, last, all, end);
	TH_LOG("memory by the area: %ld bytes", bytes);
	EXPECT_GT(2 * first, last);
	EXPECT_GT(3 * first, all);
	EXPECT_GT(all, end);
	EXPECT_GT(MOST_MEMORY, bytes);
	/* Something it must be, or else the wrong thing was counted. */
	EXPECT_LT(32, bytes);
	EXPECT_GT(8, (slab_bytes() - slab) / (long)COUNT);
}

TEST_HARNESS_MAIN
