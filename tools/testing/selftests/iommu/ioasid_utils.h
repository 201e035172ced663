/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of the IOASID calls share. The calls themselves, and the edu
 * device, are those of samples/iommufd.
 */
#ifndef SELFTESTS_IOMMU_IOASID_UTILS_H
#define SELFTESTS_IOMMU_IOASID_UTILS_H

#include <limits.h>
#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "edu.h"
#include "ioasid.h"
#include "kselftest_harness.h"
#include "slowness.h"

/* A test that takes this many seconds hangs; an emulated machine may be slow. */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 300

#define PAGE 4096ULL
#define TOP_PAGE (0 - PAGE)	/* the last page of the 64-bit address space */

/* Where interrupts go, whichever the IOMMU: nothing can be mapped there. */
#if defined(__aarch64__) || defined(__arm__)
#define RESERVED 0x8090000UL
#else
#define RESERVED 0xfee00000UL
#endif

/* A place for mappings that no IOMMU has anything against. */
#define IOVA 0x10000000ULL

#define IOMMU_NODE "/dev/iommu"

/* What a call of ioasid.h returns. */
#define EXPECT_OK(call_) EXPECT_EQ(0, call_)
#define ASSERT_OK(call_) ASSERT_EQ(0, call_)
#define EXPECT_ERRNO(errno_, call_) EXPECT_EQ(-(errno_), call_)
#define ASSERT_ERRNO(errno_, call_) ASSERT_EQ(-(errno_), call_)

/* Issue REQUEST with a copy of VALID, made wrong by the statement CHANGE. */
#define EXPECT_CHANGED(errno_, fd, request, valid, change) do { \
	typeof(valid) arg = (valid); \
	change; \
	EXPECT_EQ(-(errno_), call(fd, request, &arg)) \
		TH_LOG("with %s", #change); \
} while (0)

/* True in a child process, and false in its parent after the child has ended. */
static inline bool in_child(struct __test_metadata *_metadata)
{
	pid_t child = fork();
	int status;

	ASSERT_LE(0, child);
	if (!child)
		return true;
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	return false;
}

/* The block that follows is for a child process, and may use EXPECT_*() as well. */
#define IN_CHILD() for (bool child_ = in_child(_metadata); child_; _exit(0))

static inline int open_iommufd(void)
{
	return open(IOMMU_NODE, O_RDWR | O_CLOEXEC);
}

/* Whether tools/testing/vm/iommus has this word on the machine's IOMMU (EXPECT). */
static inline bool iommu_is_known_for(const char *word)
{
	const char *expect = getenv("EXPECT");

	return expect && strstr(expect, word);
}

