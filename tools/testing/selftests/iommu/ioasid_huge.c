// SPDX-License-Identifier: GPL-2.0
/*
 * Huge pages, which the driver pins as a whole: whatever a process does to its
 * mappings of one, the device and the process go on using the same memory.
 */
#include "ioasid_utils.h"

#define HUGE_SIZE (2UL << 20)
#define COUNT 3
#define SIZE (COUNT * HUGE_SIZE)
#define DMA_SIZE 256

FIXTURE(huge)
{
	struct bound b;
	char *memory;		/* COUNT huge pages, not touched yet */
	long pins;
};

FIXTURE_VARIANT(huge)
{
	bool hugetlb;
};

FIXTURE_VARIANT_ADD(huge, transparent) { .hugetlb = false };
FIXTURE_VARIANT_ADD(huge, hugetlb) { .hugetlb = true };

/* What the variant calls for, where huge pages can begin. */
static char *huge_memory(bool hugetlb)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | (hugetlb ? MAP_HUGETLB : 0);
	size_t spare = hugetlb ? 0 : HUGE_SIZE;
	char *memory;

	memory = mmap(NULL, SIZE + spare, PROT_READ | PROT_WRITE, flags, -1, 0);
	if (memory == MAP_FAILED)
		return NULL;
	if (hugetlb)
		return memory;
	memory += -(uintptr_t)memory & (HUGE_SIZE - 1);
	return madvise(memory, SIZE, MADV_HUGEPAGE) ? NULL : memory;
}

FIXTURE_SETUP(huge)
{
	int ret = bound_open(&self->b);
	char pattern[DMA_SIZE];
	unsigned int i;

	if (ret == -ENODEV)
		SKIP(return, NO_DEVICE);
	ASSERT_OK(ret);
	if (!variant->hugetlb && !has_transparent_huge_pages())
		SKIP(return, NO_TRANSPARENT_HUGE_PAGES);
	/* A page more than is mapped: a write after fork() may need it. */
	ASSERT_TRUE(provide_huge_pages(8));
	self->memory = huge_memory(variant->hugetlb);
	ASSERT_NE(NULL, self->memory);
	self->pins = held_pins();
	ASSERT_OK(vfio_attach(self->b.edu.fd, self->b.ioasid));
	ASSERT_OK(edu_start(&self->b.edu));

	for (i = 0; i < DMA_SIZE; i++)
		pattern[i] = i % 255 + 1;
	memcpy(self->memory, pattern, DMA_SIZE);
	ASSERT_OK(ioasid_map(self->b.fd, self->b.ioasid, self->memory, IOVA, PAGE, IOASID_RW));
	ASSERT_OK(edu_dma(&self->b.edu, EDU_READS_MEMORY, IOVA, 0, DMA_SIZE));
	ASSERT_EQ(PAGE, unmap(self->b.fd, self->b.ioasid, IOVA, PAGE));
	memset(self->memory, 0, DMA_SIZE);
}

FIXTURE_TEARDOWN(huge)
{
	bound_close(&self->b);
	expect_nothing_left(_metadata, self->pins);
}

static int map_part(struct bound *b, char *memory, size_t from, size_t size)
{
	return ioasid_map(b->fd, b->ioasid, memory + from, IOVA + from, size, IOASID_RW);
}

#define MAP(from, size) map_part(&self->b, self->memory, from, size)
#define UNMAP(from, size) unmap(self->b.fd, self->b.ioasid, IOVA + (from), size)

/* True if what the device writes for the byte @at is there; it must be zero before. */
static bool arrives(struct __test_metadata *_metadata, struct bound *b, char *memory, size_t at)
{
	unsigned int i, same = 0;

	memset(memory + at, 0, DMA_SIZE);
	ASSERT_OK(edu_dma(&b->edu, EDU_WRITES_MEMORY, IOVA + at, 0, DMA_SIZE));
	for (i = 0; i < DMA_SIZE; i++)
		same += memory[at + i] == (char)(i % 255 + 1);
	EXPECT_TRUE(same == 0 || same == DMA_SIZE);
	return same == DMA_SIZE;
}

#define ARRIVES(at) arrives(_metadata, &self->b, self->memory, at)

/* A pin holds a huge page as a whole, also one that the map itself has faulted in. */
TEST_F(huge, one_pin_each)
{
	ASSERT_OK(MAP(0, SIZE));
	EXPECT_EQ(self->pins + COUNT, held_pins());
	EXPECT_EQ(SIZE / PAGE, pinned_pages());
	EXPECT_TRUE(ARRIVES(0));
	EXPECT_TRUE(ARRIVES(HUGE_SIZE + 77 * PAGE));
	EXPECT_TRUE(ARRIVES(SIZE - DMA_SIZE));
	EXPECT_EQ(SIZE, UNMAP(0, SIZE));
	EXPECT_EQ(self->pins, held_pins());
	EXPECT_FALSE(ARRIVES(HUGE_SIZE + 77 * PAGE));
}

