// SPDX-License-Identifier: GPL-2.0
/*
 * PASIDs of devices behind an IOMMU in software, which test builds of the driver have: which
 * domains they may go to, and that nothing is lost or left over, whatever fails or goes away.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "mock_pasid.h"
#include "slowness.h"

#define PASID 100
#define WIDTH MOCK_PASID_WIDTH

FIXTURE(mock_pasid)
{
	int fd;
	int ioas;
	struct mock mock;
	int rid;	/* the domain that the device came to at first */
	int plain;	/* not for PASIDs */
	int one, two;	/* for PASIDs */
};

FIXTURE_SETUP(mock_pasid)
{
	self->fd = open_iommufd();
	ASSERT_LE(0, self->fd);
	self->ioas = ioas_alloc(self->fd);
	ASSERT_LT(0, self->ioas);
	ASSERT_OK(mock_add_with(self->fd, self->ioas, MOCK_FLAGS_DEVICE_PASID, &self->mock));
	self->rid = self->mock.hwpt;
	self->plain = hwpt_alloc(self->fd, self->mock.device, self->ioas, 0);
	ASSERT_LT(0, self->plain);
	self->one = hwpt_alloc(self->fd, self->mock.device, self->ioas, IOMMU_HWPT_ALLOC_PASID);
	ASSERT_LT(0, self->one);
	self->two = hwpt_alloc(self->fd, self->mock.device, self->ioas, IOMMU_HWPT_ALLOC_PASID);
	ASSERT_LT(0, self->two);
}

FIXTURE_TEARDOWN(mock_pasid)
{
	EXPECT_EQ(0, close(self->fd));
}

#define MOVE(pt) mock_move(self->fd, self->mock.id, pt)
#define ATTACH(pasid, pt) pasid_attach(self->fd, self->mock.id, pasid, pt)
#define REPLACE(pasid, pt) pasid_replace(self->fd, self->mock.id, pasid, pt)
#define DETACH(pasid) pasid_detach(self->fd, self->mock.id, pasid)
#define EXPECT_ON(hwpt, pasid) \
	EXPECT_EQ(0, pasid_check(self->fd, self->mock.id, pasid, hwpt))
#define EXPECT_NOWHERE(pasid) EXPECT_ON(0, pasid)
#define DESTROY(id) destroy(self->fd, id)
#define FOR_PASIDS(device, ioas) hwpt_alloc(self->fd, device, ioas, IOMMU_HWPT_ALLOC_PASID)

/* The device is where PASIDs may be beside it. */
#define MAKE_ROOM() ASSERT_EQ(self->one, MOVE(self->one))

/* --- attach, replace, detach -------------------------------------------------------------- */

TEST_F(mock_pasid, come_and_go)
{
	MAKE_ROOM();
	/* Nobody minds. */
	EXPECT_EQ(0, DETACH(PASID));
	EXPECT_EQ(-EINVAL, REPLACE(PASID, self->one));
	EXPECT_EQ(self->one, ATTACH(PASID, self->one));
	EXPECT_ON(self->one, PASID);
	EXPECT_NOWHERE(PASID + 1);
	EXPECT_EQ(self->two, REPLACE(PASID, self->two));
	EXPECT_ON(self->two, PASID);
	/* It is there already. */
	EXPECT_EQ(self->two, REPLACE(PASID, self->two));
	EXPECT_ON(self->two, PASID);
	/* Without a PASID all is as it was. */
	EXPECT_ON(self->one, 0);
	EXPECT_EQ(0, DETACH(PASID));
	EXPECT_NOWHERE(PASID);
	EXPECT_EQ(-EINVAL, REPLACE(PASID, self->one));
	EXPECT_EQ(0, DETACH(PASID));
	EXPECT_EQ(self->two, ATTACH(PASID, self->two));
	EXPECT_ON(self->two, PASID);
}

