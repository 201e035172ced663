/* SPDX-License-Identifier: GPL-2.0 */
/* The fuzzer's calls of a VFIO container. */
#ifndef LAB_FUZZ_CONTAINER_H
#define LAB_FUZZ_CONTAINER_H

#include "fuzz_native.h"

static struct view container_view(struct fuzz *f, unsigned int c)
{
	return model_view(&f->model, c, context_of(f, c)->container);
}

static int foresee_vfio_ioas(struct fuzz *f, unsigned int c, const struct iommu_vfio_ioas *arg)
{
	struct context *context = context_of(f, c);

	if (arg->__reserved || arg->op > IOMMU_VFIO_IOAS_CLEAR)
		return -EOPNOTSUPP;
	if (arg->op == IOMMU_VFIO_IOAS_GET)
		return context->container ? 0 : -ENODEV;
	if (arg->op == IOMMU_VFIO_IOAS_SET && !model_space(context, arg->ioas_id))
		return -ENOENT;
	return 0;
}

static void fuzz_vfio_ioas(struct fuzz *f)
{
	static const uint16_t ops[] = {
		IOMMU_VFIO_IOAS_GET, IOMMU_VFIO_IOAS_GET, IOMMU_VFIO_IOAS_SET, IOMMU_VFIO_IOAS_SET,
		IOMMU_VFIO_IOAS_SET, IOMMU_VFIO_IOAS_SET, IOMMU_VFIO_IOAS_CLEAR, 3, 0x100,
	};
	unsigned int c = pick_context(f);
	struct iommu_vfio_ioas arg = {
		.size = sizeof(arg),
		.ioas_id = pick_kind(f, c, SPACE),
		.op = ops[pick(&f->input, ARRAY_SIZE(ops))],
	};
	struct request r = REQUEST(c, IOMMU_VFIO_IOAS, arg, 12);
	struct context *context = context_of(f, c);

	request_prepare(f, &r);
	r.is_silent = arg.op != IOMMU_VFIO_IOAS_GET;
	if (!request_made(f, &r, request_outcome(&r, foresee_vfio_ioas(f, c, &arg))))
		return;
	if (arg.op == IOMMU_VFIO_IOAS_GET)
		expected(f, "the container's space", arg.ioas_id, context->container);
	else
		context->container = arg.op == IOMMU_VFIO_IOAS_SET ? arg.ioas_id : 0;
}

static void fuzz_vfio_extension(struct fuzz *f)
{
	unsigned int c = pick_context(f), number = 1 + pick(&f->input, 16);
	struct view view = container_view(f, c);
	int want = number == VFIO_TYPE1_IOMMU || number == VFIO_TYPE1v2_IOMMU ||
		   number == VFIO_UNMAP_ALL ||
		   (number == VFIO_NOIOMMU_IOMMU && f->takes_untranslated);

	/* No domain here enforces it; where there is none, all do. */
	if (number == VFIO_DMA_CC_IOMMU)
		want = view.space ? !view.has_domains : -ENODEV;
	foreseen(f, "VFIO_CHECK_EXTENSION",
		 call(f->fds[c], VFIO_CHECK_EXTENSION, (void *)(unsigned long)number), want);
}

static void fuzz_set_iommu(struct fuzz *f)
{
	unsigned int c = pick_context(f), number = 1 + pick(&f->input, 12);
	struct view view = container_view(f, c);
	int want = 0;

	if (number != VFIO_TYPE1_IOMMU && number != VFIO_TYPE1v2_IOMMU)
		want = -EINVAL;
	else if (!view.space)
		want = -ENODEV;
	else if (number == VFIO_TYPE1_IOMMU)
		want = model_check_small_pages(&view);
	if (!want && number == VFIO_TYPE1_IOMMU)
		view.space->small_pages = true;
	foreseen(f, "VFIO_SET_IOMMU",
		 call(f->fds[c], VFIO_SET_IOMMU, (void *)(unsigned long)number), want);
}

static int foresee_vfio_map(struct fuzz *f, const struct view *view,
			    const struct vfio_iommu_type1_dma_map *arg)
{
	struct range range = { arg->iova, arg->iova + arg->size - 1 };
	bool writable = arg->flags & VFIO_DMA_MAP_FLAG_WRITE;
	unsigned int memory;
	int ret;

	if (arg->argsz < sizeof(*arg) || arg->flags > 3)
		return -EINVAL;
	if (!view->space)
		return -ENODEV;
	if (!arg->flags || (arg->vaddr | arg->iova | arg->size) % PAGE)
		return -EINVAL;
	if (arg->vaddr + arg->size < arg->vaddr)
		return -EOVERFLOW;
	if (!arg->size || arg->size > UINT64_MAX - PAGE)
		return -EINVAL;
	if (range.last < range.first)
		return -EOVERFLOW;
	if (!view_accepts(view, range))
		return -EINVAL;
	if (model_is_taken(view->space, range))
		return -EEXIST;
	ret = check_memory(f, view, arg->vaddr, arg->size, writable, f->lets_bars);
	if (ret)
		return ret;
	memory = model_new_memory(view->context, writable, false);
	view->context->memory[memory].may_be_bar = f->lets_bars;
	model_map(view->context, view->space, (struct area) {
		range, memory, .source = arg->vaddr,
		.is_write_only = !(arg->flags & VFIO_DMA_MAP_FLAG_READ),
	});
	return 0;
}

