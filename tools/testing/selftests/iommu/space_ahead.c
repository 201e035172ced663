// SPDX-License-Identifier: GPL-2.0
/*
 * A MAP of much memory that nobody has used yet: other threads of the process bring it.
 * Whether they come, and stay away where they are of no use; who is charged; and what
 * becomes of them when something goes wrong.
 */
#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/time.h>

#include "books.h"
#include "cgroup.h"
#include "fill.h"
#include "iommufd_calls.h"
#include "mapper.h"
#include "pinning.h"
#include "sources.h"
#include "stopper.h"

#define GROUP "space_ahead"
#define AT (4 * GIB)

/* What others are of use for, and what is too little. */
#define MUCH (scaled(160, 96) * MIB)
#define LITTLE (64 * MIB)

/* Nothing that has to end takes so many seconds, on a busy machine. */
#define PROMPT (20.0 * slowness_factor)

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static void end(struct __test_metadata *_metadata, int fd, long pins)
{
	close(fd);
	expect_nothing_left(_metadata, pins);
	EXPECT_TRUE(set_threads("0"));
	/* Those who were killed take a moment to leave. */
	for (int tries = 0; tries < 200 && !cgroup_remove(GROUP); tries++)
		edu_sleep_ms(50);
	EXPECT_NE(0, access(CGROUPS GROUP, F_OK));
}

/* How many others there were at once, of a process that came to the group alone. */
static long others(void)
{
	return cgroup_get(GROUP, "pids.peak", "") - 1;
}

static bool kernel_has_them(void)
{
	static int missing = -1;

	if (missing < 0)
		missing = system("grep -q ' vhost_task_create$' /proc/kallsyms");
	return !missing;
}

/* One for each processor, but for the caller's own; no more than there are units of 32 MiB. */
static long all_others(void)
{
	long count = sysconf(_SC_NPROCESSORS_ONLN);
	long most = they_always_come() ? 8 : MUCH / (32 * MIB);

	return kernel_has_them() ? (count > most ? most : count) - 1 : 0;
}

/* A space in which maps pin, and an empty group; or what there has to be for that. */
static const char *begin(struct __test_metadata *_metadata, int *fd, int *ioas,
			 struct needer *needer, long *pins)
{
	*needer = NO_NEEDER;
	*fd = open_iommufd();
	*ioas = ioas_alloc(*fd);
	if (!set_threads("0") || *ioas <= 0 || !cgroup_make(GROUP) ||
	    cgroup_get(GROUP, "pids.peak", "") < 0)
		return "needs " IOMMU_NODE ", control groups, and to be root";
	*pins = held_pins();
	if (!need_pins(_metadata, needer, *fd, *ioas))
		return NO_DEVICE;
	if (all_others() < 1)
		return "needs two processors, and a kernel with CONFIG_VHOST_TASK";
	return NULL;
}

#define MAP(memory, size) ioas_map(self->fd, self->ioas, memory, size, AT)
#define UNMAP_ALL() ioas_unmap(self->fd, self->ioas, 0, UINT64_MAX)

/* --- they come, for every kind of memory ---------------------------------------------- */

FIXTURE(kinds)
{
	int fd;
	int ioas;
	struct needer needer;
	long pins;
	char *memory;
	int file;
};

FIXTURE_VARIANT(kinds)
{
	char *(*get)(size_t size);	/* or if NULL, a file, with these flags */
	unsigned int flags;
	bool is_huge;
	bool alone;	/* nobody comes */
};

FIXTURE_VARIANT_ADD(kinds, small_pages) { .get = small_pages };
FIXTURE_VARIANT_ADD(kinds, transparent_huge_pages) { .get = untouched_huge_pages };
FIXTURE_VARIANT_ADD(kinds, shared_anonymous) { .get = shared_anonymous };
FIXTURE_VARIANT_ADD(kinds, memfd) { .get = memfd_pages };
FIXTURE_VARIANT_ADD(kinds, huge_pages) { .get = huge_pages_2m, .is_huge = true };
FIXTURE_VARIANT_ADD(kinds, file) { };
FIXTURE_VARIANT_ADD(kinds, file_of_huge_pages) {
	.flags = MFD_HUGETLB | MFD_HUGE_2MB, .is_huge = true, .alone = true,
};

