// SPDX-License-Identifier: GPL-2.0
/*
 * What can be seen of a context: a process's fdinfo, debugfs iommufd/contexts, and
 * the trace events iommufd:*. All of it is right, and nothing tells an address of
 * the host.
 */
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "container_calls.h"
#include "pinning.h"

#define CONTEXTS "/sys/kernel/debug/iommufd/contexts"
#define TRACES "/sys/kernel/tracing/instances"
#define TRACE TRACES "/ioasid_visible"

/* Where no memory of the host has its address. */
#define FIRST 0x1234000000ULL
#define LAST (FIRST + (64ULL << 20) - 1)
#define A_USER 4242

static char text[1 << 16];	/* what was read last */

static char *read_text(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t size = 0;
	ssize_t got = 0;

	while (fd >= 0 && (got = read(fd, text + size, sizeof(text) - 1 - size)) > 0)
		size += got;
	text[size] = 0;
	if (fd >= 0)
		close(fd);
	return fd < 0 || got < 0 ? NULL : text;
}

static char *read_fdinfo(int fd)
{
	char path[48];

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	return read_text(path);
}

/* What CONTEXTS says of the context that process @owner opened: all lines but the first. */
static char *read_context(pid_t owner)
{
	char head[32], *found, *end;

	snprintf(head, sizeof(head), " opened by %d\n", owner);
	found = read_text(CONTEXTS) ? strstr(text, head) : NULL;
	if (!found)
		return NULL;
	found += strlen(head);
	end = strstr(found, "context:");
	if (end)
		*end = 0;
	return found;
}

/* How many lines of @where begin with @start. */
static int count_lines(const char *where, const char *start)
{
	int count = 0;

	while (where && *where) {
		count += !strncmp(where, start, strlen(start));
		where = strchr(where, '\n');
		where += !!where;
	}
	return count;
}

/* Exactly one line of @where is this one. */
__attribute__((format(printf, 3, 4)))
static void expect_line(struct __test_metadata *_metadata, const char *where,
			const char *format, ...)
{
	char line[256];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line) - 1, format, args);
	va_end(args);
	strcat(line, "\n");
	EXPECT_EQ(1, count_lines(where, line))
		TH_LOG("no, or not one, line %sin\n%s", line, where ? where : "(nothing)");
}

#define EXPECT_LINE(...) expect_line(_metadata, __VA_ARGS__)

#define SPACE_LINE "ioasid:\t%d window 0x%llx-0x%llx areas %d mapped %d kB pinned %d pages charged %d kB"
#define SNOOP_LINE "ioasid:\t%d window 0x%llx-0x%llx enforce-snoop areas 0 mapped 0 kB pinned 0 pages charged 0 kB"

/*
 * Two pages of a file, the first of them three times in a row and then the second:
 * no two of the first three are neighbours in the host's memory.
 */
#define MEMORY_PAGES 4
#define RUNS 3		/* of the first three pages */

