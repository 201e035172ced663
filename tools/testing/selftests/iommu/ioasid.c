// SPDX-License-Identifier: GPL-2.0
/*
 * The IOASID calls of /dev/iommu as <linux/iommu.h> describes them, without a device
 * but where memory has to be there: results, and every errno.
 */
#include "ioasid_space.h"
#include "leftover.h"

/* --- what does not concern one address space ------------------------------- */

TEST_F(space, check_extension)
{
	static const unsigned long numbers[] = { 0, 10, 100, INT_MAX, UINT_MAX, ULONG_MAX };
	unsigned int i;

	EXPECT_EQ(1, iommu_check_extension(self->fd, IOMMU_EXT_MAP_TYPE1V2));
	EXPECT_EQ(1, iommu_check_extension(self->fd, IOMMU_EXT_DMA_NO_SNOOP));
	EXPECT_EQ(0, iommu_check_extension(self->fd, IOMMU_EXT_MAP_NEWTYPE));
	EXPECT_EQ(1, iommu_check_extension(self->fd, IOMMU_EXT_MULTIDEV_GROUP));
	EXPECT_EQ(0, iommu_check_extension(self->fd, IOMMU_EXT_IOASID_NESTING));
	EXPECT_EQ(0, iommu_check_extension(self->fd, IOMMU_EXT_USER_PAGE_TABLE));
	EXPECT_EQ(0, iommu_check_extension(self->fd, IOMMU_EXT_USER_PASID_TABLE));
	EXPECT_EQ(0, iommu_check_extension(self->fd, IOMMU_EXT_DIRTY_TRACKING));
	EXPECT_EQ(1, iommu_check_extension(self->fd, IOMMU_EXT_IOVA_WINDOW));
	for (i = 0; i < ARRAY_SIZE(numbers); i++) {
		EXPECT_EQ(0, iommu_check_extension(self->fd, numbers[i]))
			TH_LOG("for %lu", numbers[i]);
	}
	expect_extensions(_metadata, self->fd, ALL_NUMBERS);
}

/* A new context may be a VFIO container to be; whoever allocates an IOASID knows better. */
TEST_F(space, check_extension_of_a_new_context)
{
	struct iommu_ioasid_alloc wrong = { .argsz = sizeof(wrong) };
	int fd = open_iommufd(), ioasid;

	ASSERT_LE(0, fd);
	expect_extensions(_metadata, fd, EXPLICIT_NUMBERS);
	/* A call that fails changes nothing. */
	EXPECT_ERRNO(EINVAL, call(fd, IOMMU_IOASID_ALLOC, &wrong));
	EXPECT_ERRNO(ENOENT, ioasid_free(fd, 1));
	expect_extensions(_metadata, fd, EXPLICIT_NUMBERS);
	ioasid = ioasid_alloc(fd, 64);
	ASSERT_LT(0, ioasid);
	expect_extensions(_metadata, fd, ALL_NUMBERS);
	ASSERT_OK(ioasid_free(fd, ioasid));
	expect_extensions(_metadata, fd, ALL_NUMBERS);
	close(fd);
}

/* Numbers that any dialect of this file may serve, now or in time. */
static bool is_served(unsigned int number)
{
	return (number >= 100 && number <= 105) || (number >= 112 && number <= 114) ||
	       number == 117 || (number >= 0x80 && number <= 0x95);
}

TEST_F(space, unknown_numbers)
{
	uint64_t arg[16] = { sizeof(arg) };
	unsigned int number;

	for (number = 0; number < 256; number++) {
		if (!is_served(number)) {
			EXPECT_ERRNO(ENOTTY, call(self->fd, _IO(IOMMU_TYPE, number), arg))
				TH_LOG("for number %u", number);
		}
		EXPECT_ERRNO(ENOTTY, call(self->fd, _IO('v', number), arg))
			TH_LOG("for number %u of another type", number);
	}
	/* Direction and size are part of the number. */
	EXPECT_ERRNO(ENOTTY, call(self->fd, _IOR(IOMMU_TYPE, 102, uint64_t), arg));
	EXPECT_ERRNO(ENOTTY, call(self->fd, _IOW(IOMMU_TYPE, 103, __s32), arg));
	EXPECT_ERRNO(ENOTTY, call(self->fd, _IOWR(IOMMU_TYPE, 104, uint64_t), arg));
}

