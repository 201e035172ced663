// SPDX-License-Identifier: GPL-2.0
/*
 * Devices that reach each other: the BAR of one, as a dma-buf of VFIO's, in the
 * address space of another.
 */
#include <pthread.h>

#include "iommufd_bar.h"
#include "peer.h"

#define UDMABUF_CREATE _IOW('u', 0x42, struct udmabuf_create_arg)

struct udmabuf_create_arg {
	uint32_t memfd;
	uint32_t flags;
	uint64_t offset;
	uint64_t size;
};

FIXTURE(peer)
{
	struct pair pair;
	int ioas;
	int buf;	/* all of B's BAR */
};

/* A part of B's BAR 0, or a negative errno. */
static int bar_part(struct pair *p, uint64_t offset, uint64_t length)
{
	return bar_buf(&p->edu[B], offset, length);
}

FIXTURE_SETUP(peer)
{
	struct pair *p = &self->pair;

	if (!pair_open(_metadata, p, OWN_GROUPS, NULL))
		SKIP(return, NO_PAIR);
	self->ioas = ioas_alloc(p->fd);
	ASSERT_LT(0, self->ioas);
	ASSERT_OK(ioas_map(p->fd, self->ioas, p->memory, 2 * PAGE, IOVA));
	self->buf = bar_part(p, 0, p->edu[B].bar_size);
	if (self->buf == -ENOTTY)
		SKIP(return, "the kernel's VFIO gives no BAR away");
	ASSERT_LE(0, self->buf);
}

FIXTURE_TEARDOWN(peer)
{
	close(self->buf);
	pair_close(_metadata, &self->pair);
}

#define MAP_BAR(file, start, length, iova) \
	ioas_map_file(p->fd, self->ioas, file, start, length, iova)
#define MAP_ALL() MAP_BAR(self->buf, 0, p->edu[B].bar_size, BAR_IOVA)
#define UNMAP_ALL() ioas_unmap(p->fd, self->ioas, BAR_IOVA, p->edu[B].bar_size)
#define ATTACH_A(pt) attach_pt(p->edu[A].fd, pt)

TEST_F(peer, reaches_registers)
{
	struct pair *p = &self->pair;

	ASSERT_LT(0, ATTACH_A(self->ioas));
	EXPECT_FALSE(PEER_AT(BAR_IOVA));
	ASSERT_OK(MAP_ALL());
	EXPECT_TRUE(PEER_AT(BAR_IOVA));
	/* It needs its dma-buf no more. */
	close(self->buf);
	EXPECT_TRUE(PEER_AT(BAR_IOVA));
	EXPECT_EQ((int64_t)p->edu[B].bar_size, UNMAP_ALL());
	EXPECT_FALSE(PEER_AT(BAR_IOVA));
}

TEST_F(peer, domains_come_and_go)
{
	struct pair *p = &self->pair;
	int hwpt;

	ASSERT_OK(MAP_ALL());
	ASSERT_LT(0, ATTACH_A(self->ioas));
	EXPECT_TRUE(PEER_AT(BAR_IOVA));
	hwpt = hwpt_alloc(p->fd, p->id[A], self->ioas, 0);
	ASSERT_LT(0, hwpt);
	EXPECT_EQ(hwpt, ATTACH_A(hwpt));
	EXPECT_TRUE(PEER_AT(BAR_IOVA));
	ASSERT_LT(0, ATTACH_A(self->ioas));
	EXPECT_OK(destroy(p->fd, hwpt));
	EXPECT_TRUE(PEER_AT(BAR_IOVA));
	EXPECT_OK(vfio_detach(p->edu[A].fd));
	ASSERT_LT(0, ATTACH_A(self->ioas));
	EXPECT_TRUE(PEER_AT(BAR_IOVA));
	EXPECT_EQ((int64_t)p->edu[B].bar_size, UNMAP_ALL());
	EXPECT_FALSE(PEER_AT(BAR_IOVA));
}

