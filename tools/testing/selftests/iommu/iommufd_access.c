// SPDX-License-Identifier: GPL-2.0
/*
 * Kernel drivers that read, write and pin the memory of an address space, by way
 * of the sample driver ioas_access.
 */
#include <pthread.h>

#include "books.h"
#include "ioas_access_memory.h"
#include "sources.h"

#define TEST_PAGES 64

FIXTURE(access)
{
	struct bound b;
	int fd;
	int node;
	int id;
	int ioas;
	char *memory;
	long pins;
};

/* Whether a device is in the address space as well. */
FIXTURE_VARIANT(access)
{
	bool device;
};

FIXTURE_VARIANT_ADD(access, alone)
{
};

FIXTURE_VARIANT_ADD(access, beside_a_device)
{
	.device = true,
};

FIXTURE_SETUP(access)
{
	int ret = bound_open(&self->b);

	self->fd = self->b.fd;
	self->node = open(ACCESS_NODE, O_RDWR | O_CLOEXEC);
	if (ret == -ENODEV || self->node < 0)
		SKIP(return, NO_DEVICE ", and the sample driver ioas_access");
	ASSERT_OK(ret);
	self->ioas = ioas_alloc(self->fd);
	ASSERT_LT(0, self->ioas);
	if (variant->device)
		ASSERT_LT(0, attach_pt(self->b.edu.fd, self->ioas));
	self->id = access_create(self->node, self->fd);
	ASSERT_LT(self->ioas, self->id);
	ASSERT_OK(access_attach(self->node, self->ioas));
	self->memory = pages(TEST_PAGES);
	ASSERT_NE(NULL, self->memory);
	self->pins = held_pins();
}

FIXTURE_TEARDOWN(access)
{
	close(self->node);
	bound_close(&self->b);
	expect_nothing_left(_metadata, self->pins);
}

/* The address of page NUMBER. */
#define AT(number) (IOVA + (number) * PAGE)
#define MEMORY(number) (self->memory + (number) * PAGE)
#define PIN(first, count, flags) access_pin(self->node, AT(first), (count) * PAGE, flags)
#define UNPIN(first, count) access_unpin(self->node, AT(first), (count) * PAGE)
#define UNMAP(first, count) ioas_unmap(self->fd, self->ioas, AT(first), (count) * PAGE)
#define MAP(first, count) ioas_map_pages(self->fd, self->ioas, self->memory, first, count)

static int map_for(int fd, int ioas, const void *memory, uint64_t length, uint64_t iova,
		   uint32_t flags)
{
	struct iommu_ioas_map arg = ioas_map_arg(ioas, memory, length, iova, FIXED | flags);

	return call(fd, IOMMU_IOAS_MAP, &arg);
}

/* --- what it is ------------------------------------------------------------------ */

TEST_F(access, has_an_id)
{
	int other = open(ACCESS_NODE, O_RDWR), id;

	EXPECT_ERRNO(EBUSY, destroy(self->fd, self->id));
	EXPECT_ERRNO(EBUSY, destroy(self->fd, self->ioas));
	EXPECT_ERRNO(ENOENT, hwpt_alloc(self->fd, self->id, self->ioas, 0));
	EXPECT_ERRNO(EINVAL, hwpt_alloc(self->fd, self->b.id, self->id, 0));
	EXPECT_ERRNO(EINVAL, attach_pt(self->b.edu.fd, self->id));
	EXPECT_ERRNO(ENOENT, ioas_map(self->fd, self->id, self->memory, PAGE, IOVA));
	EXPECT_ERRNO(EBADFD, access_create(other, self->node));
	EXPECT_ERRNO(EBADF, access_create(other, -1));
	id = access_create(other, self->fd);
	EXPECT_LT(self->id, id);
	EXPECT_ERRNO(ENOENT, access_attach(other, self->id));
	EXPECT_ERRNO(ENOENT, access_attach(other, self->b.id));
	EXPECT_ERRNO(ENOENT, access_attach(other, 12345));
	EXPECT_ERRNO(ENOENT, access_replace(other, self->ioas));
	EXPECT_OK(access_destroy(other));
	EXPECT_EQ(id, access_create(other, self->fd));
	close(other);
	EXPECT_EQ(id, ioas_alloc(self->fd));
}

