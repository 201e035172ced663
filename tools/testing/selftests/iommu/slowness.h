/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A kernel that checks itself takes many times as long, and so does a machine that
 * has others to serve. How many is measured when a program starts: tests get that
 * much more time, and those about quantities do less.
 */
#ifndef SELFTESTS_IOMMU_SLOWNESS_H
#define SELFTESTS_IOMMU_SLOWNESS_H

#include <sys/mman.h>
#include <time.h>

#include "kselftest_harness.h"

/* What a probe takes on a stock kernel in an emulated machine. */
#define SLOWNESS_PROBE_NS 20000000L
#define SLOWNESS_MAX 50

static unsigned int slowness_factor = 1;

/* Memory that comes and goes: system calls, faults, allocations, locks. */
static inline void slowness_probe(void)
{
	const size_t size = 16 * 4096;
	unsigned int round;
	size_t offset;
	char *memory;

	for (round = 0; round < 32; round++) {
		memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (memory == MAP_FAILED)
			return;
		for (offset = 0; offset < size; offset += 4096)
			memory[offset] = 1;
		munmap(memory, size);
	}
}

/* Without a priority, this comes after all tests are registered. */
static void __attribute__((constructor)) slowness_measure(void)
{
	struct __fixture_metadata *fixture;
	struct timespec start, end;
	struct __test_metadata *test;
	long ns;

	clock_gettime(CLOCK_MONOTONIC, &start);
	slowness_probe();
	clock_gettime(CLOCK_MONOTONIC, &end);
	ns = (end.tv_sec - start.tv_sec) * 1000000000L + end.tv_nsec - start.tv_nsec;
	slowness_factor = ns / SLOWNESS_PROBE_NS + 1;
	if (slowness_factor > SLOWNESS_MAX)
		slowness_factor = SLOWNESS_MAX;
	for (fixture = __fixture_list; fixture; fixture = fixture->next)
		for (test = fixture->tests; test; test = test->next)
			test->timeout *= slowness_factor;
}

/* A quantity that takes about as long as @count does on a stock kernel, but at least @least. */
static inline unsigned long scaled(unsigned long count, unsigned long least)
{
	unsigned long less = count / slowness_factor;

	return less > least ? less : least;
}

#endif /* SELFTESTS_IOMMU_SLOWNESS_H */
