// SPDX-License-Identifier: GPL-2.0
/*
 * Message-signalled interrupts are writes of the device, and so meet the IOMMU as
 * well: those of a device in an address space arrive, whatever is mapped there.
 */
#include <poll.h>
#include <sys/eventfd.h>

#include "iommufd_calls.h"
#include "ioasid_utils.h"

/* When an interrupt is given up, and how long to wait for one that must not come. */
#define TIMEOUT_MS 10000
#define QUIET_MS 300

FIXTURE(interrupt)
{
	struct bound b;
	char *memory;
	int event;
	long pins;
};

FIXTURE_SETUP(interrupt)
{
	int ret = bound_open(&self->b);

	if (ret == -ENODEV)
		SKIP(return, NO_DEVICE);
	ASSERT_OK(ret);
	self->memory = pages(4);
	ASSERT_NE(NULL, self->memory);
	self->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ASSERT_LE(0, self->event);
	self->pins = held_pins();
	ASSERT_OK(vfio_attach(self->b.edu.fd, self->b.ioasid));
	ASSERT_OK(edu_start(&self->b.edu));
	ASSERT_OK(set_interrupt(&self->b.edu, VFIO_PCI_MSI_IRQ_INDEX, self->event));
}

FIXTURE_TEARDOWN(interrupt)
{
	bound_close(&self->b);
	expect_nothing_left(_metadata, self->pins);
}

/* How often @event was signalled, waiting up to @timeout for the first time. */
static uint64_t signalled(int event, int timeout)
{
	struct pollfd poll_event = { .fd = event, .events = POLLIN };
	uint64_t count = 0;

	poll(&poll_event, 1, timeout);
	if (read(event, &count, sizeof(count)) != sizeof(count))
		return 0;
	return count;
}

static void raise_interrupt(struct edu *edu)
{
	*edu_reg32(edu, EDU_REG_INTERRUPT_RAISE) = 1;
}

static void acknowledge(struct edu *edu)
{
	*edu_reg32(edu, EDU_REG_INTERRUPT_ACK) = UINT32_MAX;
}

/* True if one interrupt that the device raises arrives, and no other. */
static bool one_arrives(struct edu *edu, int event)
{
	uint64_t count;

	raise_interrupt(edu);
	count = signalled(event, TIMEOUT_MS);
	acknowledge(edu);
	return count == 1;
}

#define EXPECT_INTERRUPT() EXPECT_TRUE(one_arrives(&self->b.edu, self->event))

TEST_F(interrupt, arrives)
{
	EXPECT_EQ(0, signalled(self->event, 0));
	EXPECT_INTERRUPT();
	EXPECT_INTERRUPT();
	ASSERT_OK(set_interrupt(&self->b.edu, VFIO_PCI_MSI_IRQ_INDEX, -1));
	raise_interrupt(&self->b.edu);
	EXPECT_EQ(0, signalled(self->event, QUIET_MS));
	acknowledge(&self->b.edu);
	ASSERT_OK(set_interrupt(&self->b.edu, VFIO_PCI_MSI_IRQ_INDEX, self->event));
	EXPECT_INTERRUPT();
}

/* The window of the interrupts is no part of what is mapped, and not unmapped with it. */
TEST_F(interrupt, arrives_whatever_is_mapped)
{
	ASSERT_OK(ioasid_map(self->b.fd, self->b.ioasid, self->memory, IOVA, 4 * PAGE, IOASID_RW));
	EXPECT_INTERRUPT();
	ASSERT_EQ(4 * PAGE, unmap_all(self->b.fd, self->b.ioasid));
	EXPECT_INTERRUPT();
}

