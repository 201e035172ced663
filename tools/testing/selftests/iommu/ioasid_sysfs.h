/* SPDX-License-Identifier: GPL-2.0 */
/* PCI devices as sysfs shows them: who drives them, and how they come and go. */
#ifndef SELFTESTS_IOMMU_IOASID_SYSFS_H
#define SELFTESTS_IOMMU_IOASID_SYSFS_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Whether the device is there and has a file, or link, of that name; any, if "". */
static inline bool device_exists(const char *address, const char *name)
{
	char path[96];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%.15s/%s", address, name);
	return !access(path, F_OK);
}

/* How many others in its IOMMU group have a driver, other than @harmless. */
static inline int busy_relatives(const char *address, const char *harmless)
{
	char path[96], link[512], driver[256];
	struct dirent *entry;
	ssize_t length;
	int busy = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%.15s/iommu_group/devices", address);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		snprintf(link, sizeof(link), "%s/%.15s/driver", path, entry->d_name);
		length = readlink(link, driver, sizeof(driver) - 1);
		if (length < 0 || entry->d_name[0] == '.' || !strcmp(entry->d_name, address))
			continue;
		driver[length] = 0;
		busy += !harmless || strcmp(strrchr(driver, '/') + 1, harmless);
	}
	if (dir)
		closedir(dir);
	return busy;
}

static inline int sysfs_write(const char *folder, const char *name, const char *text)
{
	char path[128];
	ssize_t written;
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/%s/%s", folder, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	written = write(fd, text, strlen(text));
	close(fd);
	return written < 0 ? -errno : 0;
}

static inline int device_write(const char *address, const char *name, const char *text)
{
	char folder[32];

	snprintf(folder, sizeof(folder), "devices/%.15s", address);
	return sysfs_write(folder, name, text);
}

static inline int give_to(const char *address, const char *driver)
{
	int ret;

	device_write(address, "driver/unbind", address);
	ret = device_write(address, "driver_override", driver);
	return ret ? ret : sysfs_write("", "drivers_probe", address);
}

#endif /* SELFTESTS_IOMMU_IOASID_SYSFS_H */
