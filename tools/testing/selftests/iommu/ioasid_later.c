// SPDX-License-Identifier: GPL-2.0
/*
 * Memory is pinned when a device needs it: a map without one only notes where the memory
 * is. What comes of it when a device is attached later, after the memory, its process or
 * its limit have changed; and that nothing stays pinned when the device has gone.
 */
#include <pthread.h>

#include "books.h"
#include "carry.h"
#include "ioasid_places.h"
#include "iommufd_calls.h"
#include "mapper.h"
#include "sources.h"
#include "stopper.h"

#define TEST_PAGES 16
#define A_USER 4242

FIXTURE(later)
{
	struct bound b;
	char *memory;
	long pins;
};

FIXTURE_SETUP(later)
{
	int ret = bound_open(&self->b);

	if (ret == -ENODEV)
		SKIP(return, NO_DEVICE);
	ASSERT_OK(ret);
	ASSERT_OK(edu_start(&self->b.edu));
	self->memory = pages(TEST_PAGES);
	ASSERT_NE(NULL, self->memory);
	self->pins = held_pins();
}

FIXTURE_TEARDOWN(later)
{
	bound_close(&self->b);
	expect_nothing_left(_metadata, self->pins);
}

/* The address of page NUMBER, and the memory that belongs there. */
#define AT(number) (IOVA + (number) * PAGE)
#define MEMORY(number) (self->memory + (number) * PAGE)
#define MAP_OF(memory, at, count) \
	ioasid_map(self->b.fd, self->b.ioasid, memory, AT(at), (count) * PAGE, IOASID_RW)
#define MAP(first, count) map_pages(self, first, count)
#define UNMAP(first, count) unmap(self->b.fd, self->b.ioasid, AT(first), (count) * PAGE)
#define ATTACH() vfio_attach(self->b.edu.fd, self->b.ioasid)
#define DETACH() vfio_detach(self->b.edu.fd)
#define REACHES(number) reaches_page(_metadata, self, number)
#define EXPECT_HELD(count) expect_held(_metadata, self->b.fd, self->pins, count)

/* Pages of the test's memory go where they belong. */
static int map_pages(struct _test_data_later *self, unsigned int first, unsigned int count)
{
	return MAP_OF(MEMORY(first), first, count);
}

static bool reaches_page(struct __test_metadata *_metadata, struct _test_data_later *self,
			 unsigned int number)
{
	return reaches(_metadata, &self->b.edu, AT(number), MEMORY(number));
}

/* --- devices that come and go -------------------------------------------------------- */

TEST_F(later, pinned_while_a_device_is_there)
{
	unsigned int round;

	ASSERT_OK(MAP(0, 2));
	ASSERT_OK(MAP(4, 4));
	EXPECT_HELD(0);
	for (round = 0; round < 3; round++) {
		ASSERT_OK(ATTACH());
		EXPECT_HELD(6);
		EXPECT_TRUE(REACHES(0));
		EXPECT_TRUE(REACHES(7));
		EXPECT_FALSE(REACHES(2));
		ASSERT_OK(DETACH());
		EXPECT_HELD(0);
		EXPECT_FALSE(REACHES(0));
		EXPECT_ERRNO(EEXIST, MAP(1, 4));
	}
	/* What changes while there is none is there for the next one. */
	EXPECT_EQ(2 * PAGE, UNMAP(0, 2));
	ASSERT_OK(MAP(10, 3));
	ASSERT_OK(ATTACH());
	EXPECT_HELD(7);
	EXPECT_FALSE(REACHES(0));
	EXPECT_TRUE(REACHES(12));
	/* With a device, a map pins at once, and an unmap unpins. */
	ASSERT_OK(MAP(0, 1));
	EXPECT_HELD(8);
	EXPECT_TRUE(REACHES(0));
	EXPECT_EQ(3 * PAGE, UNMAP(10, 3));
	EXPECT_HELD(5);
	ASSERT_OK(DETACH());
	EXPECT_HELD(0);
	EXPECT_EQ(5 * PAGE, unmap_all(self->b.fd, self->b.ioasid));
}

