// SPDX-License-Identifier: GPL-2.0
/*
 * The rows about the kernel's own memory: what a driver takes for its books, in
 * KiB for each GiB that is mapped. The I/O page tables are not counted, for they
 * are the IOMMU's; nor is the memory that is mapped.
 */
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench.h"

/* What is freed after a grace period or by a worker has its time. */
#define SETTLE_US 200000

struct books {
	long free;	/* pages that nobody has */
	long iommu;	/* pages of I/O page tables */
};

/* Add up the numbers in the lines of a file that are written like @format. */
static long sum_lines(const char *path, const char *format)
{
	FILE *file = fopen(path, "r");
	long value, sum = 0;
	char line[256];

	if (!file)
		fail("%s cannot be read", path);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, format, &value) == 1)
			sum += value;
	fclose(file);
	return sum;
}

static void write_one(const char *path)
{
	FILE *file = fopen(path, "w");

	if (!file)
		return;
	fputs("1", file);
	fclose(file);
}

/* Free pages are in the zones, and on the lists that each processor has. */
static struct books read_books(void)
{
	usleep(SETTLE_US);
	write_one("/proc/sys/vm/stat_refresh");
	return (struct books){
		.free = sum_lines("/proc/zoneinfo", " pages free %ld") +
			sum_lines("/proc/zoneinfo", " count: %ld"),
		.iommu = sum_lines("/proc/vmstat", "nr_iommu_pages %ld"),
	};
}

/* The slab caches give back what they have kept from the time before. */
static struct books start_books(void)
{
	glob_t caches;
	size_t i;

	usleep(SETTLE_US);
	if (!glob("/sys/kernel/slab/*/shrink", 0, NULL, &caches)) {
		for (i = 0; i < caches.gl_pathc; i++)
			write_one(caches.gl_pathv[i]);
		globfree(&caches);
	}
	return read_books();
}

static void report(struct bench *bench, const struct row *row, struct books before,
		   uint64_t size)
{
	struct books after = read_books();
	long pages = before.free - after.free - (after.iommu - before.iommu);

	sample(bench, row, "memory", pages * 4.0 / ((double)size / GIB));
}

/* All of the memory in one call. */
const char *run_kmem_bulk(struct bench *bench, const struct row *row, struct memory *memory)
{
	struct books before;
	struct space space;
	int i;

	open_space(bench, &space);
	for (i = 0; i < bench->runs; i++) {
		before = start_books();
		map(&space, memory->start, IOVA, memory->size);
		report(bench, row, before, memory->size);
		unmap(&space, IOVA, memory->size);
	}
	space_close(&space);
	return NULL;
}

/* A page by the call. */
const char *run_kmem_small(struct bench *bench, const struct row *row, struct memory *memory)
{
	struct books before;
	struct space space;
	int i, j;

	open_space(bench, &space);
	for (i = 0; i < bench->runs; i++) {
		before = start_books();
		for (j = 0; j < CALLS; j++)
			map(&space, memory->start + j * PAGE, IOVA + j * PAGE, PAGE);
		report(bench, row, before, CALLS * PAGE);
		for (j = 0; j < CALLS; j++)
			unmap(&space, IOVA + j * PAGE, PAGE);
	}
	space_close(&space);
	return NULL;
}