FIXTURE_SETUP(kinds)
{
	const char *missing = begin(_metadata, &self->fd, &self->ioas, &self->needer, &self->pins);

	if (missing)
		SKIP(return, "%s", missing);
	if (variant->get == untouched_huge_pages && !has_transparent_huge_pages())
		SKIP(return, NO_TRANSPARENT_HUGE_PAGES);
	if (variant->is_huge && !provide_huge_pages(MUCH / HUGE_2M))
		SKIP(return, "there are too few huge pages");
}

FIXTURE_TEARDOWN(kinds)
{
	needer_close(&self->needer);
	end(_metadata, self->fd, self->pins);
}

static void get_memory(struct __test_metadata *_metadata, struct _test_data_kinds *self,
		       const struct _fixture_variant_kinds *variant)
{
	self->file = -1;
	if (variant->get) {
		self->memory = variant->get(MUCH);
	} else {
		self->file = memfd_create("untouched", MFD_CLOEXEC | variant->flags);
		self->memory = map_file(self->file, MUCH, PROT_READ | PROT_WRITE, MAP_SHARED);
	}
	ASSERT_NE(NULL, self->memory);
}

static int map_memory(struct _test_data_kinds *self)
{
	if (self->file >= 0)
		return ioas_map_file(self->fd, self->ioas, self->file, 0, MUCH, AT);
	return MAP(self->memory, MUCH);
}

/* The memory is what it would be otherwise, and of those who brought it nobody is left. */
TEST_F(kinds, they_come_and_go)
{
	IN_CHILD() {
		get_memory(_metadata, self, variant);
		ASSERT_TRUE(cgroup_enter(GROUP));
		EXPECT_OK(map_memory(self));
		EXPECT_EQ(variant->alone ? 0 : all_others(), others());
		EXPECT_EQ((long)(MUCH / PAGE), pinned_pages());
		EXPECT_EQ((long)(MUCH / PAGE), shown_in(self->fd, "held:", "pinned "));
		EXPECT_TRUE(is_zero(self->memory, MUCH));
		EXPECT_EQ((int64_t)MUCH, UNMAP_ALL());
		EXPECT_EQ(self->pins, held_pins());
	}
}

/* What is there already is as soon pinned as looked for. */
TEST_F(kinds, they_stay_away_from_what_is_there)
{
	if (they_always_come())
		SKIP(return, "fill_always is set");
	IN_CHILD() {
		get_memory(_metadata, self, variant);
		memset(self->memory, 1, MUCH);
		ASSERT_TRUE(cgroup_enter(GROUP));
		EXPECT_OK(map_memory(self));
		EXPECT_EQ(0, others());
		EXPECT_EQ((int64_t)MUCH, UNMAP_ALL());
	}
}

struct charges {
	long memory, tables, huge;
};

static struct charges charges(void)
{
	return (struct charges) {
		.memory = cgroup_get(GROUP, "memory.stat", "anon ") +
			  cgroup_get(GROUP, "memory.stat", "file "),
		.tables = cgroup_get(GROUP, "memory.stat", "pagetables "),
		.huge = cgroup_get(GROUP, "hugetlb.2MB.current", ""),
	};
}

/* Page tables of a process that has ended are freed a moment later. */
static void wait_for_tables(void)
{
	unsigned int i;

	for (i = 0; i < 1000 && charges().tables > (long)(64 * KIB); i++)
		usleep(10000);
}

