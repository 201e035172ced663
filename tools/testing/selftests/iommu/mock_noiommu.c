// SPDX-License-Identifier: GPL-2.0
/*
 * Devices that no IOMMU has beside such that one has, on the IOMMU in software that test builds of
 * the driver have: which domains they may go to, and what is told of memory meanwhile.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "mock_calls.h"
#include "noiommu_calls.h"

#define COUNT 8

FIXTURE(mock_noiommu)
{
	int fd;
	int ioas;
	char *memory;
	struct mock free;	/* of IOMMUs */
	long pins;
};

FIXTURE_SETUP(mock_noiommu)
{
	self->fd = open_iommufd();
	ASSERT_LE(0, self->fd);
	self->memory = pages(COUNT);
	ASSERT_NE(NULL, self->memory);
	memset(self->memory, 1, COUNT * PAGE);
	self->pins = held_pins();
	self->ioas = ioas_alloc(self->fd);
	ASSERT_LT(0, self->ioas);
	ASSERT_OK(ioas_map_pages(self->fd, self->ioas, self->memory, 0, COUNT));
	ASSERT_OK(mock_add_untranslated(self->fd, self->ioas, &self->free));
}

FIXTURE_TEARDOWN(mock_noiommu)
{
	EXPECT_EQ(0, close(self->fd));
	expect_nothing_left(_metadata, self->pins);
}

#define MOVE(pt) mock_move(self->fd, self->free.id, pt)
#define DESTROY(id) destroy(self->fd, id)
#define ASK(iova) ask_pa(self->fd, self->ioas, iova)

static void expect_told(struct __test_metadata *_metadata, FIXTURE_DATA(mock_noiommu) * self,
			unsigned int page)
{
	uint64_t phys, length;

	ASSERT_OK(get_pa(self->fd, self->ioas, IOVA + page * PAGE, PAGE, &phys, &length));
	EXPECT_EQ(host_page(self->memory + page * PAGE) * PAGE, phys);
	EXPECT_EQ(PAGE, length);
}

#define EXPECT_TOLD(page) expect_told(_metadata, self, page)

/* Neither goes to the domain of the other; both have what is mapped. */
TEST_F(mock_noiommu, beside_others)
{
	struct mock other = { };
	int theirs, ours;

	EXPECT_TOLD(3);
	ASSERT_OK(mock_add(self->fd, self->ioas, &other));
	EXPECT_NE(self->free.hwpt, other.hwpt);
	EXPECT_TOLD(3);
	EXPECT_OK(mock_check_map(self->fd, other.hwpt, IOVA, self->memory, COUNT * PAGE));
	theirs = hwpt_alloc(self->fd, other.device, self->ioas, 0);
	ASSERT_LT(0, theirs);
	ours = hwpt_alloc(self->fd, self->free.device, self->ioas, 0);
	ASSERT_LT(0, ours);
	EXPECT_EQ(-EINVAL, MOVE(theirs));
	EXPECT_EQ(-EINVAL, MOVE(other.hwpt));
	EXPECT_EQ(-EINVAL, mock_move(self->fd, other.id, ours));
	EXPECT_EQ(-EINVAL, mock_move(self->fd, other.id, self->free.hwpt));
	EXPECT_EQ(ours, MOVE(ours));
	EXPECT_TOLD(0);
	EXPECT_OK(DESTROY(self->free.id));
	EXPECT_OK(DESTROY(ours));
	EXPECT_EQ(-EOPNOTSUPP, ASK(IOVA));
	EXPECT_OK(DESTROY(other.id));
}

/* The IOMMU's comes first. */
TEST_F(mock_noiommu, behind_others)
{
	struct mock other = { };

	EXPECT_OK(DESTROY(self->free.id));
	EXPECT_EQ(-EOPNOTSUPP, ASK(IOVA));
	ASSERT_OK(mock_add(self->fd, self->ioas, &other));
	EXPECT_EQ(-EOPNOTSUPP, ASK(IOVA));
	ASSERT_OK(mock_add_untranslated(self->fd, self->ioas, &self->free));
	EXPECT_TOLD(0);
	EXPECT_TOLD(COUNT - 1);
}

