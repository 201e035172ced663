/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * I/O address spaces for userspace: the IOASID calls of /dev/iommu.
 */
#ifndef _UAPI_LINUX_IOMMU_H
#define _UAPI_LINUX_IOMMU_H

#include <linux/ioctl.h>
#include <linux/types.h>
#include <linux/vfio.h>

/**
 * DOC: The IOASID calls
 *
 * Each open of /dev/iommu is a context of its own. In it live I/O address
 * spaces, each named by an I/O address space id (IOASID), and the devices that
 * were bound to it. What a program does, in order:
 *
 * 1. open /dev/iommu and /dev/vfio/devices/vfioN;
 * 2. VFIO_DEVICE_BIND_IOMMUFD on the device, which returns the device's id;
 * 3. IOMMU_CHECK_EXTENSION and IOMMU_DEVICE_GET_INFO, to learn what there is;
 * 4. IOMMU_IOASID_ALLOC;
 * 5. VFIO_DEVICE_ATTACH_IOMMUFD_PT on the device, with the IOASID as pt_id;
 * 6. IOMMU_MAP_DMA and IOMMU_UNMAP_DMA, as memory comes and goes. Mapping before
 *    a device is attached is allowed, and mappings outlive a detach; but memory is
 *    pinned only while a device is attached;
 * 7. VFIO_DEVICE_DETACH_IOMMUFD_PT, from when on the device's DMA is blocked;
 * 8. IOMMU_IOASID_FREE, or just close both files, in any order.
 *
 * Ids of devices and of address spaces are positive, and no two objects of one
 * context share one. Whatever needs an IOASID takes it as it takes the id of an
 * IOAS of <linux/iommufd.h>, and the other way round: they are the same thing.
 *
 * Every structure begins with @argsz, the size that the caller knows it by.
 *
 * Any call may fail with:
 *
 * * ``EFAULT``: a pointer does not lead to memory that the call may use.
 * * ``EINVAL``: @argsz is smaller than the structure's first version, or a flag
 *   or a value is not among those described.
 * * ``E2BIG``: @argsz is larger than the structure that the driver knows, and a
 *   byte beyond the known ones is not 0.
 * * ``ENOENT``: the context has no such device or address space.
 * * ``ENOMEM``: the kernel has no memory for it.
 * * ``ENOTTY``: the driver does not serve this call.
 *
 * A failed call changes nothing, unless it is made to fail in the middle: by a
 * signal that kills the caller, or by another thread that takes away the memory
 * of the arguments.
 */

#define IOMMU_TYPE (';')
#define IOMMU_BASE 100

/**
 * enum iommu_extension - What IOMMU_CHECK_EXTENSION can be asked about
 * @IOMMU_EXT_MAP_TYPE1V2: IOMMU_MAP_DMA and IOMMU_UNMAP_DMA take the payloads,
 *	and follow the rules, of VFIO's type1v2.
 * @IOMMU_EXT_DMA_NO_SNOOP: Address spaces without IOMMU_IOASID_ENFORCE_SNOOP.
 * @IOMMU_EXT_MAP_NEWTYPE: A second kind of map and unmap payload.
 * @IOMMU_EXT_MULTIDEV_GROUP: Several devices of one IOMMU group, all of which
 *	attach to the same address space.
 * @IOMMU_EXT_IOASID_NESTING: Address spaces on top of address spaces.
 * @IOMMU_EXT_USER_PAGE_TABLE: I/O page tables that userspace writes.
 * @IOMMU_EXT_USER_PASID_TABLE: PASID tables that userspace writes.
 * @IOMMU_EXT_DIRTY_TRACKING: Finding out which pages a device wrote to.
 * @IOMMU_EXT_IOVA_WINDOW: IOMMU_IOASID_IOVA_WINDOW.
 */
enum iommu_extension {
	IOMMU_EXT_MAP_TYPE1V2 = 1,
	IOMMU_EXT_DMA_NO_SNOOP = 2,
	IOMMU_EXT_MAP_NEWTYPE = 3,
	IOMMU_EXT_MULTIDEV_GROUP = 4,
	IOMMU_EXT_IOASID_NESTING = 5,
	IOMMU_EXT_USER_PAGE_TABLE = 6,
	IOMMU_EXT_USER_PASID_TABLE = 7,
	IOMMU_EXT_DIRTY_TRACKING = 8,
	IOMMU_EXT_IOVA_WINDOW = 9
};

/**
 * define IOMMU_EXT_EXPLICIT - The number is meant, and not what was left over
 *
 * Flag that may be added to a number of enum iommu_extension: such a number is
 * answered from the first call on, unless the context is a VFIO container. See
 * IOMMU_CHECK_EXTENSION.
 */
