// SPDX-License-Identifier: GPL-2.0
/*
 * Domains inside of domains, and IOMMU_HWPT_INVALIDATE, on the IOMMU in software: what is
 * refused and changes nothing, who keeps whom from being destroyed, and many threads that do
 * all of it to the same few ids.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "books.h"
#include "fight.h"
#include "nested_calls.h"
#include "stopper.h"

#define MOST_REQUESTS (1U << 19)

FIXTURE(nested)
{
	int fd;
	int ioas;
	struct mock dev;
	int parent;
	int plain;	/* that was not made to have others inside */
	struct books books;
};

FIXTURE_SETUP(nested)
{
	self->fd = open_iommufd();
	ASSERT_LE(0, self->fd);
	self->ioas = ioas_alloc(self->fd);
	ASSERT_LT(0, self->ioas);
	ASSERT_OK(mock_add(self->fd, self->ioas, &self->dev));
	self->parent = hwpt_alloc(self->fd, self->dev.device, self->ioas, NEST_PARENT);
	ASSERT_LT(0, self->parent);
	self->plain = hwpt_alloc(self->fd, self->dev.device, self->ioas, 0);
	ASSERT_LT(0, self->plain);
	self->books = read_books(self->fd);
}

/* All of it goes, in whatever order. */
FIXTURE_TEARDOWN(nested)
{
	close(self->fd);
}

#define ALLOC(parent) nested_alloc(self->fd, self->dev.device, parent)
#define MOVE(pt) mock_move(self->fd, self->dev.id, pt)
#define DESTROY(id) destroy(self->fd, id)
#define CHECK(hwpt, id, value) check_iotlb(self->fd, hwpt, id, value)

/* --- making them ----------------------------------------------------------------------- */

TEST_F(nested, is_refused)
{
	struct iommu_hwpt_selftest data = { .iotlb = IOTLB };
	struct iommu_hwpt_alloc good = nested_arg(self->dev.device, self->parent, &data);

#define REFUSED(errno, change) EXPECT_CHANGED(errno, self->fd, IOMMU_HWPT_ALLOC, good, change)
	REFUSED(EOPNOTSUPP, arg.__reserved = 1);
	REFUSED(EINVAL, arg.data_type = IOMMU_HWPT_DATA_NONE);
	REFUSED(EINVAL, arg.data_len = 0);
	REFUSED(ENOENT, arg.dev_id = self->parent);
	REFUSED(EINVAL, arg.pt_id = self->dev.device);
	REFUSED(EINVAL, arg.pt_id = 12345);
	/* Without data there is no domain inside of a domain. */
	REFUSED(EOPNOTSUPP, arg.data_type = 0; arg.data_len = 0);
	REFUSED(EOPNOTSUPP, arg.flags = NEST_PARENT);
	REFUSED(EOPNOTSUPP, arg.flags = 1U << 31);
	REFUSED(EOPNOTSUPP, arg.flags = IOMMU_HWPT_ALLOC_DIRTY_TRACKING);
	REFUSED(EOPNOTSUPP, arg.flags = NEST_PARENT | IOMMU_HWPT_FAULT_ID_VALID);
	/* One that was not made for it, also the one that came with the device. */
	REFUSED(EINVAL, arg.pt_id = self->plain);
	REFUSED(EINVAL, arg.pt_id = self->dev.hwpt);
	REFUSED(EOPNOTSUPP, arg.flags = 1U << 31; arg.pt_id = self->plain);
	/* What the IOMMU says of the data. */
	REFUSED(EOPNOTSUPP, arg.data_type++);
	REFUSED(EINVAL, arg.data_len = 3);
	REFUSED(EINVAL, arg.data_len++);
	REFUSED(EFAULT, arg.data_uptr = 0);
	REFUSED(EFAULT, arg.data_uptr = (uintptr_t)-PAGE);
	REFUSED(ENOENT, arg.flags = IOMMU_HWPT_FAULT_ID_VALID; arg.fault_id = 12345);
	/* They have left nothing, nor taken an id. */
	expect_books(_metadata, self->fd, &self->books);
	ASSERT_EQ(self->plain + 1, ALLOC(self->parent));
	REFUSED(EINVAL, arg.pt_id = self->plain + 1);
}