/* Whoever brings it, it is the same group that has to have room for all of it. */
TEST_F(kinds, charges_are_the_same)
{
	struct charges *of = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned int helped;

	for (helped = 0; helped < 2; helped++) {
		ASSERT_TRUE(set_threads(helped ? "0" : "1"));
		IN_CHILD() {
			struct charges before, after;

			get_memory(_metadata, self, variant);
			ASSERT_TRUE(cgroup_enter(GROUP));
			wait_for_tables();
			before = charges();
			EXPECT_OK(map_memory(self));
			after = charges();
			of[helped].memory = after.memory - before.memory;
			of[helped].tables = after.tables - before.tables;
			of[helped].huge = after.huge - before.huge;
			EXPECT_EQ((int64_t)MUCH, UNMAP_ALL());
		}
	}
	TH_LOG("memory %ld and %ld, tables %ld and %ld, huge pages %ld and %ld", of[0].memory,
	       of[1].memory, of[0].tables, of[1].tables, of[0].huge, of[1].huge);
	/* The kernel adds up what processors have counted after a while. */
	EXPECT_LE(variant->is_huge ? 0 : (long)(MUCH - MIB), of[1].memory);
	EXPECT_GE(MIB, labs(of[1].memory - of[0].memory));
	EXPECT_GE(128 * KIB, labs(of[1].tables - of[0].tables));
	EXPECT_EQ(of[0].huge, of[1].huge);
	munmap(of, PAGE);
}

/* --- where they do not come ------------------------------------------------------------ */

FIXTURE(ahead)
{
	int fd;
	int ioas;
	struct needer needer;
	long pins;
	char *memory;
};

FIXTURE_SETUP(ahead)
{
	const char *missing = begin(_metadata, &self->fd, &self->ioas, &self->needer, &self->pins);

	if (missing)
		SKIP(return, "%s", missing);
	self->memory = small_pages(MUCH);
	ASSERT_NE(NULL, self->memory);
}

FIXTURE_TEARDOWN(ahead)
{
	needer_close(&self->needer);
	end(_metadata, self->fd, self->pins);
}

/* Map in a process in the group, which has had @count others in the end. */
static void expect_others(struct __test_metadata *_metadata, struct _test_data_ahead *self,
			  long count, size_t size)
{
	ASSERT_TRUE(cgroup_enter(GROUP));
	EXPECT_OK(MAP(self->memory, size));
	EXPECT_EQ(count, others());
	EXPECT_EQ((int64_t)size, UNMAP_ALL());
}

#define EXPECT_OTHERS(count, size) expect_others(_metadata, self, count, size)

TEST_F(ahead, none_for_little)
{
	if (they_always_come())
		SKIP(return, "fill_always is set");
	IN_CHILD()
		EXPECT_OTHERS(0, LITTLE);
}

TEST_F(ahead, none_if_switched_off)
{
	ASSERT_TRUE(set_threads("1"));
	IN_CHILD()
		EXPECT_OTHERS(0, MUCH);
}

TEST_F(ahead, none_on_one_processor)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(1, &set);
	IN_CHILD() {
		ASSERT_OK(sched_setaffinity(0, sizeof(set), &set));
		EXPECT_OTHERS(0, MUCH);
	}
}

TEST_F(ahead, none_with_a_realtime_policy)
{
	struct sched_param param = { .sched_priority = 1 };

	IN_CHILD() {
		ASSERT_OK(sched_setscheduler(0, SCHED_FIFO, &param));
		EXPECT_OTHERS(0, MUCH);
	}
}

/* A limit on threads is no reason to fail. */
TEST_F(ahead, none_beyond_a_limit)
{
	ASSERT_TRUE(cgroup_set(GROUP, "pids.max", "1"));
	IN_CHILD()
		EXPECT_OTHERS(0, MUCH);
}

static void caught(int signal)
{
	(void)signal;
}

/* A signal that waits for the end of the call keeps nobody away. */
TEST_F(ahead, they_come_in_spite_of_a_signal)
{
	struct itimerval timer = { .it_value.tv_usec = 1000 };

	IN_CHILD() {
		signal(SIGALRM, caught);
		setitimer(ITIMER_REAL, &timer, NULL);
		EXPECT_OTHERS(all_others(), MUCH);
	}
}

/* --- whoever attaches -------------------------------------------------------------------- */

