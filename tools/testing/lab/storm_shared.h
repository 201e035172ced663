/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The threads of a storm that share ids. Each guesses an id out of the few lowest, whoever
 * has it, and makes, destroys, frees, attaches, detaches, replaces, copies or looks for
 * what is there. Only the spaces that the storm itself is about are not destroyed.
 *
 * Whose id it is may have changed from one call to the next. Even so, a sharer's memory
 * is only where the sharer has mapped it, at an address of its own: once it has unmapped
 * that id there, or found that there is no such id, no device may reach it. For either the
 * space is the same, and the memory is unmapped; or it was destroyed, with all that was
 * mapped in it.
 */
#ifndef LAB_STORM_SHARED_H
#define LAB_STORM_SHARED_H

#include "storm_worker.h"

#define SHARED_IDS 20
#define SHARERS 8
#define MAPPERS 2		/* of them; the others never wait for devices */
#define SHARED_IOVA(sharer) (IOVA + (4UL << 30) + (sharer) * 1024 * PAGE)
#define HOLDING_PAGES 128

struct sharer {
	struct storm *storm;
	unsigned int number;
	struct dice dice;
	char *page, *many;
	struct iommu_hwpt_alloc *unanswered;	/* an argument that cannot be written to */
};

static bool prepare_sharer(struct sharer *self)
{
	self->page = pages(1);
	self->many = pages(HOLDING_PAGES);
	self->unanswered = pages(1);
	if (!self->page || !self->many || !self->unanswered)
		return false;
	*self->unanswered = (struct iommu_hwpt_alloc) {
		.size = sizeof(*self->unanswered), .dev_id = self->storm->shared_id,
		.pt_id = self->storm->shared_space,
	};
	return !mprotect(self->unanswered, PAGE, PROT_READ);
}

static int guess(struct sharer *self)
{
	return 1 + roll(&self->dice, SHARED_IDS);
}

static bool is_of_the_storm(const struct storm *storm, int id)
{
	return id == storm->slots_space || id == storm->chaos_space ||
	       id == storm->stage_space || id == storm->shared_space;
}

static void destroy_guess(struct sharer *self, int id)
{
	struct storm *storm = self->storm;
	int ret;

	if (is_of_the_storm(storm, id))
		return;
	ret = roll(&self->dice, 2) ? destroy(storm->iommufd, id) : ioasid_free(storm->iommufd, id);
	if (!unmade(storm, "DESTROY or FREE of a shared id", id, ret))
		storm->shared_deaths++;
}

/* One beyond the ids that are guessed is of no use. Nobody else can have destroyed it. */
static void destroy_own(struct sharer *self, int id)
{
	struct storm *storm = self->storm;
	int ret = unmade(storm, "DESTROY of one's own", id, destroy(storm->iommufd, id));

	if (ret)
		complain(storm, "DESTROY of one's own", ret);
}

/* An object of some kind. */
static void make_shared(struct sharer *self)
{
	struct storm *storm = self->storm;
	const int fd = storm->iommufd;
	int id;

	switch (roll(&self->dice, 12)) {
	case 0:
		id = ioas_alloc(fd);
		break;
	case 3 ... 6:
		/* The domain is made, and goes again, without anybody being told. */
		id = call(fd, IOMMU_HWPT_ALLOC, self->unanswered);
		if (id != -EFAULT)
			complain(storm, "HWPT_ALLOC that cannot be answered", id);
		return;
	case 1:
		id = ioasid_alloc(fd, 64);
		break;
	case 2:
		id = hwpt_alloc(fd, storm->shared_id, guess(self), 0);
		/* It is a domain: there are none inside. */
		if (id == -EOPNOTSUPP)
			return;
		break;
	case 7:
		/* Whoever destroys one of these waits for the maps of the slots. */
		id = hwpt_alloc(fd, storm->shared_id, storm->slots_space, 0);
		break;
	default:
		id = hwpt_alloc(fd, storm->shared_id, storm->shared_space, 0);
	}
	if (made(storm, "ALLOC of a shared id", id) > SHARED_IDS)
		destroy_own(self, id);
	else if (id > 0)
		storm->shared_last = id;
}

/* To wherever that is; another one who does so at the same time comes first, or second. */
static void move_shared(struct sharer *self)
{
	struct storm *storm = self->storm;

	if (!roll(&self->dice, 3)) {
		outcome(storm, "DETACH", vfio_detach(storm->shared_fd));
		return;
	}
	if (coming(storm, "ATTACH to a shared id", attach_pt(storm->shared_fd, guess(self))) >= 0)
		storm->shared_moves++;
}

