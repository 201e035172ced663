/* SPDX-License-Identifier: GPL-2.0 */
/* Whether what the sample driver ioas_access reads, writes and pins is what it should be. */
#ifndef SELFTESTS_IOMMU_IOAS_ACCESS_MEMORY_H
#define SELFTESTS_IOMMU_IOAS_ACCESS_MEMORY_H

#include "ioas_access_calls.h"

#define WRITE IOAS_ACCESS_WRITE
#define KTHREAD IOAS_ACCESS_KTHREAD

/* Text that differs from call to call, and from byte to byte. */
static inline void scribble(char *text, size_t size)
{
	static unsigned int seed;

	seed++;
	for (size_t i = 0; i < size; i++)
		text[i] = seed * 31 + i * 7 + (i >> 8);
}

/* Whether what the driver has pinned at @iova is the memory at @memory. */
static inline bool is_ours(struct __test_metadata *_metadata, int node, char *memory,
			   uint64_t iova, size_t length)
{
	char *text = malloc(length);
	bool ours;

	ASSERT_NE(NULL, text);
	scribble(text, length);
	ASSERT_OK(access_pinned_rw(node, iova, length, text, WRITE));
	ours = !memcmp(text, memory, length);
	scribble(memory, length);
	ASSERT_OK(access_pinned_rw(node, iova, length, text, 0));
	ours &= !memcmp(text, memory, length);
	free(text);
	return ours;
}

/* Whether it reads at @iova what is at @memory. */
static inline bool reads(struct __test_metadata *_metadata, int node, uint64_t iova, char *memory,
			 size_t length, uint32_t flags)
{
	char *text = calloc(1, length + 1);
	bool same;

	ASSERT_NE(NULL, text);
	scribble(memory, length);
	ASSERT_OK(access_rw(node, iova, length, text, flags));
	same = !memcmp(text, memory, length) && !text[length];
	free(text);
	return same;
}

/* Whether what it writes at @iova comes to @memory, and nothing to the bytes around it. */
static inline bool writes(struct __test_metadata *_metadata, int node, uint64_t iova, char *memory,
			  size_t length, uint32_t flags)
{
	char *text = malloc(length), before = memory[-1], behind = memory[length];
	bool same;

	ASSERT_NE(NULL, text);
	scribble(text, length);
	ASSERT_OK(access_rw(node, iova, length, text, flags | WRITE));
	same = !memcmp(text, memory, length) && memory[-1] == before && memory[length] == behind;
	free(text);
	return same;
}

#endif /* SELFTESTS_IOMMU_IOAS_ACCESS_MEMORY_H */
