// SPDX-License-Identifier: GPL-2.0
/*
 * Virtual IOMMUs, and devices that they know, on the IOMMU in software: what is refused and
 * changes nothing, who keeps whom from being destroyed, what becomes of them when a device is
 * unplugged, and many threads that do all of it to the same few ids.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "books.h"
#include "fight.h"
#include "stopper.h"
#include "viommu_calls.h"

#define NUMBER 0x99	/* that a virtual IOMMU knows the device by */
#define CACHED IOMMU_TEST_DEV_CACHE_DEFAULT

FIXTURE(viommu)
{
	int fd;
	int ioas;
	struct mock dev;
	int parent;
	int plain;	/* that was not made to have others inside */
	int viommu;
	struct books books;
};

FIXTURE_SETUP(viommu)
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
	self->viommu = viommu_alloc(self->fd, self->dev.device, self->parent);
	ASSERT_LT(0, self->viommu);
	self->books = read_books(self->fd);
}

/* All of it goes, in whatever order. */
FIXTURE_TEARDOWN(viommu)
{
	close(self->fd);
}

#define DESTROY(id) destroy(self->fd, id)
#define MOVE(pt) mock_move(self->fd, self->dev.id, pt)
#define NESTED() nested_alloc(self->fd, self->dev.device, self->viommu)
#define VDEVICE(number) vdevice_alloc(self->fd, self->viommu, self->dev.device, number)
#define CHECK_CACHE(id, value) check_cache(self->fd, self->dev.device, id, value)

/* --- virtual IOMMUs -------------------------------------------------------------------- */

TEST_F(viommu, is_refused)
{
	struct iommu_viommu_selftest data = { .in_data = 7 };
	struct iommu_viommu_alloc good = viommu_arg(self->dev.device, self->parent);

	good.data_len = sizeof(data);
	good.data_uptr = (uintptr_t)&data;
#define REFUSED(errno, change) EXPECT_CHANGED(errno, self->fd, IOMMU_VIOMMU_ALLOC, good, change)
	REFUSED(EOPNOTSUPP, arg.flags = 1);
	REFUSED(EOPNOTSUPP, arg.type = IOMMU_VIOMMU_TYPE_DEFAULT);
	REFUSED(EOPNOTSUPP, arg.type = IOMMU_VIOMMU_TYPE_DEFAULT; arg.dev_id = 12345);
	REFUSED(ENOENT, arg.dev_id = 12345);
	REFUSED(ENOENT, arg.dev_id = self->dev.id);
	/* What the IOMMU has comes before where it would be. */
	REFUSED(EOPNOTSUPP, arg.type = IOMMU_VIOMMU_TYPE_ARM_SMMUV3; arg.hwpt_id = 12345);
	REFUSED(ENOENT, arg.hwpt_id = 12345);
	REFUSED(ENOENT, arg.hwpt_id = 0);
	REFUSED(ENOENT, arg.hwpt_id = self->ioas);
	REFUSED(ENOENT, arg.hwpt_id = self->viommu);
	REFUSED(EINVAL, arg.hwpt_id = self->plain);
	REFUSED(EINVAL, arg.hwpt_id = self->dev.hwpt);
	REFUSED(EINVAL, arg.data_len = 4);
	REFUSED(EINVAL, arg.data_len++);
	REFUSED(EFAULT, arg.data_uptr = 0);
	expect_books(_metadata, self->fd, &self->books);
	EXPECT_EQ(self->viommu + 1, viommu_alloc(self->fd, self->dev.device, self->parent));
}

