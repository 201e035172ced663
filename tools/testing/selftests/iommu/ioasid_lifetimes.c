// SPDX-License-Identifier: GPL-2.0
/*
 * Who outlives whom: mappings the process that made them, address spaces the devices
 * in them, contexts the programs that opened them. Devices leave while they are
 * attached and do DMA, each in every way there is.
 */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>

#include "ioasid_fds.h"
#include "ioasid_pair.h"
#include "ioasid_sysfs.h"

/* As long as a loaded machine may take for what takes no time. */
#define PATIENCE_MS 60000

/* Expect @condition to become true. */
#define EXPECT_SOON(condition) do { \
	bool came_ = false; \
	int waited_; \
	for (waited_ = 0; waited_ < PATIENCE_MS && !came_; waited_ += 20) { \
		edu_sleep_ms(20); \
		came_ = condition; \
	} \
	EXPECT_TRUE(came_) \
		TH_LOG("still not: %s", #condition); \
} while (0)

/* --- processes ------------------------------------------------------------------------ */

#define A_USER 4242
#define LIMIT 8

FIXTURE(process)
{
	struct pair pair;
	volatile int *stage;	/* how far a child is */
};

FIXTURE_SETUP(process)
{
	if (!pair_open(_metadata, &self->pair, OWN_GROUPS, NULL))
		SKIP(return, NO_PAIR);
	self->stage = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->stage);
}

FIXTURE_TEARDOWN(process)
{
	pair_close(_metadata, &self->pair);
}

/* Pins held since the test began. */
#define PINS() (held_pins() - p->pins)

/* A number in the status of a process that lives; -1 once there is none. */
static long status_of(pid_t pid, const char *name)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	return counter(path, name);
}

static bool runs(pid_t pid, const char *program)
{
	char path[32], name[16] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	file = fopen(path, "r");
	if (file && !fgets(name, sizeof(name), file))
		name[0] = 0;
	if (file)
		fclose(file);
	name[strcspn(name, "\n")] = 0;
	return !strcmp(name, program);
}

static void end(struct __test_metadata *_metadata, pid_t child)
{
	kill(child, SIGKILL);
	ASSERT_EQ(child, waitpid(child, NULL, 0));
}

/* True if the device finds @value at @iova; what it found there goes to page 1. */
static bool device_finds(struct __test_metadata *_metadata, struct pair *p, int who,
			 uint64_t iova, char value)
{
	char expected[DMA_SIZE];

	memset(expected, value, DMA_SIZE);
	ASSERT_OK(MAP_AT(X, 1, IOVA + 64 * PAGE));
	ASSERT_OK(edu_dma(&p->edu[who], EDU_READS_MEMORY, iova, HALF, DMA_SIZE));
	ASSERT_OK(edu_dma(&p->edu[who], EDU_WRITES_MEMORY, IOVA + 64 * PAGE, HALF, DMA_SIZE));
	ASSERT_EQ(PAGE, UNMAP_AT(X, IOVA + 64 * PAGE));
	return !memcmp(PAGE_OF(1), expected, DMA_SIZE);
}

/* Memory of a process that is gone stays where devices find it, and nobody else's. */
TEST_F(process, mapper_is_gone)
{
	struct pair *p = &self->pair;
	const size_t size = 256UL << 20;
	char *memory;

	ASSERT_OK(ATTACH(A, X));
	IN_CHILD() {
		memset(PAGE_OF(0), 0x77, PAGE);
		EXPECT_OK(MAP(X, 0));
	}
	EXPECT_EQ(1, PINS());
	EXPECT_EQ(0, pinned_pages());
	/* Were it free, it would be handed out again. */
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	ASSERT_NE(MAP_FAILED, memory);
	EXPECT_TRUE(device_finds(_metadata, p, A, IOVA, 0x77));
	ASSERT_OK(edu_dma(&p->edu[A], EDU_WRITES_MEMORY, IOVA, 0, DMA_SIZE));
	EXPECT_TRUE(device_finds(_metadata, p, A, IOVA, marks[A]));
	EXPECT_TRUE(is_zero(memory, size));
	EXPECT_TRUE(is_zero(PAGE_OF(0) + DMA_SIZE, PAGE - DMA_SIZE));
	/* A device that comes later finds it as well. */
	ASSERT_OK(ATTACH(B, X));
	EXPECT_TRUE(device_finds(_metadata, p, B, IOVA, marks[A]));
	ASSERT_EQ(PAGE, UNMAP(X));
	EXPECT_EQ(0, PINS());
}

