/* SPDX-License-Identifier: GPL-2.0 */
/* BARs by address: the calls of failnth_vfio.h that have them as files, and the first domain. */
#ifndef LAB_FAILNTH_BARS_H
#define LAB_FAILNTH_BARS_H

#include "failnth_vfio.h"

/* It is looked for when there is a domain. */
static int prepare_bar_at(struct world *w)
{
	return edu_start(&w->b.edu);
}

static int do_map_bar_at(struct world *w)
{
	return ioasid_map(w->b.fd, w->b.ioasid, w->b.edu.bar, MANY_IOVA, w->b.edu.bar_size,
			  IOASID_RW);
}

static int prepare_unmap_bar_at(struct world *w)
{
	int ret = prepare_bar_at(w);

	return ret ? ret : do_map_bar_at(w);
}

/* Each first domain looks for the BARs that were not found yet. */
static int prepare_bar_before_domains(struct world *w)
{
	int ret = prepare_bar_at(w);

	return ret ? ret : do_detach(w);
}

static int do_map_and_attach(struct world *w)
{
	int ret = do_map_bar_at(w);

	if (ret)
		return ret;
	ret = do_attach(w);
	if (ret)
		do_unmap_bar(w);
	return ret;
}

static int undo_map_and_attach(struct world *w)
{
	int ret = do_detach(w);

	return ret ? ret : do_unmap_bar(w);
}

CALL_VFIO(map_bar_at) SWEEP(prepare_bar_at, do_map_bar_at, do_unmap_bar);
CALL_VFIO(unmap_bar_at) SWEEP(prepare_unmap_bar_at, do_unmap_bar, do_map_bar_at,
			      .answers = true);
CALL_VFIO(copy_bar_at) SWEEP(prepare_unmap_bar_at, do_copy_bar, undo_copy_bar);
CALL_VFIO(attach_with_bar_at) SWEEP(prepare_bar_before_domains, do_map_and_attach,
				    undo_map_and_attach);

#endif /* LAB_FAILNTH_BARS_H */