/* The line of the space in fdinfo, whole if it ends with a newline. */
static bool is_shown(struct bound *b, const char *rest)
{
	char line[192];

	snprintf(line, sizeof(line), "ioasid:\t%d window 0x0-0xffffffffffffffff %s", b->ioasid,
		 rest);
	return strstr(read_books(b->fd).fdinfo, line);
}

TEST_F(later, can_be_seen)
{
	EXPECT_TRUE(is_shown(&self->b, "areas 0 mapped 0 kB pinned 0 pages charged 0 kB\n"));
	ASSERT_OK(MAP(0, 2));
	ASSERT_OK(MAP(4, 4));
	EXPECT_TRUE(is_shown(&self->b,
			     "areas 2 mapped 24 kB pinned 0 pages charged 0 kB no-device\n"));
	ASSERT_OK(ATTACH());
	EXPECT_TRUE(is_shown(&self->b, "areas 2 mapped 24 kB pinned 6 pages charged "));
	EXPECT_EQ(NULL, strstr(read_books(self->b.fd).fdinfo, "no-device"));
	ASSERT_OK(DETACH());
	EXPECT_TRUE(is_shown(&self->b,
			     "areas 2 mapped 24 kB pinned 0 pages charged 0 kB no-device\n"));
}

/* Bind the device to the context, with its registers, as one that is plugged in. */
static void plug_in(struct __test_metadata *_metadata, struct bound *b)
{
	ASSERT_OK(edu_open(&b->edu));
	b->id = vfio_bind(b->edu.fd, b->fd);
	ASSERT_LT(0, b->id);
	ASSERT_OK(edu_start(&b->edu));
}

/* One is unplugged, with all that it has; later another one comes, if there is any. */
TEST_F(later, devices_are_plugged_in)
{
	struct edu other;

	if (find_relative(OWN_GROUPS, self->b.edu.address, &other))
		other = self->b.edu;
	edu_close(&self->b.edu);
	ASSERT_OK(MAP(0, 4));
	EXPECT_HELD(0);
	plug_in(_metadata, &self->b);
	EXPECT_HELD(0);
	ASSERT_OK(ATTACH());
	EXPECT_HELD(4);
	EXPECT_TRUE(REACHES(0));
	edu_close(&self->b.edu);
	EXPECT_HELD(0);
	ASSERT_OK(MAP(4, 2));
	EXPECT_HELD(0);
	self->b.edu = other;
	self->b.edu.fd = -1;
	self->b.edu.bar = NULL;
	plug_in(_metadata, &self->b);
	ASSERT_OK(ATTACH());
	EXPECT_HELD(6);
	EXPECT_TRUE(REACHES(3));
	EXPECT_TRUE(REACHES(5));
}