/* One that lives gets back what is unmapped by somebody else, and that at once. */
TEST_F(process, mapper_lives)
{
	struct pair *p = &self->pair;
	pid_t child;

	ASSERT_OK(ATTACH(A, X));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		*self->stage = MAP(X, 0) ? -1 : 1;
		pause();
	}
	EXPECT_SOON(*self->stage);
	ASSERT_EQ(1, *self->stage);
	EXPECT_EQ(PAGE / 1024, status_of(child, "VmPin:"));
	EXPECT_EQ(0, pinned_pages());
	ASSERT_EQ(PAGE, UNMAP(X));
	EXPECT_EQ(0, status_of(child, "VmPin:"));
	EXPECT_EQ(0, PINS());
	end(_metadata, child);
}

/* Charged to its user in a process that is gone: unmapping gives it back to that user. */
TEST_F(process, user_of_a_mapper_that_is_gone)
{
	struct pair *p = &self->pair;
	char *memory = pages(LIMIT);
	int64_t unmapped;
	int way;

	for (way = 0; way < 3; way++) {
		ASSERT_OK(ATTACH(A, X));
		IN_CHILD() {
			ASSERT_OK(become_user(A_USER, LIMIT * PAGE));
			EXPECT_OK(ioasid_map(p->fd, p->space[X], memory, IOVA, LIMIT * PAGE,
					     IOASID_RW));
		}
		EXPECT_EQ(LIMIT, PINS());
		IN_CHILD() {
			ASSERT_OK(become_user(A_USER, LIMIT * PAGE));
			EXPECT_ERRNO(ENOMEM, MAP_AT(X, 0, IOVA + 2 * LIMIT * PAGE));
		}
		unmapped = way == 0 ? unmap(p->fd, p->space[X], IOVA, LIMIT * PAGE) :
			   way == 1 ? unmap_all(p->fd, p->space[X]) : 0;
		EXPECT_EQ(way < 2 ? LIMIT * PAGE : 0, unmapped);
		ASSERT_OK(DETACH(A));
		ASSERT_OK(FREE(X));
		EXPECT_EQ(0, PINS());
		p->space[X] = ioasid_alloc(p->fd, 64);
		ASSERT_LT(0, p->space[X]);
	}
}

/* Have device A in a space of another context: 0, or a negative errno. */
static int attach_elsewhere(struct pair *p, int fd, int ioasid)
{
	int ret;

	edu_close(&p->edu[A]);
	ret = edu_open(&p->edu[A]);
	if (!ret)
		ret = vfio_bind(p->edu[A].fd, fd);
	return ret < 0 ? ret : vfio_attach(p->edu[A].fd, ioasid);
}

/*
 * A child that maps @count pages for device A in a context of its own and becomes another
 * program, to which it may or may not leave the descriptors: @flags of fcntl().
 */
static pid_t become_sleep(struct __test_metadata *_metadata, struct pair *p, int flags, int count)
{
	int fd, ioasid;
	pid_t child;

	edu_close(&p->edu[A]);
	child = fork();
	ASSERT_LE(0, child);
	if (child)
		return child;
	fd = open_iommufd();
	ioasid = ioasid_alloc(fd, 64);
	if (fd < 0 || attach_elsewhere(p, fd, ioasid) || become_user(A_USER, LIMIT * PAGE) ||
	    fcntl(fd, F_SETFD, flags) || fcntl(p->edu[A].fd, F_SETFD, flags) ||
	    ioasid_map(fd, ioasid, pages(count), IOVA, count * PAGE, IOASID_RW))
		_exit(1);
	execlp("sleep", "sleep", "1000", NULL);
	_exit(1);
}