/* The first device that comes has all of it pinned. */
TEST_F(ahead, they_come_for_an_attach)
{
	ASSERT_OK(vfio_detach(self->needer.edu.fd));
	IN_CHILD() {
		ASSERT_TRUE(cgroup_enter(GROUP));
		EXPECT_OK(MAP(self->memory, MUCH));
		EXPECT_EQ(0, others());
		EXPECT_OK(vfio_attach(self->needer.edu.fd, self->ioas));
		EXPECT_EQ(all_others(), others());
		expect_held(_metadata, self->fd, self->pins, MUCH / PAGE);
		EXPECT_EQ((int64_t)MUCH, UNMAP_ALL());
	}
}

/* They are of the process that attaches; the memory is charged to the one that it is of. */
TEST_F(ahead, they_come_for_an_attach_by_another)
{
	struct mapper mapper;

	ASSERT_OK(vfio_detach(self->needer.edu.fd));
	IN_MAPPER(&mapper)
		EXPECT_OK(MAP(self->memory, MUCH));
	IN_CHILD() {
		ASSERT_TRUE(cgroup_enter(GROUP));
		EXPECT_OK(vfio_attach(self->needer.edu.fd, self->ioas));
		EXPECT_EQ(all_others(), others());
		EXPECT_EQ((long)(MUCH / PAGE), pinned_by(&mapper));
		EXPECT_GT((long)(16 * MIB), cgroup_get(GROUP, "memory.stat", "anon "));
		EXPECT_EQ((int64_t)MUCH, UNMAP_ALL());
	}
	mapper_end(_metadata, &mapper);
}

/* --- what goes wrong ---------------------------------------------------------------------- */

/* A hole, and behind it memory that never comes: nobody asks for that. */
TEST_F(ahead, memory_that_never_comes_behind_a_hole)
{
	struct books before = read_books(self->fd);
	int stopper = stop_at(self->memory + MUCH - 40 * MIB, 40 * MIB);
	double began = now();

	ASSERT_LE(0, stopper);
	munmap(self->memory + MUCH - 48 * MIB, 8 * MIB);
	EXPECT_ERRNO(EFAULT, MAP(self->memory, MUCH));
	EXPECT_GT(PROMPT, now() - began);
	expect_books(_metadata, self->fd, &before);
	close(stopper);
}

/* Memory of which userspace says again and again that it brings it, and that it does not. */
struct taker {
	pthread_t thread;
	int uffd;
	char *memory;
	size_t size;
	bool stop;
	bool was_asked;
};

