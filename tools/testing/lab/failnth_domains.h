/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The sweeps of what domains can be asked for, by an IOMMU in software: marks of pages that were
 * written to, PASIDs, domains inside of others, virtual IOMMUs, and page faults.
 */
#ifndef LAB_FAILNTH_DOMAINS_H
#define LAB_FAILNTH_DOMAINS_H

#include "dirty_calls.h"
#include "failnth_native.h"
#include "viommu_calls.h"

#define NUMBER 7		/* of a device, to a virtual IOMMU */
#define WRITTEN 9		/* pages */
#define SOME_PASID 5

static int give(int *id, int ret)
{
	*id = ret;
	return ret < 0 ? ret : 0;
}

/* --- what was written to ------------------------------------------------------------------ */

static int do_alloc_dirty(struct world *w)
{
	return give(&w->result, hwpt_alloc(w->b.fd, w->b.id, w->other,
					   IOMMU_HWPT_ALLOC_DIRTY_TRACKING));
}

static int prepare_track(struct world *w)
{
	int ret = do_map_other(w);

	return ret ? ret : do_alloc_dirty(w);
}

static int do_track(struct world *w)
{
	return track(w->b.fd, w->result, ENABLE);
}

static int undo_track(struct world *w)
{
	return track(w->b.fd, w->result, 0);
}

/* Whether pages are marked that are written to: none is here. */
static int64_t look_at_tracking(struct world *w)
{
	uint8_t none = 0;
	struct iommu_test_cmd arg = {
		.id = w->result,
		.dirty = {
			.iova = MANY_IOVA, .length = PAGE, .page_size = PAGE,
			.uptr = (uintptr_t)&none,
		},
	};

	return mock_call(w->b.fd, IOMMU_TEST_OP_DIRTY, &arg);
}

static int write_some(struct world *w)
{
	int i, ret = 0;

	for (i = 0; !ret && i < WRITTEN; i++)
		ret = mark(w->b.fd, w->result, MANY_IOVA + i * (MANY_PAGES / WRITTEN) * PAGE);
	return ret;
}

static int prepare_marks(struct world *w)
{
	int ret = prepare_track(w);

	if (!ret)
		ret = do_track(w);
	return ret ? ret : write_some(w);
}

/* How many pages are marked, or a negative errno. */
static int read_marks(struct world *w, uint32_t flags)
{
	static uint8_t bitmap[MANY_PAGES / 8 + 1];
	int ret;

	memset(bitmap, 0, sizeof(bitmap));
	ret = get(w->b.fd, w->result, MANY_IOVA, MANY_PAGES * PAGE, PAGE, bitmap, flags);
	return ret ? ret : (int)count_set(bitmap, sizeof(bitmap));
}

static int64_t look_at_marks(struct world *w)
{
	return read_marks(w, KEEP);
}

static int expect_marks(int found)
{
	return found < 0 ? found : found == WRITTEN ? 0 : -ENODATA;
}

static int do_read_marks(struct world *w)
{
	return expect_marks(read_marks(w, 0));
}

static int do_look_at_marks(struct world *w)
{
	return expect_marks(read_marks(w, KEEP));
}

/* --- PASIDs ------------------------------------------------------------------------------- */

static int domain_for_pasids(struct world *w, int ioas, int *id)
{
	return give(id, hwpt_alloc(w->b.fd, w->b.id, ioas, IOMMU_HWPT_ALLOC_PASID));
}

/* The device is on one domain, and there is another for the PASID. */
static int prepare_pasid(struct world *w)
{
	int ret = do_map_other(w);

	if (!ret)
		ret = domain_for_pasids(w, w->b.ioasid, &w->outer);
	if (!ret)
		ret = domain_for_pasids(w, w->other, &w->inner);
	return ret ? ret : give(&w->result, go_to(w, w->outer));
}

static int do_pasid(struct world *w)
{
	int on = pasid_attach(w->b.fd, w->mock.id, SOME_PASID, w->inner);

	return on < 0 ? on : 0;
}

static int do_pasid_detach(struct world *w)
{
	return pasid_detach(w->b.fd, w->mock.id, SOME_PASID);
}