TEST_F(viommu, answers)
{
	struct iommu_viommu_selftest data = { .in_data = 0xbeef };
	struct iommu_viommu_alloc good = viommu_arg(self->dev.device, self->parent);
	struct iommu_viommu_alloc *arg = pages(1);

	good.data_len = sizeof(data);
	good.data_uptr = (uintptr_t)&data;
	ASSERT_OK(call(self->fd, IOMMU_VIOMMU_ALLOC, &good));
	EXPECT_EQ(0xbeef, data.out_data);
	EXPECT_EQ(self->viommu + 1, (int)good.out_viommu_id);
	EXPECT_OK(DESTROY(good.out_viommu_id));
	/* Nobody is told of one whose id cannot be written. */
	ASSERT_NE(NULL, arg);
	*arg = good;
	ASSERT_EQ(0, mprotect(arg, PAGE, PROT_READ));
	EXPECT_ERRNO(EFAULT, call(self->fd, IOMMU_VIOMMU_ALLOC, arg));
	expect_books(_metadata, self->fd, &self->books);
	munmap(arg, PAGE);
}

TEST_F(viommu, is_used)
{
	int hwpt = NESTED(), vdevice;

	ASSERT_LT(0, hwpt);
	EXPECT_ERRNO(EBUSY, DESTROY(self->viommu));
	EXPECT_ERRNO(EBUSY, DESTROY(self->parent));
	EXPECT_OK(DESTROY(hwpt));
	EXPECT_ERRNO(EBUSY, DESTROY(self->parent));
	vdevice = VDEVICE(NUMBER);
	ASSERT_LT(0, vdevice);
	EXPECT_ERRNO(EBUSY, DESTROY(self->viommu));
	EXPECT_OK(DESTROY(vdevice));
	EXPECT_ERRNO(ENOENT, DESTROY(vdevice));
	EXPECT_OK(DESTROY(self->viommu));
	EXPECT_ERRNO(ENOENT, DESTROY(self->viommu));
	EXPECT_ERRNO(ENOENT, VDEVICE(NUMBER));
	EXPECT_ERRNO(EINVAL, NESTED());
	EXPECT_OK(DESTROY(self->parent));
}

TEST_F(viommu, domains_are_refused)
{
	struct iommu_hwpt_selftest data = { .iotlb = IOTLB };
	struct iommu_hwpt_alloc good = nested_arg(self->dev.device, self->viommu, &data);

#undef REFUSED
#define REFUSED(errno, change) EXPECT_CHANGED(errno, self->fd, IOMMU_HWPT_ALLOC, good, change)
	REFUSED(EOPNOTSUPP, arg.flags = NEST_PARENT);
	REFUSED(EOPNOTSUPP, arg.flags = IOMMU_HWPT_FAULT_ID_VALID | 1U << 31);
	REFUSED(EOPNOTSUPP, arg.data_type = 0; arg.data_len = 0);
	REFUSED(EOPNOTSUPP, arg.data_type++);
	REFUSED(EINVAL, arg.data_len = 3);
	REFUSED(EFAULT, arg.data_uptr = 0);
	REFUSED(ENOENT, arg.dev_id = 12345);
	REFUSED(ENOENT, arg.flags = IOMMU_HWPT_FAULT_ID_VALID; arg.fault_id = 12345);
	expect_books(_metadata, self->fd, &self->books);
	EXPECT_OK(DESTROY(self->viommu));
}

/* --- devices --------------------------------------------------------------------------- */

/* A device that the virtual IOMMU does not know is not let onto its domains. */
TEST_F(viommu, has_to_know_the_device)
{
	int hwpt = NESTED(), vdevice;

	ASSERT_LT(0, hwpt);
	EXPECT_ERRNO(ENOENT, MOVE(hwpt));
	EXPECT_EQ(self->ioas, shown_in(self->fd, "device:", "ioasid "));
	vdevice = VDEVICE(NUMBER);
	ASSERT_LT(0, vdevice);
	EXPECT_EQ(self->viommu, shown_in(self->fd, "vdevice:", "viommu "));
	EXPECT_EQ(self->dev.device, shown_in(self->fd, "vdevice:", "device "));
	ASSERT_EQ(hwpt, MOVE(hwpt));
	EXPECT_ERRNO(EBUSY, DESTROY(hwpt));
	ASSERT_LT(0, MOVE(self->ioas));
	EXPECT_OK(DESTROY(vdevice));
	EXPECT_ERRNO(ENOENT, MOVE(hwpt));
	EXPECT_OK(DESTROY(hwpt));
	expect_books(_metadata, self->fd, &self->books);
}

