// SPDX-License-Identifier: GPL-2.0

//! What the core asks the IOMMU in software.
//!
//! C header: [`include/linux/iommu.h`](srctree/include/linux/iommu.h)

use super::{
    err_ptr,
    face_fn, //
};
use crate::{
    kapi::domain::Domain,
    mock::sys, //
};
use kernel::{
    bindings,
    prelude::*, //
};

face_fn! {
    /// Whether it has an ability, for a device.
    ///
    /// # Safety
    ///
    /// `dev` is behind this IOMMU.
    unsafe extern "C" fn iommufd_mock_capable(
        dev: *mut bindings::device,
        cap: bindings::iommu_cap,
    ) -> bool {
        match cap {
            bindings::iommu_cap_IOMMU_CAP_CACHE_COHERENCY => true,
            bindings::iommu_cap_IOMMU_CAP_DIRTY_TRACKING => {
                // SAFETY: By the contract.
                unsafe { sys::iommufd_mock_can_track_dirty(dev) }
            }
            _ => false,
        }
    }
}

/// Whether a domain is of this IOMMU, and marks the pages that are written to.
pub(in crate::mock) fn tracks_dirty(domain: &Domain) -> bool {
    // SAFETY: The domain is there.
    unsafe { sys::iommufd_mock_tracks_dirty(domain.as_ptr()) }
}

/// Marks the page at `iova`, if there is one. Nobody unmaps it meanwhile.
pub(in crate::mock) fn set_dirty(domain: &Domain, iova: u64) {
    if tracks_dirty(domain) {
        // SAFETY: It is a domain of this IOMMU.
        unsafe { sys::iommufd_mock_set_dirty(domain.as_ptr(), iova as c_ulong) }
    }
}

/// How often the IOTLB of a domain of this IOMMU would have been flushed.
pub(in crate::mock) fn flushes(domain: &Domain) -> u32 {
    // SAFETY: The domain is there.
    unsafe { sys::iommufd_mock_flushes(domain.as_ptr()) }
}

fn hw_info(kind: u32) -> Result<KBox<sys::iommu_test_hw_info>> {
    let default = bindings::iommu_hw_info_type_IOMMU_HW_INFO_TYPE_DEFAULT;
    if kind != default && kind != sys::IOMMU_HW_INFO_TYPE_SELFTEST {
        return Err(EOPNOTSUPP);
    }
    let info = sys::iommu_test_hw_info {
        flags: 0,
        test_reg: sys::IOMMU_HW_INFO_SELFTEST_REGVAL,
    };
    Ok(KBox::new(info, GFP_KERNEL_ACCOUNT)?)
}

face_fn! {
    /// What it says of itself, in memory that the caller frees.
    ///
    /// # Safety
    ///
    /// `length` and `kind` can be written to.
    unsafe extern "C" fn iommufd_mock_hw_info(
        _dev: *mut bindings::device,
        length: *mut u32,
        kind: *mut bindings::iommu_hw_info_type,
    ) -> *mut c_void {
        // SAFETY: By the contract.
        match hw_info(unsafe { *kind }) {
            Ok(info) => {
                // SAFETY: By the contract.
                unsafe {
                    // CAST: It is small.
                    *length = size_of::<sys::iommu_test_hw_info>() as u32;
                    *kind = sys::IOMMU_HW_INFO_TYPE_SELFTEST;
                }
                // `kfree()` frees what a `KBox` has.
                KBox::into_raw(info).cast()
            }
            Err(e) => err_ptr(e),
        }
    }
}
