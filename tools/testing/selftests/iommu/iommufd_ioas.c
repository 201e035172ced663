// SPDX-License-Identifier: GPL-2.0
/*
 * Mainline's calls on address spaces, each with its errors, without a device but where
 * memory has to be there, or a domain has its say.
 */
#include "iommufd_calls.h"
#include "pinning.h"

#define SPACE_PAGES 32

FIXTURE(space)
{
	int fd;
	int id;
	char *memory;
	long pins;
	struct needer needer;
};

FIXTURE_SETUP(space)
{
	self->needer = NO_NEEDER;
	self->fd = open_iommufd();
	if (self->fd < 0)
		SKIP(return, "cannot open " IOMMU_NODE);
	self->id = ioas_alloc(self->fd);
	ASSERT_LT(0, self->id);
	self->memory = pages(2 * SPACE_PAGES);
	ASSERT_NE(NULL, self->memory);
	/* It begins where a page of its size could. */
	self->memory += -(uintptr_t)self->memory % (SPACE_PAGES * PAGE);
	ASSERT_EQ(0, pinned_pages());
	self->pins = held_pins();
}

FIXTURE_TEARDOWN(space)
{
	needer_close(&self->needer);
	close(self->fd);
	expect_nothing_left(_metadata, self->pins);
}

/* Have a device in the space: what is mapped is pinned. */
#define NEED_PINS() need_pins(_metadata, &self->needer, self->fd, self->id)

/* Map COUNT pages of the test's memory, from page FROM of it on, at page AT of IOVA. */
#define MAP(at, from, count) \
	ioas_map(self->fd, self->id, self->memory + (from) * PAGE, (count) * PAGE, \
		 IOVA + (at) * PAGE)
#define UNMAP(at, count) ioas_unmap(self->fd, self->id, IOVA + (at) * PAGE, (count) * PAGE)

/* --- how calls are taken -------------------------------------------------------- */

static const struct {
	unsigned int request;
	unsigned int min;
	unsigned int size;
} calls[] = {
	{ IOMMU_DESTROY, 8, sizeof(struct iommu_destroy) },
	{ IOMMU_IOAS_ALLOC, 12, sizeof(struct iommu_ioas_alloc) },
	{ IOMMU_IOAS_ALLOW_IOVAS, 24, sizeof(struct iommu_ioas_allow_iovas) },
	{ IOMMU_IOAS_COPY, 40, sizeof(struct iommu_ioas_copy) },
	{ IOMMU_IOAS_IOVA_RANGES, 32, sizeof(struct iommu_ioas_iova_ranges) },
	{ IOMMU_IOAS_MAP, 40, sizeof(struct iommu_ioas_map) },
	{ IOMMU_IOAS_UNMAP, 24, sizeof(struct iommu_ioas_unmap) },
	{ IOMMU_OPTION, 24, sizeof(struct iommu_option) },
	{ IOMMU_VFIO_IOAS, 12, sizeof(struct iommu_vfio_ioas) },
	{ IOMMU_HWPT_ALLOC, 24, sizeof(struct iommu_hwpt_alloc) },
	{ IOMMU_GET_HW_INFO, 32, sizeof(struct iommu_hw_info) },
	{ IOMMU_HWPT_SET_DIRTY_TRACKING, 16, sizeof(struct iommu_hwpt_set_dirty_tracking) },
	{ IOMMU_HWPT_GET_DIRTY_BITMAP, 48, sizeof(struct iommu_hwpt_get_dirty_bitmap) },
	{ IOMMU_HWPT_INVALIDATE, 32, sizeof(struct iommu_hwpt_invalidate) },
	{ IOMMU_FAULT_QUEUE_ALLOC, 16, sizeof(struct iommu_fault_alloc) },
	{ IOMMU_IOAS_MAP_FILE, 40, sizeof(struct iommu_ioas_map_file) },
	{ IOMMU_VIOMMU_ALLOC, 24, sizeof(struct iommu_viommu_alloc) },
	{ IOMMU_VDEVICE_ALLOC, 24, sizeof(struct iommu_vdevice_alloc) },
	{ IOMMU_IOAS_CHANGE_PROCESS, 8, sizeof(struct iommu_ioas_change_process) },
	{ IOMMU_VEVENTQ_ALLOC, 28, sizeof(struct iommu_veventq_alloc) },
	{ IOMMU_HW_QUEUE_ALLOC, 40, sizeof(struct iommu_hw_queue_alloc) },
	{ IOMMU_IOAS_NOIOMMU_GET_PA, 40, sizeof(struct iommu_ioas_noiommu_get_pa) },
};

