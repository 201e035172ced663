// SPDX-License-Identifier: GPL-2.0
/*
 * Devices and address spaces: bind, information, attach, detach. What comes of
 * it for DMA is for ioasid_dma.c to see.
 */
#include "ioasid_utils.h"
#include "leftover.h"

/* --- before and at bind ------------------------------------------------------ */

FIXTURE(unbound)
{
	struct edu edu;
	int fd;
	long pins;
};

FIXTURE_SETUP(unbound)
{
	self->fd = open_iommufd();
	if (self->fd < 0 || edu_find(&self->edu, getenv("EDU")))
		SKIP(return, NO_DEVICE);
	ASSERT_OK(edu_open(&self->edu));
	self->pins = held_pins();
}

FIXTURE_TEARDOWN(unbound)
{
	edu_close(&self->edu);
	close(self->fd);
	expect_nothing_left(_metadata, self->pins);
}

#define EXPECT_BIND(errno_, change) \
	EXPECT_CHANGED(errno_, self->edu.fd, VFIO_DEVICE_BIND_IOMMUFD, \
		       ((struct vfio_device_bind_iommufd) { \
				.argsz = sizeof(struct vfio_device_bind_iommufd), \
				.iommufd = self->fd, \
		       }), change)

TEST_F(unbound, bind_arguments)
{
	EXPECT_BIND(EINVAL, arg.argsz = 0);
	EXPECT_BIND(EINVAL, arg.flags = 1U << 31);
	EXPECT_BIND(EINVAL, arg.iommufd = -1);
	EXPECT_BIND(EBADF, arg.iommufd = 1000);
	EXPECT_ERRNO(EFAULT, call(self->edu.fd, VFIO_DEVICE_BIND_IOMMUFD, NULL));
	EXPECT_LT(0, vfio_bind(self->edu.fd, self->fd));
}

TEST_F(unbound, bind_to_wrong_files)
{
	int null = open("/dev/null", O_RDWR);
	int ends[2];

	ASSERT_LE(0, null);
	ASSERT_OK(pipe(ends));
	EXPECT_ERRNO(EBADFD, vfio_bind(self->edu.fd, null));
	EXPECT_ERRNO(EBADFD, vfio_bind(self->edu.fd, ends[0]));
	EXPECT_ERRNO(EBADFD, vfio_bind(self->edu.fd, self->edu.fd));
	close(null);
	EXPECT_ERRNO(EBADF, vfio_bind(self->edu.fd, null));
	EXPECT_LT(0, vfio_bind(self->edu.fd, self->fd));
}

TEST_F(unbound, nothing_works_before_bind)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };
	char byte;

	EXPECT_ERRNO(EINVAL, vfio_attach(self->edu.fd, ioasid_alloc(self->fd, 64)));
	EXPECT_ERRNO(EINVAL, vfio_detach(self->edu.fd));
	EXPECT_ERRNO(EINVAL, call(self->edu.fd, VFIO_DEVICE_GET_INFO, &info));
	EXPECT_EQ(-1, read(self->edu.fd, &byte, 1));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PAGE, PROT_READ, MAP_SHARED, self->edu.fd, 0));
}

TEST_F(unbound, bind_once)
{
	int other = open_iommufd();

	ASSERT_LE(0, other);
	EXPECT_EQ(1, vfio_bind(self->edu.fd, self->fd));
	EXPECT_ERRNO(EINVAL, vfio_bind(self->edu.fd, self->fd));
	EXPECT_ERRNO(EINVAL, vfio_bind(self->edu.fd, other));
	/* The other context has seen nothing of it. */
	EXPECT_EQ(1, ioasid_alloc(other, 64));
	EXPECT_EQ(2, ioasid_alloc(self->fd, 64));
	close(other);
}

/* Open, bind, ask, allocate: plain numbers will do from the bind on. */
TEST_F(unbound, check_extension_once_bound)
{
	struct iommu_device_info *info;
	int id;

	EXPECT_ERRNO(ENOENT, device_get_info(self->fd, 1, &info));
	EXPECT_ERRNO(EINVAL, vfio_bind(self->edu.fd, -1));
	expect_extensions(_metadata, self->fd, EXPLICIT_NUMBERS);
	id = vfio_bind(self->edu.fd, self->fd);
	ASSERT_LT(0, id);
	expect_extensions(_metadata, self->fd, ALL_NUMBERS);
	ASSERT_OK(device_get_info(self->fd, id, &info));
	free(info);
	expect_extensions(_metadata, self->fd, ALL_NUMBERS);
	EXPECT_LT(0, ioasid_alloc(self->fd, 64));
	edu_close(&self->edu);
	expect_extensions(_metadata, self->fd, ALL_NUMBERS);
}

