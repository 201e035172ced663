/* SPDX-License-Identifier: GPL-2.0 */
/* Control groups, version 2, in which a child process of a test does something. */
#ifndef SELFTESTS_IOMMU_CGROUP_H
#define SELFTESTS_IOMMU_CGROUP_H

#include <sys/stat.h>

#include "ioasid_utils.h"

#define CGROUPS "/sys/fs/cgroup/"

static inline bool write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	close(fd);
	return good;
}

/* Make the group @name, with the controllers that the kernel has. */
static inline bool cgroup_make(const char *name)
{
	static const char *const controllers[] = { "+pids", "+memory", "+cpu", "+hugetlb" };
	char path[64];
	unsigned int i;

	for (i = 0; i < sizeof(controllers) / sizeof(controllers[0]); i++)
		write_text(CGROUPS "cgroup.subtree_control", controllers[i]);
	snprintf(path, sizeof(path), CGROUPS "%s", name);
	rmdir(path);	/* left behind by a test that was killed */
	return !mkdir(path, 0700);
}

static inline bool cgroup_remove(const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), CGROUPS "%s", name);
	return !rmdir(path);
}

static inline bool cgroup_set(const char *name, const char *file, const char *text)
{
	char path[96];

	snprintf(path, sizeof(path), CGROUPS "%s/%s", name, file);
	return write_text(path, text);
}

/* From here on, the process is in the group, and what it gets is charged to that. */
static inline bool cgroup_enter(const char *name)
{
	return cgroup_set(name, "cgroup.procs", "0");
}

/* The number in the line of a file that begins with @key; -1 if there is none. */
static inline long cgroup_get(const char *name, const char *file, const char *key)
{
	char path[96];

	snprintf(path, sizeof(path), CGROUPS "%s/%s", name, file);
	return counter(path, key);
}

#endif /* SELFTESTS_IOMMU_CGROUP_H */