TEST_F(space, size_of_arguments)
{
	union {
		uint32_t size;
		char bytes[128];
	} arg;
	unsigned int i;

	for (i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
		unsigned int request = calls[i].request;

		EXPECT_ERRNO(EFAULT, call(self->fd, request, NULL))
			TH_LOG("request 0x%x", request);
		memset(&arg, 0, sizeof(arg));
		arg.size = calls[i].min - 1;
		EXPECT_ERRNO(EINVAL, call(self->fd, request, &arg))
			TH_LOG("request 0x%x", request);
		/* A tail is for a later version, and must be empty. */
		arg.size = calls[i].size + 8;
		arg.bytes[calls[i].size + 7] = 1;
		EXPECT_ERRNO(E2BIG, call(self->fd, request, &arg))
			TH_LOG("request 0x%x", request);
	}
}

TEST_F(space, tail_of_zeroes)
{
	struct {
		struct iommu_destroy cmd;
		char tail[200];
	} arg = { .cmd = { .size = sizeof(arg), .id = self->id } };

	EXPECT_OK(call(self->fd, IOMMU_DESTROY, &arg));
	EXPECT_ERRNO(ENOENT, call(self->fd, IOMMU_DESTROY, &arg));
}

/* However long it is, and wherever it ends. */
TEST_F(space, long_tail)
{
	const unsigned int size = 5 * PAGE;
	char *memory = pages(6);
	struct iommu_destroy *arg = (void *)memory;

	ASSERT_NE(NULL, memory);
	ASSERT_EQ(0, munmap(memory + size, PAGE));
	*arg = (struct iommu_destroy) { .size = size, .id = self->id };
	memory[size - 1] = 1;
	EXPECT_ERRNO(E2BIG, call(self->fd, IOMMU_DESTROY, arg));
	memory[size - 1] = 0;
	arg->size++;
	EXPECT_ERRNO(EFAULT, call(self->fd, IOMMU_DESTROY, arg));
	arg->size = UINT_MAX;
	EXPECT_ERRNO(EFAULT, call(self->fd, IOMMU_DESTROY, arg));
	arg->size = size;
	EXPECT_OK(call(self->fd, IOMMU_DESTROY, arg));
}

/* Whatever IOMMU there is, or none. Kernels that tell nobody of page faults have no queue. */
TEST_F(space, fault_queue)
{
	struct iommu_fault_alloc arg = { .size = sizeof(arg), .out_fault_fd = -1 };
	uint64_t memory[5] = {};
	int ret = call(self->fd, IOMMU_FAULT_QUEUE_ALLOC, &arg);

#if defined(__aarch64__) || defined(__arm__)
	if (ret == -EOPNOTSUPP)
		return;
#endif
	ASSERT_OK(ret);
	EXPECT_EQ(self->id + 1, (int)arg.out_fault_id);
	EXPECT_EQ(0, read(arg.out_fault_fd, memory, sizeof(memory)));
	EXPECT_EQ(-1, write(arg.out_fault_fd, memory, sizeof(*memory)));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_ERRNO(EBUSY, destroy(self->fd, arg.out_fault_id));
	EXPECT_EQ(0, close(arg.out_fault_fd));
	EXPECT_OK(destroy(self->fd, arg.out_fault_id));
	EXPECT_ERRNO(ENOENT, destroy(self->fd, arg.out_fault_id));
}

TEST_F(space, numbers)
{
	struct iommu_destroy arg = { .size = sizeof(arg), .id = self->id };

	EXPECT_ERRNO(ENOTTY, call(self->fd, _IO(';', 0x7f), &arg));
	EXPECT_ERRNO(ENOTTY, call(self->fd, _IO(';', 0x96), &arg));
	EXPECT_ERRNO(ENOTTY, call(self->fd, _IO(';', 0xa0), &arg));
	EXPECT_ERRNO(ENOTTY, call(self->fd, _IOW(';', 0x80, struct iommu_destroy), &arg));
	EXPECT_ERRNO(ENOTTY, call(self->fd, _IO('<', 0x80), &arg));
	EXPECT_OK(call(self->fd, IOMMU_DESTROY, &arg));
}

/* --- life ------------------------------------------------------------------------ */

TEST_F(space, destroy)
{
	EXPECT_ERRNO(ENOENT, destroy(self->fd, 0));
	EXPECT_ERRNO(ENOENT, destroy(self->fd, -1));
	EXPECT_ERRNO(ENOENT, destroy(self->fd, self->id + 1));
	EXPECT_OK(MAP(0, 0, 4));
	EXPECT_OK(destroy(self->fd, self->id));
	EXPECT_ERRNO(ENOENT, destroy(self->fd, self->id));
	EXPECT_ERRNO(ENOENT, MAP(0, 0, 4));
}

TEST_F(space, alloc)
{
	struct iommu_ioas_alloc arg = { .size = sizeof(arg), .flags = 1 };
	struct iommu_ioas_alloc *constant = pages(1);

	EXPECT_ERRNO(EOPNOTSUPP, call(self->fd, IOMMU_IOAS_ALLOC, &arg));
	*constant = (struct iommu_ioas_alloc) { .size = sizeof(arg) };
	ASSERT_EQ(0, mprotect(constant, PAGE, PROT_READ));
	EXPECT_ERRNO(EFAULT, call(self->fd, IOMMU_IOAS_ALLOC, constant));
	/* What could not be told of is not there: its id is the next. */
	EXPECT_EQ(self->id + 1, ioas_alloc(self->fd));
	EXPECT_OK(destroy(self->fd, self->id));
	EXPECT_EQ(self->id, ioas_alloc(self->fd));
}