TEST_F(unbound, one_owner_at_a_time)
{
	struct edu second = self->edu;

	ASSERT_OK(edu_open(&second));
	ASSERT_LT(0, vfio_bind(self->edu.fd, self->fd));
	EXPECT_ERRNO(EINVAL, vfio_bind(second.fd, self->fd));
	edu_close(&self->edu);
	EXPECT_LT(0, vfio_bind(second.fd, self->fd));
	edu_close(&second);
}

/* A result that cannot be told undoes the bind. */
TEST_F(unbound, bind_to_read_only_memory)
{
	struct vfio_device_bind_iommufd *bind = pages(1);

	ASSERT_NE(NULL, bind);
	bind->argsz = sizeof(*bind);
	bind->iommufd = self->fd;
	ASSERT_OK(mprotect(bind, PAGE, PROT_READ));
	EXPECT_ERRNO(EFAULT, call(self->edu.fd, VFIO_DEVICE_BIND_IOMMUFD, bind));
	EXPECT_EQ(1, vfio_bind(self->edu.fd, self->fd));
}

TEST_F(unbound, ids_are_shared_with_address_spaces)
{
	EXPECT_EQ(1, ioasid_alloc(self->fd, 64));
	EXPECT_EQ(2, vfio_bind(self->edu.fd, self->fd));
	EXPECT_EQ(3, ioasid_alloc(self->fd, 64));
	edu_close(&self->edu);
	EXPECT_EQ(2, ioasid_alloc(self->fd, 64));
}

/* The device keeps the context, its spaces and what is pinned there alive. */
TEST_F(unbound, context_closed_before_device)
{
	char *memory = pages(4);
	int ioasid = ioasid_alloc(self->fd, 64);

	ASSERT_OK(ioasid_map(self->fd, ioasid, memory, IOVA, 4 * PAGE, IOASID_RW));
	ASSERT_LT(0, vfio_bind(self->edu.fd, self->fd));
	ASSERT_OK(vfio_attach(self->edu.fd, ioasid));
	close(self->fd);
	EXPECT_EQ(4, pinned_pages());
	EXPECT_OK(vfio_detach(self->edu.fd));
	EXPECT_OK(vfio_attach(self->edu.fd, ioasid));
	edu_close(&self->edu);
	EXPECT_EQ(0, pinned_pages());
}

/* --- bound ------------------------------------------------------------------- */

FIXTURE(device)
{
	struct bound b;
	char *memory;
	long pins;
};

FIXTURE_SETUP(device)
{
	int ret = bound_open(&self->b);

	if (ret == -ENODEV)
		SKIP(return, NO_DEVICE);
	ASSERT_OK(ret);
	self->memory = pages(8);
	ASSERT_NE(NULL, self->memory);
	self->pins = held_pins();
}

FIXTURE_TEARDOWN(device)
{
	bound_close(&self->b);
	expect_nothing_left(_metadata, self->pins);
}

#define ATTACH(ioasid) vfio_attach(self->b.edu.fd, ioasid)
#define DETACH() vfio_detach(self->b.edu.fd)
#define MAP_PAGE(ioasid, iova) \
	ioasid_map(self->b.fd, ioasid, self->memory, iova, PAGE, IOASID_RW)

TEST_F(device, ids_of_the_wrong_kind)
{
	struct iommu_device_info info = { .argsz = sizeof(info), .dev_cookie = self->b.ioasid };

	EXPECT_ERRNO(ENOENT, MAP_PAGE(self->b.id, IOVA));
	EXPECT_ERRNO(ENOENT, unmap(self->b.fd, self->b.id, IOVA, PAGE));
	EXPECT_ERRNO(ENOENT, unmap_all(self->b.fd, self->b.id));
	EXPECT_ERRNO(ENOENT, ioasid_free(self->b.fd, self->b.id));
	EXPECT_ERRNO(ENOENT, call(self->b.fd, IOMMU_DEVICE_GET_INFO, &info));
	EXPECT_ERRNO(EINVAL, ATTACH(self->b.id));
	EXPECT_OK(ATTACH(self->b.ioasid));
}

/* --- DEVICE_GET_INFO ---------------------------------------------------------- */

