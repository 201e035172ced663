// SPDX-License-Identifier: GPL-2.0
/*
 * The BAR of a device that can be reset, and put to sleep, alone: a drive. It is taken from
 * the edu device that has it mapped, by address, before it stops to answer.
 */
#include "bars.h"
#include "pci_power.h"

#define BAR_IOVA 0x80000000ULL

/* A register that keeps what is written to it, until a reset. */
#define SCRATCH NVME_REG_AQA

FIXTURE(drive)
{
	struct bound b;
	char address[16];
	struct nvme nvme;
	volatile uint32_t *memory;
	uint32_t sent;
	long pins;
};

FIXTURE_SETUP(drive)
{
	int ret = bound_open(&self->b);
	struct nvme *nvme = &self->nvme;
	char node[48];

	if (ret == -ENODEV ||
	    !find_drive(self->address, sizeof(self->address), node, sizeof(node)))
		SKIP(return, NO_DEVICE ", and an NVMe drive that is bound to it as well");
	ASSERT_OK(ret);
	self->pins = held_pins();
	self->memory = pages(1);
	self->sent = 0x10001;
	nvme->fd = open(node, O_RDWR | O_CLOEXEC);
	ASSERT_LT(0, vfio_bind(nvme->fd, self->b.fd));
	ret = vfio_pci_start(nvme->fd, &nvme->bar, &nvme->bar_size);
	ASSERT_OK(ret);
	ASSERT_OK(vfio_attach(self->b.edu.fd, self->b.ioasid));
	ASSERT_OK(edu_start(&self->b.edu));
	ASSERT_OK(ioasid_map(self->b.fd, self->b.ioasid, (void *)self->memory, IOVA, PAGE,
			     IOASID_RW));
}

FIXTURE_TEARDOWN(drive)
{
	munmap(self->nvme.bar, self->nvme.bar_size);
	close(self->nvme.fd);
	bound_close(&self->b);
	expect_nothing_left(_metadata, self->pins);
}

#define MAP_BAR() \
	ioasid_map(self->b.fd, self->b.ioasid, self->nvme.bar, BAR_IOVA, PAGE, IOASID_RW)
#define UNMAP_BAR() unmap(self->b.fd, self->b.ioasid, BAR_IOVA, PAGE)

/* Have the edu device begin to write something new to the drive. */
#define BEGIN_WRITE() do { \
	self->sent += 0x10001; \
	*self->memory = self->sent; \
	ASSERT_OK(edu_dma(&self->b.edu, EDU_READS_MEMORY, IOVA, 0, 4)); \
	ASSERT_OK(edu_dma_start(&self->b.edu, EDU_WRITES_MEMORY, BAR_IOVA + SCRATCH, 0, 4)); \
} while (0)

static bool has_arrived(struct __test_metadata *_metadata, struct _test_data_drive *self)
{
	ASSERT_OK(edu_dma_wait(&self->b.edu));
	return *nvme_reg32(&self->nvme, SCRATCH) == self->sent;
}

static int by_reset(int device)
{
	return call(device, VFIO_DEVICE_RESET, NULL);
}

static int by_sleep(int device)
{
	return set_power_state(device, D3HOT) ?: set_power_state(device, 0);
}

/* On a busy machine, a write may be over before that: so often it is tried. */
#define TRIES 10

/* Whether a write has arrived that began before @take; not if it was under way after that. */
static bool was_too_soon(struct __test_metadata *_metadata, struct _test_data_drive *self,
			 int (*take)(int device))
{
	bool in_time, arrived;

	BEGIN_WRITE();
	ASSERT_OK(take(self->nvme.fd));
	in_time = edu_dma_busy(&self->b.edu);
	ASSERT_OK(vfio_pci_enable(self->nvme.fd));
	arrived = has_arrived(_metadata, self);
	EXPECT_FALSE(in_time && arrived);
	return arrived && !in_time;
}

static void taken_by(struct __test_metadata *_metadata, struct _test_data_drive *self,
		     int (*take)(int device))
{
	unsigned int tries = 0;

	ASSERT_OK(MAP_BAR());
	BEGIN_WRITE();
	EXPECT_TRUE(has_arrived(_metadata, self));
	while (was_too_soon(_metadata, self, take) && ++tries < TRIES) {
		EXPECT_EQ((int64_t)PAGE, UNMAP_BAR());
		ASSERT_OK(MAP_BAR());
	}
	EXPECT_LT(tries, TRIES);
	BEGIN_WRITE();
	EXPECT_FALSE(has_arrived(_metadata, self));
	EXPECT_ERRNO(EEXIST, MAP_BAR());
	EXPECT_EQ((int64_t)PAGE, UNMAP_BAR());
	ASSERT_OK(MAP_BAR());
	BEGIN_WRITE();
	EXPECT_TRUE(has_arrived(_metadata, self));
	EXPECT_EQ((int64_t)PAGE, UNMAP_BAR());
}

/* FLR: a reset of this function alone. */
TEST_F(drive, reset)
{
	char methods[32];

	pci_sysfs_line(self->address, "reset_method", methods, sizeof(methods));
	ASSERT_NE(NULL, strstr(methods, "flr"));
	taken_by(_metadata, self, by_reset);
}

TEST_F(drive, asleep)
{
	taken_by(_metadata, self, by_sleep);
}

/* Whoever sleeps does not answer. */
TEST_F(drive, not_mapped_while_asleep)
{
	ASSERT_OK(set_power_state(self->nvme.fd, D3HOT));
	EXPECT_ERRNO(EFAULT, MAP_BAR());
	ASSERT_OK(set_power_state(self->nvme.fd, 0));
	ASSERT_OK(vfio_pci_enable(self->nvme.fd));
	ASSERT_OK(MAP_BAR());
	BEGIN_WRITE();
	EXPECT_TRUE(has_arrived(_metadata, self));
}

TEST_HARNESS_MAIN
