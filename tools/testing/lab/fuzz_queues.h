/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The fuzzer's calls about queues of virtual IOMMUs, those that hardware reads and those that
 * events are read from, and about memory of theirs that the process can map.
 */
#ifndef LAB_FUZZ_QUEUES_H
#define LAB_FUZZ_QUEUES_H

#include "fuzz_faults.h"
#include "fuzz_native_map.h"
#include "fuzz_nested.h"

/* --- queues that hardware reads ----------------------------------------------------------- */

/* The space that a virtual IOMMU is in: it has a domain, and all of it is pinned. */
static struct space *space_of_viommu(struct context *context, int viommu)
{
	return &context->spaces[context->hwpts[context->viommus[viommu].parent].space];
}

/* Which page of the machine is at an address of this process, as the kernel tells root. */
static uint64_t physical_page(const char *memory)
{
	static int map = -1;
	uint64_t entry = 0;

	if (map < 0)
		map = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	pread(map, &entry, sizeof(entry), (uintptr_t)memory / PAGE * sizeof(entry));
	return entry & ((1UL << 55) - 1);
}

/* The same of what is mapped at an address of a space. */
static uint64_t page_behind(struct fuzz *f, const struct context *context,
			    const struct space *space, uint64_t iova)
{
	const struct area *area = model_area_at(space, iova);
	uint64_t source = area->source + (iova - area->range.first);

	if (!context->memory[area->memory].is_file)
		return physical_page((const char *)(uintptr_t)source);
	/* What was read is there. */
	(void)*(const volatile char *)(f->file_memory + source);
	return physical_page(f->file_memory + source);
}

/* Whether pages can be a queue: each is there, may be read, and comes behind the one before. */
static int check_queue_memory(struct fuzz *f, const struct context *context,
			      const struct space *space, struct range pages)
{
	const struct area *area;
	uint64_t iova, first;

	if (!model_is_aligned(space, PAGE))
		return -EADDRINUSE;
	for (iova = pages.first; iova <= pages.last; iova = area->range.last + 1) {
		area = model_area_at(space, iova);
		if (!area)
			return -ENOENT;
		if (context->memory[area->memory].buf)
			return -EINVAL;
		if (area->is_write_only)
			return -EPERM;
		if (area->range.last >= pages.last)
			break;
	}
	first = page_behind(f, context, space, pages.first);
	for (iova = pages.first; pages.last - iova >= PAGE; iova += PAGE)
		if (page_behind(f, context, space, iova + PAGE) !=
		    first + (iova + PAGE - pages.first) / PAGE)
			return -EFAULT;
	return 0;
}

/* What the test's IOMMU says: there are two of them, and the second needs the first. */
static int check_index(const struct context *context, const struct iommu_hw_queue_alloc *arg)
{
	if (arg->index >= IOMMU_TEST_HW_QUEUE_MAX)
		return -EINVAL;
	if (find_hw_queue(context, arg->viommu_id, arg->index))
		return -EEXIST;
	return arg->index && !find_hw_queue(context, arg->viommu_id, arg->index - 1) ? -EIO : 0;
}

static int foresee_hw_queue(struct fuzz *f, const struct request *r,
			    const struct iommu_hw_queue_alloc *arg, struct range *pages)
{
	struct context *context = context_of(f, r->context);
	int ret;

	if (arg->flags || !arg->type)
		return -EOPNOTSUPP;
	ret = check_range(arg->nesting_parent_iova, arg->length);
	if (ret)
		return ret;
	if (model_kind(context, arg->viommu_id) != VIOMMU)
		return -ENOENT;
	if (arg->type != IOMMU_HW_QUEUE_TYPE_SELFTEST)
		return -EOPNOTSUPP;
	pages->first = arg->nesting_parent_iova & -PAGE;
	pages->last = (arg->nesting_parent_iova + arg->length - 1) | (PAGE - 1);
	ret = check_queue_memory(f, context, space_of_viommu(context, arg->viommu_id), *pages);
	/* The answer comes before it is made. */
	if (!ret)
		ret = check_answer(r);
	return ret ? ret : check_index(context, arg);
}

/* Rather somewhere in what is mapped where a virtual IOMMU is. */
static struct range pick_queue(struct fuzz *f, unsigned int c, int viommu)
{
	struct context *context = context_of(f, c);
	struct range range = model_kind(context, viommu) == VIOMMU ?
			     pick_source(f, space_of_viommu(context, viommu)) :
			     (struct range) { IOVA, PAGE };

