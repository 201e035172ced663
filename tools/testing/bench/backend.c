// SPDX-License-Identifier: GPL-2.0
/*
 * VFIO type1, mainline's C iommufd, and this driver: by the IOASID calls, by
 * mainline's, and by those with one thread for each call.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/vfio.h>
#include IOMMUFD_H

#include "backend.h"
#include "../../../samples/iommufd/edu.h"
#include "../../../samples/iommufd/ioasid.h"

/* The addresses that every IOMMU of interest can translate. */
#define ADDR_WIDTH 48

static int open_rw(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* --- VFIO type1: container and groups --- */

static int type1_open(struct space *space)
{
	space->fd = open_rw("/dev/vfio/vfio");
	return space->fd < 0 ? space->fd : 0;
}

static int group_number(const char *address)
{
	char path[96], target[256];
	ssize_t length;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%.15s/iommu_group", address);
	length = readlink(path, target, sizeof(target) - 1);
	if (length < 0)
		return -errno;
	target[length] = 0;
	return atoi(strrchr(target, '/') + 1);
}

static int type1_bind(struct space *space, const char *address, struct attached *device)
{
	int number = group_number(address);
	char path[48];

	(void)space;
	if (number < 0)
		return number;
	snprintf(path, sizeof(path), "/dev/vfio/%d", number);
	device->group = open_rw(path);
	return device->group < 0 ? device->group : 0;
}

static int type1_attach(struct space *space, const char *address, struct attached *device)
{
	int ret = call(device->group, VFIO_GROUP_SET_CONTAINER, &space->fd);

	if (!ret && !space->count)
		ret = call(space->fd, VFIO_SET_IOMMU, (void *)VFIO_TYPE1v2_IOMMU);
	if (ret)
		return ret;
	device->fd = call(device->group, VFIO_GROUP_GET_DEVICE_FD, (void *)address);
	return device->fd < 0 ? device->fd : 0;
}

static int type1_map(struct space *space, void *memory, uint64_t iova, uint64_t size)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)memory,
		.iova = iova,
		.size = size,
	};

	return call(space->fd, VFIO_IOMMU_MAP_DMA, &map);
}

static int type1_unmap(struct space *space, uint64_t iova, uint64_t size)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap),
		.iova = iova,
		.size = size,
	};
	int ret = call(space->fd, VFIO_IOMMU_UNMAP_DMA, &unmap);

	return ret ? ret : unmap.size == size ? 0 : -ENOENT;
}

/* --- what both kinds of iommufd have in common --- */

static int cdev_bind(struct space *space, const char *address, struct attached *device)
{
	char node[48];
	int ret;

	if (!vfio_find_node(address, node, sizeof(node)))
		return -ENODEV;
	device->fd = open_rw(node);
	if (device->fd < 0)
		return device->fd;
	ret = vfio_bind(device->fd, space->fd);
	return ret < 0 ? ret : 0;
}

static int cdev_attach(struct space *space, const char *address, struct attached *device)
{
	(void)address;
	return vfio_attach(device->fd, space->id);
}

/* --- mainline's iommufd --- */

static int iommufd_open(struct space *space)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
	int ret;

	space->fd = open_rw("/dev/iommu");
	if (space->fd < 0)
		return space->fd;
	ret = call(space->fd, IOMMU_IOAS_ALLOC, &alloc);
	space->id = alloc.out_ioas_id;
	return ret;
}

static int iommufd_map(struct space *space, void *memory, uint64_t iova, uint64_t size)
{
	struct iommu_ioas_map map = {
		.size = sizeof(map),
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_WRITEABLE |
			 IOMMU_IOAS_MAP_READABLE,
		.ioas_id = space->id,
		.user_va = (uintptr_t)memory,
		.length = size,
		.iova = iova,
	};

	return call(space->fd, IOMMU_IOAS_MAP, &map);
}

static int iommufd_map_anywhere(struct space *space, void *memory, uint64_t *iova, uint64_t size)
{
	struct iommu_ioas_map map = {
		.size = sizeof(map),
		.flags = IOMMU_IOAS_MAP_WRITEABLE | IOMMU_IOAS_MAP_READABLE,
		.ioas_id = space->id,
		.user_va = (uintptr_t)memory,
		.length = size,
	};
	int ret = call(space->fd, IOMMU_IOAS_MAP, &map);

	*iova = map.iova;
	return ret;
}

