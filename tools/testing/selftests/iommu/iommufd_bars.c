// SPDX-License-Identifier: GPL-2.0
/*
 * Devices that reach each other by address: the BAR of one, which VFIO has mapped for the
 * process, in the address space of another. It is taken back by whatever takes it out of
 * the process's page table.
 */
#include <linux/prctl.h>
#include <pthread.h>
#include <sys/prctl.h>

#include "bars.h"
#include "container_calls.h"
#include "ioasid_sysfs.h"
#include "peer.h"
#include "stopper.h"

#define SIZE (p->edu[B].bar_size)

FIXTURE(bars)
{
	struct pair pair;
	int ioas;
};

FIXTURE_VARIANT(bars)
{
	bool native;	/* by mainline's call, which has to be allowed */
};

FIXTURE_VARIANT_ADD(bars, by_ioasid)
{
};

FIXTURE_VARIANT_ADD(bars, by_ioas)
{
	.native = true,
};

FIXTURE_SETUP(bars)
{
	struct pair *p = &self->pair;

	if (!pair_open(_metadata, p, OWN_GROUPS, NULL))
		SKIP(return, NO_PAIR);
	ASSERT_OK(let_map_bars(variant->native));
	self->ioas = ioas_alloc(p->fd);
	ASSERT_LT(0, self->ioas);
	ASSERT_OK(ioas_map(p->fd, self->ioas, p->memory, 2 * PAGE, IOVA));
}

FIXTURE_TEARDOWN(bars)
{
	pair_close(_metadata, &self->pair);
	EXPECT_OK(let_map_bars(false));
}

/* Map what is at @memory, for reading and, if @write, for writing. */
static int map_at(int fd, int ioas, bool native, void *memory, uint64_t size, uint64_t iova,
		  bool write)
{
	struct iommu_ioas_map arg = ioas_map_arg(ioas, memory, size, iova,
						 FIXED | (write ? RW : IOMMU_IOAS_MAP_READABLE));

	if (native)
		return call(fd, IOMMU_IOAS_MAP, &arg);
	return ioasid_map(fd, ioas, memory, iova, size, write ? IOASID_RW : IOASID_READ);
}

#define MAP_RIGHTS(memory, size, iova, write) \
	map_at(p->fd, self->ioas, variant->native, memory, size, iova, write)
#define MAP_BAR(memory, size, iova) MAP_RIGHTS(memory, size, iova, true)
#define MAP_ALL() MAP_BAR(p->edu[B].bar, SIZE, BAR_IOVA)
#define UNMAP_BAR(iova, size) ioas_unmap(p->fd, self->ioas, iova, size)
#define UNMAP_ALL() UNMAP_BAR(BAR_IOVA, SIZE)
#define ATTACH_A() ASSERT_LT(0, attach_pt(p->edu[A].fd, self->ioas))

/* Where the registers of a VFIO device are in its file. */
static off_t bar_offset(int device)
{
	struct vfio_region_info region = {
		.argsz = sizeof(region),
		.index = VFIO_PCI_BAR0_REGION_INDEX,
	};

	return call(device, VFIO_DEVICE_GET_REGION_INFO, &region) ? -1 : (off_t)region.offset;
}

/* Map @size bytes of B's registers from @start on, to @where if that is an address. */
static void *bar_at(struct pair *p, void *where, uint64_t start, uint64_t size, int prot)
{
	return mmap(where, size, prot, MAP_SHARED | (where ? MAP_FIXED : 0), p->edu[B].fd,
		    bar_offset(p->edu[B].fd) + start);
}

static int look_again(struct pair *p)
{
	p->edu[B].bar = bar_at(p, NULL, 0, SIZE, PROT_READ | PROT_WRITE);
	return p->edu[B].bar == MAP_FAILED ? -errno : 0;
}