static inline void *pages(unsigned int count)
{
	void *memory = mmap(NULL, count * PAGE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

/* Have @count huge pages at least in the pool; others may rely on those that are there. */
static inline bool provide_huge_pages(long count)
{
	int pool = open("/proc/sys/vm/nr_hugepages", O_RDWR | O_CLOEXEC);
	char text[16] = "";
	bool good = read(pool, text, sizeof(text) - 1) > 0;

	if (good && atol(text) < count) {
		snprintf(text, sizeof(text), "%ld", count);
		good = pwrite(pool, text, strlen(text), 0) > 0;
	}
	close(pool);
	return good;
}

/* Whether the kernel makes large pages of small ones by itself. That of PREEMPT_RT does not. */
static inline bool has_transparent_huge_pages(void)
{
	return !access("/sys/kernel/mm/transparent_hugepage/enabled", F_OK);
}

#define NO_TRANSPARENT_HUGE_PAGES "the kernel has no transparent huge pages"

/* Have the kernel leave the pages of @memory as small as they come. */
static inline bool keep_small(void *memory, size_t size)
{
	return !has_transparent_huge_pages() || !madvise(memory, size, MADV_NOHUGEPAGE);
}

/* True if @memory has nothing but zeroes. */
static inline bool is_zero(const char *memory, size_t size)
{
	return !memory[0] && !memcmp(memory, memory + 1, size - 1);
}

/* The number on the line of @path that begins with @name, or -1. */
static inline long counter(const char *path, const char *name)
{
	FILE *file = fopen(path, "r");
	char line[128];
	long value = -1;

	while (file && value < 0 && fgets(line, sizeof(line), file))
		if (!strncmp(line, name, strlen(name)))
			value = strtol(line + strlen(name), NULL, 10);
	if (file)
		fclose(file);
	return value;
}

/* What is accounted as pinned memory of this process. */
static inline long pinned_pages(void)
{
	return counter("/proc/self/status", "VmPin:") * 1024 / (long)PAGE;
}

/*
 * How many page pins nobody has given back so far, in the whole system. Unlike
 * what is accounted, this is what happened. Only root can tell.
 */
static inline long held_pins(void)
{
	int refresh = open("/proc/sys/vm/stat_refresh", O_WRONLY);

	/* Counters are kept per processor; this brings them together. */
	if (refresh < 0 || write(refresh, "1", 1) != 1)
		return -1;
	close(refresh);
	return counter("/proc/vmstat", "nr_foll_pin_acquired") -
	       counter("/proc/vmstat", "nr_foll_pin_released");
}

/* The number of the host's page behind @memory; 0 if it cannot be told. Only root can. */
static inline uint64_t host_page(void *memory)
{
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry = 0;

	pread(pagemap, &entry, sizeof(entry), (uintptr_t)memory / PAGE * sizeof(entry));
	close(pagemap);
	return entry & ((1ULL << 55) - 1);
}

/* Give up being root: memory counts, and no more than @limit of it may be pinned. */
static inline int become_user(unsigned int uid, unsigned long limit)
{
	struct rlimit rlimit = { limit, limit };

	if (setrlimit(RLIMIT_MEMLOCK, &rlimit) || setresgid(uid, uid, uid) ||
	    setresuid(uid, uid, uid))
		return -errno;
	return 0;
}

/* The same for whoever stays root. */
static inline int be_limited(unsigned long limit)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct rlimit rlimit = { limit, limit };
	struct __user_cap_data_struct data[2];

	if (setrlimit(RLIMIT_MEMLOCK, &rlimit) || syscall(SYS_capget, &header, data))
		return -errno;
	data[0].effective &= ~(1U << CAP_IPC_LOCK);
	data[0].permitted &= ~(1U << CAP_IPC_LOCK);
	return syscall(SYS_capset, &header, data) ? -errno : 0;
}

static inline struct ioasid_map map_arg(int ioasid, void *memory, uint64_t iova, uint64_t size)
{
	return (struct ioasid_map) {
		.op = { .argsz = sizeof(struct ioasid_map), .ioasid = ioasid },
		.map = {
			.argsz = sizeof(struct vfio_iommu_type1_dma_map),
			.flags = IOASID_RW,
			.vaddr = (uintptr_t)memory,
			.iova = iova,
			.size = size,
		},
	};
}

static inline struct ioasid_unmap unmap_arg(int ioasid, uint64_t iova, uint64_t size)
{
	return (struct ioasid_unmap) {
		.op = { .argsz = sizeof(struct ioasid_unmap), .ioasid = ioasid },
		.unmap = {
			.argsz = sizeof(struct vfio_iommu_type1_dma_unmap),
			.iova = iova,
			.size = size,
		},
	};
}

/* Unmap, and return how many bytes it was: a negative errno if it failed. */
static inline int64_t unmap(int iommufd, int ioasid, uint64_t iova, uint64_t size)
{
	uint64_t unmapped;
	int ret = ioasid_unmap(iommufd, ioasid, iova, size, &unmapped);

	return ret ? ret : (int64_t)unmapped;
}

static inline int64_t unmap_all(int iommufd, int ioasid)
{
	struct ioasid_unmap arg = unmap_arg(ioasid, 0, 0);
	int ret;

	arg.unmap.flags = VFIO_DMA_UNMAP_FLAG_ALL;
	ret = call(iommufd, IOMMU_UNMAP_DMA, &arg);
	return ret ? ret : (int64_t)arg.unmap.size;
}

/* --- with a device ----------------------------------------------------------- */

/* A context, an address space in it, and an edu device bound to it. */
struct bound {
	struct edu edu;
	int fd;
	int id;
	int ioasid;
};

/* Have @eventfd told of each interrupt of that index; a negative one ends it. */
static inline int set_interrupt(struct edu *edu, unsigned int index, int eventfd)
{
	struct {
		struct vfio_irq_set set;
		int32_t eventfd;
	} arg = {
		.set = {
			.argsz = sizeof(arg),
			.flags = VFIO_IRQ_SET_ACTION_TRIGGER,
			.index = index,
		},
		.eventfd = eventfd,
	};

	if (eventfd < 0) {
		arg.set.flags |= VFIO_IRQ_SET_DATA_NONE;
	} else {
		arg.set.flags |= VFIO_IRQ_SET_DATA_EVENTFD;
		arg.set.count = 1;
	}
	return call(edu->fd, VFIO_DEVICE_SET_IRQS, &arg);
}

/* -ENODEV if there is no device to test with, or no driver. */
static inline int bound_open(struct bound *bound)
{
	int ret = edu_find(&bound->edu, getenv("EDU"));

	bound->fd = open_iommufd();
	if (ret || bound->fd < 0)
		return -ENODEV;
	ret = edu_open(&bound->edu);
	if (ret)
		return ret;
	bound->ioasid = ioasid_alloc(bound->fd, 64);
	bound->id = vfio_bind(bound->edu.fd, bound->fd);
	return bound->ioasid < 0 ? bound->ioasid : bound->id < 0 ? bound->id : 0;
}

static inline void bound_close(struct bound *bound)
{
	edu_close(&bound->edu);
	close(bound->fd);
}

/* At the end of a test that began with @pins held: everything is given back. */
static inline void expect_nothing_left(struct __test_metadata *_metadata, long pins)
{
	EXPECT_EQ(0, pinned_pages());
	if (!geteuid())
		EXPECT_EQ(pins, held_pins());
}

#define NO_DEVICE "needs " IOMMU_NODE " and an edu device that is bound to vfio-pci"

#endif /* SELFTESTS_IOMMU_IOASID_UTILS_H */
