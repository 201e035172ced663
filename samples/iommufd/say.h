/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How a sample speaks to a person: headings, numbered steps, details below them,
 * and failures that say what was being done.
 */
#ifndef SAMPLES_IOMMUFD_SAY_H
#define SAMPLES_IOMMUFD_SAY_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline void say(const char *what)
{
	puts(what);
	fflush(stdout);
}

__attribute__((format(printf, 1, 2)))
static inline void step(const char *format, ...)
{
	static int number;
	va_list args;

	va_start(args, format);
	printf("%2d. ", ++number);
	vprintf(format, args);
	putchar('\n');
	fflush(stdout);
	va_end(args);
}

__attribute__((format(printf, 1, 2)))
static inline void detail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	printf("      ");
	vprintf(format, args);
	putchar('\n');
	fflush(stdout);
	va_end(args);
}

__attribute__((noreturn))
static inline void fail(const char *what)
{
	fprintf(stderr, "FAILED: %s\n", what);
	exit(1);
}

/* Pass @result on, or end the program if it is a negative errno. */
__attribute__((format(printf, 2, 3)))
static inline int check(int result, const char *format, ...)
{
	va_list args;

	if (result >= 0)
		return result;
	va_start(args, format);
	fprintf(stderr, "FAILED: ");
	vfprintf(stderr, format, args);
	fprintf(stderr, ": %s\n", strerror(-result));
	va_end(args);
	exit(1);
}

#endif /* SAMPLES_IOMMUFD_SAY_H */