TEST_F(access, can_be_seen)
{
	char line[32];

	snprintf(line, sizeof(line), "access:\t%d ioasid %d\n", self->id, self->ioas);
	EXPECT_NE(NULL, strstr(read_books(self->fd).fdinfo, line));
	EXPECT_OK(access_detach(self->node));
	snprintf(line, sizeof(line), "access:\t%d detached\n", self->id);
	EXPECT_NE(NULL, strstr(read_books(self->fd).fdinfo, line));
}

/* --- pins --------------------------------------------------------------------------- */

static bool pages_are_ours(struct __test_metadata *_metadata, int node, char *memory,
			   unsigned int first, unsigned int count)
{
	return is_ours(_metadata, node, memory + first * PAGE, AT(first), count * PAGE);
}

/* The same for pages of the test's memory. */
#define IS_OURS(first, count) \
	pages_are_ours(_metadata, self->node, self->memory, first, count)

/* So many pages are pinned with a device in the space as well, or without. */
#define EXPECT_HELD(beside_a_device, alone) \
	expect_held(_metadata, self->fd, self->pins, variant->device ? (beside_a_device) : (alone))

TEST_F(access, pin_over_areas)
{
	struct books books;

	ASSERT_OK(MAP(0, 1));
	ASSERT_OK(MAP(1, 4));
	ASSERT_OK(MAP(5, 11));
	books = read_books(self->fd);
	ASSERT_OK(PIN(0, 16, WRITE));
	EXPECT_TRUE(IS_OURS(0, 16));
	ASSERT_OK(PIN(3, 4, 0));
	ASSERT_OK(PIN(3, 4, WRITE));
	EXPECT_TRUE(IS_OURS(3, 4));
	/* A page has one pin, whoever uses it, and one charge. */
	EXPECT_HELD(16, 16);
	EXPECT_OK(UNPIN(3, 4));
	EXPECT_OK(UNPIN(0, 16));
	EXPECT_TRUE(IS_OURS(3, 4));
	EXPECT_HELD(16, 4);
	EXPECT_OK(UNPIN(3, 4));
	expect_books(_metadata, self->fd, &books);
	EXPECT_EQ(16 * PAGE, UNMAP(0, 16));
	EXPECT_EQ(0, access_asked(self->node).count);
}

TEST_F(access, pin_parts_of_pages)
{
	ASSERT_OK(MAP(0, 4));
	/* Whole pages are pinned, from the beginning of one. */
	ASSERT_OK(access_pin(self->node, AT(1), PAGE + 1, WRITE));
	EXPECT_TRUE(IS_OURS(1, 1));
	EXPECT_OK(access_unpin(self->node, AT(1), PAGE + 1));
	EXPECT_ERRNO(EINVAL, access_pin(self->node, AT(1) + 1, PAGE, WRITE));
	EXPECT_EQ(4 * PAGE, UNMAP(0, 4));
	EXPECT_EQ(0, access_asked(self->node).count);
}

