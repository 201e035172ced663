// SPDX-License-Identifier: GPL-2.0
/*
 * Every way by which memory comes in, against every right that a process may lack:
 * a device gets no more than the process would get by mmap().
 */
#include <linux/fs.h>

#include "container_calls.h"
#include "pinning.h"
#include "sources.h"

#define READ IOMMU_IOAS_MAP_READABLE
#define WRITE IOMMU_IOAS_MAP_WRITEABLE
#define LENGTH (4 * PAGE)

/* Newer than what is installed, maybe. */
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x10
#endif

FIXTURE(rights)
{
	int fd;
	int ioas;
	struct needer needer;
	long pins;
};

FIXTURE_VARIANT(rights)
{
	unsigned int kind;	/* of memfd_create() */
	size_t length;
};

FIXTURE_VARIANT_ADD(rights, memfd) { .length = LENGTH };
FIXTURE_VARIANT_ADD(rights, memfd_of_huge_pages)
{
	.kind = MFD_HUGETLB | MFD_HUGE_2MB, .length = HUGE_2M,
};

FIXTURE_SETUP(rights)
{
	self->fd = open_iommufd();
	if (self->fd < 0)
		SKIP(return, "cannot open " IOMMU_NODE);
	self->ioas = ioas_alloc(self->fd);
	ASSERT_LT(0, self->ioas);
	self->pins = held_pins();
	if (!need_pins(_metadata, &self->needer, self->fd, self->ioas))
		SKIP(return, NO_DEVICE);
}

FIXTURE_TEARDOWN(rights)
{
	needer_close(&self->needer);
	close(self->fd);
	expect_nothing_left(_metadata, self->pins);
}

#define UNMAP_ALL() ioas_unmap(self->fd, self->ioas, 0, UINT64_MAX)

/* --- addresses, by either call ------------------------------------------------------ */

static const struct {
	int prot;
	int flags;	/* of mmap() */
	int read;	/* what maps say */
	int write;
	int both;
} addresses[] = {
	{ PROT_READ | PROT_WRITE, MAP_PRIVATE, 0, 0, 0 },
	{ PROT_READ | PROT_WRITE, MAP_SHARED, 0, 0, 0 },
	{ PROT_READ, MAP_PRIVATE, 0, EFAULT, EFAULT },
	{ PROT_READ, MAP_SHARED, 0, EFAULT, EFAULT },
	/* Pages of a processor that can be written to can be read. */
	{ PROT_WRITE, MAP_PRIVATE, 0, 0, 0 },
	{ PROT_WRITE, MAP_SHARED, 0, 0, 0 },
	{ PROT_NONE, MAP_PRIVATE, EFAULT, EFAULT, EFAULT },
	{ PROT_NONE, MAP_SHARED, EFAULT, EFAULT, EFAULT },
};

static int map_address(struct _test_data_rights *self, void *memory, uint32_t flags)
{
	struct iommu_ioas_map arg = ioas_map_arg(self->ioas, memory, LENGTH, IOVA, FIXED | flags);
	struct vfio_iommu_type1_dma_map old = map_of(memory, IOVA, LENGTH);
	int ret = call(self->fd, IOMMU_IOAS_MAP, &arg), same;

	if (!ret)
		UNMAP_ALL();
	/* The two sets of flags have the same names for the same things. */
	old.flags = (flags & READ ? VFIO_DMA_MAP_FLAG_READ : 0) |
		    (flags & WRITE ? VFIO_DMA_MAP_FLAG_WRITE : 0);
	same = call(self->fd, VFIO_IOMMU_MAP_DMA, &old);
	if (!same)
		UNMAP_ALL();
	return ret == same ? ret : -EUCLEAN;
}

