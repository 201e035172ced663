// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/iommu as the container of a VFIO group: what programs do that know
 * nothing else.
 */
#include "books.h"
#include "container_calls.h"
#include "leftover.h"
#include "sources.h"

#define TEST_PAGES 16

FIXTURE(container)
{
	struct edu edu;
	int fd;
	int group;
	char *memory;
	long pins;
};

FIXTURE_SETUP(container)
{
	self->fd = open_iommufd();
	if (edu_find(&self->edu, getenv("EDU")) || self->fd < 0)
		SKIP(return, NO_DEVICE);
	self->group = open_group(self->edu.address);
	ASSERT_LE(0, self->group);
	self->memory = pages(TEST_PAGES);
	ASSERT_NE(NULL, self->memory);
	self->pins = held_pins();
}

FIXTURE_TEARDOWN(container)
{
	edu_close(&self->edu);
	close(self->group);
	close(self->fd);
	expect_nothing_left(_metadata, self->pins);
}

#define CALL(request, number) call(self->fd, request, (void *)(unsigned long)(number))

TEST_F(container, before_there_is_a_group)
{
	struct vfio_iommu_type1_info info = { .argsz = sizeof(info) };

	EXPECT_EQ(VFIO_API_VERSION, CALL(VFIO_GET_API_VERSION, 0));
	EXPECT_EQ(1, CALL(VFIO_CHECK_EXTENSION, VFIO_TYPE1_IOMMU));
	EXPECT_EQ(1, CALL(VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU));
	EXPECT_EQ(1, CALL(VFIO_CHECK_EXTENSION, VFIO_UNMAP_ALL));
	EXPECT_EQ(0, CALL(VFIO_CHECK_EXTENSION, VFIO_UPDATE_VADDR));
	EXPECT_EQ(0, CALL(VFIO_CHECK_EXTENSION, VFIO_SPAPR_TCE_IOMMU));
	EXPECT_ERRNO(ENODEV, CALL(VFIO_CHECK_EXTENSION, VFIO_DMA_CC_IOMMU));
	EXPECT_ERRNO(ENODEV, CALL(VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU));
	EXPECT_ERRNO(EINVAL, CALL(VFIO_SET_IOMMU, VFIO_SPAPR_TCE_IOMMU));
	EXPECT_ERRNO(ENODEV, call(self->fd, VFIO_IOMMU_GET_INFO, &info));
	EXPECT_ERRNO(ENODEV, container_map(self->fd, self->memory, IOVA, PAGE));
	EXPECT_ERRNO(ENODEV, container_unmap(self->fd, IOVA, PAGE, 0));
	EXPECT_ERRNO(ENOTTY, call(self->fd, VFIO_IOMMU_DIRTY_PAGES, &info));
	/* With a pointer these numbers are other calls. */
	EXPECT_ERRNO(EINVAL, call(self->fd, VFIO_SET_IOMMU, &info));
}

/* The version, as programs ask for it: without an argument. */
static void expect_version(struct __test_metadata *_metadata, int fd, bool is_container)
{
	char target[64];
	int ends[2];

	EXPECT_EQ(VFIO_API_VERSION, ioctl(fd, VFIO_GET_API_VERSION));
	EXPECT_EQ(NULL, getenv("NOTHING"));
	EXPECT_EQ(VFIO_API_VERSION, ioctl(fd, VFIO_GET_API_VERSION));
	EXPECT_LT(0, readlink("/proc/self/exe", target, 9));
	EXPECT_EQ(VFIO_API_VERSION, ioctl(fd, VFIO_GET_API_VERSION));
	ASSERT_OK(pipe(ends));
	for (unsigned int count = 1; count <= 16; count++) {
		EXPECT_EQ(count, write(ends[1], "0123456789abcdef", count));
		EXPECT_EQ(VFIO_API_VERSION, ioctl(fd, VFIO_GET_API_VERSION));
	}
	close(ends[0]);
	close(ends[1]);
	expect_extensions(_metadata, fd, is_container ? NO_NUMBERS : EXPLICIT_NUMBERS);
}

