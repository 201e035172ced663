/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The part of the storm that is about guests' IOMMUs: domains that others are inside of, virtual
 * IOMMUs, their devices, domains and queues, made, used and destroyed in any order by many
 * threads, while those who have the devices plug, move and unplug them.
 *
 * There is a place for some things of each kind. Who makes one has destroyed what was there, or
 * does not make it; what is in use by something else stays. Files of queues are where their queue
 * is: who uses one takes it out, so that no descriptor is closed that is somebody else's by then.
 */
#ifndef LAB_STORM_GUEST_H
#define LAB_STORM_GUEST_H

#include "storm_mock.h"

#define NUMBER 0x47550000	/* what memory of virtual IOMMUs begins with, but for some bits */

static struct thing *some_thing(struct thread *self, enum kind kind)
{
	return &self->gale->things[kind][roll(&self->dice, SLOTS_OF_KIND)];
}

/* The id of one of a kind, or of anything. */
static int guess_thing(struct thread *self, enum kind kind)
{
	const struct steady *steady = &self->gale->steady[roll(&self->dice, SPACES)];
	const unsigned int where = roll(&self->dice, 8);

	if (!where)
		return guess(self);
	if (where < 3 && (kind == PARENT || kind == VIOMMU))
		return kind == PARENT ? steady->parent : steady->viommu;
	return some_thing(self, kind)->id;
}

/* --- files ---------------------------------------------------------------------------- */

/* The file of a queue, which nobody else has until it is put back; or 0. */
static int take_file(struct thing *thing)
{
	return atomic_exchange(&thing->file, 0);
}

/* Unless there is another one by now. */
static void put_file(struct thing *thing, int file)
{
	int none = 0;

	if (!atomic_compare_exchange_strong(&thing->file, &none, file))
		close(file);
}

/* --- making and destroying --------------------------------------------------------------- */

/* Whether there is room for a new thing: what was there is gone. */
static bool make_room(struct thread *self, struct thing *thing)
{
	int id = thing->id, file;

	if (!id)
		return true;
	file = take_file(thing);
	if (file)
		close(file);
	if (destroy_guess(self, id) == -EBUSY)
		return false;
	self->gale->destroyed++;
	atomic_compare_exchange_strong(&thing->id, &id, 0);
	return true;
}

/* Somebody else may have put something there. */
static void keep(struct thread *self, enum kind kind, struct thing *thing, int id, int file)
{
	int none = 0;

	if (id <= 0)
		return;
	self->gale->made[kind]++;
	if (!atomic_compare_exchange_strong(&thing->id, &none, id)) {
		if (file)
			close(file);
		destroy_guess(self, id);
	} else if (file) {
		put_file(thing, file);
	}
}

static void make_parent(struct thread *self, struct thing *thing)
{
	const struct gale *gale = self->gale;
	int id = hwpt_alloc(gale->storm.iommufd, guess_bound(self), guess_place(self), NEST_PARENT);

	keep(self, PARENT, thing, made_or(self, "HWPT_ALLOC of a parent", id, EOPNOTSUPP), 0);
}

static void make_viommu(struct thread *self, struct thing *thing)
{
	struct iommu_viommu_selftest data = { .in_data = NUMBER | roll(&self->dice, 1 << 16) };
	const int fd = self->gale->storm.iommufd;
	int device = guess_bound(self), parent = guess_thing(self, PARENT), id;

	id = roll(&self->dice, 2) ? viommu_alloc(fd, device, parent) :
				    viommu_alloc_with(fd, device, parent, &data);
	id = made_or(self, "VIOMMU_ALLOC", id, ENOENT);
	if (id > 0 && data.out_mmap_offset)
		thing->offset = data.out_mmap_offset;
	keep(self, VIOMMU, thing, id, 0);
}

/* In a domain or a virtual IOMMU; its page faults go somewhere, or nowhere. */
static void make_nested(struct thread *self, struct thing *thing)
{
	const int fd = self->gale->storm.iommufd;
	int of = guess_thing(self, roll(&self->dice, 3) ? VIOMMU : PARENT), id;

	id = roll(&self->dice, 2) ? nested_alloc(fd, guess_bound(self), of) :
	     nested_with_faults(fd, guess_bound(self), of, 0, guess_thing(self, FAULT_QUEUE));
	keep(self, NESTED, thing, made_or(self, "HWPT_ALLOC inside", id, EOPNOTSUPP), 0);
}