/* As a VMM whose memory is all mapped, and which has no device yet: it costs nothing. */
TEST_F(later, a_machine_without_devices)
{
	char *memory = mmap(NULL, GIB, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	long before = counter("/proc/self/status", "VmRSS:");

	ASSERT_NE(MAP_FAILED, memory);
	ASSERT_LT(0, before);
	IN_CHILD() {
		ASSERT_OK(be_limited(0));
		ASSERT_OK(MAP_OF(memory, 0, GIB / PAGE));
		EXPECT_HELD(0);
		EXPECT_GT(before + 1024, counter("/proc/self/status", "VmRSS:"));
		EXPECT_EQ(0, counter("/proc/self/status", "VmLck:"));
		EXPECT_EQ(GIB, UNMAP(0, GIB / PAGE));
	}
}

/* --- memory that comes and goes ------------------------------------------------------ */

/* No address is looked at, not even such as no process can have. */
TEST_F(later, mapped_where_nothing_is)
{
	static const uint64_t nowhere[] = { 0, 0xffff888000000000ULL, -2 * PAGE };
	char *nothing = pages(4);
	struct ioasid_map arg;
	struct books before;
	unsigned int i;

	ASSERT_OK(munmap(nothing, 4 * PAGE));
	ASSERT_OK(MAP_OF(nothing, 0, 4));
	for (i = 0; i < ARRAY_SIZE(nowhere); i++) {
		arg = map_arg(self->b.ioasid, NULL, AT(8), PAGE);
		arg.map.vaddr = nowhere[i];
		ASSERT_OK(call(self->b.fd, IOMMU_MAP_DMA, &arg))
			TH_LOG("at 0x%llx", (unsigned long long)nowhere[i]);
		before = read_books(self->b.fd);
		EXPECT_ERRNO(EFAULT, ATTACH());
		expect_books(_metadata, self->b.fd, &before);
		EXPECT_EQ(PAGE, UNMAP(8, 1));
	}
	EXPECT_ERRNO(EFAULT, ATTACH());
	ASSERT_EQ(nothing, mmap(nothing, 4 * PAGE, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	ASSERT_OK(ATTACH());
	EXPECT_HELD(4);
	EXPECT_TRUE(reaches(_metadata, &self->b.edu, AT(3), nothing + 3 * PAGE));
}

#define SPOILED 4	/* pages */

static void unmap_all_of_it(char *memory, int fd)
{
	(void)fd;
	munmap(memory, SPOILED * PAGE);
}

static void unmap_its_first_page(char *memory, int fd)
{
	(void)fd;
	munmap(memory, PAGE);
}

static void unmap_its_last_page(char *memory, int fd)
{
	(void)fd;
	munmap(memory + (SPOILED - 1) * PAGE, PAGE);
}

static void protect_a_page(char *memory, int fd)
{
	(void)fd;
	mprotect(memory + PAGE, PAGE, PROT_NONE);
}

static void write_protect_a_page(char *memory, int fd)
{
	(void)fd;
	mprotect(memory + PAGE, PAGE, PROT_READ);
}

static void cut_the_file(char *memory, int fd)
{
	(void)memory;
	ftruncate(fd, PAGE);
}

/* A device that cannot get all of it gets none of it, and stays where it is. */
TEST_F(later, memory_that_is_gone)
{
	static void (*const spoil[])(char *memory, int fd) = {
		unmap_all_of_it, unmap_its_first_page, unmap_its_last_page, protect_a_page,
		write_protect_a_page, cut_the_file,
	};
	int other = ioasid_alloc(self->b.fd, 64), fd;
	struct books before;
	unsigned int i;
	char *memory;

	ASSERT_OK(ioasid_map(self->b.fd, other, MEMORY(15), AT(0), PAGE, IOASID_RW));
	ASSERT_OK(MAP(0, 2));
	ASSERT_OK(MAP(8, 2));
	for (i = 0; i < ARRAY_SIZE(spoil); i++) {
		fd = memfd_create("spoiled", MFD_CLOEXEC);
		memory = map_file(fd, SPOILED * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
		ASSERT_NE(NULL, memory);
		ASSERT_OK(MAP_OF(memory, 4, SPOILED));
		spoil[i](memory, fd);
		ASSERT_OK(vfio_attach(self->b.edu.fd, other));
		EXPECT_HELD(1);
		before = read_books(self->b.fd);
		EXPECT_ERRNO(EFAULT, ATTACH())
			TH_LOG("memory spoiled by way %u", i);
		expect_books(_metadata, self->b.fd, &before);
		EXPECT_TRUE(reaches(_metadata, &self->b.edu, AT(0), MEMORY(15)));
		EXPECT_EQ(SPOILED * PAGE, UNMAP(4, SPOILED));
		ASSERT_OK(ATTACH());
		EXPECT_HELD(4);
		EXPECT_TRUE(REACHES(0));
		EXPECT_TRUE(REACHES(9));
		munmap(memory, SPOILED * PAGE);
		close(fd);
	}
}

/* A device has what is there when it comes, as long as it stays. */
TEST_F(later, memory_is_replaced)
{
	char *old;

	ASSERT_OK(MAP(0, 2));
	ASSERT_OK(ATTACH());
	EXPECT_TRUE(REACHES(0));
	ASSERT_OK(DETACH());
	old = replace_page(MEMORY(0));
	memset(old, 0x11, PAGE);
	ASSERT_OK(ATTACH());
	EXPECT_TRUE(REACHES(0));
	EXPECT_TRUE(REACHES(1));
	EXPECT_EQ(0x11, old[0]);
	old = replace_page(MEMORY(0));
	EXPECT_FALSE(REACHES(0));
	EXPECT_TRUE(reaches(_metadata, &self->b.edu, AT(0), old));
	ASSERT_OK(DETACH());
	ASSERT_OK(ATTACH());
	EXPECT_TRUE(REACHES(0));
	EXPECT_HELD(2);
}

/* --- processes ----------------------------------------------------------------------- */

/* Whose memory it is, and who pays, was decided when it was mapped. */
TEST_F(later, a_child_attaches)
{
	memset(self->memory, 1, TEST_PAGES * PAGE);
	ASSERT_OK(MAP(0, 4));
	IN_CHILD() {
		ASSERT_OK(ATTACH());
		EXPECT_EQ(0, pinned_pages());
		/* It has a copy of the memory, but that is another. */
		EXPECT_FALSE(REACHES(0));
	}
	EXPECT_HELD(4);
	EXPECT_TRUE(REACHES(0));
	EXPECT_TRUE(REACHES(3));
	IN_CHILD()
		ASSERT_OK(DETACH());
	EXPECT_HELD(0);
}

static void *map_in_thread(void *data)
{
	struct _test_data_later *self = data;

	return (void *)(long)MAP(0, 4);
}

/* It is the process that matters, not which of its threads has mapped. */
TEST_F(later, the_thread_that_mapped_has_ended)
{
	pthread_t thread;
	void *ret;

	ASSERT_EQ(0, pthread_create(&thread, NULL, map_in_thread, self));
	pthread_join(thread, &ret);
	ASSERT_EQ(NULL, ret);
	ASSERT_OK(ATTACH());
	EXPECT_HELD(4);
	EXPECT_TRUE(REACHES(3));
}

/* There is no memory without its process: that of the program before it is gone as well. */
TEST_F(later, the_mapper_is_gone)
{
	struct mapper mapper;
	struct books before;
	int exec;

	ASSERT_OK(MAP(8, 1));
	for (exec = 0; exec <= 1; exec++) {
		IN_MAPPER(&mapper) {
			/* Nobody can do anything about the limit of one that is gone. */
			ASSERT_OK(be_limited(2 * PAGE));
			ASSERT_OK(MAP(0, 4));
			if (exec)
				execl("/bin/sleep", "sleep", "10000", NULL);
			ASSERT_EQ(0, exec);
		}
		if (!exec)
			mapper_end(_metadata, &mapper);
		before = read_books(self->b.fd);
		EXPECT_ERRNO(EFAULT, ATTACH())
			TH_LOG("it has %s", exec ? "become another program" : "ended");
		expect_books(_metadata, self->b.fd, &before);
		EXPECT_ERRNO(EEXIST, MAP(0, 1));
		EXPECT_EQ(4 * PAGE, UNMAP(0, 4));
		ASSERT_OK(ATTACH());
		EXPECT_HELD(1);
		EXPECT_TRUE(REACHES(8));
		ASSERT_OK(DETACH());
		if (exec)
			mapper_end(_metadata, &mapper);
	}
}

/* Whether there is memory at @iova: what the device puts there, it gets from there. */
static bool is_memory(struct __test_metadata *_metadata, struct bound *b, uint64_t iova,
		      uint64_t own_iova, char *own)
{
	char text[DMA_SIZE];
	unsigned int i;

	for (i = 0; i < DMA_SIZE; i++)
		text[i] = i * 7 + iova / PAGE + 1;
	memcpy(own, text, DMA_SIZE);
	ASSERT_OK(edu_dma(&b->edu, EDU_READS_MEMORY, own_iova, 0, DMA_SIZE));
	ASSERT_OK(edu_dma(&b->edu, EDU_WRITES_MEMORY, iova, 0, DMA_SIZE));
	memset(own, 0, DMA_SIZE);
	ASSERT_OK(edu_dma(&b->edu, EDU_READS_MEMORY, own_iova, 0, DMA_SIZE));
	ASSERT_OK(edu_dma(&b->edu, EDU_READS_MEMORY, iova, 0, DMA_SIZE));
	ASSERT_OK(edu_dma(&b->edu, EDU_WRITES_MEMORY, own_iova, 0, DMA_SIZE));
	return !memcmp(own, text, DMA_SIZE);
}

/* What is pinned has no need of its process: another domain gets it as well. */
TEST_F(later, the_mapper_is_gone_and_it_is_pinned)
{
	struct mapper mapper;
	int hwpt;

	IN_MAPPER(&mapper)
		ASSERT_OK(MAP(0, 4));
	ASSERT_OK(MAP(8, 1));
	ASSERT_OK(ATTACH());
	EXPECT_EQ(4, pinned_by(&mapper));
	mapper_end(_metadata, &mapper);
	EXPECT_EQ(1, pinned_pages());
	EXPECT_EQ(self->pins + 5, held_pins());
	hwpt = hwpt_alloc(self->b.fd, self->b.id, self->b.ioasid, 0);
	ASSERT_LT(0, hwpt);
	ASSERT_EQ(hwpt, attach_pt(self->b.edu.fd, hwpt));
	EXPECT_EQ(self->pins + 5, held_pins());
	EXPECT_TRUE(is_memory(_metadata, &self->b, AT(0), AT(8), MEMORY(8)));
	EXPECT_TRUE(is_memory(_metadata, &self->b, AT(3), AT(8), MEMORY(8)));
	ASSERT_OK(DETACH());
	EXPECT_EQ(self->pins + 5, held_pins());
	EXPECT_OK(destroy(self->b.fd, hwpt));
	EXPECT_HELD(0);
	EXPECT_ERRNO(EFAULT, ATTACH());
	EXPECT_ERRNO(EFAULT, hwpt_alloc(self->b.fd, self->b.id, self->b.ioasid, 0));
	EXPECT_HELD(0);
}

/* --- limits -------------------------------------------------------------------------- */

/* They hold when it is pinned, and what was too much then has changed nothing. */
TEST_F(later, the_limit_is_that_of_the_attach)
{
	struct books before;

	IN_CHILD() {
		ASSERT_OK(become_user(A_USER, 8 * PAGE));
		ASSERT_OK(MAP(0, 6));
		ASSERT_OK(MAP(6, 3));
		before = read_books(self->b.fd);
		EXPECT_ERRNO(ENOMEM, ATTACH());
		expect_books(_metadata, self->b.fd, &before);
		EXPECT_EQ(3 * PAGE, UNMAP(6, 3));
		ASSERT_OK(MAP(6, 2));
		ASSERT_OK(ATTACH());
		EXPECT_EQ(8, pinned_pages());
		EXPECT_TRUE(REACHES(7));
		EXPECT_ERRNO(ENOMEM, MAP(8, 1));
		ASSERT_OK(DETACH());
		EXPECT_EQ(0, pinned_pages());
		/* All of it was given back: it can be had once more. */
		ASSERT_OK(ATTACH());
		ASSERT_OK(DETACH());
		ASSERT_OK(MAP(8, 1));
		EXPECT_ERRNO(ENOMEM, ATTACH());
		EXPECT_EQ(0, pinned_pages());
	}
	EXPECT_EQ(self->pins, held_pins());
	EXPECT_EQ(9 * PAGE, unmap_all(self->b.fd, self->b.ioasid));
}

/* Root has none, but does not lend that to others. */
TEST_F(later, the_limit_is_that_of_the_mapper)
{
	struct mapper mapper;
	struct books before;

	IN_MAPPER(&mapper) {
		ASSERT_OK(become_user(A_USER, 8 * PAGE));
		ASSERT_OK(MAP(0, 8));
		ASSERT_OK(MAP(8, 1));
	}
	ASSERT_OK(MAP(12, 3));
	before = read_books(self->b.fd);
	EXPECT_ERRNO(ENOMEM, ATTACH());
	expect_books(_metadata, self->b.fd, &before);
	EXPECT_EQ(0, pinned_by(&mapper));
	EXPECT_EQ(PAGE, UNMAP(8, 1));
	ASSERT_OK(ATTACH());
	EXPECT_EQ(8, pinned_by(&mapper));
	EXPECT_EQ(3, pinned_pages());
	EXPECT_EQ(self->pins + 11, held_pins());
	IN_CHILD() {
		/* The user has paid for all that he may. */
		ASSERT_OK(become_user(A_USER, 8 * PAGE));
		EXPECT_ERRNO(ENOMEM, MAP(8, 1));
	}
	ASSERT_OK(DETACH());
	EXPECT_EQ(0, pinned_by(&mapper));
	EXPECT_HELD(0);
	mapper_end(_metadata, &mapper);
}

/* Whether there is a limit at all was decided when it was mapped, either way. */
TEST_F(later, the_privilege_is_that_of_the_map)
{
	IN_CHILD() {
		ASSERT_OK(MAP(0, 4));
		ASSERT_OK(be_limited(2 * PAGE));
		ASSERT_OK(ATTACH());
		EXPECT_HELD(4);
		ASSERT_OK(DETACH());
		ASSERT_OK(MAP(4, 3));
		EXPECT_ERRNO(ENOMEM, ATTACH());
		EXPECT_HELD(0);
		EXPECT_EQ(3 * PAGE, UNMAP(4, 3));
		ASSERT_OK(MAP(4, 2));
		ASSERT_OK(ATTACH());
		EXPECT_HELD(6);
		ASSERT_OK(DETACH());
		EXPECT_EQ(6 * PAGE, unmap_all(self->b.fd, self->b.ioasid));
	}
}

/* --- attaches that are killed -------------------------------------------------------- */

#define TILE (16 * MIB)

/* A GiB of memory, of which the last tile has not been touched. */
static char *much_memory(void)
{
	int file = memfd_create("tile", MFD_CLOEXEC);
	char *memory, *last;

	if (ftruncate(file, TILE))
		return NULL;
	memory = tiled(file, TILE, GIB);
	close(file);
	if (!memory)
		return NULL;
	last = mmap(memory + GIB - TILE, TILE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	/* A large page would have one pin. */
	return last != MAP_FAILED && keep_small(last, TILE) ? memory : NULL;
}

/* Memory that never comes does not keep another process from being killed. */
TEST_F(later, another_is_killed_while_it_attaches)
{
	char *memory = much_memory();
	int stopper, status;
	pid_t child;

	ASSERT_NE(NULL, memory);
	stopper = stop_at(memory + GIB - MIB, MIB);
	ASSERT_LE(0, stopper);
	ASSERT_OK(MAP_OF(memory, 0, GIB / PAGE));
	child = fork();
	ASSERT_LE(0, child);
	if (!child)
		_exit(!!ATTACH());
	wait_for_stop(_metadata, stopper);
	EXPECT_LT(self->pins, held_pins());
	ASSERT_OK(kill(child, SIGKILL));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_HELD(0);
	close(stopper);
	ASSERT_OK(ATTACH());
	EXPECT_HELD(GIB / PAGE);
	EXPECT_TRUE(reaches(_metadata, &self->b.edu, IOVA + GIB - PAGE, memory + GIB - PAGE));
	ASSERT_OK(DETACH());
	EXPECT_HELD(0);
}

static void *attach_in_thread(void *data)
{
	struct bound *b = data;

	vfio_attach(b->edu.fd, b->ioasid);
	return NULL;
}

/* Wherever it has got to: at either end, within a huge page, around what is pinned at once. */
TEST_F(later, killed_at_each_point)
{
	static const size_t points[] = { 0, 1, 511, 512, 513, 2047, 2048, 2049, 4095 };
	const size_t size = 16 * MIB;
	char *memory = small_pages(size);
	pthread_t thread;
	unsigned int i;
	pid_t child;
	int stopper;

	ASSERT_NE(NULL, memory);
	for (i = 0; i < ARRAY_SIZE(points); i++) {
		child = fork();
		ASSERT_LE(0, child);
		if (!child) {
			stopper = stop_at(memory + points[i] * PAGE, size - points[i] * PAGE);
			ASSERT_LE(0, stopper);
			ASSERT_OK(MAP_OF(memory, 0, size / PAGE));
			pthread_create(&thread, NULL, attach_in_thread, &self->b);
			wait_for_stop(_metadata, stopper);
			raise(SIGKILL);
		}
		ASSERT_EQ(child, waitpid(child, NULL, 0));
		EXPECT_HELD(0);
		/* The map is all there is, and its memory is gone. */
		EXPECT_ERRNO(EFAULT, ATTACH());
		EXPECT_EQ(size, UNMAP(0, size / PAGE));
		ASSERT_OK(ATTACH());
		ASSERT_OK(DETACH());
	}
}

TEST_HARNESS_MAIN
