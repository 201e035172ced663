// SPDX-License-Identifier: GPL-2.0
/*
 * More than one device: in groups of their own or in one group, in one address
 * space or in several. Every claim is put to the proof by DMA.
 */
#include "ioasid_utils.h"

#define MAX_DEVICES 8
#define DMA_SIZE 256
#define HALF (EDU_BUFFER_SIZE / 2)

struct place {
	char address[16];
	char group[16];
};

/* All edu devices with an IOMMU group, and the groups. */
static int find_places(struct place places[MAX_DEVICES])
{
	DIR *dir = opendir("/sys/bus/pci/devices");
	char path[96], link[128];
	struct dirent *entry;
	ssize_t length;
	int count = 0;

	while (dir && count < MAX_DEVICES && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), "/sys/bus/pci/devices/%.15s/iommu_group",
			 entry->d_name);
		length = edu_is_edu(entry->d_name) ? readlink(path, link, sizeof(link) - 1) : -1;
		if (length < 0)
			continue;
		link[length] = 0;
		snprintf(places[count].address, 16, "%.15s", entry->d_name);
		snprintf(places[count++].group, 16, "%.15s", strrchr(link, '/') + 1);
	}
	if (dir)
		closedir(dir);
	return count;
}

/* Two of these devices that are in one group, or in two. */
static int find_pair(bool one_group, struct edu pair[2])
{
	struct place places[MAX_DEVICES];
	int count = find_places(places);
	int i, j;

	for (i = 0; i < count; i++) {
		for (j = i + 1; j < count; j++) {
			if (!strcmp(places[i].group, places[j].group) == one_group &&
			    !edu_find(&pair[0], places[i].address) &&
			    !edu_find(&pair[1], places[j].address))
				return 0;
		}
	}
	return -ENODEV;
}

/*
 * The first half of each device's buffer begins with its own mark, to know its
 * writes by. What it reads goes to the second half.
 */
static const char marks[2] = { 0x5a, 0x33 };

static int put_mark(struct edu *edu, int fd, char *page, char mark)
{
	int ioasid = ioasid_alloc(fd, 64);

	if (ioasid < 0 || vfio_attach(edu->fd, ioasid) || edu_start(edu))
		return -EIO;
	memset(page, mark, DMA_SIZE);
	if (ioasid_map(fd, ioasid, page, IOVA, PAGE, IOASID_READ) ||
	    edu_dma(edu, EDU_READS_MEMORY, IOVA, 0, DMA_SIZE))
		return -EIO;
	return vfio_detach(edu->fd) ? -EIO : ioasid_free(fd, ioasid);
}

/* The devices A and B, bound to one context that has the spaces X and Y. */
struct pair {
	struct edu edu[2];
	int id[2];
	int fd;
	int space[2];
	char *memory;
	long pins;
};

#define A 0
#define B 1
#define X 0
#define Y 1

/* False if there are no such devices. */
static bool pair_open(struct __test_metadata *_metadata, struct pair *p, bool one_group)
{
	int i;

	p->fd = open_iommufd();
	if (p->fd < 0 || find_pair(one_group, p->edu))
		return false;
	p->memory = pages(2);
	ASSERT_NE(NULL, p->memory);
	p->pins = held_pins();
	for (i = 0; i < 2; i++) {
		ASSERT_OK(edu_open(&p->edu[i]));
		p->id[i] = vfio_bind(p->edu[i].fd, p->fd);
		ASSERT_LT(0, p->id[i]);
		ASSERT_OK(put_mark(&p->edu[i], p->fd, p->memory, marks[i]));
	}
	for (i = 0; i < 2; i++) {
		p->space[i] = ioasid_alloc(p->fd, 64);
		ASSERT_LT(0, p->space[i]);
	}
	return true;
}

static void pair_close(struct __test_metadata *_metadata, struct pair *p)
{
	edu_close(&p->edu[A]);
	edu_close(&p->edu[B]);
	close(p->fd);
	expect_nothing_left(_metadata, p->pins);
}

/*
 * True if device A or B both reads and writes that page of memory at IOVA; if not,
 * it must do neither.
 */
