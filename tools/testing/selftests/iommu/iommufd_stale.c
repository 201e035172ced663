// SPDX-License-Identifier: GPL-2.0
/*
 * An id that is destroyed by many at once, and given to the next object at that moment:
 * one of them destroys the object that had it, and none of them the next one's. And what
 * is on its way out, and has to wait, has its id until it is gone.
 *
 * A MAP that waits for a page, for as long as the test likes, holds up whatever wants the
 * domains of its address space. Behind it the destroyers queue.
 */
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <linux/userfaultfd.h>

#include "books.h"
#include "iommufd_calls.h"

#define DESTROYERS 24
#define BLOCKED_IOVA 0x20000000UL
#define MAPPED_IOVA 0x1000000UL
#define DMA_SIZE 64
/* When to give up on those who wait, on a machine of the usual speed. */
#define PATIENCE_MS 20000

struct queue {
	struct bound *b;
	int space;		/* whose domains are held up */
	int victim;
	/* The HWPT_ALLOC that whoever destroyed the victim makes at once. */
	struct iommu_hwpt_alloc *next;
	int next_result;
	char *blocker;		/* the page that the MAP waits for */
	int blocker_uffd;
	int blocker_result;
	pthread_t blocker_thread;
	pthread_t threads[DESTROYERS];
	atomic_int tids[DESTROYERS];
	atomic_bool done[DESTROYERS];
	atomic_int started, destroyed, odd;
	atomic_int odd_result;
};

/* --- who waits for whom -------------------------------------------------------------- */

/* Userspace is asked whenever @page is touched in that way. */
static int watch_page(void *page, uint64_t mode)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = { .range = { (uintptr_t)page, PAGE }, .mode = mode };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (mode == UFFDIO_REGISTER_MODE_WP)
		api.features = UFFD_FEATURE_PAGEFAULT_FLAG_WP;
	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &range))
		return -errno;
	return fd;
}

