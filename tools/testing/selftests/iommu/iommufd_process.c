// SPDX-License-Identifier: GPL-2.0
/*
 * IOMMU_IOAS_CHANGE_PROCESS: a context goes to another process, and with it what is
 * charged for the memory files that are mapped.
 */
#include <sys/prctl.h>

#include "books.h"
#include "iommufd_calls.h"
#include "pinning.h"

#define TEST_PAGES 16
#define A_USER 4242
#define ANOTHER 4343

FIXTURE(process)
{
	int fd;
	int ioas;
	int other;
	int file;
	struct needer needer;	/* of what is mapped in either */
	long pins;
};

/* What the memory counts against. */
FIXTURE_VARIANT(process)
{
	unsigned int user;	/* 0: nothing, for root may pin what it likes */
	bool by_process;
};

FIXTURE_VARIANT_ADD(process, no_limit)
{
};

FIXTURE_VARIANT_ADD(process, of_the_user)
{
	.user = A_USER,
};

FIXTURE_VARIANT_ADD(process, of_the_process)
{
	.user = A_USER,
	.by_process = true,
};

FIXTURE_SETUP(process)
{
	self->fd = open_iommufd();
	if (self->fd < 0)
		SKIP(return, "cannot open " IOMMU_NODE);
	self->pins = held_pins();
	if (variant->by_process)
		ASSERT_OK(set_option(self->fd, IOMMU_OPTION_RLIMIT_MODE, 0, 1));
	self->ioas = ioas_alloc(self->fd);
	self->other = ioas_alloc(self->fd);
	ASSERT_LT(self->ioas, self->other);
	if (!need_pins(_metadata, &self->needer, self->fd, self->ioas))
		SKIP(return, NO_DEVICE);
	ASSERT_LT(0, hwpt_alloc(self->fd, self->needer.id, self->other, 0));
	if (variant->user)
		ASSERT_OK(become_user(variant->user, TEST_PAGES * PAGE));
	self->file = memfd_create("memory", MFD_CLOEXEC);
	ASSERT_OK(ftruncate(self->file, TEST_PAGES * PAGE));
}

FIXTURE_TEARDOWN(process)
{
	needer_close(&self->needer);
	close(self->fd);
	EXPECT_EQ(0, pinned_pages());
	EXPECT_EQ(0, counter("/proc/self/status", "VmLck:"));
	if (!variant->user)
		EXPECT_EQ(self->pins, held_pins());
}

static int map_pages(int fd, int ioas, int file, unsigned int first, unsigned int count)
{
	return ioas_map_file(fd, ioas, file, first * PAGE, count * PAGE, IOVA + first * PAGE);
}

#define MAP_PAGES(first, count) map_pages(self->fd, self->ioas, self->file, first, count)

/* So many pages are charged to this process, to the limit that counts. */
static void expect_pays(struct __test_metadata *_metadata, bool by_process, long count)
{
	EXPECT_EQ(count, pinned_pages());
	EXPECT_EQ(by_process ? count * 4 : 0, counter("/proc/self/status", "VmLck:"));
}

#define EXPECT_PAYS(count) expect_pays(_metadata, variant->by_process, count)

TEST_F(process, takes_over_and_gives_back)
{
	EXPECT_OK(change_process(self->fd));
	ASSERT_OK(MAP_PAGES(0, 4));
	ASSERT_OK(MAP_PAGES(4, 3));
	EXPECT_OK(change_process(self->fd));
	EXPECT_PAYS(7);
	IN_CHILD() {
		EXPECT_PAYS(0);
		EXPECT_OK(change_process(self->fd));
		EXPECT_PAYS(7);
		EXPECT_OK(change_process(self->fd));
		EXPECT_PAYS(7);
		EXPECT_EQ(3 * PAGE, ioas_unmap(self->fd, self->ioas, IOVA + 4 * PAGE, 3 * PAGE));
		EXPECT_PAYS(4);
		EXPECT_OK(MAP_PAGES(4, 2));
		EXPECT_PAYS(6);
	}
	/* The child is gone, and what it paid goes on to be paid for. */
	EXPECT_PAYS(0);
	EXPECT_OK(change_process(self->fd));
	EXPECT_PAYS(6);
	EXPECT_EQ(6 * PAGE, ioas_unmap(self->fd, self->ioas, 0, UINT64_MAX));
	EXPECT_PAYS(0);
}

/* Memory of a file has no owner: it is whose charge it is. */
TEST_F(process, mapper)
{
	char line[64];

	ASSERT_OK(MAP_PAGES(0, 4));
	ASSERT_OK(ioas_map_file(self->fd, self->other, self->file, 0, PAGE, IOVA));
	IN_CHILD() {
		ASSERT_OK(prctl(PR_SET_DUMPABLE, 1));
		snprintf(line, sizeof(line), "mapper:\tioasid %d process %d\n", self->other,
			 getppid());
		EXPECT_NE(NULL, strstr(read_books(self->fd).fdinfo, line));
		EXPECT_OK(change_process(self->fd));
		snprintf(line, sizeof(line), "mapper:\tioasid %d process %d\n", self->other,
			 getpid());
		EXPECT_NE(NULL, strstr(read_books(self->fd).fdinfo, line));
	}
}

