// SPDX-License-Identifier: GPL-2.0
/*
 * What addresses and lengths have to be multiples of: nothing at first, pages as soon as
 * there is a domain or a driver that pins. Whoever needs pages is refused where there are
 * areas that are not made of them.
 */
#include "books.h"
#include "carry.h"
#include "container_calls.h"
#include "ioas_access_memory.h"
#include "sources.h"

#define TEST_PAGES 16

FIXTURE(alignment)
{
	struct bound b;
	int node;	/* of a driver; no access yet */
	int ioas;
	int other;
	char *memory;
	long pins;
};

FIXTURE_SETUP(alignment)
{
	int ret = bound_open(&self->b);

	self->node = open(ACCESS_NODE, O_RDWR | O_CLOEXEC);
	if (ret == -ENODEV || self->node < 0)
		SKIP(return, NO_DEVICE ", and the sample driver ioas_access");
	ASSERT_OK(ret);
	ASSERT_OK(edu_start(&self->b.edu));
	self->ioas = ioas_alloc(self->b.fd);
	self->other = ioas_alloc(self->b.fd);
	ASSERT_LT(self->ioas, self->other);
	self->memory = pages(TEST_PAGES);
	ASSERT_NE(NULL, self->memory);
	self->pins = held_pins();
}

FIXTURE_TEARDOWN(alignment)
{
	close(self->node);
	bound_close(&self->b);
	expect_nothing_left(_metadata, self->pins);
}

#define MAP(from, length, at) \
	ioas_map(self->b.fd, self->ioas, self->memory + (from), length, IOVA + (at))
#define MAP_ANY(from, length) ioas_map_any(self->b.fd, self->ioas, self->memory + (from), length)
#define UNMAP(at, length) ioas_unmap(self->b.fd, self->ioas, IOVA + (at), length)
/* Into the other space. */
#define COPY(to, from, length) \
	ioas_copy(self->b.fd, self->other, IOVA + (to), self->ioas, IOVA + (from), length)
#define UNMAP_COPY(at, length) ioas_unmap(self->b.fd, self->other, IOVA + (at), length)
#define ALIGNMENT(ioas) iova_alignment(self->b.fd, ioas)
#define ATTACH() attach_pt(self->b.edu.fd, self->ioas)
#define DETACH() vfio_detach(self->b.edu.fd)
#define HWPT_ALLOC() hwpt_alloc(self->b.fd, self->b.id, self->ioas, 0)
#define ACCESS(flags) access_create_with(self->node, self->b.fd, flags)
#define READS(at, from, length) \
	reads(_metadata, self->node, IOVA + (at), self->memory + (from), length, 0)
#define WRITES(at, from, length) \
	writes(_metadata, self->node, IOVA + (at), self->memory + (from), length, 0)

/* --- what is told --------------------------------------------------------------------- */

TEST_F(alignment, told)
{
	int hwpt;

	EXPECT_EQ(1, ALIGNMENT(self->ioas));
	EXPECT_EQ(1, ALIGNMENT(self->b.ioasid));
	ASSERT_LT(0, ATTACH());
	EXPECT_EQ(PAGE, ALIGNMENT(self->ioas));
	EXPECT_EQ(1, ALIGNMENT(self->other));
	hwpt = HWPT_ALLOC();
	ASSERT_LT(0, hwpt);
	ASSERT_OK(DETACH());
	EXPECT_EQ(PAGE, ALIGNMENT(self->ioas));
	EXPECT_OK(destroy(self->b.fd, hwpt));
	EXPECT_EQ(1, ALIGNMENT(self->ioas));
	EXPECT_ERRNO(ENOENT, ALIGNMENT(12345));
}

TEST_F(alignment, told_beside_a_driver)
{
	int copying = open(ACCESS_NODE, O_RDWR | O_CLOEXEC);

	ASSERT_LT(0, access_create_with(copying, self->b.fd, IOAS_ACCESS_NO_PINS));
	ASSERT_OK(access_attach(copying, self->ioas));
	EXPECT_EQ(1, ALIGNMENT(self->ioas));
	ASSERT_LT(0, ACCESS(0));
	EXPECT_EQ(1, ALIGNMENT(self->ioas));
	ASSERT_OK(access_attach(self->node, self->ioas));
	EXPECT_EQ(PAGE, ALIGNMENT(self->ioas));
	ASSERT_OK(access_replace(self->node, self->other));
	EXPECT_EQ(1, ALIGNMENT(self->ioas));
	EXPECT_EQ(PAGE, ALIGNMENT(self->other));
	ASSERT_OK(access_detach(self->node));
	EXPECT_EQ(1, ALIGNMENT(self->other));
	ASSERT_OK(access_attach(self->node, self->ioas));
	ASSERT_LT(0, ATTACH());
	ASSERT_OK(access_destroy(self->node));
	EXPECT_EQ(PAGE, ALIGNMENT(self->ioas));
	ASSERT_OK(DETACH());
	EXPECT_EQ(1, ALIGNMENT(self->ioas));
	close(copying);
}