TEST_F(bars, reached)
{
	struct pair *p = &self->pair;

	ATTACH_A();
	EXPECT_FALSE(PEER_AT(BAR_IOVA));
	ASSERT_OK(MAP_ALL());
	EXPECT_TRUE(PEER_AT(BAR_IOVA));
	EXPECT_ERRNO(EEXIST, MAP_ALL());
	EXPECT_EQ((int64_t)SIZE, UNMAP_ALL());
	EXPECT_FALSE(PEER_AT(BAR_IOVA));
	/* Those of the device itself, as well. */
	ASSERT_OK(MAP_BAR(p->edu[A].bar, PAGE, BAR_IOVA));
	EXPECT_EQ((int64_t)PAGE, UNMAP_BAR(BAR_IOVA, PAGE));
}

/* Nobody looks before there is a domain; what was found then stays. */
TEST_F(bars, domains_come_and_go)
{
	struct pair *p = &self->pair;
	int hwpt;

	ASSERT_OK(MAP_ALL());
	ATTACH_A();
	EXPECT_TRUE(PEER_AT(BAR_IOVA));
	hwpt = hwpt_alloc(p->fd, p->id[A], self->ioas, 0);
	ASSERT_LT(0, hwpt);
	EXPECT_EQ(hwpt, attach_pt(p->edu[A].fd, hwpt));
	EXPECT_TRUE(PEER_AT(BAR_IOVA));
	ATTACH_A();
	EXPECT_OK(destroy(p->fd, hwpt));
	EXPECT_TRUE(PEER_AT(BAR_IOVA));
	EXPECT_OK(vfio_detach(p->edu[A].fd));
	ATTACH_A();
	EXPECT_TRUE(PEER_AT(BAR_IOVA));
	EXPECT_EQ((int64_t)SIZE, UNMAP_ALL());
	EXPECT_FALSE(PEER_AT(BAR_IOVA));
	EXPECT_OK(vfio_detach(p->edu[A].fd));

	/* What does not answer then keeps the device out, as memory does that is gone. */
	ASSERT_OK(MAP_ALL());
	ASSERT_OK(set_memory(p, false));
	EXPECT_ERRNO(EFAULT, attach_pt(p->edu[A].fd, self->ioas));
	ASSERT_OK(set_memory(p, true));
	ATTACH_A();
	EXPECT_TRUE(PEER_AT(BAR_IOVA));
}

/* It is brought into the page table, as far as that is needed, if it answers. */
TEST_F(bars, not_touched_yet)
{
	struct pair *p = &self->pair;

	ATTACH_A();
	ASSERT_OK(munmap(p->edu[B].bar, SIZE));
	ASSERT_OK(look_again(p));
	ASSERT_OK(set_memory(p, false));
	EXPECT_ERRNO(EFAULT, MAP_ALL());
	ASSERT_OK(set_memory(p, true));
	ASSERT_OK(MAP_ALL());
	EXPECT_TRUE(PEER_AT(BAR_IOVA));
}

TEST_F(bars, read_only)
{
	struct pair *p = &self->pair;
	volatile uint32_t *liveness = edu_reg32(&p->edu[B], EDU_REG_LIVENESS);
	void *bar = bar_at(p, NULL, 0, PAGE, PROT_READ);

	ASSERT_NE(MAP_FAILED, bar);
	ATTACH_A();
	EXPECT_ERRNO(EFAULT, MAP_RIGHTS(bar, PAGE, BAR_IOVA, true));
	ASSERT_OK(MAP_RIGHTS(bar, PAGE, BAR_IOVA, false));
	*liveness = 0;
	ASSERT_OK(edu_dma(&p->edu[A], EDU_WRITES_MEMORY, BAR_IOVA + EDU_REG_LIVENESS, 0, 4));
	EXPECT_EQ(~0U, *liveness);
	memset(p->memory, 0, 8);
	ASSERT_OK(edu_dma(&p->edu[A], EDU_READS_MEMORY, BAR_IOVA + EDU_REG_ID, 0, 4));
	ASSERT_OK(edu_dma(&p->edu[A], EDU_WRITES_MEMORY, IOVA, 0, 4));
	EXPECT_EQ(EDU_ID, *(uint32_t *)p->memory);
	EXPECT_ERRNO(EPERM, ioas_copy(p->fd, self->ioas, 2 * BAR_IOVA, self->ioas, BAR_IOVA,
				      PAGE));
	/* Nobody may read there. */
	ASSERT_OK(mprotect(bar, PAGE, PROT_NONE));
	EXPECT_ERRNO(EFAULT, MAP_RIGHTS(bar, PAGE, 2 * BAR_IOVA, false));
}

