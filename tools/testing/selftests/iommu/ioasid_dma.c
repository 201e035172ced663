// SPDX-License-Identifier: GPL-2.0
/*
 * What a device can reach: every claim that a mapping exists, or is gone, is put
 * to the proof by DMA of the edu device.
 */
#include "faultlog.h"
#include "dma.h"
#include "ioasid_fds.h"

/* --- mapped and unmapped -------------------------------------------------------- */

TEST_F(dma, map_and_unmap)
{
	EXPECT_NO_WRITES(IOVA, self->memory);
	EXPECT_NO_READS(IOVA, self->memory);
	ASSERT_OK(MAP(self->memory, IOVA, PAGE, IOASID_RW));
	EXPECT_WRITES(IOVA, self->memory);
	EXPECT_READS(IOVA, self->memory);
	EXPECT_NO_WRITES(IOVA + PAGE, self->memory + PAGE);
	EXPECT_NO_WRITES(IOVA - PAGE, self->memory);
	ASSERT_EQ(PAGE, UNMAP(IOVA, PAGE));
	EXPECT_NO_WRITES(IOVA, self->memory);
	EXPECT_NO_READS(IOVA, self->memory);
}

TEST_F(dma, blocked_accesses_are_reported)
{
	int faults = faultlog_open();
	char report[256];

	ASSERT_LE(0, faults);
	ASSERT_OK(MAP(self->memory, IOVA, PAGE, IOASID_RW));
	EXPECT_WRITES(IOVA, self->memory);
	EXPECT_FALSE(faultlog_find(faults, self->b.edu.address, 0, UINT64_MAX, report,
				   sizeof(report)));
	ASSERT_EQ(PAGE, UNMAP(IOVA, PAGE));
	EXPECT_TRUE(faultlog_provoke(faults, &self->b.edu, EDU_WRITES_MEMORY, IOVA, DMA_SIZE, 10,
				     report, sizeof(report)));
	EXPECT_TRUE(faultlog_provoke(faults, &self->b.edu, EDU_READS_MEMORY, IOVA, DMA_SIZE, 10,
				     report, sizeof(report)));
	close(faults);
}

/* Many pages: the first, one in the middle, the last; and then, none of them. */
TEST_F(dma, large_mapping)
{
	const size_t pages = scaled(16384, 2048), size = pages * PAGE;
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, memory);
	ASSERT_OK(MAP(memory, IOVA, size, IOASID_RW));
	EXPECT_EQ(1 + pages, pinned_pages());
	EXPECT_WRITES(IOVA, memory);
	EXPECT_WRITES(IOVA + size / 2 + 5 * PAGE, memory + size / 2 + 5 * PAGE);
	EXPECT_WRITES(IOVA + size - PAGE, memory + size - PAGE);
	EXPECT_READS(IOVA + 1234 * PAGE, memory + 1234 * PAGE);
	ASSERT_EQ(size, UNMAP(IOVA, size));
	EXPECT_NO_WRITES(IOVA, memory);
	EXPECT_NO_WRITES(IOVA + size / 2 + 5 * PAGE, memory + size / 2 + 5 * PAGE);
	EXPECT_NO_WRITES(IOVA + size - PAGE, memory + size - PAGE);
}

/* Pages in an order of their own, so that no two that are adjacent belong together. */
TEST_F(dma, scattered_memory)
{
	static const unsigned int order[] = { 7, 2, 5, 0, 3, 6, 1, 4 };
	unsigned int i;

	for (i = 0; i < 8; i++) {
		ASSERT_OK(MAP(self->memory + order[i] * PAGE, IOVA + i * PAGE, PAGE, IOASID_RW))
			TH_LOG("page %u", i);
	}
	for (i = 0; i < 8; i++)
		EXPECT_WRITES(IOVA + i * PAGE, self->memory + order[i] * PAGE);
	ASSERT_EQ(PAGE, UNMAP(IOVA + 3 * PAGE, PAGE));
	for (i = 0; i < 8; i++) {
		EXPECT_EQ(i != 3, WRITES(IOVA + i * PAGE, self->memory + order[i] * PAGE))
			TH_LOG("page %u", i);
	}
}

