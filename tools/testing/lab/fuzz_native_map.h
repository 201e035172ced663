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

/* Whether some place could ever do, whatever the space is like. */
static int check_length(uint32_t flags, uint64_t iova, uint64_t length)
{
	if (!length || length > UINT64_MAX - PAGE)
		return -EINVAL;
	if (flags & FIXED)
		return check_range(iova, length);
	return length >= UINT64_MAX / 2 ? -EOVERFLOW : 0;
}

static bool is_aligned(const struct view *view, uint32_t flags, uint64_t iova, uint64_t length)
{
	return (length | (flags & FIXED ? iova : 0)) % view->align == 0;
}

/*
 * What is looked for if the driver is to choose an address: pages on a multiple of what is as
 * large as a page that maps what is at @source could be, up to what one table maps; and where in
 * them the memory begins.
 */
struct choice {
	uint64_t length, align, offset;
};

static struct choice choice_for(uint64_t source, uint64_t offset, uint64_t length)
{
	struct choice choice = { (length + offset + PAGE - 1) & -PAGE, 512 * PAGE, offset };
	uint64_t page = source & -PAGE, low = page & -page;

	if (low && low < choice.align)
		choice.align = low;
	while (choice.align > PAGE && choice.align / 2 >= length)
		choice.align /= 2;
	return choice;
}

/* Whether a map could be where it is to be, or anywhere. */
static int check_room(const struct view *view, uint32_t flags, uint64_t iova, uint64_t length,
		      struct choice choice)
{
	struct range range = { iova, iova + length - 1 };

	if (!(flags & FIXED))
		return view_has_room(view, choice.length, choice.align) ? 0 : -ENOSPC;
	if (!view_accepts(view, range))
		return -EINVAL;
	return model_is_taken(view->space, range) ? -EEXIST : 0;
}

/* The same for memory that is not mapped yet. Where that begins is looked at last. */
static int check_new(const struct view *view, uint32_t flags, uint64_t iova, uint64_t length,
		     uint64_t source)
{
	int ret = check_length(flags, iova, length);

	if (!ret && !is_aligned(view, flags, iova, length))
		ret = -EINVAL;
	if (!ret)
		ret = check_room(view, flags, iova, length,
				 choice_for(source, source % PAGE, length));
	return ret ? ret : source % view->align ? -EINVAL : 0;
}

/* Of an address that the driver chose. */
static void expect_good_choice(struct fuzz *f, const struct view *view, uint64_t iova,
			       uint64_t length, struct choice choice)
{
	struct range range = { iova, iova + length - 1 };

	if (!view_may_choose(view, range, choice.align, choice.offset))
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
		ret = check_new(view, arg->flags, arg->iova, arg->length, arg->user_va);
	if (!ret)
		ret = check_memory(f, view, arg->user_va, arg->length,
				   arg->flags & IOMMU_IOAS_MAP_WRITEABLE, f->lets_bars);
	return ret;
}

static void model_mapped(struct fuzz *f, const struct view *view, uint32_t flags, uint64_t iova,
			 uint64_t length, uint64_t source, bool is_file, int buf)
{
	unsigned int memory = model_new_memory(view->context, flags & IOMMU_IOAS_MAP_WRITEABLE,
					       is_file);
	struct range range = { iova, iova + length - 1 };

	view->context->memory[memory].buf = buf;
	view->context->memory[memory].may_be_bar = f->lets_bars;
	if (!(flags & FIXED))
		expect_good_choice(f, view, iova, length,
				   choice_for(source, source % PAGE, length));
	model_map(view->context, view->space, (struct area) {
		range, memory, .source = source,
		.is_write_only = !(flags & IOMMU_IOAS_MAP_READABLE),
	});
}

static void fuzz_ioas_map(struct fuzz *f)
{
	unsigned int c = pick_context(f);
	struct iommu_ioas_map arg = ioas_map_arg(pick_kind(f, c, SPACE),
						 pick_to_map(f) + pick_bytes(f),
						 pick_size(f) + pick_bytes(f),
						 pick_iova(f) + pick_bytes(f), pick_flags(f));
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
		model_mapped(f, &view, flags, arg.iova, arg.length, arg.user_va, false, 0);
}

/* --- map a file, or a dma-buf ------------------------------------------------------- */

/* Which dma-buf that is, from 1 on; or 0. */
static int buf_of(const struct fuzz *f, int fd)
{
	int buf;

	for (buf = 1; f->is_mock && buf <= BUFS; buf++)
		if (f->bufs[buf - 1] == fd)
			return buf;
	return 0;
}