static char *scattered_pages(void)
{
	int file = memfd_create("scattered", MFD_CLOEXEC), i;
	char *memory = mmap(NULL, MEMORY_PAGES * PAGE, PROT_NONE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (ftruncate(file, 2 * PAGE) || memory == MAP_FAILED)
		return NULL;
	for (i = 0; i < MEMORY_PAGES; i++)
		if (mmap(memory + i * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
			 file, i < 3 ? 0 : PAGE) == MAP_FAILED)
			return NULL;
	close(file);
	memset(memory, 1, MEMORY_PAGES * PAGE);
	return memory;
}

FIXTURE(visible)
{
	int fd;
	int ioasid;
	char *memory;
	struct needer needer;
};

FIXTURE_SETUP(visible)
{
	self->needer = NO_NEEDER;
	self->fd = open_iommufd();
	if (self->fd < 0)
		SKIP(return, "cannot open " IOMMU_NODE);
	self->ioasid = ioasid_alloc_window(self->fd, FIRST, LAST);
	ASSERT_LT(0, self->ioasid);
	self->memory = scattered_pages();
	ASSERT_NE(NULL, self->memory);
}

FIXTURE_TEARDOWN(visible)
{
	needer_close(&self->needer);
	close(self->fd);
}

/* Have a device in the space: what is mapped is pinned. */
#define NEED_PINS() need_pins(_metadata, &self->needer, self->fd, self->ioasid)

/* COUNT pages of memory at page AT of the window. */
#define MAP(at, count, access) \
	ioasid_map(self->fd, self->ioasid, self->memory, FIRST + (at) * PAGE, \
		   (count) * PAGE, access)
#define UNMAP(at, count) \
	unmap(self->fd, self->ioasid, FIRST + (at) * PAGE, (count) * PAGE)
#define EXPECT_SPACE(where, areas, kilobytes, pages, charged) \
	EXPECT_LINE(where, SPACE_LINE, self->ioasid, FIRST, LAST, areas, kilobytes, pages, \
		    charged)

/* --- fdinfo ---------------------------------------------------------------------- */

TEST_F(visible, fdinfo_of_an_empty_context)
{
	int other = open_iommufd();

	ASSERT_OK(MAP(0, 3, IOASID_RW));
	ASSERT_NE(NULL, read_fdinfo(other));
	EXPECT_EQ(1, count_lines(text, "pos:"));
	EXPECT_EQ(0, count_lines(text, "ioasid:"));
	EXPECT_EQ(0, count_lines(text, "device:"));
	close(other);
}

static long context_number(int fd)
{
	char *line = read_fdinfo(fd) ? strstr(text, "\ncontext:\t") : NULL;

	return line ? strtol(line + strlen("\ncontext:\t"), NULL, 10) : -1;
}

TEST_F(visible, fdinfo_tells_opens_apart)
{
	int other = open_iommufd(), same = dup(self->fd);
	long number = context_number(self->fd);

	ASSERT_LT(0, number);
	EXPECT_EQ(number, context_number(same));
	EXPECT_LT(number, context_number(other));
	if (!read_text(CONTEXTS))
		SKIP(return, "needs debugfs");
	EXPECT_LINE(text, "context:\t%ld opened by %d", number, getpid());
	close(other);
	close(same);
}

TEST_F(visible, fdinfo_counts_what_is_mapped)
{
	if (!NEED_PINS())
		SKIP(return, NO_DEVICE);
	EXPECT_SPACE(read_fdinfo(self->fd), 0, 0, 0, 0);
	ASSERT_OK(MAP(0, 3, IOASID_RW));
	EXPECT_SPACE(read_fdinfo(self->fd), 1, 12, 3, 0);
	ASSERT_OK(MAP(8, 4, IOASID_READ));
	EXPECT_SPACE(read_fdinfo(self->fd), 2, 28, 7, 0);
	/* Failures do not count. */
	ASSERT_EQ(-EEXIST, MAP(0, 1, IOASID_RW));
	ASSERT_EQ(-EINVAL, UNMAP(0, 1));
	ASSERT_EQ(-EFAULT, ioasid_map(self->fd, self->ioasid, NULL, FIRST + 20 * PAGE, PAGE,
				      IOASID_RW));
	EXPECT_SPACE(read_fdinfo(self->fd), 2, 28, 7, 0);
	ASSERT_EQ(3 * PAGE, UNMAP(0, 3));
	EXPECT_SPACE(read_fdinfo(self->fd), 1, 16, 4, 0);
	ASSERT_EQ(4 * PAGE, unmap_all(self->fd, self->ioasid));
	EXPECT_SPACE(read_fdinfo(self->fd), 0, 0, 0, 0);
	needer_close(&self->needer);
	ASSERT_OK(ioasid_free(self->fd, self->ioasid));
	EXPECT_EQ(0, count_lines(read_fdinfo(self->fd), "ioasid:"));
}

TEST_F(visible, fdinfo_counts_each_space)
{
	int wide = ioasid_alloc(self->fd, 64);
	struct iommu_ioasid_alloc alloc = {
		.argsz = sizeof(alloc),
		.flags = IOMMU_IOASID_ENFORCE_SNOOP,
		.type = IOMMU_IOASID_TYPE_KERNEL_TYPE1V2,
		.addr_width = 40,
	};
	int snoops = call(self->fd, IOMMU_IOASID_ALLOC, &alloc);

	if (!NEED_PINS())
		SKIP(return, NO_DEVICE);
	ASSERT_LT(0, wide);
	ASSERT_LT(0, snoops);
	ASSERT_OK(MAP(0, 2, IOASID_RW));
	ASSERT_OK(ioasid_map(self->fd, wide, self->memory, 0, 4 * PAGE, IOASID_RW));
	EXPECT_SPACE(read_fdinfo(self->fd), 1, 8, 2, 0);
	EXPECT_LINE(text, SPACE_LINE " no-device", wide, 0ULL, ~0ULL, 1, 16, 0, 0);
	EXPECT_LINE(text, SNOOP_LINE, snoops, 0ULL, 0xffffffffffULL);
	EXPECT_EQ(3, count_lines(text, "ioasid:"));
	EXPECT_LT(strstr(text, "ioasid:\t1 "), strstr(text, "ioasid:\t2 "));
	EXPECT_LT(strstr(text, "ioasid:\t2 "), strstr(text, "ioasid:\t3 "));
}

#define MAPPER_LINE "mapper:\tioasid %d process %d"

/* Who maps is not always who opened; of who has ended, there is nothing to say. */
TEST_F(visible, fdinfo_tells_who_mapped)
{
	EXPECT_EQ(0, count_lines(read_fdinfo(self->fd), "mapper:"));
	ASSERT_OK(MAP(0, 1, IOASID_RW));
	EXPECT_LINE(read_fdinfo(self->fd), MAPPER_LINE, self->ioasid, getpid());
	IN_CHILD() {
		ASSERT_EQ(-EEXIST, MAP(0, 1, IOASID_RW));
		EXPECT_LINE(read_fdinfo(self->fd), MAPPER_LINE, self->ioasid, getppid());
		ASSERT_OK(MAP(1, 1, IOASID_RW));
		EXPECT_LINE(read_fdinfo(self->fd), MAPPER_LINE, self->ioasid, getpid());
	}
	EXPECT_LINE(read_fdinfo(self->fd), MAPPER_LINE, self->ioasid, 0);
	ASSERT_EQ(2 * PAGE, unmap_all(self->fd, self->ioasid));
	EXPECT_EQ(0, count_lines(read_fdinfo(self->fd), "mapper:"));
}

/* Charged is what counts against a limit: not what root has mapped. */
TEST_F(visible, fdinfo_tells_what_a_user_is_charged)
{
	if (!NEED_PINS())
		SKIP(return, NO_DEVICE);
	ASSERT_OK(MAP(0, 3, IOASID_RW));
	IN_CHILD() {
		ASSERT_OK(become_user(A_USER, 8 * PAGE));
		ASSERT_OK(MAP(8, 2, IOASID_RW));
		ASSERT_EQ(-ENOMEM, MAP(16, 0x1000, IOASID_RW));
		/* Who has changed their user cannot look into their own process, else. */
		ASSERT_OK(prctl(PR_SET_DUMPABLE, 1));
		EXPECT_SPACE(read_fdinfo(self->fd), 2, 20, 5, 8);
	}
	EXPECT_SPACE(read_fdinfo(self->fd), 2, 20, 5, 8);
	ASSERT_EQ(3 * PAGE, UNMAP(0, 3));
	EXPECT_SPACE(read_fdinfo(self->fd), 1, 8, 2, 8);
	ASSERT_EQ(2 * PAGE, UNMAP(8, 2));
	EXPECT_SPACE(read_fdinfo(self->fd), 0, 0, 0, 0);
}

/* --- debugfs ---------------------------------------------------------------------- */

TEST_F(visible, contexts_are_for_root)
{
	struct stat stat;

	if (lstat(CONTEXTS, &stat))
		SKIP(return, "needs debugfs");
	EXPECT_EQ(S_IFREG | 0400, stat.st_mode);
	EXPECT_EQ(0, stat.st_uid);
	IN_CHILD() {
		ASSERT_OK(become_user(A_USER, 0));
		EXPECT_EQ(NULL, read_text(CONTEXTS));
		EXPECT_EQ(EACCES, errno);
	}
}

TEST_F(visible, contexts_say_who_opened_them)
{
	if (!read_text(CONTEXTS))
		SKIP(return, "needs debugfs");
	EXPECT_NE(NULL, read_context(getpid()));
	IN_CHILD() {
		int own;

		EXPECT_EQ(NULL, read_context(getpid()));
		own = open_iommufd();
		ASSERT_EQ(1, ioasid_alloc(own, 30));
		EXPECT_LINE(read_context(getpid()), SPACE_LINE, 1, 0ULL, 0x3fffffffULL,
			    0, 0, 0, 0);
		close(own);
		EXPECT_EQ(NULL, read_context(getpid()));
		/* The parent's is the parent's still. */
		close(self->fd);
		EXPECT_SPACE(read_context(getppid()), 0, 0, 0, 0);
	}
	close(self->fd);
	EXPECT_EQ(NULL, read_context(getpid()));
}

TEST_F(visible, contexts_have_all_that_fdinfo_has)
{
	char fdinfo[1024] = "", *lines;
	int other = ioasid_alloc(self->fd, 64);

	if (!read_text(CONTEXTS))
		SKIP(return, "needs debugfs");
	ASSERT_LT(0, other);
	ASSERT_OK(MAP(0, 3, IOASID_RW));
	ASSERT_NE(NULL, read_fdinfo(self->fd));
	lines = strstr(text, "ioasid:");
	ASSERT_NE(NULL, lines);
	ASSERT_GT(sizeof(fdinfo), strlen(lines));
	memcpy(fdinfo, lines, strlen(lines));
	ASSERT_NE(NULL, read_context(getpid()));
	EXPECT_NE(NULL, strstr(text, fdinfo))
		TH_LOG("%s is not in %s", fdinfo, text);
}

TEST_F(visible, contexts_show_areas)
{
	int other = ioasid_alloc(self->fd, 64);
	char *context;

	if (!read_text(CONTEXTS))
		SKIP(return, "needs debugfs");
	if (!NEED_PINS())
		SKIP(return, NO_DEVICE);
	ASSERT_LT(0, other);
	EXPECT_EQ(0, count_lines(read_context(getpid()), "area:"));
	ASSERT_OK(MAP(8, 1, IOASID_WRITE));
	ASSERT_OK(MAP(4, 1, IOASID_READ));
	ASSERT_OK(MAP(0, 3, IOASID_RW));
	ASSERT_OK(ioasid_map(self->fd, other, self->memory, TOP_PAGE, PAGE, IOASID_RW));
	context = read_context(getpid());
	EXPECT_EQ(4, count_lines(context, "area:"));
	EXPECT_LINE(context, "area:\tioasid %d 0x%llx-0x%llx rw runs %d", self->ioasid,
		    FIRST, FIRST + 3 * PAGE - 1, RUNS);
	EXPECT_LINE(context, "area:\tioasid %d 0x%llx-0x%llx r- runs 1", self->ioasid,
		    FIRST + 4 * PAGE, FIRST + 5 * PAGE - 1);
	EXPECT_LINE(context, "area:\tioasid %d 0x%llx-0x%llx -w runs 1", self->ioasid,
		    FIRST + 8 * PAGE, FIRST + 9 * PAGE - 1);
	EXPECT_LINE(context, "area:\tioasid %d 0x%llx-0x%llx rw runs 0", other,
		    TOP_PAGE, ~0ULL);
	/* In the order of their addresses. */
	EXPECT_LT(strstr(context, " rw runs 3"), strstr(context, " r- runs"));
	EXPECT_LT(strstr(context, " r- runs"), strstr(context, " -w runs"));
	ASSERT_EQ(PAGE, UNMAP(4, 1));
	EXPECT_EQ(3, count_lines(read_context(getpid()), "area:"));
}

/* --- trace events ------------------------------------------------------------------ */

/* Record these events as well. False if there is no way to. */
static bool trace_too(const char *events)
{
	char path[128];
	bool on;
	int fd;

	snprintf(path, sizeof(path), TRACE "/events/%s/enable", events);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	on = fd >= 0 && write(fd, "1", 1) == 1;
	close(fd);
	return on;
}

/* Record the events in a buffer of their own. False if there is no way to. */
static bool start_trace(void)
{
	rmdir(TRACE);	/* left behind by a test that was killed */
	mkdir(TRACE, 0700);
	return trace_too("iommufd");
}

static uint64_t nanoseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

static uint64_t trace_start;

/*
 * The event that begins as @format says is there once, with that result; what it
 * says it took is more than nothing, and not more than all the time of the trace.
 */
__attribute__((format(printf, 3, 4)))
static void expect_event(struct __test_metadata *_metadata, int result, const char *format, ...)
{
	uint64_t elapsed = nanoseconds() - trace_start;
	char event[256] = ": ", *rest;
	unsigned long long duration;
	va_list args;

	va_start(args, format);
	vsnprintf(event + 2, sizeof(event) - 32, format, args);
	va_end(args);
	strcat(event, " duration_ns=");
	ASSERT_NE(NULL, read_text(TRACE "/trace"));
	rest = strstr(text, event);
	ASSERT_NE(NULL, rest)
		TH_LOG("no event '%s' in\n%s", event, text);
	EXPECT_EQ(NULL, strstr(rest + 1, event))
		TH_LOG("two events '%s'", event);
	duration = strtoull(rest + strlen(event), &rest, 10);
	EXPECT_LT(0, duration);
	EXPECT_GE(elapsed, duration);
	ASSERT_EQ(0, strncmp(rest, " result=", 8));
	EXPECT_EQ(result, strtol(rest + 8, &rest, 10));
	EXPECT_EQ('\n', *rest);
}

#define EXPECT_EVENT(...) expect_event(_metadata, __VA_ARGS__)
#define MAP_EVENT "iommufd_map: ioasid=%d iova=0x%llx length=0x%llx runs="
#define UNMAP_EVENT "iommufd_unmap: ioasid=%d iova=0x%llx length=0x%llx unmapped="

static void expect_events(struct __test_metadata *_metadata, int count)
{
	ASSERT_NE(NULL, read_text(TRACE "/trace"));
	EXPECT_EQ(count, count_lines(text, "") - count_lines(text, "#"))
		TH_LOG("%s", text);
}

FIXTURE(trace)
{
	struct bound b;
	char *memory;
};

FIXTURE_SETUP(trace)
{
	int ret;

	if (!start_trace())
		SKIP(return, "needs tracefs, and " IOMMU_NODE);
	trace_start = nanoseconds();
	ret = bound_open(&self->b);
	if (ret == -ENODEV)
		SKIP(return, NO_DEVICE);
	ASSERT_OK(ret);
	self->memory = scattered_pages();
	ASSERT_NE(NULL, self->memory);
}

FIXTURE_TEARDOWN(trace)
{
	bound_close(&self->b);
	EXPECT_OK(rmdir(TRACE));
}

#undef MAP
#define MAP(at, count) \
	ioasid_map(self->b.fd, self->b.ioasid, self->memory, FIRST + (at) * PAGE, \
		   (count) * PAGE, IOASID_RW)
#undef UNMAP
#define UNMAP(at, count) \
	unmap(self->b.fd, self->b.ioasid, FIRST + (at) * PAGE, (count) * PAGE)

/* The device needs what is mapped, and what was seen so far counts no more. */
static void attach_unseen(struct __test_metadata *_metadata, struct bound *b)
{
	ASSERT_OK(vfio_attach(b->edu.fd, b->ioasid));
	ASSERT_OK(close(open(TRACE "/trace", O_WRONLY | O_TRUNC | O_CLOEXEC)));
}

#define ATTACH_UNSEEN() attach_unseen(_metadata, &self->b)

TEST_F(trace, map)
{
	ATTACH_UNSEEN();
	ASSERT_OK(MAP(0, 3));
	ASSERT_EQ(-EEXIST, MAP(1, 1));
	ASSERT_OK(munmap(self->memory, PAGE));
	ASSERT_EQ(-EFAULT, MAP(8, 2));
	EXPECT_EVENT(0, MAP_EVENT "%d", self->b.ioasid, FIRST, 3 * PAGE, RUNS);
	EXPECT_EVENT(-EEXIST, MAP_EVENT "0", self->b.ioasid, FIRST + PAGE, PAGE);
	EXPECT_EVENT(-EFAULT, MAP_EVENT "0", self->b.ioasid, FIRST + 8 * PAGE, 2 * PAGE);
	expect_events(_metadata, 3);
}

TEST_F(trace, unmap)
{
	ATTACH_UNSEEN();
	ASSERT_OK(MAP(0, 3));
	ASSERT_OK(MAP(4, 1));
	ASSERT_EQ(-EINVAL, UNMAP(0, 1));
	ASSERT_EQ(4 * PAGE, UNMAP(0, 8));
	ASSERT_EQ(0, UNMAP(16, 2));
	EXPECT_EVENT(-EINVAL, UNMAP_EVENT "0x0 runs=0", self->b.ioasid, FIRST, PAGE);
	EXPECT_EVENT(0, UNMAP_EVENT "0x%llx runs=%d", self->b.ioasid, FIRST, 8 * PAGE, 4 * PAGE,
		     RUNS + 1);
	EXPECT_EVENT(0, UNMAP_EVENT "0x0 runs=0", self->b.ioasid, FIRST + 16 * PAGE, 2 * PAGE);
	expect_events(_metadata, 2 + 3);
}

/* Whatever maps is told, and where to if that was chosen. */
TEST_F(trace, mainlines_calls)
{
	int fd = self->b.fd, from = self->b.ioasid, to = ioas_alloc(fd);
	struct iommu_vfio_ioas set = {
		.size = sizeof(set), .op = IOMMU_VFIO_IOAS_SET, .ioas_id = to,
	};
	struct iommu_ioas_copy copy;
	long long chosen;

	ASSERT_LT(0, hwpt_alloc(fd, self->b.id, to, 0));
	ATTACH_UNSEEN();
	chosen = ioas_map_any(fd, from, self->memory, 3 * PAGE);
	ASSERT_LT(0, chosen);
	copy = ioas_copy_arg(to, 0, from, chosen, 2 * PAGE);
	copy.flags = RW;
	ASSERT_OK(call(fd, IOMMU_IOAS_COPY, &copy));
	ASSERT_EQ(-EEXIST, ioas_copy(fd, from, chosen, from, chosen, PAGE));
	ASSERT_OK(call(fd, IOMMU_VFIO_IOAS, &set));
	ASSERT_EQ(-ENOENT, container_unmap(fd, copy.dst_iova, PAGE, 0));
	ASSERT_EQ(2 * PAGE, container_unmap(fd, 0, 0, VFIO_DMA_UNMAP_FLAG_ALL));
	EXPECT_EVENT(0, MAP_EVENT "%d", from, chosen, 3 * PAGE, RUNS);
	EXPECT_EVENT(0, MAP_EVENT "%d", to, copy.dst_iova, 2 * PAGE, RUNS - 1);
	EXPECT_EVENT(-EEXIST, MAP_EVENT "0", from, chosen, PAGE);
	EXPECT_EVENT(-ENOENT, UNMAP_EVENT "0x0 runs=0", to, copy.dst_iova, PAGE);
	EXPECT_EVENT(0, UNMAP_EVENT "0x%llx runs=%d", to, 0ULL, 0ULL, 2 * PAGE, RUNS - 1);
	expect_events(_metadata, 3 + 2);
}

/* The bytes that the core's events of this kind tell of, from FIRST on. */
static unsigned long long seen_by_core(const char *event)
{
	unsigned long long first, bytes, sum = 0;
	const char *line = text;

	while ((line = strstr(line, event))) {
		line += strlen(event);
		if (sscanf(line, " IOMMU: iova=%llx", &first) == 1 && first >= FIRST &&
		    first < FIRST + 8 * PAGE &&
		    sscanf(strstr(line, " size="), " size=%llu", &bytes) == 1)
			sum += bytes;
	}
	return sum;
}

/* Whoever watches the IOMMU core sees what goes past it: one run, and several. */
TEST_F(trace, events_of_the_core)
{
	ASSERT_TRUE(trace_too("iommu/map") && trace_too("iommu/unmap"));
	ATTACH_UNSEEN();
	ASSERT_OK(MAP(0, 3));
	ASSERT_OK(MAP(4, 1));
	ASSERT_NE(NULL, read_text(TRACE "/trace"));
	EXPECT_EQ(4 * PAGE, seen_by_core(": map:"));
	EXPECT_EQ(0, seen_by_core(": unmap:"));
	ASSERT_EQ(4 * PAGE, UNMAP(0, 8));
	ASSERT_NE(NULL, read_text(TRACE "/trace"));
	EXPECT_EQ(4 * PAGE, seen_by_core(": unmap:"));
}

/* A space of which the device can use nothing: one page behind a range that it can. */
static int unusable_space(int iommufd, int id)
{
	struct iommu_device_info *info;
	uint64_t behind;

	if (device_get_info(iommufd, id, &info))
		return -EIO;
	behind = device_iova_ranges(info)->iova_ranges[0].end + 1;
	free(info);
	return ioasid_alloc_window(iommufd, behind, behind + PAGE - 1);
}

TEST_F(trace, bind_attach_detach)
{
	int other = ioasid_alloc(self->b.fd, 64);
	int nowhere = unusable_space(self->b.fd, self->b.id);
	const char *name = self->b.edu.address;
	int id = self->b.id;

	ASSERT_LT(0, other);
	ASSERT_LT(0, nowhere);
	EXPECT_EVENT(0, "iommufd_bind: device=%s id=%d ioasid=0", name, id);
	expect_events(_metadata, 1);
	ASSERT_EQ(-EINVAL, vfio_attach(self->b.edu.fd, nowhere));
	EXPECT_EVENT(-EINVAL, "iommufd_attach: device=%s id=%d ioasid=%d", name, id, nowhere);
	ASSERT_OK(vfio_attach(self->b.edu.fd, self->b.ioasid));
	EXPECT_EVENT(0, "iommufd_attach: device=%s id=%d ioasid=%d", name, id, self->b.ioasid);
	/* A move is one event, not two. */
	ASSERT_OK(vfio_attach(self->b.edu.fd, other));
	EXPECT_EVENT(0, "iommufd_attach: device=%s id=%d ioasid=%d", name, id, other);
	expect_events(_metadata, 4);
	ASSERT_OK(vfio_detach(self->b.edu.fd));
	EXPECT_EVENT(0, "iommufd_detach: device=%s id=%d ioasid=%d", name, id, other);
	expect_events(_metadata, 5);
}

/* The end of a file is the end of an attachment, too. */
TEST_F(trace, detach_by_close)
{
	ASSERT_OK(vfio_attach(self->b.edu.fd, self->b.ioasid));
	edu_close(&self->b.edu);
	EXPECT_EVENT(0, "iommufd_detach: device=%s id=%d ioasid=%d", self->b.edu.address,
		     self->b.id, self->b.ioasid);
	expect_events(_metadata, 3);
}

/* --- with a device -------------------------------------------------------------------- */

#define DEVICE_LINE "device:\t%d %s group %d "

static int group_of(const char *address)
{
	char path[96], link[128] = "";

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%.15s/iommu_group", address);
	if (readlink(path, link, sizeof(link) - 1) < 0)
		return -1;
	return atoi(strrchr(link, '/') + 1);
}

TEST_F(trace, devices_are_shown)
{
	const char *name = self->b.edu.address;
	int group = group_of(name), id = self->b.id;
	pid_t self_pid = getpid();

	EXPECT_LINE(read_fdinfo(self->b.fd), DEVICE_LINE "detached", id, name, group);
	ASSERT_OK(vfio_attach(self->b.edu.fd, self->b.ioasid));
	EXPECT_LINE(read_fdinfo(self->b.fd), DEVICE_LINE "ioasid %d", id, name, group,
		    self->b.ioasid);
	ASSERT_OK(vfio_detach(self->b.edu.fd));
	EXPECT_LINE(read_fdinfo(self->b.fd), DEVICE_LINE "detached", id, name, group);
	EXPECT_EQ(1, count_lines(text, "device:"));
	/* A context whose file is closed, but not its device, is there still. */
	close(self->b.fd);
	EXPECT_LINE(read_context(self_pid), DEVICE_LINE "detached", id, name, group);
	edu_close(&self->b.edu);
	EXPECT_EQ(NULL, read_context(self_pid));
}

/* True if @value is a number in @where, in whatever base. */
static bool tells(const char *where, uint64_t value)
{
	const char *token = where;
	char *end;

	while (*token) {
		size_t length = strspn(token, "0123456789abcdefx");

		if (length && (strtoull(token, &end, 0) == value ||
			       strtoull(token, &end, 16) == value))
			return true;
		token += length ? length : 1;
	}
	return false;
}

static void expect_no_host_address(struct __test_metadata *_metadata, const char *where,
				   char *memory)
{
	uint64_t page = host_page(memory);

	ASSERT_NE(NULL, where);
	ASSERT_NE(0, page);
	/* What is there is found. */
	EXPECT_TRUE(tells(where, FIRST));
	EXPECT_FALSE(tells(where, page));
	EXPECT_FALSE(tells(where, page * PAGE));
	EXPECT_FALSE(tells(where, (uintptr_t)memory));
	/* Where the kernel's own addresses are. */
	EXPECT_EQ(NULL, strstr(where, "ffff8"));
	EXPECT_EQ(NULL, strstr(where, "ffffc"));
	EXPECT_EQ(NULL, strstr(where, "ffffe"));
}

TEST_F(trace, no_host_address_is_told)
{
	int window = ioasid_alloc_window(self->b.fd, FIRST, LAST);

	ASSERT_LT(0, window);
	ASSERT_OK(ioasid_free(self->b.fd, self->b.ioasid));
	ASSERT_OK(ioasid_map(self->b.fd, window, self->memory, FIRST, PAGE, IOASID_RW));
	ASSERT_OK(vfio_attach(self->b.edu.fd, window));
	expect_no_host_address(_metadata, read_fdinfo(self->b.fd), self->memory);
	expect_no_host_address(_metadata, read_context(getpid()), self->memory);
	ASSERT_EQ(PAGE, unmap(self->b.fd, window, FIRST, PAGE));
	expect_no_host_address(_metadata, read_text(TRACE "/trace"), self->memory);
}

TEST_HARNESS_MAIN
