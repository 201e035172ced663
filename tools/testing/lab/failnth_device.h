/* SPDX-License-Identifier: GPL-2.0 */
/* The device of a sweep, be it one of QEMU's or one of software, and where it goes. */
#ifndef LAB_FAILNTH_DEVICE_H
#define LAB_FAILNTH_DEVICE_H

#include "failnth_sweep.h"

static int find_device(struct world *w)
{
	w->is_mock = getenv("MOCK");
	w->b.edu.fd = -1;
	return w->is_mock ? 0 : edu_find(&w->b.edu, getenv("EDU"));
}

/* To a space or a domain; the id of the domain that it is on, or a negative errno. */
static int go_to(struct world *w, int pt)
{
	int ret;

	if (!w->is_mock)
		return attach_pt(w->b.edu.fd, pt);
	if (w->mock.id)
		return mock_move(w->b.fd, w->mock.id, pt);
	ret = mock_add(w->b.fd, pt, &w->mock);
	if (!ret)
		w->b.id = w->mock.device;
	return ret ? ret : w->mock.hwpt;
}

static int do_attach(struct world *w)
{
	int id = go_to(w, w->b.ioasid);

	return id < 0 ? id : 0;
}

static int do_move(struct world *w)
{
	int id = go_to(w, w->other);

	return id < 0 ? id : 0;
}

/* What is left of one of software is nothing. */
static int do_detach(struct world *w)
{
	int ret;

	if (!w->is_mock)
		return vfio_detach(w->b.edu.fd);
	ret = destroy(w->b.fd, w->mock.id);
	if (!ret)
		w->mock = (struct mock) { 0 };
	return ret;
}

/* To a context that has none. */
static int bring_device(struct world *w)
{
	int ret = 0;

	w->mock = (struct mock) { 0 };
	if (!w->is_mock) {
		ret = edu_open(&w->b.edu);
		w->b.id = ret ? ret : vfio_bind(w->b.edu.fd, w->b.fd);
		ret = w->b.id < 0 ? w->b.id : 0;
	}
	return ret ? ret : do_attach(w);
}

#endif /* LAB_FAILNTH_DEVICE_H */
