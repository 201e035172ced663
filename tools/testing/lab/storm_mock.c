// SPDX-License-Identifier: GPL-2.0
/*
 * Everything at once on an IOMMU in software: devices by the hundred, which are plugged in,
 * moved and unplugged at any point, by several threads at a time, and by their ids, which
 * belong to nobody. Their page faults are read and answered by whoever comes first. Domains
 * inside of others, virtual IOMMUs, and all that belongs to these come and go likewise.
 * Drivers without DMA come and go, dma-bufs are taken back, contexts with
 * many devices are closed, and processes that have some are killed.
 *
 * Three spaces stay, with a device each that stays there, too: what its domain leads to is what
 * the thread that maps there knows; and a virtual IOMMU with a queue, whose memory stays mapped.
 * Nothing else is known of anything, but that each call has a documented outcome, that each id is
 * there as often as it was given, and that nothing is left in the end: no device, no pin.
 *
 *   storm_mock [--threads N] [SECONDS [SEED]]
 *
 * So many threads act for guests (storm_guest.h), beside all others.
 */
#include <getopt.h>
#include <signal.h>

#include "storm_guest.h"

/* --- devices -------------------------------------------------------------------------- */

/* The answer cannot be written: all is undone. */
static void plug_in_vain(struct thread *self)
{
	struct storm *storm = &self->gale->storm;
	struct iommu_test_cmd *arg = pages(1);
	int ret;

	*arg = (struct iommu_test_cmd) {
		.size = sizeof(*arg), .op = IOMMU_TEST_OP_MOCK_DOMAIN,
		.id = self->gale->spaces[0],
	};
	mprotect(arg, PAGE, PROT_READ);
	ret = call(storm->iommufd, IOMMU_TEST_CMD, arg);
	if (ret != -EFAULT)
		complain(storm, "MOCK_DOMAIN that cannot be answered", ret);
	munmap(arg, PAGE);
}

static void plug(struct thread *self)
{
	struct gale *gale = self->gale;
	struct mock mock;

	if (!roll(&self->dice, 8))
		plug_in_vain(self);
	if (gale->devices >= MANY)
		return;
	if (coming(&gale->storm, "MOCK_DOMAIN",
		   mock_add(gale->storm.iommufd, guess_place(self), &mock)))
		return;
	made_or(self, "MOCK_DOMAIN", mock.id, 0);
	gale->last[gale->next_last++ % LAST] = mock.id;
	gale->plugged++;
}

/* A domain, or a space, that is destroyed by whoever guesses its id, or by this one. */
static void make_place(struct thread *self)
{
	struct storm *storm = &self->gale->storm;
	struct mock *steady = &self->gale->steady[roll(&self->dice, SPACES)].mock;
	int id;

	if (roll(&self->dice, 4))
		id = hwpt_alloc(storm->iommufd, steady->device, guess_place(self), 0);
	else
		id = ioas_alloc(storm->iommufd);
	/* A domain inside of another wants to be told more. */
	if (made_or(self, "ALLOC", id, EOPNOTSUPP) < 0)
		return;
	self->gale->domains++;
	move_to(self, id);
	if (roll(&self->dice, 4))
		destroy_guess(self, id);
}

static void *plugger(void *data)
{
	struct thread *self = data;

	while (!self->gale->storm.stop) {
		switch (roll(&self->dice, 8)) {
		case 0 ... 2:
			plug(self);
			break;
		case 3:
			destroy_guess(self, guess_device(self));
			break;
		case 4:
			destroy_guess(self, guess(self));
			break;
		case 5 ... 6:
			move_to(self, guess_place(self));
			break;
		default:
			make_place(self);
		}
	}
	return NULL;
}

/* --- page faults ---------------------------------------------------------------------- */

/* Whatever that is a bound device's id of: if it is on a domain with a queue, that gets it. */
static void have_fault(struct thread *self)
{
	struct gale *gale = self->gale;
	int device = roll(&self->dice, 4) ? guess_device(self) + 1 : guess(self);

	coming(&gale->storm, "TRIGGER_IOPF",
	       fault(gale->storm.iommufd, device, 0, roll(&self->dice, 512)));
}

