// SPDX-License-Identifier: GPL-2.0
/*
 * Holds a context with known contents for others to look at, until it is killed:
 * an address space with a window, one for an edu device unless --no-device, and
 * four mappings. With --no-device N, the context is that of descriptor N. On SIGUSR1
 * it maps one MiB more; on SIGUSR2 it unmaps what it has mapped for the device, and has
 * the device read there. It says "ready" when it is, "done" after that.
 *
 * With --bar it tries to map the device's own BAR, by mainline's call, and ends.
 *
 * With --slow-map or --slow-attach, what it does takes until SIGUSR1: it maps memory of which
 * a page does not come before. The device is attached before that, or after. With --slow-copy or
 * --slow-attach-copy, it is a copy of what was mapped without a device.
 */
#include <err.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>

#include "edu.h"
#include "ioasid.h"
#include IOMMUFD_H

#define KIB 1024UL
#define MIB (1024 * KIB)
#define WINDOW 0x80000000UL
#define WINDOW_SIZE 0x40000000UL
#define DEVICE_IOVA 0x1000000UL

static int check(int ret, const char *what)
{
	if (ret < 0) {
		errno = -ret;
		err(1, "%s", what);
	}
	return ret;
}

static void map(int fd, int ioasid, char *memory, uint64_t iova, uint64_t size, int access)
{
	check(ioasid_map(fd, ioasid, memory, iova, size, access), "map");
}

static void attach_device(struct edu *edu, int fd, int ioasid)
{
	check(edu_find(edu, NULL), "find an edu device");
	check(edu_open(edu), edu->node);
	check(vfio_bind(edu->fd, fd), "bind");
	check(vfio_attach(edu->fd, ioasid), "attach");
}

static void read_unmapped(struct edu *edu, int fd, int ioasid)
{
	check(edu_start(edu), "start");
	check(ioasid_unmap(fd, ioasid, DEVICE_IOVA, 512 * KIB, NULL), "unmap");
	check(edu_dma(edu, EDU_READS_MEMORY, DEVICE_IOVA + 4 * KIB, 0, 64), "DMA");
}

static int map_bar(struct edu *edu, int fd, int ioasid)
{
	struct iommu_ioas_map map = {
		.size = sizeof(map),
		.flags = IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_FIXED_IOVA,
		.ioas_id = ioasid,
		.iova = DEVICE_IOVA,
		.length = 4 * KIB,
	};

	attach_device(edu, fd, ioasid);
	check(edu_start(edu), "start");
	map.user_va = (uintptr_t)edu->bar;
	return ioctl(fd, IOMMU_IOAS_MAP, &map) ? 1 : 0;
}

static void say(const char *word)
{
	puts(word);
	fflush(stdout);
}

#define SLOW_SIZE (96 * MIB)
#define SLOW_PAGE (80 * MIB)

struct slow {
	int uffd;
	struct uffdio_range page;
};

static void *bring_page(void *arg)
{
	struct slow *slow = arg;
	struct uffdio_zeropage zero = { .range = slow->page };
	sigset_t signals;
	int received;

	sigemptyset(&signals);
	sigaddset(&signals, SIGUSR1);
	sigwait(&signals, &received);
	check(ioctl(slow->uffd, UFFDIO_ZEROPAGE, &zero) ? -errno : 0, "bring the page");
	return NULL;
}

/* Memory of which one page comes when there is a SIGUSR1. */
static char *slow_memory(struct slow *slow)
{
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct uffdio_api api = { .api = UFFD_API };
	char *memory = mmap(NULL, SLOW_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			    -1, 0);
	pthread_t thread;

	slow->uffd = check(syscall(SYS_userfaultfd, O_CLOEXEC), "userfaultfd");
	slow->page = (struct uffdio_range){ (uintptr_t)memory + SLOW_PAGE, 4 * KIB };
	reg.range = slow->page;
	if (memory == MAP_FAILED || ioctl(slow->uffd, UFFDIO_API, &api) ||
	    ioctl(slow->uffd, UFFDIO_REGISTER, &reg) ||
	    pthread_create(&thread, NULL, bring_page, slow))
		err(1, "memory that does not come");
	return memory;
}

static void copy(int fd, int from, uint64_t at, int to, uint64_t iova, uint64_t size)
{
	struct iommu_ioas_copy copy = {
		.size = sizeof(copy),
		.flags = IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE |
			 IOMMU_IOAS_MAP_FIXED_IOVA,
		.dst_ioas_id = to,
		.src_ioas_id = from,
		.length = size,
		.dst_iova = iova,
		.src_iova = at,
	};

	check(ioctl(fd, IOMMU_IOAS_COPY, &copy) ? -errno : 0, "copy");
}

static int map_slowly(struct edu *edu, int fd, int window, int ioasid, const char *how)
{
	bool attach_first = !strstr(how, "attach");
	struct slow slow;
	char *memory = slow_memory(&slow);

	if (attach_first)
		attach_device(edu, fd, ioasid);
	if (strstr(how, "copy")) {
		map(fd, window, memory, WINDOW, SLOW_SIZE, IOASID_RW);
		copy(fd, window, WINDOW, ioasid, DEVICE_IOVA, SLOW_SIZE);
	} else {
		map(fd, ioasid, memory, DEVICE_IOVA, SLOW_SIZE, IOASID_RW);
	}
	if (!attach_first)
		attach_device(edu, fd, ioasid);
	say("ready");
	pause();
	return 1;
}

int main(int argc, char **argv)
{
	bool device = argc < 2 || strcmp(argv[1], "--no-device");
	int fd = argc > 2 ? atoi(argv[2]) : open("/dev/iommu", O_RDWR), window, wide, received;
	struct edu edu = { .fd = -1 };
	sigset_t signals;
	char *memory = mmap(NULL, 4 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			    -1, 0);

	if (fd < 0 || memory == MAP_FAILED)
		err(1, "open");
	sigemptyset(&signals);
	sigaddset(&signals, SIGUSR1);
	sigaddset(&signals, SIGUSR2);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	window = check(ioasid_alloc_window(fd, WINDOW, WINDOW + WINDOW_SIZE - 1), "alloc");
	wide = check(ioasid_alloc(fd, 39), "alloc");
	if (argc > 1 && !strcmp(argv[1], "--bar"))
		return map_bar(&edu, fd, wide);
	if (argc > 1 && !strncmp(argv[1], "--slow-", 7))
		return map_slowly(&edu, fd, window, wide, argv[1]);
	if (device)
		attach_device(&edu, fd, wide);
	/* Neighbours, then one on its own. */
	map(fd, window, memory, WINDOW, 64 * KIB, IOASID_RW);
	map(fd, window, memory, WINDOW + 64 * KIB, 64 * KIB, IOASID_RW);
	map(fd, window, memory, WINDOW + MIB, 4 * KIB, IOASID_READ);
	map(fd, wide, memory + MIB, DEVICE_IOVA, 512 * KIB, IOASID_RW);
	say("ready");
	while (!sigwait(&signals, &received)) {
		if (received == SIGUSR1) {
			map(fd, wide, memory + 2 * MIB, 2 * DEVICE_IOVA, MIB, IOASID_RW);
			continue;
		}
		read_unmapped(&edu, fd, wide);
		say("done");
	}
	return 1;
}
