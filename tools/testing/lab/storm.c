// SPDX-License-Identifier: GPL-2.0
/*
 * Everything at once, with devices that write all the while: see storm.h for what
 * must hold nevertheless.
 */
#include <signal.h>

#include "failnth.h"
#include "storm_shared.h"

struct thread {
	struct storm *storm;
	unsigned int number;
	struct edu edu;
	int id;			/* of the device, while it is bound */
	pthread_t thread;
};

#define FIRST_THREAD 1000

/* --- devices ------------------------------------------------------------------- */

/*
 * Bind the device, and fill its buffer with what it is to write from then on. A space made
 * for the purpose might be another one before the device is there.
 */
static int arm(struct thread *self)
{
	struct storm *storm = self->storm;
	const uint64_t iova = ARM_IOVA(self->number - FIRST_THREAD);
	const int iommufd = storm->iommufd, space = storm->slots_space;
	unsigned char *page = (unsigned char *)pages(1);
	struct edu *edu = &self->edu;
	int ret = edu_open(edu);

	if (!ret)
		ret = vfio_bind(edu->fd, iommufd);
	self->id = ret;
	if (ret < 0 || !page)
		return ret < 0 ? ret : -ENOMEM;
	fill_pattern(page);
	ret = ioasid_map(iommufd, space, page, iova, PAGE, IOASID_RW);
	if (ret)
		return ret;
	ret = vfio_attach(edu->fd, space);
	if (!ret)
		ret = edu_start(edu);
	if (!ret)
		ret = edu_dma(edu, EDU_READS_MEMORY, iova, 0, DMA_SIZE);
	if (unmap(iommufd, space, iova, PAGE) != PAGE)
		ret = -EIO;
	munmap(page, PAGE);
	return ret;
}

static int rearm(struct thread *self)
{
	int ret = arm(self);

	if (ret)
		complain(self->storm, "a device cannot be used again", ret);
	return ret;
}

/* Write to some page of some slot, and say so if that has to arrive. */
static void write_somewhere(struct storm *storm, struct edu *edu, struct dice *dice, bool sure)
{
	unsigned int number, page = roll(dice, SLOT_PAGES), turn, tries = 0;
	struct slot *slot;

	/* Rather one that is mapped, where there is more to be seen. */
	do {
		number = roll(dice, SLOTS);
		slot = &storm->slots[number];
		turn = slot->turn;
	} while (turn % 2 == 0 && roll(dice, 4) && ++tries < SLOTS);
	if (edu_dma(edu, EDU_WRITES_MEMORY, slot->iova + page * PAGE, 0, DMA_SIZE)) {
		complain(storm, "a device hangs", -ETIMEDOUT);
		return;
	}
	storm->writes++;
	if (sure && turn % 2 && slot->turn == turn)
		slot->written[page] = turn;
}

/* A device that stays. */
static void *steady_device(void *data)
{
	struct thread *self = data;
	struct dice dice = dice_of(self->storm, self->number);

	while (!self->storm->stop)
		write_somewhere(self->storm, &self->edu, &dice, true);
	return NULL;
}

/* To one of the spaces, or to a domain of it that is made for the purpose. */
static void move(struct thread *self, struct dice *dice, int *domain)
{
	struct storm *storm = self->storm;
	int space = roll(dice, 2) ? storm->slots_space : storm->chaos_space, next = 0;

	if (roll(dice, 2))
		next = made(storm, "HWPT_ALLOC", hwpt_alloc(storm->iommufd, self->id, space, 0));
	if (next < 0 || coming(storm, "ATTACH", vfio_attach(self->edu.fd, next ? next : space))) {
		if (next > 0)
			unmade(storm, "DESTROY", next, destroy(storm->iommufd, next));
		return;
	}
	storm->moves++;
	storm->domains += !!next;
	if (*domain)
		unmade(storm, "DESTROY", *domain, destroy(storm->iommufd, *domain));
	*domain = next;
}

/* A device that moves between the spaces, is nowhere at times, and is let go and bound again. */
static void *moving_device(void *data)
{
	struct thread *self = data;
	struct storm *storm = self->storm;
	struct dice dice = dice_of(storm, self->number);
	int domain = 0;

	while (!storm->stop) {
		if (!roll(&dice, 3))
			outcome(storm, "DETACH", vfio_detach(self->edu.fd));
		if (!roll(&dice, 16)) {
			edu_close(&self->edu);
			if (rearm(self))
				break;
			storm->binds++;
		}
		move(self, &dice, &domain);
		write_somewhere(storm, &self->edu, &dice, false);
	}
	return NULL;
}