/* Wherever it is to go, it is attached already. */
TEST_F(mock_pasid, second_attach)
{
	const int targets[] = { self->one, self->two, self->ioas, self->plain };
	unsigned int i;

	MAKE_ROOM();
	ASSERT_EQ(self->one, ATTACH(PASID, self->one));
	for (i = 0; i < ARRAY_SIZE(targets); i++)
		EXPECT_EQ(-EBUSY, ATTACH(PASID, targets[i])) TH_LOG("target %u", i);
	EXPECT_EQ(-EINVAL, ATTACH(PASID, self->mock.device));
	EXPECT_EQ(-ENOENT, ATTACH(PASID, 1000));
	EXPECT_ON(self->one, PASID);
}

/* Nothing that refuses it changes where it is. */
TEST_F(mock_pasid, unsuitable_targets)
{
	const struct {
		int pt, error;
	} cases[] = {
		{ self->ioas, -EINVAL },
		{ self->plain, -EINVAL },
		{ self->rid, -EINVAL },
		{ self->mock.device, -EINVAL },
		{ self->mock.id, -EINVAL },
		{ 1000, -ENOENT },
		{ 0, -ENOENT },
	};
	unsigned int i;

	MAKE_ROOM();
	/* It went with the last that was on it. */
	EXPECT_EQ(-ENOENT, ATTACH(PASID, self->rid));
	/* Its id was the lowest that is free. */
	ASSERT_EQ(self->rid, FOR_PASIDS(self->mock.device, self->ioas));
	ASSERT_EQ(0, DESTROY(self->rid));
	ASSERT_EQ(self->rid, hwpt_alloc(self->fd, self->mock.device, self->ioas, 0));
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		EXPECT_EQ(cases[i].error, ATTACH(PASID, cases[i].pt)) TH_LOG("case %u", i);
		EXPECT_NOWHERE(PASID);
	}
	ASSERT_EQ(self->one, ATTACH(PASID, self->one));
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		EXPECT_EQ(cases[i].error, REPLACE(PASID, cases[i].pt)) TH_LOG("case %u", i);
		EXPECT_ON(self->one, PASID);
	}
}

TEST_F(mock_pasid, numbers)
{
	const uint32_t bad[] = { 1U << WIDTH, (1U << WIDTH) + 1, INT32_MAX, 1U << 31, UINT32_MAX };
	const uint32_t good[] = { 1, 2, (1U << WIDTH) - 1 };
	unsigned int i;

	MAKE_ROOM();
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-EINVAL, ATTACH(bad[i], self->one)) TH_LOG("PASID %u", bad[i]);
		EXPECT_EQ(-EINVAL, REPLACE(bad[i], self->one));
		EXPECT_NOWHERE(bad[i]);
	}
	for (i = 0; i < ARRAY_SIZE(good); i++)
		EXPECT_EQ(self->two, ATTACH(good[i], self->two));
	for (i = 0; i < ARRAY_SIZE(good); i++)
		EXPECT_ON(self->two, good[i]);
}

TEST_F(mock_pasid, width)
{
	struct mock without = { };

	EXPECT_EQ(WIDTH, pasid_width(self->fd, self->mock.device));
	ASSERT_OK(mock_add(self->fd, self->ioas, &without));
	EXPECT_EQ(0, pasid_width(self->fd, without.device));
}

/* A device that has none never uses any: the core does not ask its IOMMU. */
TEST_F(mock_pasid, device_without)
{
	struct mock without = { };

	ASSERT_OK(mock_add(self->fd, self->ioas, &without));
	EXPECT_EQ(-EINVAL, pasid_attach(self->fd, without.id, PASID, self->one));
	EXPECT_EQ(self->one, mock_move(self->fd, without.id, self->one));
	EXPECT_EQ(self->one, pasid_attach(self->fd, without.id, PASID, self->one));
	EXPECT_EQ(0, pasid_check(self->fd, without.id, PASID, self->one));
	EXPECT_NOWHERE(PASID);
	EXPECT_EQ(-EBUSY, DESTROY(self->one));
}

/* --- beside DMA without a PASID ------------------------------------------------------------ */