TEST_F(space, both_dialects)
{
	int ioasid = ioasid_alloc(self->fd, 64);

	ASSERT_EQ(self->id + 1, ioasid);
	EXPECT_OK(ioas_map(self->fd, ioasid, self->memory, PAGE, IOVA));
	EXPECT_ERRNO(EEXIST, ioasid_map(self->fd, ioasid, self->memory, IOVA, PAGE, IOASID_RW));
	EXPECT_EQ(PAGE, unmap(self->fd, ioasid, IOVA, PAGE));
	EXPECT_OK(ioasid_map(self->fd, self->id, self->memory, IOVA, PAGE, IOASID_RW));
	EXPECT_EQ(PAGE, UNMAP(0, 1));
	EXPECT_OK(destroy(self->fd, ioasid));
	EXPECT_OK(ioasid_free(self->fd, self->id));
}

/* --- map -------------------------------------------------------------------------- */

#define EXPECT_MAP(errno_, change) \
	EXPECT_CHANGED(errno_, self->fd, IOMMU_IOAS_MAP, \
		       ioas_map_arg(self->id, self->memory, 2 * PAGE, IOVA, FIXED | RW), change)

TEST_F(space, map_arguments)
{
	if (!NEED_PINS())
		SKIP(return, NO_DEVICE);
	EXPECT_MAP(EOPNOTSUPP, arg.flags |= 8);
	EXPECT_MAP(EOPNOTSUPP, arg.__reserved = 1);
	EXPECT_MAP(EOVERFLOW, arg.iova = ~0ULL);
	EXPECT_MAP(EOVERFLOW, arg.length = ~0ULL);
	EXPECT_MAP(EINVAL, arg.flags = FIXED);
	EXPECT_MAP(ENOENT, arg.ioas_id++);
	EXPECT_MAP(EOVERFLOW, arg.user_va = -PAGE);
	EXPECT_MAP(EINVAL, arg.length = 0);
	EXPECT_MAP(EINVAL, arg.length = PAGE + 1);
	EXPECT_MAP(EINVAL, arg.iova += 1);
	EXPECT_MAP(EINVAL, arg.user_va += 1);
	EXPECT_MAP(EINVAL, (arg.user_va += 8, arg.flags = RW));
	EXPECT_MAP(EOVERFLOW, arg.iova = TOP_PAGE);
	EXPECT_MAP(EINVAL, (arg.user_va = 0, arg.length = -PAGE));
	/* The first error is what counts. */
	EXPECT_MAP(EOPNOTSUPP, (arg.flags = 8, arg.iova = ~0ULL, arg.ioas_id = 0));
	EXPECT_MAP(EOVERFLOW, (arg.flags = FIXED, arg.iova = ~0ULL, arg.ioas_id = 0));
	EXPECT_MAP(EINVAL, (arg.flags = FIXED, arg.ioas_id = 0));
	EXPECT_MAP(ENOENT, (arg.length = 0, arg.ioas_id = 0));
	EXPECT_EQ(0, pinned_pages());
	EXPECT_MAP(0, (void)arg);
	EXPECT_MAP(EEXIST, (void)arg);
	EXPECT_MAP(EEXIST, arg.iova += PAGE);
	EXPECT_MAP(EEXIST, arg.user_va += 1);
	EXPECT_MAP(EINVAL, (arg.user_va += 1, arg.iova += 1));
	EXPECT_EQ(2, pinned_pages());
}

TEST_F(space, map_of_no_memory)
{
	if (!NEED_PINS())
		SKIP(return, NO_DEVICE);
	ASSERT_EQ(0, munmap(self->memory + PAGE, PAGE));
	EXPECT_ERRNO(EFAULT, MAP(0, 0, 3));
	EXPECT_EQ(0, pinned_pages());
	EXPECT_OK(MAP(0, 0, 1));
}

TEST_F(space, top_of_the_space)
{
	EXPECT_OK(ioas_map(self->fd, self->id, self->memory, PAGE, TOP_PAGE));
	EXPECT_OK(ioas_map(self->fd, self->id, self->memory, PAGE, 0));
	EXPECT_EQ(PAGE, ioas_unmap(self->fd, self->id, TOP_PAGE, PAGE));
	EXPECT_EQ(PAGE, ioas_unmap(self->fd, self->id, 0, ~0ULL));
}