static void answer_fault(struct thread *self, int queue)
{
	long cookie = read_fault(queue);

	if (cookie > 0)
		cookie = write_answer(queue, cookie, roll(&self->dice, 2));
	if (cookie < 0 && cookie != -EINVAL)
		complain(&self->gale->storm, "an answer", cookie);
	self->gale->answered += cookie > 0;
}

/* Others may have moved the devices, or destroyed domain and queue, before this does. */
static void *faulter(void *data)
{
	struct thread *self = data;
	struct storm *storm = &self->gale->storm;
	struct fault_queue queue;
	unsigned int tries;
	int hwpt;

	while (!storm->stop) {
		struct mock *steady = &self->gale->steady[roll(&self->dice, SPACES)].mock;

		if (coming(storm, "FAULT_QUEUE_ALLOC",
			   fault_queue_alloc(storm->iommufd, &queue)))
			continue;
		made_or(self, "FAULT_QUEUE_ALLOC", queue.id, 0);
		self->gale->queues++;
		hwpt = hwpt_with_faults(storm->iommufd, steady->device, guess_place(self), 0,
					queue.id);
		made_or(self, "HWPT_ALLOC with faults", hwpt, EOPNOTSUPP);
		for (tries = 0; hwpt > 0 && tries < 50; tries++) {
			move_to(self, hwpt);
			have_fault(self);
			answer_fault(self, queue.fd);
		}
		if (hwpt > 0 && roll(&self->dice, 2))
			destroy_guess(self, hwpt);
		close(queue.fd);
		destroy_guess(self, hwpt > 0 ? hwpt : queue.id);
		destroy_guess(self, queue.id);
	}
	return NULL;
}

/* --- memory --------------------------------------------------------------------------- */

static int check(struct thread *self, unsigned int space, uint64_t iova, const char *memory,
		 uint64_t size)
{
	struct gale *gale = self->gale;

	return mock_check_map(gale->storm.iommufd, gale->steady[space].mock.hwpt, iova, memory,
			      size);
}

static void expect_there(struct thread *self, unsigned int space, uint64_t iova,
			 const char *memory)
{
	int ret = check(self, space, iova, memory, MAP_SIZE);

	if (ret && !self->gale->storm.lost++)
		ksft_print_msg("what is mapped is not in a domain: %d\n", ret);
}

static void expect_gone(struct thread *self, unsigned int space, uint64_t iova)
{
	unsigned int page;
	int ret;

	for (page = 0; page < MAP_PAGES; page++) {
		ret = check(self, space, iova + page * PAGE, NULL, PAGE);
		if (ret != -EINVAL && !self->gale->storm.stale++)
			ksft_print_msg("what is not mapped is in a domain: %d\n", ret);
	}
}

static void unmap_there(struct thread *self, unsigned int space, uint64_t iova)
{
	struct gale *gale = self->gale;
	int64_t bytes = roll(&self->dice, 2) ?
			ioas_unmap(gale->storm.iommufd, gale->spaces[space], iova, MAP_SIZE) :
			unmap(gale->storm.iommufd, gale->spaces[space], iova, MAP_SIZE);

	if (bytes != MAP_SIZE)
		complain(&gale->storm, "not all is unmapped", bytes);
	expect_gone(self, space, iova);
}