static bool reaches(struct __test_metadata *_metadata, struct pair *p, int who,
		    unsigned int page)
{
	static char serial;	/* below the marks, and never 0 */
	char *memory = p->memory + page * PAGE;
	struct edu *edu = &p->edu[who];
	char expected[DMA_SIZE];
	bool wrote, read;

	memset(expected, marks[who], DMA_SIZE);
	memset(memory, 0, 2 * DMA_SIZE);
	ASSERT_OK(edu_dma(edu, EDU_WRITES_MEMORY, IOVA, 0, DMA_SIZE));
	wrote = !memcmp(memory, expected, DMA_SIZE);
	if (!wrote)
		EXPECT_TRUE(is_zero(memory, DMA_SIZE));
	serial = serial % 50 + 1;
	memset(memory, serial, DMA_SIZE);
	memset(expected, serial, DMA_SIZE);
	ASSERT_OK(edu_dma(edu, EDU_READS_MEMORY, IOVA, HALF, DMA_SIZE));
	ASSERT_OK(edu_dma(edu, EDU_WRITES_MEMORY, IOVA + DMA_SIZE, HALF, DMA_SIZE));
	read = !memcmp(memory + DMA_SIZE, expected, DMA_SIZE);
	EXPECT_EQ(wrote, read);
	return wrote;
}

#define NO_PAIR "needs two edu devices bound to vfio-pci, in the right groups"

#define PAGE_OF(number) (p->memory + (number) * PAGE)
#define REACHES(who, number) reaches(_metadata, p, who, number)
#define MAP(where, number) \
	ioasid_map(p->fd, p->space[where], PAGE_OF(number), IOVA, PAGE, IOASID_RW)
#define UNMAP(where) unmap(p->fd, p->space[where], IOVA, PAGE)
#define ATTACH(who, where) vfio_attach(p->edu[who].fd, p->space[where])
#define DETACH(who) vfio_detach(p->edu[who].fd)
#define FREE(where) ioasid_free(p->fd, p->space[where])

/* --- whatever the groups ------------------------------------------------------- */

FIXTURE(two)
{
	struct pair pair;
};

FIXTURE_VARIANT(two)
{
	bool one_group;
};

FIXTURE_VARIANT_ADD(two, own_groups)
{
	.one_group = false,
};

FIXTURE_VARIANT_ADD(two, one_group)
{
	.one_group = true,
};

FIXTURE_SETUP(two)
{
	if (!pair_open(_metadata, &self->pair, variant->one_group))
		SKIP(return, NO_PAIR);
}

FIXTURE_TEARDOWN(two)
{
	pair_close(_metadata, &self->pair);
}

TEST_F(two, devices_are_told_apart)
{
	struct pair *p = &self->pair;
	struct iommu_device_info *info;
	int i;

	EXPECT_NE(p->id[A], p->id[B]);
	EXPECT_EQ(1, iommu_check_extension(p->fd, IOMMU_EXT_MULTIDEV_GROUP));
	for (i = 0; i < 2; i++) {
		ASSERT_OK(device_get_info(p->fd, p->id[i], &info));
		EXPECT_NE(NULL, device_iova_ranges(info));
		free(info);
	}
}

TEST_F(two, share_a_space)
{
	struct pair *p = &self->pair;

	/* One is there when the mapping is made; the other finds it. */
	ASSERT_OK(ATTACH(A, X));
	EXPECT_FALSE(REACHES(A, 0));
	ASSERT_OK(MAP(X, 0));
	EXPECT_TRUE(REACHES(A, 0));
	ASSERT_OK(ATTACH(B, X));
	EXPECT_TRUE(REACHES(B, 0));
	EXPECT_TRUE(REACHES(A, 0));
	EXPECT_EQ(1, pinned_pages());
	/* What is unmapped is gone for both; what is mapped then is there for both. */
	ASSERT_EQ(PAGE, UNMAP(X));
	EXPECT_FALSE(REACHES(A, 0));
	EXPECT_FALSE(REACHES(B, 0));
	ASSERT_OK(MAP(X, 1));
	EXPECT_TRUE(REACHES(A, 1));
	EXPECT_TRUE(REACHES(B, 1));
	EXPECT_FALSE(REACHES(B, 0));
}

static void orderly_detach(struct __test_metadata *_metadata, struct pair *p, int first)
{
	int last = !first;

	ASSERT_OK(MAP(X, 0));
	ASSERT_OK(ATTACH(A, X));
	ASSERT_OK(ATTACH(B, X));
	ASSERT_OK(DETACH(first));
	EXPECT_TRUE(REACHES(last, 0));
	EXPECT_ERRNO(EBUSY, FREE(X));
	ASSERT_OK(DETACH(last));
	EXPECT_FALSE(REACHES(first, 0));
	EXPECT_FALSE(REACHES(last, 0));
	EXPECT_OK(FREE(X));
	EXPECT_EQ(0, pinned_pages());
}