/* The memory that was mapped goes with exec, but neither its pins nor their charge. */
TEST_F(process, exec_with_the_descriptor)
{
	struct pair *p = &self->pair;
	pid_t child = become_sleep(_metadata, p, 0, LIMIT);

	ASSERT_OK(ATTACH(B, X));
	EXPECT_SOON(runs(child, "sleep"));
	EXPECT_EQ(LIMIT, PINS());
	EXPECT_EQ(0, status_of(child, "VmPin:"));
	IN_CHILD() {
		ASSERT_OK(become_user(A_USER, LIMIT * PAGE));
		EXPECT_ERRNO(ENOMEM, MAP(X, 0));
	}
	end(_metadata, child);
	EXPECT_EQ(0, PINS());
	IN_CHILD() {
		ASSERT_OK(become_user(A_USER, LIMIT * PAGE));
		EXPECT_OK(MAP(X, 0));
	}
}

TEST_F(process, exec_without_the_descriptor)
{
	struct pair *p = &self->pair;
	pid_t child = become_sleep(_metadata, p, FD_CLOEXEC, LIMIT);

	ASSERT_OK(ATTACH(B, X));
	EXPECT_SOON(runs(child, "sleep"));
	/* The files are closed on the way to the new program's first instruction. */
	EXPECT_SOON(!PINS());
	IN_CHILD() {
		ASSERT_OK(become_user(A_USER, PAGE));
		EXPECT_OK(MAP(X, 0));
	}
	end(_metadata, child);
}

/* Nor does the device lose what it does DMA in when its owner becomes another program. */
TEST_F(process, exec_with_a_device)
{
	struct pair *p = &self->pair;
	pid_t child = fork();

	ASSERT_LE(0, child);
	if (!child) {
		memset(PAGE_OF(0), 0x66, PAGE);
		if (ATTACH(A, X) || MAP(X, 0) || fcntl(p->edu[A].fd, F_SETFD, 0))
			_exit(1);
		execlp("sleep", "sleep", "1000", NULL);
		_exit(1);
	}
	EXPECT_SOON(runs(child, "sleep"));
	EXPECT_TRUE(device_finds(_metadata, p, A, IOVA, 0x66));
	/* Two have the device open: it is closed when both of them have let go. */
	edu_close(&p->edu[A]);
	EXPECT_ERRNO(EBUSY, FREE(X));
	end(_metadata, child);
	EXPECT_EQ(0, PINS());
	EXPECT_OK(FREE(X));
}

/* Descriptors on their way are open, and who receives them has all that they stand for. */
TEST_F(process, descriptors_in_a_socket)
{
	struct pair *p = &self->pair;
	int sockets[2], round;

	for (round = 0; round < 2; round++) {
		int fd = open_iommufd(), ioasid = ioasid_alloc(fd, 64);

		ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets));
		EXPECT_SOON(!attach_elsewhere(p, fd, ioasid));
		ASSERT_OK(ioasid_map(fd, ioasid, p->memory, IOVA, 2 * PAGE, IOASID_RW));
		send_fd(sockets[0], fd);
		send_fd(sockets[0], p->edu[A].fd);
		close(fd);
		edu_close(&p->edu[A]);
		close(sockets[0]);
		EXPECT_EQ(2, PINS());
		if (round) {
			fd = receive_fd(sockets[1]);
			EXPECT_EQ(2 * PAGE, unmap(fd, ioasid, IOVA, 2 * PAGE));
			close(fd);
		}
		close(sockets[1]);
		/* What nobody received may be closed a little later. */
		EXPECT_SOON(!PINS());
		EXPECT_EQ(0, pinned_pages());
	}
}

/* --- devices that leave ------------------------------------------------------------------ */

enum way { UNPLUGGED, REMOVED, UNBOUND };

FIXTURE(leaving)
{
	struct pair pair;	/* A stays, B leaves */
	char address[16];
};

FIXTURE_VARIANT(leaving)
{
	enum way way;
	enum kinship kinship;
};

FIXTURE_VARIANT_ADD(leaving, unplugged)
{
	.way = UNPLUGGED,
	.kinship = OWN_GROUPS,
};

FIXTURE_VARIANT_ADD(leaving, removed)
{
	.way = REMOVED,
	.kinship = OWN_GROUPS,
};

FIXTURE_VARIANT_ADD(leaving, removed_from_the_group)
{
	.way = REMOVED,
	.kinship = ONE_GROUP,
};

FIXTURE_VARIANT_ADD(leaving, unbound)
{
	.way = UNBOUND,
	.kinship = OWN_GROUPS,
};

FIXTURE_VARIANT_ADD(leaving, unbound_from_the_group)
{
	.way = UNBOUND,
	.kinship = ONE_GROUP,
};