TEST_F(dma, across_a_border)
{
	uint64_t iova = IOVA + PAGE - 100;

	ASSERT_OK(MAP(self->memory, IOVA, PAGE, IOASID_RW));
	ASSERT_OK(MAP(self->memory + PAGE, IOVA + PAGE, PAGE, IOASID_RW));
	EXPECT_WRITES(iova, self->memory + PAGE - 100);
	EXPECT_READS(iova, self->memory + PAGE - 100);
	EXPECT_WRITES(IOVA + 1, self->memory + 1);
	/* With the second page gone, no more than the first part may arrive. */
	ASSERT_EQ(PAGE, UNMAP(IOVA + PAGE, PAGE));
	memset(self->memory, 0, 2 * PAGE);
	ASSERT_OK(edu_dma(&self->b.edu, EDU_WRITES_MEMORY, iova, 0, DMA_SIZE));
	EXPECT_TRUE(is_zero(self->memory + PAGE, PAGE));
}

TEST_F(dma, unmap_takes_what_is_in_the_range_only)
{
	char *memory = self->memory;

	ASSERT_OK(MAP(memory, IOVA, PAGE, IOASID_RW));
	ASSERT_OK(MAP(memory + PAGE, IOVA + PAGE, 2 * PAGE, IOASID_RW));
	ASSERT_OK(MAP(memory + 3 * PAGE, IOVA + 5 * PAGE, PAGE, IOASID_RW));
	ASSERT_OK(MAP(memory + 4 * PAGE, IOVA + 6 * PAGE, PAGE, IOASID_RW));
	EXPECT_ERRNO(EINVAL, UNMAP(IOVA, 2 * PAGE));
	EXPECT_WRITES(IOVA, memory);
	EXPECT_WRITES(IOVA + PAGE, memory + PAGE);
	ASSERT_EQ(3 * PAGE, UNMAP(IOVA + PAGE, 5 * PAGE));
	EXPECT_WRITES(IOVA, memory);
	EXPECT_NO_WRITES(IOVA + PAGE, memory + PAGE);
	EXPECT_NO_WRITES(IOVA + 2 * PAGE, memory + 2 * PAGE);
	EXPECT_NO_WRITES(IOVA + 5 * PAGE, memory + 3 * PAGE);
	EXPECT_WRITES(IOVA + 6 * PAGE, memory + 4 * PAGE);
	/* Everything goes, the scratch page as well. */
	ASSERT_EQ(3 * PAGE, unmap_all(self->b.fd, self->b.ioasid));
	EXPECT_NO_WRITES(IOVA, memory);
	EXPECT_NO_WRITES(IOVA + 6 * PAGE, memory + 4 * PAGE);
	EXPECT_NO_WRITES(SCRATCH, scratch);
}

TEST_F(dma, remapping_an_address)
{
	ASSERT_OK(MAP(self->memory, IOVA, PAGE, IOASID_RW));
	EXPECT_WRITES(IOVA, self->memory);
	ASSERT_EQ(PAGE, UNMAP(IOVA, PAGE));
	ASSERT_OK(MAP(self->memory + PAGE, IOVA, PAGE, IOASID_RW));
	EXPECT_NO_WRITES(IOVA, self->memory);
	EXPECT_WRITES(IOVA, self->memory + PAGE);
}

TEST_F(dma, one_page_at_two_addresses)
{
	ASSERT_OK(MAP(self->memory, IOVA, PAGE, IOASID_RW));
	ASSERT_OK(MAP(self->memory, IOVA + 5 * PAGE, PAGE, IOASID_RW));
	EXPECT_WRITES(IOVA, self->memory);
	EXPECT_WRITES(IOVA + 5 * PAGE, self->memory);
	ASSERT_EQ(PAGE, UNMAP(IOVA, PAGE));
	EXPECT_NO_WRITES(IOVA, self->memory);
	EXPECT_WRITES(IOVA + 5 * PAGE, self->memory);
}

