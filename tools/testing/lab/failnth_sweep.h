/* SPDX-License-Identifier: GPL-2.0 */
/* What a sweep is, and the world that it is made in. */
#ifndef LAB_FAILNTH_SWEEP_H
#define LAB_FAILNTH_SWEEP_H

#include "failnth.h"
#include "fault_calls.h"
#include "hotplug.h"
#include "state.h"

/* Enough for several batches of pins, and for more than one table of the IOMMU. */
#define MANY_PAGES 2200
#define MANY_AREAS 1000
#define MANY_IOVA (IOVA + (1UL << 30) - 1024 * PAGE)

/*
 * Where every call is made: a device, two spaces with something mapped, and memory. The device
 * is one of QEMU's under VFIO, or with MOCK in the environment one of software: that is there
 * only while it is attached.
 */
struct world {
	struct bound b;
	struct mock mock;
	bool is_mock;
	struct mock pair[2];	/* of one group, where that is needed */
	int other;		/* a second space */
	char *memory;		/* of MANY_PAGES pages, no two of them adjacent in the machine */
	int file;		/* of as many pages */
	int group;		/* the node of the device's group, where that is needed */
	int access;		/* a driver without DMA, in software, where that is needed */
	int outer;		/* a domain, or a virtual IOMMU, that others are made in */
	int inner;		/* a domain where something goes */
	struct fault_queue queue;	/* where page faults go */
	int result;		/* of the call under test, for its undoing */
};

struct sweep {
	/* From the world to where the call is made; NULL if that is the same. */
	int (*prepare)(struct world *w);
	int (*run)(struct world *w);
	/* Back to before the call. */
	int (*undo)(struct world *w);
	/* What may have changed that struct state does not know of; or NULL. */
	int64_t (*look)(struct world *w);
	/* The call ends with copying the answer, after what cannot be undone. */
	bool answers;
	/* The same, of a move of a device in software. */
	bool moves;
	/* Behind the first FIRST_ONES, just one in so many is made to fail; 0 for all. */
	unsigned int stride;
	/*
	 * The call takes a device off a domain. The kernel allocates on the way, and
	 * warns if that fails: a domain that is left cannot be stayed on.
	 */
	bool leaves;
};

#define FIRST_ONES 50

#define SET_DOMAIN "__iommu_group_set_domain_internal"

struct trial {
	struct world world;
	int faults;
	long pins;
};

/* On any device. */
FIXTURE_VARIANT(failnth)
{
	struct sweep sweep;
};

FIXTURE(failnth)
{
	struct trial trial;
};

/* On a device under VFIO. */
FIXTURE_VARIANT(failnth_vfio)
{
	struct sweep sweep;
};

FIXTURE(failnth_vfio)
{
	struct trial trial;
};

/* On one in software. */
FIXTURE_VARIANT(failnth_mock)
{
	struct sweep sweep;
};

FIXTURE(failnth_mock)
{
	struct trial trial;
};

#define CALL(name) FIXTURE_VARIANT_ADD(failnth, name)
#define CALL_VFIO(name) FIXTURE_VARIANT_ADD(failnth_vfio, name)
#define CALL_MOCK(name) FIXTURE_VARIANT_ADD(failnth_mock, name)
#define SWEEP(...) { .sweep = { __VA_ARGS__ } }

#endif /* LAB_FAILNTH_SWEEP_H */