/* A device with PASIDs in use is on a domain for PASIDs, or on none. */
TEST_F(mock_pasid, beside_the_device)
{
	int rid;

	/* It is on one that came with it. */
	EXPECT_EQ(-EINVAL, ATTACH(PASID, self->one));
	EXPECT_EQ(self->plain, MOVE(self->plain));
	EXPECT_EQ(-EINVAL, ATTACH(PASID, self->one));
	EXPECT_NOWHERE(PASID);
	MAKE_ROOM();
	EXPECT_EQ(self->two, ATTACH(PASID, self->two));
	EXPECT_EQ(-EINVAL, MOVE(self->plain));
	EXPECT_EQ(-EINVAL, MOVE(self->ioas));
	EXPECT_ON(self->one, 0);
	EXPECT_EQ(self->two, MOVE(self->two));
	EXPECT_EQ(self->one, MOVE(self->one));
	EXPECT_EQ(self->one, REPLACE(PASID, self->one));
	EXPECT_EQ(0, DETACH(PASID));
	rid = MOVE(self->ioas);
	EXPECT_LT(0, rid);
	EXPECT_ON(rid, 0);
	EXPECT_EQ(-EINVAL, ATTACH(PASID, self->one));
}

/* PASID 0 is no PASID. */
TEST_F(mock_pasid, without_the_device)
{
	int rid;

	EXPECT_EQ(-EBUSY, ATTACH(0, self->ioas));
	EXPECT_EQ(self->plain, REPLACE(0, self->plain));
	EXPECT_ON(self->plain, 0);
	EXPECT_EQ(0, DETACH(0));
	EXPECT_NOWHERE(0);
	EXPECT_EQ(0, DETACH(0));
	EXPECT_EQ(-EINVAL, REPLACE(0, self->one));
	/* It may be on nothing. */
	EXPECT_EQ(self->one, ATTACH(PASID, self->one));
	EXPECT_EQ(-EINVAL, ATTACH(0, self->ioas));
	EXPECT_EQ(-EINVAL, ATTACH(0, self->plain));
	EXPECT_NOWHERE(0);
	EXPECT_EQ(self->two, ATTACH(0, self->two));
	EXPECT_EQ(0, DETACH(0));
	EXPECT_ON(self->one, PASID);
	EXPECT_EQ(0, DETACH(PASID));
	rid = ATTACH(0, self->ioas);
	EXPECT_LT(0, rid);
	EXPECT_ON(rid, 0);
}

/* Nothing is pinned, or made, for an attach that cannot be. */
TEST_F(mock_pasid, nothing_is_made_in_vain)
{
	char *memory = pages(16);
	int other = ioas_alloc(self->fd);
	long pins;

	ASSERT_NE(NULL, memory);
	ASSERT_LT(0, other);
	ASSERT_OK(ioas_map(self->fd, other, memory, 16 * PAGE, IOVA));
	pins = held_pins();
	MAKE_ROOM();
	ASSERT_EQ(self->one, ATTACH(PASID, self->one));
	EXPECT_EQ(-EINVAL, MOVE(other));
	EXPECT_EQ(-EINVAL, ATTACH(PASID + 1, other));
	EXPECT_EQ(-EINVAL, REPLACE(PASID, other));
	EXPECT_EQ(pins, held_pins());
	EXPECT_OK(DESTROY(other));
}

/* --- domains inside of domains -------------------------------------------------------------- */

/* One inside may be for PASIDs while the one outside is not; it is the one inside that counts. */
TEST_F(mock_pasid, nested)
{
	int parent = hwpt_alloc(self->fd, self->mock.device, self->ioas,
				IOMMU_HWPT_ALLOC_NEST_PARENT);
	int inside, plain;

	ASSERT_LT(0, parent);
	inside = nested_for(self->fd, self->mock.device, parent, IOMMU_HWPT_ALLOC_PASID);
	plain = nested_for(self->fd, self->mock.device, parent, 0);
	ASSERT_LT(0, inside);
	ASSERT_LT(0, plain);
	MAKE_ROOM();
	EXPECT_EQ(-EINVAL, ATTACH(PASID, plain));
	EXPECT_EQ(-EINVAL, ATTACH(PASID, parent));
	ASSERT_EQ(inside, ATTACH(PASID, inside));
	EXPECT_ON(inside, PASID);
	EXPECT_EQ(-EBUSY, ATTACH(PASID, parent));
	EXPECT_EQ(-EBUSY, DESTROY(inside));
	EXPECT_EQ(-EBUSY, DESTROY(parent));
	EXPECT_EQ(-EINVAL, MOVE(plain));
	EXPECT_EQ(-EINVAL, MOVE(parent));
	EXPECT_EQ(inside, MOVE(inside));
	EXPECT_EQ(self->two, REPLACE(PASID, self->two));
	EXPECT_ON(self->two, PASID);
	EXPECT_EQ(-EINVAL, REPLACE(PASID, plain));
	EXPECT_ON(self->two, PASID);
	EXPECT_EQ(self->one, MOVE(self->one));
	EXPECT_OK(DESTROY(inside));
	EXPECT_OK(DESTROY(plain));
	EXPECT_OK(DESTROY(parent));
}

