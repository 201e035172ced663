/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The fuzzer's calls about virtual IOMMUs and the devices that they know, and about what is to be
 * forgotten of translations.
 */
#ifndef LAB_FUZZ_NESTED_H
#define LAB_FUZZ_NESTED_H

#include "fuzz_hwpt.h"
#include "viommu_calls.h"

/* --- what is to be forgotten ------------------------------------------------------------ */

/* One request of a list: what a domain, or a device of a virtual IOMMU, keeps; or why not. */
static int model_find_entry(struct fuzz *f, unsigned int c, uint32_t id, const uint32_t *words,
			    uint32_t **entries)
{
	struct context *context = context_of(f, c);
	bool is_viommu = model_kind(context, id) == VIOMMU;
	struct device *device = NULL;

	if (words[0] & ~IOMMU_TEST_INVALIDATE_FLAG_ALL)
		return -EOPNOTSUPP;
	if (words[is_viommu ? 2 : 1] >= MODEL_ENTRIES)
		return -EINVAL;
	*entries = context->nested[id].iotlb;
	if (!is_viommu)
		return 0;
	while (next_device(&f->model, &device)) {
		if (device->context != (int)c || !device->vdevice ||
		    context->vdevices[device->vdevice].viommu != (int)id ||
		    context->vdevices[device->vdevice].number != words[1])
			continue;
		*entries = device->cache;
		return 0;
	}
	return -EINVAL;
}

/* A request is carried out, if it can be. */
static int model_forget(struct fuzz *f, unsigned int c, uint32_t id, const uint32_t *words)
{
	bool is_viommu = model_kind(context_of(f, c), id) == VIOMMU;
	uint32_t *entries, last = is_viommu ? 2 : 1;
	int ret = model_find_entry(f, c, id, words, &entries);

	if (ret)
		return ret;
	if (words[0] & IOMMU_TEST_INVALIDATE_FLAG_ALL)
		memset(entries, 0, MODEL_ENTRIES * sizeof(*entries));
	else
		entries[words[last]] = 0;
	return 0;
}

/* How many requests are carried out goes to @done. */
static int model_forget_all(struct fuzz *f, unsigned int c,
			    const struct iommu_hwpt_invalidate *arg, uint32_t *done)
{
	bool is_viommu = model_kind(context_of(f, c), arg->hwpt_id) == VIOMMU;
	uint32_t words[3], type = is_viommu ? IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST :
				  IOMMU_HWPT_INVALIDATE_DATA_SELFTEST;
	uint32_t size = is_viommu ? sizeof(words) : 2 * sizeof(*words);
	uint64_t at;
	int ret;

	if (arg->data_type != type)
		return -EINVAL;
	for (*done = 0; *done < arg->entry_num; ++*done) {
		at = arg->data_uptr + (uint64_t)*done * arg->entry_len;
		ret = check_data(f, at, arg->entry_len, size, size);
		if (ret)
			return ret;
		read_data(words, at, size);
		ret = model_forget(f, c, arg->hwpt_id, words);
		if (ret)
			return ret;
	}
	return 0;
}

static int foresee_invalidate(struct fuzz *f, unsigned int c,
			      const struct iommu_hwpt_invalidate *arg, uint32_t *done)
{
	bool nothing = !arg->data_uptr || !arg->entry_len || arg->entry_len > PAGE;

	if (arg->__reserved)
		return -EOPNOTSUPP;
	if (arg->entry_num && (nothing || arg->entry_num > 1U << 19))
		return -EINVAL;
	switch (model_kind(context_of(f, c), arg->hwpt_id)) {
	case NESTED:
	case VIOMMU:
		return model_forget_all(f, c, arg, done);
	case FREE_ID:
		return -ENOENT;
	default:
		return -EINVAL;
	}
}

