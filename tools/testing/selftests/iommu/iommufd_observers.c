// SPDX-License-Identifier: GPL-2.0
/*
 * Who waits while a map waits for userspace, or the first domain does. Those who look on
 * never do; of all others, the table here says who does, and whether he can be killed. It
 * is also that of Documentation/driver-api/iommufd.rst.
 */
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/prctl.h>

#include "container_calls.h"
#include "late_file.h"
#include "noiommu_calls.h"

#define CONTEXTS "/sys/kernel/debug/iommufd/contexts"
#define A_USER 4242

/* Where a page is mapped, where a map hangs, and where nothing is. */
#define THERE IOVA
#define HANGING (IOVA + 16 * PAGE)
#define FREE (IOVA + 32 * PAGE)

/* So long a call takes at most that waits for nobody. */
#define ENOUGH_MS (3000 * slowness_factor)

/* Whoever has not come back for so long waits. */
#define A_WHILE_MS (300 + 20 * slowness_factor)

struct world {
	struct edu edu;
	struct edu sibling;
	int fd;
	int id;
	int space;		/* of the map that hangs */
	int other;
	int hwpt;		/* of the space, for nobody: maps there wait for their memory */
	char *memory;		/* what is mapped there */
	int memfd;		/* what somebody else pays for */
	char *late;		/* a page that a FUSE server does not let come */
	struct late_file *server;	/* without whom even who is killed goes on to wait */
	pid_t hanging;
};

/* What children tell their parent, and it them. */
static volatile struct {
	bool begins;
	bool hangs;
} *told;

typedef int (*call_fn)(struct world *w);

/* A process of its own, which dies with this one, makes a call. */
static pid_t start(struct world *w, call_fn what)
{
	pid_t child = fork();

	if (child)
		return child;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (!told->begins)
		usleep(1000);
	what(w);
	_exit(0);
}

static bool has_ended(pid_t child, unsigned int ms)
{
	unsigned int i;

	for (i = 0; i < ms / 5; i++) {
		if (waitpid(child, NULL, WNOHANG) == child)
			return true;
		usleep(5000);
	}
	return false;
}

/* --- maps that hang -------------------------------------------------------------------- */

static void *watch(void *uffd)
{
	struct pollfd fd = { .fd = (intptr_t)uffd, .events = POLLIN };

	poll(&fd, 1, -1);
	told->hangs = true;
	return NULL;
}

/* Map a page that is missing as long as nobody serves a userfaultfd. */
static int map_missing_page(struct world *w)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register all = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	intptr_t uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	char *memory = pages(2);
	pthread_t watcher;

	memory[0] = 1;
	all.range.start = (uintptr_t)memory + PAGE;
	all.range.len = PAGE;
	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api) || ioctl(uffd, UFFDIO_REGISTER, &all) ||
	    pthread_create(&watcher, NULL, watch, (void *)uffd))
		return -1;
	return ioas_map(w->fd, w->space, memory, 2 * PAGE, HANGING);
}

static int map_missing(struct world *w)
{
	/* Others may be the last to have the device. */
	edu_close(&w->edu);
	return map_missing_page(w);
}

/* The first domain is who waits, where there was none. */
static int attach_missing(struct world *w)
{
	return destroy(w->fd, w->hwpt) || map_missing_page(w) ? -1 :
	       attach_pt(w->edu.fd, w->space);
}

static int map_late(struct world *w)
{
	edu_close(&w->edu);
	return ioas_map(w->fd, w->space, w->late, PAGE, HANGING);
}

static bool have_hang(struct world *w, call_fn what)
{
	told->begins = true;
	w->hanging = start(w, what);
	while (!told->hangs)
		if (w->hanging < 0 || has_ended(w->hanging, 10))
			return false;
	return !has_ended(w->hanging, A_WHILE_MS);
}

/* --- calls ------------------------------------------------------------------------------ */