/* One that fails leaves the PASID where it was, and nobody in use who was not, both ways. */
TEST_F(mock_pasid, nested_rolls_back)
{
	const uint32_t pasid = IOMMU_TEST_PASID_RESERVED;
	int other = ioas_alloc(self->fd), parent, inside;

	ASSERT_LT(0, other);
	parent = hwpt_alloc(self->fd, self->mock.device, other, IOMMU_HWPT_ALLOC_NEST_PARENT);
	ASSERT_LT(0, parent);
	inside = nested_for(self->fd, self->mock.device, parent, IOMMU_HWPT_ALLOC_PASID);
	ASSERT_LT(0, inside);
	MAKE_ROOM();
	ASSERT_EQ(self->two, ATTACH(pasid, self->two));
	EXPECT_EQ(-ENOMEM, REPLACE(pasid, inside));
	EXPECT_ON(self->two, pasid);
	EXPECT_EQ(-EBUSY, DESTROY(self->two));
	EXPECT_OK(DESTROY(inside));
	inside = nested_for(self->fd, self->mock.device, parent, IOMMU_HWPT_ALLOC_PASID);
	ASSERT_LT(0, inside);
	ASSERT_EQ(inside, REPLACE(pasid, inside));
	EXPECT_OK(DESTROY(self->two));
	EXPECT_EQ(-ENOMEM, REPLACE(pasid, self->one));
	EXPECT_ON(inside, pasid);
	EXPECT_EQ(-EBUSY, DESTROY(inside));
	EXPECT_EQ(-EBUSY, DESTROY(parent));
	EXPECT_EQ(-EBUSY, DESTROY(other));
	EXPECT_EQ(0, DETACH(pasid));
	EXPECT_NOWHERE(pasid);
	EXPECT_OK(DESTROY(inside));
	EXPECT_OK(DESTROY(parent));
	EXPECT_OK(DESTROY(other));
}

/* From one inside to another of the same parent, which is another domain all the same. */
TEST_F(mock_pasid, nested_siblings)
{
	int parent = hwpt_alloc(self->fd, self->mock.device, self->ioas,
				IOMMU_HWPT_ALLOC_NEST_PARENT | IOMMU_HWPT_ALLOC_PASID);
	int first, second;

	ASSERT_LT(0, parent);
	first = nested_for(self->fd, self->mock.device, parent, IOMMU_HWPT_ALLOC_PASID);
	second = nested_for(self->fd, self->mock.device, parent, IOMMU_HWPT_ALLOC_PASID);
	ASSERT_LT(0, first);
	ASSERT_LT(0, second);
	MAKE_ROOM();
	ASSERT_EQ(first, ATTACH(PASID, first));
	ASSERT_EQ(second, REPLACE(PASID, second));
	EXPECT_ON(second, PASID);
	EXPECT_OK(DESTROY(first));
	/* To the one outside, and back. */
	EXPECT_EQ(parent, REPLACE(PASID, parent));
	EXPECT_ON(parent, PASID);
	EXPECT_EQ(second, REPLACE(PASID, second));
	EXPECT_ON(second, PASID);
	/* Each PASID is where it was put. */
	EXPECT_EQ(parent, ATTACH(PASID + 1, parent));
	EXPECT_ON(second, PASID);
	EXPECT_ON(parent, PASID + 1);
	EXPECT_OK(DESTROY(self->mock.id));
	EXPECT_OK(DESTROY(second));
	EXPECT_OK(DESTROY(parent));
}

