// SPDX-License-Identifier: GPL-2.0
/*
 * Which pages devices have written to, as an IOMMU in software is told to mark them: what
 * the kernel's own test does not ask of bitmaps and marks.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "dirty_calls.h"
#include "stopper.h"
#include "tables.h"

#define START ((uint64_t)MOCK_APERTURE_START)
#define COUNT 1024U			/* pages that are mapped */
#define SIZE (COUNT * PAGE)
#define ROOM (16 * PAGE)		/* of a bitmap */

/* A domain that tracks, with a page table of that type. */
static int tracking(int iommufd, int device, int ioas, uint32_t table)
{
	struct iommu_hwpt_selftest data = { .pagetable_type = table };
	struct iommu_hwpt_alloc arg = {
		.size = sizeof(arg),
		.flags = IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
		.dev_id = device,
		.pt_id = ioas,
		.data_type = IOMMU_HWPT_DATA_SELFTEST,
		.data_len = sizeof(data),
		.data_uptr = (uintptr_t)&data,
	};
	int ret = call(iommufd, IOMMU_HWPT_ALLOC, &arg);

	return ret ? ret : (int)arg.out_hwpt_id;
}

/* How often a domain's IOTLB would have been flushed. */
static int flushes(int iommufd, int hwpt)
{
	struct iommu_test_cmd arg = { .id = hwpt };
	int ret = mock_call(iommufd, IOMMUFD_MOCK_OP_FLUSHES, &arg);

	return ret ? ret : (int)arg.check_dev_cache.cache;
}

/* A device that cannot mark pages. */
static int add_without(int iommufd, int pt, struct mock *mock)
{
	struct iommu_test_cmd arg = {
		.id = pt, .mock_domain_flags.dev_flags = MOCK_FLAGS_DEVICE_NO_DIRTY,
	};
	int ret = mock_call(iommufd, IOMMU_TEST_OP_MOCK_DOMAIN_FLAGS, &arg);

	*mock = (struct mock) {
		.id = arg.mock_domain_flags.out_stdev_id,
		.device = arg.mock_domain_flags.out_idev_id,
		.hwpt = arg.mock_domain_flags.out_hwpt_id,
	};
	return ret;
}

static bool is_set(const uint8_t *bitmap, unsigned int bit)
{
	return bitmap[bit / 8] >> bit % 8 & 1;
}

FIXTURE(dirty)
{
	int fd;
	int ioas;
	int hwpt;
	struct mock mock;
	long pins;
	char *memory;
	uint8_t *bitmap;
};

/*
 * Page tables: the one of the kernel's own mock, and those of real IOMMUs, which the kernel
 * fills, and in which hardware.c of the mock marks pages.
 */
FIXTURE_VARIANT(dirty)
{
	uint32_t table;
};

FIXTURE_VARIANT_ADD(dirty, mock)
{
	.table = MOCK_IOMMUPT_DEFAULT,
};

FIXTURE_VARIANT_ADD(dirty, vtd)
{
	.table = MOCK_IOMMUPT_VTDSS,
};

FIXTURE_VARIANT_ADD(dirty, amd)
{
	.table = MOCK_IOMMUPT_AMDV1,
};

#define TRACKING(ioas) tracking(self->fd, self->mock.device, ioas, variant->table)

FIXTURE_SETUP(dirty)
{
	self->pins = held_pins();
	self->fd = open_iommufd();
	self->ioas = ioas_alloc(self->fd);
	ASSERT_LT(0, self->ioas)
		TH_LOG("needs " IOMMU_NODE);
	ASSERT_OK(set_option(self->fd, IOMMU_OPTION_HUGE_PAGES, self->ioas, 0));
	self->memory = pages(COUNT);
	self->bitmap = pages(ROOM / PAGE);
	ASSERT_NE(NULL, self->memory);
	ASSERT_NE(NULL, self->bitmap);
	ASSERT_OK(ioas_map(self->fd, self->ioas, self->memory, SIZE, START));
	ASSERT_OK(mock_add(self->fd, self->ioas, &self->mock));
	self->hwpt = TRACKING(self->ioas);
	if (self->hwpt == -EOPNOTSUPP && variant->table)
		SKIP(return, "the kernel has no such page table");
	ASSERT_LT(0, self->hwpt);
	ASSERT_OK(track(self->fd, self->hwpt, ENABLE));
}

FIXTURE_TEARDOWN(dirty)
{
	close(self->fd);
	expect_nothing_left(_metadata, self->pins);
}

#define TRACK(flags) track(self->fd, self->hwpt, flags)
#define MARK(page) mark(self->fd, self->hwpt, START + (page) * PAGE)
#define GET(first, count, bitmap, flags) \
	get(self->fd, self->hwpt, START + (first) * PAGE, (count) * PAGE, PAGE, bitmap, flags)
