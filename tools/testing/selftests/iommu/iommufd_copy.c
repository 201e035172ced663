// SPDX-License-Identifier: GPL-2.0
/*
 * Memory that is mapped in several places: each page is pinned and charged once, as
 * long as it is mapped anywhere, and not longer.
 */
#include "books.h"
#include "carry.h"
#include "iommufd_calls.h"
#include "sources.h"

FIXTURE(copy)
{
	struct bound b;
	int first;		/* a space that the device is not attached to, but has a domain */
	int hwpt;		/* that domain */
	int second;		/* one that it is attached to */
	long pins;
};

FIXTURE_SETUP(copy)
{
	int ret = bound_open(&self->b);

	if (ret == -ENODEV)
		SKIP(return, NO_DEVICE);
	ASSERT_OK(ret);
	ASSERT_OK(edu_start(&self->b.edu));
	self->first = ioas_alloc(self->b.fd);
	self->second = ioas_alloc(self->b.fd);
	ASSERT_LT(0, self->first);
	ASSERT_LT(0, self->second);
	ASSERT_LT(0, attach_pt(self->b.edu.fd, self->second));
	self->hwpt = hwpt_alloc(self->b.fd, self->b.id, self->first, 0);
	ASSERT_LT(0, self->hwpt);
	self->pins = held_pins();
}

FIXTURE_TEARDOWN(copy)
{
	bound_close(&self->b);
	expect_nothing_left(_metadata, self->pins);
}

#define MAP(ioas, memory, size, iova) ioas_map(self->b.fd, ioas, memory, size, iova)
#define COPY(to, to_iova, from, from_iova, size) \
	ioas_copy(self->b.fd, to, to_iova, from, from_iova, size)
#define UNMAP(ioas, iova, size) ioas_unmap(self->b.fd, ioas, iova, size)

/* What fdinfo says after @name in the line of a space. */
static long shown(int iommufd, int ioas, const char *name)
{
	char start[32];

	snprintf(start, sizeof(start), "ioasid:\t%d ", ioas);
	return shown_in(iommufd, start, name);
}

/* So many kilobytes are shown to count against a limit. */
static void expect_charged(struct __test_metadata *_metadata, struct _test_data_copy *self,
			   size_t size)
{
	EXPECT_EQ(size / 1024, shown_in(self->b.fd, "held:", " charged "));
}

#define EXPECT_HELD(count) expect_held(_metadata, self->b.fd, self->pins, count)
#define EXPECT_CHARGED(size) expect_charged(_metadata, self, size)
#define EXPECT_REACHES(iova, memory) \
	EXPECT_TRUE(reaches(_metadata, &self->b.edu, iova, memory))

/* A page of it keeps that page, and a limit has room for all of it once more. */
TEST_F(copy, one_page_of_many)
{
	const size_t size = 64 * MIB, at = 5000 * PAGE;
	char *memory = small_pages(size);

	ASSERT_NE(NULL, memory);
	IN_CHILD() {
		ASSERT_OK(be_limited(size + PAGE));
		ASSERT_OK(MAP(self->first, memory, size, IOVA));
		ASSERT_OK(COPY(self->second, IOVA, self->first, IOVA + at, PAGE));
		EXPECT_HELD(size / PAGE);
		EXPECT_CHARGED(size);
		EXPECT_EQ(size, UNMAP(self->first, IOVA, size));
		EXPECT_HELD(1);
		EXPECT_CHARGED(PAGE);
		EXPECT_EQ(PAGE / 1024, shown(self->b.fd, self->second, " charged "));
		EXPECT_ERRNO(ENOMEM, MAP(self->first, memory, size + PAGE, IOVA));
		ASSERT_OK(MAP(self->first, memory, size, IOVA));
		EXPECT_HELD(size / PAGE + 1);
		EXPECT_CHARGED(size + PAGE);
		EXPECT_REACHES(IOVA, memory + at);
		EXPECT_EQ(size, UNMAP(self->first, IOVA, size));
		EXPECT_HELD(1);
		EXPECT_EQ(PAGE, UNMAP(self->second, IOVA, PAGE));
		EXPECT_HELD(0);
		EXPECT_CHARGED(0);
	}
}