static void *close_later(void *data)
{
	struct thread *self = data;

	edu_sleep_ms(20);
	edu_close(&self->edu);
	return NULL;
}

/* A device that is taken out of the machine while it is in use. */
static void *unplugged_device(void *data)
{
	struct thread *self = data;
	struct storm *storm = self->storm;
	struct dice dice = dice_of(storm, self->number);
	pthread_t closer;

	while (!storm->stop) {
		if (!self->edu.bar && rearm(self))
			break;
		write_somewhere(storm, &self->edu, &dice, false);
		if (roll(&dice, 2))
			continue;
		if (pthread_create(&closer, NULL, close_later, self))
			break;
		outcome(storm, "remove", hotplug_remove(&self->edu));
		pthread_join(closer, NULL);
		if (outcome(storm, "rescan", hotplug_restore(&self->edu)))
			break;
		storm->unplugs++;
	}
	return NULL;
}

/* A device that whoever shares ids moves, and that writes where they map; and to slots. */
static void *shared_device(void *data)
{
	struct thread *self = data;
	struct storm *storm = self->storm;
	struct dice dice = dice_of(storm, self->number);
	uint64_t iova;

	while (!storm->stop) {
		iova = SHARED_IOVA(roll(&dice, MAPPERS)) + roll(&dice, 2) * PAGE;
		if (edu_dma(&self->edu, EDU_WRITES_MEMORY, iova, 0, DMA_SIZE))
			complain(storm, "a device hangs", -ETIMEDOUT);
		if (!roll(&dice, 4))
			write_somewhere(storm, &self->edu, &dice, false);
	}
	return NULL;
}

/* --- vandals -------------------------------------------------------------------- */

/* Map, unmap or copy anything anywhere in a space where nobody minds, in either dialect. */
static int64_t disorder(struct storm *storm, struct dice *dice, char *memory)
{
	const int fd = storm->iommufd, space = storm->chaos_space;
	const uint64_t iova = IOVA + roll(dice, 64) * PAGE, size = (1 + roll(dice, 16)) * PAGE;
	struct iommu_iova_range allowed = { CHOSEN_IOVA, CHOSEN_IOVA + CHOSEN_SIZE - 1 };
	unsigned int what = roll(dice, 100);

	memory += roll(dice, 48) * PAGE;
	if (what < 1)
		return unmap_all(fd, space);
	if (what < 2)
		return ioas_unmap(fd, space, 0, UINT64_MAX);
	if (what < 3)
		return allow_iovas(fd, space, &allowed, roll(dice, 2));
	if (what < 25)
		return unmap(fd, space, iova, size);
	if (what < 50)
		return ioas_unmap(fd, space, iova, size);
	if (what < 60)
		return ioas_map_any(fd, space, memory, size);
	if (what < 75)
		return ioas_copy(fd, space, iova, space, IOVA + roll(dice, 64) * PAGE, size);
	if (what < 85)
		return ioas_map(fd, space, memory, size, iova);
	return ioasid_map(fd, space, memory, iova, size, 1 + roll(dice, 3));
}

static void *chaos(void *data)
{
	struct thread *self = data;
	struct storm *storm = self->storm;
	struct dice dice = dice_of(storm, self->number);
	char *memory = pages(64);

	while (memory && !storm->stop)
		outcome(storm, "MAP, COPY or UNMAP", disorder(storm, &dice, memory));
	return NULL;
}

/* Ids that come and go, with what is mapped there. */
static void *ids(void *data)
{
	struct thread *self = data;
	struct storm *storm = self->storm;
	struct dice dice = dice_of(storm, self->number);
	char *memory = pages(1);
	bool native;
	int id;

	while (memory && !storm->stop) {
		native = roll(&dice, 2);
		id = native ? ioas_alloc(storm->iommufd) : ioasid_alloc(storm->iommufd, 64);
		made(storm, "ALLOC", id);
		outcome(storm, "OPTION", set_option(storm->iommufd, IOMMU_OPTION_HUGE_PAGES, id,
						    roll(&dice, 2)));
		outcome(storm, "MAP",
			ioasid_map(storm->iommufd, id, memory, IOVA, PAGE, IOASID_RW));
		outcome(storm, "COPY", ioas_copy(storm->iommufd, id, IOVA + PAGE, id, IOVA, PAGE));
		outcome(storm, "CHANGE_PROCESS", change_process(storm->iommufd));
		edu_sleep_ms(roll(&dice, 3));
		native = roll(&dice, 2);
		unmade(storm, "FREE", id, native ? destroy(storm->iommufd, id) :
		       ioasid_free(storm->iommufd, id));
	}
	return NULL;
}

