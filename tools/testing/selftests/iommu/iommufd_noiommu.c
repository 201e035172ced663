// SPDX-License-Identifier: GPL-2.0
/*
 * Devices that no IOMMU translates for, by way of VFIO with VFIO_NOIOMMU: they are told where
 * in memory an address of the space leads, and do their DMA there. So this is about what they are
 * told, whether it is right, who may ask, and what there is not without an IOMMU.
 */
#include "carry.h"
#include "iommufd_bar.h"
#include "noiommu_calls.h"
#include "pasid_calls.h"
#include "pci_power.h"

#define HUGE_SIZE (2UL << 20)

FIXTURE(noiommu)
{
	struct bound b;
	int ioas;
	char *memory;
	long pins;
};

#define COUNT 16	/* pages of memory */

FIXTURE_SETUP(noiommu)
{
	int ret = bound_open(&self->b);

	if (ret == -ENODEV || !strstr(self->b.edu.node, "noiommu-"))
		SKIP(return, "needs an edu device that VFIO has without an IOMMU");
	ASSERT_OK(ret);
	ASSERT_OK(edu_start(&self->b.edu));
	self->memory = pages(COUNT);
	ASSERT_NE(NULL, self->memory);
	memset(self->memory, 1, COUNT * PAGE);
	self->pins = held_pins();
	self->ioas = ioas_alloc(self->b.fd);
	ASSERT_LT(0, self->ioas);
}

FIXTURE_TEARDOWN(noiommu)
{
	bound_close(&self->b);
	expect_nothing_left(_metadata, self->pins);
}

/* How many bytes of @memory are in one piece, @most at most, as the page table says. */
static uint64_t piece(const char *memory, uint64_t most)
{
	uint64_t at = (uintptr_t)memory % PAGE, length = PAGE - at;
	uint64_t page = host_page((char *)memory);

	while (length < most && host_page((char *)memory + length) == ++page)
		length += PAGE;
	return length < most ? length : most;
}

#define ATTACH_PT(pt) attach_pt(self->b.edu.fd, pt)
#define MAP_PAGES(first, count) \
	ASSERT_OK(ioas_map_pages(self->b.fd, self->ioas, self->memory, first, count))
#define ASK(iova) ask_pa(self->b.fd, self->ioas, iova)

/* What is told for IOVA + @at is where @memory + @at is. */
static void expect_told(struct __test_metadata *_metadata, FIXTURE_DATA(noiommu) * self,
			char *memory, uint64_t at, uint64_t most)
{
	uint64_t phys, length;

	ASSERT_OK(get_pa(self->b.fd, self->ioas, IOVA + at, most, &phys, &length));
	EXPECT_EQ(host_page(memory + at) * PAGE + at % PAGE, phys);
	EXPECT_EQ(piece(memory + at, most), length)
		TH_LOG("from 0x%lx, of 0x%lx bytes", (long)at, (long)most);
}

#define EXPECT_TOLD(memory, at, most) expect_told(_metadata, self, memory, at, most)

/* --- what is told --------------------------------------------------------------------------- */

TEST_F(noiommu, is_where_the_memory_is)
{
	unsigned int page;

	MAP_PAGES(0, COUNT);
	ASSERT_LT(0, ATTACH_PT(self->ioas));
	for (page = 0; page < COUNT; page++) {
		EXPECT_TOLD(self->memory, page * PAGE, PAGE);
		EXPECT_TOLD(self->memory, page * PAGE, (COUNT - page) * PAGE);
	}
}

/* What for: the device's DMA gets there. */
TEST_F(noiommu, dma)
{
	uint64_t from, to, length;

	ASSERT_LT(0, ATTACH_PT(self->ioas));
	MAP_PAGES(0, 2);
	ASSERT_OK(get_pa(self->b.fd, self->ioas, IOVA, PAGE, &from, &length));
	ASSERT_OK(get_pa(self->b.fd, self->ioas, IOVA + PAGE + 1024, 1024, &to, &length));
	EXPECT_EQ(1024, length);
	EXPECT_TRUE(carries(_metadata, &self->b.edu, from, self->memory, to,
			    self->memory + PAGE + 1024));
}

