// SPDX-License-Identifier: GPL-2.0
/*
 * An object is itself, not its number: crowds that make, use, look for and destroy objects
 * of the same few ids at once learn what they could have learned one after another.
 */
#include "container_calls.h"
#include "crowd.h"
#include "driver/edu_ioasid.h"
#include "ioasid_sysfs.h"

FIXTURE(identity)
{
	struct crowd crowd;
	struct member members[CROWD];
	struct bound b;
	long pins;
};

/* Whether a device of that group has a seat. */
static bool has_seat(struct crowd *crowd, const char *group)
{
	char other[16];

	for (unsigned int i = 0; i < crowd->seats_count; i++)
		if (read_place(crowd->seats[i].edu[0].address, "iommu_group", other,
			       sizeof(other)) && !strcmp(group, other))
			return true;
	return false;
}

/* A seat for each group with an edu device that VFIO has. */
static void find_seats(struct crowd *crowd)
{
	struct place places[MAX_DEVICES];
	int count = find_places(places), i;
	struct seat *seat;

	for (i = 0; i < count && crowd->seats_count < CROWD_SEATS; i++) {
		seat = &crowd->seats[crowd->seats_count];
		if (has_seat(crowd, places[i].group) || edu_find(&seat->edu[0], places[i].address))
			continue;
		pthread_mutex_init(&seat->lock, NULL);
		seat->devices = 1;
		crowd->seats_count++;
	}
}

FIXTURE_SETUP(identity)
{
	struct crowd *crowd = &self->crowd;
	struct seat *seat = &crowd->seats[0];
	int ret = bound_open(&self->b);

	if (ret == -ENODEV)
		SKIP(return, NO_DEVICE);
	ASSERT_OK(ret);
	self->pins = held_pins();
	crowd->b = &self->b;
	crowd->space = self->b.ioasid;
	crowd->mortal = SPACE;
	crowd->memory = pages(2);
	ASSERT_NE(NULL, crowd->memory);
	pthread_mutex_init(&seat->lock, NULL);
	seat->devices = 1;
	seat->edu[0] = self->b.edu;
	seat->id[0] = self->b.id;
	crowd->seats_count = 1;
	find_seats(crowd);
	ASSERT_LT(0, attach_pt(seat->edu[0].fd, crowd->space));
	seat->attached[0] = true;
	ASSERT_OK(arm_witness(crowd));
}

FIXTURE_TEARDOWN(identity)
{
	for (unsigned int i = 0; i < self->crowd.seats_count; i++)
		for (unsigned int who = 0; who < self->crowd.seats[i].devices; who++)
			edu_close(&self->crowd.seats[i].edu[who]);
	close(self->b.fd);
	expect_nothing_left(_metadata, self->pins);
}

/* The lowest id that is free, as the next object is told. */
static int next_id(int iommufd)
{
	int id = ioas_alloc(iommufd), ret = destroy(iommufd, id);

	return ret ? ret : id;
}

/* All that is left of what was fought over goes, with a note of it. */
static void clean_up(struct crowd *crowd, struct member *members)
{
	struct member *member;
	struct seat *seat;
	unsigned int id, i;

	for (member = members; member < members + CROWD; member++)
		if (member->access)
			come_or_go(member);
	member = members;
	for (seat = crowd->seats; seat < crowd->seats + crowd->seats_count; seat++) {
		for (i = 0; i < seat->devices; i++) {
			if (seat->target)
				seat_leaves(member, seat, i);
			if (seat != crowd->seats && crowd->let_go)
				crowd->let_go(member, seat, i);
		}
	}
	for (id = crowd->first; id < (unsigned int)crowd->first + CROWD_IDS; id++)
		if (!DO(destroy(FD, id)))
			LEARN(id, crowd->mortal, DIED);
}

/* The crowd does @deeds for a while; then all that it has learned has to fit together. */
static void run_crowd(struct __test_metadata *_metadata, struct crowd *crowd,
		      struct member *members, void (*const *deeds)(void *), unsigned int count)
{
	struct books before = read_books(crowd->b->fd);
	struct diary diaries[CROWD];
	unsigned int notes = 0, i;

