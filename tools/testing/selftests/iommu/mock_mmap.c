// SPDX-License-Identifier: GPL-2.0
/*
 * mmap() of /dev/iommu, which leads to what an IOMMU driver has offered of its hardware; here a
 * virtual IOMMU of the IOMMU in software, whose memory begins with the number that it was made
 * with. Who has it mapped keeps it from being destroyed, and nobody maps what is not there.
 */
#include <stdatomic.h>

#include "books.h"
#include "fight.h"
#include "viommu_calls.h"

#define LENGTH (2 * PAGE)
#define NUMBER 0xbeef

FIXTURE(mmap)
{
	int fd;
	int ioas;
	struct mock dev;
	int parent;
	int viommu;
	struct iommu_viommu_selftest data;
};

FIXTURE_SETUP(mmap)
{
	self->data.in_data = NUMBER;
	self->fd = open_iommufd();
	ASSERT_LE(0, self->fd);
	self->ioas = ioas_alloc(self->fd);
	ASSERT_LT(0, self->ioas);
	ASSERT_OK(mock_add(self->fd, self->ioas, &self->dev));
	self->parent = hwpt_alloc(self->fd, self->dev.device, self->ioas, NEST_PARENT);
	ASSERT_LT(0, self->parent);
	self->viommu = viommu_alloc_with(self->fd, self->dev.device, self->parent, &self->data);
	ASSERT_LT(0, self->viommu);
}

FIXTURE_TEARDOWN(mmap)
{
	close(self->fd);
}

#define DESTROY(id) destroy(self->fd, id)
#define RIGHTS (PROT_READ | PROT_WRITE)
/* NULL, with errno, if it cannot be mapped. */
#define MMAP(length, prot, flags, at) map_at(self->fd, length, prot, flags, at)
#define WHOLE() MMAP(LENGTH, RIGHTS, MAP_SHARED, self->data.out_mmap_offset)
#define EXPECT_NO_MMAP(errno_, ...) do { \
	EXPECT_EQ(NULL, MMAP(__VA_ARGS__)); \
	EXPECT_EQ(errno_, errno); \
} while (0)

static volatile uint32_t *map_at(int fd, size_t length, int prot, int flags, uint64_t at)
{
	void *memory = mmap(NULL, length, prot, flags, fd, at);

	return memory == MAP_FAILED ? NULL : memory;
}

static void unmap_it(volatile uint32_t *memory, size_t length)
{
	munmap((void *)memory, length);
}

/* --- what can be mapped ---------------------------------------------------------------- */

TEST_F(mmap, whole_and_nothing_else)
{
	uint64_t at = self->data.out_mmap_offset;
	struct iommu_viommu_selftest other = { .in_data = NUMBER + 1 };
	volatile uint32_t *memory;
	int viommu;

	EXPECT_EQ(LENGTH, self->data.out_mmap_length);
	EXPECT_EQ(0, at % PAGE);
	EXPECT_LT(0, at);
	EXPECT_NO_MMAP(ENXIO, PAGE, RIGHTS, MAP_SHARED, 0);
	EXPECT_NO_MMAP(ENXIO, LENGTH, RIGHTS, MAP_SHARED, 0);
	EXPECT_NO_MMAP(ENXIO, PAGE, RIGHTS, MAP_SHARED, at);
	EXPECT_NO_MMAP(ENXIO, LENGTH + 1, RIGHTS, MAP_SHARED, at);
	EXPECT_NO_MMAP(ENXIO, LENGTH, RIGHTS, MAP_SHARED, at + PAGE);
	EXPECT_NO_MMAP(ENXIO, PAGE, RIGHTS, MAP_SHARED, at + PAGE);
	EXPECT_NO_MMAP(ENXIO, LENGTH, RIGHTS, MAP_SHARED, at + LENGTH);
	EXPECT_NO_MMAP(ENXIO, LENGTH, RIGHTS, MAP_SHARED, 1ULL << 43);
	viommu = viommu_alloc_with(self->fd, self->dev.device, self->parent, &other);
	ASSERT_LT(0, viommu);
	EXPECT_LE(LENGTH, other.out_mmap_offset > at ? other.out_mmap_offset - at :
						       at - other.out_mmap_offset);
	memory = MMAP(LENGTH, RIGHTS, MAP_SHARED, other.out_mmap_offset);
	ASSERT_NE(NULL, memory);
	EXPECT_EQ(NUMBER + 1, memory[0]);
	unmap_it(memory, LENGTH);
	memory = WHOLE();
	ASSERT_NE(NULL, memory);
	EXPECT_EQ(NUMBER, memory[0]);
	EXPECT_EQ(0, memory[LENGTH / sizeof(*memory) - 1]);
	memory[PAGE / sizeof(*memory)] = 7;
	unmap_it(memory, LENGTH);
	memory = WHOLE();
	ASSERT_NE(NULL, memory);
	EXPECT_EQ(7, memory[PAGE / sizeof(*memory)]);
	unmap_it(memory, LENGTH);
	EXPECT_OK(DESTROY(viommu));
	EXPECT_OK(DESTROY(self->viommu));
	EXPECT_EQ(NULL, WHOLE());
	EXPECT_EQ(ENXIO, errno);
}

