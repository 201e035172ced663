/* SPDX-License-Identifier: GPL-2.0 */
/* The memory of a storm's slots, and how it gets into the address space and out of it. */
#ifndef LAB_STORM_SLOT_H
#define LAB_STORM_SLOT_H

#include "storm.h"

#define HUGE (2UL << 20)

/* What a page of a slot's memory holds, but for what devices write to it. */
struct memory {
	char *pages;
	int file;		/* whose pages they are, or -1 */
	unsigned int rounds;	/* that it has been through */
	unsigned char fill[SLOT_PAGES];
	bool reachable[SLOT_PAGES];	/* the device writes to this page, not to one it replaced */
};

static char *view_of(int file)
{
	return mmap(NULL, SLOT_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
}

/* Memory of several kinds, all of which may be split, merged or moved by the kernel. */
static int slot_memory(struct memory *memory, unsigned int slot)
{
	char *huge;

	memory->file = -1;
	switch (slot % 4) {
	case 0:
		memory->pages = pages(SLOT_PAGES);
		break;
	case 1:
		memory->pages = mmap(NULL, SLOT_SIZE, PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		break;
	case 2:
		memory->file = memfd_create("slot", MFD_CLOEXEC);
		if (memory->file < 0 || ftruncate(memory->file, SLOT_SIZE))
			return -errno;
		memory->pages = view_of(memory->file);
		break;
	default:
		/* The middle of a huge page, if there is one. */
		huge = pages(2 * HUGE / PAGE);
		if (!huge)
			return -ENOMEM;
		huge = (char *)(((uintptr_t)huge + HUGE - 1) & -HUGE);
		madvise(huge, HUGE, MADV_HUGEPAGE);
		memory->pages = huge + 100 * PAGE;
	}
	return !memory->pages || memory->pages == MAP_FAILED ? -ENOMEM : 0;
}

/* Pinned in one space, and mapped in the other for as long as that stays. */
static int64_t map_copy(struct storm *storm, struct memory *memory, uint64_t iova)
{
	int ret = ioas_map(storm->iommufd, storm->stage_space, memory->pages, SLOT_SIZE, iova);
	int64_t unstaged;

	if (outcome(storm, "MAP of what is to be copied", ret))
		return ret;
	ret = ioas_copy(storm->iommufd, storm->slots_space, iova, storm->stage_space, iova,
			SLOT_SIZE);
	unstaged = ioas_unmap(storm->iommufd, storm->stage_space, iova, SLOT_SIZE);
	if (outcome(storm, "UNMAP of what was copied", unstaged) != SLOT_SIZE)
		complain(storm, "what was copied is not all there", unstaged);
	return ret;
}

/* Returns where it is, or a negative errno. */
static int64_t map_slot(struct storm *storm, struct memory *memory, uint64_t iova, enum way way)
{
	const int fd = storm->iommufd, space = storm->slots_space;
	int64_t ret = -EINVAL;

	switch (way) {
	case BY_CHOICE:
		return ioas_map_any(fd, space, memory->pages, SLOT_SIZE);
	case BY_IOAS:
		ret = ioas_map(fd, space, memory->pages, SLOT_SIZE, iova);
		break;
	case BY_COPY:
		ret = map_copy(storm, memory, iova);
		break;
	case BY_FILE:
		ret = ioas_map_file(fd, space, memory->file, 0, SLOT_SIZE, iova);
		break;
	case BY_CONTAINER:
		ret = container_map(fd, memory->pages, iova, SLOT_SIZE);
		break;
	default:
		ret = ioasid_map(fd, space, memory->pages, iova, SLOT_SIZE, IOASID_RW);
	}
	return ret ? ret : (int64_t)iova;
}

/* In any way, whichever it was mapped in. */
static int64_t unmap_slot(struct storm *storm, uint64_t iova, unsigned int way)
{
	switch (way % 3) {
	case 0:
		return unmap(storm->iommufd, storm->slots_space, iova, SLOT_SIZE);
	case 1:
		return ioas_unmap(storm->iommufd, storm->slots_space, iova, SLOT_SIZE);
	default:
		return container_unmap(storm->iommufd, iova, SLOT_SIZE, 0);
	}
}

#endif /* LAB_STORM_SLOT_H */