/* Nobody is told of a domain whose id cannot be written. */
TEST_F(nested, answer_that_fails)
{
	struct iommu_hwpt_selftest data = { .iotlb = IOTLB };
	struct iommu_hwpt_alloc *arg = pages(1);

	ASSERT_NE(NULL, arg);
	*arg = nested_arg(self->dev.device, self->parent, &data);
	ASSERT_EQ(0, mprotect(arg, PAGE, PROT_READ));
	EXPECT_ERRNO(EFAULT, call(self->fd, IOMMU_HWPT_ALLOC, arg));
	expect_books(_metadata, self->fd, &self->books);
	EXPECT_OK(DESTROY(self->parent));
	munmap(arg, PAGE);
}

TEST_F(nested, first_version_and_flags)
{
	struct iommu_hwpt_selftest data = { .iotlb = IOTLB };
	struct iommu_hwpt_alloc arg = nested_arg(self->dev.device, self->parent, &data);

	arg.data_len = sizeof(data.iotlb);
	ASSERT_OK(call(self->fd, IOMMU_HWPT_ALLOC, &arg));
	EXPECT_OK(CHECK(arg.out_hwpt_id, 3, IOTLB));
	EXPECT_ERRNO(EINVAL, CHECK(arg.out_hwpt_id, 4, IOTLB));
	arg.flags = IOMMU_HWPT_ALLOC_PASID;
	ASSERT_OK(call(self->fd, IOMMU_HWPT_ALLOC, &arg));
}

/* --- who needs whom -------------------------------------------------------------------- */

TEST_F(nested, is_used)
{
	int first = ALLOC(self->parent), second = ALLOC(self->parent);

	ASSERT_LT(0, first);
	ASSERT_LT(0, second);
	EXPECT_ERRNO(EBUSY, DESTROY(self->parent));
	ASSERT_EQ(first, MOVE(first));
	EXPECT_EQ(first, MOVE(first));
	EXPECT_ERRNO(EBUSY, DESTROY(first));
	EXPECT_ERRNO(EBUSY, DESTROY(self->parent));
	EXPECT_ERRNO(EBUSY, DESTROY(self->ioas));
	ASSERT_EQ(second, MOVE(second));
	EXPECT_ERRNO(EBUSY, DESTROY(second));
	EXPECT_OK(DESTROY(first));
	EXPECT_ERRNO(ENOENT, DESTROY(first));
	EXPECT_ERRNO(ENOENT, MOVE(first));
	/* The device is on the parent by way of the other one. */
	ASSERT_EQ(self->parent, MOVE(self->parent));
	EXPECT_OK(DESTROY(second));
	EXPECT_ERRNO(EBUSY, DESTROY(self->parent));
	ASSERT_LT(0, MOVE(self->ioas));
	EXPECT_OK(DESTROY(self->parent));
}

/* A device that goes lets go of it, and one that comes can be on it at once. */
TEST_F(nested, devices_come_and_go)
{
	int hwpt = ALLOC(self->parent);
	struct mock other;

	ASSERT_LT(0, hwpt);
	ASSERT_OK(mock_add(self->fd, hwpt, &other));
	EXPECT_EQ(hwpt, other.hwpt);
	ASSERT_EQ(hwpt, MOVE(hwpt));
	EXPECT_OK(DESTROY(other.id));
	EXPECT_ERRNO(EBUSY, DESTROY(hwpt));
	EXPECT_OK(DESTROY(self->dev.id));
	EXPECT_ERRNO(EBUSY, DESTROY(self->parent));
	EXPECT_OK(DESTROY(hwpt));
	EXPECT_OK(DESTROY(self->parent));
	EXPECT_OK(DESTROY(self->plain));
	EXPECT_OK(DESTROY(self->ioas));
}