static int move_pasid(struct world *w, int pt)
{
	int on = pasid_replace(w->b.fd, w->mock.id, SOME_PASID, pt);

	return on < 0 ? on : 0;
}

static int do_pasid_move(struct world *w)
{
	return move_pasid(w, w->outer);
}

static int undo_pasid_move(struct world *w)
{
	return move_pasid(w, w->inner);
}

static int prepare_pasid_there(struct world *w)
{
	int ret = prepare_pasid(w);

	return ret ? ret : do_pasid(w);
}

/* Which of the two it is on. */
static int64_t look_at_pasid(struct world *w)
{
	if (!pasid_check(w->b.fd, w->mock.id, SOME_PASID, w->inner))
		return w->inner;
	return pasid_check(w->b.fd, w->mock.id, SOME_PASID, w->outer) ? 0 : w->outer;
}

/* --- domains inside of others --------------------------------------------------------------- */

static int prepare_parent(struct world *w)
{
	int ret = do_map_other(w);

	return ret ? ret : give(&w->outer, hwpt_alloc(w->b.fd, w->b.id, w->other, NEST_PARENT));
}

static int do_nested(struct world *w)
{
	return give(&w->result, nested_alloc(w->b.fd, w->b.id, w->outer));
}

static int prepare_nested(struct world *w)
{
	int ret = prepare_parent(w);

	return ret ? ret : do_nested(w);
}

static int do_go_inside(struct world *w)
{
	int on = go_to(w, w->result);

	return on < 0 ? on : 0;
}

static int prepare_inside(struct world *w)
{
	int ret = prepare_nested(w);

	return ret ? ret : do_go_inside(w);
}

static int do_invalidate(struct world *w)
{
	return invalidate(w->b.fd, w->result, 1);
}

/* What was forgotten does not come back. */
static int anew(struct world *w)
{
	int ret = do_destroy_result(w);

	return ret ? ret : do_nested(w);
}

static int64_t look_at_iotlb(struct world *w)
{
	return check_iotlb(w->b.fd, w->result, 1, IOTLB);
}

/* --- virtual IOMMUs ------------------------------------------------------------------------- */

static int do_viommu(struct world *w)
{
	return give(&w->result, viommu_alloc(w->b.fd, w->b.id, w->outer));
}

/* Others are made in this one from here on. */
static int prepare_viommu(struct world *w)
{
	int ret = prepare_parent(w);

	return ret ? ret : give(&w->outer, viommu_alloc(w->b.fd, w->b.id, w->outer));
}

static int do_vdevice(struct world *w)
{
	return give(&w->result, vdevice_alloc(w->b.fd, w->outer, w->b.id, NUMBER));
}

static int prepare_vdevice(struct world *w)
{
	int ret = prepare_viommu(w);

	return ret ? ret : do_vdevice(w);
}

static int prepare_inside_viommu(struct world *w)
{
	int ret = prepare_vdevice(w);

	return ret ? ret : do_nested(w);
}

static int do_viommu_invalidate(struct world *w)
{
	return viommu_invalidate(w->b.fd, w->outer, NUMBER, 2);
}

/* --- page faults ------------------------------------------------------------------------------ */

static int prepare_queue(struct world *w)
{
	int ret = do_map_other(w);

	return ret ? ret : do_fault_queue(w);
}

static int do_alloc_faulting(struct world *w)
{
	return give(&w->result, hwpt_with_faults(w->b.fd, w->b.id, w->other, 0, w->queue.id));
}

static int prepare_faulting(struct world *w)
{
	int ret = prepare_queue(w);

	return ret ? ret : do_alloc_faulting(w);
}

/* A negative errno, or 0 for an id. */
static int no_id(int ret)
{
	return ret < 0 ? ret : 0;
}

/* --- PASIDs of a group ----------------------------------------------------------------------- */

/*
 * Two devices are on one domain, and there is another for their PASID: one with page faults, for
 * which the IOMMU needs memory for each of the two.
 */