/* --- who holds whom ------------------------------------------------------------------------ */

TEST_F(mock_pasid, holds_its_domain)
{
	MAKE_ROOM();
	ASSERT_EQ(self->two, ATTACH(PASID, self->two));
	ASSERT_EQ(self->two, ATTACH(PASID + 1, self->two));
	EXPECT_EQ(-EBUSY, DESTROY(self->two));
	EXPECT_EQ(0, DETACH(PASID));
	EXPECT_EQ(-EBUSY, DESTROY(self->two));
	EXPECT_EQ(self->one, REPLACE(PASID + 1, self->one));
	EXPECT_OK(DESTROY(self->two));
	/* The device is on it as well. */
	EXPECT_EQ(-EBUSY, DESTROY(self->one));
	EXPECT_EQ(0, DETACH(0));
	EXPECT_EQ(-EBUSY, DESTROY(self->one));
	EXPECT_EQ(0, DETACH(PASID + 1));
	EXPECT_OK(DESTROY(self->one));
}

/* Between domains of different spaces. */
TEST_F(mock_pasid, other_space)
{
	int other = ioas_alloc(self->fd), there;

	ASSERT_LT(0, other);
	there = FOR_PASIDS(self->mock.device, other);
	ASSERT_LT(0, there);
	MAKE_ROOM();
	ASSERT_EQ(self->two, ATTACH(PASID, self->two));
	ASSERT_EQ(there, REPLACE(PASID, there));
	EXPECT_ON(there, PASID);
	EXPECT_OK(DESTROY(self->two));
	EXPECT_EQ(-EBUSY, DESTROY(there));
	EXPECT_EQ(-EBUSY, DESTROY(other));
	/* The device and its PASID may be in different ones. */
	EXPECT_ON(self->one, 0);
	EXPECT_EQ(self->one, REPLACE(PASID, self->one));
	EXPECT_OK(DESTROY(there));
	EXPECT_OK(DESTROY(other));
}

/* All of them end with the device. */
TEST_F(mock_pasid, unbind)
{
	const unsigned int count = 600;
	uint32_t pasid;

	MAKE_ROOM();
	/* In no order, and with gaps. */
	for (pasid = 1; pasid <= count; pasid++)
		ASSERT_EQ(self->two, ATTACH(pasid * 7919 % (1U << WIDTH), self->two));
	EXPECT_EQ(-EBUSY, DESTROY(self->two));
	EXPECT_EQ(-EBUSY, DESTROY(self->mock.device));
	EXPECT_OK(DESTROY(self->mock.id));
	EXPECT_OK(DESTROY(self->two));
	EXPECT_OK(DESTROY(self->one));
	EXPECT_EQ(-ENOENT, ATTACH(PASID, self->one));
	EXPECT_EQ(-ENOENT, REPLACE(PASID, self->one));
	EXPECT_EQ(-ENOENT, DETACH(PASID));
}

/* And so they do with the file, which the test's end closes. */
TEST_F(mock_pasid, close)
{
	MAKE_ROOM();
	ASSERT_EQ(self->two, ATTACH(PASID, self->two));
	ASSERT_EQ(self->one, ATTACH(PASID + 1, self->one));
}

/* --- failures ------------------------------------------------------------------------------ */

/* This PASID does not get to its second domain, but would to the third. */
TEST_F(mock_pasid, rolls_back)
{
	const uint32_t pasid = IOMMU_TEST_PASID_RESERVED;

	MAKE_ROOM();
	ASSERT_EQ(self->one, ATTACH(pasid, self->one));
	EXPECT_EQ(-ENOMEM, REPLACE(pasid, self->two));
	EXPECT_ON(self->one, pasid);
	/* Nobody is on the other. */
	EXPECT_OK(DESTROY(self->two));
	self->two = FOR_PASIDS(self->mock.device, self->ioas);
	ASSERT_LT(0, self->two);
	EXPECT_EQ(self->two, REPLACE(pasid, self->two));
	EXPECT_ON(self->two, pasid);
	EXPECT_EQ(-ENOMEM, REPLACE(pasid, self->one));
	EXPECT_EQ(-EBUSY, DESTROY(self->two));
	EXPECT_EQ(0, DETACH(pasid));
	EXPECT_NOWHERE(pasid);
	EXPECT_OK(DESTROY(self->two));
}

