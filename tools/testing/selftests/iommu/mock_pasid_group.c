// SPDX-License-Identifier: GPL-2.0
/*
 * PASIDs of devices that share a group, behind an IOMMU in software, which test builds of the
 * driver have. The core has one IOMMU table changed after the other: when one of them cannot be,
 * all others are where they were, and so is what is said, held and answered.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "fault_calls.h"

#define PASID 100

enum { A, B, C, DEVICES };

FIXTURE(group)
{
	int fd;
	int ioas, other;
	struct mock mocks[DEVICES];
	struct fault_queue queue;
	int rid;	/* where the group is without a PASID */
	int one, two;	/* for PASIDs, with faults; the second is of the other space */
	char *memory;
	long pins;
};

/* Have a device not get to the next domain that a PASID goes to. */
static int fail_pasid(int iommufd, int id)
{
	struct iommu_test_cmd arg = { .id = id };

	return mock_call(iommufd, IOMMUFD_MOCK_OP_FAIL_PASID, &arg);
}

FIXTURE_SETUP(group)
{
	unsigned int i;

	self->fd = open_iommufd();
	ASSERT_LE(0, self->fd);
	self->memory = pages(4);
	ASSERT_NE(NULL, self->memory);
	self->pins = held_pins();
	self->ioas = ioas_alloc(self->fd);
	self->other = ioas_alloc(self->fd);
	ASSERT_LT(0, self->ioas);
	ASSERT_LT(0, self->other);
	ASSERT_OK(ioas_map(self->fd, self->other, self->memory, 4 * PAGE, IOVA));
	ASSERT_OK(mock_add_with(self->fd, self->ioas, MOCK_FLAGS_DEVICE_PASID, &self->mocks[A]));
	for (i = B; i < DEVICES; i++) {
		ASSERT_OK(mock_add_beside(self->fd, self->ioas, self->mocks[A].id,
					  &self->mocks[i]));
		ASSERT_EQ(self->mocks[A].hwpt, self->mocks[i].hwpt);
	}
	if (fault_queue_alloc(self->fd, &self->queue))
		SKIP(return, "the kernel has no queues of page faults");
	self->rid = hwpt_alloc(self->fd, self->mocks[A].device, self->ioas,
			       IOMMU_HWPT_ALLOC_PASID);
	self->one = hwpt_with_faults(self->fd, self->mocks[A].device, self->ioas,
				     IOMMU_HWPT_ALLOC_PASID, self->queue.id);
	self->two = hwpt_with_faults(self->fd, self->mocks[B].device, self->other,
				     IOMMU_HWPT_ALLOC_PASID, self->queue.id);
	ASSERT_LT(0, self->rid);
	ASSERT_LT(0, self->one);
	ASSERT_LT(0, self->two);
	/* All of them move. */
	ASSERT_EQ(self->rid, mock_move(self->fd, self->mocks[B].id, self->rid));
}

FIXTURE_TEARDOWN(group)
{
	close(self->queue.fd);
	EXPECT_EQ(0, close(self->fd));
	expect_nothing_left(_metadata, self->pins);
}

#define ID(who) (self->mocks[who].id)
#define ATTACH(who, pt) pasid_attach(self->fd, ID(who), PASID, pt)
#define REPLACE(who, pt) pasid_replace(self->fd, ID(who), PASID, pt)
#define DETACH(who) pasid_detach(self->fd, ID(who), PASID)
#define FAIL(who) ASSERT_OK(fail_pasid(self->fd, ID(who)))
#define DESTROY(id) destroy(self->fd, id)
#define FAULT(who, group) EXPECT_OK(fault(self->fd, self->mocks[who].device, PASID, group))

/* What the core says, and what the IOMMU has for each device. */
#define EXPECT_ON(hwpt) do { \
	int hwpt_ = hwpt; \
	unsigned int who_; \
	\
	EXPECT_OK(pasid_check(self->fd, ID(A), PASID, hwpt_)); \
	for (who_ = A; who_ < DEVICES; who_++) \
		EXPECT_OK(pasid_told(self->fd, ID(who_), PASID, hwpt_)) \
			TH_LOG("device %u", who_); \
} while (0)