/* Each is in a group with nobody. */
TEST_F(mock_noiommu, several)
{
	int other = ioas_alloc(self->fd);
	struct mock second = { };

	ASSERT_LT(0, other);
	ASSERT_OK(mock_add_untranslated(self->fd, other, &second));
	EXPECT_EQ(self->free.hwpt, mock_move(self->fd, second.id, self->ioas));
	EXPECT_OK(DESTROY(other));
	EXPECT_OK(DESTROY(self->free.id));
	EXPECT_TOLD(1);
	EXPECT_OK(DESTROY(second.id));
	EXPECT_EQ(-EOPNOTSUPP, ASK(IOVA));
}

TEST_F(mock_noiommu, shared_and_pinned)
{
	int access = mock_access(self->fd, self->ioas), other = ioas_alloc(self->fd), pins;
	uint64_t phys, length;

	ASSERT_LT(0, other);
	ASSERT_LE(0, access);
	/* It is in pieces from here on. */
	pins = mock_access_pin(self->fd, access, IOVA + PAGE, 2 * PAGE);
	ASSERT_LE(0, pins);
	EXPECT_TOLD(0);
	EXPECT_TOLD(2);
	EXPECT_TOLD(5);
	ASSERT_OK(ioas_copy(self->fd, other, IOVA, self->ioas, IOVA + 2 * PAGE, 2 * PAGE));
	EXPECT_EQ(-EOPNOTSUPP, ask_pa(self->fd, other, IOVA));
	EXPECT_LT(0, MOVE(other));
	ASSERT_OK(get_pa(self->fd, other, IOVA + PAGE, PAGE, &phys, &length));
	EXPECT_EQ(host_page(self->memory + 3 * PAGE) * PAGE, phys);
	EXPECT_EQ(-EOPNOTSUPP, ASK(IOVA));
	EXPECT_OK(mock_access_unpin(self->fd, access, pins));
	EXPECT_EQ(0, close(access));
}

TEST_F(mock_noiommu, taken_back)
{
	int buf = mock_buf(self->fd, 2 * PAGE);
	uint64_t phys, length;

	ASSERT_LE(0, buf);
	ASSERT_OK(ioas_map_file(self->fd, self->ioas, buf, 0, 2 * PAGE, 2 * IOVA));
	ASSERT_OK(get_pa(self->fd, self->ioas, 2 * IOVA + 5, UINT64_MAX, &phys, &length));
	EXPECT_EQ(2 * PAGE - 5, length);
	ASSERT_OK(mock_buf_revoke(self->fd, buf, true));
	EXPECT_EQ(-EINVAL, ask_pa(self->fd, self->ioas, 2 * IOVA));
	EXPECT_TOLD(0);
	EXPECT_EQ(0, close(buf));
}

/* --- while others map, unmap, and come and go ---------------------------------------------- */

struct asking {
	int fd, ioas;
	atomic_bool stop;
	atomic_uint odd, told;
};

static void *ask_always(void *data)
{
	struct asking *asking = data;

	while (!asking->stop) {
		int ret = ask_pa(asking->fd, asking->ioas, IOVA + PAGE);

		asking->told += !ret;
		asking->odd += ret && ret != -ENOENT && ret != -EOPNOTSUPP;
	}
	return NULL;
}

TEST_F(mock_noiommu, storm)
{
	struct asking asking = { .fd = self->fd, .ioas = self->ioas };
	pthread_t thread;
	unsigned int i;

	ASSERT_EQ(0, pthread_create(&thread, NULL, ask_always, &asking));
	/* On a busy machine the other one may have to wait for its turn. */
	for (i = 0; i < 200 || (asking.told < 10 && i < 100000); i++) {
		ASSERT_EQ(COUNT * PAGE, ioas_unmap(self->fd, self->ioas, IOVA, COUNT * PAGE));
		ASSERT_OK(ioas_map_pages(self->fd, self->ioas, self->memory, 0, COUNT));
		if (i % 8)
			continue;
		ASSERT_OK(DESTROY(self->free.id));
		ASSERT_OK(mock_add_untranslated(self->fd, self->ioas, &self->free));
	}
	asking.stop = true;
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, asking.odd);
	EXPECT_LT(0, asking.told);
}

TEST_HARNESS_MAIN