TEST_F(peer, parts)
{
	struct pair *p = &self->pair;
	uint64_t size = p->edu[B].bar_size;
	int part = bar_part(p, PAGE, 2 * PAGE);

	ASSERT_LE(0, part);
	ASSERT_LT(0, ATTACH_A(self->ioas));
	EXPECT_ERRNO(EINVAL, MAP_BAR(self->buf, 0, size + PAGE, BAR_IOVA));
	EXPECT_ERRNO(EINVAL, MAP_BAR(self->buf, size, PAGE, BAR_IOVA));
	EXPECT_ERRNO(EINVAL, MAP_BAR(self->buf, 0, 0, BAR_IOVA));
	EXPECT_ERRNO(EINVAL, MAP_BAR(self->buf, 0, 512, BAR_IOVA));
	EXPECT_ERRNO(EINVAL, MAP_BAR(self->buf, 512, PAGE, BAR_IOVA));
	EXPECT_ERRNO(EINVAL, MAP_BAR(part, 0, 3 * PAGE, BAR_IOVA));
	EXPECT_ERRNO(EEXIST, MAP_BAR(part, 0, PAGE, IOVA));
	EXPECT_ERRNO(EINVAL, MAP_BAR(part, 0, PAGE, DOORBELLS));
	/* The registers are in the first page. */
	EXPECT_OK(MAP_BAR(part, 0, 2 * PAGE, BAR_IOVA));
	EXPECT_FALSE(PEER_AT(BAR_IOVA));
	EXPECT_OK(MAP_BAR(self->buf, 0, PAGE, BAR_IOVA - PAGE));
	EXPECT_TRUE(PEER_AT(BAR_IOVA - PAGE));
	EXPECT_EQ(PAGE, ioas_unmap(p->fd, self->ioas, BAR_IOVA - PAGE, PAGE));
	EXPECT_FALSE(PEER_AT(BAR_IOVA - PAGE));
	close(part);
}

TEST_F(peer, read_only)
{
	struct pair *p = &self->pair;
	struct iommu_ioas_map_file arg = map_file_arg(self->ioas, self->buf, 0, PAGE, BAR_IOVA);
	volatile uint32_t *liveness = edu_reg32(&p->edu[B], EDU_REG_LIVENESS);

	ASSERT_LT(0, ATTACH_A(self->ioas));
	arg.flags = FIXED | IOMMU_IOAS_MAP_READABLE;
	ASSERT_OK(call(p->fd, IOMMU_IOAS_MAP_FILE, &arg));
	*liveness = 0;
	ASSERT_OK(edu_dma(&p->edu[A], EDU_WRITES_MEMORY, BAR_IOVA + EDU_REG_LIVENESS, 0, 4));
	EXPECT_EQ(~0U, *liveness);
	memset(p->memory, 0, 8);
	ASSERT_OK(edu_dma(&p->edu[A], EDU_READS_MEMORY, BAR_IOVA + EDU_REG_ID, 0, 4));
	ASSERT_OK(edu_dma(&p->edu[A], EDU_WRITES_MEMORY, IOVA, 0, 4));
	EXPECT_EQ(EDU_ID, *(uint32_t *)p->memory);
}

/* What is mapped, and what of that is pinned: the memory, once there is a domain. */
static void expect_shown(struct __test_metadata *_metadata, struct pair *p, int ioas, int areas,
			 unsigned long mapped_kb, int pinned)
{
	char path[48], line[256], expected[128];
	bool found = false;
	FILE *file;

	snprintf(expected, sizeof(expected),
		 "ioasid:\t%d window 0x0-0xffffffffffffffff areas %d mapped %lu kB pinned %d pages",
		 ioas, areas, mapped_kb, pinned);
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", p->fd);
	file = fopen(path, "r");
	ASSERT_NE(NULL, file);
	while (!found && fgets(line, sizeof(line), file))
		found = !strncmp(line, expected, strlen(expected));
	fclose(file);
	EXPECT_TRUE(found) TH_LOG("no line begins with: %s", expected);
}

TEST_F(peer, nothing_is_pinned)
{
	struct pair *p = &self->pair;
	unsigned long kb = p->edu[B].bar_size / 1024;

	expect_shown(_metadata, p, self->ioas, 1, 8, 0);
	ASSERT_OK(MAP_ALL());
	expect_shown(_metadata, p, self->ioas, 2, 8 + kb, 0);
	ASSERT_LT(0, ATTACH_A(self->ioas));
	expect_shown(_metadata, p, self->ioas, 2, 8 + kb, 2);
	EXPECT_EQ((int64_t)p->edu[B].bar_size, UNMAP_ALL());
	expect_shown(_metadata, p, self->ioas, 1, 8, 2);
}

/* --- taking it back -------------------------------------------------------------- */