/* --- any byte -------------------------------------------------------------------------- */

/* Areas that no page has anything to do with, each beside the one before it. */
static const struct {
	unsigned long at, length, from;
} areas[] = {
	{ 1, 1, 7 }, { 2, 4094, 4095 }, { 4096, 1, 4096 }, { 4097, 8191, 1 }, { 12288, 5, 12289 },
	{ 12293, 4096, 2 },
};

#define AREAS_BEGIN 1
#define AREAS_END (12293 + 4096)

static int map_areas(int fd, int ioas, char *memory)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; !ret && i < ARRAY_SIZE(areas); i++)
		ret = ioas_map(fd, ioas, memory + areas[i].from, areas[i].length,
			       IOVA + areas[i].at);
	return ret;
}

TEST_F(alignment, areas_of_any_bytes)
{
	unsigned long at, length;
	unsigned int i;

	ASSERT_OK(map_areas(self->b.fd, self->ioas, self->memory));
	EXPECT_ERRNO(EINVAL, MAP(0, 0, 0));
	for (i = 0; i < ARRAY_SIZE(areas); i++) {
		at = areas[i].at;
		length = areas[i].length;
		EXPECT_ERRNO(EEXIST, MAP(0, 1, at));
		EXPECT_ERRNO(EEXIST, MAP(0, 1, at + length - 1));
		EXPECT_ERRNO(EEXIST, MAP(0, length + 2, at - 1));
		/* All of an area goes, or none of it. */
		if (length > 1) {
			EXPECT_ERRNO(ENOENT, UNMAP(at, length / 2));
			EXPECT_ERRNO(ENOENT, UNMAP(at + length / 2, length - length / 2));
			EXPECT_ERRNO(ENOENT, UNMAP(at, length - 1));
			EXPECT_ERRNO(ENOENT, UNMAP(at + 1, length - 1));
		}
	}
	EXPECT_OK(MAP(0, 1, AREAS_BEGIN - 1));
	EXPECT_OK(MAP(0, 1, AREAS_END));
	EXPECT_EQ(4094, UNMAP(2, 4094));
	EXPECT_ERRNO(ENOENT, UNMAP(2, 4094));
	EXPECT_OK(MAP(100, 4093, 3));
	/* Those in the range, and what is not there does not count. */
	EXPECT_EQ(1 + 1 + 4093 + 1, UNMAP(0, 4097));
	EXPECT_EQ(AREAS_END - 4097 + 1, ioas_unmap(self->b.fd, self->ioas, 0, UINT64_MAX));
	EXPECT_EQ(0, pinned_pages());
}

TEST_F(alignment, the_ends_of_all_addresses)
{
	int window = ioasid_alloc_window(self->b.fd, IOVA, IOVA + 2 * PAGE - 1);

	EXPECT_OK(ioas_map(self->b.fd, self->ioas, self->memory, 1, 0));
	EXPECT_OK(ioas_map(self->b.fd, self->ioas, self->memory, 2, UINT64_MAX - 1));
	EXPECT_ERRNO(EOVERFLOW, ioas_map(self->b.fd, self->ioas, self->memory, 9, UINT64_MAX - 7));
	EXPECT_EQ(2, ioas_unmap(self->b.fd, self->ioas, UINT64_MAX - 1, 2));
	EXPECT_EQ(1, ioas_unmap(self->b.fd, self->ioas, 0, 1));
	ASSERT_LT(0, window);
	EXPECT_ERRNO(EINVAL, ioas_map(self->b.fd, window, self->memory, 2, IOVA - 1));
	EXPECT_ERRNO(EINVAL, ioas_map(self->b.fd, window, self->memory, 2, IOVA + 2 * PAGE - 1));
	EXPECT_OK(ioas_map(self->b.fd, window, self->memory, 1, IOVA));
	EXPECT_OK(ioas_map(self->b.fd, window, self->memory, 1, IOVA + 2 * PAGE - 1));
}