static int prepare_group(struct world *w)
{
	int ret = prepare_queue(w);

	if (!ret)
		ret = domain_for_pasids(w, w->b.ioasid, &w->outer);
	if (!ret)
		ret = give(&w->inner, hwpt_with_faults(w->b.fd, w->b.id, w->other,
						       IOMMU_HWPT_ALLOC_PASID, w->queue.id));
	if (!ret)
		ret = mock_add_with(w->b.fd, w->outer, MOCK_FLAGS_DEVICE_PASID, &w->pair[0]);
	return ret ? ret : mock_add_beside(w->b.fd, w->outer, w->pair[0].id, &w->pair[1]);
}

static int do_group_pasid(struct world *w)
{
	return no_id(pasid_attach(w->b.fd, w->pair[0].id, SOME_PASID, w->inner));
}

static int undo_group_pasid(struct world *w)
{
	return pasid_detach(w->b.fd, w->pair[0].id, SOME_PASID);
}

static int do_group_move(struct world *w)
{
	return no_id(pasid_replace(w->b.fd, w->pair[1].id, SOME_PASID, w->inner));
}

static int undo_group_move(struct world *w)
{
	return no_id(pasid_replace(w->b.fd, w->pair[1].id, SOME_PASID, w->outer));
}

static int prepare_group_there(struct world *w)
{
	unsigned int i;
	int ret = prepare_group(w);

	for (i = 0; i < 2 && !ret; i++)
		ret = no_id(pasid_attach(w->b.fd, w->pair[i].id, SOME_PASID, w->outer));
	return ret;
}

/* Which of the two the IOMMU has for both devices. */
static int64_t look_at_group(struct world *w)
{
	const int places[] = { 0, w->inner, w->outer };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(places); i++)
		if (!pasid_check(w->b.fd, w->pair[0].id, SOME_PASID, places[i]) &&
		    (!places[i] ||
		     (!pasid_told(w->b.fd, w->pair[0].id, SOME_PASID, places[i]) &&
		      !pasid_told(w->b.fd, w->pair[1].id, SOME_PASID, places[i]))))
			return places[i];
	return -1;
}

/* --- a device that no IOMMU has ------------------------------------------------------------ */

static int do_untranslated(struct world *w)
{
	return mock_add_untranslated(w->b.fd, w->other, &w->pair[0]);
}

static int undo_untranslated(struct world *w)
{
	return destroy(w->b.fd, w->pair[0].id);
}

static int prepare_untranslated(struct world *w)
{
	int ret = do_map_other(w);

	return ret ? ret : do_untranslated(w);
}

static int do_move_untranslated(struct world *w)
{
	return no_id(mock_move(w->b.fd, w->pair[0].id, w->b.ioasid));
}

static int undo_move_untranslated(struct world *w)
{
	return no_id(mock_move(w->b.fd, w->pair[0].id, w->other));
}

static int have_fault(struct world *w)
{
	return fault(w->b.fd, w->b.id, 0, 1);
}

/* The device asks for a page. */
static int prepare_fault(struct world *w)
{
	int ret = prepare_faulting(w);

	if (!ret)
		ret = do_go_inside(w);
	return ret ? ret : have_fault(w);
}

/* Its cookie is what is remembered. */
static int do_read_fault(struct world *w)
{
	long cookie = read_fault(w->queue.fd);

	w->inner = cookie;
	return cookie < 0 ? cookie : 0;
}

static int do_answer(struct world *w)
{
	long written = write_answer(w->queue.fd, w->inner, SUCCESS);

	return written < 0 ? written : 0;
}

static int undo_read_fault(struct world *w)
{
	int ret = do_answer(w);

	return ret ? ret : have_fault(w);
}

static int prepare_answer(struct world *w)
{
	int ret = prepare_fault(w);

	return ret ? ret : do_read_fault(w);
}

static int undo_answer(struct world *w)
{
	int ret = have_fault(w);

	return ret ? ret : do_read_fault(w);
}

static int64_t look_at_queue(struct world *w)
{
	return ready(w->queue.fd);
}

/* Of memory that is mapped there. */
static int do_hw_queue(struct world *w)
{
	return give(&w->result, hw_queue_alloc(w->b.fd, w->outer, 0, MANY_IOVA, PAGE));
}