/* What is said of memory of a dma-buf. */
static int check_buf(const struct fuzz *f, int buf, uint64_t start, uint64_t length)
{
	if (start > BUF_SIZE || length > BUF_SIZE - start)
		return -EINVAL;
	if (f->is_revoked[buf - 1])
		return -ENODEV;
	return (start | length) % PAGE ? -EINVAL : 0;
}

static int foresee_map_file(struct fuzz *f, const struct request *r, const struct view *view)
{
	const struct iommu_ioas_map_file *arg = r->arg;
	int ret = check_flags(arg->flags, arg->iova, arg->iova, arg->length);
	bool is_file = arg->fd == f->file || arg->fd == f->file_for_reading;
	int mode, buf = buf_of(f, arg->fd);

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
	ret = buf ? check_buf(f, buf, arg->start, arg->length) : is_file ? 0 : -EINVAL;
	if (!ret)
		ret = check_answer(r);
	if (!ret)
		ret = check_new(view, arg->flags, arg->iova, arg->length, arg->start);
	if (ret || !is_file || !view->has_domains)
		return ret;
	/* It may be too short. */
	return arg->start + arg->length - 1 >= FILE_PAGES * PAGE ? -EINVAL : 0;
}

static int pick_file(struct fuzz *f, unsigned int c)
{
	const int odd[] = { f->file_for_reading, f->file_for_reading, f->fds[c], -1, 1000 };

	if (f->is_mock && one_in(&f->input, 4))
		return f->bufs[pick(&f->input, BUFS)];
	return one_in(&f->input, 5) ? odd[pick(&f->input, ARRAY_SIZE(odd))] : f->file;
}

static void fuzz_map_file(struct fuzz *f)
{
	unsigned int c = pick_context(f);
	struct iommu_ioas_map_file arg = map_file_arg(pick_kind(f, c, SPACE), pick_file(f, c),
						      pick(&f->input, FILE_PAGES + 1) * PAGE +
						      pick_bytes(f), pick_size(f) + pick_bytes(f),
						      pick_iova(f) + pick_bytes(f));
	struct request r = REQUEST(c, IOMMU_IOAS_MAP_FILE, arg, 40);
	struct view view;
	uint32_t flags;
	int got, want, buf;

	arg.flags = pick_flags(f);
	if (one_in(&f->input, 30))
		arg.start = pick_odd(f);
	request_prepare(f, &r);
	view = model_view(&f->model, c, arg.ioas_id);
	if (is_full(view.space, 1))
		return;
	want = request_outcome(&r, foresee_map_file(f, &r, &view));
	flags = arg.flags;
	buf = buf_of(f, arg.fd);
	got = too_much(request_issue(f, &r), want, arg.length);
	if (foreseen(f, r.name, got, want) && !got)
		model_mapped(f, &view, flags, arg.iova, arg.length, arg.start, !buf, buf);
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
		parts[count].source += parts[count].range.first - area->range.first;
		count++;
		if (area->range.last >= range.last)
			return count;
		range.first = area->range.last + 1;
	}
}

static bool is_permitted(const struct view *view, uint32_t flags, const struct area *part)
{
	return !(flags & IOMMU_IOAS_MAP_WRITEABLE) ||
	       view->context->memory[part->memory].writable;
}

/*
 * Aligned as the address that it is copied from, and within a page as the memory of what comes
 * first, of what can be mapped at all.
 */
static struct choice choice_for_copy(const struct view *to, uint32_t flags, uint64_t source,
				     uint64_t length, const struct area *parts,
				     unsigned int count)
{
	unsigned int i = 0;

	while (i < count && !is_permitted(to, flags, &parts[i]))
		i++;
	return choice_for(source, i < count ? parts[i].source % PAGE : 0, length);
}

/* Whether that can be mapped that way: each begins where the one before it ends. */
static int check_parts(const struct view *to, uint32_t flags, const struct area *parts,
		       unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++)
		if (!is_permitted(to, flags, &parts[i]))
			return -EPERM;
	for (i = 0; i < count; i++)
		if ((parts[i].source | range_length(parts[i].range)) % to->align)
			return -EINVAL;
	return 0;
}

