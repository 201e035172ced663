// SPDX-License-Identifier: GPL-2.0
/*
 * Kernel drivers in an address space that has no domain, by way of the sample driver
 * ioas_access: they pin what they ask for, and no page more, and read and write the memory
 * of the process that has mapped it, as it is at that moment.
 */
#include <pthread.h>

#include "books.h"
#include "carry.h"
#include "ioas_access_memory.h"
#include "mapper.h"
#include "sources.h"

#define TEST_PAGES 32

FIXTURE(driver)
{
	struct bound b;
	int node;
	int id;
	int ioas;
	char *memory;
	long pins;
};

FIXTURE_SETUP(driver)
{
	int ret = bound_open(&self->b);

	self->node = open(ACCESS_NODE, O_RDWR | O_CLOEXEC);
	if (ret == -ENODEV || self->node < 0)
		SKIP(return, NO_DEVICE ", and the sample driver ioas_access");
	ASSERT_OK(ret);
	ASSERT_OK(edu_start(&self->b.edu));
	self->ioas = ioas_alloc(self->b.fd);
	ASSERT_LT(0, self->ioas);
	self->id = access_create(self->node, self->b.fd);
	ASSERT_LT(self->ioas, self->id);
	ASSERT_OK(access_attach(self->node, self->ioas));
	self->memory = pages(TEST_PAGES);
	ASSERT_NE(NULL, self->memory);
	self->pins = held_pins();
}

FIXTURE_TEARDOWN(driver)
{
	close(self->node);
	bound_close(&self->b);
	expect_nothing_left(_metadata, self->pins);
}

#define AT(number) (IOVA + (number) * PAGE)
#define MEMORY(number) (self->memory + (number) * PAGE)
#define MAP(first, count) ioas_map_pages(self->b.fd, self->ioas, self->memory, first, count)
#define UNMAP(first, count) ioas_unmap(self->b.fd, self->ioas, AT(first), (count) * PAGE)
#define PIN(first, count) access_pin(self->node, AT(first), (count) * PAGE, WRITE)
#define UNPIN(first, count) access_unpin(self->node, AT(first), (count) * PAGE)
#define IS_OURS(number, memory) is_ours(_metadata, self->node, memory, AT(number), PAGE)
#define READS(number, memory) reads(_metadata, self->node, AT(number), memory, PAGE, 0)
#define READ_PAGE(number, text) access_rw(self->node, AT(number), PAGE, text, 0)
#define WRITE_PAGE(number, text) access_rw(self->node, AT(number), PAGE, text, WRITE)
#define ATTACH() attach_pt(self->b.edu.fd, self->ioas)
#define DETACH() vfio_detach(self->b.edu.fd)
#define REACHES(number, memory) reaches(_metadata, &self->b.edu, AT(number), memory)
#define EXPECT_HELD(count) expect_held(_metadata, self->b.fd, self->pins, count)

/* --- pins ---------------------------------------------------------------------------- */

/* Each page once, however often, until the last of them is given back. */
TEST_F(driver, pins_its_pages_only)
{
	char line[128];

	ASSERT_OK(MAP(0, 1));
	ASSERT_OK(MAP(1, 4));
	ASSERT_OK(MAP(5, 11));
	EXPECT_HELD(0);
	ASSERT_OK(PIN(2, 4));
	EXPECT_HELD(4);
	EXPECT_TRUE(IS_OURS(2, MEMORY(2)));
	EXPECT_TRUE(IS_OURS(5, MEMORY(5)));
	snprintf(line, sizeof(line), "areas 3 mapped 64 kB pinned 4 pages charged ");
	EXPECT_NE(NULL, strstr(read_books(self->b.fd).fdinfo, line));
	EXPECT_NE(NULL, strstr(read_books(self->b.fd).fdinfo, " no-device\n"));
	ASSERT_OK(PIN(4, 4));
	EXPECT_HELD(6);
	ASSERT_OK(PIN(2, 4));
	EXPECT_HELD(6);
	EXPECT_OK(UNPIN(2, 4));
	EXPECT_HELD(6);
	EXPECT_OK(UNPIN(2, 4));
	EXPECT_HELD(4);
	EXPECT_TRUE(IS_OURS(7, MEMORY(7)));
	EXPECT_OK(UNPIN(4, 4));
	EXPECT_HELD(0);
}

