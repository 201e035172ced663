// SPDX-License-Identifier: GPL-2.0
/*
 * What <linux/iommufd_ioasid.h> gives kernel drivers, by way of the sample driver
 * edu_ioasid: its device is taken from vfio-pci for each test, and given back.
 */
#include "driver/edu_ioasid.h"
#include "ioasid_places.h"
#include "ioasid_sysfs.h"
#include "ioasid_utils.h"

#define SAMPLE "edu_ioasid"
#define COOKIE 0xfeedfacecafebeefULL
#define DMA_SIZE 1024

/* Where writes are interrupts on a PC. */

/* --- the sample driver's calls --------------------------------------------------- */

static int sample_open(const char *address)
{
	char node[48];
	int fd;

	snprintf(node, sizeof(node), "/dev/edu-ioasid-%.15s", address);
	fd = open(node, O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int sample_bind(int node, int iommufd, uint64_t cookie)
{
	struct edu_ioasid_bind bind = { .iommufd = iommufd, .cookie = cookie };

	return call(node, EDU_IOASID_BIND, &bind);
}

static int sample_attach(int node, int ioasid)
{
	return call(node, EDU_IOASID_ATTACH, (void *)(uintptr_t)ioasid);
}

static int sample_detach(int node, int ioasid)
{
	return call(node, EDU_IOASID_DETACH, (void *)(uintptr_t)ioasid);
}

static int sample_dma(int node, uint64_t iova, bool to_memory)
{
	struct edu_ioasid_dma dma = { .iova = iova, .length = DMA_SIZE, .to_memory = to_memory };

	return call(node, EDU_IOASID_DMA, &dma);
}

/*
 * True if the device takes what is at @iova and puts it behind that, in the memory
 * at @memory. The rest of that page must not change.
 */
static bool copies(struct __test_metadata *_metadata, int node, uint64_t iova, char *memory)
{
	static char serial;
	bool copied;

	serial = serial % 100 + 1;
	memset(memory, 0, PAGE);
	memset(memory, serial, DMA_SIZE);
	ASSERT_OK(sample_dma(node, iova, false));
	ASSERT_OK(sample_dma(node, iova + DMA_SIZE, true));
	copied = !memcmp(memory, memory + DMA_SIZE, DMA_SIZE);
	if (!copied)
		EXPECT_TRUE(is_zero(memory + DMA_SIZE, DMA_SIZE));
	EXPECT_EQ(serial, memory[0]);
	EXPECT_TRUE(is_zero(memory + 2 * DMA_SIZE, PAGE - 2 * DMA_SIZE));
	return copied;
}

/* The device, its node, a context, an address space and memory to map there. */
struct parts {
	struct edu edu;
	int node;
	int fd;
	int ioasid;
	char *memory;
	long pins;
};

FIXTURE(sample)
{
	struct parts parts;
};

FIXTURE_SETUP(sample)
{
	struct parts *p = &self->parts;

	p->fd = open_iommufd();
	if (p->fd < 0 || access("/sys/bus/pci/drivers/" SAMPLE, F_OK) ||
	    edu_find(&p->edu, getenv("EDU")))
		SKIP(return, NO_DEVICE ", and the sample driver " SAMPLE);
	ASSERT_OK(give_to(p->edu.address, SAMPLE));
	p->node = sample_open(p->edu.address);
	ASSERT_LE(0, p->node);
	p->ioasid = ioasid_alloc(p->fd, 64);
	ASSERT_LT(0, p->ioasid);
	p->memory = pages(2);
	ASSERT_NE(NULL, p->memory);
	p->pins = held_pins();
}

FIXTURE_TEARDOWN(sample)
{
	struct parts *p = &self->parts;

	close(p->node);
	close(p->fd);
	expect_nothing_left(_metadata, p->pins);
	EXPECT_OK(give_to(p->edu.address, "vfio-pci"));
}

#define BIND() sample_bind(p->node, p->fd, COOKIE)
#define ATTACH(ioasid) sample_attach(p->node, ioasid)
#define DETACH(ioasid) sample_detach(p->node, ioasid)
#define MAP() ioasid_map(p->fd, p->ioasid, p->memory, IOVA, PAGE, IOASID_RW)
#define COPIES() copies(_metadata, p->node, IOVA, p->memory)

/* What GET_INFO says of a device of this name: 0 or an errno. */
static int get_info(int iommufd, uint64_t cookie)
{
	struct iommu_device_info info = { .argsz = sizeof(info), .dev_cookie = cookie };

	return call(iommufd, IOMMU_DEVICE_GET_INFO, &info);
}

/* Bound, with something mapped, and attached: the device works. */
static void set_up(struct __test_metadata *_metadata, struct parts *p)
{
	ASSERT_OK(BIND());
	ASSERT_OK(MAP());
	ASSERT_OK(ATTACH(p->ioasid));
	ASSERT_TRUE(COPIES());
}

#define SET_UP() set_up(_metadata, p)

/* --- binding ------------------------------------------------------------------------ */

TEST_F(sample, bind_bad_fd)
{
	struct parts *p = &self->parts;
	int closed = dup(p->fd);

	close(closed);
	EXPECT_ERRNO(EBADF, sample_bind(p->node, -1, COOKIE));
	EXPECT_ERRNO(EBADF, sample_bind(p->node, closed, COOKIE));
	EXPECT_ERRNO(EBADF, sample_bind(p->node, INT_MAX, COOKIE));
	EXPECT_OK(BIND());
}

TEST_F(sample, bind_wrong_fd)
{
	struct parts *p = &self->parts;
	int ends[2], null = open("/dev/null", O_RDWR);

	ASSERT_OK(pipe(ends));
	EXPECT_ERRNO(EBADFD, sample_bind(p->node, null, COOKIE));
	EXPECT_ERRNO(EBADFD, sample_bind(p->node, ends[0], COOKIE));
	EXPECT_ERRNO(EBADFD, sample_bind(p->node, p->node, COOKIE));
	EXPECT_OK(BIND());
}

/* A descriptor that only names the file is none to work with. */
TEST_F(sample, bind_path_fd)
{
	struct parts *p = &self->parts;
	int path = open(IOMMU_NODE, O_PATH | O_CLOEXEC);

	ASSERT_LE(0, path);
	EXPECT_ERRNO(EBADF, sample_bind(p->node, path, COOKIE));
	close(path);
}

TEST_F(sample, cookie_is_the_name)
{
	struct parts *p = &self->parts;

	EXPECT_ERRNO(ENOENT, get_info(p->fd, COOKIE));
	ASSERT_OK(BIND());
	EXPECT_OK(get_info(p->fd, COOKIE));
	EXPECT_ERRNO(ENOENT, get_info(p->fd, COOKIE + 1));
	EXPECT_ERRNO(ENOENT, get_info(p->fd, (uint32_t)COOKIE));
	EXPECT_ERRNO(ENOENT, get_info(p->fd, p->ioasid));
	ASSERT_OK(call(p->node, EDU_IOASID_UNBIND, NULL));
	EXPECT_ERRNO(ENOENT, get_info(p->fd, COOKIE));
}

TEST_F(sample, any_cookie_will_do)
{
	struct parts *p = &self->parts;
	const uint64_t cookies[] = { 0, UINT64_MAX, INT64_MAX, UINT32_MAX, p->ioasid };
	unsigned int i;

	for (i = 0; i < sizeof(cookies) / sizeof(cookies[0]); i++) {
		ASSERT_OK(sample_bind(p->node, p->fd, cookies[i]))
			TH_LOG("cookie %u", i);
		EXPECT_OK(get_info(p->fd, cookies[i]))
			TH_LOG("cookie %u", i);
		ASSERT_OK(call(p->node, EDU_IOASID_UNBIND, NULL));
		EXPECT_ERRNO(ENOENT, get_info(p->fd, cookies[i]))
			TH_LOG("cookie %u", i);
	}
	/* A cookie hides no address space. */
	EXPECT_OK(ioasid_free(p->fd, p->ioasid));
}

TEST_F(sample, other_contexts_do_not_see_it)
{
	struct parts *p = &self->parts;
	int other = open_iommufd();

	ASSERT_LE(0, other);
	ASSERT_OK(BIND());
	EXPECT_ERRNO(ENOENT, get_info(other, COOKIE));
	ASSERT_OK(call(p->node, EDU_IOASID_UNBIND, NULL));
	ASSERT_OK(sample_bind(p->node, other, COOKIE));
	EXPECT_OK(get_info(other, COOKIE));
	close(other);
}

/* --- several devices ------------------------------------------------------------------ */

/* A second device that the sample driver has: that far from the fixture's. */
struct second {
	struct edu edu;
	int node;
};

static bool second_open(struct __test_metadata *_metadata, struct parts *p,
			struct second *second, enum kinship wanted)
{
	if (find_relative(wanted, p->edu.address, &second->edu))
		return false;
	ASSERT_OK(give_to(second->edu.address, SAMPLE));
	second->node = sample_open(second->edu.address);
	ASSERT_LE(0, second->node);
	return true;
}

static void second_close(struct __test_metadata *_metadata, struct second *second)
{
	close(second->node);
	EXPECT_OK(give_to(second->edu.address, "vfio-pci"));
}

#define NO_SECOND "needs a second edu device, in the right group"

TEST_F(sample, cookies_are_one_devices)
{
	struct parts *p = &self->parts;
	int other = open_iommufd();
	struct second second;

	ASSERT_LE(0, other);
	if (!second_open(_metadata, p, &second, OWN_GROUPS))
		SKIP(return, NO_SECOND);
	SET_UP();
	EXPECT_ERRNO(EBUSY, sample_bind(second.node, p->fd, COOKIE));
	/* What failed is undone: the device is free, and the name still the other's. */
	ASSERT_OK(sample_bind(second.node, other, COOKIE));
	ASSERT_OK(call(second.node, EDU_IOASID_UNBIND, NULL));
	ASSERT_OK(sample_bind(second.node, p->fd, COOKIE + 1));
	ASSERT_OK(sample_attach(second.node, p->ioasid));
	EXPECT_TRUE(copies(_metadata, second.node, IOVA, p->memory));
	EXPECT_TRUE(COPIES());
	ASSERT_OK(call(p->node, EDU_IOASID_UNBIND, NULL));
	EXPECT_ERRNO(ENOENT, get_info(p->fd, COOKIE));
	EXPECT_OK(get_info(p->fd, COOKIE + 1));
	ASSERT_OK(call(second.node, EDU_IOASID_UNBIND, NULL));
	EXPECT_OK(sample_bind(second.node, p->fd, COOKIE));
	second_close(_metadata, &second);
	close(other);
}

TEST_F(sample, bound_once)
{
	struct parts *p = &self->parts;
	int other = open_iommufd();

	ASSERT_LE(0, other);
	SET_UP();
	EXPECT_ERRNO(EBUSY, sample_bind(p->node, p->fd, COOKIE));
	EXPECT_ERRNO(EBUSY, sample_bind(p->node, p->fd, COOKIE + 1));
	EXPECT_ERRNO(EPERM, sample_bind(p->node, other, COOKIE));
	EXPECT_ERRNO(ENOENT, get_info(p->fd, COOKIE + 1));
	EXPECT_ERRNO(ENOENT, get_info(other, COOKIE));
	EXPECT_OK(get_info(p->fd, COOKIE));
	EXPECT_TRUE(COPIES());
	close(other);
}

/* A group has one owner, and is in one space. */
TEST_F(sample, one_group)
{
	struct parts *p = &self->parts;
	int other = open_iommufd(), elsewhere = ioasid_alloc(p->fd, 64);
	struct second second;
	struct edu vfio;

	ASSERT_LE(0, other);
	if (find_relative(ONE_GROUP, p->edu.address, &vfio))
		SKIP(return, NO_SECOND);
	/* With VFIO's driver for the second device, */
	ASSERT_OK(edu_open(&vfio));
	ASSERT_LT(0, vfio_bind(vfio.fd, other));
	EXPECT_ERRNO(EPERM, BIND());
	edu_close(&vfio);
	SET_UP();
	ASSERT_OK(edu_open(&vfio));
	EXPECT_ERRNO(EPERM, vfio_bind(vfio.fd, other));
	edu_close(&vfio);
	/* and with the sample driver. */
	ASSERT_TRUE(second_open(_metadata, p, &second, ONE_GROUP));
	EXPECT_ERRNO(EPERM, sample_bind(second.node, other, 1));
	ASSERT_OK(sample_bind(second.node, p->fd, 1));
	EXPECT_ERRNO(EINVAL, sample_attach(second.node, elsewhere));
	ASSERT_OK(sample_attach(second.node, p->ioasid));
	EXPECT_TRUE(copies(_metadata, second.node, IOVA, p->memory));
	EXPECT_TRUE(COPIES());
	second_close(_metadata, &second);
	EXPECT_TRUE(COPIES());
	close(other);
}

/* --- attaching ---------------------------------------------------------------------- */

TEST_F(sample, attach_unknown)
{
	struct parts *p = &self->parts;

	ASSERT_OK(BIND());
	EXPECT_ERRNO(ENOENT, ATTACH(0));
	EXPECT_ERRNO(ENOENT, ATTACH(-1));
	EXPECT_ERRNO(ENOENT, ATTACH(INT_MAX));
	EXPECT_ERRNO(ENOENT, ATTACH(p->ioasid + 100));
	EXPECT_OK(ATTACH(p->ioasid));
}

TEST_F(sample, attach_twice)
{
	struct parts *p = &self->parts;
	int other = ioasid_alloc(p->fd, 64);

	ASSERT_LT(0, other);
	SET_UP();
	EXPECT_ERRNO(EBUSY, ATTACH(p->ioasid));
	EXPECT_ERRNO(EBUSY, ATTACH(other));
	EXPECT_TRUE(COPIES());
	EXPECT_ERRNO(EBUSY, ioasid_free(p->fd, p->ioasid));
	EXPECT_OK(ioasid_free(p->fd, other));
}

/* What is mapped here, or not to be mapped, is not for this device. */
TEST_F(sample, attach_conflicts)
{
	struct parts *p = &self->parts;
	struct iommu_ioasid_alloc alloc = {
		.argsz = sizeof(alloc),
		.flags = IOMMU_IOASID_ENFORCE_SNOOP,
		.type = IOMMU_IOASID_TYPE_KERNEL_TYPE1V2,
		.addr_width = 48,
	};
	int snooping = call(p->fd, IOMMU_IOASID_ALLOC, &alloc);
	int window = ioasid_alloc_window(p->fd, RESERVED, RESERVED + PAGE - 1);

	ASSERT_LT(0, snooping);
	ASSERT_LT(0, window);
	ASSERT_OK(BIND());
	/* $SNOOP: see ioasid_topology.c. */
	if (getenv("SNOOP") && !strcmp(getenv("SNOOP"), "yes")) {
		EXPECT_OK(ATTACH(snooping));
		EXPECT_OK(DETACH(snooping));
	} else {
		EXPECT_ERRNO(EINVAL, ATTACH(snooping));
	}
	EXPECT_ERRNO(EINVAL, ATTACH(window));
	ASSERT_OK(MAP());
	ASSERT_OK(ioasid_map(p->fd, p->ioasid, p->memory, RESERVED, PAGE, IOASID_RW));
	EXPECT_ERRNO(EADDRINUSE, ATTACH(p->ioasid));
	EXPECT_FALSE(COPIES());
	EXPECT_OK(ioasid_free(p->fd, snooping));
	EXPECT_OK(ioasid_free(p->fd, window));
	ASSERT_EQ(PAGE, unmap(p->fd, p->ioasid, RESERVED, PAGE));
	ASSERT_OK(ATTACH(p->ioasid));
	EXPECT_TRUE(COPIES());
}

TEST_F(sample, detach_blocks)
{
	struct parts *p = &self->parts;

	ASSERT_OK(BIND());
	ASSERT_OK(MAP());
	EXPECT_FALSE(COPIES());
	ASSERT_OK(ATTACH(p->ioasid));
	EXPECT_TRUE(COPIES());
	/* From where it is not, it cannot be detached. */
	EXPECT_OK(DETACH(p->ioasid + 1));
	EXPECT_OK(DETACH(0));
	EXPECT_OK(DETACH(-1));
	EXPECT_TRUE(COPIES());
	ASSERT_OK(DETACH(p->ioasid));
	EXPECT_FALSE(COPIES());
	EXPECT_OK(DETACH(p->ioasid));
	ASSERT_OK(ATTACH(p->ioasid));
	EXPECT_TRUE(COPIES());
}

TEST_F(sample, unmap_blocks)
{
	struct parts *p = &self->parts;

	SET_UP();
	ASSERT_EQ(PAGE, unmap(p->fd, p->ioasid, IOVA, PAGE));
	EXPECT_FALSE(COPIES());
}

TEST_F(sample, unbind_detaches)
{
	struct parts *p = &self->parts;

	SET_UP();
	ASSERT_OK(call(p->node, EDU_IOASID_UNBIND, NULL));
	EXPECT_OK(ioasid_free(p->fd, p->ioasid));
	EXPECT_EQ(0, pinned_pages());
	ASSERT_OK(BIND());
	EXPECT_FALSE(COPIES());
}

/* --- the end of files and devices ------------------------------------------------------ */

TEST_F(sample, device_outlives_the_iommufd)
{
	struct parts *p = &self->parts;

	SET_UP();
	close(p->fd);
	EXPECT_TRUE(COPIES());
	EXPECT_EQ(1, pinned_pages());
	/* No more than the device holds it. */
	close(p->node);
	EXPECT_EQ(0, pinned_pages());
}

TEST_F(sample, iommufd_outlives_the_device)
{
	struct parts *p = &self->parts;

	SET_UP();
	close(p->node);
	EXPECT_ERRNO(ENOENT, get_info(p->fd, COOKIE));
	EXPECT_EQ(0, pinned_pages());
	p->node = sample_open(p->edu.address);
	ASSERT_LE(0, p->node);
	ASSERT_OK(BIND());
	EXPECT_FALSE(COPIES());
	ASSERT_OK(ATTACH(p->ioasid));
	EXPECT_TRUE(COPIES());
}

static void expect_device_gone(struct __test_metadata *_metadata, struct parts *p)
{
	EXPECT_ERRNO(ENODEV, sample_dma(p->node, IOVA, true));
	EXPECT_ERRNO(ENOENT, get_info(p->fd, COOKIE));
	/* The space is as it was, and not in use any more. */
	EXPECT_EQ(0, pinned_pages());
	EXPECT_ERRNO(EEXIST, MAP());
	EXPECT_EQ(PAGE, unmap(p->fd, p->ioasid, IOVA, PAGE));
	EXPECT_OK(ioasid_free(p->fd, p->ioasid));
	close(p->node);
}

TEST_F(sample, driver_unbound_while_attached)
{
	struct parts *p = &self->parts;

	SET_UP();
	ASSERT_OK(device_write(p->edu.address, "driver/unbind", p->edu.address));
	expect_device_gone(_metadata, p);
}

TEST_F(sample, device_removed_while_attached)
{
	struct parts *p = &self->parts;

	SET_UP();
	ASSERT_OK(device_write(p->edu.address, "remove", "1"));
	expect_device_gone(_metadata, p);
	/* It comes back, and works as it did. */
	ASSERT_OK(sysfs_write("", "rescan", "1"));
	ASSERT_OK(give_to(p->edu.address, SAMPLE));
	p->node = sample_open(p->edu.address);
	ASSERT_LE(0, p->node);
	p->ioasid = ioasid_alloc(p->fd, 64);
	SET_UP();
}

/* The context has nothing left that holds it but the device, when that is removed. */
TEST_F(sample, device_removed_after_the_iommufd_was_closed)
{
	struct parts *p = &self->parts;

	SET_UP();
	close(p->fd);
	ASSERT_OK(device_write(p->edu.address, "remove", "1"));
	EXPECT_EQ(0, pinned_pages());
	EXPECT_ERRNO(ENODEV, sample_dma(p->node, IOVA, true));
	ASSERT_OK(sysfs_write("", "rescan", "1"));
}

/* --- together with VFIO ---------------------------------------------------------------- */

/*
 * Ranges tell the two devices apart: that of an attached one is the window of its
 * address space.
 */
static uint64_t first_iova(int iommufd, uint64_t cookie)
{
	struct {
		struct iommu_device_info info;
		char caps[1024];
	} arg = { .info = { .argsz = sizeof(arg), .dev_cookie = cookie } };

	if (call(iommufd, IOMMU_DEVICE_GET_INFO, &arg))
		return UINT64_MAX;
	return device_iova_ranges(&arg.info)->iova_ranges[0].start;
}

TEST_F(sample, shares_a_space_with_vfio)
{
	struct parts *p = &self->parts;
	char marked[DMA_SIZE];
	struct edu vfio;
	int id, window;

	if (find_relative(OWN_GROUPS, p->edu.address, &vfio))
		SKIP(return, "needs a second edu device, bound to vfio-pci");
	ASSERT_OK(edu_open(&vfio));
	id = vfio_bind(vfio.fd, p->fd);
	ASSERT_LT(0, id);
	ASSERT_OK(vfio_attach(vfio.fd, p->ioasid));
	ASSERT_OK(edu_start(&vfio));
	SET_UP();
	/* One reads what the other wrote. */
	memcpy(marked, p->memory, DMA_SIZE);
	ASSERT_OK(edu_dma(&vfio, EDU_READS_MEMORY, IOVA + DMA_SIZE, 0, DMA_SIZE));
	ASSERT_OK(edu_dma(&vfio, EDU_WRITES_MEMORY, IOVA + 2 * DMA_SIZE, 0, DMA_SIZE));
	EXPECT_EQ(0, memcmp(p->memory + 2 * DMA_SIZE, marked, DMA_SIZE));

	/* A cookie that is the id of another device comes first. */
	window = ioasid_alloc_window(p->fd, IOVA, IOVA + PAGE - 1);
	ASSERT_LT(0, window);
	EXPECT_NE(IOVA, first_iova(p->fd, id));
	ASSERT_OK(call(p->node, EDU_IOASID_UNBIND, NULL));
	ASSERT_OK(sample_bind(p->node, p->fd, id));
	ASSERT_OK(ATTACH(window));
	EXPECT_EQ(IOVA, first_iova(p->fd, id));
	edu_close(&vfio);
	EXPECT_EQ(IOVA, first_iova(p->fd, id));
	ASSERT_OK(call(p->node, EDU_IOASID_UNBIND, NULL));
	EXPECT_ERRNO(ENOENT, get_info(p->fd, id));
}

/* --- machines that do not suit --------------------------------------------------------- */

/* What binding an edu device says in this machine; those of @suits are looked at. */
static int bind_some_device(struct __test_metadata *_metadata,
			    bool (*suits)(const char *address))
{
	DIR *dir = opendir("/sys/bus/pci/devices");
	int fd = open_iommufd(), ret = -ENXIO, node;
	struct dirent *entry;

	while (dir && fd >= 0 && ret == -ENXIO && (entry = readdir(dir))) {
		if (!edu_is_edu(entry->d_name) || !suits(entry->d_name))
			continue;
		ASSERT_OK(give_to(entry->d_name, SAMPLE));
		node = sample_open(entry->d_name);
		ASSERT_LE(0, node);
		ret = sample_bind(node, fd, COOKIE);
		close(node);
		EXPECT_OK(give_to(entry->d_name, "vfio-pci"));
	}
	if (dir)
		closedir(dir);
	close(fd);
	return ret;
}

static bool has_no_group(const char *address)
{
	return !device_exists(address, "iommu_group");
}

static bool has_group_of_its_own(const char *address)
{
	return device_exists(address, "iommu_group") && !busy_relatives(address, NULL);
}

static bool has_a_busy_relative(const char *address)
{
	return busy_relatives(address, "vfio-pci");
}

FIXTURE(unsuitable)
{
};

FIXTURE_SETUP(unsuitable)
{
	if (access(IOMMU_NODE, F_OK) || access("/sys/bus/pci/drivers/" SAMPLE, F_OK))
		SKIP(return, "needs " IOMMU_NODE ", and the sample driver " SAMPLE);
}

FIXTURE_TEARDOWN(unsuitable)
{
}

TEST_F(unsuitable, no_iommu)
{
	EXPECT_ERRNO(ENODEV, bind_some_device(_metadata, has_no_group));
}

/* $UNSAFE: yes if the module was told to accept interrupts that nothing isolates. */
TEST_F(unsuitable, interrupts_not_isolated)
{
	const char *unsafe = getenv("UNSAFE");

	if (!unsafe)
		SKIP(return, "UNSAFE= must be yes or no");
	EXPECT_EQ(strcmp(unsafe, "yes") ? -EPERM : 0,
		  bind_some_device(_metadata, has_group_of_its_own));
}

/* The other device of the group has a driver that does DMA where it likes. */
TEST_F(unsuitable, group_of_a_busy_driver)
{
	EXPECT_ERRNO(EPERM, bind_some_device(_metadata, has_a_busy_relative));
}

TEST_HARNESS_MAIN
