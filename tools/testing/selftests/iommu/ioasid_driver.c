// SPDX-License-Identifier: GPL-2.0
/*
 * What <linux/iommufd_ioasid.h> gives kernel drivers, by way of the sample driver
 * edu_ioasid: its device is taken from vfio-pci for each test, and given back.
 */
#include "driver/edu_ioasid.h"
#include "ioasid_utils.h"

#define NODE "/dev/edu-ioasid"
#define SAMPLE "edu_ioasid"
#define COOKIE 0xfeedfacecafebeefULL
#define DMA_SIZE 1024

/* --- sysfs --------------------------------------------------------------------- */

static int sysfs_write(const char *folder, const char *name, const char *text)
{
	char path[128];
	ssize_t written;
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/%s/%s", folder, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	written = write(fd, text, strlen(text));
	close(fd);
	return written < 0 ? -errno : 0;
}

static int device_write(const char *address, const char *name, const char *text)
{
	char folder[32];

	snprintf(folder, sizeof(folder), "devices/%.15s", address);
	return sysfs_write(folder, name, text);
}

static int give_to(const char *address, const char *driver)
{
	int ret;

	device_write(address, "driver/unbind", address);
	ret = device_write(address, "driver_override", driver);
	return ret ? ret : sysfs_write("", "drivers_probe", address);
}

/* --- the sample driver's calls --------------------------------------------------- */

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

/* Another edu device, which vfio-pci has. */
static int find_other(const char *address, struct edu *edu)
{
	DIR *dir = opendir("/sys/bus/pci/devices");
	struct dirent *entry;
	int ret = -ENODEV;

	while (dir && ret && (entry = readdir(dir)))
		if (strcmp(entry->d_name, address))
			ret = edu_find(edu, entry->d_name);
	if (dir)
		closedir(dir);
	return ret;
}

/* The device, /dev/edu-ioasid, a context, an address space and memory to map there. */
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
	    edu_find(&p->edu, NULL))
		SKIP(return, NO_DEVICE ", and the sample driver " SAMPLE);
	ASSERT_OK(give_to(p->edu.address, SAMPLE));
	p->node = open(NODE, O_RDWR | O_CLOEXEC);
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
	EXPECT_EQ(1, pinned_pages());
	p->node = open(NODE, O_RDWR | O_CLOEXEC);
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
	EXPECT_EQ(1, pinned_pages());
	EXPECT_ERRNO(EEXIST, MAP());
	EXPECT_EQ(PAGE, unmap(p->fd, p->ioasid, IOVA, PAGE));
	EXPECT_EQ(0, pinned_pages());
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
	p->node = open(NODE, O_RDWR | O_CLOEXEC);
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

	if (find_other(p->edu.address, &vfio))
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

TEST_HARNESS_MAIN