/* What the process has one behind the other need not be so in the device. */
TEST_F(bars, in_pieces)
{
	struct pair *p = &self->pair;
	char *bar = pages(3);

	ASSERT_NE(MAP_FAILED, bar_at(p, bar, PAGE, 2 * PAGE, PROT_READ | PROT_WRITE));
	ASSERT_NE(MAP_FAILED, bar_at(p, bar + 2 * PAGE, 0, PAGE, PROT_READ | PROT_WRITE));
	ATTACH_A();
	ASSERT_OK(MAP_BAR(bar, 3 * PAGE, BAR_IOVA));
	EXPECT_FALSE(PEER_AT(BAR_IOVA + PAGE));
	EXPECT_TRUE(PEER_AT(BAR_IOVA + 2 * PAGE));
	ASSERT_OK(ioas_copy(p->fd, self->ioas, 2 * BAR_IOVA, self->ioas, BAR_IOVA + PAGE,
			    2 * PAGE));
	EXPECT_TRUE(PEER_AT(2 * BAR_IOVA + PAGE));
	EXPECT_EQ((int64_t)(3 * PAGE), UNMAP_BAR(BAR_IOVA, 3 * PAGE));
	EXPECT_FALSE(PEER_AT(BAR_IOVA + 2 * PAGE));
	EXPECT_TRUE(PEER_AT(2 * BAR_IOVA + PAGE));
	ASSERT_OK(munmap(bar, 3 * PAGE));
	EXPECT_FALSE(PEER_AT(2 * BAR_IOVA + PAGE));
}

/* Some of it is memory, or nothing: none of it is mapped. */
TEST_F(bars, mixed)
{
	static const struct {
		int bar, length;	/* in pages, of five */
	} mixtures[] = { { 0, 3 }, { 2, 3 }, { 1, 3 } };
	struct pair *p = &self->pair;
	long pinned = 0;
	char *memory;

	ATTACH_A();
	pinned = held_pins();
	for (unsigned int i = 0; i < ARRAY_SIZE(mixtures); i++) {
		memory = pages(5);
		ASSERT_NE(MAP_FAILED, bar_at(p, memory + mixtures[i].bar * PAGE, 0,
					     mixtures[i].length * PAGE, PROT_READ | PROT_WRITE));
		EXPECT_ERRNO(EFAULT, MAP_BAR(memory, 5 * PAGE, BAR_IOVA));
		EXPECT_EQ(pinned, held_pins());
		/* The addresses are free, and none of the BAR is at them. */
		EXPECT_FALSE(PEER_AT(BAR_IOVA + mixtures[i].bar * PAGE));
		ASSERT_OK(ioas_map(p->fd, self->ioas, p->memory, PAGE, BAR_IOVA));
		EXPECT_EQ((int64_t)PAGE, UNMAP_BAR(BAR_IOVA, PAGE));
		munmap(memory, 5 * PAGE);
		/* So is a hole. */
		ASSERT_NE(MAP_FAILED, bar_at(p, memory + mixtures[i].bar * PAGE, 0,
					     mixtures[i].length * PAGE, PROT_READ | PROT_WRITE));
		EXPECT_ERRNO(EFAULT, MAP_BAR(memory, 5 * PAGE, BAR_IOVA));
		munmap(memory, 5 * PAGE);
	}
}

/* The same registers, but not from VFIO. */
TEST_F(bars, of_others)
{
	struct pair *p = &self->pair;
	long refused = bars_refused();
	char path[64];
	void *bar;
	int fd;

	/* While VFIO has them, nobody else can. */
	edu_close(&p->edu[B]);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%.15s/resource0", p->edu[B].address);
	fd = open(path, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fd);
	bar = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, bar);
	ATTACH_A();
	EXPECT_ERRNO(EFAULT, MAP_BAR(bar, PAGE, BAR_IOVA));
	EXPECT_EQ(refused, bars_refused());
	munmap(bar, PAGE);
	close(fd);
}