TEST_F(space, not_a_file_to_read)
{
	char byte;

	EXPECT_EQ(-1, read(self->fd, &byte, 1));
	EXPECT_EQ(-1, write(self->fd, &byte, 1));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PAGE, PROT_READ, MAP_SHARED, self->fd, 0));
	EXPECT_EQ(ENXIO, errno);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, self->fd, 0));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PAGE, PROT_EXEC, MAP_SHARED, self->fd, 0));
	EXPECT_EQ(EPERM, errno);
}

/* --- IOASID_ALLOC and IOASID_FREE ------------------------------------------ */

TEST_F(space, ids_are_lowest_free_first)
{
	int i;

	EXPECT_EQ(1, self->ioasid);
	for (i = 2; i <= 100; i++) {
		ASSERT_EQ(i, ioasid_alloc(self->fd, 64))
			TH_LOG("for id %d", i);
	}
	EXPECT_OK(ioasid_free(self->fd, 70));
	EXPECT_OK(ioasid_free(self->fd, 7));
	EXPECT_EQ(7, ioasid_alloc(self->fd, 64));
	EXPECT_EQ(70, ioasid_alloc(self->fd, 64));
	EXPECT_EQ(101, ioasid_alloc(self->fd, 64));
}

TEST_F(space, ids_belong_to_one_context)
{
	int other = open_iommufd();

	ASSERT_LE(0, other);
	EXPECT_ERRNO(ENOENT, ioasid_free(other, self->ioasid));
	EXPECT_ERRNO(ENOENT, ioasid_map(other, self->ioasid, self->memory, IOVA, PAGE, IOASID_RW));
	EXPECT_EQ(1, ioasid_alloc(other, 64));
	EXPECT_OK(ioasid_free(other, 1));
	EXPECT_OK(MAP(0, 0, 1));
	close(other);
	EXPECT_EQ(PAGE, UNMAP(0, 1));
}

#define EXPECT_ALLOC(errno_, change) \
	EXPECT_CHANGED(errno_, self->fd, IOMMU_IOASID_ALLOC, ((struct iommu_ioasid_alloc) { \
		.argsz = sizeof(struct iommu_ioasid_alloc), \
		.type = IOMMU_IOASID_TYPE_KERNEL_TYPE1V2, \
		.addr_width = 48, \
	}), change)

TEST_F(space, alloc_arguments)
{
	unsigned int bit;

	EXPECT_ALLOC(EINVAL, arg.argsz = 0);
	EXPECT_ALLOC(EINVAL, arg.argsz = 15);
	for (bit = 2; bit < 32; bit++)
		EXPECT_ALLOC(EINVAL, arg.flags = 1U << bit);
	EXPECT_ALLOC(EINVAL, arg.type = 0);
	EXPECT_ALLOC(EINVAL, arg.type = 2);
	EXPECT_ALLOC(EINVAL, arg.type = UINT_MAX);
	EXPECT_ALLOC(EINVAL, arg.addr_width = 0);
	EXPECT_ALLOC(EINVAL, arg.addr_width = 65);
	EXPECT_ALLOC(EINVAL, arg.addr_width = UINT_MAX);
	EXPECT_ERRNO(EFAULT, call(self->fd, IOMMU_IOASID_ALLOC, NULL));
	/* None of them took an id. */
	EXPECT_EQ(2, ioasid_alloc(self->fd, 64));
}

TEST_F(space, alloc_sizes)
{
	struct {
		struct iommu_ioasid_alloc alloc;
		char tail[32];
	} arg = { .alloc = {
		.argsz = 16,
		.type = IOMMU_IOASID_TYPE_KERNEL_TYPE1V2,
		.addr_width = 48,
	} };

	EXPECT_EQ(2, call(self->fd, IOMMU_IOASID_ALLOC, &arg));
	arg.alloc.argsz = sizeof(arg);
	EXPECT_EQ(3, call(self->fd, IOMMU_IOASID_ALLOC, &arg));
	arg.tail[31] = 1;
	EXPECT_ERRNO(E2BIG, call(self->fd, IOMMU_IOASID_ALLOC, &arg));
	arg.tail[31] = 0;
	arg.tail[0] = 1;
	EXPECT_ERRNO(E2BIG, call(self->fd, IOMMU_IOASID_ALLOC, &arg));
	arg.alloc.argsz = UINT_MAX;
	EXPECT_ERRNO(E2BIG, call(self->fd, IOMMU_IOASID_ALLOC, &arg));
	/* What argsz does not cover is not looked at. */
	arg.alloc.argsz = sizeof(arg.alloc);
	EXPECT_EQ(4, call(self->fd, IOMMU_IOASID_ALLOC, &arg));
}

