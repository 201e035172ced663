// SPDX-License-Identifier: GPL-2.0
/*
 * Devices in software, of which there can be hundreds, and which can be unplugged at any
 * point: the end of a test's object is the end of the device.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "mock_calls.h"
#include "stopper.h"

#define MANY 300

FIXTURE(devices)
{
	int fd;
	int ioas;
	long pins;
	char *memory;
};

FIXTURE_SETUP(devices)
{
	self->pins = held_pins();
	self->fd = open_iommufd();
	self->ioas = ioas_alloc(self->fd);
	ASSERT_LT(0, self->ioas)
		TH_LOG("needs " IOMMU_NODE);
	self->memory = pages(2);
	ASSERT_NE(NULL, self->memory);
	ASSERT_OK(ioas_map(self->fd, self->ioas, self->memory, PAGE, IOVA));
}

FIXTURE_TEARDOWN(devices)
{
	close(self->fd);
	expect_nothing_left(_metadata, self->pins);
}

/* All are on one domain, which goes with the last. */
TEST_F(devices, hundreds)
{
	struct mock *mocks = calloc(MANY, sizeof(*mocks));
	const unsigned int many = scaled(MANY, 60);
	unsigned int i, step = 7;

	for (i = 0; i < many; i++) {
		ASSERT_OK(mock_add(self->fd, self->ioas, &mocks[i]));
		ASSERT_EQ(mocks[0].hwpt, mocks[i].hwpt);
	}
	EXPECT_EQ(many, mock_count());
	/* In an order that is neither that one nor its reverse. */
	while (many % step == 0)
		step++;
	for (i = 0; i < many; i++) {
		EXPECT_OK(mock_check_map(self->fd, mocks[0].hwpt, IOVA, self->memory, PAGE));
		EXPECT_EQ(1, pinned_pages());
		ASSERT_OK(destroy(self->fd, mocks[i * step % many].id));
	}
	EXPECT_EQ(0, mock_count());
	EXPECT_EQ(0, pinned_pages());
	EXPECT_ERRNO(ENOENT, mock_check_map(self->fd, mocks[0].hwpt, IOVA, self->memory, PAGE));
	free(mocks);
}

/* Those that are left go with the file. */
TEST_F(devices, close)
{
	struct mock mock;
	unsigned int i;
	int domain;

	for (i = 0; i < 20; i++) {
		ASSERT_OK(mock_add(self->fd, self->ioas, &mock));
		domain = hwpt_alloc(self->fd, mock.device, self->ioas, 0);
		ASSERT_LT(0, domain);
		EXPECT_EQ(domain, mock_move(self->fd, mock.id, domain));
	}
	EXPECT_EQ(20, mock_count());
	EXPECT_OK(close(self->fd));
	EXPECT_EQ(0, mock_count());
}

/* What fails on its way leaves neither a device nor an id. */
TEST_F(devices, failure)
{
	struct mock mock, other;

	EXPECT_ERRNO(ENOENT, mock_add(self->fd, 1000, &mock));
	ASSERT_OK(mock_add(self->fd, self->ioas, &mock));
	/* It is no place to be attached to. */
	EXPECT_ERRNO(EINVAL, mock_add(self->fd, mock.device, &other));
	EXPECT_EQ(1, mock_count());
	ASSERT_OK(mock_add(self->fd, self->ioas, &other));
	EXPECT_EQ(mock.hwpt + 1, other.id);
	/* What is bound goes with its device, and not by itself. */
	EXPECT_ERRNO(EBUSY, destroy(self->fd, other.device));
	EXPECT_OK(destroy(self->fd, other.id));
	EXPECT_ERRNO(ENOENT, destroy(self->fd, other.id));
	EXPECT_ERRNO(ENOENT, mock_move(self->fd, other.id, self->ioas));
}

