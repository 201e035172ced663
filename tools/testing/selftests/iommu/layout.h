/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What <linux/iommu.h> promises about itself, for compilers only: it stands alone,
 * in C and in C++, is the same on 32 and 64 bits, and lives beside <linux/iommufd.h>.
 * IOMMUFD_H is that one, of the kernel source.
 */
#include <linux/iommu.h>
#include IOMMUFD_H

#include <stddef.h>

#define CHECK(condition) static_assert(condition, #condition)
#define CHECK_FIELD(type, field, offset) CHECK(offsetof(struct type, field) == (offset))

CHECK(sizeof(struct iommu_device_info) == 32);
CHECK_FIELD(iommu_device_info, argsz, 0);
CHECK_FIELD(iommu_device_info, flags, 4);
CHECK_FIELD(iommu_device_info, dev_cookie, 8);
CHECK_FIELD(iommu_device_info, pgsize_bitmap, 16);
CHECK_FIELD(iommu_device_info, addr_width, 24);
CHECK_FIELD(iommu_device_info, cap_offset, 28);

CHECK(sizeof(struct iommu_ioasid_alloc) == 32);
CHECK_FIELD(iommu_ioasid_alloc, argsz, 0);
CHECK_FIELD(iommu_ioasid_alloc, flags, 4);
CHECK_FIELD(iommu_ioasid_alloc, type, 8);
CHECK_FIELD(iommu_ioasid_alloc, addr_width, 12);
CHECK_FIELD(iommu_ioasid_alloc, iova_first, 16);
CHECK_FIELD(iommu_ioasid_alloc, iova_last, 24);

CHECK(sizeof(struct iommu_ioasid_dma_op) == 16);
CHECK_FIELD(iommu_ioasid_dma_op, argsz, 0);
CHECK_FIELD(iommu_ioasid_dma_op, flags, 4);
CHECK_FIELD(iommu_ioasid_dma_op, ioasid, 8);
CHECK_FIELD(iommu_ioasid_dma_op, padding, 12);

CHECK(sizeof(struct vfio_iommu_type1_dma_map) == 32);
CHECK(offsetof(struct vfio_iommu_type1_dma_unmap, data) == 24);

CHECK(IOMMU_CHECK_EXTENSION == 0x3b64);
CHECK(IOMMU_EXT_EXPLICIT == 0x80000000);
CHECK(IOMMU_DEVICE_GET_INFO == 0x3b65);
CHECK(IOMMU_IOASID_ALLOC == 0x3b66);
CHECK(IOMMU_IOASID_FREE == 0x3b67);
CHECK(IOMMU_MAP_DMA == 0x3b68);
CHECK(IOMMU_UNMAP_DMA == 0x3b69);
