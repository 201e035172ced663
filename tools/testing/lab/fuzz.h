/* SPDX-License-Identifier: GPL-2.0 */
/* What the fuzzer's calls share: the state of a run, choices, and memory. */
#ifndef LAB_FUZZ_H
#define LAB_FUZZ_H

#include "fuzz_domains.h"
#include "fuzz_input.h"
#include "iommufd_calls.h"

#define ARGUMENT_SIZE (2 * PAGE)
#define BUFS 2
#define BUF_SIZE (8 * PAGE)
#define NEAR 8			/* places for areas that any device can have */

struct fuzz {
	struct input input;
	struct coverage coverage;
	struct input *corpus;
	unsigned int kept;

	int fds[MODEL_CONTEXTS];
	struct model model;
	struct edu edu;
	bool has_device;	/* in this episode; it takes time to open */
	bool has_no_faults;	/* the kernel tells of none */
	bool takes_untranslated;	/* devices that no IOMMU has are taken as well */
	bool is_mock;		/* there are devices in software instead */
	struct device plain;	/* what a device is like when it is bound nowhere */
	struct range reach;	/* the addresses that it can use, but for holes */
	bool has_bad;		/* memory that cannot be pinned is recorded all the same, ... */
	bool has_bytes;		/* ... and areas that no domain could have, ... */
	bool has_far;		/* ... and some where not every device could have them */
	unsigned int guest;	/* 1 + the context where calls are to get somewhere, or 0 */
	char *memory;
	char *argument;		/* where arguments are put; nothing is behind it */
	int file, file_for_reading;
	const char *file_memory;
	int bufs[BUFS];		/* dma-bufs, with devices in software */
	bool is_revoked[BUFS];
	long pins;

	struct edu peer;	/* the device whose BAR is at BAR_AT */
	bool lets_bars;		/* mainline's calls may map it */

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
	if (f->guest)
		return f->guest - 1;
	return one_in(&f->input, 4) ? pick(&f->input, MODEL_CONTEXTS) : 0;
}

/* Rather one where a device is bound. */
static unsigned int pick_context_of_device(struct fuzz *f)
{
	unsigned int first = pick(&f->input, MODEL_DEVICES), i, number;

	if (f->guest)
		return f->guest - 1;
	for (i = 0; i < MODEL_DEVICES && !one_in(&f->input, 12); i++) {
		number = (first + i) % MODEL_DEVICES;
		if (f->model.devices[number].context >= 0)
			return f->model.devices[number].context;
	}
	return pick_context(f);
}

static int pick_id(struct fuzz *f)
{
	static const int odd[] = { 0, -1, 0x7fffffff, -0x7fffffff - 1, 25, 1000 };

	if (one_in(&f->input, 8))
		return odd[pick(&f->input, ARRAY_SIZE(odd))];
	return 1 + pick(&f->input, 7);
}

/* The space that a virtual IOMMU is in, or 0. */
static int some_guest_space(struct fuzz *f, unsigned int c)
{
	const struct context *context = &f->model.contexts[c];
	int id;

	for (id = 1; id <= MODEL_IDS; id++)
		if (context->kinds[id] == VIOMMU)
			return context->hwpts[context->viommus[id].parent].space;
	return 0;
}

/* A space with a device, or 0. */
static int some_seat(struct fuzz *f, unsigned int c)
{
	struct device *device = NULL;

	while (next_device(&f->model, &device))
		if (device->context == (int)c && device->hwpt)
			return model_seat(&f->model, device);
	return 0;
}

/* Mostly one that is there and of a kind; rather the space with the device, or the first one. */
static int pick_kind(struct fuzz *f, unsigned int c, enum kind kind)
{
	const struct context *context = &f->model.contexts[c];
	int ids[MODEL_IDS], id, seat;
	unsigned int count = 0;

	for (id = 1; id <= MODEL_IDS; id++)
		if (context->kinds[id] == kind)
			ids[count++] = id;
	if (!count || (!f->guest && one_in(&f->input, 8)))
		return pick_id(f);
	seat = kind == SPACE && (f->guest || one_in(&f->input, 3)) ? some_seat(f, c) : 0;
	if (kind == SPACE && f->guest && some_guest_space(f, c))
		seat = some_guest_space(f, c);
	return seat ? seat : ids[one_in(&f->input, 3) ? 0 : pick(&f->input, count)];
}

/* Beside those of IOMMU_HWPT_ALLOC: it marks pages now. */
#define IS_TRACKING (1U << 31)

static uint32_t hwpt_flags(const struct hwpt *hwpt)
{
	return hwpt->flags | (hwpt->is_tracking ? IS_TRACKING : 0);
}

/* Mostly a domain that has one of some flags; or else any. */
static int pick_hwpt(struct fuzz *f, unsigned int c, uint32_t flags)
{
	const struct context *context = &f->model.contexts[c];
	int id = !f->guest && one_in(&f->input, 4) ? 0 : MODEL_IDS;

	while (id && (context->kinds[id] != HWPT || !(hwpt_flags(&context->hwpts[id]) & flags)))
		id--;
	return id ? id : pick_kind(f, c, HWPT);
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
		IOVA, IOVA, IOVA, IOVA, IOVA + 16 * PAGE, IOVA + 16 * PAGE, IOVA + 64 * PAGE,
		f->reach.last + 1 - 16 * PAGE, 0, DOORBELLS - 8 * PAGE, f->reach.first - 8 * PAGE,
		f->reach.last + 1 - 8 * PAGE, TOP_PAGE - 8 * PAGE,
	};
	uint64_t base = bases[pick(&f->input, f->has_far ? ARRAY_SIZE(bases) : NEAR)];

	if (one_in(&f->input, f->has_far ? 20 : 200))
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