TEST_F(rights, of_addresses)
{
	struct iommu_vfio_ioas container = {
		.size = sizeof(container), .op = IOMMU_VFIO_IOAS_SET, .ioas_id = self->ioas,
	};
	char *memory;
	unsigned int i;

	ASSERT_OK(call(self->fd, IOMMU_VFIO_IOAS, &container));
	for (i = 0; i < ARRAY_SIZE(addresses); i++) {
		memory = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE,
			      MAP_ANONYMOUS | addresses[i].flags, -1, 0);
		ASSERT_NE(MAP_FAILED, memory);
		memset(memory, 1, LENGTH);
		ASSERT_OK(mprotect(memory, LENGTH, addresses[i].prot));
		EXPECT_ERRNO(addresses[i].read, map_address(self, memory, READ))
			TH_LOG("in line %u", i);
		EXPECT_ERRNO(addresses[i].write, map_address(self, memory, WRITE))
			TH_LOG("in line %u", i);
		EXPECT_ERRNO(addresses[i].both, map_address(self, memory, RW))
			TH_LOG("in line %u", i);
		munmap(memory, LENGTH);
	}
}

/* --- files, and copies of what is mapped of them ------------------------------------- */

static const struct {
	int mode;	/* in which the file is open */
	unsigned int seals;
	int read;	/* what maps say */
	int write;
	int both;
} files[] = {
	{ O_RDWR, 0, 0, 0, 0 },
	{ O_RDONLY, 0, 0, EPERM, EPERM },
	{ O_WRONLY, 0, EACCES, EACCES, EACCES },
	{ O_PATH, 0, EBADF, EBADF, EBADF },
	{ O_RDWR, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW, 0, 0, 0 },
	{ O_RDWR, F_SEAL_WRITE, 0, EPERM, EPERM },
	{ O_RDWR, F_SEAL_FUTURE_WRITE, 0, EPERM, EPERM },
	{ O_RDONLY, F_SEAL_WRITE, 0, EPERM, EPERM },
	{ O_WRONLY, F_SEAL_FUTURE_WRITE, EACCES, EACCES, EACCES },
};

/* A file with something in it; -1 if there are no huge pages for it. */
static int make_file(const struct _fixture_variant_rights *variant)
{
	int file = memfd_create("rights", MFD_CLOEXEC | MFD_ALLOW_SEALING | variant->kind);
	char *memory;

	if (file < 0 || (variant->kind && !provide_huge_pages(1)) ||
	    ftruncate(file, variant->length))
		return -1;
	memory = mmap(NULL, variant->length, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (memory == MAP_FAILED)
		return -1;
	memory[0] = 1;
	munmap(memory, variant->length);
	return file;
}

static int reopen(int file, int mode)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	return open(path, mode | O_CLOEXEC);
}

static int map_file_at(struct _test_data_rights *self, int file, uint64_t iova, size_t length,
		       uint32_t flags)
{
	struct iommu_ioas_map_file arg = map_file_arg(self->ioas, file, 0, length, iova);

	arg.flags = FIXED | flags;
	return call(self->fd, IOMMU_IOAS_MAP_FILE, &arg);
}

/* What maps of it say, and that they say so again. */
static int try_file(struct _test_data_rights *self, int file, size_t length, uint32_t flags)
{
	int ret = map_file_at(self, file, IOVA, length, flags), again;

	if (!ret)
		UNMAP_ALL();
	again = map_file_at(self, file, IOVA, length, flags);
	if (!again)
		UNMAP_ALL();
	return ret == again ? ret : -EUCLEAN;
}

TEST_F(rights, of_files)
{
	const size_t length = variant->length;
	int file, opened;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(files); i++) {
		file = make_file(variant);
		if (file < 0)
			SKIP(return, "needs a huge page");
		ASSERT_OK(fcntl(file, F_ADD_SEALS, files[i].seals));
		opened = reopen(file, files[i].mode);
		ASSERT_LE(0, opened);
		EXPECT_ERRNO(files[i].read, try_file(self, opened, length, READ))
			TH_LOG("in line %u", i);
		EXPECT_ERRNO(files[i].write, try_file(self, opened, length, WRITE))
			TH_LOG("in line %u", i);
		EXPECT_ERRNO(files[i].both, try_file(self, opened, length, RW))
			TH_LOG("in line %u", i);
		close(opened);
		close(file);
	}
	EXPECT_EQ(0, pinned_pages());
}