TEST_F(access, what_cannot_be_pinned)
{
	struct books books;

	ASSERT_OK(MAP(0, 4));
	ASSERT_OK(map_for(self->fd, self->ioas, MEMORY(4), PAGE, AT(4), IOMMU_IOAS_MAP_READABLE));
	ASSERT_OK(map_for(self->fd, self->ioas, MEMORY(5), PAGE, AT(5),
			  IOMMU_IOAS_MAP_WRITEABLE));
	books = read_books(self->fd);
	EXPECT_ERRNO(EINVAL, access_pin(self->node, AT(0), 0, 0));
	EXPECT_ERRNO(EOVERFLOW, access_pin(self->node, AT(0), -AT(0) + 1, 0));
	EXPECT_ERRNO(EOVERFLOW, access_pin(self->node, TOP_PAGE, 2 * PAGE, 0));
	EXPECT_ERRNO(ENOENT, access_pin(self->node, TOP_PAGE, PAGE, 0));
	EXPECT_ERRNO(ENOENT, PIN(6, 1, 0));
	EXPECT_ERRNO(ENOENT, access_pin(self->node, AT(6) + 1, 1, 0));
	EXPECT_ERRNO(ENOENT, access_pin(self->node, AT(0) - PAGE, 2 * PAGE, 0));
	EXPECT_ERRNO(EPERM, PIN(4, 1, WRITE));
	EXPECT_ERRNO(EPERM, PIN(0, 5, WRITE));
	EXPECT_ERRNO(EPERM, PIN(5, 1, 0));
	/* Whichever comes first on the way. */
	EXPECT_ERRNO(EPERM, PIN(4, 3, WRITE));
	EXPECT_ERRNO(ENOENT, PIN(5, 3, WRITE));
	EXPECT_OK(PIN(0, 5, 0));
	EXPECT_OK(PIN(5, 1, WRITE));
	EXPECT_OK(UNPIN(0, 5));
	EXPECT_OK(UNPIN(5, 1));
	expect_books(_metadata, self->fd, &books);
	/* Had any of it left a pin, the driver would be asked for it. */
	EXPECT_EQ(6 * PAGE, UNMAP(0, 6));
	EXPECT_EQ(0, access_asked(self->node).count);
	EXPECT_OK(access_detach(self->node));
	EXPECT_ERRNO(ENOENT, PIN(0, 1, 0));
}

/* More runs than fit in a page that lists them. */
TEST_F(access, pin_what_is_scattered)
{
	static const unsigned int places[] = { 0, 1, 2, 510, 511, 512, 513, 514, 1023, 1024, 1025,
					       1026, 1597 };
	const unsigned int count = 1600;
	char *memory = backwards(count);

	ASSERT_NE(NULL, memory);
	ASSERT_OK(ioas_map(self->fd, self->ioas, memory, count * PAGE, IOVA));
	for (unsigned int i = 0; i < sizeof(places) / sizeof(*places); i++) {
		uint64_t at = places[i] * PAGE;

		ASSERT_OK(access_pin(self->node, IOVA + at, 3 * PAGE, WRITE));
		EXPECT_TRUE(is_ours(_metadata, self->node, memory + at, IOVA + at, 3 * PAGE))
			TH_LOG("at page %u", places[i]);
		EXPECT_OK(access_unpin(self->node, IOVA + at, 3 * PAGE));
	}
	ASSERT_OK(access_pin(self->node, IOVA + 300 * PAGE, 1000 * PAGE, WRITE));
	for (unsigned int page = 300; page < 1300; page += 100)
		EXPECT_TRUE(is_ours(_metadata, self->node, memory + page * PAGE,
				    IOVA + page * PAGE, 100 * PAGE));
	EXPECT_OK(access_unpin(self->node, IOVA + 300 * PAGE, 1000 * PAGE));
	EXPECT_EQ(count * PAGE, ioas_unmap(self->fd, self->ioas, IOVA, count * PAGE));
	EXPECT_OK(munmap(memory, count * PAGE));
}

/* Memory that is in two spaces, and in each from another page on. */
TEST_F(access, pin_a_copy)
{
	int copy = ioas_alloc(self->fd);

	ASSERT_OK(MAP(0, 8));
	ASSERT_OK(ioas_copy(self->fd, copy, AT(2), self->ioas, AT(2), 4 * PAGE));
	ASSERT_OK(PIN(0, 8, WRITE));
	ASSERT_OK(access_replace(self->node, copy));
	EXPECT_EQ(8 * PAGE, UNMAP(0, 8));
	EXPECT_ERRNO(ENOENT, PIN(1, 2, WRITE));
	ASSERT_OK(PIN(3, 2, WRITE));
	EXPECT_TRUE(IS_OURS(3, 2));
	EXPECT_EQ(4 * PAGE, ioas_unmap(self->fd, copy, AT(2), 4 * PAGE));
	EXPECT_EQ(2, access_asked(self->node).count);
}

/* --- unmaps of what is pinned --------------------------------------------------------- */

#define EXPECT_ASKED(count_, iova_, length_) do { \
	struct ioas_access_asked asked = access_asked(self->node); \
	EXPECT_EQ(count_, asked.count); \
	EXPECT_EQ(iova_, asked.iova); \
	EXPECT_EQ(length_, asked.length); \
} while (0)