/* Who maps somewhere knows what is there. */
static void *mapper(void *data)
{
	struct thread *self = data;
	struct gale *gale = self->gale;
	const uint64_t iova = MAP_IOVA(self->number), to = COPY_IOVA(self->number);
	const int fd = gale->storm.iommufd;
	char *memory = pages(MAP_PAGES);
	unsigned int space, other;
	bool copied;

	while (!gale->storm.stop) {
		space = roll(&self->dice, SPACES);
		other = roll(&self->dice, SPACES);
		if (outcome(&gale->storm, "MAP",
			    ioas_map(fd, gale->spaces[space], memory, MAP_SIZE, iova)))
			continue;
		gale->mapped++;
		expect_there(self, space, iova, memory);
		copied = !outcome(&gale->storm, "COPY",
				  ioas_copy(fd, gale->spaces[other], to, gale->spaces[space], iova,
					    MAP_SIZE));
		unmap_there(self, space, iova);
		if (copied) {
			expect_there(self, other, to, memory);
			unmap_there(self, other, to);
		}
		/* Next time it is other pages. */
		madvise(memory, MAP_SIZE, MADV_DONTNEED);
	}
	return NULL;
}

/* Takes its dma-buf back while it is mapped. */
static void *revoker(void *data)
{
	struct thread *self = data;
	struct gale *gale = self->gale;
	const uint64_t iova = MAP_IOVA(self->number);
	const int fd = gale->storm.iommufd;
	int buf = mock_buf(fd, MAP_SIZE);
	unsigned int space;

	while (!gale->storm.stop) {
		space = roll(&self->dice, SPACES);
		if (outcome(&gale->storm, "MAP_FILE",
			    ioas_map_file(fd, gale->spaces[space], buf, 0, MAP_SIZE, iova)))
			continue;
		expect_there(self, space, iova, NULL);
		outcome(&gale->storm, "REVOKE", mock_buf_revoke(fd, buf, true));
		expect_gone(self, space, iova);
		gale->revoked++;
		if (roll(&self->dice, 2))
			outcome(&gale->storm, "REVOKE", mock_buf_revoke(fd, buf, false));
		unmap_there(self, space, iova);
		outcome(&gale->storm, "REVOKE", mock_buf_revoke(fd, buf, false));
	}
	close(buf);
	return NULL;
}

/* Pins, reads and writes what others map and unmap, who has to ask it to unpin. */
static void *driver(void *data)
{
	struct thread *self = data;
	struct gale *gale = self->gale;
	struct storm *storm = &gale->storm;
	const int fd = storm->iommufd;
	int access, pins, tries;
	char bytes[100];

	while (!storm->stop) {
		access = outcome(storm, "CREATE_ACCESS",
				 mock_access(fd, gale->spaces[roll(&self->dice, SPACES)]));
		for (tries = 0; access >= 0 && tries < 20; tries++) {
			uint64_t iova = MAP_IOVA(roll(&self->dice, self->number)) +
					roll(&self->dice, MAP_PAGES) * PAGE;

			pins = coming(storm, "ACCESS_PAGES",
				      mock_access_pin(fd, access, iova, 3 * PAGE));
			gale->pinned += pins >= 0;
			coming(storm, "ACCESS_RW",
			       mock_access_rw(fd, access, iova, bytes, sizeof(bytes),
					      roll(&self->dice, 2) * MOCK_ACCESS_RW_WRITE));
			if (pins >= 0 && roll(&self->dice, 2))
				outcome(storm, "DESTROY_ACCESS_PAGES",
					mock_access_unpin(fd, access, pins));
			outcome(storm, "ACCESS_REPLACE_IOAS",
				mock_access_move(fd, access,
						 gale->spaces[roll(&self->dice, SPACES)]));
		}
		close(access);
	}
	return NULL;
}

/* --- ends ----------------------------------------------------------------------------- */

/* A context of one's own with some devices, of which none is left behind it. */
static void have_own(struct dice *dice, unsigned int most)
{
	int fd = open_iommufd(), one = ioas_alloc(fd), other = ioas_alloc(fd);
	char *memory = pages(MAP_PAGES);
	unsigned int i;
	struct mock mock;

	ioas_map(fd, one, memory, MAP_SIZE, IOVA);
	for (i = 0; i < most; i++) {
		if (mock_add(fd, roll(dice, 2) ? one : other, &mock))
			continue;
		if (!roll(dice, 4)) {
			have_guest(dice, fd, one, &mock);
			continue;
		}
		mock_move(fd, mock.id, roll(dice, 2) ? one : other);
		if (!roll(dice, 3))
			destroy(fd, mock.id);
	}
	close(fd);
	munmap(memory, MAP_SIZE);
}