TEST_F(peer, taken_back)
{
	struct pair *p = &self->pair;

	ASSERT_LT(0, ATTACH_A(self->ioas));
	ASSERT_OK(MAP_ALL());
	ASSERT_TRUE(PEER_AT(BAR_IOVA));
	ASSERT_OK(set_memory(p, false));
	EXPECT_ERRNO(ENODEV, MAP_BAR(self->buf, 0, PAGE, IOVA + 4 * PAGE));
	ASSERT_OK(set_memory(p, true));
	/* It stays so: the range is taken, and nothing is there. */
	EXPECT_FALSE(PEER_AT(BAR_IOVA));
	EXPECT_ERRNO(EEXIST, MAP_ALL());
	/* A domain that comes later has none of it either. */
	EXPECT_OK(vfio_detach(p->edu[A].fd));
	ASSERT_LT(0, ATTACH_A(self->ioas));
	EXPECT_FALSE(PEER_AT(BAR_IOVA));
	EXPECT_EQ((int64_t)p->edu[B].bar_size, UNMAP_ALL());
	ASSERT_OK(MAP_ALL());
	EXPECT_TRUE(PEER_AT(BAR_IOVA));
}

TEST_F(peer, device_is_closed)
{
	struct pair *p = &self->pair;
	uint64_t size = p->edu[B].bar_size;

	ASSERT_LT(0, ATTACH_A(self->ioas));
	ASSERT_OK(MAP_ALL());
	ASSERT_TRUE(PEER_AT(BAR_IOVA));
	edu_close(&p->edu[B]);
	/* Somebody else has the device now: it is kept from A. */
	ASSERT_OK(edu_open(&p->edu[B]));
	ASSERT_LT(0, vfio_bind(p->edu[B].fd, p->fd));
	ASSERT_OK(edu_start(&p->edu[B]));
	EXPECT_FALSE(PEER_AT(BAR_IOVA));
	EXPECT_EQ((int64_t)size, ioas_unmap(p->fd, self->ioas, BAR_IOVA, size));
}

struct toggling {
	struct pair *pair;
	bool stop;
};

static void *toggle(void *arg)
{
	struct toggling *toggling = arg;

	while (!__atomic_load_n(&toggling->stop, __ATOMIC_ACQUIRE)) {
		set_memory(toggling->pair, false);
		set_memory(toggling->pair, true);
	}
	return NULL;
}

