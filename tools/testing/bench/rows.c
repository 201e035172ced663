// SPDX-License-Identifier: GPL-2.0
/*
 * The rows that time calls: what is mapped, and how.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"
#include "phase.h"
#include "../../../samples/iommufd/edu.h"

/*
 * What was mapped is of use to the device: it copies from the last page to the
 * first one. Only an edu can be asked to.
 */
static void check_dma(struct bench *bench, struct space *space, struct memory *memory)
{
	static const char text[] = "was here";
	struct edu edu = { .fd = space->devices[0].fd };
	uint64_t last = memory->size - PAGE;

	if (!edu_is_edu(bench->devices[0]))
		return;
	memset(memory->start, 0, sizeof(text));
	memcpy(memory->start + last, text, sizeof(text));
	check(edu_start(&edu), "edu");
	check(edu_dma(&edu, EDU_READS_MEMORY, IOVA + last, 0, sizeof(text)), "DMA");
	check(edu_dma(&edu, EDU_WRITES_MEMORY, IOVA, 0, sizeof(text)), "DMA");
	munmap(edu.bar, edu.bar_size);
	if (memcmp(memory->start, text, sizeof(text)))
		fail("the device does not reach the memory that is mapped");
}

static void map_memory(struct space *space, struct memory *memory)
{
	if (memory->by_file)
		check(space->backend->calls->map_file(space, memory->file, IOVA, memory->size),
		      "map");
	else
		map(space, memory->start, IOVA, memory->size);
}

/* All of the memory in one call. */
static void bulk(struct bench *bench, const struct row *row, struct space *space,
		 struct memory *memory, bool first)
{
	double pages = memory->size / PAGE;
	uint64_t start, mapped, checked, end;

	start = now();
	map_memory(space, memory);
	mapped = now();
	if (first)
		check_dma(bench, space, memory);
	checked = now();
	unmap(space, IOVA, memory->size);
	end = now();
	sample(bench, row, "map", (mapped - start) / pages);
	sample(bench, row, "unmap", (end - checked) / pages);
}

const char *run_bulk(struct bench *bench, const struct row *row, struct memory *memory)
{
	struct space space;
	int i;

	describe(row, memory);
	open_space(bench, &space);
	for (i = 0; i < bench->runs; i++)
		bulk(bench, row, &space, memory, !i);
	space_close(&space);
	return NULL;
}

/* The same by the file that the memory is in. */
const char *run_file(struct bench *bench, const struct row *row, struct memory *memory)
{
	if (!bench->backend->calls->map_file)
		return "it has no such call";
	memory->by_file = true;
	return run_bulk(bench, row, memory);
}

/* What two processors do side by side varies more than what one does: so many times as often. */
#define FRESH_TIMES 3

/* Memory that nobody has used yet: to map it is to get it, and to clear it. */
static const char *fresh(struct bench *bench, const struct row *row, bool by_file)
{
	const char *wrong = NULL;
	struct memory memory;
	struct space space;
	int i;

	if (!bench->wall)
		return "it takes two processors: --wall";
	for (i = 0; i < bench->runs * FRESH_TIMES && !wrong; i++) {
		wrong = memory_get_untouched(&memory, row->kind, row->size);
		if (wrong)
			break;
		memory.by_file = by_file;
		open_space(bench, &space);
		bulk(bench, row, &space, &memory, !i);
		space_close(&space);
		memory_put(&memory);
	}
	return wrong;
}

const char *run_fresh(struct bench *bench, const struct row *row, struct memory *memory)
{
	(void)memory;
	return fresh(bench, row, false);
}

const char *run_fresh_file(struct bench *bench, const struct row *row, struct memory *memory)
{
	(void)memory;
	if (!bench->backend->calls->map_file)
		return "it has no such call";
	return fresh(bench, row, true);
}

/* A page by the call, each somewhere else; all are mapped before the first goes. */
const char *run_small(struct bench *bench, const struct row *row, struct memory *memory)
{
	struct space space;
	uint64_t start, mapped, end;
	int i, j;

	open_space(bench, &space);
	for (i = 0; i < bench->runs; i++) {
		start = now();
		for (j = 0; j < CALLS; j++)
			map(&space, memory->start + j * PAGE, IOVA + j * PAGE, PAGE);
		mapped = now();
		for (j = 0; j < CALLS; j++)
			unmap(&space, IOVA + j * PAGE, PAGE);
		end = now();
		sample(bench, row, "map", (mapped - start) / (double)CALLS);
		sample(bench, row, "unmap", (end - mapped) / (double)CALLS);
	}
	space_close(&space);
	return NULL;
}

/* A device comes to a space without one, where all is mapped that it is to reach. */
static void first_attach(struct bench *bench, const struct row *row, struct memory *memory,
			 bool first)
{
	struct space space;
	uint64_t start, end;

	check(space_open(&space, bench->backend), bench->backend->name);
	map(&space, memory->start, IOVA, memory->size);
	bind(&space, bench->devices[0]);
	start = now();
	phase(PHASE_ATTACH);
	attach(&space, bench->devices[0]);
	phase(PHASE_OTHER);
	end = now();
	sample(bench, row, "attach", end - start);
	if (first)
		check_dma(bench, &space, memory);
	space_close(&space);
}