/* Two areas that share a huge page have a pin on it each. */
TEST_F(huge, cut_in_the_middle)
{
	const size_t cut = HUGE_SIZE + HUGE_SIZE / 2 + 3 * PAGE;

	ASSERT_OK(MAP(64 * PAGE, cut - 64 * PAGE));
	ASSERT_OK(MAP(cut, SIZE - 64 * PAGE - cut));
	EXPECT_EQ(self->pins + COUNT + 1, held_pins());
	EXPECT_FALSE(ARRIVES(63 * PAGE));
	EXPECT_TRUE(ARRIVES(64 * PAGE));
	EXPECT_TRUE(ARRIVES(cut - PAGE));
	EXPECT_TRUE(ARRIVES(cut));
	EXPECT_FALSE(ARRIVES(SIZE - 64 * PAGE));
	EXPECT_EQ(cut - 64 * PAGE, UNMAP(64 * PAGE, cut - 64 * PAGE));
	EXPECT_FALSE(ARRIVES(cut - PAGE));
	EXPECT_TRUE(ARRIVES(cut));
}

/* Copy on write gives the child copies, never the parent, whose memory the device has. */
TEST_F(huge, fork_after_map)
{
	char *byte = self->memory + HUGE_SIZE + 99 * PAGE;

	*byte = 1;
	ASSERT_OK(MAP(0, SIZE));
	IN_CHILD() {
		EXPECT_EQ(1, *byte);
		*byte = 2;
	}
	EXPECT_EQ(1, *byte);
	*byte = 3;
	EXPECT_TRUE(ARRIVES(HUGE_SIZE + 99 * PAGE));
}

/* What is shared with a child becomes the parent's own before the device gets it. */
TEST_F(huge, fork_before_map)
{
	char *memory = self->memory + HUGE_SIZE;
	int go[2], done[2], status;
	char byte = 0;
	pid_t child;

	memset(memory, 0, HUGE_SIZE);
	ASSERT_EQ(0, pipe(go));
	ASSERT_EQ(0, pipe(done));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		status = read(go[0], &byte, 1) != 1 || !is_zero(memory, HUGE_SIZE);
		_exit(status);
	}
	ASSERT_OK(MAP(HUGE_SIZE, HUGE_SIZE));
	EXPECT_TRUE(ARRIVES(HUGE_SIZE));
	EXPECT_TRUE(ARRIVES(HUGE_SIZE + 300 * PAGE));
	ASSERT_EQ(1, write(go[1], &byte, 1));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status) TH_LOG("the child saw what the device wrote");
}

/* Parts of the process's mapping go, and with them the huge entry of its page table. */
TEST_F(huge, process_unmaps_a_part)
{
	/* Huge pages of hugetlbfs have no parts. */
	const size_t part = variant->hugetlb ? HUGE_SIZE : 16 * PAGE;

	ASSERT_OK(MAP(0, SIZE));
	ASSERT_EQ(0, munmap(self->memory + HUGE_SIZE, part));
	EXPECT_TRUE(ARRIVES(HUGE_SIZE - PAGE));
	if (!variant->hugetlb)
		EXPECT_TRUE(ARRIVES(HUGE_SIZE + part));
	/* To memory that only the device has now. */
	EXPECT_OK(edu_dma(&self->b.edu, EDU_WRITES_MEMORY, IOVA + HUGE_SIZE, 0, DMA_SIZE));
	EXPECT_EQ(self->pins + COUNT, held_pins());
	EXPECT_EQ(SIZE, UNMAP(0, SIZE));
	EXPECT_EQ(self->pins, held_pins());
}

/* Small pages between huge ones: each kind is pinned in its way. */
TEST_F(huge, small_pages_between)
{
	char *middle = self->memory + HUGE_SIZE;

	ASSERT_EQ(middle, mmap(middle, HUGE_SIZE, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	ASSERT_TRUE(keep_small(middle, HUGE_SIZE));
	ASSERT_OK(MAP(0, SIZE));
	EXPECT_EQ(self->pins + 2 + HUGE_SIZE / PAGE, held_pins());
	EXPECT_TRUE(ARRIVES(HUGE_SIZE - PAGE));
	EXPECT_TRUE(ARRIVES(HUGE_SIZE));
	EXPECT_TRUE(ARRIVES(2 * HUGE_SIZE - PAGE));
	EXPECT_TRUE(ARRIVES(2 * HUGE_SIZE));
}

/* The access asked for is that of the mapping, not of some page of it. */
TEST_F(huge, read_only_part)
{
	char *last = self->memory + SIZE - HUGE_SIZE;

	memset(self->memory, 1, SIZE);
	ASSERT_EQ(0, mprotect(last, HUGE_SIZE, PROT_READ));
	EXPECT_ERRNO(EFAULT, MAP(0, SIZE));
	EXPECT_EQ(self->pins, held_pins());
	EXPECT_OK(ioasid_map(self->b.fd, self->b.ioasid, last, IOVA, HUGE_SIZE,
			     VFIO_DMA_MAP_FLAG_READ));
}

TEST_HARNESS_MAIN