TEST_F(driver, pins_as_much_as_may_be)
{
	struct books before;

	IN_CHILD() {
		ASSERT_OK(be_limited(4 * PAGE));
		ASSERT_OK(MAP(0, 16));
		EXPECT_ERRNO(ENOMEM, PIN(0, 5));
		EXPECT_HELD(0);
		ASSERT_OK(PIN(0, 4));
		ASSERT_OK(PIN(0, 4));
		ASSERT_OK(PIN(1, 2));
		EXPECT_EQ(16, shown_in(self->b.fd, "held:", " charged "));
		before = read_books(self->b.fd);
		EXPECT_ERRNO(ENOMEM, PIN(3, 2));
		EXPECT_ERRNO(ENOMEM, ATTACH());
		expect_books(_metadata, self->b.fd, &before);
		EXPECT_TRUE(IS_OURS(3, MEMORY(3)));
		EXPECT_OK(UNPIN(0, 4));
		EXPECT_OK(UNPIN(0, 4));
		EXPECT_HELD(2);
		EXPECT_OK(PIN(8, 2));
		EXPECT_HELD(4);
		EXPECT_EQ(16 * PAGE, UNMAP(0, 16));
		EXPECT_HELD(0);
	}
}

TEST_F(driver, is_asked_to_unpin)
{
	ASSERT_OK(MAP(0, 4));
	ASSERT_OK(MAP(4, 4));
	ASSERT_OK(PIN(2, 4));
	EXPECT_EQ(4 * PAGE, UNMAP(0, 4));
	EXPECT_EQ(1, access_asked(self->node).count);
	EXPECT_HELD(0);
	EXPECT_EQ(4 * PAGE, UNMAP(4, 4));
	EXPECT_EQ(1, access_asked(self->node).count);
}

/* What a driver cannot have has changed nothing. */
TEST_F(driver, memory_is_gone)
{
	struct books before;

	ASSERT_OK(MAP(0, 8));
	ASSERT_OK(PIN(1, 1));
	ASSERT_OK(munmap(MEMORY(4), PAGE));
	before = read_books(self->b.fd);
	EXPECT_ERRNO(EFAULT, PIN(0, 8));
	EXPECT_ERRNO(EFAULT, PIN(4, 1));
	expect_books(_metadata, self->b.fd, &before);
	ASSERT_OK(PIN(5, 3));
	EXPECT_HELD(4);
	EXPECT_TRUE(IS_OURS(5, MEMORY(5)));
}

/* Who has mapped it pays, whoever has the driver pin it. */
TEST_F(driver, another_process_pins)
{
	memset(self->memory, 1, TEST_PAGES * PAGE);
	ASSERT_OK(MAP(0, 8));
	IN_CHILD() {
		ASSERT_OK(PIN(0, 4));
		EXPECT_EQ(0, pinned_pages());
	}
	EXPECT_HELD(4);
	EXPECT_TRUE(IS_OURS(3, MEMORY(3)));
	IN_CHILD()
		EXPECT_OK(UNPIN(0, 4));
	EXPECT_HELD(0);
}

