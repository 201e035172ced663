/* SPDX-License-Identifier: GPL-2.0 */
/* What a device can carry from one address to another: whether its DMA gets to memory. */
#ifndef SELFTESTS_IOMMU_CARRY_H
#define SELFTESTS_IOMMU_CARRY_H

#include "ioasid_utils.h"

#define DMA_SIZE 512

/*
 * Whether the device can take what is at @from, where @source is, to @to, where @target is;
 * these may be the same.
 */
static inline bool carries(struct __test_metadata *_metadata, struct edu *edu, uint64_t from,
			   char *source, uint64_t to, char *target)
{
	static char serial;
	char want[DMA_SIZE];
	unsigned int i;

	serial++;
	for (i = 0; i < DMA_SIZE; i++)
		want[i] = serial ^ (i * 13 + 0x80);
	memcpy(source, want, DMA_SIZE);
	ASSERT_OK(edu_dma(edu, EDU_READS_MEMORY, from, 0, DMA_SIZE));
	memset(target, 0, DMA_SIZE);
	ASSERT_OK(edu_dma(edu, EDU_WRITES_MEMORY, to, 0, DMA_SIZE));
	return !memcmp(want, target, DMA_SIZE);
}

/* Whether it gets to @memory at @iova, both ways. */
static inline bool reaches(struct __test_metadata *_metadata, struct edu *edu, uint64_t iova,
			   char *memory)
{
	return carries(_metadata, edu, iova, memory, iova, memory);
}

#endif /* SELFTESTS_IOMMU_CARRY_H */