#define EXPECT_INFO(errno_, change) \
	EXPECT_CHANGED(errno_, self->b.fd, IOMMU_DEVICE_GET_INFO, ((struct iommu_device_info) { \
		.argsz = sizeof(struct iommu_device_info), \
		.dev_cookie = self->b.id, \
	}), change)

TEST_F(device, info_arguments)
{
	EXPECT_INFO(EINVAL, arg.argsz = 0);
	EXPECT_INFO(EINVAL, arg.argsz = 31);
	EXPECT_INFO(ENOENT, arg.dev_cookie = 0);
	EXPECT_INFO(ENOENT, arg.dev_cookie += 1);
	EXPECT_INFO(ENOENT, arg.dev_cookie |= 1ULL << 32);
	EXPECT_INFO(ENOENT, arg.dev_cookie = UINT64_MAX);
	EXPECT_ERRNO(EFAULT, call(self->b.fd, IOMMU_DEVICE_GET_INFO, NULL));
	EXPECT_INFO(0, arg.flags = UINT_MAX);
}

TEST_F(device, info_of_another_context)
{
	struct iommu_device_info info = { .argsz = sizeof(info), .dev_cookie = self->b.id };
	int other = open_iommufd();

	ASSERT_LE(0, other);
	EXPECT_ERRNO(ENOENT, call(other, IOMMU_DEVICE_GET_INFO, &info));
	close(other);
}

/* Fields are told whatever the size; capabilities when there is room for all. */
TEST_F(device, info_in_two_calls)
{
	union {
		struct iommu_device_info info;
		unsigned char bytes[PAGE];
	} u;
	uint32_t needed, argsz, i;

	for (argsz = 32; argsz <= 512; argsz += 4) {
		memset(&u, 0xff, sizeof(u));
		u.info.argsz = argsz;
		u.info.dev_cookie = self->b.id;
		ASSERT_OK(call(self->b.fd, IOMMU_DEVICE_GET_INFO, &u));
		if (argsz == 32)
			needed = u.info.argsz;
		EXPECT_EQ(argsz < needed ? needed : argsz, u.info.argsz);
		EXPECT_EQ(argsz < needed ? 0 : 32, u.info.cap_offset);
		EXPECT_TRUE(u.info.flags & IOMMU_DEVICE_INFO_CAPS);
		EXPECT_EQ(0, u.info.flags & ~0xfU);
		EXPECT_EQ(self->b.id, u.info.dev_cookie);
		for (i = argsz < needed ? 32 : needed; i < PAGE; i++) {
			ASSERT_EQ(0xff, u.bytes[i])
				TH_LOG("byte %u was written with argsz %u", i, argsz);
		}
	}
	EXPECT_LT(32, needed);
	EXPECT_GT(512, needed);
}

/* A larger argsz is what the caller says it is: not a byte more is written. */
TEST_F(device, info_at_the_end_of_memory)
{
	char *memory = pages(2);
	struct iommu_device_info *info = (void *)(memory + PAGE - sizeof(*info));

	ASSERT_OK(munmap(memory + PAGE, PAGE));
	info->argsz = sizeof(*info);
	info->dev_cookie = self->b.id;
	EXPECT_OK(call(self->b.fd, IOMMU_DEVICE_GET_INFO, info));
	EXPECT_LT(sizeof(*info), info->argsz);
	EXPECT_ERRNO(EFAULT, call(self->b.fd, IOMMU_DEVICE_GET_INFO, info));
	ASSERT_OK(mprotect(memory, PAGE, PROT_READ));
	EXPECT_ERRNO(EFAULT, call(self->b.fd, IOMMU_DEVICE_GET_INFO, info));
}

TEST_F(device, info_contents)
{
	struct vfio_iommu_type1_info_cap_iova_range *cap;
	struct iommu_device_info *info;
	uint64_t start, end, next = 0;
	unsigned int i;

	ASSERT_OK(device_get_info(self->b.fd, self->b.id, &info));
	EXPECT_TRUE(info->flags & IOMMU_DEVICE_INFO_PGSIZES);
	EXPECT_TRUE(info->pgsize_bitmap & PAGE);
	ASSERT_TRUE(info->flags & IOMMU_DEVICE_INFO_ADDR_WIDTH);
	EXPECT_LE(32, info->addr_width);
	ASSERT_GE(64, info->addr_width);
	cap = device_iova_ranges(info);
	ASSERT_NE(NULL, cap);
	ASSERT_LT(0, cap->nr_iovas);
	EXPECT_EQ(0, cap->reserved);
	EXPECT_EQ(0, cap->header.next);
	for (i = 0; i < cap->nr_iovas; i++) {
		start = cap->iova_ranges[i].start;
		end = cap->iova_ranges[i].end;
		EXPECT_LE(next, start);
		EXPECT_LT(start, end);
		EXPECT_EQ(0, start % PAGE);
		EXPECT_EQ(PAGE - 1, end % PAGE);
		EXPECT_LE(end, UINT64_MAX >> (64 - info->addr_width));
		next = end + 2;		/* ranges that touch would be one */
	}
	free(info);
}