TEST_F(space, chosen_addresses)
{
	const struct iommu_iova_range allowed[] = {
		{ IOVA + 10 * PAGE, IOVA + 12 * PAGE - 1 },
		{ IOVA, IOVA + 2 * PAGE - 1 },
	};
	int64_t first = ioas_map_any(self->fd, self->id, self->memory, 4 * PAGE);

	/* Not 0, aligned as large as the memory, and not twice the same. */
	ASSERT_LT(0, first);
	EXPECT_EQ(0, first % (4 * PAGE));
	EXPECT_ERRNO(EEXIST, ioas_map(self->fd, self->id, self->memory, PAGE, first));
	EXPECT_LT(0, ioas_map_any(self->fd, self->id, self->memory, PAGE));
	EXPECT_EQ(4 * PAGE, ioas_unmap(self->fd, self->id, first, 4 * PAGE));
	EXPECT_EQ(first, ioas_map_any(self->fd, self->id, self->memory, 4 * PAGE));

	EXPECT_ERRNO(EOVERFLOW, ioas_map_any(self->fd, self->id, NULL, 1ULL << 63));

	ASSERT_OK(allow_iovas(self->fd, self->id, allowed, 2));
	EXPECT_ERRNO(ENOSPC, ioas_map_any(self->fd, self->id, self->memory, 4 * PAGE));
	EXPECT_EQ(IOVA, ioas_map_any(self->fd, self->id, self->memory, PAGE));
	EXPECT_EQ(IOVA + 10 * PAGE, ioas_map_any(self->fd, self->id, self->memory, 2 * PAGE));
	EXPECT_EQ(IOVA + PAGE, ioas_map_any(self->fd, self->id, self->memory, PAGE));
	EXPECT_ERRNO(ENOSPC, ioas_map_any(self->fd, self->id, self->memory, PAGE));
	/* That is for addresses that are chosen, not for those that are given. */
	EXPECT_OK(MAP(20, 0, 1));
	ASSERT_OK(allow_iovas(self->fd, self->id, NULL, 0));
	EXPECT_LT(0, ioas_map_any(self->fd, self->id, self->memory, PAGE));
}

/* What is allowed in two parts is allowed as a whole. */
TEST_F(space, allowed_neighbours)
{
	const struct iommu_iova_range allowed[] = {
		{ IOVA + 3 * PAGE, IOVA + 4 * PAGE - 1 },
		{ IOVA, IOVA + 3 * PAGE - 1 },
	};

	ASSERT_OK(allow_iovas(self->fd, self->id, allowed, 2));
	EXPECT_EQ(IOVA, ioas_map_any(self->fd, self->id, self->memory, 4 * PAGE));
	EXPECT_EQ(4 * PAGE, UNMAP(0, 4));
}

TEST_F(space, chosen_address_that_cannot_be_told)
{
	struct iommu_ioas_map *constant = pages(1);

	*constant = ioas_map_arg(self->id, self->memory, PAGE, 0, RW);
	ASSERT_EQ(0, mprotect(constant, PAGE, PROT_READ));
	EXPECT_ERRNO(EFAULT, call(self->fd, IOMMU_IOAS_MAP, constant));
	EXPECT_EQ(0, ioas_unmap(self->fd, self->id, 0, ~0ULL));
}

#define EXPECT_MAP_FILE(errno_, change) \
	EXPECT_CHANGED(errno_, self->fd, IOMMU_IOAS_MAP_FILE, \
		       map_file_arg(self->id, file, PAGE, 2 * PAGE, IOVA), change)

TEST_F(space, map_file_arguments)
{
	int file = memfd_create("iommufd", 0);
	char path[32];
	int reader;

	if (!NEED_PINS())
		SKIP(return, NO_DEVICE);
	ASSERT_EQ(0, ftruncate(file, 4 * PAGE));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	reader = open(path, O_RDONLY);
	ASSERT_LE(0, reader);
	EXPECT_MAP_FILE(EOPNOTSUPP, arg.flags |= 8);
	EXPECT_MAP_FILE(EOVERFLOW, arg.iova = ~0ULL);
	EXPECT_MAP_FILE(EOVERFLOW, arg.length = ~0ULL);
	EXPECT_MAP_FILE(EINVAL, arg.flags = FIXED);
	EXPECT_MAP_FILE(ENOENT, arg.ioas_id = 0);
	EXPECT_MAP_FILE(EINVAL, arg.length = 0);
	EXPECT_MAP_FILE(EOVERFLOW, arg.start = -PAGE);
	EXPECT_MAP_FILE(EBADF, arg.fd = -1);
	EXPECT_MAP_FILE(EBADF, arg.fd = 1000);
	EXPECT_MAP_FILE(EINVAL, arg.start++);
	EXPECT_MAP_FILE(EINVAL, arg.length++);
	EXPECT_MAP_FILE(EINVAL, arg.iova++);
	EXPECT_MAP_FILE(EINVAL, arg.fd = self->fd);
	EXPECT_MAP_FILE(EINVAL, arg.start = 3 * PAGE);
	EXPECT_MAP_FILE(EINVAL, arg.start = 1ULL << 63);
	EXPECT_MAP_FILE(EPERM, arg.fd = reader);
	EXPECT_EQ(0, pinned_pages());
	EXPECT_MAP_FILE(0, (arg.fd = reader, arg.flags = FIXED | IOMMU_IOAS_MAP_READABLE));
	EXPECT_MAP_FILE(EEXIST, (void)arg);
	EXPECT_MAP_FILE(EEXIST, arg.start++);
	EXPECT_MAP_FILE(0, arg.flags = RW);
	EXPECT_EQ(4, pinned_pages());
	close(reader);
	close(file);
}