/* How many pages are marked. */
#define MARKED() ({ \
	memset(self->bitmap, 0, SIZE / PAGE / 8); \
	EXPECT_OK(GET(0, COUNT, self->bitmap, KEEP)); \
	count_set(self->bitmap, SIZE / PAGE / 8); \
})

/* --- what can be asked for ------------------------------------------------------------- */

#define EXPECT_SET(errno_, change) \
	EXPECT_CHANGED(errno_, self->fd, IOMMU_HWPT_SET_DIRTY_TRACKING, set, change)
#define EXPECT_GET(errno_, change) \
	EXPECT_CHANGED(errno_, self->fd, IOMMU_HWPT_GET_DIRTY_BITMAP, bits, change)

/* What is wrong first is told, and nothing is done. */
TEST_F(dirty, order_of_checks)
{
	struct iommu_hwpt_set_dirty_tracking set = {
		.size = sizeof(set), .flags = ENABLE, .hwpt_id = self->hwpt,
	};
	struct iommu_hwpt_get_dirty_bitmap bits =
		bitmap_arg(self->hwpt, START, SIZE, PAGE, self->bitmap);

	EXPECT_SET(EOPNOTSUPP, (arg.flags = 2, arg.hwpt_id = 12345));
	EXPECT_SET(ENOENT, arg.hwpt_id = 12345);
	EXPECT_SET(ENOENT, arg.hwpt_id = self->ioas);
	EXPECT_SET(ENOENT, arg.hwpt_id = self->mock.device);
	EXPECT_SET(EOPNOTSUPP, arg.hwpt_id = self->mock.hwpt);
	EXPECT_SET(EOPNOTSUPP, (arg.hwpt_id = self->mock.hwpt, arg.flags = 0));
	EXPECT_SET(0, arg.__reserved = 7);

	EXPECT_GET(EOPNOTSUPP, (arg.flags = 2, arg.hwpt_id = 12345));
	EXPECT_GET(EOPNOTSUPP, (arg.__reserved = 1, arg.hwpt_id = 12345));
	EXPECT_GET(ENOENT, (arg.hwpt_id = 12345, arg.length = 0));
	EXPECT_GET(ENOENT, arg.hwpt_id = self->ioas);
	EXPECT_GET(EINVAL, (arg.length = 0, arg.page_size = 0, arg.iova = ~0ULL));
	EXPECT_GET(EOVERFLOW, (arg.iova = -PAGE, arg.length = 2 * PAGE, arg.page_size = 0));
	EXPECT_GET(EINVAL, (arg.iova++, arg.length = SIZE - 1));
	EXPECT_GET(EINVAL, arg.length--);
	EXPECT_GET(EINVAL, arg.page_size = 0);
	EXPECT_GET(EINVAL, (arg.iova += PAGE, arg.length = 2 * PAGE, arg.page_size = 2 * PAGE));
	EXPECT_GET(EINVAL, (arg.length = PAGE, arg.page_size = 2 * PAGE));
	EXPECT_GET(EINVAL, (arg.hwpt_id = self->mock.hwpt, arg.page_size = 0));
	EXPECT_GET(EOPNOTSUPP, (arg.hwpt_id = self->mock.hwpt, arg.data = 0));
	EXPECT_EQ(0, count_set(self->bitmap, ROOM));
	EXPECT_GET(0, arg.flags = KEEP);
}

TEST_F(dirty, devices_that_cannot)
{
	struct iommu_hw_info info = { .size = sizeof(info), .dev_id = self->mock.device };
	struct mock without;

	ASSERT_OK(call(self->fd, IOMMU_GET_HW_INFO, &info));
	EXPECT_TRUE(info.out_capabilities & IOMMU_HW_CAP_DIRTY_TRACKING);
	EXPECT_ERRNO(EINVAL, add_without(self->fd, self->hwpt, &without));
	ASSERT_OK(add_without(self->fd, self->ioas, &without));
	info = (struct iommu_hw_info) { .size = sizeof(info), .dev_id = without.device };
	ASSERT_OK(call(self->fd, IOMMU_GET_HW_INFO, &info));
	EXPECT_FALSE(info.out_capabilities & IOMMU_HW_CAP_DIRTY_TRACKING);
	EXPECT_ERRNO(EOPNOTSUPP, hwpt_alloc(self->fd, without.device, self->ioas,
					    IOMMU_HWPT_ALLOC_DIRTY_TRACKING));
	/* It stays where it is. */
	EXPECT_ERRNO(EINVAL, mock_move(self->fd, without.id, self->hwpt));
	EXPECT_EQ(without.hwpt, mock_move(self->fd, without.id, self->ioas));
	EXPECT_EQ(self->hwpt, mock_move(self->fd, self->mock.id, self->hwpt));
}

