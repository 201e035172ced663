// SPDX-License-Identifier: GPL-2.0
/*
 * Memory that cannot be mapped: what is told, and that nothing has changed, neither
 * what is counted nor what the device can reach.
 */
#include <glob.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "books.h"
#include "dma.h"
#include "faultlog.h"
#include "sources.h"

#define A_USER 4242

/* A user who may pin as much as the call asks for, and not a page more. */
static void expect_refused_to_user(struct __test_metadata *_metadata, struct _test_data_dma *self,
				   char *memory, size_t size, uint32_t access, int error)
{
	char *good = pages(2);
	size_t at;

	ASSERT_NE(NULL, good);
	ASSERT_OK(become_user(A_USER, size));
	EXPECT_ERRNO(error, MAP(memory, IOVA, size, access));
	EXPECT_ERRNO(error, MAP(memory, IOVA, size, access));
	/* All that was charged is there again, to the page. */
	for (at = 0; at < size; at += PAGE)
		ASSERT_OK(MAP(good, IOVA + at, PAGE, IOASID_RW));
	EXPECT_ERRNO(ENOMEM, MAP(good, IOVA + size, PAGE, IOASID_RW));
	ASSERT_EQ(size, UNMAP(IOVA, size));
}

/* What is in memory that may not be accessible. False if there is none. */
static bool peek(const char *memory, char *seen)
{
	int fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	ssize_t got = pread(fd, seen, DMA_SIZE, (uintptr_t)memory);

	close(fd);
	return got == DMA_SIZE;
}

/* The device's write to @iova does not get to @memory. */
static void expect_out_of_reach(struct __test_metadata *_metadata, struct edu *edu,
				uint64_t iova, const char *memory)
{
	char before[DMA_SIZE], after[DMA_SIZE];
	bool there = peek(memory, before);

	ASSERT_OK(edu_dma(edu, EDU_WRITES_MEMORY, iova, 0, DMA_SIZE));
	if (there) {
		ASSERT_TRUE(peek(memory, after));
		EXPECT_EQ(0, memcmp(before, after, DMA_SIZE));
	}
}

/* A MAP fails with @error and changes nothing, whoever asks. */
static void expect_refused(struct __test_metadata *_metadata, struct _test_data_dma *self,
			   char *memory, size_t size, uint32_t access, int error)
{
	struct books before;

	/* Neighbours on both sides, with which it must not have to do. */
	ASSERT_OK(MAP(self->memory, IOVA - PAGE, PAGE, IOASID_RW));
	ASSERT_OK(MAP(self->memory + PAGE, IOVA + size, PAGE, IOASID_RW));
	before = read_books(self->b.fd);
	EXPECT_ERRNO(error, MAP(memory, IOVA, size, access));
	expect_books(_metadata, self->b.fd, &before);
	expect_out_of_reach(_metadata, &self->b.edu, IOVA, memory);
	EXPECT_WRITES(IOVA - PAGE, self->memory);
	EXPECT_WRITES(IOVA + size, self->memory + PAGE);
	ASSERT_EQ(PAGE, UNMAP(IOVA + size, PAGE));
	IN_CHILD() {
		expect_refused_to_user(_metadata, self, memory, size, access, error);
	}
	ASSERT_OK(MAP(self->memory, IOVA, PAGE, IOASID_RW));
	EXPECT_WRITES(IOVA, self->memory);
	ASSERT_EQ(2 * PAGE, UNMAP(IOVA - PAGE, 2 * PAGE));
}

#define EXPECT_REFUSED(error, memory, size, access) \
	expect_refused(_metadata, self, memory, size, access, error)

/* More than is pinned in one call, so that much has to be undone. */
#define LARGE (20 * MIB)

/* --- memory that is not there, or not for this ------------------------------------- */

TEST_F(dma, nothing_there)
{
	char *memory = small_pages(LARGE);

	ASSERT_NE(NULL, memory);
	ASSERT_OK(munmap(memory + LARGE - PAGE, PAGE));
	EXPECT_REFUSED(EFAULT, memory, LARGE, IOASID_RW);
	EXPECT_REFUSED(EFAULT, memory + LARGE - PAGE, PAGE, IOASID_READ);
}

