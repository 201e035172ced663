/* SPDX-License-Identifier: GPL-2.0 */
/* The fuzzer's calls of <linux/iommufd.h>, but for those that map. */
#ifndef LAB_FUZZ_NATIVE_H
#define LAB_FUZZ_NATIVE_H

#include "fuzz_request.h"

static void fuzz_ioas_alloc(struct fuzz *f)
{
	struct iommu_ioas_alloc arg = { .size = sizeof(arg) };
	struct request r = REQUEST(pick_context(f), IOMMU_IOAS_ALLOC, arg, 12);
	struct context *context = context_of(f, r.context);
	int want;

	if (!model_next_id(context) || has_enough(f, context, SPACE))
		return;
	request_prepare(f, &r);
	want = request_outcome(&r, arg.flags ? -EOPNOTSUPP : 0);
	if (request_made(f, &r, want))
		expected(f, "the new space", arg.out_ioas_id,
			 model_add_space(context, (struct range) { 0, UINT64_MAX }, false));
}

/* Whether something is on a domain, or inside of it. */
static bool is_used(struct fuzz *f, unsigned int c, int hwpt)
{
	const struct context *context = context_of(f, c);
	int id;

	for (id = 1; id <= MODEL_IDS; id++)
		if ((context->kinds[id] == NESTED && context->nested[id].parent == hwpt) ||
		    (context->kinds[id] == VIOMMU && context->viommus[id].parent == hwpt))
			return true;
	return model_is_in_use(&f->model, c, hwpt);
}

/* Whether a virtual IOMMU has a domain, a device or a queue, or somebody has mapped some of it. */
static bool has_anything(const struct context *context, int viommu)
{
	int id;

	for (id = 1; id <= MODEL_IDS; id++)
		if ((context->kinds[id] == NESTED && context->nested[id].viommu == viommu) ||
		    (context->kinds[id] == VDEVICE && context->vdevices[id].viommu == viommu) ||
		    (context->kinds[id] == HW_QUEUE && context->hw_queues[id].viommu == viommu) ||
		    (context->kinds[id] == VEVENTQ && context->veventqs[id].viommu == viommu))
			return true;
	return context->viommus[viommu].memory;
}

/* The queue of that number that a virtual IOMMU has, or 0. */
static int find_hw_queue(const struct context *context, int viommu, uint32_t index)
{
	int id;

	for (id = 1; id <= MODEL_IDS; id++)
		if (context->kinds[id] == HW_QUEUE && context->hw_queues[id].viommu == viommu &&
		    context->hw_queues[id].index == index)
			return id;
	return 0;
}

/* Whether another queue needs that one: the next one does. */
static bool is_needed(const struct context *context, int queue)
{
	const struct hw_queue *needed = &context->hw_queues[queue];

	return find_hw_queue(context, needed->viommu, needed->index + 1);
}

/* Whether somebody reads from a queue, or page faults go there. */
static bool is_in_use_as_queue(const struct context *context, int queue)
{
	int id;

	for (id = 1; id <= MODEL_IDS; id++)
		if ((context->kinds[id] == HWPT && context->hwpts[id].queue == queue) ||
		    (context->kinds[id] == NESTED && context->nested[id].queue == queue))
			return true;
	return context->files[queue];
}

static int foresee_destroy(struct fuzz *f, unsigned int c, uint32_t id)
{
	struct view view = model_view(&f->model, c, id);

	switch (model_kind(view.context, id)) {
	case SPACE:
		return model_is_busy(view.context, id) ? -EBUSY : 0;
	case HWPT:
	case NESTED:
		return is_used(f, c, id) ? -EBUSY : 0;
	case VIOMMU:
		return has_anything(view.context, id) ? -EBUSY : 0;
	case QUEUE:
		return is_in_use_as_queue(view.context, id) ? -EBUSY : 0;
	case HW_QUEUE:
		return is_needed(view.context, id) ? -EBUSY : 0;
	case VEVENTQ:
		return view.context->files[id] ? -EBUSY : 0;
	case DEVICE:
	case ACCESS:
		return -EBUSY;
	case FREE_ID:
		return -ENOENT;
	default:
		return 0;
	}
}

