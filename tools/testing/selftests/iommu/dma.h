/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The fixture of tests that have a device put their claims to the proof: one address
 * space, an edu device attached to it, and ways to ask what the device can reach.
 */
#ifndef SELFTESTS_IOMMU_DMA_H
#define SELFTESTS_IOMMU_DMA_H

#include "ioasid_utils.h"

/*
 * The device's buffer has two halves: what it writes to memory comes from the
 * first, filled once and for all, and what it reads goes to the second.
 */
#define HALF (EDU_BUFFER_SIZE / 2)
#define SCRATCH 0xc000000UL		/* DMA address of the scratch page */
#define TEST_PAGES 16

static char pattern[HALF];	/* what the first half is filled with */
static char *scratch;		/* a page that is always mapped, at SCRATCH */

FIXTURE(dma)
{
	struct bound b;
	char *memory;
	long pins;
};

FIXTURE_SETUP(dma)
{
	int ret = bound_open(&self->b);
	unsigned int i;

	if (ret == -ENODEV)
		SKIP(return, NO_DEVICE);
	ASSERT_OK(ret);
	self->memory = pages(TEST_PAGES);
	scratch = pages(1);
	ASSERT_NE(NULL, self->memory);
	ASSERT_NE(NULL, scratch);
	self->pins = held_pins();
	ASSERT_OK(vfio_attach(self->b.edu.fd, self->b.ioasid));
	ASSERT_OK(edu_start(&self->b.edu));
	ASSERT_OK(ioasid_map(self->b.fd, self->b.ioasid, scratch, SCRATCH, PAGE, IOASID_RW));

	/* Never 0, and another one in every test. */
	for (i = 0; i < HALF; i++)
		pattern[i] = (i * 31 + getpid() + i / 256) % 255 + 1;
	memcpy(scratch, pattern, HALF);
	ASSERT_OK(edu_dma(&self->b.edu, EDU_READS_MEMORY, SCRATCH, 0, HALF));
}

FIXTURE_TEARDOWN(dma)
{
	bound_close(&self->b);
	expect_nothing_left(_metadata, self->pins);
}

#define DMA_SIZE 256

/* True if the device's write to @iova arrived at @memory, all of it. */
static inline bool write_arrives(struct __test_metadata *_metadata, struct edu *edu,
				 uint64_t iova, char *memory)
{
	char nothing[DMA_SIZE] = { 0 };

	memset(memory, 0, DMA_SIZE);
	ASSERT_OK(edu_dma(edu, EDU_WRITES_MEMORY, iova, 0, DMA_SIZE));
	if (!memcmp(memory, pattern, DMA_SIZE))
		return true;
	EXPECT_EQ(0, memcmp(memory, nothing, DMA_SIZE))
		TH_LOG("something else arrived from 0x%llx", (unsigned long long)iova);
	return false;
}

/* True if the device's read from @iova gets what @memory has; that is not changed. */
static inline bool read_matches(struct __test_metadata *_metadata, struct edu *edu,
				uint64_t iova, const char *memory)
{
	ASSERT_OK(edu_dma(edu, EDU_READS_MEMORY, iova, HALF, DMA_SIZE));
	memset(scratch, 0, DMA_SIZE);
	ASSERT_OK(edu_dma(edu, EDU_WRITES_MEMORY, SCRATCH, HALF, DMA_SIZE));
	return !memcmp(memory, scratch, DMA_SIZE);
}

/* The same, with @memory changed before, which must not be mapped at SCRATCH. */
static inline bool read_gets(struct __test_metadata *_metadata, struct edu *edu, uint64_t iova,
			     char *memory)
{
	static char serial;
	unsigned int i;

	serial++;
	for (i = 0; i < DMA_SIZE; i++)
		memory[i] = serial ^ (i * 13 + 0x80);
	return read_matches(_metadata, edu, iova, memory);
}

#define WRITES(iova, memory) write_arrives(_metadata, &self->b.edu, iova, memory)
#define READS(iova, memory) read_gets(_metadata, &self->b.edu, iova, memory)
#define EXPECT_WRITES(iova, memory) EXPECT_TRUE(WRITES(iova, memory))
#define EXPECT_NO_WRITES(iova, memory) EXPECT_FALSE(WRITES(iova, memory))
#define EXPECT_READS(iova, memory) EXPECT_TRUE(READS(iova, memory))
#define EXPECT_NO_READS(iova, memory) EXPECT_FALSE(READS(iova, memory))

#define MAP(memory, iova, size, access) \
	ioasid_map(self->b.fd, self->b.ioasid, memory, iova, size, access)
#define UNMAP(iova, size) unmap(self->b.fd, self->b.ioasid, iova, size)

#endif /* SELFTESTS_IOMMU_DMA_H */
