/* SPDX-License-Identifier: GPL-2.0 */
/* The fuzzer's calls about domains that userspace makes, and about what hardware is like. */
#ifndef LAB_FUZZ_HWPT_H
#define LAB_FUZZ_HWPT_H

#include "fuzz_request.h"

/* Data for the IOMMU in software, at the end of the memory. */
static void *place_data(struct fuzz *f, const void *data, unsigned int size)
{
	char *place = MEMORY_END - size;

	memset(f->memory + LIST_AT * PAGE, 0, PAGE);
	memcpy(place, data, size);
	return place;
}

/* What comes of such data: as long as @min at least, and as @most at most. */
static int check_data(struct fuzz *f, uint64_t address, uint32_t length, uint32_t min,
		      uint32_t most)
{
	if (length < min || length > most)
		return -EINVAL;
	return memory_is_good(&f->model.rights, address, length, false) ? 0 : -EFAULT;
}

static void read_data(void *data, uint64_t address, uint32_t length)
{
	memcpy(data, (const void *)(uintptr_t)address, length);
}

/* Of a domain for the IOMMU in software: 0 if it can be made. */
static int read_wish(struct fuzz *f, const struct iommu_hwpt_alloc *arg,
		     struct iommu_hwpt_selftest *wish)
{
	int ret = arg->data_type != IOMMU_HWPT_DATA_SELFTEST ? -EOPNOTSUPP :
		  check_data(f, arg->data_uptr, arg->data_len, sizeof(wish->iotlb), sizeof(*wish));

	*wish = (struct iommu_hwpt_selftest) { };
	if (!ret)
		read_data(wish, arg->data_uptr, arg->data_len);
	return ret;
}

/* --- domains inside of others --------------------------------------------------------- */

/* The queue of its page faults, if there shall be one. */
static int check_fault_id(const struct context *context, const struct iommu_hwpt_alloc *arg)
{
	return arg->flags & IOMMU_HWPT_FAULT_ID_VALID &&
	       model_kind(context, arg->fault_id) != QUEUE ? -ENOENT : 0;
}

static int queue_for(const struct iommu_hwpt_alloc *arg)
{
	return arg->flags & IOMMU_HWPT_FAULT_ID_VALID ? arg->fault_id : 0;
}

/* Of one in a domain, or of a virtual IOMMU. */
static int foresee_nested(struct fuzz *f, const struct context *context,
			  const struct device *device, const struct iommu_hwpt_alloc *arg)
{
	const uint32_t known = IOMMU_HWPT_FAULT_ID_VALID | IOMMU_HWPT_ALLOC_PASID;
	bool is_viommu = model_kind(context, arg->pt_id) == VIOMMU;
	struct iommu_hwpt_selftest wish;
	int ret;

	if (arg->flags & ~known || !arg->data_len)
		return -EOPNOTSUPP;
	if (!is_viommu && (device->nested != -EINVAL ||
			   !(context->hwpts[arg->pt_id].flags & IOMMU_HWPT_ALLOC_NEST_PARENT)))
		return device->nested;
	ret = read_wish(f, arg, &wish);
	return ret ? ret : check_fault_id(context, arg);
}

/* As it was made, in the context. */
static void model_add_nested(struct context *context, const struct iommu_hwpt_alloc *arg)
{
	bool is_viommu = model_kind(context, arg->pt_id) == VIOMMU;
	struct iommu_hwpt_selftest wish;
	int id = model_next_id(context), i;
	struct nested *nested = &context->nested[id];

	read_data(&wish, arg->data_uptr, sizeof(wish.iotlb));
	context->kinds[id] = NESTED;
	*nested = (struct nested) {
		.parent = is_viommu ? context->viommus[arg->pt_id].parent : (int)arg->pt_id,
		.viommu = is_viommu ? (int)arg->pt_id : 0,
		.flags = arg->flags,
		.queue = queue_for(arg),
	};
	for (i = 0; i < MODEL_ENTRIES; i++)
		nested->iotlb[i] = wish.iotlb;
}

/* --- domains of spaces ---------------------------------------------------------------- */

/* What is for the IOMMU driver to understand; and which format comes of it. */
static int foresee_format(struct fuzz *f, const struct device *device,
			  const struct iommu_hwpt_alloc *arg, struct format *format)
{
	struct iommu_hwpt_selftest wish = { };
	const uint32_t *table;
	int ret;

	*format = device->format;
	if (arg->flags & IOMMU_HWPT_ALLOC_DIRTY_TRACKING &&
	    device->flags & MOCK_FLAGS_DEVICE_NO_DIRTY)
		return -EOPNOTSUPP;
	if (!arg->data_len)
		return 0;
	ret = f->is_mock ? read_wish(f, arg, &wish) : -EOPNOTSUPP;
	if (ret)
		return ret;
	table = find_table(wish.pagetable_type);
	if (!table)
		return -EOPNOTSUPP;
	*format = device->tables[table - tables];
	return 0;
}

