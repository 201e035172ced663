/* SPDX-License-Identifier: GPL-2.0 */
/* The fuzzer's calls of <linux/iommu.h>. */
#ifndef LAB_FUZZ_IOASID_H
#define LAB_FUZZ_IOASID_H

#include "fuzz.h"

static void fuzz_extension(struct fuzz *f)
{
	unsigned int c = pick_context(f), number = pick(&f->input, 16);
	bool known = number == 1 || number == 2 || number == 4 || number == 9;
	const struct context *context = context_of(f, c);

	if (one_in(&f->input, 2))
		number |= IOMMU_EXT_EXPLICIT;
	else
		known = known && context->knows_ioasids;
	known = known && !context->container;
	foreseen(f, "CHECK_EXTENSION", iommu_check_extension(f->fds[c], number), known);
}

static void fuzz_unknown(struct fuzz *f)
{
	const unsigned long requests[] = {
		_IO(';', 99), _IO(';', 127), _IO(';', 0x96), _IO('<', 100), 0, ~0U,
	};
	unsigned long request = requests[pick(&f->input, ARRAY_SIZE(requests))];

	foreseen(f, "unknown", call(f->fds[pick_context(f)], request, f->memory), -ENOTTY);
}

static int foresee_alloc(struct fuzz *f, unsigned int c, const struct iommu_ioasid_alloc *arg)
{
	struct range window = { 0, UINT64_MAX };

	if (arg->argsz < 16 || arg->flags > 3 || arg->type != 1)
		return -EINVAL;
	if (arg->flags & IOMMU_IOASID_IOVA_WINDOW) {
		window = (struct range) { arg->iova_first, arg->iova_last };
		if (arg->argsz < 32 || arg->addr_width || window.first > window.last ||
		    window.first % PAGE || (window.last + 1) % PAGE)
			return -EINVAL;
	} else {
		if (!arg->addr_width || arg->addr_width > 64)
			return -EINVAL;
		window.last >>= 64 - arg->addr_width;
	}
	return model_add_space(context_of(f, c), window, arg->flags & IOMMU_IOASID_ENFORCE_SNOOP);
}

static void fuzz_alloc(struct fuzz *f)
{
	static const unsigned char widths[] = { 64, 48, 39, 32, 29, 12, 1, 0, 65, 255 };
	struct iommu_ioasid_alloc arg = { .argsz = 32, .type = 1 };
	unsigned int c = pick_context(f);
	int got;

	if (!model_next_id(context_of(f, c)) || has_enough(f, context_of(f, c), SPACE))
		return;
	if (one_in(&f->input, 4)) {
		arg.flags = IOMMU_IOASID_IOVA_WINDOW;
		arg.iova_first = pick_iova(f);
		arg.iova_last = arg.iova_first + pick_size(f) - 1;
	} else {
		arg.addr_width = widths[pick(&f->input, one_in(&f->input, 4) ? 10 : 2)];
	}
	if (one_in(&f->input, 10))
		arg.flags ^= 1U << pick(&f->input, 32);
	if (one_in(&f->input, 20))
		arg.argsz = pick(&f->input, 33);
	if (one_in(&f->input, 30))
		arg.type = pick(&f->input, 4);
	got = call(f->fds[c], IOMMU_IOASID_ALLOC, &arg);
	if (foreseen(f, "ALLOC", got, foresee_alloc(f, c, &arg)) && got > 0)
		context_of(f, c)->knows_ioasids = true;
}

static void fuzz_free(struct fuzz *f)
{
	unsigned int c = pick_context(f);
	int id = pick_kind(f, c, SPACE), want = 0;
	struct view view = model_view(&f->model, c, id);

	if (!view.space)
		want = -ENOENT;
	else if (model_is_busy(view.context, id))
		want = -EBUSY;
	else
		model_free_space(view.context, id);
	foreseen(f, "FREE", ioasid_free(f->fds[c], id), want);
}

/* What is checked first, be it a map or an unmap. */
static int foresee_op(const struct view *view, const struct iommu_ioasid_dma_op *op)
{
	if (op->argsz < sizeof(*op) || op->flags || op->padding)
		return -EINVAL;
	return view->space ? 0 : -ENOENT;
}

