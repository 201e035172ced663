// SPDX-License-Identifier: GPL-2.0
/*
 * A MAP that is stopped in the middle, at a page that is not there yet, and what can
 * happen until it goes on: the memory vanishes, the process is killed, others map
 * and unmap.
 */
#include <pthread.h>

#include "books.h"
#include "dma.h"
#include "sources.h"
#include "stopper.h"

#define SIZE (16 * MIB)
#define STOP (SIZE - 4 * MIB)	/* where in the memory the MAP stops */

/* A fatal signal ends a MAP that waits in so many milliseconds, on a busy machine. */
#define PROMPT_MS 5000

struct midway {
	struct bound *b;
	char *memory;
	int stopper;		/* a userfaultfd */
	pthread_t thread;
	int result;
};

static void *map_in_thread(void *data)
{
	struct midway *midway = data;

	midway->result = ioasid_map(midway->b->fd, midway->b->ioasid, midway->memory, IOVA, SIZE,
				    IOASID_RW);
	return NULL;
}

static void start(struct __test_metadata *_metadata, struct bound *b, char *memory,
		  size_t stop, struct midway *midway)
{
	ASSERT_NE(NULL, memory);
	*midway = (struct midway) {
		.b = b, .memory = memory, .stopper = stop_at(memory + stop, SIZE - stop),
	};
	ASSERT_LE(0, midway->stopper);
	ASSERT_EQ(0, pthread_create(&midway->thread, NULL, map_in_thread, midway));
	wait_for_stop(_metadata, midway->stopper);
}

static int finish(struct midway *midway)
{
	close(midway->stopper);
	pthread_join(midway->thread, NULL);
	return midway->result;
}

#define START_AT(memory, stop) start(_metadata, &self->b, memory, stop, &midway)
#define START(memory) START_AT(memory, STOP)

/* --- memory that vanishes ------------------------------------------------------------ */

static void unmap_end(char *memory, int fd)
{
	(void)fd;
	munmap(memory + STOP + MIB, MIB);
}

static void unmap_everything(char *memory, int fd)
{
	(void)fd;
	munmap(memory, SIZE);
}

static void protect(char *memory, int fd)
{
	(void)fd;
	mprotect(memory + STOP, PAGE, PROT_READ);
}

static void move(char *memory, int fd)
{
	(void)fd;
	mremap(memory + STOP, MIB, MIB, MREMAP_MAYMOVE | MREMAP_FIXED,
	       reserve_addresses(MIB, PAGE));
}

static void cut_file(char *memory, int fd)
{
	(void)memory;
	ftruncate(fd, STOP + MIB);
}

static void empty_file(char *memory, int fd)
{
	(void)memory;
	ftruncate(fd, 0);
}

FIXTURE_VARIANT(dma)
{
	void (*vanish)(char *memory, int fd);
};

FIXTURE_VARIANT_ADD(dma, some_is_unmapped) { unmap_end };
FIXTURE_VARIANT_ADD(dma, all_is_unmapped) { unmap_everything };
FIXTURE_VARIANT_ADD(dma, it_is_write_protected) { protect };
FIXTURE_VARIANT_ADD(dma, it_is_moved) { move };
FIXTURE_VARIANT_ADD(dma, file_is_cut) { cut_file };
FIXTURE_VARIANT_ADD(dma, file_is_emptied) { empty_file };

/* The part that was mapped goes as well, and all that was counted for it. */
TEST_F(dma, memory_vanishes)
{
	int fd = memfd_create("vanishes", MFD_CLOEXEC);
	char *memory = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
	struct books before = read_books(self->b.fd);
	struct midway midway;

	ASSERT_NE(NULL, memory);
	START(memory);
	EXPECT_LT(before.pinned, pinned_pages());
	variant->vanish(memory, fd);
	EXPECT_EQ(-EFAULT, finish(&midway));
	expect_books(_metadata, self->b.fd, &before);
	EXPECT_NO_WRITES(IOVA, self->memory);
	EXPECT_NO_READS(IOVA + MIB, self->memory);
	ASSERT_OK(MAP(self->memory, IOVA + STOP - PAGE, PAGE, IOASID_RW));
	EXPECT_WRITES(IOVA + STOP - PAGE, self->memory);
}

/* --- others, meanwhile --------------------------------------------------------------- */

FIXTURE(midway)
{
	struct bound b;
	struct books before;
};

FIXTURE_SETUP(midway)
{
	int ret = bound_open(&self->b);

	if (ret == -ENODEV)
		SKIP(return, NO_DEVICE);
	ASSERT_OK(ret);
	ASSERT_OK(vfio_attach(self->b.edu.fd, self->b.ioasid));
	self->before = read_books(self->b.fd);
}

FIXTURE_TEARDOWN(midway)
{
	expect_books(_metadata, self->b.fd, &self->before);
	bound_close(&self->b);
}

