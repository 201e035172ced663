/* SPDX-License-Identifier: GPL-2.0 */
/* Calls without a third argument: what the kernel gets as one is what a register held. */
#ifndef SELFTESTS_IOMMU_LEFTOVER_H
#define SELFTESTS_IOMMU_LEFTOVER_H

#include "ioasid_utils.h"

/* ioctl(fd, request), with @left in the register of the third argument. */
static inline long ioctl_with_left(int fd, unsigned long request, unsigned long left)
{
#if defined(__x86_64__)
	long ret;

	asm volatile("syscall"
		     : "=a"(ret)
		     : "a"((long)SYS_ioctl), "D"((long)fd), "S"(request), "d"(left)
		     : "rcx", "r11", "memory");
	return ret;
#elif defined(__i386__)
	long ret;

	asm volatile("int $0x80"
		     : "=a"(ret)
		     : "a"(SYS_ioctl), "b"(fd), "c"(request), "d"(left)
		     : "memory");
	return ret;
#elif defined(__aarch64__)
	register long x0 asm("x0") = fd;
	register unsigned long x1 asm("x1") = request;
	register unsigned long x2 asm("x2") = left;
	register long x8 asm("x8") = SYS_ioctl;

	asm volatile("svc #0" : "+r"(x0) : "r"(x1), "r"(x2), "r"(x8) : "memory");
	return x0;
#elif defined(__arm__)
	register long r0 asm("r0") = fd;
	register unsigned long r1 asm("r1") = request;
	register unsigned long r2 asm("r2") = left;

	/* Thumb may have r7 as its frame pointer. */
	asm volatile("push {r7}\n\t"
		     "mov r7, %[number]\n\t"
		     "svc #0\n\t"
		     "pop {r7}"
		     : "+r"(r0)
		     : "r"(r1), "r"(r2), [number] "r"(SYS_ioctl)
		     : "memory");
	return r0;
#else
#error "How does a system call go here?"
#endif
}

/* What registers hold: small numbers, errors, addresses, texts. */
static inline unsigned long leftover(unsigned int i)
{
	const unsigned long others[] = {
		-1UL, -EINTR, INT_MAX, UINT_MAX, 0xdeadbeef, (unsigned long)-4096,
		(unsigned long)others, (unsigned long)leftover, IOMMU_EXT_EXPLICIT,
#ifdef __LP64__
		1UL << 32 | 1, 1UL << 63 | 2, 0xffffffff80000001,
#endif
	};

	if (i <= 16)
		return i;
	i -= 17;
	return i < ARRAY_SIZE(others) ? others[i] : 0;
}

#define LEFTOVERS 32

static inline bool is_extension(unsigned long number)
{
	return number == IOMMU_EXT_MAP_TYPE1V2 || number == IOMMU_EXT_DMA_NO_SNOOP ||
	       number == IOMMU_EXT_MULTIDEV_GROUP || number == IOMMU_EXT_IOVA_WINDOW;
}

enum answered { NO_NUMBERS, EXPLICIT_NUMBERS, ALL_NUMBERS };

/*
 * Ask by all kinds of numbers: those that are not @answered get 0, which is the version that
 * VFIO_GET_API_VERSION has to return.
 */
static inline void expect_extensions(struct __test_metadata *_metadata, int fd,
				     enum answered answered)
{
	unsigned long number;
	unsigned int i;

	for (i = 0; i < LEFTOVERS; i++) {
		number = leftover(i);
		EXPECT_EQ(answered == ALL_NUMBERS && is_extension(number),
			  ioctl_with_left(fd, IOMMU_CHECK_EXTENSION, number))
			TH_LOG("for 0x%lx", number);
	}
	for (number = 0; number <= 16; number++)
		EXPECT_EQ(answered != NO_NUMBERS && is_extension(number),
			  iommu_check_extension(fd, number | IOMMU_EXT_EXPLICIT))
			TH_LOG("for %lu, explicitly", number);
}

#endif /* SELFTESTS_IOMMU_LEFTOVER_H */