static void *closer(void *data)
{
	struct thread *self = data;

	while (!self->gale->storm.stop) {
		have_own(&self->dice, roll(&self->dice, 40));
		self->gale->closed++;
	}
	return NULL;
}

/* A process whose children are killed while they do that. */
static void have_mortals(struct gale *gale)
{
	struct dice dice = dice_of(&gale->storm, 999);
	pid_t child;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (!gale->storm.stop) {
		child = fork();
		while (!child)
			have_own(&dice, 1000);
		edu_sleep_ms(roll(&dice, 60) + 1);
		/* So that the next one is not the same. */
		if (child > 0) {
			kill(child, SIGKILL);
			waitpid(child, NULL, 0);
			gale->killed++;
		}
	}
	_exit(0);
}

static void *reader(void *data)
{
	static const char *const files[] = {
		"/proc/self/fdinfo/%d", "/sys/kernel/debug/iommufd/contexts",
	};
	struct thread *self = data;
	char path[64], text[4096];

	while (!self->gale->storm.stop) {
		snprintf(path, sizeof(path), files[roll(&self->dice, ARRAY_SIZE(files))],
			 self->gale->storm.iommufd);
		read_text(path, text, sizeof(text));
		self->gale->devices = mock_count();
		edu_sleep_ms(roll(&self->dice, 5));
	}
	return NULL;
}

/* Drivers come behind those whose memory they use. */
static void *(*const everybody[])(void *) = {
	mapper, mapper, mapper, revoker, driver, driver,
	plugger, plugger, plugger, plugger, plugger, plugger, faulter, faulter, closer, reader,
};

#define THREADS ARRAY_SIZE(everybody)

/* --- the storm ------------------------------------------------------------------------ */

static int prepare(struct gale *gale)
{
	unsigned int i;
	int ret = 0;

	gale->storm.iommufd = open_iommufd();
	for (i = 0; !ret && i < SPACES; i++) {
		gale->spaces[i] = ioas_alloc(gale->storm.iommufd);
		ret = mock_add(gale->storm.iommufd, gale->spaces[i], &gale->steady[i].mock);
	}
	return ret ? ret : prepare_guests(gale);
}

static bool is_over(struct storm *storm)
{
	return storm->undocumented || storm->stale || storm->lost;
}

static void blow(struct gale *gale, unsigned int seconds)
{
	const unsigned int count = THREADS + gale->guests;
	struct thread *threads = calloc(count, sizeof(*threads));
	pid_t child = fork();
	unsigned int i, left;

	if (!child)
		have_mortals(gale);
	for (i = 0; i < count; i++) {
		threads[i] = (struct thread) {
			.gale = gale, .number = i, .dice = dice_of(&gale->storm, i),
		};
		if (pthread_create(&threads[i].thread, NULL,
				   i < THREADS ? everybody[i] : guest, &threads[i]))
			ksft_exit_fail_msg("no more threads\n");
	}
	for (left = seconds; left && !is_over(&gale->storm); left--)
		sleep(1);
	gale->storm.stop = true;
	for (i = 0; i < count; i++)
		pthread_join(threads[i].thread, NULL);
	waitpid(child, NULL, 0);
	free(threads);
}

/* What went with its device cannot be found, and was not destroyed. */
static bool is_tomb(const struct gale *gale, int id, int ret)
{
	return ret == -ENOENT && gale->was_vdevice[id] && gale->storm.held[id] == 1;
}

/*
 * Destroys all that can go, so often that nothing is left by which something else is in use: a
 * domain that others are inside of is until virtual IOMMUs and their queues are gone.
 */