static int iommufd_map_file(struct space *space, int file, uint64_t iova, uint64_t size)
{
	struct iommu_ioas_map_file map = {
		.size = sizeof(map),
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_WRITEABLE |
			 IOMMU_IOAS_MAP_READABLE,
		.ioas_id = space->id,
		.fd = file,
		.length = size,
		.iova = iova,
	};

	return call(space->fd, IOMMU_IOAS_MAP_FILE, &map);
}

static int iommufd_unmap(struct space *space, uint64_t iova, uint64_t size)
{
	struct iommu_ioas_unmap unmap = {
		.size = sizeof(unmap),
		.ioas_id = space->id,
		.iova = iova,
		.length = size,
	};
	int ret = call(space->fd, IOMMU_IOAS_UNMAP, &unmap);

	return ret ? ret : unmap.length == size ? 0 : -ENOENT;
}

/* --- the IOASID calls --- */

static int rust_open(struct space *space)
{
	space->fd = open_rw("/dev/iommu");
	if (space->fd < 0)
		return space->fd;
	space->id = ioasid_alloc(space->fd, ADDR_WIDTH);
	return space->id < 0 ? space->id : 0;
}

static int rust_map(struct space *space, void *memory, uint64_t iova, uint64_t size)
{
	return ioasid_map(space->fd, space->id, memory, iova, size, IOASID_RW);
}

static int rust_unmap(struct space *space, uint64_t iova, uint64_t size)
{
	uint64_t unmapped;
	int ret = ioasid_unmap(space->fd, space->id, iova, size, &unmapped);

	return ret ? ret : unmapped == size ? 0 : -ENOENT;
}

/* --- */

static const struct calls type1_calls = {
	.open = type1_open,
	.bind = type1_bind,
	.attach = type1_attach,
	.map = type1_map,
	.unmap = type1_unmap,
};

static const struct calls iommufd_calls = {
	.open = iommufd_open,
	.bind = cdev_bind,
	.attach = cdev_attach,
	.maps_alone = true,
	.map = iommufd_map,
	.map_file = iommufd_map_file,
	.map_anywhere = iommufd_map_anywhere,
	.unmap = iommufd_unmap,
};

static const struct calls rust_calls = {
	.open = rust_open,
	.bind = cdev_bind,
	.attach = cdev_attach,
	.maps_alone = true,
	.map = rust_map,
	.unmap = rust_unmap,
};

static const struct backend backends[] = {
	{ "type1", &type1_calls, -1 },
	{ "c", &iommufd_calls, -1 },
	{ "rust", &rust_calls, 0 },
	{ "native", &iommufd_calls, 0 },
	{ "serial", &iommufd_calls, 1 },
};

const struct backend *backend_find(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(backends) / sizeof(backends[0]); i++)
		if (!strcmp(backends[i].name, name))
			return &backends[i];
	return NULL;
}

const char *backend_names(void)
{
	return "type1, c, rust, native, serial";
}

void backend_set_threads(const struct backend *backend)
{
	FILE *file;

	if (backend->threads < 0)
		return;
	file = fopen("/sys/module/iommufd/parameters/fill_threads", "w");
	if (!file)
		return;
	fprintf(file, "%d", backend->threads);
	fclose(file);
}

int space_open(struct space *space, const struct backend *backend)
{
	memset(space, 0, sizeof(*space));
	space->backend = backend;
	return backend->calls->open(space);
}

int space_bind(struct space *space, const char *address)
{
	struct attached *device = &space->devices[space->count];

	if (space->count == MAX_DEVICES)
		return -ENOSPC;
	device->group = -1;
	device->fd = -1;
	return space->backend->calls->bind(space, address, device);
}

int space_attach(struct space *space, const char *address)
{
	struct attached *device = &space->devices[space->count];
	int ret = space->backend->calls->attach(space, address, device);

	space->count++;
	return ret;
}

void space_close(struct space *space)
{
	int i;

	for (i = space->count - 1; i >= 0; i--) {
		if (space->devices[i].fd >= 0)
			close(space->devices[i].fd);
		if (space->devices[i].group >= 0)
			close(space->devices[i].group);
	}
	if (space->fd >= 0)
		close(space->fd);
}