static int foresee_paging(struct fuzz *f, const struct view *view, const struct device *device,
			  const struct iommu_hwpt_alloc *arg, struct format *format)
{
	const uint32_t nest = IOMMU_HWPT_ALLOC_NEST_PARENT, faults = IOMMU_HWPT_FAULT_ID_VALID;
	const uint32_t for_driver = nest | IOMMU_HWPT_ALLOC_PASID | IOMMU_HWPT_ALLOC_DIRTY_TRACKING;
	int ret;

	if (arg->flags & ~(for_driver | faults) || (arg->flags & nest && arg->flags & faults) ||
	    arg->flags & for_driver & ~device->domain_flags)
		return -EOPNOTSUPP;
	ret = foresee_format(f, device, arg, format);
	if (!ret)
		ret = model_check_domain(view, &f->model, device, format, false);
	return ret ? ret : check_fault_id(view->context, arg);
}

static int foresee_hwpt_alloc(struct fuzz *f, unsigned int c, const struct iommu_hwpt_alloc *arg,
			      struct format *format)
{
	struct view view = model_view(&f->model, c, arg->pt_id);
	struct device *device = model_device(&f->model, c, arg->dev_id);

	if (arg->__reserved)
		return -EOPNOTSUPP;
	if (!arg->data_type != !arg->data_len)
		return -EINVAL;
	if (!device)
		return -ENOENT;
	switch (model_kind(view.context, arg->pt_id)) {
	case SPACE:
		return foresee_paging(f, &view, device, arg, format);
	case HWPT:
	case VIOMMU:
		return foresee_nested(f, view.context, device, arg);
	default:
		return -EINVAL;
	}
}

/* Something that a domain can be made in, and data for the IOMMU if there are to be any. */
static struct iommu_hwpt_alloc pick_hwpt_arg(struct fuzz *f, unsigned int c)
{
	static const unsigned char flags[] = {
		0, 0, 0, 0, IOMMU_HWPT_ALLOC_NEST_PARENT, IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
		IOMMU_HWPT_FAULT_ID_VALID, IOMMU_HWPT_ALLOC_PASID, 0x10, 5,
	};
	const struct iommu_hwpt_selftest wish = {
		.iotlb = 1 + pick(&f->input, 100),
		.pagetable_type = tables[pick(&f->input, MODEL_TABLES)] + one_in(&f->input, 16),
	};
	const enum kind places[] = { SPACE, SPACE, SPACE, HWPT, VIOMMU };
	enum kind kind = places[pick(&f->input, f->is_mock ? ARRAY_SIZE(places) : 3)];
	enum kind place = model_count(context_of(f, c), kind) ? kind : SPACE;
	struct iommu_hwpt_alloc arg = {
		.size = sizeof(arg),
		.flags = flags[pick(&f->input, ARRAY_SIZE(flags))],
		.dev_id = pick_kind(f, c, DEVICE),
		.pt_id = place == HWPT ? pick_hwpt(f, c, IOMMU_HWPT_ALLOC_NEST_PARENT) :
			 pick_kind(f, c, place),
		.data_type = one_in(&f->input, 20),
		.data_len = one_in(&f->input, 20),
	};

	/* Where there is something for all of them. */
	if (f->is_mock && one_in(&f->input, 2))
		arg.flags = pick(&f->input, 16) & ~IOMMU_HWPT_FAULT_ID_VALID;
	if (f->is_mock && one_in(&f->input, place == SPACE ? 4 : 1)) {
		arg.data_type = IOMMU_HWPT_DATA_SELFTEST;
		arg.data_len = one_in(&f->input, 8) ? pick(&f->input, 12) : sizeof(wish);
		arg.data_uptr = (uintptr_t)place_data(f, &wish, sizeof(wish));
		arg.flags &= place == SPACE || one_in(&f->input, 4) ? ~0U : IOMMU_HWPT_ALLOC_PASID;
	}
	if (model_count(context_of(f, c), QUEUE) && !(arg.flags & IOMMU_HWPT_ALLOC_NEST_PARENT)) {
		arg.flags |= one_in(&f->input, 2) ? IOMMU_HWPT_FAULT_ID_VALID : 0;
		arg.fault_id = pick_kind(f, c, QUEUE);
	}
	return arg;
}

/* For a guest: something that others can be inside of, and then inside of its virtual IOMMU. */
static struct iommu_hwpt_alloc pick_guest_hwpt_arg(struct fuzz *f, unsigned int c)
{
	const struct iommu_hwpt_selftest wish = { .iotlb = 1 + pick(&f->input, 100) };
	struct iommu_hwpt_alloc arg = {
		.size = sizeof(arg),
		.flags = IOMMU_HWPT_ALLOC_NEST_PARENT,
		.dev_id = pick_kind(f, c, DEVICE),
		.pt_id = pick_kind(f, c, SPACE),
	};