TEST_F(space, alloc_width)
{
	unsigned int width;
	uint64_t last;
	int ioasid;

	for (width = 1; width < 64; width++) {
		ioasid = ioasid_alloc(self->fd, width);
		ASSERT_LT(0, ioasid);
		last = (1ULL << width) - 1;
		EXPECT_EQ(last < PAGE - 1 ? -EINVAL : 0,
			  ioasid_map(self->fd, ioasid, self->memory, last & -PAGE, PAGE, IOASID_RW))
			TH_LOG("last page of width %u", width);
		EXPECT_ERRNO(EINVAL, ioasid_map(self->fd, ioasid, self->memory,
						(last + 1) & -PAGE, PAGE, IOASID_RW))
			TH_LOG("beyond width %u", width);
		EXPECT_OK(ioasid_free(self->fd, ioasid));
	}
}

#define EXPECT_ALLOC_WINDOW(errno_, change) \
	EXPECT_CHANGED(errno_, self->fd, IOMMU_IOASID_ALLOC, ((struct iommu_ioasid_alloc) { \
		.argsz = sizeof(struct iommu_ioasid_alloc), \
		.flags = IOMMU_IOASID_IOVA_WINDOW, \
		.type = IOMMU_IOASID_TYPE_KERNEL_TYPE1V2, \
		.iova_first = IOVA, \
		.iova_last = IOVA + 16 * PAGE - 1, \
	}), change)

TEST_F(space, alloc_window_arguments)
{
	EXPECT_ALLOC_WINDOW(EINVAL, arg.argsz = 16);
	EXPECT_ALLOC_WINDOW(EINVAL, arg.argsz = 31);
	EXPECT_ALLOC_WINDOW(EINVAL, arg.addr_width = 48);
	EXPECT_ALLOC_WINDOW(EINVAL, arg.iova_first += 1);
	EXPECT_ALLOC_WINDOW(EINVAL, arg.iova_first += PAGE / 2);
	EXPECT_ALLOC_WINDOW(EINVAL, arg.iova_last += 1);
	EXPECT_ALLOC_WINDOW(EINVAL, arg.iova_last -= 1);
	EXPECT_ALLOC_WINDOW(EINVAL, arg.iova_first += 16 * PAGE);
	EXPECT_ALLOC_WINDOW(EINVAL, arg.iova_last = 0);
	EXPECT_ALLOC_WINDOW(EINVAL, arg.iova_last = UINT64_MAX - 1);
	EXPECT_EQ(2, ioasid_alloc(self->fd, 64));
}

TEST_F(space, window)
{
	int ioasid = ioasid_alloc_window(self->fd, IOVA, IOVA + 4 * PAGE - 1);
	const uint64_t end = IOVA + 4 * PAGE;
	const void *memory = self->memory;

	ASSERT_LT(0, ioasid);
	EXPECT_ERRNO(EINVAL, ioasid_map(self->fd, ioasid, memory, 0, PAGE, IOASID_RW));
	EXPECT_ERRNO(EINVAL, ioasid_map(self->fd, ioasid, memory, IOVA - PAGE, PAGE, IOASID_RW));
	EXPECT_ERRNO(EINVAL, ioasid_map(self->fd, ioasid, memory, IOVA - PAGE, 2 * PAGE,
					IOASID_RW));
	EXPECT_ERRNO(EINVAL, ioasid_map(self->fd, ioasid, memory, IOVA, 5 * PAGE, IOASID_RW));
	EXPECT_ERRNO(EINVAL, ioasid_map(self->fd, ioasid, memory, end, PAGE, IOASID_RW));
	EXPECT_OK(ioasid_map(self->fd, ioasid, memory, IOVA, 3 * PAGE, IOASID_RW));
	EXPECT_OK(ioasid_map(self->fd, ioasid, memory, IOVA + 3 * PAGE, PAGE, IOASID_RW));
	/* To unmap, the range may reach beyond the window. */
	EXPECT_EQ(4 * PAGE, unmap(self->fd, ioasid, 0, 0 - PAGE));
}