/* The length is that of what is asked for, and ends with the area. */
TEST_F(noiommu, lengths)
{
	static const uint64_t at[] = { 0, 1, PAGE - 1, PAGE, HUGE_SIZE / 2 + 5, HUGE_SIZE - 1 };
	static const uint64_t most[] = { 1, PAGE, PAGE + 1, HUGE_SIZE, HUGE_SIZE + 1, UINT64_MAX };
	uint64_t phys, length;
	unsigned int i, j;
	char *huge;

	ASSERT_TRUE(provide_huge_pages(2));
	huge = mmap(NULL, HUGE_SIZE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_POPULATE, -1, 0);
	ASSERT_NE(MAP_FAILED, huge);
	ASSERT_LT(0, ATTACH_PT(self->ioas));
	ASSERT_OK(ioas_map(self->b.fd, self->ioas, huge, HUGE_SIZE, IOVA));
	for (i = 0; i < ARRAY_SIZE(at); i++) {
		for (j = 0; j < ARRAY_SIZE(most); j++) {
			uint64_t rest = HUGE_SIZE - at[i];

			ASSERT_OK(get_pa(self->b.fd, self->ioas, IOVA + at[i], most[j], &phys,
					 &length));
			EXPECT_EQ(host_page(huge) * PAGE + at[i], phys);
			EXPECT_EQ(most[j] < rest ? most[j] : rest, length);
		}
	}
	/* Two areas are two answers, though the memory goes on. */
	ASSERT_EQ(HUGE_SIZE, ioas_unmap(self->b.fd, self->ioas, IOVA, HUGE_SIZE));
	for (i = 0; i < 2; i++)
		ASSERT_OK(ioas_map(self->b.fd, self->ioas, huge + i * PAGE, PAGE,
				   IOVA + i * PAGE));
	ASSERT_OK(get_pa(self->b.fd, self->ioas, IOVA + 1, 2 * PAGE, &phys, &length));
	EXPECT_EQ(PAGE - 1, length);
	munmap(huge, HUGE_SIZE);
}

/* Memory that several spaces have, and that of a file. */
TEST_F(noiommu, kinds_of_memory)
{
	int file = memfd_create("noiommu", MFD_CLOEXEC), other = ioas_alloc(self->b.fd);
	char *there;

	ASSERT_LT(0, other);
	ASSERT_LE(0, file);
	ASSERT_EQ(0, ftruncate(file, COUNT * PAGE));
	ASSERT_OK(ioas_map(self->b.fd, other, self->memory, COUNT * PAGE, IOVA));
	ASSERT_LT(0, ATTACH_PT(self->ioas));
	ASSERT_OK(ioas_copy(self->b.fd, self->ioas, IOVA, other, IOVA + PAGE, 8 * PAGE));
	EXPECT_TOLD(self->memory + PAGE, 0, PAGE);
	EXPECT_TOLD(self->memory + PAGE, 5 * PAGE + 7, PAGE);
	EXPECT_TOLD(self->memory + PAGE, 0, 8 * PAGE);
	ASSERT_EQ(8 * PAGE, ioas_unmap(self->b.fd, self->ioas, IOVA, 8 * PAGE));

	ASSERT_OK(ioas_map_file(self->b.fd, self->ioas, file, 2 * PAGE, 4 * PAGE, IOVA));
	there = mmap(NULL, COUNT * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
		     file, 0);
	ASSERT_NE(MAP_FAILED, there);
	EXPECT_TOLD(there + 2 * PAGE, 0, PAGE);
	EXPECT_TOLD(there + 2 * PAGE, 3 * PAGE + 100, PAGE - 100);
	EXPECT_OK(destroy(self->b.fd, other));
	munmap(there, COUNT * PAGE);
	close(file);
}