/* The space that a device is in is the one of the parent. */
TEST_F(nested, moves_between_spaces)
{
	int hwpt = ALLOC(self->parent), space = ioas_alloc(self->fd), parent, there;
	char *memory = pages(2);

	ASSERT_NE(NULL, memory);
	memset(memory, 1, 2 * PAGE);
	ASSERT_LT(0, space);
	parent = hwpt_alloc(self->fd, self->dev.device, space, NEST_PARENT);
	ASSERT_LT(0, parent);
	there = ALLOC(parent);
	ASSERT_LT(0, there);
	ASSERT_OK(ioas_map(self->fd, self->ioas, memory, PAGE, IOVA));
	ASSERT_EQ(hwpt, MOVE(hwpt));
	EXPECT_EQ(self->ioas, shown_in(self->fd, "device:", "ioasid "));
	EXPECT_OK(mock_check_map(self->fd, self->parent, IOVA, memory, PAGE));
	ASSERT_EQ(there, MOVE(there));
	EXPECT_EQ(space, shown_in(self->fd, "device:", "ioasid "));
	EXPECT_EQ(parent, shown_in(self->fd, "nested:", "hwpt ") == self->parent ? parent : -1);
	ASSERT_OK(ioas_map(self->fd, space, memory + PAGE, PAGE, IOVA));
	EXPECT_OK(mock_check_map(self->fd, parent, IOVA, memory + PAGE, PAGE));
	/* Nobody needs the first space any more, but its own domains. */
	EXPECT_OK(DESTROY(hwpt));
	EXPECT_OK(DESTROY(self->parent));
	EXPECT_OK(DESTROY(self->plain));
	EXPECT_OK(DESTROY(self->ioas));
	EXPECT_ERRNO(EBUSY, DESTROY(space));
	munmap(memory, 2 * PAGE);
}

/* What is neither a domain nor a space stays what it is. */
TEST_F(nested, is_no_space)
{
	int hwpt = ALLOC(self->parent);
	char *memory = pages(1);

	ASSERT_LT(0, hwpt);
	EXPECT_ERRNO(ENOENT, ioas_map(self->fd, hwpt, memory, PAGE, IOVA));
	EXPECT_ERRNO(ENOENT, ioas_unmap(self->fd, hwpt, IOVA, PAGE));
	EXPECT_ERRNO(ENOENT, mock_check_map(self->fd, hwpt, IOVA, memory, PAGE));
	EXPECT_ERRNO(ENOENT, CHECK(self->parent, 0, IOTLB));
	munmap(memory, PAGE);
}

/* --- invalidation ---------------------------------------------------------------------- */

