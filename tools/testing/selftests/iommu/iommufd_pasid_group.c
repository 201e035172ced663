// SPDX-License-Identifier: GPL-2.0
/*
 * A PASID of two devices in one group, which the IOMMU translates for both: each attaches it by
 * itself, and it stays where it is as long as one of them does.
 */
#include "ioasid_pair.h"
#include "pasid_calls.h"

FIXTURE(group_pasid)
{
	struct pair pair;
	int one, two;
};

FIXTURE_SETUP(group_pasid)
{
	struct pair *p = &self->pair;

	if (!pair_open(_metadata, p, ONE_GROUP, NULL))
		SKIP(return, NO_PAIR);
	self->one = hwpt_for_pasids(p->fd, p->id[A], p->space[X]);
	self->two = hwpt_for_pasids(p->fd, p->id[A], p->space[Y]);
	ASSERT_LT(0, self->one);
	ASSERT_LT(0, self->two);
}

FIXTURE_TEARDOWN(group_pasid)
{
	pair_close(_metadata, &self->pair);
}

#define ATTACH_OF(who, pt) attach_pasid(p->edu[who].fd, PASID, pt)
#define DETACH_OF(who) detach_pasid(p->edu[who].fd, PASID)

/* They share it, as they share what they do without. */
TEST_F(group_pasid, is_shared)
{
	struct pair *p = &self->pair;

	ASSERT_EQ(self->one, ATTACH_OF(A, self->one));
	EXPECT_ERRNO(EINVAL, ATTACH_OF(B, self->two));
	EXPECT_EQ(self->one, ATTACH_OF(B, self->one));
	/* Both move. */
	EXPECT_EQ(self->two, ATTACH_OF(B, self->two));
	EXPECT_OK(destroy(p->fd, self->one));
	EXPECT_OK(DETACH_OF(B));
	EXPECT_ERRNO(EBUSY, destroy(p->fd, self->two));
	EXPECT_ERRNO(EBUSY, FREE(Y));
	EXPECT_OK(DETACH_OF(A));
	EXPECT_OK(destroy(p->fd, self->two));
	EXPECT_OK(FREE(Y));
}

/* A PASID of one is beside the DMA of the other. */
TEST_F(group_pasid, is_beside_both)
{
	struct pair *p = &self->pair;

	ASSERT_OK(ATTACH(B, X));
	EXPECT_ERRNO(EINVAL, ATTACH_OF(A, self->one));
	EXPECT_OK(DETACH(B));
	ASSERT_EQ(self->one, ATTACH_OF(A, self->one));
	EXPECT_ERRNO(EINVAL, ATTACH(B, X));
	EXPECT_EQ(self->one, attach_pt(p->edu[B].fd, self->one));
}

/* Who has attached it may go before who has joined. */
TEST_F(group_pasid, first_leaves)
{
	struct pair *p = &self->pair;

	ASSERT_EQ(self->one, ATTACH_OF(A, self->one));
	ASSERT_EQ(self->one, ATTACH_OF(B, self->one));
	edu_close(&p->edu[A]);
	EXPECT_ERRNO(EBUSY, destroy(p->fd, self->one));
	/* By way of the one that is left. */
	EXPECT_EQ(self->two, ATTACH_OF(B, self->two));
	EXPECT_OK(destroy(p->fd, self->one));
	edu_close(&p->edu[B]);
	EXPECT_OK(destroy(p->fd, self->two));
}

TEST_HARNESS_MAIN