TEST_F(bars, copied)
{
	struct pair *p = &self->pair;
	int other = ioas_alloc(p->fd);

	ASSERT_LT(0, other);
	/* Before there is a domain, it is an address like any other. */
	ASSERT_OK(MAP_ALL());
	ASSERT_OK(ioas_copy(p->fd, other, IOVA, self->ioas, IOVA, 2 * PAGE));
	ASSERT_OK(ioas_copy(p->fd, other, BAR_IOVA, self->ioas, BAR_IOVA, SIZE));
	ASSERT_OK(ioas_copy(p->fd, other, BAR_IOVA - PAGE, self->ioas, BAR_IOVA, PAGE));
	ASSERT_LT(0, attach_pt(p->edu[A].fd, other));
	EXPECT_TRUE(PEER_AT(BAR_IOVA));
	EXPECT_TRUE(PEER_AT(BAR_IOVA - PAGE));
	ASSERT_OK(ioas_copy(p->fd, other, BAR_IOVA - 2 * PAGE, self->ioas, BAR_IOVA, PAGE));
	ASSERT_OK(ioas_copy(p->fd, other, BAR_IOVA + SIZE, other, BAR_IOVA, PAGE));
	ASSERT_OK(destroy(p->fd, self->ioas));
	EXPECT_TRUE(PEER_AT(BAR_IOVA - 2 * PAGE));
	EXPECT_EQ((int64_t)SIZE, ioas_unmap(p->fd, other, BAR_IOVA, SIZE));
	EXPECT_FALSE(PEER_AT(BAR_IOVA));
	EXPECT_TRUE(PEER_AT(BAR_IOVA + SIZE));
	/* It is taken back from all that have it. */
	ASSERT_OK(set_memory(p, false));
	ASSERT_OK(set_memory(p, true));
	EXPECT_FALSE(PEER_AT(BAR_IOVA - PAGE));
	EXPECT_FALSE(PEER_AT(BAR_IOVA - 2 * PAGE));
	EXPECT_FALSE(PEER_AT(BAR_IOVA + SIZE));
}

/* Nothing is pinned, and nobody pays, whatever the limit is. */
TEST_F(bars, nobody_pays)
{
	struct pair *p = &self->pair;
	long pinned;

	ATTACH_A();
	pinned = held_pins();
	IN_CHILD() {
		EXPECT_OK(be_limited(0));
		EXPECT_ERRNO(ENOMEM, ioas_map(p->fd, self->ioas, p->memory, PAGE, 2 * IOVA));
		EXPECT_OK(MAP_ALL());
		EXPECT_EQ(0, pinned_pages());
		EXPECT_EQ(pinned, held_pins());
	}
	EXPECT_EQ((int64_t)SIZE, UNMAP_ALL());
	/* Mainline says that only the pages of files can change hands. */
	ASSERT_EQ((int64_t)(2 * PAGE), UNMAP_BAR(IOVA, 2 * PAGE));
	ASSERT_OK(MAP_ALL());
	EXPECT_ERRNO(EINVAL, change_process(p->fd));
}

/* --- taking it back -------------------------------------------------------------- */

static uint32_t sent = 0x7654321;

/* Have A begin to write to a register of B's: that takes a while. */
static void begin_write(struct __test_metadata *_metadata, struct pair *p)
{
	*(volatile uint32_t *)p->memory = ++sent;
	ASSERT_OK(edu_dma(&p->edu[A], EDU_READS_MEMORY, IOVA, 0, 4));
	*edu_reg32(&p->edu[B], EDU_REG_LIVENESS) = 0;
	ASSERT_OK(edu_dma_start(&p->edu[A], EDU_WRITES_MEMORY, BAR_IOVA + EDU_REG_LIVENESS, 0, 4));
}

static bool write_has_arrived(struct __test_metadata *_metadata, struct pair *p)
{
	ASSERT_OK(edu_dma_wait(&p->edu[A]));
	return *edu_reg32(&p->edu[B], EDU_REG_LIVENESS) == ~sent;
}

/* On a busy machine, a write may be over before the register is taken: so often that is tried. */
#define TRIES 10