const char *run_first(struct bench *bench, const struct row *row, struct memory *memory)
{
	int i;

	if (!bench->backend->calls->maps_alone)
		return "without a device it maps nothing";
	describe(row, memory);
	for (i = 0; i < bench->runs; i++)
		first_attach(bench, row, memory, !i);
	return NULL;
}

/* A device like the first one, or NULL: behind the same IOMMU, or another one. */
static const char *other_device(struct bench *bench, bool same_iommu)
{
	char path[64], first[256], other[256];
	int i;

	for (i = 0; i < bench->count; i++) {
		char *target = i ? other : first;
		ssize_t length;

		snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu", bench->devices[i]);
		length = readlink(path, target, sizeof(first) - 1);
		if (length < 0)
			return NULL;
		target[length] = 0;
		if (i && same_iommu == !strcmp(first, other))
			return bench->devices[i];
	}
	return NULL;
}

/* A second device comes to a space that is full, and shares it. */
static void with_second(struct bench *bench, const struct row *row, struct memory *memory,
			const char *second)
{
	struct space space;
	uint64_t start;
	int i;

	for (i = 0; i < bench->runs; i++) {
		open_space(bench, &space);
		map(&space, memory->start, IOVA, memory->size);
		start = now();
		bind(&space, second);
		attach(&space, second);
		sample(bench, row, "attach", now() - start);
		unmap(&space, IOVA, memory->size);
		bulk(bench, row, &space, memory, false);
		space_close(&space);
	}
}

const char *run_two_devices(struct bench *bench, const struct row *row, struct memory *memory)
{
	const char *second = other_device(bench, true);

	if (!second)
		return "there is no second device behind the same IOMMU";
	with_second(bench, row, memory, second);
	return NULL;
}

/* Another IOMMU has a domain of its own, unless its driver says that one will do. */
const char *run_two_iommus(struct bench *bench, const struct row *row, struct memory *memory)
{
	const char *second = other_device(bench, false);

	if (!second)
		return "no device is behind a second IOMMU (the machine of --arch arm64 has one)";
	with_second(bench, row, memory, second);
	return NULL;
}

struct half {
	pthread_t thread;
	pthread_barrier_t *barrier;
	struct space *space;
	unsigned char *start;
	uint64_t iova;
	uint64_t size;
};

static void *map_half(void *arg)
{
	struct half *half = arg;

	pthread_barrier_wait(half->barrier);
	map(half->space, half->start, half->iova, half->size);
	pthread_barrier_wait(half->barrier);
	unmap(half->space, half->iova, half->size);
	pthread_barrier_wait(half->barrier);
	return NULL;
}

static void two_halves(struct bench *bench, const struct row *row, struct space *space,
		       struct memory *memory)
{
	uint64_t start, mapped, end, size = memory->size / 2;
	double pages = memory->size / PAGE;
	pthread_barrier_t barrier;
	struct half halves[2];
	int i;

	pthread_barrier_init(&barrier, NULL, 3);
	for (i = 0; i < 2; i++) {
		halves[i] = (struct half){ .barrier = &barrier, .space = space, .size = size,
			.start = memory->start + i * size, .iova = IOVA + i * size };
		if (pthread_create(&halves[i].thread, NULL, map_half, &halves[i]))
			fail("there are no threads");
	}
	pthread_barrier_wait(&barrier);
	start = now();
	pthread_barrier_wait(&barrier);
	mapped = now();
	pthread_barrier_wait(&barrier);
	end = now();
	for (i = 0; i < 2; i++)
		pthread_join(halves[i].thread, NULL);
	pthread_barrier_destroy(&barrier);
	sample(bench, row, "map", (mapped - start) / pages);
	sample(bench, row, "unmap", (end - mapped) / pages);
}

/* Two threads, each with one half of the memory. */
const char *run_threads(struct bench *bench, const struct row *row, struct memory *memory)
{
	struct space space;
	int i;

	if (!bench->wall)
		return "it takes two processors: --wall";
	open_space(bench, &space);
	for (i = 0; i < bench->runs; i++)
		two_halves(bench, row, &space, memory);
	space_close(&space);
	return NULL;
}

/*
 * The memory of a PC: three quarters of it below 4 GiB, with a hole where the
 * firmware and the screen are, the rest from 4 GiB on.
 */
const char *run_boot(struct bench *bench, const struct row *row, struct memory *memory)
{
	uint64_t low = memory->size / 4 * 3, start, mapped, end;
	const struct { uint64_t iova, offset, size; } parts[] = {
		{ 0, 0, 640 * KIB },
		{ MIB, MIB, low - MIB },
		{ 4 * GIB, low, memory->size - low },
	};
	double pages = memory->size / PAGE;
	struct space space;
	int i, j;

	describe(row, memory);
	open_space(bench, &space);
	for (i = 0; i < bench->runs; i++) {
		start = now();
		for (j = 0; j < 3; j++)
			map(&space, memory->start + parts[j].offset, parts[j].iova, parts[j].size);
		mapped = now();
		for (j = 0; j < 3; j++)
			unmap(&space, parts[j].iova, parts[j].size);
		end = now();
		sample(bench, row, "map", (mapped - start) / pages);
		sample(bench, row, "unmap", (end - mapped) / pages);
	}
	space_close(&space);
	return NULL;
}

