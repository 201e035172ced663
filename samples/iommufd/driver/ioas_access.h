/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/* What /dev/ioas-access, the node of the sample driver of that name, can be asked to do. */
#ifndef IOAS_ACCESS_H
#define IOAS_ACCESS_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* No call pins more pages, or copies more bytes. */
#define IOAS_ACCESS_MAX_PAGES 1024
#define IOAS_ACCESS_MAX_BYTES 0x100000

/*
 * The access never pins (PIN is EINVAL), and says so (no needs_pin_pages in its ops): it can
 * be attached to address spaces whose areas begin and end within pages.
 */
#define IOAS_ACCESS_NO_PINS 1

/**
 * struct ioas_access_create - argument of IOAS_ACCESS_CREATE
 * @iommufd: an open /dev/iommu
 * @flags: IOAS_ACCESS_NO_PINS
 * @id: out: what the access is known by there
 */
struct ioas_access_create {
	__s32 iommufd;
	__u32 flags;
	__u32 id;
};

/* What is to be done in memory, and by whom. */
#define IOAS_ACCESS_WRITE 1
#define IOAS_ACCESS_KTHREAD 2	/* IOAS_ACCESS_RW only */

/**
 * struct ioas_access_range - argument of IOAS_ACCESS_PIN, UNPIN, RW and PINNED_RW
 * @iova: where in the address space, in bytes
 * @length: how much
 * @data: RW, PINNED_RW: as many bytes, to be written from or read to
 * @flags: IOAS_ACCESS_WRITE, ...
 * @padding: 0
 */
struct ioas_access_range {
	__aligned_u64 iova;
	__aligned_u64 length;
	__aligned_u64 data;
	__u32 flags;
	__u32 padding;
};

/**
 * struct ioas_access_asked - argument of IOAS_ACCESS_ASKED
 * @iova: out: what the driver was last asked to unpin
 * @length: out
 * @count: out: how often it was asked so far
 * @again: out: how often it could pin that again before it had unpinned it
 */
struct ioas_access_asked {
	__aligned_u64 iova;
	__aligned_u64 length;
	__u32 count;
	__u32 again;
};

/**
 * struct ioas_access_mark - argument of IOAS_ACCESS_MARK
 * @iova: what the first bit stands for
 * @length: what all bits stand for, in bytes
 * @page_size: what one bit stands for, a power of two
 * @bitmap: where it is
 * @first: from where on bits are set
 * @last: the last address that has its bit set
 * @at_once: whether to set all of them when the first part of the bitmap is there, and not those
 *	that are in each part
 * @parts: out: how many parts there were
 */
struct ioas_access_mark {
	__aligned_u64 iova;
	__aligned_u64 length;
	__aligned_u64 page_size;
	__aligned_u64 bitmap;
	__aligned_u64 first;
	__aligned_u64 last;
	__u32 at_once;
	__u32 parts;
};

/* What the driver does when it is asked to unpin. */
#define IOAS_ACCESS_POLITE 0	/* unpin, as it should */
#define IOAS_ACCESS_DEAF 1	/* nothing */
#define IOAS_ACCESS_GREEDY 2	/* try to pin once more, then unpin */

/*
 * Each open file is one access; it ends with the file at the latest. ATTACH and
 * REPLACE take the id of an address space itself, MANNERS one of the three above.
 * PINNED_RW copies by way of what was pinned at @iova. MARK needs no access: it sets
 * bits as the driver of a device does that tracks what it writes to.
 */
#define IOAS_ACCESS_CREATE _IOWR('a', 0, struct ioas_access_create)
#define IOAS_ACCESS_DESTROY _IO('a', 1)
#define IOAS_ACCESS_ATTACH _IO('a', 2)
#define IOAS_ACCESS_REPLACE _IO('a', 3)
#define IOAS_ACCESS_DETACH _IO('a', 4)
#define IOAS_ACCESS_PIN _IOW('a', 5, struct ioas_access_range)
#define IOAS_ACCESS_UNPIN _IOW('a', 6, struct ioas_access_range)
#define IOAS_ACCESS_RW _IOW('a', 7, struct ioas_access_range)
#define IOAS_ACCESS_PINNED_RW _IOW('a', 8, struct ioas_access_range)
#define IOAS_ACCESS_ASKED _IOR('a', 9, struct ioas_access_asked)
#define IOAS_ACCESS_MANNERS _IO('a', 10)
#define IOAS_ACCESS_MARK _IOWR('a', 11, struct ioas_access_mark)

#endif