static int protect_page(int uffd, void *page, bool protected)
{
	struct uffdio_writeprotect arg = {
		.range = { (uintptr_t)page, PAGE },
		.mode = protected ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	return ioctl(uffd, UFFDIO_WRITEPROTECT, &arg) ? -errno : 0;
}

/* Whether somebody waits for a page now. */
static bool somebody_waits(int uffd)
{
	struct pollfd wait = { .fd = uffd, .events = POLLIN };
	struct uffd_msg message;

	return poll(&wait, 1, PATIENCE_MS * slowness_factor) == 1 &&
	       read(uffd, &message, sizeof(message)) == sizeof(message);
}

/* Whether a thread of this process sleeps inside of a system call of that number. */
static bool sleeps_in(int tid, int number)
{
	char path[64], text[32] = "";
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	if (read(fd, text, sizeof(text) - 1) < 0)
		text[0] = 0;
	close(fd);
	/* One that runs has no number there. */
	return text[0] >= '0' && text[0] <= '9' && atoi(text) == number;
}

static bool all_queued(struct queue *queue)
{
	for (int i = 0; i < DESTROYERS; i++)
		if (!queue->done[i] && (!queue->tids[i] || !sleeps_in(queue->tids[i], SYS_ioctl)))
			return false;
	return true;
}

static unsigned int how_many_done(struct queue *queue)
{
	unsigned int done = 0;

	for (int i = 0; i < DESTROYERS; i++)
		done += queue->done[i];
	return done;
}

/* --- the queue ----------------------------------------------------------------------- */

static void *block(void *data)
{
	struct queue *queue = data;

	queue->blocker_result = ioas_map(queue->b->fd, queue->space, queue->blocker, PAGE,
					 BLOCKED_IOVA);
	return NULL;
}

static void *destroy_and_replace(void *data)
{
	struct queue *queue = data;
	int number = queue->started++, result;

	queue->tids[number] = syscall(SYS_gettid);
	result = destroy(queue->b->fd, queue->victim);
	if (result && result != -ENOENT) {
		queue->odd_result = result;
		queue->odd++;
	}
	if (!result && !queue->destroyed++)
		queue->next_result = call(queue->b->fd, IOMMU_HWPT_ALLOC, queue->next);
	queue->done[number] = true;
	return NULL;
}

/* Have a MAP wait for its page. */
static void hold_up(struct __test_metadata *_metadata, struct queue *queue)
{
	queue->blocker = pages(1);
	ASSERT_NE(NULL, queue->blocker);
	queue->blocker_uffd = watch_page(queue->blocker, UFFDIO_REGISTER_MODE_MISSING);
	ASSERT_LE(0, queue->blocker_uffd);
	ASSERT_EQ(0, pthread_create(&queue->blocker_thread, NULL, block, queue));
	ASSERT_TRUE(somebody_waits(queue->blocker_uffd));
}

/* Have all destroyers inside of their calls, for an object that has just been made. */
static void line_up(struct __test_metadata *_metadata, struct queue *queue, struct bound *b,
		    struct iommu_hwpt_alloc *next)
{
	unsigned int ms = 0;

	*queue = (struct queue) {
		.b = b, .space = b->ioasid, .next = next, .next_result = -ENODATA,
	};
	queue->victim = hwpt_alloc(b->fd, b->id, b->ioasid, 0);
	ASSERT_LT(0, queue->victim);
	hold_up(_metadata, queue);
	for (int i = 0; i < DESTROYERS; i++)
		ASSERT_EQ(0, pthread_create(&queue->threads[i], NULL, destroy_and_replace,
					    queue));
	while (!all_queued(queue) && ms++ < PATIENCE_MS * slowness_factor)
		edu_sleep_ms(1);
	ASSERT_TRUE(all_queued(queue));
}

static void let_go(struct queue *queue)
{
	close(queue->blocker_uffd);
	pthread_join(queue->blocker_thread, NULL);
}

static void join_all(struct __test_metadata *_metadata, struct queue *queue)
{
	for (int i = 0; i < DESTROYERS; i++)
		pthread_join(queue->threads[i], NULL);
	EXPECT_EQ(PAGE, ioas_unmap(queue->b->fd, queue->b->ioasid, BLOCKED_IOVA, PAGE));
	munmap(queue->blocker, PAGE);
	EXPECT_EQ(1, queue->destroyed);
	EXPECT_EQ(0, queue->odd) TH_LOG("one of them got %d", queue->odd_result);
}

FIXTURE(stale)
{
	struct bound b;
	struct iommu_hwpt_alloc *next;
	struct queue queue;
	long pins;
};

FIXTURE_SETUP(stale)
{
	int ret = bound_open(&self->b);

	if (ret == -ENODEV)
		SKIP(return, NO_DEVICE);
	ASSERT_OK(ret);
	self->next = pages(1);
	ASSERT_NE(NULL, self->next);
	*self->next = (struct iommu_hwpt_alloc) {
		.size = sizeof(*self->next),
		.dev_id = self->b.id,
		.pt_id = self->b.ioasid,
	};
	self->pins = held_pins();
}

FIXTURE_TEARDOWN(stale)
{
	bound_close(&self->b);
	expect_nothing_left(_metadata, self->pins);
}

/* The lowest id that is free, as the next object is told. */
static int next_id(int iommufd)
{
	int id = ioas_alloc(iommufd), ret = destroy(iommufd, id);

	return ret ? ret : id;
}

/* How much there is to be read, or a negative errno. */
static ssize_t read_through(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t bytes, all = 0;
	char text[4096];

	if (fd < 0)
		return -errno;
	while ((bytes = read(fd, text, sizeof(text))) > 0)
		all += bytes;
	close(fd);
	return bytes < 0 ? -EIO : all;
}

/* --- the tests ------------------------------------------------------------------------ */

/* The next owner has the id that is free then, and keeps it. */
TEST_F(stale, next_owner_is_left_alone)
{
	unsigned int attempts = scaled(200, 20), i;

	for (i = 0; i < attempts && __test_passed(_metadata); i++) {
		line_up(_metadata, &self->queue, &self->b, self->next);
		let_go(&self->queue);
		EXPECT_OK(self->queue.blocker_result);
		join_all(_metadata, &self->queue);
		EXPECT_OK(self->queue.next_result);
		EXPECT_EQ(self->queue.victim, (int)self->next->out_hwpt_id);
		EXPECT_NE(self->queue.victim, next_id(self->b.fd));
		EXPECT_OK(destroy(self->b.fd, self->next->out_hwpt_id));
		EXPECT_ERRNO(ENOENT, destroy(self->b.fd, self->next->out_hwpt_id));
	}
	TH_LOG("%u attempts", i);
}

/* An owner that cannot be told of its id never had it. */
TEST_F(stale, next_owner_fails)
{
	struct books before = read_books(self->b.fd);
	unsigned int attempts = scaled(50, 10), i;

	ASSERT_EQ(0, mprotect(self->next, PAGE, PROT_READ));
	for (i = 0; i < attempts && __test_passed(_metadata); i++) {
		line_up(_metadata, &self->queue, &self->b, self->next);
		let_go(&self->queue);
		EXPECT_OK(self->queue.blocker_result);
		join_all(_metadata, &self->queue);
		EXPECT_ERRNO(EFAULT, self->queue.next_result);
		EXPECT_EQ(self->queue.victim, next_id(self->b.fd));
		expect_books(_metadata, self->b.fd, &before);
		EXPECT_LT(0, read_through("/sys/kernel/debug/iommufd/contexts"));
	}
	TH_LOG("%u attempts", i);
}

/* --- objects that cannot go yet ---------------------------------------------------------- */

/* Has the device's group for as long as it waits for the domains of the space. */
static void *make_domain(void *data)
{
	struct queue *queue = data;

	queue->tids[1] = syscall(SYS_gettid);
	queue->next_result = hwpt_alloc(queue->b->fd, queue->b->id, queue->space, 0);
	return NULL;
}

static void *let_device_go(void *data)
{
	struct queue *queue = data;

	queue->tids[0] = syscall(SYS_gettid);
	edu_close(&queue->b->edu);
	queue->done[0] = true;
	return NULL;
}

/* Whether an object of that kind and id is found. Looking at a context waits for nobody. */
static bool is_found(int iommufd, const char *kind, int id)
{
	char path[48], text[4096], line[32];
	ssize_t bytes;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", iommufd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	bytes = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[bytes > 0 ? bytes : 0] = 0;
	snprintf(line, sizeof(line), "\n%s:\t%d ", kind, id);
	return strstr(text, line);
}

/* The first thread is on its way with an object that nobody finds, and waits for the MAP. */
static void expect_on_its_way(struct __test_metadata *_metadata, struct queue *queue,
			      const char *kind, int id, int call_number)
{
	unsigned int ms = 0;

	while ((is_found(queue->b->fd, kind, id) || !sleeps_in(queue->tids[0], call_number)) &&
	       ms++ < PATIENCE_MS * slowness_factor)
		edu_sleep_ms(1);
	EXPECT_FALSE(is_found(queue->b->fd, kind, id));
	EXPECT_FALSE(queue->done[0]);
}

/* Nobody finds a device any more, and its id is nobody else's until who has its group has done. */
TEST_F(stale, device_that_goes_keeps_its_id)
{
	int domain = hwpt_alloc(self->b.fd, self->b.id, self->b.ioasid, 0);
	struct queue *queue = &self->queue;
	unsigned int ms = 0;

	ASSERT_LT(0, domain);
	*queue = (struct queue) { .b = &self->b, .space = self->b.ioasid };
	hold_up(_metadata, queue);
	ASSERT_EQ(0, pthread_create(&queue->threads[1], NULL, make_domain, queue));
	while (!(queue->tids[1] && sleeps_in(queue->tids[1], SYS_ioctl)) &&
	       ms++ < PATIENCE_MS * slowness_factor)
		edu_sleep_ms(1);
	ASSERT_EQ(0, pthread_create(&queue->threads[0], NULL, let_device_go, queue));
	expect_on_its_way(_metadata, queue, "device", self->b.id, SYS_close);
	EXPECT_ERRNO(ENOENT, destroy(self->b.fd, self->b.id));
	EXPECT_LT(self->b.id, next_id(self->b.fd));
	let_go(queue);
	pthread_join(queue->threads[0], NULL);
	pthread_join(queue->threads[1], NULL);
	EXPECT_OK(queue->blocker_result);
	EXPECT_OK(destroy(self->b.fd, queue->next_result));
	EXPECT_OK(destroy(self->b.fd, domain));
	EXPECT_EQ(self->b.id, next_id(self->b.fd));
	EXPECT_EQ(PAGE, ioas_unmap(self->b.fd, self->b.ioasid, BLOCKED_IOVA, PAGE));
	munmap(queue->blocker, PAGE);
}

/* --- what a device reaches ------------------------------------------------------------- */

#define SECRETS (64UL << 20)

/* Another user's process: it fills memory, waits for a byte, and looks what became of it. */
static void keep_secrets(int socket)
{
	char *secrets = mmap(NULL, SECRETS, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char byte = 0;
	int changed = 0;

	if (secrets == MAP_FAILED || become_user(1000, 1UL << 20))
		_exit(100);
	keep_small(secrets, SECRETS);
	memset(secrets, 'S', SECRETS);
	if (write(socket, &byte, 1) != 1 || read(socket, &byte, 1) != 1)
		_exit(101);
	for (size_t i = 0; i < SECRETS; i += PAGE)
		changed += memcmp(secrets + i, secrets + PAGE - DMA_SIZE, DMA_SIZE) != 0;
	_exit(changed ? 1 : 0);
}

/* What was unmapped and freed is another user's now: the device must not get there. */
static void expect_secrets_kept(struct __test_metadata *_metadata, struct edu *edu)
{
	int ends[2], status = 0;
	char byte = 0;
	pid_t child;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
	child = fork();
	ASSERT_LE(0, child);
	if (!child)
		keep_secrets(ends[1]);
	close(ends[1]);
	EXPECT_EQ(1, read(ends[0], &byte, 1));
	EXPECT_OK(edu_dma(edu, EDU_WRITES_MEMORY, MAPPED_IOVA, 0, DMA_SIZE));
	EXPECT_EQ(1, write(ends[0], &byte, 1));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status) TH_LOG("another user's memory has changed");
	close(ends[0]);
}

/* What the device wrote where it may, it writes nowhere once that is unmapped. */
static void expect_unmap_ends_it(struct __test_metadata *_metadata, struct bound *b, int other)
{
	char *memory = pages(1);
	long pins;

	ASSERT_NE(NULL, memory);
	memset(memory, 'A', PAGE);
	ASSERT_OK(ioas_map(b->fd, b->ioasid, memory, PAGE, MAPPED_IOVA));
	ASSERT_LT(0, attach_pt(b->edu.fd, b->ioasid));
	EXPECT_OK(destroy(b->fd, other));
	ASSERT_OK(edu_start(&b->edu));
	EXPECT_OK(edu_dma(&b->edu, EDU_READS_MEMORY, MAPPED_IOVA, 0, DMA_SIZE));
	memset(memory, 'B', PAGE);
	EXPECT_OK(edu_dma(&b->edu, EDU_WRITES_MEMORY, MAPPED_IOVA, 0, DMA_SIZE));
	EXPECT_EQ('A', memory[0]);
	EXPECT_EQ('A', memory[DMA_SIZE - 1]);
	pins = held_pins();
	EXPECT_EQ(PAGE, ioas_unmap(b->fd, b->ioasid, MAPPED_IOVA, PAGE));
	EXPECT_EQ(pins - 1, held_pins());
	memset(memory, 'B', PAGE);
	EXPECT_OK(edu_dma(&b->edu, EDU_WRITES_MEMORY, MAPPED_IOVA, 0, DMA_SIZE));
	EXPECT_EQ('B', memory[0]) TH_LOG("the device has reached what is not mapped");
	munmap(memory, PAGE);
}

/*
 * The next owner is held up where it is told its id, which it has reserved. Others make
 * and use domains meanwhile, and then it fails: all that goes is its own.
 */
TEST_F(stale, next_owner_is_held_up)
{
	int uffd = watch_page(self->next, UFFDIO_REGISTER_MODE_WP), other;
	struct queue *queue = &self->queue;
	unsigned int ms = 0;

	if (uffd < 0)
		SKIP(return, "needs userfaultfd's write protection");
	ASSERT_OK(protect_page(uffd, self->next, true));
	line_up(_metadata, queue, &self->b, self->next);
	let_go(queue);
	EXPECT_OK(queue->blocker_result);
	EXPECT_TRUE(somebody_waits(uffd));
	while (how_many_done(queue) < DESTROYERS - 1 && ms++ < PATIENCE_MS * slowness_factor)
		edu_sleep_ms(1);
	EXPECT_EQ(DESTROYERS - 1, how_many_done(queue));
	other = hwpt_alloc(self->b.fd, self->b.id, self->b.ioasid, 0);
	EXPECT_LT(queue->victim, other);
	EXPECT_EQ(other, attach_pt(self->b.edu.fd, other));
	ASSERT_EQ(0, mprotect(self->next, PAGE, PROT_READ));
	ASSERT_OK(protect_page(uffd, self->next, false));
	join_all(_metadata, queue);
	close(uffd);
	EXPECT_ERRNO(EFAULT, queue->next_result);
	EXPECT_OK(vfio_detach(self->b.edu.fd));
	expect_unmap_ends_it(_metadata, &self->b, other);
	expect_secrets_kept(_metadata, &self->b.edu);
	EXPECT_OK(vfio_detach(self->b.edu.fd));
	EXPECT_EQ(queue->victim, next_id(self->b.fd));
}

/* --- maps ----------------------------------------------------------------------------- */

struct held_up_map {
	int fd;
	struct iommu_ioas_map *arg;
	int result;
};

static void *map_held_up(void *data)
{
	struct held_up_map *map = data;

	map->result = call(map->fd, IOMMU_IOAS_MAP, map->arg);
	return NULL;
}

/*
 * A map is held up with its answer, others have its addresses meanwhile, and then it fails:
 * what is there by then is theirs.
 */
static void expect_others_map_kept(struct __test_metadata *_metadata, struct bound *b,
				   uint32_t flags, uint64_t iova)
{
	struct held_up_map map = { .fd = b->fd, .arg = (void *)pages(1) };
	int uffd = watch_page(map.arg, UFFDIO_REGISTER_MODE_WP);
	char *memory = pages(1);
	pthread_t thread;

	if (uffd < 0)
		SKIP(return, "needs userfaultfd's write protection");
	*map.arg = ioas_map_arg(b->ioasid, memory, PAGE, iova, flags);
	ASSERT_OK(protect_page(uffd, map.arg, true));
	ASSERT_EQ(0, pthread_create(&thread, NULL, map_held_up, &map));
	EXPECT_TRUE(somebody_waits(uffd));
	ioas_unmap(b->fd, b->ioasid, 0, UINT64_MAX);
	EXPECT_OK(ioas_map(b->fd, b->ioasid, memory, PAGE, iova));
	ASSERT_EQ(0, mprotect(map.arg, PAGE, PROT_READ));
	ASSERT_OK(protect_page(uffd, map.arg, false));
	pthread_join(thread, NULL);
	close(uffd);
	EXPECT_ERRNO(EFAULT, map.result);
	EXPECT_EQ((int64_t)PAGE, ioas_unmap(b->fd, b->ioasid, iova, PAGE));
	EXPECT_EQ(0, ioas_unmap(b->fd, b->ioasid, 0, UINT64_MAX));
}

TEST_F(stale, map_that_cannot_be_told)
{
	expect_others_map_kept(_metadata, &self->b, FIXED | RW, MAPPED_IOVA);
}

TEST_F(stale, chosen_map_that_cannot_be_told)
{
	expect_others_map_kept(_metadata, &self->b, RW, PAGE);
}

TEST_HARNESS_MAIN