/* An answer that cannot be written undoes an attach, and no replace. */
TEST_F(mock_pasid, unwritable_answers)
{
	struct iommu_test_cmd *arg = pages(1);

	ASSERT_NE(NULL, arg);
	MAKE_ROOM();
	*arg = (struct iommu_test_cmd) {
		.size = sizeof(*arg), .op = IOMMU_TEST_OP_PASID_ATTACH, .id = self->mock.id,
		.pasid_attach = { .pasid = PASID, .pt_id = self->two },
	};
	ASSERT_EQ(0, mprotect(arg, PAGE, PROT_READ));
	EXPECT_EQ(-EFAULT, call(self->fd, IOMMU_TEST_CMD, arg));
	EXPECT_NOWHERE(PASID);
	EXPECT_OK(DESTROY(self->two));
}

/* --- all at once --------------------------------------------------------------------------- */

#define THREADS 8
#define PASIDS 3	/* that are fought over */
#define HWPTS 4
#define ROUNDS 12
#define ROUND_MS 250

struct fight {
	int fd, ioas;
	struct mock mock;
	atomic_int hwpts[HWPTS];
	atomic_bool stop;
	atomic_uint odd, attached, replaced, remade;
};

struct fighter {
	struct fight *fight;
	pthread_t thread;
	unsigned int seed;
};

/* Whether @result is a domain, or one of some errnos. */
static bool is_one_of(struct fight *fight, const char *what, int result, const int *errnos)
{
	if (result > 0)
		return true;
	while (*errnos && result != *errnos)
		errnos++;
	if (*errnos || !result)
		return false;
	if (!fight->odd++)
		ksft_print_msg("%s: %d\n", what, result);
	return false;
}

/* A domain may be gone. */
static const int attach_errnos[] = { -EBUSY, -ENOENT, -EINVAL, 0 };
static const int replace_errnos[] = { -ENOENT, -EINVAL, 0 };

static void *fight(void *data)
{
	struct fighter *me = data;
	struct fight *fight = me->fight;
	int id = fight->mock.id;

	while (!fight->stop) {
		uint32_t pasid = 1 + rand_r(&me->seed) / 7 % PASIDS;
		atomic_int *hwpt = &fight->hwpts[rand_r(&me->seed) / 7 % HWPTS];
		int there = *hwpt, ret;

		switch (rand_r(&me->seed) / 7 % 8) {
		case 0: case 1:
			ret = pasid_attach(fight->fd, id, pasid, there);
			fight->attached += is_one_of(fight, "attach", ret, attach_errnos);
			break;
		case 2: case 3:
			ret = pasid_replace(fight->fd, id, pasid, there);
			fight->replaced += is_one_of(fight, "replace", ret, replace_errnos);
			break;
		case 4: case 5:
			if (pasid_detach(fight->fd, id, pasid))
				fight->odd++;
			break;
		case 6:
			ret = mock_move(fight->fd, id, there);
			is_one_of(fight, "move", ret, replace_errnos);
			break;
		default:
			/* Nobody else destroys it, or what has its id then. */
			there = atomic_exchange(hwpt, 0);
			if (!there)
				break;
			if (!destroy(fight->fd, there)) {
				there = hwpt_alloc(fight->fd, fight->mock.device, fight->ioas,
						   IOMMU_HWPT_ALLOC_PASID);
				fight->remade++;
			}
			if (there < 0)
				fight->odd++;
			*hwpt = there;
		}
	}
	return NULL;
}