/* A MAP that fails midway leaves nothing of itself for the device. */
TEST_F(dma, failed_map)
{
	ASSERT_OK(munmap(self->memory + 3 * PAGE, PAGE));
	EXPECT_ERRNO(EFAULT, MAP(self->memory, IOVA, 4 * PAGE, IOASID_RW));
	EXPECT_NO_WRITES(IOVA, self->memory);
	EXPECT_NO_WRITES(IOVA + 2 * PAGE, self->memory + 2 * PAGE);
	ASSERT_OK(MAP(self->memory, IOVA + PAGE, PAGE, IOASID_RW));
	EXPECT_ERRNO(EEXIST, MAP(self->memory + PAGE, IOVA, 2 * PAGE, IOASID_RW));
	EXPECT_NO_WRITES(IOVA, self->memory + PAGE);
	EXPECT_WRITES(IOVA + PAGE, self->memory);
}

TEST_F(dma, ends_of_the_address_ranges)
{
	struct vfio_iommu_type1_info_cap_iova_range *cap;
	struct iommu_device_info *info;
	unsigned int i;
	uint64_t page;

	ASSERT_OK(device_get_info(self->b.fd, self->b.id, &info));
	cap = device_iova_ranges(info);
	for (i = 0; i < cap->nr_iovas; i++) {
		page = cap->iova_ranges[i].start;
		ASSERT_OK(MAP(self->memory, page, PAGE, IOASID_RW));
		EXPECT_WRITES(page, self->memory);
		page = cap->iova_ranges[i].end - PAGE + 1;
		ASSERT_OK(MAP(self->memory + PAGE, page, PAGE, IOASID_RW));
		EXPECT_WRITES(page, self->memory + PAGE);
	}
	free(info);
}

/* --- access rights ---------------------------------------------------------------- */

TEST_F(dma, read_only_mapping)
{
	ASSERT_OK(MAP(self->memory, IOVA, PAGE, IOASID_READ));
	EXPECT_READS(IOVA, self->memory);
	EXPECT_NO_WRITES(IOVA, self->memory);
}

TEST_F(dma, write_only_mapping)
{
	/* Some page tables have no way to say it. */
	const bool write_means_read = iommu_is_known_for("writeonly=no");

	ASSERT_OK(MAP(self->memory, IOVA, PAGE, IOASID_WRITE));
	EXPECT_WRITES(IOVA, self->memory);
	EXPECT_EQ(write_means_read, READS(IOVA, self->memory));
}

/* What the device reads is what the process writes, also if it wrote nothing before. */
TEST_F(dma, read_only_mapping_of_fresh_memory)
{
	ASSERT_OK(MAP(self->memory, IOVA, 2 * PAGE, IOASID_READ));
	EXPECT_READS(IOVA, self->memory);
	EXPECT_READS(IOVA + PAGE, self->memory + PAGE);
}

/* --- kinds of memory ---------------------------------------------------------------- */

static void expect_both_ways(struct __test_metadata *_metadata, struct bound *b,
			     char *memory, size_t size)
{
	ASSERT_OK(ioasid_map(b->fd, b->ioasid, memory, IOVA, size, IOASID_RW));
	EXPECT_TRUE(write_arrives(_metadata, &b->edu, IOVA, memory));
	EXPECT_TRUE(write_arrives(_metadata, &b->edu, IOVA + size - PAGE, memory + size - PAGE));
	EXPECT_TRUE(read_gets(_metadata, &b->edu, IOVA + size / 2, memory + size / 2));
	ASSERT_EQ(size, unmap(b->fd, b->ioasid, IOVA, size));
	EXPECT_FALSE(write_arrives(_metadata, &b->edu, IOVA, memory));
	EXPECT_EQ(1, pinned_pages());
}

TEST_F(dma, shared_memory)
{
	char *memory = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, memory);
	expect_both_ways(_metadata, &self->b, memory, 4 * PAGE);
}

TEST_F(dma, memfd)
{
	int memfd = memfd_create("test", 0);
	char *memory;
	char seen;

	ASSERT_LE(0, memfd);
	ASSERT_OK(ftruncate(memfd, 4 * PAGE));
	memory = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	ASSERT_NE(MAP_FAILED, memory);
	expect_both_ways(_metadata, &self->b, memory, 4 * PAGE);

	/* What the device wrote is in the file. */
	ASSERT_OK(MAP(memory, IOVA, PAGE, IOASID_RW));
	EXPECT_WRITES(IOVA, memory);
	ASSERT_EQ(1, pread(memfd, &seen, 1, 5));
	EXPECT_EQ(pattern[5], seen);
	close(memfd);
}

