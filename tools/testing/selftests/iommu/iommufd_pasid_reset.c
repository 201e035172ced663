// SPDX-License-Identifier: GPL-2.0
/*
 * Attaching while a device is being reset: the core keeps all DMA of a device with ATS blocked
 * until it is through, and nobody comes to a domain meanwhile, with a PASID or without. RESETS
 * is the PCI address of a device with ATS, whose reset takes a while, and with PASIDs.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "ioasid_sysfs.h"
#include "pasid_calls.h"

FIXTURE(reset)
{
	int fd;
	int device, id;
	int ioas;
	int one, two;	/* domains for PASIDs */
	atomic_bool over;
	int result;
	pthread_t thread;
};

FIXTURE_SETUP(reset)
{
	const char *address = getenv("RESETS");
	char node[48];

	if (!address || !device_exists(address, ""))
		SKIP(return, "RESETS names no device");
	ASSERT_OK(give_to(address, "vfio-pci"));
	ASSERT_TRUE(vfio_find_node(address, node, sizeof(node)));
	self->fd = open_iommufd();
	self->device = open(node, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->device);
	self->id = vfio_bind(self->device, self->fd);
	ASSERT_LT(0, self->id);
	self->ioas = ioas_alloc(self->fd);
	ASSERT_LT(0, self->ioas);
	self->one = hwpt_for_pasids(self->fd, self->id, self->ioas);
	self->two = hwpt_for_pasids(self->fd, self->id, self->ioas);
	ASSERT_LT(0, self->one);
	ASSERT_LT(0, self->two);
}

FIXTURE_TEARDOWN(reset)
{
	close(self->device);
	close(self->fd);
}

static void *reset(void *data)
{
	FIXTURE_DATA(reset) * self = data;

	self->result = ioctl(self->device, VFIO_DEVICE_RESET) ? -errno : 0;
	self->over = true;
	return NULL;
}

#define BEGIN_RESET() do { \
	self->over = false; \
	ASSERT_EQ(0, pthread_create(&self->thread, NULL, reset, self)); \
} while (0)

#define END_RESET() do { \
	ASSERT_EQ(0, pthread_join(self->thread, NULL)); \
	EXPECT_OK(self->result); \
} while (0)

#define ATTACH_PASID_TO(pasid, pt) attach_pasid(self->device, pasid, pt)
#define ATTACH_PT(pt) attach_pt(self->device, pt)
#define DESTROY(id) destroy(self->fd, id)

/* On a busy machine, a reset may be over before this thread has its turn. */
#define TRIES 20

/* How often @move was refused with EBUSY until a reset was over; @undo is for when it was not. */
#define REFUSED(move, undo) ({ \
	unsigned int refused_ = 0, tries_ = 0; \
	\
	while (!refused_ && tries_++ < TRIES) { \
		BEGIN_RESET(); \
		while (!self->over) { \
			int ret_ = move; \
			\
			if (ret_ == -EBUSY) { \
				refused_++; \
				continue; \
			} \
			ASSERT_LT(0, ret_); \
			undo; \
		} \
		END_RESET(); \
	} \
	refused_; \
})

TEST_F(reset, attach)
{
	ASSERT_EQ(self->one, ATTACH_PT(self->one));
	EXPECT_LT(0, REFUSED(ATTACH_PASID_TO(PASID, self->two),
			     ASSERT_OK(detach_pasid(self->device, PASID))));
	/* Nobody is there, or was. */
	EXPECT_OK(detach_pasid(self->device, PASID));
	EXPECT_OK(DESTROY(self->two));
	EXPECT_EQ(self->one, ATTACH_PASID_TO(PASID, self->one));
}

static void swap(int *one, int *other)
{
	int before = *one;

	*one = *other;
	*other = before;
}

/* What is refused leaves it where it was. */
TEST_F(reset, move)
{
	int rid = hwpt_for_pasids(self->fd, self->id, self->ioas);
	int on = self->one, off = self->two;

	ASSERT_LT(0, rid);
	ASSERT_EQ(rid, ATTACH_PT(rid));
	ASSERT_EQ(on, ATTACH_PASID_TO(PASID, on));
	EXPECT_LT(0, REFUSED(ATTACH_PASID_TO(PASID, off), swap(&on, &off)));
	EXPECT_ERRNO(EBUSY, DESTROY(on));
	EXPECT_OK(DESTROY(off));
	EXPECT_EQ(rid, ATTACH_PASID_TO(PASID, rid));
	EXPECT_OK(DESTROY(on));
}

TEST_F(reset, without_a_pasid)
{
	EXPECT_LT(0, REFUSED(ATTACH_PT(self->one), ASSERT_OK(vfio_detach(self->device))));
	ASSERT_OK(vfio_detach(self->device));
	EXPECT_OK(DESTROY(self->two));
	EXPECT_EQ(self->one, ATTACH_PT(self->one));
}

/* A detach is not refused. */
TEST_F(reset, detach)
{
	bool during = false;
	unsigned int tries;

	ASSERT_EQ(self->one, ATTACH_PT(self->one));
	for (tries = 0; tries < TRIES && !during; tries++) {
		ASSERT_EQ(self->two, ATTACH_PASID_TO(PASID, self->two));
		BEGIN_RESET();
		while (!self->over && ATTACH_PASID_TO(PASID + 1, self->two) != -EBUSY)
			ASSERT_OK(detach_pasid(self->device, PASID + 1));
		EXPECT_OK(detach_pasid(self->device, PASID));
		EXPECT_OK(DESTROY(self->two));
		during = !self->over;
		END_RESET();
		self->two = hwpt_for_pasids(self->fd, self->id, self->ioas);
		ASSERT_LT(0, self->two);
	}
	EXPECT_TRUE(during);
	EXPECT_EQ(self->one, ATTACH_PASID_TO(PASID, self->one));
}

TEST_HARNESS_MAIN