/* As a container it is one to the end, whatever else it is used for. */
TEST_F(container, version_whatever_the_register_holds)
{
	struct iommu_vfio_ioas space = { .size = sizeof(space), .op = IOMMU_VFIO_IOAS_SET };

	expect_version(_metadata, self->fd, false);
	ASSERT_OK(join(self->group, self->fd));
	expect_version(_metadata, self->fd, true);
	ASSERT_OK(CALL(VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU));
	self->edu.fd = ioctl(self->group, VFIO_GROUP_GET_DEVICE_FD, self->edu.address);
	ASSERT_LE(0, self->edu.fd);
	expect_version(_metadata, self->fd, true);
	space.ioas_id = ioasid_alloc(self->fd, 64);
	ASSERT_LT(0, (int)space.ioas_id);
	expect_version(_metadata, self->fd, true);
	ASSERT_OK(call(self->fd, IOMMU_VFIO_IOAS, &space));
	expect_version(_metadata, self->fd, true);
	/* Not even without a space is it anything else: the group stays. */
	space.op = IOMMU_VFIO_IOAS_CLEAR;
	ASSERT_OK(call(self->fd, IOMMU_VFIO_IOAS, &space));
	expect_version(_metadata, self->fd, true);
}

TEST_F(container, version_with_a_space_of_choice)
{
	struct iommu_vfio_ioas space = { .size = sizeof(space), .op = IOMMU_VFIO_IOAS_SET };

	space.ioas_id = ioas_alloc(self->fd);
	expect_version(_metadata, self->fd, false);
	ASSERT_OK(call(self->fd, IOMMU_VFIO_IOAS, &space));
	expect_version(_metadata, self->fd, true);
	EXPECT_LT(0, ioasid_alloc(self->fd, 64));
	expect_version(_metadata, self->fd, true);
	/* No container any more. */
	space.op = IOMMU_VFIO_IOAS_CLEAR;
	ASSERT_OK(call(self->fd, IOMMU_VFIO_IOAS, &space));
	expect_extensions(_metadata, self->fd, ALL_NUMBERS);
}

/*
 * The ranges that @fd tells of, written to a page at @memory; NULL if it tells of none. The
 * first call says how much the second one needs.
 */
static struct vfio_iommu_type1_info_cap_iova_range *
container_ranges(struct __test_metadata *_metadata, int fd, void *memory)
{
	struct vfio_iommu_type1_info *info = memory;
	struct vfio_info_cap_header *cap;

	memset(memory, 0, PAGE);
	info->argsz = sizeof(*info);
	EXPECT_OK(call(fd, VFIO_IOMMU_GET_INFO, info));
	EXPECT_LT(sizeof(*info), info->argsz);
	EXPECT_EQ(0, info->cap_offset);
	EXPECT_OK(call(fd, VFIO_IOMMU_GET_INFO, info));
	EXPECT_TRUE(info->iova_pgsizes & PAGE);
	EXPECT_EQ(sizeof(*info), info->cap_offset);
	cap = memory + info->cap_offset;
	EXPECT_EQ(VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, cap->id);
	if (!cap->next)
		return NULL;
	cap = memory + cap->next;
	EXPECT_EQ(VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, cap->id);
	EXPECT_EQ(0, cap->next);
	return (void *)cap;
}

/* No range of a container's ends where a program that adds 1 to it comes to 0. */
TEST_F(container, no_limit_is_no_range)
{
	struct vfio_iommu_type1_info_cap_iova_range *ranges;
	void *page = self->memory + 8 * PAGE;
	int narrow;

	ASSERT_OK(join(self->group, self->fd));
	ASSERT_OK(CALL(VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU));
	EXPECT_EQ(NULL, container_ranges(_metadata, self->fd, page));
	/* A space with a window has a limit without a device, too. */
	narrow = ioasid_alloc(self->fd, 39);
	ASSERT_EQ(narrow, vfio_ioas(self->fd, IOMMU_VFIO_IOAS_SET, narrow));
	ranges = container_ranges(_metadata, self->fd, page);
	ASSERT_NE(NULL, ranges);
	EXPECT_EQ(1, ranges->nr_iovas);
	EXPECT_EQ(0, ranges->iova_ranges[0].start);
	EXPECT_EQ((1ULL << 39) - 1, ranges->iova_ranges[0].end);
}