/* The memory of a device, until it is taken back. */
TEST_F(noiommu, bar)
{
	unsigned long long start;
	uint64_t phys, length;
	char line[64];
	int buf;

	pci_sysfs_line(self->b.edu.address, "resource", line, sizeof(line));
	start = strtoull(line, NULL, 16);
	ASSERT_LT(0, start);
	buf = bar_buf(&self->b.edu, PAGE, 4 * PAGE);
	if (buf == -ENOTTY || buf == -EOPNOTSUPP)
		SKIP(return, "VFIO makes no dma-buf of it");
	ASSERT_LE(0, buf);
	ASSERT_OK(ioas_map_file(self->b.fd, self->ioas, buf, PAGE, 2 * PAGE, IOVA));
	EXPECT_ERRNO(EOPNOTSUPP, ASK(IOVA));
	ASSERT_LT(0, ATTACH_PT(self->ioas));
	ASSERT_OK(get_pa(self->b.fd, self->ioas, IOVA + 8, UINT64_MAX, &phys, &length));
	EXPECT_EQ(start + 2 * PAGE + 8, phys);
	EXPECT_EQ(2 * PAGE - 8, length);
	ASSERT_OK(set_memory_enable(self->b.edu.fd, false));
	EXPECT_ERRNO(EINVAL, ASK(IOVA));
	close(buf);
}

/* --- who is told, and when ------------------------------------------------------------------- */

TEST_F(noiommu, while_there_is_a_device)
{
	MAP_PAGES(0, 1);
	EXPECT_ERRNO(EOPNOTSUPP, ASK(IOVA));
	EXPECT_EQ(self->pins, held_pins());
	ASSERT_LT(0, ATTACH_PT(self->ioas));
	EXPECT_EQ(self->pins + 1, held_pins());
	EXPECT_OK(ASK(IOVA));
	EXPECT_OK(vfio_detach(self->b.edu.fd));
	EXPECT_EQ(self->pins, held_pins());
	EXPECT_ERRNO(EOPNOTSUPP, ASK(IOVA));
	EXPECT_ERRNO(ENOENT, ASK(IOVA + PAGE));
	ASSERT_LT(0, ATTACH_PT(self->ioas));
	EXPECT_OK(ASK(IOVA));
	ASSERT_EQ(PAGE, ioas_unmap(self->b.fd, self->ioas, IOVA, PAGE));
	EXPECT_ERRNO(ENOENT, ASK(IOVA));
}

/* Of several mistakes the first one is told. */
TEST_F(noiommu, errnos)
{
	struct iommu_ioas_noiommu_get_pa valid = pa_arg(self->ioas, IOVA, PAGE);
	uint32_t size = sizeof(valid);

	MAP_PAGES(0, 1);
	ASSERT_LT(0, ATTACH_PT(self->ioas));
	ASSERT_OK(call(self->b.fd, IOMMU_IOAS_NOIOMMU_GET_PA, &valid));
	valid.out_phys = 0;
#define WRONG(errno_, change) \
	EXPECT_CHANGED(errno_, self->b.fd, IOMMU_IOAS_NOIOMMU_GET_PA, valid, change)
	WRONG(EINVAL, arg.size = size - 1);
	WRONG(EOPNOTSUPP, arg.flags = 1; arg.length = 0);
	WRONG(EOPNOTSUPP, arg.__reserved = 1; arg.length = 0);
	WRONG(EINVAL, arg.length = 0; arg.iova = UINT64_MAX);
	WRONG(EOVERFLOW, arg.iova = UINT64_MAX; arg.ioas_id = 1000);
	WRONG(ENOENT, arg.ioas_id = 1000);
	WRONG(ENOENT, arg.ioas_id = self->b.id);
	WRONG(ENOENT, arg.iova = IOVA - 1);
	WRONG(ENOENT, arg.iova = IOVA + PAGE);
	WRONG(ENOENT, arg.iova = UINT64_MAX - 1);
}

static void drop_rawio(struct __test_metadata *_metadata)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	ASSERT_EQ(0, syscall(SYS_capget, &header, data));
	data[0].effective &= ~(1U << CAP_SYS_RAWIO);
	ASSERT_EQ(0, syscall(SYS_capset, &header, data));
}

/* Whatever else is wrong. */
TEST_F(noiommu, capability)
{
	struct iommu_ioas_noiommu_get_pa arg = pa_arg(1000, IOVA, 0);

	MAP_PAGES(0, 1);
	ASSERT_LT(0, ATTACH_PT(self->ioas));
	IN_CHILD() {
		drop_rawio(_metadata);
		EXPECT_ERRNO(EPERM, ASK(IOVA));
		arg.flags = 1;
		EXPECT_ERRNO(EPERM, call(self->b.fd, IOMMU_IOAS_NOIOMMU_GET_PA, &arg));
		EXPECT_EQ(-1, open(self->b.edu.node, O_RDWR | O_CLOEXEC));
		EXPECT_EQ(EPERM, errno);
	}
	EXPECT_OK(ASK(IOVA));
}