/* Mapping, unmapping and attaching, while it is taken back all the time. */
TEST_F(peer, race)
{
	struct pair *p = &self->pair;
	struct toggling toggling = { .pair = p };
	pthread_t thread;
	int ret, i;

	ASSERT_EQ(0, pthread_create(&thread, NULL, toggle, &toggling));
	for (i = 0; i < 200; i++) {
		ret = MAP_ALL();
		EXPECT_TRUE(!ret || ret == -ENODEV) TH_LOG("%d", ret);
		if (i % 8 == 0)
			EXPECT_LT(0, ATTACH_A(self->ioas));
		if (!ret)
			EXPECT_EQ((int64_t)p->edu[B].bar_size, UNMAP_ALL());
		if (i % 8 == 4)
			EXPECT_OK(vfio_detach(p->edu[A].fd));
	}
	__atomic_store_n(&toggling.stop, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	ASSERT_LT(0, ATTACH_A(self->ioas));
	EXPECT_FALSE(PEER_AT(BAR_IOVA));
	ASSERT_OK(MAP_ALL());
	EXPECT_TRUE(PEER_AT(BAR_IOVA));
}

struct waiting_map {
	int fd;
	int ioas;
	void *memory;
	int ret;
};

/* Map memory where the BAR is, as soon as that can be. */
static void *map_when_free(void *arg)
{
	struct waiting_map *map = arg;

	do
		map->ret = ioas_map(map->fd, map->ioas, map->memory, PAGE, BAR_IOVA);
	while (map->ret == -EEXIST);
	return NULL;
}

/* What can be mapped anew has left every domain: what comes there stays. */
TEST_F(peer, memory_comes_where_a_bar_was)
{
	struct pair *p = &self->pair;
	struct waiting_map map = { p->fd, self->ioas, p->memory, 0 };
	volatile uint32_t *memory = (uint32_t *)p->memory;
	uint32_t serial = 0;
	pthread_t thread;
	int i;

	ASSERT_LT(0, ATTACH_A(self->ioas));
	for (i = 0; i < 1000; i++) {
		ASSERT_OK(MAP_ALL());
		ASSERT_EQ(0, pthread_create(&thread, NULL, map_when_free, &map));
		EXPECT_EQ((int64_t)p->edu[B].bar_size, UNMAP_ALL());
		pthread_join(thread, NULL);
		ASSERT_OK(map.ret)
			TH_LOG("at round %d", i);
		if (i % 50 == 0) {
			*memory = ++serial;
			ASSERT_OK(edu_dma(&p->edu[A], EDU_READS_MEMORY, BAR_IOVA, 0, 4));
			*memory = 0;
			ASSERT_OK(edu_dma(&p->edu[A], EDU_WRITES_MEMORY, BAR_IOVA, 0, 4));
			ASSERT_EQ(serial, *memory);
		}
		ASSERT_EQ(PAGE, ioas_unmap(p->fd, self->ioas, BAR_IOVA, PAGE));
	}
}

/* --- copies ---------------------------------------------------------------------- */

#define COPY_BAR(to, to_iova, from_iova, length) \
	ioas_copy(p->fd, to, to_iova, self->ioas, from_iova, length)

/* A space gets all of a BAR from another one, or some of it, and keeps that. */
TEST_F(peer, copied)
{
	struct pair *p = &self->pair;
	uint64_t size = p->edu[B].bar_size;
	int other = ioas_alloc(p->fd);

	ASSERT_LT(0, other);
	ASSERT_OK(MAP_ALL());
	/* The registers are in the first page. */
	ASSERT_OK(COPY_BAR(other, IOVA, IOVA, 2 * PAGE));
	ASSERT_OK(COPY_BAR(other, BAR_IOVA, BAR_IOVA, size));
	ASSERT_OK(COPY_BAR(other, BAR_IOVA - PAGE, BAR_IOVA, PAGE));
	ASSERT_LT(0, ATTACH_A(other));
	ASSERT_OK(COPY_BAR(other, BAR_IOVA - 2 * PAGE, BAR_IOVA, PAGE));
	ASSERT_OK(COPY_BAR(other, BAR_IOVA + size, BAR_IOVA + PAGE, PAGE));
	EXPECT_TRUE(PEER_AT(BAR_IOVA));
	EXPECT_TRUE(PEER_AT(BAR_IOVA - PAGE));
	EXPECT_TRUE(PEER_AT(BAR_IOVA - 2 * PAGE));
	EXPECT_FALSE(PEER_AT(BAR_IOVA + size));
	EXPECT_ERRNO(ENOENT, COPY_BAR(other, 2 * IOVA, BAR_IOVA + size - PAGE, 2 * PAGE));
	EXPECT_ERRNO(EEXIST, COPY_BAR(other, BAR_IOVA, BAR_IOVA, PAGE));
	ASSERT_OK(destroy(p->fd, self->ioas));
	EXPECT_TRUE(PEER_AT(BAR_IOVA));
	EXPECT_EQ((int64_t)size, ioas_unmap(p->fd, other, BAR_IOVA, size));
	EXPECT_FALSE(PEER_AT(BAR_IOVA));
	EXPECT_TRUE(PEER_AT(BAR_IOVA - PAGE));
	/* It comes and goes with the domain, as all that is mapped. */
	ASSERT_OK(vfio_detach(p->edu[A].fd));
	ASSERT_LT(0, ATTACH_A(other));
	EXPECT_TRUE(PEER_AT(BAR_IOVA - PAGE));
}

/* It is taken back from all that have it. */
TEST_F(peer, copies_are_taken_back)
{
	struct pair *p = &self->pair;

	ASSERT_OK(MAP_ALL());
	ASSERT_LT(0, ATTACH_A(self->ioas));
	ASSERT_OK(COPY_BAR(self->ioas, BAR_IOVA - PAGE, BAR_IOVA, PAGE));
	EXPECT_EQ((int64_t)p->edu[B].bar_size, UNMAP_ALL());
	ASSERT_TRUE(PEER_AT(BAR_IOVA - PAGE));
	ASSERT_OK(set_memory(p, false));
	ASSERT_OK(set_memory(p, true));
	EXPECT_FALSE(PEER_AT(BAR_IOVA - PAGE));
	EXPECT_EQ(PAGE, ioas_unmap(p->fd, self->ioas, BAR_IOVA - PAGE, PAGE));
	ASSERT_OK(MAP_ALL());
	EXPECT_TRUE(PEER_AT(BAR_IOVA));
}

/* A copy may have what the BAR was mapped with, and less. */
TEST_F(peer, copied_for_reading)
{
	struct pair *p = &self->pair;
	struct iommu_ioas_copy copy = ioas_copy_arg(self->ioas, BAR_IOVA - PAGE, self->ioas,
						    BAR_IOVA, PAGE);
	struct iommu_ioas_map_file map = map_file_arg(self->ioas, self->buf, 0, PAGE, 2 * IOVA);
	volatile uint32_t *liveness = edu_reg32(&p->edu[B], EDU_REG_LIVENESS);

	ASSERT_OK(MAP_ALL());
	ASSERT_LT(0, ATTACH_A(self->ioas));
	copy.flags = FIXED | IOMMU_IOAS_MAP_READABLE;
	ASSERT_OK(call(p->fd, IOMMU_IOAS_COPY, &copy));
	*liveness = 0;
	ASSERT_OK(edu_dma(&p->edu[A], EDU_WRITES_MEMORY, BAR_IOVA - PAGE + EDU_REG_LIVENESS, 0,
			  4));
	EXPECT_EQ(~0U, *liveness);
	map.flags = FIXED | IOMMU_IOAS_MAP_READABLE;
	ASSERT_OK(call(p->fd, IOMMU_IOAS_MAP_FILE, &map));
	EXPECT_ERRNO(EPERM, COPY_BAR(self->ioas, 3 * IOVA, 2 * IOVA, PAGE));
}

/* --- live update ----------------------------------------------------------------- */

/* Nobody pays for device memory: it is in nobody's way, and stays where it is. */
TEST_F(peer, goes_along_to_another_process)
{
	struct pair *p = &self->pair;
	int file = memfd_create("memory", MFD_CLOEXEC);

	ASSERT_LT(0, ATTACH_A(self->ioas));
	ASSERT_EQ((int64_t)(2 * PAGE), ioas_unmap(p->fd, self->ioas, IOVA, 2 * PAGE));
	ASSERT_OK(ftruncate(file, 2 * PAGE));
	ASSERT_OK(ioas_map_file(p->fd, self->ioas, file, 0, 2 * PAGE, IOVA));
	ASSERT_OK(MAP_ALL());
	p->memory = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	ASSERT_NE(MAP_FAILED, p->memory);
	IN_CHILD() {
		EXPECT_EQ(0, pinned_pages());
		EXPECT_OK(change_process(p->fd));
		EXPECT_EQ(2, pinned_pages());
	}
	EXPECT_EQ(0, pinned_pages());
	EXPECT_OK(change_process(p->fd));
	EXPECT_EQ(2, pinned_pages());
	EXPECT_TRUE(PEER_AT(BAR_IOVA));
	ASSERT_EQ((int64_t)p->edu[B].bar_size, UNMAP_ALL());
	close(file);
}

/* --- what is not done ------------------------------------------------------------ */

/* What is open in a way that mmap() would not take is not mapped for devices either. */
TEST_F(peer, rights_of_dma_bufs)
{
	static const uint32_t flags[] = {
		IOMMU_IOAS_MAP_READABLE, IOMMU_IOAS_MAP_WRITEABLE, RW,
	};
	static const struct {
		uint32_t mode;
		int want[ARRAY_SIZE(flags)];
	} modes[] = {
		{ O_RDWR, { 0, 0, 0 } },
		{ O_RDONLY, { 0, EPERM, EPERM } },
		{ O_WRONLY, { EACCES, EACCES, EACCES } },
	};
	struct pair *p = &self->pair;
	struct iommu_ioas_map_file arg;
	unsigned int i, j;
	int buf;

	for (i = 0; i < ARRAY_SIZE(modes); i++) {
		buf = bar_buf_open(&p->edu[B], 0, PAGE, modes[i].mode);
		ASSERT_LE(0, buf);
		for (j = 0; j < ARRAY_SIZE(flags); j++) {
			arg = map_file_arg(self->ioas, buf, 0, PAGE, 2 * IOVA);
			arg.flags = FIXED | flags[j];
			EXPECT_ERRNO(modes[i].want[j], call(p->fd, IOMMU_IOAS_MAP_FILE, &arg))
				TH_LOG("mode %u, flags %u", i, j);
			if (!modes[i].want[j])
				ioas_unmap(p->fd, self->ioas, 2 * IOVA, PAGE);
		}
		close(buf);
	}
}

TEST_F(peer, other_dma_bufs)
{
	struct pair *p = &self->pair;
	int udmabuf = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
	int memory = memfd_create("peer", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct udmabuf_create_arg create = { .memfd = memory, .size = PAGE };
	int buf;

	ASSERT_LE(0, udmabuf);
	ASSERT_OK(ftruncate(memory, PAGE));
	ASSERT_OK(fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK));
	buf = call(udmabuf, UDMABUF_CREATE, &create);
	ASSERT_LE(0, buf);
	EXPECT_ERRNO(EOPNOTSUPP, MAP_BAR(buf, 0, PAGE, BAR_IOVA));
	close(buf);
	close(memory);
	close(udmabuf);
}

TEST_HARNESS_MAIN