	crowd->first = next_id(crowd->b->fd);
	ASSERT_LT(0, crowd->first);
	ASSERT_GT(HISTORY_IDS, crowd->first + CROWD_IDS + 2 * CROWD);
	crowd->deeds = deeds;
	crowd->deeds_count = count;
	gather(_metadata, crowd, members);
	clean_up(crowd, members);
	for (i = 0; i < CROWD; i++) {
		diaries[i] = members[i].diary;
		notes += diaries[i].count;
	}
	TH_LOG("%u calls, %u notes, %u looks of the witness, %u with DMA", crowd->calls, notes,
	       crowd->looks, crowd->arrived);
	EXPECT_EQ(0, crowd->odd);
	EXPECT_EQ(0, crowd->stale) TH_LOG("the device has reached what is not mapped");
	EXPECT_EQ(0, crowd->lost) TH_LOG("the device has not reached what is mapped");
	EXPECT_LT(0, crowd->looks);
	EXPECT_EQ(0, check_history(diaries, CROWD, crowd->clock + 1));
	/* Nobody has an id any more, and nothing is left of what was there. */
	EXPECT_EQ(crowd->first, next_id(crowd->b->fd));
	expect_books(_metadata, crowd->b->fd, &before);
}

static void bind_seats(struct __test_metadata *_metadata, struct crowd *crowd)
{
	struct seat *seat;

	for (seat = crowd->seats + 1; seat < crowd->seats + crowd->seats_count; seat++) {
		ASSERT_OK(edu_open(&seat->edu[0]));
		seat->id[0] = vfio_bind(seat->edu[0].fd, crowd->b->fd);
		ASSERT_LT(0, seat->id[0]);
	}
}

/* --- one kind after another ---------------------------------------------------------------- */

/* In both dialects, with a device that goes from one to the other. */
TEST_F(identity, spaces)
{
	static void (*const deeds[])(void *) = {
		make_space, make_space, make_space, destroy_some, free_some, map_some, copy_some,
		ask_of_space, look_at_all, look_at_contexts, attach_other, detach_other,
	};
	struct crowd *crowd = &self->crowd;

	/* More of them would share domains that come by themselves. */
	crowd->seats_count = crowd->seats_count < 2 ? crowd->seats_count : 2;
	bind_seats(_metadata, crowd);
	run_crowd(_metadata, &self->crowd, self->members, deeds, ARRAY_SIZE(deeds));
}

/* The witness's device goes from domain to domain as well: all are of the space it knows. */
TEST_F(identity, hwpts)
{
	static void (*const deeds[])(void *) = {
		make_hwpt, make_hwpt, make_hwpt, fail_to_make_hwpt, destroy_some, destroy_some,
		ask_of_hwpt, look_at_all, look_at_contexts, attach_any, attach_any, detach_any,
	};
	struct crowd *crowd = &self->crowd;

	ASSERT_OK(vfio_detach(self->b.edu.fd));
	crowd->seats[0].attached[0] = false;
	bind_seats(_metadata, crowd);
	crowd->mortal = HWPT;
	crowd->hwpts_known = true;
	run_crowd(_metadata, &self->crowd, self->members, deeds, ARRAY_SIZE(deeds));
}

/* Devices that are bound and let go; their ids are given to spaces, too. */
TEST_F(identity, devices)
{
	static void (*const deeds[])(void *) = {
		make_space, destroy_some, free_some, ask_of_device, ask_of_device, ask_of_space,
		look_at_all, look_at_contexts, bind_other, bind_other, attach_other, detach_other,
	};
	struct crowd *crowd = &self->crowd;

	if (crowd->seats_count < 2)
		SKIP(return, "needs another edu device, in a group of its own");
	crowd->seats_count = 2;
	crowd->let_go = seat_is_let_go;
	run_crowd(_metadata, &self->crowd, self->members, deeds, ARRAY_SIZE(deeds));
}

/* Two devices of one group, which are let go one by one, and go to domains together. */
TEST_F(identity, members)
{
	static void (*const deeds[])(void *) = {
		make_hwpt, make_hwpt, destroy_some, ask_of_device, ask_of_hwpt, look_at_all,
		bind_other, attach_other, attach_other, detach_other,
	};
	struct crowd *crowd = &self->crowd;
	struct seat *seat = &crowd->seats[1];

	*seat = (struct seat) { .devices = 2 };
	pthread_mutex_init(&seat->lock, NULL);
	crowd->seats_count = 1;
	if (find_pair(ONE_GROUP, NULL, seat->edu))
		SKIP(return, "needs two edu devices in one group");
	crowd->seats_count = 2;
	crowd->let_go = seat_is_let_go;
	crowd->mortal = HWPT;
	crowd->hwpts_known = true;
	run_crowd(_metadata, &self->crowd, self->members, deeds, ARRAY_SIZE(deeds));
}

/* --- drivers' accesses --------------------------------------------------------------------- */

TEST_F(identity, accesses)
{
	static void (*const deeds[])(void *) = {
		make_space, make_space, destroy_some, free_some, map_some, ask_of_space,
		look_at_all, look_at_contexts, come_or_go, access_goes, access_goes, access_leaves,
	};
	int i;

	for (i = 0; i < CROWD; i++) {
		self->members[i].node = open(ACCESS_NODE, O_RDWR | O_CLOEXEC);
		if (self->members[i].node < 0)
			SKIP(return, "needs the sample driver ioas_access");
	}
	run_crowd(_metadata, &self->crowd, self->members, deeds, ARRAY_SIZE(deeds));
	for (i = 0; i < CROWD; i++)
		close(self->members[i].node);
}