/* How many requests were carried out is in the answer whatever comes of the call. */
#define INVALIDATE(done_, errno_, change) do { \
	struct iommu_hwpt_invalidate arg = invalidate_arg(hwpt, requests, 2); \
	change; \
	EXPECT_EQ(-(errno_), call(self->fd, IOMMU_HWPT_INVALIDATE, &arg)) \
		TH_LOG("with %s", #change); \
	EXPECT_EQ(done_, arg.entry_num) TH_LOG("with %s", #change); \
} while (0)

TEST_F(nested, invalidation_is_refused)
{
	struct iommu_hwpt_invalidate_selftest requests[] = { { .iotlb_id = 0 }, { .iotlb_id = 1 } };
	int hwpt = ALLOC(self->parent);
	unsigned int i;

	ASSERT_LT(0, hwpt);
	INVALIDATE(0, EOPNOTSUPP, arg.__reserved = 1);
	INVALIDATE(0, EINVAL, arg.data_uptr = 0);
	INVALIDATE(0, EINVAL, arg.entry_len = 0);
	INVALIDATE(0, EINVAL, arg.entry_len = PAGE + 1);
	INVALIDATE(0, EINVAL, arg.entry_num = MOST_REQUESTS + 1);
	INVALIDATE(0, EINVAL, arg.entry_num = UINT32_MAX);
	/* Arguments come before ids. */
	INVALIDATE(0, EINVAL, arg.entry_len = 0; arg.hwpt_id = 12345);
	INVALIDATE(0, ENOENT, arg.hwpt_id = 12345);
	INVALIDATE(0, EINVAL, arg.hwpt_id = self->parent);
	INVALIDATE(0, EINVAL, arg.hwpt_id = self->ioas);
	INVALIDATE(0, EINVAL, arg.hwpt_id = self->dev.device);
	INVALIDATE(0, EINVAL, arg.hwpt_id = self->dev.id);
	INVALIDATE(0, EINVAL, arg.data_type++);
	INVALIDATE(0, EINVAL, arg.entry_len = 7);
	INVALIDATE(0, EINVAL, arg.entry_len = 9);
	INVALIDATE(0, EFAULT, arg.data_uptr = PAGE);
	for (i = 0; i < 4; i++)
		EXPECT_OK(CHECK(hwpt, i, IOTLB));
}

/* No request at all is good, and tells whether the type is. */
TEST_F(nested, invalidation_of_nothing)
{
	struct iommu_hwpt_invalidate_selftest requests[2] = {};
	int hwpt = ALLOC(self->parent);

	ASSERT_LT(0, hwpt);
	INVALIDATE(0, 0, arg.entry_num = 0);
	INVALIDATE(0, 0, arg.entry_num = 0; arg.data_uptr = 0; arg.entry_len = 0);
	INVALIDATE(0, 0, arg.entry_num = 0; arg.entry_len = UINT32_MAX);
	INVALIDATE(0, EINVAL, arg.entry_num = 0; arg.data_type++);
	INVALIDATE(0, ENOENT, arg.entry_num = 0; arg.hwpt_id = 12345);
	EXPECT_OK(CHECK(hwpt, 0, IOTLB));
}

TEST_F(nested, invalidation_stops_midway)
{
	struct iommu_hwpt_invalidate_selftest requests[] = { { .iotlb_id = 2 }, { .iotlb_id = 3 } };
	char *memory = pages(2), *end = memory + PAGE;
	int hwpt = ALLOC(self->parent);

	ASSERT_LT(0, hwpt);
	ASSERT_NE(NULL, memory);
	INVALIDATE(1, EOPNOTSUPP, requests[1].flags = 2);
	EXPECT_OK(CHECK(hwpt, 2, 0));
	EXPECT_OK(CHECK(hwpt, 3, IOTLB));
	requests[1] = (struct iommu_hwpt_invalidate_selftest) { .iotlb_id = 4 };
	requests[0].iotlb_id = 0;
	INVALIDATE(1, EINVAL, (void)0);
	EXPECT_OK(CHECK(hwpt, 0, 0));
	/* The second one cannot be read. */
	ASSERT_EQ(0, mprotect(end, PAGE, PROT_NONE));
	requests[0].iotlb_id = 1;
	memcpy(end - sizeof(requests[0]), requests, sizeof(requests[0]));
	INVALIDATE(1, EFAULT, arg.data_uptr = (uintptr_t)end - sizeof(requests[0]));
	EXPECT_OK(CHECK(hwpt, 1, 0));
	EXPECT_OK(CHECK(hwpt, 3, IOTLB));
	munmap(memory, 2 * PAGE);
}

/* As many as can be asked for; the last one counts. */
TEST_F(nested, invalidation_of_many)
{
	const unsigned int most = MOST_REQUESTS / slowness_factor;
	struct iommu_hwpt_invalidate_selftest *requests = calloc(MOST_REQUESTS, sizeof(*requests));
	int hwpt = ALLOC(self->parent);

	ASSERT_LT(0, hwpt);
	ASSERT_NE(NULL, requests);
	requests[most - 1].iotlb_id = 3;
	INVALIDATE(most, 0, arg.entry_num = most);
	EXPECT_OK(CHECK(hwpt, 0, 0));
	EXPECT_OK(CHECK(hwpt, 2, IOTLB));
	EXPECT_OK(CHECK(hwpt, 3, 0));
	requests[most - 2].iotlb_id = 4;
	INVALIDATE(most - 2, EINVAL, arg.entry_num = most);
	free(requests);
}

/* Whoever has made a mistake is told how far it went, or else that it cannot be told. */
TEST_F(nested, invalidation_that_cannot_be_answered)
{
	struct iommu_hwpt_invalidate_selftest requests[2] = {};
	struct iommu_hwpt_invalidate *arg = pages(1);
	int hwpt = ALLOC(self->parent);

	ASSERT_LT(0, hwpt);
	ASSERT_NE(NULL, arg);
	*arg = invalidate_arg(hwpt, requests, 1);
	ASSERT_EQ(0, mprotect(arg, PAGE, PROT_READ));
	EXPECT_ERRNO(EFAULT, call(self->fd, IOMMU_HWPT_INVALIDATE, arg));
	EXPECT_OK(CHECK(hwpt, 0, 0));
	munmap(arg, PAGE);
}

/* --- at the same time ------------------------------------------------------------------ */

struct caller {
	int fd, id, result;
	struct iommu_hwpt_invalidate arg;
	pthread_t thread;
	atomic_bool done;
};

static void *call_invalidate(void *data)
{
	struct caller *caller = data;

	caller->result = call(caller->fd, IOMMU_HWPT_INVALIDATE, &caller->arg);
	caller->done = true;
	return NULL;
}

static void *call_destroy(void *data)
{
	struct caller *caller = data;

	caller->result = destroy(caller->fd, caller->id);
	caller->done = true;
	return NULL;
}

/* Whoever destroys it waits for calls under way; those who only look wait for nobody. */
TEST_F(nested, destroy_waits_for_invalidation)
{
	struct caller slow = { .fd = self->fd }, destroyer = { .fd = self->fd };
	struct iommu_hwpt_invalidate_selftest *requests = pages(1);
	int hwpt = ALLOC(self->parent), other = ALLOC(self->parent), stopper;

	ASSERT_LT(0, hwpt);
	ASSERT_NE(NULL, requests);
	stopper = stop_at((void *)requests, PAGE);
	ASSERT_LE(0, stopper);
	slow.arg = invalidate_arg(hwpt, requests, 1);
	ASSERT_EQ(0, pthread_create(&slow.thread, NULL, call_invalidate, &slow));
	wait_for_stop(_metadata, stopper);
	destroyer.id = hwpt;
	ASSERT_EQ(0, pthread_create(&destroyer.thread, NULL, call_destroy, &destroyer));
	edu_sleep_ms(200);
	EXPECT_FALSE(slow.done);
	EXPECT_FALSE(destroyer.done);
	EXPECT_LT(0, shown_in(self->fd, "nested:", "hwpt "));
	EXPECT_OK(invalidate(self->fd, other, 0));
	EXPECT_OK(DESTROY(other));
	EXPECT_EQ(self->parent, MOVE(self->parent));
	close(stopper);
	pthread_join(slow.thread, NULL);
	pthread_join(destroyer.thread, NULL);
	EXPECT_OK(slow.result);
	EXPECT_EQ(1, slow.arg.entry_num);
	EXPECT_OK(destroyer.result);
	/* It is gone with that, and nothing of it keeps the parent. */
	EXPECT_LT(0, MOVE(self->ioas));
	EXPECT_OK(DESTROY(self->parent));
	munmap(requests, PAGE);
}

/* Whoever waits so can be killed, and has destroyed nothing. */
TEST_F(nested, destroy_that_waits_is_killed)
{
	struct iommu_hwpt_invalidate_selftest *requests = pages(1);
	struct caller slow = { .fd = self->fd };
	int hwpt = ALLOC(self->parent), stopper;
	pid_t child;

	ASSERT_LT(0, hwpt);
	stopper = stop_at((void *)requests, PAGE);
	ASSERT_LE(0, stopper);
	slow.arg = invalidate_arg(hwpt, requests, 1);
	ASSERT_EQ(0, pthread_create(&slow.thread, NULL, call_invalidate, &slow));
	wait_for_stop(_metadata, stopper);
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		destroy(self->fd, hwpt);
		_exit(1);
	}
	edu_sleep_ms(200);
	ASSERT_EQ(0, kill(child, SIGKILL));
	ASSERT_EQ(child, waitpid(child, NULL, 0));
	close(stopper);
	pthread_join(slow.thread, NULL);
	EXPECT_OK(slow.result);
	EXPECT_OK(CHECK(hwpt, 0, 0));
	EXPECT_OK(DESTROY(hwpt));
	munmap(requests, PAGE);
}

