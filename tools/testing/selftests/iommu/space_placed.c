// SPDX-License-Identifier: GPL-2.0
/*
 * Where memory is that several threads bring for a map: where the process would have it without
 * them, by its processors and by its memory policy. The machine has two nodes, each with two
 * processors.
 */
#include <linux/mempolicy.h>
#include <sched.h>

#include "fill.h"
#include "iommufd_calls.h"
#include "mapper.h"
#include "pinning.h"
#include "sources.h"

#define GROUP "space_placed"
#define AT (4 * GIB)
#define SIZE (128 * MIB)
#define NODES 2

static int bind_policy(int mode, unsigned long nodes)
{
	return syscall(SYS_set_mempolicy, mode, mode ? &nodes : NULL, mode ? 8 * sizeof(nodes) : 0);
}

/* The first processor of the node, or -1. */
static int first_cpu(int node)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/cpulist", node);
	return access(path, F_OK) ? -1 : counter(path, "");
}

/* From here on, the process runs on these processors, bits of @cpus. */
static bool run_on(unsigned long cpus)
{
	return !sched_setaffinity(0, sizeof(cpus), (cpu_set_t *)&cpus);
}

static unsigned long both(int first)
{
	return 3UL << first;
}

FIXTURE(placed)
{
	int fd;
	int ioas;
	struct needer needer;
	long pins;
	int cpus[NODES];
	long on[NODES];
};

FIXTURE_SETUP(placed)
{
	int node;

	self->needer = NO_NEEDER;
	self->fd = open_iommufd();
	self->ioas = ioas_alloc(self->fd);
	if (self->ioas <= 0 || !set_threads("0") || !cgroup_make(GROUP))
		SKIP(return, "needs " IOMMU_NODE ", control groups, and to be root");
	for (node = 0; node < NODES; node++) {
		self->cpus[node] = first_cpu(node);
		if (self->cpus[node] < 0)
			SKIP(return, "needs two nodes with two processors each");
	}
	self->pins = held_pins();
	if (!need_pins(_metadata, &self->needer, self->fd, self->ioas))
		SKIP(return, NO_DEVICE);
}

FIXTURE_TEARDOWN(placed)
{
	needer_close(&self->needer);
	close(self->fd);
	expect_nothing_left(_metadata, self->pins);
	for (int tries = 0; tries < 200 && !cgroup_remove(GROUP); tries++)
		edu_sleep_ms(50);
}

/* Map untouched memory, in a group: how many others came, and how many pages each node has. */
static long map_and_count(struct __test_metadata *_metadata, struct _test_data_placed *self)
{
	char *memory = small_pages(SIZE);
	size_t npages = SIZE / PAGE, i;
	void **pages = calloc(npages, sizeof(*pages));
	int *nodes = calloc(npages, sizeof(*nodes));
	long others;

	ASSERT_NE(NULL, memory);
	ASSERT_TRUE(cgroup_enter(GROUP));
	ASSERT_OK(ioas_map(self->fd, self->ioas, memory, SIZE, AT));
	others = cgroup_get(GROUP, "pids.peak", "") - 1;
	for (i = 0; i < npages; i++)
		pages[i] = memory + i * PAGE;
	ASSERT_EQ(0, syscall(SYS_move_pages, 0, npages, pages, NULL, nodes, 0));
	memset(self->on, 0, sizeof(self->on));
	for (i = 0; i < npages; i++)
		if (nodes[i] >= 0 && nodes[i] < NODES)
			self->on[nodes[i]]++;
	EXPECT_EQ((int64_t)SIZE, ioas_unmap(self->fd, self->ioas, 0, UINT64_MAX));
	free(pages);
	free(nodes);
	return others;
}

/* By default, memory is where it is first used: they come from the node where the caller is. */
TEST_F(placed, on_the_node_of_the_caller)
{
	int node;

	for (node = 0; node < NODES; node++)
		IN_CHILD() {
			/* It stays where it is when it has two processors to itself. */
			ASSERT_TRUE(run_on(both(self->cpus[node])));
			ASSERT_TRUE(run_on(both(self->cpus[0]) | both(self->cpus[1])));
			EXPECT_EQ(1, map_and_count(_metadata, self));
			EXPECT_LT((long)(SIZE / PAGE) * 9 / 10, self->on[node]);
		}
}

/* Processors of other nodes would bring memory of theirs. */
TEST_F(placed, none_from_another_node)
{
	IN_CHILD() {
		ASSERT_TRUE(run_on(1UL << self->cpus[0] | 1UL << self->cpus[1]));
		EXPECT_EQ(0, map_and_count(_metadata, self));
	}
}

TEST_F(placed, on_the_nodes_of_a_policy)
{
	int node;

	for (node = 0; node < NODES; node++)
		IN_CHILD() {
			ASSERT_EQ(0, bind_policy(MPOL_BIND, 1UL << node));
			EXPECT_EQ(1, map_and_count(_metadata, self));
			EXPECT_EQ((long)(SIZE / PAGE), self->on[node]);
		}
}

TEST_F(placed, on_all_nodes_in_turn)
{
	IN_CHILD() {
		ASSERT_EQ(0, bind_policy(MPOL_INTERLEAVE, 3));
		EXPECT_EQ(1, map_and_count(_metadata, self));
		EXPECT_GT((long)(SIZE / PAGE) / 100, labs(self->on[0] - self->on[1]));
	}
}

TEST_HARNESS_MAIN
