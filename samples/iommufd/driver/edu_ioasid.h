/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/* What /dev/edu-ioasid-<PCI address>, a node of the sample driver, can be asked to do. */
#ifndef EDU_IOASID_H
#define EDU_IOASID_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * struct edu_ioasid_bind - argument of EDU_IOASID_BIND
 * @iommufd: an open /dev/iommu
 * @padding: 0
 * @cookie: what IOMMU_DEVICE_GET_INFO shall know the device by
 */
struct edu_ioasid_bind {
	__s32 iommufd;
	__u32 padding;
	__aligned_u64 cookie;
};

/**
 * struct edu_ioasid_dma - argument of EDU_IOASID_DMA
 * @iova: where in the address space, in bytes
 * @length: how much, 1 to 4096 bytes
 * @to_memory: 0 to read memory into the device's buffer, 1 to write it back
 */
struct edu_ioasid_dma {
	__aligned_u64 iova;
	__u32 length;
	__u32 to_memory;
};

/* Binding ends with the file at the latest. ATTACH and DETACH take the IOASID itself. */
#define EDU_IOASID_BIND _IOW('e', 0, struct edu_ioasid_bind)
#define EDU_IOASID_UNBIND _IO('e', 1)
#define EDU_IOASID_ATTACH _IO('e', 2)
#define EDU_IOASID_DETACH _IO('e', 3)
#define EDU_IOASID_DMA _IOW('e', 4, struct edu_ioasid_dma)

#endif