/* --- what a device has without an IOMMU ---------------------------------------------------- */

TEST_F(noiommu, domains)
{
	int other = ioas_alloc(self->b.fd), one, two;
	uint32_t flag;

	ASSERT_LT(0, other);
	for (flag = 1; flag; flag <<= 1) {
		if (flag != IOMMU_HWPT_FAULT_ID_VALID)
			EXPECT_ERRNO(EOPNOTSUPP, hwpt_alloc(self->b.fd, self->b.id, self->ioas,
							    flag));
	}
	/* No queue of page faults has that id. */
	EXPECT_ERRNO(ENOENT, hwpt_alloc(self->b.fd, self->b.id, self->ioas,
					IOMMU_HWPT_FAULT_ID_VALID));
	one = hwpt_alloc(self->b.fd, self->b.id, self->ioas, 0);
	ASSERT_LT(0, one);
	/* It is one before a device comes to it. */
	MAP_PAGES(0, 1);
	EXPECT_TOLD(self->memory, 0, PAGE);
	ASSERT_EQ(one, ATTACH_PT(one));
	EXPECT_ERRNO(EBUSY, destroy(self->b.fd, one));
	two = hwpt_alloc(self->b.fd, self->b.id, other, 0);
	ASSERT_LT(0, two);
	EXPECT_ERRNO(EOPNOTSUPP, hwpt_alloc(self->b.fd, self->b.id, two, 0));
	EXPECT_EQ(two, ATTACH_PT(two));
	EXPECT_ERRNO(ENOENT, ATTACH_PT(1000));
	EXPECT_OK(destroy(self->b.fd, one));
	EXPECT_ERRNO(EOPNOTSUPP, ASK(IOVA));
	ASSERT_OK(ioas_map(self->b.fd, other, self->memory, PAGE, IOVA));
	EXPECT_OK(ask_pa(self->b.fd, other, IOVA));
	ASSERT_LT(0, ATTACH_PT(self->ioas));
	EXPECT_TOLD(self->memory, 0, PAGE);
	EXPECT_OK(destroy(self->b.fd, two));
}

TEST_F(noiommu, not_without_an_iommu)
{
	struct iommu_hwpt_alloc with_data = {
		.size = sizeof(with_data),
		.dev_id = self->b.id,
		.pt_id = self->ioas,
		.data_type = 1,
		.data_len = 8,
		.data_uptr = (uintptr_t)self->memory,
	};
	struct iommu_hw_info info = { .size = sizeof(info), .dev_id = self->b.id };
	struct iommu_viommu_alloc viommu = {
		.size = sizeof(viommu), .type = 1, .dev_id = self->b.id,
	};
	struct iommu_hwpt_set_dirty_tracking dirty = {
		.size = sizeof(dirty), .flags = IOMMU_HWPT_DIRTY_TRACKING_ENABLE,
	};

	EXPECT_ERRNO(EOPNOTSUPP, call(self->b.fd, IOMMU_HWPT_ALLOC, &with_data));
	EXPECT_ERRNO(EOPNOTSUPP, call(self->b.fd, IOMMU_GET_HW_INFO, &info));
	EXPECT_ERRNO(EOPNOTSUPP, call(self->b.fd, IOMMU_VIOMMU_ALLOC, &viommu));
	dirty.hwpt_id = hwpt_alloc(self->b.fd, self->b.id, self->ioas, 0);
	EXPECT_ERRNO(EOPNOTSUPP, call(self->b.fd, IOMMU_HWPT_SET_DIRTY_TRACKING, &dirty));
	EXPECT_ERRNO(EINVAL, attach_pasid(self->b.edu.fd, PASID, dirty.hwpt_id));
	EXPECT_ERRNO(EINVAL, attach_pasid(self->b.edu.fd, PASID, self->ioas));
}