/* What only the IOMMU driver understands. */
TEST_F(dirty, driver_data)
{
	struct iommu_hwpt_selftest data[2] = { { .pagetable_type = MOCK_IOMMUPT_HUGE } };
	struct iommu_hwpt_alloc valid = {
		.size = sizeof(valid),
		.dev_id = self->mock.device,
		.pt_id = self->ioas,
		.data_type = IOMMU_HWPT_DATA_SELFTEST,
		.data_len = sizeof(*data),
		.data_uptr = (uintptr_t)data,
	};

#define EXPECT_DATA(errno_, change) \
	EXPECT_CHANGED(errno_, self->fd, IOMMU_HWPT_ALLOC, valid, change)
	EXPECT_DATA(EINVAL, arg.data_type = 0);
	EXPECT_DATA(EINVAL, arg.data_len = 0);
	EXPECT_DATA(EOPNOTSUPP, arg.data_type = IOMMU_HWPT_DATA_VTD_S1);
	EXPECT_DATA(EINVAL, arg.data_len = 3);
	EXPECT_DATA(EINVAL, arg.data_len++);
	EXPECT_DATA(EFAULT, arg.data_uptr = 8);
	EXPECT_DATA(EOPNOTSUPP, data->pagetable_type = 2);
	data->pagetable_type = MOCK_IOMMUPT_HUGE;
	EXPECT_DATA(0, arg.flags = IOMMU_HWPT_ALLOC_DIRTY_TRACKING);
}

/* --- marks ----------------------------------------------------------------------------- */

TEST_F(dirty, marks)
{
	ASSERT_OK(MARK(3));
	ASSERT_OK(MARK(COUNT - 1));
	EXPECT_EQ(2, MARKED());
	EXPECT_TRUE(is_set(self->bitmap, 3) && is_set(self->bitmap, COUNT - 1));
	/* A part, whose bits are its own. */
	memset(self->bitmap, 0, ROOM);
	ASSERT_OK(GET(2, 6, self->bitmap, 0));
	EXPECT_EQ(2, self->bitmap[0]);
	EXPECT_EQ(1, count_set(self->bitmap, ROOM));
	EXPECT_EQ(1, MARKED());
	/* To begin anew is to forget, to end is not. */
	ASSERT_OK(MARK(7));
	ASSERT_OK(TRACK(0));
	EXPECT_ERRNO(EINVAL, MARK(8));
	EXPECT_EQ(2, MARKED());
	ASSERT_OK(TRACK(ENABLE));
	EXPECT_EQ(0, MARKED());
	/* What is mapped anew was not written to. */
	ASSERT_OK(MARK(9));
	ASSERT_EQ(SIZE, ioas_unmap(self->fd, self->ioas, START, SIZE));
	ASSERT_OK(ioas_map(self->fd, self->ioas, self->memory, SIZE, START));
	EXPECT_EQ(0, MARKED());
}

/*
 * An IOTLB may have the mark of a page as well, and does not set it again: it has to forget what is
 * cleared. For those who just look it has not.
 */
TEST_F(dirty, iotlb)
{
	int before;

	ASSERT_OK(MARK(3));
	before = flushes(self->fd, self->hwpt);
	ASSERT_LE(0, before);
	EXPECT_EQ(1, MARKED());
	EXPECT_EQ(before, flushes(self->fd, self->hwpt));
	ASSERT_OK(GET(0, COUNT, self->bitmap, 0));
	EXPECT_LT(before, flushes(self->fd, self->hwpt));
	/* So it has to when tracking begins. */
	ASSERT_OK(MARK(3));
	before = flushes(self->fd, self->hwpt);
	ASSERT_OK(TRACK(ENABLE));
	EXPECT_LT(before, flushes(self->fd, self->hwpt));
}

/* Each domain has marks of its own. */
TEST_F(dirty, two_domains)
{
	int other = TRACKING(self->ioas);

	ASSERT_LT(0, other);
	EXPECT_ERRNO(EINVAL, mark(self->fd, other, START));
	ASSERT_OK(track(self->fd, other, ENABLE));
	ASSERT_OK(MARK(1));
	ASSERT_OK(mark(self->fd, other, START + 2 * PAGE));
	EXPECT_EQ(1, MARKED());
	EXPECT_TRUE(is_set(self->bitmap, 1));
	ASSERT_OK(destroy(self->fd, other));
	EXPECT_ERRNO(ENOENT, get(self->fd, other, START, SIZE, PAGE, self->bitmap, 0));
	EXPECT_EQ(1, MARKED());
}

/* --- bitmaps --------------------------------------------------------------------------- */

