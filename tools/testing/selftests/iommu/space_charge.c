// SPDX-License-Identifier: GPL-2.0
/*
 * Who is charged for memory, and that each page is given back in every way that a
 * mapping may end: to the process (VmPin), to the user (RLIMIT_MEMLOCK), and to the
 * control group for what the driver itself needs.
 */
#include <sys/stat.h>
#include <sys/syscall.h>

#include "books.h"
#include "iommufd_calls.h"
#include "pinning.h"
#include "sources.h"

#define A_USER 4242
#define LIMIT 64UL		/* pages that the user may pin */

FIXTURE(user)
{
	int fd;
	int ioasid;
	char *memory;
	struct needer needer;
	long pins;
};

FIXTURE_SETUP(user)
{
	self->fd = open_iommufd();
	if (self->fd < 0)
		SKIP(return, "cannot open " IOMMU_NODE);
	self->ioasid = ioasid_alloc(self->fd, 64);
	ASSERT_LT(0, self->ioasid);
	self->memory = pages(LIMIT + 1);
	ASSERT_NE(NULL, self->memory);
	if (!need_pins(_metadata, &self->needer, self->fd, self->ioasid))
		SKIP(return, NO_DEVICE);
	self->pins = held_pins();
}

FIXTURE_TEARDOWN(user)
{
	EXPECT_EQ(self->pins, held_pins());
}

#define MAP_PAGES(at, count) \
	ioasid_map(self->fd, self->ioasid, self->memory, IOVA + (at) * PAGE, (count) * PAGE, \
		   IOASID_RW)

/* The user has @count pages of the limit left, not one more and not one less. */
static void expect_left(struct __test_metadata *_metadata, struct _test_data_user *self,
			unsigned long count)
{
	int ioasid = ioasid_alloc(self->fd, 64);
	int hwpt = hwpt_alloc(self->fd, self->needer.id, ioasid, 0);
	unsigned long i;

	ASSERT_LT(0, hwpt);
	EXPECT_ERRNO(ENOMEM, ioasid_map(self->fd, ioasid, self->memory, IOVA, (count + 1) * PAGE,
					IOASID_RW));
	for (i = 0; i < count; i++)
		EXPECT_OK(ioasid_map(self->fd, ioasid, self->memory, i * PAGE, PAGE, IOASID_RW));
	EXPECT_ERRNO(ENOMEM, ioasid_map(self->fd, ioasid, self->memory, IOVA, PAGE, IOASID_RW));
	EXPECT_OK(destroy(self->fd, hwpt));
	EXPECT_OK(ioasid_free(self->fd, ioasid));
}

#define EXPECT_LEFT(count) expect_left(_metadata, self, count)

#define BECOME_USER() ASSERT_OK(become_user(A_USER, LIMIT * PAGE))

/* --- to the user, to the page ----------------------------------------------------------- */

TEST_F(user, limit_is_exact)
{
	IN_CHILD() {
		BECOME_USER();
		EXPECT_LEFT(LIMIT);
		EXPECT_ERRNO(ENOMEM, MAP_PAGES(0, LIMIT + 1));
		ASSERT_OK(MAP_PAGES(0, LIMIT - 1));
		EXPECT_LEFT(1);
		ASSERT_OK(MAP_PAGES(LIMIT, 1));
		EXPECT_LEFT(0);
		EXPECT_EQ(LIMIT, pinned_pages());
	}
	EXPECT_EQ(LIMIT * PAGE, unmap_all(self->fd, self->ioasid));
}

TEST_F(user, unmap_gives_back)
{
	IN_CHILD() {
		BECOME_USER();
		ASSERT_OK(MAP_PAGES(0, 10));
		ASSERT_OK(MAP_PAGES(20, 20));
		ASSERT_OK(MAP_PAGES(50, 30));
		EXPECT_LEFT(LIMIT - 60);
		ASSERT_EQ(20 * PAGE, unmap(self->fd, self->ioasid, IOVA + 15 * PAGE, 30 * PAGE));
		EXPECT_LEFT(LIMIT - 40);
		EXPECT_EQ(40, pinned_pages());
		/* Nothing is given back for what is refused. */
		ASSERT_EQ(-EINVAL, unmap(self->fd, self->ioasid, IOVA, 60 * PAGE));
		EXPECT_LEFT(LIMIT - 40);
		ASSERT_EQ(40 * PAGE, unmap_all(self->fd, self->ioasid));
		EXPECT_LEFT(LIMIT);
		EXPECT_EQ(0, pinned_pages());
	}
}