TEST_F(mmap, shared_and_not_executed)
{
	uint64_t at = self->data.out_mmap_offset;
	volatile uint32_t *memory;

	EXPECT_NO_MMAP(EINVAL, LENGTH, RIGHTS, MAP_PRIVATE, at);
	EXPECT_NO_MMAP(EINVAL, LENGTH, PROT_READ, MAP_PRIVATE, at);
	EXPECT_NO_MMAP(EPERM, LENGTH, PROT_READ | PROT_EXEC, MAP_SHARED, at);
	EXPECT_OK(DESTROY(self->viommu));
	self->viommu = viommu_alloc_with(self->fd, self->dev.device, self->parent, &self->data);
	ASSERT_LT(0, self->viommu);
	memory = WHOLE();
	ASSERT_NE(NULL, memory);
	/* Nor later. */
	EXPECT_EQ(-1, mprotect((void *)memory, PAGE, PROT_READ | PROT_EXEC));
	EXPECT_EQ(EACCES, errno);
	EXPECT_EQ(NUMBER, memory[0]);
	unmap_it(memory, LENGTH);
}

TEST_F(mmap, of_this_context_alone)
{
	int other = open_iommufd();

	ASSERT_LE(0, other);
	EXPECT_EQ(NULL, map_at(other, LENGTH, RIGHTS, MAP_SHARED, self->data.out_mmap_offset));
	EXPECT_EQ(ENXIO, errno);
	close(other);
}

/* A call that fails has offered nothing. */
TEST_F(mmap, what_nobody_was_told_of)
{
	struct iommu_viommu_alloc *arg = pages(1);
	volatile uint32_t *memory;

	ASSERT_OK(DESTROY(self->viommu));
	ASSERT_NE(NULL, arg);
	*arg = viommu_arg(self->dev.device, self->parent);
	arg->data_len = sizeof(self->data);
	arg->data_uptr = (uintptr_t)&self->data;
	ASSERT_EQ(0, mprotect(arg, PAGE, PROT_READ));
	ASSERT_ERRNO(EFAULT, call(self->fd, IOMMU_VIOMMU_ALLOC, arg));
	for (uint64_t at = 0; at < 64 * PAGE; at += PAGE)
		EXPECT_NO_MMAP(ENXIO, LENGTH, RIGHTS, MAP_SHARED, at);
	/* Nor has it taken anything: the next one is where it would have been. */
	ASSERT_EQ(0, mprotect(arg, PAGE, RIGHTS));
	ASSERT_OK(call(self->fd, IOMMU_VIOMMU_ALLOC, arg));
	EXPECT_EQ(PAGE, self->data.out_mmap_offset);
	memory = WHOLE();
	EXPECT_NE(NULL, memory);
	unmap_it(memory, LENGTH);
	munmap(arg, PAGE);
}

/* --- who has it mapped ----------------------------------------------------------------- */

TEST_F(mmap, keeps_it)
{
	volatile uint32_t *memory = WHOLE(), *second = WHOLE();

	ASSERT_NE(NULL, memory);
	ASSERT_NE(NULL, second);
	EXPECT_ERRNO(EBUSY, DESTROY(self->viommu));
	unmap_it(memory, LENGTH);
	EXPECT_ERRNO(EBUSY, DESTROY(self->viommu));
	/* A part that is left is one. */
	unmap_it(second, PAGE);
	EXPECT_ERRNO(EBUSY, DESTROY(self->viommu));
	EXPECT_EQ(0, second[PAGE / sizeof(*second)]);
	unmap_it(second + PAGE / sizeof(*second), PAGE);
	EXPECT_OK(DESTROY(self->viommu));
}

TEST_F(mmap, keeps_it_wherever_it_goes)
{
	volatile uint32_t *memory = WHOLE();
	void *room = mmap(NULL, LENGTH, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *moved;

	ASSERT_NE(NULL, memory);
	ASSERT_NE(MAP_FAILED, room);
	/* It does not grow. */
	EXPECT_EQ(MAP_FAILED, mremap((void *)memory, LENGTH, 2 * LENGTH, MREMAP_MAYMOVE));
	EXPECT_EQ(EFAULT, errno);
	moved = mremap((void *)memory, LENGTH, LENGTH, MREMAP_MAYMOVE | MREMAP_FIXED, room);
	ASSERT_EQ(room, moved);
	EXPECT_ERRNO(EBUSY, DESTROY(self->viommu));
	memory = room;
	EXPECT_EQ(NUMBER, memory[0]);
	munmap(room, LENGTH);
	EXPECT_OK(DESTROY(self->viommu));
}

TEST_F(mmap, child_has_it_too)
{
	volatile uint32_t *memory = WHOLE();
	int go[2], status;
	pid_t child;
	char byte;

	ASSERT_NE(NULL, memory);
	ASSERT_EQ(0, pipe(go));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		close(go[1]);
		read(go[0], &byte, 1);
		_exit(memory[0] != NUMBER);
	}
	unmap_it(memory, LENGTH);
	EXPECT_ERRNO(EBUSY, DESTROY(self->viommu));
	close(go[1]);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_OK(DESTROY(self->viommu));
	close(go[0]);
}