/* What QEMU's monitor is told by way of the harness's command; see the suite. */
#define PLUG "monitor device_add edu,id=plug0,bus=port0,dma_mask=0xffffffffffffffff"
#define UNPLUG "monitor device_del plug0"

/* Returns once nobody has the device open, or, if it is to be unplugged, at once. */
static int send_away(const char *address, enum way way)
{
	switch (way) {
	case UNPLUGGED:
		return system(UNPLUG);
	case REMOVED:
		return device_write(address, "remove", "1");
	default:
		return device_write(address, "driver/unbind", address);
	}
}

struct leaver {
	const char *address;
	enum way way;
	volatile bool over;
	int result;
	pthread_t thread;
};

static void *leaver_main(void *data)
{
	struct leaver *leaver = data;

	leaver->result = send_away(leaver->address, leaver->way);
	leaver->over = true;
	return NULL;
}

/* Its driver is unbound, or the device is gone altogether. */
static bool has_left(const struct leaver *leaver)
{
	if (leaver->way == UNBOUND)
		return leaver->over && !device_exists(leaver->address, "driver");
	return !device_exists(leaver->address, "");
}

#define BEGIN_TO_LEAVE() \
	struct leaver leaver = { .address = self->address, .way = variant->way }; \
	ASSERT_EQ(0, pthread_create(&leaver.thread, NULL, leaver_main, &leaver))
#define EXPECT_LEFT() do { \
	pthread_join(leaver.thread, NULL); \
	EXPECT_EQ(0, leaver.result); \
	EXPECT_SOON(has_left(&leaver)); \
} while (0)

/*
 * Have the device back, bound to vfio-pci. One just unplugged may not be quite gone yet,
 * and one just plugged in is seen before a driver may have it.
 */
static void come_back(struct __test_metadata *_metadata, const char *address, enum way way)
{
	int tries;

	for (tries = 0; tries < 30 && !device_exists(address, ""); tries++) {
		ASSERT_EQ(0, way == UNPLUGGED ? system(PLUG) : sysfs_write("", "rescan", "1"));
		edu_sleep_ms(500);
	}
	ASSERT_OK(give_to(address, "vfio-pci"));
	EXPECT_SOON(device_exists(address, "vfio-dev"));
}

FIXTURE_SETUP(leaving)
{
	const char *plugged = getenv("PLUGGED");
	struct pair *p = &self->pair;

	if (variant->way == UNPLUGGED && !plugged)
		SKIP(return, "PLUGGED= must be the address of a device that can be unplugged");
	if (!pair_open(_metadata, p, variant->kinship,
		       variant->way == UNPLUGGED ? plugged : NULL))
		SKIP(return, NO_PAIR);
	strcpy(self->address, p->edu[B].address);
}

FIXTURE_TEARDOWN(leaving)
{
	pair_close(_metadata, &self->pair);
	if (!device_exists(self->address, "vfio-dev"))
		come_back(_metadata, self->address, variant->way);
}

/* Have an eventfd told when the kernel wants the device back. */
static int request_eventfd(struct edu *edu)
{
	int event = eventfd(0, EFD_CLOEXEC);

	return set_interrupt(edu, VFIO_PCI_REQ_IRQ_INDEX, event) ? -1 : event;
}

/* Open, bind and attach it as it was; its buffer may be empty now. */
static void attach_again(struct __test_metadata *_metadata, struct pair *p, const char *address)
{
	ASSERT_OK(edu_find(&p->edu[B], address));
	ASSERT_OK(edu_open(&p->edu[B]));
	p->id[B] = vfio_bind(p->edu[B].fd, p->fd);
	ASSERT_LT(0, p->id[B]);
	ASSERT_OK(edu_start(&p->edu[B]));
	ASSERT_OK(ATTACH(B, X));
	memset(PAGE_OF(0), marks[B], DMA_SIZE);
	ASSERT_OK(edu_dma(&p->edu[B], EDU_READS_MEMORY, IOVA, 0, DMA_SIZE));
}

/*
 * Nobody takes a device away from a program that has it open. It is asked to let go,
 * and until it does all goes on; then the device goes, and the space stays.
 */