/* What may only be appended to may not be changed. */
TEST_F(rights, of_a_file_to_append_to)
{
	int file = file_in("/tmp"), attributes = FS_APPEND_FL, none = 0, opened;

	ASSERT_LE(0, file);
	ASSERT_OK(ftruncate(file, LENGTH));
	if (ioctl(file, FS_IOC_SETFLAGS, &attributes))
		SKIP(return, "the file system knows no such files");
	opened = reopen(file, O_RDWR | O_APPEND);
	ASSERT_LE(0, opened);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, opened, 0));
	EXPECT_EQ(EACCES, errno);
	EXPECT_ERRNO(EACCES, try_file(self, opened, LENGTH, RW));
	ASSERT_OK(ioctl(file, FS_IOC_SETFLAGS, &none));
	EXPECT_OK(try_file(self, opened, LENGTH, RW));
	close(opened);
	close(file);
}

/* Two maps of a file count as two, and one that fails does not count. */
TEST_F(rights, seal_while_it_is_mapped)
{
	const uint64_t there = IOVA + 4 * HUGE_2M;
	const size_t length = variant->length;
	int file = make_file(variant);

	if (file < 0)
		SKIP(return, "needs a huge page");
	ASSERT_OK(map_file_at(self, file, IOVA, length, RW));
	EXPECT_ERRNO(EEXIST, map_file_at(self, file, IOVA, length, RW));
	ASSERT_OK(map_file_at(self, file, there, length, RW));
	EXPECT_EQ(-1, fcntl(file, F_ADD_SEALS, F_SEAL_WRITE));
	EXPECT_EQ(EBUSY, errno);
	ASSERT_EQ((int64_t)length, ioas_unmap(self->fd, self->ioas, IOVA, length));
	EXPECT_EQ(-1, fcntl(file, F_ADD_SEALS, F_SEAL_WRITE));
	EXPECT_EQ(EBUSY, errno);
	ASSERT_EQ((int64_t)length, UNMAP_ALL());
	EXPECT_ERRNO(EINVAL, map_file_at(self, file, IOVA, 2 * length, RW));
	EXPECT_OK(fcntl(file, F_ADD_SEALS, F_SEAL_WRITE));
	EXPECT_ERRNO(EPERM, map_file_at(self, file, IOVA, length, RW));
	close(file);
}

/* Pages that are pinned can be taken out of a file: it counts as mapped all the same. */
static bool empty(int file, size_t length)
{
	return !fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, length);
}

/* It does so as long as any area is left that can be written to: a copy, or a part. */
TEST_F(rights, seal_while_some_of_it_is_mapped)
{
	const uint64_t there = IOVA + 4 * HUGE_2M;
	const size_t length = variant->length;
	int file = make_file(variant);

	if (file < 0)
		SKIP(return, "needs a huge page");
	ASSERT_OK(map_file_at(self, file, IOVA, length, RW));
	ASSERT_TRUE(empty(file, length));
	ASSERT_OK(ioas_copy(self->fd, self->ioas, there, self->ioas, IOVA + PAGE, PAGE));
	ASSERT_EQ((int64_t)length, ioas_unmap(self->fd, self->ioas, IOVA, length));
	EXPECT_EQ(-1, fcntl(file, F_ADD_SEALS, F_SEAL_WRITE));
	EXPECT_EQ(EBUSY, errno);
	ASSERT_EQ((int64_t)PAGE, UNMAP_ALL());
	EXPECT_OK(fcntl(file, F_ADD_SEALS, F_SEAL_WRITE));
	close(file);
}