struct crowd {
	struct fight fight;
	int ioas, device;
	int mover;	/* the device that moves */
	atomic_uint made;
};

static void do_something(struct crowd *crowd, unsigned int what, int id)
{
	struct fight *fight = &crowd->fight;
	int fd = fight->fd, ret;

	switch (what) {
	case 0:
		ret = hwpt_alloc(fd, crowd->device, crowd->ioas, NEST_PARENT);
		fight_count(fight, "HWPT_ALLOC", ret, false);
		fight_keep(fight, ret);
		break;
	case 1:
	case 2:
		ret = nested_alloc(fd, crowd->device, id);
		crowd->made += ret > 0;
		fight_keep(fight, ret);
		fight_count(fight, "nested HWPT_ALLOC", ret, ret == -EINVAL || ret == -ENOENT);
		break;
	case 3:
		ret = invalidate(fd, id, id & 3);
		fight_count(fight, "HWPT_INVALIDATE", ret, ret == -EINVAL || ret == -ENOENT);
		break;
	case 4:
		ret = mock_move(fd, crowd->mover, id);
		fight_count(fight, "move", ret, ret == -EINVAL || ret == -ENOENT);
		break;
	default:
		ret = destroy(fd, id);
		fight_count(fight, "DESTROY", ret, ret == -EBUSY || ret == -ENOENT);
	}
}