TEST_F(driver, the_mapper_is_gone)
{
	char text[PAGE] = { 0 };
	struct mapper mapper;

	IN_MAPPER(&mapper)
		ASSERT_OK(MAP(0, 8));
	ASSERT_OK(PIN(0, 4));
	EXPECT_EQ(4, pinned_by(&mapper));
	mapper_end(_metadata, &mapper);
	/* What it has already it can have once more. */
	EXPECT_OK(PIN(1, 2));
	EXPECT_OK(access_pinned_rw(self->node, AT(1), PAGE, text, WRITE));
	EXPECT_ERRNO(EFAULT, PIN(3, 2));
	EXPECT_ERRNO(EFAULT, PIN(6, 1));
	EXPECT_ERRNO(EFAULT, READ_PAGE(6, text));
	EXPECT_ERRNO(EFAULT, WRITE_PAGE(6, text));
	EXPECT_ERRNO(EFAULT, ATTACH());
	EXPECT_EQ(self->pins + 4, held_pins());
	EXPECT_OK(UNPIN(0, 4));
	EXPECT_EQ(self->pins + 2, held_pins());
	EXPECT_EQ(8 * PAGE, UNMAP(0, 8));
	EXPECT_HELD(0);
}

/* --- a device as well ---------------------------------------------------------------- */

TEST_F(driver, keeps_its_pins_when_a_device_goes)
{
	ASSERT_OK(MAP(0, 8));
	ASSERT_OK(PIN(2, 3));
	ASSERT_LT(0, ATTACH());
	EXPECT_HELD(8);
	ASSERT_OK(PIN(0, 1));
	EXPECT_HELD(8);
	EXPECT_TRUE(IS_OURS(0, MEMORY(0)));
	EXPECT_TRUE(IS_OURS(4, MEMORY(4)));
	EXPECT_TRUE(REACHES(4, MEMORY(4)));
	ASSERT_OK(DETACH());
	EXPECT_HELD(4);
	EXPECT_TRUE(IS_OURS(0, MEMORY(0)));
	EXPECT_TRUE(IS_OURS(4, MEMORY(4)));
	EXPECT_OK(UNPIN(2, 3));
	EXPECT_HELD(1);
	ASSERT_LT(0, ATTACH());
	EXPECT_HELD(8);
	EXPECT_OK(UNPIN(0, 1));
	EXPECT_HELD(8);
	ASSERT_OK(DETACH());
	EXPECT_HELD(0);
}

/* A page is the same for all who have it: what a driver has, a device that comes has. */
TEST_F(driver, shares_its_pins_with_a_device)
{
	char *old;

	ASSERT_OK(MAP(0, 4));
	ASSERT_OK(PIN(0, 1));
	old = replace_page(MEMORY(0));
	ASSERT_LT(0, ATTACH());
	EXPECT_HELD(4);
	EXPECT_TRUE(REACHES(0, old));
	EXPECT_FALSE(REACHES(0, MEMORY(0)));
	EXPECT_TRUE(IS_OURS(0, old));
	EXPECT_TRUE(REACHES(1, MEMORY(1)));
	ASSERT_OK(DETACH());
	EXPECT_OK(UNPIN(0, 1));
	EXPECT_HELD(0);
	ASSERT_LT(0, ATTACH());
	EXPECT_TRUE(REACHES(0, MEMORY(0)));
}

/* So it is with copies: one space for the driver, another one for the device. */
TEST_F(driver, shares_its_pins_with_a_copy)
{
	int copy = ioas_alloc(self->b.fd);

	ASSERT_OK(MAP(0, 8));
	ASSERT_OK(ioas_copy(self->b.fd, copy, AT(16), self->ioas, AT(2), 3 * PAGE));
	ASSERT_OK(PIN(0, 4));
	EXPECT_HELD(4);
	ASSERT_LT(0, attach_pt(self->b.edu.fd, copy));
	EXPECT_HELD(5);
	EXPECT_TRUE(REACHES(16, MEMORY(2)));
	EXPECT_EQ(8 * PAGE, UNMAP(0, 8));
	EXPECT_EQ(1, access_asked(self->node).count);
	EXPECT_HELD(3);
	EXPECT_TRUE(REACHES(18, MEMORY(4)));
	ASSERT_OK(DETACH());
	EXPECT_HELD(0);
}