TEST_F(interrupt, follows_the_dma)
{
	struct edu *edu = &self->b.edu;

	ASSERT_OK(ioasid_map(self->b.fd, self->b.ioasid, self->memory, IOVA, PAGE, IOASID_RW));
	memset(self->memory, 0x5a, PAGE);
	ASSERT_OK(edu_dma(edu, EDU_READS_MEMORY, IOVA, 0, PAGE));
	memset(self->memory, 0, PAGE);
	/* As the transfer before, but back, and with an interrupt. */
	edu_write64(edu, EDU_REG_DMA_SOURCE, EDU_BUFFER);
	edu_write64(edu, EDU_REG_DMA_DEST, IOVA);
	edu_write64(edu, EDU_REG_DMA_COMMAND,
		    EDU_COMMAND_RUN | EDU_COMMAND_TO_MEMORY | EDU_COMMAND_INTERRUPT);
	EXPECT_EQ(1, signalled(self->event, TIMEOUT_MS));
	EXPECT_EQ(0x5a, self->memory[PAGE - 1]);
	acknowledge(edu);
}

/* Nobody sets the device's interrupt up again only because it has moved. */
TEST_F(interrupt, stays_when_the_device_moves)
{
	int other = ioasid_alloc(self->b.fd, 64);

	ASSERT_LT(0, other);
	ASSERT_OK(vfio_attach(self->b.edu.fd, other));
	EXPECT_INTERRUPT();
	ASSERT_OK(vfio_attach(self->b.edu.fd, self->b.ioasid));
	EXPECT_INTERRUPT();
}

TEST_F(interrupt, stays_when_the_device_comes_back)
{
	ASSERT_OK(vfio_detach(self->b.edu.fd));
	ASSERT_OK(vfio_attach(self->b.edu.fd, self->b.ioasid));
	EXPECT_INTERRUPT();
}

/* Addresses for interrupts are few, but moving does not use them up. */
TEST_F(interrupt, after_many_moves)
{
	int ioasids[] = { self->b.ioasid, ioasid_alloc(self->b.fd, 64) };
	unsigned int i;

	for (i = 1; i <= 300; i++)
		ASSERT_OK(vfio_attach(self->b.edu.fd, ioasids[i % 2]));
	EXPECT_INTERRUPT();
	for (i = 1; i <= 300; i++) {
		ASSERT_OK(set_interrupt(&self->b.edu, VFIO_PCI_MSI_IRQ_INDEX, -1));
		ASSERT_OK(vfio_attach(self->b.edu.fd, ioasids[i % 2]));
		ASSERT_OK(set_interrupt(&self->b.edu, VFIO_PCI_MSI_IRQ_INDEX, self->event));
	}
	EXPECT_INTERRUPT();
	EXPECT_OK(ioasid_free(self->b.fd, ioasids[1]));
}

/*
 * Where the IOMMU translates them, the address of an interrupt stays taken in a domain that the
 * device has left: nothing is mapped over it.
 */
TEST_F(interrupt, leaves_its_address_taken)
{
	struct iommu_iova_range ranges[8];
	int hwpt = hwpt_alloc(self->b.fd, self->b.id, self->b.ioasid, 0), n, i;

	ASSERT_LT(0, hwpt);
	ASSERT_EQ(hwpt, attach_pt(self->b.edu.fd, hwpt));
	ASSERT_OK(set_interrupt(&self->b.edu, VFIO_PCI_MSI_IRQ_INDEX, -1));
	ASSERT_OK(set_interrupt(&self->b.edu, VFIO_PCI_MSI_IRQ_INDEX, self->event));
	EXPECT_INTERRUPT();
	n = iova_ranges(self->b.fd, self->b.ioasid, ranges, ARRAY_SIZE(ranges));
	ASSERT_LE(2, n);
	ASSERT_OK(vfio_detach(self->b.edu.fd));
	for (i = 0; i < n - 1; i++) {
		uint64_t hole = ranges[i].last + 1;
		int ret = ioasid_map(self->b.fd, self->b.ioasid, self->memory, hole, PAGE,
				     IOASID_RW);

		/* It is the device's, or nobody's any more; an IOMMU that has it says EEXIST. */
		EXPECT_TRUE(!ret || ret == -EINVAL)
			TH_LOG("%#llx: %d", (unsigned long long)hole, ret);
		unmap_all(self->b.fd, self->b.ioasid);
	}
	ASSERT_EQ(hwpt, attach_pt(self->b.edu.fd, hwpt));
	EXPECT_INTERRUPT();
}

TEST_HARNESS_MAIN