/* Wherever it begins, no byte beside it is touched, and no bit that is set is cleared. */
TEST_F(dirty, places)
{
	static const unsigned int places[] = { 1, 7, 4095, 4096 - 128, 4096 - 4, 4096 + 13 };
	unsigned int i, page;

	for (i = 0; i < ARRAY_SIZE(places); i++) {
		uint8_t *bitmap = self->bitmap + places[i];

		memset(self->bitmap, 0, ROOM);
		for (page = 0; page < COUNT; page += 5)
			ASSERT_OK(MARK(page));
		bitmap[-1] = 0xa5;
		bitmap[0] = 0x80;
		bitmap[COUNT / 8] = 0x5a;
		ASSERT_OK(GET(0, COUNT, bitmap, 0));
		EXPECT_EQ(0xa5, bitmap[-1]);
		EXPECT_EQ(0x5a, bitmap[COUNT / 8]);
		EXPECT_EQ(0xa1, bitmap[0]);
		for (page = 8; page < COUNT; page++)
			EXPECT_EQ(page % 5 == 0, is_set(bitmap, page));
		EXPECT_EQ((COUNT + 4) / 5 + 1 + 4 + 4, count_set(self->bitmap, ROOM));
	}
}

/* What a bit stands for is for the caller to say; what is no power of two has one in it. */
TEST_F(dirty, page_sizes)
{
	static const struct {
		uint64_t page_size;
		unsigned int first, count;	/* bits that page 5 has */
	} sizes[] = {
		{ PAGE / 2, 10, 2 }, { 1, 5 * PAGE, PAGE }, { 8, 5 * PAGE / 8, PAGE / 8 },
		{ PAGE, 5, 1 }, { 2 * PAGE, 2, 1 }, { 3 * PAGE, 5, 1 }, { 64 * PAGE, 0, 1 },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		memset(self->bitmap, 0, ROOM);
		ASSERT_OK(MARK(5));
		ASSERT_OK(get(self->fd, self->hwpt, START, 64 * PAGE, sizes[i].page_size,
			      self->bitmap, 0));
		EXPECT_EQ(sizes[i].count, count_set(self->bitmap, ROOM));
		EXPECT_TRUE(is_set(self->bitmap, sizes[i].first));
		EXPECT_TRUE(is_set(self->bitmap, sizes[i].first + sizes[i].count - 1));
		EXPECT_EQ(0, MARKED());
	}
}

/* All addresses there are, and next to no bits. */
TEST_F(dirty, huge_spans)
{
	static const struct {
		uint64_t length, page_size;
		unsigned int bit;
	} spans[] = {
		{ 1ULL << 63, 1ULL << 63, 0 }, { 1ULL << 63, 1ULL << 62, 0 },
		{ 1ULL << 63, 1ULL << 58, 0 }, { -(1ULL << 23), 1ULL << 23, 2 },
		{ 1ULL << 40, 1ULL << 24, 1 },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(spans); i++) {
		ASSERT_OK(MARK(0));
		memset(self->bitmap, 0, ROOM);
		ASSERT_OK(get(self->fd, self->hwpt, 0, spans[i].length, spans[i].page_size,
			      self->bitmap, 0));
		EXPECT_EQ(1, count_set(self->bitmap, ROOM));
		EXPECT_TRUE(is_set(self->bitmap, spans[i].bit));
		EXPECT_EQ(0, MARKED());
	}
	/* The upper half, where nothing can be mapped. */
	EXPECT_OK(get(self->fd, self->hwpt, 1ULL << 63, (1ULL << 63) - PAGE, PAGE, NULL, 0));
	EXPECT_OK(get(self->fd, self->hwpt, 1ULL << 63, 1ULL << 63, 1ULL << 63, NULL, 0));
}

/* Where nothing is mapped there is nothing to tell; what is behind it is told. */
TEST_F(dirty, holes)
{
	const uint64_t apart = 1ULL << 30;
	const size_t length = (apart + SIZE) / PAGE / 8;
	uint8_t *bitmap = pages(length / PAGE + 1);

	ASSERT_NE(NULL, bitmap);
	EXPECT_OK(get(self->fd, self->hwpt, START + SIZE, SIZE, PAGE, NULL, 0));
	ASSERT_OK(ioas_map(self->fd, self->ioas, self->memory, PAGE, START + SIZE + PAGE));
	ASSERT_OK(ioas_map(self->fd, self->ioas, self->memory, PAGE, START + apart));
	ASSERT_OK(MARK(0));
	ASSERT_OK(MARK(COUNT + 1));
	ASSERT_OK(MARK(apart / PAGE));
	ASSERT_OK(get(self->fd, self->hwpt, START, apart + SIZE, PAGE, bitmap, 0));
	EXPECT_EQ(3, count_set(bitmap, length));
	EXPECT_TRUE(is_set(bitmap, 0) && is_set(bitmap, COUNT + 1));
	EXPECT_TRUE(is_set(bitmap, apart / PAGE));
	EXPECT_EQ(0, MARKED());
}

/* --- memory that is not there ---------------------------------------------------------- */

