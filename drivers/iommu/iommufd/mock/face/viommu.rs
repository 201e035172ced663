// SPDX-License-Identifier: GPL-2.0

//! Virtual IOMMUs of the IOMMU in software. What they invalidate is what devices keep of
//! translations.
//!
//! C header: [`include/linux/iommufd.h`](srctree/include/linux/iommufd.h)

use super::{
    device,
    err_ptr,
    face_fn,
    nested,
    user_data, //
};
use crate::{
    kapi::device::OwnedDevice,
    mock::sys,
    sys::{
        _iommufd_alloc_mmap,
        _iommufd_destroy_mmap, //
        iommufd_hw_queue,
        iommufd_viommu,
        iommufd_viommu_find_dev,
        iommufd_viommu_get_vdev_id,
        iommufd_viommu_report_event,
    }, //
};
use core::{
    mem::{
        offset_of,
        size_of,
        size_of_val, //
    },
    ptr::NonNull, //
};
use kernel::{
    bindings,
    error::to_result,
    page::PAGE_SIZE,
    prelude::*,
    sync::atomic::ordering::Relaxed, //
};

/// `struct iommu_viommu_selftest`.
#[repr(C)]
#[derive(zerocopy_derive::FromBytes, zerocopy_derive::IntoBytes, zerocopy_derive::Immutable)]
struct Config {
    in_data: u32,
    out_data: u32,
    out_mmap_offset: u64,
    out_mmap_length: u64,
}
static_assert!(size_of::<Config>() == size_of::<sys::iommu_viommu_selftest>());

/// `struct iommu_viommu_invalidate_selftest`.
#[repr(C)]
#[derive(zerocopy_derive::FromBytes, zerocopy_derive::IntoBytes)]
struct Request {
    flags: u32,
    vdev_id: u32,
    cache_id: u32,
}
static_assert!(size_of::<Request>() == size_of::<sys::iommu_viommu_invalidate_selftest>());

/// How much of a virtual IOMMU can be mapped.
const LENGTH: usize = 2 * PAGE_SIZE;

/// A virtual IOMMU, as the core has it and, behind that, as this one does: zeroes at first.
#[repr(C)]
pub(super) struct MockViommu {
    /// First, so that both have one address.
    core: iommufd_viommu,
    /// What it is on.
    pub(super) parent: *mut bindings::iommu_domain,
    /// Its queues that are there. One comes or goes at a time.
    pub(super) queues: [*mut iommufd_hw_queue; sys::IOMMU_TEST_HW_QUEUE_MAX as usize],
    /// What can be mapped of it, if anything.
    pages: *mut c_void,
    /// Where.
    offset: c_ulong,
}

face_fn! {
    /// How long a virtual IOMMU is.
    ///
    /// # Safety
    ///
    /// None.
    unsafe extern "C" fn iommufd_mock_viommu_size(
        _dev: *mut bindings::device,
        kind: bindings::iommu_viommu_type,
    ) -> usize {
        match kind {
            sys::IOMMU_VIOMMU_TYPE_SELFTEST => size_of::<MockViommu>(),
            _ => 0,
        }
    }
}

/// Lets pages be mapped that begin with a number.
///
/// # Safety
///
/// `viommu` is being initialised.
unsafe fn offer_pages(viommu: *mut MockViommu, number: u32) -> Result {
    let gfp = bindings::GFP_KERNEL | bindings::__GFP_ZERO;
    // SAFETY: It has no conditions.
    let pages = unsafe { bindings::alloc_pages_exact_noprof(LENGTH, gfp) };
    if pages.is_null() {
        return Err(ENOMEM);
    }
    // SAFETY: By the contract.
    unsafe { (*viommu).pages = pages };
    // SAFETY: They were just allocated, and are this function's alone.
    unsafe { pages.cast::<u32>().write(number) };
    // SAFETY: It is the kernel's address of memory.
    let address = unsafe { sys::iommufd_mock_address(pages) };
    // SAFETY: By the contract.
    let (ictx, owner) = unsafe { ((*viommu).core.ictx, &raw mut (*viommu).core.obj) };
    // SAFETY: It is an object of the context, and takes it back when it ends.
    to_result(unsafe {
        _iommufd_alloc_mmap(ictx, owner, address, LENGTH, &raw mut (*viommu).offset)
    })
}

