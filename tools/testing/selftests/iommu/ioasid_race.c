// SPDX-License-Identifier: GPL-2.0
/*
 * Threads that do at the same time what gets in each other's way, or must not.
 * Whoever comes first, each call has a documented outcome.
 */
#include <pthread.h>

#include "ioasid_utils.h"

FIXTURE(race)
{
	struct bound b;
	char *memory;
	long pins;
};

FIXTURE_SETUP(race)
{
	int ret = bound_open(&self->b);

	if (ret == -ENODEV)
		SKIP(return, NO_DEVICE);
	ASSERT_OK(ret);
	self->memory = pages(16);
	ASSERT_NE(NULL, self->memory);
	self->pins = held_pins();
	ASSERT_OK(vfio_attach(self->b.edu.fd, self->b.ioasid));
}

FIXTURE_TEARDOWN(race)
{
	bound_close(&self->b);
	expect_nothing_left(_metadata, self->pins);
}

/* How long to race, and when to give up on those who had no success in that time. */
#define RACE_MS 1500
#define RACE_MAX_S 60

struct racer {
	struct bound *bound;
	char *memory;
	unsigned int number;
	volatile bool *stop;
	pthread_t thread;
	unsigned long results[256];	/* how often each errno came, 0 for success */
};

static void note(struct racer *racer, int64_t ret)
{
	racer->results[ret < 0 ? -ret : 0]++;
}

static bool all_succeeded(struct racer *racers, unsigned int count)
{
	while (count && racers[count - 1].results[0])
		count--;
	return !count;
}

static void run_race(struct __test_metadata *_metadata, struct bound *b, char *memory,
		     void *(*const *racing)(void *), struct racer *racers, unsigned int count)
{
	time_t end = time(NULL) + RACE_MAX_S;
	static volatile bool stop;
	unsigned int i;

	stop = false;
	for (i = 0; i < count; i++) {
		racers[i] = (struct racer) {
			.bound = b,
			.memory = memory,
			.number = i,
			.stop = &stop,
		};
		ASSERT_EQ(0, pthread_create(&racers[i].thread, NULL, racing[i], &racers[i]));
	}
	do {
		edu_sleep_ms(RACE_MS);
	} while (!all_succeeded(racers, count) && time(NULL) < end);
	stop = true;
	for (i = 0; i < count; i++)
		pthread_join(racers[i].thread, NULL);
}

/* Nothing but success and the given errnos came, and success at least once. */
static void check_results(struct __test_metadata *_metadata, struct racer *racer,
			  int errno1, int errno2, int errno3)
{
	int error;

	EXPECT_LT(0, racer->results[0]) TH_LOG("racer %u never succeeded", racer->number);
	for (error = 1; error < 256; error++) {
		if (error == errno1 || error == errno2 || error == errno3)
			continue;
		EXPECT_EQ(0, racer->results[error])
			TH_LOG("racer %u: %s", racer->number, strerror(error));
	}
}

/* The ids that are fought over; those before are the fixture's space and device. */
#define FIRST_ID 3
#define LAST_ID 4

static int some_id(void)
{
	return FIRST_ID + rand() % (LAST_ID - FIRST_ID + 1);
}

static void *race_map(void *data)
{
	struct racer *racer = data;

	while (!*racer->stop)
		note(racer, ioasid_map(racer->bound->fd, some_id(), racer->memory,
				       IOVA + rand() % 8 * PAGE, (1 + rand() % 4) * PAGE,
				       IOASID_RW));
	return NULL;
}

static void *race_unmap(void *data)
{
	struct racer *racer = data;

	while (!*racer->stop)
		note(racer, unmap(racer->bound->fd, some_id(), IOVA + rand() % 8 * PAGE,
				  (1 + rand() % 8) * PAGE));
	return NULL;
}

static void *race_unmap_all(void *data)
{
	struct racer *racer = data;

	while (!*racer->stop)
		note(racer, unmap_all(racer->bound->fd, some_id()));
	return NULL;
}

