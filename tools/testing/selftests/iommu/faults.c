// SPDX-License-Identifier: GPL-2.0
/*
 * IOMMU drivers that do not do what they are told, which iommu_faults.ko has them do:
 * what a device may still reach stays pinned and charged, and nothing else does.
 */
#include "iommufd_calls.h"
#include "sources.h"

#define FAULTS "/sys/module/iommu_faults/parameters/"

static int set_fault(const char *path, unsigned long value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	char text[24];
	int ret = 0;

	snprintf(text, sizeof(text), "%lu", value);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

/* Have unmaps that begin at @iova do nothing; 0: none of them. */
static int keep_mapped(unsigned long iova)
{
	return set_fault(FAULTS "keep_mapped", iova);
}

static int refuse_snoop(bool refuse)
{
	return set_fault(FAULTS "refuse_snoop", refuse);
}

FIXTURE(faults)
{
	struct bound b;
	int ioas;		/* the device is attached to it */
	long pins;
};

FIXTURE_SETUP(faults)
{
	int ret;

	if (access(FAULTS, F_OK))
		SKIP(return, "needs iommu_faults.ko");
	ret = bound_open(&self->b);
	if (ret == -ENODEV)
		SKIP(return, NO_DEVICE);
	ASSERT_OK(ret);
	ASSERT_OK(edu_start(&self->b.edu));
	self->ioas = ioas_alloc(self->b.fd);
	ASSERT_LT(0, self->ioas);
	ASSERT_LT(0, attach_pt(self->b.edu.fd, self->ioas));
	self->pins = held_pins();
}

FIXTURE_TEARDOWN(faults)
{
	EXPECT_OK(keep_mapped(0));
	EXPECT_OK(refuse_snoop(false));
	bound_close(&self->b);
}

#define MAP(memory, size, iova) ioas_map(self->b.fd, self->ioas, memory, size, iova)
#define UNMAP(iova, size) ioas_unmap(self->b.fd, self->ioas, iova, size)

/* @count pages are held by now which were not before, and this process pays for them. */
static void expect_held(struct __test_metadata *_metadata, struct _test_data_faults *self,
			long count)
{
	EXPECT_EQ(count, held_pins() - self->pins);
	EXPECT_EQ(count, pinned_pages());
}

#define EXPECT_HELD(count) expect_held(_metadata, self, count)

#define DMA_SIZE 256

/* Whether what the device writes to @iova arrives at @memory, from where it read before. */
static bool writes(struct __test_metadata *_metadata, struct _test_data_faults *self,
		   uint64_t iova, char *memory)
{
	memset(memory, 0, DMA_SIZE);
	ASSERT_OK(edu_dma(&self->b.edu, EDU_WRITES_MEMORY, iova, 0, DMA_SIZE));
	return memory[0] == 0x5a && !memcmp(memory, memory + 1, DMA_SIZE - 1);
}

#define EXPECT_WRITES(iova, memory) EXPECT_TRUE(writes(_metadata, self, iova, memory))
#define EXPECT_NO_WRITES(iova, memory) EXPECT_FALSE(writes(_metadata, self, iova, memory))

/* Memory that the device has read, and so can write back. */
static char *known_pages(struct __test_metadata *_metadata, struct _test_data_faults *self,
			 unsigned int count)
{
	char *memory = pages(count);

	ASSERT_NE(NULL, memory);
	memset(memory, 0x5a, count * PAGE);
	ASSERT_OK(MAP(memory, PAGE, IOVA - PAGE));
	ASSERT_OK(edu_dma(&self->b.edu, EDU_READS_MEMORY, IOVA - PAGE, 0, DMA_SIZE));
	ASSERT_EQ(PAGE, UNMAP(IOVA - PAGE, PAGE));
	return memory;
}

#define KNOWN_PAGES(count) known_pages(_metadata, self, count)

TEST_F(faults, unmap_of_one_area)
{
	char *memory = KNOWN_PAGES(8);

	ASSERT_OK(MAP(memory, 4 * PAGE, IOVA));
	ASSERT_OK(keep_mapped(IOVA));
	EXPECT_EQ(4 * PAGE, UNMAP(IOVA, 4 * PAGE));
	ASSERT_OK(keep_mapped(0));
	EXPECT_WRITES(IOVA + 3 * PAGE, memory + 3 * PAGE);
	EXPECT_HELD(4);
	/* Nor does it go with the space and the context. */
	bound_close(&self->b);
	EXPECT_HELD(4);
}

/* It counts against the limit, too, for as long. */
TEST_F(faults, who_pays)
{
	char *memory = KNOWN_PAGES(8);

	IN_CHILD() {
		ASSERT_OK(be_limited(5 * PAGE));
		ASSERT_OK(MAP(memory, 4 * PAGE, IOVA));
		ASSERT_OK(MAP(memory, PAGE, 2 * IOVA));
		ASSERT_OK(keep_mapped(IOVA));
		EXPECT_EQ(4 * PAGE, UNMAP(IOVA, 4 * PAGE));
		EXPECT_EQ(PAGE, UNMAP(2 * IOVA, PAGE));
		EXPECT_ERRNO(ENOMEM, MAP(memory, 2 * PAGE, 3 * IOVA));
		EXPECT_OK(MAP(memory, PAGE, 3 * IOVA));
		EXPECT_EQ(PAGE, UNMAP(3 * IOVA, PAGE));
		EXPECT_HELD(4);
	}
	EXPECT_EQ(4, held_pins() - self->pins);
}

/* Of many areas that go in one call, those stay which the device can still reach. */
TEST_F(faults, unmap_of_many_areas)
{
	char *memory = KNOWN_PAGES(16);
	unsigned int i;

	for (i = 0; i < 4; i++)
		ASSERT_OK(MAP(memory + 4 * i * PAGE, (i + 1) * PAGE, IOVA + 4 * i * PAGE));
	ASSERT_OK(keep_mapped(IOVA + 8 * PAGE));
	EXPECT_EQ(10 * PAGE, UNMAP(IOVA, 16 * PAGE));
	EXPECT_HELD(3);
	EXPECT_WRITES(IOVA + 10 * PAGE, memory + 10 * PAGE);
	EXPECT_NO_WRITES(IOVA, memory);
	EXPECT_NO_WRITES(IOVA + 4 * PAGE, memory + 4 * PAGE);
	EXPECT_NO_WRITES(IOVA + 12 * PAGE, memory + 12 * PAGE);
}

/* A map that fails takes back what it can. */
TEST_F(faults, map_that_fails)
{
	const unsigned int count = 1300;
	char *memory = KNOWN_PAGES(count);
	long held;

	/* Page by page: what is in one piece is mapped in one. */
	memory = backwards(count);
	ASSERT_NE(NULL, memory);
	ASSERT_OK(munmap(memory + (count - 1) * PAGE, PAGE));
	EXPECT_ERRNO(EFAULT, MAP(memory, count * PAGE, IOVA));
	EXPECT_HELD(0);
	ASSERT_OK(keep_mapped(IOVA));
	EXPECT_ERRNO(EFAULT, MAP(memory, count * PAGE, IOVA));
	held = held_pins() - self->pins;
	EXPECT_LE(512, held);
	/* What was charged for all of it is kept as well. */
	EXPECT_EQ(count, pinned_pages());
	EXPECT_WRITES(IOVA, memory);
	EXPECT_WRITES(IOVA + 511 * PAGE, memory + 511 * PAGE);
}

/* Of memory that is mapped twice, what cannot be unmapped once stays, and not more. */
TEST_F(faults, unmap_of_a_copy)
{
	char *memory = KNOWN_PAGES(8);

	ASSERT_OK(MAP(memory, 8 * PAGE, IOVA));
	ASSERT_OK(ioas_copy(self->b.fd, self->ioas, 2 * IOVA, self->ioas, IOVA + 2 * PAGE,
			    3 * PAGE));
	ASSERT_OK(keep_mapped(2 * IOVA));
	EXPECT_EQ(3 * PAGE, UNMAP(2 * IOVA, 3 * PAGE));
	EXPECT_HELD(8);
	EXPECT_EQ(8 * PAGE, UNMAP(IOVA, 8 * PAGE));
	EXPECT_HELD(3);
	EXPECT_WRITES(2 * IOVA, memory + 2 * PAGE);
	EXPECT_NO_WRITES(IOVA, memory);
}

/* With the domain goes what is mapped in it: nothing has to stay. */
TEST_F(faults, close)
{
	char *memory = KNOWN_PAGES(4);

	ASSERT_OK(MAP(memory, 4 * PAGE, IOVA));
	ASSERT_OK(keep_mapped(IOVA));
	bound_close(&self->b);
	EXPECT_HELD(0);
}

/* Whoever is told "coherent" relies on it: there is no domain that only claims to be. */
TEST_F(faults, snooping_is_not_enforced)
{
	int device = self->b.id, other = ioas_alloc(self->b.fd);
	char *memory = KNOWN_PAGES(1);

	ASSERT_LT(0, other);
	ASSERT_OK(refuse_snoop(true));
	EXPECT_ERRNO(EINVAL, hwpt_alloc(self->b.fd, device, other, 0));
	EXPECT_ERRNO(EINVAL, attach_pt(self->b.edu.fd, other));
	/* It is attached as before. */
	ASSERT_OK(MAP(memory, PAGE, IOVA));
	EXPECT_WRITES(IOVA, memory);
	ASSERT_OK(refuse_snoop(false));
	EXPECT_LT(0, attach_pt(self->b.edu.fd, other));
	EXPECT_NO_WRITES(IOVA, memory);
	EXPECT_LT(0, hwpt_alloc(self->b.fd, device, self->ioas, 0));
	EXPECT_EQ(PAGE, UNMAP(IOVA, PAGE));
	EXPECT_HELD(0);
}

TEST_HARNESS_MAIN
