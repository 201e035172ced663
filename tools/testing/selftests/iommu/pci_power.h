/* SPDX-License-Identifier: GPL-2.0 */
/* What has a device of VFIO's stop to answer at its BARs, and a drive that knows all of it. */
#ifndef SELFTESTS_IOMMU_PCI_POWER_H
#define SELFTESTS_IOMMU_PCI_POWER_H

#include "ioasid.h"
#include "nvme.h"

/* In PCI_PM_CTRL. */
#define D3HOT 3

/* Read or write @size bytes at @offset of the configuration space. */
static inline int config_access(int device, unsigned int offset, void *value, size_t size,
				bool write)
{
	struct vfio_region_info config = {
		.argsz = sizeof(config),
		.index = VFIO_PCI_CONFIG_REGION_INDEX,
	};
	int ret = call(device, VFIO_DEVICE_GET_REGION_INFO, &config);
	ssize_t done;

	if (ret)
		return ret;
	done = write ? pwrite(device, value, size, config.offset + offset)
		     : pread(device, value, size, config.offset + offset);
	return done == (ssize_t)size ? 0 : -EIO;
}

/* Have it answer, or not; it may do DMA either way. */
static inline int set_memory_enable(int device, bool on)
{
	uint16_t command = PCI_COMMAND_MASTER | (on ? PCI_COMMAND_MEMORY : 0);

	return config_access(device, PCI_COMMAND, &command, 2, true);
}

static inline int set_power_state(int device, uint16_t state)
{
	uint8_t at = PCI_CAPABILITY_LIST, id = 0;
	int tries = 48;

	do {
		if (config_access(device, at, &at, 1, false) ||
		    config_access(device, at, &id, 1, false))
			return -EIO;
		if (id == PCI_CAP_ID_PM)
			return config_access(device, at + PCI_PM_CTRL, &state, 2, true);
		at += PCI_CAP_LIST_NEXT;
	} while (tries--);
	return -ENOENT;
}

/* The first drive that VFIO has. */
static inline bool find_drive(char *address, size_t size, char *node, size_t node_size)
{
	DIR *dir = opendir("/sys/bus/pci/devices");
	struct dirent *entry;
	bool found = false;
	char class[16];

	while (dir && !found && (entry = readdir(dir))) {
		pci_sysfs_line(entry->d_name, "class", class, sizeof(class));
		found = !strcmp(class, NVME_CLASS) &&
			vfio_find_node(entry->d_name, node, node_size);
		if (found)
			snprintf(address, size, "%.15s", entry->d_name);
	}
	if (dir)
		closedir(dir);
	return found;
}

#endif /* SELFTESTS_IOMMU_PCI_POWER_H */