/* Of what was mapped before the call failed, the IOMMU says itself that it is gone. */
TEST_F(dma, failures_leave_the_range_blocked)
{
	char *memory = small_pages(LARGE), report[256];
	int faults = faultlog_open();

	ASSERT_NE(NULL, memory);
	ASSERT_LE(0, faults);
	ASSERT_OK(munmap(memory + LARGE - PAGE, PAGE));
	ASSERT_ERRNO(EFAULT, MAP(memory, IOVA, LARGE, IOASID_RW));
	EXPECT_TRUE(faultlog_provoke(faults, &self->b.edu, EDU_WRITES_MEMORY, IOVA + 10 * MIB,
				     DMA_SIZE, 10, report, sizeof(report)));
	close(faults);
}

TEST_F(dma, nothing_there_behind_huge_pages)
{
	char *memory = huge_pages_2m(LARGE);

	ASSERT_NE(NULL, memory);
	ASSERT_OK(munmap(memory + LARGE - HUGE_2M, HUGE_2M));
	EXPECT_REFUSED(EFAULT, memory, LARGE, IOASID_RW);
}

TEST_F(dma, no_access)
{
	char *memory = small_pages(LARGE);

	ASSERT_NE(NULL, memory);
	ASSERT_OK(mprotect(memory + LARGE - PAGE, PAGE, PROT_NONE));
	EXPECT_REFUSED(EFAULT, memory, LARGE, IOASID_RW);
	EXPECT_REFUSED(EFAULT, memory, LARGE, IOASID_READ);
	/* Nor does it help that there is something in the page. */
	ASSERT_OK(mprotect(memory, PAGE, PROT_READ | PROT_WRITE));
	memset(memory, 1, PAGE);
	ASSERT_OK(mprotect(memory, PAGE, PROT_NONE));
	EXPECT_REFUSED(EFAULT, memory, PAGE, IOASID_READ);
}

TEST_F(dma, read_only_memory)
{
	char *memory = small_pages(LARGE);

	ASSERT_NE(NULL, memory);
	memset(memory, 1, LARGE);
	ASSERT_OK(mprotect(memory + LARGE - PAGE, PAGE, PROT_READ));
	EXPECT_REFUSED(EFAULT, memory, LARGE, IOASID_RW);
	EXPECT_REFUSED(EFAULT, memory, LARGE, IOASID_WRITE);
	memory[0] = 7;
	ASSERT_OK(MAP(memory, IOVA, LARGE, IOASID_READ));
	EXPECT_TRUE(read_matches(_metadata, &self->b.edu, IOVA + LARGE - PAGE,
				 memory + LARGE - PAGE));
}

TEST_F(dma, write_only_memory)
{
	char *memory = mmap(NULL, PAGE, PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, memory);
	EXPECT_REFUSED(EFAULT, memory, PAGE, IOASID_READ);
	EXPECT_OK(MAP(memory, IOVA, PAGE, IOASID_WRITE));
}

#ifndef SYS_memfd_secret
#define SYS_memfd_secret -1	/* 32-bit Arm has none */
#endif