static int attach_here(struct world *w) { return attach_pt(w->edu.fd, w->space); }
static int attach_there(struct world *w) { return attach_pt(w->edu.fd, w->other); }
static int detach(struct world *w) { return vfio_detach(w->edu.fd); }
static int reset(struct world *w) { return call(w->edu.fd, VFIO_DEVICE_RESET, NULL); }
static int close_device(struct world *w) { return close(w->edu.fd); }
static int close_context(struct world *w) { return close(w->fd); }
static int bind_sibling(struct world *w) { return vfio_bind(w->sibling.fd, w->fd); }
static int alloc(struct world *w) { return ioasid_alloc(w->fd, 64); }
static int free_space(struct world *w) { return ioasid_free(w->fd, w->space); }
static int free_other(struct world *w) { return ioasid_free(w->fd, w->other); }
static int destroy_hwpt(struct world *w) { return destroy(w->fd, w->hwpt); }
static int alloc_hwpt(struct world *w) { return hwpt_alloc(w->fd, w->id, w->space, 0); }
static int unmap_there(struct world *w) { return unmap(w->fd, w->space, THERE, PAGE); }
static int unmap_hanging(struct world *w) { return unmap(w->fd, w->space, HANGING, 2 * PAGE); }
static int unmap_everything(struct world *w) { return unmap_all(w->fd, w->space); }
static int get_container_info(struct world *w)
{
	struct vfio_iommu_type1_info info = { .argsz = sizeof(info) };

	return call(w->fd, VFIO_IOMMU_GET_INFO, &info);
}

static int check_container_snoop(struct world *w)
{
	return call(w->fd, VFIO_CHECK_EXTENSION, (void *)VFIO_DMA_CC_IOMMU);
}

static int map_free(struct world *w)
{
	return ioas_map(w->fd, w->space, w->memory, PAGE, FREE);
}

static int map_the_same(struct world *w)
{
	return ioas_map(w->fd, w->space, w->memory, PAGE, HANGING);
}

static int copy_from(struct world *w)
{
	return ioas_copy(w->fd, w->other, FREE, w->space, THERE, PAGE);
}

static int copy_to(struct world *w)
{
	return ioas_copy(w->fd, w->space, FREE, w->other, THERE, PAGE);
}

static int take_charges(struct world *w) { return change_process(w->fd); }
static int set_page_sizes(struct world *w)
{
	return set_option(w->fd, IOMMU_OPTION_HUGE_PAGES, w->space, 1);
}

static int get_page_sizes(struct world *w)
{
	return get_option(w->fd, IOMMU_OPTION_HUGE_PAGES, w->space);
}

static int get_ranges(struct world *w) { return iova_ranges(w->fd, w->space, NULL, 0); }
static int get_address(struct world *w) { return ask_pa(w->fd, w->space, HANGING); }
static int allow_ranges(struct world *w) { return allow_iovas(w->fd, w->space, NULL, 0); }
static int get_device_info(struct world *w)
{
	struct iommu_device_info *info;

	return device_get_info(w->fd, w->id, &info);
}

static int get_hw_info(struct world *w)
{
	struct iommu_hw_info arg = { .size = sizeof(arg), .dev_id = w->id };

	return call(w->fd, IOMMU_GET_HW_INFO, &arg);
}

/* --- who looks on ----------------------------------------------------------------------- */

static int read_all(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char some[4096];

	while (fd >= 0 && read(fd, some, sizeof(some)) > 0)
		;
	return fd;
}

static int look_at_fdinfo(struct world *w)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", w->fd);
	return read_all(path);
}

static int look_at_others_fdinfo(struct world *w)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", w->hanging, w->fd);
	return read_all(path);
}

static int look_at_contexts(struct world *w)
{
	(void)w;
	return read_all(CONTEXTS);
}

static void expect_lookers_on(struct __test_metadata *_metadata, struct world *w)
{
	static const struct { call_fn look; const char *at; } all[] = {
		{ look_at_fdinfo, "fdinfo" },
		{ look_at_others_fdinfo, "another process's fdinfo" },
		{ look_at_contexts, CONTEXTS },
	};
	unsigned int i;
	pid_t looker;

	for (i = 0; i < ARRAY_SIZE(all); i++) {
		looker = start(w, all[i].look);
		EXPECT_TRUE(has_ended(looker, 1000 * slowness_factor))
			TH_LOG("who looks at %s hangs", all[i].at);
	}
}

/* --- the table -------------------------------------------------------------------------- */

enum outcome {
	NOT_ASKED,
	GOES_ON,	/* does not wait */
	KILLABLE,	/* waits, and ends when he is killed */
	UNKILLABLE,	/* waits until the map ends */
};

static const char *const outcomes[] = { "", "goes on", "can be killed", "cannot be killed" };

enum seat {
	BOUND,		/* but attached nowhere */
	IN_SPACE,
	IN_OTHER,
};

FIXTURE(waiter)
{
	struct world w;
};

/* Where the device is, who calls, and what comes of it behind a map and behind an attach. */
FIXTURE_VARIANT(waiter)
{
	call_fn call;
	enum seat seat;
	enum outcome behind_map;
	enum outcome behind_attach;
};

#define ROW(name) FIXTURE_VARIANT_ADD(waiter, name)

