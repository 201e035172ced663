// SPDX-License-Identifier: GPL-2.0
/*
 * dma-bufs of somebody else who takes them back when he likes: what devices can get at,
 * in every domain, also of copies, and of those that come meanwhile.
 */
#include "mock_calls.h"

#define BUF_SIZE (4 * PAGE)
#define COPY_IOVA (IOVA + (1UL << 20))

FIXTURE(dmabuf)
{
	int fd;
	int ioas;
	int other;		/* another space, with a device as well */
	int buf;
	struct mock mock, elsewhere;
	long pins;
};

FIXTURE_SETUP(dmabuf)
{
	self->pins = held_pins();
	self->fd = open_iommufd();
	self->ioas = ioas_alloc(self->fd);
	self->other = ioas_alloc(self->fd);
	ASSERT_LT(0, self->other)
		TH_LOG("needs " IOMMU_NODE);
	ASSERT_OK(mock_add(self->fd, self->ioas, &self->mock));
	ASSERT_OK(mock_add(self->fd, self->other, &self->elsewhere));
	self->buf = mock_buf(self->fd, BUF_SIZE);
	ASSERT_LE(0, self->buf);
	ASSERT_OK(ioas_map_file(self->fd, self->ioas, self->buf, 0, BUF_SIZE, IOVA));
}

FIXTURE_TEARDOWN(dmabuf)
{
	close(self->buf);
	close(self->fd);
	expect_nothing_left(_metadata, self->pins);
}

/* How many pages of that many a domain leads anywhere from. */
static unsigned int reachable(int fd, int hwpt, uint64_t iova, unsigned int count)
{
	unsigned int page, found = 0;

	for (page = 0; page < count; page++)
		found += !mock_check_map(fd, hwpt, iova + page * PAGE, NULL, PAGE);
	return found;
}

TEST_F(dmabuf, map)
{
	EXPECT_EQ(4, reachable(self->fd, self->mock.hwpt, IOVA - PAGE, 6));
	/* Nothing of it is pinned, or charged. */
	EXPECT_EQ(0, pinned_pages());
	EXPECT_EQ(self->pins, held_pins());
	EXPECT_EQ(BUF_SIZE, ioas_unmap(self->fd, self->ioas, IOVA, BUF_SIZE));
	EXPECT_EQ(0, reachable(self->fd, self->mock.hwpt, IOVA, 4));
	/* A part of it, and all that is too much. */
	EXPECT_OK(ioas_map_file(self->fd, self->ioas, self->buf, PAGE, 2 * PAGE, IOVA));
	EXPECT_EQ(2, reachable(self->fd, self->mock.hwpt, IOVA, 4));
	EXPECT_ERRNO(EINVAL, ioas_map_file(self->fd, self->ioas, self->buf, PAGE, BUF_SIZE,
					   COPY_IOVA));
}

/* In each domain, and in copies of some of it. */
TEST_F(dmabuf, revoke)
{
	int domain = hwpt_alloc(self->fd, self->mock.device, self->ioas, 0);

	ASSERT_LT(0, domain);
	ASSERT_OK(ioas_copy(self->fd, self->ioas, COPY_IOVA, self->ioas, IOVA, BUF_SIZE));
	ASSERT_OK(ioas_copy(self->fd, self->other, IOVA, self->ioas, IOVA + PAGE, 2 * PAGE));
	EXPECT_EQ(4, reachable(self->fd, self->mock.hwpt, COPY_IOVA, 4));
	EXPECT_EQ(4, reachable(self->fd, domain, COPY_IOVA, 4));
	EXPECT_EQ(2, reachable(self->fd, self->elsewhere.hwpt, IOVA, 4));
	ASSERT_OK(mock_buf_revoke(self->fd, self->buf, true));
	EXPECT_EQ(0, reachable(self->fd, self->mock.hwpt, IOVA, 4));
	EXPECT_EQ(0, reachable(self->fd, self->mock.hwpt, COPY_IOVA, 4));
	EXPECT_EQ(0, reachable(self->fd, domain, IOVA, 4));
	EXPECT_EQ(0, reachable(self->fd, domain, COPY_IOVA, 4));
	EXPECT_EQ(0, reachable(self->fd, self->elsewhere.hwpt, IOVA, 4));
	EXPECT_ERRNO(ENODEV, ioas_map_file(self->fd, self->ioas, self->buf, 0, BUF_SIZE,
					   IOVA + BUF_SIZE));
	EXPECT_EQ(BUF_SIZE, ioas_unmap(self->fd, self->ioas, COPY_IOVA, BUF_SIZE));
}

/* It is gone for good where it was mapped, and can be mapped anew. */
TEST_F(dmabuf, return)
{
	ASSERT_OK(mock_buf_revoke(self->fd, self->buf, true));
	ASSERT_OK(mock_buf_revoke(self->fd, self->buf, false));
	EXPECT_EQ(0, reachable(self->fd, self->mock.hwpt, IOVA, 4));
	/* The range stays taken. */
	EXPECT_ERRNO(EEXIST, ioas_map_file(self->fd, self->ioas, self->buf, 0, BUF_SIZE, IOVA));
	EXPECT_OK(ioas_map_file(self->fd, self->ioas, self->buf, 0, BUF_SIZE, COPY_IOVA));
	EXPECT_EQ(4, reachable(self->fd, self->mock.hwpt, COPY_IOVA, 4));
	EXPECT_EQ(BUF_SIZE, ioas_unmap(self->fd, self->ioas, IOVA, BUF_SIZE));
	EXPECT_EQ(4, reachable(self->fd, self->mock.hwpt, COPY_IOVA, 4));
}

/* A device and a domain that come while it is away, or while it is there. */
TEST_F(dmabuf, newcomers)
{
	struct mock mock;
	int domain;

	ASSERT_OK(destroy(self->fd, self->mock.id));
	ASSERT_OK(mock_add(self->fd, self->ioas, &mock));
	EXPECT_EQ(4, reachable(self->fd, mock.hwpt, IOVA, 4));
	ASSERT_OK(mock_buf_revoke(self->fd, self->buf, true));
	domain = hwpt_alloc(self->fd, mock.device, self->ioas, 0);
	ASSERT_LT(0, domain);
	EXPECT_EQ(0, reachable(self->fd, domain, IOVA, 4));
	ASSERT_OK(destroy(self->fd, mock.id));
	ASSERT_OK(destroy(self->fd, domain));
	ASSERT_OK(mock_add(self->fd, self->ioas, &mock));
	EXPECT_EQ(0, reachable(self->fd, mock.hwpt, IOVA, 4));
}

/* A driver without DMA gets nothing of it. */
TEST_F(dmabuf, no_driver_pins)
{
	int access = mock_access(self->fd, self->ioas);
	char data[16];

	ASSERT_LE(0, access);
	EXPECT_ERRNO(EINVAL, mock_access_pin(self->fd, access, IOVA, PAGE));
	EXPECT_ERRNO(EINVAL, mock_access_rw(self->fd, access, IOVA, data, sizeof(data), 0));
	close(access);
}

TEST_HARNESS_MAIN