/// Undoes [`offer_pages`], as far as that has come.
///
/// # Safety
///
/// `viommu` is not used any more.
unsafe fn take_pages_back(viommu: *mut MockViommu) {
    // SAFETY: By the contract.
    let (ictx, offset, pages) = unsafe { ((*viommu).core.ictx, (*viommu).offset, (*viommu).pages) };
    if offset != 0 {
        // SAFETY: As in `offer_pages`; nobody has it mapped who does not use it.
        unsafe { _iommufd_destroy_mmap(ictx, viommu.cast(), offset) };
    }
    if !pages.is_null() {
        // SAFETY: They were allocated there.
        unsafe { bindings::free_pages_exact(pages, LENGTH) };
    }
}

/// What userspace gives comes back to it, and is in what it can map.
///
/// # Safety
///
/// `viommu` is being initialised.
unsafe fn init(viommu: *mut MockViommu, data: &bindings::iommu_user_data) -> Result {
    const MIN: usize = offset_of!(Config, out_mmap_offset);
    let mut config: Config = user_data::read::<_, MIN>(data, sys::IOMMU_VIOMMU_TYPE_SELFTEST)?;
    // SAFETY: By the contract.
    unsafe { offer_pages(viommu, config.in_data) }?;
    config.out_data = config.in_data;
    // SAFETY: By the contract.
    config.out_mmap_offset = unsafe { (*viommu).offset } as u64;
    config.out_mmap_length = LENGTH as u64;
    user_data::write(data, &config)
}

face_fn! {
    /// Initialises a virtual IOMMU.
    ///
    /// # Safety
    ///
    /// `viommu` is as the core makes it; `user_data` is NULL or valid.
    unsafe extern "C" fn iommufd_mock_init_viommu(
        viommu: *mut iommufd_viommu,
        parent: *mut bindings::iommu_domain,
        user_data: *const bindings::iommu_user_data,
    ) -> c_int {
        let mock = viommu.cast::<MockViommu>();
        // SAFETY: By the contract, and of that length.
        unsafe { (*mock).parent = parent };
        // SAFETY: By the contract.
        if let Some(data) = unsafe { user_data.as_ref() } {
            // SAFETY: By the contract.
            if let Err(e) = unsafe { init(mock, data) } {
                // SAFETY: It will never be used.
                unsafe { take_pages_back(mock) };
                return e.to_errno();
            }
        }
        // SAFETY: By the contract.
        unsafe { (*viommu).ops = &raw const sys::iommufd_mock_viommu_ops };
        0
    }
}

face_fn! {
    /// Ends a virtual IOMMU.
    ///
    /// # Safety
    ///
    /// `viommu` is one of this IOMMU's, and not used any more.
    unsafe extern "C" fn iommufd_mock_end_viommu(viommu: *mut iommufd_viommu) {
        // SAFETY: By the contract.
        unsafe { take_pages_back(viommu.cast()) }
    }
}

face_fn! {
    /// Makes a domain of a virtual IOMMU.
    ///
    /// # Safety
    ///
    /// `viommu` is one of this IOMMU's; `user_data` is valid.
    unsafe extern "C" fn iommufd_mock_viommu_nested(
        viommu: *mut iommufd_viommu,
        flags: u32,
        user_data: *const bindings::iommu_user_data,
    ) -> *mut bindings::iommu_domain {
        // SAFETY: By the contract.
        let data = unsafe { &*user_data };
        nested::alloc(viommu, flags, data).unwrap_or_else(err_ptr)
    }
}

