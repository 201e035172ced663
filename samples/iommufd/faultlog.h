/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the IOMMU drivers report about blocked DMA, read from the kernel's log.
 * Reports are rate limited there: who misses one repeats the DMA a little later.
 */
#ifndef SAMPLES_IOMMUFD_FAULTLOG_H
#define SAMPLES_IOMMUFD_FAULTLOG_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "edu.h"

/* Open the log at its end: only what is reported from now on is read. */
static inline int faultlog_open(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	lseek(fd, 0, SEEK_END);
	return fd;
}

/* If @line reports a fault of the PCI device @device, the address of it. */
static inline bool faultlog_parse(const char *line, const char *device, uint64_t *address)
{
	static const struct {
		const char *report;	/* is in every report of this driver */
		const char *prefix;	/* comes before the address */
		bool names_device;
	} formats[] = {
		{ "DMAR: [DMA ", "fault addr ", true },		/* Intel VT-d */
		{ "[IO_PAGE_FAULT ", "address=", true },	/* AMD-Vi */
		{ " event: F_", " iova: ", true },		/* Arm SMMUv3 */
		{ " fault from EP ", " at ", false },		/* virtio-iommu */
	};
	const char *found;
	size_t i;

	for (i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		if (!strstr(line, formats[i].report))
			continue;
		if (formats[i].names_device && !strstr(line, device))
			continue;
		found = strstr(line, formats[i].prefix);
		if (!found)
			continue;
		*address = strtoull(found + strlen(formats[i].prefix), NULL, 16);
		return true;
	}
	return false;
}

/*
 * Read the log up to its end, or to the first fault of @device between @first
 * and @last. @report gets the text of the report.
 */
static inline bool faultlog_find(int fd, const char *device, uint64_t first, uint64_t last,
				 char *report, size_t size)
{
	char record[2048], *text;
	uint64_t address;
	ssize_t length;

	for (;;) {
		length = read(fd, record, sizeof(record) - 1);
		if (length < 0 && errno == EPIPE)
			continue;	/* Old records were overwritten; go on. */
		if (length <= 0)
			return false;
		record[length] = 0;
		text = strchr(record, ';');
		if (!text || !faultlog_parse(text, device, &address))
			continue;
		/* QEMU's AMD IOMMU says 0 for whatever address it is. */
		if (address && (address < first || address > last))
			continue;
		snprintf(report, size, "%.*s", (int)strcspn(text + 1, "\n"), text + 1);
		return true;
	}
}

/*
 * Have @edu access @size bytes at @iova, where it must not, up to @tries times
 * at intervals of a second. True as soon as one of these was reported.
 */
static inline bool faultlog_provoke(int fd, struct edu *edu, enum edu_direction direction,
				    uint64_t iova, unsigned int size, int tries,
				    char *report, size_t report_size)
{
	/* What came before may have been reported many times over. */
	lseek(fd, 0, SEEK_END);
	while (tries--) {
		if (edu_dma(edu, direction, iova, 0, size))
			return false;
		edu_sleep_ms(100);
		if (faultlog_find(fd, edu->address, iova, iova + size - 1, report, report_size))
			return true;
		if (tries)
			edu_sleep_ms(1000);
	}
	return false;
}

#endif /* SAMPLES_IOMMUFD_FAULTLOG_H */