static bool recount(struct gale *gale)
{
	struct storm *storm = &gale->storm;
	unsigned int bad = 0, round;
	int id, ret;

	close_files(gale);
	for (round = 0; round < 6; round++)
		for (id = 1; id <= gale->top; id++)
			if (!stays(gale, id))
				unmade(storm, "DESTROY", id, destroy(storm->iommufd, id));
	for (id = 1; id < COUNTED_IDS; id++) {
		ret = stays(gale, id) ? 0 :
		      unmade(storm, "DESTROY", id, destroy(storm->iommufd, id));
		if (is_tomb(gale, id, ret))
			continue;
		/* What is bound and the domain of a device that stays are in use. */
		if (storm->held[id] || (ret && ret != -ENOENT && ret != -EBUSY)) {
			if (!bad++)
				ksft_print_msg("id %d: %d left, DESTROY says %d\n", id,
					       storm->held[id], ret);
		}
	}
	return !bad && mock_count() == SPACES;
}

static bool nothing_left(struct gale *gale, long pins)
{
	close(gale->storm.iommufd);
	ksft_print_msg("%u devices, %ld pages pinned, %ld pins more than before\n", mock_count(),
		       pinned_pages(), held_pins() - pins);
	return !mock_count() && !pinned_pages() && held_pins() == pins;
}

static bool everybody_had_a_turn(struct gale *gale)
{
	ksft_print_msg("%lu calls, %lu devices plugged, %lu things destroyed, %lu moves\n",
		       gale->storm.calls, gale->plugged, gale->unplugged, gale->moved);
	ksft_print_msg("%lu domains and spaces, %lu maps, %lu pins, %lu dma-bufs taken back\n",
		       gale->domains, gale->mapped, gale->pinned, gale->revoked);
	ksft_print_msg("%lu queues of page faults, %lu answers\n", gale->queues, gale->answered);
	ksft_print_msg("%lu contexts closed, %lu processes killed\n", gale->closed, gale->killed);
	return gale->plugged && gale->unplugged && gale->moved && gale->domains && gale->mapped &&
	       gale->pinned && gale->revoked && gale->queues && gale->answered && gale->closed &&
	       gale->killed;
}

static void parse(struct gale *gale, int argc, char **argv, unsigned int *seconds)
{
	static const struct option options[] = {
		{ "threads", required_argument, NULL, 't' }, { }
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		if (option != 't')
			ksft_exit_fail_msg("unknown option; see tools/testing/lab/storm_mock.c\n");
		gale->guests = strtoul(optarg, NULL, 0);
	}
	*seconds = optind < argc ? strtoul(argv[optind], NULL, 0) : 20;
	gale->storm.seed = optind + 1 < argc ? strtoul(argv[optind + 1], NULL, 0) :
			   (unsigned long)time(NULL);
}

int main(int argc, char **argv)
{
	unsigned int seconds;
	struct gale *gale;
	long pins;

	gale = mmap(NULL, sizeof(*gale), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	gale->guests = 8;
	ksft_print_header();
	parse(gale, argc, argv, &seconds);
	ksft_set_plan(7);
	ksft_print_msg("%u seconds, %u threads act for guests, seed %u\n", seconds, gale->guests,
		       gale->storm.seed);
	pins = held_pins();
	if (prepare(gale))
		ksft_exit_fail_msg("needs an IOMMU in software\n");
	blow(gale, seconds);
	ksft_test_result(!gale->storm.stale, "no domain has what is not mapped\n");
	ksft_test_result(!gale->storm.lost, "every domain has what is mapped\n");
	ksft_test_result(!gale->storm.undocumented, "every call had a documented outcome\n");
	ksft_test_result(recount(gale), "every id is as often there as it was given\n");
	ksft_test_result(nothing_left(gale, pins), "nothing is left\n");
	ksft_test_result(everybody_had_a_turn(gale), "everybody had a turn\n");
	ksft_test_result(!gale->guests || guests_had_a_turn(gale), "guests had a turn\n");
	ksft_finished();
}