/* Each space shows what its areas have, and the context what is held for all of them. */
TEST_F(copy, the_same_memory_in_many_places)
{
	const size_t size = 256 * MIB;
	char *memory = small_pages(size);
	int places[] = { self->first, self->second, self->second };
	unsigned int i;

	ASSERT_NE(NULL, memory);
	IN_CHILD() {
		ASSERT_OK(be_limited(size));
		ASSERT_OK(MAP(self->first, memory, size, IOVA));
		for (i = 0; i < ARRAY_SIZE(places); i++) {
			ASSERT_OK(COPY(places[i], 4 * GIB + i * GIB, self->first, IOVA, size));
			EXPECT_HELD(size / PAGE);
			EXPECT_CHARGED(size);
		}
		EXPECT_EQ(2 * size / PAGE, shown(self->b.fd, self->first, " pinned "));
		EXPECT_EQ(2 * size / 1024, shown(self->b.fd, self->second, " charged "));
		/* What fails counts for nothing. */
		EXPECT_ERRNO(EEXIST, COPY(self->second, 6 * GIB, self->first, IOVA, PAGE));
		EXPECT_HELD(size / PAGE);
		/* Nor does a space that goes. */
		ASSERT_OK(destroy(self->b.fd, self->hwpt));
		ASSERT_OK(destroy(self->b.fd, self->first));
		EXPECT_HELD(size / PAGE);
		EXPECT_CHARGED(size);
		EXPECT_EQ(size, UNMAP(self->second, 5 * GIB, size));
		EXPECT_HELD(size / PAGE);
		EXPECT_EQ(size, UNMAP(self->second, 6 * GIB, size));
		EXPECT_HELD(0);
		EXPECT_CHARGED(0);
	}
}

/* The same with pages that the kernel pins as a whole, wherever they are cut. */
TEST_F(copy, parts_of_huge_pages)
{
	static const struct {
		size_t at, size;
	} parts[] = {
		{ 0, PAGE },
		{ HUGE_2M - PAGE, PAGE },
		{ HUGE_2M - PAGE, 2 * PAGE },
		{ HUGE_2M, HUGE_2M },
		{ 7 * PAGE, 2 * HUGE_2M },
		{ 4 * HUGE_2M - PAGE, PAGE },
		{ 0, 4 * HUGE_2M },
	};
	unsigned int i;
	char *memory;

	ASSERT_TRUE(provide_huge_pages(4));
	memory = huge_pages_2m(4 * HUGE_2M);
	ASSERT_NE(NULL, memory);
	memset(memory, 1, 4 * HUGE_2M);
	for (i = 0; i < ARRAY_SIZE(parts); i++) {
		ASSERT_OK(MAP(self->first, memory, 4 * HUGE_2M, IOVA));
		ASSERT_OK(COPY(self->second, IOVA, self->first, IOVA + parts[i].at,
			       parts[i].size));
		EXPECT_EQ(4 * HUGE_2M / PAGE, pinned_pages());
		EXPECT_EQ(4 * HUGE_2M, UNMAP(self->first, IOVA, 4 * HUGE_2M));
		EXPECT_EQ(parts[i].size / PAGE, pinned_pages());
		EXPECT_LT(self->pins, held_pins());
		EXPECT_REACHES(IOVA, memory + parts[i].at);
		EXPECT_REACHES(IOVA + parts[i].size - PAGE,
			       memory + parts[i].at + parts[i].size - PAGE);
		EXPECT_EQ(parts[i].size, UNMAP(self->second, IOVA, parts[i].size));
		EXPECT_HELD(0);
	}
}

/* A large page of the IOMMU goes as a whole, though its memory was cut meanwhile. */
TEST_F(copy, original_of_large_pages)
{
	const size_t size = 512 * MIB;
	int fd = memfd_create("large", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_2MB);
	size_t at;
	char *memory;

	ASSERT_TRUE(provide_huge_pages(1));
	ASSERT_EQ(0, ftruncate(fd, HUGE_2M));
	memory = tiled(fd, HUGE_2M, size);
	ASSERT_NE(NULL, memory);
	ASSERT_OK(MAP(self->second, memory, size, GIB));
	for (at = 3 * PAGE; at < size; at += 100 * MIB)
		ASSERT_OK(COPY(self->first, at, self->second, GIB + at, PAGE));
	EXPECT_EQ(size / PAGE, pinned_pages());
	EXPECT_EQ(size, UNMAP(self->second, GIB, size));
	EXPECT_EQ(6, pinned_pages());
	/* Nothing is left of it, so that all of it can be there again. */
	ASSERT_OK(MAP(self->second, memory, size, GIB));
	EXPECT_REACHES(GIB + size - PAGE, memory + size - PAGE);
	EXPECT_EQ(size, UNMAP(self->second, GIB, size));
	EXPECT_EQ(6 * PAGE, UNMAP(self->first, 0, size));
	EXPECT_HELD(0);
	close(fd);
}