	if (!one_in(&f->input, 3))
		range.last = 1 + pick(&f->input, 256) * PAGE / 256;
	return range;
}

static void fuzz_hw_queue(struct fuzz *f)
{
	unsigned int c = pick_context_of_device(f);
	struct context *context = context_of(f, c);
	int viommu = pick_kind(f, c, VIOMMU), id = model_next_id(context), want;
	struct range place = pick_queue(f, c, viommu), pages = { 0 };
	uint32_t index = pick(&f->input, one_in(&f->input, 8) ? 3 : 2);
	struct iommu_hw_queue_alloc arg = hw_queue_arg(viommu, index, place.first, place.last);
	struct request r = REQUEST(c, IOMMU_HW_QUEUE_ALLOC, arg, sizeof(arg));
	struct hw_queue queue;

	if (!id || has_enough(f, context, HW_QUEUE))
		return;
	if (one_in(&f->input, 16))
		arg.type = pick(&f->input, 3);
	request_prepare(f, &r);
	want = r.refused ? r.refused : foresee_hw_queue(f, &r, &arg, &pages);
	queue = (struct hw_queue) { arg.viommu_id, arg.index, pages };
	if (!request_made(f, &r, want))
		return;
	context->kinds[id] = HW_QUEUE;
	context->hw_queues[id] = queue;
	expected(f, "the new queue of hardware", arg.out_hw_queue_id, id);
}

/* --- queues that events are read from ------------------------------------------------------ */

/* The queue for a type that a virtual IOMMU has, or 0. */
static int find_veventq(const struct context *context, int viommu, uint32_t type)
{
	int id;

	for (id = 1; id <= MODEL_IDS; id++)
		if (context->kinds[id] == VEVENTQ && context->veventqs[id].viommu == viommu &&
		    context->veventqs[id].type == type)
			return id;
	return 0;
}

static int foresee_veventq(const struct context *context, const struct iommu_veventq_alloc *arg)
{
	if (arg->flags || arg->__reserved || !arg->type)
		return -EOPNOTSUPP;
	if (!arg->veventq_depth || arg->veventq_depth > 1U << 19)
		return -EINVAL;
	if (model_kind(context, arg->viommu_id) != VIOMMU)
		return -ENOENT;
	return find_veventq(context, arg->viommu_id, arg->type) ? -EEXIST : 0;
}

static void fuzz_veventq(struct fuzz *f)
{
	static const uint32_t depths[] = { 0, 1U << 19, (1U << 19) + 1, UINT32_MAX };
	unsigned int c = pick_context_of_device(f);
	struct iommu_veventq_alloc arg = veventq_arg(pick_kind(f, c, VIOMMU),
						      1 + pick(&f->input, 4));
	struct request r = REQUEST(c, IOMMU_VEVENTQ_ALLOC, arg, 28);
	struct context *context = context_of(f, c);
	int id = model_next_id(context), want;
	struct veventq queue;

	if (!id || has_enough(f, context, VEVENTQ))
		return;
	if (one_in(&f->input, 12))
		arg.veventq_depth = depths[pick(&f->input, ARRAY_SIZE(depths))];
	if (one_in(&f->input, 8))
		arg.type = pick(&f->input, 3);
	request_prepare(f, &r);
	want = request_outcome(&r, foresee_veventq(context, &arg));
	queue = (struct veventq) {
		.viommu = arg.viommu_id, .type = arg.type, .depth = arg.veventq_depth,
	};
	if (!request_made(f, &r, want))
		return;
	context->kinds[id] = VEVENTQ;
	context->veventqs[id] = queue;
	context->files[id] = arg.out_veventq_fd;
	expected(f, "the new queue of events", arg.out_veventq_id, id);
}

/* Of what was lost, only the last is noted, until something comes behind it. */
static void model_event(struct veventq *queue, uint32_t number)
{
	bool was_lost = queue->count && queue->events[queue->count - 1].is_lost;
	unsigned int there = queue->count - was_lost;
	struct event event = { queue->sequence++, number, there >= queue->depth };

	queue->count = there;
	queue->events[queue->count++] = event;
}