/* Of events; it goes as a queue of page faults does. */
static int do_veventq(struct world *w)
{
	return give(&w->queue.id, veventq_alloc(w->b.fd, w->outer, 2, &w->queue.fd));
}

static int prepare_hw_queue(struct world *w)
{
	int ret = prepare_viommu(w);

	return ret ? ret : do_hw_queue(w);
}

CALL_MOCK(alloc_dirty) SWEEP(do_map_other, do_alloc_dirty, do_destroy_result);
CALL_MOCK(track) SWEEP(prepare_track, do_track, undo_track, .look = look_at_tracking);
CALL_MOCK(read_marks) SWEEP(prepare_marks, do_read_marks, write_some, .look = look_at_marks);
CALL_MOCK(look_at_marks) SWEEP(prepare_marks, do_look_at_marks, nothing, .look = look_at_marks);
CALL_MOCK(pasid) SWEEP(prepare_pasid, do_pasid, do_pasid_detach, .look = look_at_pasid);
CALL_MOCK(pasid_move) SWEEP(prepare_pasid_there, do_pasid_move, undo_pasid_move, .moves = true,
			    .look = look_at_pasid);
CALL_MOCK(pasid_detach) SWEEP(prepare_pasid_there, do_pasid_detach, do_pasid,
			      .look = look_at_pasid);
CALL_MOCK(nested) SWEEP(prepare_parent, do_nested, do_destroy_result);
CALL_MOCK(nested_destroy) SWEEP(prepare_nested, do_destroy_result, do_nested);
CALL_MOCK(go_inside) SWEEP(prepare_nested, do_go_inside, do_attach, .moves = true);
CALL_MOCK(leave_inside) SWEEP(prepare_inside, do_attach, do_go_inside, .moves = true);
CALL_MOCK(invalidate) SWEEP(prepare_nested, do_invalidate, anew, .answers = true,
			    .look = look_at_iotlb);
CALL_MOCK(viommu) SWEEP(prepare_parent, do_viommu, do_destroy_result);
CALL_MOCK(vdevice) SWEEP(prepare_viommu, do_vdevice, do_destroy_result);
CALL_MOCK(vdevice_destroy) SWEEP(prepare_vdevice, do_destroy_result, do_vdevice);
CALL_MOCK(viommu_nested) SWEEP(prepare_viommu, do_nested, do_destroy_result);
CALL_MOCK(go_inside_viommu) SWEEP(prepare_inside_viommu, do_go_inside, do_attach, .moves = true);
CALL_MOCK(viommu_invalidate) SWEEP(prepare_vdevice, do_viommu_invalidate, nothing);
CALL_MOCK(veventq) SWEEP(prepare_viommu, do_veventq, undo_fault_queue);
CALL_MOCK(hw_queue) SWEEP(prepare_viommu, do_hw_queue, do_destroy_result);
CALL_MOCK(hw_queue_destroy) SWEEP(prepare_hw_queue, do_destroy_result, do_hw_queue);
CALL_MOCK(alloc_faulting) SWEEP(prepare_queue, do_alloc_faulting, do_destroy_result);
CALL_MOCK(go_faulting) SWEEP(prepare_faulting, do_go_inside, do_attach, .moves = true);
CALL_MOCK(pasid_of_group) SWEEP(prepare_group, do_group_pasid, undo_group_pasid,
				.look = look_at_group);
CALL_MOCK(pasid_move_of_group) SWEEP(prepare_group_there, do_group_move, undo_group_move,
				     .moves = true, .look = look_at_group);
CALL_MOCK(untranslated) SWEEP(do_map_other, do_untranslated, undo_untranslated);
CALL_MOCK(move_untranslated) SWEEP(prepare_untranslated, do_move_untranslated,
				   undo_move_untranslated, .moves = true);
CALL_MOCK(read_fault) SWEEP(prepare_fault, do_read_fault, undo_read_fault,
			    .look = look_at_queue);
CALL_MOCK(answer) SWEEP(prepare_answer, do_answer, undo_answer, .look = look_at_queue);

#endif /* LAB_FAILNTH_DOMAINS_H */
