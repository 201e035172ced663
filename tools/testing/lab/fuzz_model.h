/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a context must look like after a series of calls, kept apart from the driver:
 * flat arrays, and the documented order of checks.
 */
#ifndef LAB_FUZZ_MODEL_H
#define LAB_FUZZ_MODEL_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define MODEL_IDS 24
#define MODEL_AREAS 48
#define MODEL_HOLES 16
#define MODEL_PAGE 4096UL

struct range {
	uint64_t first, last;
};

struct space {
	struct range window;
	bool enforce_snoop;
	struct range areas[MODEL_AREAS];
	unsigned int count;
};

enum kind { FREE_ID, SPACE, DEVICE };

struct context {
	enum kind kinds[MODEL_IDS + 1];
	struct space spaces[MODEL_IDS + 1];
};

/* The one device: where it is bound and attached, and what it can reach. */
struct device {
	int context;		/* -1: not bound */
	int id;
	int space;		/* 0: not attached */
	uint64_t last;		/* of the addresses that the IOMMU translates */
	struct range holes[MODEL_HOLES];
	unsigned int hole_count;
};

static inline bool overlap(struct range a, struct range b)
{
	return a.first <= b.last && b.first <= a.last;
}

static inline bool inside(struct range inner, struct range outer)
{
	return outer.first <= inner.first && inner.last <= outer.last;
}

/* The lowest free id above @id, or 0. */
static inline int model_id_after(const struct context *context, int id)
{
	while (++id <= MODEL_IDS)
		if (context->kinds[id] == FREE_ID)
			return id;
	return 0;
}

/* The lowest id that is free, or 0. */
static inline int model_next_id(const struct context *context)
{
	return model_id_after(context, 0);
}

static inline struct space *model_space(struct context *context, int64_t id)
{
	if (id < 1 || id > MODEL_IDS || context->kinds[id] != SPACE)
		return NULL;
	return &context->spaces[id];
}

/* Whether the device, if it is attached to this space, leaves the range to it. */
static inline bool device_accepts(const struct device *device, struct range range)
{
	unsigned int i;

	if (range.last > device->last)
		return false;
	for (i = 0; i < device->hole_count; i++)
		if (overlap(range, device->holes[i]))
			return false;
	return true;
}

/* MAP, after the checks of the arguments; @attached or NULL. */
static inline int model_map(struct space *space, struct range range, bool readable_memory,
			    const struct device *attached)
{
	unsigned int i;

	for (i = 0; i < space->count; i++)
		if (overlap(space->areas[i], range))
			return -EEXIST;
	if (!inside(range, space->window) || (attached && !device_accepts(attached, range)))
		return -EINVAL;
	if (!readable_memory)
		return -EFAULT;
	space->areas[space->count++] = range;
	return 0;
}

/* Returns how many bytes were mapped there. */
static inline int64_t model_unmap(struct space *space, struct range range)
{
	unsigned int i, kept = 0;
	int64_t bytes = 0;

	for (i = 0; i < space->count; i++)
		if (overlap(space->areas[i], range) && !inside(space->areas[i], range))
			return -EINVAL;
	for (i = 0; i < space->count; i++) {
		if (inside(space->areas[i], range))
			bytes += space->areas[i].last - space->areas[i].first + 1;
		else
			space->areas[kept++] = space->areas[i];
	}
	space->count = kept;
	return bytes;
}

static inline long model_pages(const struct context *context)
{
	const struct space *space;
	unsigned int id, i;
	long count = 0;

	for (id = 1; id <= MODEL_IDS; id++) {
		space = &context->spaces[id];
		for (i = 0; context->kinds[id] == SPACE && i < space->count; i++)
			count += (space->areas[i].last - space->areas[i].first + 1) / MODEL_PAGE;
	}
	return count;
}

/* Whether anything would be left of the window for the device. */
static inline bool window_is_usable(const struct space *space, const struct device *device)
{
	uint64_t next = space->window.first, last = space->window.last;
	unsigned int i;

	if (last > device->last)
		last = device->last;
	/* The holes are in order. */
	for (i = 0; i < device->hole_count && next <= last; i++) {
		if (device->holes[i].last < next)
			continue;
		if (device->holes[i].first > next)
			return true;
		next = device->holes[i].last + 1;
	}
	return next <= last;
}

/* ATTACH to a space that exists; the device's IOMMU cannot enforce snooping. */
static inline int model_attach(const struct space *space, const struct device *device)
{
	unsigned int i, j;

	if (space->enforce_snoop)
		return -EINVAL;
	for (i = 0; i < space->count; i++)
		for (j = 0; j < device->hole_count; j++)
			if (overlap(space->areas[i], device->holes[j]))
				return -EADDRINUSE;
	if (!window_is_usable(space, device))
		return -EINVAL;
	for (i = 0; i < space->count; i++)
		if (space->areas[i].last > device->last)
			return -EADDRINUSE;
	return 0;
}

#endif /* LAB_FUZZ_MODEL_H */
