/* SPDX-License-Identifier: GPL-2.0 */
/* The fuzzer's devices in software: plugged in, moved with and without PASIDs, and looked at. */
#ifndef LAB_FUZZ_MOCK_H
#define LAB_FUZZ_MOCK_H

#include "fuzz_request.h"
#include "mock_pasid.h"

/* One that is bound nowhere, or NULL. */
static struct device *spare_device(struct fuzz *f)
{
	struct device *device = NULL;

	/* The first is VFIO's. */
	while (next_device(&f->model, &device))
		if (device != edu_device(f) && device->context < 0)
			return device;
	return NULL;
}

/* A place where a device can go, or not; with PASIDs there are fewer. */
static int pick_place(struct fuzz *f, unsigned int c, const struct device *device)
{
	static const enum kind kinds[] = { SPACE, SPACE, HWPT, HWPT, NESTED };
	enum kind kind = kinds[pick(&f->input, ARRAY_SIZE(kinds))];

	if (device && kind != NESTED && (has_pasids(device) || one_in(&f->input, 2)))
		return pick_hwpt(f, c, IOMMU_HWPT_ALLOC_PASID);
	if (kind == HWPT)
		return pick_hwpt(f, c, IOMMU_HWPT_ALLOC_PASID | IOMMU_HWPT_FAULT_ID_VALID);
	return pick_kind(f, c, model_count(context_of(f, c), kind) ? kind : SPACE);
}

/* --- plugging in and out ------------------------------------------------------------------ */

/* Bound, by ids that are not free; what they stand for cannot be found yet. */
static void model_bind(struct context *context, struct device *device, unsigned int c,
		       uint32_t flags)
{
	int i;

	device->context = c;
	device->flags = flags;
	device->test = model_next_id(context);
	context->kinds[device->test] = TOMB;
	device->id = model_next_id(context);
	context->kinds[device->id] = DEVICE;
	context->knows_ioasids = true;
	for (i = 0; i < MODEL_ENTRIES; i++)
		device->cache[i] = IOMMU_TEST_DEV_CACHE_DEFAULT;
}

static int foresee_plug(struct fuzz *f, struct device *device, unsigned int c, uint32_t flags,
			int pt)
{
	struct context *context = context_of(f, c);
	int ret;

	if (flags & ~(MOCK_FLAGS_DEVICE_NO_DIRTY | MOCK_FLAGS_DEVICE_PASID))
		return -EINVAL;
	model_bind(context, device, c, flags);
	ret = model_attach(&f->model, device, pt);
	if (ret < 0)
		model_unbind(&f->model, device);
	else
		context->kinds[device->test] = TEST;
	return ret;
}

static void fuzz_plug(struct fuzz *f)
{
	static const uint32_t flags[] = {
		0, 0, MOCK_FLAGS_DEVICE_PASID, MOCK_FLAGS_DEVICE_PASID,
		MOCK_FLAGS_DEVICE_NO_DIRTY, MOCK_FLAGS_DEVICE_NO_DIRTY | MOCK_FLAGS_DEVICE_PASID,
	};
	unsigned int c = pick_context(f);
	struct device *device = spare_device(f);
	struct context *context = context_of(f, c);
	uint32_t with = one_in(&f->input, 30) ? 2 : flags[pick(&f->input, ARRAY_SIZE(flags))];
	int pt = pick_place(f, c, NULL), got, want;
	struct space *space = model_space(context, pt);
	struct mock mock = { 0 };

	if (!device || model_count(context, FREE_ID) < 4)
		return;
	got = mock_add_with(f->fds[c], pt, with, &mock);
	want = foresee_plug(f, device, c, with, pt);
	got = too_much_there(got, want < 0 ? want : 0, space);
	if (!foreseen(f, "MOCK_DOMAIN", got, want < 0 ? want : 0) || want < 0)
		return;
	expected(f, "the new device", mock.id, device->test);
	expected(f, "what is bound of it", mock.device, device->id);
	expected(f, "where it is", mock.hwpt, want);
}

static void fuzz_unplug(struct fuzz *f)
{
	unsigned int c = pick_context_of_device(f);
	struct device *device = model_test(&f->model, c, pick_kind(f, c, TEST));

	if (!device)
		return;
	foreseen(f, "DESTROY of a device", destroy(f->fds[c], device->test), 0);
	model_unbind(&f->model, device);
}

static int foresee_move(struct fuzz *f, struct device *device, int pt)
{
	struct place to;
	int ret;

	if (!device)
		return -ENOENT;
	ret = model_find_place(context_of(f, device->context), pt, &to);
	if (!ret && !device->hwpt)
		ret = -EINVAL;
	return ret ? ret : model_attach(&f->model, device, pt);
}