/* What cannot be told stays marked. */
TEST_F(dirty, unwritable)
{
	uint8_t *no = mmap(NULL, 2 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, no);
	ASSERT_OK(munmap(no + PAGE, PAGE));
	ASSERT_OK(MARK(0));
	ASSERT_OK(MARK(COUNT - 1));
	EXPECT_ERRNO(EFAULT, GET(0, COUNT, no, 0));
	EXPECT_ERRNO(EFAULT, GET(0, COUNT, no, KEEP));
	EXPECT_ERRNO(EFAULT, GET(0, COUNT, NULL, 0));
	EXPECT_ERRNO(EFAULT, GET(0, COUNT, (void *)-1UL, 0));
	EXPECT_ERRNO(EFAULT, GET(0, COUNT, (void *)(ULONG_MAX / 2 + 1), 0));
	ASSERT_OK(mprotect(no, PAGE, PROT_READ | PROT_WRITE));
	/* The last bits are behind the end. */
	EXPECT_ERRNO(EFAULT, GET(0, COUNT, no + PAGE - COUNT / 8 + 1, 0));
	EXPECT_EQ(2, MARKED());
	EXPECT_OK(GET(0, COUNT, no + PAGE - COUNT / 8, 0));
	EXPECT_EQ(1, no[PAGE - COUNT / 8]);
	EXPECT_EQ(0x80, no[PAGE - 1]);
	EXPECT_EQ(0, MARKED());
	munmap(no, PAGE);
}

/* So it does if all but the end of a long bitmap can be written to. */
TEST_F(dirty, unwritable_end)
{
	const uint64_t far = 1ULL << 30;
	const size_t length = (far + SIZE) / PAGE / 8;
	uint8_t *bitmap = mmap(NULL, length + 2 * PAGE, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t *end = bitmap + far / PAGE / 8;

	ASSERT_NE(MAP_FAILED, bitmap);
	ASSERT_OK(ioas_map(self->fd, self->ioas, self->memory, SIZE, START + far));
	ASSERT_OK(MARK(0));
	ASSERT_OK(mark(self->fd, self->hwpt, START + far));
	ASSERT_OK(mprotect(end, PAGE, PROT_READ));
	EXPECT_ERRNO(EFAULT, get(self->fd, self->hwpt, START, far + SIZE, PAGE, bitmap, 0));
	EXPECT_EQ(1, MARKED());
	ASSERT_OK(mprotect(end, PAGE, PROT_READ | PROT_WRITE));
	EXPECT_OK(get(self->fd, self->hwpt, START, far + SIZE, PAGE, bitmap, 0));
	EXPECT_EQ(1, *bitmap);
	EXPECT_EQ(1, *end);
	munmap(bitmap, length + 2 * PAGE);
}

/* A file has the bits, also when nobody has it mapped any more. */
TEST_F(dirty, file)
{
	char name[] = "/tmp/bitmap.XXXXXX";
	int file = mkstemp(name);
	uint8_t *bitmap, byte = 0;

	ASSERT_LE(0, file);
	unlink(name);
	ASSERT_OK(ftruncate(file, PAGE));
	bitmap = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	ASSERT_NE(MAP_FAILED, bitmap);
	ASSERT_OK(MARK(1));
	ASSERT_OK(GET(0, COUNT, bitmap, 0));
	munmap(bitmap, PAGE);
	ASSERT_EQ(1, pread(file, &byte, 1, 0));
	EXPECT_EQ(2, byte);
	/* Beyond its end. */
	bitmap = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, PAGE);
	ASSERT_NE(MAP_FAILED, bitmap);
	EXPECT_ERRNO(EFAULT, GET(0, COUNT, bitmap, 0));
	munmap(bitmap, PAGE);
	/* Not to be written to, however it is open. */
	bitmap = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, file, 0);
	ASSERT_NE(MAP_FAILED, bitmap);
	EXPECT_ERRNO(EFAULT, GET(0, COUNT, bitmap, 0));
	munmap(bitmap, PAGE);
	close(file);
}

/* The memory that a device writes to can have the bits itself. */
TEST_F(dirty, of_itself)
{
	ASSERT_OK(MARK(2));
	memset(self->memory, 0, SIZE);
	ASSERT_OK(GET(0, COUNT, self->memory + 5, 0));
	EXPECT_EQ(4, self->memory[5]);
}

/* --- large pages ----------------------------------------------------------------------- */

/* Kernels whose IOMMU drivers set bits have bitmaps of their own, which forget such a page. */
static bool bitmaps_are_ours(void)
{
	FILE *symbols = fopen("/proc/kallsyms", "r");
	char line[256];
	bool ours = true;

	while (symbols && fgets(line, sizeof(line), symbols))
		if (strstr(line, " iova_bitmap_set\n"))
			ours = false;
	if (symbols)
		fclose(symbols);
	return ours;
}

