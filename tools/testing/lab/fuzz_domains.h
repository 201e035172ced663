/* SPDX-License-Identifier: GPL-2.0 */
/* The fuzzer's model of devices and domains, and of where they let a space map. */
#ifndef LAB_FUZZ_DOMAINS_H
#define LAB_FUZZ_DOMAINS_H

#include "fuzz_model.h"

#define MODEL_CONTEXTS 2
#define MODEL_HOLES 16

/* The one device: where it is bound and attached, and what it can reach. */
struct device {
	int context;		/* -1: not bound */
	int id;
	int hwpt;		/* the domain that it is attached to, or 0 */
	uint64_t last;		/* of the addresses that the IOMMU translates */
	struct range holes[MODEL_HOLES];	/* in order */
	unsigned int hole_count;
	uint32_t domain_flags;	/* of those for the IOMMU driver, the ones that it takes */
	int nested;		/* what comes of a domain inside of another */
	uint32_t info_type, info_size;	/* what it says of itself */
};

struct model {
	struct context contexts[MODEL_CONTEXTS];
	struct device device;
};

/* A space, and what limits what can be mapped there at the moment. */
struct view {
	struct context *context;
	struct space *space;	/* NULL: there is none */
	bool has_domains;
	uint64_t last;		/* of what its domains translate */
	const struct range *holes;
	unsigned int hole_count;
};

/* The space that the device is attached to, or 0. */
static inline int model_seat(const struct model *model)
{
	const struct device *device = &model->device;

	return device->hwpt ? model->contexts[device->context].hwpts[device->hwpt].space : 0;
}

static inline struct view model_view(struct model *model, unsigned int c, int64_t id)
{
	struct context *context = &model->contexts[c];
	struct view view = { .context = context, .space = model_space(context, id) };

	view.has_domains = view.space && model_has_domains(context, id);
	view.last = view.has_domains ? model->device.last : UINT64_MAX;
	if (view.space && model->device.context == (int)c && model_seat(model) == id) {
		view.holes = model->device.holes;
		view.hole_count = model->device.hole_count;
	}
	return view;
}

static inline bool in_a_hole(const struct range *holes, unsigned int count, struct range range)
{
	unsigned int i;

	for (i = 0; i < count; i++)
		if (overlap(holes[i], range))
			return true;
	return false;
}

/* Whether a map could be there, as far as devices and domains are concerned. */
static inline bool view_accepts(const struct view *view, struct range range)
{
	return inside(range, view->space->window) && range.last <= view->last &&
	       !in_a_hole(view->holes, view->hole_count, range);
}

/* Without the holes, which are in order, what is left of a range; returns how many parts. */
static inline unsigned int without(struct range range, const struct range *holes,
				   unsigned int count, struct range *parts)
{
	unsigned int i, found = 0;

	for (i = 0; i < count; i++) {
		if (!overlap(holes[i], range))
			continue;
		if (holes[i].first > range.first)
			parts[found++] = (struct range) { range.first, holes[i].first - 1 };
		if (holes[i].last >= range.last)
			return found;
		range.first = holes[i].last + 1;
	}
	if (range.first <= range.last)
		parts[found++] = range;
	return found;
}

/* The ranges that can be mapped at the moment, up to MODEL_HOLES + 1 of them. */
static inline unsigned int view_ranges(const struct view *view, struct range *ranges)
{
	struct range all = common(view->space->window, (struct range) { 0, view->last });

	return without(all, view->holes, view->hole_count, ranges);
}

/* --- where a map goes that nobody said where it goes ------------------------------ */

/* Whether some place in @gap is free, as long and aligned as it has to be. */
static inline bool has_room(const struct space *space, struct range gap, uint64_t length,
			    uint64_t align)
{
	uint64_t at = (gap.first + align - 1) & -align;
	struct range wanted;
	unsigned int i;

	while (at >= gap.first && at <= gap.last && gap.last - at >= length - 1) {
		wanted = (struct range) { at, at + length - 1 };
		for (i = 0; i < space->count; i++)
			if (overlap(space->areas[i].range, wanted))
				break;
		if (i == space->count)
			return true;
		at = (space->areas[i].range.last + align) & -align;
	}
	return false;
}

