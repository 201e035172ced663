// SPDX-License-Identifier: GPL-2.0
/*
 * Everything at once, with devices that write all the while: see storm.h for what
 * must hold nevertheless.
 */
#include <signal.h>

#include "failnth.h"
#include "storm_worker.h"

struct thread {
	struct storm *storm;
	unsigned int number;
	struct edu edu;
	pthread_t thread;
};

/* --- devices ------------------------------------------------------------------- */

/* Bind the device, and fill its buffer with what it is to write from then on. */
static int arm(struct storm *storm, struct edu *edu)
{
	int iommufd = storm->iommufd, space, ret;
	unsigned char *page = (unsigned char *)pages(1);

	ret = edu_open(edu);
	if (!ret)
		ret = vfio_bind(edu->fd, iommufd);
	space = ret < 0 ? ret : ioasid_alloc(iommufd, 64);
	if (!page || space < 0)
		return space < 0 ? space : -ENOMEM;
	fill_pattern(page);
	ret = ioasid_map(iommufd, space, page, IOVA, PAGE, IOASID_RW);
	if (!ret)
		ret = vfio_attach(edu->fd, space);
	if (!ret)
		ret = edu_start(edu);
	if (!ret)
		ret = edu_dma(edu, EDU_READS_MEMORY, IOVA, 0, DMA_SIZE);
	if (!ret)
		ret = vfio_attach(edu->fd, storm->slots_space);
	munmap(page, PAGE);
	ioasid_free(iommufd, space);
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
	if (edu_dma(edu, EDU_WRITES_MEMORY, SLOT_IOVA(number) + page * PAGE, 0, DMA_SIZE)) {
		storm->undocumented++;
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

/* A device that moves between the spaces, and is nowhere at times. */
static void *moving_device(void *data)
{
	struct thread *self = data;
	struct storm *storm = self->storm;
	struct dice dice = dice_of(storm, self->number);
	int space;

	while (!storm->stop) {
		space = roll(&dice, 2) ? storm->slots_space : storm->chaos_space;
		if (!roll(&dice, 3))
			outcome(storm, "DETACH", vfio_detach(self->edu.fd));
		if (!outcome(storm, "ATTACH", vfio_attach(self->edu.fd, space)))
			storm->moves++;
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
		if (!self->edu.bar && arm(storm, &self->edu)) {
			storm->undocumented++;
			break;
		}
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

/* --- vandals -------------------------------------------------------------------- */

/* Anything anywhere in a space where nobody minds. */
static void *chaos(void *data)
{
	struct thread *self = data;
	struct storm *storm = self->storm;
	struct dice dice = dice_of(storm, self->number);
	char *memory = pages(64);
	uint64_t iova, size;
	int64_t ret;

	while (memory && !storm->stop) {
		iova = IOVA + roll(&dice, 64) * PAGE;
		size = (1 + roll(&dice, 16)) * PAGE;
		if (!roll(&dice, 50))
			ret = unmap_all(storm->iommufd, storm->chaos_space);
		else if (roll(&dice, 2))
			ret = unmap(storm->iommufd, storm->chaos_space, iova, size);
		else
			ret = ioasid_map(storm->iommufd, storm->chaos_space,
					 memory + roll(&dice, 48) * PAGE, iova, size,
					 1 + roll(&dice, 3));
		outcome(storm, "MAP or UNMAP", ret);
	}
	return NULL;
}

/* Ids that come and go, with what is mapped there. */
static void *ids(void *data)
{
	struct thread *self = data;
	struct storm *storm = self->storm;
	struct dice dice = dice_of(storm, self->number);
	char *memory = pages(1);
	int id;

	while (memory && !storm->stop) {
		id = outcome(storm, "ALLOC", ioasid_alloc(storm->iommufd, 64));
		outcome(storm, "MAP",
			ioasid_map(storm->iommufd, id, memory, IOVA, PAGE, IOASID_RW));
		edu_sleep_ms(roll(&dice, 3));
		outcome(storm, "FREE", ioasid_free(storm->iommufd, id));
	}
	return NULL;
}

/* Processes with a context of their own that end without a word, or are killed. */
static void *mortals(void *data)
{
	struct thread *self = data;
	struct storm *storm = self->storm;
	struct dice dice = dice_of(storm, self->number);
	pid_t child;
	int fd, id;

	while (!storm->stop) {
		child = fork();
		if (!child) {
			fd = open_iommufd();
			id = ioasid_alloc(fd, 64);
			ioasid_map(fd, id, pages(64), IOVA, 64 * PAGE, IOASID_RW);
			ioasid_map(storm->iommufd, storm->chaos_space, pages(8),
				   IOVA + 80 * PAGE, 8 * PAGE, IOASID_RW);
			if (roll(&dice, 2))
				_exit(0);
			pause();
		}
		wait_a_little(&dice, 40);
		if (child > 0) {
			kill(child, SIGKILL);
			waitpid(child, NULL, 0);
		}
	}
	return NULL;
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
		snprintf(path, sizeof(path), files[roll(&dice, ARRAY_SIZE(files))], storm->iommufd);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		while (fd >= 0 && read(fd, text, sizeof(text)) > 0)
			;
		if (fd >= 0)
			close(fd);
		if (!roll(&dice, 10))
			write_text("/proc/sys/vm/compact_memory", "1");
		wait_a_little(&dice, 30);
	}
	return NULL;
}

static void *(*const everybody[])(void *) = {
	steady_device, moving_device, unplugged_device, chaos, chaos, ids, mortals, readers,
};

#define DEVICES 3
#define THREADS ARRAY_SIZE(everybody)

/* --- the storm ------------------------------------------------------------------- */

static int find_devices(struct thread *threads)
{
	static const char *const addresses[DEVICES] = {
		"0000:00:05.0", "0000:00:06.0", "0000:00:07.0",
	};
	unsigned int i;
	int ret = 0;

	for (i = 0; !ret && i < DEVICES; i++)
		ret = edu_find(&threads[i].edu, addresses[i]);
	return ret;
}

static void prepare(struct storm *storm, struct thread *threads)
{
	unsigned int i;

	if (find_devices(threads))
		ksft_exit_fail_msg("needs three edu devices, at 00:05.0, 00:06.0 and 00:07.0\n");
	storm->iommufd = open_iommufd();
	storm->slots_space = ioasid_alloc(storm->iommufd, 64);
	storm->chaos_space = ioasid_alloc(storm->iommufd, 64);
	for (i = 0; i < DEVICES; i++) {
		threads[i].edu.bar = NULL;
		if (arm(storm, &threads[i].edu))
			ksft_exit_fail_msg("%s cannot be used\n", threads[i].edu.address);
	}
}

/* Returns how many workers did not end well. */
static int blow(struct storm *storm, struct thread *threads, unsigned int seconds)
{
	unsigned int i, left;
	int status, bad = 0;
	pid_t children[WORKERS / 2];

	for (i = 0; i < WORKERS / 2; i++) {
		children[i] = fork();
		if (!children[i])
			work_in_pairs(storm, 2 * i);
	}
	for (i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i].thread, NULL, everybody[i], &threads[i]))
			ksft_exit_fail_msg("no more threads\n");
	for (left = seconds; left && !storm->stale && !storm->lost && !storm->undocumented; left--)
		sleep(1);
	storm->stop = true;
	for (i = 0; i < THREADS; i++)
		pthread_join(threads[i].thread, NULL);
	for (i = 0; i < WORKERS / 2; i++) {
		waitpid(children[i], &status, 0);
		bad += !!status;
	}
	return bad;
}

static bool nothing_left(struct storm *storm, struct thread *threads, long pins)
{
	int64_t mapped = unmap_all(storm->iommufd, storm->slots_space);
	unsigned int i;

	for (i = 0; i < DEVICES; i++)
		edu_close(&threads[i].edu);
	close(storm->iommufd);
	ksft_print_msg("%ld bytes in the slots, %ld pages pinned, %ld pins more than before\n",
		       mapped, pinned_pages(), held_pins() - pins);
	return !mapped && !pinned_pages() && held_pins() == pins;
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
		threads[i] = (struct thread) { .storm = storm, .number = 1000 + i };
	ksft_print_header();
	ksft_set_plan(5);
	ksft_print_msg("%u seconds, seed %u\n", seconds, storm->seed);
	pins = held_pins();
	prepare(storm, threads);
	bad = blow(storm, threads, seconds);
	ksft_print_msg("%lu calls, %lu slots mapped, %lu disturbances, %lu writes of devices\n",
		       storm->calls, storm->maps, storm->disturbances, storm->writes);
	ksft_print_msg("%lu writes that had to arrive did, %lu moves, %lu removals\n",
		       storm->arrived, storm->moves, storm->unplugs);
	ksft_test_result(!storm->stale, "no write went where nothing is mapped\n");
	ksft_test_result(!storm->lost, "every write to what is mapped arrived\n");
	ksft_test_result(!storm->undocumented && !bad, "every call had a documented outcome\n");
	ksft_test_result(nothing_left(storm, threads, pins), "nothing is left pinned\n");
	ksft_test_result(storm->arrived && storm->maps && storm->moves && storm->unplugs,
			 "everybody had a turn\n");
	ksft_finished();
}
