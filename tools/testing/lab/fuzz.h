/* SPDX-License-Identifier: GPL-2.0 */
/* What the fuzzer's calls share: the state of a run, choices, and memory. */
#ifndef LAB_FUZZ_H
#define LAB_FUZZ_H

#include "fuzz_domains.h"
#include "fuzz_input.h"
#include "iommufd_calls.h"

/*
 * Memory that can be written, some that can be read, none, and a page for lists of
 * ranges. Nothing else is near, nor where odd offsets lead.
 */
#define RW_PAGES 64
#define RO_PAGES 4
#define NO_PAGES 4
#define LIST_AT (RW_PAGES + RO_PAGES + NO_PAGES)
#define MEMORY_PAGES (LIST_AT + 1)
#define MEMORY (1UL << 40)
#define MEMORY_END ((char *)MEMORY + MEMORY_PAGES * PAGE)

#define FILE_PAGES 32
#define ARGUMENT_SIZE (2 * PAGE)

struct fuzz {
	struct input input;
	struct coverage coverage;
	struct input *corpus;
	unsigned int kept;

	int fds[MODEL_CONTEXTS];
	struct model model;
	struct edu edu;
	bool has_device;	/* in this episode; it takes time to open */
	char *memory;
	char *argument;		/* where arguments are put; nothing is behind it */
	int file, file_for_reading;
	long pins;

	unsigned long calls, episodes;
	bool failed, verbose;
};

/* Compare what is there with what was foreseen. */
static bool expected(struct fuzz *f, const char *name, int64_t got, int64_t want)
{
	if (f->verbose)
		printf("# %s: %ld\n", name, got);
	if (got == want)
		return true;
	printf("# %s is %ld, not %ld, as call %lu in episode %lu\n", name, got, want,
	       f->calls, f->episodes);
	f->failed = true;
	return false;
}

/* The same of what a call returned. */
static bool foreseen(struct fuzz *f, const char *name, int64_t got, int64_t want)
{
	f->calls++;
	return expected(f, name, got, want);
}

/* --- choices ---------------------------------------------------------------------- */

/* Rather the first, where there is the more. */
static unsigned int pick_context(struct fuzz *f)
{
	return one_in(&f->input, 4) ? pick(&f->input, MODEL_CONTEXTS) : 0;
}

static int pick_id(struct fuzz *f)
{
	static const int odd[] = { 0, -1, 0x7fffffff, -0x7fffffff - 1, 25, 1000 };

	if (one_in(&f->input, 8))
		return odd[pick(&f->input, ARRAY_SIZE(odd))];
	return 1 + pick(&f->input, 7);
}

/* Mostly one that is there and of a kind. */
static int pick_kind(struct fuzz *f, unsigned int c, enum kind kind)
{
	const struct context *context = &f->model.contexts[c];
	int ids[MODEL_IDS], id;
	unsigned int count = 0;

	for (id = 1; id <= MODEL_IDS; id++)
		if (context->kinds[id] == kind)
			ids[count++] = id;
	return count && !one_in(&f->input, 8) ? ids[pick(&f->input, count)] : pick_id(f);
}

static uint64_t pick_odd(struct fuzz *f)
{
	static const uint64_t odd[] = {
		1, PAGE - 1, PAGE + 1, 1UL << 31, 1UL << 32, 1UL << 47, 1UL << 63,
		TOP_PAGE, UINT64_MAX, 0,
	};

	return odd[pick(&f->input, ARRAY_SIZE(odd))];
}

static uint64_t pick_iova(struct fuzz *f)
{
	const uint64_t bases[] = {
		0, IOVA, IOVA, IOVA, DOORBELLS - 8 * PAGE, f->model.device.last + 1 - 8 * PAGE,
		TOP_PAGE - 8 * PAGE,
	};
	uint64_t base = bases[pick(&f->input, ARRAY_SIZE(bases))];

	if (one_in(&f->input, 20))
		return pick_odd(f);
	return base + pick(&f->input, 16) * PAGE;
}

static uint64_t pick_size(struct fuzz *f)
{
	if (one_in(&f->input, 20))
		return pick_odd(f);
	return (1 + pick(&f->input, 8)) * PAGE;
}

/* What to unmap: rather an area of the space, or all from one to another. */
static struct range pick_mapped(struct fuzz *f, const struct space *space)
{
	struct range range = { pick_iova(f), 0 }, other;

	range.last = range.first + pick_size(f) - 1;
	if (!space || !space->count || one_in(&f->input, 3))
		return range;
	range = space->areas[pick(&f->input, space->count)].range;
	other = space->areas[pick(&f->input, space->count)].range;
	if (other.last > range.last && one_in(&f->input, 3))
		range.last = other.last;
	return range;
}

/* Some page of the memory. */
static char *pick_memory(struct fuzz *f)
{
	return f->memory + pick(&f->input, LIST_AT) * PAGE;
}

/* 0, or what any call says of such a range. */
static int check_range(uint64_t first, uint64_t size)
{
	return !size ? -EINVAL : first + size - 1 < first ? -EOVERFLOW : 0;
}

/* --- memory ----------------------------------------------------------------------- */

/* Whether memory is there, and can be written if it has to be. */
static bool memory_is_good(struct fuzz *f, uint64_t address, uint64_t size, bool to_write)
{
	uint64_t offset = address - (uintptr_t)f->memory, end = offset + size, page;

	if (!size)
		return true;
	if (end < offset || end > MEMORY_PAGES * PAGE)
		return false;
	for (page = offset / PAGE; page <= (end - 1) / PAGE; page++)
		if (page != LIST_AT && page >= (to_write ? RW_PAGES : RW_PAGES + RO_PAGES))
			return false;
	return true;
}

/* Where a list of @count ranges ends where the memory does. */
static struct iommu_iova_range *place_for_list(unsigned int count)
{
	return (struct iommu_iova_range *)MEMORY_END - count;
}

/* What a map of good memory may say if there is more of it than there can be. */
static int too_much(int got, int want, uint64_t size)
{
	return got == -ENOMEM && want < 0 && size > MEMORY_PAGES * PAGE ? want : got;
}

/* --- the model -------------------------------------------------------------------- */

static struct context *context_of(struct fuzz *f, unsigned int c)
{
	return &f->model.contexts[c];
}

/* Whether a map of @size would be more than the model can keep. */
static bool is_full(const struct space *space, unsigned int more)
{
	return space && space->count + more > MODEL_AREAS;
}

#endif /* LAB_FUZZ_H */
