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

#define MODEL_IDS 64
#define MODEL_AREAS 48
#define MODEL_ALLOWED 8
#define MODEL_MARKS 64
#define MODEL_ENTRIES 4
#define MODEL_EVENTS 8
#define MODEL_PINS 4		/* of an access, and of how many areas each has some */
#define MODEL_PAGE 4096UL

/* Where the process has a BAR, if there is one for it: far from what else can be named. */
#define BAR_AT (1UL << 41)
#define BAR_PAGES 16

struct range {
	uint64_t first, last;
};

/*
 * Memory as one call has mapped it. As long as a space that has it has a domain, what that
 * space has of it is pinned: each page once, however many areas have it.
 */
struct memory {
	unsigned int users;	/* areas that have some of it */
	bool writable;
	bool is_file;
	int buf;		/* the dma-buf that it is of, or 0; nothing of it is pinned */
	bool is_lost;		/* that was taken back: it is mapped nowhere, for ever */
	bool may_be_bar;	/* by what it was mapped with */
};

struct area {
	struct range range;
	unsigned int memory;
	uint64_t source;	/* where its memory is, in the process or the file */
	bool is_found;		/* to be a BAR */
	bool is_read_only;	/* although its memory may be writable */
	bool is_write_only;
};

struct space {
	struct range window;
	bool enforce_snoop, small_pages;
	struct area areas[MODEL_AREAS];
	unsigned int count;
	bool was_mapped;	/* other than by copies */
	struct range allowed[MODEL_ALLOWED];
	unsigned int allowed_count;
};

/* What a domain's page table can do. */
struct format {
	struct range translated;
	uint64_t page;		/* the smallest */
};

/* A page that was written to. */
struct mark {
	uint64_t iova;
	bool is_sure;		/* it is still marked: nothing was read that it might be part of */
};

struct hwpt {
	int space;
	bool is_auto;		/* goes with the last device that is on it */
	struct format format;
	uint32_t flags;		/* of IOMMU_HWPT_ALLOC */
	int queue;		/* where page faults go, or 0 */
	bool is_tracking;
	struct mark marks[MODEL_MARKS];
	unsigned int mark_count;
};

/* A domain inside of another, maybe one of a virtual IOMMU. */
struct nested {
	int parent;
	int viommu;
	uint32_t flags;
	int queue;
	uint32_t iotlb[MODEL_ENTRIES];
};

struct viommu {
	int parent;
	uint64_t offset;	/* where what it has can be mapped, or 0 */
	uint32_t number;	/* what that begins with */
	void *memory;		/* where it is, or NULL */
};

/* What a bound device is to a virtual IOMMU. */
struct vdevice {
	int viommu;
	int device;
	uint64_t number;
};

/* A queue in the memory of a space, whose pages stay mapped there. */
struct hw_queue {
	int viommu;
	uint32_t index;
	struct range pages;	/* of the space, by address */
};

/* What was not read yet; of what was lost, just that. */
struct event {
	uint32_t sequence, number;
	bool is_lost;
};

struct veventq {
	int viommu;
	uint32_t type, depth, sequence;
	struct event events[MODEL_EVENTS];
	unsigned int count;
};

/* What a driver without DMA has pinned, by one call. */
struct pins {
	int id;
	bool is_there;
	struct area parts[MODEL_PINS];
	unsigned int count;
};

/* A driver without DMA. */
struct access {
	int space;
	bool may_pin;
	struct pins pins[MODEL_PINS];
	unsigned int next;
};

/* What has a TOMB cannot be found, and its id is not used again. */
enum kind {
	FREE_ID, SPACE, HWPT, NESTED, VIOMMU, VDEVICE, HW_QUEUE, VEVENTQ, QUEUE, DEVICE, ACCESS,
	TEST, TOMB
};