/* Whoever maps something else, in any place, need not wait; nor who unmaps it. */
TEST_F(midway, others_go_on)
{
	char *memory = small_pages(SIZE), *other = small_pages(4 * MIB);
	int ioasid = ioasid_alloc(self->b.fd, 64);
	struct midway midway;

	ASSERT_LT(0, ioasid);
	START(memory);
	ASSERT_OK(MAP(other, IOVA + SIZE, 4 * MIB, IOASID_RW));
	ASSERT_OK(MAP(other, IOVA - MIB, MIB, IOASID_RW));
	ASSERT_OK(ioasid_map(self->b.fd, ioasid, other, IOVA, 4 * MIB, IOASID_RW));
	ASSERT_EQ(4 * MIB, UNMAP(IOVA + SIZE, 4 * MIB));
	ASSERT_EQ(MIB, UNMAP(IOVA - MIB, MIB));
	ASSERT_OK(ioasid_free(self->b.fd, ioasid));
	EXPECT_OK(finish(&midway));
	ASSERT_EQ(SIZE, UNMAP(IOVA, SIZE));
}

/* Its addresses are taken, but nothing is there yet that could be unmapped or cut. */
TEST_F(midway, its_addresses_are_taken)
{
	char *memory = small_pages(SIZE);
	struct midway midway;

	START(memory);
	EXPECT_ERRNO(EEXIST, MAP(memory, IOVA, PAGE, IOASID_RW));
	EXPECT_ERRNO(EEXIST, MAP(memory, IOVA + SIZE - PAGE, PAGE, IOASID_RW));
	EXPECT_EQ(0, UNMAP(IOVA, SIZE));
	EXPECT_EQ(0, UNMAP(IOVA, PAGE));
	EXPECT_EQ(0, unmap_all(self->b.fd, self->b.ioasid));
	EXPECT_OK(finish(&midway));
	ASSERT_EQ(SIZE, UNMAP(IOVA, SIZE));
}

/* --- a fatal signal ---------------------------------------------------------------------- */

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

/* Memory that never comes does not keep a process from being killed. */
TEST_F(midway, killed_while_it_waits)
{
	char *memory = small_pages(SIZE);
	int sockets[2];
	double killed;
	pid_t child;
	char byte;

	ASSERT_NE(NULL, memory);
	ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		struct midway midway;

		START(memory);
		write(sockets[1], "", 1);
		pause();
	}
	close(sockets[1]);
	ASSERT_EQ(1, read(sockets[0], &byte, 1));
	killed = now();
	ASSERT_OK(kill(child, SIGKILL));
	ASSERT_EQ(child, waitpid(child, NULL, 0));
	EXPECT_GT(PROMPT_MS / 1000.0, now() - killed);
	EXPECT_EQ(0, unmap_all(self->b.fd, self->b.ioasid));
}

/* Wherever it has got to: at either end, within a huge page, around what is pinned at once. */
TEST_F(midway, killed_at_each_point)
{
	static const size_t points[] = { 0, 1, 511, 512, 513, 2047, 2048, 2049, 3000, 4095 };
	char *memory = small_pages(SIZE);
	unsigned int i;
	pid_t child;

	for (i = 0; i < ARRAY_SIZE(points); i++) {
		child = fork();
		ASSERT_LE(0, child);
		if (!child) {
			struct midway midway;

			START_AT(memory, points[i] * PAGE);
			raise(SIGKILL);
		}
		ASSERT_EQ(child, waitpid(child, NULL, 0));
		EXPECT_EQ(0, unmap_all(self->b.fd, self->b.ioasid));
		expect_books(_metadata, self->b.fd, &self->before);
	}
}

#define LONG (scaled(32, 4) * TILE)
#define TILE (64 * MIB)

/* Have a process map much, and say so on @fd before and after. */
static pid_t start_long_map(struct __test_metadata *_metadata, struct bound *b, char *memory,
			    int fd)
{
	pid_t child = fork();

	ASSERT_LE(0, child);
	if (!child) {
		write(fd, "b", 1);
		ASSERT_OK(ioasid_map(b->fd, b->ioasid, memory, IOVA, LONG, IOASID_RW));
		write(fd, "e", 1);
		_exit(0);
	}
	return child;
}

/* A MAP that takes seconds does not go on for as long when it is to end. */
TEST_F(midway, killed_while_it_maps)
{
	int file = memfd_create("tile", MFD_CLOEXEC), pipes[2];
	double began, whole, killed;
	char *memory, byte;
	pid_t child;

	ASSERT_OK(ftruncate(file, TILE));
	memory = tiled(file, TILE, LONG);
	ASSERT_NE(NULL, memory);
	ASSERT_OK(pipe(pipes));
	child = start_long_map(_metadata, &self->b, memory, pipes[1]);
	ASSERT_EQ(1, read(pipes[0], &byte, 1));
	began = now();
	ASSERT_EQ(1, read(pipes[0], &byte, 1));
	whole = now() - began;
	ASSERT_EQ(child, waitpid(child, NULL, 0));
	ASSERT_EQ(LONG, UNMAP(IOVA, LONG));

	child = start_long_map(_metadata, &self->b, memory, pipes[1]);
	ASSERT_EQ(1, read(pipes[0], &byte, 1));
	edu_sleep_ms(whole * 1000 / 10);
	killed = now();
	ASSERT_OK(kill(child, SIGKILL));
	ASSERT_EQ(child, waitpid(child, NULL, 0));
	TH_LOG("a MAP of %.3f s ended %.3f s after it was killed", whole, now() - killed);
	EXPECT_GT(whole / 2, now() - killed);
	EXPECT_EQ(0, unmap_all(self->b.fd, self->b.ioasid))
		TH_LOG("it went on to its end");
}

TEST_HARNESS_MAIN
