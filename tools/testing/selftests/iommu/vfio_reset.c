// SPDX-License-Identifier: GPL-2.0
/*
 * VFIO_DEVICE_PCI_HOT_RESET by device nodes: who may reset a bus is whoever owns all
 * devices on it, which VFIO asks the driver of /dev/iommu. The suite "reset" makes
 * the bus: a device and a drive in groups of their own, and two in one group.
 */
#include "iommufd_calls.h"
#include "nvme.h"

enum { ALONE, DRIVE, TWIN, OTHER_TWIN, DEVICES };

static const char * const addresses[DEVICES] = {
	"0000:02:01.0", "0000:02:02.0", "0000:02:03.0", "0000:02:03.1",
};

struct member {
	int fd;
	int id;
};

FIXTURE(bus)
{
	int fd;
	int ioas;
	struct member members[DEVICES];
	struct nvme nvme;
	char *memory;
	long pins;
};

/* The device's node, open and bound. */
static int member_open(struct member *member, unsigned int which, int iommufd)
{
	char node[48];

	if (!vfio_find_node(addresses[which], node, sizeof(node)))
		return -ENODEV;
	member->fd = open(node, O_RDWR | O_CLOEXEC);
	member->id = vfio_bind(member->fd, iommufd);
	return member->id < 0 ? member->id : 0;
}

static void member_close(struct member *member)
{
	close(member->fd);
	member->fd = -1;
}

static int open_in(struct member *members, unsigned int which, int iommufd)
{
	return member_open(&members[which], which, iommufd);
}

#define OPEN(which) open_in(self->members, which, self->fd)
#define CLOSE(which) member_close(&self->members[which])

FIXTURE_SETUP(bus)
{
	struct member *drive = &self->members[DRIVE];
	char node[48];
	int ret;

	for (unsigned int i = 0; i < DEVICES; i++)
		self->members[i].fd = -1;
	for (unsigned int i = 0; i < DEVICES; i++)
		if (!vfio_find_node(addresses[i], node, sizeof(node)))
			SKIP(return, "needs the bus that the suite \"reset\" makes");
	self->fd = open_iommufd();
	self->pins = held_pins();
	ASSERT_OK(OPEN(ALONE));
	ASSERT_OK(OPEN(DRIVE));
	ASSERT_OK(OPEN(TWIN));

	/* A reset can be seen by the drive, which stops. */
	self->ioas = ioas_alloc(self->fd);
	self->memory = pages(4);
	ASSERT_OK(ioas_map(self->fd, self->ioas, self->memory, 4 * PAGE, IOVA));
	ASSERT_LT(0, attach_pt(drive->fd, self->ioas));
	ret = vfio_pci_start(drive->fd, &self->nvme.bar, &self->nvme.bar_size);
	ASSERT_OK(ret);
	ASSERT_OK(nvme_start(&self->nvme, IOVA));
}

FIXTURE_TEARDOWN(bus)
{
	munmap(self->nvme.bar, self->nvme.bar_size);
	for (unsigned int i = 0; i < DEVICES; i++)
		close(self->members[i].fd);
	close(self->fd);
	expect_nothing_left(_metadata, self->pins);
}

static int hot_reset(struct member *member)
{
	struct vfio_pci_hot_reset arg = { .argsz = sizeof(arg) };

	return call(member->fd, VFIO_DEVICE_PCI_HOT_RESET, &arg);
}

/* What VFIO says of all devices on the bus. */
struct owners {
	struct vfio_pci_hot_reset_info info;
	struct vfio_pci_dependent_device devices[DEVICES];
};

static struct owners owners_of(struct __test_metadata *_metadata, struct member *member)
{
	struct owners owners = { .info.argsz = sizeof(owners) };

	ASSERT_OK(call(member->fd, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, &owners));
	EXPECT_EQ(DEVICES, owners.info.count);
	EXPECT_TRUE(owners.info.flags & VFIO_PCI_HOT_RESET_FLAG_DEV_ID);
	return owners;
}

static int devid(const struct owners *owners, unsigned int which)
{
	unsigned int bus, device, function;

	if (sscanf(addresses[which], "0000:%x:%x.%x", &bus, &device, &function) != 3)
		return -12345;
	for (unsigned int i = 0; i < DEVICES; i++)
		if (owners->devices[i].bus == bus &&
		    owners->devices[i].devfn == (device << 3 | function))
			return owners->devices[i].devid;
	return -12345;
}

