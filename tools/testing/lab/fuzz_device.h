/* SPDX-License-Identifier: GPL-2.0 */
/* The fuzzer's calls with a device. */
#ifndef LAB_FUZZ_DEVICE_H
#define LAB_FUZZ_DEVICE_H

#include "fuzz_request.h"

static void fuzz_bind(struct fuzz *f)
{
	struct device *device = &f->model.device;
	unsigned int c = pick_context(f);
	int id = model_next_id(context_of(f, c));

	if (!f->has_device || !id)
		return;
	if (device->context >= 0) {
		foreseen(f, "BIND again", vfio_bind(f->edu.fd, f->fds[c]), -EINVAL);
		return;
	}
	foreseen(f, "BIND", vfio_bind(f->edu.fd, f->fds[c]), id);
	device->context = c;
	device->id = id;
	context_of(f, c)->kinds[id] = DEVICE;
	context_of(f, c)->knows_ioasids = true;
}

/* To a space, or to a domain; from one to another, or from none. */
static void fuzz_attach(struct fuzz *f)
{
	const struct device *device = &f->model.device;
	enum kind kind = one_in(&f->input, 2) ? HWPT : SPACE;
	int id, want = -EINVAL;

	if (!f->has_device)
		return;
	id = pick_kind(f, device->context < 0 ? 0 : device->context, kind);
	if (device->context >= 0) {
		if (!model_next_id(context_of(f, device->context)))
			return;
		want = model_attach(&f->model, id);
	}
	foreseen(f, "ATTACH", attach_pt(f->edu.fd, id), want);
}

static void fuzz_detach(struct fuzz *f)
{
	if (!f->has_device)
		return;
	foreseen(f, "DETACH", vfio_detach(f->edu.fd), f->model.device.context < 0 ? -EINVAL : 0);
	model_leave(&f->model);
}

static void close_device(struct fuzz *f)
{
	struct device *device = &f->model.device;

	edu_close(&f->edu);
	model_leave(&f->model);
	if (device->context >= 0)
		context_of(f, device->context)->kinds[device->id] = FREE_ID;
	device->context = -1;
	device->id = 0;
}

static void fuzz_reopen_device(struct fuzz *f)
{
	if (!f->has_device)
		return;
	close_device(f);
	foreseen(f, "open of the device", edu_open(&f->edu), 0);
}

/* In either order, if the device is bound to it. */
static void fuzz_reopen_context(struct fuzz *f)
{
	unsigned int c = pick_context(f);
	bool first = one_in(&f->input, 2);

	if (first)
		close(f->fds[c]);
	if (f->model.device.context == (int)c)
		fuzz_reopen_device(f);
	if (!first)
		close(f->fds[c]);
	memset(context_of(f, c), 0, sizeof(struct context));
	f->fds[c] = open_iommufd();
	foreseen(f, "open", f->fds[c] >= 0, true);
}

/* --- domains ---------------------------------------------------------------------- */

static bool is_bound(const struct fuzz *f, unsigned int c, uint32_t id)
{
	return f->model.device.context == (int)c && f->model.device.id == (int)id;
}

/* None of the domains here was made to have others inside. */
static int foresee_nested(struct fuzz *f, const struct iommu_hwpt_alloc *arg)
{
	const uint32_t known = IOMMU_HWPT_FAULT_ID_VALID | IOMMU_HWPT_ALLOC_PASID;

	return arg->flags & ~known || !arg->data_len ? -EOPNOTSUPP : f->model.device.nested;
}

static int foresee_hwpt_alloc(struct fuzz *f, unsigned int c, const struct iommu_hwpt_alloc *arg)
{
	const uint32_t nest = IOMMU_HWPT_ALLOC_NEST_PARENT, faults = IOMMU_HWPT_FAULT_ID_VALID;
	const uint32_t for_driver = nest | IOMMU_HWPT_ALLOC_PASID;
	struct view view = model_view(&f->model, c, arg->pt_id);
	int ret;

	if (arg->__reserved)
		return -EOPNOTSUPP;
	if (!arg->data_type != !arg->data_len)
		return -EINVAL;
	if (!is_bound(f, c, arg->dev_id))
		return -ENOENT;
	if (model_kind(view.context, arg->pt_id) == HWPT)
		return foresee_nested(f, arg);
	if (!view.space)
		return -EINVAL;
	if (arg->flags & ~(for_driver | faults) || (arg->flags & nest && arg->flags & faults) ||
	    arg->data_len || arg->flags & for_driver & ~f->model.device.domain_flags)
		return -EOPNOTSUPP;
	ret = model_check_domain(&view, &f->model.device, false);
	/* There are no queues of faults, so there is none of that id. */
	return !ret && arg->flags & faults ? -ENOENT : ret;
}