TEST_F(rights, seal_while_one_end_is_mapped)
{
	struct iommu_vfio_ioas container = {
		.size = sizeof(container), .op = IOMMU_VFIO_IOAS_SET, .ioas_id = self->ioas,
	};
	const size_t length = variant->length;
	int file = make_file(variant);

	if (file < 0)
		SKIP(return, "needs a huge page");
	ASSERT_OK(call(self->fd, IOMMU_VFIO_IOAS, &container));
	ASSERT_OK(set_option(self->fd, IOMMU_OPTION_HUGE_PAGES, self->ioas, 0));
	ASSERT_OK(map_file_at(self, file, IOVA, length, RW));
	ASSERT_TRUE(empty(file, length));
	/* Both ends stay, and then one: without large pages, this is type1. */
	ASSERT_EQ((int64_t)PAGE, container_unmap(self->fd, IOVA + PAGE, PAGE, 0));
	ASSERT_EQ((int64_t)PAGE, container_unmap(self->fd, IOVA, PAGE, 0));
	EXPECT_EQ(-1, fcntl(file, F_ADD_SEALS, F_SEAL_WRITE));
	EXPECT_EQ(EBUSY, errno);
	EXPECT_EQ((int64_t)length - 2 * (int64_t)PAGE, UNMAP_ALL());
	EXPECT_OK(fcntl(file, F_ADD_SEALS, F_SEAL_WRITE));
	close(file);
}

/* A map that only reads does not keep anyone from sealing, once its pins are gone. */
TEST_F(rights, seal_while_it_is_read)
{
	int file = make_file(variant);

	if (file < 0)
		SKIP(return, "needs a huge page");
	ASSERT_OK(map_file_at(self, file, IOVA, variant->length, READ));
	ASSERT_TRUE(empty(file, variant->length));
	EXPECT_OK(fcntl(file, F_ADD_SEALS, F_SEAL_WRITE));
	close(file);
}

/* Not even the death of its process leaves a file mapped, and its end leaves no file. */
TEST_F(rights, seal_after_an_exit)
{
	int file = make_file(variant), fd;

	if (file < 0)
		SKIP(return, "needs a huge page");
	IN_CHILD() {
		fd = open_iommufd();
		ASSERT_OK(ioas_map_file(fd, ioas_alloc(fd), file, 0, variant->length, IOVA));
		EXPECT_EQ(-1, fcntl(file, F_ADD_SEALS, F_SEAL_WRITE));
		EXPECT_EQ(EBUSY, errno);
	}
	EXPECT_OK(fcntl(file, F_ADD_SEALS, F_SEAL_WRITE));
	/* What is sealed later stays mapped, as with mmap(). */
	close(file);
	file = make_file(variant);
	ASSERT_LE(0, file);
	ASSERT_OK(map_file_at(self, file, IOVA, variant->length, RW));
	EXPECT_OK(fcntl(file, F_ADD_SEALS, F_SEAL_FUTURE_WRITE));
	EXPECT_ERRNO(EPERM, map_file_at(self, file, 2 * IOVA, variant->length, RW));
	close(file);
}

/* --- copies ----------------------------------------------------------------------------- */

/* A copy may have what the memory was mapped with, and less. */
TEST_F(rights, of_copies)
{
	static const uint32_t flags[] = { READ, WRITE, RW };
	struct iommu_ioas_map map;
	struct iommu_ioas_copy copy;
	char *memory = pages(4);
	unsigned int from, to;
	int want, file = make_file(variant);

	if (file < 0)
		SKIP(return, "needs a huge page");
	ASSERT_NE(NULL, memory);
	for (from = 0; from < ARRAY_SIZE(flags); from++) {
		map = ioas_map_arg(self->ioas, memory, PAGE, IOVA, FIXED | flags[from]);
		ASSERT_OK(call(self->fd, IOMMU_IOAS_MAP, &map));
		ASSERT_OK(map_file_at(self, file, IOVA + PAGE, variant->length, flags[from]));
		for (to = 0; to < ARRAY_SIZE(flags); to++) {
			copy = ioas_copy_arg(self->ioas, 2 * IOVA, self->ioas, IOVA, 2 * PAGE);
			copy.flags = FIXED | flags[to];
			/* What can be written to can be read, as with addresses. */
			want = flags[to] & WRITE && !(flags[from] & WRITE) ? -EPERM : 0;
			EXPECT_EQ(want, call(self->fd, IOMMU_IOAS_COPY, &copy))
				TH_LOG("from %u to %u", from, to);
			if (!want)
				ioas_unmap(self->fd, self->ioas, 2 * IOVA, 2 * PAGE);
		}
		UNMAP_ALL();
	}
	close(file);
}

TEST_HARNESS_MAIN