TEST_F(space, window_extremes)
{
	int ioasid = ioasid_alloc_window(self->fd, 0, UINT64_MAX);

	ASSERT_LT(0, ioasid);
	EXPECT_OK(ioasid_map(self->fd, ioasid, self->memory, 0, PAGE, IOASID_RW));
	EXPECT_OK(ioasid_map(self->fd, ioasid, self->memory, TOP_PAGE, PAGE, IOASID_RW));
	ioasid = ioasid_alloc_window(self->fd, TOP_PAGE, UINT64_MAX);
	ASSERT_LT(0, ioasid);
	EXPECT_ERRNO(EINVAL, ioasid_map(self->fd, ioasid, self->memory, TOP_PAGE - PAGE, 2 * PAGE,
					IOASID_RW));
	EXPECT_OK(ioasid_map(self->fd, ioasid, self->memory, TOP_PAGE, PAGE, IOASID_RW));
	ioasid = ioasid_alloc_window(self->fd, 0, PAGE - 1);
	ASSERT_LT(0, ioasid);
	EXPECT_ERRNO(EINVAL, ioasid_map(self->fd, ioasid, self->memory, PAGE, PAGE, IOASID_RW));
	EXPECT_OK(ioasid_map(self->fd, ioasid, self->memory, 0, PAGE, IOASID_RW));
}

TEST_F(space, free)
{
	EXPECT_ERRNO(EFAULT, call(self->fd, IOMMU_IOASID_FREE, NULL));
	EXPECT_ERRNO(ENOENT, ioasid_free(self->fd, 0));
	EXPECT_ERRNO(ENOENT, ioasid_free(self->fd, -1));
	EXPECT_ERRNO(ENOENT, ioasid_free(self->fd, INT_MIN));
	EXPECT_ERRNO(ENOENT, ioasid_free(self->fd, INT_MAX));
	EXPECT_ERRNO(ENOENT, ioasid_free(self->fd, self->ioasid + 1));
	EXPECT_OK(ioasid_free(self->fd, self->ioasid));
	EXPECT_ERRNO(ENOENT, ioasid_free(self->fd, self->ioasid));
	EXPECT_ERRNO(ENOENT, MAP(0, 0, 1));
	EXPECT_ERRNO(ENOENT, UNMAP(0, 1));
}

TEST_F(space, free_removes_mappings)
{
	EXPECT_OK(MAP(0, 0, 3));
	EXPECT_OK(MAP(10, 3, 5));
	EXPECT_OK(ioasid_free(self->fd, self->ioasid));
	EXPECT_EQ(self->ioasid, ioasid_alloc(self->fd, 64));
	EXPECT_EQ(0, unmap_all(self->fd, self->ioasid));
}

/* --- MAP_DMA ---------------------------------------------------------------- */

#define EXPECT_MAP(errno_, change) \
	EXPECT_CHANGED(errno_, self->fd, IOMMU_MAP_DMA, \
		       map_arg(self->ioasid, self->memory, IOVA, PAGE), change)

TEST_F(space, map_arguments)
{
	unsigned int bit;

	EXPECT_MAP(EINVAL, arg.op.argsz = 0);
	EXPECT_MAP(EINVAL, arg.op.argsz = 15);
	for (bit = 0; bit < 32; bit++)
		EXPECT_MAP(EINVAL, arg.op.flags = 1U << bit);
	EXPECT_MAP(EINVAL, arg.op.padding = 1);
	EXPECT_MAP(ENOENT, arg.op.ioasid = 0);
	EXPECT_MAP(ENOENT, arg.op.ioasid = -1);
	EXPECT_MAP(ENOENT, arg.op.ioasid = INT_MIN);
	EXPECT_MAP(ENOENT, arg.op.ioasid += 1);
	EXPECT_MAP(EINVAL, arg.map.argsz = 0);
	EXPECT_MAP(EINVAL, arg.map.argsz = 31);
	for (bit = 3; bit < 32; bit++)
		EXPECT_MAP(EINVAL, arg.map.flags |= 1U << bit);
	EXPECT_MAP(EINVAL, arg.map.flags = 0);
	EXPECT_MAP(EOPNOTSUPP, arg.map.flags = VFIO_DMA_MAP_FLAG_VADDR);
	EXPECT_MAP(EINVAL, arg.map.size = 0);
	EXPECT_MAP(EINVAL, arg.map.size = 1);
	EXPECT_MAP(EINVAL, arg.map.size = PAGE + 1);
	EXPECT_MAP(EINVAL, arg.map.size = PAGE / 2);
	EXPECT_MAP(EINVAL, arg.map.iova += 1);
	EXPECT_MAP(EINVAL, arg.map.iova += PAGE / 2);
	EXPECT_MAP(EINVAL, arg.map.vaddr += 1);
	EXPECT_MAP(EINVAL, arg.map.vaddr += PAGE / 2);
	EXPECT_MAP(EOVERFLOW, arg.map.iova = TOP_PAGE; arg.map.size = 2 * PAGE);
	EXPECT_MAP(EOVERFLOW, arg.map.vaddr = TOP_PAGE; arg.map.size = 2 * PAGE);
	EXPECT_MAP(EOVERFLOW, arg.map.size = 0 - PAGE);
	EXPECT_ERRNO(EFAULT, call(self->fd, IOMMU_MAP_DMA, NULL));
	EXPECT_EQ(0, unmap_all(self->fd, self->ioasid));
}