TEST_F(driver, is_no_address_space)
{
	EXPECT_ERRNO(EINVAL, attach_pt(self->b.edu.fd, self->id));
	EXPECT_ERRNO(EINVAL, hwpt_alloc(self->b.fd, self->b.id, self->id, 0));
	EXPECT_ERRNO(ENOENT, hwpt_alloc(self->b.fd, self->id, self->ioas, 0));
}

/* --- reading and writing ------------------------------------------------------------- */

/* It sees what is there when it looks, and nothing is pinned for that. */
TEST_F(driver, sees_memory_that_changes)
{
	char text[PAGE], *old;

	memset(text, 0x33, PAGE);
	ASSERT_OK(MAP(0, 4));
	EXPECT_TRUE(READS(1, MEMORY(1)));
	EXPECT_HELD(0);
	old = replace_page(MEMORY(1));
	memset(old, 0x11, PAGE);
	EXPECT_TRUE(READS(1, MEMORY(1)));
	EXPECT_TRUE(writes(_metadata, self->node, AT(1), MEMORY(1), PAGE, 0));
	EXPECT_TRUE(writes(_metadata, self->node, AT(1), MEMORY(1), PAGE, KTHREAD));
	EXPECT_EQ(0x11, old[0]);
	ASSERT_OK(mprotect(MEMORY(1), PAGE, PROT_READ));
	EXPECT_OK(READ_PAGE(1, text));
	EXPECT_ERRNO(EFAULT, WRITE_PAGE(1, text));
	ASSERT_OK(munmap(MEMORY(1), PAGE));
	EXPECT_ERRNO(EFAULT, READ_PAGE(1, text));
	EXPECT_ERRNO(EFAULT, WRITE_PAGE(1, text));
	EXPECT_ERRNO(EFAULT, access_rw(self->node, AT(1), PAGE, text, KTHREAD));
	EXPECT_ERRNO(EFAULT, access_rw(self->node, AT(0) + 1, 3 * PAGE, self->memory, 0));
	EXPECT_TRUE(READS(2, MEMORY(2)));
	EXPECT_HELD(0);
}

/* It is the memory of the process that mapped it, whoever has the driver look. */
TEST_F(driver, sees_the_memory_of_the_mapper)
{
	char text[PAGE];

	memset(self->memory, 0x11, TEST_PAGES * PAGE);
	ASSERT_OK(MAP(0, 4));
	IN_CHILD() {
		memset(MEMORY(0), 0x22, PAGE);
		for (uint32_t flags = 0; flags <= KTHREAD; flags += KTHREAD) {
			memset(text, 0, PAGE);
			ASSERT_OK(access_rw(self->node, AT(0), PAGE, text, flags));
			EXPECT_EQ(0x11, text[0]);
			EXPECT_EQ(0x11, text[PAGE - 1]);
			memset(text, 0x33, PAGE);
			ASSERT_OK(access_rw(self->node, AT(2) - 10, 20, text, flags | WRITE));
		}
		EXPECT_EQ(0x22, MEMORY(0)[0]);
		EXPECT_EQ(0x11, MEMORY(2)[0]);
	}
	EXPECT_EQ(0x11, MEMORY(2)[-11]);
	EXPECT_EQ(0x33, MEMORY(2)[-10]);
	EXPECT_EQ(0x33, MEMORY(2)[9]);
	EXPECT_EQ(0x11, MEMORY(2)[10]);
	EXPECT_HELD(0);
}

