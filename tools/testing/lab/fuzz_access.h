/* SPDX-License-Identifier: GPL-2.0 */
/* The fuzzer's drivers without DMA: files that pin, read and write what is mapped. */
#ifndef LAB_FUZZ_ACCESS_H
#define LAB_FUZZ_ACCESS_H

#include "fuzz_mock.h"

/* One with a file, or 0. */
static int pick_access(struct fuzz *f, unsigned int c)
{
	int id = pick_kind(f, c, ACCESS);

	return model_kind(context_of(f, c), id) == ACCESS ? id : 0;
}

/* Rather where something is mapped. */
static int pick_mapped_space(struct fuzz *f, unsigned int c)
{
	const struct context *context = context_of(f, c);
	int id;

	for (id = 1; id <= MODEL_IDS; id++)
		if (context->kinds[id] == SPACE && context->spaces[id].count &&
		    !one_in(&f->input, 3))
			return id;
	return pick_kind(f, c, SPACE);
}

/* Whether one can come to a space. */
static int check_seat(struct fuzz *f, unsigned int c, int id, bool may_pin)
{
	struct space *space = model_space(context_of(f, c), id);

	if (!space)
		return -ENOENT;
	return may_pin && !model_is_aligned(space, PAGE) ? -EADDRINUSE : 0;
}

static void fuzz_access(struct fuzz *f)
{
	unsigned int c = pick_context(f);
	struct context *context = context_of(f, c);
	bool may_pin = !one_in(&f->input, 8);
	int space = pick_mapped_space(f, c), id = model_next_id(context), want;
	struct iommu_test_cmd arg = {
		.id = space,
		.create_access.flags = may_pin ? MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES : 0,
	};

	if (!id || has_enough(f, context, ACCESS))
		return;
	want = check_seat(f, c, space, may_pin);
	if (!foreseen(f, "CREATE_ACCESS",
		      mock_call(f->fds[c], IOMMU_TEST_OP_CREATE_ACCESS, &arg), want) || want)
		return;
	context->kinds[id] = ACCESS;
	context->accesses[id] = (struct access) { .space = space, .may_pin = may_pin };
	context->files[id] = arg.create_access.out_access_fd;
}

/* All that it has pinned goes. */
static void fuzz_close_access(struct fuzz *f)
{
	unsigned int c = pick_context(f);
	int id = pick_access(f, c);

	if (!id)
		return;
	close_file(context_of(f, c), id);
	context_of(f, c)->kinds[id] = FREE_ID;
}

static void fuzz_move_access(struct fuzz *f)
{
	unsigned int c = pick_context(f);
	struct context *context = context_of(f, c);
	int id = pick_access(f, c), space = pick_mapped_space(f, c), want;
	struct access *access = &context->accesses[id];

	if (!id)
		return;
	want = check_seat(f, c, space, access->may_pin && access->space != space);
	foreseen(f, "ACCESS_REPLACE_IOAS",
		 mock_access_move(f->fds[c], context->files[id], space), want);
	if (!want && access->space != space)
		*access = (struct access) {
			.space = space, .may_pin = access->may_pin, .next = access->next,
		};
}

/* --- what it can have --------------------------------------------------------------------- */

/* Of an area, for reading or for writing. */
static int check_area_for_driver(const struct context *context, const struct area *area,
				 bool to_write)
{
	const struct memory *memory = &context->memory[area->memory];

	if (memory->buf)
		return -EINVAL;
	if (to_write)
		return memory->writable && !area->is_read_only ? 0 : -EPERM;
	return area->is_write_only ? -EPERM : 0;
}

/* What a range has of each area: 0, and so many parts, all of which it may have; or why not. */
static int find_parts_for_driver(const struct context *context, const struct space *space,
				 struct range range, bool to_write, struct area *parts,
				 unsigned int *count)
{
	const struct area *area;
	int ret;

	for (*count = 0;; ++*count) {
		area = model_area_at(space, range.first);
		ret = area ? check_area_for_driver(context, area, to_write) : -ENOENT;
		if (ret)
			return ret;
		parts[*count] = *area;
		parts[*count].range = common(area->range, range);
		parts[*count].source += parts[*count].range.first - area->range.first;
		if (area->range.last >= range.last) {
			++*count;
			return 0;
		}
		range.first = area->range.last + 1;
	}
}

/* Somewhere in what is mapped, rather. */
static struct range pick_for_driver(struct fuzz *f, const struct space *space)
{
	uint64_t skip = pick(&f->input, 3) * PAGE;
	struct range range = { pick_iova(f), 0 };

	if (space->count && !one_in(&f->input, 8)) {
		range = space->areas[pick(&f->input, space->count)].range;
		if (skip < range.last - range.first)
			range.first += skip;
	}
	range.last = range.first + (one_in(&f->input, 3) ? 3 * PAGE : PAGE) - 1;
	return range;
}

/* --- pinning ------------------------------------------------------------------------------ */

