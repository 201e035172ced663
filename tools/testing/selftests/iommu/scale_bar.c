// SPDX-License-Identifier: GPL-2.0
/*
 * What it costs to map a BAR of 4 GiB by its address, where the page table of the process
 * has it in huge entries: that of QEMU's ivshmem, which is memory.
 *
 * For a clock that counts instructions (tools/testing/vm/run --icount): there a
 * nanosecond is one of them.
 */
#include "ioasid_sysfs.h"
#include "ioasid_utils.h"

#define IVSHMEM_VENDOR "0x1af4"
#define IVSHMEM_DEVICE "0x1110"

#define MIB (1UL << 20)
#define GIB (1UL << 30)
/* A 32-bit process has no room for so much: there, it is skipped. */
#define IS_LARGE (sizeof(void *) == 8)
#define BAR_SIZE (IS_LARGE ? 4 * GIB : GIB)
#define BAR_IOVA (8 * GIB)
#define MOST_NS 1000000L

FIXTURE(bar)
{
	struct bound b;
	int device;
	char *room;	/* where the BAR is mapped: more than there has to be */
	char *memory;
};

static bool find_ivshmem(char *address, size_t size)
{
	DIR *dir = opendir("/sys/bus/pci/devices");
	struct dirent *entry;
	bool found = false;
	char vendor[8], device[8];

	while (dir && !found && (entry = readdir(dir))) {
		pci_sysfs_line(entry->d_name, "vendor", vendor, sizeof(vendor));
		pci_sysfs_line(entry->d_name, "device", device, sizeof(device));
		found = !strcmp(vendor, IVSHMEM_VENDOR) && !strcmp(device, IVSHMEM_DEVICE);
		if (found)
			snprintf(address, size, "%.15s", entry->d_name);
	}
	if (dir)
		closedir(dir);
	return found;
}

FIXTURE_SETUP(bar)
{
	int ret = bound_open(&self->b);
	char address[16], node[48];

	if (!IS_LARGE || ret == -ENODEV || !find_ivshmem(address, sizeof(address)))
		SKIP(return, NO_DEVICE ", an ivshmem, and 64-bit addresses");
	ASSERT_OK(ret);
	ASSERT_OK(give_to(address, "vfio-pci"));
	ASSERT_TRUE(vfio_find_node(address, node, sizeof(node)));
	self->device = open(node, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->device);
	ASSERT_LT(0, vfio_bind(self->device, self->b.fd));
	ASSERT_OK(vfio_pci_enable(self->device));
	ASSERT_OK(vfio_attach(self->b.edu.fd, self->b.ioasid));
	ASSERT_OK(edu_start(&self->b.edu));
	self->memory = pages(1);
	ASSERT_OK(ioasid_map(self->b.fd, self->b.ioasid, self->memory, IOVA, PAGE, IOASID_RW));
	self->room = mmap(NULL, BAR_SIZE + 2 * GIB, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT_NE(MAP_FAILED, self->room);
}

FIXTURE_TEARDOWN(bar)
{
	munmap(self->room, BAR_SIZE + 2 * GIB);
	close(self->device);
	bound_close(&self->b);
}

/* Map the BAR so that it begins @offset bytes behind a multiple of 1 GiB, and touch all of it. */
static char *bar_at(struct __test_metadata *_metadata, struct _test_data_bar *self, size_t offset)
{
	struct vfio_region_info region = {
		.argsz = sizeof(region),
		.index = VFIO_PCI_BAR2_REGION_INDEX,
	};
	char *bar = (char *)(((uintptr_t)self->room + GIB - 1) & -GIB) + offset;

	ASSERT_OK(call(self->device, VFIO_DEVICE_GET_REGION_INFO, &region));
	ASSERT_EQ(BAR_SIZE, region.size);
	ASSERT_EQ(bar, mmap(bar, BAR_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
			    self->device, region.offset));
	for (size_t at = 0; at < BAR_SIZE; at += 2 * MIB)
		*(volatile char *)(bar + at) = 1;
	return bar;
}

static long now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000L + time.tv_nsec;
}

/* Whether the edu device takes memory to the BAR, there. */
static bool reaches(struct __test_metadata *_metadata, struct _test_data_bar *self, char *bar,
		    size_t at)
{
	memset(self->memory, 0x55, 64);
	memset(bar + at, 0, 64);
	ASSERT_OK(edu_dma(&self->b.edu, EDU_READS_MEMORY, IOVA, 0, 64));
	ASSERT_OK(edu_dma(&self->b.edu, EDU_WRITES_MEMORY, BAR_IOVA + at, 0, 64));
	return !memcmp(bar + at, self->memory, 64);
}

static void map_at(struct __test_metadata *_metadata, struct _test_data_bar *self, size_t offset)
{
	static const size_t places[] = { 0, GIB - 64, 3 * GIB + 5 * PAGE, BAR_SIZE - 64 };
	char *bar = bar_at(_metadata, self, offset);
	long mapped, unmapped;

	mapped = -now();
	ASSERT_OK(ioasid_map(self->b.fd, self->b.ioasid, bar, BAR_IOVA, BAR_SIZE, IOASID_RW));
	mapped += now();
	for (unsigned int i = 0; i < ARRAY_SIZE(places); i++) {
		EXPECT_TRUE(reaches(_metadata, self, bar, places[i]))
			TH_LOG("at 0x%zx", places[i]);
	}
	unmapped = -now();
	ASSERT_EQ((int64_t)BAR_SIZE, unmap(self->b.fd, self->b.ioasid, BAR_IOVA, BAR_SIZE));
	unmapped += now();
	TH_LOG("4 GiB: mapped in %ld instructions, unmapped in %ld", mapped, unmapped);
	EXPECT_GT(MOST_NS, mapped);
	EXPECT_FALSE(reaches(_metadata, self, bar, 0));
}

TEST_F(bar, in_entries_of_1_gib)
{
	map_at(_metadata, self, 0);
}

TEST_F(bar, in_entries_of_2_mib)
{
	map_at(_metadata, self, 2 * MIB);
}

TEST_HARNESS_MAIN