static void *race_alloc(void *data)
{
	struct racer *racer = data;
	int id;

	while (!*racer->stop) {
		id = ioasid_alloc(racer->bound->fd, 64);
		note(racer, id);
		if (id > LAST_ID)
			note(racer, ioasid_free(racer->bound->fd, id));
	}
	return NULL;
}

static void *race_free(void *data)
{
	struct racer *racer = data;

	while (!*racer->stop)
		note(racer, ioasid_free(racer->bound->fd, some_id()));
	return NULL;
}

/* A MAP that is under way never makes FREE fail, nor does FREE make it misbehave. */
TEST_F(race, map_unmap_free)
{
	void *(*const racing[])(void *) = {
		race_map, race_map, race_unmap, race_unmap_all, race_alloc, race_free,
	};
	struct racer racers[ARRAY_SIZE(racing)];

	run_race(_metadata, &self->b, self->memory, racing, racers, ARRAY_SIZE(racing));
	check_results(_metadata, &racers[0], ENOENT, EEXIST, 0);
	check_results(_metadata, &racers[1], ENOENT, EEXIST, 0);
	check_results(_metadata, &racers[2], ENOENT, EINVAL, 0);
	check_results(_metadata, &racers[3], ENOENT, 0, 0);
	check_results(_metadata, &racers[4], 0, 0, 0);
	check_results(_metadata, &racers[5], ENOENT, 0, 0);
}

static void *race_own_range(void *data)
{
	struct racer *racer = data;
	uint64_t iova = IOVA + racer->number * 16 * PAGE;
	char *memory = racer->memory + racer->number * 4 * PAGE;
	int64_t ret;

	while (!*racer->stop) {
		note(racer, ioasid_map(racer->bound->fd, racer->bound->ioasid, memory, iova,
				       4 * PAGE, IOASID_RW));
		ret = unmap(racer->bound->fd, racer->bound->ioasid, iova, 4 * PAGE);
		note(racer, ret == 4 * PAGE ? 0 : ret < 0 ? ret : -ENODATA);
	}
	return NULL;
}

/* Threads that keep out of each other's way never notice each other. */
TEST_F(race, disjoint_ranges)
{
	void *(*const racing[])(void *) = {
		race_own_range, race_own_range, race_own_range, race_own_range,
	};
	struct racer racers[ARRAY_SIZE(racing)];
	unsigned int i;

	run_race(_metadata, &self->b, self->memory, racing, racers, ARRAY_SIZE(racing));
	for (i = 0; i < ARRAY_SIZE(racing); i++)
		check_results(_metadata, &racers[i], 0, 0, 0);
	EXPECT_EQ(0, pinned_pages());
	/* And once more where nothing is pinned, just written down. */
	ASSERT_OK(vfio_detach(self->b.edu.fd));
	run_race(_metadata, &self->b, self->memory, racing, racers, ARRAY_SIZE(racing));
	for (i = 0; i < ARRAY_SIZE(racing); i++)
		check_results(_metadata, &racers[i], 0, 0, 0);
	EXPECT_EQ(0, pinned_pages());
}

static void *race_attach(void *data)
{
	struct racer *racer = data;
	int other = ioasid_alloc(racer->bound->fd, 64);

	while (!*racer->stop) {
		note(racer, vfio_detach(racer->bound->edu.fd));
		note(racer, vfio_attach(racer->bound->edu.fd, racer->bound->ioasid));
		note(racer, vfio_attach(racer->bound->edu.fd, other));
		note(racer, vfio_attach(racer->bound->edu.fd, racer->bound->ioasid));
	}
	return NULL;
}

static void *race_info(void *data)
{
	struct racer *racer = data;
	struct iommu_device_info *info;
	int ret;

	while (!*racer->stop) {
		ret = device_get_info(racer->bound->fd, racer->bound->id, &info);
		note(racer, ret);
		if (!ret)
			free(info);
	}
	return NULL;
}

