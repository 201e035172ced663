// SPDX-License-Identifier: GPL-2.0
/*
 * Sizes and places: from one page to tens of GiB, at both ends of the space, sparse;
 * and the largest pages of the IOMMU that memory and addresses allow.
 *
 * Which pages these are shows in the number of page tables, which the kernel counts:
 * 2 MiB take a table, unless they are one page of the IOMMU, and so do 1 GiB.
 */
#include "dma.h"
#include "sources.h"

/* Where the space has no tables yet but the uppermost. */
#define AT (64 * GIB)

/* Tables may stay when they are empty: what is counted has ranges of its own. */
#define APART (4 * GIB)

/* How many page tables all IOMMUs have. Only root can tell. */
static long iommu_tables(void)
{
	return held_pins() < 0 ? -1 : counter("/proc/vmstat", "nr_iommu_pages");
}

/* virtio-iommu has none: it is told of each mapping. */
static bool has_tables(void)
{
	return access("/sys/module/virtio_iommu", F_OK);
}

static uint64_t page_sizes(struct bound *b)
{
	struct iommu_device_info *info;
	uint64_t sizes;

	if (device_get_info(b->fd, b->id, &info))
		return 0;
	sizes = info->pgsize_bitmap;
	free(info);
	return sizes;
}

static void check_ends(struct __test_metadata *_metadata, struct _test_data_dma *self, char *memory,
		       uint64_t iova, uint64_t size)
{
	EXPECT_WRITES(iova, memory);
	EXPECT_WRITES(iova + size - PAGE, memory + size - PAGE);
}

/* --- the largest pages that are possible -------------------------------------------- */

struct layout {
	const char *name;
	size_t memory;		/* offset in memory that is one contiguous GiB */
	size_t iova;		/* offset from where memory would be aligned */
	size_t size;
	int tables;
};

/* No table, if the IOMMU has pages of that size, else one. */
#define ONE_GIB_PAGE 0

static const struct layout layouts[] = {
	{ "a page", 0, 0, PAGE, 1 + 1 },
	{ "a GiB, aligned", 0, 0, GIB, ONE_GIB_PAGE },
	{ "a GiB of which memory is aligned", 0, HUGE_2M, GIB, 2 },
	{ "2 MiB, aligned", 6 * HUGE_2M, 6 * HUGE_2M, HUGE_2M, 1 },
	{ "2 MiB at another", HUGE_2M, 6 * HUGE_2M, HUGE_2M, 1 },
	{ "2 MiB, half of it beyond a border", MIB, MIB, HUGE_2M, 1 + 2 },
	{ "all but 2 MiB", HUGE_2M, HUGE_2M, GIB - HUGE_2M, 1 },
	{ "all but a page at the start", PAGE, PAGE, GIB - PAGE, 1 + 1 },
	{ "all but a page at the end", 0, 0, GIB - PAGE, 1 + 1 },
	{ "all but a page at each end", PAGE, PAGE, GIB - 2 * PAGE, 1 + 2 },
	{ "16 MiB, a page apart", PAGE, 0, 16 * MIB, 1 + 8 },
	{ "16 MiB, a page apart the other way", 0, PAGE, 16 * MIB, 1 + 9 },
	{ "4 MiB, 1 MiB apart", MIB, 0, 4 * MIB, 1 + 2 },
};

TEST_F(dma, largest_pages)
{
	char *memory = huge_pages_1g(GIB);
	const bool large = page_sizes(&self->b) & GIB;
	const struct layout *layout;
	unsigned int i;
	uint64_t iova;
	long before;

	if (!has_tables())
		SKIP(return, "this IOMMU has no tables");
	ASSERT_NE(NULL, memory);
	for (i = 0; i < ARRAY_SIZE(layouts); i++) {
		layout = &layouts[i];
		iova = AT + i * APART + layout->iova;
		before = iommu_tables();
		ASSERT_LT(0, before);
		ASSERT_OK(MAP(memory + layout->memory, iova, layout->size, IOASID_RW));
		EXPECT_EQ(layout->tables == ONE_GIB_PAGE && !large ? 1 : layout->tables,
			  iommu_tables() - before)
			TH_LOG("%s", layout->name);
		check_ends(_metadata, self, memory + layout->memory, iova, layout->size);
		ASSERT_EQ(layout->size, UNMAP(iova, layout->size));
	}
}

#define LARGE (4 * HUGE_2M)

