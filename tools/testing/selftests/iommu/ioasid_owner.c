// SPDX-License-Identifier: GPL-2.0
/*
 * What mapping has to do with processes, users and files: who is charged for the
 * memory, whose memory it is, and how long it stays pinned.
 */
#include "ioasid_space.h"
#include "iommufd_calls.h"

/* --- what is pinned, and who is charged ------------------------------------- */

#define A_USER 4242
#define ANOTHER_USER 4243

TEST_F(space, pinned_pages_are_counted)
{
	long locked = counter("/proc/self/status", "VmLck:");

	if (!NEED_PINS())
		SKIP(return, NO_DEVICE);
	ASSERT_OK(MAP(0, 0, 1));
	EXPECT_EQ(1, pinned_pages());
	ASSERT_OK(MAP(1, 1, 16));
	EXPECT_EQ(17, pinned_pages());
	EXPECT_EQ(locked, counter("/proc/self/status", "VmLck:"));
	ASSERT_EQ(PAGE, UNMAP(0, 1));
	EXPECT_EQ(16, pinned_pages());
	ASSERT_EQ(16 * PAGE, UNMAP(0, 32));
	EXPECT_EQ(0, pinned_pages());
}

TEST_F(space, root_has_no_limit)
{
	struct rlimit none = { 0, 0 };

	if (!NEED_PINS())
		SKIP(return, NO_DEVICE);
	ASSERT_OK(setrlimit(RLIMIT_MEMLOCK, &none));
	EXPECT_OK(MAP(0, 0, SPACE_PAGES));
}

TEST_F(space, users_have_a_limit)
{
	int other = ioasid_alloc(self->fd, 64);

	if (!NEED_PINS())
		SKIP(return, NO_DEVICE);
	ASSERT_LT(0, hwpt_alloc(self->fd, self->needer.id, other, 0));
	ASSERT_OK(become_user(A_USER, 8 * PAGE));
	EXPECT_ERRNO(ENOMEM, MAP(0, 0, 9));
	EXPECT_EQ(0, pinned_pages());
	EXPECT_OK(MAP(0, 0, 8));
	EXPECT_ERRNO(ENOMEM, MAP(8, 8, 1));
	EXPECT_ERRNO(ENOMEM, ioasid_map(self->fd, other, self->memory, IOVA, PAGE, IOASID_RW));
	EXPECT_EQ(8, pinned_pages());
	/* What is given back can be had again, by each way to give it back. */
	EXPECT_EQ(8 * PAGE, UNMAP(0, 8));
	EXPECT_OK(MAP(0, 0, 8));
	EXPECT_OK(vfio_detach(self->needer.edu.fd));
	EXPECT_OK(ioasid_map(self->fd, other, self->memory, IOVA, 8 * PAGE, IOASID_RW));
	needer_close(&self->needer);
	close(self->fd);
	EXPECT_EQ(0, pinned_pages());
}

TEST_F(space, failures_are_not_charged)
{
	int i;

	if (!NEED_PINS())
		SKIP(return, NO_DEVICE);
	ASSERT_OK(munmap(self->memory + 7 * PAGE, PAGE));
	ASSERT_OK(become_user(A_USER, 8 * PAGE));
	for (i = 0; i < 20; i++) {
		EXPECT_ERRNO(EFAULT, MAP(0, 0, 8));
		EXPECT_ERRNO(ENOMEM, MAP(0, 8, 9));
		EXPECT_ERRNO(EOVERFLOW, ioasid_map(self->fd, self->ioasid, self->memory, TOP_PAGE,
						   2 * PAGE, IOASID_RW));
	}
	EXPECT_OK(MAP(0, 8, 8));
}