/* --- unmap ------------------------------------------------------------------------ */

TEST_F(space, unmap)
{
	struct iommu_ioas_unmap arg = { .size = sizeof(arg), .ioas_id = self->id };

	EXPECT_ERRNO(ENOENT, UNMAP(0, 1));
	ASSERT_OK(MAP(0, 0, 4));
	ASSERT_OK(MAP(4, 4, 4));
	ASSERT_OK(MAP(12, 8, 4));
	/* An end inside of an area is refused, and nothing is unmapped. */
	EXPECT_ERRNO(ENOENT, UNMAP(0, 3));
	EXPECT_ERRNO(ENOENT, UNMAP(1, 3));
	EXPECT_ERRNO(ENOENT, UNMAP(0, 6));
	EXPECT_ERRNO(ENOENT, UNMAP(8, 4));
	EXPECT_ERRNO(EINVAL, UNMAP(0, 0));
	EXPECT_ERRNO(EOVERFLOW, ioas_unmap(self->fd, self->id, IOVA, ~0ULL));
	EXPECT_ERRNO(EOVERFLOW, ioas_unmap(self->fd, self->id, ~0ULL, 1));
	EXPECT_ERRNO(EOVERFLOW, ioas_unmap(self->fd, self->id, IOVA, -IOVA + 1));
	EXPECT_ERRNO(ENOENT, ioas_unmap(self->fd, self->id + 1, IOVA, ~0ULL));
	/* Any range will do that holds whole areas. */
	EXPECT_EQ(8 * PAGE, ioas_unmap(self->fd, self->id, IOVA - 1, 8 * PAGE + 2));
	EXPECT_EQ(4 * PAGE, ioas_unmap(self->fd, self->id, 0, ~0ULL));
	EXPECT_EQ(0, ioas_unmap(self->fd, self->id, 0, ~0ULL));
	arg.iova = IOVA;
	arg.length = PAGE;
	EXPECT_ERRNO(ENOENT, call(self->fd, IOMMU_IOAS_UNMAP, &arg));
	EXPECT_EQ(PAGE, arg.length);
}

/* --- copy ------------------------------------------------------------------------- */

#define EXPECT_COPY(errno_, change) \
	EXPECT_CHANGED(errno_, self->fd, IOMMU_IOAS_COPY, \
		       ioas_copy_arg(other, IOVA, self->id, IOVA, 2 * PAGE), change)

TEST_F(space, copy_arguments)
{
	int other = ioas_alloc(self->fd);
	struct iommu_ioas_map ro = ioas_map_arg(self->id, self->memory, PAGE, IOVA + 8 * PAGE,
						FIXED | IOMMU_IOAS_MAP_READABLE);

	if (!need_pins(_metadata, &self->needer, self->fd, other))
		SKIP(return, NO_DEVICE);
	ASSERT_OK(MAP(0, 0, 4));
	ASSERT_OK(call(self->fd, IOMMU_IOAS_MAP, &ro));
	EXPECT_COPY(EOPNOTSUPP, arg.flags |= 8);
	EXPECT_COPY(EOVERFLOW, arg.length = ~0ULL);
	EXPECT_COPY(EOVERFLOW, arg.src_iova = ~0ULL);
	EXPECT_COPY(EOVERFLOW, arg.dst_iova = ~0ULL);
	EXPECT_COPY(EINVAL, arg.flags = FIXED);
	EXPECT_COPY(ENOENT, arg.src_ioas_id = 0);
	EXPECT_COPY(EINVAL, arg.length = 0);
	EXPECT_COPY(EOVERFLOW, arg.length = -IOVA + PAGE);
	EXPECT_COPY(ENOENT, arg.length = 5 * PAGE);
	EXPECT_COPY(ENOENT, arg.src_iova += 5 * PAGE);
	EXPECT_COPY(ENOENT, arg.dst_ioas_id = 0);
	EXPECT_COPY(EINVAL, arg.dst_iova += 1);
	EXPECT_COPY(EINVAL, arg.length = PAGE + 1);
	EXPECT_COPY(EINVAL, arg.src_iova += 1);
	EXPECT_COPY(EINVAL, (arg.src_iova += 1, arg.flags = RW));
	EXPECT_COPY(EEXIST, arg.dst_ioas_id = self->id);
	EXPECT_COPY(EPERM, (arg.src_iova = ro.iova, arg.length = PAGE));
	/* The first error is what counts. */
	EXPECT_COPY(ENOENT, arg.src_iova += 3 * PAGE + 1);
	EXPECT_COPY(ENOENT, (arg.src_iova += 1, arg.dst_ioas_id = 0));
	EXPECT_COPY(EEXIST, (arg.src_iova += 1, arg.dst_ioas_id = self->id));
	EXPECT_COPY(EEXIST, (arg.src_iova = ro.iova, arg.length = PAGE,
			     arg.dst_ioas_id = self->id));
	EXPECT_COPY(EPERM, (arg.src_iova = ro.iova, arg.length = PAGE, arg.flags = RW));
	/* Nothing was taken: not even the address that was chosen. */
	EXPECT_EQ(PAGE, ioas_map_any(self->fd, other, self->memory + 8 * PAGE, PAGE));
	EXPECT_EQ(PAGE, ioas_unmap(self->fd, other, PAGE, PAGE));
	EXPECT_COPY(0, (arg.src_iova = ro.iova, arg.length = PAGE, arg.dst_iova += 8 * PAGE,
			arg.flags = FIXED | IOMMU_IOAS_MAP_READABLE));
	EXPECT_ERRNO(ENOENT, ioas_unmap(self->fd, other, IOVA, PAGE));
	EXPECT_COPY(0, (void)arg);
	EXPECT_COPY(EEXIST, (void)arg);
	EXPECT_EQ(3, pinned_pages());
}