TEST_F(access, unmap_asks)
{
	ASSERT_OK(MAP(0, 2));
	ASSERT_OK(MAP(2, 6));
	ASSERT_OK(MAP(8, 2));
	ASSERT_OK(PIN(3, 1, WRITE));
	ASSERT_OK(PIN(4, 2, 0));
	/* What has no pins goes as ever; what would be cut is not asked for. */
	EXPECT_EQ(2 * PAGE, UNMAP(0, 2));
	EXPECT_ERRNO(ENOENT, UNMAP(2, 3));
	EXPECT_ERRNO(EINVAL, unmap(self->fd, self->ioas, AT(2), 3 * PAGE));
	EXPECT_EQ(0, access_asked(self->node).count);
	/* All of the area is asked for, however little of it is pinned. */
	EXPECT_EQ(6 * PAGE, UNMAP(2, 6));
	EXPECT_ASKED(1, AT(2), 6 * PAGE);
	EXPECT_ERRNO(ENOENT, UNPIN(3, 1));
	EXPECT_HELD(2, 0);
	EXPECT_OK(MAP(2, 6));
	EXPECT_OK(PIN(3, 1, WRITE));
	EXPECT_TRUE(IS_OURS(3, 1));
	EXPECT_EQ(8 * PAGE, unmap(self->fd, self->ioas, AT(0), 10 * PAGE));
	EXPECT_ASKED(2, AT(2), 6 * PAGE);
}

TEST_F(access, unmap_asks_for_each_area)
{
	unsigned int page;

	for (page = 0; page < 8; page++)
		ASSERT_OK(MAP(page, 1));
	ASSERT_OK(PIN(1, 2, WRITE));
	ASSERT_OK(PIN(5, 1, WRITE));
	EXPECT_EQ(8 * PAGE, ioas_unmap(self->fd, self->ioas, 0, UINT64_MAX));
	/* The driver gave both pages back when it was asked for one. */
	EXPECT_ASKED(2, AT(5), PAGE);
	for (page = 0; page < 8; page++) {
		ASSERT_OK(MAP(page, 1));
		ASSERT_OK(PIN(page, 1, WRITE));
	}
	EXPECT_EQ(8 * PAGE, unmap_all(self->fd, self->ioas));
	EXPECT_ASKED(10, AT(7), PAGE);
}

TEST_F(access, unmap_asks_everyone)
{
	int other = open(ACCESS_NODE, O_RDWR);

	ASSERT_LT(0, access_create(other, self->fd));
	ASSERT_OK(access_attach(other, self->ioas));
	ASSERT_OK(MAP(0, 4));
	ASSERT_OK(PIN(0, 4, WRITE));
	ASSERT_OK(access_pin(other, AT(0), 4 * PAGE, WRITE));
	ASSERT_OK(access_pin(other, AT(1), PAGE, WRITE));
	EXPECT_EQ(4 * PAGE, UNMAP(0, 4));
	EXPECT_ASKED(1, AT(0), 4 * PAGE);
	EXPECT_EQ(1, access_asked(other).count);
	EXPECT_ERRNO(ENOENT, access_unpin(other, AT(1), PAGE));
	close(other);
}

/* VFIO's type1 unmaps what is in the middle, but not of what is pinned. */
TEST_F(access, type1_does_not_cut_pins)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap), .iova = AT(1), .size = PAGE,
	};

	ASSERT_OK(set_option(self->fd, IOMMU_OPTION_HUGE_PAGES, self->ioas, 0));
	ASSERT_EQ(self->ioas, vfio_ioas(self->fd, IOMMU_VFIO_IOAS_SET, self->ioas));
	ASSERT_OK(MAP(0, 4));
	ASSERT_OK(PIN(3, 1, WRITE));
	EXPECT_ERRNO(EINVAL, call(self->fd, VFIO_IOMMU_UNMAP_DMA, &unmap));
	EXPECT_EQ(PAGE, unmap.size);
	EXPECT_EQ(0, access_asked(self->node).count);
	EXPECT_OK(UNPIN(3, 1));
	EXPECT_OK(call(self->fd, VFIO_IOMMU_UNMAP_DMA, &unmap));
	EXPECT_HELD(3, 0);
	EXPECT_ERRNO(ENOENT, PIN(0, 2, WRITE));
	ASSERT_OK(PIN(2, 2, WRITE));
	EXPECT_TRUE(IS_OURS(2, 2));
}