TEST_F(two, detach_first_then_second)
{
	orderly_detach(_metadata, &self->pair, A);
}

TEST_F(two, detach_second_then_first)
{
	orderly_detach(_metadata, &self->pair, B);
}

TEST_F(two, closing_one_leaves_the_other)
{
	struct pair *p = &self->pair;

	ASSERT_OK(MAP(X, 0));
	ASSERT_OK(ATTACH(A, X));
	ASSERT_OK(ATTACH(B, X));
	edu_close(&p->edu[A]);
	EXPECT_TRUE(REACHES(B, 0));
	/* The context goes with the last device, and with it the pin. */
	close(p->fd);
	EXPECT_TRUE(REACHES(B, 0));
	EXPECT_EQ(1, pinned_pages());
	edu_close(&p->edu[B]);
	EXPECT_EQ(0, pinned_pages());
}

TEST_F(two, attach_again_after_the_other_left)
{
	struct pair *p = &self->pair;

	ASSERT_OK(MAP(X, 0));
	ASSERT_OK(MAP(Y, 1));
	ASSERT_OK(ATTACH(A, X));
	ASSERT_OK(ATTACH(B, X));
	ASSERT_OK(DETACH(A));
	ASSERT_OK(DETACH(B));
	ASSERT_OK(ATTACH(B, Y));
	ASSERT_OK(ATTACH(A, Y));
	EXPECT_TRUE(REACHES(A, 1));
	EXPECT_TRUE(REACHES(B, 1));
	EXPECT_FALSE(REACHES(A, 0));
	EXPECT_OK(FREE(X));
	EXPECT_ERRNO(EBUSY, FREE(Y));
}

/* --- each in a group of its own -------------------------------------------------- */

FIXTURE(apart)
{
	struct pair pair;
};

FIXTURE_SETUP(apart)
{
	if (!pair_open(_metadata, &self->pair, false))
		SKIP(return, NO_PAIR);
}

FIXTURE_TEARDOWN(apart)
{
	pair_close(_metadata, &self->pair);
}

TEST_F(apart, spaces_of_their_own)
{
	struct pair *p = &self->pair;

	ASSERT_OK(MAP(X, 0));
	ASSERT_OK(MAP(Y, 1));
	ASSERT_OK(ATTACH(A, X));
	EXPECT_FALSE(REACHES(B, 0));
	ASSERT_OK(ATTACH(B, Y));
	EXPECT_TRUE(REACHES(A, 0));
	EXPECT_TRUE(REACHES(B, 1));
	EXPECT_FALSE(REACHES(A, 1));
	EXPECT_FALSE(REACHES(B, 0));
	/* Each moves without the other. */
	ASSERT_OK(ATTACH(A, Y));
	EXPECT_TRUE(REACHES(A, 1));
	EXPECT_TRUE(REACHES(B, 1));
	EXPECT_OK(FREE(X));
	ASSERT_OK(DETACH(B));
	EXPECT_FALSE(REACHES(B, 1));
	EXPECT_TRUE(REACHES(A, 1));
}

TEST_F(apart, contexts_of_their_own)
{
	struct pair *p = &self->pair;
	int other = open_iommufd(), ioasid;

	ASSERT_LE(0, other);
	edu_close(&p->edu[B]);
	ASSERT_OK(edu_open(&p->edu[B]));
	ASSERT_LT(0, vfio_bind(p->edu[B].fd, other));
	ASSERT_OK(edu_start(&p->edu[B]));
	ioasid = ioasid_alloc(other, 64);
	ASSERT_LT(0, ioasid);
	ASSERT_OK(MAP(X, 0));
	ASSERT_OK(ioasid_map(other, ioasid, PAGE_OF(0), IOVA, PAGE, IOASID_RW));
	EXPECT_EQ(2, pinned_pages());
	ASSERT_OK(ATTACH(A, X));
	ASSERT_OK(vfio_attach(p->edu[B].fd, ioasid));
	EXPECT_TRUE(REACHES(A, 0));
	EXPECT_TRUE(REACHES(B, 0));
	ASSERT_EQ(PAGE, UNMAP(X));
	EXPECT_FALSE(REACHES(A, 0));
	EXPECT_TRUE(REACHES(B, 0));
	close(other);
}

/* --- both in one group ------------------------------------------------------------- */

FIXTURE(together)
{
	struct pair pair;
};

