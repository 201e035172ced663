// SPDX-License-Identifier: GPL-2.0
/*
 * Addresses that the driver chooses: which, and that the choice costs the same however
 * much is mapped.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "iommufd_calls.h"
#include "slowness.h"

/* From how many areas on costs are compared. */
#define CALLS 500U

#define MEMORY_PAGES 64U

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
	self->memory = pages(2 * MEMORY_PAGES);
	ASSERT_NE(NULL, self->memory);
	/* It begins where a page of its size could. */
	self->memory += -(uintptr_t)self->memory % (MEMORY_PAGES * PAGE);
	memset(self->memory, 1, MEMORY_PAGES * PAGE);
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

/* Calls in a row that are timed as one. */
#define ROW 20U

/* Make @count maps of @size pages each; what one cost in the row that cost least. */
static uint64_t cost(struct __test_metadata *_metadata, struct _test_data_chosen *self,
		     unsigned int count, unsigned int size)
{
	uint64_t start, took, least = UINT64_MAX;
	unsigned int i, j;
	char *memory;

	for (i = 0; i < count; i += ROW) {
		start = now();
		for (j = 0; j < ROW; j++) {
			memory = self->memory + (i + j) * size % MEMORY_PAGES * PAGE;
			ASSERT_LT(0, ioas_map_any(self->fd, self->id, memory, size * PAGE));
		}
		took = (now() - start) / ROW;
		if (took < least)
			least = took;
	}
	return least;
}

static void compare(struct __test_metadata *_metadata, uint64_t first, uint64_t last)
{
	TH_LOG("a map takes %lu ns at first, %lu ns in the end", first, last);
	EXPECT_GT(MOST_GROWTH * first, last);
}

TEST_F_TIMEOUT(chosen, one_behind_the_other, 120)
{
	uint64_t first = cost(_metadata, self, CALLS, 1), last;
	unsigned int i;

	for (i = 0; i < scaled(6, 2); i++)
		cost(_metadata, self, CALLS, 1);
	last = cost(_metadata, self, CALLS, 1);
	compare(_metadata, first, last);
}

/* Take every other page of the lowest ones, from the one numbered @from to @to. */
static void take_every_other(struct __test_metadata *_metadata, struct _test_data_chosen *self,
			     unsigned int from, unsigned int to)
{
	for (; from < to; from++)
		ASSERT_OK(ioas_map(self->fd, self->id, self->memory + from % MEMORY_PAGES * PAGE,
				   PAGE, PAGE + 2ULL * from * PAGE));
}

/* No hole is large enough, or else none begins where it should. */
TEST_F_TIMEOUT(chosen, behind_many_holes, 240)
{
	uint64_t first, last;

	take_every_other(_metadata, self, 0, CALLS);
	cost(_metadata, self, ROW, 2);
	first = cost(_metadata, self, CALLS / 5, 2);
	ASSERT_LT(0, ioas_unmap(self->fd, self->id, 0, ~0ULL));
	take_every_other(_metadata, self, 0, scaled(16, 6) * CALLS);
	cost(_metadata, self, ROW, 2);
	last = cost(_metadata, self, CALLS / 5, 2);
	compare(_metadata, first, last);
}

/* Allow @count single pages, and many behind them. */
static void allow(struct __test_metadata *_metadata, struct _test_data_chosen *self,
		  unsigned int count)
{
	struct iommu_iova_range *ranges = calloc(count + 1, sizeof(*ranges));
	unsigned int i;

	ASSERT_NE(NULL, ranges);
	for (i = 0; i <= count; i++) {
		ranges[i].start = IOVA + 2 * i * PAGE;
		ranges[i].last = ranges[i].start + (i < count ? PAGE : CALLS * CALLS * PAGE) - 1;
	}
	ASSERT_OK(allow_iovas(self->fd, self->id, ranges, count + 1));
	free(ranges);
}