/* Rather a device that is where a virtual IOMMU hears of it. */
static int pick_inside(struct fuzz *f, unsigned int c)
{
	struct device *device = NULL;

	while (next_device(&f->model, &device))
		if (device->context == (int)c && device->inside && !one_in(&f->input, 4))
			return device->id;
	return pick_kind(f, c, DEVICE);
}

/* A device has an event: for the virtual IOMMU on a domain of which it is, if that knows it. */
static void trigger(struct fuzz *f, unsigned int c, int id)
{
	const struct device *device = model_device(&f->model, c, id);
	struct context *context = context_of(f, c);
	int viommu, queue, want = 0;

	viommu = device && device->inside ? context->nested[device->inside].viommu : 0;
	queue = find_veventq(context, viommu, IOMMU_VEVENTQ_TYPE_SELFTEST);
	if (!viommu || !device->vdevice || context->vdevices[device->vdevice].viommu != viommu)
		want = -ENOENT;
	else if (!queue)
		want = -EOPNOTSUPP;
	else if (context->veventqs[queue].count >= MODEL_EVENTS - 1)
		return;
	if (foreseen(f, "TRIGGER_VEVENT", trigger_event(f->fds[c], id), want) && !want)
		model_event(&context->veventqs[queue],
			    context->vdevices[device->vdevice].number);
}

/* One, or more than there may be room for. */
static void fuzz_event(struct fuzz *f)
{
	unsigned int c = pick_context_of_device(f), count = 1 + pick(&f->input, 5);
	int id = pick_inside(f, c);

	while (count--)
		trigger(f, c, id);
}

/* Whatever fits, and nothing by halves: how many bytes of how many events. */
static long foresee_events(const struct veventq *queue, size_t room, unsigned int *count)
{
	const size_t header = sizeof(struct iommufd_vevent_header);
	size_t length = 0, more;

	*count = 0;
	if (room < header)
		return -EINVAL;
	while (*count < queue->count) {
		more = header + (queue->events[*count].is_lost ? 0 :
				 sizeof(struct iommu_viommu_event_selftest));
		if (length + more > room)
			return length ? (long)length : -EINVAL;
		length += more;
		++*count;
	}
	return length;
}

/* What was read of them, which are taken out of the queue. */
static void expect_events(struct fuzz *f, struct veventq *queue, const char *at,
			  unsigned int count)
{
	struct iommu_viommu_event_selftest data;
	struct iommufd_vevent_header header;
	const struct event *event;

	for (event = queue->events; event < queue->events + count; event++) {
		memcpy(&header, at, sizeof(header));
		at += sizeof(header);
		expected(f, "the number of an event", header.sequence, event->sequence);
		expected(f, "whether it was lost", header.flags,
			 event->is_lost ? IOMMU_VEVENTQ_FLAG_LOST_EVENTS : 0);
		if (event->is_lost)
			continue;
		memcpy(&data, at, sizeof(data));
		at += sizeof(data);
		expected(f, "the device that has an event", data.virt_id, event->number);
	}
	queue->count -= count;
	memmove(queue->events, queue->events + count, queue->count * sizeof(*queue->events));
}

static void fuzz_read_events(struct fuzz *f)
{
	char bytes[MODEL_EVENTS * 12], *to = one_in(&f->input, 12) ? NULL : bytes;
	unsigned int c = pick_context_of_device(f), count;
	struct context *context = context_of(f, c);
	size_t room = pick(&f->input, one_in(&f->input, 4) ? 16 : sizeof(bytes) + 1);
	int id = pick_kind(f, c, VEVENTQ);
	struct veventq *queue;
	long want;

	if (model_kind(context, id) != VEVENTQ || !context->files[id])
		return;
	queue = &context->veventqs[id];
	foreseen(f, "what can be done with a queue of events", ready(context->files[id]),
		 queue->count ? POLLIN | POLLRDNORM : 0);
	want = foresee_events(queue, room, &count);
	if (want > 0 && !to)
		want = -EFAULT;
	if (foreseen(f, "read of events", read_faults(context->files[id], to, room), want) &&
	    want > 0)
		expect_events(f, queue, bytes, count);
}

/* Nobody reads from it any more. */
static void fuzz_close_veventq(struct fuzz *f)
{
	unsigned int c = pick_context_of_device(f);
	int id = pick_kind(f, c, VEVENTQ);

	if (model_kind(context_of(f, c), id) == VEVENTQ)
		close_file(context_of(f, c), id);
}

