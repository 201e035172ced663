// SPDX-License-Identifier: GPL-2.0

//! The structures of `include/uapi/linux/iommu.h`, with their layout checked against it.

use crate::{
    kapi::{
        domain::Prot,
        user::Sized32, //
    },
    sys, //
};
use core::mem::{
    offset_of,
    size_of, //
};
use kernel::{
    ioctl::_IO,
    prelude::*, //
};
use zerocopy_derive::{
    Immutable,
    KnownLayout, //
};

const fn nr(nr: u32) -> u32 {
    _IO(b';' as u32, sys::IOMMU_BASE + nr)
}

pub(crate) const IOMMU_CHECK_EXTENSION: u32 = nr(0);
pub(crate) const IOMMU_DEVICE_GET_INFO: u32 = nr(1);
pub(crate) const IOMMU_IOASID_ALLOC: u32 = nr(2);
pub(crate) const IOMMU_IOASID_FREE: u32 = nr(3);
pub(crate) const IOMMU_MAP_DMA: u32 = nr(4);
pub(crate) const IOMMU_UNMAP_DMA: u32 = nr(5);

pub(crate) use sys::{
    iommu_extension_IOMMU_EXT_DMA_NO_SNOOP as IOMMU_EXT_DMA_NO_SNOOP,
    iommu_extension_IOMMU_EXT_IOVA_WINDOW as IOMMU_EXT_IOVA_WINDOW,
    iommu_extension_IOMMU_EXT_MAP_TYPE1V2 as IOMMU_EXT_MAP_TYPE1V2,
    iommu_extension_IOMMU_EXT_MULTIDEV_GROUP as IOMMU_EXT_MULTIDEV_GROUP,
    VFIO_TYPE1v2_IOMMU as VFIO_TYPE1V2_IOMMU,
    IOMMU_DEVICE_INFO_ADDR_WIDTH,
    IOMMU_DEVICE_INFO_CAPS,
    IOMMU_DEVICE_INFO_ENFORCE_SNOOP,
    IOMMU_DEVICE_INFO_PGSIZES,
    IOMMU_EXT_EXPLICIT,
    IOMMU_IOASID_ENFORCE_SNOOP,
    IOMMU_IOASID_IOVA_WINDOW,
    IOMMU_IOASID_TYPE_KERNEL_TYPE1V2,
    VFIO_BASE,
    VFIO_DMA_CC_IOMMU,
    VFIO_DMA_MAP_FLAG_READ,
    VFIO_DMA_MAP_FLAG_VADDR,
    VFIO_DMA_MAP_FLAG_WRITE,
    VFIO_DMA_UNMAP_FLAG_ALL,
    VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
    VFIO_DMA_UNMAP_FLAG_VADDR,
    VFIO_IOMMU_INFO_CAPS,
    VFIO_IOMMU_INFO_PGSIZES,
    VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE,
    VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL,
    VFIO_NOIOMMU_IOMMU,
    VFIO_TYPE1_IOMMU,
    VFIO_UNMAP_ALL, //
};

/// `struct iommu_device_info`.
#[repr(C)]
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Clone, Copy)]
pub(crate) struct DeviceInfo {
    pub(crate) argsz: u32,
    pub(crate) flags: u32,
    pub(crate) dev_cookie: u64,
    pub(crate) pgsize_bitmap: u64,
    pub(crate) addr_width: u32,
    pub(crate) cap_offset: u32,
}

/// `struct vfio_iommu_type1_info_cap_iova_range`, less its array.
#[repr(C)]
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Clone, Copy)]
pub(crate) struct CapIovaRange {
    pub(crate) id: u16,
    pub(crate) version: u16,
    pub(crate) next: u32,
    pub(crate) nr_iovas: u32,
    pub(crate) reserved: u32,
}

/// `struct vfio_iova_range`.
#[repr(C)]
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Clone, Copy)]
pub(crate) struct CapRange {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// `struct vfio_iommu_type1_dma_map`.
#[repr(C)]
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Clone, Copy)]
pub(crate) struct VfioMap {
    pub(crate) argsz: u32,
    pub(crate) flags: u32,
    pub(crate) vaddr: u64,
    pub(crate) iova: u64,
    pub(crate) size: u64,
}

/// `struct vfio_iommu_type1_dma_unmap`.
#[repr(C)]
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Clone, Copy)]
pub(crate) struct VfioUnmap {
    pub(crate) argsz: u32,
    pub(crate) flags: u32,
    pub(crate) iova: u64,
    pub(crate) size: u64,
}

/// `struct vfio_iommu_type1_info`.
#[repr(C)]
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Clone, Copy)]
pub(crate) struct VfioInfo {
    pub(crate) argsz: u32,
    pub(crate) flags: u32,
    pub(crate) iova_pgsizes: u64,
    pub(crate) cap_offset: u32,
    pub(crate) pad: u32,
}

/// `struct vfio_iommu_type1_info_dma_avail`, padded to a multiple of 8 bytes.
#[repr(C)]
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Clone, Copy)]
pub(crate) struct CapDmaAvail {
    pub(crate) id: u16,
    pub(crate) version: u16,
    pub(crate) next: u32,
    pub(crate) avail: u32,
    pub(crate) pad: u32,
}

