/* SPDX-License-Identifier: GPL-2.0 */
/* The threads of a storm that own slots, and know what has to be in their memory. */
#ifndef LAB_STORM_WORKER_H
#define LAB_STORM_WORKER_H

#include "storm_slot.h"

static void refill(struct memory *memory, struct dice *dice)
{
	unsigned int page;

	for (page = 0; page < SLOT_PAGES; page++) {
		memory->fill[page] = 1 + roll(dice, 0x7f);
		memory->reachable[page] = true;
		memset(memory->pages + page * PAGE, memory->fill[page], PAGE);
	}
}

static bool all_bytes(const char *bytes, char value, size_t size)
{
	return bytes[0] == value && !memcmp(bytes, bytes + 1, size - 1);
}

/* What is in a page must be what was put there, and in front, what a device may have written. */
static void check_page(struct storm *storm, struct memory *memory, unsigned int page,
		       bool may_be_written, bool must_be_written)
{
	const char *bytes = memory->pages + page * PAGE;
	unsigned char pattern[DMA_SIZE];
	bool written, untouched;

	fill_pattern(pattern);
	may_be_written &= memory->reachable[page];
	written = !memcmp(bytes, pattern, DMA_SIZE);
	untouched = all_bytes(bytes, memory->fill[page], DMA_SIZE);
	if (!all_bytes(bytes + DMA_SIZE, memory->fill[page], PAGE - DMA_SIZE) ||
	    !(untouched || (written && may_be_written))) {
		if (!storm->stale++)
			ksft_print_msg("a page that is not mapped has changed\n");
		return;
	}
	if (!must_be_written || !memory->reachable[page])
		return;
	storm->arrived += written;
	if (!written && !storm->lost++)
		ksft_print_msg("a write to a page that is mapped did not arrive\n");
}

/* The page's memory is replaced: the device goes on with the old page. */
static void replace_page(struct memory *memory, unsigned int slot, unsigned int page, bool drop)
{
	char *bytes = memory->pages + page * PAGE;

	/* What is in a file stays there: only memory of this process's own is lost. */
	if (slot % 4 == 1 || slot % 4 == 2)
		return;
	if (drop)
		madvise(bytes, PAGE, MADV_DONTNEED);
	else
		mmap(bytes, PAGE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	memory->fill[page] = 0;
	memory->reachable[page] = false;
}

/* The process has nothing of a file for a while: the device has. */
static void leave_file(struct storm *storm, struct memory *memory)
{
	if (memory->file < 0)
		return;
	munmap(memory->pages, SLOT_SIZE);
	sched_yield();
	memory->pages = view_of(memory->file);
	if (memory->pages == MAP_FAILED) {
		complain(storm, "no memory for a file", -errno);
		_exit(1);
	}
}

/* Do something to the memory that must make no difference to what is mapped. */
static void disturb(struct storm *storm, struct memory *memory, unsigned int slot,
		    struct dice *dice)
{
	unsigned int page = roll(dice, SLOT_PAGES);
	char *bytes = memory->pages + page * PAGE;
	pid_t child;

	storm->disturbances++;
	switch (roll(dice, 8)) {
	case 0:
		mprotect(bytes, PAGE, PROT_NONE);
		sched_yield();
		mprotect(bytes, PAGE, PROT_READ | PROT_WRITE);
		break;
	case 1:
		replace_page(memory, slot, page, true);
		break;
	case 2:
		replace_page(memory, slot, page, false);
		break;
	case 3:
		madvise(memory->pages, SLOT_SIZE, MADV_COLD);
		madvise(memory->pages, SLOT_SIZE, MADV_PAGEOUT);
		break;
	case 4:
		if (slot % 4 == 3)
			madvise((char *)((uintptr_t)memory->pages & -HUGE), HUGE, MADV_COLLAPSE);
		break;
	case 5:
		leave_file(storm, memory);
		break;
	default:
		/* Whose page a write to memory shared by fork goes to must not change. */
		child = fork();
		if (!child) {
			if (slot % 4 == 0 || slot % 4 == 3)
				memset(bytes, 0, PAGE);
			_exit(0);
		}
		if (child > 0)
			waitpid(child, NULL, 0);
	}
}

static void wait_a_little(struct dice *dice, unsigned int ms)
{
	edu_sleep_ms(roll(dice, ms) + 1);
}

/* Another each time, and in the first round another than its neighbours: each is used soon. */
static enum way next_way(struct memory *memory, unsigned int number)
{
	enum way way = (number + memory->rounds++) % WAYS;

	return way == BY_FILE && memory->file < 0 ? BY_IOAS : way;
}

/* One round of a slot: map, be written to, unmap, be left alone. */
static void use_slot(struct storm *storm, unsigned int number, struct memory *memory,
		     struct dice *dice)
{
	struct slot *slot = &storm->slots[number];
	enum way way = next_way(memory, number);
	unsigned int turn, page, i;
	int64_t iova, bytes;

	refill(memory, dice);
	iova = map_slot(storm, memory, SLOT_IOVA(number), way);
	if (outcome(storm, "MAP of a slot", iova) < 0)
		return;
	storm->maps[way]++;
	slot->iova = iova;
	turn = ++slot->turn;
	for (i = roll(dice, 4); i; i--) {
		wait_a_little(dice, 200);
		disturb(storm, memory, number, dice);
	}
	slot->turn++;
	bytes = unmap_slot(storm, iova, roll(dice, 3));
	if (outcome(storm, "UNMAP of a slot", bytes) != SLOT_SIZE)
		complain(storm, "a slot is not all there", bytes);
	for (page = 0; page < SLOT_PAGES; page++)
		check_page(storm, memory, page, true, slot->written[page] == turn);
	refill(memory, dice);
	wait_a_little(dice, 150);
	for (page = 0; page < SLOT_PAGES; page++)
		check_page(storm, memory, page, false, false);
}

struct worker {
	struct storm *storm;
	unsigned int number;
	pthread_t thread;
};

static void *work(void *data)
{
	struct worker *worker = data;
	struct storm *storm = worker->storm;
	struct dice dice = dice_of(storm, worker->number);
	struct memory memory[SLOTS / WORKERS] = { 0 };
	unsigned int first = worker->number * (SLOTS / WORKERS), i;

	while (!storm->begun && !storm->stop)
		edu_sleep_ms(1);
	for (i = 0; i < SLOTS / WORKERS; i++) {
		if (slot_memory(&memory[i], first + i)) {
			complain(storm, "no memory for a slot", -errno);
			return NULL;
		}
	}
	while (!storm->stop) {
		i = roll(&dice, SLOTS / WORKERS);
		use_slot(storm, first + i, &memory[i], &dice);
	}
	return NULL;
}

/* Two workers in a process of their own. */
static void work_in_pairs(struct storm *storm, unsigned int first)
{
	struct worker pair[2] = {
		{ .storm = storm, .number = first },
		{ .storm = storm, .number = first + 1 },
	};

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (pthread_create(&pair[1].thread, NULL, work, &pair[1]))
		_exit(1);
	work(&pair[0]);
	pthread_join(pair[1].thread, NULL);
	_exit(pinned_pages() != 0);
}

#endif /* LAB_STORM_WORKER_H */