/* The calls that have been for pages always still are, beside whatever is there. */
TEST_F(alignment, other_calls_take_pages)
{
	static const struct {
		unsigned long from, at, length;
	} odd[] = {
		{ 1, 0, 4096 }, { 0, 1, 4096 }, { 0, 0, 4095 }, { 0, 0, 1 }, { 1, 1, 1 },
	};
	unsigned int i;

	ASSERT_EQ(self->ioas, vfio_ioas(self->b.fd, IOMMU_VFIO_IOAS_SET, self->ioas));
	for (i = 0; i < ARRAY_SIZE(odd); i++) {
		char *memory = self->memory + odd[i].from;
		uint64_t iova = IOVA + odd[i].at;

		EXPECT_ERRNO(EINVAL, ioasid_map(self->b.fd, self->ioas, memory, iova,
						odd[i].length, IOASID_RW))
			TH_LOG("line %u", i);
		EXPECT_ERRNO(EINVAL, container_map(self->b.fd, memory, iova, odd[i].length))
			TH_LOG("line %u", i);
	}
	ASSERT_OK(MAP(0, 5, 10));
	EXPECT_ERRNO(EEXIST, ioasid_map(self->b.fd, self->ioas, self->memory, IOVA, PAGE,
					IOASID_RW));
	EXPECT_ERRNO(EEXIST, container_map(self->b.fd, self->memory, IOVA, PAGE));
	EXPECT_OK(ioasid_map(self->b.fd, self->ioas, self->memory, IOVA + PAGE, PAGE, IOASID_RW));
	EXPECT_ERRNO(EINVAL, unmap(self->b.fd, self->ioas, IOVA + 10, 5));
	EXPECT_EQ(5 + PAGE, unmap(self->b.fd, self->ioas, IOVA, 2 * PAGE));
}

/* A container cuts between pages only, whether a device needs them or not: one may come. */
TEST_F(alignment, containers_cut_pages)
{
	ASSERT_EQ(self->ioas, vfio_ioas(self->b.fd, IOMMU_VFIO_IOAS_SET, self->ioas));
	ASSERT_OK(set_option(self->b.fd, IOMMU_OPTION_HUGE_PAGES, self->ioas, 0));
	EXPECT_EQ(PAGE, ALIGNMENT(self->ioas));
	EXPECT_ERRNO(EINVAL, MAP(0, 100, 0));
	ASSERT_OK(container_map(self->b.fd, self->memory, IOVA, 4 * PAGE));
	EXPECT_ERRNO(EINVAL, container_unmap(self->b.fd, IOVA, 100, 0));
	EXPECT_ERRNO(EINVAL, container_unmap(self->b.fd, IOVA + PAGE, PAGE + 1, 0));
	EXPECT_EQ(PAGE, container_unmap(self->b.fd, IOVA + PAGE, PAGE, 0));
	ASSERT_LT(0, ATTACH());
	EXPECT_TRUE(reaches(_metadata, &self->b.edu, IOVA, self->memory));
	EXPECT_TRUE(reaches(_metadata, &self->b.edu, IOVA + 2 * PAGE, self->memory + 2 * PAGE));
}

/* Who wants no large pages has whole ones. */
TEST_F(alignment, in_the_way_of_small_pages)
{
	ASSERT_OK(MAP(0, 100, 0));
	EXPECT_ERRNO(EADDRINUSE, set_option(self->b.fd, IOMMU_OPTION_HUGE_PAGES, self->ioas, 0));
	EXPECT_EQ(1, get_option(self->b.fd, IOMMU_OPTION_HUGE_PAGES, self->ioas));
	EXPECT_EQ(1, ALIGNMENT(self->ioas));
	EXPECT_EQ(100, UNMAP(0, 100));
	EXPECT_OK(set_option(self->b.fd, IOMMU_OPTION_HUGE_PAGES, self->ioas, 0));
	EXPECT_EQ(PAGE, ALIGNMENT(self->ioas));
}