#define IOMMU_EXT_EXPLICIT 0x80000000U

/**
 * define IOMMU_CHECK_EXTENSION - Ask whether the driver can do something
 *
 * The argument is the number itself, an unsigned long: one of enum
 * iommu_extension or any other, plain or with IOMMU_EXT_EXPLICIT.
 *
 * VFIO_GET_API_VERSION has the same value, takes no argument, and has to be
 * answered with 0: the number that comes with it is whatever the caller's
 * register held. So the answer is 0
 *
 * * to a plain number, until a device was bound to the context or
 *   IOMMU_IOASID_ALLOC has succeeded;
 * * to any number, while the context is a VFIO container: a VFIO group was given to
 *   it, or IOMMU_VFIO_IOAS of <linux/iommufd.h> has set an address space for it.
 *
 * Return: 1 if the feature works here, 0 if not, if the number means nothing, or
 * if number and context are as just described. Never fails.
 */
#define IOMMU_CHECK_EXTENSION _IO(IOMMU_TYPE, IOMMU_BASE + 0)

/**
 * define IOMMU_DEVICE_INFO_ENFORCE_SNOOP - The device's IOMMU can force snooping
 *
 * Flag in &iommu_device_info.flags: the device may attach to an address space
 * that was allocated with IOMMU_IOASID_ENFORCE_SNOOP.
 */
#define IOMMU_DEVICE_INFO_ENFORCE_SNOOP (1 << 0)

/**
 * define IOMMU_DEVICE_INFO_PGSIZES - &iommu_device_info.pgsize_bitmap is reported
 */
#define IOMMU_DEVICE_INFO_PGSIZES (1 << 1)

/**
 * define IOMMU_DEVICE_INFO_ADDR_WIDTH - &iommu_device_info.addr_width is reported
 */
#define IOMMU_DEVICE_INFO_ADDR_WIDTH (1 << 2)

/**
 * define IOMMU_DEVICE_INFO_CAPS - There are capabilities behind the structure
 */
#define IOMMU_DEVICE_INFO_CAPS (1 << 3)

/**
 * struct iommu_device_info - ioctl(IOMMU_DEVICE_GET_INFO)
 * @argsz: In: bytes from here on that the call may write, at least
 *	sizeof(struct iommu_device_info). Out: the same, or the bytes needed if
 *	the capabilities did not fit.
 * @flags: Out: IOMMU_DEVICE_INFO_*. Not read.
 * @dev_cookie: In: the device. The id that VFIO_DEVICE_BIND_IOMMUFD returned in
 *	out_devid, or the cookie that a kernel driver bound the device with.
 * @pgsize_bitmap: Out: the page sizes that mappings can be made of. Bit n stands
 *	for pages of 1 << n bytes.
 * @addr_width: Out: how many bits a DMA address may have, 1 to 64.
 * @cap_offset: Out: bytes from the start of this structure to the first
 *	capability, or 0 if there is none or they did not fit.
 *
 * What a bound device and its IOMMU can do. Fields that are not reported are 0.
 *
 * Capabilities are a chain of VFIO's: each starts with a struct
 * vfio_info_cap_header, whose next counts from the start of this structure too.
 * There is VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, version 1 (struct
 * vfio_iommu_type1_info_cap_iova_range): the ranges of DMA addresses, first and
 * last byte, in which this device can use mappings. That is what the IOMMU can
 * translate less what is reserved, such as the window of message interrupts; of an
 * attached device, what can be mapped in the address space that it is attached to.
 *
 * A caller that does not know how long the chain is calls twice: with @argsz too
 * small for it, the call succeeds, flags has IOMMU_DEVICE_INFO_CAPS, @cap_offset
 * is 0 and @argsz says how much is needed. @argsz is never too large.
 *
 * Return:
 * * 0: done.
 * * ``EFAULT``: the structure, or @argsz bytes that are to be written, are not
 *   writable memory.
 * * ``EINVAL``: @argsz is less than 32.
 * * ``ENOENT``: no device of that id or cookie is bound to this context.
 * * ``ENODEV``, ``EOPNOTSUPP``: the device's IOMMU has no page tables to offer.
 * * ``ENOMEM``: no memory.
 */
struct iommu_device_info {
	__u32 argsz;
	__u32 flags;
	__aligned_u64 dev_cookie;
	__aligned_u64 pgsize_bitmap;
	__u32 addr_width;
	__u32 cap_offset;
};

/**
 * define IOMMU_DEVICE_GET_INFO - See struct iommu_device_info
 */
#define IOMMU_DEVICE_GET_INFO _IO(IOMMU_TYPE, IOMMU_BASE + 1)