TEST_F(viommu, knows_each_once)
{
	int vdevice, second, other;
	struct mock dev;

	EXPECT_ERRNO(ENOENT, vdevice_alloc(self->fd, 12345, self->dev.device, NUMBER));
	EXPECT_ERRNO(ENOENT, vdevice_alloc(self->fd, self->parent, self->dev.device, NUMBER));
	EXPECT_ERRNO(ENOENT, vdevice_alloc(self->fd, self->viommu, self->dev.id, NUMBER));
	EXPECT_ERRNO(ENOENT, vdevice_alloc(self->fd, self->viommu, 12345, NUMBER));
	vdevice = VDEVICE(NUMBER);
	ASSERT_LT(0, vdevice);
	EXPECT_ERRNO(EEXIST, VDEVICE(NUMBER));
	EXPECT_ERRNO(EEXIST, VDEVICE(NUMBER + 1));
	ASSERT_OK(mock_add(self->fd, self->ioas, &dev));
	EXPECT_ERRNO(EEXIST, vdevice_alloc(self->fd, self->viommu, dev.device, NUMBER));
	second = vdevice_alloc(self->fd, self->viommu, dev.device, UINT64_MAX);
	ASSERT_LT(0, second);
	/* Nor may another virtual IOMMU know it meanwhile. */
	other = viommu_alloc(self->fd, self->dev.device, self->parent);
	ASSERT_LT(0, other);
	EXPECT_ERRNO(EEXIST, vdevice_alloc(self->fd, other, self->dev.device, 1));
	EXPECT_OK(DESTROY(vdevice));
	vdevice = vdevice_alloc(self->fd, other, self->dev.device, NUMBER);
	EXPECT_LT(0, vdevice);
	EXPECT_OK(DESTROY(vdevice));
	EXPECT_OK(DESTROY(second));
	EXPECT_OK(DESTROY(other));
	EXPECT_OK(DESTROY(dev.id));
	expect_books(_metadata, self->fd, &self->books);
}

TEST_F(viommu, device_that_nobody_is_told_of)
{
	struct iommu_vdevice_alloc *arg = pages(1);
	int vdevice;

	ASSERT_NE(NULL, arg);
	*arg = (struct iommu_vdevice_alloc) {
		.size = sizeof(*arg), .viommu_id = self->viommu, .dev_id = self->dev.device,
	};
	ASSERT_EQ(0, mprotect(arg, PAGE, PROT_READ));
	EXPECT_ERRNO(EFAULT, call(self->fd, IOMMU_VDEVICE_ALLOC, arg));
	expect_books(_metadata, self->fd, &self->books);
	munmap(arg, PAGE);
	vdevice = VDEVICE(0);
	EXPECT_EQ(self->viommu + 1, vdevice);
}

/* What goes with its device was not destroyed by whoever knows its id: nothing else has it. */
TEST_F(viommu, id_of_an_unplugged_device)
{
	int vdevice = VDEVICE(NUMBER), hwpt = NESTED(), id;
	struct mock dev;

	ASSERT_LT(0, vdevice);
	ASSERT_LT(0, hwpt);
	ASSERT_EQ(hwpt, MOVE(hwpt));
	ASSERT_OK(DESTROY(self->dev.id));
	EXPECT_ERRNO(ENOENT, DESTROY(vdevice));
	EXPECT_EQ(-1, shown_in(self->fd, "vdevice:", "viommu "));
	/* All that was before it can be had again. */
	EXPECT_OK(DESTROY(hwpt));
	EXPECT_OK(DESTROY(self->viommu));
	for (int i = 0; i < 20; i++) {
		id = ioas_alloc(self->fd);
		ASSERT_LT(0, id);
		EXPECT_NE(vdevice, id);
	}
	EXPECT_ERRNO(ENOENT, DESTROY(vdevice));
	/* The number is free for the next device. */
	ASSERT_OK(mock_add(self->fd, self->ioas, &dev));
	self->viommu = viommu_alloc(self->fd, dev.device, self->parent);
	ASSERT_LT(0, self->viommu);
	EXPECT_LT(0, vdevice_alloc(self->fd, self->viommu, dev.device, NUMBER));
}