/* The payload may be longer than is known; beyond it, the outer argsz may cover zeroes. */
TEST_F(space, map_sizes_of_structures)
{
	struct {
		struct ioasid_map map;
		char tail[3 * PAGE];
	} arg = { .map = map_arg(self->ioasid, self->memory, IOVA, PAGE) };

	arg.map.op.argsz = sizeof(arg);
	EXPECT_OK(call(self->fd, IOMMU_MAP_DMA, &arg));
	arg.tail[sizeof(arg.tail) - 1] = 1;
	arg.map.map.iova += PAGE;
	EXPECT_ERRNO(E2BIG, call(self->fd, IOMMU_MAP_DMA, &arg));
	arg.map.op.argsz = sizeof(arg.map);
	EXPECT_OK(call(self->fd, IOMMU_MAP_DMA, &arg));
	arg.map.op.argsz = sizeof(arg.map.op);
	arg.map.map.iova += PAGE;
	EXPECT_OK(call(self->fd, IOMMU_MAP_DMA, &arg));
	arg.map.op.argsz = sizeof(arg);
	arg.map.map.argsz = UINT_MAX;
	arg.map.map.iova += PAGE;
	EXPECT_OK(call(self->fd, IOMMU_MAP_DMA, &arg));
	EXPECT_EQ(4 * PAGE, UNMAP(0, 4));
	arg.map.op.argsz = UINT_MAX;
	arg.map.map.argsz = sizeof(arg.map.map);
	EXPECT_ERRNO(E2BIG, call(self->fd, IOMMU_MAP_DMA, &arg));
}

/* Where several things are wrong, the first in type1's order is what is told. */
TEST_F(space, map_order_of_checks)
{
	ASSERT_OK(MAP(0, 0, 1));
	EXPECT_MAP(EINVAL, arg.map.size = 0; arg.map.iova = UINT64_MAX);
	EXPECT_MAP(EOVERFLOW, arg.map.flags = 0; arg.map.iova = TOP_PAGE; arg.map.size *= 2);
	EXPECT_MAP(EOVERFLOW, arg.map.iova = UINT64_MAX);
	EXPECT_MAP(EINVAL, arg.map.flags = 0);
	EXPECT_MAP(EINVAL, arg.map.vaddr += 1);
	EXPECT_MAP(EEXIST, arg.map.vaddr = 0);
	EXPECT_MAP(EEXIST, arg.map.size = 1ULL << 62; arg.map.vaddr = 0);
}

TEST_F(space, map_overlap)
{
	ASSERT_OK(MAP(10, 0, 10));
	EXPECT_ERRNO(EEXIST, MAP(10, 0, 10));
	EXPECT_ERRNO(EEXIST, MAP(10, 10, 1));
	EXPECT_ERRNO(EEXIST, MAP(19, 10, 1));
	EXPECT_ERRNO(EEXIST, MAP(14, 10, 2));
	EXPECT_ERRNO(EEXIST, MAP(9, 10, 2));
	EXPECT_ERRNO(EEXIST, MAP(19, 10, 2));
	EXPECT_ERRNO(EEXIST, MAP(9, 10, 12));
	EXPECT_OK(MAP(9, 10, 1));
	EXPECT_OK(MAP(20, 10, 1));
	EXPECT_EQ(12 * PAGE, UNMAP(9, 12));
}

TEST_F(space, map_the_last_page)
{
	EXPECT_OK(ioasid_map(self->fd, self->ioasid, self->memory, TOP_PAGE, PAGE, IOASID_RW));
	EXPECT_ERRNO(EEXIST, ioasid_map(self->fd, self->ioasid, self->memory, TOP_PAGE - PAGE,
					2 * PAGE, IOASID_RW));
	EXPECT_OK(ioasid_map(self->fd, self->ioasid, self->memory, TOP_PAGE - PAGE, PAGE,
			     IOASID_RW));
	EXPECT_OK(ioasid_map(self->fd, self->ioasid, self->memory, 0, PAGE, IOASID_RW));
	EXPECT_ERRNO(EOVERFLOW, unmap(self->fd, self->ioasid, TOP_PAGE, 2 * PAGE));
	EXPECT_EQ(PAGE, unmap(self->fd, self->ioasid, TOP_PAGE, PAGE));
	/* All but the last page is the most that one call can name. */
	EXPECT_EQ(2 * PAGE, unmap(self->fd, self->ioasid, 0, 0 - PAGE));
}

