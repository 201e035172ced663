// SPDX-License-Identifier: GPL-2.0
/*
 * Callers that mean harm: arguments that change during the call, memory that lets
 * the kernel wait for as long as it likes, limits that are hit midway, death at any
 * moment. Others must not notice, and nothing may be left.
 */
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "failnth.h"
#include "late_file.h"
#include "pinning.h"

#define GROUP "/sys/fs/cgroup/hostile"

FIXTURE(hostile)
{
	int fd;
	int ioasid;
	char *memory;
	struct needer needer;
	long pins;
};

FIXTURE_SETUP(hostile)
{
	self->needer = NO_NEEDER;
	self->fd = open_iommufd();
	if (self->fd < 0)
		SKIP(return, "cannot open " IOMMU_NODE);
	self->ioasid = ioasid_alloc(self->fd, 64);
	ASSERT_LT(0, self->ioasid);
	self->memory = pages(64);
	ASSERT_NE(NULL, self->memory);
	self->pins = held_pins();
}

FIXTURE_TEARDOWN(hostile)
{
	needer_close(&self->needer);
	close(self->fd);
	expect_nothing_left(_metadata, self->pins);
}

/* Have a device in the space: what is mapped is pinned. */
#define NEED_PINS() need_pins(_metadata, &self->needer, self->fd, self->ioasid)

/* --- arguments that change during the call ------------------------------------------ */

struct flipper {
	struct ioasid_map *arg;
	int ioasid;
	volatile bool stop;
};

static void *flip(void *data)
{
	static const uint32_t sizes[] = { sizeof(struct ioasid_map), 16, 0, 4096, UINT32_MAX };
	struct flipper *flipper = data;
	volatile struct ioasid_map *arg = flipper->arg;
	unsigned int i;

	for (i = 0; !flipper->stop; i++) {
		arg->op.argsz = sizes[i % ARRAY_SIZE(sizes)];
		arg->op.ioasid = i % 3 ? flipper->ioasid : -1;
		arg->map.argsz = i % 5 ? sizeof(arg->map) : 0;
		arg->map.size = (i % 70) * PAGE;
		arg->map.iova = IOVA + i % 16 * PAGE;
		arg->map.flags = i % 4;
	}
	return NULL;
}

/* Whatever the driver saw, what it mapped is what it pinned and what it says. */
TEST_F(hostile, arguments_that_change)
{
	struct ioasid_map arg = map_arg(self->ioasid, self->memory, IOVA, PAGE);
	struct flipper flipper = { .arg = &arg, .ioasid = self->ioasid };
	unsigned int round, mapped = 0;
	pthread_t thread;
	int64_t bytes;

	if (!NEED_PINS())
		SKIP(return, NO_DEVICE);
	ASSERT_EQ(0, pthread_create(&thread, NULL, flip, &flipper));
	/* On a busy machine it may take a while until the other thread gets its turn. */
	for (round = 0; round < scaled(20000, 2000) || (!mapped && round < 2000000); round++) {
		mapped += !call(self->fd, IOMMU_MAP_DMA, &arg);
		if (round % 16)
			continue;
		bytes = pinned_pages() * PAGE;
		ASSERT_EQ(bytes, unmap_all(self->fd, self->ioasid));
	}
	flipper.stop = true;
	pthread_join(thread, NULL);
	EXPECT_LT(0, mapped);
	EXPECT_EQ(pinned_pages() * (int64_t)PAGE, unmap_all(self->fd, self->ioasid));
}

/* --- memory that lets the kernel wait -------------------------------------------------- */

/* Make a page one that nobody will ever fill in: who touches it sleeps until he is killed. */
static bool put_to_sleep(char *page)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register all = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	int uffd = syscall(SYS_userfaultfd, O_CLOEXEC);

	all.range.start = (uintptr_t)page;
	all.range.len = PAGE;
	return uffd >= 0 && !madvise(page, PAGE, MADV_DONTNEED) &&
	       !ioctl(uffd, UFFDIO_API, &api) && !ioctl(uffd, UFFDIO_REGISTER, &all);
}