TEST_F(user, failures_give_back)
{
	ASSERT_OK(munmap(self->memory + LIMIT * PAGE, PAGE));
	IN_CHILD() {
		BECOME_USER();
		ASSERT_OK(MAP_PAGES(0, 1));
		EXPECT_ERRNO(EEXIST, MAP_PAGES(0, 2));
		EXPECT_ERRNO(EFAULT, ioasid_map(self->fd, self->ioasid,
						self->memory + (LIMIT - 10) * PAGE,
						IOVA + PAGE, 11 * PAGE, IOASID_RW));
		EXPECT_ERRNO(ENOMEM, MAP_PAGES(1, LIMIT));
		EXPECT_ERRNO(ENOENT, ioasid_map(self->fd, 99, self->memory, IOVA, PAGE,
						IOASID_RW));
		EXPECT_EQ(1, pinned_pages());
		ASSERT_OK(MAP_PAGES(1, LIMIT - 1));
		EXPECT_ERRNO(ENOMEM, MAP_PAGES(LIMIT, 1));
	}
	EXPECT_EQ(LIMIT * PAGE, unmap_all(self->fd, self->ioasid));
}

TEST_F(user, detach_gives_back)
{
	IN_CHILD() {
		BECOME_USER();
		ASSERT_OK(MAP_PAGES(0, LIMIT));
		EXPECT_LEFT(0);
		ASSERT_OK(vfio_detach(self->needer.edu.fd));
		EXPECT_LEFT(LIMIT);
		EXPECT_EQ(0, pinned_pages());
	}
}

/* Who has mapped may be gone: it is given back when the mapping is. */
TEST_F(user, mapper_is_gone)
{
	IN_CHILD() {
		BECOME_USER();
		ASSERT_OK(MAP_PAGES(0, LIMIT - 3));
	}
	IN_CHILD() {
		BECOME_USER();
		EXPECT_LEFT(3);
	}
	EXPECT_EQ((LIMIT - 3) * PAGE, unmap_all(self->fd, self->ioasid));
	IN_CHILD() {
		BECOME_USER();
		EXPECT_LEFT(LIMIT);
	}
}

enum end { BY_CLOSE, BY_EXIT, BY_EXEC, BY_SIGNAL };

/* A process with a context of its own that maps all it may, and ends it so. */
static void map_and_end(struct __test_metadata *_metadata, char *memory, enum end end)
{
	char *const arguments[] = { "true", NULL };
	int fd = open_iommufd();
	struct needer needer;

	ASSERT_EQ(1, ioasid_alloc(fd, 64));
	ASSERT_OK(needer_open(&needer, fd, 1));
	ASSERT_OK(become_user(A_USER, LIMIT * PAGE));
	ASSERT_OK(ioasid_map(fd, 1, memory, IOVA, LIMIT * PAGE, IOASID_RW));
	ASSERT_ERRNO(ENOMEM, ioasid_map(fd, 1, memory, 0, PAGE, IOASID_RW));
	switch (end) {
	case BY_CLOSE:
		needer_close(&needer);
		close(fd);
		EXPECT_EQ(0, pinned_pages());
		break;
	case BY_EXIT:
		break;
	case BY_EXEC:
		/* It is closed before anything of the new program runs. */
		execv("/bin/true", arguments);
		break;
	case BY_SIGNAL:
		raise(SIGKILL);
	}
	_exit(0);
}

TEST_F(user, the_end_of_a_context_gives_back)
{
	enum end end;
	pid_t child;

	for (end = BY_CLOSE; end <= BY_SIGNAL; end++) {
		needer_close(&self->needer);
		child = fork();
		ASSERT_LE(0, child);
		if (!child)
			map_and_end(_metadata, self->memory, end);
		ASSERT_EQ(child, waitpid(child, NULL, 0));
		ASSERT_OK(needer_open(&self->needer, self->fd, self->ioasid));
		IN_CHILD() {
			BECOME_USER();
			EXPECT_LEFT(LIMIT);
		}
		EXPECT_EQ(self->pins, held_pins());
	}
}

/* --- CAP_IPC_LOCK -------------------------------------------------------------------------- */

/* What counts is what the process may when it maps, not who it is, nor later. */
TEST_F(user, the_privileged_are_not_charged)
{
	struct rlimit limit = { LIMIT * PAGE, LIMIT * PAGE };

	IN_CHILD() {
		ASSERT_OK(setrlimit(RLIMIT_MEMLOCK, &limit));
		ASSERT_OK(MAP_PAGES(0, LIMIT));
		ASSERT_OK(MAP_PAGES(LIMIT, LIMIT));
		ASSERT_OK(be_limited(LIMIT * PAGE));
		EXPECT_LEFT(LIMIT);
		ASSERT_OK(MAP_PAGES(2 * LIMIT, LIMIT));
		EXPECT_LEFT(0);
		EXPECT_EQ(3 * LIMIT, pinned_pages());
		/* One of those that were not charged gives nothing back. */
		ASSERT_EQ(LIMIT * PAGE, unmap(self->fd, self->ioasid, IOVA, LIMIT * PAGE));
		EXPECT_LEFT(0);
	}
	/* And who is privileged gives back for one who is not. */
	EXPECT_EQ(2 * LIMIT * PAGE, unmap_all(self->fd, self->ioasid));
	IN_CHILD() {
		ASSERT_OK(be_limited(LIMIT * PAGE));
		EXPECT_LEFT(LIMIT);
	}
}