static int foresee_map(struct fuzz *f, const struct view *view, const struct ioasid_map *arg)
{
	const struct vfio_iommu_type1_dma_map *map = &arg->map;
	struct range range = { map->iova, map->iova + map->size - 1 };
	bool writable = map->flags & VFIO_DMA_MAP_FLAG_WRITE;
	int ret = foresee_op(view, &arg->op);
	unsigned int memory;

	if (ret)
		return ret;
	if (map->argsz < sizeof(*map) || map->flags > 7)
		return -EINVAL;
	if (map->flags & VFIO_DMA_MAP_FLAG_VADDR)
		return -EOPNOTSUPP;
	ret = check_range(map->iova, map->size);
	if (!ret)
		ret = check_range(map->vaddr, map->size);
	if (ret)
		return ret;
	if (!map->flags || (map->iova | map->vaddr | map->size) % PAGE)
		return -EINVAL;
	if (model_is_taken(view->space, range))
		return -EEXIST;
	if (!view_accepts(view, range))
		return -EINVAL;
	ret = check_memory(f, view, map->vaddr, map->size, writable, true);
	if (ret)
		return ret;
	memory = model_new_memory(view->context, writable, false);
	view->context->memory[memory].may_be_bar = true;
	model_map(view->context, view->space, (struct area) {
		range, memory, .source = map->vaddr,
		.is_write_only = !(map->flags & VFIO_DMA_MAP_FLAG_READ),
	});
	return 0;
}

static void fuzz_map(struct fuzz *f)
{
	unsigned int c = pick_context(f);
	struct ioasid_map arg = map_arg(pick_kind(f, c, SPACE), pick_to_map(f), pick_iova(f),
					pick_size(f));
	struct view view;
	int got, want;

	if (!one_in(&f->input, 3))
		arg.map.flags = pick(&f->input, one_in(&f->input, 8) ? 9 : 4);
	if (one_in(&f->input, 30))
		arg.map.vaddr += pick_odd(f);
	if (one_in(&f->input, 30))
		((uint32_t *)&arg)[pick(&f->input, 6)] ^= 1U << pick(&f->input, 32);
	/* What is behind a longer argument is another test's subject. */
	if (arg.op.argsz > sizeof(arg))
		arg.op.argsz = sizeof(arg);
	view = model_view(&f->model, c, arg.op.ioasid);
	if (is_full(view.space, 1))
		return;
	got = call(f->fds[c], IOMMU_MAP_DMA, &arg);
	want = foresee_map(f, &view, &arg);
	foreseen(f, "MAP", too_much(got, want, arg.map.size), want);
}

static int64_t foresee_unmap(const struct view *view, const struct ioasid_unmap *arg)
{
	const struct vfio_iommu_type1_dma_unmap *unmap = &arg->unmap;
	struct range range = { unmap->iova, unmap->iova + unmap->size - 1 };
	int ret = foresee_op(view, &arg->op);

	if (ret)
		return ret;
	if (unmap->argsz < sizeof(*unmap) || unmap->flags > 7)
		return -EINVAL;
	if (unmap->flags & ~VFIO_DMA_UNMAP_FLAG_ALL)
		return -EOPNOTSUPP;
	if (unmap->flags) {
		if (unmap->iova || unmap->size)
			return -EINVAL;
		range = (struct range) { 0, UINT64_MAX };
	} else {
		if ((unmap->iova | unmap->size) % PAGE)
			return -EINVAL;
		ret = check_range(unmap->iova, unmap->size);
		if (ret)
			return ret;
	}
	if (model_is_locked(view->context, view->space, range))
		return -EBUSY;
	if (model_is_cut(view->space, range))
		return -EINVAL;
	return model_unmap(view->context, view->space, range);
}

static void fuzz_unmap(struct fuzz *f)
{
	unsigned int c = pick_context(f);
	int id = pick_kind(f, c, SPACE);
	struct range range = pick_mapped(f, model_space(context_of(f, c), id));
	struct ioasid_unmap arg = unmap_arg(id, range.first, range.last - range.first + 1), before;
	struct view view;
	int64_t got;

	if (one_in(&f->input, 6)) {
		arg.unmap.flags = pick(&f->input, 9);
		if (!one_in(&f->input, 4)) {
			arg.unmap.iova = 0;
			arg.unmap.size = 0;
		}
	}
	if (one_in(&f->input, 30))
		((uint32_t *)&arg)[pick(&f->input, 6)] ^= 1U << pick(&f->input, 32);
	if (arg.op.argsz > sizeof(arg))
		arg.op.argsz = sizeof(arg);
	before = arg;
	view = model_view(&f->model, c, arg.op.ioasid);
	got = call(f->fds[c], IOMMU_UNMAP_DMA, &arg);
	if (!got)
		got = arg.unmap.size;
	foreseen(f, "UNMAP", got, foresee_unmap(&view, &before));
}

static void fuzz_info(struct fuzz *f)
{
	struct iommu_device_info arg = { .argsz = 32 };
	unsigned int c = pick_context(f);
	int want;

	arg.dev_cookie = pick_kind(f, c, DEVICE);
	want = model_device(&f->model, c, arg.dev_cookie) ? 0 : -ENOENT;
	if (one_in(&f->input, 10))
		arg.argsz = pick(&f->input, 33);
	if (arg.argsz < 32)
		want = -EINVAL;
	foreseen(f, "GET_INFO", call(f->fds[c], IOMMU_DEVICE_GET_INFO, &arg), want);
}

#endif /* LAB_FUZZ_IOASID_H */