static void model_destroy(struct fuzz *f, unsigned int c, int id)
{
	struct context *context = context_of(f, c);
	enum kind kind = context->kinds[id];

	if (kind == SPACE)
		model_free_space(context, id);
	else if (kind == VDEVICE)
		model_device(&f->model, c, context->vdevices[id].device)->vdevice = 0;
	else if (kind == TEST)
		model_unbind(&f->model, model_test(&f->model, c, id));
	context->kinds[id] = FREE_ID;
}

static void destroy_one(struct fuzz *f, unsigned int c, uint32_t id)
{
	struct iommu_destroy arg = { .size = sizeof(arg), .id = id };
	struct request r = REQUEST(c, IOMMU_DESTROY, arg, 8);

	request_prepare(f, &r);
	r.is_silent = true;
	if (request_made(f, &r, request_outcome(&r, foresee_destroy(f, c, arg.id))))
		model_destroy(f, c, arg.id);
}

static void fuzz_destroy(struct fuzz *f)
{
	static const enum kind kinds[] = {
		SPACE, SPACE, HWPT, HWPT, QUEUE, NESTED, VIOMMU, ACCESS,
	};
	unsigned int c = pick_context(f);
	enum kind kind = kinds[pick(&f->input, f->is_mock ? ARRAY_SIZE(kinds) : 5)];

	destroy_one(f, c, kind == HWPT ? pick_hwpt(f, c, IOMMU_HWPT_ALLOC_NEST_PARENT) :
			  pick_kind(f, c, kind));
}

/* What belongs to a virtual IOMMU. */
static void fuzz_destroy_of_guest(struct fuzz *f)
{
	static const enum kind kinds[] = {
		VDEVICE, VDEVICE, HW_QUEUE, HW_QUEUE, VEVENTQ, NESTED,
	};
	unsigned int c = pick_context_of_device(f);

	destroy_one(f, c, pick_kind(f, c, kinds[pick(&f->input, ARRAY_SIZE(kinds))]));
}

/* --- which addresses there are ---------------------------------------------------- */

static int foresee_ranges(struct fuzz *f, const struct view *view,
			  const struct iommu_ioas_iova_ranges *arg, unsigned int count)
{
	uint64_t some = arg->num_iovas < count ? arg->num_iovas : count;

	if (arg->__reserved)
		return -EOPNOTSUPP;
	if (!view->space)
		return -ENOENT;
	if (!memory_is_good(&f->model.rights, arg->allowed_iovas, some * sizeof(struct range),
			    true))
		return -EFAULT;
	return 0;
}

static void expect_ranges(struct fuzz *f, const struct range *ranges, unsigned int count,
			  const void *got, unsigned int room)
{
	unsigned int some = room < count ? room : count;

	expected(f, "a list of ranges", memcmp(got, ranges, some * sizeof(*ranges)), 0);
}

static void fuzz_ioas_ranges(struct fuzz *f)
{
	unsigned int c = pick_context(f), room = pick(&f->input, 6), count = 0;
	struct iommu_ioas_iova_ranges arg = {
		.size = sizeof(arg),
		.ioas_id = pick_kind(f, c, SPACE),
		.num_iovas = room + one_in(&f->input, 8),
		.allowed_iovas = (uintptr_t)place_for_list(room),
	}, before;
	struct request r = REQUEST(c, IOMMU_IOAS_IOVA_RANGES, arg, 32);
	struct range ranges[MODEL_HOLES + 1];
	struct view view;
	int want, got;

	request_prepare(f, &r);
	before = arg;
	view = model_view(&f->model, c, arg.ioas_id);
	if (view.space)
		count = view_ranges(&view, ranges);
	want = request_outcome(&r, foresee_ranges(f, &view, &arg, count));
	if (!want && before.num_iovas < count)
		want = -EMSGSIZE;
	got = request_issue(f, &r);
	if (!foreseen(f, r.name, got, want) || (got && got != -EMSGSIZE))
		return;
	expected(f, "how many ranges there are", arg.num_iovas, count);
	expected(f, "their alignment", arg.out_iova_alignment, view.align);
	expect_ranges(f, ranges, count, (void *)before.allowed_iovas, before.num_iovas);
}

