// SPDX-License-Identifier: GPL-2.0
/*
 * PASIDs by way of VFIO: where they may go, beside what, and that they end with their device.
 * No device that QEMU has can use one, so this is about what the calls say, and about who is
 * kept for whom. PASIDS is how many bits the kernel was told that the first device's have.
 */
#include "carry.h"
#include "pasid_calls.h"

static int pasid_bits(void)
{
	const char *bits = getenv("PASIDS");

	return bits ? atoi(bits) : 0;
}

FIXTURE(vfio_pasid)
{
	struct bound b;
	int ioas;
	int one, two;	/* domains for PASIDs */
	char *memory;
	long pins;
};

FIXTURE_SETUP(vfio_pasid)
{
	int ret = bound_open(&self->b);

	if (ret == -ENODEV)
		SKIP(return, NO_DEVICE);
	ASSERT_OK(ret);
	ASSERT_OK(edu_start(&self->b.edu));
	self->memory = pages(2);
	ASSERT_NE(NULL, self->memory);
	self->pins = held_pins();
	self->ioas = ioas_alloc(self->b.fd);
	ASSERT_LT(0, self->ioas);
	self->one = hwpt_for_pasids(self->b.fd, self->b.id, self->ioas);
	if (self->one == -EOPNOTSUPP)
		SKIP(return, "the IOMMU's driver has no domains for PASIDs");
	ASSERT_LT(0, self->one);
	self->two = hwpt_for_pasids(self->b.fd, self->b.id, self->ioas);
	ASSERT_LT(0, self->two);
}

FIXTURE_TEARDOWN(vfio_pasid)
{
	bound_close(&self->b);
	expect_nothing_left(_metadata, self->pins);
}

#define ATTACH_PT(pt) attach_pt(self->b.edu.fd, pt)
#define ATTACH_PASID_TO(pt) attach_pasid(self->b.edu.fd, PASID, pt)
#define DETACH_PASID() detach_pasid(self->b.edu.fd, PASID)
#define DESTROY(id) destroy(self->b.fd, id)
#define CARRIES(from, to) carries(_metadata, &self->b.edu, from, self->memory, \
				  to, self->memory + PAGE)

TEST_F(vfio_pasid, come_and_go)
{
	EXPECT_OK(DETACH_PASID());
	ASSERT_EQ(self->one, ATTACH_PASID_TO(self->one));
	EXPECT_ERRNO(EBUSY, DESTROY(self->one));
	/* VFIO knows that it is attached, and replaces. */
	EXPECT_EQ(self->two, ATTACH_PASID_TO(self->two));
	EXPECT_ERRNO(EBUSY, DESTROY(self->two));
	EXPECT_OK(DESTROY(self->one));
	EXPECT_OK(DETACH_PASID());
	EXPECT_OK(DETACH_PASID());
	EXPECT_OK(DESTROY(self->two));
}

TEST_F(vfio_pasid, unsuitable_targets)
{
	int plain = hwpt_alloc(self->b.fd, self->b.id, self->ioas, 0);

	ASSERT_LT(0, plain);
	EXPECT_ERRNO(EINVAL, ATTACH_PASID_TO(self->ioas));
	EXPECT_ERRNO(EINVAL, ATTACH_PASID_TO(plain));
	EXPECT_ERRNO(EINVAL, ATTACH_PASID_TO(self->b.id));
	EXPECT_ERRNO(ENOENT, ATTACH_PASID_TO(1000));
	ASSERT_EQ(self->one, ATTACH_PASID_TO(self->one));
	EXPECT_ERRNO(EINVAL, ATTACH_PASID_TO(self->ioas));
	EXPECT_ERRNO(EINVAL, ATTACH_PASID_TO(plain));
	EXPECT_ERRNO(ENOENT, ATTACH_PASID_TO(1000));
	EXPECT_ERRNO(EBUSY, DESTROY(self->one));
}

/* DMA without a PASID goes where it went. */
TEST_F(vfio_pasid, beside_the_device)
{
	int plain = hwpt_alloc(self->b.fd, self->b.id, self->ioas, 0);

	ASSERT_LT(0, plain);
	ASSERT_OK(ioas_map(self->b.fd, self->ioas, self->memory, 2 * PAGE, IOVA));
	ASSERT_LT(0, ATTACH_PT(self->ioas));
	EXPECT_ERRNO(EINVAL, ATTACH_PASID_TO(self->one));
	ASSERT_EQ(plain, ATTACH_PT(plain));
	EXPECT_ERRNO(EINVAL, ATTACH_PASID_TO(self->one));
	ASSERT_EQ(self->one, ATTACH_PT(self->one));
	EXPECT_TRUE(CARRIES(IOVA, IOVA + PAGE));
	ASSERT_EQ(self->two, ATTACH_PASID_TO(self->two));
	EXPECT_TRUE(CARRIES(IOVA, IOVA + PAGE));
	EXPECT_ERRNO(EINVAL, ATTACH_PT(self->ioas));
	EXPECT_ERRNO(EINVAL, ATTACH_PT(plain));
	EXPECT_TRUE(CARRIES(IOVA, IOVA + PAGE));
	ASSERT_EQ(self->two, ATTACH_PT(self->two));
	EXPECT_TRUE(CARRIES(IOVA, IOVA + PAGE));
	EXPECT_OK(vfio_detach(self->b.edu.fd));
	EXPECT_FALSE(CARRIES(IOVA, IOVA + PAGE));
	EXPECT_ERRNO(EBUSY, DESTROY(self->two));
	EXPECT_OK(DETACH_PASID());
	EXPECT_OK(DESTROY(self->two));
	ASSERT_LT(0, ATTACH_PT(self->ioas));
	EXPECT_TRUE(CARRIES(IOVA, IOVA + PAGE));
}