/* It was never there. */
#define EXPECT_NOWHERE() EXPECT_OK(pasid_check(self->fd, ID(A), PASID, 0))

TEST_F(group, moves_as_one)
{
	ASSERT_EQ(self->one, ATTACH(A, self->one));
	EXPECT_ON(self->one);
	ASSERT_EQ(self->one, ATTACH(B, self->one));
	EXPECT_EQ(-EINVAL, ATTACH(C, self->two));
	EXPECT_EQ(self->two, REPLACE(B, self->two));
	EXPECT_ON(self->two);
	EXPECT_EQ(-EINVAL, REPLACE(C, self->one));
	EXPECT_OK(DESTROY(self->one));
	EXPECT_OK(DETACH(A));
	EXPECT_ON(self->two);
	EXPECT_OK(DETACH(B));
	EXPECT_ON(0);
	EXPECT_OK(DESTROY(self->two));
	EXPECT_OK(DESTROY(self->other));
}

/* Whoever of them cannot attach it: nobody has. */
TEST_F(group, no_attach_by_half)
{
	unsigned int who, by;

	for (who = A; who < DEVICES; who++) {
		for (by = A; by < DEVICES; by++) {
			FAIL(who);
			EXPECT_EQ(-ENOMEM, ATTACH(by, self->two));
			EXPECT_NOWHERE();
			if (who > A)
				EXPECT_OK(pasid_told(self->fd, ID(A), PASID, 0));
			EXPECT_EQ(-EINVAL, REPLACE(by, self->two));
		}
	}
	EXPECT_OK(DESTROY(self->two));
	EXPECT_OK(DESTROY(self->other));
	EXPECT_EQ(self->one, ATTACH(C, self->one));
	EXPECT_ON(self->one);
}

/* Whoever of them cannot move: all stay, who had moved as well. */
TEST_F(group, no_move_by_half)
{
	unsigned int who, by;

	ASSERT_EQ(self->one, ATTACH(A, self->one));
	ASSERT_EQ(self->one, ATTACH(C, self->one));
	for (who = A; who < DEVICES; who++) {
		for (by = A; by < DEVICES; by += C) {
			FAIL(who);
			EXPECT_EQ(-ENOMEM, REPLACE(by, self->two));
			EXPECT_ON(self->one);
			EXPECT_EQ(-EBUSY, DESTROY(self->one));
		}
	}
	/* Nobody was there. */
	EXPECT_OK(DESTROY(self->two));
	EXPECT_OK(DESTROY(self->other));
	EXPECT_OK(DETACH(A));
	EXPECT_ON(self->one);
	EXPECT_EQ(self->rid, REPLACE(C, self->rid));
	EXPECT_ON(self->rid);
	EXPECT_OK(DESTROY(self->one));
	EXPECT_OK(DETACH(C));
	EXPECT_ON(0);
}