/* What is mapped page by page is as good as what is mapped at once. */
TEST_F(space, many_mappings)
{
	const unsigned int count = 5000;
	unsigned int i;

	for (i = 0; i < count; i++) {
		ASSERT_OK(MAP(2 * i, i % SPACE_PAGES, 1))
			TH_LOG("mapping %u", i);
	}
	for (i = 0; i < count; i += 2) {
		ASSERT_EQ(PAGE, UNMAP(2 * i, 1))
			TH_LOG("mapping %u", i);
	}
	EXPECT_EQ(count / 2 * PAGE, UNMAP(0, 2 * count));
}

/* --- MAP_DMA: memory that cannot be had ------------------------------------- */

#define MAP_AT(memory_, count, access) \
	ioasid_map(self->fd, self->ioasid, memory_, IOVA, (count) * PAGE, access)

TEST_F(space, map_bad_memory)
{
	char *memory = self->memory;

	if (!NEED_PINS())
		SKIP(return, NO_DEVICE);
	EXPECT_ERRNO(EFAULT, MAP_AT(NULL, 1, IOASID_RW));
	EXPECT_ERRNO(EFAULT, MAP_AT((void *)-PAGE, 1, IOASID_RW));
	EXPECT_ERRNO(EFAULT, MAP_AT((void *)LONG_MIN, 1, IOASID_READ));
	ASSERT_OK(munmap(memory + 4 * PAGE, PAGE));
	EXPECT_ERRNO(EFAULT, MAP_AT(memory + 4 * PAGE, 1, IOASID_RW));
	EXPECT_ERRNO(EFAULT, MAP_AT(memory, 5, IOASID_RW));
	EXPECT_ERRNO(EFAULT, MAP_AT(memory, SPACE_PAGES, IOASID_READ));
	ASSERT_OK(mprotect(memory + 10 * PAGE, PAGE, PROT_NONE));
	EXPECT_ERRNO(EFAULT, MAP_AT(memory + 10 * PAGE, 1, IOASID_READ));
	EXPECT_ERRNO(EFAULT, MAP_AT(memory + 5 * PAGE, 10, IOASID_READ));
	EXPECT_EQ(0, pinned_pages());
	EXPECT_OK(MAP_AT(memory + 5 * PAGE, 5, IOASID_RW));
}

TEST_F(space, map_read_only_memory)
{
	if (!NEED_PINS())
		SKIP(return, NO_DEVICE);
	ASSERT_OK(mprotect(self->memory + 2 * PAGE, PAGE, PROT_READ));
	EXPECT_ERRNO(EFAULT, MAP_AT(self->memory + 2 * PAGE, 1, IOASID_WRITE));
	EXPECT_ERRNO(EFAULT, MAP_AT(self->memory, 4, IOASID_RW));
	EXPECT_EQ(0, pinned_pages());
	EXPECT_OK(MAP_AT(self->memory, 4, IOASID_READ));
}

/* A place for more than that, if the IOMMU has room: behind all that is reserved. */
#define HIGH (1ULL << 40)

TEST_F(space, map_more_than_there_is)
{
	unsigned long long size;
	int ret;

	if (!NEED_PINS())
		SKIP(return, NO_DEVICE);
	for (size = HIGH; size; size <<= 1) {
		ret = ioasid_map(self->fd, self->ioasid, self->memory, HIGH, size, IOASID_RW);
		EXPECT_TRUE(ret == -EFAULT || ret == -ENOMEM || ret == -EINVAL)
			TH_LOG("size 0x%llx: %d", size, ret);
	}
	EXPECT_EQ(0, pinned_pages());
	EXPECT_OK(MAP(0, 0, SPACE_PAGES));
}

/* As long as nobody needs it, it does not have to be there. */
TEST_F(space, map_more_than_there_is_for_nobody)
{
	unsigned long long size;

	for (size = HIGH; size; size <<= 1) {
		EXPECT_OK(ioasid_map(self->fd, self->ioasid, self->memory, HIGH, size, IOASID_RW))
			TH_LOG("size 0x%llx", size);
		EXPECT_EQ((int64_t)size, unmap_all(self->fd, self->ioasid));
	}
}