/* Contexts that are closed with whatever is mapped there, copies too, and never have a device. */
static void *closers(void *data)
{
	struct thread *self = data;
	struct storm *storm = self->storm;
	struct dice dice = dice_of(storm, self->number);
	char *memory = pages(64);
	int fd, one, other;

	while (memory && !storm->stop) {
		fd = open_iommufd();
		one = outcome(storm, "ALLOC", ioasid_alloc(fd, 48));
		other = outcome(storm, "ALLOC", ioas_alloc(fd));
		outcome(storm, "MAP", ioas_map(fd, one, memory, 64 * PAGE, IOVA));
		outcome(storm, "COPY", ioas_copy(fd, other, IOVA, one, IOVA + PAGE, 8 * PAGE));
		expect_unpinned(storm, fd);
		if (roll(&dice, 2))
			outcome(storm, "FREE", ioasid_free(fd, one));
		edu_sleep_ms(roll(&dice, 10));
		close(fd);
	}
	return NULL;
}

/* What is mapped stays, and the process that had it does not. */
static void leave_behind(struct storm *storm, char *memory)
{
	ioasid_map(storm->iommufd, storm->chaos_space, memory, IOVA + 80 * PAGE, 8 * PAGE,
		   IOASID_RW);
	munmap(memory, 8 * PAGE);
}

/* Ends without a word, or is killed, with a context of its own and with the shared one. */
static void be_mortal(struct storm *storm, struct dice *dice)
{
	int fd = open_iommufd(), id = ioasid_alloc(fd, 64);
	char *memory = pages(64);

	ioasid_map(fd, id, memory, IOVA, 64 * PAGE, IOASID_RW);
	ioas_copy(fd, id, IOVA + 64 * PAGE, id, IOVA, 64 * PAGE);
	expect_unpinned(storm, fd);
	if (pinned_pages() && !storm->needless++)
		ksft_print_msg("a process pays for what no device can reach\n");
	leave_behind(storm, pages(8));
	if (roll(dice, 2))
		_exit(0);
	pause();
}

/* A process that has such children. It has no device open, and so neither have they. */
static void have_mortals(struct storm *storm)
{
	struct dice dice = dice_of(storm, 999);
	pid_t child;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (!storm->stop) {
		child = fork();
		if (!child)
			be_mortal(storm, &dice);
		/* So that the next one is not the same. */
		wait_a_little(&dice, 40);
		if (child > 0) {
			kill(child, SIGKILL);
			waitpid(child, NULL, 0);
		}
	}
	_exit(0);
}

/* Spaces without a device, each on a line of its own, have nothing pinned. */
static void look_for_needless(struct storm *storm)
{
	static char text[1 << 16];
	char path[32], *line = text, *end;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", storm->iommufd);
	read_text(path, text, sizeof(text));
	for (; (end = strchr(line, '\n')); line = end + 1) {
		*end = 0;
		if (!strstr(line, " no-device"))
			continue;
		storm->unreachable++;
		if (!strstr(line, " pinned 0 pages ") && !storm->needless++)
			ksft_print_msg("memory is pinned for nobody: %s\n", line);
	}
}

/* Whatever can be asked. */
static void ask(struct storm *storm)
{
	struct iommu_iova_range ranges[16];
	struct vfio_iommu_type1_info info = { .argsz = sizeof(info) };

	outcome(storm, "IOVA_RANGES", iova_ranges(storm->iommufd, storm->chaos_space, ranges, 16));
	outcome(storm, "VFIO_GET_INFO", call(storm->iommufd, VFIO_IOMMU_GET_INFO, &info));
	outcome(storm, "OPTION", get_option(storm->iommufd, IOMMU_OPTION_HUGE_PAGES,
					    storm->slots_space));
}

/* Have the kernel move memory together, or take huge pages apart; not all kernels can. */
static void stir(struct dice *dice)
{
	if (roll(dice, 2))
		write_text("/proc/sys/vm/compact_memory", "1");
	else
		write_text("/sys/kernel/debug/split_huge_pages", "1");
}