ROW(attach_here) { attach_here, BOUND, KILLABLE, UNKILLABLE };
ROW(attach_there) { attach_there, BOUND, GOES_ON, UNKILLABLE };
ROW(detach) { detach, IN_SPACE, UNKILLABLE, UNKILLABLE };
ROW(close_device) { close_device, IN_SPACE, UNKILLABLE, NOT_ASKED };
ROW(reset) { reset, IN_SPACE, GOES_ON, GOES_ON };
ROW(bind_sibling) { bind_sibling, BOUND, GOES_ON, UNKILLABLE };
ROW(get_device_info) { get_device_info, IN_SPACE, GOES_ON, UNKILLABLE };
ROW(get_hw_info) { get_hw_info, IN_SPACE, GOES_ON, UNKILLABLE };
ROW(alloc) { alloc, BOUND, GOES_ON, GOES_ON };
ROW(free_space) { free_space, BOUND, GOES_ON, GOES_ON };
ROW(free_other) { free_other, BOUND, GOES_ON, GOES_ON };
ROW(alloc_hwpt) { alloc_hwpt, BOUND, KILLABLE, UNKILLABLE };
ROW(destroy_hwpt) { destroy_hwpt, BOUND, KILLABLE, KILLABLE };
ROW(map_free) { map_free, BOUND, GOES_ON, KILLABLE };
ROW(map_the_same) { map_the_same, BOUND, GOES_ON, KILLABLE };
ROW(unmap_there) { unmap_there, BOUND, GOES_ON, KILLABLE };
ROW(unmap_hanging) { unmap_hanging, BOUND, GOES_ON, KILLABLE };
ROW(unmap_everything) { unmap_everything, BOUND, GOES_ON, KILLABLE };
ROW(copy_from) { copy_from, BOUND, GOES_ON, KILLABLE };
ROW(copy_to) { copy_to, BOUND, GOES_ON, KILLABLE };
ROW(take_charges) { take_charges, BOUND, UNKILLABLE, KILLABLE };
ROW(set_page_sizes) { set_page_sizes, BOUND, KILLABLE, KILLABLE };
ROW(get_page_sizes) { get_page_sizes, BOUND, GOES_ON, KILLABLE };
ROW(get_ranges) { get_ranges, BOUND, GOES_ON, KILLABLE };
ROW(get_address) { get_address, BOUND, GOES_ON, GOES_ON };
ROW(allow_ranges) { allow_ranges, BOUND, KILLABLE, KILLABLE };
ROW(get_container_info) { get_container_info, BOUND, GOES_ON, KILLABLE };
ROW(check_container_snoop) { check_container_snoop, BOUND, GOES_ON, KILLABLE };
ROW(close_context) { close_context, BOUND, GOES_ON, GOES_ON };

/* The same again, with other beginnings. */
ROW(move_away) { attach_there, IN_SPACE, UNKILLABLE, NOT_ASKED };
ROW(move_here) { attach_here, IN_OTHER, KILLABLE, NOT_ASKED };
ROW(close_device_unattached) { close_device, BOUND, GOES_ON, NOT_ASKED };
ROW(close_device_elsewhere) { close_device, IN_OTHER, GOES_ON, NOT_ASKED };
ROW(get_device_info_unattached) { get_device_info, BOUND, GOES_ON, NOT_ASKED };
ROW(map_with_device) { map_free, IN_SPACE, GOES_ON, NOT_ASKED };
ROW(unmap_with_device) { unmap_there, IN_SPACE, GOES_ON, NOT_ASKED };

/* Another device of the group of @edu; false if there is none. */
static bool find_sibling(const struct edu *edu, struct edu *sibling)
{
	char path[96];
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group/devices", edu->address);
	dir = opendir(path);
	sibling->fd = -1;
	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.' && strcmp(entry->d_name, edu->address) &&
		    !edu_find(sibling, entry->d_name))
			break;
	if (dir)
		closedir(dir);
	return dir && entry;
}

/* Any edu device, but one that has a sibling if that is what is asked for. */
static bool find_device(struct edu *edu, struct edu *sibling, bool has_sibling)
{
	DIR *dir = opendir("/sys/bus/pci/devices");
	struct dirent *entry;
	bool found = false;

	if (!has_sibling) {
		closedir(dir);
		return !edu_find(edu, getenv("EDU"));
	}
	while (!found && (entry = readdir(dir)))
		found = entry->d_name[0] != '.' && !edu_find(edu, entry->d_name) &&
			find_sibling(edu, sibling);
	closedir(dir);
	return found;
}