static void fuzz_move(struct fuzz *f)
{
	unsigned int c = pick_context_of_device(f);
	int id = pick_kind(f, c, TEST), got, want;
	struct device *device = model_test(&f->model, c, id);
	int pt = pick_place(f, c, device);
	struct space *space = model_space(context_of(f, c), pt);

	if (!model_next_id(context_of(f, c)))
		return;
	got = mock_move(f->fds[c], id, pt);
	want = foresee_move(f, device, pt);
	foreseen(f, "MOCK_DOMAIN_REPLACE", too_much_there(got, want, space), want);
}

/* --- PASIDs ------------------------------------------------------------------------------- */

/* Rather one that there is, and rather a few of them; 0 is none. */
static uint32_t pick_pasid(struct fuzz *f, const struct device *device)
{
	bool has_limit = device && device->flags & MOCK_FLAGS_DEVICE_PASID;

	if (has_limit && one_in(&f->input, 12))
		return 1 << MOCK_PASID_WIDTH;
	return pick(&f->input, one_in(&f->input, 3) ? MODEL_PASIDS : 3);
}

/* Whether a PASID can go beside what the device is on. */
static int check_pasid(const struct context *context, const struct device *device,
		       uint32_t pasid, const struct place *to)
{
	struct place beside;
	bool is_good = !device->hwpt ||
		       (!model_find_place(context, model_on(device), &beside) &&
			beside.flags & IOMMU_HWPT_ALLOC_PASID);

	return to->flags & IOMMU_HWPT_ALLOC_PASID && is_good && pasid < MODEL_PASIDS ? 0 : -EINVAL;
}

static int foresee_pasid(struct fuzz *f, struct device *device, uint32_t pasid, int pt,
			 bool is_move)
{
	struct context *context;
	struct place to;
	int ret, there;

	if (!device)
		return -ENOENT;
	context = context_of(f, device->context);
	ret = model_find_place(context, pt, &to);
	if (ret)
		return ret;
	there = !pasid ? device->hwpt : pasid < MODEL_PASIDS ? device->pasids[pasid] : 0;
	if (!there != !is_move)
		return is_move ? -EINVAL : -EBUSY;
	if (!pasid)
		return model_attach(&f->model, device, pt);
	if (there == pt)
		return pt;
	ret = check_pasid(context, device, pasid, &to);
	if (!ret)
		device->pasids[pasid] = pt;
	return ret ? ret : pt;
}

/* Rather a device that is where it can have some, by its id. */
static int pick_for_pasid(struct fuzz *f, unsigned int *c)
{
	const struct context *context;
	struct device *device = NULL;
	struct place there;

	while (next_device(&f->model, &device)) {
		if (!device->test || one_in(&f->input, 8))
			continue;
		context = context_of(f, device->context);
		*c = device->context;
		if (!model_find_place(context, model_on(device), &there) &&
		    there.flags & IOMMU_HWPT_ALLOC_PASID)
			return device->test;
	}
	*c = pick_context_of_device(f);
	return pick_kind(f, *c, TEST);
}

static void fuzz_pasid(struct fuzz *f)
{
	unsigned int c;
	int id = pick_for_pasid(f, &c), got, want;
	struct device *device = model_test(&f->model, c, id);
	int pt = pick_place(f, c, device);
	struct space *space = model_space(context_of(f, c), pt);
	uint32_t pasid = pick_pasid(f, device);
	bool is_move = one_in(&f->input, 2);

	if (!model_next_id(context_of(f, c)))
		return;
	got = is_move ? pasid_replace(f->fds[c], id, pasid, pt) :
			pasid_attach(f->fds[c], id, pasid, pt);
	want = foresee_pasid(f, device, pasid, pt, is_move);
	foreseen(f, is_move ? "PASID_REPLACE" : "PASID_ATTACH", too_much_there(got, want, space),
		 want);
}

static void fuzz_pasid_detach(struct fuzz *f)
{
	unsigned int c = pick_context_of_device(f);
	int id = pick_kind(f, c, TEST);
	struct device *device = model_test(&f->model, c, id);
	uint32_t pasid = pick_pasid(f, device);

	foreseen(f, "PASID_DETACH", pasid_detach(f->fds[c], id, pasid), device ? 0 : -ENOENT);
	if (device && !pasid)
		model_leave(&f->model, device);
	else if (device && pasid < MODEL_PASIDS)
		device->pasids[pasid] = 0;
}

