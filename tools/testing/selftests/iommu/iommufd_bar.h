/* SPDX-License-Identifier: GPL-2.0 */
/* The registers of a device as a dma-buf, which can be mapped for others. */
#ifndef SELFTESTS_IOMMU_IOMMUFD_BAR_H
#define SELFTESTS_IOMMU_IOMMUFD_BAR_H

#include "edu.h"
#include "ioasid.h"

/* Newer than what is installed, maybe. */
#ifndef VFIO_DEVICE_FEATURE_DMA_BUF
#define VFIO_DEVICE_FEATURE_DMA_BUF 11
#endif

/* A part of the device's BAR 0, open with @flags, or a negative errno. */
static inline int bar_buf_open(const struct edu *edu, uint64_t offset, uint64_t length,
			       uint32_t flags)
{
	struct {
		struct vfio_device_feature feature;
		uint32_t region_index;
		uint32_t open_flags;
		uint32_t flags;
		uint32_t nr_ranges;
		uint64_t offset;
		uint64_t length;
	} arg = {
		.feature = {
			.argsz = sizeof(arg),
			.flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_BUF,
		},
		.region_index = VFIO_PCI_BAR0_REGION_INDEX,
		.open_flags = flags | O_CLOEXEC,
		.nr_ranges = 1,
		.offset = offset,
		.length = length,
	};

	return call(edu->fd, VFIO_DEVICE_FEATURE, &arg);
}

static inline int bar_buf(const struct edu *edu, uint64_t offset, uint64_t length)
{
	return bar_buf_open(edu, offset, length, O_RDWR);
}

#endif /* SELFTESTS_IOMMU_IOMMUFD_BAR_H */
