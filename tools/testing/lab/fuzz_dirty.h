/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The fuzzer's calls about the pages that devices have written to. A mark is that of a page of the
 * IOMMU's, which may be larger than what was written to, but is part of one area.
 */
#ifndef LAB_FUZZ_DIRTY_H
#define LAB_FUZZ_DIRTY_H

#include "fuzz_request.h"

#define WRITES 8		/* bits of a bitmap of what is written to */

static struct hwpt *hwpt_of(struct fuzz *f, unsigned int c, uint32_t id)
{
	struct context *context = context_of(f, c);

	return model_kind(context, id) == HWPT ? &context->hwpts[id] : NULL;
}

static bool can_mark(const struct hwpt *hwpt)
{
	return hwpt->flags & IOMMU_HWPT_ALLOC_DIRTY_TRACKING;
}

static void fuzz_set_dirty(struct fuzz *f)
{
	unsigned int c = pick_context_of_device(f);
	struct iommu_hwpt_set_dirty_tracking arg = {
		.size = sizeof(arg),
		.flags = one_in(&f->input, 8) ? pick(&f->input, 4) : !one_in(&f->input, 4),
		.hwpt_id = pick_hwpt(f, c, IOMMU_HWPT_ALLOC_DIRTY_TRACKING),
	};
	struct request r = REQUEST(c, IOMMU_HWPT_SET_DIRTY_TRACKING, arg, sizeof(arg));
	struct hwpt *hwpt;
	int want = 0;

	r.is_silent = true;
	request_prepare(f, &r);
	hwpt = hwpt_of(f, c, arg.hwpt_id);
	if (arg.flags & ~IOMMU_HWPT_DIRTY_TRACKING_ENABLE)
		want = -EOPNOTSUPP;
	else if (!hwpt)
		want = -ENOENT;
	else if (!can_mark(hwpt))
		want = -EOPNOTSUPP;
	if (!request_made(f, &r, request_outcome(&r, want)))
		return;
	hwpt->is_tracking = arg.flags & IOMMU_HWPT_DIRTY_TRACKING_ENABLE;
	/* None is marked when that begins. */
	if (hwpt->is_tracking)
		hwpt->mark_count = 0;
}

/* --- reading ---------------------------------------------------------------------------- */

static uint64_t bitmap_bytes(const struct iommu_hwpt_get_dirty_bitmap *arg)
{
	return arg->page_size ? (arg->length / (arg->page_size & -arg->page_size) + 7) / 8 : 0;
}

static int foresee_bitmap(struct fuzz *f, unsigned int c,
			  const struct iommu_hwpt_get_dirty_bitmap *arg)
{
	const struct hwpt *hwpt = hwpt_of(f, c, arg->hwpt_id);
	struct range range = { arg->iova, arg->iova + arg->length - 1 };
	uint64_t ends = range.first | (range.last + 1);
	struct view view;
	int ret;

	if (arg->flags & ~IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR || arg->__reserved)
		return -EOPNOTSUPP;
	if (!hwpt)
		return -ENOENT;
	ret = check_range(arg->iova, arg->length);
	if (ret)
		return ret;
	view = model_view(&f->model, c, hwpt->space);
	if (ends % view.align || !arg->page_size || ends & (arg->page_size - 1))
		return -EINVAL;
	if (!can_mark(hwpt))
		return -EOPNOTSUPP;
	/* Where nothing is mapped, there is nothing to tell. */
	return model_is_taken(view.space, range) &&
	       !memory_is_good(&f->model.rights, arg->data, bitmap_bytes(arg), true) ? -EFAULT : 0;
}

/* Whether a mark is one of the area that has the address. */
static bool is_mark_of(const struct area *area, const struct mark *mark)
{
	return inside((struct range) { mark->iova, mark->iova }, area->range);
}

static bool may_be_marked(const struct space *space, const struct hwpt *hwpt, struct range page)
{
	unsigned int i, m;

	for (i = 0; i < space->count; i++)
		for (m = 0; m < hwpt->mark_count; m++)
			if (overlap(space->areas[i].range, page) &&
			    is_mark_of(&space->areas[i], &hwpt->marks[m]))
				return true;
	return false;
}

static bool must_be_marked(const struct hwpt *hwpt, struct range page)
{
	unsigned int m;

	for (m = 0; m < hwpt->mark_count; m++)
		if (hwpt->marks[m].is_sure &&
		    inside((struct range) { hwpt->marks[m].iova, hwpt->marks[m].iova }, page))
			return true;
	return false;
}

static void expect_marks(struct fuzz *f, const struct space *space, const struct hwpt *hwpt,
			 const struct iommu_hwpt_get_dirty_bitmap *arg)
{
	const uint8_t *bitmap = (const uint8_t *)(uintptr_t)arg->data;
	uint64_t size = arg->page_size & -arg->page_size, bit;
	struct range page;
	bool is_set;

	for (bit = 0; bit < arg->length / size && !f->failed; bit++) {
		page.first = arg->iova + bit * size;
		page.last = page.first + size - 1;
		is_set = bitmap[bit / 8] >> bit % 8 & 1;
		if (is_set ? !may_be_marked(space, hwpt, page) : must_be_marked(hwpt, page))
			expected(f, "the mark of a page", is_set, !is_set);
	}
}