/* --- UNMAP_DMA -------------------------------------------------------------- */

#define EXPECT_UNMAP(errno_, change) \
	EXPECT_CHANGED(errno_, self->fd, IOMMU_UNMAP_DMA, \
		       unmap_arg(self->ioasid, IOVA, PAGE), change)

TEST_F(space, unmap_arguments)
{
	unsigned int bit;

	ASSERT_OK(MAP(0, 0, 1));
	EXPECT_UNMAP(EINVAL, arg.op.argsz = 0);
	EXPECT_UNMAP(EINVAL, arg.op.argsz = 15);
	for (bit = 0; bit < 32; bit++)
		EXPECT_UNMAP(EINVAL, arg.op.flags = 1U << bit);
	EXPECT_UNMAP(EINVAL, arg.op.padding = 1);
	EXPECT_UNMAP(ENOENT, arg.op.ioasid = 0);
	EXPECT_UNMAP(ENOENT, arg.op.ioasid = -1);
	EXPECT_UNMAP(ENOENT, arg.op.ioasid += 1);
	EXPECT_UNMAP(EINVAL, arg.unmap.argsz = 0);
	EXPECT_UNMAP(EINVAL, arg.unmap.argsz = 23);
	for (bit = 3; bit < 32; bit++)
		EXPECT_UNMAP(EINVAL, arg.unmap.flags = 1U << bit);
	EXPECT_UNMAP(EOPNOTSUPP, arg.unmap.flags = VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP);
	EXPECT_UNMAP(EOPNOTSUPP, arg.unmap.flags = VFIO_DMA_UNMAP_FLAG_VADDR);
	EXPECT_UNMAP(EINVAL, arg.unmap.size = 0);
	EXPECT_UNMAP(EINVAL, arg.unmap.size = 1);
	EXPECT_UNMAP(EINVAL, arg.unmap.size = PAGE / 2);
	EXPECT_UNMAP(EINVAL, arg.unmap.iova += 1);
	EXPECT_UNMAP(EINVAL, arg.unmap.iova = UINT64_MAX);
	EXPECT_UNMAP(EOVERFLOW, arg.unmap.iova = TOP_PAGE; arg.unmap.size = 2 * PAGE);
	EXPECT_UNMAP(EOVERFLOW, arg.unmap.size = 0 - PAGE);
	EXPECT_UNMAP(EINVAL, arg.unmap.flags = VFIO_DMA_UNMAP_FLAG_ALL);
	EXPECT_UNMAP(EINVAL, arg.unmap.flags = VFIO_DMA_UNMAP_FLAG_ALL; arg.unmap.iova = 0);
	EXPECT_UNMAP(EINVAL, arg.unmap.flags = VFIO_DMA_UNMAP_FLAG_ALL; arg.unmap.size = 0);
	EXPECT_ERRNO(EFAULT, call(self->fd, IOMMU_UNMAP_DMA, NULL));
	EXPECT_EQ(PAGE, UNMAP(0, 1));
}

/* A complete request for what is not supported is told so, whatever else it says. */
TEST_F(space, unmap_with_dirty_bitmap)
{
	struct {
		struct ioasid_unmap unmap;
		struct vfio_bitmap bitmap;
	} arg = { unmap_arg(self->ioasid, IOVA, PAGE), { PAGE, 8, (void *)self->memory } };

	arg.unmap.op.argsz = sizeof(arg);
	arg.unmap.unmap.argsz += sizeof(arg.bitmap);
	arg.unmap.unmap.flags = VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP;
	EXPECT_ERRNO(EOPNOTSUPP, call(self->fd, IOMMU_UNMAP_DMA, &arg));
}

TEST_F(space, unmap_sizes_of_structures)
{
	struct {
		struct ioasid_unmap unmap;
		char tail[PAGE];
	} arg = { unmap_arg(self->ioasid, IOVA, 4 * PAGE), { 1 } };

	ASSERT_OK(MAP(1, 0, 2));
	arg.unmap.op.argsz = sizeof(arg.unmap.op);
	arg.unmap.unmap.argsz = UINT_MAX;
	EXPECT_OK(call(self->fd, IOMMU_UNMAP_DMA, &arg));
	EXPECT_EQ(2 * PAGE, arg.unmap.unmap.size);
	/* Nothing but the size was written. */
	EXPECT_EQ(UINT_MAX, arg.unmap.unmap.argsz);
	EXPECT_EQ(IOVA, arg.unmap.unmap.iova);
	EXPECT_EQ(1, arg.tail[0]);
}