/* With a domain there, what nobody has pinned is pinned. */
static int check_pins_of_parts(struct fuzz *f, const struct view *to, const struct area *parts,
			       unsigned int count)
{
	struct pinned pinned;
	unsigned int i;

	if (!to->has_domains)
		return 0;
	model_find_pinned(to->context, &pinned);
	for (i = 0; i < count; i++)
		if (!model_can_pin(to->context, &pinned, &f->model.rights, &parts[i]))
			return -EFAULT;
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

static int foresee_copy(struct fuzz *f, const struct request *r, const struct view *from,
			const struct view *to, struct area *parts, unsigned int *count)
{
	const struct iommu_ioas_copy *arg = r->arg;
	struct range source = { arg->src_iova, arg->src_iova + arg->length - 1 };
	int ret = check_copied(from, arg);

	if (ret)
		return ret;
	*count = find_parts(from->space, source, parts);
	if (!*count || !to->space)
		return -ENOENT;
	ret = check_length(arg->flags, arg->dst_iova, arg->length);
	if (!ret)
		ret = check_answer(r);
	if (!ret && !is_aligned(to, arg->flags, arg->dst_iova, arg->length))
		ret = -EINVAL;
	if (!ret)
		ret = check_room(to, arg->flags, arg->dst_iova, arg->length,
				 choice_for_copy(to, arg->flags, arg->src_iova, arg->length, parts,
						 *count));
	if (!ret)
		ret = check_parts(to, arg->flags, parts, *count);
	if (!ret)
		ret = check_pins_of_parts(f, to, parts, *count);
	return ret;
}

static void model_copied(const struct view *to, uint32_t flags, const struct area *parts,
			 unsigned int count, uint64_t at)
{
	struct area area;
	unsigned int i;

	for (i = 0; i < count; i++) {
		area = parts[i];
		area.is_read_only = !(flags & IOMMU_IOAS_MAP_WRITEABLE);
		area.is_write_only = !(flags & IOMMU_IOAS_MAP_READABLE);
		area.range.first = at;
		area.range.last = at + (parts[i].range.last - parts[i].range.first);
		model_put(to->context, to->space, area);
		at = area.range.last + 1;
	}
}

/* An address and a length: where something is mapped, rather, all of it or the rest of it. */
static struct range pick_source(struct fuzz *f, const struct space *space)
{
	uint64_t skip = pick(&f->input, 3) * PAGE + pick_bytes(f);
	struct range range = { pick_iova(f), 0 };
	unsigned int number;

	if (space && space->count && !one_in(&f->input, 8)) {
		number = pick(&f->input, space->count);
		range = space->areas[number].range;
		if (skip <= range.last - range.first)
			range.first += skip;
		if (!one_in(&f->input, 4))
			return (struct range) { range.first, range_length(range) };
	}
	range.last = pick_size(f);
	return range;
}

static void fuzz_copy(struct fuzz *f)
{
	unsigned int c = pick_context(f), count = 0;
	int from_id = pick_kind(f, c, SPACE), to_id = pick_kind(f, c, SPACE);
	struct range source = pick_source(f, model_space(context_of(f, c), from_id));
	struct iommu_ioas_copy arg = ioas_copy_arg(to_id, pick_iova(f) + pick_bytes(f), from_id,
						   source.first, source.last);
	struct request r = REQUEST(c, IOMMU_IOAS_COPY, arg, 40);
	struct area parts[MODEL_AREAS];
	struct view from, to;
	uint32_t flags;
	int got, want;

	arg.flags = pick_flags(f);
	request_prepare(f, &r);
	from = model_view(&f->model, c, arg.src_ioas_id);
	to = model_view(&f->model, c, arg.dst_ioas_id);
	want = request_outcome(&r, foresee_copy(f, &r, &from, &to, parts, &count));
	if (is_full(to.space, count))
		return;
	flags = arg.flags;
	got = too_much(request_issue(f, &r), want, arg.length);
	if (!foreseen(f, r.name, got, want) || got)
		return;
	if (!(flags & FIXED))
		expect_good_choice(f, &to, arg.dst_iova, arg.length,
				   choice_for_copy(&to, flags, arg.src_iova, arg.length, parts,
						   count));
	model_copied(&to, arg.flags, parts, count, arg.dst_iova);
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
		return r->is_constant ? -EFAULT :
		       model_is_locked(view->context, view->space, *range) ? -EBUSY : 0;
	}
	ret = arg->iova == UINT64_MAX || arg->length == UINT64_MAX ? -EOVERFLOW :
	      check_range(arg->iova, arg->length);
	if (ret)
		return ret;
	/* This is found out first. */
	if (r->is_constant)
		return -EFAULT;
	if (model_is_locked(view->context, view->space, *range))
		return -EBUSY;
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
