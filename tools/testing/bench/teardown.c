// SPDX-License-Identifier: GPL-2.0
/*
 * The rows about the end of a process: how much longer it takes to kill one that
 * has its memory mapped than one that has the same memory and device, but nothing
 * mapped.
 */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

static void hold(struct bench *bench, const struct row *row, size_t size, bool mapped, int pipe)
{
	struct memory memory;
	struct space space;
	const char *wrong = memory_get(&memory, row->kind, size);

	if (wrong)
		fail("%s", wrong);
	open_space(bench, &space);
	if (mapped)
		map(&space, memory.start, IOVA, memory.size);
	if (write(pipe, "", 1) != 1)
		fail("nobody waits for the process to be killed");
	for (;;)
		pause();
}

static uint64_t time_to_kill(struct bench *bench, const struct row *row, size_t size, bool mapped)
{
	uint64_t start;
	int ready[2];
	char byte;
	pid_t pid;

	if (pipe(ready))
		fail("there is no pipe");
	pid = fork();
	if (pid < 0)
		fail("there is no process");
	if (!pid) {
		close(ready[0]);
		hold(bench, row, size, mapped, ready[1]);
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 1)
		fail("the process to be killed has died by itself");
	close(ready[0]);
	start = now();
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return now() - start;
}

/*
 * The difference may be less than nothing: memory that is still pinned when its
 * process ends is freed by whoever unpins it, and that can be cheaper.
 */
const char *run_exit(struct bench *bench, const struct row *row, struct memory *memory)
{
	uint64_t time, base = UINT64_MAX;
	int i, runs = (bench->runs + 1) / 2;

	for (i = 0; i < runs; i++) {
		time = time_to_kill(bench, row, memory->size, false);
		if (time < base)
			base = time;
	}
	for (i = 0; i < runs; i++) {
		time = time_to_kill(bench, row, memory->size, true);
		sample(bench, row, "all", time);
		sample(bench, row, "mapped", (double)time - base);
	}
	return NULL;
}
