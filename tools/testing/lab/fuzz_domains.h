/* SPDX-License-Identifier: GPL-2.0 */
/* The fuzzer's model of devices and domains, and of where they let a space map. */
#ifndef LAB_FUZZ_DOMAINS_H
#define LAB_FUZZ_DOMAINS_H

#include "fuzz_memory.h"
#include "mock_calls.h"
#include "../../../drivers/iommu/iommufd/mock/tables.h"

#define MODEL_CONTEXTS 2
#define MODEL_HOLES 16
#define MODEL_DEVICES 12
#define MODEL_PASIDS 6
#define MODEL_TABLES 4

/* What an IOMMU in software can be asked for. */
static const uint32_t tables[MODEL_TABLES] = {
	MOCK_IOMMUPT_DEFAULT, MOCK_IOMMUPT_HUGE, MOCK_IOMMUPT_VTDSS, MOCK_IOMMUPT_AMDV1,
};

/* Which one that is, or NULL. */
static inline const uint32_t *find_table(uint32_t table)
{
	unsigned int i;

	for (i = 0; i < MODEL_TABLES; i++)
		if (tables[i] == table)
			return &tables[i];
	return NULL;
}

/* A device: where it is bound and attached, and what its IOMMU is like. */
struct device {
	int context;		/* -1: not bound */
	int id;
	int test;		/* by which tests unplug it, if it is one in software */
	int hwpt;		/* the domain that it is attached to, or 0 */
	int inside;		/* the domain inside of that which comes first, or 0 */
	int pasids[MODEL_PASIDS];	/* on which domain each is, or 0; not the first one */
	int vdevice;		/* what it is to a virtual IOMMU, or 0 */
	uint32_t cache[MODEL_ENTRIES];	/* what it keeps of translations, in software */
	uint32_t flags;		/* how it was made, in software */
	struct format format;	/* of the domains that its IOMMU makes */
	struct format tables[MODEL_TABLES];	/* of those with each page table, in software */
	struct range holes[MODEL_HOLES];	/* in what it can reach; in order */
	unsigned int hole_count;
	uint32_t domain_flags;	/* of those for the IOMMU driver, the ones that it takes */
	bool asks_for_no_pages;	/* so that it can be on no domain whose page faults are told of */
	int nested;		/* what comes of a domain inside of another that can have some */
	uint32_t info_type, info_size;	/* what it says of itself */
};

struct model {
	struct context contexts[MODEL_CONTEXTS];
	struct device devices[MODEL_DEVICES];
	struct rights_of rights;
};

/* A space, and what limits what can be mapped there at the moment. */
struct view {
	struct context *context;
	struct space *space;	/* NULL: there is none */
	bool has_domains;
	uint64_t align;		/* of addresses, lengths and memory, by mainline's calls */
	struct range translated;	/* by all of its domains */
	const struct range *holes;
	unsigned int hole_count;
};

/* --- devices ---------------------------------------------------------------------- */

/* The next one, until there are no more; the first one if @device is NULL. */
static inline bool next_device(struct model *model, struct device **device)
{
	*device = *device ? *device + 1 : model->devices;
	return *device < model->devices + MODEL_DEVICES;
}

/* The device that is bound by an id, or NULL. */
static inline struct device *model_device(struct model *model, unsigned int c, int64_t id)
{
	struct device *device = NULL;

	while (next_device(model, &device))
		if (device->context == (int)c && device->id == id)
			return device;
	return NULL;
}

/* The one that tests know by an id, or NULL. */
static inline struct device *model_test(struct model *model, unsigned int c, int64_t id)
{
	struct device *device = NULL;

	while (next_device(model, &device))
		if (device->context == (int)c && device->test && device->test == id)
			return device;
	return NULL;
}

/* The space that a device is attached to, or 0. */
static inline int model_seat(const struct model *model, const struct device *device)
{
	return device->hwpt ? model->contexts[device->context].hwpts[device->hwpt].space : 0;
}

static inline bool has_pasids(const struct device *device)
{
	unsigned int i;

	for (i = 0; i < MODEL_PASIDS; i++)
		if (device->pasids[i])
			return true;
	return false;
}