/* What a device needs left out, interrupts above all, it needs without a PASID. */
TEST_F(vfio_pasid, nothing_is_reserved)
{
	struct iommu_iova_range before[8], after[8];
	int count;

	ASSERT_OK(ioas_map(self->b.fd, self->ioas, self->memory, PAGE, DOORBELLS));
	count = iova_ranges(self->b.fd, self->ioas, before, 8);
	ASSERT_LT(0, count);
	ASSERT_EQ(self->one, ATTACH_PASID_TO(self->one));
	ASSERT_EQ(count, iova_ranges(self->b.fd, self->ioas, after, 8));
	EXPECT_EQ(0, memcmp(before, after, count * sizeof(*before)));
	EXPECT_ERRNO(EADDRINUSE, ATTACH_PT(self->two));
	EXPECT_OK(DETACH_PASID());
	ASSERT_EQ(count, iova_ranges(self->b.fd, self->ioas, after, 8));
	EXPECT_EQ(PAGE, ioas_unmap(self->b.fd, self->ioas, DOORBELLS, PAGE));
	EXPECT_EQ(self->two, ATTACH_PT(self->two));
}

TEST_F(vfio_pasid, end_with_their_device)
{
	uint32_t pasid;

	ASSERT_EQ(self->one, ATTACH_PT(self->one));
	for (pasid = 1; pasid < 200; pasid += 7)
		ASSERT_EQ(self->two, attach_pasid(self->b.edu.fd, pasid, self->two));
	EXPECT_ERRNO(EBUSY, DESTROY(self->two));
	edu_close(&self->b.edu);
	EXPECT_OK(DESTROY(self->two));
	EXPECT_OK(DESTROY(self->one));
	EXPECT_OK(DESTROY(self->ioas));
}

/* Zero is no PASID, though VFIO takes it for one. */
TEST_F(vfio_pasid, zero)
{
	EXPECT_LT(0, attach_pasid(self->b.edu.fd, 0, self->ioas));
	/* VFIO does not know that. */
	EXPECT_ERRNO(EBUSY, ATTACH_PT(self->ioas));
	EXPECT_ERRNO(EINVAL, ATTACH_PASID_TO(self->one));
	EXPECT_OK(detach_pasid(self->b.edu.fd, 0));
	EXPECT_EQ(self->one, ATTACH_PASID_TO(self->one));
}

TEST_F(vfio_pasid, arguments)
{
	struct vfio_pasid_attach attach = {
		.argsz = sizeof(attach), .flags = ATTACH_PASID, .pt_id = self->one, .pasid = PASID,
	};
	struct vfio_pasid_detach detach = {
		.argsz = sizeof(detach), .flags = ATTACH_PASID, .pasid = PASID,
	};

	EXPECT_CHANGED(EINVAL, self->b.edu.fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, attach,
		       arg.argsz = 12);
	EXPECT_CHANGED(EINVAL, self->b.edu.fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, attach,
		       arg.flags = 3);
	EXPECT_OK(DESTROY(self->one));
	EXPECT_CHANGED(EINVAL, self->b.edu.fd, VFIO_DEVICE_DETACH_IOMMUFD_PT, detach,
		       arg.argsz = 8);
	EXPECT_CHANGED(EINVAL, self->b.edu.fd, VFIO_DEVICE_DETACH_IOMMUFD_PT, detach,
		       arg.flags = 3);
}

TEST_F(vfio_pasid, width)
{
	struct iommu_hw_info arg = { .size = sizeof(arg), .dev_id = self->b.id };

	ASSERT_OK(call(self->b.fd, IOMMU_GET_HW_INFO, &arg));
	EXPECT_EQ(pasid_bits(), arg.out_max_pasid_log2);
	EXPECT_EQ(0, arg.out_capabilities &
		     (IOMMU_HW_CAP_PCI_PASID_EXEC | IOMMU_HW_CAP_PCI_PASID_PRIV));
}

/* The core checks the number for devices alone that have PASIDs. */
TEST_F(vfio_pasid, last_number)
{
	const uint32_t beyond = 1U << pasid_bits();

	if (pasid_bits()) {
		EXPECT_ERRNO(EINVAL, attach_pasid(self->b.edu.fd, beyond, self->one));
		EXPECT_OK(DESTROY(self->one));
		EXPECT_EQ(self->two, attach_pasid(self->b.edu.fd, beyond - 1, self->two));
	} else {
		EXPECT_EQ(self->two, attach_pasid(self->b.edu.fd, INT32_MAX, self->two));
	}
	EXPECT_ERRNO(EBUSY, DESTROY(self->two));
}

TEST_HARNESS_MAIN