TEST_F_TIMEOUT(chosen, behind_many_ranges, 240)
{
	uint64_t first, last;

	allow(_metadata, self, CALLS);
	cost(_metadata, self, ROW, 2);
	first = cost(_metadata, self, CALLS / 5, 2);
	ASSERT_LT(0, ioas_unmap(self->fd, self->id, 0, ~0ULL));
	allow(_metadata, self, scaled(20000, 5000));
	cost(_metadata, self, ROW, 2);
	last = cost(_metadata, self, CALLS / 5, 2);
	compare(_metadata, first, last);
}

/* --- which it is ------------------------------------------------------------------ */

#define SPACE_PAGES 512U	/* that a model knows, from IOVA on */

struct model {
	bool allowed[SPACE_PAGES];
	bool taken[SPACE_PAGES];
};

/* The lowest @count pages on a multiple of @align, or -1. A gap in what is allowed is one page. */
static int lowest(const struct model *model, unsigned int count, unsigned int align)
{
	unsigned int first, i;

	for (first = 0; first + count <= SPACE_PAGES; first += align) {
		for (i = first; i < first + count; i++)
			if (model->taken[i] || !model->allowed[i])
				break;
		if (i == first + count)
			return first;
	}
	return -1;
}

/* Allow all but one page in @stride. */
static void allow_most(struct __test_metadata *_metadata, struct _test_data_chosen *self,
		       struct model *model, unsigned int stride)
{
	struct iommu_iova_range ranges[SPACE_PAGES];
	unsigned int i, count = 0;

	for (i = 0; i < SPACE_PAGES; i++) {
		model->allowed[i] = i % stride != stride - 1;
		if (i % stride)
			continue;
		ranges[count].start = IOVA + i * PAGE;
		ranges[count].last = IOVA + (i + stride - 1) * PAGE - 1;
		if (i + stride > SPACE_PAGES)
			ranges[count].last = IOVA + SPACE_PAGES * PAGE - 1;
		count++;
	}
	ASSERT_OK(allow_iovas(self->fd, self->id, ranges, count));
}

/* The memory for so many pages begins on a multiple of @align, and of no more. */
static char *aligned(struct _test_data_chosen *self, unsigned int align)
{
	return self->memory + (align < MEMORY_PAGES ? align : 0) * PAGE;
}

/* To what such a map is aligned, in pages. */
static unsigned int align_of(unsigned int count, unsigned int align)
{
	while (align / 2 >= count)
		align /= 2;
	return align;
}

static void set(struct model *model, unsigned int first, unsigned int count, bool taken)
{
	while (count--)
		model->taken[first + count] = taken;
}

struct area {
	unsigned int first, count;
};

struct areas {
	unsigned int count;
	struct area list[SPACE_PAGES];
};

/* Some areas go, in one call or in many. */
static void unmap_some(struct __test_metadata *_metadata, struct _test_data_chosen *self,
		       struct model *model, struct areas *areas)
{
	unsigned int least = rand() % 4 ? areas->count - areas->count / 8 : 0;

	if (!least && areas->count)
		ASSERT_LT(0, ioas_unmap(self->fd, self->id, 0, ~0ULL));
	while (areas->count > least) {
		unsigned int i = rand() % areas->count;
		struct area area = areas->list[i];

		areas->list[i] = areas->list[--areas->count];
		set(model, area.first, area.count, false);
		if (least)
			ASSERT_EQ(area.count * PAGE,
				  ioas_unmap(self->fd, self->id, IOVA + area.first * PAGE,
					     area.count * PAGE));
	}
}

static void add(struct model *model, struct areas *areas, unsigned int first, unsigned int count)
{
	set(model, first, count, true);
	areas->list[areas->count++] = (struct area){ first, count };
}

/* A map at an address, which may be one that is not to be chosen. */
static void map_somewhere(struct __test_metadata *_metadata, struct _test_data_chosen *self,
			  struct model *model, struct areas *areas)
{
	unsigned int count = 1 + rand() % 12, first = rand() % (SPACE_PAGES - count);
	bool is_free = true;
	unsigned int i;

	for (i = first; i < first + count; i++)
		is_free &= !model->taken[i];
	ASSERT_EQ(is_free ? 0 : -EEXIST, ioas_map(self->fd, self->id, self->memory, count * PAGE,
						  IOVA + first * PAGE));
	if (is_free)
		add(model, areas, first, count);
}