/* The pages around what it pins of each area, if these can be pinned now. */
static int foresee_pins(struct fuzz *f, const struct context *context, struct area *parts,
			unsigned int count)
{
	struct pinned pinned;
	unsigned int i;

	model_find_pinned(context, &pinned);
	for (i = 0; i < count; i++) {
		if (parts[i].range.first % PAGE)
			return -EINVAL;
		parts[i].range.last |= PAGE - 1;
	}
	for (i = 0; i < count; i++)
		if (!model_can_pin(context, &pinned, &f->model.rights, &parts[i]))
			return -EFAULT;
	return 0;
}

static struct pins *spare_pins(struct access *access)
{
	struct pins *pins;

	for (pins = access->pins; pins < access->pins + MODEL_PINS; pins++)
		if (!pins->is_there)
			return pins;
	return NULL;
}

static void fuzz_pin(struct fuzz *f)
{
	unsigned int c = pick_context(f), count;
	struct context *context = context_of(f, c);
	int id = pick_access(f, c), want;
	struct access *access = &context->accesses[id];
	const struct space *space = &context->spaces[access->space];
	struct pins *pins = spare_pins(access);
	struct range range = pick_for_driver(f, space);
	struct area parts[MODEL_AREAS];
	bool to_write = one_in(&f->input, 2);
	struct iommu_test_cmd arg = {
		.id = context->files[id],
		.access_pages = {
			.flags = to_write ? MOCK_FLAGS_ACCESS_WRITE : 0,
			.iova = range.first, .length = range_length(range),
		},
	};

	if (!id || !pins || range.last < range.first)
		return;
	want = !access->may_pin ? -EOPNOTSUPP :
	       find_parts_for_driver(context, space, range, to_write, parts, &count);
	if (!want)
		want = foresee_pins(f, context, parts, count);
	if (!want && count > MODEL_PINS)
		return;
	if (!foreseen(f, "ACCESS_PAGES",
		      mock_call(f->fds[c], IOMMU_TEST_OP_ACCESS_PAGES, &arg), want) || want)
		return;
	*pins = (struct pins) { .id = access->next++, .is_there = true, .count = count };
	memcpy(pins->parts, parts, count * sizeof(*parts));
	expected(f, "the number of what is pinned", arg.access_pages.out_access_pages_id,
		 pins->id);
}

/* What was unmapped was unpinned then. */
static void fuzz_unpin(struct fuzz *f)
{
	unsigned int c = pick_context(f);
	struct context *context = context_of(f, c);
	int id = pick_access(f, c);
	struct pins *pins = context->accesses[id].pins;
	int number;

	if (!id)
		return;
	while (pins < &context->accesses[id].pins[MODEL_PINS - 1] &&
	       (!pins->is_there || one_in(&f->input, 4)))
		pins++;
	number = pins->is_there ? pins->id : 1 << 20;
	foreseen(f, "DESTROY_ACCESS_PAGES",
		 mock_access_unpin(f->fds[c], context->files[id], number),
		 pins->is_there ? 0 : -ENOENT);
	pins->is_there = false;
}

/* --- reading and writing -------------------------------------------------------------------- */

/* Whether pages that nobody has pinned are there to be read, or written. */
static bool parts_are_good(const struct rights_of *rights, const struct context *context,
			   const struct area *parts, unsigned int count, bool to_write)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		if (context->memory[parts[i].memory].is_file) {
			if (area_pages(&parts[i]).last >= FILE_PAGES)
				return false;
		} else if (!memory_is_good(rights, parts[i].source, range_length(parts[i].range),
					   to_write)) {
			return false;
		}
	}
	return true;
}

/* What was read is what the process has there. */
static void expect_bytes(struct fuzz *f, const struct context *context, const struct area *parts,
			 unsigned int count, const char *bytes)
{
	const char *memory;
	unsigned int i;

	for (i = 0; i < count; i++) {
		memory = memory_at(f, context, &parts[i], parts[i].range.first);
		if (memory)
			expected(f, "what differs in what was read",
				 !!memcmp(memory, bytes, range_length(parts[i].range)), 0);
		bytes += range_length(parts[i].range);
	}
}

static void fuzz_access_rw(struct fuzz *f)
{
	unsigned int c = pick_context(f), count = 0;
	struct context *context = context_of(f, c);
	int id = pick_access(f, c), want;
	const struct access *access = &context->accesses[id];
	const struct space *space = &context->spaces[access->space];
	struct range range = pick_for_driver(f, space);
	struct area parts[MODEL_AREAS];
	bool to_write = one_in(&f->input, 2);
	char bytes[256];

	range.first += pick(&f->input, 64) * 64;
	range.last = range.first + pick(&f->input, sizeof(bytes));
	if (!id || range.last < range.first)
		return;
	memset(bytes, pick(&f->input, 256), sizeof(bytes));
	want = find_parts_for_driver(context, space, range, to_write, parts, &count);
	/* What nobody has pinned is, for the moment; what somebody has, of some of it, varies. */
	if (!want && !model_has_domains(context, access->space) &&
	    !parts_are_good(&f->model.rights, context, parts, count, to_write))
		return;
	foreseen(f, "ACCESS_RW",
		 mock_access_rw(f->fds[c], context->files[id], range.first, bytes,
				range_length(range), to_write ? MOCK_ACCESS_RW_WRITE : 0), want);
	if (!want && !to_write)
		expect_bytes(f, context, parts, count, bytes);
}

#endif /* LAB_FUZZ_ACCESS_H */