	if (!model_count(context_of(f, c), VIOMMU))
		return arg;
	arg.flags = 0;
	arg.pt_id = pick_kind(f, c, VIOMMU);
	arg.data_type = IOMMU_HWPT_DATA_SELFTEST;
	arg.data_len = sizeof(wish);
	arg.data_uptr = (uintptr_t)place_data(f, &wish, sizeof(wish));
	return arg;
}

static void fuzz_hwpt_alloc(struct fuzz *f)
{
	unsigned int c = pick_context_of_device(f);
	struct iommu_hwpt_alloc arg = f->guest ? pick_guest_hwpt_arg(f, c) : pick_hwpt_arg(f, c);
	struct iommu_hwpt_alloc seen;
	struct request r = REQUEST(c, IOMMU_HWPT_ALLOC, arg, 24);
	struct context *context = context_of(f, c);
	struct format format;
	int got, want, id;

	if (!model_next_id(context) || has_enough(f, context, HWPT) ||
	    has_enough(f, context, NESTED) || (!has_devices(f) && !one_in(&f->input, 8)))
		return;
	request_prepare(f, &r);
	seen = arg;
	want = request_outcome(&r, foresee_hwpt_alloc(f, c, &arg, &format));
	got = too_much_there(request_issue(f, &r), want, model_space(context, arg.pt_id));
	if (!foreseen(f, r.name, got, want) || got)
		return;
	id = model_next_id(context);
	if (model_kind(context, seen.pt_id) == SPACE)
		model_add_hwpt(context, (struct hwpt) {
			.space = seen.pt_id, .flags = seen.flags, .format = format,
			.queue = queue_for(&seen),
		});
	else
		model_add_nested(context, &seen);
	expected(f, "the new domain", arg.out_hwpt_id, id);
}

/* --- what hardware is like -------------------------------------------------------- */

static int foresee_hw_info(struct fuzz *f, unsigned int c, const struct iommu_hw_info *arg)
{
	bool wants_type = arg->flags & IOMMU_HW_INFO_FLAG_INPUT_TYPE && arg->in_data_type;
	const struct device *device = model_device(&f->model, c, arg->dev_id);

	if (arg->flags & ~IOMMU_HW_INFO_FLAG_INPUT_TYPE || arg->__reserved[0] ||
	    arg->__reserved[1] || arg->__reserved[2])
		return -EOPNOTSUPP;
	if (!device)
		return -ENOENT;
	if (wants_type && arg->in_data_type != device->info_type)
		return -EOPNOTSUPP;
	return memory_is_good(&f->model.rights, arg->data_uptr, arg->data_len, true) ? 0 : -EFAULT;
}

static void expect_hw_info(struct fuzz *f, const struct device *device,
			   const struct iommu_hw_info *arg)
{
	bool is_dirty = arg->out_capabilities & IOMMU_HW_CAP_DIRTY_TRACKING;

	expected(f, "the size of what hardware says", arg->data_len, device->info_size);
	expected(f, "the type of what hardware says", arg->out_data_type, device->info_type);
	/* What there was no room for. */
	if (!f->is_mock || arg->size < sizeof(*arg))
		return;
	expected(f, "whether it marks pages", is_dirty,
		 !(device->flags & MOCK_FLAGS_DEVICE_NO_DIRTY));
	expected(f, "how many bits PASIDs have", arg->out_max_pasid_log2,
		 device->flags & MOCK_FLAGS_DEVICE_PASID ? MOCK_PASID_WIDTH : 0);
}

static void fuzz_hw_info(struct fuzz *f)
{
	unsigned int c = pick_context_of_device(f), room = pick(&f->input, 64);
	const uint32_t types[] = { 0, 1, 2, f->plain.info_type };
	struct iommu_hw_info arg = {
		.size = sizeof(arg),
		.flags = one_in(&f->input, 3),
		.dev_id = pick_kind(f, c, DEVICE),
		.data_len = room + one_in(&f->input, 12),
		.data_uptr = (uintptr_t)MEMORY_END - room,
		.in_data_type = types[pick(&f->input, ARRAY_SIZE(types))],
	};
	struct request r = REQUEST(c, IOMMU_GET_HW_INFO, arg, 32);
	const struct device *device;

	request_prepare(f, &r);
	device = model_device(&f->model, c, arg.dev_id);
	if (request_made(f, &r, request_outcome(&r, foresee_hw_info(f, c, &arg))))
		expect_hw_info(f, device, &arg);
}

#endif /* LAB_FUZZ_HWPT_H */
