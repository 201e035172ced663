// SPDX-License-Identifier: GPL-2.0
/*
 * One address space over two IOMMUs that have no page table format in common: it
 * has two domains then. The addresses of one IOMMU are fewer than the other's.
 */
#include <signal.h>

#include "ioasid_pair.h"

FIXTURE(domains)
{
	struct pair pair;
	int wide;	/* the device whose IOMMU takes more addresses */
	int narrow;
	uint64_t end;	/* the last address of the other one's */
	uint64_t beyond;	/* what only the wide one can use */
};

FIXTURE_SETUP(domains)
{
	struct pair *p = &self->pair;

	if (!pair_open(_metadata, p, OWN_IOMMUS, NULL))
		SKIP(return, "needs two edu devices behind IOMMUs of their own");
	self->wide = last_iova(p, A) > last_iova(p, B) ? A : B;
	self->narrow = !self->wide;
	self->end = last_iova(p, self->narrow);
	self->beyond = last_iova(p, self->wide) - PAGE + 1;
	ASSERT_LT(self->end, self->beyond);
}

FIXTURE_TEARDOWN(domains)
{
	pair_close(_metadata, &self->pair);
}

TEST_F(domains, ranges_shrink_and_grow)
{
	struct pair *p = &self->pair;
	uint64_t all = last_iova(p, self->wide);

	ASSERT_OK(ATTACH(self->wide, X));
	EXPECT_EQ(all, last_iova(p, self->wide));
	ASSERT_OK(MAP_AT(X, 0, self->beyond));
	ASSERT_EQ(PAGE, UNMAP_AT(X, self->beyond));
	ASSERT_OK(ATTACH(self->narrow, X));
	EXPECT_EQ(self->end, last_iova(p, self->wide));
	EXPECT_EQ(self->end, last_iova(p, self->narrow));
	EXPECT_ERRNO(EINVAL, MAP_AT(X, 0, self->beyond));
	EXPECT_ERRNO(EINVAL, MAP_AT(X, 0, self->end + 1));
	EXPECT_OK(MAP_AT(X, 0, self->end - PAGE + 1));
	EXPECT_TRUE(REACHES_AT(self->wide, 0, self->end - PAGE + 1));
	EXPECT_TRUE(REACHES_AT(self->narrow, 0, self->end - PAGE + 1));
	ASSERT_OK(DETACH(self->narrow));
	EXPECT_EQ(all, last_iova(p, self->wide));
	EXPECT_EQ(self->end, last_iova(p, self->narrow));
	EXPECT_OK(MAP_AT(X, 1, self->beyond));
	EXPECT_TRUE(REACHES_AT(self->wide, 1, self->beyond));
	EXPECT_EQ(2, pinned_pages());
}

/* An attach that fails has changed nothing: for the space, nor for either device. */
TEST_F(domains, mapped_beyond_reach)
{
	struct pair *p = &self->pair;

	ASSERT_OK(MAP(X, 0));
	ASSERT_OK(MAP(Y, 1));
	ASSERT_OK(MAP_AT(X, 1, self->beyond));
	ASSERT_OK(ATTACH(self->wide, X));
	ASSERT_OK(ATTACH(self->narrow, Y));
	EXPECT_ERRNO(EADDRINUSE, ATTACH(self->narrow, X));
	EXPECT_TRUE(REACHES(self->narrow, 1));
	ASSERT_OK(DETACH(self->narrow));
	EXPECT_ERRNO(EADDRINUSE, ATTACH(self->narrow, X));
	EXPECT_FALSE(REACHES(self->narrow, 0));
	EXPECT_TRUE(REACHES(self->wide, 0));
	EXPECT_TRUE(REACHES_AT(self->wide, 1, self->beyond));
	EXPECT_EQ(self->beyond + PAGE - 1, last_iova(p, self->wide));
	EXPECT_EQ(2, pinned_pages());
	ASSERT_EQ(PAGE, UNMAP_AT(X, self->beyond));
	ASSERT_OK(ATTACH(self->narrow, X));
	EXPECT_TRUE(REACHES(self->narrow, 0));
}

/* A space that is all out of one device's reach is none for it. */
TEST_F(domains, window_beyond_reach)
{
	struct pair *p = &self->pair;
	int window = ioasid_alloc_window(p->fd, self->end + 1, self->beyond + PAGE - 1);

	ASSERT_LT(0, window);
	EXPECT_ERRNO(EINVAL, vfio_attach(p->edu[self->narrow].fd, window));
	ASSERT_OK(vfio_attach(p->edu[self->wide].fd, window));
	EXPECT_ERRNO(EINVAL, vfio_attach(p->edu[self->narrow].fd, window));
	ASSERT_OK(ioasid_map(p->fd, window, p->memory, self->beyond, PAGE, IOASID_RW));
	EXPECT_TRUE(REACHES_AT(self->wide, 0, self->beyond));
	ASSERT_OK(DETACH(self->wide));
	EXPECT_OK(ioasid_free(p->fd, window));
}

