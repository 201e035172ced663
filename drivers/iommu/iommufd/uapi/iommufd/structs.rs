// SPDX-License-Identifier: GPL-2.0

//! The structures of `<linux/iommufd.h>`, with their layout checked against it.

use crate::kapi::user::Sized32;
use core::mem::{
    offset_of,
    size_of, //
};
use kernel::{
    bindings,
    ioctl::_IO,
    prelude::*, //
};
use zerocopy_derive::{
    Immutable,
    KnownLayout, //
};

pub(crate) use bindings::{
    iommu_hw_info_type_IOMMU_HW_INFO_TYPE_DEFAULT as IOMMU_HW_INFO_TYPE_DEFAULT,
    iommu_hw_queue_type_IOMMU_HW_QUEUE_TYPE_DEFAULT as IOMMU_HW_QUEUE_TYPE_DEFAULT,
    iommu_veventq_type_IOMMU_VEVENTQ_TYPE_DEFAULT as IOMMU_VEVENTQ_TYPE_DEFAULT,
    iommu_viommu_type_IOMMU_VIOMMU_TYPE_DEFAULT as IOMMU_VIOMMU_TYPE_DEFAULT,
    iommufd_hw_capabilities_IOMMU_HW_CAP_DIRTY_TRACKING as IOMMU_HW_CAP_DIRTY_TRACKING,
    iommufd_hw_capabilities_IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED as IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED,
    iommufd_hw_capabilities_IOMMU_HW_CAP_PCI_PASID_EXEC as IOMMU_HW_CAP_PCI_PASID_EXEC,
    iommufd_hw_capabilities_IOMMU_HW_CAP_PCI_PASID_PRIV as IOMMU_HW_CAP_PCI_PASID_PRIV,
    iommufd_hw_info_flags_IOMMU_HW_INFO_FLAG_INPUT_TYPE as IOMMU_HW_INFO_FLAG_INPUT_TYPE,
    iommufd_hwpt_alloc_flags_IOMMU_HWPT_ALLOC_DIRTY_TRACKING as IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
    iommufd_hwpt_alloc_flags_IOMMU_HWPT_ALLOC_NEST_PARENT as IOMMU_HWPT_ALLOC_NEST_PARENT,
    iommufd_hwpt_alloc_flags_IOMMU_HWPT_ALLOC_PASID as IOMMU_HWPT_ALLOC_PASID,
    iommufd_hwpt_alloc_flags_IOMMU_HWPT_FAULT_ID_VALID as IOMMU_HWPT_FAULT_ID_VALID,
    iommufd_hwpt_get_dirty_bitmap_flags_IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR as IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR,
    iommufd_hwpt_set_dirty_tracking_flags_IOMMU_HWPT_DIRTY_TRACKING_ENABLE as IOMMU_HWPT_DIRTY_TRACKING_ENABLE,
    iommufd_ioas_map_flags_IOMMU_IOAS_MAP_FIXED_IOVA as IOMMU_IOAS_MAP_FIXED_IOVA,
    iommufd_ioas_map_flags_IOMMU_IOAS_MAP_READABLE as IOMMU_IOAS_MAP_READABLE,
    iommufd_ioas_map_flags_IOMMU_IOAS_MAP_WRITEABLE as IOMMU_IOAS_MAP_WRITEABLE,
    iommufd_option_IOMMU_OPTION_HUGE_PAGES as IOMMU_OPTION_HUGE_PAGES,
    iommufd_option_IOMMU_OPTION_RLIMIT_MODE as IOMMU_OPTION_RLIMIT_MODE,
    iommufd_option_ops_IOMMU_OPTION_OP_GET as IOMMU_OPTION_OP_GET,
    iommufd_option_ops_IOMMU_OPTION_OP_SET as IOMMU_OPTION_OP_SET,
    iommufd_vfio_ioas_op_IOMMU_VFIO_IOAS_CLEAR as IOMMU_VFIO_IOAS_CLEAR,
    iommufd_vfio_ioas_op_IOMMU_VFIO_IOAS_GET as IOMMU_VFIO_IOAS_GET,
    iommufd_vfio_ioas_op_IOMMU_VFIO_IOAS_SET as IOMMU_VFIO_IOAS_SET,
};

