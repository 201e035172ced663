/* SPDX-License-Identifier: GPL-2.0 */
/* The sweeps of what VFIO does with a device and its group. */
#ifndef LAB_FAILNTH_VFIO_H
#define LAB_FAILNTH_VFIO_H

#include <pthread.h>

#include "failnth_native.h"
#include "iommufd_bar.h"

static int close_device(struct world *w)
{
	edu_close(&w->b.edu);
	return 0;
}

static int do_open_device(struct world *w)
{
	return edu_open(&w->b.edu);
}

static int open_unbound(struct world *w)
{
	edu_close(&w->b.edu);
	return edu_open(&w->b.edu);
}

static int do_bind(struct world *w)
{
	int id = vfio_bind(w->b.edu.fd, w->b.fd);

	return id < 0 ? id : id == w->b.id ? 0 : -EBADSLT;
}

static int return_device(struct world *w)
{
	int ret = edu_open(&w->b.edu);

	ret = ret ? ret : do_bind(w);
	return ret ? ret : do_attach(w);
}

static void *remove_soon(void *data)
{
	struct world *w = data;

	edu_sleep_ms(50);
	edu_close(&w->b.edu);
	return NULL;
}

/* The device is asked for while it is in use; whoever uses it lets go a little later. */
static int do_unplug(struct world *w)
{
	pthread_t closer;
	int ret = -pthread_create(&closer, NULL, remove_soon, w);

	if (ret)
		return ret;
	ret = hotplug_remove(&w->b.edu);
	pthread_join(closer, NULL);
	return ret;
}

static int undo_unplug(struct world *w)
{
	int ret = hotplug_restore(&w->b.edu);

	return ret ? ret : return_device(w);
}

/* --- its registers -------------------------------------------------------------- */

/* The file is the device's registers. */
static int prepare_map_bar(struct world *w)
{
	int ret = edu_start(&w->b.edu), buf;

	if (ret)
		return ret;
	buf = bar_buf(&w->b.edu, 0, w->b.edu.bar_size);
	ret = buf < 0 ? buf : dup2(buf, w->file) < 0 ? -errno : 0;
	if (buf >= 0)
		close(buf);
	return ret;
}

static int do_map_bar(struct world *w)
{
	return ioas_map_file(w->b.fd, w->b.ioasid, w->file, 0, w->b.edu.bar_size, MANY_IOVA);
}

static int do_unmap_bar(struct world *w)
{
	int64_t bytes = ioas_unmap(w->b.fd, w->b.ioasid, MANY_IOVA, w->b.edu.bar_size);

	return bytes < 0 ? bytes : bytes == (int64_t)w->b.edu.bar_size ? 0 : -ENODATA;
}

static int prepare_unmap_bar(struct world *w)
{
	int ret = prepare_map_bar(w);

	return ret ? ret : do_map_bar(w);
}

static int do_copy_bar(struct world *w)
{
	return ioas_copy(w->b.fd, w->b.ioasid, COPY_IOVA, w->b.ioasid, MANY_IOVA,
			 w->b.edu.bar_size);
}

static int undo_copy_bar(struct world *w)
{
	int64_t bytes = ioas_unmap(w->b.fd, w->b.ioasid, COPY_IOVA, w->b.edu.bar_size);

	return bytes < 0 ? bytes : bytes == (int64_t)w->b.edu.bar_size ? 0 : -ENODATA;
}

/* --- its group ------------------------------------------------------------------ */

static int take_group(struct world *w)
{
	edu_close(&w->b.edu);
	w->group = open_group(w->b.edu.address);
	return w->group < 0 ? -EIO : 0;
}

static int do_join(struct world *w)
{
	return join(w->group, w->b.fd);
}

/* The space that was made for it stays. */
static int undo_join(struct world *w)
{
	struct iommu_vfio_ioas get = { .size = sizeof(get), .op = IOMMU_VFIO_IOAS_GET };
	int ret = call(w->group, VFIO_GROUP_UNSET_CONTAINER, NULL);

	if (!ret)
		ret = call(w->b.fd, IOMMU_VFIO_IOAS, &get);
	return ret ? ret : destroy(w->b.fd, get.ioas_id);
}

static int take_group_in(struct world *w)
{
	int ret = set_container(w);

	if (!ret)
		ret = take_group(w);
	return ret ? ret : do_join(w);
}

static int do_group_device(struct world *w)
{
	w->b.edu.fd = ioctl(w->group, VFIO_GROUP_GET_DEVICE_FD, w->b.edu.address);
	return w->b.edu.fd < 0 ? -errno : 0;
}

CALL_VFIO(get_info_detached) SWEEP(do_detach, do_get_info, nothing);
CALL_VFIO(open_device) SWEEP(close_device, do_open_device, close_device);
CALL_VFIO(bind) SWEEP(open_unbound, do_bind, open_unbound);
CALL_VFIO(attach_detached) SWEEP(do_detach, do_attach, do_detach);
CALL_VFIO(move_bound) SWEEP(do_map_other, do_move, do_attach);
CALL_VFIO(close_device) SWEEP(NULL, close_device, return_device, .leaves = true);
CALL_VFIO(unplug) SWEEP(NULL, do_unplug, undo_unplug, .leaves = true);
CALL_VFIO(map_bar) SWEEP(prepare_map_bar, do_map_bar, do_unmap_bar);
CALL_VFIO(unmap_bar) SWEEP(prepare_unmap_bar, do_unmap_bar, do_map_bar, .answers = true);
CALL_VFIO(copy_bar) SWEEP(prepare_unmap_bar, do_copy_bar, undo_copy_bar);
CALL_VFIO(join) SWEEP(take_group, do_join, undo_join);
CALL_VFIO(group_device) SWEEP(take_group_in, do_group_device, close_device);

#endif /* LAB_FAILNTH_VFIO_H */