TEST_F(leaving, asked_to_let_go)
{
	struct pair *p = &self->pair;
	struct iommu_device_info info = { .argsz = sizeof(info), .dev_cookie = p->id[B] };
	struct pollfd asked = { .fd = request_eventfd(&p->edu[B]), .events = POLLIN };

	ASSERT_LE(0, asked.fd);
	ASSERT_OK(MAP(X, 0));
	ASSERT_OK(ATTACH(A, X));
	ASSERT_OK(ATTACH(B, X));
	ASSERT_OK(edu_dma_start(&p->edu[B], EDU_WRITES_MEMORY, IOVA, 0, DMA_SIZE));
	BEGIN_TO_LEAVE();
	ASSERT_EQ(1, poll(&asked, 1, PATIENCE_MS));
	ASSERT_OK(edu_dma_wait(&p->edu[B]));
	EXPECT_EQ(marks[B], PAGE_OF(0)[0]);
	EXPECT_EQ(-1, open(p->edu[B].node, O_RDWR));
	EXPECT_OK(MAP_AT(X, 1, IOVA + PAGE));
	EXPECT_TRUE(REACHES_AT(B, 1, IOVA + PAGE));
	EXPECT_OK(call(p->fd, IOMMU_DEVICE_GET_INFO, &info));
	EXPECT_FALSE(has_left(&leaver));

	ASSERT_OK(edu_dma_start(&p->edu[B], EDU_WRITES_MEMORY, IOVA, 0, DMA_SIZE));
	edu_close(&p->edu[B]);
	memset(PAGE_OF(0), 0, PAGE);
	EXPECT_LEFT();
	edu_sleep_ms(200);
	EXPECT_TRUE(is_zero(PAGE_OF(0), PAGE));
	EXPECT_ERRNO(ENOENT, call(p->fd, IOMMU_DEVICE_GET_INFO, &info));
	EXPECT_EQ(2, pinned_pages());
	EXPECT_ERRNO(EBUSY, FREE(X));
	EXPECT_TRUE(REACHES(A, 0));

	come_back(_metadata, self->address, variant->way);
	attach_again(_metadata, p, self->address);
	EXPECT_TRUE(REACHES(B, 0));
	EXPECT_TRUE(REACHES(A, 0));
	ASSERT_OK(DETACH(A));
	EXPECT_TRUE(REACHES_AT(B, 1, IOVA + PAGE));
	close(asked.fd);
}

/* Neither the iommufd nor another device: the context goes with this one. */
TEST_F(leaving, last_of_its_context)
{
	struct pair *p = &self->pair;

	ASSERT_OK(MAP(X, 0));
	ASSERT_OK(ATTACH(B, X));
	edu_close(&p->edu[A]);
	close(p->fd);
	p->fd = -1;
	BEGIN_TO_LEAVE();
	EXPECT_SOON(access(p->edu[B].node, F_OK));
	EXPECT_TRUE(REACHES(B, 0));
	EXPECT_EQ(1, pinned_pages());
	edu_close(&p->edu[B]);
	EXPECT_LEFT();
	EXPECT_EQ(0, pinned_pages());
	EXPECT_EQ(0, PINS());
}

/* Whoever does not listen can be killed. */
TEST_F(leaving, killed_for_it)
{
	struct pair *p = &self->pair;
	volatile bool *ready = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
				    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t child;

	ASSERT_NE(MAP_FAILED, ready);
	edu_close(&p->edu[A]);
	edu_close(&p->edu[B]);
	close(p->fd);
	p->fd = -1;
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		ASSERT_TRUE(pair_open(_metadata, p, variant->kinship, self->address));
		ASSERT_OK(MAP(X, 0));
		ASSERT_OK(ATTACH(A, X));
		ASSERT_OK(ATTACH(B, X));
		ASSERT_TRUE(REACHES(B, 0));
		*ready = true;
		for (;;)
			edu_dma(&p->edu[B], EDU_WRITES_MEMORY, IOVA, 0, DMA_SIZE);
	}
	EXPECT_SOON(*ready);
	EXPECT_EQ(1, PINS());
	BEGIN_TO_LEAVE();
	EXPECT_SOON(access(p->edu[B].node, F_OK));
	EXPECT_FALSE(has_left(&leaver));
	end(_metadata, child);
	EXPECT_LEFT();
	EXPECT_EQ(0, PINS());
}

TEST_HARNESS_MAIN
