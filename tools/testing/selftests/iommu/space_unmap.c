// SPDX-License-Identifier: GPL-2.0
/*
 * Unmapping by type1v2's rules, as the device sees it; and in which order the driver
 * goes about it: nothing is unpinned that an IOMMU may still have.
 */
#include <sys/stat.h>

#include "books.h"
#include "dma.h"
#include "sources.h"

/* Areas of very different sizes, with holes between some of them. */
struct area {
	uint64_t iova;
	size_t size;
	size_t offset;		/* in memory */
};

#define AT (4 * GIB)
#define MEMORY (32 * MIB)

static const struct area areas[] = {
	{ AT, PAGE, 0 },
	{ AT + PAGE, 2 * PAGE, 8 * PAGE },
	{ AT + 7 * PAGE, 100 * PAGE, 5 * PAGE },
	{ AT + HUGE_2M, 2 * HUGE_2M, HUGE_2M },
	{ AT + 3 * HUGE_2M, HUGE_2M, 5 * HUGE_2M },
	{ AT + 5 * HUGE_2M + PAGE, HUGE_2M, 3 * HUGE_2M },
	{ AT + GIB, 4 * HUGE_2M, 8 * HUGE_2M },
};

#define AREAS ARRAY_SIZE(areas)

static char *map_areas(struct __test_metadata *_metadata, struct _test_data_dma *self)
{
	char *memory = huge_pages_2m(MEMORY);
	const struct area *area;

	ASSERT_NE(NULL, memory);
	for (area = areas; area < areas + AREAS; area++)
		ASSERT_OK(MAP(memory + area->offset, area->iova, area->size, IOASID_RW));
	return memory;
}

/* The areas from number @first to @last are gone, both ends of them, and no others. */
static void expect_gone(struct __test_metadata *_metadata, struct _test_data_dma *self,
			char *memory, unsigned int first, unsigned int last)
{
	const struct area *area;
	unsigned int i;
	size_t to_end;

	for (i = 0; i < AREAS; i++) {
		area = &areas[i];
		to_end = area->size - PAGE;
		EXPECT_EQ(i < first || i > last, WRITES(area->iova, memory + area->offset))
			TH_LOG("area %u", i);
		EXPECT_EQ(i < first || i > last,
			  WRITES(area->iova + to_end, memory + area->offset + to_end))
			TH_LOG("the end of area %u", i);
	}
}

/* First the device has been everywhere: each IOTLB knows it all. */
static char *map_and_warm_up(struct __test_metadata *_metadata, struct _test_data_dma *self)
{
	char *memory = map_areas(_metadata, self);

	expect_gone(_metadata, self, memory, AREAS, AREAS);
	return memory;
}

static size_t size_of(unsigned int first, unsigned int last)
{
	size_t size = 0;

	for (; first <= last; first++)
		size += areas[first].size;
	return size;
}

TEST_F(dma, exactly_one)
{
	char *memory = map_and_warm_up(_metadata, self);

	ASSERT_EQ(areas[3].size, UNMAP(areas[3].iova, areas[3].size));
	expect_gone(_metadata, self, memory, 3, 3);
}

/* From within a hole to within another, areas and holes between them. */
TEST_F(dma, across_areas_and_holes)
{
	char *memory = map_and_warm_up(_metadata, self);

	ASSERT_EQ(size_of(2, 5), UNMAP(AT + 5 * PAGE, GIB - 6 * PAGE));
	expect_gone(_metadata, self, memory, 2, 5);
	EXPECT_EQ(0, UNMAP(AT + 5 * PAGE, GIB - 6 * PAGE));
}

TEST_F(dma, all)
{
	char *memory = map_and_warm_up(_metadata, self);

	ASSERT_EQ(size_of(0, AREAS - 1) + PAGE, unmap_all(self->b.fd, self->b.ioasid));
	/* Now reads would go to the scratch page, which is gone as well. */
	expect_gone(_metadata, self, memory, 0, AREAS - 1);
	EXPECT_EQ(0, pinned_pages());
}

/* A range that cuts an area at either of its ends is refused as a whole. */
TEST_F(dma, cut_at_an_end)
{
	const struct { uint64_t iova, end; } ranges[] = {
		{ AT, AT + 2 * PAGE },
		{ AT + 2 * PAGE, AT + 2 * GIB },
		{ AT, AT + 8 * PAGE },
		{ AT + 8 * PAGE, AT + 9 * PAGE },
		{ AT + HUGE_2M + PAGE, AT + 3 * HUGE_2M },
		{ AT + HUGE_2M, AT + 3 * HUGE_2M - PAGE },
		{ AT + HUGE_2M, AT + 2 * HUGE_2M },
		{ AT + 2 * HUGE_2M, AT + 4 * HUGE_2M },
		{ AT, AT + GIB + 3 * HUGE_2M },
		{ 0, AT + GIB + 4 * HUGE_2M - PAGE },
		{ AT + GIB + 4 * HUGE_2M - PAGE, 0 },
	};
	char *memory = map_areas(_metadata, self);
	struct books before = read_books(self->b.fd);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(ranges); i++) {
		EXPECT_ERRNO(EINVAL, UNMAP(ranges[i].iova, ranges[i].end - ranges[i].iova))
			TH_LOG("range %u", i);
		expect_books(_metadata, self->b.fd, &before);
	}
	expect_gone(_metadata, self, memory, AREAS, AREAS);
}

