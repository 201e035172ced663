/* SPDX-License-Identifier: GPL-2.0 */
/*
 * I/O address spaces for kernel drivers: how a driver hands its device to the
 * owner of a /dev/iommu file. Drivers that live by <linux/iommufd.h>, as VFIO
 * does, need none of this; the two act on the same objects.
 */
#ifndef __LINUX_IOMMUFD_IOASID_H
#define __LINUX_IOMMUFD_IOASID_H

#include <linux/types.h>

struct device;
struct iommufd_device;

/**
 * iommufd_bind_device() - Bind a device to the context behind a file descriptor
 * @fd: An open /dev/iommu of the current process.
 * @dev: The device. The caller's driver is bound to it, has set
 *	driver_managed_dma, and stays bound until iommufd_unbind_device().
 * @dev_cookie: What userspace will name the device by in
 *	IOMMU_DEVICE_GET_INFO. It comes before an id of the same value there.
 *
 * From here on the device's DMA, and that of all its IOMMU group, is blocked
 * until it is attached. The context lives on for as long as the device is
 * bound, also when its file is closed.
 *
 * Context: Process context. May sleep.
 *
 * Return:
 * * the bound device, or an ERR_PTR():
 * * ``-EBADF``: @fd is not open.
 * * ``-EBADFD``: @fd is not a /dev/iommu.
 * * ``-EBUSY``: The context has a device of that cookie, or this device,
 *   already; or something else uses the group.
 * * ``-ENODEV``: The device is in no IOMMU group.
 * * ``-EPERM``: The group belongs to another owner, or to a driver that does
 *   DMA of its own, or its interrupts are not isolated and the module parameter
 *   allow_unsafe_interrupts is not set.
 * * ``-EINVAL``: The device's DMA does not snoop the CPU's caches, or its
 *   firmware demands an identity mapping.
 * * ``-ENOMEM``: Out of memory.
 */
struct iommufd_device *iommufd_bind_device(int fd, struct device *dev, u64 dev_cookie);

/**
 * iommufd_unbind_device() - Undo iommufd_bind_device()
 * @idev: The bound device, which is detached if need be. Not to be used again.
 *
 * Context: Process context. May sleep.
 */
void iommufd_unbind_device(struct iommufd_device *idev);

/**
 * iommufd_device_attach_ioasid() - Let a device do DMA in an address space
 * @idev: The bound device.
 * @ioasid: An address space of the device's context.
 *
 * All devices of an IOMMU group attach to the same address space. The first device
 * of an address space has the memory that is mapped there pinned, in the processes
 * that mapped it, and charged to them. That may take long, and may wait for
 * userspace.
 *
 * Context: Process context. May sleep.
 *
 * Return:
 * * 0: done.
 * * ``-ENOENT``: There is no such address space.
 * * ``-EBUSY``: The device is attached already, or is being reset.
 * * ``-EINVAL``: Another device of the group is attached elsewhere; or the
 *   address space enforces snooping and the device's IOMMU cannot; or the two
 *   have no address in common.
 * * ``-EADDRINUSE``: Something is mapped where the device cannot have it, or not in
 *   whole pages of its IOMMU.
 * * ``-EFAULT``: Memory that was mapped is not there any more, or cannot be pinned.
 * * ``-ENODEV``, ``-EOPNOTSUPP``: The device's IOMMU has no page tables to offer; or
 *   memory that was mapped is a file's that must not be pinned.
 * * ``-EINTR``: A fatal signal came.
 * * ``-ENOMEM``: Out of memory; or who mapped may not lock that much.
 */
int iommufd_device_attach_ioasid(struct iommufd_device *idev, int ioasid);

/**
 * iommufd_device_detach_ioasid() - Block a device's DMA again
 * @idev: The bound device.
 * @ioasid: The address space that it is attached to; if it is not, nothing
 *	happens.
 *
 * With the last device, unless userspace has made a domain, the memory that is mapped
 * there is unpinned. The mappings stay.
 *
 * Context: Process context. May sleep.
 */
void iommufd_device_detach_ioasid(struct iommufd_device *idev, int ioasid);

#endif /* __LINUX_IOMMUFD_IOASID_H */