/* Of the list, what the driver gets to see before it finds a mistake. */
static int foresee_list(struct fuzz *f, const struct iommu_ioas_allow_iovas *arg,
			struct range *allowed)
{
	const struct range *list = (const struct range *)arg->allowed_iovas;
	unsigned int i;

	for (i = 0; i < arg->num_iovas; i++) {
		if (!memory_is_good(&f->model.rights, (uintptr_t)&list[i], sizeof(*list), false))
			return -EFAULT;
		if (list[i].first >= list[i].last || in_a_hole(allowed, i, list[i]))
			return -EINVAL;
		/* So many that are good are never written. */
		if (i == MODEL_ALLOWED)
			return -E2BIG;
		allowed[i] = list[i];
	}
	return 0;
}

static int foresee_allow(struct fuzz *f, const struct view *view,
			 const struct iommu_ioas_allow_iovas *arg, struct range *allowed)
{
	unsigned int i;
	int ret;

	if (arg->__reserved)
		return -EOPNOTSUPP;
	if (!view->space)
		return -ENOENT;
	ret = foresee_list(f, arg, allowed);
	for (i = 0; !ret && i < arg->num_iovas; i++)
		if (!view_accepts(view, allowed[i]))
			ret = -EADDRINUSE;
	return ret;
}

static void write_list(struct fuzz *f, struct range *list, unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		list[i].first = pick_iova(f);
		list[i].last = list[i].first + pick_size(f) - 1;
	}
}

static void fuzz_ioas_allow(struct fuzz *f)
{
	unsigned int c = pick_context(f), count = pick(&f->input, 4);
	struct range *list = (struct range *)place_for_list(count), allowed[MODEL_ALLOWED + 1];
	struct iommu_ioas_allow_iovas arg = {
		.size = sizeof(arg),
		.ioas_id = pick_kind(f, c, SPACE),
		.num_iovas = count + one_in(&f->input, 12),
		.allowed_iovas = (uintptr_t)list,
	};
	struct request r = REQUEST(c, IOMMU_IOAS_ALLOW_IOVAS, arg, 24);
	struct view view;

	/* What is below the list is no list. */
	memset(f->memory + LIST_AT * PAGE, 0, PAGE);
	write_list(f, list, count);
	request_prepare(f, &r);
	r.is_silent = true;
	view = model_view(&f->model, c, arg.ioas_id);
	if (!request_made(f, &r, request_outcome(&r, foresee_allow(f, &view, &arg, allowed))))
		return;
	memcpy(view.space->allowed, allowed, sizeof(view.space->allowed));
	view.space->allowed_count = arg.num_iovas;
}

/* --- options ---------------------------------------------------------------------- */

static bool has_objects(const struct context *context)
{
	int id;

	for (id = 1; id <= MODEL_IDS; id++)
		if (context->kinds[id] != FREE_ID)
			return true;
	return false;
}

static int foresee_rlimit_mode(const struct context *context, const struct iommu_option *arg)
{
	if (arg->object_id || arg->op > IOMMU_OPTION_OP_GET)
		return -EOPNOTSUPP;
	if (arg->op == IOMMU_OPTION_OP_GET)
		return 0;
	return has_objects(context) ? -EBUSY : arg->val64 > 1 ? -EINVAL : 0;
}

static int foresee_huge_pages(const struct view *view, const struct iommu_option *arg)
{
	if (!view->space)
		return -ENOENT;
	if (arg->op > IOMMU_OPTION_OP_GET)
		return -EOPNOTSUPP;
	if (arg->op == IOMMU_OPTION_OP_GET)
		return 0;
	if (arg->val64 > 1)
		return -EINVAL;
	return arg->val64 ? 0 : model_check_small_pages(view);
}