/// Tells of an event of a device, which stays attached meanwhile.
///
/// # Errors
///
/// `ENOENT`: it is not on a domain of a virtual IOMMU, or not known to that any more. Those of
/// `iommufd_viommu_report_event()`.
pub(in crate::mock) fn report_event(dev: &OwnedDevice) -> Result {
    let dev = dev.as_ptr();
    // SAFETY: It is a bound device.
    let domain = unsafe { bindings::iommu_get_domain_for_dev(dev) };
    // SAFETY: It is on it, or on one that is there for good.
    let viommu = unsafe { nested::viommu_of(domain) }.ok_or(ENOENT)?.as_ptr();
    let mut number = 0;
    // SAFETY: It is not ended as long as there are domains of it.
    to_result(unsafe { iommufd_viommu_get_vdev_id(viommu, dev, &raw mut number) })?;
    let mut event = sys::iommu_viommu_event_selftest {
        // CAST: That is all that there is room for.
        virt_id: number as u32,
    };
    let (at, len) = (&raw mut event, size_of_val(&event));
    let kind = sys::IOMMU_VEVENTQ_TYPE_SELFTEST;
    // SAFETY: As above; there are so many bytes.
    to_result(unsafe { iommufd_viommu_report_event(viommu, kind, at.cast(), len) })
}

/// Has a device forget translations.
///
/// # Safety
///
/// `viommu` is one of this IOMMU's.
unsafe fn invalidate(
    viommu: *mut iommufd_viommu,
    list: &bindings::iommu_user_data_array,
    index: u32,
) -> Result {
    const MIN: usize = size_of::<Request>();
    let kind = sys::IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST;
    let request: Request = user_data::read_entry::<_, MIN>(list, kind, index)?;
    if request.flags & !sys::IOMMU_TEST_INVALIDATE_FLAG_ALL != 0 {
        return Err(EOPNOTSUPP);
    }
    if request.cache_id > sys::MOCK_DEV_CACHE_ID_MAX {
        return Err(EINVAL);
    }
    let all = request.flags & sys::IOMMU_TEST_INVALIDATE_FLAG_ALL != 0;
    let forget = |dev: *mut bindings::device| {
        // SAFETY: Only devices of this IOMMU are known to its virtual IOMMUs, which is locked.
        let cache = unsafe { device::cache(dev) };
        let first = request.cache_id as usize;
        let (skipped, count) = if all { (0, cache.len()) } else { (first, 1) };
        let entries = cache.iter().skip(skipped).take(count);
        entries.for_each(|entry| entry.store(0, Relaxed));
    };
    // SAFETY: By the contract.
    let devices = unsafe { &raw mut (*viommu).vdevs };
    // SAFETY: They are initialised.
    unsafe { bindings::xa_lock(devices) };
    // SAFETY: As above, and locked.
    let dev = unsafe { iommufd_viommu_find_dev(viommu, request.vdev_id as c_ulong) };
    let found = NonNull::new(dev).map(|dev| forget(dev.as_ptr()));
    // SAFETY: They were locked here.
    unsafe { bindings::xa_unlock(devices) };
    found.ok_or(EINVAL)
}

/// How many requests were carried out, and what is wrong with the next one.
///
/// # Safety
///
/// As [`invalidate`].
unsafe fn invalidate_all(
    viommu: *mut iommufd_viommu,
    list: &bindings::iommu_user_data_array,
) -> (u32, Result) {
    if list.type_ != sys::IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST {
        return (0, Err(EINVAL));
    }
    for index in 0..list.entry_num {
        // SAFETY: By the contract.
        if let Err(e) = unsafe { invalidate(viommu, list, index) } {
            return (index, Err(e));
        }
    }
    (list.entry_num, Ok(()))
}

face_fn! {
    /// Has devices forget translations.
    ///
    /// # Safety
    ///
    /// `viommu` is one of this IOMMU's; `array` is valid.
    unsafe extern "C" fn iommufd_mock_viommu_invalidate(
        viommu: *mut iommufd_viommu,
        array: *mut bindings::iommu_user_data_array,
    ) -> c_int {
        // SAFETY: By the contract.
        let array = unsafe { &mut *array };
        // SAFETY: By the contract.
        let (done, result) = unsafe { invalidate_all(viommu, array) };
        array.entry_num = done;
        result.map_or_else(Error::to_errno, |()| 0)
    }
}