static void *fight_some(void *data)
{
	static atomic_uint seeds;
	struct crowd *crowd = data;
	unsigned int seed = ++seeds;

	while (!crowd->fight.stop) {
		unsigned int what = rand_r(&seed) / 7 % 7;
		int id = crowd->fight.first + rand_r(&seed) / 7 % crowd->fight.ids;

		do_something(crowd, what, id);
	}
	return NULL;
}

TEST_F(nested, many_at_the_same_ids)
{
	struct crowd crowd = {
		.fight = { ._metadata = _metadata, .fd = self->fd, .ids = 12 },
		.ioas = self->ioas, .device = self->dev.device,
	};
	struct books before;
	struct mock mover;
	int id;

	ASSERT_OK(DESTROY(self->parent));
	ASSERT_OK(DESTROY(self->plain));
	before = read_books(self->fd);
	ASSERT_OK(mock_add(self->fd, self->ioas, &mover));
	crowd.mover = mover.id;
	crowd.fight.first = mover.device + 1;
	fight_alike(&crowd.fight, 2000, fight_some, &crowd);
	EXPECT_LT(0, crowd.made);
	TH_LOG("%u calls, %u domains inside of others", crowd.fight.calls, crowd.made);
	/* Those inside first. */
	ASSERT_OK(DESTROY(mover.id));
	for (int round = 0; round < 2; round++)
		for (id = crowd.fight.first; id < crowd.fight.first + 1000; id++)
			DESTROY(id);
	expect_books(_metadata, self->fd, &before);
}

TEST_HARNESS_MAIN
