/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The kinds of memory that a process may have. Each function returns @size bytes
 * of it, or NULL if there is none of the kind to be had; its start is aligned to
 * the largest page that @size holds.
 */
#ifndef SELFTESTS_IOMMU_SOURCES_H
#define SELFTESTS_IOMMU_SOURCES_H

#include <linux/mman.h>
#include <linux/memfd.h>

#include "ioasid_utils.h"

#define KIB 1024UL
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define HUGE_2M (2 * MIB)
#define HUGE_1G GIB

/* Addresses that nothing uses, aligned to @align, a power of two. */
static inline char *reserve_addresses(size_t size, size_t align)
{
	char *start = mmap(NULL, size + align, PROT_NONE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uintptr_t aligned = ((uintptr_t)start + align - 1) & -align;

	return start == MAP_FAILED ? NULL : (char *)aligned;
}

/* The mapping that mmap() would make, at an address aligned to @align. */
static inline char *map_aligned(size_t size, size_t align, int prot, int flags, int fd)
{
	char *start = reserve_addresses(size, align);

	if (!start || mmap(start, size, prot, flags | MAP_FIXED, fd, 0) == MAP_FAILED)
		return NULL;
	return start;
}

static inline size_t align_for(size_t size)
{
	return size >= HUGE_1G ? HUGE_1G : size >= HUGE_2M ? HUGE_2M : PAGE;
}

static inline char *anonymous(size_t size, int flags)
{
	return map_aligned(size, align_for(size), PROT_READ | PROT_WRITE,
			   MAP_ANONYMOUS | flags, -1);
}

/* A page of a file, and where it is in the host's memory. */
struct filed_page {
	uint64_t host;
	off_t offset;
};

static inline int from_the_last(const void *a, const void *b)
{
	const struct filed_page *one = a, *other = b;

	return one->host < other->host ? 1 : -1;
}

/*
 * Memory whose every page lies before the one that it follows in the host's memory, so that
 * each is a run. In which order the kernel hands pages out cannot be told; root can look.
 */
static inline char *backwards(unsigned int count)
{
	int flags = MAP_SHARED | MAP_POPULATE, file = memfd_create("backwards", MFD_CLOEXEC);
	struct filed_page *filed = calloc(count, sizeof(*filed));
	char *memory = NULL;
	unsigned int page;

	if (file >= 0 && filed && !ftruncate(file, count * PAGE))
		memory = map_aligned(count * PAGE, PAGE, PROT_READ | PROT_WRITE, flags, file);
	for (page = 0; memory && page < count; page++) {
		filed[page].offset = page * PAGE;
		filed[page].host = host_page(memory + page * PAGE);
		if (!filed[page].host)
			memory = NULL;
	}
	if (memory)
		qsort(filed, count, sizeof(*filed), from_the_last);
	for (page = 0; memory && page < count; page++)
		if (mmap(memory + page * PAGE, PAGE, PROT_READ | PROT_WRITE, flags | MAP_FIXED,
			 file, filed[page].offset) == MAP_FAILED)
			memory = NULL;
	free(filed);
	close(file);
	return memory;
}

/* Of pages that the kernel does not make larger ones of. */
static inline char *small_pages(size_t size)
{
	char *memory = anonymous(size, MAP_PRIVATE);

	return memory && keep_small(memory, size) ? memory : NULL;
}

static inline char *untouched_huge_pages(size_t size)
{
	char *memory = anonymous(size, MAP_PRIVATE);

	return memory && !madvise(memory, size, MADV_HUGEPAGE) ? memory : NULL;
}

static inline char *transparent_huge_pages(size_t size)
{
	char *memory = untouched_huge_pages(size);

	if (memory)
		memset(memory, 1, size);
	return memory;
}

static inline char *huge_pages_2m(size_t size)
{
	return anonymous(size, MAP_PRIVATE | MAP_HUGETLB | MAP_HUGE_2MB);
}

static inline char *huge_pages_1g(size_t size)
{
	return anonymous(size, MAP_PRIVATE | MAP_HUGETLB | MAP_HUGE_1GB);
}

static inline char *shared_anonymous(size_t size)
{
	return anonymous(size, MAP_SHARED);
}

/* All of the file @fd, which gets @size bytes. */
static inline char *map_file(int fd, size_t size, int prot, int flags)
{
	if (fd < 0 || ftruncate(fd, size))
		return NULL;
	return map_aligned(size, align_for(size), prot, flags, fd);
}

static inline char *memfd_pages(size_t size)
{
	return map_file(memfd_create("pages", MFD_CLOEXEC), size, PROT_READ | PROT_WRITE,
			MAP_SHARED);
}

static inline char *memfd_huge_pages(size_t size)
{
	return map_file(memfd_create("huge pages", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_2MB),
			size, PROT_READ | PROT_WRITE, MAP_SHARED);
}

/* A new file without a name in a folder. */
static inline int file_in(const char *folder)
{
	return open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
}

/*
 * Memory that costs next to nothing, however large: @size bytes of addresses at
 * which there is the file @fd, of @tile bytes, again and again.
 */
static inline char *tiled(int fd, size_t tile, size_t size)
{
	char *start = reserve_addresses(size, HUGE_1G);
	size_t at;

	for (at = 0; start && at < size; at += tile)
		if (mmap(start + at, tile, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
			 0) == MAP_FAILED)
			return NULL;
	return start;
}

/* Take the memory at @page somewhere else, and have new memory there. */
static inline char *replace_page(char *page)
{
	char *elsewhere = pages(1);

	mremap(page, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, elsewhere);
	mmap(page, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	return elsewhere;
}

#endif /* SELFTESTS_IOMMU_SOURCES_H */
