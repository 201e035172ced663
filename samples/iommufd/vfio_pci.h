/* SPDX-License-Identifier: GPL-2.0 */
/*
 * PCI devices of VFIO: where their nodes are, and how to get at their registers.
 */
#ifndef SAMPLES_IOMMUFD_VFIO_PCI_H
#define SAMPLES_IOMMUFD_VFIO_PCI_H

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/pci_regs.h>
#include <linux/vfio.h>

/* Parts of a device are told apart by bits of the file's offset beyond the 32nd. */
static_assert(sizeof(off_t) == 8, "compile with -D_FILE_OFFSET_BITS=64");

/* First line of a file in the sysfs folder of a PCI device. */
static inline void pci_sysfs_line(const char *address, const char *name, char *line, int size)
{
	char path[96];
	FILE *file;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%.15s/%s", address, name);
	line[0] = 0;
	file = fopen(path, "r");
	if (!file)
		return;
	if (!fgets(line, size, file))
		line[0] = 0;
	fclose(file);
	line[strcspn(line, "\n")] = 0;
}

/* The VFIO node of a PCI device; false if it is not bound to vfio-pci. */
static inline bool vfio_find_node(const char *address, char *node, int size)
{
	struct dirent *entry;
	bool found = false;
	char path[96];
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%.15s/vfio-dev", address);
	dir = opendir(path);
	while (dir && !found && (entry = readdir(dir))) {
		/* vfioN, or noiommu-vfioN without an IOMMU. */
		found = strstr(entry->d_name, "vfio");
		if (found)
			snprintf(node, size, "/dev/vfio/devices/%.20s", entry->d_name);
	}
	if (dir)
		closedir(dir);
	return found;
}

/* Let a device answer on its BARs and do DMA. */
static inline int vfio_pci_enable(int device)
{
	struct vfio_region_info config = {
		.argsz = sizeof(config),
		.index = VFIO_PCI_CONFIG_REGION_INDEX,
	};
	uint16_t command;

	if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &config))
		return -errno;
	if (pread(device, &command, 2, config.offset + PCI_COMMAND) != 2)
		return -EIO;
	command |= PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	if (pwrite(device, &command, 2, config.offset + PCI_COMMAND) != 2)
		return -EIO;
	return 0;
}

/* The same, and map BAR 0. The device must be bound to an iommufd. */
static inline int vfio_pci_start(int device, void **bar, size_t *size)
{
	struct vfio_region_info region = {
		.argsz = sizeof(region),
		.index = VFIO_PCI_BAR0_REGION_INDEX,
	};
	int ret = vfio_pci_enable(device);
	void *registers;

	if (ret)
		return ret;
	if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &region))
		return -errno;
	registers = mmap(NULL, region.size, PROT_READ | PROT_WRITE, MAP_SHARED, device,
			 region.offset);
	if (registers == MAP_FAILED)
		return -errno;
	*bar = registers;
	*size = region.size;
	return 0;
}

#endif /* SAMPLES_IOMMUFD_VFIO_PCI_H */