/* --- to the control group ------------------------------------------------------------------ */

#define CGROUP "/sys/fs/cgroup"
#define GROUP CGROUP "/space_charge"
#define GROUP_LIMIT (8 * MIB)

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	close(fd);
	return good;
}

FIXTURE(group)
{
	int fd;
	int ioasid;
	char *memory;
	struct needer needer;
	long pins;
};

FIXTURE_SETUP(group)
{
	char limit[32];

	self->needer = NO_NEEDER;
	self->fd = open_iommufd();
	if (self->fd < 0)
		SKIP(return, "cannot open " IOMMU_NODE);
	if (!write_file(CGROUP "/cgroup.subtree_control", "+memory"))
		SKIP(return, "needs control groups, version 2, and to be root");
	rmdir(GROUP);	/* left behind by a test that was killed */
	ASSERT_OK(mkdir(GROUP, 0700));
	snprintf(limit, sizeof(limit), "%lu", GROUP_LIMIT);
	ASSERT_TRUE(write_file(GROUP "/memory.max", limit));
	self->ioasid = ioasid_alloc(self->fd, 64);
	ASSERT_LT(0, self->ioasid);
	self->memory = pages(1024);
	ASSERT_NE(NULL, self->memory);
	memset(self->memory, 1, 1024 * PAGE);
	self->pins = held_pins();
}

FIXTURE_TEARDOWN(group)
{
	needer_close(&self->needer);
	close(self->fd);
	EXPECT_EQ(self->pins, held_pins());
	EXPECT_OK(rmdir(GROUP));
}

/* Have a device in the space: what is mapped is pinned. */
#define NEED_PINS() need_pins(_metadata, &self->needer, self->fd, self->ioasid)

#define MAP_IN_GROUP(iova) \
	ioasid_map(self->fd, self->ioasid, self->memory, iova, PAGE, IOASID_RW)

/* Map pages, each an area of its own, until that fails; how many it were. */
static unsigned int map_until_it_fails(struct _test_data_group *self, int *error)
{
	unsigned int i;

	for (i = 0; i < 1000000; i++) {
		*error = ioasid_map(self->fd, self->ioasid, self->memory + i % 1024 * PAGE,
				    GIB + 2 * i * PAGE, PAGE, IOASID_RW);
		if (*error)
			break;
	}
	return i;
}

/*
 * Whoever wants a million areas in a small group does not get them. One that is not
 * to be killed for it is told, and goes on with what there is.
 */
TEST_F(group, areas_are_charged_to_the_group)
{
	int limit = open(GROUP "/memory.max", O_WRONLY | O_CLOEXEC);
	unsigned int count, again;
	struct books books;
	int error;

	IN_CHILD() {
		ASSERT_TRUE(write_file("/proc/self/oom_score_adj", "-1000"));
		/* With the group full there is no page for it to get by a fault. */
		ASSERT_OK(mlockall(MCL_CURRENT));
		ASSERT_TRUE(write_file(GROUP "/cgroup.procs", "0"));
		count = map_until_it_fails(self, &error);
		EXPECT_EQ(-ENOMEM, error);
		EXPECT_EQ(count * PAGE, unmap_all(self->fd, self->ioasid));
		/* All of that has been given back: it can be had again. */
		again = map_until_it_fails(self, &error);
		EXPECT_EQ(-ENOMEM, error);
		EXPECT_LT(count / 10 * 9, again);
		/* An area takes no more than it may, and no less than it must. */
		EXPECT_LT(GROUP_LIMIT / 160, count);
		EXPECT_GT(GROUP_LIMIT / 64, count);
		EXPECT_ERRNO(ENOMEM, MAP_IN_GROUP(0));
		/* It takes memory to look at the books. */
		ASSERT_EQ(3, write(limit, "max", 3));
		books = read_books(self->fd);
		EXPECT_OK(MAP_IN_GROUP(0));
		EXPECT_EQ(PAGE, unmap(self->fd, self->ioasid, 0, PAGE));
		expect_books(_metadata, self->fd, &books);
		TH_LOG("%u areas in a group of %lu bytes", count, GROUP_LIMIT);
	}
}