static void fuzz_hwpt_alloc(struct fuzz *f)
{
	static const unsigned char flags[] = {
		0, 0, 0, 0, IOMMU_HWPT_ALLOC_NEST_PARENT, IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
		IOMMU_HWPT_FAULT_ID_VALID, IOMMU_HWPT_ALLOC_PASID, 0x10, 5,
	};
	const struct device *device = &f->model.device;
	unsigned int c = device->context < 0 || one_in(&f->input, 12) ? pick_context(f) :
			 (unsigned int)device->context;
	struct iommu_hwpt_alloc arg = {
		.size = sizeof(arg),
		.flags = flags[pick(&f->input, ARRAY_SIZE(flags))],
		.dev_id = pick_kind(f, c, DEVICE),
		.pt_id = pick_kind(f, c, SPACE),
		.data_type = one_in(&f->input, 20),
		.data_len = one_in(&f->input, 20),
	};
	struct request r = REQUEST(c, IOMMU_HWPT_ALLOC, arg, 24);
	struct context *context = context_of(f, c);

	if (!model_next_id(context) || (!f->has_device && !one_in(&f->input, 8)))
		return;
	request_prepare(f, &r);
	if (request_made(f, &r, request_outcome(&r, foresee_hwpt_alloc(f, c, &arg))))
		expected(f, "the new domain", arg.out_hwpt_id,
			 model_add_hwpt(context, arg.pt_id, false));
}

/* --- what hardware is like -------------------------------------------------------- */

static int foresee_hw_info(struct fuzz *f, unsigned int c, const struct iommu_hw_info *arg)
{
	bool wants_type = arg->flags & IOMMU_HW_INFO_FLAG_INPUT_TYPE && arg->in_data_type;

	if (arg->flags & ~IOMMU_HW_INFO_FLAG_INPUT_TYPE || arg->__reserved[0] ||
	    arg->__reserved[1] || arg->__reserved[2])
		return -EOPNOTSUPP;
	if (!is_bound(f, c, arg->dev_id))
		return -ENOENT;
	if (wants_type && arg->in_data_type != f->model.device.info_type)
		return -EOPNOTSUPP;
	return memory_is_good(f, arg->data_uptr, arg->data_len, true) ? 0 : -EFAULT;
}

static void fuzz_hw_info(struct fuzz *f)
{
	const struct device *device = &f->model.device;
	unsigned int c = pick_context(f), room = pick(&f->input, 64);
	struct iommu_hw_info arg = {
		.size = sizeof(arg),
		.flags = one_in(&f->input, 3),
		.dev_id = pick_kind(f, c, DEVICE),
		.data_len = room + one_in(&f->input, 12),
		.data_uptr = (uintptr_t)MEMORY_END - room,
		.in_data_type = pick(&f->input, 4),
	};
	struct request r = REQUEST(c, IOMMU_GET_HW_INFO, arg, 32);

	request_prepare(f, &r);
	if (!request_made(f, &r, request_outcome(&r, foresee_hw_info(f, c, &arg))))
		return;
	expected(f, "the size of what hardware says", arg.data_len, device->info_size);
	expected(f, "the type of what hardware says", arg.out_data_type, device->info_type);
}

/* --- what the device is like ------------------------------------------------------ */

/* The holes in what it can use. */
static void learn_holes(struct device *device, struct iommu_device_info *info)
{
	struct vfio_iommu_type1_info_cap_iova_range *cap = device_iova_ranges(info);
	uint64_t next = 0;
	unsigned int i;

	device->last = UINT64_MAX >> (64 - info->addr_width);
	for (i = 0; cap && i < cap->nr_iovas && i < MODEL_HOLES; i++) {
		if (cap->iova_ranges[i].start > next)
			device->holes[device->hole_count++] =
				(struct range) { next, cap->iova_ranges[i].start - 1 };
		next = cap->iova_ranges[i].end + 1;
	}
	if (next && next <= device->last)
		device->holes[device->hole_count++] = (struct range) { next, device->last };
}

/* Which flags its IOMMU takes, and what that says of itself. */
static int learn_iommu(struct device *device, int iommufd, int id)
{
	static const uint32_t flags[] = { IOMMU_HWPT_ALLOC_NEST_PARENT, IOMMU_HWPT_ALLOC_PASID };
	struct iommu_hw_info info = { .size = sizeof(info), .dev_id = id };
	struct iommu_hwpt_alloc nested = {
		.size = sizeof(nested), .dev_id = id, .data_type = 1, .data_len = 1,
	};
	int ioas = ioas_alloc(iommufd), ret;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(flags); i++)
		if (hwpt_alloc(iommufd, id, ioas, flags[i]) > 0)
			device->domain_flags |= flags[i];
	nested.pt_id = hwpt_alloc(iommufd, id, ioas, 0);
	device->nested = call(iommufd, IOMMU_HWPT_ALLOC, &nested);
	ret = call(iommufd, IOMMU_GET_HW_INFO, &info);
	device->info_type = info.out_data_type;
	device->info_size = info.data_len;
	return ret;
}

/* The model knows from the device itself what that can do. */
static int learn_device(struct fuzz *f)
{
	struct device *device = &f->model.device;
	struct iommu_device_info *info;
	int iommufd, id, ret;

	device->context = -1;
	device->last = UINT64_MAX;
	if (edu_find(&f->edu, getenv("EDU"))) {
		f->edu.address[0] = 0;
		return 0;
	}
	iommufd = open_iommufd();
	ret = edu_open(&f->edu);
	id = ret ? ret : vfio_bind(f->edu.fd, iommufd);
	ret = id < 0 ? id : device_get_info(iommufd, id, &info);
	if (ret)
		return ret;
	learn_holes(device, info);
	free(info);
	ret = learn_iommu(device, iommufd, id);
	edu_close(&f->edu);
	close(iommufd);
	return ret;
}

#endif /* LAB_FUZZ_DEVICE_H */