TEST_F(space, copies_are_pinned_once)
{
	int other = ioas_alloc(self->fd), hwpt;
	long pins;

	if (!NEED_PINS())
		SKIP(return, NO_DEVICE);
	hwpt = hwpt_alloc(self->fd, self->needer.id, other, 0);
	ASSERT_LT(0, hwpt);
	ASSERT_OK(MAP(0, 0, 8));
	pins = held_pins();
	EXPECT_OK(ioas_copy(self->fd, other, IOVA, self->id, IOVA, 8 * PAGE));
	EXPECT_OK(ioas_copy(self->fd, self->id, IOVA + 8 * PAGE, self->id, IOVA + PAGE, 4 * PAGE));
	EXPECT_EQ(8, pinned_pages());
	EXPECT_EQ(pins, held_pins());
	/* The memory stays as long as anything of it is needed anywhere. */
	EXPECT_EQ(8 * PAGE, UNMAP(0, 8));
	EXPECT_EQ(8, pinned_pages());
	EXPECT_EQ(pins, held_pins());
	EXPECT_OK(destroy(self->fd, hwpt));
	EXPECT_EQ(4, pinned_pages());
	EXPECT_EQ(4 * PAGE, UNMAP(8, 4));
	EXPECT_EQ(0, pinned_pages());
	EXPECT_EQ(self->pins, held_pins());
}

TEST_F(space, copy_of_several_areas)
{
	int other = ioas_alloc(self->fd);

	ASSERT_OK(MAP(0, 0, 4));
	ASSERT_OK(MAP(4, 9, 2));
	ASSERT_OK(MAP(6, 20, 4));
	EXPECT_OK(ioas_copy(self->fd, other, 0, self->id, IOVA + 2 * PAGE, 6 * PAGE));
	/* They are as many areas as they were. */
	EXPECT_ERRNO(ENOENT, ioas_unmap(self->fd, other, 0, PAGE));
	EXPECT_EQ(2 * PAGE, ioas_unmap(self->fd, other, 0, 2 * PAGE));
	EXPECT_EQ(2 * PAGE, ioas_unmap(self->fd, other, 2 * PAGE, 2 * PAGE));
	EXPECT_EQ(2 * PAGE, ioas_unmap(self->fd, other, 4 * PAGE, 2 * PAGE));
	/* If one of them is in the way, none is there. */
	ASSERT_OK(ioas_map(self->fd, other, self->memory, PAGE, 5 * PAGE));
	EXPECT_ERRNO(EEXIST, ioas_copy(self->fd, other, 0, self->id, IOVA + 2 * PAGE, 6 * PAGE));
	EXPECT_EQ(PAGE, ioas_unmap(self->fd, other, 0, ~0ULL));
}

/* --- addresses -------------------------------------------------------------------- */

TEST_F(space, iova_ranges)
{
	struct iommu_iova_range range = { 1, 1 };
	struct iommu_ioas_iova_ranges arg = {
		.size = sizeof(arg), .ioas_id = self->id, .num_iovas = 0,
	};

	EXPECT_EQ(1, iova_ranges(self->fd, self->id, &range, 1));
	EXPECT_EQ(0, range.start);
	EXPECT_EQ(~0ULL, range.last);
	EXPECT_ERRNO(EMSGSIZE, call(self->fd, IOMMU_IOAS_IOVA_RANGES, &arg));
	EXPECT_EQ(1, arg.num_iovas);
	EXPECT_EQ(1, arg.out_iova_alignment);
	EXPECT_ERRNO(EFAULT, iova_ranges(self->fd, self->id, NULL, 1));
	EXPECT_ERRNO(ENOENT, iova_ranges(self->fd, 0, &range, 1));
	arg.__reserved = 1;
	EXPECT_ERRNO(EOPNOTSUPP, call(self->fd, IOMMU_IOAS_IOVA_RANGES, &arg));
}

