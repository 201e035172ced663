// SPDX-License-Identifier: GPL-2.0
/*
 * Maps that ask for more than a machine has: they fail, the kernel has nothing to
 * say about it, and what is there goes on.
 */
#include "books.h"
#include "iommufd_calls.h"
#include "pinning.h"
#include "sources.h"

/* Where there is room for all of it, behind what is reserved. */
#define AT (4 * GIB)

FIXTURE(limits)
{
	int fd;
	int ioas;
	struct needer needer;
	long pins;
};

FIXTURE_SETUP(limits)
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

FIXTURE_TEARDOWN(limits)
{
	needer_close(&self->needer);
	close(self->fd);
	expect_nothing_left(_metadata, self->pins);
}

#define UNMAP_ALL() ioas_unmap(self->fd, self->ioas, 0, UINT64_MAX)

/* --- pins on a page ------------------------------------------------------------------ */

/* Where the count of a page's references would overflow. */
#define TOO_MANY_PINS (1UL << 21)

#define VIEW_PAGES (1UL << 15)		/* as many mappings as a process may have, about */

/* The first page of @file at many addresses. */
static char *view_of_one_page(int file)
{
	char *view = reserve_addresses(VIEW_PAGES * PAGE, HUGE_2M);
	size_t i;

	for (i = 0; view && i < VIEW_PAGES; i++)
		if (mmap(view + i * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED |
			 MAP_POPULATE, file, 0) == MAP_FAILED)
			return NULL;
	return view;
}

/* Of the pages that one table maps, every other one is another from now on. */
static bool mix_in_others(char *view)
{
	size_t i;

	for (i = 1; i < HUGE_2M / PAGE; i += 2)
		if (mmap(view + i * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED |
			 MAP_ANONYMOUS | MAP_POPULATE, -1, 0) == MAP_FAILED)
			return false;
	return true;
}

/* That a look at half of the pages finds none of that kind so often has no chance. */
#define TRIES 64

/* The driver that is tested refuses long before; then it is as if nothing had been. */
TEST_F_TIMEOUT(limits, pins_on_a_page, 900)
{
	int file = memfd_create("page", MFD_CLOEXEC), ret = 0;
	uint64_t pins = 0, count;
	char *view, *page;

	if (slowness_factor > 8)
		SKIP(return, "a million pins take too long here");
	ASSERT_OK(ftruncate(file, PAGE));
	view = view_of_one_page(file);
	ASSERT_NE(NULL, view);
	/* What does not fit is undone, however little of it that is. */
	for (count = VIEW_PAGES; count; count /= 2) {
		for (; pins < TOO_MANY_PINS; pins += count) {
			ret = ioas_map(self->fd, self->ioas, view, count * PAGE,
				       AT + pins * PAGE);
			if (ret)
				break;
		}
		ASSERT_EQ(-ENOMEM, ret);
	}
	TH_LOG("%llu pins", (unsigned long long)pins);
	EXPECT_GT(TOO_MANY_PINS / 4 * 3, pins);
	EXPECT_LT(TOO_MANY_PINS / 4, pins);
	EXPECT_EQ((long)pins, pinned_pages());
	/* It fails again, among others as well, and once there is room it does not. */
	EXPECT_ERRNO(ENOMEM, ioas_map(self->fd, self->ioas, view, VIEW_PAGES * PAGE, 0));
	ASSERT_TRUE(mix_in_others(view));
	for (count = 0; count < TRIES && ret; count++)
		ret = ioas_map(self->fd, self->ioas, view, HUGE_2M, 0);
	ASSERT_EQ(-ENOMEM, ret);
	EXPECT_EQ((int64_t)(pins * PAGE), UNMAP_ALL());
	EXPECT_EQ(0, pinned_pages());
	EXPECT_OK(ioas_map(self->fd, self->ioas, view, HUGE_2M, 0));
	page = view + 5 * PAGE;
	EXPECT_OK(ioas_map(self->fd, self->ioas, page, PAGE, IOVA));
	EXPECT_OK(ioas_map_file(self->fd, self->ioas, file, 0, PAGE, IOVA + PAGE));
	munmap(view, VIEW_PAGES * PAGE);
	close(file);
}

/* --- memory -------------------------------------------------------------------------- */

static long available(void)
{
	return counter("/proc/meminfo", "MemAvailable:") * KIB;
}

/* A file larger than the machine. Of those who wait for memory, nobody is killed. */
TEST_F_TIMEOUT(limits, memory_for_a_file, 900)
{
	size_t size = counter("/proc/meminfo", "MemTotal:") * KIB / HUGE_2M * HUGE_2M + HUGE_2M;
	int file = memfd_create("large", MFD_CLOEXEC), round;
	long before = available(), killed = counter("/proc/vmstat", "oom_kill ");
	struct books books = read_books(self->fd);

	if (slowness_factor > 8)
		SKIP(return, "it takes too long here to fill the memory");
	if (counter("/proc/meminfo", "SwapTotal:"))
		SKIP(return, "there is no end to the memory, but to the swap space");
	ASSERT_OK(ftruncate(file, size));
	/* The second begins with all that there is in the file already. */
	for (round = 0; round < 2; round++) {
		EXPECT_ERRNO(ENOMEM, ioas_map_file(self->fd, self->ioas, file, 0, size, AT));
		TH_LOG("%ld of %ld MiB are left", available() >> 20, before >> 20);
		expect_books(_metadata, self->fd, &books);
		EXPECT_LT(8L << 20, available());
	}
	/* What is there can be mapped, with no more memory. */
	EXPECT_OK(ioas_map_file(self->fd, self->ioas, file, 0, HUGE_2M, AT));
	EXPECT_EQ((int64_t)HUGE_2M, UNMAP_ALL());
	close(file);
	EXPECT_EQ(killed, counter("/proc/vmstat", "oom_kill "));
	EXPECT_LT(before / 10 * 9, available());
}

TEST_HARNESS_MAIN
