// SPDX-License-Identifier: GPL-2.0
/*
 * Addresses that the driver chooses: which, and that the choice costs the same however
 * much is mapped.
 */
#include "iommufd_calls.h"
#include "slowness.h"

/* A cost is the mean of as many calls. */
#define CALLS 500U

/*
 * Whoever looks at all that is mapped takes ten times as long in the end, or more. On a
 * busy machine, any call may take twice as long as another.
 */
#define MOST_GROWTH 4

FIXTURE(chosen)
{
	int fd;
	int id;
	char *memory;
	long pins;
};

FIXTURE_SETUP(chosen)
{
	self->fd = open_iommufd();
	if (self->fd < 0)
		SKIP(return, "cannot open " IOMMU_NODE);
	self->id = ioas_alloc(self->fd);
	ASSERT_LT(0, self->id);
	self->memory = pages(64);
	ASSERT_NE(NULL, self->memory);
	memset(self->memory, 1, 64 * PAGE);
	self->pins = held_pins();
}

FIXTURE_TEARDOWN(chosen)
{
	close(self->fd);
	expect_nothing_left(_metadata, self->pins);
}

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000ULL + time.tv_nsec;
}

/* Map @count pages one by one; what the call cost that cost least, of a few at a time. */
static uint64_t cost(struct __test_metadata *_metadata, struct _test_data_chosen *self,
		     unsigned int count)
{
	uint64_t start, took, least = UINT64_MAX;
	unsigned int i, j;

	for (i = 0; i < count; i += 20) {
		start = now();
		for (j = 0; j < 20; j++)
			ASSERT_LT(0, ioas_map_any(self->fd, self->id,
						  self->memory + (i + j) % 64 * PAGE, PAGE));
		took = (now() - start) / 20;
		if (took < least)
			least = took;
	}
	return least;
}

TEST_F_TIMEOUT(chosen, one_behind_the_other, 120)
{
	uint64_t first = cost(_metadata, self, CALLS), last;
	unsigned int i;

	for (i = 0; i < 6; i++)
		cost(_metadata, self, CALLS);
	last = cost(_metadata, self, CALLS);
	TH_LOG("a map takes %lu ns at first, %lu ns in the end", first, last);
	EXPECT_GT(MOST_GROWTH * first, last);
}

TEST_HARNESS_MAIN