/* It is bound to end, and what ends in an error has changed nothing. */
TEST_F(access, driver_does_not_unpin)
{
	struct books books;

	ASSERT_OK(MAP(0, 2));
	ASSERT_OK(MAP(2, 2));
	ASSERT_OK(PIN(2, 1, WRITE));
	ASSERT_OK(access_manners(self->node, IOAS_ACCESS_DEAF));
	books = read_books(self->fd);
	EXPECT_ERRNO(EDEADLK, UNMAP(0, 4));
	EXPECT_ASKED(101, AT(2), 2 * PAGE);
	expect_books(_metadata, self->fd, &books);
	EXPECT_ERRNO(EDEADLK, unmap_all(self->fd, self->ioas));
	EXPECT_TRUE(IS_OURS(2, 1));
	EXPECT_OK(PIN(0, 4, WRITE));
	EXPECT_TRUE(IS_OURS(0, 4));
	EXPECT_OK(UNPIN(0, 4));
	EXPECT_EQ(2 * PAGE, UNMAP(0, 2));
	EXPECT_OK(UNPIN(2, 1));
	EXPECT_EQ(2 * PAGE, UNMAP(2, 2));
	EXPECT_EQ(202, access_asked(self->node).count);
}

TEST_F(access, driver_cannot_pin_again)
{
	ASSERT_OK(MAP(0, 2));
	ASSERT_OK(PIN(0, 2, WRITE));
	ASSERT_OK(access_manners(self->node, IOAS_ACCESS_GREEDY));
	EXPECT_EQ(2 * PAGE, UNMAP(0, 2));
	EXPECT_EQ(1, access_asked(self->node).count);
	EXPECT_EQ(0, access_asked(self->node).again);
	/* There, it was closed for the unmap alone. */
	ASSERT_OK(MAP(0, 2));
	EXPECT_OK(PIN(0, 2, WRITE));
	EXPECT_OK(UNPIN(0, 2));
}

/* --- reading and writing ---------------------------------------------------------------- */

TEST_F(access, read_and_write)
{
	/* Places and lengths, in bytes: within a page, over pages, over areas. */
	static const struct { unsigned long at, length; } parts[] = {
		{ 1, 1 }, { 4095, 1 }, { 4096, 1 }, { 4095, 2 }, { 123, 4096 }, { 4096, 4096 },
		{ 100, 3 * 4096 }, { 4 * 4096 - 1, 2 }, { 4096 - 7, 60 * 4096 }, { 4096, 200000 },
		{ 32768, 65536 }, { 32767, 65538 },
	};

	scribble(self->memory, TEST_PAGES * PAGE);
	ASSERT_OK(MAP(0, 1));
	ASSERT_OK(MAP(1, 3));
	ASSERT_OK(MAP(4, TEST_PAGES - 4));
	for (unsigned int i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		uint64_t iova = IOVA + parts[i].at;
		char *memory = self->memory + parts[i].at;

		for (uint32_t flags = 0; flags <= KTHREAD; flags += KTHREAD) {
			EXPECT_TRUE(reads(_metadata, self->node, iova, memory, parts[i].length,
					  flags))
				TH_LOG("%lu bytes at %lu", parts[i].length, parts[i].at);
			EXPECT_TRUE(writes(_metadata, self->node, iova, memory, parts[i].length,
					   flags))
				TH_LOG("%lu bytes at %lu", parts[i].length, parts[i].at);
		}
	}
}