TEST_F(space, unmap_result_is_told_on_success_only)
{
	struct ioasid_unmap arg = unmap_arg(self->ioasid, IOVA, PAGE);

	ASSERT_OK(MAP(0, 0, 2));
	EXPECT_ERRNO(EINVAL, call(self->fd, IOMMU_UNMAP_DMA, &arg));
	EXPECT_EQ(PAGE, arg.unmap.size);
	arg.unmap.size = 64 * PAGE;
	EXPECT_OK(call(self->fd, IOMMU_UNMAP_DMA, &arg));
	EXPECT_EQ(2 * PAGE, arg.unmap.size);
}

TEST_F(space, unmap_nothing)
{
	EXPECT_EQ(0, UNMAP(0, 1));
	EXPECT_EQ(0, unmap(self->fd, self->ioasid, 0, 0 - PAGE));
	EXPECT_EQ(0, unmap_all(self->fd, self->ioasid));
	ASSERT_OK(MAP(10, 0, 1));
	EXPECT_EQ(0, UNMAP(0, 10));
	EXPECT_EQ(0, UNMAP(11, 10));
	EXPECT_EQ(PAGE, UNMAP(10, 1));
}

TEST_F(space, unmap_spans_mappings_and_holes)
{
	ASSERT_OK(MAP(0, 0, 1));
	ASSERT_OK(MAP(1, 1, 2));
	ASSERT_OK(MAP(7, 3, 3));
	ASSERT_OK(MAP(20, 6, 1));
	EXPECT_EQ(5 * PAGE, UNMAP(1, 18));
	EXPECT_EQ(PAGE, UNMAP(0, 20));
	EXPECT_EQ(PAGE, UNMAP(15, 50));
	EXPECT_EQ(0, unmap_all(self->fd, self->ioasid));
}

TEST_F(space, unmap_never_cuts_a_mapping)
{
	ASSERT_OK(MAP(0, 0, 4));
	ASSERT_OK(MAP(4, 4, 4));
	ASSERT_OK(MAP(10, 8, 4));
	EXPECT_ERRNO(EINVAL, UNMAP(0, 1));
	EXPECT_ERRNO(EINVAL, UNMAP(3, 1));
	EXPECT_ERRNO(EINVAL, UNMAP(1, 2));
	EXPECT_ERRNO(EINVAL, UNMAP(0, 5));
	EXPECT_ERRNO(EINVAL, UNMAP(1, 7));
	EXPECT_ERRNO(EINVAL, UNMAP(0, 11));
	EXPECT_ERRNO(EINVAL, UNMAP(13, 100));
	/* Nothing was done, not even to mappings that were wholly inside. */
	EXPECT_ERRNO(EEXIST, MAP(0, 20, 4));
	EXPECT_ERRNO(EEXIST, MAP(4, 20, 4));
	EXPECT_ERRNO(EEXIST, MAP(10, 20, 4));
	EXPECT_EQ(4 * PAGE, UNMAP(4, 4));
	EXPECT_EQ(8 * PAGE, UNMAP(0, 14));
}

TEST_F(space, unmap_all)
{
	ASSERT_OK(MAP(0, 0, 4));
	ASSERT_OK(MAP(10, 4, 4));
	ASSERT_OK(ioasid_map(self->fd, self->ioasid, self->memory, 0, PAGE, IOASID_RW));
	ASSERT_OK(ioasid_map(self->fd, self->ioasid, self->memory, TOP_PAGE, PAGE, IOASID_RW));
	EXPECT_EQ(10 * PAGE, unmap_all(self->fd, self->ioasid));
	EXPECT_EQ(0, unmap_all(self->fd, self->ioasid));
	EXPECT_OK(MAP(0, 0, 4));
}

TEST_F(space, unmap_leaves_other_spaces_alone)
{
	int other = ioasid_alloc(self->fd, 64);

	ASSERT_LT(0, other);
	ASSERT_OK(MAP(0, 0, 4));
	ASSERT_OK(ioasid_map(self->fd, other, self->memory, IOVA, 4 * PAGE, IOASID_RW));
	EXPECT_EQ(4 * PAGE, unmap_all(self->fd, other));
	EXPECT_EQ(4 * PAGE, UNMAP(0, 4));
}

TEST_HARNESS_MAIN
