// SPDX-License-Identifier: GPL-2.0
/*
 * Bitmaps of userspace's in which the drivers of devices say what was written to
 * (<linux/iova_bitmap.h>), by way of the sample driver ioas_access. They are the
 * kernel's own where its IOMMU drivers set bits; what both promise is the same.
 */
#include <sys/mman.h>

#include "ioas_access_calls.h"
#include "ioasid_utils.h"

#define GIB (1ULL << 30)
#define BUFFER (256 << 10)

FIXTURE(bitmap)
{
	int node;
	unsigned char *buffer;
};

FIXTURE_SETUP(bitmap)
{
	self->node = open(ACCESS_NODE, O_RDWR | O_CLOEXEC);
	if (self->node < 0)
		SKIP(return, "needs the sample driver ioas_access");
	self->buffer = mmap(NULL, BUFFER, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			    -1, 0);
	ASSERT_NE(MAP_FAILED, self->buffer);
}

FIXTURE_TEARDOWN(bitmap)
{
	munmap(self->buffer, BUFFER);
	close(self->node);
}

/* Whether bitmaps are this module's. */
static bool are_ours(void)
{
	return !system("grep -q ' iova_bitmap_alloc.*\\[iommufd\\]' /proc/kallsyms");
}

/* What is asked for, and where the bitmap begins in the buffer. */
struct marks {
	uint64_t iova, length, page_size, first, last;
	size_t offset;
};

static int mark(int node, const struct marks *marks, const void *bitmap, bool at_once)
{
	struct ioas_access_mark arg = {
		.iova = marks->iova, .length = marks->length, .page_size = marks->page_size,
		.bitmap = (uintptr_t)bitmap, .first = marks->first, .last = marks->last,
		.at_once = at_once,
	};
	int ret = call(node, IOAS_ACCESS_MARK, &arg);

	return ret ? ret : (int)arg.parts;
}

/* The first bit of the buffer that is not as it should be, or -1. */
static long wrong_bit(const unsigned char *buffer, const struct marks *marks)
{
	long skipped = marks->offset * 8;
	long first = skipped + (marks->first - marks->iova) / marks->page_size;
	long last = skipped + (marks->last - marks->iova) / marks->page_size;

	for (long bit = 0; bit < BUFFER * 8L; bit++) {
		bool is_set = buffer[bit / 8] >> bit % 8 & 1;

		if (is_set != (bit >= first && bit <= last))
			return bit;
	}
	return -1;
}

static const struct marks all_marks[] = {
	/* One bit, the first and the last of few. */
	{ 0, 0x10000, 0x1000, 0x3000, 0x3fff, 0 },
	{ 0, 0x10000, 0x1000, 0, 0, 8 },
	{ 0, 0x10000, 0x1000, 0xffff, 0xffff, 4088 },
	/* All, from an odd place on, over parts and pages. */
	{ 3 * GIB - 0x7000, 5 * GIB, 0x1000, 3 * GIB - 0x7000, 8 * GIB - 0x7001, 8 },
	/* Some that begin and end within a byte, in other parts than where it begins. */
	{ GIB, 6 * GIB, 0x1000, 2 * GIB + 0x5000, 6 * GIB + 0x2fff, 4088 },
	{ GIB, 6 * GIB, 0x1000, 5 * GIB - 0x1000, 5 * GIB, 0 },
	/* Larger pages, and the end of all addresses. */
	{ 64 * GIB, 64 * GIB, 0x200000, 65 * GIB, 70 * GIB + 0x1fffff, 16 },
	{ -4 * GIB, 4 * GIB, 0x10000, -3 * GIB, -1, 8 },
};

static void check_marks(struct __test_metadata *_metadata, int node, unsigned char *buffer,
			bool at_once)
{
	for (size_t i = 0; i < ARRAY_SIZE(all_marks); i++) {
		const struct marks *marks = &all_marks[i];

		memset(buffer, 0, BUFFER);
		ASSERT_LT(0, mark(node, marks, buffer + marks->offset, at_once));
		EXPECT_EQ(-1, wrong_bit(buffer, marks))
			TH_LOG("marks %zu", i);
	}
}

TEST_F(bitmap, each_part_is_there)
{
	check_marks(_metadata, self->node, self->buffer, false);
}

/* An IOMMU has pages that end elsewhere: nothing is lost of what lies in another part. */
TEST_F(bitmap, what_is_beside_is_not_lost)
{
	check_marks(_metadata, self->node, self->buffer, true);
}

/* Bits that are set stay so: who reads again gets both. */
TEST_F(bitmap, bits_add_up)
{
	struct marks one = { 0, 0x10000, 0x1000, 0x1000, 0x1fff, 0 };
	struct marks two = { 0, 0x10000, 0x1000, 0x2000, 0x2fff, 0 };

	ASSERT_LT(0, mark(self->node, &one, self->buffer, false));
	ASSERT_LT(0, mark(self->node, &two, self->buffer, false));
	EXPECT_EQ(6, self->buffer[0]);
}

/* The kernel's own has nobody know that it has set no bits. */
TEST_F(bitmap, what_cannot_be_written_to)
{
	const struct marks marks = { 0, 6 * GIB, 0x1000, 0, 6 * GIB - 1, 0 };

	if (!are_ours())
		SKIP(return, "the kernel has bitmaps of its own");
	ASSERT_EQ(0, mprotect(self->buffer, BUFFER, PROT_READ));
	EXPECT_EQ(-EFAULT, mark(self->node, &marks, self->buffer, false));
	EXPECT_EQ(-EFAULT, mark(self->node, &marks, (void *)8, false));
	EXPECT_EQ(-EFAULT, mark(self->node, &marks, (void *)-8L, false));
}

TEST_F(bitmap, many_parts)
{
	const struct marks marks = { 0, 6 * GIB, 0x1000, 0, 6 * GIB - 1, 0 };

	if (!are_ours())
		SKIP(return, "the kernel has bitmaps of its own");
	EXPECT_EQ(6, mark(self->node, &marks, self->buffer, false));
}

TEST_HARNESS_MAIN