TEST_F(space, ranges_of_a_window)
{
	int ioasid = ioasid_alloc_window(self->fd, IOVA, IOVA + 4 * PAGE - 1);
	struct iommu_iova_range range = { IOVA, IOVA + 8 * PAGE - 1 };

	ASSERT_LT(0, ioasid);
	EXPECT_ERRNO(EADDRINUSE, allow_iovas(self->fd, ioasid, &range, 1));
	EXPECT_EQ(IOVA, ioas_map_any(self->fd, ioasid, self->memory, 4 * PAGE));
	EXPECT_ERRNO(ENOSPC, ioas_map_any(self->fd, ioasid, self->memory, PAGE));
	EXPECT_ERRNO(EINVAL, ioas_map(self->fd, ioasid, self->memory, PAGE, IOVA + 4 * PAGE));
	EXPECT_EQ(1, iova_ranges(self->fd, ioasid, &range, 1));
	EXPECT_EQ(IOVA, range.start);
	EXPECT_EQ(IOVA + 4 * PAGE - 1, range.last);
}

TEST_F(space, allow_iovas_arguments)
{
	struct iommu_iova_range ranges[] = { { 0x1000, 0x1fff }, { 0x1fff, 0x2fff }, { 9, 9 } };
	struct iommu_ioas_allow_iovas arg = {
		.size = sizeof(arg), .ioas_id = self->id, .__reserved = 1,
	};

	EXPECT_ERRNO(EOPNOTSUPP, call(self->fd, IOMMU_IOAS_ALLOW_IOVAS, &arg));
	EXPECT_ERRNO(ENOENT, allow_iovas(self->fd, 0, ranges, 1));
	EXPECT_ERRNO(EFAULT, allow_iovas(self->fd, self->id, NULL, 1));
	EXPECT_ERRNO(EINVAL, allow_iovas(self->fd, self->id, ranges, 2));
	EXPECT_ERRNO(EINVAL, allow_iovas(self->fd, self->id, &ranges[2], 1));
	EXPECT_OK(allow_iovas(self->fd, self->id, ranges, 1));
	EXPECT_OK(allow_iovas(self->fd, self->id, NULL, 0));
}

/* --- options ---------------------------------------------------------------------- */

TEST_F(space, option_arguments)
{
	struct iommu_option arg = { .size = sizeof(arg), .op = IOMMU_OPTION_OP_GET };

	EXPECT_OK(call(self->fd, IOMMU_OPTION, &arg));
	arg.__reserved = 1;
	EXPECT_ERRNO(EOPNOTSUPP, call(self->fd, IOMMU_OPTION, &arg));
	arg.__reserved = 0;
	arg.op = 2;
	EXPECT_ERRNO(EOPNOTSUPP, call(self->fd, IOMMU_OPTION, &arg));
	arg.op = IOMMU_OPTION_OP_GET;
	arg.option_id = 2;
	EXPECT_ERRNO(EOPNOTSUPP, call(self->fd, IOMMU_OPTION, &arg));
}

TEST_F(space, option_rlimit_mode)
{
	EXPECT_EQ(0, get_option(self->fd, IOMMU_OPTION_RLIMIT_MODE, 0));
	EXPECT_ERRNO(EOPNOTSUPP, get_option(self->fd, IOMMU_OPTION_RLIMIT_MODE, self->id));
	EXPECT_ERRNO(EBUSY, set_option(self->fd, IOMMU_OPTION_RLIMIT_MODE, 0, 1));
	ASSERT_OK(destroy(self->fd, self->id));
	EXPECT_ERRNO(EINVAL, set_option(self->fd, IOMMU_OPTION_RLIMIT_MODE, 0, 2));
	EXPECT_OK(set_option(self->fd, IOMMU_OPTION_RLIMIT_MODE, 0, 1));
	EXPECT_EQ(1, get_option(self->fd, IOMMU_OPTION_RLIMIT_MODE, 0));
	IN_CHILD() {
		ASSERT_OK(become_user(1000, 8 * PAGE));
		EXPECT_ERRNO(EPERM, set_option(self->fd, IOMMU_OPTION_RLIMIT_MODE, 0, 0));
	}
}

