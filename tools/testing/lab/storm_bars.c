// SPDX-License-Identifier: GPL-2.0
/*
 * Everything at once with devices that write to each other's BARs, which are mapped by address:
 * each BAR is taken back time and again, by whatever takes it out of a page table, while others
 * map, copy and unmap it, go to other domains, and end.
 *
 * There are a writer, which stays; two peers, each with a thread that alone maps its BAR where the
 * writer writes, and so knows whether that may arrive; a mover; and a drive, whose BAR only
 * vandals map, and which is reset, put to sleep and disabled without a pause.
 */
#include <signal.h>

#include "bars.h"
#include "failnth.h"
#include "iommufd_bar.h"
#include "pci_power.h"
#include "storm.h"

#define BAR_SIZE (1UL << 20)
#define PEER_IOVA(peer) (IOVA + (1UL << 30) + (peer) * BAR_SIZE)
#define MANY_PAGES 64

/* What devices write to registers of peers, which read as the opposite of it. */
#define WRITTEN 0x5a0ff0a5U

enum { STAYING, UNPLUGGED, PEERS, DRIVE = PEERS, TARGETS };

/* How a peer's BAR is mapped, and how it is lost. */
static const enum way ways[] = { BY_IOASID, BY_IOAS, BY_CONTAINER };
enum loss { UNMAPPED, DISABLED, MUNMAPPED, PROTECTED, REMOVED, LOSSES };

struct target {
	struct edu edu;
	atomic_uint turn;	/* goes up with each change; odd while the writer must reach it */
	atomic_uint written;	/* the turn in which a write has to arrive */
};

struct squall {
	struct storm storm;
	struct target targets[TARGETS];
	struct edu writer, mover;
	int mover_id;
	char *windows;		/* where each target's BAR is for others to map, or nothing is */
	atomic_ulong taken[LOSSES];
	atomic_ulong resets, sleeps, disabled, found, not_found, bufs, ended;
};

struct thread {
	struct squall *squall;
	unsigned int number;
	struct dice dice;
	pthread_t thread;
};

static void *window(const struct squall *squall, unsigned int target)
{
	return squall->windows + target * BAR_SIZE;
}

/* There, others find the BAR; or nothing, but nobody else's memory either. */
static int open_window(const struct squall *squall, unsigned int target)
{
	const struct edu *edu = &squall->targets[target].edu;
	struct vfio_region_info region = {
		.argsz = sizeof(region),
		.index = VFIO_PCI_BAR0_REGION_INDEX,
	};
	int ret = call(edu->fd, VFIO_DEVICE_GET_REGION_INFO, &region);

	if (ret)
		return ret;
	return mmap(window(squall, target), edu->bar_size, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_FIXED, edu->fd, region.offset) == MAP_FAILED ? -errno : 0;
}