TEST_F(access, what_cannot_be_read_or_written)
{
	static char text[TEST_PAGES * PAGE];

	ASSERT_OK(MAP(0, 32));
	ASSERT_OK(map_for(self->fd, self->ioas, MEMORY(32), PAGE, AT(32), IOMMU_IOAS_MAP_READABLE));
	ASSERT_OK(map_for(self->fd, self->ioas, MEMORY(33), PAGE, AT(33),
			  IOMMU_IOAS_MAP_WRITEABLE));
	memset(text, 1, sizeof(text));
	for (uint32_t flags = 0; flags <= KTHREAD; flags += KTHREAD) {
		uint32_t write = flags | WRITE;

		EXPECT_ERRNO(EINVAL, access_rw(self->node, AT(0), 0, text, flags));
		EXPECT_ERRNO(EOVERFLOW, access_rw(self->node, TOP_PAGE, PAGE + 1, text, flags));
		EXPECT_ERRNO(ENOENT, access_rw(self->node, AT(40), 1, text, flags));
		EXPECT_ERRNO(ENOENT, access_rw(self->node, AT(0) - 1, 2, text, flags));
		EXPECT_ERRNO(EPERM, access_rw(self->node, AT(32) + 5, 1, text, write));
		EXPECT_ERRNO(EPERM, access_rw(self->node, AT(33) + 5, 1, text, flags));
		EXPECT_OK(access_rw(self->node, AT(0), 33 * PAGE, text, flags));
		memset(text, 1, sizeof(text));
		/* Nothing is written by half, however far it is to where it fails. */
		EXPECT_ERRNO(EPERM, access_rw(self->node, AT(0), 33 * PAGE, text, write));
		EXPECT_ERRNO(ENOENT, access_rw(self->node, AT(33), 2 * PAGE, text, write));
		EXPECT_TRUE(is_zero(self->memory, TEST_PAGES * PAGE));
	}
	EXPECT_OK(access_detach(self->node));
	EXPECT_ERRNO(ENOENT, access_rw(self->node, AT(0), 1, text, 0));
}

/* --- moving, and the end -------------------------------------------------------------------- */

TEST_F(access, moves)
{
	int witness = open(ACCESS_NODE, O_RDWR), other = ioas_alloc(self->fd);

	ASSERT_OK(MAP(0, 1));
	ASSERT_OK(ioas_map(self->fd, other, MEMORY(1), PAGE, AT(0)));
	ASSERT_OK(PIN(0, 1, WRITE));
	EXPECT_OK(access_replace(self->node, self->ioas));
	EXPECT_ERRNO(ENOENT, access_replace(self->node, 12345));
	EXPECT_ERRNO(ENOENT, access_replace(self->node, self->id));
	EXPECT_EQ(0, access_asked(self->node).count);
	EXPECT_TRUE(IS_OURS(0, 1));
	EXPECT_OK(access_replace(self->node, other));
	EXPECT_ASKED(1, 0, UINT64_MAX);
	EXPECT_ERRNO(ENOENT, UNPIN(0, 1));
	EXPECT_TRUE(reads(_metadata, self->node, AT(0), MEMORY(1), PAGE, 0));
	EXPECT_ERRNO(EBUSY, destroy(self->fd, other));
	/* The space that was left does not ask it any more, but who is there. */
	ASSERT_LT(0, access_create(witness, self->fd));
	ASSERT_OK(access_attach(witness, self->ioas));
	ASSERT_OK(access_pin(witness, AT(0), PAGE, WRITE));
	EXPECT_EQ(PAGE, UNMAP(0, 1));
	EXPECT_EQ(1, access_asked(witness).count);
	EXPECT_EQ(1, access_asked(self->node).count);
	close(witness);
	if (!variant->device)
		EXPECT_OK(destroy(self->fd, self->ioas));
	ASSERT_OK(PIN(0, 1, WRITE));
	EXPECT_EQ(PAGE, ioas_unmap(self->fd, other, AT(0), PAGE));
	EXPECT_ASKED(2, AT(0), PAGE);
	EXPECT_OK(access_detach(self->node));
	EXPECT_OK(destroy(self->fd, other));
}

TEST_F(access, leaves_with_pins)
{
	ASSERT_OK(MAP(0, 4));
	ASSERT_OK(PIN(0, 4, WRITE));
	EXPECT_OK(access_detach(self->node));
	EXPECT_ASKED(1, 0, UINT64_MAX);
	ASSERT_OK(access_attach(self->node, self->ioas));
	ASSERT_OK(PIN(0, 4, WRITE));
	EXPECT_OK(access_destroy(self->node));
	ASSERT_LT(0, access_create(self->node, self->fd));
	EXPECT_EQ(2, access_asked(self->node).count);
	EXPECT_EQ(4 * PAGE, UNMAP(0, 4));
	EXPECT_EQ(2, access_asked(self->node).count);
}

