/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The calls that a VMM makes on /dev/iommu and on a VFIO device, one function
 * each. All return 0 or a positive result, or a negative errno.
 */
#ifndef SAMPLES_IOMMUFD_IOASID_H
#define SAMPLES_IOMMUFD_IOASID_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include <linux/iommu.h>
#include <linux/vfio.h>

/* What a MAP_DMA argument looks like in memory: the header, then the payload. */
struct ioasid_map {
	struct iommu_ioasid_dma_op op;
	struct vfio_iommu_type1_dma_map map;
};

struct ioasid_unmap {
	struct iommu_ioasid_dma_op op;
	struct vfio_iommu_type1_dma_unmap unmap;
};

#define IOASID_READ VFIO_DMA_MAP_FLAG_READ
#define IOASID_WRITE VFIO_DMA_MAP_FLAG_WRITE
#define IOASID_RW (IOASID_READ | IOASID_WRITE)

static inline int call(int fd, unsigned long request, void *arg)
{
	int ret = ioctl(fd, request, arg);

	return ret < 0 ? -errno : ret;
}

/* Returns the device's id in the context that @iommufd stands for. */
static inline int vfio_bind(int device, int iommufd)
{
	struct vfio_device_bind_iommufd bind = {
		.argsz = sizeof(bind),
		.iommufd = iommufd,
	};
	int ret = call(device, VFIO_DEVICE_BIND_IOMMUFD, &bind);

	return ret < 0 ? ret : (int)bind.out_devid;
}

static inline int vfio_attach(int device, int ioasid)
{
	struct vfio_device_attach_iommufd_pt attach = {
		.argsz = sizeof(attach),
		.pt_id = ioasid,
	};

	return call(device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach);
}

static inline int vfio_detach(int device)
{
	struct vfio_device_detach_iommufd_pt detach = {
		.argsz = sizeof(detach),
	};

	return call(device, VFIO_DEVICE_DETACH_IOMMUFD_PT, &detach);
}

/* Before a device is bound or an IOASID allocated, the extension needs IOMMU_EXT_EXPLICIT. */
static inline int iommu_check_extension(int iommufd, unsigned long extension)
{
	return call(iommufd, IOMMU_CHECK_EXTENSION, (void *)extension);
}

/*
 * All there is to know about a device, with the capabilities behind it. The
 * first call tells how much memory the second one needs. The caller frees it.
 */
static inline int device_get_info(int iommufd, int device_id, struct iommu_device_info **result)
{
	struct iommu_device_info first = {
		.argsz = sizeof(first),
		.dev_cookie = device_id,
	};
	int ret = call(iommufd, IOMMU_DEVICE_GET_INFO, &first);
	struct iommu_device_info *info;

	*result = NULL;
	if (ret)
		return ret;
	info = calloc(1, first.argsz);
	if (!info)
		return -ENOMEM;
	info->argsz = first.argsz;
	info->dev_cookie = device_id;
	ret = call(iommufd, IOMMU_DEVICE_GET_INFO, info);
	if (ret)
		free(info);
	else
		*result = info;
	return ret;
}

/* The ranges of addresses that the device can use, or NULL if none are told. */
static inline struct vfio_iommu_type1_info_cap_iova_range *
device_iova_ranges(struct iommu_device_info *info)
{
	uint32_t offset = info->flags & IOMMU_DEVICE_INFO_CAPS ? info->cap_offset : 0;

	while (offset) {
		struct vfio_info_cap_header *header = (void *)((char *)info + offset);

		if (header->id == VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE && header->version == 1)
			return (void *)header;
		offset = header->next;
	}
	return NULL;
}

/* Returns the IOASID of a space of 2^@addr_width addresses. */
static inline int ioasid_alloc(int iommufd, unsigned int addr_width)
{
	struct iommu_ioasid_alloc alloc = {
		.argsz = sizeof(alloc),
		.type = IOMMU_IOASID_TYPE_KERNEL_TYPE1V2,
		.addr_width = addr_width,
	};

	return call(iommufd, IOMMU_IOASID_ALLOC, &alloc);
}

/* Returns the IOASID of a space of the addresses @first to @last. */
static inline int ioasid_alloc_window(int iommufd, uint64_t first, uint64_t last)
{
	struct iommu_ioasid_alloc alloc = {
		.argsz = sizeof(alloc),
		.flags = IOMMU_IOASID_IOVA_WINDOW,
		.type = IOMMU_IOASID_TYPE_KERNEL_TYPE1V2,
		.iova_first = first,
		.iova_last = last,
	};

	return call(iommufd, IOMMU_IOASID_ALLOC, &alloc);
}

static inline int ioasid_free(int iommufd, int ioasid)
{
	__s32 id = ioasid;

	return call(iommufd, IOMMU_IOASID_FREE, &id);
}

static inline int ioasid_map(int iommufd, int ioasid, const void *memory, uint64_t iova,
			     uint64_t size, uint32_t access)
{
	struct ioasid_map arg = {
		.op = { .argsz = sizeof(arg), .ioasid = ioasid },
		.map = {
			.argsz = sizeof(arg.map),
			.flags = access,
			.vaddr = (uintptr_t)memory,
			.iova = iova,
			.size = size,
		},
	};

	return call(iommufd, IOMMU_MAP_DMA, &arg);
}

/* Says in @unmapped, unless that is NULL, how many bytes were mapped there. */
static inline int ioasid_unmap(int iommufd, int ioasid, uint64_t iova, uint64_t size,
			       uint64_t *unmapped)
{
	struct ioasid_unmap arg = {
		.op = { .argsz = sizeof(arg), .ioasid = ioasid },
		.unmap = {
			.argsz = sizeof(arg.unmap),
			.iova = iova,
			.size = size,
		},
	};
	int ret = call(iommufd, IOMMU_UNMAP_DMA, &arg);

	if (unmapped)
		*unmapped = ret ? 0 : arg.unmap.size;
	return ret;
}

#endif /* SAMPLES_IOMMUFD_IOASID_H */