/* --- memory of virtual IOMMUs ---------------------------------------------------------------- */

/* Map it, or something beside it, one way or another. */
static void fuzz_mmap(struct fuzz *f)
{
	static const int odd[] = { PROT_READ | PROT_EXEC, PROT_EXEC };
	unsigned int c = pick_context_of_device(f);
	int id = pick_kind(f, c, VIOMMU), want = 0, got;
	int prot = one_in(&f->input, 8) ? odd[pick(&f->input, 2)] : PROT_READ | PROT_WRITE;
	int flags = one_in(&f->input, 8) ? MAP_PRIVATE : MAP_SHARED;
	uint64_t length = one_in(&f->input, 8) ? PAGE : VIOMMU_SIZE;
	struct viommu *viommu = &context_of(f, c)->viommus[id < 1 || id > MODEL_IDS ? 0 : id];
	void *memory;

	if (model_kind(context_of(f, c), id) != VIOMMU || !viommu->offset || viommu->memory)
		return;
	if (flags == MAP_PRIVATE)
		want = -EINVAL;
	else if (prot & PROT_EXEC)
		want = -EPERM;
	else if (length != VIOMMU_SIZE)
		want = -ENXIO;
	memory = mmap(NULL, length, prot, flags, f->fds[c], viommu->offset);
	got = memory == MAP_FAILED ? -errno : 0;
	if (!foreseen(f, "mmap", got, want) || got)
		return;
	viommu->memory = memory;
	expected(f, "what memory of a virtual IOMMU has", *(const uint32_t *)memory,
		 viommu->number);
}

static void fuzz_munmap(struct fuzz *f)
{
	unsigned int c = pick_context_of_device(f);
	int id = pick_kind(f, c, VIOMMU);

	if (model_kind(context_of(f, c), id) == VIOMMU)
		unmap_viommu(&context_of(f, c)->viommus[id]);
}

/* --- all together ---------------------------------------------------------------------------- */

/* A device goes to a domain of the virtual IOMMU that knows it; false if there are none. */
static bool move_inside(struct fuzz *f, unsigned int c)
{
	struct context *context = context_of(f, c);
	struct device *device = NULL;
	int id, viommu;

	while (next_device(&f->model, &device)) {
		if (device->context != (int)c || !device->vdevice || device->inside)
			continue;
		viommu = context->vdevices[device->vdevice].viommu;
		for (id = 1; id <= MODEL_IDS; id++)
			if (context->kinds[id] == NESTED && context->nested[id].viommu == viommu)
				break;
		if (id > MODEL_IDS)
			continue;
		foreseen(f, "move inside", mock_move(f->fds[c], device->test, id),
			 foresee_move(f, device, id));
		return true;
	}
	return false;
}

static bool is_inside(struct fuzz *f, unsigned int c)
{
	struct device *device = NULL;

	while (next_device(&f->model, &device))
		if (device->context == (int)c && device->vdevice && device->inside)
			return true;
	return false;
}

/* One step that comes next where there shall be a guest, whose IOMMU is used then. */
static void fuzz_guest(struct fuzz *f)
{
	static void (*const uses[])(struct fuzz *f) = {
		fuzz_hw_queue, fuzz_hw_queue, fuzz_veventq, fuzz_event, fuzz_event, fuzz_event,
		fuzz_read_events, fuzz_read_events, fuzz_mmap, fuzz_invalidate, fuzz_ioas_map,
		fuzz_hwpt_alloc, fuzz_vdevice_alloc,
	};
	unsigned int c = pick_context_of_device(f);
	const struct context *context = context_of(f, c);

	f->guest = c + 1;
	if (!model_count(context, SPACE))
		fuzz_ioas_alloc(f);
	else if (!model_count(context, DEVICE))
		fuzz_plug(f);
	else if (!model_count(context, VIOMMU) && one_in(&f->input, 2))
		fuzz_hwpt_alloc(f);
	else if (!model_count(context, VIOMMU))
		fuzz_viommu_alloc(f);
	else if (!model_count(context, VDEVICE))
		fuzz_vdevice_alloc(f);
	else if (!model_count(context, NESTED))
		fuzz_hwpt_alloc(f);
	else if (is_inside(f, c) || !move_inside(f, c))
		uses[pick(&f->input, ARRAY_SIZE(uses))](f);
	f->guest = 0;
}

#endif /* LAB_FUZZ_QUEUES_H */
