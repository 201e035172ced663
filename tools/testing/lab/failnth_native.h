/* SPDX-License-Identifier: GPL-2.0 */
/* The sweeps of the calls of <linux/iommufd.h>, and of a VFIO container's. */
#ifndef LAB_FAILNTH_NATIVE_H
#define LAB_FAILNTH_NATIVE_H

#include "container_calls.h"
#include "failnth_ioasid.h"

/* Where what is copied goes, and where it may be put by the driver: below 2 GiB, all of it. */
#define COPY_IOVA (MANY_IOVA + (256UL << 20))
#define ALLOWED_IOVA (MANY_IOVA + (512UL << 20))

static int whole(int64_t bytes)
{
	return bytes < 0 ? bytes : bytes == MANY_PAGES * PAGE ? 0 : -ENODATA;
}

/* --- spaces and domains ----------------------------------------------------------- */

static int do_ioas_alloc(struct world *w)
{
	w->result = ioas_alloc(w->b.fd);
	return w->result;
}

static int do_destroy_result(struct world *w)
{
	return destroy(w->b.fd, w->result);
}

static int do_destroy(struct world *w)
{
	return destroy(w->b.fd, w->other);
}

static int undo_destroy(struct world *w)
{
	return ioas_alloc(w->b.fd) == w->other ? do_map_other(w) : -EBADSLT;
}

static int alloc_domain(struct world *w, int ioas)
{
	w->result = hwpt_alloc(w->b.fd, w->b.id, ioas, 0);
	return w->result < 0 ? w->result : 0;
}

static int do_hwpt_alloc(struct world *w)
{
	return alloc_domain(w, w->other);
}

static int do_fault_queue(struct world *w)
{
	return fault_queue_alloc(w->b.fd, &w->queue);
}

static int undo_fault_queue(struct world *w)
{
	close(w->queue.fd);
	w->queue.fd = -1;
	return destroy(w->b.fd, w->queue.id);
}

static int prepare_domain(struct world *w)
{
	int ret = do_map_other(w);

	return ret ? ret : do_hwpt_alloc(w);
}

static int prepare_domain_detached(struct world *w)
{
	int ret = prepare_domain(w);

	return ret ? ret : do_detach(w);
}

static int prepare_domain_of_the_same(struct world *w)
{
	int ret = do_map(w);

	return ret ? ret : alloc_domain(w, w->b.ioasid);
}

static int do_attach_domain(struct world *w)
{
	int id = go_to(w, w->result);

	return id < 0 ? id : id == w->result ? 0 : -EBADSLT;
}

static int prepare_attached_domain(struct world *w)
{
	int ret = prepare_domain(w);

	return ret ? ret : do_attach_domain(w);
}

/* --- what is mapped --------------------------------------------------------------- */

static int do_ioas_map(struct world *w)
{
	return ioas_map(w->b.fd, w->b.ioasid, w->memory, MANY_PAGES * PAGE, MANY_IOVA);
}

static int do_ioas_unmap(struct world *w)
{
	return whole(ioas_unmap(w->b.fd, w->b.ioasid, MANY_IOVA, MANY_PAGES * PAGE));
}

/* What the driver chooses is remembered as a page number, so that it fits. */
static int remember_choice(struct world *w, int64_t iova)
{
	w->result = iova < 0 ? 0 : iova / PAGE;
	return iova < 0 ? (int)iova : 0;
}

static int do_map_anywhere(struct world *w)
{
	return remember_choice(w, ioas_map_any(w->b.fd, w->b.ioasid, w->memory,
					       MANY_PAGES * PAGE));
}

static int unmap_chosen(struct world *w)
{
	return whole(ioas_unmap(w->b.fd, w->b.ioasid, w->result * PAGE, MANY_PAGES * PAGE));
}

static int allow_some(struct world *w)
{
	const struct iommu_iova_range allowed[] = {
		{ ALLOWED_IOVA, ALLOWED_IOVA + 100 * PAGE - 1 },
		{ ALLOWED_IOVA + (64UL << 20), ALLOWED_IOVA + (96UL << 20) - 1 },
		{ ALLOWED_IOVA + (128UL << 20), ALLOWED_IOVA + (160UL << 20) - 1 },
	};

	return allow_iovas(w->b.fd, w->b.ioasid, allowed, 3);
}