/**
 * define IOMMU_IOASID_TYPE_KERNEL_TYPE1V2 - An address space whose page tables
 * are the kernel's, mapped by VFIO type1v2 payloads
 */
#define IOMMU_IOASID_TYPE_KERNEL_TYPE1V2 1

/**
 * define IOMMU_IOASID_ENFORCE_SNOOP - Only devices whose snooping can be forced
 *
 * Flag in &iommu_ioasid_alloc.flags: a device whose IOMMU cannot force snooping
 * is refused. Without it any device may attach, and snooping is nevertheless
 * forced where the IOMMU can.
 */
#define IOMMU_IOASID_ENFORCE_SNOOP (1 << 0)

/**
 * define IOMMU_IOASID_IOVA_WINDOW - The space is iova_first to iova_last
 *
 * Flag in &iommu_ioasid_alloc.flags: addresses are bounded on both sides, by
 * &iommu_ioasid_alloc.iova_first and &iommu_ioasid_alloc.iova_last, instead of
 * by a width.
 */
#define IOMMU_IOASID_IOVA_WINDOW (1 << 1)

/**
 * struct iommu_ioasid_alloc - ioctl(IOMMU_IOASID_ALLOC)
 * @argsz: sizeof(struct iommu_ioasid_alloc). Without IOMMU_IOASID_IOVA_WINDOW 16
 *	will do, which ends before @iova_first.
 * @flags: IOMMU_IOASID_ENFORCE_SNOOP, IOMMU_IOASID_IOVA_WINDOW.
 * @type: IOMMU_IOASID_TYPE_KERNEL_TYPE1V2.
 * @addr_width: The space's addresses are 0 to 2^@addr_width - 1; 1 to 64. Must
 *	be 0 with IOMMU_IOASID_IOVA_WINDOW.
 * @iova_first: The first address, a multiple of the smallest page size. Used
 *	with IOMMU_IOASID_IOVA_WINDOW only.
 * @iova_last: The last address, the last byte of a page, not below @iova_first.
 *	Used with IOMMU_IOASID_IOVA_WINDOW only.
 *
 * Make an empty I/O address space. It may be wider than what a device can
 * address: what a mapping must keep to is told by IOMMU_DEVICE_GET_INFO.
 *
 * Return:
 * * the new IOASID, greater than 0.
 * * ``EFAULT``: the structure is not readable memory.
 * * ``EINVAL``: @argsz is less than 16, or than 32 with
 *   IOMMU_IOASID_IOVA_WINDOW; or another field's value is not allowed.
 * * ``E2BIG``: @argsz is more than 32, and a byte beyond is not 0.
 * * ``ENOSPC``: there are no more ids.
 * * ``ENOMEM``: no memory.
 */
struct iommu_ioasid_alloc {
	__u32 argsz;
	__u32 flags;
	__u32 type;
	__u32 addr_width;
	__aligned_u64 iova_first;
	__aligned_u64 iova_last;
};

/**
 * define IOMMU_IOASID_ALLOC - See struct iommu_ioasid_alloc
 */
#define IOMMU_IOASID_ALLOC _IO(IOMMU_TYPE, IOMMU_BASE + 2)

/**
 * define IOMMU_IOASID_FREE - Free an I/O address space and its mappings
 *
 * The argument points to a __s32 that holds the IOASID.
 *
 * Return:
 * * 0: done.
 * * ``EFAULT``: the argument does not point to readable memory.
 * * ``ENOENT``: there is no such address space.
 * * ``EBUSY``: a device, or another object of the context, uses it. Another
 *   thread that is just inside IOMMU_MAP_DMA does not make it busy.
 */
#define IOMMU_IOASID_FREE _IO(IOMMU_TYPE, IOMMU_BASE + 3)

