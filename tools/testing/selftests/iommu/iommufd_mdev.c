// SPDX-License-Identifier: GPL-2.0
/*
 * Mediated devices, whose driver does in the kernel what others do by DMA: the
 * kernel's own sample, mtty, by its VFIO node and by its group.
 */
#include "iommufd_calls.h"

#define MTTY "/sys/devices/virtual/mtty/mtty"
#define DEVICES "/sys/bus/mdev/devices/"
#define UUID "8ae3d8b2-5cf5-4f0c-a05d-6f10c1b0c0de"

FIXTURE(mdev)
{
	struct bound b;		/* another device in the context, which is one of hardware */
	char node[64];
	int fd;
	int mdev;
	int ioas;
	char *memory;
	long pins;
};

static int write_to(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY), ret = 0;

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

/* The name of the only vfioN in the device's folder. */
static int find_node(char *node, size_t size)
{
	DIR *dir = opendir(DEVICES UUID "/vfio-dev");
	struct dirent *entry;
	int ret = -ENOENT;

	while (dir && ret && (entry = readdir(dir))) {
		if (strncmp(entry->d_name, "vfio", 4))
			continue;
		snprintf(node, size, "/dev/vfio/devices/%.20s", entry->d_name);
		ret = 0;
	}
	if (dir)
		closedir(dir);
	return ret;
}

FIXTURE_SETUP(mdev)
{
	int ret = bound_open(&self->b);

	self->fd = self->b.fd;
	self->mdev = -1;
	if (ret == -ENODEV || access(MTTY, F_OK))
		SKIP(return, NO_DEVICE ", and the kernel's sample mtty");
	ASSERT_OK(ret);
	ASSERT_OK(write_to(MTTY "/mdev_supported_types/mtty-1/create", UUID));
	ASSERT_OK(find_node(self->node, sizeof(self->node)));
	self->ioas = ioas_alloc(self->fd);
	ASSERT_LT(0, self->ioas);
	self->memory = pages(4);
	ASSERT_NE(NULL, self->memory);
	self->pins = held_pins();
}

FIXTURE_TEARDOWN(mdev)
{
	close(self->mdev);
	bound_close(&self->b);
	expect_nothing_left(_metadata, self->pins);
	EXPECT_OK(write_to(DEVICES UUID "/remove", "1"));
}

/* It works like a device: it has regions, and its registers answer. */
static bool works(int mdev)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };
	struct vfio_region_info config = {
		.argsz = sizeof(config), .index = VFIO_PCI_CONFIG_REGION_INDEX,
	};
	uint16_t vendor = 0;

	return !call(mdev, VFIO_DEVICE_GET_INFO, &info) &&
	       !call(mdev, VFIO_DEVICE_GET_REGION_INFO, &config) &&
	       pread(mdev, &vendor, 2, config.offset) == 2 && vendor == 0x4348;
}

TEST_F(mdev, by_its_node)
{
	int other = ioas_alloc(self->fd), id, hwpt;

	self->mdev = open(self->node, O_RDWR);
	ASSERT_LE(0, self->mdev);
	EXPECT_ERRNO(EINVAL, attach_pt(self->mdev, self->ioas));
	id = vfio_bind(self->mdev, self->fd);
	ASSERT_LT(other, id);
	EXPECT_TRUE(works(self->mdev));
	EXPECT_ERRNO(EBUSY, destroy(self->fd, id));

	hwpt = attach_pt(self->b.edu.fd, self->ioas);
	ASSERT_LT(id, hwpt);
	EXPECT_ERRNO(ENOENT, attach_pt(self->mdev, 12345));
	EXPECT_ERRNO(ENOENT, attach_pt(self->mdev, hwpt));
	EXPECT_EQ(self->ioas, attach_pt(self->mdev, self->ioas));
	EXPECT_OK(vfio_detach(self->b.edu.fd));
	EXPECT_ERRNO(EBUSY, destroy(self->fd, self->ioas));
	EXPECT_OK(ioas_map(self->fd, self->ioas, self->memory, 4 * PAGE, IOVA));

	/* Where it is, devices may come and go, and memory too. */
	EXPECT_LT(0, attach_pt(self->b.edu.fd, self->ioas));
	EXPECT_EQ(4 * PAGE, ioas_unmap(self->fd, self->ioas, IOVA, 4 * PAGE));
	EXPECT_OK(vfio_detach(self->b.edu.fd));
	EXPECT_EQ(other, attach_pt(self->mdev, other));
	EXPECT_OK(destroy(self->fd, self->ioas));
	EXPECT_ERRNO(EBUSY, destroy(self->fd, other));
	EXPECT_OK(vfio_detach(self->mdev));
	EXPECT_OK(destroy(self->fd, other));
}

