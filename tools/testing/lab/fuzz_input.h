/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where a fuzzer's choices come from: the bytes of an input, and random numbers
 * behind its end, which become part of it. An input that has executed code that
 * none before it did is kept, and others are made from it.
 */
#ifndef LAB_FUZZ_INPUT_H
#define LAB_FUZZ_INPUT_H

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define INPUT_SIZE 4096
#define CORPUS_SIZE 512

struct input {
	uint8_t bytes[INPUT_SIZE];
	unsigned int length, at;
	uint64_t dice;
};

static inline uint32_t input_random(struct input *input)
{
	input->dice = input->dice * 6364136223846793005UL + 1442695040888963407UL;
	return input->dice >> 33;
}

/* The next choice: 0 to @count - 1, at most 256 of them. */
static inline unsigned int pick(struct input *input, unsigned int count)
{
	if (input->at == input->length && input->length < INPUT_SIZE)
		input->bytes[input->length++] = input_random(input);
	return input->at < input->length ? input->bytes[input->at++] % count : 0;
}

static inline bool one_in(struct input *input, unsigned int count)
{
	return !pick(input, count);
}

/* An input from one that was kept, with some bytes changed and often the end cut off. */
static inline void input_mutate(struct input *input, const struct input *parent)
{
	unsigned int changes = 1 + input_random(input) % 8, i;
	uint64_t dice = input->dice;

	*input = *parent;
	input->at = 0;
	input->dice = dice;
	if (input->length && input_random(input) % 2)
		input->length = input_random(input) % input->length;
	for (i = 0; input->length && i < changes; i++)
		input->bytes[input_random(input) % input->length] = input_random(input);
}

/* --- what was executed --------------------------------------------------------- */

#define KCOV_INIT_TRACE _IOR('c', 1, unsigned long)
#define KCOV_ENABLE _IO('c', 100)
#define KCOV_WORDS 65536
#define SEEN_BITS 20

struct coverage {
	unsigned long *trace;	/* NULL where the kernel cannot tell */
	unsigned char seen[1 << SEEN_BITS];
	unsigned long count;
};

static inline void coverage_open(struct coverage *coverage)
{
	int fd = open("/sys/kernel/debug/kcov", O_RDWR | O_CLOEXEC);
	void *trace;

	if (fd < 0 || ioctl(fd, KCOV_INIT_TRACE, KCOV_WORDS))
		return;
	trace = mmap(NULL, KCOV_WORDS * sizeof(long), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (trace != MAP_FAILED && !ioctl(fd, KCOV_ENABLE, 0))
		coverage->trace = trace;
}

/* How much was executed since the last time that never was before. */
static inline unsigned int coverage_news(struct coverage *coverage)
{
	unsigned long i, count, slot;
	unsigned int news = 0;

	if (!coverage->trace)
		return 0;
	count = __atomic_load_n(&coverage->trace[0], __ATOMIC_RELAXED);
	for (i = 1; i <= count && i < KCOV_WORDS; i++) {
		slot = coverage->trace[i] * 11400714819323198485UL >> (64 - SEEN_BITS);
		news += !coverage->seen[slot];
		coverage->seen[slot] = 1;
	}
	__atomic_store_n(&coverage->trace[0], 0, __ATOMIC_RELAXED);
	coverage->count += news;
	return news;
}

/* --- inputs as text -------------------------------------------------------------- */

static inline void input_print(const struct input *input)
{
	unsigned int i;

	printf("# --input ");
	for (i = 0; i < input->at; i++)
		printf("%02x", input->bytes[i]);
	printf("\n");
}

static inline bool input_parse(struct input *input, const char *text)
{
	unsigned int byte;

	for (input->length = 0; *text && input->length < INPUT_SIZE; text += 2) {
		if (sscanf(text, "%2x", &byte) != 1 || !text[1])
			return false;
		input->bytes[input->length++] = byte;
	}
	return true;
}

#endif /* LAB_FUZZ_INPUT_H */