/* Where the driver would map a page. */
static int64_t look_for_place(struct world *w)
{
	int64_t iova = ioas_map_any(w->b.fd, w->b.ioasid, w->memory, PAGE);
	int64_t ret = iova < 0 ? iova : ioas_unmap(w->b.fd, w->b.ioasid, iova, PAGE);

	return ret < 0 ? ret : iova;
}

static int undo_allow(struct world *w)
{
	return allow_iovas(w->b.fd, w->b.ioasid, NULL, 0);
}

static int do_map_file(struct world *w)
{
	return ioas_map_file(w->b.fd, w->b.ioasid, w->file, 0, MANY_PAGES * PAGE, MANY_IOVA);
}

/* Who else pays: the same process, which has to have it all charged once more meanwhile. */
static int prepare_change_process(struct world *w)
{
	int ret = do_unmap_all(w);

	return ret ? ret : do_map_file(w);
}

static int do_change_process(struct world *w)
{
	return change_process(w->b.fd);
}

/* Memory in two areas, to be copied in one go. */
static int map_halves(struct world *w, int ioas)
{
	const unsigned long half = MANY_PAGES / 2 * PAGE;
	int ret = ioas_map(w->b.fd, ioas, w->memory, half, MANY_IOVA);

	return ret ? ret : ioas_map(w->b.fd, ioas, w->memory + half, half, MANY_IOVA + half);
}

static int prepare_copy(struct world *w)
{
	return map_halves(w, w->other);
}

static int prepare_copy_within(struct world *w)
{
	return map_halves(w, w->b.ioasid);
}

static int prepare_copy_without(struct world *w)
{
	int ret = prepare_copy(w);

	return ret ? ret : do_detach(w);
}

static int copy_from(struct world *w, int from)
{
	return ioas_copy(w->b.fd, w->b.ioasid, COPY_IOVA, from, MANY_IOVA, MANY_PAGES * PAGE);
}

static int do_copy(struct world *w)
{
	return copy_from(w, w->other);
}

static int do_copy_within(struct world *w)
{
	return copy_from(w, w->b.ioasid);
}

static int unmap_copy(struct world *w)
{
	return whole(ioas_unmap(w->b.fd, w->b.ioasid, COPY_IOVA, MANY_PAGES * PAGE));
}

static int do_copy_anywhere(struct world *w)
{
	struct iommu_ioas_copy arg = ioas_copy_arg(w->b.ioasid, 0, w->other, MANY_IOVA,
						   MANY_PAGES * PAGE);
	int ret;

	arg.flags = RW;
	ret = call(w->b.fd, IOMMU_IOAS_COPY, &arg);
	return remember_choice(w, ret ? ret : (int64_t)arg.dst_iova);
}

/*
 * A space without a device, with memory that is there twice, and of which a half is in the space
 * with the device as well, and so is pinned already.
 */
static int prepare_copies(struct world *w)
{
	const unsigned long half = MANY_PAGES / 2 * PAGE;
	int ret = prepare_copy(w);

	if (!ret)
		ret = ioas_copy(w->b.fd, w->other, COPY_IOVA, w->other, MANY_IOVA, 2 * half);
	return ret ? ret : ioas_copy(w->b.fd, w->b.ioasid, COPY_IOVA, w->other, MANY_IOVA, half);
}

static int prepare_domain_of_copies(struct world *w)
{
	int ret = prepare_copies(w);

	return ret ? ret : do_hwpt_alloc(w);
}

/* Memory of a file that no device has yet. */
static int prepare_attach_file(struct world *w)
{
	int ret = do_detach(w);

	return ret ? ret : do_map_file(w);
}

static int prepare_unmap_copy(struct world *w)
{
	int ret = prepare_copy(w);

	return ret ? ret : do_copy(w);
}

/* Copies, a domain of userspace, a container: whatever else a context can have. */
static int make_more(struct world *w)
{
	struct iommu_vfio_ioas set = {
		.size = sizeof(set), .op = IOMMU_VFIO_IOAS_SET, .ioas_id = w->other,
	};
	int ret = prepare_unmap_copy(w);

	if (!ret)
		ret = call(w->b.fd, IOMMU_VFIO_IOAS, &set);
	return ret ? ret : do_hwpt_alloc(w);
}