#define VIOMMU_BATCH 500
#define VIOMMU_MAX (64 * KIB)

/* A guest's driver maps a buffer of 4 to 64 KiB for each of its requests. */
struct slots {
	struct space *space;
	struct memory *memory;
	uint16_t order[CALLS];	/* the slots, shuffled */
	uint64_t sizes[CALLS];
};

static void map_slot(struct slots *slots, int slot)
{
	uint64_t pages = 1 + next_random() % (VIOMMU_MAX / PAGE);
	uint64_t first = next_random() % (slots->memory->size / PAGE - pages);

	slots->sizes[slot] = pages * PAGE;
	map(slots->space, slots->memory->start + first * PAGE, IOVA + slot * VIOMMU_MAX,
	    slots->sizes[slot]);
}

static void unmap_slot(struct slots *slots, int slot)
{
	unmap(slots->space, IOVA + slot * VIOMMU_MAX, slots->sizes[slot]);
}

static void fill_slots(struct slots *slots)
{
	uint16_t swap;
	int i, other;

	for (i = 0; i < CALLS; i++) {
		map_slot(slots, i);
		slots->order[i] = i;
	}
	for (i = CALLS - 1; i; i--) {
		other = next_random() % (i + 1);
		swap = slots->order[i];
		slots->order[i] = slots->order[other];
		slots->order[other] = swap;
	}
}

/* Replace every mapping by another one, some at a time. */
static void stream(struct bench *bench, const struct row *row, struct slots *slots)
{
	uint64_t start, unmapped, end, map_time = 0, unmap_time = 0;
	int i, j;

	for (i = 0; i < CALLS; i += VIOMMU_BATCH) {
		start = now();
		for (j = i; j < i + VIOMMU_BATCH; j++)
			unmap_slot(slots, slots->order[j]);
		unmapped = now();
		for (j = i; j < i + VIOMMU_BATCH; j++)
			map_slot(slots, slots->order[j]);
		end = now();
		unmap_time += unmapped - start;
		map_time += end - unmapped;
	}
	sample(bench, row, "map", map_time / (double)CALLS);
	sample(bench, row, "unmap", unmap_time / (double)CALLS);
}

const char *run_viommu(struct bench *bench, const struct row *row, struct memory *memory)
{
	static struct slots slots;
	struct space space;
	int i;

	open_space(bench, &space);
	slots.space = &space;
	slots.memory = memory;
	fill_slots(&slots);
	for (i = 0; i < bench->runs; i++)
		stream(bench, row, &slots);
	space_close(&space);
	return NULL;
}

/* How many calls are timed, for one may look at all that is mapped. */
#define CHOICES 8

/* Map two pages where the driver likes, a few times. */
static void choose(struct bench *bench, const struct row *row, struct space *space,
		   struct memory *memory, const char *operation)
{
	unsigned char *middle = memory->start + memory->size / 2;
	uint64_t start = now(), end, iovas[CHOICES];
	int i;

	for (i = 0; i < CHOICES; i++)
		iovas[i] = map_anywhere(space, middle, 2 * PAGE);
	end = now();
	for (i = 0; i < CHOICES; i++)
		unmap(space, iovas[i], 2 * PAGE);
	if (operation)
		sample(bench, row, operation, (end - start) / (double)CHOICES);
}

/*
 * All is taken from the lowest address on, a page by the call; with a larger stride
 * there is a page between one and the next, which is too little.
 */
static const char *among_areas(struct bench *bench, const struct row *row,
			       struct memory *memory, uint64_t stride)
{
	static const struct { const char *operation; uint64_t areas; } among[] = {
		{ "1k", 1000 }, { "10k", 10000 }, { "100k", 100000 },
	};
	uint64_t count = 0, offset;
	struct space space;
	int i, j;

	if (!bench->backend->calls->map_anywhere)
		return "it does not choose addresses";
	open_space(bench, &space);
	for (i = 0; i < 3; i++) {
		for (; count < among[i].areas; count++) {
			offset = count * PAGE % memory->size;
			check(space.backend->calls->map(&space, memory->start + offset,
							PAGE + count * stride, PAGE), "map");
		}
		/* What is new to the driver, it comes to know. */
		choose(bench, row, &space, memory, NULL);
		for (j = 0; j < bench->runs; j++)
			choose(bench, row, &space, memory, among[i].operation);
	}
	space_close(&space);
	return NULL;
}

const char *run_chosen(struct bench *bench, const struct row *row, struct memory *memory)
{
	return among_areas(bench, row, memory, PAGE);
}

const char *run_chosen_holes(struct bench *bench, const struct row *row, struct memory *memory)
{
	return among_areas(bench, row, memory, 2 * PAGE);
}
