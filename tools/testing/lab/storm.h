/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a storm's threads and processes share: the model of who maps what, and how
 * often what happened.
 *
 * One address space is divided into slots, each of which belongs to one worker: it
 * alone maps there, and so knows what devices can reach. Devices write to all slots
 * all the time. What a device wrote to a page that was mapped from before the write
 * until after it must be there when the worker looks; and nothing may ever be in a
 * page that is not mapped, or not any more.
 *
 * That space always has a device, so whatever is mapped there is pinned at once: what
 * becomes of the memory later makes no difference. Others get and lose their devices all
 * the time, and with them what is pinned; what no device could ever reach is not pinned
 * at all, and in the end, with all devices gone, nothing is, whatever is mapped still.
 *
 * The ids of spaces, domains and devices belong to nobody: some threads do what they like
 * to any of them, see storm_shared.h. Just the four spaces below stay that the rest is
 * about; whoever else has an id must be prepared to find something else there.
 */
#ifndef LAB_STORM_H
#define LAB_STORM_H

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "container_calls.h"
#include "hotplug.h"
#include "state.h"

#define WORKERS 6
#define SLOTS (2 * WORKERS)
#define SLOT_PAGES 16
#define SLOT_IOVA(slot) (IOVA + (slot) * 64 * PAGE)
#define SLOT_SIZE (SLOT_PAGES * PAGE)
#define CHOSEN_IOVA (IOVA + (8UL << 30))	/* where the driver may put a slot */
#define CHOSEN_SIZE (1UL << 30)
#define COUNTED_IDS 4096
/* Where devices learn what to write. */
#define ARM_IOVA(thread) (IOVA + (2UL << 30) + (thread) * PAGE)
#define DMA_SIZE 256

/* How a slot is mapped. */
enum way { BY_IOASID, BY_IOAS, BY_CHOICE, BY_COPY, BY_FILE, BY_CONTAINER, WAYS };

struct slot {
	atomic_ulong iova;	/* where it is, or was last */
	/* Goes up with each change; odd while it is mapped. */
	atomic_uint turn;
	/* For each page, the turn in which a write of a device has to arrive. */
	atomic_uint written[SLOT_PAGES];
};

struct storm {
	atomic_bool begun;	/* there is a device in the space with the slots */
	atomic_bool stop;
	int iommufd;		/* the context that all share */
	int slots_space;	/* the IOASID that is divided into slots */
	int chaos_space;	/* the one where everybody does what he likes */
	int stage_space;	/* from where slots are copied */
	int shared_space;	/* where most of those domains are whose ids are shared */
	int shared_fd;		/* the device that whoever shares ids moves */
	int shared_id;
	atomic_int shared_last;	/* the id that one of them was given last */
	unsigned int seed;
	struct slot slots[SLOTS];
	/* How often each id was given to what DESTROY destroys, less how often it did so. */
	atomic_int held[COUNTED_IDS];

	atomic_ulong calls, disturbances, writes, arrived, moves, domains, binds, unplugs;
	atomic_ulong maps[WAYS], shared_deaths, shared_moves, shared_maps;
	atomic_ulong unreachable, bad_memory;	/* what was seen of memory without a device */
	atomic_ulong stale, lost, undocumented, needless;
};

/* Random numbers that every thread has for itself. */
struct dice {
	uint64_t state;
};

static inline uint32_t roll(struct dice *dice, uint32_t sides)
{
	dice->state = dice->state * 6364136223846793005UL + 1442695040888963407UL;
	return (dice->state >> 33) % sides;
}

static inline struct dice dice_of(const struct storm *storm, unsigned int who)
{
	struct dice dice = { storm->seed * 1000003UL + who };

	roll(&dice, 2);
	return dice;
}

/* What devices write: nothing that a worker puts into its memory. */
static inline void fill_pattern(unsigned char *bytes)
{
	unsigned int i;

	for (i = 0; i < DMA_SIZE; i++)
		bytes[i] = 0x80 | (i * 7 + 13);
}

static inline void complain(struct storm *storm, const char *what, int64_t got)
{
	if (!storm->undocumented++)
		ksft_print_msg("%s: %ld\n", what, got);
}

/* Count a call, and complain if it ended with something that is not documented. */
static inline int64_t outcome(struct storm *storm, const char *what, int64_t ret)
{
	static const int errnos[] = {
		EBUSY, EEXIST, EINVAL, EINTR, ENOENT, ENOMEM, ENODEV, ENOSPC, EPERM,
	};
	unsigned int i;

	storm->calls++;
	if (ret >= 0)
		return ret;
	for (i = 0; i < ARRAY_SIZE(errnos); i++)
		if (ret == -errnos[i])
			return ret;
	complain(storm, what, ret);
	return ret;
}

/*
 * The same for a call by which a device or a domain may be the first one in a space: memory that
 * somebody has mapped there need not be there any more.
 */
static inline int64_t coming(struct storm *storm, const char *what, int64_t ret)
{
	storm->bad_memory += ret == -EFAULT;
	return ret == -EFAULT ? ret : outcome(storm, what, ret);
}

/* The same for a call that makes a space or a domain, whose id it returns. */
static inline int made(struct storm *storm, const char *what, int id)
{
	if (coming(storm, what, id) > 0 && id < COUNTED_IDS)
		storm->held[id]++;
	return id;
}

/* Complain if a context that has neither devices nor domains has anything pinned. */
static inline void expect_unpinned(struct storm *storm, int iommufd)
{
	char path[32], text[4096];

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", iommufd);
	read_text(path, text, sizeof(text));
	storm->unreachable++;
	if (!strstr(text, "held:\tpinned 0 pages charged 0 kB\n") && !storm->needless++)
		ksft_print_msg("memory is pinned for nobody: %s", text);
}

/* And for one that destroys whatever of these has that id. */
static inline int unmade(struct storm *storm, const char *what, int id, int ret)
{
	if (!outcome(storm, what, ret) && id < COUNTED_IDS)
		storm->held[id]--;
	return ret;
}

#endif /* LAB_STORM_H */