/* That @memory, of LARGE bytes, gets large pages of the IOMMU where that can be. */
static void check_large_pages(struct __test_metadata *_metadata, struct _test_data_dma *self,
			      char *memory, uint64_t iova)
{
	const long before = iommu_tables();

	ASSERT_OK(MAP(memory, iova, LARGE, IOASID_RW));
	EXPECT_EQ(1, iommu_tables() - before);
	check_ends(_metadata, self, memory, iova, LARGE);
	/* By one page, memory and addresses do not go together. */
	ASSERT_OK(MAP(memory, iova + LARGE + PAGE, LARGE, IOASID_RW));
	EXPECT_EQ(1 + 5, iommu_tables() - before);
	check_ends(_metadata, self, memory, iova + LARGE + PAGE, LARGE);
	ASSERT_EQ(2 * LARGE, UNMAP(iova, 2 * LARGE + PAGE));
	ASSERT_OK(munmap(memory, LARGE));
}

/* Whatever kind of memory has them, as long as pages of the process are as large. */
TEST_F(dma, largest_pages_of_huge_pages)
{
	char *(*const kinds[])(size_t size) = { huge_pages_2m, memfd_huge_pages };
	unsigned int i;
	char *memory;

	if (!has_tables())
		SKIP(return, "this IOMMU has no tables");
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		memory = kinds[i](LARGE);
		ASSERT_NE(NULL, memory);
		memset(memory, 1, LARGE);
		check_large_pages(_metadata, self, memory, AT + i * APART);
	}
}

TEST_F(dma, largest_pages_of_transparent_huge_pages)
{
	char *memory;

	if (!has_tables())
		SKIP(return, "this IOMMU has no tables");
	if (!has_transparent_huge_pages())
		SKIP(return, NO_TRANSPARENT_HUGE_PAGES);
	memory = transparent_huge_pages(LARGE);
	ASSERT_NE(NULL, memory);
	check_large_pages(_metadata, self, memory, AT);
}

/* Small pages that lie in a row in memory are as good as a large one. */
TEST_F(dma, rows_of_small_pages)
{
	char *memory = huge_pages_2m(HUGE_2M);
	size_t at;
	long before;

	if (!has_tables())
		SKIP(return, "this IOMMU has no tables");
	ASSERT_NE(NULL, memory);
	before = iommu_tables();
	/* One call by the page makes small ones, for each can go by itself. */
	for (at = 0; at < HUGE_2M; at += PAGE)
		ASSERT_OK(MAP(memory + at, AT + at, PAGE, IOASID_RW));
	EXPECT_EQ(1 + 1, iommu_tables() - before);
	ASSERT_EQ(PAGE, UNMAP(AT + 7 * PAGE, PAGE));
	EXPECT_NO_WRITES(AT + 7 * PAGE, memory + 7 * PAGE);
	check_ends(_metadata, self, memory, AT, HUGE_2M);
	ASSERT_EQ(HUGE_2M - PAGE, UNMAP(AT, HUGE_2M));
}

/* --- sizes ------------------------------------------------------------------------------ */

TEST_F(dma, from_a_page_upwards)
{
	const size_t most = 256 * MIB;
	char *memory = has_transparent_huge_pages() ? transparent_huge_pages(most) :
						      small_pages(most);
	size_t size;

	ASSERT_NE(NULL, memory);
	for (size = PAGE; size <= most; size *= 2) {
		ASSERT_OK(MAP(memory, IOVA, size, IOASID_RW));
		EXPECT_EQ(1 + size / PAGE, pinned_pages());
		EXPECT_WRITES(IOVA + size - PAGE, memory + size - PAGE);
		ASSERT_EQ(size, UNMAP(IOVA, size));
		EXPECT_EQ(1, pinned_pages());
	}
}

/*
 * QEMU refuses an order to forget more than 1 GiB of first-stage tables at once, which
 * is not for a VT-d to refuse: the device still reaches there what it has reached before.
 */
#define EXPECT_FORGOTTEN(iova, memory) \
	EXPECT_EQ(iommu_is_known_for("wideflush=no"), WRITES(iova, memory))