/// Defines the argument of a call, which is as long as the C structure and has fields of its
/// names at the same places. `until` is the last field of the structure's first version.
macro_rules! argument {
    ($nr:ident: $name:ident is $theirs:ident until $last:ident {
        $($field:ident: $ty:ty $(as $their_field:ident)?,)*
    }) => {
        #[doc = concat!("`struct ", stringify!($theirs), "`.")]
        #[repr(C)]
        #[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Clone, Copy)]
        pub(crate) struct $name {
            size: u32,
            $(pub(crate) $field: $ty,)*
        }

        impl $name {
            /// The number of the call.
            pub(crate) const NR: u32 = _IO(b';' as u32, bindings::$nr);
        }

        impl Sized32 for $name {
            const MIN_SIZE: usize = argument!(@end $name $last: $($field: $ty,)*);

            fn argsz(&self) -> u32 {
                self.size
            }
        }

        static_assert!(size_of::<$name>() == size_of::<bindings::$theirs>());
        $(argument!(@same $name $theirs $field $($their_field)?);)*
    };
    (@same $ours:ident $theirs:ident $field:ident) => {
        argument!(@same $ours $theirs $field $field);
    };
    (@same $ours:ident $theirs:ident $field:ident $their_field:ident) => {
        static_assert!(offset_of!($ours, $field) == offset_of!(bindings::$theirs, $their_field));
    };
    (@end $name:ident $last:ident: $($field:ident: $ty:ty,)*) => {{
        let mut end = 0;
        $(
            // One after the other; the last field that matches is the one.
            if const_eq(stringify!($field), stringify!($last)) {
                end = offset_of!($name, $field) + size_of::<$ty>();
            }
        )*
        end
    }};
}

/// Whether two names are the same, at compile time.
const fn const_eq(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}