/* What QEMU and DPDK do, one after the other. */
TEST_F(container, from_group_to_dma)
{
	struct vfio_group_status status = { .argsz = sizeof(status) };
	struct vfio_iommu_type1_info_cap_iova_range *ranges;
	struct iommu_vfio_ioas ioas = { .size = sizeof(ioas), .op = IOMMU_VFIO_IOAS_GET };

	ASSERT_OK(call(self->group, VFIO_GROUP_GET_STATUS, &status));
	EXPECT_TRUE(status.flags & VFIO_GROUP_FLAGS_VIABLE);
	ASSERT_OK(join(self->group, self->fd));
	ASSERT_OK(CALL(VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU));
	EXPECT_EQ(1, CALL(VFIO_CHECK_EXTENSION, VFIO_DMA_CC_IOMMU));
	self->edu.fd = ioctl(self->group, VFIO_GROUP_GET_DEVICE_FD, self->edu.address);
	ASSERT_LE(0, self->edu.fd);
	ASSERT_OK(edu_start(&self->edu));

	ranges = container_ranges(_metadata, self->fd, self->memory + 8 * PAGE);
	ASSERT_NE(NULL, ranges);
	EXPECT_LT(1, ranges->nr_iovas);

	ASSERT_OK(container_map(self->fd, self->memory, IOVA, 2 * PAGE));
	memset(self->memory, 0x5a, 64);
	EXPECT_OK(edu_dma(&self->edu, EDU_READS_MEMORY, IOVA, 0, 64));
	EXPECT_OK(edu_dma(&self->edu, EDU_WRITES_MEMORY, IOVA + PAGE, 0, 64));
	EXPECT_EQ(0, memcmp(self->memory, self->memory + PAGE, 64));
	EXPECT_EQ(2 * PAGE, container_unmap(self->fd, IOVA, 2 * PAGE, 0));
	memset(self->memory + PAGE, 0, 64);
	EXPECT_OK(edu_dma(&self->edu, EDU_WRITES_MEMORY, IOVA + PAGE, 0, 64));
	EXPECT_TRUE(is_zero(self->memory + PAGE, 64));

	/* It is an address space like others, for both dialects. */
	ASSERT_OK(call(self->fd, IOMMU_VFIO_IOAS, &ioas));
	EXPECT_OK(ioas_map(self->fd, ioas.ioas_id, self->memory, PAGE, IOVA));
	EXPECT_ERRNO(EEXIST, container_map(self->fd, self->memory, IOVA, PAGE));
	EXPECT_EQ(PAGE, unmap(self->fd, ioas.ioas_id, IOVA, PAGE));
	EXPECT_ERRNO(EBUSY, destroy(self->fd, ioas.ioas_id));
}

/* Its first version is there, or nothing is. */
TEST_F(container, half_an_argument)
{
	char *memory = pages(2);
	struct vfio_iommu_type1_info *info = (void *)(memory + PAGE - 16);

	ASSERT_OK(join(self->group, self->fd));
	ASSERT_EQ(0, munmap(memory + PAGE, PAGE));
	info->argsz = 16;
	EXPECT_OK(call(self->fd, VFIO_IOMMU_GET_INFO, info));
	EXPECT_LT(16, info->argsz);
	info = (void *)(memory + PAGE - 8);
	info->argsz = 8;
	EXPECT_ERRNO(EFAULT, call(self->fd, VFIO_IOMMU_GET_INFO, info));
}

