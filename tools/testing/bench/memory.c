// SPDX-License-Identifier: GPL-2.0
/*
 * The kinds of memory that are mapped, and checks that they are what they seem.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/mman.h>

#include "memory.h"

static const struct {
	int flags;		/* of mmap() */
	int advice;
	size_t page;		/* as large as a page must be */
	bool memfd;
	bool shuffle;
} kinds[] = {
	[MEMORY_ANON] = { 0, MADV_NOHUGEPAGE, PAGE, false, false },
	[MEMORY_MEMFD] = { 0, MADV_NOHUGEPAGE, PAGE, true, false },
	[MEMORY_THP] = { 0, MADV_HUGEPAGE, 2 * MIB, false, false },
	[MEMORY_HUGETLB_2M] = { MAP_HUGETLB | MAP_HUGE_2MB, 0, 2 * MIB, false, false },
	[MEMORY_HUGETLB_1G] = { MAP_HUGETLB | MAP_HUGE_1GB, 0, GIB, false, false },
	[MEMORY_ANON_SCATTERED] = { 0, MADV_NOHUGEPAGE, PAGE, false, true },
	[MEMORY_MEMFD_SCATTERED] = { 0, MADV_NOHUGEPAGE, PAGE, true, true },
};

uint32_t next_random(void)
{
	static uint32_t state = 2463534242U;

	state ^= state << 13;
	state ^= state >> 17;
	state ^= state << 5;
	return state;
}

static void *map_memfd(struct memory *memory)
{
	memory->file = memfd_create("bench", MFD_CLOEXEC);
	if (memory->file < 0 || ftruncate(memory->file, memory->size))
		return MAP_FAILED;
	return mmap(NULL, memory->size, PROT_READ | PROT_WRITE, MAP_SHARED, memory->file, 0);
}

/* Aligned to huge pages: what does not fit is given back. */
static void *map_anonymous(size_t size, int flags)
{
	size_t align = 2 * MIB, spare = flags & MAP_HUGETLB ? 0 : align;
	char *start, *first;

	start = mmap(NULL, size + spare, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
	if (start == MAP_FAILED || !spare)
		return start;
	first = (char *)(((uintptr_t)start + align - 1) & ~(align - 1));
	if (first > start)
		munmap(start, first - start);
	munmap(first + size, start + spare - first);
	return first;
}

static void touch(struct memory *memory)
{
	size_t at;

	for (at = 0; at < memory->size; at += PAGE)
		*(volatile unsigned char *)(memory->start + at) = 1;
}

/* Who is faulted in at random gets pages at random, for they come in order. */
static bool touch_shuffled(struct memory *memory)
{
	size_t count = memory->size / PAGE, i, other;
	uint32_t *order = malloc(count * sizeof(*order)), swap;

	if (!order)
		return false;
	for (i = 0; i < count; i++)
		order[i] = i;
	for (i = count - 1; i; i--) {
		other = next_random() % (i + 1);
		swap = order[i];
		order[i] = order[other];
		order[other] = swap;
	}
	for (i = 0; i < count; i++)
		*(volatile unsigned char *)(memory->start + order[i] * PAGE) = 1;
	free(order);
	return true;
}

/*
 * How many runs of contiguous physical pages there are, and whether each huge
 * page is one run.
 */
static const char *count_runs(struct memory *memory, size_t huge)
{
	size_t count = memory->size / PAGE, i, j, got;
	uint64_t entries[512], pfn, expected = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	const char *wrong = fd < 0 ? "/proc/self/pagemap cannot be read" : NULL;

	memory->runs = 0;
	for (i = 0; i < count && !wrong; i += got) {
		got = count - i < 512 ? count - i : 512;
		if (pread(fd, entries, got * 8, ((uintptr_t)memory->start / PAGE + i) * 8) !=
		    (ssize_t)(got * 8))
			wrong = "/proc/self/pagemap cannot be read";
		for (j = 0; j < got && !wrong; j++) {
			pfn = entries[j] & ((1ULL << 55) - 1);
			if (pfn != expected) {
				memory->runs++;
				if ((i + j) * PAGE % huge)
					wrong = "the kernel gave no huge pages";
			}
			expected = pfn + 1;
		}
	}
	if (fd >= 0)
		close(fd);
	return wrong;
}

/* Children have memory of their own: sharing would have it copied later. */
static const char *advise(struct memory *memory, enum memory_kind kind)
{
	bool hugetlb = kinds[kind].flags & MAP_HUGETLB;

	if (madvise(memory->start, memory->size, MADV_DONTFORK))
		return "MADV_DONTFORK is refused";
	if (!hugetlb && madvise(memory->start, memory->size, kinds[kind].advice))
		return "the kernel has no transparent huge pages";
	return NULL;
}

static const char *populate(struct memory *memory, enum memory_kind kind)
{
	if (!kinds[kind].shuffle)
		touch(memory);
	else if (!touch_shuffled(memory))
		return "there is too little memory";
	return count_runs(memory, kinds[kind].page);
}

const char *memory_get_untouched(struct memory *memory, enum memory_kind kind, size_t size)
{
	const char *wrong;

	*memory = (struct memory){ .size = size, .file = -1 };
	memory->start = kinds[kind].memfd ? map_memfd(memory) :
					    map_anonymous(size, kinds[kind].flags);
	if (memory->start == MAP_FAILED) {
		memory->start = NULL;
		return kinds[kind].page > PAGE ? "there are too few huge pages" :
						 "there is too little memory";
	}
	wrong = advise(memory, kind);
	if (wrong)
		memory_put(memory);
	return wrong;
}

const char *memory_get(struct memory *memory, enum memory_kind kind, size_t size)
{
	const char *wrong = memory_get_untouched(memory, kind, size);

	if (wrong)
		return wrong;
	wrong = populate(memory, kind);
	if (wrong)
		memory_put(memory);
	return wrong;
}

void memory_put(struct memory *memory)
{
	munmap(memory->start, memory->size);
	if (memory->file >= 0)
		close(memory->file);
	memory->start = NULL;
}