argument!(IOMMUFD_CMD_DESTROY: Destroy is iommu_destroy until id {
    id: u32,
});
argument!(IOMMUFD_CMD_IOAS_ALLOC: IoasAlloc is iommu_ioas_alloc until out_ioas_id {
    flags: u32,
    out_ioas_id: u32,
});
argument!(IOMMUFD_CMD_IOAS_ALLOW_IOVAS: IoasAllowIovas is iommu_ioas_allow_iovas until allowed_iovas {
    ioas_id: u32,
    num_iovas: u32,
    __reserved: u32,
    allowed_iovas: u64,
});
argument!(IOMMUFD_CMD_IOAS_COPY: IoasCopy is iommu_ioas_copy until src_iova {
    flags: u32,
    dst_ioas_id: u32,
    src_ioas_id: u32,
    length: u64,
    dst_iova: u64,
    src_iova: u64,
});
argument!(IOMMUFD_CMD_IOAS_IOVA_RANGES: IoasIovaRanges is iommu_ioas_iova_ranges until out_iova_alignment {
    ioas_id: u32,
    num_iovas: u32,
    __reserved: u32,
    allowed_iovas: u64,
    out_iova_alignment: u64,
});
argument!(IOMMUFD_CMD_IOAS_MAP: IoasMap is iommu_ioas_map until iova {
    flags: u32,
    ioas_id: u32,
    __reserved: u32,
    user_va: u64,
    length: u64,
    iova: u64,
});
argument!(IOMMUFD_CMD_IOAS_MAP_FILE: IoasMapFile is iommu_ioas_map_file until iova {
    flags: u32,
    ioas_id: u32,
    fd: i32,
    start: u64,
    length: u64,
    iova: u64,
});
argument!(IOMMUFD_CMD_IOAS_UNMAP: IoasUnmap is iommu_ioas_unmap until length {
    ioas_id: u32,
    iova: u64,
    length: u64,
});
argument!(IOMMUFD_CMD_IOAS_CHANGE_PROCESS: IoasChangeProcess is iommu_ioas_change_process until __reserved {
    __reserved: u32,
});
argument!(IOMMUFD_CMD_IOAS_NOIOMMU_GET_PA: IoasNoiommuGetPa is iommu_ioas_noiommu_get_pa until out_phys {
    flags: u32,
    ioas_id: u32,
    __reserved: u32,
    iova: u64,
    length: u64,
    out_phys: u64,
});
argument!(IOMMUFD_CMD_OPTION: GetOption is iommu_option until val64 {
    option_id: u32,
    op: u16,
    __reserved: u16,
    object_id: u32,
    val64: u64,
});
argument!(IOMMUFD_CMD_VFIO_IOAS: VfioIoas is iommu_vfio_ioas until __reserved {
    ioas_id: u32,
    op: u16,
    __reserved: u16,
});
argument!(IOMMUFD_CMD_HWPT_ALLOC: HwptAlloc is iommu_hwpt_alloc until __reserved {
    flags: u32,
    dev_id: u32,
    pt_id: u32,
    out_hwpt_id: u32,
    __reserved: u32,
    data_type: u32,
    data_len: u32,
    data_uptr: u64,
    fault_id: u32,
    __reserved2: u32,
});
argument!(IOMMUFD_CMD_GET_HW_INFO: HwInfo is iommu_hw_info until __reserved {
    flags: u32,
    dev_id: u32,
    data_len: u32,
    data_uptr: u64,
    // Going in, the type that is wanted; coming out, the type that it is.
    data_type: u32 as __bindgen_anon_1,
    out_max_pasid_log2: u8,
    __reserved: [u8; 3],
    out_capabilities: u64,
});
argument!(IOMMUFD_CMD_HWPT_SET_DIRTY_TRACKING: HwptSetDirtyTracking is iommu_hwpt_set_dirty_tracking until __reserved {
    flags: u32,
    hwpt_id: u32,
    __reserved: u32,
});
argument!(IOMMUFD_CMD_HWPT_GET_DIRTY_BITMAP: HwptGetDirtyBitmap is iommu_hwpt_get_dirty_bitmap until data {
    hwpt_id: u32,
    flags: u32,
    __reserved: u32,
    iova: u64,
    length: u64,
    page_size: u64,
    data: u64,
});
argument!(IOMMUFD_CMD_HWPT_INVALIDATE: HwptInvalidate is iommu_hwpt_invalidate until __reserved {
    hwpt_id: u32,
    data_uptr: u64,
    data_type: u32,
    entry_len: u32,
    entry_num: u32,
    __reserved: u32,
});
argument!(IOMMUFD_CMD_FAULT_QUEUE_ALLOC: FaultAlloc is iommu_fault_alloc until out_fault_fd {
    flags: u32,
    out_fault_id: u32,
    out_fault_fd: u32,
});
argument!(IOMMUFD_CMD_VIOMMU_ALLOC: ViommuAlloc is iommu_viommu_alloc until out_viommu_id {
    flags: u32,
    type_: u32,
    dev_id: u32,
    hwpt_id: u32,
    out_viommu_id: u32,
    data_len: u32,
    __reserved: u32,
    data_uptr: u64,
});
argument!(IOMMUFD_CMD_VDEVICE_ALLOC: VdeviceAlloc is iommu_vdevice_alloc until virt_id {
    viommu_id: u32,
    dev_id: u32,
    out_vdevice_id: u32,
    virt_id: u64,
});
argument!(IOMMUFD_CMD_VEVENTQ_ALLOC: VeventqAlloc is iommu_veventq_alloc until out_veventq_fd {
    flags: u32,
    viommu_id: u32,
    type_: u32,
    veventq_depth: u32,
    out_veventq_id: u32,
    out_veventq_fd: u32,
    __reserved: u32,
});
argument!(IOMMUFD_CMD_HW_QUEUE_ALLOC: HwQueueAlloc is iommu_hw_queue_alloc until length {
    flags: u32,
    viommu_id: u32,
    type_: u32,
    index: u32,
    out_hw_queue_id: u32,
    nesting_parent_iova: u64,
    length: u64,
});

/// `struct iommu_iova_range`.
#[repr(C)]
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Clone, Copy)]
pub(crate) struct UserRange {
    pub(crate) start: u64,
    pub(crate) last: u64,
}
static_assert!(size_of::<UserRange>() == size_of::<bindings::iommu_iova_range>());
static_assert!(offset_of!(UserRange, last) == offset_of!(bindings::iommu_iova_range, last));