/* A MAP that has used up the group, for page tables, is undone as far as it got. */
TEST_F(group, page_tables_are_charged_to_the_group)
{
	const size_t tile = 16 * MIB;
	int file = memfd_create("tile", MFD_CLOEXEC);
	struct books books;
	struct bound b;
	char *memory;
	int ret = bound_open(&b);

	if (ret == -ENODEV)
		SKIP(return, NO_DEVICE);
	ASSERT_OK(ret);
	ASSERT_OK(vfio_attach(b.edu.fd, b.ioasid));
	memset(map_file(file, tile, PROT_READ | PROT_WRITE, MAP_SHARED), 1, tile);
	memory = tiled(file, tile, GIB);
	ASSERT_NE(NULL, memory);
	ASSERT_TRUE(write_file(GROUP "/memory.max", "1M"));
	IN_CHILD() {
		ASSERT_TRUE(write_file("/proc/self/oom_score_adj", "-1000"));
		books = read_books(b.fd);
		ASSERT_TRUE(write_file(GROUP "/cgroup.procs", "0"));
		/* No large page fits there: each 2 MiB take a page of tables. */
		ret = ioasid_map(b.fd, b.ioasid, memory, IOVA + PAGE, GIB, IOASID_RW);
		ASSERT_TRUE(write_file(CGROUP "/cgroup.procs", "0"));
		EXPECT_EQ(-ENOMEM, ret);
		expect_books(_metadata, b.fd, &books);
		EXPECT_OK(ioasid_map(b.fd, b.ioasid, memory, IOVA + PAGE, tile, IOASID_RW));
	}
	EXPECT_EQ(tile, unmap_all(b.fd, b.ioasid));
	bound_close(&b);
}

/* Memory that comes only with its MAP: some of it fits, and then no more. */
TEST_F(group, memory_is_charged_to_the_group)
{
	char *memory = small_pages(4 * GROUP_LIMIT);
	struct books books;
	int ret;

	if (!NEED_PINS())
		SKIP(return, NO_DEVICE);
	ASSERT_NE(NULL, memory);
	IN_CHILD() {
		ASSERT_TRUE(write_file("/proc/self/oom_score_adj", "-1000"));
		books = read_books(self->fd);
		ASSERT_TRUE(write_file(GROUP "/cgroup.procs", "0"));
		ret = ioasid_map(self->fd, self->ioasid, memory, GIB, 4 * GROUP_LIMIT, IOASID_RW);
		ASSERT_TRUE(write_file(CGROUP "/cgroup.procs", "0"));
		EXPECT_EQ(-ENOMEM, ret);
		expect_books(_metadata, self->fd, &books);
	}
	EXPECT_EQ(0, unmap_all(self->fd, self->ioasid));
}

/* Whoever may be killed for it is, and nothing is left of his MAP. */
TEST_F(group, too_much_memory_is_the_end_of_a_process)
{
	char *memory = small_pages(4 * GROUP_LIMIT);
	int status;
	pid_t child;

	if (!NEED_PINS())
		SKIP(return, NO_DEVICE);
	ASSERT_NE(NULL, memory);
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		write_file(GROUP "/cgroup.procs", "0");
		_exit(-ioasid_map(self->fd, self->ioasid, memory, GIB, 4 * GROUP_LIMIT,
				  IOASID_RW));
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(SIGKILL, WTERMSIG(status));
	EXPECT_EQ(0, unmap_all(self->fd, self->ioasid));
	EXPECT_EQ(self->pins, held_pins());
}

/* Memory of a file is not the mapper's own: he is told, and nobody is killed for it. */
TEST_F(group, memory_of_a_file_is_charged_to_the_group)
{
	int file = memfd_create("too large", MFD_CLOEXEC), ret;
	struct books books;

	if (!NEED_PINS())
		SKIP(return, NO_DEVICE);
	ASSERT_OK(ftruncate(file, 4 * GROUP_LIMIT));
	IN_CHILD() {
		books = read_books(self->fd);
		ASSERT_TRUE(write_file(GROUP "/cgroup.procs", "0"));
		ret = ioas_map_file(self->fd, self->ioasid, file, 0, 4 * GROUP_LIMIT, GIB);
		ASSERT_TRUE(write_file(CGROUP "/cgroup.procs", "0"));
		EXPECT_EQ(-ENOMEM, ret);
		expect_books(_metadata, self->fd, &books);
	}
	EXPECT_EQ(0, unmap_all(self->fd, self->ioasid));
	close(file);
}

/* Any other is killed, it alone, and nothing of it stays. */
TEST_F(group, too_many_areas_are_the_end_of_a_process)
{
	pid_t child = fork();
	int status, error;

	ASSERT_LE(0, child);
	if (!child) {
		write_file(GROUP "/cgroup.procs", "0");
		map_until_it_fails(self, &error);
		_exit(error);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(SIGKILL, WTERMSIG(status));
	EXPECT_LT(0, unmap_all(self->fd, self->ioasid));
	EXPECT_EQ(self->pins, held_pins());
}

TEST_HARNESS_MAIN
