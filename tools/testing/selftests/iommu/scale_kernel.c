// SPDX-License-Identifier: GPL-2.0
/*
 * Addresses of the kernel: a MAP of any of them fails, and takes as long whatever is
 * there, so that nobody learns from it how the kernel is laid out.
 *
 * For a clock that counts instructions (tools/testing/vm/run --icount): there a
 * nanosecond is an instruction, and the least of many times repeats.
 */
#include "iommufd_calls.h"
#include "pinning.h"

#define TRIES 40

/* More pages than are pinned without a look at the page table. */
#define LENGTH (32 * PAGE)

/* As many as two times that are the same may be apart: the clock is not so fine. */
#define SAME 8

#if defined(__aarch64__)
#define KERNEL_HALF 0xffff000000000000UL
#else
#define KERNEL_HALF 0xffff800000000000UL
#endif

FIXTURE(kernel)
{
	int fd;
	int ioas;
	struct needer needer;
	uint64_t least;
	uint64_t most;
};

FIXTURE_SETUP(kernel)
{
	self->fd = open_iommufd();
	if (self->fd < 0)
		SKIP(return, "cannot open " IOMMU_NODE);
	self->ioas = ioas_alloc(self->fd);
	ASSERT_LT(0, self->ioas);
	if (!need_pins(_metadata, &self->needer, self->fd, self->ioas))
		SKIP(return, NO_DEVICE);
	self->least = UINT64_MAX;
}

FIXTURE_TEARDOWN(kernel)
{
	needer_close(&self->needer);
	close(self->fd);
}

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000ULL + time.tv_nsec;
}

/* The least that a MAP of @address has taken. */
static void look(struct __test_metadata *_metadata, struct _test_data_kernel *self,
		 uint64_t address)
{
	uint64_t least = UINT64_MAX, start, took;
	unsigned int i;

	for (i = 0; i < TRIES; i++) {
		start = now();
		EXPECT_ERRNO(EFAULT, ioas_map(self->fd, self->ioas,
					      (void *)(uintptr_t)address, LENGTH, IOVA));
		took = now() - start;
		if (took < least)
			least = took;
	}
	if (least < self->least)
		self->least = least;
	if (least > self->most) {
		self->most = least;
		TH_LOG("%016llx: %llu instructions", (unsigned long long)address,
		       (unsigned long long)least);
	}
}

/* Wherever the kernel has something, says the kernel itself, to root. */
static void look_at_symbols(struct __test_metadata *_metadata, struct _test_data_kernel *self)
{
	FILE *symbols = fopen("/proc/kallsyms", "r");
	unsigned long long address, last = 0;
	char line[512];

	ASSERT_NE(NULL, symbols);
	while (fgets(line, sizeof(line), symbols)) {
		address = strtoull(line, NULL, 16);
		if (address >= KERNEL_HALF && (address < last || address - last >= 1 << 20)) {
			last = address;
			look(_metadata, self, address & -PAGE);
		}
	}
	fclose(symbols);
	EXPECT_NE(0, last);
}

TEST_F(kernel, layout_does_not_show)
{
	uint64_t address;
	unsigned int shift;

	/* Neighbours at each level of the table: something is mapped there, or nothing. */
	for (address = KERNEL_HALF; address; address += 1ULL << 39)
		look(_metadata, self, address);
	for (shift = 21; shift <= 30; shift += 9)
		for (address = 1; address <= 32; address++)
			look(_metadata, self, 0 - (address << shift));
	look_at_symbols(_metadata, self);
	EXPECT_GE(SAME, self->most - self->least)
		TH_LOG("between %llu and %llu instructions", (unsigned long long)self->least,
		       (unsigned long long)self->most);
}

TEST_HARNESS_MAIN