/* Those who look, and those who clean up behind everybody. */
static void *readers(void *data)
{
	static const char *const files[] = {
		"/proc/self/fdinfo/%d", "/sys/kernel/debug/iommufd/contexts",
		"/proc/vmstat", "/proc/self/smaps",
	};
	struct thread *self = data;
	struct storm *storm = self->storm;
	struct dice dice = dice_of(storm, self->number);
	char path[64], text[512];
	int fd;

	while (!storm->stop) {
		ask(storm);
		look_for_needless(storm);
		snprintf(path, sizeof(path), files[roll(&dice, ARRAY_SIZE(files))], storm->iommufd);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		while (fd >= 0 && read(fd, text, sizeof(text)) > 0)
			;
		if (fd >= 0)
			close(fd);
		if (!roll(&dice, 10))
			stir(&dice);
		wait_a_little(&dice, 30);
	}
	return NULL;
}

static void *(*const everybody[])(void *) = {
	steady_device, moving_device, unplugged_device, shared_device,
	chaos, chaos, ids, closers, readers,
};

#define DEVICES 4
#define PROCESSES (WORKERS / 2 + 1)
#define THREADS ARRAY_SIZE(everybody)

/* --- the storm ------------------------------------------------------------------- */

static int find_devices(struct thread *threads)
{
	static const char *const addresses[DEVICES] = {
		"0000:00:05.0", "0000:00:06.0", "0000:00:07.0", "0000:00:08.0",
	};
	unsigned int i;
	int ret = 0;

	for (i = 0; !ret && i < DEVICES; i++)
		ret = edu_find(&threads[i].edu, addresses[i]);
	return ret;
}

static int make_spaces(struct storm *storm)
{
	struct iommu_iova_range chosen = { CHOSEN_IOVA, CHOSEN_IOVA + CHOSEN_SIZE - 1 };
	struct iommu_vfio_ioas set = { .size = sizeof(set), .op = IOMMU_VFIO_IOAS_SET };
	int ret;

	storm->iommufd = open_iommufd();
	storm->slots_space = ioasid_alloc(storm->iommufd, 64);
	storm->chaos_space = ioas_alloc(storm->iommufd);
	storm->stage_space = ioas_alloc(storm->iommufd);
	storm->shared_space = ioas_alloc(storm->iommufd);
	ret = allow_iovas(storm->iommufd, storm->slots_space, &chosen, 1);
	set.ioas_id = storm->slots_space;
	return ret ? ret : call(storm->iommufd, IOMMU_VFIO_IOAS, &set);
}

static void prepare(struct storm *storm, struct thread *threads)
{
	unsigned int i;

	if (find_devices(threads))
		ksft_exit_fail_msg("needs four edu devices, at 00:05.0 to 00:08.0\n");
	if (make_spaces(storm))
		ksft_exit_fail_msg("no address spaces\n");
	for (i = 0; i < SLOTS; i++)
		storm->slots[i].iova = SLOT_IOVA(i);
}

static void begin_to_share(struct storm *storm, const struct thread *device,
			   struct sharer *sharers, pthread_t *threads)
{
	unsigned int i;

	storm->shared_fd = device->edu.fd;
	storm->shared_id = device->id;
	for (i = 0; i < SHARERS; i++) {
		sharers[i] = (struct sharer) {
			.storm = storm,
			.number = i,
			.dice = dice_of(storm, 2 * FIRST_THREAD + i),
		};
		if (!prepare_sharer(&sharers[i]) ||
		    pthread_create(&threads[i], NULL, share, &sharers[i]))
			ksft_exit_fail_msg("no more threads\n");
	}
}

/* All processes begin before a device is open: what they had open would stay open. */
static void begin(struct storm *storm, struct thread *threads, pid_t *children)
{
	unsigned int i;

	for (i = 0; i < PROCESSES; i++) {
		children[i] = fork();
		if (!children[i] && i < WORKERS / 2)
			work_in_pairs(storm, 2 * i);
		if (!children[i])
			have_mortals(storm);
	}
	for (i = 0; i < DEVICES; i++)
		if (arm(&threads[i]))
			ksft_exit_fail_msg("%s cannot be used\n", threads[i].edu.address);
	storm->begun = true;
	for (i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i].thread, NULL, everybody[i], &threads[i]))
			ksft_exit_fail_msg("no more threads\n");
}

/* Returns how many processes did not end well. */
static int blow(struct storm *storm, struct thread *threads, unsigned int seconds)
{
	struct sharer sharers[SHARERS];
	pthread_t sharing[SHARERS];
	pid_t children[PROCESSES];
	unsigned int i, left;
	int status, bad = 0;

	begin(storm, threads, children);
	begin_to_share(storm, &threads[DEVICES - 1], sharers, sharing);
	for (left = seconds; left && !storm->stale && !storm->lost && !storm->undocumented; left--)
		sleep(1);
	storm->stop = true;
	for (i = 0; i < THREADS; i++)
		pthread_join(threads[i].thread, NULL);
	for (i = 0; i < SHARERS; i++)
		pthread_join(sharing[i], NULL);
	for (i = 0; i < PROCESSES; i++) {
		waitpid(children[i], &status, 0);
		bad += !!status;
	}
	return bad;
}