/* With nobody else about, what is said and what is so is one: where each PASID is. */
static void look(struct __test_metadata *_metadata, struct fight *fight)
{
	int fd = fight->fd, id = fight->mock.id, i, where;
	bool used[HWPTS] = { };
	uint32_t pasid;

	for (pasid = 0; pasid <= PASIDS; pasid++) {
		for (where = HWPTS - 1; where >= 0; where--)
			if (!pasid_check(fd, id, pasid, fight->hwpts[where]))
				break;
		if (where < 0) {
			ASSERT_EQ(0, pasid_check(fd, id, pasid, 0));
			ASSERT_EQ(-EINVAL, pasid_replace(fd, id, pasid, fight->hwpts[0]));
		} else {
			ASSERT_EQ(-EBUSY, pasid_attach(fd, id, pasid, fight->hwpts[0]));
			used[where] = true;
		}
	}
	for (i = 0; i < HWPTS; i++) {
		int ret = destroy(fd, fight->hwpts[i]);

		ASSERT_EQ(used[i] ? -EBUSY : 0, ret);
		if (!ret)
			fight->hwpts[i] = hwpt_alloc(fd, fight->mock.device, fight->ioas,
						     IOMMU_HWPT_ALLOC_PASID);
		ASSERT_LT(0, fight->hwpts[i]);
	}
}

TEST_F_TIMEOUT(mock_pasid, fought_over, 300)
{
	struct fight all = { .fd = self->fd, .ioas = self->ioas, .mock = self->mock };
	struct fighter fighters[THREADS];
	unsigned int i, round;

	for (i = 0; i < HWPTS; i++) {
		all.hwpts[i] = FOR_PASIDS(self->mock.device, self->ioas);
		ASSERT_LT(0, all.hwpts[i]);
	}
	ASSERT_EQ(all.hwpts[0], MOVE(all.hwpts[0]));
	for (round = 0; round < ROUNDS; round++) {
		all.stop = false;
		for (i = 0; i < THREADS; i++) {
			fighters[i] = (struct fighter) { .fight = &all, .seed = round * 100 + i };
			ASSERT_EQ(0, pthread_create(&fighters[i].thread, NULL, fight,
						    &fighters[i]));
		}
		usleep(ROUND_MS * 1000);
		all.stop = true;
		for (i = 0; i < THREADS; i++)
			ASSERT_EQ(0, pthread_join(fighters[i].thread, NULL));
		look(_metadata, &all);
	}
	EXPECT_EQ(0, all.odd);
	EXPECT_LT(0, all.attached);
	EXPECT_LT(0, all.replaced);
	EXPECT_LT(0, all.remade);
	TH_LOG("%u attached, %u replaced, %u domains made again", all.attached, all.replaced,
	       all.remade);
}

/* Devices that go while their PASIDs come. */
struct leaving {
	int fd, hwpt;
	atomic_int device;
	atomic_bool stop;
	atomic_uint odd, attached;
};

static void *attach_some(void *data)
{
	static const int errnos[] = { -EBUSY, -ENOENT, -EINVAL, 0 };
	struct leaving *leaving = data;
	uint32_t pasid = 0;

	while (!leaving->stop) {
		int ret = pasid_attach(leaving->fd, leaving->device, 1 + pasid++ % 50,
				       leaving->hwpt);
		const int *errno_ = errnos;

		while (*errno_ && ret != *errno_)
			errno_++;
		if (ret > 0)
			leaving->attached++;
		else if (!*errno_ && !leaving->odd++)
			ksft_print_msg("attach: %d\n", ret);
	}
	return NULL;
}

TEST_F_TIMEOUT(mock_pasid, device_leaves, 300)
{
	struct leaving all = { .fd = self->fd, .hwpt = self->one, .device = self->mock.id };
	pthread_t threads[THREADS];
	unsigned int i, round;

	MAKE_ROOM();
	for (i = 0; i < THREADS; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, attach_some, &all));
	for (round = 0; round < 40; round++) {
		struct mock next = { };

		usleep(10000);
		ASSERT_OK(DESTROY(all.device));
		ASSERT_OK(mock_add_with(self->fd, self->one, MOCK_FLAGS_DEVICE_PASID, &next));
		all.device = next.id;
	}
	all.stop = true;
	for (i = 0; i < THREADS; i++)
		ASSERT_EQ(0, pthread_join(threads[i], NULL));
	ASSERT_OK(DESTROY(all.device));
	EXPECT_OK(DESTROY(self->one));
	EXPECT_EQ(0, all.odd);
	EXPECT_LT(0, all.attached);
}

TEST_HARNESS_MAIN