TEST_F(mdev, ends_while_attached)
{
	self->mdev = open(self->node, O_RDWR);
	ASSERT_LT(0, vfio_bind(self->mdev, self->fd));
	ASSERT_EQ(self->ioas, attach_pt(self->mdev, self->ioas));
	ASSERT_OK(ioas_map(self->fd, self->ioas, self->memory, 4 * PAGE, IOVA));
	close(self->mdev);
	EXPECT_OK(destroy(self->fd, self->ioas));
	EXPECT_EQ(0, pinned_pages());
	/* And the other way round: it keeps the context. */
	self->ioas = ioas_alloc(self->fd);
	self->mdev = open(self->node, O_RDWR);
	ASSERT_LT(0, vfio_bind(self->mdev, self->fd));
	ASSERT_EQ(self->ioas, attach_pt(self->mdev, self->ioas));
	ASSERT_OK(ioas_map(self->fd, self->ioas, self->memory, 4 * PAGE, IOVA));
	bound_close(&self->b);
	self->b.edu.fd = -1;
	self->b.fd = -1;
	EXPECT_TRUE(works(self->mdev));
	EXPECT_OK(vfio_detach(self->mdev));
}

static int open_group(void)
{
	char target[96], path[64];
	ssize_t length = readlink(DEVICES UUID "/iommu_group", target, sizeof(target) - 1);

	if (length < 0)
		return -errno;
	target[length] = 0;
	snprintf(path, sizeof(path), "/dev/vfio/%.20s", strrchr(target, '/') + 1);
	return open(path, O_RDWR | O_CLOEXEC);
}

/* What QEMU does with a mediated device when it knows of containers only. */
TEST_F(mdev, by_its_group)
{
	struct iommu_vfio_ioas ioas = { .size = sizeof(ioas), .op = IOMMU_VFIO_IOAS_GET };
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)self->memory, .iova = IOVA, .size = 4 * PAGE,
	};
	int group = open_group();

	ASSERT_LE(0, group);
	ASSERT_OK(call(group, VFIO_GROUP_SET_CONTAINER, &self->fd));
	ASSERT_OK(call(self->fd, VFIO_SET_IOMMU, (void *)VFIO_TYPE1v2_IOMMU));
	self->mdev = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, UUID);
	ASSERT_LE(0, self->mdev);
	EXPECT_TRUE(works(self->mdev));
	ASSERT_OK(call(self->fd, IOMMU_VFIO_IOAS, &ioas));
	EXPECT_ERRNO(EBUSY, destroy(self->fd, ioas.ioas_id));
	EXPECT_OK(call(self->fd, VFIO_IOMMU_MAP_DMA, &map));
	EXPECT_EQ(0, pinned_pages());
	EXPECT_EQ(4 * PAGE, ioas_unmap(self->fd, ioas.ioas_id, IOVA, 4 * PAGE));
	close(self->mdev);
	self->mdev = -1;
	close(group);
	EXPECT_OK(destroy(self->fd, ioas.ioas_id));
}

TEST_HARNESS_MAIN