/* The pool of huge pages may grow on demand for a moment. */
static void *huge_pages(size_t size)
{
	int limit = open("/proc/sys/vm/nr_overcommit_hugepages", O_RDWR);
	char before[32] = "";
	ssize_t length = pread(limit, before, sizeof(before), 0);
	void *memory;

	pwrite(limit, "8", 1, 0);
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (length > 0)
		pwrite(limit, before, length, 0);
	close(limit);
	return memory;
}

TEST_F(dma, huge_pages)
{
	const size_t size = 4UL << 20;
	char *memory = huge_pages(size);

	if (memory == MAP_FAILED)
		SKIP(return, "no huge pages to be had");
	expect_both_ways(_metadata, &self->b, memory, size);
	/* Parts of huge pages, too. */
	expect_both_ways(_metadata, &self->b, memory + (2UL << 20) - 4 * PAGE, 8 * PAGE);
}

TEST_F(dma, transparent_huge_pages)
{
	const size_t huge = 2UL << 20;
	char *memory = mmap(NULL, 4 * huge, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (!has_transparent_huge_pages())
		SKIP(return, NO_TRANSPARENT_HUGE_PAGES);
	ASSERT_NE(MAP_FAILED, memory);
	memory = (char *)(((uintptr_t)memory + huge - 1) & -huge);
	ASSERT_EQ(0, madvise(memory, 2 * huge, MADV_HUGEPAGE));
	expect_both_ways(_metadata, &self->b, memory, 2 * huge);
	expect_both_ways(_metadata, &self->b, memory + 3 * PAGE, huge);
}

static char *page_align(char *memory)
{
	return memory + -(uintptr_t)memory % PAGE;
}

TEST_F(dma, stack_and_data)
{
	static char data[5 * PAGE] = { 1 };
	char stack[5 * PAGE];

	expect_both_ways(_metadata, &self->b, page_align(data), 4 * PAGE);
	expect_both_ways(_metadata, &self->b, page_align(stack), 4 * PAGE);
}

/* --- attach and detach ---------------------------------------------------------------- */

TEST_F(dma, mappings_survive_detach)
{
	ASSERT_OK(MAP(self->memory, IOVA, 2 * PAGE, IOASID_RW));
	EXPECT_WRITES(IOVA, self->memory);
	ASSERT_OK(vfio_detach(self->b.edu.fd));
	EXPECT_NO_WRITES(IOVA, self->memory);
	EXPECT_NO_WRITES(IOVA + PAGE, self->memory + PAGE);
	EXPECT_NO_WRITES(SCRATCH, scratch);
	ASSERT_OK(vfio_attach(self->b.edu.fd, self->b.ioasid));
	EXPECT_WRITES(IOVA, self->memory);
	EXPECT_WRITES(IOVA + PAGE, self->memory + PAGE);
	EXPECT_READS(IOVA, self->memory);
}

/* Nothing that the device attempts while detached gets to it. */
TEST_F(dma, detached_device_reads_nothing)
{
	memset(self->memory, 0x77, PAGE);
	memset(scratch, 0, PAGE);
	ASSERT_OK(MAP(self->memory, IOVA, PAGE, IOASID_RW));
	ASSERT_OK(vfio_detach(self->b.edu.fd));
	ASSERT_OK(edu_dma(&self->b.edu, EDU_READS_MEMORY, IOVA, HALF, DMA_SIZE));
	ASSERT_OK(vfio_attach(self->b.edu.fd, self->b.ioasid));
	ASSERT_OK(edu_dma(&self->b.edu, EDU_WRITES_MEMORY, SCRATCH, HALF, DMA_SIZE));
	EXPECT_NE(0, memcmp(self->memory, scratch, DMA_SIZE));
}

TEST_F(dma, changes_while_detached)
{
	ASSERT_OK(MAP(self->memory, IOVA, PAGE, IOASID_RW));
	ASSERT_OK(vfio_detach(self->b.edu.fd));
	ASSERT_EQ(PAGE, UNMAP(IOVA, PAGE));
	ASSERT_OK(MAP(self->memory + PAGE, IOVA + PAGE, PAGE, IOASID_RW));
	ASSERT_OK(MAP(self->memory + 2 * PAGE, IOVA + 2 * PAGE, PAGE, IOASID_READ));
	ASSERT_OK(vfio_attach(self->b.edu.fd, self->b.ioasid));
	EXPECT_NO_WRITES(IOVA, self->memory);
	EXPECT_WRITES(IOVA + PAGE, self->memory + PAGE);
	EXPECT_NO_WRITES(IOVA + 2 * PAGE, self->memory + 2 * PAGE);
	EXPECT_READS(IOVA + 2 * PAGE, self->memory + 2 * PAGE);
	ASSERT_EQ(2 * PAGE, UNMAP(IOVA, 3 * PAGE));
	EXPECT_NO_WRITES(IOVA + PAGE, self->memory + PAGE);
}

TEST_F(dma, mappings_made_before_attach)
{
	int ioasid = ioasid_alloc(self->b.fd, 64);
	char *memory = self->memory;

	ASSERT_LT(0, ioasid);
	ASSERT_OK(ioasid_map(self->b.fd, ioasid, memory, IOVA, 4 * PAGE, IOASID_RW));
	ASSERT_OK(ioasid_map(self->b.fd, ioasid, memory + 8 * PAGE, IOVA + 8 * PAGE, PAGE,
			     IOASID_WRITE));
	ASSERT_OK(vfio_detach(self->b.edu.fd));
	ASSERT_OK(vfio_attach(self->b.edu.fd, ioasid));
	EXPECT_WRITES(IOVA, memory);
	EXPECT_WRITES(IOVA + 3 * PAGE, memory + 3 * PAGE);
	EXPECT_WRITES(IOVA + 8 * PAGE, memory + 8 * PAGE);
	EXPECT_NO_WRITES(SCRATCH, scratch);
}

/* Between two spaces with one address in common but not what it leads to. */
TEST_F(dma, attach_moves)
{
	int other = ioasid_alloc(self->b.fd, 64);

	ASSERT_LT(0, other);
	ASSERT_OK(MAP(self->memory, IOVA, PAGE, IOASID_RW));
	ASSERT_OK(ioasid_map(self->b.fd, other, self->memory + PAGE, IOVA, PAGE, IOASID_RW));
	EXPECT_WRITES(IOVA, self->memory);
	EXPECT_NO_WRITES(IOVA, self->memory + PAGE);
	ASSERT_OK(vfio_attach(self->b.edu.fd, other));
	EXPECT_WRITES(IOVA, self->memory + PAGE);
	EXPECT_NO_WRITES(IOVA, self->memory);
	EXPECT_NO_WRITES(SCRATCH, scratch);
	/* A move that fails leaves the device where it is. */
	EXPECT_ERRNO(ENOENT, vfio_attach(self->b.edu.fd, 1000));
	EXPECT_WRITES(IOVA, self->memory + PAGE);
	ASSERT_OK(vfio_attach(self->b.edu.fd, self->b.ioasid));
	EXPECT_WRITES(IOVA, self->memory);
}

TEST_F(dma, freed_spaces_are_out_of_reach)
{
	ASSERT_OK(MAP(self->memory, IOVA, PAGE, IOASID_RW));
	EXPECT_WRITES(IOVA, self->memory);
	ASSERT_OK(vfio_detach(self->b.edu.fd));
	ASSERT_OK(ioasid_free(self->b.fd, self->b.ioasid));
	EXPECT_NO_WRITES(IOVA, self->memory);
	ASSERT_EQ(self->b.ioasid, ioasid_alloc(self->b.fd, 64));
	ASSERT_OK(vfio_attach(self->b.edu.fd, self->b.ioasid));
	EXPECT_NO_WRITES(IOVA, self->memory);
}

TEST_F(dma, window)
{
	int ioasid = ioasid_alloc_window(self->b.fd, IOVA, IOVA + 4 * PAGE - 1);

	ASSERT_LT(0, ioasid);
	ASSERT_OK(vfio_attach(self->b.edu.fd, ioasid));
	ASSERT_OK(ioasid_map(self->b.fd, ioasid, self->memory, IOVA, 4 * PAGE, IOASID_RW));
	EXPECT_WRITES(IOVA, self->memory);
	EXPECT_WRITES(IOVA + 3 * PAGE, self->memory + 3 * PAGE);
	EXPECT_NO_WRITES(IOVA + 4 * PAGE, self->memory);
	EXPECT_NO_WRITES(SCRATCH, scratch);
}

/* --- in the middle of a DMA -------------------------------------------------------------- */

/* When UNMAP has returned, the memory is the process's own again, whatever is under way. */
TEST_F(dma, unmap_while_the_device_writes)
{
	unsigned int delay;

	for (delay = 0; delay < 120; delay += 8) {
		ASSERT_OK(MAP(self->memory, IOVA, PAGE, IOASID_RW));
		ASSERT_OK(edu_dma_start(&self->b.edu, EDU_WRITES_MEMORY, IOVA, 0, HALF));
		edu_sleep_ms(delay);
		ASSERT_EQ(PAGE, UNMAP(IOVA, PAGE));
		memset(self->memory, 0, PAGE);
		ASSERT_OK(edu_dma_wait(&self->b.edu));
		ASSERT_TRUE(is_zero(self->memory, PAGE))
			TH_LOG("it changed after UNMAP, %u ms into a DMA", delay);
	}
}

TEST_F(dma, detach_while_the_device_writes)
{
	unsigned int delay;

	ASSERT_OK(MAP(self->memory, IOVA, PAGE, IOASID_RW));
	for (delay = 0; delay < 120; delay += 16) {
		ASSERT_OK(edu_dma_start(&self->b.edu, EDU_WRITES_MEMORY, IOVA, 0, HALF));
		edu_sleep_ms(delay);
		ASSERT_OK(vfio_detach(self->b.edu.fd));
		memset(self->memory, 0, PAGE);
		ASSERT_OK(edu_dma_wait(&self->b.edu));
		ASSERT_TRUE(is_zero(self->memory, PAGE))
			TH_LOG("it changed after DETACH, %u ms into a DMA", delay);
		ASSERT_OK(vfio_attach(self->b.edu.fd, self->b.ioasid));
	}
	EXPECT_WRITES(IOVA, self->memory);
}

TEST_F(dma, close_while_the_device_writes)
{
	ASSERT_OK(MAP(self->memory, IOVA, PAGE, IOASID_RW));
	ASSERT_OK(edu_dma_start(&self->b.edu, EDU_WRITES_MEMORY, IOVA, 0, HALF));
	bound_close(&self->b);
	memset(self->memory, 0, PAGE);
	EXPECT_EQ(0, pinned_pages());
	edu_sleep_ms(300);
	EXPECT_TRUE(is_zero(self->memory, PAGE));
	ASSERT_OK(bound_open(&self->b));
}

/* --- processes and files ------------------------------------------------------------------ */

TEST_F(dma, context_closed_before_device)
{
	ASSERT_OK(MAP(self->memory, IOVA, PAGE, IOASID_RW));
	close(self->b.fd);
	EXPECT_WRITES(IOVA, self->memory);
	EXPECT_READS(IOVA, self->memory);
	ASSERT_OK(vfio_detach(self->b.edu.fd));
	EXPECT_NO_WRITES(IOVA, self->memory);
	edu_close(&self->b.edu);
	EXPECT_EQ(0, pinned_pages());
	ASSERT_OK(bound_open(&self->b));
}

/* The device keeps writing to the pages, but nobody else gets to have them. */
TEST_F(dma, memory_unmapped_by_the_process)
{
	char *memory = self->memory;

	ASSERT_OK(MAP(memory, IOVA, PAGE, IOASID_RW));
	ASSERT_EQ(memory, mmap(memory, PAGE, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	EXPECT_NO_WRITES(IOVA, memory);
	ASSERT_EQ(PAGE, UNMAP(IOVA, PAGE));
	EXPECT_TRUE(is_zero(memory, PAGE));
}

/* A fork does not part the device from its process's memory. */
TEST_F(dma, fork_and_write)
{
	ASSERT_OK(MAP(self->memory, IOVA, PAGE, IOASID_RW));
	EXPECT_WRITES(IOVA, self->memory);
	IN_CHILD() {
		memset(self->memory, 1, PAGE);
		EXPECT_NO_WRITES(IOVA, self->memory + PAGE);
		EXPECT_EQ(1, self->memory[0]);
	}
	EXPECT_WRITES(IOVA, self->memory);
	EXPECT_READS(IOVA, self->memory);
}

/* Nor does it share the child's memory with the parent's device. */
TEST_F(dma, child_maps_its_own_memory)
{
	IN_CHILD() {
		ASSERT_OK(MAP(self->memory, IOVA, PAGE, IOASID_RW));
		EXPECT_WRITES(IOVA, self->memory);
	}
	EXPECT_NO_WRITES(IOVA, self->memory);
	ASSERT_EQ(PAGE, UNMAP(IOVA, PAGE));
	ASSERT_OK(MAP(self->memory, IOVA, PAGE, IOASID_RW));
	EXPECT_WRITES(IOVA, self->memory);
}

/* A broker opens and sends; who receives has other numbers for it, and no rights to open. */
TEST_F(dma, received_descriptors)
{
	int iommufd = open_iommufd();
	int sockets[2];

	bound_close(&self->b);
	ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets));
	ASSERT_OK(edu_open(&self->b.edu));
	send_fd(sockets[0], iommufd);
	send_fd(sockets[0], self->b.edu.fd);
	close(iommufd);
	edu_close(&self->b.edu);
	IN_CHILD() {
		ASSERT_OK(become_user(4242, 16 * PAGE));
		self->b.fd = receive_fd(sockets[1]);
		self->b.edu.fd = receive_fd(sockets[1]);
		ASSERT_LT(0, vfio_bind(self->b.edu.fd, dup(self->b.fd)));
		self->b.ioasid = ioasid_alloc(self->b.fd, 64);
		ASSERT_OK(vfio_attach(self->b.edu.fd, self->b.ioasid));
		ASSERT_OK(edu_start(&self->b.edu));
		ASSERT_OK(MAP(scratch, SCRATCH, PAGE, IOASID_RW));
		ASSERT_OK(MAP(self->memory, IOVA, PAGE, IOASID_RW));
		EXPECT_WRITES(IOVA, self->memory);
		EXPECT_READS(IOVA, self->memory);
	}
	ASSERT_OK(bound_open(&self->b));
}

/* A process that is killed takes its mappings along, however many times. */
TEST_F(dma, killed_in_the_middle)
{
	unsigned int round;
	pid_t child;

	bound_close(&self->b);
	for (round = 0; round < 10; round++) {
		child = fork();
		ASSERT_LE(0, child);
		if (!child) {
			ASSERT_OK(bound_open(&self->b));
			ASSERT_OK(vfio_attach(self->b.edu.fd, self->b.ioasid));
			ASSERT_OK(edu_start(&self->b.edu));
			ASSERT_OK(MAP(self->memory, IOVA, TEST_PAGES * PAGE, IOASID_RW));
			edu_dma_start(&self->b.edu, EDU_WRITES_MEMORY, IOVA, 0, HALF);
			raise(SIGKILL);
		}
		ASSERT_EQ(child, waitpid(child, NULL, 0));
	}
	ASSERT_OK(bound_open(&self->b));
	ASSERT_OK(vfio_attach(self->b.edu.fd, self->b.ioasid));
	ASSERT_OK(edu_start(&self->b.edu));
	ASSERT_OK(edu_dma_wait(&self->b.edu));
	EXPECT_NO_WRITES(IOVA, self->memory);
	ASSERT_OK(MAP(self->memory, IOVA, PAGE, IOASID_RW));
	EXPECT_WRITES(IOVA, self->memory);
}

TEST_HARNESS_MAIN