/* Where something else is mapped next, the device must see that, and at once. */
TEST_F(dma, other_memory_at_the_same_address)
{
	char *memory = huge_pages_2m(2 * HUGE_2M);
	unsigned int i;
	char *now;

	ASSERT_NE(NULL, memory);
	for (i = 0; i < 8; i++) {
		now = memory + i % 2 * HUGE_2M;
		ASSERT_OK(MAP(now, AT, HUGE_2M, IOASID_RW));
		EXPECT_WRITES(AT + 5 * PAGE, now + 5 * PAGE)
			TH_LOG("round %u", i);
		ASSERT_EQ(HUGE_2M, UNMAP(AT, HUGE_2M));
	}
	/* The other way round: small pages where a large one was. */
	ASSERT_OK(MAP(memory, AT, HUGE_2M, IOASID_RW));
	EXPECT_WRITES(AT + 5 * PAGE, memory + 5 * PAGE);
	ASSERT_EQ(HUGE_2M, UNMAP(AT, HUGE_2M));
	ASSERT_OK(MAP(memory + PAGE, AT + 5 * PAGE, PAGE, IOASID_RW));
	EXPECT_WRITES(AT + 5 * PAGE, memory + PAGE);
	EXPECT_NO_WRITES(AT + 6 * PAGE, memory + 6 * PAGE);
}

/* --- in which order ---------------------------------------------------------------- */

#define TRACING "/sys/kernel/tracing"
#define TRACE TRACING "/instances/space_unmap"

/* The kernel's own function that gives pins back. */
#define UNPIN "unpin_user_folio"

/* Where each IOMMU driver has its IOTLBs flushed; they are when it returns. */
static const char *const flushes[] = {
	"intel_iommu_tlb_sync",
	"amd_iommu_iotlb_sync",
	"arm_smmu_domain_inv_range",	/* SMMUv3 */
	"viommu_iotlb_sync",
};

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	bool good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	close(fd);
	return good;
}

/* One event for the flushes of all IOMMU drivers that this kernel has. */
static bool probe_flushes(void)
{
	bool probed = false;
	char line[64];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(flushes); i++) {
		snprintf(line, sizeof(line), "r:space/flushed %s\n", flushes[i]);
		probed |= write_file(TRACING "/kprobe_events", line);
	}
	return probed;
}

static bool remove_probes(void)
{
	return write_file(TRACING "/kprobe_events", "-:space/unpin\n") &
	       write_file(TRACING "/kprobe_events", "-:space/flushed\n");
}

static bool start_trace(void)
{
	/* Left behind by a test that was killed. */
	rmdir(TRACE);
	remove_probes();
	return write_file(TRACING "/kprobe_events", "p:space/unpin " UNPIN "\n") &&
	       probe_flushes() &&
	       !mkdir(TRACE, 0700) &&
	       write_file(TRACE "/events/iommu/unmap/enable", "1") &&
	       write_file(TRACE "/events/space/enable", "1");
}

static void stop_trace(struct __test_metadata *_metadata)
{
	EXPECT_TRUE(write_file(TRACE "/events/space/enable", "0"));
	EXPECT_OK(rmdir(TRACE));
	EXPECT_TRUE(remove_probes());
}

static void clear_trace(void)
{
	close(open(TRACE "/trace", O_WRONLY | O_TRUNC | O_CLOEXEC));
}

struct event {
	int count;
	int first, last;	/* lines */
};

/* Of the events that are recorded as @text, how many there are, and where. */
static struct event find_event(const char *text)
{
	FILE *file = fopen(TRACE "/trace", "r");
	struct event event = { };
	char line[512];
	int number = 0;

	while (file && fgets(line, sizeof(line), file)) {
		number++;
		if (line[0] == '#' || !strstr(line, text))
			continue;
		if (!event.count++)
			event.first = number;
		event.last = number;
	}
	if (file)
		fclose(file);
	return event;
}

/* First the tables are changed, then the IOTLB is told and answers, then pins go. */
static void expect_order(struct __test_metadata *_metadata, int areas_unmapped)
{
	struct event unmap = find_event(" unmap: ");
	struct event flush = find_event(" flushed: ");
	struct event unpin = find_event(" unpin: ");

	EXPECT_EQ(areas_unmapped, unmap.count);
	EXPECT_LT(0, flush.count);
	EXPECT_LE(areas_unmapped, unpin.count);
	/* What is told may be told in parts, but the last of it after all is unmapped. */
	EXPECT_LT(unmap.last, flush.last);
	EXPECT_LT(flush.last, unpin.first);
	clear_trace();
}

TEST_F(dma, unmap_then_sync_then_unpin)
{
	ASSERT_TRUE(start_trace());
	map_areas(_metadata, self);
	ASSERT_EQ(0, find_event(" unpin: ").count);
	clear_trace();
	ASSERT_EQ(areas[3].size, UNMAP(areas[3].iova, areas[3].size));
	expect_order(_metadata, 1);
	ASSERT_EQ(size_of(0, 2), UNMAP(AT, HUGE_2M));
	expect_order(_metadata, 3);
	ASSERT_LT(0, unmap_all(self->b.fd, self->b.ioasid));
	expect_order(_metadata, 4);
	stop_trace(_metadata);
}

/* A MAP that fails gives back in the same order. */
TEST_F(dma, failed_map_gives_back_in_the_same_order)
{
	char *memory = shared_anonymous(10 * MIB);

	ASSERT_NE(NULL, memory);
	/* Twice the same page in a row ends a run: something gets mapped. */
	ASSERT_EQ(memory, mremap(memory + 4 * MIB, 0, 4 * MIB,
				 MREMAP_MAYMOVE | MREMAP_FIXED, memory));
	ASSERT_OK(munmap(memory + 9 * MIB, MIB));
	ASSERT_TRUE(start_trace());
	ASSERT_ERRNO(EFAULT, MAP(memory, AT, 10 * MIB, IOASID_RW));
	expect_order(_metadata, 1);
	stop_trace(_metadata);
}

TEST_HARNESS_MAIN