/* The bits of one that a range has some of only: those of the range are set, and no others. */
TEST_F(dirty, cut_pages)
{
	int ioas = ioas_alloc(self->fd), hwpt;
	const size_t large = 2 << 20;
	char *memory;

	if (!bitmaps_are_ours())
		SKIP(return, "the kernel's own bitmaps are in use");
	if (!provide_huge_pages(2))
		SKIP(return, "needs two huge pages");
	memory = mmap(NULL, 2 * large, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	ASSERT_NE(MAP_FAILED, memory);
	ASSERT_OK(ioas_map(self->fd, ioas, memory, 2 * large, START));
	hwpt = TRACKING(ioas);
	ASSERT_LT(0, hwpt);
	ASSERT_OK(track(self->fd, hwpt, ENABLE));
	ASSERT_OK(mark(self->fd, hwpt, START + PAGE));
	memset(self->bitmap, 0, ROOM);
	ASSERT_OK(get(self->fd, hwpt, START + 3 * PAGE, 20 * PAGE, PAGE, self->bitmap + 8, KEEP));
	EXPECT_EQ(20, count_set(self->bitmap, ROOM));
	EXPECT_EQ(20, count_set(self->bitmap + 8, 3));
	memset(self->bitmap, 0, ROOM);
	ASSERT_OK(get(self->fd, hwpt, START, large, PAGE, self->bitmap, 0));
	EXPECT_EQ(large / PAGE, count_set(self->bitmap, ROOM));
	munmap(memory, 2 * large);
}

/* Pages of 1 GiB, and those that AMD has entries of all sizes for: each entry may have the mark. */
TEST_F(dirty, sizes_of_pages)
{
	const size_t large = 1 << 30, some = 64 * 1024;
	uint8_t *bitmap = pages(large / PAGE / 8 / PAGE);
	int ioas = ioas_alloc(self->fd), hwpt;
	unsigned int page, count;
	char *memory;

	ASSERT_NE(NULL, bitmap);
	memory = mmap(NULL, large, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | 30 << MAP_HUGE_SHIFT, -1, 0);
	if (memory == MAP_FAILED)
		SKIP(return, "needs a huge page of 1 GiB");
	ASSERT_OK(ioas_map(self->fd, ioas, memory, some, START));
	hwpt = TRACKING(ioas);
	ASSERT_LT(0, hwpt);
	ASSERT_OK(track(self->fd, hwpt, ENABLE));
	count = variant->table == MOCK_IOMMUPT_VTDSS ? 1 : some / PAGE;
	for (page = 0; page < some / PAGE; page++) {
		memset(bitmap, 0, PAGE);
		ASSERT_OK(mark(self->fd, hwpt, START + page * PAGE));
		ASSERT_OK(get(self->fd, hwpt, START, some, PAGE, bitmap, 0));
		EXPECT_EQ(count, count_set(bitmap, PAGE));
		EXPECT_TRUE(is_set(bitmap, page));
		memset(bitmap, 0, PAGE);
		ASSERT_OK(get(self->fd, hwpt, START, some, PAGE, bitmap, 0));
		EXPECT_EQ(0, count_set(bitmap, PAGE));
	}
	/* A checking kernel's mm looks at each of its 4 KiB, which takes it minutes. */
	if (slowness_factor > 2)
		return;
	ASSERT_OK(ioas_map(self->fd, ioas, memory, large, large));
	ASSERT_OK(mark(self->fd, hwpt, large + 5 * PAGE));
	ASSERT_OK(get(self->fd, hwpt, large, large, PAGE, bitmap, 0));
	EXPECT_EQ(large / PAGE, count_set(bitmap, large / PAGE / 8));
	munmap(memory, large);
	munmap(bitmap, large / PAGE / 8);
}

/* Addresses for which a table has more levels than it began with, or all that it can have. */
TEST_F(dirty, high_addresses)
{
	/* Of the last page, a checking kernel's count (iommu.debug_pagealloc) knows no end. */
	const uint64_t last = slowness_factor > 2 ? -2 * PAGE : -PAGE;
	const uint64_t iova[] = { START, 1ULL << 31, 1ULL << 38, (1ULL << 39) + PAGE,
				  (1ULL << 48) - PAGE, 1ULL << 48, 1ULL << 57, last };
	/* The mock's own table has one limit more; VT-d's is one of four levels here. */
	const unsigned int counts[] = { 1, 5, ARRAY_SIZE(iova) };
	const unsigned int which = variant->table ? variant->table - MOCK_IOMMUPT_VTDSS + 1 : 0;
	const unsigned int count = counts[which];
	unsigned int i;
	int ioas = ioas_alloc(self->fd), hwpt;

	ASSERT_LT(0, ioas);
	hwpt = TRACKING(ioas);
	ASSERT_LT(0, hwpt);
	ASSERT_OK(track(self->fd, hwpt, ENABLE));
	for (i = 0; i < count; i++) {
		ASSERT_OK(ioas_map(self->fd, ioas, self->memory, PAGE, iova[i]))
			TH_LOG("address %u", i);
		ASSERT_OK(mark(self->fd, hwpt, iova[i]));
	}
	for (i = 0; i < count; i++) {
		memset(self->bitmap, 0, ROOM);
		ASSERT_OK(get(self->fd, hwpt, iova[i], PAGE, PAGE, self->bitmap, 0));
		EXPECT_EQ(1, *self->bitmap) TH_LOG("address %u", i);
		ASSERT_OK(get(self->fd, hwpt, iova[i], PAGE, PAGE, self->bitmap + 1, 0));
		EXPECT_EQ(1, count_set(self->bitmap, ROOM));
	}
}

/* Bits of one, for eight bytes each, that are in more than is pinned at once. */
TEST_F(dirty, long_bitmaps)
{
	int ioas = ioas_alloc(self->fd), hwpt;
	const size_t large = 2 << 20;
	char *memory;
	uint8_t *bitmap = pages(large / PAGE);

	ASSERT_NE(NULL, bitmap);
	if (!provide_huge_pages(2))
		SKIP(return, "needs two huge pages");
	memory = mmap(NULL, 2 * large, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	ASSERT_NE(MAP_FAILED, memory);
	ASSERT_OK(ioas_map(self->fd, ioas, memory, 2 * large, START));
	hwpt = TRACKING(ioas);
	ASSERT_LT(0, hwpt);
	ASSERT_OK(track(self->fd, hwpt, ENABLE));
	ASSERT_OK(mark(self->fd, hwpt, START + large));
	ASSERT_OK(get(self->fd, hwpt, START, 2 * large, 8, bitmap + 99, 0));
	EXPECT_EQ(large / 8, count_set(bitmap + 99 + large / 64, large / 64));
	EXPECT_EQ(0, count_set(bitmap, large) % (large / 8));
	memset(bitmap, 0, large);
	ASSERT_OK(get(self->fd, hwpt, START, 2 * large, 8, bitmap + 99, 0));
	EXPECT_EQ(0, count_set(bitmap, large));
	munmap(memory, 2 * large);
	munmap(bitmap, large);
}

/* --- at the same time ------------------------------------------------------------------ */

struct reader {
	int fd, hwpt;
	uint8_t *bitmap;
	int result;
};

static void *read_bits(void *data)
{
	struct reader *reader = data;

	reader->result = get(reader->fd, reader->hwpt, START, SIZE, PAGE, reader->bitmap, 0);
	return NULL;
}

/* Memory that does not come holds up who asks for bits, and nobody else. */
TEST_F(dirty, holds_up_nobody)
{
	struct reader reader = { .fd = self->fd, .hwpt = self->hwpt };
	struct mock other;
	pthread_t thread;
	int stopper;

	reader.bitmap = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			     -1, 0);
	ASSERT_NE(MAP_FAILED, reader.bitmap);
	ASSERT_OK(MARK(4));
	stopper = stop_at((char *)reader.bitmap, PAGE);
	ASSERT_LE(0, stopper);
	ASSERT_OK(pthread_create(&thread, NULL, read_bits, &reader));
	wait_for_stop(_metadata, stopper);
	EXPECT_EQ(1, MARKED());
	EXPECT_OK(ioas_map(self->fd, self->ioas, self->memory, PAGE, START + SIZE));
	EXPECT_EQ(PAGE, ioas_unmap(self->fd, self->ioas, START + SIZE, PAGE));
	EXPECT_OK(mock_add(self->fd, self->ioas, &other));
	EXPECT_OK(TRACK(ENABLE));
	ASSERT_OK(MARK(5));
	/* What is asked about goes. */
	EXPECT_EQ(SIZE, ioas_unmap(self->fd, self->ioas, START, SIZE));
	EXPECT_OK(destroy(self->fd, self->hwpt));
	close(stopper);
	ASSERT_OK(pthread_join(thread, NULL));
	EXPECT_ERRNO(ENOENT, reader.result);
	EXPECT_EQ(0, count_set(reader.bitmap, PAGE));
	munmap(reader.bitmap, PAGE);
}

struct crowd {
	int fd, ioas, device;
	uint32_t table;
	atomic_int hwpt;
	char *memory;
	atomic_bool stop;
	atomic_uint odd;
	atomic_uint calls;
};

static void note(struct crowd *crowd, int ret)
{
	atomic_fetch_add(&crowd->calls, 1);
	if (ret < 0 && ret != -ENOENT)
		atomic_fetch_add(&crowd->odd, 1);
}

static void *crowd_get(void *data)
{
	struct crowd *crowd = data;
	uint8_t bitmap[COUNT / 8 + 1];
	unsigned int i;

	for (i = 0; !atomic_load(&crowd->stop); i++)
		note(crowd, get(crowd->fd, crowd->hwpt, START, SIZE, PAGE, bitmap + i % 2,
				i % 3 ? 0 : KEEP));
	return NULL;
}

static void *crowd_set(void *data)
{
	struct crowd *crowd = data;
	unsigned int i;

	for (i = 0; !atomic_load(&crowd->stop); i++)
		note(crowd, track(crowd->fd, crowd->hwpt, i % 2 ? ENABLE : 0));
	return NULL;
}

static void *crowd_mark(void *data)
{
	struct crowd *crowd = data;
	unsigned int i;
	int ret;

	for (i = 0; !atomic_load(&crowd->stop); i++) {
		ret = mark(crowd->fd, crowd->hwpt, START + i % COUNT * PAGE);
		/* Nobody marks pages when they are not tracked. */
		note(crowd, ret == -EINVAL ? 0 : ret);
	}
	return NULL;
}

static void *crowd_unmap(void *data)
{
	struct crowd *crowd = data;
	int64_t ret;

	while (!atomic_load(&crowd->stop)) {
		ret = ioas_unmap(crowd->fd, crowd->ioas, START, SIZE);
		note(crowd, ret < 0 ? ret : 0);
		ret = ioas_map(crowd->fd, crowd->ioas, crowd->memory, SIZE, START);
		note(crowd, ret);
	}
	return NULL;
}

static void *crowd_renew(void *data)
{
	struct crowd *crowd = data;
	int hwpt;

	while (!atomic_load(&crowd->stop)) {
		hwpt = tracking(crowd->fd, crowd->device, crowd->ioas, crowd->table);
		note(crowd, hwpt);
		note(crowd, destroy(crowd->fd, atomic_exchange(&crowd->hwpt, hwpt)));
	}
	return NULL;
}

/* All of it at once, to the same ids, with two of each. */
TEST_F(dirty, crowd)
{
	static void *(*const deeds[])(void *) = {
		crowd_get, crowd_set, crowd_mark, crowd_unmap, crowd_renew, crowd_get, crowd_mark,
		crowd_set,
	};
	struct crowd crowd = {
		.fd = self->fd, .ioas = self->ioas, .device = self->mock.device,
		.hwpt = self->hwpt, .memory = self->memory, .table = variant->table,
	};
	pthread_t threads[ARRAY_SIZE(deeds)];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(deeds); i++)
		ASSERT_OK(pthread_create(&threads[i], NULL, deeds[i], &crowd));
	sleep(5);
	atomic_store(&crowd.stop, true);
	for (i = 0; i < ARRAY_SIZE(deeds); i++)
		ASSERT_OK(pthread_join(threads[i], NULL));
	EXPECT_EQ(0, crowd.odd);
	EXPECT_LT(100, crowd.calls);
	EXPECT_OK(track(self->fd, crowd.hwpt, ENABLE));
	TH_LOG("%u calls", crowd.calls);
}

