/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a row of the benchmark is, and what all rows need.
 */
#ifndef TOOLS_TESTING_BENCH_BENCH_H
#define TOOLS_TESTING_BENCH_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include "backend.h"
#include "memory.h"

/* Above 4 GiB, and aligned to the largest pages that an IOMMU may use. */
#define IOVA (4 * GIB)

/* How many small mappings there are at a time, and calls in one measurement. */
#define CALLS 10000

struct bench {
	const struct backend *backend;
	int runs;
	bool wall;	/* the clock tells real time, and there are several processors */
	int count;
	char devices[MAX_DEVICES][16];
	struct memory memory[MEMORY_KINDS];
	const char *wrong[MEMORY_KINDS];	/* why there is no such memory */
};

/*
 * A row's function measures it once for the driver that is loaded, over @memory,
 * which has @size bytes or, on a small machine, less. It returns why that cannot
 * be done here, or NULL.
 */
struct row {
	const char *name;
	const char *(*run)(struct bench *bench, const struct row *row, struct memory *memory);
	enum memory_kind kind;
	size_t size;
};

const char *run_bulk(struct bench *bench, const struct row *row, struct memory *memory);
const char *run_file(struct bench *bench, const struct row *row, struct memory *memory);
const char *run_fresh(struct bench *bench, const struct row *row, struct memory *memory);
const char *run_fresh_file(struct bench *bench, const struct row *row, struct memory *memory);
const char *run_small(struct bench *bench, const struct row *row, struct memory *memory);
const char *run_two_devices(struct bench *bench, const struct row *row, struct memory *memory);
const char *run_first(struct bench *bench, const struct row *row, struct memory *memory);
const char *run_two_iommus(struct bench *bench, const struct row *row, struct memory *memory);
const char *run_threads(struct bench *bench, const struct row *row, struct memory *memory);
const char *run_boot(struct bench *bench, const struct row *row, struct memory *memory);
const char *run_viommu(struct bench *bench, const struct row *row, struct memory *memory);
const char *run_chosen(struct bench *bench, const struct row *row, struct memory *memory);
const char *run_chosen_holes(struct bench *bench, const struct row *row, struct memory *memory);
const char *run_exit(struct bench *bench, const struct row *row, struct memory *memory);
const char *run_kmem_bulk(struct bench *bench, const struct row *row, struct memory *memory);
const char *run_kmem_small(struct bench *bench, const struct row *row, struct memory *memory);

/* End the program, with what was done and why it failed. */
void fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* End the program if @ret is a negative errno. */
void check(int ret, const char *what);

uint64_t now(void);

/* Report one measurement of an operation. */
void sample(struct bench *bench, const struct row *row, const char *operation, double value);

/* Report how much memory there is, and in how many pieces. */
void describe(const struct row *row, struct memory *memory);

/* These end the program if they do not succeed. */
void open_space(struct bench *bench, struct space *space);
void bind(struct space *space, const char *address);
void attach(struct space *space, const char *address);
void map(struct space *space, void *memory, uint64_t iova, uint64_t size);
uint64_t map_anywhere(struct space *space, void *memory, uint64_t size);
void unmap(struct space *space, uint64_t iova, uint64_t size);

#endif /* TOOLS_TESTING_BENCH_BENCH_H */