/* --- invalidation ---------------------------------------------------------------------- */

TEST_F(viommu, invalidation)
{
	struct iommu_viommu_invalidate_selftest requests[2] = {
		{ .vdev_id = NUMBER, .cache_id = 1 }, { .vdev_id = NUMBER, .cache_id = 2 },
	};
	struct iommu_hwpt_invalidate good = viommu_invalidate_arg(self->viommu, requests, 2);
	struct iommu_hwpt_invalidate arg = good;

	EXPECT_ERRNO(EINVAL, viommu_invalidate(self->fd, self->viommu, NUMBER, 0));
	ASSERT_LT(0, VDEVICE(NUMBER));
	EXPECT_ERRNO(EINVAL, viommu_invalidate(self->fd, self->viommu, NUMBER - 1, 0));
	EXPECT_ERRNO(EINVAL, viommu_invalidate(self->fd, self->viommu, NUMBER, 4));
	EXPECT_CHANGED(EINVAL, self->fd, IOMMU_HWPT_INVALIDATE, good, arg.data_type++);
	EXPECT_CHANGED(EINVAL, self->fd, IOMMU_HWPT_INVALIDATE, good, arg.entry_len++);
	EXPECT_OK(CHECK_CACHE(1, CACHED));
	ASSERT_OK(call(self->fd, IOMMU_HWPT_INVALIDATE, &arg));
	EXPECT_EQ(2, arg.entry_num);
	EXPECT_OK(CHECK_CACHE(0, CACHED));
	EXPECT_OK(CHECK_CACHE(1, 0));
	EXPECT_OK(CHECK_CACHE(2, 0));
	requests[0] = (struct iommu_viommu_invalidate_selftest) { .vdev_id = NUMBER };
	requests[1].flags = 2;
	arg = good;
	EXPECT_ERRNO(EOPNOTSUPP, call(self->fd, IOMMU_HWPT_INVALIDATE, &arg));
	EXPECT_EQ(1, arg.entry_num);
	EXPECT_OK(CHECK_CACHE(0, 0));
	EXPECT_OK(CHECK_CACHE(3, CACHED));
	requests[0].flags = IOMMU_TEST_INVALIDATE_FLAG_ALL;
	arg = good;
	arg.entry_num = 1;
	EXPECT_OK(call(self->fd, IOMMU_HWPT_INVALIDATE, &arg));
	EXPECT_OK(CHECK_CACHE(3, 0));
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

/* Whoever destroys it waits for calls under way, and then it is not busy. */
TEST_F(viommu, destroy_waits_for_invalidation)
{
	struct caller slow = { .fd = self->fd }, destroyer = { .fd = self->fd, .id = self->viommu };
	struct iommu_viommu_invalidate_selftest *requests = pages(1);
	int stopper;

	ASSERT_NE(NULL, requests);
	stopper = stop_at((void *)requests, PAGE);
	ASSERT_LE(0, stopper);
	slow.arg = viommu_invalidate_arg(self->viommu, requests, 1);
	ASSERT_EQ(0, pthread_create(&slow.thread, NULL, call_invalidate, &slow));
	wait_for_stop(_metadata, stopper);
	ASSERT_EQ(0, pthread_create(&destroyer.thread, NULL, call_destroy, &destroyer));
	edu_sleep_ms(200);
	EXPECT_FALSE(destroyer.done);
	EXPECT_EQ(self->parent, shown_in(self->fd, "viommu:", "hwpt "));
	EXPECT_LT(0, MOVE(self->plain));
	close(stopper);
	pthread_join(slow.thread, NULL);
	pthread_join(destroyer.thread, NULL);
	/* It knows no device of the number 0. */
	EXPECT_ERRNO(EINVAL, slow.result);
	EXPECT_OK(destroyer.result);
	EXPECT_OK(DESTROY(self->parent));
	munmap(requests, PAGE);
}

struct crowd {
	struct fight fight;
	int ioas, parent, device, mock;
	atomic_uint made, known, moved;
};

static bool is_gone(int ret)
{
	return ret == -ENOENT || ret == -EINVAL;
}

static void do_something(struct crowd *crowd, unsigned int what, int id, int other)
{
	struct fight *fight = &crowd->fight;
	int fd = fight->fd, ret;
	struct mock dev;

	switch (what) {
	case 0:
	case 1:
		ret = viommu_alloc(fd, crowd->device, crowd->parent);
		fight_count(fight, "VIOMMU_ALLOC", ret, false);
		crowd->made += ret > 0;
		fight_keep(fight, ret);
		break;
	case 2:
		ret = nested_alloc(fd, crowd->device, id);
		fight_count(fight, "HWPT_ALLOC", ret, is_gone(ret));
		fight_keep(fight, ret);
		break;
	case 3:
	case 4:
		ret = vdevice_alloc(fd, id, what == 3 ? crowd->device : other, other);
		fight_count(fight, "VDEVICE_ALLOC", ret, is_gone(ret) || ret == -EEXIST);
		crowd->known += ret > 0;
		fight_keep(fight, ret);
		break;
	case 5:
		ret = viommu_invalidate(fd, id, other, other & 3);
		fight_count(fight, "HWPT_INVALIDATE", ret, is_gone(ret));
		break;
	case 6:
		ret = mock_add(fd, crowd->ioas, &dev);
		fight_count(fight, "plug", ret, false);
		break;
	case 7:
	case 8:
		ret = mock_move(fd, what == 7 ? crowd->mock : id, what == 7 ? other : crowd->ioas);
		fight_count(fight, "move", ret, is_gone(ret));
		crowd->moved += ret > 0;
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
	struct fight *fight = &crowd->fight;
	unsigned int seed = ++seeds;

	while (!fight->stop) {
		unsigned int what = rand_r(&seed) / 7 % 14;
		int id = fight->first + rand_r(&seed) / 7 % fight->ids;

		do_something(crowd, what, id, fight->first + rand_r(&seed) / 7 % fight->ids);
	}
	return NULL;
}

TEST_F(viommu, many_at_the_same_ids)
{
	struct crowd crowd = {
		.fight = {
			._metadata = _metadata, .fd = self->fd, .first = self->viommu, .ids = 12,
		},
		.ioas = self->ioas, .parent = self->parent, .device = self->dev.device,
		.mock = self->dev.id,
	};

	ASSERT_OK(DESTROY(self->viommu));
	fight_alike(&crowd.fight, 3000, fight_some, &crowd);
	EXPECT_LT(0, crowd.made);
	EXPECT_LT(0, crowd.known);
	EXPECT_LT(0, crowd.moved);
	EXPECT_LT(0, MOVE(self->ioas));
	TH_LOG("%u calls, %u virtual IOMMUs, %u devices, %u moves", crowd.fight.calls, crowd.made,
	       crowd.known, crowd.moved);
	/* All that still is there is found, and goes, those that others use at last. */
	for (int round = 0; round < 4; round++)
		for (int id = crowd.fight.first; id < crowd.fight.first + 30000; id++)
			DESTROY(id);
	EXPECT_OK(DESTROY(self->parent));
	EXPECT_OK(DESTROY(self->plain));
	EXPECT_OK(DESTROY(self->dev.id));
	EXPECT_OK(DESTROY(self->ioas));
}

TEST_HARNESS_MAIN