static void set_up(struct __test_metadata *_metadata, struct world *w)
{
	struct iommu_vfio_ioas set = { .size = sizeof(set), .op = IOMMU_VFIO_IOAS_SET };

	ASSERT_OK(edu_open(&w->edu));
	w->id = vfio_bind(w->edu.fd, w->fd);
	ASSERT_LT(0, w->id);
	w->space = ioas_alloc(w->fd);
	w->other = ioas_alloc(w->fd);
	ASSERT_LT(0, w->space);
	ASSERT_LT(0, w->other);
	w->hwpt = hwpt_alloc(w->fd, w->id, w->space, 0);
	ASSERT_LT(0, w->hwpt);
	set.ioas_id = w->space;
	ASSERT_OK(call(w->fd, IOMMU_VFIO_IOAS, &set));
	w->memory = pages(1);
	ASSERT_NE(NULL, w->memory);
	ASSERT_OK(ioas_map(w->fd, w->space, w->memory, PAGE, THERE));
	ASSERT_OK(ioas_map(w->fd, w->other, w->memory, PAGE, THERE));
	told = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, told);
}

FIXTURE_SETUP(waiter)
{
	struct world *w = &self->w;
	bool has_sibling = variant->call == bind_sibling;

	w->fd = open_iommufd();
	if (w->fd < 0 || !find_device(&w->edu, &w->sibling, has_sibling))
		SKIP(return, has_sibling ? "needs two devices in one group" : NO_DEVICE);
	if (has_sibling)
		ASSERT_OK(edu_open(&w->sibling));
	set_up(_metadata, w);
}

FIXTURE_TEARDOWN(waiter)
{
	edu_close(&self->w.edu);
	if (variant->call == bind_sibling)
		edu_close(&self->w.sibling);
	close(self->w.fd);
}

/* What comes of @caller, who is about to call. Others look on meanwhile. */
static enum outcome outcome(struct __test_metadata *_metadata, struct world *w, pid_t caller,
			    enum outcome want)
{
	if (has_ended(caller, want == GOES_ON ? ENOUGH_MS : A_WHILE_MS)) {
		expect_lookers_on(_metadata, w);
		return GOES_ON;
	}
	expect_lookers_on(_metadata, w);
	kill(caller, SIGKILL);
	return has_ended(caller, want == KILLABLE ? ENOUGH_MS : A_WHILE_MS) ? KILLABLE : UNKILLABLE;
}

static void expect_outcome(struct __test_metadata *_metadata, struct world *w, call_fn what,
			   enum outcome want)
{
	enum outcome got;
	pid_t caller;

	told->begins = false;
	caller = start(w, what);
	ASSERT_LT(0, caller);
	if (what == close_device)
		edu_close(&w->edu);
	told->begins = true;
	got = outcome(_metadata, w, caller, want);
	EXPECT_EQ(want, got)
		TH_LOG("the table says: %s; found: %s", outcomes[want], outcomes[got]);
}

/* When what hangs ends, nobody waits any more. */
static void expect_end(struct __test_metadata *_metadata, struct world *w)
{
	pid_t child;

	kill(w->hanging, SIGKILL);
	if (w->server)
		late_file_let_go(w->server);
	for (unsigned int i = 0; i < ENOUGH_MS / 5; i++) {
		do {
			child = waitpid(-1, NULL, WNOHANG);
		} while (child > 0);
		if (child < 0)
			return;
		usleep(5000);
	}
	ASSERT_TRUE(false)
		TH_LOG("somebody waits for nobody");
}

TEST_F(waiter, behind_a_map)
{
	struct world *w = &self->w;

	if (variant->seat != BOUND)
		ASSERT_LT(0, variant->seat == IN_SPACE ? attach_here(w) : attach_there(w));
	ASSERT_TRUE(have_hang(w, map_missing));
	expect_outcome(_metadata, w, variant->call, variant->behind_map);
	expect_end(_metadata, w);
}

/* The same behind an attach that waits for a map. */
TEST_F(waiter, behind_an_attach)
{
	struct world *w = &self->w;
	pid_t attaching;

	if (variant->behind_attach == NOT_ASKED)
		return;
	ASSERT_TRUE(have_hang(w, map_missing));
	attaching = start(w, attach_here);
	ASSERT_FALSE(has_ended(attaching, A_WHILE_MS));
	expect_outcome(_metadata, w, variant->call, variant->behind_attach);
	expect_end(_metadata, w);
}

/* And behind one that has what is mapped pinned, and waits itself. */
TEST_F(waiter, behind_the_first_attach)
{
	enum outcome want = variant->behind_attach;
	struct world *w = &self->w;

	if (want == NOT_ASKED || variant->call == destroy_hwpt)
		return;
	/* Until it has a domain, the space is not in use. */
	if (variant->call == free_space)
		want = KILLABLE;
	ASSERT_TRUE(have_hang(w, attach_missing));
	expect_outcome(_metadata, w, variant->call, want);
	expect_end(_metadata, w);
}