/* Some requests, rather good ones; returns where they are. */
static void *place_requests(struct fuzz *f, bool is_viommu, unsigned int count)
{
	unsigned int length = is_viommu ? 3 : 2, i;
	uint32_t words[3 * 4];

	for (i = 0; i < count * length; i++)
		words[i] = pick(&f->input, one_in(&f->input, 8) ? 6 : MODEL_ENTRIES);
	for (i = 0; i < count; i++)
		words[i * length] = pick(&f->input, one_in(&f->input, 8) ? 4 : 2);
	return place_data(f, words, count * length * sizeof(*words));
}

static void fuzz_invalidate(struct fuzz *f)
{
	unsigned int c = pick_context_of_device(f), count = pick(&f->input, 4);
	bool is_viommu = one_in(&f->input, 2);
	struct iommu_hwpt_invalidate arg = {
		.size = sizeof(arg),
		.hwpt_id = pick_kind(f, c, is_viommu ? VIOMMU : NESTED),
		.data_uptr = (uintptr_t)place_requests(f, is_viommu, count),
		.data_type = is_viommu ? IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST :
			     IOMMU_HWPT_INVALIDATE_DATA_SELFTEST,
		.entry_len = is_viommu ? 12 : 8,
		.entry_num = count + one_in(&f->input, 12),
	};
	struct request r = REQUEST(c, IOMMU_HWPT_INVALIDATE, arg, 32);
	uint32_t done = 0;
	int want;

	if (one_in(&f->input, 12))
		arg.data_type = pick(&f->input, 3);
	if (one_in(&f->input, 12))
		arg.entry_len = pick(&f->input, 20);
	request_prepare(f, &r);
	/* It is done before the answer is seen to be impossible. */
	want = r.refused ? r.refused : foresee_invalidate(f, c, &arg, &done);
	if (!r.refused && r.is_constant)
		want = -EFAULT;
	if (foreseen(f, r.name, request_issue(f, &r), want) && !r.refused && !r.is_constant)
		expected(f, "what was invalidated", arg.entry_num, done);
}

/* Look at what a domain, and at what a device, keeps. */
static void fuzz_check_entries(struct fuzz *f)
{
	unsigned int c = pick_context_of_device(f), entry = pick(&f->input, MODEL_ENTRIES);
	int hwpt = pick_kind(f, c, NESTED), id = pick_kind(f, c, DEVICE);
	const struct context *context = context_of(f, c);
	const struct device *device = model_device(&f->model, c, id);
	uint32_t value = pick(&f->input, 4);
	int want = -ENOENT;

	if (model_kind(context, hwpt) == NESTED) {
		value = context->nested[hwpt].iotlb[entry] + one_in(&f->input, 4);
		want = value == context->nested[hwpt].iotlb[entry] ? 0 : -EINVAL;
	}
	foreseen(f, "MD_CHECK_IOTLB", check_iotlb(f->fds[c], hwpt, entry, value), want);
	if (device)
		foreseen(f, "DEV_CHECK_CACHE",
			 check_cache(f->fds[c], id, entry, device->cache[entry]), 0);
}

/* --- virtual IOMMUs ------------------------------------------------------------------- */

static int foresee_viommu(struct fuzz *f, unsigned int c, const struct iommu_viommu_alloc *arg)
{
	const uint32_t min = offsetof(struct iommu_viommu_selftest, out_mmap_offset);
	struct context *context = context_of(f, c);
	int ret;

	if (arg->flags || !arg->type)
		return -EOPNOTSUPP;
	if (!model_device(&f->model, c, arg->dev_id))
		return -ENOENT;
	if (!f->is_mock || arg->type != IOMMU_VIOMMU_TYPE_SELFTEST)
		return -EOPNOTSUPP;
	if (model_kind(context, arg->hwpt_id) != HWPT)
		return -ENOENT;
	if (!(context->hwpts[arg->hwpt_id].flags & IOMMU_HWPT_ALLOC_NEST_PARENT))
		return -EINVAL;
	if (!arg->data_len)
		return 0;
	ret = check_data(f, arg->data_uptr, arg->data_len, min,
			 sizeof(struct iommu_viommu_selftest));
	/* It is answered to there. */
	return ret || memory_is_good(&f->model.rights, arg->data_uptr, arg->data_len, true) ? ret :
	       -EFAULT;
}