static void look_for_guess(struct sharer *self)
{
	struct iommu_device_info info = { .argsz = sizeof(info), .dev_cookie = guess(self) };
	struct iommu_hw_info hw = { .size = sizeof(hw), .dev_id = guess(self) };
	struct storm *storm = self->storm;
	struct iommu_iova_range ranges[16];
	const int fd = storm->iommufd;

	outcome(storm, "DEVICE_GET_INFO", call(fd, IOMMU_DEVICE_GET_INFO, &info));
	outcome(storm, "GET_HW_INFO", call(fd, IOMMU_GET_HW_INFO, &hw));
	outcome(storm, "IOVA_RANGES", iova_ranges(fd, guess(self), ranges, 16));
	outcome(storm, "OPTION", get_option(fd, IOMMU_OPTION_HUGE_PAGES, guess(self)));
}

/* Map, let a device write, copy, unmap both, and see that the memory is left alone. */
static void map_guess(struct sharer *self)
{
	struct storm *storm = self->storm;
	uint64_t iova = SHARED_IOVA(self->number);
	int id = guess(self), to = guess(self);
	const int fd = storm->iommufd;

	if (outcome(storm, "MAP of a shared id", ioas_map(fd, id, self->page, PAGE, iova)))
		return;
	storm->shared_maps++;
	outcome(storm, "COPY of a shared id", ioas_copy(fd, to, iova + PAGE, id, iova, PAGE));
	wait_a_little(&self->dice, 120);
	outcome(storm, "UNMAP of a shared id", ioas_unmap(fd, to, iova + PAGE, PAGE));
	outcome(storm, "UNMAP of a shared id", ioas_unmap(fd, id, iova, PAGE));
	memset(self->page, 0x33, PAGE);
	wait_a_little(&self->dice, 250);
	if (!all_bytes(self->page, 0x33, PAGE) && !storm->stale++)
		ksft_print_msg("a page that is in no space has changed\n");
}

/* Have whoever wants the domains of that space wait, and then go on together. */
static void hold_up(struct sharer *self)
{
	const uint64_t iova = SHARED_IOVA(self->number) + HOLDING_PAGES * PAGE;
	const uint64_t size = HOLDING_PAGES * PAGE;
	struct storm *storm = self->storm;
	int64_t bytes;

	if (outcome(storm, "MAP of many pages",
		    ioas_map(storm->iommufd, storm->shared_space, self->many, size, iova)))
		return;
	bytes = ioas_unmap(storm->iommufd, storm->shared_space, iova, size);
	if (outcome(storm, "UNMAP of many pages", bytes) != (int64_t)size)
		complain(storm, "of many pages, not all are there", bytes);
}

/*
 * What the threads counted is what there is: nothing was destroyed twice, or has an id that
 * another one has. Returns how many ids are wrong. What can go, goes.
 */
static unsigned int recount(struct storm *storm)
{
	unsigned int bad = 0;
	int id, ret, held;

	for (id = 1; id < COUNTED_IDS; id++) {
		if (is_of_the_storm(storm, id))
			continue;
		held = storm->held[id];
		/* Devices, and their domains, are there as well: they are busy. */
		ret = destroy(storm->iommufd, id);
		if ((ret == 0 && held == 1) || (ret == -ENOENT && held == 0) ||
		    (ret == -EBUSY && (held == 0 || held == 1)))
			continue;
		if (!bad++)
			ksft_print_msg("id %d: given %d times, DESTROY says %d\n", id, held, ret);
	}
	return bad;
}

static void *share(void *data)
{
	struct sharer *self = data;
	struct storm *storm = self->storm;

	while (!storm->stop) {
		switch (roll(&self->dice, 32)) {
		case 0 ... 11:
			make_shared(self);
			break;
		case 12 ... 17:
			destroy_guess(self, guess(self));
			break;
		case 18 ... 24:
			/* More than one at a time, that is. */
			destroy_guess(self, storm->shared_last);
			break;
		case 25 ... 27:
			move_shared(self);
			break;
		case 28 ... 29:
			hold_up(self);
			break;
		case 30:
			if (self->number < MAPPERS)
				map_guess(self);
			break;
		default:
			look_for_guess(self);
		}
	}
	return NULL;
}

#endif /* LAB_STORM_SHARED_H */
