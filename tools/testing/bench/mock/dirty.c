// SPDX-License-Identifier: GPL-2.0
/*
 * What it costs to read which pages of 1 GiB were written to, if none was: by mainline's calls
 * and those of the kernel's own tests, so that this driver and the C one both answer. Under a
 * clock that counts instructions, prints their number.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>

#include IOMMUFD_H
/* That header wants the installed one, which may be older. */
#define _IOMMUFD_H
#include IOMMUFD_TEST_H

#define GIB (1UL << 30)		/* where it begins, and how long it is */
#define PAGE 4096UL
#define BUFFER (64UL << 20)	/* what is mapped there, again and again */
#define RUNS 5

static int iommufd;

static void call(unsigned long request, void *arg, const char *what)
{
	if (!ioctl(iommufd, request, arg))
		return;
	perror(what);
	exit(1);
}

static uint64_t now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000UL + now.tv_nsec;
}

/* A domain that marks pages, of 4 KiB each. */
static uint32_t domain(uint32_t *ioas)
{
	struct iommu_ioas_alloc space = { .size = sizeof(space) };
	struct iommu_option small = {
		.size = sizeof(small), .option_id = IOMMU_OPTION_HUGE_PAGES,
		.op = IOMMU_OPTION_OP_SET,
	};
	struct iommu_test_cmd device = { .size = sizeof(device), .op = IOMMU_TEST_OP_MOCK_DOMAIN };
	struct iommu_hwpt_alloc hwpt = {
		.size = sizeof(hwpt), .flags = IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
	};
	struct iommu_hwpt_set_dirty_tracking track = {
		.size = sizeof(track), .flags = IOMMU_HWPT_DIRTY_TRACKING_ENABLE,
	};

	call(IOMMU_IOAS_ALLOC, &space, "IOAS_ALLOC");
	*ioas = small.object_id = device.id = hwpt.pt_id = space.out_ioas_id;
	call(IOMMU_OPTION, &small, "OPTION");
	call(IOMMU_TEST_CMD, &device, "MOCK_DOMAIN");
	hwpt.dev_id = device.mock_domain.out_idev_id;
	call(IOMMU_HWPT_ALLOC, &hwpt, "HWPT_ALLOC");
	track.hwpt_id = hwpt.out_hwpt_id;
	call(IOMMU_HWPT_SET_DIRTY_TRACKING, &track, "SET_DIRTY_TRACKING");
	return hwpt.out_hwpt_id;
}

int main(void)
{
	char *buffer = mmap(NULL, BUFFER, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	char *bitmap = mmap(NULL, GIB / PAGE / 8, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	struct iommu_ioas_map map = {
		.size = sizeof(map),
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_WRITEABLE |
			 IOMMU_IOAS_MAP_READABLE,
		.user_va = (uintptr_t)buffer, .length = BUFFER,
	};
	struct iommu_hwpt_get_dirty_bitmap get = {
		.size = sizeof(get), .iova = GIB, .length = GIB, .page_size = PAGE,
		.data = (uintptr_t)bitmap,
	};
	uint64_t start, took, best = UINT64_MAX;
	int run;

	iommufd = open("/dev/iommu", O_RDWR);
	if (iommufd < 0 || buffer == MAP_FAILED || bitmap == MAP_FAILED) {
		perror("/dev/iommu, or memory");
		return 1;
	}
	get.hwpt_id = domain(&map.ioas_id);
	for (map.iova = GIB; map.iova < 2 * GIB; map.iova += BUFFER)
		call(IOMMU_IOAS_MAP, &map, "IOAS_MAP");
	for (run = 0; run < RUNS; run++) {
		start = now();
		call(IOMMU_HWPT_GET_DIRTY_BITMAP, &get, "GET_DIRTY_BITMAP");
		took = now() - start;
		best = took < best ? took : best;
	}
	printf("%lu\n", best);
	return 0;
}