/* An access keeps the context, like a device does, but no more pins than it has made. */
TEST_F(access, outlives_the_file)
{
	ASSERT_OK(MAP(0, 4));
	ASSERT_OK(PIN(0, 2, WRITE));
	bound_close(&self->b);
	self->b.edu.fd = -1;
	self->b.fd = -1;
	EXPECT_TRUE(IS_OURS(0, 2));
	EXPECT_TRUE(reads(_metadata, self->node, AT(2), MEMORY(2), 2 * PAGE, 0));
	EXPECT_EQ(2, pinned_pages());
}

/* A device comes and goes while pages are pinned. */
TEST_F(access, device_comes_and_goes)
{
	ASSERT_OK(MAP(0, 4));
	ASSERT_OK(PIN(0, 4, WRITE));
	if (variant->device)
		EXPECT_OK(vfio_detach(self->b.edu.fd));
	EXPECT_TRUE(IS_OURS(0, 4));
	EXPECT_LT(0, attach_pt(self->b.edu.fd, self->ioas));
	EXPECT_TRUE(IS_OURS(0, 4));
	EXPECT_HELD(4, 4);
	EXPECT_EQ(4 * PAGE, UNMAP(0, 4));
	EXPECT_ASKED(1, AT(0), 4 * PAGE);
}

/* Nothing is left of a process that ends with pages pinned, and its memory with it. */
TEST_F(access, process_ends)
{
	IN_CHILD() {
		int fd = open_iommufd(), node = open(ACCESS_NODE, O_RDWR), ioas = ioas_alloc(fd);

		EXPECT_LT(0, access_create(node, fd));
		EXPECT_OK(access_attach(node, ioas));
		EXPECT_OK(ioas_map(fd, ioas, self->memory, 4 * PAGE, IOVA));
		EXPECT_OK(access_pin(node, IOVA, 4 * PAGE, WRITE));
		EXPECT_EQ(4, pinned_pages());
	}
	EXPECT_EQ(self->pins, held_pins());
}

/* --- all at once ------------------------------------------------------------------------------ */

#define ROUNDS 300

struct race {
	int node;
	int fd;
	int ioas;
	bool over;
	int pinned;
	int unexpected;
};

/* What is pinned may be gone by the time that it is used, or unpinned. */
static void *pin_all_the_time(void *arg)
{
	struct race *race = arg;
	char text[64];
	int ret;

	while (!__atomic_load_n(&race->over, __ATOMIC_RELAXED)) {
		ret = access_pin(race->node, IOVA, 4 * PAGE, WRITE);
		race->pinned += !ret;
		if (ret && ret != -ENOENT && ret != -EINVAL)
			race->unexpected = ret;
		ret = access_rw(race->node, IOVA + PAGE - 32, sizeof(text), text, 0);
		if (ret && ret != -ENOENT && ret != -EINVAL)
			race->unexpected = ret;
		ret = access_unpin(race->node, IOVA, 4 * PAGE);
		if (ret && ret != -ENOENT)
			race->unexpected = ret;
	}
	return NULL;
}

TEST_F(access, maps_unmaps_and_pins_at_once)
{
	struct race race = { .node = self->node };
	pthread_t thread;
	int done = 0;

	ASSERT_EQ(0, pthread_create(&thread, NULL, pin_all_the_time, &race));
	/* Until pins and unmaps have met, and for some time. */
	while (done < ROUNDS || !access_asked(self->node).count) {
		ASSERT_OK(MAP(0, 2));
		ASSERT_OK(MAP(2, 2));
		if (done % 8 == 0)
			sched_yield();
		ASSERT_EQ(4 * PAGE, UNMAP(0, 4));
		done++;
	}
	__atomic_store_n(&race.over, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	EXPECT_EQ(0, race.unexpected);
	EXPECT_LT(0, race.pinned);
	EXPECT_EQ(0, pinned_pages());
}

TEST_HARNESS_MAIN