static void fuzz_option(struct fuzz *f)
{
	unsigned int c = pick_context(f);
	bool huge_pages = !one_in(&f->input, 3);
	struct iommu_option arg = {
		.size = sizeof(arg),
		.option_id = huge_pages ? IOMMU_OPTION_HUGE_PAGES : IOMMU_OPTION_RLIMIT_MODE,
		.op = pick(&f->input, one_in(&f->input, 8) ? 4 : 2),
		.object_id = huge_pages || one_in(&f->input, 8) ? pick_kind(f, c, SPACE) : 0,
		.val64 = pick(&f->input, one_in(&f->input, 8) ? 4 : 2),
	}, seen;
	struct request r = REQUEST(c, IOMMU_OPTION, arg, 24);
	struct view view;
	int want = -EOPNOTSUPP;

	request_prepare(f, &r);
	seen = arg;
	view = model_view(&f->model, c, arg.object_id);
	r.is_silent = arg.op == IOMMU_OPTION_OP_SET;
	if (!arg.__reserved && arg.option_id == IOMMU_OPTION_RLIMIT_MODE)
		want = foresee_rlimit_mode(context_of(f, c), &arg);
	else if (!arg.__reserved && arg.option_id == IOMMU_OPTION_HUGE_PAGES)
		want = foresee_huge_pages(&view, &arg);
	if (!request_made(f, &r, request_outcome(&r, want)))
		return;
	huge_pages = seen.option_id == IOMMU_OPTION_HUGE_PAGES;
	if (seen.op == IOMMU_OPTION_OP_GET)
		expected(f, "the option", arg.val64, huge_pages ? !view.space->small_pages :
			 context_of(f, c)->per_process);
	else if (huge_pages)
		view.space->small_pages = !seen.val64;
	else
		context_of(f, c)->per_process = seen.val64;
}

/* --- another process: the same one, which pays for everything already ------------------- */

static bool has_only_files(const struct context *context)
{
	const struct memory *memory;
	const struct space *space;

	for (int id = 1; id <= MODEL_IDS; id++) {
		space = &context->spaces[id];
		for (unsigned int i = 0; context->kinds[id] == SPACE && i < space->count; i++) {
			memory = &context->memory[space->areas[i].memory];
			if (!memory->is_file && !memory->buf)
				return false;
		}
	}
	return true;
}

static void fuzz_change_process(struct fuzz *f)
{
	unsigned int c = pick_context(f);
	struct iommu_ioas_change_process arg = { .size = sizeof(arg) };
	struct request r = REQUEST(c, IOMMU_IOAS_CHANGE_PROCESS, arg, 8);

	r.is_silent = true;
	request_prepare(f, &r);
	request_made(f, &r, request_outcome(&r, arg.__reserved ? -EOPNOTSUPP :
					    has_only_files(context_of(f, c)) ? 0 : -EINVAL));
}

/* --- where addresses lead without an IOMMU ------------------------------------------ */

/* No device here is without one: all that is to be said of it is why not. */
static int foresee_address(struct fuzz *f, unsigned int c,
			   const struct iommu_ioas_noiommu_get_pa *arg)
{
	struct space *space = model_space(context_of(f, c), arg->ioas_id);
	const struct area *area;

	if (!f->takes_untranslated || arg->flags || arg->__reserved)
		return -EOPNOTSUPP;
	if (!arg->length)
		return -EINVAL;
	if (arg->iova == UINT64_MAX)
		return -EOVERFLOW;
	area = space ? model_area_at(space, arg->iova) : NULL;
	if (!area)
		return -ENOENT;
	return context_of(f, c)->memory[area->memory].is_lost ? -EINVAL : -EOPNOTSUPP;
}

static void fuzz_address(struct fuzz *f)
{
	struct iommu_ioas_noiommu_get_pa arg = { .size = sizeof(arg), .length = pick_size(f) };
	struct request r = REQUEST(pick_context(f), IOMMU_IOAS_NOIOMMU_GET_PA, arg, sizeof(arg));

	arg.ioas_id = pick_kind(f, r.context, SPACE);
	arg.iova = pick_iova(f);
	request_prepare(f, &r);
	/* Whether a BAR was taken back meanwhile is not known. */
	if (!f->model.rights.has_bar || !f->takes_untranslated)
		request_made(f, &r, request_outcome(&r, foresee_address(f, r.context, &arg)));
}

#endif /* LAB_FUZZ_NATIVE_H */