/* Wherever there is room: one does not get into the way of another. */
TEST_F(alignment, chosen_addresses)
{
	static const unsigned long lengths[] = { 1, 3, 4095, 4096, 4097, 2, 12289, 1, 8191 };
	int64_t iovas[ARRAY_SIZE(lengths)];
	unsigned int i, j;

	ASSERT_LT(0, ACCESS(IOAS_ACCESS_NO_PINS));
	ASSERT_OK(access_attach(self->node, self->ioas));
	for (i = 0; i < ARRAY_SIZE(lengths); i++) {
		char *memory = self->memory + PAGE + 3 * i;

		iovas[i] = ioas_map_any(self->b.fd, self->ioas, memory, lengths[i]);
		ASSERT_LT(0, iovas[i]);
		/* So that as much as can be is in large pages. */
		EXPECT_EQ((uintptr_t)memory % PAGE, iovas[i] % PAGE);
		EXPECT_TRUE(reads(_metadata, self->node, iovas[i], memory, lengths[i], 0));
		for (j = 0; j < i; j++)
			EXPECT_TRUE(iovas[j] + (int64_t)lengths[j] <= iovas[i] ||
				    iovas[i] + (int64_t)lengths[i] <= iovas[j])
				TH_LOG("%u and %u", i, j);
	}
	for (i = 0; i < ARRAY_SIZE(lengths); i++)
		EXPECT_EQ(lengths[i], ioas_unmap(self->b.fd, self->ioas, iovas[i], lengths[i]));
}

/* --- reading and writing ---------------------------------------------------------------- */

TEST_F(alignment, reading_across_areas)
{
	char text[2];

	ASSERT_LT(0, ACCESS(IOAS_ACCESS_NO_PINS));
	ASSERT_OK(access_attach(self->node, self->ioas));
	EXPECT_ERRNO(EINVAL, access_pin(self->node, IOVA, PAGE, 0));
	/* The same memory as if it were one area, which it is not. */
	ASSERT_OK(MAP(5, 4000, 1));
	ASSERT_OK(MAP(4005, 7, 4001));
	ASSERT_OK(MAP(4012, 9000, 4008));
	EXPECT_TRUE(READS(1, 5, 1));
	EXPECT_TRUE(READS(1, 5, 13007));
	EXPECT_TRUE(READS(4000, 4004, 9));
	EXPECT_TRUE(WRITES(1, 5, 13007));
	EXPECT_TRUE(WRITES(3999, 4003, 4));
	EXPECT_TRUE(WRITES(4001, 4005, 7));
	EXPECT_TRUE(WRITES(13007, 13011, 1));
	EXPECT_ERRNO(ENOENT, access_rw(self->node, IOVA, 2, text, 0));
	EXPECT_ERRNO(ENOENT, access_rw(self->node, IOVA, 1, text, 0));
	EXPECT_ERRNO(ENOENT, access_rw(self->node, IOVA + 13007, 2, text, 0));
	EXPECT_EQ(7, UNMAP(4001, 7));
	EXPECT_ERRNO(ENOENT, access_rw(self->node, IOVA + 4000, 2, text, 0));
	EXPECT_EQ(0, pinned_pages());
}

TEST_F(alignment, copies_of_any_bytes)
{
	ASSERT_LT(0, ACCESS(IOAS_ACCESS_NO_PINS));
	ASSERT_OK(access_attach(self->node, self->other));
	ASSERT_OK(MAP(5, 4000, 1));
	ASSERT_OK(MAP(4005, 5000, 4001));
	/* Out of the middle, over the border, to another place in the page. */
	ASSERT_OK(COPY(77, 3990, 20));
	EXPECT_TRUE(READS(77, 3994, 20));
	EXPECT_TRUE(WRITES(80, 3997, 13));
	ASSERT_OK(COPY(97, 1, 1));
	EXPECT_TRUE(READS(97, 5, 1));
	EXPECT_ERRNO(EEXIST, COPY(96, 1, 1));
	EXPECT_ERRNO(ENOENT, COPY(200, 0, 2));
	EXPECT_ERRNO(ENOENT, COPY(200, 9000, 2));
	EXPECT_EQ(4000, UNMAP(1, 4000));
	EXPECT_TRUE(WRITES(77, 3994, 20));
	EXPECT_ERRNO(EADDRINUSE, attach_pt(self->b.edu.fd, self->other));
	/* They are as many areas as they were. */
	EXPECT_ERRNO(ENOENT, UNMAP_COPY(77, 10));
	EXPECT_EQ(11, UNMAP_COPY(77, 11));
	EXPECT_EQ(9, UNMAP_COPY(88, 9));
	EXPECT_EQ(1, UNMAP_COPY(97, 1));
	EXPECT_LT(0, attach_pt(self->b.edu.fd, self->other));
}

