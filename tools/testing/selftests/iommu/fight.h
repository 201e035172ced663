/* SPDX-License-Identifier: GPL-2.0 */
/* Threads that fight over the same ids: what each call may say is known, and the rest is odd. */
#ifndef SELFTESTS_IOMMU_FIGHT_H
#define SELFTESTS_IOMMU_FIGHT_H

#include <pthread.h>
#include <stdatomic.h>

#include "iommufd_calls.h"

#define FIGHTERS 6

struct fight {
	struct __test_metadata *_metadata;
	int fd;
	int first, ids;	/* so many ids are fought over, from there on */
	atomic_bool stop;
	atomic_uint odd, calls;
};

/* A call is over. An error that is not @expected is told once. */
static inline void fight_count(struct fight *fight, const char *what, int ret, bool expected)
{
	struct __test_metadata *_metadata = fight->_metadata;

	fight->calls++;
	if (ret < 0 && !expected && !fight->odd++)
		TH_LOG("%s: %d", what, ret);
}

/* Whatever has no id of those that are fought over goes at once, if nobody uses it. */
static inline void fight_keep(struct fight *fight, int id)
{
	if (id >= fight->first + fight->ids)
		destroy(fight->fd, id);
}

/* Has each thread run @fighters[] with @data, until @ms milliseconds are over. */
static inline void fight_for(struct fight *fight, unsigned int ms,
			     void *(*const fighters[FIGHTERS])(void *), void *data)
{
	struct __test_metadata *_metadata = fight->_metadata;
	pthread_t threads[FIGHTERS];

	for (int i = 0; i < FIGHTERS; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, fighters[i], data));
	edu_sleep_ms(ms);
	fight->stop = true;
	for (int i = 0; i < FIGHTERS; i++)
		pthread_join(threads[i], NULL);
	EXPECT_EQ(0, fight->odd);
}

/* The same, with all of them alike. */
static inline void fight_alike(struct fight *fight, unsigned int ms, void *(*fighter)(void *),
			       void *data)
{
	void *(*const fighters[FIGHTERS])(void *) = {
		fighter, fighter, fighter, fighter, fighter, fighter,
	};

	fight_for(fight, ms, fighters, data);
}

#endif /* SELFTESTS_IOMMU_FIGHT_H */