/* What a file does not have is told in the same way, be it a part of a page or a whole one. */
TEST_F(devices, short_file)
{
	int file = memfd_create("short", MFD_CLOEXEC);
	struct mock mock;

	ASSERT_OK(ftruncate(file, 2 * PAGE));
	ASSERT_OK(mock_add(self->fd, self->ioas, &mock));
	EXPECT_ERRNO(EINVAL, ioas_map_file(self->fd, self->ioas, file, PAGE, 2 * PAGE,
					   IOVA + PAGE));
	EXPECT_ERRNO(EINVAL, ioas_map_file(self->fd, self->ioas, file, PAGE, 3 * PAGE / 2,
					   IOVA + PAGE));
	EXPECT_OK(ioas_map_file(self->fd, self->ioas, file, PAGE, PAGE / 2, IOVA + PAGE));
	close(file);
}

struct call {
	int fd;
	int id;
	int pt;
	int result;
	atomic_bool done;
	pthread_t thread;
};

static void *move(void *data)
{
	struct call *call = data;

	call->result = mock_move(call->fd, call->id, call->pt);
	call->done = true;
	return NULL;
}

static void *unplug(void *data)
{
	struct call *call = data;

	call->result = destroy(call->fd, call->id);
	call->done = true;
	return NULL;
}

/*
 * A device that is on its way to another space, whose memory lets it wait, is unplugged: whoever
 * does so waits for it, and then nothing is left.
 */
TEST_F(devices, unplugged_on_its_way)
{
	struct call moves = { .fd = self->fd }, unplugs = { .fd = self->fd };
	int other = ioas_alloc(self->fd), stopper;
	struct mock mock;

	ASSERT_OK(mock_add(self->fd, self->ioas, &mock));
	stopper = stop_at(self->memory + PAGE, PAGE);
	ASSERT_LE(0, stopper);
	ASSERT_OK(ioas_map(self->fd, other, self->memory + PAGE, PAGE, IOVA));
	moves.id = mock.id;
	moves.pt = other;
	unplugs.id = mock.id;
	ASSERT_EQ(0, pthread_create(&moves.thread, NULL, move, &moves));
	wait_for_stop(_metadata, stopper);
	ASSERT_EQ(0, pthread_create(&unplugs.thread, NULL, unplug, &unplugs));
	edu_sleep_ms(300);
	EXPECT_FALSE(moves.done);
	EXPECT_FALSE(unplugs.done);
	/* Nobody else finds it meanwhile, nor has to wait. */
	EXPECT_ERRNO(ENOENT, destroy(self->fd, mock.id));
	EXPECT_ERRNO(ENOENT, mock_move(self->fd, mock.id, self->ioas));
	EXPECT_EQ(1, mock_count());
	close(stopper);
	pthread_join(unplugs.thread, NULL);
	EXPECT_OK(unplugs.result);
	EXPECT_EQ(0, mock_count());
	EXPECT_EQ(0, pinned_pages());
	pthread_join(moves.thread, NULL);
	EXPECT_LT(0, moves.result);
	EXPECT_OK(destroy(self->fd, other));
}

/* --- what its IOMMU says of itself ------------------------------------------------------------ */

#define INPUT_TYPE IOMMU_HW_INFO_FLAG_INPUT_TYPE
#define EXPECT_INFO(errno_, change) \
	EXPECT_CHANGED(errno_, self->fd, IOMMU_GET_HW_INFO, valid, change)

