/* SPDX-License-Identifier: GPL-2.0 */
/* The sweeps of the calls of <linux/iommu.h>, and of where a device goes. */
#ifndef LAB_FAILNTH_IOASID_H
#define LAB_FAILNTH_IOASID_H

#include "failnth_device.h"

static int do_open(struct world *w)
{
	w->result = open_iommufd();
	return w->result < 0 ? -errno : 0;
}

static int undo_open(struct world *w)
{
	return close(w->result);
}

static int do_alloc(struct world *w)
{
	w->result = ioasid_alloc(w->b.fd, 48);
	return w->result;
}

static int do_alloc_window(struct world *w)
{
	w->result = ioasid_alloc_window(w->b.fd, IOVA, IOVA + PAGE - 1);
	return w->result;
}

static int undo_alloc(struct world *w)
{
	return ioasid_free(w->b.fd, w->result);
}

static int map_many(struct world *w, int ioasid)
{
	return ioasid_map(w->b.fd, ioasid, w->memory, MANY_IOVA, MANY_PAGES * PAGE, IOASID_RW);
}

static int unmap_many(struct world *w, int ioasid)
{
	int64_t ret = unmap(w->b.fd, ioasid, MANY_IOVA, MANY_PAGES * PAGE);

	return ret < 0 ? ret : ret == MANY_PAGES * PAGE ? 0 : -ENODATA;
}

static int do_map(struct world *w)
{
	return map_many(w, w->b.ioasid);
}

static int undo_map(struct world *w)
{
	return unmap_many(w, w->b.ioasid);
}

static int do_map_other(struct world *w)
{
	return map_many(w, w->other);
}

static int undo_map_other(struct world *w)
{
	return unmap_many(w, w->other);
}

static int map_rest(struct world *w)
{
	int ret = ioasid_map(w->b.fd, w->b.ioasid, w->memory, IOVA, PAGE, IOASID_RW);

	return ret ? ret : ioasid_map(w->b.fd, w->b.ioasid, w->memory + PAGE, IOVA + PAGE, PAGE,
				      IOASID_READ);
}

static int do_unmap_all(struct world *w)
{
	int64_t ret = unmap_all(w->b.fd, w->b.ioasid);

	return ret < 0 ? ret : 0;
}

static int do_free(struct world *w)
{
	return ioasid_free(w->b.fd, w->other);
}

static int undo_free(struct world *w)
{
	return ioasid_alloc(w->b.fd, 64) == w->other ? do_map_other(w) : -EBADSLT;
}

static int do_get_info(struct world *w)
{
	struct iommu_device_info *info;
	int ret = device_get_info(w->b.fd, w->b.id, &info);

	free(info);
	return ret;
}

static int nothing(struct world *w)
{
	(void)w;
	return 0;
}

/* Everything is closed: what is open is another context, and empty. */
static int do_close(struct world *w)
{
	close(w->b.fd);
	edu_close(&w->b.edu);
	return 0;
}

static int make_spaces(struct world *w)
{
	int ret;

	w->b.fd = open_iommufd();
	w->b.ioasid = ioasid_alloc(w->b.fd, 64);
	w->other = ioasid_alloc(w->b.fd, 64);
	if (w->b.fd < 0 || w->b.ioasid < 0 || w->other < 0)
		return -EIO;
	ret = map_rest(w);
	return ret ? ret : bring_device(w);
}

/* As many areas of two pages each, which are in two places, so that each area takes memory. */
static int map_areas(struct world *w, int ioasid)
{
	int i, ret = 0;

	for (i = 0; !ret && i < MANY_AREAS; i++)
		ret = ioasid_map(w->b.fd, ioasid, w->memory + 2 * i * PAGE,
				 MANY_IOVA + 3 * i * PAGE, 2 * PAGE, IOASID_RW);
	return ret;
}

static int prepare_many_areas(struct world *w)
{
	int ret = do_detach(w);

	return ret ? ret : map_areas(w, w->b.ioasid);
}

CALL(open) SWEEP(NULL, do_open, undo_open);
CALL(alloc) SWEEP(NULL, do_alloc, undo_alloc);
CALL(alloc_window) SWEEP(NULL, do_alloc_window, undo_alloc);
CALL(free) SWEEP(do_map_other, do_free, undo_free);
CALL(map) SWEEP(NULL, do_map, undo_map);
CALL(map_without_device) SWEEP(NULL, do_map_other, undo_map_other);
CALL(unmap) SWEEP(do_map, undo_map, do_map, .answers = true);
CALL(unmap_without_device) SWEEP(do_map_other, undo_map_other, do_map_other, .answers = true);
CALL(unmap_all) SWEEP(NULL, do_unmap_all, map_rest, .answers = true);
CALL(get_info) SWEEP(NULL, do_get_info, nothing);
CALL(attach) SWEEP(do_detach, do_attach, do_detach);
CALL(attach_many_areas) SWEEP(prepare_many_areas, do_attach, do_detach, .stride = 401);
CALL(move) SWEEP(do_map_other, do_move, do_attach, .moves = true);
CALL(detach) SWEEP(NULL, do_detach, do_attach, .leaves = true);
CALL(close) SWEEP(NULL, do_close, make_spaces, .leaves = true);

#endif /* LAB_FAILNTH_IOASID_H */
