/* SPDX-License-Identifier: GPL-2.0 */
/* The fuzzer's calls of <linux/iommufd.h> that map, copy and unmap. */
#ifndef LAB_FUZZ_NATIVE_MAP_H
#define LAB_FUZZ_NATIVE_MAP_H

#include "fuzz_request.h"

/* Choose flags, rather good ones. */
static uint32_t pick_flags(struct fuzz *f)
{
	if (one_in(&f->input, 12))
		return pick(&f->input, 16);
	return (one_in(&f->input, 3) ? 0 : FIXED) |
	       (one_in(&f->input, 4) ? IOMMU_IOAS_MAP_READABLE : RW);
}

/* What all three say of these first. */
static int check_flags(uint32_t flags, uint64_t one, uint64_t other, uint64_t length)
{
	if (flags & ~(FIXED | RW))
		return -EOPNOTSUPP;
	if (one == UINT64_MAX || other == UINT64_MAX || length == UINT64_MAX)
		return -EOVERFLOW;
	return flags & RW ? 0 : -EINVAL;
}

/* As large as a page that maps what is at @source could be, up to what one table maps. */
static uint64_t chosen_align(uint64_t source, uint64_t length)
{
	uint64_t align = 512 * PAGE, low = source & -source;

	if (low && low < align)
		align = low;
	while (align / 2 >= length)
		align /= 2;
	return align;
}

static int check_place(uint32_t flags, uint64_t iova, uint64_t length, uint64_t source)
{
	if (!length || length % PAGE || length > UINT64_MAX - PAGE)
		return -EINVAL;
	if (flags & FIXED)
		return iova % PAGE ? -EINVAL : check_range(iova, length);
	if (length >= UINT64_MAX / 2)
		return -EOVERFLOW;
	return chosen_align(source, length) < PAGE ? -EINVAL : 0;
}

/* Whether a map could be where it is to be, or anywhere. */
static int check_room(const struct view *view, uint32_t flags, uint64_t iova, uint64_t length,
		      uint64_t source)
{
	struct range range = { iova, iova + length - 1 };

	if (!(flags & FIXED))
		return view_has_room(view, length, chosen_align(source, length)) ? 0 : -ENOSPC;
	if (!view_accepts(view, range))
		return -EINVAL;
	return model_is_taken(view->space, range) ? -EEXIST : 0;
}

/* Of an address that the driver chose. */
static void expect_good_choice(struct fuzz *f, const struct view *view, uint64_t iova,
			       uint64_t length, uint64_t source)
{
	struct range range = { iova, iova + length - 1 };

	if (!view_may_choose(view, range, chosen_align(source, length)))
		expected(f, "an address that was chosen", iova, 0);
}

/* Whether the answer can be written is seen before anything is mapped. */
static int check_answer(const struct request *r)
{
	return r->is_constant ? -EFAULT : 0;
}

/* --- map -------------------------------------------------------------------------- */

static int foresee_ioas_map(struct fuzz *f, const struct request *r, const struct view *view)
{
	const struct iommu_ioas_map *arg = r->arg;
	int ret = arg->__reserved ? -EOPNOTSUPP :
		  check_flags(arg->flags, arg->iova, arg->iova, arg->length);

	if (ret)
		return ret;
	if (!view->space)
		return -ENOENT;
	if (arg->user_va + arg->length < arg->user_va)
		return -EOVERFLOW;
	ret = check_answer(r);
	if (!ret)
		ret = check_place(arg->flags, arg->iova, arg->length, arg->user_va);
	if (!ret)
		ret = check_room(view, arg->flags, arg->iova, arg->length, arg->user_va);
	if (!ret && arg->user_va % PAGE)
		ret = -EINVAL;
	if (!ret && !memory_is_good(f, arg->user_va, arg->length,
				    arg->flags & IOMMU_IOAS_MAP_WRITEABLE))
		ret = -EFAULT;
	return ret;
}

static void model_mapped(struct fuzz *f, const struct view *view, uint32_t flags, uint64_t iova,
			 uint64_t length, uint64_t source, bool is_file)
{
	unsigned int memory = model_pin(view->context, flags & IOMMU_IOAS_MAP_WRITEABLE);
	struct range range = { iova, iova + length - 1 };

	if (!(flags & FIXED))
		expect_good_choice(f, view, iova, length, source);
	view->context->memory[memory].is_file = is_file;
	model_put(view->context, view->space, (struct area) { range, memory, 0 });
}