/* Which structure is wanted: any, or one that this IOMMU has to have. */
TEST_F(devices, information)
{
	struct iommu_test_hw_info info[2];
	struct iommu_hw_info valid = {
		.size = sizeof(valid), .data_len = sizeof(*info), .data_uptr = (uintptr_t)info,
	};
	struct iommu_hw_info arg;
	struct mock mock;

	ASSERT_OK(mock_add(self->fd, self->ioas, &mock));
	valid.dev_id = mock.device;
	arg = valid;
	memset(info, 0xff, sizeof(info));
	ASSERT_OK(call(self->fd, IOMMU_GET_HW_INFO, &arg));
	EXPECT_EQ(sizeof(*info), arg.data_len);
	EXPECT_EQ(IOMMU_HW_INFO_TYPE_SELFTEST, arg.out_data_type);
	EXPECT_EQ(IOMMU_HW_INFO_SELFTEST_REGVAL, info[0].test_reg);
	EXPECT_EQ(UINT32_MAX, info[1].test_reg);
	EXPECT_EQ(0, arg.out_max_pasid_log2);
	/* It is no device of PCI, and so has no ATS. */
	EXPECT_EQ(IOMMU_HW_CAP_DIRTY_TRACKING | IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED,
		  arg.out_capabilities);

	EXPECT_INFO(0, (arg.flags = INPUT_TYPE, arg.in_data_type = IOMMU_HW_INFO_TYPE_DEFAULT));
	EXPECT_INFO(0, (arg.flags = INPUT_TYPE, arg.in_data_type = IOMMU_HW_INFO_TYPE_SELFTEST));
	EXPECT_INFO(EOPNOTSUPP, (arg.flags = INPUT_TYPE,
				 arg.in_data_type = IOMMU_HW_INFO_TYPE_INTEL_VTD));
	EXPECT_INFO(EOPNOTSUPP, (arg.flags = INPUT_TYPE, arg.in_data_type = UINT32_MAX));
	/* Without the flag nobody looks. */
	EXPECT_INFO(0, arg.in_data_type = IOMMU_HW_INFO_TYPE_INTEL_VTD);

	EXPECT_INFO(EOPNOTSUPP, (arg.flags = 2, arg.dev_id = 12345));
	EXPECT_INFO(EOPNOTSUPP, (arg.__reserved[0] = 1, arg.dev_id = 12345));
	EXPECT_INFO(EOPNOTSUPP, (arg.__reserved[2] = 1, arg.dev_id = 12345));
	EXPECT_INFO(ENOENT, arg.dev_id = 12345);
	EXPECT_INFO(ENOENT, arg.dev_id = self->ioas);
	EXPECT_INFO(ENOENT, arg.dev_id = mock.id);
}

/* As much of it as there is room for, and zeroes behind it. */
TEST_F(devices, room_for_information)
{
	struct iommu_test_hw_info info[3];
	const unsigned int size = sizeof(*info);
	struct iommu_hw_info valid = {
		.size = sizeof(valid), .data_len = size, .data_uptr = (uintptr_t)info,
	};
	struct iommu_hw_info arg;
	unsigned int room, i;
	struct mock mock;

	ASSERT_OK(mock_add(self->fd, self->ioas, &mock));
	valid.dev_id = mock.device;
	for (room = 0; room <= 2 * size; room++) {
		const struct iommu_test_hw_info whole = {
			.test_reg = IOMMU_HW_INFO_SELFTEST_REGVAL,
		};
		const unsigned int known = room < size ? room : size;
		const unsigned char *bytes = (void *)info;

		memset(info, 0xee, sizeof(info));
		arg = valid;
		arg.data_len = room;
		ASSERT_OK(call(self->fd, IOMMU_GET_HW_INFO, &arg));
		EXPECT_EQ(size, arg.data_len);
		EXPECT_EQ(0, memcmp(info, &whole, known));
		for (i = known; i < room; i++)
			EXPECT_EQ(0, bytes[i]);
		for (; i < sizeof(info); i++)
			EXPECT_EQ(0xee, bytes[i]);
	}
	/* Where there is no room wanted, nobody looks for any. */
	EXPECT_INFO(0, (arg.data_len = 0, arg.data_uptr = 8));
	EXPECT_INFO(EFAULT, arg.data_uptr = 8);
	EXPECT_INFO(EFAULT, (arg.data_uptr = (uintptr_t)self->memory + 2 * PAGE - size,
			     munmap(self->memory + PAGE, PAGE)));
}

TEST_HARNESS_MAIN