/// `struct iommu_ioasid_alloc`.
#[repr(C)]
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Clone, Copy)]
pub(crate) struct IoasidAlloc {
    pub(crate) argsz: u32,
    pub(crate) flags: u32,
    pub(crate) type_: u32,
    pub(crate) addr_width: u32,
    pub(crate) iova_first: u64,
    pub(crate) iova_last: u64,
}

/// `struct iommu_ioasid_dma_op`.
#[repr(C)]
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Clone, Copy)]
pub(crate) struct DmaOp {
    pub(crate) argsz: u32,
    pub(crate) flags: u32,
    pub(crate) ioasid: i32,
    pub(crate) padding: u32,
}

/// `struct iommu_ioasid_dma_op` with `struct vfio_iommu_type1_dma_map`.
#[repr(C)]
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Clone, Copy)]
pub(crate) struct MapDma {
    pub(crate) op: DmaOp,
    pub(crate) map: VfioMap,
}

/// `struct iommu_ioasid_dma_op` with `struct vfio_iommu_type1_dma_unmap`.
#[repr(C)]
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Clone, Copy)]
pub(crate) struct UnmapDma {
    pub(crate) op: DmaOp,
    pub(crate) unmap: VfioUnmap,
}

impl VfioMap {
    /// What devices may do, of the flags.
    pub(crate) const ACCESS: u32 = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;

    /// Whether userspace says that it is shorter than it must be.
    pub(crate) fn is_short(&self) -> bool {
        (self.argsz as usize) < size_of::<Self>()
    }

    /// What devices may do.
    pub(crate) fn prot(&self) -> Prot {
        Prot {
            read: self.flags & VFIO_DMA_MAP_FLAG_READ != 0,
            write: self.flags & VFIO_DMA_MAP_FLAG_WRITE != 0,
            mmio: false,
        }
    }
}

impl VfioUnmap {
    /// As [`VfioMap::is_short`].
    pub(crate) fn is_short(&self) -> bool {
        (self.argsz as usize) < size_of::<Self>()
    }
}

impl Sized32 for IoasidAlloc {
    const MIN_SIZE: usize = offset_of!(Self, iova_first);

    fn argsz(&self) -> u32 {
        self.argsz
    }
}

impl Sized32 for DeviceInfo {
    const MIN_SIZE: usize = size_of::<Self>();

    fn argsz(&self) -> u32 {
        self.argsz
    }
}

impl Sized32 for MapDma {
    const MIN_SIZE: usize = size_of::<DmaOp>();

    fn argsz(&self) -> u32 {
        self.op.argsz
    }

    fn known(&self) -> usize {
        known_with_payload::<VfioMap>(self.map.argsz)
    }
}

/// By VFIO's rule, what a payload's own size covers may be anything.
fn known_with_payload<T>(argsz: u32) -> usize {
    size_of::<DmaOp>().saturating_add(size_of::<T>().max(argsz as usize))
}

impl Sized32 for UnmapDma {
    const MIN_SIZE: usize = size_of::<DmaOp>();

    fn argsz(&self) -> u32 {
        self.op.argsz
    }

    fn known(&self) -> usize {
        known_with_payload::<VfioUnmap>(self.unmap.argsz)
    }
}

/// Checks that a structure has the size of the C one, and its fields their offsets.
macro_rules! same_layout {
    ($ours:ty, $theirs:ty, $($our_field:ident == $their_field:ident),+) => {
        static_assert!(size_of::<$ours>() == size_of::<$theirs>());
        $(static_assert!(offset_of!($ours, $our_field) == offset_of!($theirs, $their_field));)+
    };
}

same_layout!(
    DeviceInfo,
    sys::iommu_device_info,
    argsz == argsz,
    flags == flags,
    dev_cookie == dev_cookie,
    pgsize_bitmap == pgsize_bitmap,
    addr_width == addr_width,
    cap_offset == cap_offset
);
same_layout!(
    IoasidAlloc,
    sys::iommu_ioasid_alloc,
    argsz == argsz,
    flags == flags,
    type_ == type_,
    addr_width == addr_width,
    iova_first == iova_first,
    iova_last == iova_last
);
same_layout!(
    DmaOp,
    sys::iommu_ioasid_dma_op,
    argsz == argsz,
    flags == flags,
    ioasid == ioasid,
    padding == padding
);
same_layout!(CapRange, sys::vfio_iova_range, start == start, end == end);
same_layout!(
    CapIovaRange,
    sys::vfio_iommu_type1_info_cap_iova_range,
    nr_iovas == nr_iovas,
    reserved == reserved
);
same_layout!(
    VfioMap,
    sys::vfio_iommu_type1_dma_map,
    argsz == argsz,
    flags == flags,
    vaddr == vaddr,
    iova == iova,
    size == size
);
same_layout!(
    VfioUnmap,
    sys::vfio_iommu_type1_dma_unmap,
    argsz == argsz,
    flags == flags,
    iova == iova,
    size == size
);
// The payload comes right behind the head.
static_assert!(offset_of!(MapDma, map) == size_of::<DmaOp>());
static_assert!(offset_of!(UnmapDma, unmap) == size_of::<DmaOp>());
static_assert!(size_of::<VfioInfo>() == size_of::<sys::vfio_iommu_type1_info>());
static_assert!(
    offset_of!(VfioInfo, cap_offset) == offset_of!(sys::vfio_iommu_type1_info, cap_offset)
);
static_assert!(
    offset_of!(CapDmaAvail, avail) == offset_of!(sys::vfio_iommu_type1_info_dma_avail, avail)
);