#define MANY 48			/* pages */
#define PLACES 12

struct place {
	int ioas;
	uint64_t iova;
	unsigned int first;	/* which pages */
	unsigned int count;	/* none: nothing is there */
};

/* How many pages are in at least one of the places. */
static unsigned int union_of(const struct place *places)
{
	bool there[MANY] = { false };
	unsigned int i, page, count = 0;

	for (i = 0; i < PLACES; i++)
		for (page = 0; page < places[i].count; page++)
			there[places[i].first + page] = true;
	for (page = 0; page < MANY; page++)
		count += there[page];
	return count;
}

/* Make place @to a copy of some of @from, and see that the device can reach it. */
static void copy_some(struct __test_metadata *_metadata, struct _test_data_copy *self,
		      struct place *to, const struct place *from, char *memory)
{
	unsigned int skip = rand() % from->count;

	to->count = 1 + rand() % (from->count - skip);
	to->first = from->first + skip;
	ASSERT_OK(COPY(to->ioas, to->iova, from->ioas, from->iova + skip * PAGE,
		       to->count * PAGE));
	if (to->ioas == self->second)
		EXPECT_REACHES(to->iova + (to->count - 1) * PAGE,
			       memory + (to->first + to->count - 1) * PAGE);
}

/* Copies of copies of copies, which go in any order: what is held is their union. */
TEST_F(copy, copies_of_copies)
{
	struct place places[PLACES], *place;
	unsigned int round, i;
	char *memory = backwards(MANY);

	ASSERT_NE(NULL, memory);
	memset(places, 0, sizeof(places));
	for (i = 0; i < PLACES; i++) {
		places[i].ioas = i % 2 ? self->first : self->second;
		places[i].iova = IOVA + i * MANY * PAGE;
	}
	srand(1);
	for (round = 0; round < 400; round++) {
		place = &places[rand() % PLACES];
		if (place->count) {
			EXPECT_EQ(place->count * PAGE,
				  UNMAP(place->ioas, place->iova, place->count * PAGE));
			place->count = 0;
		} else if (union_of(places)) {
			for (i = rand() % PLACES; !places[i].count; i = (i + 1) % PLACES)
				;
			copy_some(_metadata, self, place, &places[i], memory);
		} else {
			place->count = MANY;
			place->first = 0;
			ASSERT_OK(MAP(place->ioas, memory, MANY * PAGE, place->iova));
		}
		EXPECT_HELD(union_of(places));
		ASSERT_EQ(union_of(places), pinned_pages());
	}
	UNMAP(self->first, 0, ~0ULL);
	UNMAP(self->second, 0, ~0ULL);
	EXPECT_HELD(0);
}

/* Who comes to pay for a file pays for what is left of it. */
TEST_F(copy, another_pays)
{
	int fd = memfd_create("paid", MFD_CLOEXEC);

	ASSERT_EQ(0, ftruncate(fd, 64 * PAGE));
	IN_CHILD() {
		ASSERT_OK(ioas_map_file(self->b.fd, self->first, fd, 0, 64 * PAGE, IOVA));
		ASSERT_OK(COPY(self->second, IOVA, self->first, IOVA + 20 * PAGE, 4 * PAGE));
		ASSERT_OK(COPY(self->second, 0, self->first, IOVA + 22 * PAGE, 10 * PAGE));
		EXPECT_EQ(64, pinned_pages());
		EXPECT_EQ(64 * PAGE, UNMAP(self->first, IOVA, 64 * PAGE));
		EXPECT_EQ(12, pinned_pages());
	}
	EXPECT_EQ(0, pinned_pages());
	ASSERT_OK(change_process(self->b.fd));
	EXPECT_EQ(12, pinned_pages());
	EXPECT_EQ(4 * PAGE, UNMAP(self->second, IOVA, 4 * PAGE));
	EXPECT_EQ(10, pinned_pages());
	EXPECT_EQ(10 * PAGE, UNMAP(self->second, 0, 10 * PAGE));
	EXPECT_HELD(0);
	close(fd);
}

TEST_HARNESS_MAIN