static int close_window(const struct squall *squall, unsigned int target)
{
	return mmap(window(squall, target), BAR_SIZE, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED ? -errno : 0;
}

static int start(struct squall *squall, struct edu *edu)
{
	int ret = edu_open(edu), id;

	if (ret)
		return ret;
	id = vfio_bind(edu->fd, squall->storm.iommufd);
	if (id < 0)
		return id;
	ret = vfio_pci_start(edu->fd, &edu->bar, &edu->bar_size);
	return ret ? ret : id;
}

static int start_target(struct squall *squall, unsigned int target)
{
	int ret = start(squall, &squall->targets[target].edu);

	return ret < 0 ? ret : open_window(squall, target);
}

/* --- peers ---------------------------------------------------------------------------- */

static void *close_later(void *data)
{
	struct edu *edu = data;

	edu_sleep_ms(20);
	edu_close(edu);
	return NULL;
}

/* Whoever removes a device waits until nobody has it. */
static int unplug(struct squall *squall, unsigned int number)
{
	struct edu *edu = &squall->targets[number].edu;
	pthread_t closer;
	int ret = close_window(squall, number);

	if (ret || pthread_create(&closer, NULL, close_later, edu))
		return ret ? ret : -EAGAIN;
	ret = hotplug_remove(edu);
	pthread_join(closer, NULL);
	return ret ?: hotplug_restore(edu) ?: start_target(squall, number);
}

/* Take the BAR from all who have mapped it, and let the process have it back. */
static int take_back(struct squall *squall, unsigned int number, enum loss loss)
{
	const int device = squall->targets[number].edu.fd;
	void *bar = window(squall, number);

	switch (loss) {
	case DISABLED:
		return set_memory_enable(device, false) ?: set_memory_enable(device, true);
	case MUNMAPPED:
		return close_window(squall, number) ?: open_window(squall, number);
	case PROTECTED:
		return mprotect(bar, BAR_SIZE, PROT_NONE) ?:
		       mprotect(bar, BAR_SIZE, PROT_READ | PROT_WRITE);
	case REMOVED:
		return unplug(squall, number);
	default:
		return 0;
	}
}

static int map_bar(struct squall *squall, unsigned int number, enum way how)
{
	const int fd = squall->storm.iommufd, space = squall->storm.slots_space;
	const uint64_t iova = PEER_IOVA(number);
	void *bar = window(squall, number);

	switch (how) {
	case BY_IOASID:
		return ioasid_map(fd, space, bar, iova, BAR_SIZE, IOASID_RW);
	case BY_IOAS:
		return ioas_map(fd, space, bar, BAR_SIZE, iova);
	default:
		return container_map(fd, bar, iova, BAR_SIZE);
	}
}

static void unmap_bar(struct squall *squall, unsigned int number)
{
	struct storm *storm = &squall->storm;
	int64_t bytes = ioas_unmap(storm->iommufd, storm->slots_space, PEER_IOVA(number), BAR_SIZE);

	if (outcome(storm, "UNMAP of a BAR", bytes) != BAR_SIZE)
		complain(storm, "a BAR is not all there", bytes);
}

static volatile uint32_t *register_of(struct target *target)
{
	return edu_reg32(&target->edu, EDU_REG_LIVENESS);
}

/* Map, be written to, have it taken back, be left alone. */
static void use_peer(struct thread *self, unsigned int number, enum loss loss)
{
	struct squall *squall = self->squall;
	struct storm *storm = &squall->storm;
	struct target *target = &squall->targets[number];
	enum way how = ways[roll(&self->dice, ARRAY_SIZE(ways))];
	unsigned int turn;

	*register_of(target) = 0;
	if (outcome(storm, "MAP of a BAR", map_bar(squall, number, how)))
		return;
	storm->maps[how]++;
	turn = ++target->turn;
	edu_sleep_ms(roll(&self->dice, 400));
	target->turn++;
	if (target->written == turn) {
		storm->arrived++;
		if (*register_of(target) != ~WRITTEN && !storm->lost++)
			ksft_print_msg("a write to a BAR that is mapped did not arrive\n");
	}
	if (loss == UNMAPPED)
		unmap_bar(squall, number);
	else if (outcome(storm, "taking it back", take_back(squall, number, loss)))
		complain(storm, "a BAR cannot be taken back", loss);
	squall->taken[loss]++;
	*register_of(target) = 0;
	edu_sleep_ms(roll(&self->dice, 250));
	if (*register_of(target) != ~0U && !storm->stale++)
		ksft_print_msg("a write arrived in a BAR that was taken back, by %d\n", loss);
	if (loss != UNMAPPED)
		unmap_bar(squall, number);
}

static void *staying_peer(void *data)
{
	struct thread *self = data;

	enum loss loss;

	for (loss = 0; !self->squall->storm.stop; loss = (loss + 1) % REMOVED)
		use_peer(self, STAYING, loss);
	return NULL;
}

static void *unplugged_peer(void *data)
{
	struct thread *self = data;

	enum loss loss;

	/* From the last on, so that each is soon there. */
	for (loss = REMOVED; !self->squall->storm.stop; loss = (loss + 1) % LOSSES)
		use_peer(self, UNPLUGGED, loss);
	return NULL;
}

/* A drive that does not answer most of the time, and is not where it was. */
static void *resets(void *data)
{
	struct thread *self = data;
	struct squall *squall = self->squall;
	const int device = squall->targets[DRIVE].edu.fd;
	int ret;

	while (!squall->storm.stop) {
		switch (roll(&self->dice, 4)) {
		case 0:
			ret = call(device, VFIO_DEVICE_RESET, NULL);
			squall->resets++;
			break;
		case 1:
			ret = set_power_state(device, D3HOT) ?: set_power_state(device, 0);
			squall->sleeps++;
			break;
		case 2:
			ret = set_memory_enable(device, false);
			squall->disabled++;
			break;
		default:
			ret = close_window(squall, DRIVE);
		}
		edu_sleep_ms(roll(&self->dice, 3));
		ret = ret ?: set_memory_enable(device, true) ?: open_window(squall, DRIVE);
		if (outcome(&squall->storm, "a reset", ret))
			complain(&squall->storm, "a drive is lost", ret);
		edu_sleep_ms(roll(&self->dice, 10));
	}
	return NULL;
}

/* --- those who write ------------------------------------------------------------------ */

static void write_to(struct squall *squall, struct edu *edu, uint64_t iova)
{
	if (edu_dma(edu, EDU_WRITES_MEMORY, iova, 0, 4))
		complain(&squall->storm, "a device hangs", -ETIMEDOUT);
	squall->storm.writes++;
}

static void *writer(void *data)
{
	struct thread *self = data;
	struct squall *squall = self->squall;
	unsigned int number, turn;
	struct target *target;

	while (!squall->storm.stop) {
		number = roll(&self->dice, PEERS);
		target = &squall->targets[number];
		turn = target->turn;
		write_to(squall, &squall->writer, PEER_IOVA(number) + EDU_REG_LIVENESS);
		if (turn % 2 && target->turn == turn)
			target->written = turn;
	}
	return NULL;
}

/*
 * A device that goes from domain to domain, each of which gets all BARs that were found, and
 * the first of which looks for the others. Where vandals map, it writes to what cannot be
 * written to: the register that says what a device is.
 */
static void *mover(void *data)
{
	struct thread *self = data;
	struct squall *squall = self->squall;
	struct storm *storm = &squall->storm;
	const int fd = storm->iommufd;
	int domain = 0, next, space;

	while (!storm->stop) {
		if (!roll(&self->dice, 3))
			outcome(storm, "DETACH", vfio_detach(squall->mover.fd));
		space = roll(&self->dice, 4) ? storm->chaos_space : storm->slots_space;
		next = roll(&self->dice, 2) ? 0 :
		       coming(storm, "HWPT_ALLOC", hwpt_alloc(fd, squall->mover_id, space, 0));
		if (next >= 0 && !coming(storm, "ATTACH",
					 vfio_attach(squall->mover.fd, next ? next : space))) {
			storm->moves++;
			if (domain)
				outcome(storm, "DESTROY", destroy(fd, domain));
			domain = next;
		} else if (next > 0) {
			outcome(storm, "DESTROY", destroy(fd, next));
		}
		write_to(squall, &squall->mover, IOVA + roll(&self->dice, MANY_PAGES) * PAGE);
		write_to(squall, &squall->mover,
			 PEER_IOVA(roll(&self->dice, PEERS)) + EDU_REG_LIVENESS);
	}
	return NULL;
}

/* --- vandals -------------------------------------------------------------------------- */

/* The BAR once more, as a dma-buf, which VFIO takes back in its own way. */
static int map_buf(struct squall *squall, int space, uint64_t iova)
{
	int buf = bar_buf(&squall->targets[STAYING].edu, 0, PAGE), ret;

	if (buf < 0)
		return buf;
	ret = ioas_map_file(squall->storm.iommufd, space, buf, 0, PAGE, iova);
	squall->bufs += !ret;
	close(buf);
	return ret;
}

/* Map, copy or unmap any of the BARs, whether it is there or not. */
static int64_t disorder(struct squall *squall, struct dice *dice)
{
	struct storm *storm = &squall->storm;
	const int fd = storm->iommufd, space = storm->chaos_space;
	const uint64_t iova = IOVA + roll(dice, MANY_PAGES) * PAGE;
	const uint64_t other = IOVA + roll(dice, MANY_PAGES) * PAGE;
	const uint64_t size = (1 + roll(dice, 4)) * PAGE;
	char *bar = (char *)window(squall, roll(dice, TARGETS)) + roll(dice, 4) * PAGE;

	switch (roll(dice, 16)) {
	case 0:
		return unmap_all(fd, space);
	case 1 ... 5:
		return ioas_unmap(fd, space, iova, size);
	case 6:
		return ioas_copy(fd, space, iova, space, other, size);
	case 7:
		return ioas_copy(fd, space, iova, storm->slots_space,
				 PEER_IOVA(roll(dice, PEERS)), size);
	case 8:
		return map_buf(squall, space, iova);
	case 9 ... 11:
		return ioas_map(fd, space, bar, size, iova);
	default:
		return ioasid_map(fd, space, bar, iova, size, 1 + roll(dice, 3));
	}
}

static void *vandal(void *data)
{
	struct thread *self = data;
	struct squall *squall = self->squall;
	int64_t ret;

	while (!squall->storm.stop) {
		ret = coming(&squall->storm, "MAP, COPY or UNMAP", disorder(squall, &self->dice));
		squall->found += ret >= 0;
		squall->not_found += ret == -EFAULT;
	}
	return NULL;
}

/* Maps what it has inherited, and ends in some way, with it or without. */
static void be_mortal(struct squall *squall, unsigned int target, uint64_t iova, unsigned int how)
{
	ioasid_map(squall->storm.iommufd, squall->storm.chaos_space, window(squall, target), iova,
		   PAGE, IOASID_RW);
	if (how == 0)
		_exit(0);
	if (how == 1)
		execl("/bin/sleep", "sleep", "1", NULL);
	if (how == 2)
		munmap(window(squall, target), BAR_SIZE);
	pause();
}

static void *mortals(void *data)
{
	struct thread *self = data;
	struct squall *squall = self->squall;
	unsigned int target, how;
	uint64_t iova;
	pid_t child;

	while (!squall->storm.stop) {
		target = roll(&self->dice, TARGETS);
		how = roll(&self->dice, 4);
		iova = IOVA + roll(&self->dice, MANY_PAGES) * PAGE;
		child = fork();
		if (!child)
			be_mortal(squall, target, iova, how);
		edu_sleep_ms(roll(&self->dice, 50));
		if (child > 0) {
			kill(child, SIGKILL);
			waitpid(child, NULL, 0);
			squall->ended++;
		}
	}
	return NULL;
}

/* Those who look, and who have the kernel look for memory. */
static void *readers(void *data)
{
	static const char *const files[] = {
		"/proc/self/fdinfo/%d", "/sys/kernel/debug/iommufd/contexts", "/proc/self/smaps",
	};
	struct thread *self = data;
	char path[64], text[4096];

	while (!self->squall->storm.stop) {
		snprintf(path, sizeof(path), files[roll(&self->dice, ARRAY_SIZE(files))],
			 self->squall->storm.iommufd);
		read_text(path, text, sizeof(text));
		if (!roll(&self->dice, 10))
			write_text("/proc/sys/vm/compact_memory", "1");
		edu_sleep_ms(roll(&self->dice, 20));
	}
	return NULL;
}

static void *(*const everybody[])(void *) = {
	staying_peer, unplugged_peer, resets, writer, mover,
	vandal, vandal, vandal, mortals, readers,
};

#define THREADS ARRAY_SIZE(everybody)

/* --- the storm ------------------------------------------------------------------------ */

/* What the device writes from now on. Its DMA is blocked wherever nothing is mapped. */
static int arm(struct squall *squall, struct edu *edu, int *id)
{
	struct storm *storm = &squall->storm;
	uint32_t *page = pages(1);
	int ret = start(squall, edu);

	*id = ret;
	if (ret < 0 || !page)
		return ret < 0 ? ret : -ENOMEM;
	*page = WRITTEN;
	ret = ioasid_map(storm->iommufd, storm->slots_space, page, IOVA, PAGE, IOASID_RW);
	ret = ret ?: vfio_attach(edu->fd, storm->slots_space);
	ret = ret ?: edu_dma(edu, EDU_READS_MEMORY, IOVA, 0, 4);
	if (unmap(storm->iommufd, storm->slots_space, IOVA, PAGE) != PAGE)
		ret = -EIO;
	munmap(page, PAGE);
	return ret;
}

static int find_devices(struct squall *squall)
{
	struct edu *drive = &squall->targets[DRIVE].edu;

	return edu_find(&squall->writer, "0000:00:05.0") ?:
	       edu_find(&squall->targets[STAYING].edu, "0000:00:06.0") ?:
	       edu_find(&squall->targets[UNPLUGGED].edu, "0000:00:07.0") ?:
	       edu_find(&squall->mover, "0000:00:08.0") ?:
	       !find_drive(drive->address, sizeof(drive->address), drive->node,
			   sizeof(drive->node));
}

static int prepare(struct squall *squall)
{
	struct iommu_vfio_ioas set = { .size = sizeof(set), .op = IOMMU_VFIO_IOAS_SET };
	struct storm *storm = &squall->storm;
	int ret = let_map_bars(true), unused;
	unsigned int i;

	squall->windows = mmap(NULL, TARGETS * BAR_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
			       -1, 0);
	if (ret || squall->windows == MAP_FAILED)
		return ret ? ret : -errno;
	storm->iommufd = open_iommufd();
	storm->slots_space = ioas_alloc(storm->iommufd);
	storm->chaos_space = ioas_alloc(storm->iommufd);
	set.ioas_id = storm->slots_space;
	ret = call(storm->iommufd, IOMMU_VFIO_IOAS, &set);
	for (i = 0; !ret && i < TARGETS; i++)
		ret = start_target(squall, i);
	return ret ?: arm(squall, &squall->writer, &unused) ?:
	       arm(squall, &squall->mover, &squall->mover_id);
}

static void blow(struct squall *squall, unsigned int seconds)
{
	struct storm *storm = &squall->storm;
	struct thread threads[THREADS];
	unsigned int i, left;

	for (i = 0; i < THREADS; i++) {
		threads[i] = (struct thread) {
			.squall = squall, .number = i, .dice = dice_of(storm, i),
		};
		if (pthread_create(&threads[i].thread, NULL, everybody[i], &threads[i]))
			ksft_exit_fail_msg("no more threads\n");
	}
	for (left = seconds; left && !storm->stale && !storm->lost && !storm->undocumented; left--)
		sleep(1);
	storm->stop = true;
	for (i = 0; i < THREADS; i++)
		pthread_join(threads[i].thread, NULL);
}

static bool nothing_left(struct squall *squall, long pins)
{
	unsigned int i;

	for (i = 0; i < TARGETS; i++)
		edu_close(&squall->targets[i].edu);
	edu_close(&squall->writer);
	edu_close(&squall->mover);
	close(squall->storm.iommufd);
	ksft_print_msg("%ld pages pinned, %ld pins more than before\n", pinned_pages(),
		       held_pins() - pins);
	return !let_map_bars(false) && !pinned_pages() && held_pins() == pins;
}

static bool everybody_had_a_turn(struct squall *squall)
{
	static const char *const losses[LOSSES] = {
		[UNMAPPED] = "unmapped", [DISABLED] = "disabled", [MUNMAPPED] = "munmap",
		[PROTECTED] = "mprotect", [REMOVED] = "unplugged",
	};
	struct storm *storm = &squall->storm;
	bool all = storm->arrived && storm->moves && squall->resets && squall->sleeps &&
		   squall->disabled && squall->found && squall->not_found && squall->bufs &&
		   squall->ended;
	unsigned int i;

	ksft_print_msg("%lu calls, %lu writes, %lu that had to arrive did, %lu moves\n",
		       storm->calls, storm->writes, storm->arrived, storm->moves);
	ksft_print_msg("%lu resets, %lu sleeps, %lu times disabled, %lu processes ended\n",
		       squall->resets, squall->sleeps, squall->disabled, squall->ended);
	ksft_print_msg("vandals: %lu good, %lu EFAULT, %lu dma-bufs\n",
		       squall->found, squall->not_found, squall->bufs);
	for (i = 0; i < LOSSES; i++) {
		ksft_print_msg("%lu times %s\n", squall->taken[i], losses[i]);
		all &= squall->taken[i] > 0;
	}
	for (i = 0; i < ARRAY_SIZE(ways); i++)
		all &= storm->maps[ways[i]] > 0;
	return all;
}

int main(int argc, char **argv)
{
	unsigned int seconds = argc > 1 ? strtoul(argv[1], NULL, 0) : 20;
	struct squall *squall;
	long pins;
	int ret;

	squall = mmap(NULL, sizeof(*squall), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	squall->storm.seed = argc > 2 ? strtoul(argv[2], NULL, 0) : (unsigned long)time(NULL);
	ksft_print_header();
	ksft_set_plan(5);
	ksft_print_msg("%u seconds, seed %u\n", seconds, squall->storm.seed);
	pins = held_pins();
	if (find_devices(squall))
		ksft_exit_fail_msg("needs edu devices at 00:05.0 to 00:08.0, and a drive\n");
	ret = prepare(squall);
	if (ret)
		ksft_exit_fail_msg("the devices cannot be used: %d\n", ret);
	blow(squall, seconds);
	ksft_test_result(!squall->storm.stale, "no write went to a BAR that was taken back\n");
	ksft_test_result(!squall->storm.lost, "every write to a BAR that is mapped arrived\n");
	ksft_test_result(!squall->storm.undocumented, "every call had a documented outcome\n");
	ksft_test_result(nothing_left(squall, pins), "nothing is left\n");
	ksft_test_result(everybody_had_a_turn(squall), "everybody had a turn\n");
	ksft_finished();
}