/* What was read is not marked any more; of pages that reach beyond, nobody knows. */
static void model_clear_marks(const struct space *space, struct hwpt *hwpt, struct range range)
{
	unsigned int i, kept = 0;
	const struct area *area;
	struct mark mark;

	for (i = 0; i < hwpt->mark_count; i++) {
		mark = hwpt->marks[i];
		if (mark.iova >= range.first && mark.iova <= range.last)
			continue;
		area = model_area_at(space, mark.iova);
		mark.is_sure = mark.is_sure && !overlap(area->range, range);
		hwpt->marks[kept++] = mark;
	}
	hwpt->mark_count = kept;
}

static struct iommu_hwpt_get_dirty_bitmap pick_bitmap_arg(struct fuzz *f, unsigned int c)
{
	static const uint64_t sizes[] = { PAGE / 2, PAGE, PAGE, PAGE, 2 * PAGE, 16 * PAGE };
	struct iommu_hwpt_get_dirty_bitmap arg = {
		.size = sizeof(arg),
		.hwpt_id = pick_hwpt(f, c, one_in(&f->input, 4) ? IS_TRACKING :
					   IOMMU_HWPT_ALLOC_DIRTY_TRACKING),
		.flags = one_in(&f->input, 2),
		.page_size = sizes[pick(&f->input, ARRAY_SIZE(sizes))],
	};
	const struct hwpt *hwpt = hwpt_of(f, c, arg.hwpt_id);
	struct range range = pick_mapped(f, hwpt ? &context_of(f, c)->spaces[hwpt->space] : NULL);

	if (!one_in(&f->input, 8)) {
		range.first -= range.first % arg.page_size;
		range.last |= arg.page_size - 1;
	}
	arg.iova = range.first;
	arg.length = range_length(range);
	arg.data = (uintptr_t)MEMORY_END - bitmap_bytes(&arg) + one_in(&f->input, 12) * PAGE;
	return arg;
}

static void fuzz_get_dirty(struct fuzz *f)
{
	unsigned int c = pick_context_of_device(f);
	struct iommu_hwpt_get_dirty_bitmap arg = pick_bitmap_arg(f, c);
	struct request r = REQUEST(c, IOMMU_HWPT_GET_DIRTY_BITMAP, arg, sizeof(arg));
	const uint64_t end = (uintptr_t)MEMORY_END;
	struct space *space;
	struct hwpt *hwpt;

	r.is_silent = true;
	request_prepare(f, &r);
	/* It is to stay in the last page of the memory, or not to be there at all. */
	if (bitmap_bytes(&arg) > PAGE || arg.data + PAGE < end ||
	    (arg.data < end && arg.data + bitmap_bytes(&arg) > end))
		return;
	memset(f->memory + LIST_AT * PAGE, 0, PAGE);
	if (!request_made(f, &r, request_outcome(&r, foresee_bitmap(f, c, &arg))))
		return;
	hwpt = hwpt_of(f, c, arg.hwpt_id);
	space = &context_of(f, c)->spaces[hwpt->space];
	if (memory_is_good(&f->model.rights, arg.data, bitmap_bytes(&arg), true))
		expect_marks(f, space, hwpt, &arg);
	if (!(arg.flags & IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR))
		model_clear_marks(space, hwpt, (struct range) {
			arg.iova, arg.iova + arg.length - 1,
		});
}

/* --- writing ---------------------------------------------------------------------------- */

static int foresee_writes(const struct hwpt *hwpt, uint64_t iova, uint64_t page)
{
	if (iova % page)
		return -EINVAL;
	return !hwpt ? -ENOENT : hwpt->is_tracking ? 0 : -EINVAL;
}

/*
 * Of a device's own memory nothing is told. What may not be written to is marked by the kernel's
 * own mock all the same, and by no other IOMMU.
 */
static void model_write(const struct context *context, const struct space *space,
			struct hwpt *hwpt, uint64_t iova)
{
	const struct area *area = model_area_at(space, iova);
	const struct memory *memory = area ? &context->memory[area->memory] : NULL;

	if (memory && !memory->buf)
		hwpt->marks[hwpt->mark_count++] = (struct mark) {
			iova, memory->writable && !area->is_read_only,
		};
}

/* A device writes to some pages. */
static void fuzz_write(struct fuzz *f)
{
	unsigned int c = pick_context_of_device(f), i;
	int id = pick_hwpt(f, c, IS_TRACKING);
	struct hwpt *hwpt = hwpt_of(f, c, id);
	struct space *space = hwpt ? &context_of(f, c)->spaces[hwpt->space] : NULL;
	uint64_t page = PAGE / (1 + one_in(&f->input, 2)), iova = pick_mapped(f, space).first;
	uint8_t writes = pick(&f->input, 256);
	struct iommu_test_cmd arg = {
		.id = id,
		.dirty = {
			.iova = iova, .length = WRITES * page, .page_size = page,
			.uptr = (uintptr_t)&writes,
		},
	};
	int want = foresee_writes(hwpt, iova, page);

	if (hwpt && hwpt->mark_count + WRITES > MODEL_MARKS)
		return;
	if (iova + WRITES * page < iova)
		return;
	if (!foreseen(f, "DIRTY", mock_call(f->fds[c], IOMMU_TEST_OP_DIRTY, &arg), want) || want)
		return;
	expected(f, "how many pages were written to", arg.dirty.out_nr_dirty,
		 __builtin_popcount(writes));
	for (i = 0; i < WRITES; i++)
		if (writes >> i & 1)
			model_write(context_of(f, c), space, hwpt, iova + i * page);
}

#endif /* LAB_FUZZ_DIRTY_H */
