/* SPDX-License-Identifier: GPL-2.0 */
/* Take PCI devices away by sysfs, and have them back. */
#ifndef LAB_HOTPLUG_H
#define LAB_HOTPLUG_H

#include "edu.h"

static inline int hotplug_write(const char *address, const char *file, const char *text)
{
	char path[96];
	int fd, ret;

	if (address)
		snprintf(path, sizeof(path), "/sys/bus/pci/devices/%.15s/%s", address, file);
	else
		snprintf(path, sizeof(path), "/sys/bus/pci/%s", file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return ret;
}

/* Returns when nobody has the device open any more. */
static inline int hotplug_remove(const struct edu *edu)
{
	return hotplug_write(edu->address, "remove", "1");
}

/* Have the device found again, and give it to vfio-pci. */
static inline int hotplug_restore(struct edu *edu)
{
	char address[sizeof(edu->address)];
	int ret;

	memcpy(address, edu->address, sizeof(address));
	ret = hotplug_write(NULL, "rescan", "1");
	if (!ret)
		ret = hotplug_write(address, "driver_override", "vfio-pci");
	if (!ret)
		ret = hotplug_write(NULL, "drivers_probe", address);
	return ret ? ret : edu_find(edu, address);
}

#endif /* LAB_HOTPLUG_H */