static void make_vdevice(struct thread *self, struct thing *thing)
{
	int id = vdevice_alloc(self->gale->storm.iommufd, guess_thing(self, VIOMMU),
			       guess_bound(self), roll(&self->dice, 8));

	id = made_or(self, "VDEVICE_ALLOC", id, ENOENT);
	if (id > 0 && id < COUNTED_IDS)
		self->gale->was_vdevice[id] = true;
	keep(self, VDEVICE, thing, id, 0);
}

/* The second of a virtual IOMMU needs the first. */
static void make_hw_queue(struct thread *self, struct thing *thing)
{
	uint64_t iova = GUEST_IOVA + roll(&self->dice, GUEST_PAGES) * PAGE;
	int id = hw_queue_alloc(self->gale->storm.iommufd, guess_thing(self, VIOMMU),
				roll(&self->dice, 2), iova, PAGE);

	keep(self, HW_QUEUE, thing, made_or(self, "HW_QUEUE_ALLOC", id, EIO), 0);
}

static void make_veventq(struct thread *self, struct thing *thing)
{
	int file, id = veventq_alloc(self->gale->storm.iommufd, guess_thing(self, VIOMMU),
				     1 + roll(&self->dice, 4), &file);

	keep(self, VEVENTQ, thing, made_or(self, "VEVENTQ_ALLOC", id, EEXIST), file);
}

static void make_fault_queue(struct thread *self, struct thing *thing)
{
	struct fault_queue queue;
	int ret = fault_queue_alloc(self->gale->storm.iommufd, &queue);

	if (ret)
		coming(&self->gale->storm, "FAULT_QUEUE_ALLOC", ret);
	else
		keep(self, FAULT_QUEUE, thing, made_or(self, "FAULT_QUEUE_ALLOC", queue.id, 0),
		     queue.fd);
}

static void make_something(struct thread *self)
{
	static void (*const make[KINDS])(struct thread *self, struct thing *thing) = {
		[PARENT] = make_parent, [VIOMMU] = make_viommu, [NESTED] = make_nested,
		[VDEVICE] = make_vdevice, [HW_QUEUE] = make_hw_queue, [VEVENTQ] = make_veventq,
		[FAULT_QUEUE] = make_fault_queue,
	};
	enum kind kind = roll(&self->dice, KINDS);
	struct thing *thing = some_thing(self, kind);

	if (make_room(self, thing))
		make[kind](self, thing);
}

/* --- using ---------------------------------------------------------------------------- */

/* A device goes inside, if the virtual IOMMU knows it. */
static void go_inside(struct thread *self)
{
	struct gale *gale = self->gale;
	int id = guess_device(self);

	if (stays(gale, id))
		return;
	gale->inside += coming(&gale->storm, "move inside",
			       mock_move(gale->storm.iommufd, id, guess_thing(self, NESTED))) > 0;
}

/* Events, and page faults that nobody need answer. */
static void have_something_happen(struct thread *self)
{
	struct gale *gale = self->gale;
	const int fd = gale->storm.iommufd;
	int ret = coming_or(self, "TRIGGER_VEVENT", trigger_event(fd, guess_bound(self)),
			    EOPNOTSUPP);

	gale->happened += !ret;
	coming(&gale->storm, "TRIGGER_IOPF", fault(fd, guess_bound(self), 0, 1));
}

static void read_events(struct thread *self, struct thing *thing)
{
	int file = take_file(thing);
	char events[64];
	ssize_t got;

	if (!file)
		return;
	ready(file);
	got = read(file, events, sizeof(events));
	if (got < 0)
		complain(&self->gale->storm, "read of events", -errno);
	self->gale->events += got > 0;
	put_file(thing, file);
}

static void read_any_events(struct thread *self)
{
	read_events(self, some_thing(self, VEVENTQ));
}

static void read_page_faults(struct thread *self)
{
	struct thing *thing = some_thing(self, FAULT_QUEUE);
	int file = take_file(thing);
	long cookie;

	if (!file)
		return;
	cookie = read_fault(file);
	if (cookie < 0)
		complain(&self->gale->storm, "read of a fault", cookie);
	/* Who has moved the device has answered. */
	if (cookie > 0 && roll(&self->dice, 2))
		coming(&self->gale->storm, "an answer", write_answer(file, cookie, SUCCESS));
	put_file(thing, file);
}