/* Any address will do: nobody translates it. */
TEST_F(noiommu, addresses)
{
	struct iommu_iova_range ranges[2];
	struct iommu_device_info *info;

	ASSERT_LT(0, ATTACH_PT(self->ioas));
	EXPECT_EQ(1, iova_ranges(self->b.fd, self->ioas, ranges, 2));
	EXPECT_EQ(0, ranges[0].start);
	EXPECT_EQ(UINT64_MAX, ranges[0].last);
	EXPECT_EQ(PAGE, iova_alignment(self->b.fd, self->ioas));
	ASSERT_OK(ioas_map(self->b.fd, self->ioas, self->memory, PAGE, RESERVED));
	EXPECT_OK(ASK(RESERVED));
	ASSERT_OK(ioas_map(self->b.fd, self->ioas, self->memory, PAGE, TOP_PAGE));
	EXPECT_OK(ASK(TOP_PAGE));
	EXPECT_OK(ASK(UINT64_MAX - 1));
	ASSERT_OK(device_get_info(self->b.fd, self->b.id, &info));
	EXPECT_EQ(64, info->addr_width);
	EXPECT_EQ(0, info->flags & IOMMU_DEVICE_INFO_ENFORCE_SNOOP);
	free(info);
}

/* Devices have nothing to do with each other. */
TEST_F(noiommu, several)
{
	struct edu other;
	int ret = edu_find(&other, "0000:00:06.0"), id, space, shown = 0;
	char path[40], line[256];
	FILE *info;

	if (ret)
		SKIP(return, "needs a second edu device");
	ASSERT_OK(edu_open(&other));
	id = vfio_bind(other.fd, self->b.fd);
	ASSERT_LT(0, id);
	MAP_PAGES(0, 1);
	space = ioas_alloc(self->b.fd);
	ASSERT_LT(0, space);
	ASSERT_LT(0, attach_pt(self->b.edu.fd, self->ioas));
	ASSERT_LT(0, attach_pt(other.fd, space));
	EXPECT_OK(ASK(IOVA));
	EXPECT_EQ(attach_pt(self->b.edu.fd, self->ioas), attach_pt(other.fd, self->ioas));
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", self->b.fd);
	info = fopen(path, "r");
	ASSERT_NE(NULL, info);
	while (fgets(line, sizeof(line), info))
		shown += !!strstr(line, " group none ioasid ");
	fclose(info);
	EXPECT_EQ(2, shown);
	edu_close(&self->b.edu);
	EXPECT_OK(ASK(IOVA));
	edu_close(&other);
	EXPECT_ERRNO(EOPNOTSUPP, ASK(IOVA));
}

/* --- by way of a group --------------------------------------------------------------------- */

/* A program for VFIO's containers has no address space then, and needs none. */
TEST_F(noiommu, container)
{
	char path[64], link[256];
	ssize_t length;
	int group, fd, device;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%.15s/iommu_group",
		 self->b.edu.address);
	length = readlink(path, link, sizeof(link) - 1);
	if (length < 0)
		SKIP(return, "VFIO has no groups");
	link[length] = 0;
	edu_close(&self->b.edu);
	snprintf(path, sizeof(path), "/dev/vfio/noiommu-%.16s", strrchr(link, '/') + 1);
	group = open(path, O_RDWR | O_CLOEXEC);
	fd = open_iommufd();
	ASSERT_LE(0, group);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ioctl(group, VFIO_GROUP_SET_CONTAINER, &fd));
	EXPECT_EQ(1, ioctl(fd, VFIO_CHECK_EXTENSION, VFIO_NOIOMMU_IOMMU));
	EXPECT_EQ(0, ioctl(fd, VFIO_CHECK_EXTENSION, VFIO_TYPE1_IOMMU));
	EXPECT_ERRNO(EINVAL, call(fd, VFIO_SET_IOMMU, (void *)VFIO_TYPE1_IOMMU));
	IN_CHILD() {
		drop_rawio(_metadata);
		EXPECT_ERRNO(EPERM, call(fd, VFIO_SET_IOMMU, (void *)VFIO_NOIOMMU_IOMMU));
	}
	EXPECT_OK(call(fd, VFIO_SET_IOMMU, (void *)VFIO_NOIOMMU_IOMMU));
	device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, self->b.edu.address);
	EXPECT_LE(0, device);
	close(device);
	close(fd);
	close(group);
}

TEST_HARNESS_MAIN