/* A file is what it is, with or without the process that mapped it. */
TEST_F(driver, sees_a_file)
{
	int file = memfd_create("seen", MFD_CLOEXEC);
	char *view = map_file(file, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
	char text[PAGE];

	ASSERT_NE(NULL, view);
	IN_CHILD()
		ASSERT_OK(ioas_map_file(self->b.fd, self->ioas, file, PAGE, 3 * PAGE, AT(0)));
	ASSERT_OK(MAP(3, 1));
	close(file);
	memset(text, 1, PAGE);
	/* A page that nobody has touched yet is full of zeroes. */
	ASSERT_OK(READ_PAGE(2, text));
	EXPECT_TRUE(is_zero(text, PAGE));
	EXPECT_TRUE(READS(0, view + PAGE));
	EXPECT_TRUE(reads(_metadata, self->node, AT(0) + 100, view + PAGE + 100, 2 * PAGE, 0));
	EXPECT_TRUE(writes(_metadata, self->node, AT(1) - 1, view + 2 * PAGE - 1, 2, 0));
	EXPECT_TRUE(writes(_metadata, self->node, AT(1) - 1, view + 2 * PAGE - 1, 2, KTHREAD));
	/* From the file into memory of this process. */
	memset(text, 0x44, PAGE);
	ASSERT_OK(access_rw(self->node, AT(3) - 10, 20, text, WRITE));
	EXPECT_EQ(0x44, view[4 * PAGE - 10]);
	EXPECT_EQ(0x44, MEMORY(3)[9]);
	EXPECT_EQ(0, MEMORY(3)[10]);
	EXPECT_HELD(0);
	munmap(view, 4 * PAGE);
}

/* --- all at once --------------------------------------------------------------------- */

#define RACE_MS 2000

struct race {
	struct _test_data_driver *self;
	int copy;		/* another space */
	bool over;
	unsigned long rounds[3];
	unsigned int failures;
};

static bool goes_on(struct race *race, unsigned int who, bool failed)
{
	if (failed)
		__atomic_add_fetch(&race->failures, 1, __ATOMIC_RELAXED);
	race->rounds[who]++;
	return !__atomic_load_n(&race->over, __ATOMIC_RELAXED);
}

static void *pin_again_and_again(void *data)
{
	struct race *race = data;
	struct _test_data_driver *self = race->self;

	while (goes_on(race, 0, PIN(1, 4) || UNPIN(1, 4)))
		;
	return NULL;
}

static void *attach_again_and_again(void *data)
{
	struct race *race = data;
	struct _test_data_driver *self = race->self;

	while (goes_on(race, 1, ATTACH() < 0 || DETACH()))
		;
	return NULL;
}

static void *copy_again_and_again(void *data)
{
	struct race *race = data;
	struct _test_data_driver *self = race->self;

	while (goes_on(race, 2, ioas_copy(self->b.fd, race->copy, AT(0), self->ioas, AT(3),
					  3 * PAGE) ||
		       ioas_unmap(self->b.fd, race->copy, AT(0), 3 * PAGE) != 3 * PAGE))
		;
	return NULL;
}

/* Those who need the same pages, each for as long as it pleases: nobody fails for another. */
TEST_F(driver, many_need_the_same_pages)
{
	static void *(*const who[])(void *) = {
		pin_again_and_again, attach_again_and_again, copy_again_and_again,
	};
	struct race race = { .self = self, .copy = ioas_alloc(self->b.fd) };
	pthread_t threads[ARRAY_SIZE(who)];
	unsigned int i;

	ASSERT_LT(0, race.copy);
	ASSERT_OK(MAP(0, 2));
	ASSERT_OK(MAP(2, 6));
	for (i = 0; i < ARRAY_SIZE(who); i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, who[i], &race));
	edu_sleep_ms(RACE_MS);
	__atomic_store_n(&race.over, true, __ATOMIC_RELAXED);
	for (i = 0; i < ARRAY_SIZE(who); i++)
		pthread_join(threads[i], NULL);
	for (i = 0; i < ARRAY_SIZE(who); i++)
		EXPECT_LT(1, race.rounds[i]);
	EXPECT_EQ(0, race.failures);
	EXPECT_HELD(0);
	ASSERT_LT(0, ATTACH());
	EXPECT_HELD(8);
	EXPECT_TRUE(REACHES(4, MEMORY(4)));
}

TEST_HARNESS_MAIN
