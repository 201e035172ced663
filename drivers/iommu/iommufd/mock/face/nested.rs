// SPDX-License-Identifier: GPL-2.0

//! Domains inside of those of the IOMMU in software: each has an IOTLB, which tests fill, and which
//! is what invalidations clear.
//!
//! C header: [`include/linux/iommu.h`](srctree/include/linux/iommu.h)

use super::{
    err_ptr,
    face_fn,
    user_data, //
};
use crate::{
    kapi::nested::NestedDomain,
    mock::sys, //
};
use core::{
    mem::{
        offset_of,
        size_of, //
    },
    ptr::NonNull, //
};
use kernel::{
    bindings,
    prelude::*,
    sync::atomic::{
        ordering::Relaxed,
        Atomic, //
    },
    types::Opaque, //
};

/// How many entries an IOTLB has.
const ENTRIES: usize = sys::MOCK_NESTED_DOMAIN_IOTLB_NUM as usize;

/// A domain: what the core knows of it, and its IOTLB.
#[repr(C)]
struct Nested {
    /// First, so that both have one address.
    domain: Opaque<bindings::iommu_domain>,
    /// The virtual IOMMU that it is one of, or NULL.
    viommu: *mut crate::sys::iommufd_viommu,
    iotlb: [Atomic<u32>; ENTRIES],
}

/// `struct iommu_hwpt_selftest`.
#[repr(C)]
#[derive(zerocopy_derive::FromBytes, zerocopy_derive::IntoBytes)]
struct Config {
    iotlb: u32,
    pagetable_type: u32,
}
static_assert!(size_of::<Config>() == size_of::<sys::iommu_hwpt_selftest>());
static_assert!(offset_of!(Config, iotlb) == offset_of!(sys::iommu_hwpt_selftest, iotlb));

/// `struct iommu_hwpt_invalidate_selftest`.
#[repr(C)]
#[derive(zerocopy_derive::FromBytes, zerocopy_derive::IntoBytes)]
struct Request {
    flags: u32,
    iotlb_id: u32,
}
static_assert!(size_of::<Request>() == size_of::<sys::iommu_hwpt_invalidate_selftest>());

/// What is behind a domain.
///
/// # Safety
///
/// `domain` was made by [`alloc`], and is not freed for the duration of `'a`.
unsafe fn behind<'a>(domain: *mut bindings::iommu_domain) -> &'a Nested {
    // SAFETY: By the contract.
    unsafe { &*domain.cast::<Nested>() }
}

/// The virtual IOMMU that a domain is of, if this IOMMU has made it.
///
/// # Safety
///
/// `domain` is NULL, or not freed for the duration of the call.
pub(super) unsafe fn viommu_of(
    domain: *mut bindings::iommu_domain,
) -> Option<NonNull<crate::sys::iommufd_viommu>> {
    // SAFETY: By the contract.
    let ops = unsafe { domain.as_ref() }?.ops;
    if !core::ptr::eq(ops, &raw const sys::iommufd_mock_nested_ops) {
        return None;
    }
    // SAFETY: It is one of ours.
    NonNull::new(unsafe { behind(domain) }.viommu)
}

/// An entry of the IOTLB of a domain, if this IOMMU has made it.
pub(in crate::mock) fn iotlb(domain: &NestedDomain, id: u32) -> Option<u32> {
    let domain = domain.as_ptr();
    // SAFETY: It is there, and its table of functions does not change.
    let ops = unsafe { (*domain).ops };
    if !core::ptr::eq(ops, &raw const sys::iommufd_mock_nested_ops) {
        return None;
    }
    // SAFETY: It is one of ours, and there as long as the `NestedDomain`.
    let entry = unsafe { behind(domain) }.iotlb.get(id as usize)?;
    Some(entry.load(Relaxed))
}

pub(super) fn alloc(
    viommu: *mut crate::sys::iommufd_viommu,
    flags: u32,
    data: &bindings::iommu_user_data,
) -> Result<*mut bindings::iommu_domain> {
    let known = bindings::iommufd_hwpt_alloc_flags_IOMMU_HWPT_ALLOC_PASID;
    if flags & !known != 0 || data.type_ != sys::IOMMU_HWPT_DATA_SELFTEST {
        return Err(EOPNOTSUPP);
    }
    const MIN: usize = size_of::<u32>();
    let config: Config = user_data::read::<_, MIN>(data, sys::IOMMU_HWPT_DATA_SELFTEST)?;
    let nested = Nested {
        domain: Opaque::zeroed(),
        viommu,
        iotlb: core::array::from_fn(|_| Atomic::new(config.iotlb)),
    };
    let domain = KBox::into_raw(KBox::new(nested, GFP_KERNEL_ACCOUNT)?);
    let domain = domain.cast::<bindings::iommu_domain>();
    // SAFETY: It is this function's alone as yet.
    unsafe {
        (*domain).type_ = bindings::IOMMU_DOMAIN_NESTED;
        (*domain).ops = &raw const sys::iommufd_mock_nested_ops;
    }
    Ok(domain)
}

