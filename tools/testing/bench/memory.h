/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The kinds of memory that are mapped, most of it faulted in beforehand.
 */
#ifndef TOOLS_TESTING_BENCH_MEMORY_H
#define TOOLS_TESTING_BENCH_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE 4096UL
#define KIB (1UL << 10)
#define MIB (1UL << 20)
#define GIB (1UL << 30)

/* In this order it is got: first what needs neighbouring pages. */
enum memory_kind {
	MEMORY_ANON,		/* 4 KiB pages, touched in order */
	MEMORY_MEMFD,		/* a file in memory, the same */
	MEMORY_THP,		/* transparent huge pages */
	MEMORY_HUGETLB_2M,
	MEMORY_HUGETLB_1G,
	MEMORY_ANON_SCATTERED,	/* touched in random order: no two pages are neighbours */
	MEMORY_MEMFD_SCATTERED,
	MEMORY_KINDS,
};

struct memory {
	unsigned char *start;
	size_t size;
	size_t runs;	/* of physically contiguous pages */
	int file;	/* that the memory is in, or -1 */
	bool by_file;	/* map it by that, not by its address */
};

/* A sequence of numbers without pattern, and the same in every run. */
uint32_t next_random(void);

/*
 * Get @size bytes of that kind and fault them in. Returns what is wrong, or
 * NULL if the memory is there and is what it should be.
 */
const char *memory_get(struct memory *memory, enum memory_kind kind, size_t size);

/* The same, without faulting it in: there is no such memory yet. */
const char *memory_get_untouched(struct memory *memory, enum memory_kind kind, size_t size);

void memory_put(struct memory *memory);

#endif /* TOOLS_TESTING_BENCH_MEMORY_H */
