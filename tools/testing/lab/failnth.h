/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Have one allocation, or one copy from or to userspace, of the next calls fail:
 * see Documentation/fault-injection of the kernel. Only what a module does, or what
 * is done on its behalf, counts: failures elsewhere prove nothing about it.
 */
#ifndef LAB_FAILNTH_H
#define LAB_FAILNTH_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static inline int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int ret = fd < 0 || write(fd, text, strlen(text)) < 0 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	return ret;
}

/* Write @value to the file @name of each kind of fault. */
static inline int failnth_setting(const char *name, const char *value)
{
	static const char *const kinds[] = { "failslab", "fail_page_alloc", "fail_usercopy" };
	char path[96];
	unsigned int i;
	int ret = 0;

	for (i = 0; !ret && i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		snprintf(path, sizeof(path), "/sys/kernel/debug/%s/%s", kinds[i], name);
		ret = write_text(path, value);
	}
	return ret;
}

static inline int failnth_range(const char *kind, unsigned long start, unsigned long end)
{
	char name[32], value[32];
	int ret;

	snprintf(name, sizeof(name), "%s-start", kind);
	snprintf(value, sizeof(value), "0x%lx", start);
	ret = failnth_setting(name, value);
	snprintf(name, sizeof(name), "%s-end", kind);
	snprintf(value, sizeof(value), "0x%lx", end);
	return ret ? ret : failnth_setting(name, value);
}

/* Where something begins, and ends; both are 0 if it is not there. */
struct failnth_code {
	unsigned long module[2], function[2];
};

/*
 * Finds the code of @module, and that of @function in the kernel itself. Code is sorted by
 * address, as far as the kernel's own goes. Takes seconds where there are many symbols.
 */
static inline void failnth_find(struct failnth_code *code, const char *module,
				const char *function)
{
	unsigned long *found = code->module, *skipped = code->function;
	FILE *file = fopen("/proc/kallsyms", "r");
	char line[512], name[256], owner[64], type;
	unsigned long address;
	int fields;

	while (file && fgets(line, sizeof(line), file)) {
		fields = sscanf(line, "%lx %c %255s [%63[^]]", &address, &type, name, owner);
		if (skipped[0] && !skipped[1])
			skipped[1] = address;
		if (fields == 3 && !strcmp(name, function))
			skipped[0] = address;
		if (fields < 4 || (type | 0x20) != 't' || strcmp(owner, module))
			continue;
		if (!found[0] || address < found[0])
			found[0] = address;
		/* How long the last function is nobody says. */
		if (address + 4096 > found[1])
			found[1] = address + 4096;
	}
	if (file)
		fclose(file);
}

/*
 * Count what happens inside of the module, but with @spare nothing inside of the function:
 * every allocation there is, and the log is for what goes wrong.
 */
static inline int failnth_prepare(const struct failnth_code *code, bool spare)
{
	const unsigned long *found = code->module, *skipped = code->function;
	int ret;

	if (!found[0] || !skipped[1])
		return -ENOENT;
	ret = failnth_setting("verbose", "0");
	if (!ret)
		ret = failnth_setting("stacktrace-depth", "32");
	if (!ret)
		ret = failnth_range("require", found[0], found[1]);
	if (!ret)
		ret = failnth_range("reject", spare ? skipped[0] : 0, spare ? skipped[1] : 0);
	if (!ret)
		ret = write_text("/sys/kernel/debug/failslab/ignore-gfp-wait", "N");
	if (!ret)
		ret = write_text("/sys/kernel/debug/fail_page_alloc/ignore-gfp-wait", "N");
	if (!ret)
		ret = write_text("/sys/kernel/debug/fail_page_alloc/ignore-gfp-highmem", "N");
	return ret ? ret : write_text("/sys/kernel/debug/fail_page_alloc/min-order", "0");
}

/* The calling thread's own switch; -errno if the kernel has none. */
static inline int failnth_open(void)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/fail-nth", gettid());
	fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* From here on, the @nth one fails. If this copy from userspace is the one, try again. */
static inline void failnth_set(int fd, unsigned int nth)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", nth);
	while (pwrite(fd, text, strlen(text), 0) < 0)
		if (errno != EFAULT)
			abort();
}

/* True if one has failed since. From here on, none does. */
static inline bool failnth_happened(int fd)
{
	char text[16] = "";
	ssize_t length = pread(fd, text, sizeof(text) - 1, 0);

	/* If it is this copy to userspace that fails, nothing before it did. */
	if (length < 0)
		return false;
	failnth_set(fd, 0);
	return atoi(text) == 0;
}

#endif /* LAB_FAILNTH_H */
