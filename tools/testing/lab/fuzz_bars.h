/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A BAR by its address: that of a device beside those that are fuzzed. It is always there when
 * somebody looks for it, and taken back at times, which changes no outcome.
 */
#ifndef LAB_FUZZ_BARS_H
#define LAB_FUZZ_BARS_H

#include "bars.h"
#include "fuzz.h"
#include "pci_power.h"

/* If there is such a device, have its registers at their place for good. */
static int open_bar(struct fuzz *f)
{
	struct vfio_region_info region = {
		.argsz = sizeof(region),
		.index = VFIO_PCI_BAR0_REGION_INDEX,
	};
	struct edu *edu = &f->peer;
	int ret;

	if (edu_find(edu, getenv("PEER")))
		return 0;
	ret = edu_open(edu);
	if (!ret)
		ret = vfio_bind(edu->fd, open_iommufd());
	ret = ret < 0 ? ret : vfio_pci_enable(edu->fd) ?:
	      call(edu->fd, VFIO_DEVICE_GET_REGION_INFO, &region);
	if (ret)
		return ret;
	f->model.rights.has_bar = true;
	return mmap((void *)BAR_AT, BAR_PAGES * PAGE, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_FIXED_NOREPLACE, edu->fd, region.offset) == MAP_FAILED ?
	       -errno : 0;
}

/* Whether mainline's calls may map it. */
static void let_bars(struct fuzz *f, bool on)
{
	if (f->lets_bars != on)
		foreseen(f, "map_device_memory", let_map_bars(on), 0);
	f->lets_bars = on;
}

static void fuzz_let_bars(struct fuzz *f)
{
	let_bars(f, pick(&f->input, 2));
}

/* From all that have found it, for good. */
static void fuzz_take_bar(struct fuzz *f)
{
	if (!f->model.rights.has_bar)
		return;
	foreseen(f, "the end of a BAR", set_memory_enable(f->peer.fd, false), 0);
	foreseen(f, "its return", set_memory_enable(f->peer.fd, true), 0);
}

/* What is where there is a domain was looked for, and stays found. */
static void model_find_bars(struct context *context)
{
	struct space *space;
	unsigned int i;
	int id;

	for (id = 1; id <= MODEL_IDS; id++) {
		space = model_space(context, id);
		if (!space || !model_has_domains(context, id))
			continue;
		for (i = 0; i < space->count; i++)
			space->areas[i].is_found |= is_bar_area(context, &space->areas[i]);
	}
}

#endif /* LAB_FUZZ_BARS_H */