/* Neighbours among the allowed ranges make up one. */
static inline struct range joined(const struct space *space, struct range range)
{
	unsigned int i = 0;

	while (i < space->allowed_count) {
		struct range other = space->allowed[i++];

		if (other.first && other.first - 1 == range.last) {
			range.last = other.last;
			i = 0;
		} else if (range.first && range.first - 1 == other.last) {
			range.first = other.first;
			i = 0;
		}
	}
	return range;
}

/* Whether an address can be chosen: neither the first page nor the last is. */
static inline bool view_has_room(const struct view *view, uint64_t length, uint64_t align)
{
	const struct space *space = view->space;
	struct range sane = { MODEL_PAGE, UINT64_MAX - MODEL_PAGE }, ranges[MODEL_HOLES + 1];
	unsigned int count = view_ranges(view, ranges), i, j;
	struct range gap;

	for (i = 0; i < count; i++) {
		gap = common(ranges[i], sane);
		if (!space->allowed_count && gap.first <= gap.last &&
		    has_room(space, gap, length, align))
			return true;
		for (j = 0; j < space->allowed_count; j++) {
			struct range part = common(gap, joined(space, space->allowed[j]));

			if (part.first <= part.last && has_room(space, part, length, align))
				return true;
		}
	}
	return false;
}

/* Whether a range that was chosen is one that could be. */
static inline bool view_may_choose(const struct view *view, struct range range, uint64_t align)
{
	const struct space *space = view->space;
	bool allowed = !space->allowed_count;
	unsigned int i;

	for (i = 0; i < space->allowed_count; i++)
		allowed |= inside(range, joined(space, space->allowed[i]));
	return allowed && range.first % align == 0 && range.first &&
	       view_accepts(view, range) && !model_is_taken(space, range);
}

/* --- domains ---------------------------------------------------------------------- */

static inline bool allowed_in(const struct space *space, struct range range)
{
	unsigned int i;

	for (i = 0; i < space->allowed_count; i++)
		if (!inside(space->allowed[i], range))
			return false;
	return true;
}

/* What is said to a new domain of the device, which cannot enforce snooping. */
static inline int model_check_domain(const struct view *view, const struct device *device,
				     bool is_coming)
{
	const struct space *space = view->space;
	struct range translated = { 0, device->last }, parts[MODEL_HOLES + 1];
	struct range window = common(space->window, translated);
	unsigned int i, count = is_coming ? device->hole_count : view->hole_count;

	if (space->enforce_snoop || window.first > window.last ||
	    !without(window, device->holes, count, parts))
		return -EINVAL;
	for (i = 0; i < space->count; i++)
		if (!inside(space->areas[i].range, translated))
			return -EADDRINUSE;
	return allowed_in(space, translated) ? 0 : -EADDRINUSE;
}

/* Whether the device could come to a space where it is not. */
static inline int model_check_device(const struct view *view, const struct device *device)
{
	const struct space *space = view->space;
	unsigned int i;

	if (space->enforce_snoop)
		return -EINVAL;
	for (i = 0; i < device->hole_count; i++)
		if (model_is_taken(space, device->holes[i]) ||
		    in_a_hole(space->allowed, space->allowed_count, device->holes[i]))
			return -EADDRINUSE;
	return 0;
}

static inline void model_leave(struct model *model)
{
	struct device *device = &model->device;
	struct context *context;

	if (device->hwpt) {
		context = &model->contexts[device->context];
		if (context->hwpts[device->hwpt].is_auto)
			context->kinds[device->hwpt] = FREE_ID;
	}
	device->hwpt = 0;
}

/* Attach, or move: the id of the domain, or a negative errno. */
static inline int model_attach(struct model *model, int id)
{
	struct device *device = &model->device;
	struct context *context = &model->contexts[device->context];
	enum kind kind = model_kind(context, id);
	int target = kind == HWPT ? context->hwpts[id].space : id, hwpt = id, ret = 0;
	struct view view;

	if (kind != SPACE && kind != HWPT)
		return -ENOENT;
	view = model_view(model, device->context, target);
	if (model_seat(model) != target)
		ret = model_check_device(&view, device);
	else if (kind == SPACE ? context->hwpts[device->hwpt].is_auto : device->hwpt == id)
		return device->hwpt;
	if (!ret && kind == SPACE)
		ret = model_check_domain(&view, device, true);
	if (ret)
		return ret;
	if (kind == SPACE)
		hwpt = model_add_hwpt(context, target, true);
	model_leave(model);
	device->hwpt = hwpt;
	return hwpt;
}

#endif /* LAB_FUZZ_DOMAINS_H */