static void forget_translations(struct thread *self)
{
	struct gale *gale = self->gale;
	const int fd = gale->storm.iommufd;
	int ret = roll(&self->dice, 2) ?
		  invalidate(fd, guess_thing(self, NESTED), roll(&self->dice, 4)) :
		  viommu_invalidate(fd, guess_thing(self, VIOMMU), roll(&self->dice, 8),
				    roll(&self->dice, 4));

	gale->forgotten += !coming(&gale->storm, "HWPT_INVALIDATE", ret);
}

/* What is mapped of a virtual IOMMU is its own, and keeps it. */
static void look_at_memory(struct thread *self)
{
	struct gale *gale = self->gale;
	unsigned long offset = some_thing(self, VIOMMU)->offset;
	volatile uint32_t *memory;

	if (!offset)
		return;
	memory = mmap(NULL, 2 * PAGE, PROT_READ, MAP_SHARED, gale->storm.iommufd, offset);
	if (memory == MAP_FAILED) {
		if (errno != ENXIO)
			complain(&gale->storm, "mmap of a virtual IOMMU", -errno);
		return;
	}
	sched_yield();
	if ((*memory & ~0xffffU) != NUMBER)
		complain(&gale->storm, "memory of a virtual IOMMU", *memory);
	gale->seen++;
	munmap((void *)memory, 2 * PAGE);
}

/* Unless it is a queue's. */
static void remap_guest_memory(struct thread *self)
{
	struct gale *gale = self->gale;
	unsigned int page = 1 + roll(&self->dice, GUEST_PAGES - 1);
	int space = gale->spaces[roll(&self->dice, SPACES)];
	uint64_t iova = GUEST_IOVA + page * PAGE;

	outcome(&gale->storm, "UNMAP of a guest's",
		ioas_unmap(gale->storm.iommufd, space, iova, PAGE));
	outcome(&gale->storm, "MAP of a guest's",
		ioas_map(gale->storm.iommufd, space, gale->guest_memory + page * PAGE, PAGE, iova));
}

/* What a queue that stays is in stays as well. */
static void try_to_take_queue(struct thread *self)
{
	struct gale *gale = self->gale;
	unsigned int number = roll(&self->dice, SPACES);
	const struct steady *steady = &gale->steady[number];
	const int fd = gale->storm.iommufd;
	int64_t ret = ioas_unmap(fd, gale->spaces[number], GUEST_IOVA, PAGE);

	if (ret != -EBUSY)
		complain(&gale->storm, "UNMAP of what a queue is in", ret);
	ret = mock_check_map(fd, steady->parent, GUEST_IOVA, gale->guest_memory, PAGE);
	if (ret && !gale->storm.lost++)
		ksft_print_msg("what a queue is in is not in its domain: %ld\n", (long)ret);
}

/* Events of a device inside, in a queue for them, which is read unless somebody else does it. */
static void have_events(struct thread *self, int viommu, int device)
{
	struct gale *gale = self->gale;
	struct thing *queue = some_thing(self, VEVENTQ);
	const int fd = gale->storm.iommufd;
	int file, id, more;

	if (make_room(self, queue)) {
		id = made_or(self, "VEVENTQ_ALLOC", veventq_alloc(fd, viommu, 2, &file), EEXIST);
		keep(self, VEVENTQ, queue, id, file);
	}
	for (more = 0; more < 4; more++)
		gale->happened += !coming_or(self, "TRIGGER_VEVENT", trigger_event(fd, device),
					     EOPNOTSUPP);
	read_events(self, queue);
}

/* A series that gets somewhere, unless somebody is in the way. */
static void act_like_a_guest(struct thread *self)
{
	struct gale *gale = self->gale;
	int viommu = guess_thing(self, VIOMMU), device = guess_device(self);
	struct thing *vdevice = some_thing(self, VDEVICE), *nested = some_thing(self, NESTED);
	int id, fd = gale->storm.iommufd;

	if (stays(gale, device) || !make_room(self, vdevice) || !make_room(self, nested))
		return;
	id = made_or(self, "VDEVICE_ALLOC",
		     vdevice_alloc(fd, viommu, device + 1, roll(&self->dice, 8)), ENOENT);
	if (id > 0 && id < COUNTED_IDS)
		gale->was_vdevice[id] = true;
	keep(self, VDEVICE, vdevice, id, 0);
	id = made_or(self, "HWPT_ALLOC inside", nested_alloc(fd, device + 1, viommu), EOPNOTSUPP);
	keep(self, NESTED, nested, id, 0);
	if (id <= 0 || coming(&gale->storm, "move inside", mock_move(fd, device, id)) <= 0)
		return;
	gale->inside++;
	have_events(self, viommu, device + 1);
	if (roll(&self->dice, 2))
		coming(&gale->storm, "move outside", mock_move(fd, device, guess_place(self)));
}