/* What everybody else must be able to do on the same file meanwhile, in the same space. */
static void expect_no_standstill(struct __test_metadata *_metadata, int fd, int ioasid,
				 char *memory)
{
	int other;

	EXPECT_OK(ioasid_map(fd, ioasid, memory, IOVA + 64 * PAGE, PAGE, IOASID_RW));
	EXPECT_EQ(PAGE, unmap(fd, ioasid, IOVA + 64 * PAGE, PAGE));
	EXPECT_EQ(1, iommu_check_extension(fd, IOMMU_EXT_MAP_TYPE1V2));
	other = ioasid_alloc(fd, 64);
	EXPECT_LT(0, other);
	EXPECT_OK(ioasid_map(fd, other, memory, IOVA, PAGE, IOASID_RW));
	EXPECT_OK(ioasid_free(fd, other));
}

/* A process that sleeps inside of a call: others go on, and killing it undoes what it did. */
static void expect_sleeper(struct __test_metadata *_metadata, int fd, int ioasid, char *memory,
			   bool in_argument)
{
	char *page = memory + 32 * PAGE;
	int status, tries;
	pid_t child = fork();

	ASSERT_LE(0, child);
	if (!child) {
		if (!put_to_sleep(page))
			_exit(1);
		if (in_argument)
			_exit(call(fd, IOMMU_MAP_DMA, page) ? 2 : 3);
		/* Pinned up to that page, and then no further. */
		_exit(ioasid_map(fd, ioasid, memory, IOVA, 48 * PAGE, IOASID_RW) ? 4 : 5);
	}
	for (tries = 0; tries < 10; tries++) {
		edu_sleep_ms(50);
		expect_no_standstill(_metadata, fd, ioasid, memory);
	}
	status = 0;
	ASSERT_EQ(0, waitpid(child, &status, WNOHANG))
		TH_LOG("it did not sleep, but ended with %d", WEXITSTATUS(status));
	ASSERT_OK(kill(child, SIGKILL));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(0, unmap_all(fd, ioasid));
	EXPECT_OK(ioasid_map(fd, ioasid, memory, IOVA, 48 * PAGE, IOASID_RW));
	EXPECT_EQ(48 * PAGE, unmap_all(fd, ioasid));
}

TEST_F(hostile, argument_that_never_comes)
{
	expect_sleeper(_metadata, self->fd, self->ioasid, self->memory, true);
}

TEST_F(hostile, memory_that_never_comes)
{
	if (!NEED_PINS())
		SKIP(return, NO_DEVICE);
	expect_sleeper(_metadata, self->fd, self->ioasid, self->memory, false);
}

/* --- a file that lets the kernel wait --------------------------------------------------- */

/* A page of the memory is one of a file, which whoever asks for it must wait for. */
FIXTURE(late)
{
	struct late_file file;
	int fd;
	int ioasid;
	char *memory;
	char *page;
	struct needer needer;
	long pins;
};

static void is_killed(struct late_file *file, pid_t caller)
{
	(void)file;
	kill(caller, SIGKILL);
}

static void comes(struct late_file *file, pid_t caller)
{
	(void)caller;
	late_file_let_go(file);
}

static void ends(struct late_file *file, pid_t caller)
{
	(void)caller;
	late_file_end(file);
}

#define NOBODY_IS_TOLD -1

FIXTURE_VARIANT(late)
{
	bool in_argument;
	void (*then)(struct late_file *file, pid_t caller);
	int error;
};

FIXTURE_VARIANT_ADD(late, argument_killed) { true, is_killed, NOBODY_IS_TOLD };
FIXTURE_VARIANT_ADD(late, argument_comes) { true, comes, EINVAL };
FIXTURE_VARIANT_ADD(late, argument_ends) { true, ends, EFAULT };
FIXTURE_VARIANT_ADD(late, memory_killed) { false, is_killed, NOBODY_IS_TOLD };
FIXTURE_VARIANT_ADD(late, memory_comes) { false, comes, 0 };
FIXTURE_VARIANT_ADD(late, memory_ends) { false, ends, EFAULT };