TEST_F(dma, secret_memory)
{
	int fd = syscall(SYS_memfd_secret, 0);
	char *memory;

	if (fd < 0)
		SKIP(return, "this kernel has no secret memory");
	memory = map_file(fd, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
	ASSERT_NE(NULL, memory);
	memset(memory, 1, 4 * PAGE);
	EXPECT_REFUSED(EFAULT, memory, 4 * PAGE, IOASID_RW);
	EXPECT_REFUSED(EFAULT, memory, 4 * PAGE, IOASID_READ);
}

/* --- files -------------------------------------------------------------------------------- */

/*
 * The kernel does not let a device write to a file on a disk behind the back of its
 * file system. Reading is as good as ever.
 */
TEST_F(dma, file_on_a_disk)
{
	const char *disk = getenv("DISK");
	char *memory;

	if (!disk)
		SKIP(return, "DISK= must name a folder on a file system with a disk");
	memory = map_file(file_in(disk), 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
	ASSERT_NE(NULL, memory);
	memset(memory, 1, 4 * PAGE);
	EXPECT_REFUSED(EFAULT, memory, 4 * PAGE, IOASID_RW);
	EXPECT_REFUSED(EFAULT, memory, 4 * PAGE, IOASID_WRITE);
	ASSERT_OK(MAP(memory, IOVA, 4 * PAGE, IOASID_READ));
	EXPECT_READS(IOVA + 3 * PAGE, memory + 3 * PAGE);
}

TEST_F(dma, file_to_read)
{
	const char *const folders[] = { "/tmp", getenv("DISK") };
	char *memory, text[DMA_SIZE];
	unsigned int i;
	int fd;

	for (i = 0; i < ARRAY_SIZE(folders) && folders[i]; i++) {
		fd = file_in(folders[i]);
		memory = map_file(fd, 4 * PAGE, PROT_READ, MAP_SHARED);
		ASSERT_NE(NULL, memory);
		memset(text, 'a' + i, sizeof(text));
		ASSERT_EQ(sizeof(text), pwrite(fd, text, sizeof(text), PAGE));
		ASSERT_OK(MAP(memory, IOVA, 4 * PAGE, IOASID_READ));
		EXPECT_TRUE(read_matches(_metadata, &self->b.edu, IOVA + PAGE, text));
		/* What is written to the file later is there for the device, too. */
		memset(text, 'A' + i, sizeof(text));
		ASSERT_EQ(sizeof(text), pwrite(fd, text, sizeof(text), PAGE));
		EXPECT_TRUE(read_matches(_metadata, &self->b.edu, IOVA + PAGE, text));
		ASSERT_EQ(4 * PAGE, UNMAP(IOVA, 4 * PAGE));
		EXPECT_REFUSED(EFAULT, memory, 4 * PAGE, IOASID_RW);
		close(fd);
	}
}

TEST_F(dma, beyond_the_end_of_a_file)
{
	int fd = memfd_create("short", MFD_CLOEXEC);
	char *memory = map_file(fd, LARGE, PROT_READ | PROT_WRITE, MAP_SHARED);

	ASSERT_NE(NULL, memory);
	ASSERT_OK(ftruncate(fd, LARGE - PAGE));
	EXPECT_REFUSED(EFAULT, memory, LARGE, IOASID_RW);
	EXPECT_REFUSED(EFAULT, memory, LARGE, IOASID_READ);
}

/* Whoever has a file that is sealed has the word that nobody writes to it. */
TEST_F(dma, sealed_file)
{
	int fd = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	char *memory;

	ASSERT_OK(ftruncate(fd, PAGE));
	ASSERT_EQ(DMA_SIZE, pwrite(fd, pattern, DMA_SIZE, 0));
	ASSERT_OK(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
	memory = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, memory);
	EXPECT_REFUSED(EFAULT, memory, PAGE, IOASID_RW);
	ASSERT_OK(MAP(memory, IOVA, PAGE, IOASID_READ));
	EXPECT_TRUE(read_matches(_metadata, &self->b.edu, IOVA, memory));
}

/* --- memory that runs out --------------------------------------------------------------- */

TEST_F(dma, too_few_huge_pages)
{
	char *memory = anonymous(GIB, MAP_PRIVATE | MAP_HUGETLB | MAP_HUGE_2MB | MAP_NORESERVE);

	ASSERT_NE(NULL, memory);
	EXPECT_REFUSED(EFAULT, memory, LARGE * 10, IOASID_RW);
}

TEST_F(dma, file_system_is_full)
{
	char *memory;

	ASSERT_OK(mkdir("/tmp/full", 0700));
	ASSERT_OK(mount("none", "/tmp/full", "tmpfs", 0, "size=10M"));
	memory = map_file(file_in("/tmp/full"), LARGE, PROT_READ | PROT_WRITE, MAP_SHARED);
	ASSERT_OK(umount2("/tmp/full", MNT_DETACH));
	ASSERT_OK(rmdir("/tmp/full"));
	ASSERT_NE(NULL, memory);
	EXPECT_REFUSED(EFAULT, memory, LARGE, IOASID_RW);
}

/* --- addresses that are taken, or out of reach ------------------------------------------ */

TEST_F(dma, refused_addresses)
{
	struct books before = read_books(self->b.fd);
	char *memory = self->memory;

	EXPECT_ERRNO(EEXIST, MAP(memory, SCRATCH, PAGE, IOASID_RW));
	EXPECT_ERRNO(EEXIST, MAP(memory, SCRATCH - PAGE, 3 * PAGE, IOASID_RW));
	EXPECT_ERRNO(EOVERFLOW, MAP(memory, TOP_PAGE, 2 * PAGE, IOASID_RW));
	EXPECT_ERRNO(EINVAL, MAP(memory, RESERVED, PAGE, IOASID_RW));
	EXPECT_ERRNO(EINVAL, MAP(memory, RESERVED - PAGE, 2 * PAGE, IOASID_RW));
	expect_books(_metadata, self->b.fd, &before);
	EXPECT_WRITES(SCRATCH, scratch);
	EXPECT_NO_WRITES(SCRATCH - PAGE, memory);
}

/* Pages of objects in use: what is free is given back first, which KASAN keeps for a while. */
static long pages_of_objects(void)
{
	glob_t caches;
	size_t i;
	int fd;

	if (!glob("/sys/kernel/slab/*/shrink", 0, NULL, &caches)) {
		for (i = 0; i < caches.gl_pathc; i++) {
			fd = open(caches.gl_pathv[i], O_WRONLY | O_CLOEXEC);
			write(fd, "1", 1);
			close(fd);
		}
		globfree(&caches);
	}
	return counter("/proc/vmstat", "nr_slab_unreclaimable");
}

/* However often it fails, the kernel has no less memory afterwards. */
TEST_F(dma, failures_leave_nothing_behind)
{
	const long count = 4000, most = count * 64 / (long)PAGE / 2;
	char *memory = self->memory;
	long before = 0, i;

	ASSERT_OK(munmap(memory + 15 * PAGE, PAGE));
	for (i = 0; i < 2 * count; i++) {
		/* What is kept for later is there when half of it is over. */
		if (i == count)
			before = pages_of_objects();
		ASSERT_ERRNO(EFAULT, MAP(memory, IOVA, 16 * PAGE, IOASID_RW));
		ASSERT_ERRNO(EEXIST, MAP(memory, SCRATCH, PAGE, IOASID_RW));
		ASSERT_ERRNO(EINVAL, MAP(memory, RESERVED, PAGE, IOASID_RW));
	}
	/* An object of 64 bytes for each would take twice as much and more. */
	EXPECT_GT(most, pages_of_objects() - before);
}

/* No page of it comes behind the page that it follows, at little cost. */
static char *scattered(size_t size)
{
	const size_t tile = 64 * MIB;
	int fd = memfd_create("scattered", MFD_CLOEXEC);
	size_t at, odd;
	char *memory;

	if (fd < 0 || ftruncate(fd, tile))
		return NULL;
	for (odd = 0; odd <= PAGE; odd += PAGE)
		for (at = odd; at < tile; at += 2 * PAGE)
			if (pwrite(fd, "", 1, at) != 1)
				return NULL;
	memory = tiled(fd, tile, size);
	close(fd);
	return memory;
}

#define INJECTION "/sys/kernel/debug/fail_page_alloc/"

static int inject(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int ret = fd < 0 || write(fd, value, strlen(value)) < 0 ? -errno : 0;

	close(fd);
	return ret;
}

/*
 * Memory in as many runs as there are pages, where the kernel has no block of more
 * than eight contiguous pages left: what it keeps of each run needs none.
 */
TEST_F(dma, scattered_memory_where_all_is_fragmented)
{
	const size_t size = 2304 * MIB;
	char *memory;
	int ret;

	if (access(INJECTION, F_OK))
		SKIP(return, "this kernel cannot be made to fail");
	memory = scattered(size);
	ASSERT_NE(NULL, memory);
	ASSERT_OK(inject(INJECTION "min-order", "4"));
	ASSERT_OK(inject(INJECTION "ignore-gfp-wait", "N"));
	ASSERT_OK(inject(INJECTION "task-filter", "Y"));
	ASSERT_OK(inject(INJECTION "verbose", "0"));
	ASSERT_OK(inject(INJECTION "times", "-1"));
	ASSERT_OK(inject("/proc/self/make-it-fail", "1"));
	ASSERT_OK(inject(INJECTION "probability", "100"));
	ret = MAP(memory, IOVA, size, IOASID_RW);
	EXPECT_OK(inject(INJECTION "probability", "0"));
	EXPECT_OK(inject("/proc/self/make-it-fail", "0"));
	ASSERT_OK(ret);
	EXPECT_WRITES(IOVA + size - PAGE, memory + size - PAGE);
	EXPECT_EQ(size, UNMAP(IOVA, size));
}

TEST_HARNESS_MAIN