static void *take_over(void *data)
{
	struct taker *taker = data;
	struct uffdio_register range = {
		.range = { (uintptr_t)taker->memory, taker->size },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	struct pollfd asked = { .fd = taker->uffd, .events = POLLIN };

	while (!__atomic_load_n(&taker->stop, __ATOMIC_ACQUIRE) && !taker->was_asked) {
		ioctl(taker->uffd, UFFDIO_REGISTER, &range);
		if (poll(&asked, 1, 1) > 0)
			__atomic_store_n(&taker->was_asked, true, __ATOMIC_RELAXED);
		ioctl(taker->uffd, UFFDIO_UNREGISTER, &range.range);
	}
	return NULL;
}

/*
 * Userspace takes over what is behind a hole just when somebody is about it: nobody asks for that,
 * or the caller, who has no use for it, would have to wait for userspace. In pieces of a page,
 * because what is in one is pinned at a time.
 */
TEST_F(ahead, memory_that_is_taken_over_behind_a_hole)
{
	const size_t hole = 8 * PAGE, size = 128 * PAGE;
	struct taker taker = {
		.memory = self->memory + 16 * PAGE,
		.size = size - 16 * PAGE,
		.uffd = stop_at(self->memory + MUCH - PAGE, PAGE),
	};
	bool always = they_always_come();
	double began = now();
	size_t offset;

	ASSERT_LE(0, taker.uffd);
	for (offset = 0; offset < taker.size; offset += 2 * PAGE)
		ASSERT_OK(mprotect(taker.memory + offset, PAGE,
				   PROT_READ | PROT_WRITE | PROT_EXEC));
	munmap(self->memory + hole, PAGE);
	EXPECT_TRUE(set_always(true));
	EXPECT_EQ(0, pthread_create(&taker.thread, NULL, take_over, &taker));
	while (now() - began < 4 && !__atomic_load_n(&taker.was_asked, __ATOMIC_RELAXED)) {
		EXPECT_ERRNO(EFAULT, MAP(self->memory, size));
		madvise(self->memory, hole, MADV_DONTNEED);
		madvise(taker.memory, taker.size, MADV_DONTNEED);
	}
	__atomic_store_n(&taker.stop, true, __ATOMIC_RELEASE);
	pthread_join(taker.thread, NULL);
	EXPECT_TRUE(set_always(always));
	EXPECT_FALSE(taker.was_asked) TH_LOG("after %.1f s", now() - began);
	close(taker.uffd);
}

/* How many pages of it there are. */
static long present_pages(const char *memory, size_t size)
{
	size_t i, npages = size / PAGE;
	unsigned char *present = malloc(npages);
	long count = 0;

	if (!present || mincore((void *)memory, size, present))
		count = -1;
	for (i = 0; i < npages && count >= 0; i++)
		count += present[i] & 1;
	free(present);
	return count;
}

/* A map that ends at a hole, while others are about what is behind it: they do not go on. */
TEST_F(ahead, no_one_goes_on_after_the_call)
{
	struct books before = read_books(self->fd);
	char *hole = self->memory + 16 * MIB, *behind = hole + 16 * MIB;
	size_t size = MUCH - 32 * MIB;
	long came = 0;
	int round;

	if (they_always_come())
		SKIP(return, "fill_always is set: they are never that far ahead");
	munmap(hole, PAGE);
	/* On a busy machine, they may be late for the first ones. */
	for (round = 0; round < 5 || (!came && round < 100); round++) {
		long pages;

		madvise(self->memory, 16 * MIB, MADV_DONTNEED);
		madvise(behind, size, MADV_DONTNEED);
		EXPECT_ERRNO(EFAULT, MAP(self->memory, MUCH));
		pages = present_pages(behind, size);
		edu_sleep_ms(50);
		EXPECT_EQ(pages, present_pages(behind, size));
		came += pages;
	}
	EXPECT_LT(0, came);
	expect_books(_metadata, self->fd, &before);
}

/* As much as there are addresses. There is no table of what is to be done. */
TEST_F(ahead, more_than_there_is)
{
	struct books before = read_books(self->fd);
	double began = now();

	EXPECT_ERRNO(EFAULT, MAP(self->memory, 64 * GIB));
	EXPECT_GT(PROMPT, now() - began);
	expect_books(_metadata, self->fd, &before);
}

struct map_thread {
	pthread_t thread;
	int fd, ioas, result;
	char *memory;
};

static void *map_in_thread(void *data)
{
	struct map_thread *map = data;

	map->result = ioas_map(map->fd, map->ioas, map->memory, MUCH, AT);
	return NULL;
}

/* Wait until the process, alone in the group but for the map, has others. */
static void wait_for_others(struct __test_metadata *_metadata, long threads)
{
	double began = now();

	while (cgroup_get(GROUP, "pids.current", "") <= threads)
		ASSERT_GT(PROMPT, now() - began);
}

/* Memory that goes while it is brought. */
static void unmap_end(char *memory)
{
	munmap(memory + MUCH - 32 * MIB, 32 * MIB);
}

static void unmap_all_of_it(char *memory)
{
	munmap(memory, MUCH);
}

static void drop_it(char *memory)
{
	madvise(memory, MUCH, MADV_DONTNEED);
}

static void protect_it(char *memory)
{
	mprotect(memory, MUCH, PROT_NONE);
}

static void map_while(struct __test_metadata *_metadata, struct _test_data_ahead *self,
		      void (*vanish)(char *memory), int result)
{
	IN_CHILD() {
		struct map_thread map = { .fd = self->fd, .ioas = self->ioas,
					  .memory = self->memory };
		struct books before = read_books(self->fd);

		ASSERT_TRUE(cgroup_enter(GROUP));
		ASSERT_EQ(0, pthread_create(&map.thread, NULL, map_in_thread, &map));
		wait_for_others(_metadata, 2);
		vanish(self->memory);
		pthread_join(map.thread, NULL);
		EXPECT_EQ(result, map.result);
		if (!map.result)
			EXPECT_EQ((int64_t)MUCH, UNMAP_ALL());
		expect_books(_metadata, self->fd, &before);
	}
}

#define EXPECT_WHILE(result, vanish) map_while(_metadata, self, vanish, result)

TEST_F(ahead, its_end_vanishes)
{
	EXPECT_WHILE(-EFAULT, unmap_end);
}

TEST_F(ahead, all_of_it_vanishes)
{
	EXPECT_WHILE(-EFAULT, unmap_all_of_it);
}

TEST_F(ahead, the_rights_to_it_vanish)
{
	EXPECT_WHILE(-EFAULT, protect_it);
}

TEST_F(ahead, what_is_in_it_vanishes)
{
	EXPECT_WHILE(0, drop_it);
}

/* The process maps, and others have come to it; what it is has no pages in common with us. */
static pid_t start_mapping(struct __test_metadata *_metadata, struct _test_data_ahead *self)
{
	pid_t child = fork();

	ASSERT_LE(0, child);
	if (!child) {
		if (!cgroup_enter(GROUP))
			_exit(1);
		_exit(MAP(self->memory, MUCH) ? 2 : 0);
	}
	wait_for_others(_metadata, 1);
	return child;
}

TEST_F(ahead, killed)
{
	struct books before = read_books(self->fd);
	pid_t child = start_mapping(_metadata, self);
	double killed = now();
	int status;

	ASSERT_OK(kill(child, SIGKILL));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_GT(PROMPT, now() - killed);
	EXPECT_EQ(0, UNMAP_ALL());
	expect_books(_metadata, self->fd, &before);
}

/* It stops when it has mapped, which no one else has to wait for: whatever others do then. */
TEST_F(ahead, stopped)
{
	int round, stopped = 0;

	for (round = 0; round < 4; round++) {
		pid_t child = start_mapping(_metadata, self);
		int status;

		edu_sleep_ms(20 * round);
		ASSERT_OK(kill(child, SIGSTOP));
		ASSERT_EQ(child, waitpid(child, &status, WUNTRACED));
		EXPECT_EQ((int64_t)MUCH, UNMAP_ALL());
		/* On a busy machine it may have come to its end before. */
		if (WIFSTOPPED(status)) {
			stopped++;
			ASSERT_OK(kill(child, SIGCONT));
			ASSERT_EQ(child, waitpid(child, &status, 0));
		}
		EXPECT_EQ(0, status);
	}
	EXPECT_LT(0, stopped);
}

/* The same for a group that is frozen. */
TEST_F(ahead, frozen)
{
	pid_t child = start_mapping(_metadata, self);
	double began = now();
	int status;

	ASSERT_TRUE(cgroup_set(GROUP, "cgroup.freeze", "1"));
	while (cgroup_get(GROUP, "cgroup.events", "frozen ") != 1)
		ASSERT_GT(PROMPT, now() - began);
	EXPECT_EQ((int64_t)MUCH, UNMAP_ALL());
	ASSERT_TRUE(cgroup_set(GROUP, "cgroup.freeze", "0"));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
}

/* A thread of the process's beside its first, or 0. */
static pid_t other_thread(pid_t process)
{
	struct dirent *entry;
	pid_t thread = 0;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", process);
	dir = opendir(path);
	while (dir && (entry = readdir(dir)))
		if (atoi(entry->d_name) > 0 && atoi(entry->d_name) != process)
			thread = atoi(entry->d_name);
	if (dir)
		closedir(dir);
	return thread;
}

/* They are given no more of the processors than the caller. */
TEST_F(ahead, no_more_important)
{
	int round, seen = 0;

	for (round = 0; round < 8 && seen < 3; round++) {
		pid_t thread, child;
		int status, nice;

		ASSERT_OK(setpriority(PRIO_PROCESS, 0, 7));
		child = start_mapping(_metadata, self);
		ASSERT_OK(setpriority(PRIO_PROCESS, 0, 0));
		/* Whatever it does about itself, it has done. */
		edu_sleep_ms(10);
		thread = other_thread(child);
		errno = 0;
		nice = getpriority(PRIO_PROCESS, thread);
		/* It may have come to its end before. */
		if (thread && !errno) {
			seen++;
			EXPECT_EQ(7, nice);
			EXPECT_EQ(SCHED_OTHER, sched_getscheduler(thread));
		}
		ASSERT_OK(kill(child, SIGKILL));
		ASSERT_EQ(child, waitpid(child, &status, 0));
		EXPECT_LE(0, UNMAP_ALL());
	}
	EXPECT_LT(0, seen);
}

/* A debugger wants to stop one that is about the memory: it comes to its end all the same. */
TEST_F(ahead, traced)
{
	int round, caught = 0;

	for (round = 0; round < 8 && caught < 3; round++) {
		pid_t thread, child = fork();
		double began = now();
		int status;

		ASSERT_LE(0, child);
		if (!child) {
			if (!cgroup_enter(GROUP) || MAP(self->memory, MUCH))
				_exit(1);
			for (;;)
				pause();
		}
		wait_for_others(_metadata, 1);
		thread = other_thread(child);
		if (thread && !ptrace(PTRACE_SEIZE, thread, NULL, NULL) &&
		    !ptrace(PTRACE_INTERRUPT, thread, NULL, NULL)) {
			caught++;
			while (waitpid(thread, &status, __WALL | WNOHANG) != thread ||
			       WIFSTOPPED(status)) {
				ptrace(PTRACE_CONT, thread, NULL, NULL);
				edu_sleep_ms(1);
				ASSERT_GT(3 * PROMPT, now() - began);
			}
		}
		ASSERT_OK(kill(child, SIGKILL));
		ASSERT_EQ(child, waitpid(child, &status, 0));
		EXPECT_LE(0, UNMAP_ALL());
	}
	EXPECT_LT(0, caught);
}

/* Another program takes the process over: the map ends, and what it had. */
TEST_F(ahead, replaced_by_another_program)
{
	struct books before = read_books(self->fd);
	pid_t child = fork();
	int status;

	ASSERT_LE(0, child);
	if (!child) {
		struct map_thread map = { .fd = self->fd, .ioas = self->ioas,
					  .memory = self->memory };

		if (!cgroup_enter(GROUP) ||
		    pthread_create(&map.thread, NULL, map_in_thread, &map))
			_exit(1);
		wait_for_others(_metadata, 2);
		execl("/bin/busybox", "true", NULL);
		_exit(2);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, UNMAP_ALL());
	expect_books(_metadata, self->fd, &before);
}

/* Too much for the group: somebody is killed for it, as ever, and all of it is given back. */
TEST_F(ahead, too_much_for_the_group)
{
	struct books before = read_books(self->fd);
	pid_t child;
	int status;

	ASSERT_TRUE(cgroup_set(GROUP, "memory.max", "64M"));
	child = fork();
	ASSERT_LE(0, child);
	if (!child)
		_exit(cgroup_enter(GROUP) && MAP(self->memory, MUCH) == -EFAULT ? 0 : 1);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	EXPECT_EQ(0, UNMAP_ALL());
	expect_books(_metadata, self->fd, &before);
}

/* A file that the group has no room for: nobody is killed, and the call fails. */
TEST_F(ahead, a_file_too_large_for_the_group)
{
	struct books before = read_books(self->fd);
	int file = memfd_create("large", MFD_CLOEXEC);

	ASSERT_OK(ftruncate(file, MUCH));
	ASSERT_TRUE(cgroup_set(GROUP, "memory.max", "64M"));
	IN_CHILD() {
		/* With the group full there is no page for it to get by a fault. */
		ASSERT_TRUE(write_text("/proc/self/oom_score_adj", "-1000"));
		munmap(self->memory, MUCH);
		ASSERT_OK(mlockall(MCL_CURRENT));
		ASSERT_TRUE(cgroup_enter(GROUP));
		EXPECT_ERRNO(ENOMEM, ioas_map_file(self->fd, self->ioas, file, 0, MUCH, AT));
	}
	expect_books(_metadata, self->fd, &before);
	close(file);
}

TEST_HARNESS_MAIN