/**
 * struct iommu_ioasid_dma_op - ioctl(IOMMU_MAP_DMA, IOMMU_UNMAP_DMA)
 * @argsz: At least sizeof(struct iommu_ioasid_dma_op). The payload has an argsz
 *	of its own, so it does not matter whether this one covers it. What it
 *	covers beyond the payload must be 0.
 * @flags: Must be 0.
 * @ioasid: The address space.
 * @padding: Must be 0.
 *
 * The payload follows directly: struct vfio_iommu_type1_dma_map for
 * IOMMU_MAP_DMA, struct vfio_iommu_type1_dma_unmap for IOMMU_UNMAP_DMA::
 *
 *	struct {
 *		struct iommu_ioasid_dma_op op;
 *		struct vfio_iommu_type1_dma_map map;
 *	} arg;
 *
 * A payload's argsz may be larger than the payload; what is beyond is not read.
 * Addresses and sizes are in bytes, and multiples of the smallest page size. A
 * mapping may end with the last page of the 64-bit address space.
 *
 * Both calls may fail with:
 *
 * * ``EFAULT``: the header or the payload is not readable memory.
 * * ``EINVAL``: @argsz is less than 16; @flags or @padding is not 0; the
 *   payload's argsz is smaller than the payload or its flags are unknown; an
 *   address or size is not a multiple of the page size; size is 0.
 * * ``E2BIG``: @argsz goes beyond the payload's argsz, to a byte that is not 0.
 * * ``ENOENT``: there is no such address space.
 * * ``EOVERFLOW``: an address plus size, less 1, is beyond 2^64 - 1.
 * * ``EOPNOTSUPP``: VFIO_DMA_MAP_FLAG_VADDR, VFIO_DMA_UNMAP_FLAG_VADDR or
 *   VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP was asked for.
 * * ``ENOMEM``: no memory.
 *
 * IOMMU_MAP_DMA lets the devices of the address space access size bytes of the
 * caller's memory at vaddr, by DMA addresses from iova on: reading it with
 * VFIO_DMA_MAP_FLAG_READ, writing to it with VFIO_DMA_MAP_FLAG_WRITE. It may
 * further fail with:
 *
 * * ``EINVAL``: neither VFIO_DMA_MAP_FLAG_READ nor VFIO_DMA_MAP_FLAG_WRITE was
 *   given, or the range is outside the address space, or outside what the
 *   attached devices can use.
 * * ``EEXIST``: part of the range is mapped already.
 *
 * Memory is pinned as long as it is mapped and the address space has a domain,
 * which is an I/O page table: that of an attached device, or one that
 * IOMMU_HWPT_ALLOC of <linux/iommufd.h> has made. If there is one, the memory is
 * pinned when the call returns. If there is none, the call notes where the memory
 * is and does not look at it; the first domain has all memory of the address space
 * pinned, each mapping's in the process that mapped it. When the last domain goes,
 * the memory is unpinned, and the mappings stay.
 *
 * What is pinned counts against RLIMIT_MEMLOCK for the process that mapped it and
 * its user, unless the process had CAP_IPC_LOCK when it did so. The memory may also be
 * that of devices, as VFIO has mapped it for the process (BARs): then it is not pinned,
 * and counts against nothing. Whatever takes some of it out of the process's page table
 * takes all of the mapping from devices first: VFIO before a BAR stops to answer,
 * munmap(), mprotect(), mremap(), execve(), the end of the process. The range stays
 * mapped then, with nothing behind it. Pinning, or finding it, fails
 * IOMMU_MAP_DMA, or else the VFIO_DEVICE_ATTACH_IOMMUFD_PT or IOMMU_HWPT_ALLOC that
 * brings the first domain, with:
 *
 * * ``EFAULT``: the memory is not there, is not writable although
 *   VFIO_DMA_MAP_FLAG_WRITE was given, or cannot be pinned; or is that of a device in
 *   part only, or its device does not answer; or the process that mapped it has ended,
 *   or runs another program by now.
 * * ``EOPNOTSUPP``: the memory is a file's that must not be pinned (fs-DAX).
 * * ``ENOMEM``: RLIMIT_MEMLOCK is too low for it.
 *
 * IOMMU_UNMAP_DMA removes all mappings in the range. When it returns, no device
 * can reach the memory any more. The range may span any number of mappings and
 * holes, or nothing mapped at all. With VFIO_DMA_UNMAP_FLAG_ALL, iova and size
 * must be 0 and everything goes. The bytes that were unmapped are written to the
 * payload's size. It may further fail with:
 *
 * * ``EINVAL``: the range begins or ends inside a mapping, or iova and size are
 *   not 0 with VFIO_DMA_UNMAP_FLAG_ALL.
 * * ``EFAULT``: the payload's size is not writable memory.
 *
 * Return:
 * * 0: done.
 * * an errno as above.
 */
struct iommu_ioasid_dma_op {
	__u32 argsz;
	__u32 flags;
	__s32 ioasid;
	__u32 padding;
};

/**
 * define IOMMU_MAP_DMA - See struct iommu_ioasid_dma_op
 */
#define IOMMU_MAP_DMA _IO(IOMMU_TYPE, IOMMU_BASE + 4)

/**
 * define IOMMU_UNMAP_DMA - See struct iommu_ioasid_dma_op
 */
#define IOMMU_UNMAP_DMA _IO(IOMMU_TYPE, IOMMU_BASE + 5)

#endif /* _UAPI_LINUX_IOMMU_H */