/* One call for more memory than the machine has: one file, again and again. */
static void check_large(struct __test_metadata *_metadata, struct _test_data_dma *self, int fd,
			size_t tile, size_t size)
{
	char *memory, *file;

	ASSERT_LE(0, fd);
	ASSERT_OK(ftruncate(fd, tile));
	memory = tiled(fd, tile, size);
	file = mmap(NULL, tile, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(NULL, memory);
	ASSERT_NE(MAP_FAILED, file);
	ASSERT_OK(MAP(memory, AT, size, IOASID_RW));
	EXPECT_EQ(1 + size / PAGE, pinned_pages());
	EXPECT_WRITES(AT, file);
	EXPECT_WRITES(AT + GIB - 100, memory + GIB - 100);
	EXPECT_WRITES(AT + size / 2 + 5 * PAGE, file + (size / 2 + 5 * PAGE) % tile);
	EXPECT_WRITES(AT + size - PAGE, file + tile - PAGE);
	EXPECT_NO_WRITES(AT + size, file);
	EXPECT_ERRNO(EINVAL, UNMAP(AT, size - PAGE));
	EXPECT_ERRNO(EEXIST, MAP(file, AT + size - PAGE, PAGE, IOASID_RW));
	ASSERT_EQ(size, UNMAP(AT, 2 * size));
	EXPECT_FORGOTTEN(AT, file);
	EXPECT_FORGOTTEN(AT + size - PAGE, file + tile - PAGE);
}

TEST_F(dma, tens_of_gib)
{
	check_large(_metadata, self,
		    memfd_create("tile", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_2MB), 64 * MIB,
		    32 * GIB);
}

TEST_F(dma, gib_of_small_pages)
{
	check_large(_metadata, self, memfd_create("tile", MFD_CLOEXEC), 64 * MIB, 3 * GIB);
}

/* --- places ----------------------------------------------------------------------------- */

/* The range in which the device can use most addresses. */
static void widest_range(struct bound *b, uint64_t *first, uint64_t *last)
{
	struct vfio_iommu_type1_info_cap_iova_range *cap;
	struct iommu_device_info *info;
	unsigned int i;

	*first = *last = 0;
	if (device_get_info(b->fd, b->id, &info))
		return;
	cap = device_iova_ranges(info);
	for (i = 0; i < cap->nr_iovas; i++) {
		if (cap->iova_ranges[i].end - cap->iova_ranges[i].start > *last - *first) {
			*first = cap->iova_ranges[i].start;
			*last = cap->iova_ranges[i].end;
		}
	}
	free(info);
}

/* Pages of every size, with the last address of the space as theirs. */
TEST_F(dma, up_to_the_last_page)
{
	char *(*const kinds[])(size_t size) = { small_pages, huge_pages_2m, huge_pages_1g };
	static const size_t sizes[] = { PAGE, HUGE_2M, HUGE_1G };
	uint64_t first, last, at;
	unsigned int i;
	char *memory;

	widest_range(&self->b, &first, &last);
	ASSERT_LT(first, last);
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		memory = kinds[i](sizes[i]);
		ASSERT_NE(NULL, memory);
		at = last - sizes[i] + 1;
		ASSERT_OK(MAP(memory, at, sizes[i], IOASID_RW));
		check_ends(_metadata, self, memory, at, sizes[i]);
		if (last < UINT64_MAX)
			EXPECT_ERRNO(EINVAL, MAP(memory, last + 1, PAGE, IOASID_RW));
		EXPECT_ERRNO(EEXIST, MAP(memory, last + 1 - PAGE, PAGE, IOASID_RW));
		ASSERT_EQ(sizes[i], UNMAP(at, sizes[i]));
		EXPECT_NO_WRITES(at + sizes[i] - PAGE, memory + sizes[i] - PAGE);
		ASSERT_OK(munmap(memory, sizes[i]));
	}
	/* And from the first one on. */
	memory = huge_pages_2m(HUGE_2M);
	ASSERT_NE(NULL, memory);
	ASSERT_OK(MAP(memory, 0, HUGE_2M, IOASID_RW));
	check_ends(_metadata, self, memory, 0, HUGE_2M);
}

/* Areas of one page each, all over the space. */
TEST_F(dma, sparse)
{
	const unsigned int count = 4096, looked_at = 8;
	char *memory = small_pages(count * PAGE);
	uint64_t first, last, step, at;
	unsigned int i, j;

	ASSERT_NE(NULL, memory);
	widest_range(&self->b, &first, &last);
	if (first <= SCRATCH)
		first = SCRATCH + PAGE;
	/* No two have a table of pages in common. */
	step = ((last - first) / count) & -PAGE;
	ASSERT_LE(HUGE_2M, step);
	for (i = 0; i < count; i++)
		ASSERT_OK(MAP(memory + i * PAGE, first + i * step, PAGE, IOASID_RW));
	EXPECT_EQ(1 + count, pinned_pages());
	for (j = 0; j < looked_at; j++) {
		i = j * (count / looked_at) + j;
		at = first + i * step;
		EXPECT_WRITES(at, memory + i * PAGE);
		EXPECT_NO_WRITES(at + PAGE, memory + i * PAGE);
	}
	ASSERT_EQ(count * PAGE, UNMAP(first, last - first + 1));
	EXPECT_FORGOTTEN(first, memory);
	EXPECT_NO_WRITES(first + (count - 1) * step, memory + (count - 1) * PAGE);
}

TEST_HARNESS_MAIN