struct context {
	enum kind kinds[MODEL_IDS + 1];
	struct space spaces[MODEL_IDS + 1];
	struct hwpt hwpts[MODEL_IDS + 1];
	struct nested nested[MODEL_IDS + 1];
	struct viommu viommus[MODEL_IDS + 1];
	struct vdevice vdevices[MODEL_IDS + 1];
	struct hw_queue hw_queues[MODEL_IDS + 1];
	struct veventq veventqs[MODEL_IDS + 1];
	struct access accesses[MODEL_IDS + 1];
	int files[MODEL_IDS + 1];	/* those of queues and accesses; 0 if closed */
	int container;		/* the space that stands for a VFIO container, or 0 */
	bool per_process;
	bool knows_ioasids;	/* had a device bound, or an IOASID allocated */
	struct memory memory[MODEL_IDS * MODEL_AREAS];
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

/* 0 for all addresses that there are. */
static inline uint64_t range_length(struct range range)
{
	return range.last - range.first + 1;
}

/* The numbers of the pages that some bytes are in. */
static inline struct range pages_at(uint64_t source, uint64_t length)
{
	return (struct range) { source / MODEL_PAGE, (source + length - 1) / MODEL_PAGE };
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

static inline unsigned int model_count(const struct context *context, enum kind kind)
{
	unsigned int count = 0;
	int id;

	for (id = 1; id <= MODEL_IDS; id++)
		count += context->kinds[id] == kind;
	return count;
}

/* Of what can be found; FREE_ID if there is nothing. */
static inline enum kind model_kind(const struct context *context, int64_t id)
{
	enum kind kind = id < 1 || id > MODEL_IDS ? FREE_ID : context->kinds[id];

	return kind == TOMB ? FREE_ID : kind;
}

static inline struct space *model_space(struct context *context, int64_t id)
{
	return model_kind(context, id) == SPACE ? &context->spaces[id] : NULL;
}

/* Whether the space has domains: then it cannot be freed, and all that it has is pinned. */
static inline bool model_has_domains(const struct context *context, int space)
{
	int id;

	for (id = 1; id <= MODEL_IDS; id++)
		if (context->kinds[id] == HWPT && context->hwpts[id].space == space)
			return true;
	return false;
}

/* Whether it cannot be freed: it has domains, or drivers without DMA. */
static inline bool model_is_busy(const struct context *context, int space)
{
	int id;

	for (id = 1; id <= MODEL_IDS; id++)
		if (context->kinds[id] == ACCESS && context->accesses[id].space == space)
			return true;
	return model_has_domains(context, space);
}

static inline int model_add_space(struct context *context, struct range window, bool enforce_snoop)
{
	int id = model_next_id(context);

	context->kinds[id] = SPACE;
	context->spaces[id] = (struct space) { .window = window, .enforce_snoop = enforce_snoop };
	return id;
}

static inline int model_add_hwpt(struct context *context, struct hwpt hwpt)
{
	int id = model_next_id(context);

	context->kinds[id] = HWPT;
	context->hwpts[id] = hwpt;
	return id;
}

/* --- what stays mapped ------------------------------------------------------------ */

/* Whether what is at an address is, in a range, the first of an area that @pages has some of. */
static inline bool begins_in(const struct space *space, struct range pages, struct range range)
{
	const struct area *area = space->areas;
	struct range begin;

	for (; area < space->areas + space->count; area++) {
		if (!overlap(area->range, pages))
			continue;
		begin = common(area->range, pages);
		if (begin.first >= range.first && begin.first <= range.last)
			return true;
	}
	return false;
}

/* Whether a queue keeps some of a range, of that space, mapped. */
static inline bool model_is_locked(const struct context *context, const struct space *space,
				   struct range range)
{
	const struct hw_queue *queue;
	int id;

	for (id = 1; id <= MODEL_IDS; id++) {
		queue = &context->hw_queues[id];
		if (context->kinds[id] != HW_QUEUE)
			continue;
		if (space == &context->spaces[context->hwpts[context->viommus[queue->viommu].parent]
					      .space] &&
		    begins_in(space, queue->pages, range))
			return true;
	}
	return false;
}

/* Whether drivers have pinned some of an area: it is an area of theirs. */
static inline bool pins_overlap(const struct pins *pins, struct range range)
{
	unsigned int i;

	for (i = 0; pins->is_there && i < pins->count; i++)
		if (overlap(pins->parts[i].range, range))
			return true;
	return false;
}

/* The same of anything in a range of a space; they unpin it all, if they are asked to. */
static inline bool model_has_pins(struct context *context, const struct space *space,
				  struct range range, bool are_asked)
{
	struct access *access;
	bool found = false;
	unsigned int i;
	int id;

	for (id = 1; id <= MODEL_IDS; id++) {
		access = &context->accesses[id];
		if (context->kinds[id] != ACCESS || &context->spaces[access->space] != space)
			continue;
		for (i = 0; i < MODEL_PINS; i++) {
			if (!pins_overlap(&access->pins[i], range))
				continue;
			found = true;
			access->pins[i].is_there &= !are_asked;
		}
	}
	return found;
}

/* Whether all that is mapped is to be of whole pages, for somebody who pins. */
static inline bool model_has_pinner(const struct context *context, int space)
{
	int id;

	for (id = 1; id <= MODEL_IDS; id++) {
		if (context->kinds[id] == ACCESS && context->accesses[id].may_pin &&
		    context->accesses[id].space == space)
			return true;
		if (context->kinds[id] == HW_QUEUE &&
		    context->hwpts[context->viommus[context->hw_queues[id].viommu].parent].space ==
		    space)
			return true;
	}
	return false;
}

/* --- what is mapped --------------------------------------------------------------- */

/* Memory that a call maps for the first time. */
static inline unsigned int model_new_memory(struct context *context, bool writable, bool is_file)
{
	unsigned int number = 0;

	while (context->memory[number].users)
		number++;
	context->memory[number] = (struct memory) { .writable = writable, .is_file = is_file };
	return number;
}

static inline void model_put(struct context *context, struct space *space, struct area area)
{
	context->memory[area.memory].users++;
	space->areas[space->count++] = area;
}

static inline struct range area_pages(const struct area *area)
{
	return pages_at(area->source, range_length(area->range));
}

/* Whether that is where the process has the registers of a device. */
static inline bool is_bar(uint64_t address, uint64_t size)
{
	return address - BAR_AT < BAR_PAGES * MODEL_PAGE && size &&
	       size <= BAR_AT + BAR_PAGES * MODEL_PAGE - address;
}

static inline bool is_bar_area(const struct context *context, const struct area *area)
{
	return !context->memory[area->memory].is_file &&
	       is_bar(area->source, range_length(area->range));
}

/* Whether there is anything of it that could be pinned. */
static inline bool has_pages(const struct context *context, const struct area *area)
{
	return !context->memory[area->memory].buf && !is_bar_area(context, area);
}

/* As model_put(), of memory that is there for the first time. Nobody pays for a device's. */
static inline void model_map(struct context *context, struct space *space, struct area area)
{
	area.is_found = is_bar_area(context, &area) &&
			model_has_domains(context, space - context->spaces);
	model_put(context, space, area);
	space->was_mapped |= !area.is_found && !context->memory[area.memory].buf;
}

/* Whether addresses, lengths and memory of all areas are multiples of that. */
static inline bool model_is_aligned(const struct space *space, uint64_t align)
{
	const struct area *area;
	unsigned int i;

	for (i = 0; i < space->count; i++) {
		area = &space->areas[i];
		if ((area->range.first | range_length(area->range) | area->source) % align)
			return false;
	}
	return true;
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

/* Whether something is mapped at an address that devices get at. */
static inline bool model_is_there(const struct context *context, const struct space *space,
				  uint64_t iova)
{
	const struct area *area = model_area_at(space, iova);

	return area && !context->memory[area->memory].is_lost;
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

/* What is not mapped any more is not marked either. */
static inline void model_forget_marks(struct context *context, const struct space *space,
				      struct range gone)
{
	unsigned int i, kept;
	struct hwpt *hwpt;
	int id;

	for (id = 1; id <= MODEL_IDS; id++) {
		hwpt = &context->hwpts[id];
		if (context->kinds[id] != HWPT || &context->spaces[hwpt->space] != space)
			continue;
		for (i = 0, kept = 0; i < hwpt->mark_count; i++)
			if (hwpt->marks[i].iova < gone.first || hwpt->marks[i].iova > gone.last)
				hwpt->marks[kept++] = hwpt->marks[i];
		hwpt->mark_count = kept;
	}
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
		bytes += range_length(area.range);
		context->memory[area.memory].users--;
		model_has_pins(context, space, area.range, true);
		model_forget_marks(context, space, area.range);
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
		back.source += range_length(front.range);
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

/* --- what is pinned --------------------------------------------------------------- */

/* The areas whose memory is: of the spaces that have domains, and what drivers have pinned. */
struct pinned {
	const struct area *areas[MODEL_IDS * (MODEL_AREAS + MODEL_PINS * MODEL_PINS)];
	unsigned int count;
};

static inline void model_find_pins(const struct access *access, struct pinned *pinned)
{
	const struct pins *pins;
	unsigned int i;

	for (pins = access->pins; pins < access->pins + MODEL_PINS; pins++)
		for (i = 0; pins->is_there && i < pins->count; i++)
			pinned->areas[pinned->count++] = &pins->parts[i];
}

static inline void model_find_pinned(const struct context *context, struct pinned *pinned)
{
	const struct space *space;
	unsigned int i;
	int id;

	pinned->count = 0;
	for (id = 1; id <= MODEL_IDS; id++) {
		if (context->kinds[id] == ACCESS)
			model_find_pins(&context->accesses[id], pinned);
		space = &context->spaces[id];
		if (context->kinds[id] != SPACE || !model_has_domains(context, id))
			continue;
		for (i = 0; i < space->count; i++)
			if (has_pages(context, &space->areas[i]))
				pinned->areas[pinned->count++] = &space->areas[i];
	}
}

/* Whether one of the first @count of them has that page. */
static inline bool is_pinned(const struct pinned *pinned, unsigned int count, unsigned int memory,
			     uint64_t page)
{
	unsigned int i;

	for (i = 0; i < count; i++)
		if (pinned->areas[i]->memory == memory &&
		    inside((struct range) { page, page }, area_pages(pinned->areas[i])))
			return true;
	return false;
}

/* How many pages a context has pinned. */
static inline long model_pinned(const struct context *context)
{
	struct pinned pinned;
	struct range pages;
	unsigned int i;
	long count = 0;

	model_find_pinned(context, &pinned);
	for (i = 0; i < pinned.count; i++)
		for (pages = area_pages(pinned.areas[i]); pages.first <= pages.last; pages.first++)
			count += !is_pinned(&pinned, i, pinned.areas[i]->memory, pages.first);
	return count;
}

#endif /* LAB_FUZZ_MODEL_H */