static int make_all(struct world *w)
{
	int ret = make_spaces(w);

	return ret ? ret : make_more(w);
}

/* --- what can be asked ------------------------------------------------------------ */

static int do_ranges(struct world *w)
{
	struct iommu_iova_range ranges[16];

	return iova_ranges(w->b.fd, w->b.ioasid, ranges, 16);
}

static int do_hw_info(struct world *w)
{
	char data[64];
	struct iommu_hw_info arg = {
		.size = sizeof(arg),
		.dev_id = w->b.id,
		.data_len = sizeof(data),
		.data_uptr = (uintptr_t)data,
	};

	return call(w->b.fd, IOMMU_GET_HW_INFO, &arg);
}

static int empty_other(struct world *w)
{
	return set_option(w->b.fd, IOMMU_OPTION_HUGE_PAGES, w->other, 1);
}

static int do_options(struct world *w)
{
	int64_t ret = get_option(w->b.fd, IOMMU_OPTION_HUGE_PAGES, w->other);

	return ret < 0 ? ret : set_option(w->b.fd, IOMMU_OPTION_HUGE_PAGES, w->other, 0);
}

/* --- the VFIO container ----------------------------------------------------------- */

static int set_container(struct world *w)
{
	struct iommu_vfio_ioas set = {
		.size = sizeof(set), .op = IOMMU_VFIO_IOAS_SET, .ioas_id = w->b.ioasid,
	};

	return call(w->b.fd, IOMMU_VFIO_IOAS, &set);
}

static int container_op(struct world *w, uint16_t op)
{
	struct iommu_vfio_ioas arg = { .size = sizeof(arg), .op = op, .ioas_id = w->other };
	int ret = call(w->b.fd, IOMMU_VFIO_IOAS, &arg);

	return ret ? ret : (int)arg.ioas_id;
}

static int do_set_other(struct world *w)
{
	return container_op(w, IOMMU_VFIO_IOAS_SET);
}

static int clear_container(struct world *w)
{
	return container_op(w, IOMMU_VFIO_IOAS_CLEAR) < 0 ? -EIO : 0;
}

static int64_t look_at_container(struct world *w)
{
	return container_op(w, IOMMU_VFIO_IOAS_GET);
}

static int do_get_container(struct world *w)
{
	return container_op(w, IOMMU_VFIO_IOAS_GET);
}

static int prepare_set_iommu(struct world *w)
{
	int id = do_set_other(w);

	return id < 0 ? id : 0;
}

static int do_set_iommu(struct world *w)
{
	return call(w->b.fd, VFIO_SET_IOMMU, (void *)VFIO_TYPE1_IOMMU);
}

static int64_t look_at_pages(struct world *w)
{
	return get_option(w->b.fd, IOMMU_OPTION_HUGE_PAGES, w->other);
}

static int do_container_map(struct world *w)
{
	return container_map(w->b.fd, w->memory, MANY_IOVA, MANY_PAGES * PAGE);
}

static int do_container_unmap(struct world *w)
{
	return whole(container_unmap(w->b.fd, MANY_IOVA, MANY_PAGES * PAGE, 0));
}

static int prepare_container_unmap(struct world *w)
{
	int ret = set_container(w);

	return ret ? ret : do_container_map(w);
}

/* VFIO's type1 without v2: an area that is cut. */
static int prepare_container_cut(struct world *w)
{
	int ret = set_container(w);

	if (!ret)
		ret = do_detach(w);
	if (!ret)
		ret = call(w->b.fd, VFIO_SET_IOMMU, (void *)VFIO_TYPE1_IOMMU);
	if (!ret)
		ret = do_attach(w);
	return ret ? ret : do_container_map(w);
}

static int do_container_cut(struct world *w)
{
	int64_t ret = container_unmap(w->b.fd, MANY_IOVA, MANY_PAGES / 2 * PAGE, 0);

	return ret < 0 ? ret : ret == MANY_PAGES / 2 * PAGE ? 0 : -ENODATA;
}

static int undo_container_cut(struct world *w)
{
	int64_t ret = container_unmap(w->b.fd, MANY_IOVA, MANY_PAGES * PAGE, 0);

	return ret < 0 ? ret : do_container_map(w);
}