static void fuzz_viommu_alloc(struct fuzz *f)
{
	unsigned int c = pick_context_of_device(f);
	struct iommu_viommu_selftest data = { .in_data = 1 + pick(&f->input, 100) };
	struct iommu_viommu_alloc arg = viommu_arg(pick_kind(f, c, DEVICE),
						    pick_hwpt(f, c, NEST_PARENT));
	struct request r = REQUEST(c, IOMMU_VIOMMU_ALLOC, arg, 24);
	struct context *context = context_of(f, c);
	int id = model_next_id(context), want;
	struct iommu_viommu_alloc seen;

	if (!id || has_enough(f, context, VIOMMU))
		return;
	if (one_in(&f->input, 2)) {
		arg.data_uptr = (uintptr_t)place_data(f, &data, sizeof(data));
		arg.data_len = one_in(&f->input, 4) ? pick(&f->input, 28) :
			       one_in(&f->input, 3) ? 8 : sizeof(data);
	}
	request_prepare(f, &r);
	want = request_outcome(&r, foresee_viommu(f, c, &arg));
	seen = arg;
	if (!request_made(f, &r, want))
		return;
	context->kinds[id] = VIOMMU;
	context->viommus[id] = (struct viommu) { .parent = seen.hwpt_id };
	if (seen.data_len) {
		read_data(&data, seen.data_uptr, seen.data_len);
		expected(f, "what came back", data.out_data, data.in_data);
		context->viommus[id].number = data.in_data;
	}
	if (seen.data_len == sizeof(data)) {
		context->viommus[id].offset = data.out_mmap_offset;
		expected(f, "how much can be mapped", data.out_mmap_length, VIOMMU_SIZE);
	}
	expected(f, "the new virtual IOMMU", arg.out_viommu_id, id);
}

static int foresee_vdevice(struct fuzz *f, unsigned int c, const struct iommu_vdevice_alloc *arg)
{
	const struct context *context = context_of(f, c);
	const struct device *device = model_device(&f->model, c, arg->dev_id);
	int id;

	if (model_kind(context, arg->viommu_id) != VIOMMU || !device)
		return -ENOENT;
	if (device->vdevice)
		return -EEXIST;
	for (id = 1; id <= MODEL_IDS; id++)
		if (context->kinds[id] == VDEVICE &&
		    context->vdevices[id].viommu == (int)arg->viommu_id &&
		    context->vdevices[id].number == arg->virt_id)
			return -EEXIST;
	return 0;
}

static void fuzz_vdevice_alloc(struct fuzz *f)
{
	unsigned int c = pick_context_of_device(f);
	struct iommu_vdevice_alloc arg = {
		.size = sizeof(arg),
		.viommu_id = pick_kind(f, c, VIOMMU),
		.dev_id = pick_kind(f, c, DEVICE),
		.virt_id = pick(&f->input, MODEL_ENTRIES),
	};
	struct request r = REQUEST(c, IOMMU_VDEVICE_ALLOC, arg, sizeof(arg));
	struct context *context = context_of(f, c);
	int id = model_next_id(context), want;
	struct vdevice vdevice;

	/* Those that go with a device leave an id behind that is of no use any more. */
	if (!id || model_count(context, TOMB) > MODEL_IDS / 4)
		return;
	request_prepare(f, &r);
	want = request_outcome(&r, foresee_vdevice(f, c, &arg));
	vdevice = (struct vdevice) { arg.viommu_id, arg.dev_id, arg.virt_id };
	if (!request_made(f, &r, want))
		return;
	context->kinds[id] = VDEVICE;
	context->vdevices[id] = vdevice;
	model_device(&f->model, c, vdevice.device)->vdevice = id;
	expected(f, "the new virtual device", arg.out_vdevice_id, id);
}

#endif /* LAB_FUZZ_NESTED_H */
