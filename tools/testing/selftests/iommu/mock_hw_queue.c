// SPDX-License-Identifier: GPL-2.0
/*
 * Queues of virtual IOMMUs, on the IOMMU in software: what is refused and changes nothing,
 * which memory a queue can be in and that it stays there, who keeps whom from being destroyed,
 * and many threads that do all of it to the same few ids.
 */
#include <stdatomic.h>

#include "books.h"
#include "fight.h"
#include "viommu_calls.h"

#define HUGE (2UL << 20)

FIXTURE(hw_queue)
{
	int fd;
	int ioas;
	struct mock dev;
	int parent;
	int viommu;
	char *memory;	/* a huge page, so that all of it is in one piece */
	struct books books;
};

FIXTURE_SETUP(hw_queue)
{
	self->fd = open_iommufd();
	ASSERT_LE(0, self->fd);
	self->ioas = ioas_alloc(self->fd);
	ASSERT_LT(0, self->ioas);
	ASSERT_OK(mock_add(self->fd, self->ioas, &self->dev));
	self->parent = hwpt_alloc(self->fd, self->dev.device, self->ioas, NEST_PARENT);
	ASSERT_LT(0, self->parent);
	self->viommu = viommu_alloc(self->fd, self->dev.device, self->parent);
	ASSERT_LT(0, self->viommu);
	if (!provide_huge_pages(8))
		SKIP(return, "needs huge pages");
	self->memory = mmap(NULL, HUGE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	ASSERT_NE(MAP_FAILED, self->memory);
	memset(self->memory, 1, HUGE);
	ASSERT_OK(ioas_map(self->fd, self->ioas, self->memory, 4 * PAGE, IOVA));
	self->books = read_books(self->fd);
}

/* All of it goes, in whatever order. */
FIXTURE_TEARDOWN(hw_queue)
{
	close(self->fd);
	munmap(self->memory, HUGE);
}

#define DESTROY(id) destroy(self->fd, id)
#define QUEUE(index, iova, length) hw_queue_alloc(self->fd, self->viommu, index, iova, length)
#define MAP(from, length, iova) \
	ioas_map(self->fd, self->ioas, self->memory + (from), length, iova)
#define UNMAP(iova, length) ioas_unmap(self->fd, self->ioas, iova, length)

/* --- making them ----------------------------------------------------------------------- */

TEST_F(hw_queue, is_refused)
{
	struct iommu_hw_queue_alloc good = hw_queue_arg(self->viommu, 0, IOVA, PAGE);

#define REFUSED(errno, change) EXPECT_CHANGED(errno, self->fd, IOMMU_HW_QUEUE_ALLOC, good, change)
	REFUSED(EOPNOTSUPP, arg.flags = 1);
	REFUSED(EOPNOTSUPP, arg.type = IOMMU_HW_QUEUE_TYPE_DEFAULT; arg.viommu_id = 12345);
	REFUSED(EINVAL, arg.length = 0; arg.viommu_id = 12345);
	REFUSED(EOVERFLOW, arg.nesting_parent_iova = UINT64_MAX; arg.length = 2);
	REFUSED(EOVERFLOW, arg.length = UINT64_MAX; arg.viommu_id = 12345);
	REFUSED(ENOENT, arg.viommu_id = 12345);
	REFUSED(ENOENT, arg.viommu_id = self->parent);
	REFUSED(ENOENT, arg.viommu_id = self->dev.device);
	/* What it has comes before where that would be. */
	REFUSED(EOPNOTSUPP, arg.type = IOMMU_HW_QUEUE_TYPE_TEGRA241_CMDQV; arg.length = 1ULL << 40);
	REFUSED(ENOENT, arg.nesting_parent_iova = IOVA - 1);
	REFUSED(ENOENT, arg.length = 4 * PAGE + 1);
	REFUSED(ENOENT, arg.nesting_parent_iova = 0; arg.length = UINT64_MAX);
	REFUSED(ENOENT, arg.nesting_parent_iova = UINT64_MAX; arg.length = 1);
	/* What it will be comes before which one. */
	REFUSED(ENOENT, arg.index = 77; arg.nesting_parent_iova = 0);
	REFUSED(EINVAL, arg.index = IOMMU_TEST_HW_QUEUE_MAX);
	REFUSED(EIO, arg.index = 1);
	expect_books(_metadata, self->fd, &self->books);
	EXPECT_EQ(self->viommu + 1, QUEUE(0, IOVA, PAGE));
	REFUSED(EEXIST, arg.index = 0);
}

/* A call that fails leaves its argument alone, wherever it fails. */
TEST_F(hw_queue, answers)
{
	struct iommu_hw_queue_alloc *arg = pages(1);

	ASSERT_NE(NULL, arg);
	*arg = hw_queue_arg(self->viommu, 1, IOVA, PAGE);
	arg->out_hw_queue_id = 4711;
	EXPECT_ERRNO(EIO, call(self->fd, IOMMU_HW_QUEUE_ALLOC, arg));
	EXPECT_EQ(4711, (int)arg->out_hw_queue_id);
	arg->index = 0;
	ASSERT_EQ(0, mprotect(arg, PAGE, PROT_READ));
	EXPECT_ERRNO(EFAULT, call(self->fd, IOMMU_HW_QUEUE_ALLOC, arg));
	expect_books(_metadata, self->fd, &self->books);
	ASSERT_EQ(0, mprotect(arg, PAGE, PROT_READ | PROT_WRITE));
	EXPECT_OK(call(self->fd, IOMMU_HW_QUEUE_ALLOC, arg));
	EXPECT_EQ(self->viommu + 1, (int)arg->out_hw_queue_id);
	EXPECT_EQ(self->viommu, shown_in(self->fd, "hw_queue:", "viommu "));
	munmap(arg, PAGE);
}

/* --- its memory ------------------------------------------------------------------------ */

TEST_F(hw_queue, memory_in_one_piece)
{
	uint64_t at = IOVA + 64 * PAGE;
	int queue;

	/* In two areas, one behind the other in both ways, from the middle of one on. */
	ASSERT_OK(MAP(8 * PAGE, 2 * PAGE, at));
	ASSERT_OK(MAP(10 * PAGE, 2 * PAGE, at + 2 * PAGE));
	/* One behind the other for the device alone. */
	ASSERT_OK(MAP(13 * PAGE, PAGE, at + 4 * PAGE));
	ASSERT_OK(MAP(12 * PAGE, PAGE, at + 5 * PAGE));
	ASSERT_OK(MAP(12 * PAGE, PAGE, at + 6 * PAGE));
	self->books = read_books(self->fd);
	queue = QUEUE(0, at + PAGE + 100, 2 * PAGE);
	ASSERT_LT(0, queue);
	EXPECT_OK(DESTROY(queue));
	EXPECT_ERRNO(EFAULT, QUEUE(0, at + 3 * PAGE, PAGE + 1));
	EXPECT_ERRNO(EFAULT, QUEUE(0, at + 4 * PAGE, 2 * PAGE));
	EXPECT_ERRNO(EFAULT, QUEUE(0, at + 5 * PAGE, 2 * PAGE));
	EXPECT_ERRNO(EFAULT, QUEUE(0, at, 7 * PAGE));
	expect_books(_metadata, self->fd, &self->books);
	queue = QUEUE(0, at + 6 * PAGE - 1, 1);
	EXPECT_LT(0, queue);
}

TEST_F(hw_queue, memory_that_hardware_may_not_read)
{
	struct iommu_ioas_map arg = ioas_map_arg(self->ioas, self->memory, PAGE, IOVA + 64 * PAGE,
						 FIXED | IOMMU_IOAS_MAP_WRITEABLE);

	ASSERT_OK(call(self->fd, IOMMU_IOAS_MAP, &arg));
	EXPECT_ERRNO(EPERM, QUEUE(0, IOVA + 64 * PAGE, PAGE));
	arg.flags = FIXED | IOMMU_IOAS_MAP_READABLE;
	arg.iova += PAGE;
	ASSERT_OK(call(self->fd, IOMMU_IOAS_MAP, &arg));
	EXPECT_LT(0, QUEUE(0, IOVA + 65 * PAGE, PAGE));
}

/* What is not there as pages cannot be. */
TEST_F(hw_queue, memory_of_a_dma_buf)
{
	int buf = mock_buf(self->fd, 2 * PAGE);

	ASSERT_LE(0, buf);
	ASSERT_OK(ioas_map_file(self->fd, self->ioas, buf, 0, PAGE, IOVA + 64 * PAGE));
	EXPECT_ERRNO(EINVAL, QUEUE(0, IOVA + 64 * PAGE, PAGE));
	EXPECT_EQ(PAGE, UNMAP(IOVA + 64 * PAGE, PAGE));
	close(buf);
}

/* It is pinned, and mapped, until the queue goes: nobody can be asked to unpin it. */
TEST_F(hw_queue, memory_stays)
{
	int first, second;

	ASSERT_OK(MAP(64 * PAGE, PAGE, IOVA + 64 * PAGE));
	self->books = read_books(self->fd);
	first = QUEUE(0, IOVA + PAGE, PAGE);
	ASSERT_LT(0, first);
	second = QUEUE(1, IOVA + PAGE + PAGE / 2, PAGE / 2);
	ASSERT_LT(0, second);
	/* All or nothing, whatever else is in the range. */
	EXPECT_ERRNO(EBUSY, UNMAP(IOVA, 4 * PAGE));
	EXPECT_ERRNO(EBUSY, UNMAP(0, UINT64_MAX));
	EXPECT_ERRNO(EBUSY, UNMAP(IOVA, 65 * PAGE));
	EXPECT_ERRNO(ENOENT, UNMAP(IOVA, PAGE));
	EXPECT_EQ(5 * (int64_t)PAGE >> 10, shown_in(self->fd, "ioasid:", "mapped "));
	EXPECT_EQ(PAGE, UNMAP(IOVA + 64 * PAGE, PAGE));
	ASSERT_OK(MAP(64 * PAGE, PAGE, IOVA + 64 * PAGE));
	EXPECT_ERRNO(EBUSY, DESTROY(self->ioas));
	EXPECT_OK(DESTROY(second));
	EXPECT_ERRNO(EBUSY, UNMAP(IOVA, 4 * PAGE));
	EXPECT_OK(DESTROY(first));
	expect_books(_metadata, self->fd, &self->books);
	EXPECT_EQ(5 * PAGE, UNMAP(0, UINT64_MAX));
}

/* A driver that could be asked to unpin is not, if that would not help. */
TEST_F(hw_queue, memory_that_a_driver_has_pinned)
{
	int access = mock_access(self->fd, self->ioas), queue, pins;

	ASSERT_LE(0, access);
	pins = mock_access_pin(self->fd, access, IOVA, PAGE);
	ASSERT_LE(0, pins);
	queue = QUEUE(0, IOVA, PAGE);
	ASSERT_LT(0, queue);
	EXPECT_ERRNO(EBUSY, UNMAP(IOVA, 4 * PAGE));
	EXPECT_OK(mock_access_unpin(self->fd, access, pins));
	EXPECT_ERRNO(EBUSY, UNMAP(IOVA, 4 * PAGE));
	pins = mock_access_pin(self->fd, access, IOVA, PAGE);
	ASSERT_LE(0, pins);
	EXPECT_OK(DESTROY(queue));
	EXPECT_EQ(4 * PAGE, UNMAP(IOVA, 4 * PAGE));
	close(access);
}

/* What is pinned is whole pages, so that all that is mapped has to be. */
TEST_F(hw_queue, whole_pages)
{
	uint64_t at = IOVA + 64 * PAGE;
	int queue;

	EXPECT_EQ(2048, iova_alignment(self->fd, self->ioas));
	ASSERT_OK(MAP(2048, 2048, at));
	EXPECT_ERRNO(EADDRINUSE, QUEUE(0, IOVA, PAGE));
	EXPECT_EQ(2048, UNMAP(at, 2048));
	queue = QUEUE(0, IOVA, PAGE);
	ASSERT_LT(0, queue);
	EXPECT_EQ(PAGE, iova_alignment(self->fd, self->ioas));
	EXPECT_ERRNO(EINVAL, MAP(2048, 2048, at));
	EXPECT_OK(DESTROY(queue));
	EXPECT_EQ(2048, iova_alignment(self->fd, self->ioas));
	EXPECT_OK(MAP(2048, 2048, at));
}

/* --- who needs whom -------------------------------------------------------------------- */

TEST_F(hw_queue, is_needed)
{
	int first = QUEUE(0, IOVA, PAGE), second;

	ASSERT_LT(0, first);
	EXPECT_ERRNO(EEXIST, QUEUE(0, IOVA, PAGE));
	second = QUEUE(1, IOVA, PAGE);
	ASSERT_LT(0, second);
	EXPECT_ERRNO(EBUSY, DESTROY(first));
	EXPECT_ERRNO(EBUSY, DESTROY(self->viommu));
	EXPECT_OK(DESTROY(second));
	EXPECT_ERRNO(ENOENT, DESTROY(second));
	EXPECT_ERRNO(EBUSY, DESTROY(self->viommu));
	EXPECT_OK(DESTROY(first));
	expect_books(_metadata, self->fd, &self->books);
	EXPECT_OK(DESTROY(self->viommu));
	EXPECT_ERRNO(ENOENT, QUEUE(0, IOVA, PAGE));
}

/* --- at the same time ------------------------------------------------------------------ */

struct crowd {
	struct fight fight;
	int ioas, parent, device;
	const char *memory;
	atomic_uint made, busy, unmapped;
};

/* Which queue, where, is up to chance: queues come and go under those that need them. */
static void do_something(struct crowd *crowd, unsigned int what, int id, unsigned int any)
{
	uint64_t iova = IOVA + any % 4 * PAGE;
	struct fight *fight = &crowd->fight;
	int fd = fight->fd, ret;

	switch (what) {
	case 0:
		ret = viommu_alloc(fd, crowd->device, crowd->parent);
		fight_count(fight, "VIOMMU_ALLOC", ret, false);
		fight_keep(fight, ret);
		break;
	case 1:
	case 2:
	case 3:
	case 4:
		ret = hw_queue_alloc(fd, id, any % 2, iova, PAGE);
		fight_count(fight, "HW_QUEUE_ALLOC", ret,
			    ret == -ENOENT || ret == -EEXIST || ret == -EIO);
		crowd->made += ret > 0;
		fight_keep(fight, ret);
		break;
	case 5:
		ret = ioas_map(fd, crowd->ioas, crowd->memory, PAGE, iova);
		fight_count(fight, "MAP", ret, ret == -EEXIST);
		break;
	case 6:
		ret = ioas_unmap(fd, crowd->ioas, iova, PAGE);
		fight_count(fight, "UNMAP", ret, ret == -ENOENT || ret == -EBUSY);
		crowd->unmapped += ret > 0;
		break;
	default:
		ret = destroy(fd, id);
		fight_count(fight, "DESTROY", ret, ret == -EBUSY || ret == -ENOENT);
		crowd->busy += ret == -EBUSY;
	}
}

static void *fight_some(void *data)
{
	static atomic_uint seeds;
	struct crowd *crowd = data;
	unsigned int seed = ++seeds;

	while (!crowd->fight.stop) {
		unsigned int what = rand_r(&seed) / 7 % 9;
		int id = crowd->fight.first + rand_r(&seed) / 7 % crowd->fight.ids;

		do_something(crowd, what, id, rand_r(&seed) / 7);
	}
	return NULL;
}

TEST_F(hw_queue, many_at_the_same_ids)
{
	struct crowd crowd = {
		.fight = {
			._metadata = _metadata, .fd = self->fd, .first = self->viommu, .ids = 8,
		},
		.ioas = self->ioas, .memory = self->memory, .parent = self->parent,
		.device = self->dev.device,
	};

	EXPECT_EQ(4 * PAGE, UNMAP(IOVA, 4 * PAGE));
	fight_alike(&crowd.fight, 3000, fight_some, &crowd);
	EXPECT_LT(0, crowd.made);
	EXPECT_LT(0, crowd.busy);
	EXPECT_LT(0, crowd.unmapped);
	TH_LOG("%u calls, %u queues, %u unmaps", crowd.fight.calls, crowd.made, crowd.unmapped);
	/* All that still is there is found, and goes: those that others need after these. */
	for (int round = 0; round < 3; round++)
		for (int id = crowd.fight.first; id < crowd.fight.first + 100; id++)
			DESTROY(id);
	EXPECT_LE(0, UNMAP(0, UINT64_MAX));
	EXPECT_OK(DESTROY(self->parent));
	EXPECT_OK(DESTROY(self->dev.id));
	EXPECT_OK(DESTROY(self->ioas));
}

TEST_HARNESS_MAIN