FIXTURE_SETUP(together)
{
	if (!pair_open(_metadata, &self->pair, true))
		SKIP(return, NO_PAIR);
}

FIXTURE_TEARDOWN(together)
{
	pair_close(_metadata, &self->pair);
}

TEST_F(together, one_space)
{
	struct pair *p = &self->pair;

	ASSERT_OK(MAP(X, 0));
	ASSERT_OK(MAP(Y, 1));
	ASSERT_OK(ATTACH(A, X));
	EXPECT_ERRNO(EINVAL, ATTACH(B, Y));
	EXPECT_TRUE(REACHES(A, 0));
	EXPECT_OK(FREE(Y));
	ASSERT_OK(ATTACH(B, X));
	EXPECT_TRUE(REACHES(B, 0));
	/* The one that stays still decides, whoever came first. */
	ASSERT_OK(DETACH(A));
	p->space[Y] = ioasid_alloc(p->fd, 64);
	ASSERT_LT(0, p->space[Y]);
	EXPECT_ERRNO(EINVAL, ATTACH(A, Y));
	EXPECT_TRUE(REACHES(B, 0));
	EXPECT_OK(ATTACH(A, X));
	EXPECT_TRUE(REACHES(A, 0));
}

TEST_F(together, move_as_a_whole)
{
	struct pair *p = &self->pair;

	ASSERT_OK(MAP(X, 0));
	ASSERT_OK(MAP(Y, 1));
	ASSERT_OK(ATTACH(A, X));
	ASSERT_OK(ATTACH(B, X));
	ASSERT_OK(ATTACH(B, Y));
	EXPECT_TRUE(REACHES(A, 1));
	EXPECT_TRUE(REACHES(B, 1));
	EXPECT_FALSE(REACHES(A, 0));
	EXPECT_OK(FREE(X));
	EXPECT_ERRNO(EBUSY, FREE(Y));
}

TEST_F(together, one_owner)
{
	struct pair *p = &self->pair;
	int other = open_iommufd();

	ASSERT_LE(0, other);
	ASSERT_OK(MAP(X, 0));
	ASSERT_OK(ATTACH(A, X));
	edu_close(&p->edu[B]);
	ASSERT_OK(edu_open(&p->edu[B]));
	EXPECT_ERRNO(EPERM, vfio_bind(p->edu[B].fd, other));
	EXPECT_TRUE(REACHES(A, 0));
	/* Once nobody owns the group any more, anybody may. */
	edu_close(&p->edu[A]);
	EXPECT_LT(0, vfio_bind(p->edu[B].fd, other));
	close(other);
}

/* --- snooping ------------------------------------------------------------------------ */

/*
 * Whether the IOMMU can force devices to snoop: $SNOOP is yes or no, for the
 * driver's own word for it would make a test that believes whatever it says.
 */
TEST_F(two, enforced_snooping)
{
	struct pair *p = &self->pair;
	const char *snoop = getenv("SNOOP");
	struct iommu_ioasid_alloc alloc = {
		.argsz = sizeof(alloc),
		.flags = IOMMU_IOASID_ENFORCE_SNOOP,
		.type = IOMMU_IOASID_TYPE_KERNEL_TYPE1V2,
		.addr_width = 64,
	};
	struct iommu_device_info *info;
	bool can;

	if (!snoop)
		SKIP(return, "SNOOP= must be yes or no");
	can = !strcmp(snoop, "yes");
	ASSERT_OK(device_get_info(p->fd, p->id[A], &info));
	EXPECT_EQ(can, !!(info->flags & IOMMU_DEVICE_INFO_ENFORCE_SNOOP));
	free(info);
	p->space[Y] = call(p->fd, IOMMU_IOASID_ALLOC, &alloc);
	ASSERT_LT(0, p->space[Y]);
	ASSERT_OK(MAP(Y, 0));
	EXPECT_EQ(can ? 0 : -EINVAL, ATTACH(A, Y));
	EXPECT_EQ(can ? 0 : -EINVAL, ATTACH(B, Y));
	EXPECT_EQ(can, REACHES(A, 0));
	EXPECT_EQ(can, REACHES(B, 0));
	/* Where it is refused, nothing of it stays. */
	if (!can) {
		EXPECT_OK(FREE(Y));
		ASSERT_OK(MAP(X, 1));
		EXPECT_OK(ATTACH(A, X));
		EXPECT_TRUE(REACHES(A, 1));
	}
}

TEST_HARNESS_MAIN