/* Whether a device, or a PASID of one, is on a domain, or on one inside of it. */
static inline bool model_is_in_use(struct model *model, unsigned int c, int id)
{
	const struct context *context = &model->contexts[c];
	struct device *device = NULL;
	unsigned int i;
	int on;

	while (next_device(model, &device)) {
		if (device->context != (int)c)
			continue;
		if (device->hwpt == id || device->inside == id)
			return true;
		for (i = 0; i < MODEL_PASIDS; i++) {
			on = device->pasids[i];
			if (on && (on == id || (context->kinds[on] == NESTED &&
						context->nested[on].parent == id)))
				return true;
		}
	}
	return false;
}

/* --- spaces ----------------------------------------------------------------------- */

/* What all domains of a space have in common. */
static inline void view_domains(struct view *view, int id)
{
	struct context *context = view->context;
	const struct hwpt *hwpt;
	int other;

	for (other = 1; other <= MODEL_IDS; other++) {
		hwpt = &context->hwpts[other];
		if (context->kinds[other] != HWPT || hwpt->space != id)
			continue;
		view->has_domains = true;
		view->translated = common(view->translated, hwpt->format.translated);
		if (hwpt->format.page > view->align)
			view->align = hwpt->format.page;
	}
}

static inline struct view model_view(struct model *model, unsigned int c, int64_t id)
{
	struct context *context = &model->contexts[c];
	struct view view = {
		.context = context, .space = model_space(context, id), .align = 1,
		.translated = { 0, UINT64_MAX },
	};
	struct device *device = NULL;

	if (!view.space)
		return view;
	view_domains(&view, id);
	/* Who has no large pages has pages nevertheless. */
	if (view.space->small_pages || model_has_pinner(view.context, id))
		view.align = MODEL_PAGE;
	while (next_device(model, &device)) {
		if (device->context == (int)c && device->hole_count &&
		    model_seat(model, device) == id) {
			view.holes = device->holes;
			view.hole_count = device->hole_count;
		}
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
	return inside(range, view->space->window) && inside(range, view->translated) &&
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
	struct range all = common(view->space->window, view->translated);

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
static inline bool view_may_choose(const struct view *view, struct range range, uint64_t align,
				   uint64_t offset)
{
	const struct space *space = view->space;
	bool allowed = !space->allowed_count;
	unsigned int i;

	for (i = 0; i < space->allowed_count; i++)
		allowed |= inside(range, joined(space, space->allowed[i]));
	return allowed && (range.first - offset) % align == 0 && range.first &&
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

/* Pin all of a space without domains, when its first one comes. */
static inline int model_check_pins(const struct view *view, const struct rights_of *rights)
{
	struct pinned pinned;
	unsigned int i;

	if (view->has_domains)
		return 0;
	model_find_pinned(view->context, &pinned);
	for (i = 0; i < view->space->count; i++)
		if (!model_can_pin(view->context, &pinned, rights, &view->space->areas[i]))
			return -EFAULT;
	return 0;
}

/* Whether domains can be without large pages from now on, for what is mapped. */
static inline int model_check_small_pages(const struct view *view)
{
	const struct space *space = view->space;

	if (space->small_pages)
		return 0;
	if (view->has_domains && space->count)
		return -EINVAL;
	return model_is_aligned(space, MODEL_PAGE) ? 0 : -EADDRINUSE;
}

/* What is said to a new domain of the device, which cannot enforce snooping. */
static inline int model_check_domain(const struct view *view, const struct model *model,
				     const struct device *device, const struct format *format,
				     bool is_coming)
{
	const struct space *space = view->space;
	struct range translated = format->translated, parts[MODEL_HOLES + 1];
	struct range window = common(common(space->window, translated), view->translated);
	unsigned int i, count = is_coming ? device->hole_count : view->hole_count;

	if (space->enforce_snoop || window.first > window.last ||
	    !without(window, device->holes, count, parts))
		return -EINVAL;
	for (i = 0; i < space->count; i++)
		if (!inside(space->areas[i].range, translated))
			return -EADDRINUSE;
	if (!model_is_aligned(space, format->page) || !allowed_in(space, translated))
		return -EADDRINUSE;
	return model_check_pins(view, &model->rights);
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

/* --- where devices go ------------------------------------------------------------- */

/* Where something is to go. */
struct place {
	int space;
	int hwpt;		/* 0: a new one, for whoever comes */
	int inside;
	uint32_t flags;		/* of the domain that comes first */
};

/* The domain of a space that goes with the last device on it, or 0. */
static inline int model_auto(const struct context *context, int space)
{
	int id;

	for (id = 1; id <= MODEL_IDS; id++)
		if (context->kinds[id] == HWPT && context->hwpts[id].space == space &&
		    context->hwpts[id].is_auto)
			return id;
	return 0;
}

/* What an id stands for that something is to be attached to. */
static inline int model_find_place(const struct context *context, int id, struct place *place)
{
	int hwpt;

	switch (model_kind(context, id)) {
	case SPACE:
		*place = (struct place) { .space = id, .hwpt = model_auto(context, id) };
		return 0;
	case HWPT:
		*place = (struct place) {
			.space = context->hwpts[id].space,
			.hwpt = id,
			.flags = context->hwpts[id].flags,
		};
		return 0;
	case NESTED:
		hwpt = context->nested[id].parent;
		*place = (struct place) {
			.space = context->hwpts[hwpt].space,
			.hwpt = hwpt,
			.inside = id,
			.flags = context->nested[id].flags,
		};
		return 0;
	case FREE_ID:
		return -ENOENT;
	default:
		return -EINVAL;
	}
}

/* What the IOMMU says to a device that is to go to a domain which is there. */
static inline int model_check_put(const struct context *context, const struct device *device,
				  const struct place *to)
{
	const struct vdevice *vdevice = &context->vdevices[device->vdevice];
	int viommu = to->inside ? context->nested[to->inside].viommu : 0;

	if (viommu && (!device->vdevice || vdevice->viommu != viommu))
		return -ENOENT;
	if (!to->inside && to->hwpt && device->flags & MOCK_FLAGS_DEVICE_NO_DIRTY &&
	    context->hwpts[to->hwpt].flags & IOMMU_HWPT_ALLOC_DIRTY_TRACKING)
		return -EINVAL;
	return 0;
}

/* A domain that was made for devices that came goes with the last one. */
static inline void model_leave(struct model *model, struct device *device)
{
	int hwpt = device->hwpt;
	struct context *context;

	device->hwpt = 0;
	device->inside = 0;
	if (!hwpt)
		return;
	context = &model->contexts[device->context];
	if (context->hwpts[hwpt].is_auto && !model_is_in_use(model, device->context, hwpt))
		context->kinds[hwpt] = FREE_ID;
}

/* The domain that a device is on. */
static inline int model_on(const struct device *device)
{
	return device->inside ? device->inside : device->hwpt;
}

/* Attach, or move: the id of the domain, or a negative errno. */
static inline int model_attach(struct model *model, struct device *device, int id)
{
	struct context *context = &model->contexts[device->context];
	struct place to;
	struct view view;
	int ret = model_find_place(context, id, &to);

	if (ret)
		return ret;
	if (to.hwpt && device->hwpt == to.hwpt && device->inside == to.inside)
		return model_on(device);
	view = model_view(model, device->context, to.space);
	if (model_seat(model, device) != to.space)
		ret = model_check_device(&view, device);
	if (!ret && has_pasids(device) && !(to.flags & IOMMU_HWPT_ALLOC_PASID))
		ret = -EINVAL;
	if (!ret)
		ret = to.hwpt ? model_check_put(context, device, &to) :
				model_check_domain(&view, model, device, &device->format, true);
	if (!ret && to.hwpt && device->asks_for_no_pages && context->hwpts[to.hwpt].queue)
		ret = -ENODEV;
	if (ret)
		return ret;
	if (!to.hwpt)
		to.hwpt = model_add_hwpt(context, (struct hwpt) {
			.space = to.space, .is_auto = true, .format = device->format,
		});
	model_leave(model, device);
	device->hwpt = to.hwpt;
	device->inside = to.inside;
	return model_on(device);
}

/* Unbind: it is attached nowhere any more. */
static inline void model_unbind(struct model *model, struct device *device)
{
	struct context *context;

	if (device->context < 0)
		return;
	context = &model->contexts[device->context];
	memset(device->pasids, 0, sizeof(device->pasids));
	model_leave(model, device);
	/* Whoever knows its number for a guest has not destroyed that. */
	if (device->vdevice)
		context->kinds[device->vdevice] = TOMB;
	if (device->test)
		context->kinds[device->test] = FREE_ID;
	context->kinds[device->id] = FREE_ID;
	device->vdevice = 0;
	device->test = 0;
	device->id = 0;
	device->context = -1;
}

#endif /* LAB_FUZZ_DOMAINS_H */