/* Some page of the memory; rather a good one, where what is bad would let no device come. */
static char *pick_memory(struct fuzz *f)
{
	unsigned int pages = f->has_bad || one_in(&f->input, 8) ? LIST_AT : RW_PAGES - 8;

	return f->memory + pick(&f->input, pages) * PAGE;
}

/* The same, or a BAR, which keeps devices out as well if it may not be mapped. */
static char *pick_to_map(struct fuzz *f)
{
	if (one_in(&f->input, f->has_bad || f->lets_bars ? 6 : 20))
		return (char *)BAR_AT + pick(&f->input, BAR_PAGES / 2) * PAGE;
	return pick_memory(f);
}

/* How far from a page boundary, at times. */
static uint64_t pick_bytes(struct fuzz *f)
{
	static const uint64_t bytes[] = { 1, 0x10, 0x200, 0x800, PAGE - 1, 0x210 };

	/* Pages of IOMMUs may be smaller than those of the kernel. */
	if (f->is_mock && one_in(&f->input, 8))
		return PAGE / 2;
	if (!f->has_bytes || !one_in(&f->input, 6))
		return 0;
	return bytes[pick(&f->input, ARRAY_SIZE(bytes))];
}

/* 0, or what any call says of such a range. */
static int check_range(uint64_t first, uint64_t size)
{
	return !size ? -EINVAL : first + size - 1 < first ? -EOVERFLOW : 0;
}

/* --- memory ----------------------------------------------------------------------- */

/* What is said of memory that is to be mapped: it is looked at if there is a domain for it. */
static int check_memory(struct fuzz *f, const struct view *view, uint64_t address, uint64_t size,
			bool to_write, bool may_be_bar)
{
	const struct rights_of *rights = &f->model.rights;

	if (!view->has_domains || memory_is_good(rights, address, size, to_write))
		return 0;
	return may_be_bar && rights->has_bar && is_bar(address, size) ? 0 : -EFAULT;
}

/* Where a list of @count ranges ends where the memory does. */
static struct iommu_iova_range *place_for_list(unsigned int count)
{
	return (struct iommu_iova_range *)MEMORY_END - count;
}

/* What a map of good memory may say if there is more of it than there can be. */
static int too_much(int got, int want, uint64_t size)
{
	return got == -ENOMEM && want < 0 && size > MEMORY_SIZE ? want : got;
}

/* The same where a device comes to what is mapped already. */
static int too_much_there(int got, int want, const struct space *space)
{
	unsigned int i;

	for (i = 0; space && i < space->count; i++)
		got = too_much(got, want, range_length(space->areas[i].range));
	return got;
}

static const int protections[] = {
	[NO_RIGHTS] = PROT_NONE, [TO_READ] = PROT_READ, [TO_WRITE] = PROT_READ | PROT_WRITE,
};

static void protect(struct fuzz *f, unsigned int first, unsigned int count, enum rights rights)
{
	mprotect(f->memory + first * PAGE, count * PAGE, protections[rights]);
	memset(f->model.rights.pages + first, rights, count);
}

/* To what an episode begins with. */
static void protect_again(struct fuzz *f)
{
	unsigned int page;

	rights_begin(&f->model.rights);
	for (page = 0; page < MEMORY_PAGES; page++)
		protect(f, page, 1, f->model.rights.pages[page]);
}

/*
 * Take rights to some pages from the process, or give them to it: what is pinned stays, what is
 * not can be pinned later, or cannot any more.
 */
static void fuzz_protect(struct fuzz *f)
{
	enum rights rights = one_in(&f->input, 3) ? pick(&f->input, 3) : TO_WRITE;

	if (f->has_bad)
		protect(f, pick(&f->input, RW_PAGES - 8), 1 + pick(&f->input, 8), rights);
}

/* --- the model -------------------------------------------------------------------- */

static struct context *context_of(struct fuzz *f, unsigned int c)
{
	return &f->model.contexts[c];
}

static void close_file(struct context *context, int id)
{
	if (context->files[id])
		close(context->files[id]);
	context->files[id] = 0;
}

/* What can be mapped of a virtual IOMMU of the test's. */
#define VIOMMU_SIZE (2 * PAGE)

static void unmap_viommu(struct viommu *viommu)
{
	if (viommu->memory)
		munmap(viommu->memory, VIOMMU_SIZE);
	viommu->memory = NULL;
}

/* What would keep a context that is closed: files, and memory of hardware. */
static void let_go(struct context *context)
{
	int id;

	for (id = 1; id <= MODEL_IDS; id++) {
		close_file(context, id);
		if (context->kinds[id] == VIOMMU)
			unmap_viommu(&context->viommus[id]);
	}
}

/* The device under VFIO. */
static struct device *edu_device(struct fuzz *f)
{
	return &f->model.devices[0];
}

/* Whether there is any that could be bound. */
static bool has_devices(const struct fuzz *f)
{
	return f->has_device || f->is_mock;
}

/* Whether one more of a kind would rather leave too little for each of them. */
static bool has_enough(struct fuzz *f, const struct context *context, enum kind kind)
{
	unsigned int count = model_count(context, kind);

	return count > 12 || (count > (f->is_mock ? 5 : 2) && !one_in(&f->input, 4));
}

/* Whether a map of @size would be more than the model can keep. */
static bool is_full(const struct space *space, unsigned int more)
{
	return space && space->count + more > MODEL_AREAS;
}

#endif /* LAB_FUZZ_H */