/* Both move to another space, one at a time; what is mapped there is there for both. */
TEST_F(domains, move_one_by_one)
{
	struct pair *p = &self->pair;

	ASSERT_OK(MAP(X, 0));
	ASSERT_OK(MAP(Y, 1));
	ASSERT_OK(ATTACH(self->wide, X));
	ASSERT_OK(ATTACH(self->narrow, X));
	ASSERT_OK(ATTACH(self->narrow, Y));
	EXPECT_TRUE(REACHES(self->narrow, 1));
	EXPECT_TRUE(REACHES(self->wide, 0));
	ASSERT_OK(ATTACH(self->wide, Y));
	EXPECT_TRUE(REACHES(self->wide, 1));
	EXPECT_OK(FREE(X));
	EXPECT_EQ(1, pinned_pages());
	ASSERT_EQ(PAGE, UNMAP(Y));
	EXPECT_FALSE(REACHES(self->narrow, 1));
	EXPECT_FALSE(REACHES(self->wide, 1));
	EXPECT_EQ(0, pinned_pages());
}

/* What was mapped and unmapped with one domain is in the second one, or is not. */
TEST_F(domains, second_domain_gets_what_is_mapped)
{
	struct pair *p = &self->pair;
	const uint64_t far = self->end / 2 + 1;
	uint64_t i;

	ASSERT_OK(ATTACH(self->narrow, X));
	for (i = 0; i < 64; i++)
		ASSERT_OK(MAP_AT(X, i % 2, far + i * 3 * PAGE));
	ASSERT_EQ(PAGE, UNMAP_AT(X, far + 63 * 3 * PAGE));
	ASSERT_OK(ATTACH(self->wide, X));
	EXPECT_TRUE(REACHES_AT(self->wide, 0, far));
	EXPECT_TRUE(REACHES_AT(self->wide, 1, far + 33 * 3 * PAGE));
	EXPECT_FALSE(REACHES_AT(self->wide, 0, far + PAGE));
	EXPECT_FALSE(REACHES_AT(self->wide, 1, far + 63 * 3 * PAGE));
	ASSERT_EQ(63 * PAGE, unmap_all(p->fd, p->space[X]));
	EXPECT_FALSE(REACHES_AT(self->wide, 0, far));
	EXPECT_FALSE(REACHES_AT(self->narrow, 0, far));
}

/* --- an attach that is ended while it fills a domain ---------------------------------- */

#define MANY_AREAS 16384UL

/* True if the attach was cut short: a child's, who is killed after @ms. */
static bool killed_while_attaching(struct __test_metadata *_metadata, struct pair *p, int who,
				   unsigned int ms)
{
	volatile bool *begun = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
				    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	volatile bool *done = begun + 1;
	bool cut;
	pid_t child;

	ASSERT_NE(MAP_FAILED, begun);
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		*begun = true;
		*done = !ATTACH(who, X);
		pause();
	}
	while (!*begun)
		edu_sleep_ms(1);
	edu_sleep_ms(ms);
	kill(child, SIGKILL);
	ASSERT_EQ(child, waitpid(child, NULL, 0));
	cut = !*done;
	munmap((void *)begun, PAGE);
	return cut;
}

TEST_F(domains, killed_while_the_second_is_filled)
{
	struct pair *p = &self->pair;
	uint64_t i, last = IOVA + (MANY_AREAS - 1) * 2 * PAGE;
	unsigned int ms, cut = 0;

	for (i = 0; i < MANY_AREAS; i++)
		ASSERT_OK(MAP_AT(X, i % 2, IOVA + i * 2 * PAGE));
	ASSERT_OK(ATTACH(self->wide, X));
	for (ms = 0; ms < 16; ms += 3) {
		if (killed_while_attaching(_metadata, p, self->narrow, ms))
			cut++;
		ASSERT_OK(DETACH(self->narrow));
		EXPECT_EQ(last_iova(p, self->narrow), self->end);
	}
	EXPECT_LT(0, cut);
	EXPECT_FALSE(REACHES(self->narrow, 0));
	EXPECT_TRUE(REACHES(self->wide, 0));
	EXPECT_TRUE(REACHES_AT(self->wide, 1, last));
	EXPECT_EQ(MANY_AREAS, pinned_pages());
	ASSERT_OK(ATTACH(self->narrow, X));
	EXPECT_TRUE(REACHES(self->narrow, 0));
	EXPECT_TRUE(REACHES_AT(self->narrow, 1, last));
}

TEST_HARNESS_MAIN