/* A fault comes by way of a move's handle: whoever moves leaves it, and whoever stays has it. */
TEST_F(group, handles)
{
	int before = answers(self->fd, self->mocks[B].device, INVALID);
	struct iommu_hwpt_pgfault got;
	long cookie;

	ASSERT_EQ(self->one, ATTACH(A, self->one));
	ASSERT_EQ(self->one, ATTACH(B, self->one));
	FAULT(B, 1);
	cookie = read_fault(self->queue.fd);
	ASSERT_LT(0, cookie);
	FAIL(C);
	EXPECT_EQ(-ENOMEM, REPLACE(A, self->two));
	EXPECT_EQ(before, answers(self->fd, self->mocks[B].device, INVALID));
	EXPECT_EQ(ANSWER_SIZE, write_answer(self->queue.fd, cookie, SUCCESS));
	EXPECT_EQ(1, answers(self->fd, self->mocks[B].device, SUCCESS));

	/* To a domain with the same queue: it is the handle that is another. */
	FAULT(B, 2);
	cookie = read_fault(self->queue.fd);
	ASSERT_LT(0, cookie);
	FAULT(B, 3);
	EXPECT_EQ(self->two, REPLACE(A, self->two));
	EXPECT_EQ(before + 2, answers(self->fd, self->mocks[B].device, INVALID));
	EXPECT_EQ(-EINVAL, write_answer(self->queue.fd, cookie, SUCCESS));
	EXPECT_EQ(0, ready(self->queue.fd) & POLLIN);

	/* The one that there is now goes on, also when it is told of under another's name. */
	EXPECT_OK(DETACH(A));
	FAULT(B, 4);
	ASSERT_EQ(FAULT_SIZE, read_faults(self->queue.fd, &got, sizeof(got)));
	EXPECT_EQ(self->mocks[B].device, got.dev_id);
	EXPECT_EQ(PASID, got.pasid);
	/* It is there already: nothing is new. */
	EXPECT_EQ(self->two, REPLACE(B, self->two));
	EXPECT_EQ(ANSWER_SIZE, write_answer(self->queue.fd, got.cookie, SUCCESS));
	EXPECT_EQ(2, answers(self->fd, self->mocks[B].device, SUCCESS));
	FAULT(B, 5);
	EXPECT_OK(DETACH(B));
	EXPECT_EQ(before + 3, answers(self->fd, self->mocks[B].device, INVALID));
}

/* All of a device's end with it, and those of its relatives go on. */
TEST_F(group, one_leaves)
{
	ASSERT_EQ(self->one, ATTACH(A, self->one));
	ASSERT_EQ(self->one, ATTACH(B, self->one));
	EXPECT_OK(DESTROY(ID(A)));
	EXPECT_OK(pasid_check(self->fd, ID(B), PASID, self->one));
	FAIL(C);
	EXPECT_EQ(-ENOMEM, REPLACE(B, self->two));
	EXPECT_OK(pasid_told(self->fd, ID(B), PASID, self->one));
	EXPECT_EQ(self->two, REPLACE(B, self->two));
	EXPECT_OK(pasid_told(self->fd, ID(C), PASID, self->two));
	EXPECT_OK(DESTROY(ID(B)));
	EXPECT_OK(pasid_told(self->fd, ID(C), PASID, 0));
	EXPECT_OK(DESTROY(self->two));
}

/* --- while each of them may fail at any moment --------------------------------------------- */

struct failing {
	int fd, ids[DEVICES];
	atomic_bool stop;
};

static void *fail_always(void *data)
{
	struct failing *failing = data;
	unsigned int who = 0;

	while (!failing->stop) {
		fail_pasid(failing->fd, failing->ids[who++ % DEVICES]);
		usleep(50);
	}
	return NULL;
}

/* The core puts back who had moved; so nobody may fail twice, and only the last one does. */
TEST_F(group, said_and_so)
{
	struct failing failing = { .fd = self->fd, .ids = { ID(C), ID(C), ID(C) } };
	unsigned int i, moved = 0, stayed = 0;
	int there = self->one, ret;
	pthread_t thread;

	ASSERT_EQ(self->one, ATTACH(A, self->one));
	ASSERT_EQ(0, pthread_create(&thread, NULL, fail_always, &failing));
	/* On a busy machine the other one may have to wait for its turn. */
	for (i = 0; i < 2000 || ((!moved || !stayed) && i < 100000); i++) {
		int next = there == self->one ? self->two : self->one;

		ret = REPLACE(A, next);
		if (ret == next) {
			there = next;
			moved++;
		} else {
			ASSERT_EQ(-ENOMEM, ret);
			stayed++;
		}
		ASSERT_OK(pasid_told(self->fd, ID(A), PASID, there));
		ASSERT_OK(pasid_check(self->fd, ID(A), PASID, there));
	}
	failing.stop = true;
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_LT(0, moved);
	EXPECT_LT(0, stayed);
}

TEST_HARNESS_MAIN