TEST_F(alignment, parts_of_files)
{
	int file = memfd_create("bytes", MFD_CLOEXEC);
	char *view = map_file(file, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);

	ASSERT_NE(NULL, view);
	ASSERT_LT(0, ACCESS(IOAS_ACCESS_NO_PINS));
	ASSERT_OK(access_attach(self->node, self->ioas));
	ASSERT_OK(ioas_map_file(self->b.fd, self->ioas, file, 4093, 4100, IOVA + 1));
	EXPECT_TRUE(reads(_metadata, self->node, IOVA + 1, view + 4093, 4100, 0));
	EXPECT_TRUE(writes(_metadata, self->node, IOVA + 2, view + 4094, 4098, 0));
	EXPECT_ERRNO(EADDRINUSE, ATTACH());
	EXPECT_EQ(4100, UNMAP(1, 4100));
	munmap(view, 4 * PAGE);
	close(file);
}

/* --- who needs pages -------------------------------------------------------------------- */

/* Each of what has to be a multiple of a page is not. */
static const struct {
	unsigned long from, length, at;
} odd_areas[] = {
	{ 4096, 4096, 4095 }, { 4096, 4096, 1 }, { 4095, 4096, 4096 }, { 1, 4096, 4096 },
	{ 4096, 4095, 4096 }, { 4096, 1, 4096 }, { 4097, 4095, 4097 }, { 4097, 4096, 4097 },
};

TEST_F(alignment, in_the_way_of_a_domain)
{
	struct books before;
	unsigned int i;
	int hwpt;

	ASSERT_OK(MAP(8 * PAGE, PAGE, 8 * PAGE));
	for (i = 0; i < ARRAY_SIZE(odd_areas); i++) {
		ASSERT_OK(MAP(odd_areas[i].from, odd_areas[i].length, odd_areas[i].at));
		before = read_books(self->b.fd);
		EXPECT_ERRNO(EADDRINUSE, ATTACH())
			TH_LOG("line %u", i);
		EXPECT_ERRNO(EADDRINUSE, HWPT_ALLOC())
			TH_LOG("line %u", i);
		expect_books(_metadata, self->b.fd, &before);
		EXPECT_EQ(1, ALIGNMENT(self->ioas));
		EXPECT_EQ(odd_areas[i].length, UNMAP(odd_areas[i].at, odd_areas[i].length));
		hwpt = ATTACH();
		EXPECT_LT(self->other, hwpt);
		EXPECT_EQ(1, pinned_pages());
		EXPECT_TRUE(reaches(_metadata, &self->b.edu, IOVA + 8 * PAGE,
				    self->memory + 8 * PAGE));
		ASSERT_OK(DETACH());
	}
}

/* A device that is somewhere else stays there. */
TEST_F(alignment, in_the_way_of_a_move)
{
	ASSERT_OK(ioas_map(self->b.fd, self->other, self->memory, PAGE, IOVA));
	ASSERT_LT(0, attach_pt(self->b.edu.fd, self->other));
	ASSERT_OK(MAP(0, 5, 0));
	EXPECT_ERRNO(EADDRINUSE, ATTACH());
	EXPECT_TRUE(reaches(_metadata, &self->b.edu, IOVA, self->memory));
	EXPECT_EQ(PAGE, ALIGNMENT(self->other));
}

TEST_F(alignment, in_the_way_of_a_driver)
{
	char text[PAGE];
	unsigned int i;

	ASSERT_LT(0, ACCESS(0));
	ASSERT_OK(ioas_map(self->b.fd, self->other, self->memory, PAGE, IOVA));
	for (i = 0; i < ARRAY_SIZE(odd_areas); i++) {
		ASSERT_OK(MAP(odd_areas[i].from, odd_areas[i].length, odd_areas[i].at));
		EXPECT_ERRNO(EADDRINUSE, access_attach(self->node, self->ioas))
			TH_LOG("line %u", i);
		ASSERT_OK(access_attach(self->node, self->other));
		EXPECT_ERRNO(EADDRINUSE, access_replace(self->node, self->ioas))
			TH_LOG("line %u", i);
		/* It is where it was, with what it had. */
		EXPECT_OK(access_rw(self->node, IOVA, PAGE, text, 0));
		EXPECT_EQ(1, ALIGNMENT(self->ioas));
		EXPECT_EQ(odd_areas[i].length, UNMAP(odd_areas[i].at, odd_areas[i].length));
		EXPECT_OK(access_replace(self->node, self->ioas));
		EXPECT_EQ(PAGE, ALIGNMENT(self->ioas));
		ASSERT_OK(access_detach(self->node));
	}
}

