/* SPDX-License-Identifier: GPL-2.0 */
/* What the threads of the storm on an IOMMU in software share, and how they get at each other's. */
#ifndef LAB_STORM_MOCK_H
#define LAB_STORM_MOCK_H

#include "fault_calls.h"
#include "storm.h"
#include "viommu_calls.h"

#define SPACES 3
#define MANY 250		/* devices at a time */
#define IDS 600			/* those that are guessed */
#define LAST 16			/* the newest devices, which are guessed more often */
#define SLOTS_OF_KIND 6		/* things of a kind that belongs to virtual IOMMUs */
#define MAP_PAGES 24
#define MAP_SIZE (MAP_PAGES * PAGE)
#define MAP_IOVA(thread) (IOVA + (thread) * (1UL << 20))
#define COPY_IOVA(thread) (MAP_IOVA(thread) + (512UL << 20))
/* Memory of guests, for queues that hardware reads: the first page stays mapped. */
#define GUEST_PAGES 4
#define GUEST_IOVA (IOVA + (1UL << 30))

/* What belongs to a virtual IOMMU, or has one; destroyed in any order. */
enum kind { PARENT, VIOMMU, NESTED, VDEVICE, HW_QUEUE, VEVENTQ, FAULT_QUEUE, KINDS };

/* One that stays, with what is below and above it. */
struct steady {
	struct mock mock;
	int parent, viommu, queue;
};

/* What anybody may use, replace and destroy. */
struct thing {
	atomic_int id;
	atomic_int file;	/* of a queue, or 0; whoever uses it takes it out */
	atomic_ulong offset;	/* where memory of a virtual IOMMU is, or 0 */
};

struct gale {
	struct storm storm;
	unsigned int guests;
	int spaces[SPACES];
	struct steady steady[SPACES];
	char *guest_memory;
	atomic_int last[LAST];
	struct thing things[KINDS][SLOTS_OF_KIND];
	atomic_bool was_vdevice[COUNTED_IDS];
	atomic_int top;		/* the highest id that there was */
	atomic_uint next_last, devices;
	atomic_ulong plugged, unplugged, moved, domains, mapped, pinned, revoked, closed, killed;
	atomic_ulong queues, answered;
	atomic_ulong made[KINDS], destroyed, inside, happened, events, forgotten, seen;
};

struct thread {
	struct gale *gale;
	unsigned int number;
	struct dice dice;
	pthread_t thread;
};

static bool stays(const struct gale *gale, int id)
{
	const struct steady *steady = gale->steady;
	bool found = false;

	for (; steady < gale->steady + SPACES; steady++)
		found |= id == gale->spaces[steady - gale->steady] || id == steady->mock.id ||
			 id == steady->parent || id == steady->viommu || id == steady->queue;
	return found;
}

/* Ids of what goes with its device are not used again, so that those in use move up. */
static int guess(struct thread *self)
{
	int top = self->gale->top;

	if (top > IDS && roll(&self->dice, 2))
		return top - roll(&self->dice, IDS);
	return 1 + roll(&self->dice, IDS);
}

static int guess_device(struct thread *self)
{
	return roll(&self->dice, 3) ? self->gale->last[roll(&self->dice, LAST)] : guess(self);
}

/* By the id that it is bound with, which mostly is the next one. */
static int guess_bound(struct thread *self)
{
	const struct steady *steady = self->gale->steady;

	return roll(&self->dice, 4) ? guess_device(self) + 1 :
	       steady[roll(&self->dice, SPACES)].mock.device;
}

/* Rather one of the spaces that stay. */
static int guess_place(struct thread *self)
{
	return roll(&self->dice, 3) ? self->gale->spaces[roll(&self->dice, SPACES)] : guess(self);
}

/* As coming(), for a call that may say @also as well. */
static int64_t coming_or(struct thread *self, const char *what, int64_t ret, int also)
{
	return ret == -also ? ret : coming(&self->gale->storm, what, ret);
}

/* As made(), for a call that may say @also as well. */
static int made_or(struct thread *self, const char *what, int id, int also)
{
	int top = self->gale->top;

	if (id == -also || made(&self->gale->storm, what, id) <= 0)
		return id;
	while (id > top && !atomic_compare_exchange_weak(&self->gale->top, &top, id))
		;
	return id;
}

/* Whatever that is; 0, or a negative errno. */
static int destroy_guess(struct thread *self, int id)
{
	struct gale *gale = self->gale;
	int ret;

	if (stays(gale, id))
		return -EBUSY;
	ret = unmade(&gale->storm, "DESTROY", id, destroy(gale->storm.iommufd, id));
	gale->unplugged += !ret;
	return ret;
}

static void move_to(struct thread *self, int place)
{
	struct gale *gale = self->gale;
	int id = guess_device(self);

	if (!stays(gale, id) &&
	    coming(&gale->storm, "MOCK_DOMAIN_REPLACE",
		   mock_move(gale->storm.iommufd, id, place)) > 0)
		gale->moved++;
}

#endif /* LAB_STORM_MOCK_H */