/* Memory in several places counts once, as before. */
TEST_F(process, copies)
{
	ASSERT_OK(MAP_PAGES(0, TEST_PAGES));
	ASSERT_OK(ioas_copy(self->fd, self->other, IOVA, self->ioas, IOVA, TEST_PAGES * PAGE));
	ASSERT_OK(ioas_copy(self->fd, self->ioas, 2 * IOVA, self->ioas, IOVA, 2 * PAGE));
	if (!variant->user || variant->by_process) {
		IN_CHILD() {
			/* There is room for all of it, once. */
			EXPECT_OK(change_process(self->fd));
			EXPECT_PAYS(TEST_PAGES);
			ioas_unmap(self->fd, self->ioas, 0, UINT64_MAX);
			EXPECT_PAYS(TEST_PAGES);
			ioas_unmap(self->fd, self->other, 0, UINT64_MAX);
			EXPECT_PAYS(0);
		}
		EXPECT_PAYS(0);
	} else {
		/* Of a user, what was paid is given back when all of it is paid again. */
		IN_CHILD()
			EXPECT_ERRNO(ENOMEM, change_process(self->fd));
		EXPECT_PAYS(TEST_PAGES);
	}
}

TEST_F(process, what_cannot_be_taken_over)
{
	struct iommu_ioas_change_process arg = { .size = sizeof(arg), .__reserved = 1 };
	char *memory = pages(1);
	struct books books;

	ASSERT_OK(MAP_PAGES(0, 4));
	ASSERT_OK(ioas_copy(self->fd, self->other, IOVA, self->ioas, IOVA, PAGE));
	EXPECT_ERRNO(EOPNOTSUPP, call(self->fd, IOMMU_IOAS_CHANGE_PROCESS, &arg));
	ASSERT_OK(ioas_map(self->fd, self->other, memory, PAGE, 2 * IOVA));
	books = read_books(self->fd);
	EXPECT_ERRNO(EINVAL, change_process(self->fd));
	IN_CHILD() {
		EXPECT_ERRNO(EINVAL, change_process(self->fd));
		EXPECT_PAYS(0);
	}
	expect_books(_metadata, self->fd, &books);
	EXPECT_PAYS(5);
	/* Nothing was left half taken over. */
	EXPECT_EQ(PAGE, ioas_unmap(self->fd, self->other, 2 * IOVA, PAGE));
	IN_CHILD() {
		EXPECT_OK(change_process(self->fd));
		EXPECT_PAYS(4);
	}
	EXPECT_PAYS(0);
}

/* Who may not lock as much cannot take it over. */
TEST_F(process, limit)
{
	ASSERT_OK(MAP_PAGES(0, 5));
	ASSERT_OK(MAP_PAGES(5, 2));
	IN_CHILD() {
		struct rlimit limit = { 6 * PAGE, 7 * PAGE };

		ASSERT_OK(setrlimit(RLIMIT_MEMLOCK, &limit));
		EXPECT_EQ(variant->user ? -ENOMEM : 0, change_process(self->fd));
		EXPECT_PAYS(variant->user ? 0 : 7);
		limit.rlim_cur = 7 * PAGE;
		ASSERT_OK(setrlimit(RLIMIT_MEMLOCK, &limit));
		/* The user pays for a moment what it is going to get back. */
		EXPECT_EQ(variant->user && !variant->by_process ? -ENOMEM : 0,
			  change_process(self->fd));
	}
	EXPECT_PAYS(variant->user && !variant->by_process ? 7 : 0);
}

/* From one user to another: the limit of each counts what is its own. */
TEST(to_another_user)
{
	int fd = open_iommufd(), file = memfd_create("memory", 0), pipes[2][2], status, ioas;
	struct needer needer;
	char byte;
	pid_t first;

	if (fd < 0)
		SKIP(return, "cannot open " IOMMU_NODE);
	ioas = ioas_alloc(fd);
	if (!need_pins(_metadata, &needer, fd, ioas))
		SKIP(return, NO_DEVICE);
	ASSERT_OK(ftruncate(file, TEST_PAGES * PAGE));
	ASSERT_OK(pipe(pipes[0]));
	ASSERT_OK(pipe(pipes[1]));
	first = fork();
	if (!first) {
		ASSERT_OK(become_user(A_USER, TEST_PAGES * PAGE));
		EXPECT_OK(ioas_map_file(fd, ioas, file, 0, TEST_PAGES * PAGE, IOVA));
		EXPECT_ERRNO(ENOMEM, ioas_map_file(fd, ioas, file, 0, PAGE, 0));
		write(pipes[0][1], "", 1);
		read(pipes[1][0], &byte, 1);
		EXPECT_EQ(0, pinned_pages());
		EXPECT_OK(ioas_map_file(fd, ioas, file, 0, TEST_PAGES * PAGE, 2 * IOVA));
		_exit(0);
	}
	read(pipes[0][0], &byte, 1);
	IN_CHILD() {
		ASSERT_OK(become_user(ANOTHER, TEST_PAGES * PAGE));
		EXPECT_OK(change_process(fd));
		EXPECT_EQ(TEST_PAGES, pinned_pages());
		EXPECT_ERRNO(ENOMEM, ioas_map_file(fd, ioas, file, 0, PAGE, 0));
	}
	write(pipes[1][1], "", 1);
	ASSERT_EQ(first, waitpid(first, &status, 0));
	EXPECT_EQ(0, status);
}

TEST_HARNESS_MAIN
