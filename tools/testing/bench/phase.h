/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How the benchmark tells the plugin that counts instructions (count.c) what it is
 * about to do: by an instruction that does nothing else.
 */
#ifndef TOOLS_TESTING_BENCH_PHASE_H
#define TOOLS_TESTING_BENCH_PHASE_H

#define PHASE_OTHER 0
#define PHASE_MAP 1
#define PHASE_UNMAP 2
#define PHASE_ATTACH 3
#define PHASES 4

/* The displacement of a "nopl"; its low byte is the phase. */
#define PHASE_MARK 0x69766100

static inline __attribute__((always_inline)) void phase(const int number)
{
#ifdef __x86_64__
	asm volatile("nopl %c0(%%rax)" : : "i"(PHASE_MARK + number) : "memory");
#else
	(void)number;
#endif
}

#endif /* TOOLS_TESTING_BENCH_PHASE_H */