face_fn! {
    /// Makes a domain for a device inside of another.
    ///
    /// # Safety
    ///
    /// `dev` is behind this IOMMU, and `parent` one of its domains; `user_data` is valid.
    unsafe extern "C" fn iommufd_mock_alloc_nested(
        _dev: *mut bindings::device,
        _parent: *mut bindings::iommu_domain,
        flags: u32,
        user_data: *const bindings::iommu_user_data,
    ) -> *mut bindings::iommu_domain {
        // SAFETY: By the contract.
        let data = unsafe { &*user_data };
        alloc(core::ptr::null_mut(), flags, data).unwrap_or_else(err_ptr)
    }
}

face_fn! {
    /// Whether a device can be attached to a domain.
    ///
    /// # Safety
    ///
    /// `domain` was made by [`alloc`]; `dev` is a device.
    unsafe extern "C" fn iommufd_mock_attach_nested(
        domain: *mut bindings::iommu_domain,
        dev: *mut bindings::device,
    ) -> c_int {
        // SAFETY: By the contract.
        let viommu = unsafe { behind(domain) }.viommu;
        if viommu.is_null() {
            return 0;
        }
        let mut number = 0;
        // SAFETY: It is not ended as long as there are domains of it.
        unsafe { crate::sys::iommufd_viommu_get_vdev_id(viommu, dev, &raw mut number) }
    }
}

impl Nested {
    fn invalidate(&self, list: &bindings::iommu_user_data_array, index: u32) -> Result {
        const MIN: usize = size_of::<Request>();
        let kind = sys::IOMMU_HWPT_INVALIDATE_DATA_SELFTEST;
        let request: Request = user_data::read_entry::<_, MIN>(list, kind, index)?;
        if request.flags & !sys::IOMMU_TEST_INVALIDATE_FLAG_ALL != 0 {
            return Err(EOPNOTSUPP);
        }
        let named = self.iotlb.get(request.iotlb_id as usize).ok_or(EINVAL)?;
        if request.flags & sys::IOMMU_TEST_INVALIDATE_FLAG_ALL != 0 {
            self.iotlb.iter().for_each(|entry| entry.store(0, Relaxed));
        } else {
            named.store(0, Relaxed);
        }
        Ok(())
    }

    /// How many requests were carried out, and what is wrong with the next one.
    fn invalidate_all(&self, list: &bindings::iommu_user_data_array) -> (u32, Result) {
        if list.type_ != sys::IOMMU_HWPT_INVALIDATE_DATA_SELFTEST {
            return (0, Err(EINVAL));
        }
        for index in 0..list.entry_num {
            if let Err(e) = self.invalidate(list, index) {
                return (index, Err(e));
            }
        }
        (list.entry_num, Ok(()))
    }
}

face_fn! {
    /// Forgets entries of the IOTLB.
    ///
    /// # Safety
    ///
    /// `domain` was made by [`alloc`]; `array` is valid.
    unsafe extern "C" fn iommufd_mock_invalidate(
        domain: *mut bindings::iommu_domain,
        array: *mut bindings::iommu_user_data_array,
    ) -> c_int {
        // SAFETY: By the contract.
        let array = unsafe { &mut *array };
        // SAFETY: By the contract.
        let (done, result) = unsafe { behind(domain) }.invalidate_all(array);
        array.entry_num = done;
        result.map_or_else(Error::to_errno, |()| 0)
    }
}

face_fn! {
    /// Frees a domain.
    ///
    /// # Safety
    ///
    /// `domain` was made by [`alloc`], and is not used any more.
    unsafe extern "C" fn iommufd_mock_free_nested(domain: *mut bindings::iommu_domain) {
        // SAFETY: By the contract; it is what `KBox::into_raw` gave.
        drop(unsafe { KBox::from_raw(domain.cast::<Nested>()) });
    }
}