/* The charge is a user's, over all processes, and stays until it is unmapped. */
TEST_F(space, processes_of_a_user_share_the_limit)
{
	if (!NEED_PINS())
		SKIP(return, NO_DEVICE);
	IN_CHILD() {
		ASSERT_OK(become_user(A_USER, 8 * PAGE));
		EXPECT_OK(MAP(0, 0, 8));
	}
	IN_CHILD() {
		ASSERT_OK(become_user(A_USER, 8 * PAGE));
		EXPECT_ERRNO(ENOMEM, MAP(8, 0, 1));
	}
	IN_CHILD() {
		ASSERT_OK(become_user(ANOTHER_USER, 8 * PAGE));
		EXPECT_OK(MAP(8, 0, 8));
	}
	EXPECT_EQ(8 * PAGE, UNMAP(0, 8));
	IN_CHILD() {
		ASSERT_OK(become_user(A_USER, 8 * PAGE));
		EXPECT_OK(MAP(0, 0, 8));
	}
	EXPECT_EQ(16 * PAGE, unmap_all(self->fd, self->ioasid));
}

/* --- processes and files ---------------------------------------------------- */

/* MAP takes the memory of the process that calls it, whoever opened the file. */
TEST_F(space, child_maps_its_own_memory)
{
	if (!NEED_PINS())
		SKIP(return, NO_DEVICE);
	IN_CHILD() {
		EXPECT_OK(MAP(0, 0, 3));
		EXPECT_EQ(3, pinned_pages());
	}
	EXPECT_EQ(0, pinned_pages());
	/* The mapping has outlived the process whose memory it is. */
	EXPECT_ERRNO(EEXIST, MAP(0, 0, 3));
	EXPECT_EQ(3 * PAGE, UNMAP(0, 3));
	EXPECT_OK(MAP(0, 0, 3));
}

TEST_F(space, child_unmaps_for_its_parent)
{
	if (!NEED_PINS())
		SKIP(return, NO_DEVICE);
	ASSERT_OK(MAP(0, 0, 3));
	EXPECT_EQ(3, pinned_pages());
	IN_CHILD() {
		EXPECT_EQ(0, pinned_pages());
		EXPECT_EQ(3 * PAGE, UNMAP(0, 3));
		EXPECT_EQ(0, pinned_pages());
	}
	EXPECT_EQ(0, pinned_pages());
}

TEST_F(space, child_may_just_leave)
{
	ASSERT_OK(MAP(0, 0, 3));
	IN_CHILD() {
		close(self->fd);
	}
	EXPECT_EQ(3 * PAGE, UNMAP(0, 3));
}

TEST_F(space, memory_may_go_before_the_mapping)
{
	if (!NEED_PINS())
		SKIP(return, NO_DEVICE);
	ASSERT_OK(MAP(0, 0, SPACE_PAGES));
	ASSERT_OK(munmap(self->memory, SPACE_PAGES * PAGE));
	EXPECT_EQ(SPACE_PAGES, pinned_pages());
	EXPECT_EQ(SPACE_PAGES * PAGE, UNMAP(0, SPACE_PAGES));
}

TEST_F(space, closing_one_of_two_descriptors)
{
	int copy = dup(self->fd);

	ASSERT_LE(0, copy);
	ASSERT_OK(MAP(0, 0, 3));
	close(self->fd);
	EXPECT_EQ(3 * PAGE, unmap(copy, self->ioasid, IOVA, 3 * PAGE));
	EXPECT_OK(ioasid_map(copy, self->ioasid, self->memory, IOVA, PAGE, IOASID_RW));
	close(copy);
}

TEST_F(space, opens_are_independent)
{
	int fds[64], i;

	for (i = 0; i < 64; i++) {
		fds[i] = open_iommufd();
		ASSERT_LE(0, fds[i]);
		ASSERT_EQ(1, ioasid_alloc(fds[i], 64));
		ASSERT_OK(ioasid_map(fds[i], 1, self->memory, IOVA, 2 * PAGE, IOASID_RW));
	}
	for (i = 0; i < 64; i += 2)
		close(fds[i]);
	for (i = 1; i < 64; i += 2) {
		EXPECT_EQ(2 * PAGE, unmap_all(fds[i], 1));
		close(fds[i]);
	}
}

TEST(only_root_opens_it)
{
	if (access(IOMMU_NODE, F_OK))
		SKIP(return, "there is no " IOMMU_NODE);
	ASSERT_OK(become_user(A_USER, 0));
	EXPECT_EQ(-1, open_iommufd());
	EXPECT_EQ(EACCES, errno);
}

TEST_HARNESS_MAIN