TEST_F(space, limit_of_the_process)
{
	ASSERT_OK(destroy(self->fd, self->id));
	ASSERT_OK(set_option(self->fd, IOMMU_OPTION_RLIMIT_MODE, 0, 1));
	self->id = ioas_alloc(self->fd);
	if (!NEED_PINS())
		SKIP(return, NO_DEVICE);
	IN_CHILD() {
		ASSERT_OK(become_user(1000, 8 * PAGE));
		/* It counts what this process has locked: here, by mlock() as well. */
		ASSERT_OK(MAP(0, 0, 4));
		EXPECT_EQ(4 * PAGE, 1024 * counter("/proc/self/status", "VmLck:"));
		ASSERT_EQ(0, mlock(self->memory, 2 * PAGE));
		EXPECT_ERRNO(ENOMEM, MAP(4, 4, 3));
		EXPECT_OK(MAP(4, 4, 2));
		EXPECT_EQ(4 * PAGE, UNMAP(0, 4));
		EXPECT_EQ(4 * PAGE, 1024 * counter("/proc/self/status", "VmLck:"));
		EXPECT_OK(vfio_detach(self->needer.edu.fd));
		EXPECT_EQ(2 * PAGE, 1024 * counter("/proc/self/status", "VmLck:"));
	}
}

TEST_F(space, option_huge_pages)
{
	EXPECT_EQ(1, get_option(self->fd, IOMMU_OPTION_HUGE_PAGES, self->id));
	EXPECT_ERRNO(ENOENT, get_option(self->fd, IOMMU_OPTION_HUGE_PAGES, 0));
	EXPECT_ERRNO(EINVAL, set_option(self->fd, IOMMU_OPTION_HUGE_PAGES, self->id, 2));
	EXPECT_OK(set_option(self->fd, IOMMU_OPTION_HUGE_PAGES, self->id, 0));
	EXPECT_EQ(0, get_option(self->fd, IOMMU_OPTION_HUGE_PAGES, self->id));
	EXPECT_OK(MAP(0, 0, 4));
	EXPECT_OK(set_option(self->fd, IOMMU_OPTION_HUGE_PAGES, self->id, 1));
	EXPECT_EQ(1, get_option(self->fd, IOMMU_OPTION_HUGE_PAGES, self->id));
}

/* Setting has no answer that could get lost after it was done. */
TEST_F(space, option_that_cannot_be_answered)
{
	struct iommu_option *constant = pages(1);

	*constant = (struct iommu_option) {
		.size = sizeof(*constant),
		.option_id = IOMMU_OPTION_HUGE_PAGES,
		.op = IOMMU_OPTION_OP_SET,
		.object_id = self->id,
	};
	ASSERT_EQ(0, mprotect(constant, PAGE, PROT_READ));
	EXPECT_OK(call(self->fd, IOMMU_OPTION, constant));
	EXPECT_EQ(0, get_option(self->fd, IOMMU_OPTION_HUGE_PAGES, self->id));
	ASSERT_EQ(0, mprotect(constant, PAGE, PROT_READ | PROT_WRITE));
	constant->op = IOMMU_OPTION_OP_GET;
	ASSERT_EQ(0, mprotect(constant, PAGE, PROT_READ));
	EXPECT_ERRNO(EFAULT, call(self->fd, IOMMU_OPTION, constant));
}

TEST_F(space, vfio_ioas)
{
	struct iommu_vfio_ioas get = { .size = sizeof(get), .op = IOMMU_VFIO_IOAS_GET };
	struct iommu_vfio_ioas set = {
		.size = sizeof(set), .op = IOMMU_VFIO_IOAS_SET, .ioas_id = self->id,
	};
	struct iommu_vfio_ioas clear = { .size = sizeof(clear), .op = IOMMU_VFIO_IOAS_CLEAR };

	EXPECT_ERRNO(ENODEV, call(self->fd, IOMMU_VFIO_IOAS, &get));
	EXPECT_OK(call(self->fd, IOMMU_VFIO_IOAS, &set));
	EXPECT_OK(call(self->fd, IOMMU_VFIO_IOAS, &get));
	EXPECT_EQ(self->id, get.ioas_id);
	EXPECT_OK(call(self->fd, IOMMU_VFIO_IOAS, &clear));
	EXPECT_ERRNO(ENODEV, call(self->fd, IOMMU_VFIO_IOAS, &get));
	EXPECT_OK(call(self->fd, IOMMU_VFIO_IOAS, &set));
	/* It goes with the space, and does not come back with the id. */
	EXPECT_OK(destroy(self->fd, self->id));
	EXPECT_ERRNO(ENOENT, call(self->fd, IOMMU_VFIO_IOAS, &set));
	EXPECT_EQ(self->id, ioas_alloc(self->fd));
	EXPECT_ERRNO(ENODEV, call(self->fd, IOMMU_VFIO_IOAS, &get));
	get.__reserved = 1;
	EXPECT_ERRNO(EOPNOTSUPP, call(self->fd, IOMMU_VFIO_IOAS, &get));
	get.__reserved = 0;
	get.op = 3;
	EXPECT_ERRNO(EOPNOTSUPP, call(self->fd, IOMMU_VFIO_IOAS, &get));
}

TEST_HARNESS_MAIN