/* Whether a write has arrived that was under way while the register was taken; it must not have. */
static bool was_too_soon(struct __test_metadata *_metadata, struct pair *p, const char *taken_by)
{
	bool in_time = edu_dma_busy(&p->edu[A]), arrived = write_has_arrived(_metadata, p);

	EXPECT_FALSE(in_time && arrived)
		TH_LOG("after %s", taken_by);
	return arrived && !in_time;
}

/* Each takes it from A, and then lets the process have it back. */
static int by_memory_enable(struct pair *p)
{
	return set_memory(p, false) ?: set_memory(p, true);
}

static int by_munmap(struct pair *p)
{
	return munmap(p->edu[B].bar, SIZE) ?: look_again(p);
}

static int by_munmap_of_a_page(struct pair *p)
{
	char *last = (char *)p->edu[B].bar + SIZE - PAGE;

	return munmap(last, PAGE) ?:
	       bar_at(p, last, SIZE - PAGE, PAGE, PROT_READ | PROT_WRITE) == MAP_FAILED;
}

static int by_mremap(struct pair *p)
{
	void *free = mmap(NULL, SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void *bar = mremap(p->edu[B].bar, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, free);

	p->edu[B].bar = bar;
	return bar == MAP_FAILED;
}

static int by_mprotect(struct pair *p)
{
	return mprotect(p->edu[B].bar, SIZE, PROT_READ) ?:
	       mprotect(p->edu[B].bar, SIZE, PROT_READ | PROT_WRITE);
}

static int by_memory_in_its_place(struct pair *p)
{
	void *memory = mmap(p->edu[B].bar, SIZE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	return memory == MAP_FAILED ? -errno : look_again(p);
}

static int open_again(struct pair *p)
{
	int ret = edu_open(&p->edu[B]);

	if (ret)
		return ret;
	ret = vfio_bind(p->edu[B].fd, p->fd);
	return ret < 0 ? ret : edu_start(&p->edu[B]);
}

static int by_closing(struct pair *p)
{
	edu_close(&p->edu[B]);
	return open_again(p);
}

static void *remove_b(void *data)
{
	struct pair *p = data;

	return device_write(p->edu[B].address, "remove", "1") ? NULL : p;
}

/* The device waits until it is let go of; then it comes back. */
static int by_unplugging(struct pair *p)
{
	char address[sizeof(p->edu[B].address)];
	pthread_t thread;
	void *removed;

	strcpy(address, p->edu[B].address);
	if (pthread_create(&thread, NULL, remove_b, p))
		return -EAGAIN;
	edu_sleep_ms(10);
	edu_close(&p->edu[B]);
	pthread_join(thread, &removed);
	if (!removed || device_exists(address, ""))
		return -EBUSY;
	edu_dma_wait(&p->edu[A]);
	return sysfs_write("", "rescan", "1") ?: give_to(address, "vfio-pci") ?:
	       edu_find(&p->edu[B], address) ?: open_again(p);
}

static const struct {
	const char *name;
	int (*take)(struct pair *pair);
} ways[] = {
	{ "memory enable", by_memory_enable },
	{ "munmap", by_munmap },
	{ "munmap of a page", by_munmap_of_a_page },
	{ "mremap", by_mremap },
	{ "mprotect", by_mprotect },
	{ "memory in its place", by_memory_in_its_place },
	{ "closing", by_closing },
	{ "unplugging", by_unplugging },
};

TEST_F(bars, taken_back)
{
	struct pair *p = &self->pair;

	ATTACH_A();
	for (unsigned int i = 0; i < ARRAY_SIZE(ways); i++) {
		unsigned int tries = 0;

		ASSERT_OK(MAP_ALL());
		begin_write(_metadata, p);
		EXPECT_TRUE(write_has_arrived(_metadata, p));
		begin_write(_metadata, p);
		ASSERT_OK(ways[i].take(p))
			TH_LOG("%s", ways[i].name);
		while (was_too_soon(_metadata, p, ways[i].name) && ++tries < TRIES) {
			EXPECT_EQ((int64_t)SIZE, UNMAP_ALL());
			ASSERT_OK(MAP_ALL());
			begin_write(_metadata, p);
			ASSERT_OK(ways[i].take(p));
		}
		EXPECT_LT(tries, TRIES)
			TH_LOG("before %s, each time", ways[i].name);
		/* It stays so: the range is taken, and nothing is there. */
		EXPECT_FALSE(PEER_AT(BAR_IOVA));
		EXPECT_ERRNO(EEXIST, MAP_ALL());
		EXPECT_OK(vfio_detach(p->edu[A].fd));
		ATTACH_A();
		EXPECT_FALSE(PEER_AT(BAR_IOVA));
		EXPECT_EQ((int64_t)SIZE, UNMAP_ALL());
		ASSERT_OK(MAP_ALL());
		EXPECT_TRUE(PEER_AT(BAR_IOVA))
			TH_LOG("anew after %s", ways[i].name);
		EXPECT_EQ((int64_t)SIZE, UNMAP_ALL());
	}
}

/*
 * Another process maps it, for all that have the file, and ends, or becomes another program; true
 * if a write came before that.
 */
static bool map_and_end(struct __test_metadata *_metadata, struct pair *p, int ioas, bool native,
			bool exec)
{
	int ends[2], go[2];
	bool too_soon;
	pid_t child;
	char byte;

	ASSERT_OK(pipe2(ends, O_CLOEXEC));
	ASSERT_OK(pipe2(go, O_CLOEXEC));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		byte = !map_at(p->fd, ioas, native, p->edu[B].bar, SIZE, BAR_IOVA, true);
		if (write(ends[1], &byte, 1) != 1 || read(go[0], &byte, 1) != 1)
			_exit(1);
		if (exec)
			execl("/bin/sleep", "sleep", "100", NULL);
		_exit(0);
	}
	ASSERT_EQ(1, read(ends[0], &byte, 1));
	ASSERT_EQ(1, byte);
	EXPECT_TRUE(PEER_AT(BAR_IOVA));
	begin_write(_metadata, p);
	ASSERT_EQ(1, write(go[1], &byte, 1));
	close(ends[1]);
	/* The child has it no more, one way or the other. */
	ASSERT_EQ(0, read(ends[0], &byte, 1));
	if (!exec)
		ASSERT_EQ(child, waitpid(child, NULL, 0));
	too_soon = was_too_soon(_metadata, p, exec ? "exec" : "exit");
	EXPECT_FALSE(PEER_AT(BAR_IOVA));
	if (exec) {
		ASSERT_OK(kill(child, SIGKILL));
		ASSERT_EQ(child, waitpid(child, NULL, 0));
	}
	EXPECT_EQ((int64_t)SIZE, ioas_unmap(p->fd, ioas, BAR_IOVA, SIZE));
	close(ends[0]);
	close(go[0]);
	close(go[1]);
	return too_soon;
}

TEST_F(bars, of_a_process_that_ends)
{
	struct pair *p = &self->pair;

	ATTACH_A();
	for (int exec = 0; exec < 2; exec++) {
		unsigned int tries = 0;

		while (map_and_end(_metadata, p, self->ioas, variant->native, exec) &&
		       ++tries < TRIES)
			;
		EXPECT_LT(tries, TRIES);
	}
	ASSERT_OK(MAP_ALL());
	EXPECT_TRUE(PEER_AT(BAR_IOVA));
	/* A child has it as well, and what it does with that is its own affair. */
	IN_CHILD()
		EXPECT_OK(munmap(p->edu[B].bar, SIZE));
	EXPECT_TRUE(PEER_AT(BAR_IOVA));
}

/* What takes nothing out of the page table takes nothing back. */
TEST_F(bars, kept)
{
	struct pair *p = &self->pair;
	int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
	char *memory = (char *)p->edu[B].bar + SIZE;

	ATTACH_A();
	ASSERT_OK(MAP_ALL());
	/* What was written to since. The IOMMU need not know. */
	EXPECT_TRUE(write(fd, "4", 1) == 1 || errno == EINVAL);
	close(fd);
	EXPECT_TRUE(PEER_AT(BAR_IOVA));
	/* Its neighbours. */
	memory = mmap(memory, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(memory, 1, PAGE);
	ASSERT_OK(munmap(memory, PAGE));
	EXPECT_TRUE(PEER_AT(BAR_IOVA));
}

struct racing {
	struct pair *pair;
	int ioas;
	bool native;
	bool stop;
	void *memory;
	int ret;
};

static void *take_back(void *arg)
{
	struct racing *racing = arg;

	while (!__atomic_load_n(&racing->stop, __ATOMIC_ACQUIRE)) {
		set_memory(racing->pair, false);
		set_memory(racing->pair, true);
	}
	return NULL;
}

/* Map and unmap, at the same addresses as another thread. */
static void *map_and_unmap(void *arg)
{
	struct racing *racing = arg;
	struct pair *p = racing->pair;

	while (!__atomic_load_n(&racing->stop, __ATOMIC_ACQUIRE)) {
		map_at(p->fd, racing->ioas, racing->native, p->edu[B].bar, SIZE, BAR_IOVA, true);
		ioas_unmap(p->fd, racing->ioas, BAR_IOVA, SIZE);
	}
	return NULL;
}

TEST_F(bars, race)
{
	struct pair *p = &self->pair;
	struct racing racing = { .pair = p, .ioas = self->ioas, .native = variant->native };
	pthread_t threads[2];
	int ret, i;

	ASSERT_EQ(0, pthread_create(&threads[0], NULL, take_back, &racing));
	ASSERT_EQ(0, pthread_create(&threads[1], NULL, map_and_unmap, &racing));
	for (i = 0; i < 200; i++) {
		ret = MAP_ALL();
		EXPECT_TRUE(!ret || ret == -EFAULT || ret == -EEXIST)
			TH_LOG("%d", ret);
		if (i % 8 == 0) {
			ret = attach_pt(p->edu[A].fd, self->ioas);
			EXPECT_TRUE(ret > 0 || ret == -EFAULT)
				TH_LOG("%d", ret);
		}
		ret = UNMAP_ALL();
		EXPECT_TRUE(ret == -ENOENT || ret == (int)SIZE)
			TH_LOG("%d", ret);
		if (i % 8 == 4)
			vfio_detach(p->edu[A].fd);
	}
	__atomic_store_n(&racing.stop, true, __ATOMIC_RELEASE);
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	UNMAP_ALL();
	ATTACH_A();
	EXPECT_FALSE(PEER_AT(BAR_IOVA));
	ASSERT_OK(MAP_ALL());
	EXPECT_TRUE(PEER_AT(BAR_IOVA));
}

static void *map_late(void *arg)
{
	struct racing *racing = arg;

	racing->ret = ioas_map(racing->pair->fd, racing->ioas, racing->memory, PAGE, 2 * BAR_IOVA);
	return NULL;
}

static void *attach_late(void *arg)
{
	struct racing *racing = arg;

	racing->ret = attach_pt(racing->pair->edu[A].fd, racing->ioas);
	return NULL;
}

/* Who takes it back does not wait for userspace that somebody else waits for. */
TEST_F(bars, while_others_wait)
{
	struct pair *p = &self->pair;
	struct racing racing = { .pair = p, .ioas = self->ioas, .memory = pages(2) };
	pthread_t thread;
	int stopper;

	/* For a map. */
	ATTACH_A();
	ASSERT_OK(MAP_ALL());
	stopper = stop_at(racing.memory, 2 * PAGE);
	ASSERT_LE(0, stopper);
	ASSERT_EQ(0, pthread_create(&thread, NULL, map_late, &racing));
	wait_for_stop(_metadata, stopper);
	begin_write(_metadata, p);
	ASSERT_OK(by_memory_enable(p));
	was_too_soon(_metadata, p, "memory enable");
	EXPECT_FALSE(PEER_AT(BAR_IOVA));
	close(stopper);
	pthread_join(thread, NULL);
	EXPECT_OK(racing.ret);
	EXPECT_EQ((int64_t)PAGE, UNMAP_BAR(2 * BAR_IOVA, PAGE));
	EXPECT_EQ((int64_t)SIZE, UNMAP_ALL());
	EXPECT_OK(vfio_detach(p->edu[A].fd));

	/* For an attach, which has found the BAR before. */
	ASSERT_OK(MAP_ALL());
	racing.memory = (char *)racing.memory + PAGE;
	ASSERT_OK(ioas_map(p->fd, self->ioas, racing.memory, PAGE, 2 * BAR_IOVA));
	stopper = stop_at(racing.memory, PAGE);
	ASSERT_LE(0, stopper);
	ASSERT_EQ(0, pthread_create(&thread, NULL, attach_late, &racing));
	wait_for_stop(_metadata, stopper);
	ASSERT_OK(by_memory_enable(p));
	close(stopper);
	pthread_join(thread, NULL);
	EXPECT_LT(0, racing.ret);
	EXPECT_FALSE(PEER_AT(BAR_IOVA));
}

/* --- the parameter --------------------------------------------------------------- */

/* Mainline's calls say what mainline says, unless they are told not to. */
TEST_F(bars, only_if_allowed)
{
	struct pair *p = &self->pair;
	long refused = bars_refused();

	ASSERT_LE(0, refused);
	ASSERT_OK(let_map_bars(false));
	ATTACH_A();
	EXPECT_ERRNO(EFAULT, map_at(p->fd, self->ioas, true, p->edu[B].bar, SIZE, BAR_IOVA, true));
	EXPECT_EQ(refused + 1, bars_refused());
	/* Neither does who attaches decide, but who has mapped. */
	EXPECT_OK(vfio_detach(p->edu[A].fd));
	EXPECT_OK(map_at(p->fd, self->ioas, true, p->edu[B].bar, SIZE, BAR_IOVA, true));
	ASSERT_OK(let_map_bars(true));
	EXPECT_ERRNO(EFAULT, attach_pt(p->edu[A].fd, self->ioas));
	EXPECT_EQ(refused + 2, bars_refused());
	EXPECT_EQ((int64_t)SIZE, UNMAP_ALL());
	EXPECT_OK(map_at(p->fd, self->ioas, true, p->edu[B].bar, SIZE, BAR_IOVA, true));
	ASSERT_OK(let_map_bars(false));
	ATTACH_A();
	EXPECT_TRUE(PEER_AT(BAR_IOVA));
	EXPECT_EQ((int64_t)SIZE, UNMAP_ALL());
	EXPECT_OK(map_at(p->fd, self->ioas, false, p->edu[B].bar, SIZE, BAR_IOVA, true));
	EXPECT_EQ(refused + 2, bars_refused());
}

/* As VFIO's container does it, but that it takes it back. */
TEST_F(bars, by_container)
{
	struct pair *p = &self->pair;
	int fd = open_iommufd(), group;

	edu_close(&p->edu[A]);
	group = open_group(p->edu[A].address);
	ASSERT_LE(0, group);
	ASSERT_OK(join(group, fd));
	ASSERT_OK(call(fd, VFIO_SET_IOMMU, (void *)(unsigned long)VFIO_TYPE1v2_IOMMU));
	p->edu[A].fd = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, p->edu[A].address);
	ASSERT_LE(0, p->edu[A].fd);
	ASSERT_OK(edu_start(&p->edu[A]));
	ASSERT_OK(container_map(fd, p->memory, IOVA, 2 * PAGE));
	ASSERT_OK(let_map_bars(false));
	EXPECT_ERRNO(EFAULT, container_map(fd, p->edu[B].bar, BAR_IOVA, SIZE));
	ASSERT_OK(let_map_bars(true));
	ASSERT_OK(container_map(fd, p->edu[B].bar, BAR_IOVA, SIZE));
	EXPECT_TRUE(PEER_AT(BAR_IOVA));
	ASSERT_OK(by_memory_enable(p));
	EXPECT_FALSE(PEER_AT(BAR_IOVA));
	EXPECT_EQ((int64_t)SIZE, container_unmap(fd, BAR_IOVA, SIZE, 0));
	ASSERT_OK(container_map(fd, p->edu[B].bar, BAR_IOVA, SIZE));
	EXPECT_TRUE(PEER_AT(BAR_IOVA));
	edu_close(&p->edu[A]);
	close(group);
	close(fd);
}

TEST_HARNESS_MAIN