static void *guest(void *data)
{
	static void (*const does[])(struct thread *self) = {
		make_something, make_something, make_something, make_something, act_like_a_guest,
		act_like_a_guest, go_inside, have_something_happen, read_any_events,
		read_page_faults, forget_translations, look_at_memory, remap_guest_memory,
		try_to_take_queue,
	};
	struct thread *self = data;

	while (!self->gale->storm.stop) {
		does[roll(&self->dice, ARRAY_SIZE(does))](self);
		if (!roll(&self->dice, 4))
			destroy_guess(self, guess_thing(self, roll(&self->dice, KINDS)));
	}
	return NULL;
}

/* --- beginning and end ------------------------------------------------------------------ */

static int prepare_guests(struct gale *gale)
{
	const int fd = gale->storm.iommufd;
	struct steady *steady;
	unsigned int i, page;
	int ret = 0;

	gale->guest_memory = pages(GUEST_PAGES);
	for (i = 0; i < SPACES; i++) {
		steady = &gale->steady[i];
		for (page = 0; page < GUEST_PAGES && ret >= 0; page++)
			ret = ioas_map(fd, gale->spaces[i], gale->guest_memory + page * PAGE, PAGE,
				       GUEST_IOVA + page * PAGE);
		steady->parent = hwpt_alloc(fd, steady->mock.device, gale->spaces[i], NEST_PARENT);
		steady->viommu = viommu_alloc(fd, steady->mock.device, steady->parent);
		steady->queue = hw_queue_alloc(fd, steady->viommu, 0, GUEST_IOVA, PAGE);
		if (ret < 0 || steady->queue < 0)
			return ret < 0 ? ret : steady->queue;
	}
	return 0;
}

static void close_files(struct gale *gale)
{
	enum kind kind;
	unsigned int i;
	int file;

	for (kind = 0; kind < KINDS; kind++) {
		for (i = 0; i < SLOTS_OF_KIND; i++) {
			file = take_file(&gale->things[kind][i]);
			if (file)
				close(file);
		}
	}
}

/*
 * In a context of its own: all of it goes with the context, or with the process, once the file of
 * the queue and the memory are gone as well.
 */
static void have_guest(struct dice *dice, int fd, int ioas, const struct mock *mock)
{
	struct iommu_viommu_selftest data = { .in_data = NUMBER };
	int parent = hwpt_alloc(fd, mock->device, ioas, NEST_PARENT), file, queue;
	int viommu = viommu_alloc_with(fd, mock->device, parent, &data);
	void *memory = mmap(NULL, 2 * PAGE, PROT_READ, MAP_SHARED, fd, data.out_mmap_offset);

	veventq_alloc(fd, viommu, 2, &file);
	vdevice_alloc(fd, viommu, mock->device, 1);
	mock_move(fd, mock->id, nested_alloc(fd, mock->device, viommu));
	trigger_event(fd, mock->device);
	hw_queue_alloc(fd, viommu, 0, IOVA, PAGE);
	queue = hw_queue_alloc(fd, viommu, 1, IOVA, PAGE);
	if (roll(dice, 2))
		destroy(fd, queue);
	if (!roll(dice, 3))
		destroy(fd, mock->id);
	if (memory != MAP_FAILED)
		munmap(memory, 2 * PAGE);
	if (file >= 0)
		close(file);
}

static bool guests_had_a_turn(const struct gale *gale)
{
	bool all = gale->inside && gale->happened && gale->events && gale->forgotten && gale->seen;
	enum kind kind;

	for (kind = 0; kind < KINDS; kind++)
		all &= gale->made[kind] > 0;
	ksft_print_msg("%lu domains and %lu virtual IOMMUs to be inside of, %lu domains inside\n",
		       gale->made[PARENT], gale->made[VIOMMU], gale->made[NESTED]);
	ksft_print_msg("%lu virtual devices, %lu queues, %lu of events, %lu of faults\n",
		       gale->made[VDEVICE], gale->made[HW_QUEUE], gale->made[VEVENTQ],
		       gale->made[FAULT_QUEUE]);
	ksft_print_msg("%lu moves inside, %lu events, %lu times read, %lu times forgotten\n",
		       gale->inside, gale->happened, gale->events, gale->forgotten);
	ksft_print_msg("%lu times memory of one was seen, %lu things destroyed\n", gale->seen,
		       gale->destroyed);
	return all;
}

#endif /* LAB_STORM_GUEST_H */