static void fuzz_vfio_map(struct fuzz *f)
{
	unsigned int c = pick_context(f);
	struct vfio_iommu_type1_dma_map arg = {
		.argsz = sizeof(arg),
		.flags = pick(&f->input, one_in(&f->input, 8) ? 9 : 4),
		.vaddr = (uintptr_t)pick_to_map(f),
		.iova = pick_iova(f),
		.size = pick_size(f),
	};
	struct view view = container_view(f, c);
	int got, want;

	if (one_in(&f->input, 12))
		((uint32_t *)&arg)[pick(&f->input, 8)] ^= 1U << pick(&f->input, 32);
	if (is_full(view.space, 1))
		return;
	got = call(f->fds[c], VFIO_IOMMU_MAP_DMA, &arg);
	want = foresee_vfio_map(f, &view, &arg);
	foreseen(f, "VFIO_MAP", too_much(got, want, arg.size), want);
}

/* Of a cut behind an address: 1 if there is nothing in the way of it. */
static int check_cut(const struct view *view, uint64_t last)
{
	const struct area *area = model_area_at(view->space, last);

	if (!area || area->range.last == last)
		return 1;
	if (area->range.first == last)
		return 0;
	if (model_is_locked(view->context, view->space, area->range) ||
	    model_has_pins(view->context, view->space, area->range, false))
		return -EINVAL;
	return (last + 1) % view->align || view->context->memory[area->memory].buf ||
	       area->is_found ? -EINVAL : 1;
}

static int foresee_cuts(const struct view *view, struct range range)
{
	int ret = check_cut(view, range.last);

	if (ret == 1 && range.first)
		ret = check_cut(view, range.first - 1);
	if (ret != 1)
		return ret;
	model_cut(view->context, view->space, range.last);
	if (range.first)
		model_cut(view->context, view->space, range.first - 1);
	return 0;
}

static int64_t foresee_vfio_unmap(const struct view *view,
				  const struct vfio_iommu_type1_dma_unmap *arg)
{
	struct range range = { arg->iova, arg->iova + arg->size - 1 };
	int ret;

	if (arg->argsz < sizeof(*arg) || arg->flags & ~VFIO_DMA_UNMAP_FLAG_ALL)
		return -EINVAL;
	if (!view->space)
		return -ENODEV;
	if (arg->flags) {
		if (arg->iova || arg->size)
			return -EINVAL;
		range = (struct range) { 0, UINT64_MAX };
	} else {
		ret = check_range(arg->iova, arg->size);
		if (!ret && view->space->small_pages)
			ret = foresee_cuts(view, range);
		if (ret)
			return ret;
	}
	if (model_is_locked(view->context, view->space, range))
		return -EBUSY;
	if (model_is_cut(view->space, range))
		return -ENOENT;
	return model_unmap(view->context, view->space, range);
}

static void fuzz_vfio_unmap(struct fuzz *f)
{
	unsigned int c = pick_context(f);
	struct view view = container_view(f, c);
	struct range range = pick_mapped(f, view.space);
	struct vfio_iommu_type1_dma_unmap arg = {
		.argsz = sizeof(arg), .iova = range.first, .size = range.last - range.first + 1,
	}, before;
	int64_t got;

	if (one_in(&f->input, 3) && arg.size > 2 * PAGE) {
		arg.iova += pick(&f->input, 2) * PAGE;
		arg.size -= pick(&f->input, 3) * PAGE;
	}

	if (one_in(&f->input, 6)) {
		arg.flags = VFIO_DMA_UNMAP_FLAG_ALL;
		if (!one_in(&f->input, 6)) {
			arg.iova = 0;
			arg.size = 0;
		}
	}
	if (one_in(&f->input, 12))
		((uint32_t *)&arg)[pick(&f->input, 6)] ^= 1U << pick(&f->input, 32);
	/* It may cut two areas. */
	if (is_full(view.space, 2))
		return;
	before = arg;
	got = call(f->fds[c], VFIO_IOMMU_UNMAP_DMA, &arg);
	if (!got)
		got = arg.size;
	foreseen(f, "VFIO_UNMAP", got, foresee_vfio_unmap(&view, &before));
}

/* The ranges in a container's chain of capabilities. */
static void expect_chain(struct fuzz *f, struct vfio_iommu_type1_info *info,
			 const struct view *view)
{
	struct vfio_iommu_type1_info_cap_iova_range *cap;
	struct vfio_info_cap_header *head = (void *)info + sizeof(*info);
	struct range ranges[MODEL_HOLES + 1];
	unsigned int count = view_ranges(view, ranges);

	expected(f, "the first capability", head->id, VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL);
	/* All addresses are no limit. */
	if (count == 1 && !ranges[0].first && ranges[0].last == UINT64_MAX) {
		expected(f, "that there is no second capability", head->next, 0);
		return;
	}
	cap = (void *)info + head->next;
	expected(f, "the second capability", cap->header.id,
		 VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE);
	if (expected(f, "how many ranges it has", cap->nr_iovas, count))
		expect_ranges(f, ranges, count, cap->iova_ranges, count);
}

static void fuzz_vfio_info(struct fuzz *f)
{
	unsigned int c = pick_context(f);
	struct vfio_iommu_type1_info *info = (void *)f->argument;
	struct view view = container_view(f, c);
	uint32_t argsz = one_in(&f->input, 2) ? PAGE : pick(&f->input, 40);
	int want = argsz < 16 ? -EINVAL : view.space ? 0 : -ENODEV;

	memset(info, 0, PAGE);
	info->argsz = argsz;
	if (!foreseen(f, "VFIO_GET_INFO", call(f->fds[c], VFIO_IOMMU_GET_INFO, info), want) || want)
		return;
	expected(f, "the page sizes", info->iova_pgsizes & (2 * PAGE - 1), PAGE);
	if (argsz == PAGE && expected(f, "where capabilities are", info->cap_offset, sizeof(*info)))
		expect_chain(f, info, &view);
}

#endif /* LAB_FUZZ_CONTAINER_H */