FIXTURE_SETUP(late)
{
	int ret;

	self->fd = open_iommufd();
	if (self->fd < 0)
		SKIP(return, "cannot open " IOMMU_NODE);
	ret = late_file_make(&self->file, PAGE);
	if (ret == -ENOENT || ret == -ENODEV)
		SKIP(return, "needs FUSE");
	ASSERT_OK(ret);
	self->ioasid = ioasid_alloc(self->fd, 64);
	ASSERT_LT(0, self->ioasid);
	self->memory = pages(64);
	ASSERT_NE(NULL, self->memory);
	self->page = mmap(self->memory + 32 * PAGE, PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_FIXED, self->file.fd, 0);
	ASSERT_NE(MAP_FAILED, self->page);
	if (!need_pins(_metadata, &self->needer, self->fd, self->ioasid))
		SKIP(return, NO_DEVICE);
	self->pins = held_pins();
}

FIXTURE_TEARDOWN(late)
{
	if (variant->then != ends)
		late_file_end(&self->file);
	needer_close(&self->needer);
	close(self->fd);
	expect_nothing_left(_metadata, self->pins);
}

/* Meanwhile others go on; in the end all of it is done, or nothing. */
TEST_F(late, call_waits)
{
	int status;
	pid_t child = fork();

	ASSERT_LE(0, child);
	if (!child)
		_exit(-(variant->in_argument ? call(self->fd, IOMMU_MAP_DMA, self->page) :
			ioasid_map(self->fd, self->ioasid, self->memory, IOVA, 48 * PAGE,
				   IOASID_RW)));
	ASSERT_TRUE(late_file_wait(&self->file));
	expect_no_standstill(_metadata, self->fd, self->ioasid, self->memory);
	ASSERT_EQ(0, waitpid(child, &status, WNOHANG));
	variant->then(&self->file, child);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(variant->error,
		  WIFSIGNALED(status) ? NOBODY_IS_TOLD : WEXITSTATUS(status));
	EXPECT_EQ(variant->error ? 0 : 48 * PAGE, unmap_all(self->fd, self->ioasid));
	EXPECT_EQ(self->pins, held_pins());
}

/* --- death at any moment ------------------------------------------------------------------ */

TEST_F(hostile, killed_at_any_moment)
{
	unsigned int round;
	pid_t child;

	if (!NEED_PINS())
		SKIP(return, NO_DEVICE);
	for (round = 0; round < 60; round++) {
		child = fork();
		ASSERT_LE(0, child);
		if (!child)
			for (;;) {
				ioasid_map(self->fd, self->ioasid, self->memory, IOVA, 64 * PAGE,
					   IOASID_RW);
				unmap(self->fd, self->ioasid, IOVA, 64 * PAGE);
			}
		edu_sleep_ms(round % 20);
		ASSERT_OK(kill(child, SIGKILL));
		ASSERT_EQ(child, waitpid(child, NULL, 0));
		/* All of a mapping is there, or nothing. */
		ASSERT_EQ(0, unmap_all(self->fd, self->ioasid) % (64 * PAGE));
		ASSERT_EQ(self->pins, held_pins());
	}
}

/* --- limits --------------------------------------------------------------------------------- */

/* No more files, but those there are still work. */
TEST_F(hostile, no_more_descriptors)
{
	struct rlimit few = { self->fd + 1, self->fd + 1 };

	ASSERT_OK(setrlimit(RLIMIT_NOFILE, &few));
	EXPECT_EQ(-1, open_iommufd());
	EXPECT_EQ(EMFILE, errno);
	EXPECT_OK(ioasid_map(self->fd, self->ioasid, self->memory, IOVA, PAGE, IOASID_RW));
}

/* What the kernel keeps on somebody's behalf is on his group's account. */
TEST_F(hostile, kernel_memory_is_charged)
{
	const unsigned int limit_mib = 24, most = 400000;
	unsigned int *made = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
				  -1, 0);
	char text[16];
	pid_t child;
	int status;

	write_text("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
	mkdir(GROUP, 0755);
	snprintf(text, sizeof(text), "%uM", limit_mib);
	if (write_text(GROUP "/memory.max", text))
		SKIP(return, "needs the memory controller of cgroups");
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		write_text(GROUP "/cgroup.procs", "0");
		while (*made < most && ioasid_alloc(self->fd, 64) > 0)
			++*made;
		_exit(0);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	/* It ran out of memory, or was killed for it. */
	EXPECT_GT(most, *made);
	EXPECT_LT(0, *made);
	EXPECT_LT(0, ioasid_alloc(self->fd, 64));
	rmdir(GROUP);
}

TEST_HARNESS_MAIN