/* What is mapped stays without devices and domains, but nothing of it is pinned. */
static bool nothing_needless(struct storm *storm, struct thread *threads, long pins)
{
	char *memory = pages(1);
	unsigned int i;
	int id, ret;

	for (i = 0; i < DEVICES; i++)
		edu_close(&threads[i].edu);
	for (id = 1; id < COUNTED_IDS; id++)
		if (!is_of_the_storm(storm, id))
			destroy(storm->iommufd, id);
	ret = ioasid_map(storm->iommufd, storm->chaos_space, memory, IOVA + (16UL << 30), PAGE,
			 IOASID_RW);
	expect_unpinned(storm, storm->iommufd);
	ksft_print_msg("%lu looks at what no device can reach, %lu devices came when it had gone\n",
		       storm->unreachable, storm->bad_memory);
	return !ret && !storm->needless && !pinned_pages() && held_pins() == pins;
}

static bool nothing_left(struct storm *storm, long pins)
{
	int64_t mapped = unmap_all(storm->iommufd, storm->slots_space) +
			 unmap_all(storm->iommufd, storm->stage_space);

	close(storm->iommufd);
	ksft_print_msg("%ld bytes in the slots, %ld pages pinned, %ld pins more than before\n",
		       mapped, pinned_pages(), held_pins() - pins);
	return !mapped && !pinned_pages() && held_pins() == pins;
}

static bool everybody_had_a_turn(struct storm *storm)
{
	static const char *const ways[WAYS] = {
		[BY_IOASID] = "MAP_DMA", [BY_IOAS] = "IOAS_MAP", [BY_CHOICE] = "a chosen address",
		[BY_COPY] = "IOAS_COPY", [BY_FILE] = "IOAS_MAP_FILE", [BY_CONTAINER] = "VFIO",
	};
	bool all = storm->arrived && storm->moves && storm->unplugs && storm->shared_deaths &&
		   storm->shared_moves && storm->shared_maps;
	enum way way;

	for (way = 0; way < WAYS; way++) {
		ksft_print_msg("%lu slots mapped by %s\n", storm->maps[way], ways[way]);
		all &= storm->maps[way] > 0;
	}
	return all;
}

int main(int argc, char **argv)
{
	unsigned int seconds = argc > 1 ? strtoul(argv[1], NULL, 0) : 60, i;
	struct thread threads[THREADS];
	struct storm *storm;
	long pins;
	int bad;

	storm = mmap(NULL, sizeof(*storm), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	storm->seed = argc > 2 ? strtoul(argv[2], NULL, 0) : (unsigned long)time(NULL);
	for (i = 0; i < THREADS; i++)
		threads[i] = (struct thread) { .storm = storm, .number = FIRST_THREAD + i };
	ksft_print_header();
	ksft_set_plan(7);
	ksft_print_msg("%u seconds, seed %u\n", seconds, storm->seed);
	pins = held_pins();
	prepare(storm, threads);
	bad = blow(storm, threads, seconds);
	ksft_print_msg("%lu calls, %lu disturbances, %lu writes of devices\n",
		       storm->calls, storm->disturbances, storm->writes);
	ksft_print_msg("%lu writes that had to arrive did, %lu moves, %lu to domains\n",
		       storm->arrived, storm->moves, storm->domains);
	ksft_print_msg("%lu devices bound again, %lu removed\n", storm->binds, storm->unplugs);
	ksft_print_msg("%lu shared ids destroyed, %lu moves to one, %lu maps\n",
		       storm->shared_deaths, storm->shared_moves, storm->shared_maps);
	ksft_test_result(!storm->stale, "no write went where nothing is mapped\n");
	ksft_test_result(!storm->lost, "every write to what is mapped arrived\n");
	ksft_test_result(!storm->undocumented && !bad, "every call had a documented outcome\n");
	ksft_test_result(!recount(storm), "every id is as often there as it was given\n");
	ksft_test_result(nothing_needless(storm, threads, pins),
			 "what no device can reach is not pinned\n");
	ksft_test_result(nothing_left(storm, pins), "nothing is left pinned\n");
	ksft_test_result(everybody_had_a_turn(storm), "everybody had a turn\n");
	ksft_finished();
}