/* --- the container's space ------------------------------------------------------------------ */

static void put_into_container(void *data)
{
	struct member *member = data;
	int id = some_id(member), ret = DO(vfio_ioas(FD, IOMMU_VFIO_IOAS_SET, id));

	found_if(member, "VFIO_IOAS_SET", id, SPACE, ret, 0);
	if (ret >= 0)
		LEARN(id, SPACE, PUT);
}

static void empty_container(void *data)
{
	struct member *member = data;
	int ret = DO(vfio_ioas(FD, IOMMU_VFIO_IOAS_CLEAR, 0));

	if (ret < 0)
		odd(member, "VFIO_IOAS_CLEAR", ret);
	else
		LEARN(0, SPACE, TAKEN);
}

static void look_into_container(void *data)
{
	struct member *member = data;
	int ret = DO(vfio_ioas(FD, IOMMU_VFIO_IOAS_GET, 0));

	if (ret > 0) {
		LEARN(ret, SPACE, FOUND);
		LEARN(ret, SPACE, GOT);
	} else if (ret == -ENODEV) {
		LEARN(0, SPACE, EMPTY);
	} else {
		odd(member, "VFIO_IOAS_GET", ret);
	}
}

TEST_F(identity, container)
{
	static void (*const deeds[])(void *) = {
		make_space, make_space, destroy_some, free_some, map_some, look_at_all,
		look_at_contexts, put_into_container, put_into_container, empty_container,
		look_into_container, look_into_container,
	};

	run_crowd(_metadata, &self->crowd, self->members, deeds, ARRAY_SIZE(deeds));
	EXPECT_ERRNO(ENODEV, vfio_ioas(self->b.fd, IOMMU_VFIO_IOAS_GET, 0));
}

/* --- cookies ---------------------------------------------------------------------------------- */

#define SAMPLE "edu_ioasid"
#define COOKIE 0xfeedfacecafebeefULL
#define COOKIE_ID (HISTORY_IDS - 1)	/* what it has in the history */

/* Its node is where the seat has its device. */
static void lose_name(struct member *member, struct seat *seat, unsigned int who)
{
	int ret;

	if (!seat->id[who])
		return;
	ret = DO(call(seat->edu[who].fd, EDU_IOASID_UNBIND, NULL));
	if (ret)
		odd(member, "a device with a cookie that goes", ret);
	LEARN(COOKIE_ID, DEVICE, DIED);
	seat->id[who] = 0;
}

/* Which of two devices has the cookie changes. */
static void name_device(void *data)
{
	struct member *member = data;
	struct edu_ioasid_bind bind = { .iommufd = FD, .cookie = COOKIE };
	struct seat *seat = take_seat(member, 1);
	int ret;

	if (!seat)
		return;
	if (seat->id[0]) {
		lose_name(member, seat, 0);
	} else {
		ret = DO(call(seat->edu[0].fd, EDU_IOASID_BIND, &bind));
		if (!ret)
			LEARN(COOKIE_ID, DEVICE, BORN);
		else if (ret == -EBUSY)
			LEARN(COOKIE_ID, DEVICE, FOUND);
		else
			odd(member, "a device with a cookie", ret);
		seat->id[0] = !ret;
	}
	give_seat(seat);
}

static void look_for_cookie(void *data)
{
	struct member *member = data;

	found_if(member, "DEVICE_GET_INFO", COOKIE_ID, DEVICE, DO(get_device_info(FD, COOKIE)), 0);
}

static int open_sample(const char *address)
{
	char node[48];

	snprintf(node, sizeof(node), "/dev/edu-ioasid-%.15s", address);
	return open(node, O_RDWR | O_CLOEXEC);
}

TEST_F(identity, cookies)
{
	static void (*const deeds[])(void *) = {
		make_space, free_some, ask_of_space, look_at_contexts, name_device, name_device,
		look_for_cookie, look_for_cookie,
	};
	struct crowd *crowd = &self->crowd;
	struct seat *seat;

	if (access("/sys/bus/pci/drivers/" SAMPLE, F_OK) || crowd->seats_count < 3)
		SKIP(return, "needs three edu devices, and the sample driver " SAMPLE);
	for (seat = crowd->seats + 1; seat < crowd->seats + 3; seat++) {
		ASSERT_OK(give_to(seat->edu[0].address, SAMPLE));
		seat->edu[0].fd = open_sample(seat->edu[0].address);
		ASSERT_LE(0, seat->edu[0].fd);
	}
	crowd->let_go = lose_name;
	run_crowd(_metadata, &self->crowd, self->members, deeds, ARRAY_SIZE(deeds));
	for (seat = crowd->seats + 1; seat < crowd->seats + 3; seat++) {
		edu_close(&seat->edu[0]);
		EXPECT_OK(give_to(seat->edu[0].address, "vfio-pci"));
	}
}