/* The context is there as long as anything of it is mapped. */
TEST_F(mmap, keeps_the_context)
{
	volatile uint32_t *memory = WHOLE();
	unsigned int before = mock_count();

	ASSERT_NE(NULL, memory);
	EXPECT_LT(0, before);
	close(self->fd);
	EXPECT_EQ(before, mock_count());
	EXPECT_EQ(NUMBER, memory[0]);
	unmap_it(memory, LENGTH);
	/* It goes when the task goes back to userspace. */
	EXPECT_EQ(before - 1, mock_count());
	self->fd = -1;
}

/* --- at the same time ------------------------------------------------------------------ */

#define IDS 6

struct crowd {
	struct fight fight;
	int device, parent;
	atomic_uint made, mapped, busy;
};

static void make_one(struct crowd *crowd)
{
	struct iommu_viommu_selftest data = { .in_data = NUMBER };
	struct fight *fight = &crowd->fight;
	int ret = viommu_alloc_with(fight->fd, crowd->device, crowd->parent, &data);

	fight_count(fight, "VIOMMU_ALLOC", ret, false);
	crowd->made += ret > 0;
	fight_keep(fight, ret);
}

static void map_one(struct crowd *crowd, unsigned int any)
{
	uint64_t at = PAGE + any % IDS * LENGTH;
	struct fight *fight = &crowd->fight;
	volatile uint32_t *memory = map_at(fight->fd, LENGTH, RIGHTS, MAP_SHARED, at);

	fight_count(fight, "mmap", memory ? 0 : -errno, errno == ENXIO);
	if (!memory)
		return;
	crowd->mapped++;
	/* All that can be mapped has been made with that number. */
	fight_count(fight, "number", memory[0] == NUMBER ? 0 : -EIO, false);
	sched_yield();
	fight_count(fight, "number", memory[0] == NUMBER ? 0 : -EIO, false);
	unmap_it(memory, LENGTH);
}

static void *fight_some(void *data)
{
	static atomic_uint seeds;
	struct crowd *crowd = data;
	struct fight *fight = &crowd->fight;
	unsigned int seed = ++seeds, what;
	int ret;

	while (!fight->stop) {
		what = rand_r(&seed) / 7 % 8;
		if (what < 3) {
			make_one(crowd);
		} else if (what < 6) {
			map_one(crowd, rand_r(&seed) / 7);
		} else {
			ret = destroy(fight->fd, fight->first + rand_r(&seed) / 7 % IDS);
			fight_count(fight, "DESTROY", ret, ret == -EBUSY || ret == -ENOENT);
			crowd->busy += ret == -EBUSY;
		}
	}
	return NULL;
}

/* These fail when all is made: what they have offered, with another number, was never there. */
static void *fail(void *data)
{
	struct crowd *crowd = data;
	struct fight *fight = &crowd->fight;
	struct iommu_viommu_selftest *unknown = pages(1);
	struct iommu_viommu_alloc *arg = pages(1);

	if (!arg || !unknown)
		return NULL;
	*arg = viommu_arg(crowd->device, crowd->parent);
	arg->data_len = sizeof(*unknown);
	arg->data_uptr = (uintptr_t)unknown;
	mprotect(arg, PAGE, PROT_READ);
	while (!fight->stop)
		fight_count(fight, "VIOMMU_ALLOC",
			    call(fight->fd, IOMMU_VIOMMU_ALLOC, arg) + EFAULT, false);
	munmap(arg, PAGE);
	munmap(unknown, PAGE);
	return NULL;
}

TEST_F(mmap, many_at_the_same_offsets)
{
	struct crowd crowd = {
		.fight = {
			._metadata = _metadata, .fd = self->fd, .first = self->viommu, .ids = IDS,
		},
		.parent = self->parent, .device = self->dev.device,
	};
	void *(*const fighters[FIGHTERS])(void *) = {
		fail, fight_some, fight_some, fight_some, fight_some, fight_some,
	};

	fight_for(&crowd.fight, 3000, fighters, &crowd);
	EXPECT_LT(0, crowd.made);
	EXPECT_LT(0, crowd.mapped);
	TH_LOG("%u calls, %u virtual IOMMUs, %u times mapped, %u times in use", crowd.fight.calls,
	       crowd.made, crowd.mapped, crowd.busy);
	for (int id = crowd.fight.first; id < crowd.fight.first + 100; id++)
		DESTROY(id);
	EXPECT_OK(DESTROY(self->parent));
}

TEST_HARNESS_MAIN