#define EXPECT_MAP(errno_, change) \
	EXPECT_CHANGED(errno_, self->fd, VFIO_IOMMU_MAP_DMA, \
		       map_of(self->memory, IOVA, 4 * PAGE), change)

TEST_F(container, map_and_unmap)
{
	struct vfio_iommu_type1_dma_unmap cut = {
		.argsz = sizeof(cut), .iova = IOVA, .size = PAGE,
	};
	struct vfio_iommu_type1_dma_unmap wraps = {
		.argsz = sizeof(wraps), .iova = TOP_PAGE, .size = 2 * PAGE,
	};

	ASSERT_OK(join(self->group, self->fd));
	EXPECT_MAP(EINVAL, arg.argsz--);
	EXPECT_MAP(EINVAL, arg.flags |= VFIO_DMA_MAP_FLAG_VADDR);
	EXPECT_MAP(EINVAL, arg.size = 0);
	EXPECT_MAP(EINVAL, arg.iova++);
	EXPECT_MAP(EINVAL, arg.vaddr++);
	EXPECT_MAP(EOVERFLOW, arg.vaddr = -PAGE);
	EXPECT_MAP(EOVERFLOW, arg.iova = TOP_PAGE);
	EXPECT_MAP(0, arg.argsz += 100);
	EXPECT_MAP(EEXIST, (void)arg);
	/* What was done is told in any case. */
	EXPECT_ERRNO(ENOENT, call(self->fd, VFIO_IOMMU_UNMAP_DMA, &cut));
	EXPECT_EQ(0, cut.size);
	EXPECT_ERRNO(EOVERFLOW, call(self->fd, VFIO_IOMMU_UNMAP_DMA, &wraps));
	EXPECT_EQ(0, wraps.size);
	EXPECT_EQ(0, container_unmap(self->fd, IOVA + 8 * PAGE, PAGE, 0));
	EXPECT_EQ(4 * PAGE, container_unmap(self->fd, IOVA, 8 * PAGE, 0));
	EXPECT_EQ(0, container_unmap(self->fd, 0, 0, VFIO_DMA_UNMAP_FLAG_ALL));
	EXPECT_MAP(0, (void)arg);
	EXPECT_EQ(4 * PAGE, container_unmap(self->fd, 0, 0, VFIO_DMA_UNMAP_FLAG_ALL));
	EXPECT_ERRNO(EFAULT, call(self->fd, VFIO_IOMMU_MAP_DMA, NULL));
}

/* --- type1 without v2 ------------------------------------------------------------- */

/* Whether the device can write at @iova, where @memory should be. */
static bool reaches(struct __test_metadata *_metadata, struct edu *edu, uint64_t iova,
		    char *memory)
{
	bool changed;

	memory[0] = 0;
	ASSERT_OK(edu_dma(edu, EDU_WRITES_MEMORY, iova, 0, 8));
	changed = memory[0] == 0x5a;
	memory[0] = 0;
	return changed;
}

/* The device, with memory that can be cut. */
static void use_type1(struct __test_metadata *_metadata, struct _test_data_container *self)
{
	ASSERT_OK(join(self->group, self->fd));
	ASSERT_OK(CALL(VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU));
	self->edu.fd = ioctl(self->group, VFIO_GROUP_GET_DEVICE_FD, self->edu.address);
	ASSERT_LE(0, self->edu.fd);
	ASSERT_OK(edu_start(&self->edu));
}

#define CUT_PAGES 1600

