// SPDX-License-Identifier: GPL-2.0
/*
 * Every kind of memory, at every alignment: a device reads and writes it where it
 * is mapped, and nowhere else.
 */
#include "dma.h"
#include "sources.h"

/* Where a file system on a disk is mounted. */
static const char *disk(void)
{
	const char *folder = getenv("DISK");

	return folder ? folder : "/nonexistent";
}

static char *tmpfs_file(size_t size)
{
	return map_file(file_in("/tmp"), size, PROT_READ | PROT_WRITE, MAP_SHARED);
}

static char *private_file(size_t size)
{
	return map_file(file_in(disk()), size, PROT_READ | PROT_WRITE, MAP_PRIVATE);
}

/* No two neighbours belong together. */
static char *shuffled_memfd(size_t size)
{
	int fd = memfd_create("shuffled", MFD_CLOEXEC);
	char *memory = reserve_addresses(size, HUGE_2M);
	size_t count = size / PAGE, i;

	if (fd < 0 || !memory || ftruncate(fd, size))
		return NULL;
	/* 5 has no factor in common with a power of two: each page comes once. */
	for (i = 0; i < count; i++)
		if (mmap(memory + i * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
			 fd, i * 5 % count * PAGE) == MAP_FAILED)
			return NULL;
	close(fd);
	return memory;
}

FIXTURE_VARIANT(dma)
{
	char *(*make)(size_t size);
	size_t size;
};

FIXTURE_VARIANT_ADD(dma, small_pages) { .make = small_pages, .size = 8 * MIB };
FIXTURE_VARIANT_ADD(dma, thp) { .make = transparent_huge_pages, .size = 8 * MIB };
FIXTURE_VARIANT_ADD(dma, huge_pages_2m) { .make = huge_pages_2m, .size = 8 * MIB };
FIXTURE_VARIANT_ADD(dma, huge_pages_1g) { .make = huge_pages_1g, .size = GIB };
FIXTURE_VARIANT_ADD(dma, shared_anonymous) { .make = shared_anonymous, .size = 8 * MIB };
FIXTURE_VARIANT_ADD(dma, memfd) { .make = memfd_pages, .size = 8 * MIB };
FIXTURE_VARIANT_ADD(dma, memfd_of_huge_pages) { .make = memfd_huge_pages, .size = 8 * MIB };
FIXTURE_VARIANT_ADD(dma, shuffled_memfd) { .make = shuffled_memfd, .size = 8 * MIB };
FIXTURE_VARIANT_ADD(dma, file_of_tmpfs) { .make = tmpfs_file, .size = 8 * MIB };
FIXTURE_VARIANT_ADD(dma, private_file) { .make = private_file, .size = 8 * MIB };

/* Whether this kernel has the kind of memory at all. */
static bool is_to_be_had(const struct _fixture_variant_dma *variant)
{
	return variant->make != transparent_huge_pages || has_transparent_huge_pages();
}

#define AT GIB		/* an IOVA aligned to every page */

/* All of it, to begin with pages that the process has not touched. */
TEST_F(dma, read_and_write)
{
	const size_t size = variant->size;
	char *memory = variant->make(size);

	if (!is_to_be_had(variant))
		SKIP(return, NO_TRANSPARENT_HUGE_PAGES);
	ASSERT_NE(NULL, memory);
	ASSERT_OK(MAP(memory, AT, size, IOASID_RW));
	EXPECT_EQ(1 + size / PAGE, pinned_pages());
	EXPECT_WRITES(AT, memory);
	EXPECT_WRITES(AT + size - PAGE, memory + size - PAGE);
	EXPECT_READS(AT + size / 2 - DMA_SIZE / 2, memory + size / 2 - DMA_SIZE / 2);
	EXPECT_NO_WRITES(AT + size, memory);
	ASSERT_EQ(size, UNMAP(AT, size));
	EXPECT_EQ(1, pinned_pages());
	EXPECT_NO_WRITES(AT + size / 2, memory + size / 2);
}

/* What the device reads is what the process writes, also after it was mapped. */
TEST_F(dma, read_only)
{
	char *memory = variant->make(variant->size);

	if (!is_to_be_had(variant))
		SKIP(return, NO_TRANSPARENT_HUGE_PAGES);
	ASSERT_NE(NULL, memory);
	ASSERT_OK(MAP(memory, AT, variant->size, IOASID_READ));
	EXPECT_READS(AT, memory);
	EXPECT_READS(AT + variant->size - PAGE, memory + variant->size - PAGE);
	EXPECT_NO_WRITES(AT + PAGE, memory + PAGE);
}

/* A part that begins and ends within a huge page; IOVAs are aligned otherwise. */
static void check_part(struct __test_metadata *_metadata, struct _test_data_dma *self, char *memory,
		       uint64_t iova, size_t size)
{
	/* Where either of the two comes to a huge page. */
	size_t memory_border = HUGE_2M - (uintptr_t)memory % HUGE_2M;
	size_t iova_border = HUGE_2M - iova % HUGE_2M;

	ASSERT_OK(MAP(memory, iova, size, IOASID_RW));
	EXPECT_WRITES(iova + memory_border - 100, memory + memory_border - 100);
	EXPECT_WRITES(iova + iova_border - 100, memory + iova_border - 100);
	EXPECT_WRITES(iova + size - PAGE, memory + size - PAGE);
	EXPECT_NO_WRITES(iova + size, memory + size);
	ASSERT_EQ(size, UNMAP(iova, size));
}

TEST_F(dma, parts_of_huge_pages)
{
	char *memory = variant->make(variant->size);

	if (!is_to_be_had(variant))
		SKIP(return, NO_TRANSPARENT_HUGE_PAGES);
	ASSERT_NE(NULL, memory);
	check_part(_metadata, self, memory + 3 * PAGE, AT, 4 * MIB);
	check_part(_metadata, self, memory + HUGE_2M, AT + 5 * PAGE, 4 * MIB);
	check_part(_metadata, self, memory + 7 * PAGE, AT + 7 * PAGE, 4 * MIB - 9 * PAGE);
}

TEST_HARNESS_MAIN