/* --- address ranges ------------------------------------------------------------ */

/* A range that the device cannot use, such as the window of message interrupts. */
static bool find_hole(struct bound *b, uint64_t *first, uint64_t *last)
{
	struct vfio_iommu_type1_info_cap_iova_range *cap;
	struct iommu_device_info *info;

	if (device_get_info(b->fd, b->id, &info))
		return false;
	cap = device_iova_ranges(info);
	*first = cap->iova_ranges[0].end + 1;
	*last = cap->nr_iovas > 1 ? cap->iova_ranges[1].start - 1 : UINT64_MAX;
	free(info);
	return *first;
}

/* The last address that the device can use. */
static uint64_t find_end(struct bound *b)
{
	struct vfio_iommu_type1_info_cap_iova_range *cap;
	struct iommu_device_info *info;
	uint64_t end;

	if (device_get_info(b->fd, b->id, &info))
		return UINT64_MAX;
	cap = device_iova_ranges(info);
	end = cap->iova_ranges[cap->nr_iovas - 1].end;
	free(info);
	return end;
}

TEST_F(device, ranges_are_what_can_be_mapped)
{
	struct vfio_iommu_type1_info_cap_iova_range *cap;
	struct iommu_device_info *info;
	struct vfio_iova_range *range;
	unsigned int i;

	ASSERT_OK(device_get_info(self->b.fd, self->b.id, &info));
	ASSERT_OK(ATTACH(self->b.ioasid));
	cap = device_iova_ranges(info);
	for (i = 0; i < cap->nr_iovas; i++) {
		range = &cap->iova_ranges[i];
		EXPECT_OK(MAP_PAGE(self->b.ioasid, range->start));
		EXPECT_OK(MAP_PAGE(self->b.ioasid, range->end - PAGE + 1));
		if (range->start)
			EXPECT_ERRNO(EINVAL, MAP_PAGE(self->b.ioasid, range->start - PAGE));
		if (range->end != UINT64_MAX)
			EXPECT_ERRNO(EINVAL, MAP_PAGE(self->b.ioasid, range->end + 1));
	}
	EXPECT_EQ(2 * cap->nr_iovas, pinned_pages());
	free(info);
}

/* The ranges of an attached device are those of its address space. */
TEST_F(device, ranges_while_attached)
{
	int ioasid = ioasid_alloc_window(self->b.fd, IOVA, IOVA + 4 * PAGE - 1);
	struct vfio_iommu_type1_info_cap_iova_range *cap;
	struct iommu_device_info *info;

	ASSERT_LT(0, ioasid);
	ASSERT_LT(IOVA + 4 * PAGE, find_end(&self->b));
	ASSERT_OK(ATTACH(ioasid));
	ASSERT_OK(device_get_info(self->b.fd, self->b.id, &info));
	cap = device_iova_ranges(info);
	ASSERT_NE(NULL, cap);
	EXPECT_EQ(1, cap->nr_iovas);
	EXPECT_EQ(IOVA, cap->iova_ranges[0].start);
	EXPECT_EQ(IOVA + 4 * PAGE - 1, cap->iova_ranges[0].end);
	free(info);
	ASSERT_OK(DETACH());
	EXPECT_LT(IOVA + 4 * PAGE, find_end(&self->b));
}

TEST_F(device, attached_devices_restrict_mapping)
{
	uint64_t first, last;

	if (!find_hole(&self->b, &first, &last))
		SKIP(return, "the device reaches everything");
	EXPECT_OK(MAP_PAGE(self->b.ioasid, first));
	EXPECT_EQ(PAGE, unmap(self->b.fd, self->b.ioasid, first, PAGE));
	ASSERT_OK(ATTACH(self->b.ioasid));
	EXPECT_ERRNO(EINVAL, MAP_PAGE(self->b.ioasid, first));
	EXPECT_ERRNO(EINVAL, MAP_PAGE(self->b.ioasid, last - PAGE + 1));
	EXPECT_ERRNO(EINVAL, ioasid_map(self->b.fd, self->b.ioasid, self->memory, first - PAGE,
					2 * PAGE, IOASID_RW));
	ASSERT_OK(DETACH());
	EXPECT_OK(MAP_PAGE(self->b.ioasid, first));
}

