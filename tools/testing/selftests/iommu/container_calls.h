/* SPDX-License-Identifier: GPL-2.0 */
/* The calls of a VFIO container and its group, one function each, as in iommufd_calls.h. */
#ifndef SELFTESTS_IOMMU_CONTAINER_CALLS_H
#define SELFTESTS_IOMMU_CONTAINER_CALLS_H

#include "iommufd_calls.h"

/* Open the group of a PCI device; -1 if it has no node. */
static inline int open_group(const char *address)
{
	char path[96], target[96];
	ssize_t length;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%.15s/iommu_group", address);
	length = readlink(path, target, sizeof(target) - 1);
	if (length < 0)
		return -1;
	target[length] = 0;
	snprintf(path, sizeof(path), "/dev/vfio/%.20s", strrchr(target, '/') + 1);
	return open(path, O_RDWR | O_CLOEXEC);
}

static inline struct vfio_iommu_type1_dma_map map_of(void *memory, uint64_t iova, uint64_t size)
{
	return (struct vfio_iommu_type1_dma_map) {
		.argsz = sizeof(struct vfio_iommu_type1_dma_map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)memory,
		.iova = iova,
		.size = size,
	};
}

static inline int container_map(int fd, void *memory, uint64_t iova, uint64_t size)
{
	struct vfio_iommu_type1_dma_map arg = map_of(memory, iova, size);

	return call(fd, VFIO_IOMMU_MAP_DMA, &arg);
}

static inline int64_t container_unmap(int fd, uint64_t iova, uint64_t size, uint32_t flags)
{
	struct vfio_iommu_type1_dma_unmap arg = {
		.argsz = sizeof(arg), .flags = flags, .iova = iova, .size = size,
	};
	int ret = call(fd, VFIO_IOMMU_UNMAP_DMA, &arg);

	return ret ? ret : (int64_t)arg.size;
}

static inline int join(int group, int fd)
{
	return call(group, VFIO_GROUP_SET_CONTAINER, &fd);
}

#endif /* SELFTESTS_IOMMU_CONTAINER_CALLS_H */
