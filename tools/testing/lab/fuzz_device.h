/* SPDX-License-Identifier: GPL-2.0 */
/* The fuzzer's calls with a device under VFIO. */
#ifndef LAB_FUZZ_DEVICE_H
#define LAB_FUZZ_DEVICE_H

#include "fuzz_request.h"

static void fuzz_bind(struct fuzz *f)
{
	struct device *device = edu_device(f);
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
	struct device *device = edu_device(f);
	enum kind kind = one_in(&f->input, 2) ? HWPT : SPACE;
	struct space *space = NULL;
	int id, got, want = -EINVAL;

	if (!f->has_device)
		return;
	id = pick_kind(f, device->context < 0 ? 0 : device->context, kind);
	if (device->context >= 0) {
		if (!model_next_id(context_of(f, device->context)))
			return;
		space = model_space(context_of(f, device->context), id);
		want = model_attach(&f->model, device, id);
	}
	got = attach_pt(f->edu.fd, id);
	foreseen(f, "ATTACH", too_much_there(got, want, space), want);
}

static void fuzz_detach(struct fuzz *f)
{
	if (!f->has_device)
		return;
	foreseen(f, "DETACH", vfio_detach(f->edu.fd), edu_device(f)->context < 0 ? -EINVAL : 0);
	model_leave(&f->model, edu_device(f));
}

static void close_device(struct fuzz *f)
{
	edu_close(&f->edu);
	model_unbind(&f->model, edu_device(f));
}

static void fuzz_reopen_device(struct fuzz *f)
{
	if (!f->has_device)
		return;
	close_device(f);
	foreseen(f, "open of the device", edu_open(&f->edu), 0);
}

/* In either order, if the device is bound to it. Those in software go with it. */
static void fuzz_reopen_context(struct fuzz *f)
{
	unsigned int c = pick_context(f);
	bool first = one_in(&f->input, 2);
	struct device *device = NULL;

	if (first)
		close(f->fds[c]);
	if (edu_device(f)->context == (int)c)
		fuzz_reopen_device(f);
	if (!first)
		close(f->fds[c]);
	while (next_device(&f->model, &device))
		if (device->context == (int)c)
			model_unbind(&f->model, device);
	let_go(context_of(f, c));
	memset(context_of(f, c), 0, sizeof(struct context));
	f->fds[c] = open_iommufd();
	foreseen(f, "open", f->fds[c] >= 0, true);
}

#endif /* LAB_FUZZ_DEVICE_H */