/* --- the check itself ----------------------------------------------------------------------- */

#define USE(from, to, from2, to2) \
	{ .id = 1, .kind = SPACE, .fact = USED, .when = { from, to }, .until = { from2, to2 } }
/* Only what is used is so until another call. */
#define ONE(fact_, from, to) \
	{ .id = 1, .kind = SPACE, .fact = fact_, .when = { from, to } }

/* Histories that can be, and others that cannot. */
TEST(history_is_judged)
{
	static const struct {
		unsigned int wrong, count;
		struct note notes[5];
	} cases[] = {
		{ 0, 2, { ONE(BORN, 0, 1), ONE(DIED, 2, 3) } },
		{ 0, 3, { ONE(BORN, 0, 3), ONE(DIED, 1, 2), ONE(BORN, 4, 5) } },
		/* The second one may have begun when the first had ended. */
		{ 0, 3, { ONE(BORN, 0, 1), ONE(DIED, 2, 5), ONE(BORN, 3, 4) } },
		{ 2, 2, { ONE(BORN, 0, 1), ONE(BORN, 2, 3) } },
		{ 2, 3, { ONE(BORN, 0, 1), ONE(DIED, 2, 4), ONE(DIED, 3, 5) } },
		{ 2, 3, { ONE(BORN, 0, 1), ONE(BORN, 2, 3), ONE(DIED, 4, 5) } },
		{ 0, 3, { ONE(BORN, 0, 3), ONE(ABSENT, 1, 2), ONE(DIED, 4, 5) } },
		{ 1, 3, { ONE(BORN, 0, 1), ONE(ABSENT, 2, 3), ONE(DIED, 4, 5) } },
		{ 0, 2, { ONE(FOUND, 0, 2), ONE(BORN, 1, 3) } },
		{ 1, 2, { ONE(FOUND, 0, 1), ONE(BORN, 2, 3) } },
		{ 1, 3, { ONE(BORN, 0, 1), ONE(DIED, 2, 3), ONE(FOUND, 4, 5) } },
		{ 0, 3, { ONE(BORN, 0, 1), USE(2, 3, 5, 6), ONE(BUSY, 4, 7) } },
		{ 1, 3, { ONE(BORN, 0, 1), USE(2, 3, 4, 5), ONE(BUSY, 6, 7) } },
		{ 1, 3, { ONE(BORN, 0, 1), USE(2, 3, 6, 7), ONE(DIED, 4, 5) } },
		{ 0, 3, { ONE(BORN, 0, 1), USE(2, 4, 2, 4), ONE(DIED, 3, 5) } },
		{ 0, 3, { ONE(BORN, 0, 1), ONE(PUT, 2, 3), ONE(GOT, 4, 5) } },
		{ 1, 4, { ONE(BORN, 0, 1), ONE(PUT, 2, 3), ONE(TAKEN, 4, 5), ONE(GOT, 6, 7) } },
		{ 0, 4, { ONE(BORN, 0, 1), ONE(PUT, 2, 5), ONE(TAKEN, 3, 4), ONE(GOT, 6, 7) } },
		{ 0, 2, { ONE(PUT, 0, 2), ONE(EMPTY, 1, 3) } },
		{ 1, 2, { ONE(PUT, 0, 1), ONE(EMPTY, 2, 3) } },
		{ 0, 3, { ONE(PUT, 0, 1), ONE(TAKEN, 2, 5), ONE(EMPTY, 3, 4) } },
		{ 0, 4, { ONE(BORN, 0, 1), ONE(PUT, 2, 3), ONE(DIED, 4, 5), ONE(EMPTY, 6, 7) } },
		{ 1, 5, { ONE(BORN, 0, 1), ONE(DIED, 2, 3), ONE(BORN, 4, 5), ONE(PUT, 6, 7),
			  ONE(EMPTY, 8, 9) } },
		{ 1, 4, { ONE(PUT, 0, 1), ONE(DIED, 2, 3), ONE(BORN, 0, 1), ONE(GOT, 4, 5) } },
	};
	struct diary diary;

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		diary = (struct diary) {
			.notes = (struct note *)cases[i].notes, .count = cases[i].count,
		};
		EXPECT_EQ(cases[i].wrong, check_history(&diary, 1, 11)) TH_LOG("case %u", i);
	}
}

TEST_HARNESS_MAIN