/* A device that comes and goes disturbs nobody who maps. */
TEST_F(race, attach_and_map)
{
	void *(*const racing[])(void *) = {
		race_own_range, race_own_range, race_attach, race_info,
	};
	struct racer racers[ARRAY_SIZE(racing)];
	unsigned int i;

	run_race(_metadata, &self->b, self->memory, racing, racers, ARRAY_SIZE(racing));
	for (i = 0; i < ARRAY_SIZE(racing); i++)
		check_results(_metadata, &racers[i], 0, 0, 0);
}

/* Its memory is there at one time, and not at another. */
static void *race_protect(void *data)
{
	struct racer *racer = data;
	uint64_t iova = IOVA + racer->number * 16 * PAGE;
	char *memory = racer->memory + racer->number * 4 * PAGE;

	while (!*racer->stop) {
		note(racer, ioasid_map(racer->bound->fd, racer->bound->ioasid, memory, iova,
				       4 * PAGE, IOASID_RW));
		mprotect(memory + PAGE, PAGE, PROT_NONE);
		sched_yield();
		note(racer, ioasid_unmap(racer->bound->fd, racer->bound->ioasid, iova, 4 * PAGE,
					 NULL));
		mprotect(memory + PAGE, PAGE, PROT_READ | PROT_WRITE);
	}
	return NULL;
}

/* A device that cannot always come, for the memory of one: nobody else notices. */
TEST_F(race, attach_and_lose_memory)
{
	void *(*const racing[])(void *) = {
		race_own_range, race_own_range, race_own_range, race_protect, race_attach,
	};
	struct racer racers[ARRAY_SIZE(racing)];
	unsigned int i;

	run_race(_metadata, &self->b, self->memory, racing, racers, ARRAY_SIZE(racing));
	for (i = 0; i < 4; i++)
		check_results(_metadata, &racers[i], 0, 0, 0);
	check_results(_metadata, &racers[4], EFAULT, 0, 0);
	/* Whatever it was pinned for has been undone. */
	EXPECT_EQ(0, unmap_all(self->b.fd, self->b.ioasid));
	EXPECT_EQ(0, pinned_pages());
	EXPECT_EQ(self->pins, held_pins());
	ASSERT_OK(vfio_attach(self->b.edu.fd, self->b.ioasid));
}

static void *race_bind(void *data)
{
	struct racer *racer = data;
	struct edu edu = racer->bound->edu;
	int id;

	while (!*racer->stop) {
		note(racer, edu_open(&edu));
		id = vfio_bind(edu.fd, racer->bound->fd);
		note(racer, id);
		note(racer, vfio_attach(edu.fd, racer->bound->ioasid));
		racer->bound->id = id;
		edu_close(&edu);
	}
	return NULL;
}

/* Nor one that is opened and closed. Whether there is one to ask about varies. */
TEST_F(race, bind_and_map)
{
	void *(*const racing[])(void *) = {
		race_own_range, race_own_range, race_bind, race_info,
	};
	struct racer racers[ARRAY_SIZE(racing)];

	edu_close(&self->b.edu);
	run_race(_metadata, &self->b, self->memory, racing, racers, ARRAY_SIZE(racing));
	check_results(_metadata, &racers[0], 0, 0, 0);
	check_results(_metadata, &racers[1], 0, 0, 0);
	check_results(_metadata, &racers[2], 0, 0, 0);
	check_results(_metadata, &racers[3], ENOENT, 0, 0);
}

static void *race_until_closed(void *data)
{
	struct racer *racer = data;
	uint64_t iova = IOVA + racer->number * 16 * PAGE;
	int ret = 0;

	while (ret != -EBADF) {
		ret = ioasid_map(racer->bound->fd, racer->bound->ioasid, racer->memory, iova,
				 4 * PAGE, IOASID_RW);
		note(racer, ret);
		ret = ioasid_unmap(racer->bound->fd, racer->bound->ioasid, iova, 4 * PAGE, NULL);
		note(racer, ret);
	}
	return NULL;
}

