/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a context must look like after a series of calls, kept apart from the driver:
 * flat arrays, and the documented order of checks. Here are the objects and what is
 * mapped; fuzz_domains.h says where devices and domains allow it.
 */
#ifndef LAB_FUZZ_MODEL_H
#define LAB_FUZZ_MODEL_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define MODEL_IDS 24
#define MODEL_AREAS 48
#define MODEL_ALLOWED 8
#define MODEL_PAGE 4096UL
/* No call maps more of them. */
#define MODEL_PAGES 80

struct range {
	uint64_t first, last;
};

/*
 * Memory that was pinned by one call. A page of it is pinned once, however often it is
 * mapped by now, and as long as it is mapped anywhere.
 */
struct memory {
	unsigned int users;	/* areas that have some of it */
	unsigned short users_of[MODEL_PAGES];
	bool writable;
	bool is_file;
};

struct area {
	struct range range;
	unsigned int memory;
	uint64_t skip;		/* pages of the memory before the area's */
};

struct space {
	struct range window;
	bool enforce_snoop, small_pages;
	struct area areas[MODEL_AREAS];
	unsigned int count;
	struct range allowed[MODEL_ALLOWED];
	unsigned int allowed_count;
};

struct hwpt {
	int space;
	bool is_auto;		/* goes with the device that it was made for */
};

enum kind { FREE_ID, SPACE, HWPT, DEVICE };

struct context {
	enum kind kinds[MODEL_IDS + 1];
	struct space spaces[MODEL_IDS + 1];
	struct hwpt hwpts[MODEL_IDS + 1];
	int container;		/* the space that stands for a VFIO container, or 0 */
	bool per_process;
	bool knows_ioasids;	/* had a device bound, or an IOASID allocated */
	struct memory memory[MODEL_IDS * MODEL_AREAS];
	long pinned;
};

/* --- ranges ----------------------------------------------------------------------- */

static inline bool overlap(struct range a, struct range b)
{
	return a.first <= b.last && b.first <= a.last;
}

static inline bool inside(struct range inner, struct range outer)
{
	return outer.first <= inner.first && inner.last <= outer.last;
}

/* What both have in common; what is not empty has its first address not behind its last. */
static inline struct range common(struct range a, struct range b)
{
	return (struct range) {
		a.first > b.first ? a.first : b.first,
		a.last < b.last ? a.last : b.last,
	};
}

static inline uint64_t range_pages(struct range range)
{
	return (range.last - range.first) / MODEL_PAGE + 1;
}

/* --- ids -------------------------------------------------------------------------- */

/* The lowest id that is free, or 0. */
static inline int model_next_id(const struct context *context)
{
	int id;

	for (id = 1; id <= MODEL_IDS; id++)
		if (context->kinds[id] == FREE_ID)
			return id;
	return 0;
}

static inline enum kind model_kind(const struct context *context, int64_t id)
{
	return id < 1 || id > MODEL_IDS ? FREE_ID : context->kinds[id];
}

static inline struct space *model_space(struct context *context, int64_t id)
{
	return model_kind(context, id) == SPACE ? &context->spaces[id] : NULL;
}

/* Whether the space has domains: then it cannot be freed. */
static inline bool model_has_domains(const struct context *context, int space)
{
	int id;

	for (id = 1; id <= MODEL_IDS; id++)
		if (context->kinds[id] == HWPT && context->hwpts[id].space == space)
			return true;
	return false;
}

static inline int model_add_space(struct context *context, struct range window, bool enforce_snoop)
{
	int id = model_next_id(context);

	context->kinds[id] = SPACE;
	context->spaces[id] = (struct space) { .window = window, .enforce_snoop = enforce_snoop };
	return id;
}

static inline int model_add_hwpt(struct context *context, int space, bool is_auto)
{
	int id = model_next_id(context);

	context->kinds[id] = HWPT;
	context->hwpts[id] = (struct hwpt) { .space = space, .is_auto = is_auto };
	return id;
}

/* --- what is mapped --------------------------------------------------------------- */

static inline unsigned int model_pin(struct context *context, bool writable)
{
	unsigned int number = 0;

	while (context->memory[number].users)
		number++;
	context->memory[number] = (struct memory) { .writable = writable };
	return number;
}

static inline void model_put(struct context *context, struct space *space, struct area area)
{
	struct memory *memory = &context->memory[area.memory];
	uint64_t page, end = area.skip + range_pages(area.range);

	memory->users++;
	for (page = area.skip; page < end; page++)
		context->pinned += !memory->users_of[page]++;
	space->areas[space->count++] = area;
}

static inline void model_let_go(struct context *context, struct area area)
{
	struct memory *memory = &context->memory[area.memory];
	uint64_t page, end = area.skip + range_pages(area.range);

	memory->users--;
	for (page = area.skip; page < end; page++)
		context->pinned -= !--memory->users_of[page];
}

static inline bool model_is_taken(const struct space *space, struct range range)
{
	unsigned int i;

	for (i = 0; i < space->count; i++)
		if (overlap(space->areas[i].range, range))
			return true;
	return false;
}

/* The area that has an address, or NULL. */
static inline const struct area *model_area_at(const struct space *space, uint64_t iova)
{
	unsigned int i;

	for (i = 0; i < space->count; i++)
		if (overlap(space->areas[i].range, (struct range) { iova, iova }))
			return &space->areas[i];
	return NULL;
}

/* Whether an end of the range is inside of an area. */
static inline bool model_is_cut(const struct space *space, struct range range)
{
	unsigned int i;

	for (i = 0; i < space->count; i++)
		if (overlap(space->areas[i].range, range) && !inside(space->areas[i].range, range))
			return true;
	return false;
}

/* Unmaps what lies in the range, and returns how many bytes that was. */
static inline int64_t model_unmap(struct context *context, struct space *space,
				  struct range range)
{
	unsigned int i, kept = 0;
	struct area area;
	int64_t bytes = 0;

	for (i = 0; i < space->count; i++) {
		area = space->areas[i];
		if (!inside(area.range, range)) {
			space->areas[kept++] = area;
			continue;
		}
		bytes += area.range.last - area.range.first + 1;
		model_let_go(context, area);
	}
	space->count = kept;
	return bytes;
}

/*
 * What VFIO's type1 does before it unmaps: the area that has the address @last, and
 * goes on, is cut behind it.
 */
static inline void model_cut(struct context *context, struct space *space, uint64_t last)
{
	struct area front, back;
	unsigned int i;

	for (i = 0; i < space->count; i++) {
		front = space->areas[i];
		back = front;
		if (front.range.first > last || front.range.last <= last)
			continue;
		front.range.last = last;
		back.range.first = last + 1;
		back.skip += range_pages(front.range);
		space->areas[i].range.last = last;
		context->memory[back.memory].users++;
		space->areas[space->count++] = back;
		return;
	}
}

static inline void model_free_space(struct context *context, int id)
{
	model_unmap(context, &context->spaces[id], (struct range) { 0, UINT64_MAX });
	context->kinds[id] = FREE_ID;
	if (context->container == id)
		context->container = 0;
}

#endif /* LAB_FUZZ_MODEL_H */