/* So many at @memory, of which some in the middle go, then more, then all. */
static void cut(struct __test_metadata *_metadata, struct _test_data_container *self,
		char *memory, bool single_pages)
{
	/* What is unmapped, in pages, and how much of it is there. */
	static const struct { unsigned int first, pages, found; } steps[] = {
		{ 3, 1, 1 }, { 3, 1, 0 }, { 600, 513, 513 }, { 0, 1, 1 }, { 1599, 1, 1 },
		{ 1500, 50, 50 }, { 599, 515, 2 }, { 2, 4, 3 },
	};
	unsigned int left = CUT_PAGES;
	long pins = held_pins();

	memory[0] = 0x5a;
	ASSERT_OK(container_map(self->fd, memory, IOVA, CUT_PAGES * PAGE));
	EXPECT_EQ(CUT_PAGES, pinned_pages());
	ASSERT_OK(edu_dma(&self->edu, EDU_READS_MEMORY, IOVA, 0, 8));
	for (unsigned int i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
		unsigned int first = steps[i].first, behind = first + steps[i].pages;

		EXPECT_EQ(steps[i].found * PAGE,
			  container_unmap(self->fd, IOVA + first * PAGE,
					  steps[i].pages * PAGE, 0));
		left -= steps[i].found;
		EXPECT_EQ(left, pinned_pages())
			TH_LOG("after %u pages at %u", steps[i].pages, first);
		if (single_pages)
			EXPECT_EQ(pins + left, held_pins());
		EXPECT_FALSE(reaches(_metadata, &self->edu, IOVA + first * PAGE,
				     memory + first * PAGE));
		EXPECT_FALSE(reaches(_metadata, &self->edu, IOVA + (behind - 1) * PAGE,
				     memory + (behind - 1) * PAGE));
		EXPECT_TRUE(reaches(_metadata, &self->edu, IOVA + 1400 * PAGE,
				    memory + 1400 * PAGE));
	}
	EXPECT_TRUE(reaches(_metadata, &self->edu, IOVA + PAGE, memory + PAGE));
	EXPECT_FALSE(reaches(_metadata, &self->edu, IOVA + 2 * PAGE, memory + 2 * PAGE));
	EXPECT_TRUE(reaches(_metadata, &self->edu, IOVA + 598 * PAGE, memory + 598 * PAGE));
	EXPECT_TRUE(reaches(_metadata, &self->edu, IOVA + 1114 * PAGE, memory + 1114 * PAGE));
	EXPECT_TRUE(reaches(_metadata, &self->edu, IOVA + 1598 * PAGE, memory + 1598 * PAGE));
	EXPECT_EQ(left * PAGE, container_unmap(self->fd, 0, 0, VFIO_DMA_UNMAP_FLAG_ALL));
	EXPECT_EQ(0, pinned_pages());
	EXPECT_EQ(pins, held_pins());
}

TEST_F(container, type1_cuts)
{
	struct vfio_iommu_type1_dma_unmap odd = {
		.argsz = sizeof(odd), .iova = IOVA, .size = PAGE + 1,
	};
	struct vfio_iommu_type1_dma_unmap *constant = pages(1);
	char *memory;

	use_type1(_metadata, self);
	ASSERT_OK(container_map(self->fd, self->memory, IOVA, 4 * PAGE));
	EXPECT_ERRNO(EINVAL, call(self->fd, VFIO_IOMMU_UNMAP_DMA, &odd));
	EXPECT_EQ(PAGE + 1, odd.size);
	odd.size = 1;
	EXPECT_ERRNO(ENOENT, call(self->fd, VFIO_IOMMU_UNMAP_DMA, &odd));
	EXPECT_EQ(0, odd.size);
	/* Whichever end is wrong, nothing is cut at the other. */
	odd.size = 2 * PAGE;
	odd.iova = IOVA + 1;
	EXPECT_ERRNO(EINVAL, call(self->fd, VFIO_IOMMU_UNMAP_DMA, &odd));
	odd.iova = IOVA + PAGE;
	odd.size = PAGE + 1;
	EXPECT_ERRNO(EINVAL, call(self->fd, VFIO_IOMMU_UNMAP_DMA, &odd));
	odd.iova = IOVA + 1;
	odd.size = 2 * PAGE - 1;
	EXPECT_ERRNO(ENOENT, call(self->fd, VFIO_IOMMU_UNMAP_DMA, &odd));
	/* Nor if the result cannot be told. */
	*constant = odd;
	constant->iova = IOVA + PAGE;
	constant->size = PAGE;
	ASSERT_EQ(0, mprotect(constant, PAGE, PROT_READ));
	EXPECT_ERRNO(EFAULT, call(self->fd, VFIO_IOMMU_UNMAP_DMA, constant));
	EXPECT_NE(NULL, strstr(read_books(self->fd).fdinfo, " areas 1 "));
	EXPECT_EQ(4, pinned_pages());
	EXPECT_EQ(4 * PAGE, container_unmap(self->fd, 0, 0, VFIO_DMA_UNMAP_FLAG_ALL));

	/* Runs of all lengths, a run for each page. */
	memory = small_pages(CUT_PAGES * PAGE);
	ASSERT_NE(NULL, memory);
	cut(_metadata, self, memory, true);
	memory = backwards(CUT_PAGES);
	ASSERT_NE(NULL, memory);
	cut(_metadata, self, memory, true);
}