static void fuzz_ioas_map(struct fuzz *f)
{
	unsigned int c = pick_context(f);
	struct iommu_ioas_map arg = ioas_map_arg(pick_kind(f, c, SPACE), pick_memory(f),
						 pick_size(f), pick_iova(f), pick_flags(f));
	struct request r = REQUEST(c, IOMMU_IOAS_MAP, arg, 40);
	uint32_t flags;
	struct view view;
	int got, want;

	request_prepare(f, &r);
	view = model_view(&f->model, c, arg.ioas_id);
	if (is_full(view.space, 1))
		return;
	want = request_outcome(&r, foresee_ioas_map(f, &r, &view));
	flags = arg.flags;
	got = too_much(request_issue(f, &r), want, arg.length);
	if (foreseen(f, r.name, got, want) && !got)
		model_mapped(f, &view, flags, arg.iova, arg.length, arg.user_va, false);
}

/* --- map a file ------------------------------------------------------------------- */

static int foresee_map_file(struct fuzz *f, const struct request *r, const struct view *view)
{
	const struct iommu_ioas_map_file *arg = r->arg;
	int ret = check_flags(arg->flags, arg->iova, arg->iova, arg->length);
	bool is_file = arg->fd == f->file || arg->fd == f->file_for_reading;
	int mode;

	if (ret)
		return ret;
	if (!view->space)
		return -ENOENT;
	ret = check_range(arg->start, arg->length);
	if (ret)
		return ret;
	mode = fcntl(arg->fd, F_GETFL);
	if (mode < 0)
		return -EBADF;
	if ((mode & O_ACCMODE) == O_WRONLY)
		return -EACCES;
	if ((mode & O_ACCMODE) == O_RDONLY && arg->flags & IOMMU_IOAS_MAP_WRITEABLE)
		return -EPERM;
	ret = check_answer(r);
	if (!ret)
		ret = check_place(arg->flags, arg->iova, arg->length, arg->start);
	if (!ret)
		ret = check_room(view, arg->flags, arg->iova, arg->length, arg->start);
	if (!ret && (arg->start % PAGE || !is_file ||
		     arg->start + arg->length - 1 >= FILE_PAGES * PAGE))
		ret = -EINVAL;
	return ret;
}

static int pick_file(struct fuzz *f, unsigned int c)
{
	const int odd[] = { f->file_for_reading, f->file_for_reading, f->fds[c], -1, 1000 };

	return one_in(&f->input, 5) ? odd[pick(&f->input, ARRAY_SIZE(odd))] : f->file;
}

static void fuzz_map_file(struct fuzz *f)
{
	unsigned int c = pick_context(f);
	struct iommu_ioas_map_file arg = map_file_arg(pick_kind(f, c, SPACE), pick_file(f, c),
						      pick(&f->input, FILE_PAGES + 1) * PAGE,
						      pick_size(f), pick_iova(f));
	struct request r = REQUEST(c, IOMMU_IOAS_MAP_FILE, arg, 40);
	struct view view;
	uint32_t flags;
	int got, want;

	arg.flags = pick_flags(f);
	if (one_in(&f->input, 30))
		arg.start = pick_odd(f);
	request_prepare(f, &r);
	view = model_view(&f->model, c, arg.ioas_id);
	if (is_full(view.space, 1))
		return;
	want = request_outcome(&r, foresee_map_file(f, &r, &view));
	flags = arg.flags;
	got = too_much(request_issue(f, &r), want, arg.length);
	if (foreseen(f, r.name, got, want) && !got)
		model_mapped(f, &view, flags, arg.iova, arg.length, arg.start, true);
}

/* --- copy ------------------------------------------------------------------------- */

/* The areas that make up a range; 0 if it has holes, and more than there can be if there are. */
static unsigned int find_parts(const struct space *space, struct range range, struct area *parts)
{
	unsigned int count = 0;
	const struct area *area;

	for (;;) {
		area = model_area_at(space, range.first);
		if (!area)
			return 0;
		parts[count] = *area;
		parts[count].range = common(area->range, range);
		parts[count].skip += (parts[count].range.first - area->range.first) / PAGE;
		count++;
		if (area->range.last >= range.last)
			return count;
		range.first = area->range.last + 1;
	}
}

/* Whether that can be mapped that way. */
static int check_parts(const struct context *context, uint32_t flags, const struct area *parts,
		       unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		if (flags & IOMMU_IOAS_MAP_WRITEABLE && !context->memory[parts[i].memory].writable)
			return -EPERM;
		if (parts[i].range.first % PAGE)
			return -EINVAL;
	}
	return 0;
}

static int check_copied(const struct view *from, const struct iommu_ioas_copy *arg)
{
	int ret = check_flags(arg->flags, arg->dst_iova, arg->src_iova, arg->length);

	if (ret)
		return ret;
	if (!from->space)
		return -ENOENT;
	return check_range(arg->src_iova, arg->length);
}

static int foresee_copy(const struct request *r, const struct view *from, const struct view *to,
			struct area *parts, unsigned int *count)
{
	const struct iommu_ioas_copy *arg = r->arg;
	struct range source = { arg->src_iova, arg->src_iova + arg->length - 1 };
	int ret = check_copied(from, arg);