/* --- behind a FUSE server --------------------------------------------------------------- */

FIXTURE(late)
{
	struct world w;
	struct late_file file;
};

FIXTURE_SETUP(late)
{
	struct world *w = &self->w;
	int ret;

	w->fd = open_iommufd();
	if (w->fd < 0 || !find_device(&w->edu, &w->sibling, false))
		SKIP(return, NO_DEVICE);
	ret = late_file_make(&self->file, PAGE);
	if (ret == -ENOENT || ret == -ENODEV)
		SKIP(return, "needs FUSE");
	ASSERT_OK(ret);
	w->late = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, self->file.fd, 0);
	ASSERT_NE(MAP_FAILED, w->late);
	w->memfd = memfd_create("memory", MFD_CLOEXEC);
	ASSERT_EQ(0, ftruncate(w->memfd, PAGE));
	/* Who pays for what is fixed when there are objects. */
	ASSERT_OK(set_option(w->fd, IOMMU_OPTION_RLIMIT_MODE, 0, 1));
	set_up(_metadata, w);
}

FIXTURE_TEARDOWN(late)
{
	late_file_end(&self->file);
	close(self->w.memfd);
	edu_close(&self->w.edu);
	close(self->w.fd);
}

/* What is so of a userfaultfd is so of a FUSE server. */
TEST_F(late, behind_a_map)
{
	struct world *w = &self->w;
	pid_t attaching;

	told->begins = true;
	w->hanging = start(w, map_late);
	ASSERT_TRUE(late_file_wait(&self->file));
	expect_lookers_on(_metadata, w);
	attaching = start(w, attach_here);
	ASSERT_FALSE(has_ended(attaching, A_WHILE_MS));
	expect_lookers_on(_metadata, w);
	expect_outcome(_metadata, w, map_free, KILLABLE);
	expect_end(_metadata, w);
}

/*
 * A process pays for memory, and a page fault of its own has its mmap_lock while it waits:
 * whoever gives its charge back waits for it, but holds up nobody else.
 */
static int pay_and_hang(struct world *w)
{
	if (become_user(A_USER, 16 * PAGE) ||
	    ioas_map_file(w->fd, w->space, w->memfd, 0, PAGE, HANGING))
		return -1;
	return *(volatile char *)w->late;
}

/* Reads fail until the fault is tried again, which is when it no longer lets go of the lock. */
#define TRIES_WITHOUT_LOCK 2

static void have_payer_hang(struct __test_metadata *_metadata, struct late_file *file,
			    struct world *w)
{
	file->failures = TRIES_WITHOUT_LOCK;
	w->server = file;
	told->begins = true;
	w->hanging = start(w, pay_and_hang);
	ASSERT_TRUE(late_file_wait(file));
	ASSERT_FALSE(has_ended(w->hanging, A_WHILE_MS));
}

TEST_F(late, behind_who_takes_a_charge_over)
{
	struct world *w = &self->w;
	pid_t taking;

	/* What is mapped for good cannot be taken over. */
	ASSERT_EQ(PAGE, unmap(w->fd, w->space, THERE, PAGE));
	ASSERT_EQ(PAGE, unmap(w->fd, w->other, THERE, PAGE));
	have_payer_hang(_metadata, &self->file, w);
	taking = start(w, take_charges);
	ASSERT_FALSE(has_ended(taking, A_WHILE_MS));
	expect_outcome(_metadata, w, get_ranges, GOES_ON);
	expect_outcome(_metadata, w, take_charges, GOES_ON);
	expect_outcome(_metadata, w, unmap_hanging, GOES_ON);
	expect_outcome(_metadata, w, map_free, GOES_ON);
	expect_end(_metadata, w);
}

TEST_F(late, behind_who_unmaps)
{
	struct world *w = &self->w;
	pid_t unmapping;

	have_payer_hang(_metadata, &self->file, w);
	unmapping = start(w, unmap_hanging);
	ASSERT_FALSE(has_ended(unmapping, A_WHILE_MS));
	expect_outcome(_metadata, w, map_free, GOES_ON);
	expect_outcome(_metadata, w, map_the_same, GOES_ON);
	expect_outcome(_metadata, w, set_page_sizes, GOES_ON);
	expect_outcome(_metadata, w, free_other, GOES_ON);
	expect_end(_metadata, w);
}

TEST_HARNESS_MAIN