/* Files that are closed while threads are inside of calls on them. */
TEST_F(race, close)
{
	struct racer racers[2];
	unsigned int round, i;

	for (round = 0; round < 20; round++) {
		for (i = 0; i < 2; i++) {
			racers[i] = (struct racer) {
				.bound = &self->b,
				.memory = self->memory,
				.number = i,
			};
			ASSERT_EQ(0, pthread_create(&racers[i].thread, NULL, race_until_closed,
						    &racers[i]));
		}
		while (!racers[0].results[0] || !racers[1].results[0])
			edu_sleep_ms(1);
		edu_sleep_ms(10);
		bound_close(&self->b);
		for (i = 0; i < 2; i++) {
			pthread_join(racers[i].thread, NULL);
			check_results(_metadata, &racers[i], EBADF, 0, 0);
		}
		EXPECT_EQ(0, pinned_pages());
		ASSERT_OK(bound_open(&self->b));
		ASSERT_OK(vfio_attach(self->b.edu.fd, self->b.ioasid));
	}
}

/* --- all at once ------------------------------------------------------------------- */

#define CROWD 64
#define CROWD_IDS 8

static int64_t do_something(struct racer *racer, unsigned int *seed)
{
	struct bound *b = racer->bound;
	unsigned int what = rand_r(seed) % 16, id = FIRST_ID + rand_r(seed) % CROWD_IDS;
	uint64_t iova = IOVA + rand_r(seed) % 32 * PAGE, size = (1 + rand_r(seed) % 4) * PAGE;
	struct iommu_device_info *info;
	int64_t ret;

	switch (what) {
	case 0 ... 5:
		return ioasid_map(b->fd, id, racer->memory, iova, size, IOASID_RW);
	case 6 ... 9:
		return unmap(b->fd, id, iova, size);
	case 10:
		return unmap_all(b->fd, id);
	case 11:
		ret = ioasid_alloc(b->fd, 32 + rand_r(seed) % 33);
		return ret < FIRST_ID + CROWD_IDS ? ret : ioasid_free(b->fd, ret);
	case 12:
		return ioasid_free(b->fd, id);
	case 13:
		return vfio_attach(b->edu.fd, id);
	case 14:
		return vfio_detach(b->edu.fd);
	default:
		ret = device_get_info(b->fd, b->id, &info);
		free(info);
		return ret;
	}
}

static void *race_anything(void *data)
{
	struct racer *racer = data;
	unsigned int seed = racer->number;

	while (!*racer->stop)
		note(racer, do_something(racer, &seed));
	return NULL;
}

/* Everything by everybody: what comes of it varies, but nothing that makes no sense. */
TEST_F(race, a_crowd)
{
	static struct racer racers[CROWD];
	void *(*racing[CROWD])(void *);
	unsigned int i;
	int id;

	for (i = 0; i < CROWD; i++)
		racing[i] = race_anything;
	run_race(_metadata, &self->b, self->memory, racing, racers, CROWD);
	for (i = 1; i < CROWD; i++) {
		for (id = 0; id < 256; id++)
			racers[0].results[id] += racers[i].results[id];
	}
	/* EBUSY: from FREE of what a device is attached to. */
	racers[0].results[EBUSY] = 0;
	check_results(_metadata, &racers[0], ENOENT, EEXIST, EINVAL);
	EXPECT_LT(0, racers[0].results[ENOENT]);
	EXPECT_LT(0, racers[0].results[EEXIST]);
	/* It all works as on the first day. */
	ASSERT_OK(vfio_detach(self->b.edu.fd));
	for (id = FIRST_ID; id < FIRST_ID + CROWD_IDS; id++)
		ioasid_free(self->b.fd, id);
	EXPECT_EQ(0, unmap_all(self->b.fd, self->b.ioasid));
	EXPECT_EQ(0, pinned_pages());
	ASSERT_EQ(FIRST_ID, ioasid_alloc(self->b.fd, 64));
	ASSERT_OK(ioasid_map(self->b.fd, FIRST_ID, self->memory, IOVA, PAGE, IOASID_RW));
	EXPECT_OK(vfio_attach(self->b.edu.fd, FIRST_ID));
}

TEST_HARNESS_MAIN