	if (ret)
		return ret;
	*count = find_parts(from->space, source, parts);
	if (!*count || !to->space)
		return -ENOENT;
	ret = check_place(arg->flags, arg->dst_iova, arg->length, arg->src_iova);
	if (!ret)
		ret = check_answer(r);
	if (!ret)
		ret = check_room(to, arg->flags, arg->dst_iova, arg->length, arg->src_iova);
	if (!ret)
		ret = check_parts(from->context, arg->flags, parts, *count);
	return ret;
}

static void model_copied(const struct view *to, const struct area *parts, unsigned int count,
			 uint64_t at)
{
	struct area area;
	unsigned int i;

	for (i = 0; i < count; i++) {
		area = parts[i];
		area.range.first = at;
		area.range.last = at + (parts[i].range.last - parts[i].range.first);
		model_put(to->context, to->space, area);
		at = area.range.last + 1;
	}
}

/* Where something is mapped, rather. */
static struct range pick_source(struct fuzz *f, const struct space *space)
{
	struct range range = { pick_iova(f), 0 };
	unsigned int number;

	if (space && space->count && !one_in(&f->input, 4)) {
		number = pick(&f->input, space->count);
		range = space->areas[number].range;
		range.first += pick(&f->input, 3) * PAGE;
		if (one_in(&f->input, 2))
			return (struct range) { range.first, range.last - range.first + 1 };
	}
	range.last = pick_size(f);
	return range;
}

static void fuzz_copy(struct fuzz *f)
{
	unsigned int c = pick_context(f), count = 0;
	int from_id = pick_kind(f, c, SPACE), to_id = pick_kind(f, c, SPACE);
	struct range source = pick_source(f, model_space(context_of(f, c), from_id));
	struct iommu_ioas_copy arg = ioas_copy_arg(to_id, pick_iova(f), from_id, source.first,
						   source.last);
	struct request r = REQUEST(c, IOMMU_IOAS_COPY, arg, 40);
	struct area parts[MODEL_AREAS];
	struct view from, to;
	uint32_t flags;
	int want;

	arg.flags = pick_flags(f);
	request_prepare(f, &r);
	from = model_view(&f->model, c, arg.src_ioas_id);
	to = model_view(&f->model, c, arg.dst_ioas_id);
	want = request_outcome(&r, foresee_copy(&r, &from, &to, parts, &count));
	if (is_full(to.space, count))
		return;
	flags = arg.flags;
	if (!request_made(f, &r, want))
		return;
	if (!(flags & FIXED))
		expect_good_choice(f, &to, arg.dst_iova, arg.length, arg.src_iova);
	model_copied(&to, parts, count, arg.dst_iova);
}

/* --- unmap ------------------------------------------------------------------------ */

static int foresee_ioas_unmap(const struct request *r, const struct view *view,
			      const struct iommu_ioas_unmap *arg, struct range *range)
{
	int ret;

	*range = (struct range) { arg->iova, arg->iova + arg->length - 1 };
	if (!view->space)
		return -ENOENT;
	if (!arg->iova && arg->length == UINT64_MAX) {
		range->last = UINT64_MAX;
		return 0;
	}
	ret = arg->iova == UINT64_MAX || arg->length == UINT64_MAX ? -EOVERFLOW :
	      check_range(arg->iova, arg->length);
	if (ret)
		return ret;
	/* This is found out first. */
	if (r->is_constant)
		return -EFAULT;
	if (model_is_cut(view->space, *range))
		return -ENOENT;
	return model_is_taken(view->space, *range) ? 0 : -ENOENT;
}

static void fuzz_ioas_unmap(struct fuzz *f)
{
	unsigned int c = pick_context(f);
	int id = pick_kind(f, c, SPACE);
	struct range range = pick_mapped(f, model_space(context_of(f, c), id));
	struct iommu_ioas_unmap arg = {
		.size = sizeof(arg),
		.ioas_id = id,
		.iova = range.first,
		.length = range.last - range.first + 1,
	};
	struct request r = REQUEST(c, IOMMU_IOAS_UNMAP, arg, 24);
	struct view view;

	if (one_in(&f->input, 12)) {
		arg.iova = 0;
		arg.length = UINT64_MAX;
	} else if (one_in(&f->input, 12)) {
		/* Any range will do that holds whole areas. */
		arg.iova -= 1;
		arg.length += 2;
	}
	request_prepare(f, &r);
	view = model_view(&f->model, c, arg.ioas_id);
	if (request_made(f, &r, request_outcome(&r, foresee_ioas_unmap(&r, &view, &arg, &range))))
		expected(f, "what was unmapped", arg.length,
			 model_unmap(view.context, view.space, range));
}

#endif /* LAB_FUZZ_NATIVE_MAP_H */
