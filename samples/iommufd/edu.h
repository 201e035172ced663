/* SPDX-License-Identifier: GPL-2.0 */
/*
 * QEMU's "edu" PCI device, driven from userspace through VFIO: a buffer of 4 KiB
 * and a DMA engine that copies between it and DMA addresses. Real DMA, with no
 * hardware needed.
 */
#ifndef SAMPLES_IOMMUFD_EDU_H
#define SAMPLES_IOMMUFD_EDU_H

#include <time.h>

#include "vfio_pci.h"

#define EDU_PCI_ID "0x1234:0x11e8"

#define EDU_REG_ID 0x00
#define EDU_REG_LIVENESS 0x04
#define EDU_REG_INTERRUPT_RAISE 0x60
#define EDU_REG_INTERRUPT_ACK 0x64
#define EDU_REG_DMA_SOURCE 0x80
#define EDU_REG_DMA_DEST 0x88
#define EDU_REG_DMA_COUNT 0x90
#define EDU_REG_DMA_COMMAND 0x98

#define EDU_ID 0x010000ed
#define EDU_COMMAND_RUN 1
#define EDU_COMMAND_TO_MEMORY 2
#define EDU_COMMAND_INTERRUPT 4		/* when the transfer is done */

/* Where the buffer is as the DMA engine sees it. QEMU dies of any other address. */
#define EDU_BUFFER 0x40000
#define EDU_BUFFER_SIZE 4096

/* The engine takes 100 ms for a transfer; this is when to give it up. */
#define EDU_TIMEOUT_MS 5000

struct edu {
	char address[16];	/* on the PCI bus, such as 0000:00:05.0 */
	char node[48];		/* /dev/vfio/devices/vfioN */
	int fd;			/* the open node */
	void *bar;		/* BAR 0, once mapped */
	size_t bar_size;
};

enum edu_direction { EDU_READS_MEMORY, EDU_WRITES_MEMORY };

static inline bool edu_is_edu(const char *address)
{
	char vendor[8], device[8], id[16];

	pci_sysfs_line(address, "vendor", vendor, sizeof(vendor));
	pci_sysfs_line(address, "device", device, sizeof(device));
	snprintf(id, sizeof(id), "%s:%s", vendor, device);
	return !strcmp(id, EDU_PCI_ID);
}

/*
 * Find an edu device that is bound to vfio-pci: the first one, or the one whose
 * PCI address or vfioN name is @want. -ENODEV if there is no such device.
 */
static inline int edu_find(struct edu *edu, const char *want)
{
	DIR *dir = opendir("/sys/bus/pci/devices");
	struct dirent *entry;
	int ret = -ENODEV;

	while (dir && ret && (entry = readdir(dir))) {
		if (!edu_is_edu(entry->d_name) ||
		    !vfio_find_node(entry->d_name, edu->node, sizeof(edu->node)))
			continue;
		snprintf(edu->address, sizeof(edu->address), "%.15s", entry->d_name);
		if (!want || !strcmp(want, edu->address) ||
		    !strcmp(want, strrchr(edu->node, '/') + 1))
			ret = 0;
	}
	if (dir)
		closedir(dir);
	edu->fd = -1;
	edu->bar = NULL;
	return ret;
}

static inline int edu_open(struct edu *edu)
{
	edu->fd = open(edu->node, O_RDWR | O_CLOEXEC);
	return edu->fd < 0 ? -errno : 0;
}

static inline void edu_close(struct edu *edu)
{
	if (edu->bar)
		munmap(edu->bar, edu->bar_size);
	if (edu->fd >= 0)
		close(edu->fd);
	edu->bar = NULL;
	edu->fd = -1;
}

static inline volatile uint32_t *edu_reg32(struct edu *edu, unsigned int offset)
{
	return (volatile uint32_t *)((char *)edu->bar + offset);
}

/*
 * These registers take no halves, and a 32-bit compiler would make two accesses of
 * one if it were not told that it matters.
 */
static inline void edu_write64(struct edu *edu, unsigned int offset, uint64_t value)
{
	__atomic_store_n((uint64_t *)((char *)edu->bar + offset), value, __ATOMIC_RELAXED);
}

/* Map the registers of a device that is bound to an iommufd, and see if it lives. */
static inline int edu_start(struct edu *edu)
{
	int ret = vfio_pci_start(edu->fd, &edu->bar, &edu->bar_size);

	if (ret)
		return ret;
	*edu_reg32(edu, EDU_REG_LIVENESS) = 0x600dcafe;
	if (*edu_reg32(edu, EDU_REG_ID) != EDU_ID ||
	    *edu_reg32(edu, EDU_REG_LIVENESS) != ~0x600dcafeU)
		return -EIO;
	return 0;
}

static inline bool edu_dma_busy(struct edu *edu)
{
	return *edu_reg32(edu, EDU_REG_DMA_COMMAND) & EDU_COMMAND_RUN;
}

/*
 * Start copying @size bytes between @iova and the device's buffer at @offset.
 * The device must not be busy, and the bytes must lie inside the buffer.
 */
static inline int edu_dma_start(struct edu *edu, enum edu_direction direction, uint64_t iova,
				unsigned int offset, unsigned int size)
{
	bool to_memory = direction == EDU_WRITES_MEMORY;
	uint64_t buffer = EDU_BUFFER + offset;

	if (offset > EDU_BUFFER_SIZE || size > EDU_BUFFER_SIZE - offset)
		return -EINVAL;
	edu_write64(edu, EDU_REG_DMA_SOURCE, to_memory ? buffer : iova);
	edu_write64(edu, EDU_REG_DMA_DEST, to_memory ? iova : buffer);
	edu_write64(edu, EDU_REG_DMA_COUNT, size);
	edu_write64(edu, EDU_REG_DMA_COMMAND,
		    EDU_COMMAND_RUN | (to_memory ? EDU_COMMAND_TO_MEMORY : 0));
	return 0;
}

static inline void edu_sleep_ms(unsigned int ms)
{
	struct timespec time = { ms / 1000, ms % 1000 * 1000000L };

	nanosleep(&time, NULL);
}

/*
 * Wait for the end of a transfer. The engine does not say whether its accesses
 * were allowed: look at the memory for that.
 */
static inline int edu_dma_wait(struct edu *edu)
{
	int waited;

	for (waited = 0; waited < EDU_TIMEOUT_MS; waited += 5) {
		if (!edu_dma_busy(edu))
			return 0;
		edu_sleep_ms(5);
	}
	return -ETIMEDOUT;
}

static inline int edu_dma(struct edu *edu, enum edu_direction direction, uint64_t iova,
			  unsigned int offset, unsigned int size)
{
	int ret = edu_dma_start(edu, direction, iova, offset, size);

	return ret ? ret : edu_dma_wait(edu);
}

#endif /* SAMPLES_IOMMUFD_EDU_H */