TEST_F(device, mappings_in_the_way_of_attach)
{
	uint64_t first, last;

	if (!find_hole(&self->b, &first, &last))
		SKIP(return, "the device reaches everything");
	ASSERT_OK(MAP_PAGE(self->b.ioasid, IOVA));
	ASSERT_OK(MAP_PAGE(self->b.ioasid, last - PAGE + 1));
	EXPECT_ERRNO(EADDRINUSE, ATTACH(self->b.ioasid));
	/* Nothing changed: both are mapped, and the device is elsewhere. */
	EXPECT_EQ(0, pinned_pages());
	EXPECT_ERRNO(EEXIST, MAP_PAGE(self->b.ioasid, IOVA));
	EXPECT_OK(MAP_PAGE(self->b.ioasid, first));
	EXPECT_EQ(PAGE, unmap(self->b.fd, self->b.ioasid, first, PAGE));
	EXPECT_EQ(PAGE, unmap(self->b.fd, self->b.ioasid, last - PAGE + 1, PAGE));
	EXPECT_OK(ATTACH(self->b.ioasid));
}

TEST_F(device, mappings_beyond_reach_of_the_device)
{
	uint64_t end = find_end(&self->b);

	if (end == UINT64_MAX)
		SKIP(return, "the device reaches everything");
	ASSERT_OK(MAP_PAGE(self->b.ioasid, end + 1));
	EXPECT_ERRNO(EADDRINUSE, ATTACH(self->b.ioasid));
	EXPECT_EQ(PAGE, unmap_all(self->b.fd, self->b.ioasid));
	ASSERT_OK(MAP_PAGE(self->b.ioasid, TOP_PAGE));
	EXPECT_ERRNO(EADDRINUSE, ATTACH(self->b.ioasid));
	EXPECT_EQ(PAGE, unmap_all(self->b.fd, self->b.ioasid));
	EXPECT_OK(ATTACH(self->b.ioasid));
	EXPECT_ERRNO(EINVAL, MAP_PAGE(self->b.ioasid, TOP_PAGE));
}

TEST_F(device, spaces_with_nothing_to_use)
{
	uint64_t first, last;
	int ioasid;

	if (!find_hole(&self->b, &first, &last))
		SKIP(return, "the device reaches everything");
	ioasid = ioasid_alloc_window(self->b.fd, first, last);
	ASSERT_LT(0, ioasid);
	EXPECT_ERRNO(EINVAL, ATTACH(ioasid));
	EXPECT_OK(ioasid_free(self->b.fd, ioasid));
	ioasid = ioasid_alloc_window(self->b.fd, first - PAGE, last);
	EXPECT_OK(ATTACH(ioasid));
	EXPECT_OK(MAP_PAGE(ioasid, first - PAGE));
}

TEST_F(device, enforced_snooping)
{
	struct iommu_ioasid_alloc alloc = {
		.argsz = sizeof(alloc),
		.flags = IOMMU_IOASID_ENFORCE_SNOOP,
		.type = IOMMU_IOASID_TYPE_KERNEL_TYPE1V2,
		.addr_width = 48,
	};
	int ioasid = call(self->b.fd, IOMMU_IOASID_ALLOC, &alloc);
	struct iommu_device_info *info;
	bool can;

	ASSERT_LT(0, ioasid);
	ASSERT_OK(device_get_info(self->b.fd, self->b.id, &info));
	can = info->flags & IOMMU_DEVICE_INFO_ENFORCE_SNOOP;
	EXPECT_EQ(can ? 0 : -EINVAL, ATTACH(ioasid));
	EXPECT_EQ(can ? -EBUSY : 0, ioasid_free(self->b.fd, ioasid));
	EXPECT_OK(ATTACH(self->b.ioasid));
	free(info);
}

/* --- attach and detach ---------------------------------------------------------- */