/* Large pages that are cut in the middle. */
TEST_F(container, type1_cuts_large_pages)
{
	char *memory = anonymous(4 * HUGE_2M, MAP_PRIVATE);

	if (!has_transparent_huge_pages())
		SKIP(return, NO_TRANSPARENT_HUGE_PAGES);
	use_type1(_metadata, self);
	ASSERT_NE(NULL, memory);
	ASSERT_OK(madvise(memory, 4 * HUGE_2M, MADV_HUGEPAGE));
	cut(_metadata, self, memory, false);
}

/* A cut is one of all that was copied, too: each page goes with the last that has it. */
TEST_F(container, type1_cuts_what_was_copied)
{
	struct iommu_vfio_ioas arg = { .size = sizeof(arg), .op = IOMMU_VFIO_IOAS_GET };
	int ioas;

	ASSERT_OK(join(self->group, self->fd));
	ASSERT_OK(CALL(VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU));
	self->edu.fd = ioctl(self->group, VFIO_GROUP_GET_DEVICE_FD, self->edu.address);
	ASSERT_LE(0, self->edu.fd);
	ASSERT_OK(call(self->fd, IOMMU_VFIO_IOAS, &arg));
	ioas = arg.ioas_id;
	ASSERT_OK(container_map(self->fd, self->memory, IOVA, 8 * PAGE));
	ASSERT_OK(ioas_copy(self->fd, ioas, 2 * IOVA, ioas, IOVA + 2 * PAGE, 4 * PAGE));
	EXPECT_EQ(8, pinned_pages());
	EXPECT_EQ(4 * PAGE, container_unmap(self->fd, IOVA + PAGE, 4 * PAGE, 0));
	EXPECT_EQ(7, pinned_pages());
	EXPECT_EQ(self->pins + 7, held_pins());
	EXPECT_EQ(4 * PAGE, ioas_unmap(self->fd, ioas, 2 * IOVA, 4 * PAGE));
	EXPECT_EQ(4, pinned_pages());
	EXPECT_EQ(4 * PAGE, container_unmap(self->fd, 0, 0, VFIO_DMA_UNMAP_FLAG_ALL));
	EXPECT_EQ(0, pinned_pages());
	EXPECT_EQ(self->pins, held_pins());
}

/* A program may say which of its address spaces the group goes to. */
TEST_F(container, address_space_of_choice)
{
	int ioas = ioas_alloc(self->fd);

	ASSERT_EQ(ioas, vfio_ioas(self->fd, IOMMU_VFIO_IOAS_SET, ioas));
	ASSERT_OK(join(self->group, self->fd));
	ASSERT_OK(container_map(self->fd, self->memory, IOVA, PAGE));
	EXPECT_EQ(PAGE, ioas_unmap(self->fd, ioas, IOVA, PAGE));
	self->edu.fd = ioctl(self->group, VFIO_GROUP_GET_DEVICE_FD, self->edu.address);
	ASSERT_LE(0, self->edu.fd);
	EXPECT_ERRNO(EBUSY, destroy(self->fd, ioas));
}

TEST_HARNESS_MAIN