struct gatherer {
	int fd, hwpt;
	uint8_t *bitmap;
	atomic_bool stop;
	int result;
};

static void *gather(void *data)
{
	struct gatherer *gatherer = data;

	while (!atomic_load(&gatherer->stop) && !gatherer->result)
		gatherer->result = get(gatherer->fd, gatherer->hwpt, START, SIZE, PAGE,
				       gatherer->bitmap, 0);
	return NULL;
}

/* Two read into one bitmap while a device writes: it has all that was written to in the end. */
TEST_F(dirty, none_is_lost)
{
	struct gatherer gatherer = {
		.fd = self->fd, .hwpt = self->hwpt, .bitmap = self->bitmap + 3,
	};
	unsigned int page, round, rounds = scaled(40, 4);
	pthread_t threads[2];

	ASSERT_OK(pthread_create(&threads[0], NULL, gather, &gatherer));
	ASSERT_OK(pthread_create(&threads[1], NULL, gather, &gatherer));
	for (round = 0; round < rounds; round++) {
		unsigned int step = 1 + round % 7;

		memset(self->bitmap, 0, ROOM);
		for (page = 0; page < COUNT; page += step)
			ASSERT_OK(MARK(page));
		/* Whoever has read the last marks has set their bits by then. */
		if (round == rounds - 1)
			break;
	}
	atomic_store(&gatherer.stop, true);
	ASSERT_OK(pthread_join(threads[0], NULL));
	ASSERT_OK(pthread_join(threads[1], NULL));
	ASSERT_OK(gatherer.result);
	ASSERT_OK(GET(0, COUNT, gatherer.bitmap, 0));
	for (page = 0; page < COUNT; page += 1 + (rounds - 1) % 7)
		EXPECT_TRUE(is_set(gatherer.bitmap, page));
}

TEST_HARNESS_MAIN
