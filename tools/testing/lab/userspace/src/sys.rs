// SPDX-License-Identifier: GPL-2.0

//! The driver's own functions in C, on the machine.

#![allow(non_camel_case_types, clippy::missing_safety_doc)]

pub(crate) use kernel::bindings::*;
use kernel::ffi::{
    c_int,
    c_ulong,
    c_void, //
};
use kernel::machine;

pub(crate) unsafe fn iommufd_add_pin(pfn: c_ulong) -> c_int {
    machine::pin(pfn as u64);
    0
}

pub(crate) unsafe fn iommufd_unpin(pfn: c_ulong, npages: c_ulong, _written: bool) {
    (pfn..pfn + npages).for_each(|pfn| machine::unpin(pfn as u64));
}

pub(crate) unsafe fn iommufd_pfn_to_page(pfn: c_ulong) -> *mut page {
    core::ptr::without_provenance_mut(pfn)
}

pub(crate) unsafe fn iommufd_copy_to_page(
    pfn: c_ulong,
    offset: usize,
    _: *const c_void,
    len: usize,
) {
    machine::copy(pfn as u64, offset, len);
}

pub(crate) unsafe fn iommufd_copy_from_page(
    _: *mut c_void,
    pfn: c_ulong,
    offset: usize,
    len: usize,
) {
    machine::copy(pfn as u64, offset, len);
}

pub(crate) struct iommufd_access_ops {
    pub(crate) pins: bool,
    pub(crate) unmap: Option<unsafe extern "C" fn(*mut c_void, c_ulong, c_ulong)>,
}

impl iommufd_access_ops {
    pub(crate) fn needs_pin_pages(&self) -> u8 {
        self.pins.into()
    }
}