static int do_container_info(struct world *w)
{
	struct {
		struct vfio_iommu_type1_info info;
		char chain[1000];
	} arg = { .info = { .argsz = sizeof(arg) } };

	return call(w->b.fd, VFIO_IOMMU_GET_INFO, &arg);
}

CALL(ioas_alloc) SWEEP(NULL, do_ioas_alloc, do_destroy_result);
CALL(destroy) SWEEP(do_map_other, do_destroy, undo_destroy);
CALL(hwpt_alloc) SWEEP(do_map_other, do_hwpt_alloc, do_destroy_result);
CALL(fault_queue) SWEEP(NULL, do_fault_queue, undo_fault_queue);
CALL(hwpt_alloc_copies) SWEEP(prepare_copies, do_hwpt_alloc, do_destroy_result);
CALL(hwpt_destroy) SWEEP(prepare_domain, do_destroy_result, do_hwpt_alloc);
CALL(hwpt_destroy_copies) SWEEP(prepare_domain_of_copies, do_destroy_result, do_hwpt_alloc);
CALL(attach_file) SWEEP(prepare_attach_file, do_attach, do_detach);
CALL(move_to_copies) SWEEP(prepare_copies, do_move, do_attach, .moves = true);
CALL(attach_domain) SWEEP(prepare_domain_detached, do_attach_domain, do_detach);
CALL(move_to_domain) SWEEP(prepare_domain, do_attach_domain, do_attach, .moves = true);
CALL(move_within) SWEEP(prepare_domain_of_the_same, do_attach_domain, do_attach,
			.moves = true);
CALL(move_from_domain) SWEEP(prepare_attached_domain, do_attach, do_attach_domain,
			     .moves = true);
CALL(detach_domain) SWEEP(prepare_attached_domain, do_detach, do_attach_domain, .leaves = true);
CALL(ioas_map) SWEEP(NULL, do_ioas_map, do_ioas_unmap);
CALL(map_anywhere) SWEEP(NULL, do_map_anywhere, unmap_chosen);
CALL(map_where_allowed) SWEEP(allow_some, do_map_anywhere, unmap_chosen);
CALL(map_file) SWEEP(NULL, do_map_file, do_ioas_unmap);
CALL(copy) SWEEP(prepare_copy, do_copy, unmap_copy);
CALL(copy_within) SWEEP(prepare_copy_within, do_copy_within, unmap_copy);
CALL(copy_without_device) SWEEP(prepare_copy_without, do_copy, unmap_copy);
CALL(copy_anywhere) SWEEP(prepare_copy, do_copy_anywhere, unmap_chosen);
CALL(ioas_unmap) SWEEP(do_ioas_map, do_ioas_unmap, do_ioas_map, .answers = true);
CALL(unmap_copy) SWEEP(prepare_unmap_copy, unmap_copy, do_copy, .answers = true);
CALL(unmap_file) SWEEP(do_map_file, do_ioas_unmap, do_map_file, .answers = true);
CALL(change_process) SWEEP(prepare_change_process, do_change_process, nothing);
CALL(allow_iovas) SWEEP(NULL, allow_some, undo_allow, .look = look_for_place);
CALL(iova_ranges) SWEEP(NULL, do_ranges, nothing);
CALL(hw_info) SWEEP(NULL, do_hw_info, nothing);
CALL(options) SWEEP(NULL, do_options, empty_other);
CALL(vfio_ioas) SWEEP(NULL, do_set_other, clear_container, .look = look_at_container);
CALL(vfio_ioas_get) SWEEP(set_container, do_get_container, nothing);
CALL(set_iommu) SWEEP(prepare_set_iommu, do_set_iommu, empty_other, .look = look_at_pages);
CALL(container_map) SWEEP(set_container, do_container_map, do_container_unmap);
CALL(container_unmap) SWEEP(prepare_container_unmap, do_container_unmap, do_container_map,
			    .answers = true);
CALL(container_cut) SWEEP(prepare_container_cut, do_container_cut, undo_container_cut,
			  .answers = true);
CALL(container_info) SWEEP(set_container, do_container_info, nothing);
CALL(close_all) SWEEP(make_more, do_close, make_all, .leaves = true);

#endif /* LAB_FAILNTH_NATIVE_H */