static bool all_owned(const struct owners *owners)
{
	return owners->info.flags & VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED;
}

static bool drive_runs(struct nvme *nvme)
{
	return *nvme_reg32(nvme, NVME_REG_CSTS) & NVME_CSTS_READY;
}

TEST_F(bus, of_one_owner)
{
	struct owners owners = owners_of(_metadata, &self->members[ALONE]);
	struct edu edu = { .fd = self->members[ALONE].fd };

	EXPECT_EQ(self->members[ALONE].id, devid(&owners, ALONE));
	EXPECT_EQ(self->members[DRIVE].id, devid(&owners, DRIVE));
	EXPECT_EQ(self->members[TWIN].id, devid(&owners, TWIN));
	/* Nobody has it, and nobody else can: its group is taken. */
	EXPECT_EQ(VFIO_PCI_DEVID_OWNED, devid(&owners, OTHER_TWIN));
	EXPECT_TRUE(all_owned(&owners));
	ASSERT_OK(OPEN(OTHER_TWIN));
	owners = owners_of(_metadata, &self->members[OTHER_TWIN]);
	EXPECT_EQ(self->members[OTHER_TWIN].id, devid(&owners, OTHER_TWIN));

	ASSERT_TRUE(drive_runs(&self->nvme));
	EXPECT_OK(hot_reset(&self->members[TWIN]));
	EXPECT_FALSE(drive_runs(&self->nvme));
	/* All is where it was, and works again. */
	EXPECT_OK(nvme_start(&self->nvme, IOVA));
	EXPECT_LT(0, attach_pt(edu.fd, self->ioas));
	ASSERT_OK(edu_start(&edu));
	memcpy(self->memory + 2 * PAGE, "after the reset", 16);
	EXPECT_OK(edu_dma(&edu, EDU_READS_MEMORY, IOVA + 2 * PAGE, 0, 16));
	EXPECT_OK(edu_dma(&edu, EDU_WRITES_MEMORY, IOVA + 3 * PAGE, 0, 16));
	EXPECT_EQ(0, strcmp(self->memory + 3 * PAGE, "after the reset"));
	munmap(edu.bar, edu.bar_size);
}

TEST_F(bus, with_a_device_of_nobody)
{
	struct owners owners;

	CLOSE(TWIN);
	owners = owners_of(_metadata, &self->members[DRIVE]);
	EXPECT_EQ(self->members[ALONE].id, devid(&owners, ALONE));
	EXPECT_EQ(VFIO_PCI_DEVID_NOT_OWNED, devid(&owners, TWIN));
	EXPECT_EQ(VFIO_PCI_DEVID_NOT_OWNED, devid(&owners, OTHER_TWIN));
	EXPECT_FALSE(all_owned(&owners));
	EXPECT_ERRNO(EINVAL, hot_reset(&self->members[DRIVE]));
	EXPECT_TRUE(drive_runs(&self->nvme));
	ASSERT_OK(OPEN(OTHER_TWIN));
	EXPECT_OK(hot_reset(&self->members[DRIVE]));
	EXPECT_FALSE(drive_runs(&self->nvme));
}

TEST_F(bus, with_a_device_of_another)
{
	struct owners owners;
	int other = open_iommufd();

	CLOSE(ALONE);
	ASSERT_OK(member_open(&self->members[ALONE], ALONE, other));
	owners = owners_of(_metadata, &self->members[TWIN]);
	EXPECT_EQ(VFIO_PCI_DEVID_NOT_OWNED, devid(&owners, ALONE));
	EXPECT_EQ(self->members[TWIN].id, devid(&owners, TWIN));
	EXPECT_FALSE(all_owned(&owners));
	EXPECT_ERRNO(EINVAL, hot_reset(&self->members[TWIN]));
	owners = owners_of(_metadata, &self->members[ALONE]);
	EXPECT_EQ(self->members[ALONE].id, devid(&owners, ALONE));
	EXPECT_EQ(VFIO_PCI_DEVID_NOT_OWNED, devid(&owners, DRIVE));
	EXPECT_EQ(VFIO_PCI_DEVID_NOT_OWNED, devid(&owners, OTHER_TWIN));
	EXPECT_ERRNO(EINVAL, hot_reset(&self->members[ALONE]));
	EXPECT_TRUE(drive_runs(&self->nvme));
	close(other);
}

TEST_HARNESS_MAIN