/* Where the core has a device, or a PASID of one. */
static void fuzz_pasid_check(struct fuzz *f)
{
	unsigned int c = pick_context_of_device(f);
	const struct device *device = model_test(&f->model, c, pick_kind(f, c, TEST));
	uint32_t pasid = pick(&f->input, MODEL_PASIDS);
	int on;

	if (!device)
		return;
	on = pasid ? device->pasids[pasid] : model_on(device);
	foreseen(f, "PASID_CHECK_HWPT", pasid_check(f->fds[c], device->test, pasid, on), 0);
}

/* --- dma-bufs ------------------------------------------------------------------------------ */

static void revoke_buf(struct fuzz *f, unsigned int buf, bool is_revoked)
{
	struct memory *memory;
	unsigned int c, i;

	foreseen(f, "DMABUF_REVOKE", mock_buf_revoke(f->fds[0], f->bufs[buf], is_revoked), 0);
	f->is_revoked[buf] = is_revoked;
	/* What was mapped does not come back. */
	for (c = 0; c < MODEL_CONTEXTS; c++) {
		memory = context_of(f, c)->memory;
		for (i = 0; i < MODEL_IDS * MODEL_AREAS; i++)
			memory[i].is_lost |= memory[i].buf == (int)buf + 1;
	}
}

static void fuzz_revoke(struct fuzz *f)
{
	unsigned int buf = pick(&f->input, BUFS);

	revoke_buf(f, buf, !f->is_revoked[buf] && one_in(&f->input, 2));
}

/* As an episode begins with. */
static void give_back_again(struct fuzz *f)
{
	unsigned int buf;

	for (buf = 0; buf < BUFS; buf++)
		if (f->is_revoked[buf])
			revoke_buf(f, buf, false);
}

/* --- what is mapped ----------------------------------------------------------------------- */

/* Where the fuzzer itself has the memory at an address, or NULL. */
static const char *memory_at(struct fuzz *f, const struct context *context,
			     const struct area *area, uint64_t iova)
{
	uint64_t source = area->source + (iova - area->range.first);

	if (context->memory[area->memory].buf)
		return NULL;
	if (context->memory[area->memory].is_file)
		return f->file_memory + source;
	return rights_to(&f->model.rights, source / PAGE) == NO_RIGHTS ? NULL :
	       (const char *)(uintptr_t)source;
}

/* Each page of an area leads to its memory, and what is behind leads nowhere or to its own. */
static void check_area(struct fuzz *f, unsigned int c, int id, const struct area *area)
{
	const struct context *context = context_of(f, c);
	const struct hwpt *hwpt = &context->hwpts[id];
	const struct space *space = &context->spaces[hwpt->space];
	uint64_t page = hwpt->format.page, iova = area->range.first;
	int want = context->memory[area->memory].is_lost ? -EINVAL : 0;
	const char *memory;

	for (; iova <= area->range.last && iova >= area->range.first; iova += page) {
		memory = memory_at(f, context, area, iova);
		if (!expected(f, "whether a domain leads to the memory",
			      mock_check_map(f->fds[c], id, iova, memory, page), want))
			return;
	}
	if (!model_area_at(space, iova))
		expected(f, "whether a domain leads nowhere",
			 mock_check_map(f->fds[c], id, iova, NULL, page), -EINVAL);
}

/* All of a domain. */
static void fuzz_check_domain(struct fuzz *f)
{
	unsigned int c = pick_context_of_device(f), i;
	int id = pick_kind(f, c, HWPT);
	const struct space *space;

	if (model_kind(context_of(f, c), id) != HWPT) {
		foreseen(f, "MD_CHECK_MAP of nothing",
			 mock_check_map(f->fds[c], id, IOVA, NULL, PAGE), -ENOENT);
		return;
	}
	f->calls++;
	space = &context_of(f, c)->spaces[context_of(f, c)->hwpts[id].space];
	for (i = 0; i < space->count && !f->failed; i++)
		check_area(f, c, id, &space->areas[i]);
}

/* Some address of a domain. */
static void fuzz_check_address(struct fuzz *f)
{
	unsigned int c = pick_context_of_device(f);
	int id = pick_kind(f, c, HWPT);
	const struct context *context = context_of(f, c);
	const struct hwpt *hwpt = &context->hwpts[id < 1 || id > MODEL_IDS ? 0 : id];
	uint64_t iova = pick_iova(f);

	if (model_kind(context, id) != HWPT)
		return;
	iova -= iova % hwpt->format.page;
	foreseen(f, "MD_CHECK_MAP",
		 mock_check_map(f->fds[c], id, iova, NULL, hwpt->format.page),
		 model_is_there(context, &context->spaces[hwpt->space], iova) ? 0 : -EINVAL);
}

#endif /* LAB_FUZZ_MOCK_H */