TEST_F(device, attach_arguments)
{
	struct vfio_device_attach_iommufd_pt attach = { .argsz = 4, .pt_id = self->b.ioasid };

	EXPECT_ERRNO(EINVAL, call(self->b.edu.fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach));
	attach.argsz = sizeof(attach);
	attach.flags = 1U << 31;
	EXPECT_ERRNO(EINVAL, call(self->b.edu.fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach));
	EXPECT_ERRNO(EFAULT, call(self->b.edu.fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, NULL));
	EXPECT_ERRNO(ENOENT, ATTACH(0));
	EXPECT_ERRNO(ENOENT, ATTACH(-1));
	EXPECT_ERRNO(ENOENT, ATTACH(self->b.id + 1));
	EXPECT_OK(ioasid_free(self->b.fd, self->b.ioasid));
	EXPECT_ERRNO(ENOENT, ATTACH(self->b.ioasid));
}

TEST_F(device, attached_spaces_are_busy)
{
	EXPECT_OK(ATTACH(self->b.ioasid));
	EXPECT_ERRNO(EBUSY, ioasid_free(self->b.fd, self->b.ioasid));
	EXPECT_OK(MAP_PAGE(self->b.ioasid, IOVA));
	EXPECT_EQ(1, pinned_pages());
	EXPECT_OK(DETACH());
	EXPECT_EQ(0, pinned_pages());
	EXPECT_OK(ioasid_free(self->b.fd, self->b.ioasid));
}

TEST_F(device, closed_devices_are_not_attached)
{
	EXPECT_OK(ATTACH(self->b.ioasid));
	EXPECT_ERRNO(EBUSY, ioasid_free(self->b.fd, self->b.ioasid));
	edu_close(&self->b.edu);
	EXPECT_OK(ioasid_free(self->b.fd, self->b.ioasid));
}

TEST_F(device, attach_and_detach_twice)
{
	EXPECT_OK(DETACH());
	EXPECT_OK(ATTACH(self->b.ioasid));
	EXPECT_OK(ATTACH(self->b.ioasid));
	EXPECT_OK(DETACH());
	EXPECT_OK(ioasid_free(self->b.fd, self->b.ioasid));
	EXPECT_OK(DETACH());
}

/* To attach an attached device moves it, or leaves it where it is. */
TEST_F(device, attach_moves)
{
	int other = ioasid_alloc(self->b.fd, 64);
	int conflict = ioasid_alloc(self->b.fd, 64);
	uint64_t first, last;

	if (!find_hole(&self->b, &first, &last))
		SKIP(return, "the device reaches everything");
	ASSERT_OK(MAP_PAGE(conflict, first));
	ASSERT_OK(ATTACH(self->b.ioasid));
	EXPECT_ERRNO(ENOENT, ATTACH(1000));
	EXPECT_ERRNO(EADDRINUSE, ATTACH(conflict));
	EXPECT_OK(ioasid_free(self->b.fd, conflict));
	EXPECT_ERRNO(EBUSY, ioasid_free(self->b.fd, self->b.ioasid));
	EXPECT_OK(ATTACH(other));
	EXPECT_OK(ioasid_free(self->b.fd, self->b.ioasid));
	EXPECT_ERRNO(EBUSY, ioasid_free(self->b.fd, other));
	EXPECT_OK(DETACH());
	EXPECT_OK(ioasid_free(self->b.fd, other));
}

TEST_F(device, attach_again_and_again)
{
	int i;

	ASSERT_OK(MAP_PAGE(self->b.ioasid, IOVA));
	for (i = 0; i < 100; i++) {
		ASSERT_OK(ATTACH(self->b.ioasid));
		ASSERT_EQ(1, pinned_pages());
		ASSERT_OK(DETACH());
		ASSERT_EQ(0, pinned_pages());
	}
}

/* Every order in which three descriptors can be closed; the device needs what is mapped. */
TEST_F(device, closing_in_every_order)
{
	static const int orders[][3] = {
		{ 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 }, { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 },
	};
	unsigned int i, j;
	int fds[3], needed;

	bound_close(&self->b);
	for (i = 0; i < ARRAY_SIZE(orders); i++) {
		ASSERT_OK(bound_open(&self->b));
		ASSERT_OK(MAP_PAGE(self->b.ioasid, IOVA));
		ASSERT_OK(ATTACH(self->b.ioasid));
		fds[0] = self->b.fd;
		fds[1] = dup(self->b.fd);
		fds[2] = self->b.edu.fd;
		for (j = 0, needed = 1; j < 3; j++) {
			EXPECT_EQ(needed, pinned_pages());
			close(fds[orders[i][j]]);
			needed &= orders[i][j] != 2;
		}
		EXPECT_EQ(0, pinned_pages());
	}
	ASSERT_OK(bound_open(&self->b));
}

TEST_HARNESS_MAIN