TEST_F_TIMEOUT(chosen, as_a_model_says, 240)
{
	static const unsigned int strides[] = { 1000, 37, 9, 5, 100 };
	struct areas areas = { 0 };
	struct model model = { 0 };
	unsigned int step, count, align, rounds = scaled(4000, 500);
	int64_t iova;
	int first;

	srand(1);
	for (step = 0; step < rounds; step++) {
		if (step % (rounds / 5) == 0)
			allow_most(_metadata, self, &model, strides[step / (rounds / 5) % 5]);
		count = 1 + rand() % (rand() % 4 ? 4 : 24);
		align = 1U << rand() % 7;
		first = lowest(&model, count, align_of(count, align));
		iova = ioas_map_any(self->fd, self->id, aligned(self, align), count * PAGE);
		ASSERT_EQ(first < 0 ? -ENOSPC : (int64_t)(IOVA + first * PAGE), iova)
			TH_LOG("step %u: %u pages on a multiple of %u", step, count, align);
		if (first >= 0)
			add(&model, &areas, first, count);
		if (rand() % 2)
			map_somewhere(_metadata, self, &model, &areas);
		if (first < 0 || rand() % 16 == 0)
			unmap_some(_metadata, self, &model, &areas);
	}
}

/* --- while others unmap ------------------------------------------------------------ */

struct other {
	struct _test_data_chosen *self;
	atomic_bool stop;
	unsigned int done, failed;
};

/* Every eighth page comes and goes, unless it was chosen. */
static void *come_and_go(void *arg)
{
	struct _test_data_chosen *self = ((struct other *)arg)->self;
	struct other *other = arg;
	bool is_mapped[SPACE_PAGES];
	unsigned int i;

	for (; !atomic_load(&other->stop); other->done++) {
		for (i = 0; i < SPACE_PAGES; i += 8)
			is_mapped[i] = !ioas_map(self->fd, self->id, self->memory, PAGE,
						 IOVA + i * PAGE);
		for (i = 0; i < SPACE_PAGES; i += 8)
			if (is_mapped[i] && ioas_unmap(self->fd, self->id, IOVA + i * PAGE,
						       PAGE) != PAGE)
				other->failed++;
	}
	return NULL;
}

/* What is chosen lies between what it would be if those pages were free, and if not. */
TEST_F_TIMEOUT(chosen, while_others_unmap, 240)
{
	struct other other = { .self = self };
	struct model without = { 0 };
	unsigned int step, count;
	pthread_t thread;
	int64_t iova;
	int first;

	srand(2);
	allow_most(_metadata, self, &without, SPACE_PAGES + 1);
	for (step = 0; step < SPACE_PAGES; step += 1 + rand() % 9) {
		if (step % 8 == 0)
			continue;
		ASSERT_OK(ioas_map(self->fd, self->id, self->memory, PAGE, IOVA + step * PAGE));
		set(&without, step, 1, true);
	}
	ASSERT_EQ(0, pthread_create(&thread, NULL, come_and_go, &other));
	for (step = 0; step < scaled(4000, 200); step++) {
		struct model with = without;
		unsigned int i;

		for (i = 0; i < SPACE_PAGES; i += 8)
			with.taken[i] = true;
		count = 1 + rand() % 7;
		iova = ioas_map_any(self->fd, self->id, aligned(self, 1), count * PAGE);
		ASSERT_LT(0, iova);
		first = (iova - IOVA) / PAGE;
		EXPECT_LE(lowest(&without, count, 1), first);
		if (lowest(&with, count, 1) >= 0)
			EXPECT_GE(lowest(&with, count, 1), first);
		ASSERT_EQ(count * PAGE, ioas_unmap(self->fd, self->id, iova, count * PAGE));
	}
	atomic_store(&other.stop, true);
	pthread_join(thread, NULL);
	EXPECT_LT(0, other.done);
	EXPECT_EQ(0, other.failed);
}

TEST_HARNESS_MAIN