/* Nothing but pages goes where somebody needs pages. */
static void expect_pages_only(struct __test_metadata *_metadata, struct _test_data_alignment *self)
{
	int file = memfd_create("bytes", MFD_CLOEXEC);
	unsigned int i;

	ASSERT_OK(ftruncate(file, 4 * PAGE));
	/* Here is what can be copied: any byte of it. */
	ASSERT_OK(ioas_map(self->b.fd, self->other, self->memory, 4 * PAGE, IOVA));
	for (i = 0; i < ARRAY_SIZE(odd_areas); i++) {
		unsigned long from = odd_areas[i].from, length = odd_areas[i].length;
		uint64_t iova = IOVA + odd_areas[i].at;

		EXPECT_ERRNO(EINVAL, MAP(from, length, odd_areas[i].at))
			TH_LOG("line %u", i);
		EXPECT_ERRNO(EINVAL, ioas_map_file(self->b.fd, self->ioas, file, from, length,
						   iova))
			TH_LOG("line %u", i);
		EXPECT_ERRNO(EINVAL, ioas_copy(self->b.fd, self->ioas, iova, self->other,
					       IOVA + from, length))
			TH_LOG("line %u", i);
	}
	EXPECT_ERRNO(EINVAL, MAP_ANY(0, 1));
	EXPECT_ERRNO(EINVAL, MAP_ANY(0, PAGE + 1));
	EXPECT_ERRNO(EINVAL, MAP_ANY(1, PAGE));
	ASSERT_OK(MAP(0, 2 * PAGE, 0));
	EXPECT_ERRNO(ENOENT, UNMAP(1, 2 * PAGE - 1));
	EXPECT_ERRNO(ENOENT, UNMAP(0, 1));
	EXPECT_EQ(2 * PAGE, UNMAP(0, 2 * PAGE));
	close(file);
}

TEST_F(alignment, with_a_device)
{
	ASSERT_LT(0, ATTACH());
	expect_pages_only(_metadata, self);
	ASSERT_OK(DETACH());
	EXPECT_OK(MAP(1, 1, 1));
}

TEST_F(alignment, with_a_domain)
{
	int hwpt = HWPT_ALLOC();

	ASSERT_LT(0, hwpt);
	expect_pages_only(_metadata, self);
	ASSERT_OK(destroy(self->b.fd, hwpt));
	EXPECT_OK(MAP(1, 1, 1));
}

TEST_F(alignment, with_a_driver)
{
	ASSERT_LT(0, ACCESS(0));
	ASSERT_OK(access_attach(self->node, self->ioas));
	expect_pages_only(_metadata, self);
	ASSERT_OK(access_detach(self->node));
	EXPECT_OK(MAP(1, 1, 1));
}

/* What is copied has to be pages, wherever the area that has them begins and ends. */
TEST_F(alignment, pages_of_an_area_of_bytes)
{
	ASSERT_OK(MAP(PAGE - 5, 3 * PAGE, PAGE - 5));
	EXPECT_ERRNO(EADDRINUSE, ATTACH());
	ASSERT_LT(0, attach_pt(self->b.edu.fd, self->other));
	EXPECT_ERRNO(EINVAL, COPY(0, PAGE - 5, 2 * PAGE));
	EXPECT_ERRNO(EINVAL, COPY(0, PAGE, 3 * PAGE - 5));
	ASSERT_OK(COPY(0, PAGE, 2 * PAGE));
	EXPECT_EQ(2, pinned_pages());
	EXPECT_TRUE(reaches(_metadata, &self->b.edu, IOVA, self->memory + PAGE));
	EXPECT_TRUE(reaches(_metadata, &self->b.edu, IOVA + PAGE, self->memory + 2 * PAGE));
	/* The area may lie so that its pages are others than those of the memory. */
	ASSERT_OK(MAP(8 * PAGE + 5, 2 * PAGE, 8 * PAGE));
	EXPECT_ERRNO(EINVAL, COPY(8 * PAGE, 8 * PAGE, PAGE));
	ASSERT_OK(COPY(8 * PAGE, 9 * PAGE - 5, PAGE));
	EXPECT_TRUE(reaches(_metadata, &self->b.edu, IOVA + 8 * PAGE, self->memory + 9 * PAGE));
	EXPECT_EQ(3, pinned_pages());
}

TEST_HARNESS_MAIN
