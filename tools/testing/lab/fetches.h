/* SPDX-License-Identifier: GPL-2.0 */
/* How often the kernel uses a byte of a program's memory: by the processor's watchpoints. */
#ifndef LAB_FETCHES_H
#define LAB_FETCHES_H

#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* HW_BREAKPOINT_RW or HW_BREAKPOINT_W: there is none for reads alone on all processors. */
static inline int watch_begin(const void *byte, unsigned int what)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_BREAKPOINT,
		.size = sizeof(attr),
		.exclude_user = 1,
		.bp_type = what,
		.bp_addr = (uintptr_t)byte,
		.bp_len = HW_BREAKPOINT_LEN_1,
	};

	return syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

/* How often the kernel did that since, on behalf of this thread; -1 if it cannot be told. */
static inline long watch_end(int watch)
{
	uint64_t count;
	bool counted = read(watch, &count, sizeof(count)) == sizeof(count);

	close(watch);
	return counted ? (long)count : -1;
}

#endif /* LAB_FETCHES_H */
