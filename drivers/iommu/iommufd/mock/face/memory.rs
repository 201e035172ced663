// SPDX-License-Identifier: GPL-2.0

//! Memory, as tests look at it.

use crate::{
    kapi::access_ops::{
        Buffer,
        PageSlots, //
    },
    mock::sys, //
};
use kernel::{
    bindings,
    error::to_result,
    page::PAGE_SIZE,
    prelude::*, //
};

/// What the process has mapped at an address.
///
/// # Errors
///
/// `EFAULT`: nothing, and what else the memory manager says.
fn look(uptr: u64) -> Result<sys::iommufd_mock_page> {
    let mut page = sys::iommufd_mock_page {
        page: core::ptr::null(),
        pfn: 0,
        pins: 0,
        compound: false,
    };
    // SAFETY: The function takes any address.
    to_result(unsafe { sys::iommufd_mock_look(uptr as c_ulong, &raw mut page) })?;
    Ok(page)
}

/// The physical address of a byte of the process.
///
/// # Errors
///
/// Those of [`look`].
pub(in crate::mock) fn address(uptr: u64) -> Result<u64> {
    Ok(look(uptr)?.pfn as u64 * PAGE_SIZE as u64 + uptr % PAGE_SIZE as u64)
}

/// How often a page of the process is pinned, if that can be told.
///
/// # Errors
///
/// Those of [`look`].
pub(in crate::mock) fn pins(uptr: u64) -> Result<Option<u32>> {
    let page = look(uptr)?;
    Ok((!page.compound).then_some(page.pins))
}

/// Room for the pages that an access pins.
pub(in crate::mock) struct Pages(KVVec<*mut bindings::page>);

impl Pages {
    /// Room for so many.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(in crate::mock) fn new(count: usize) -> Result<Self> {
        let null = core::ptr::null_mut();
        Ok(Self(KVVec::from_elem(null, count, GFP_KERNEL_ACCOUNT)?))
    }

    /// Where to list them.
    pub(in crate::mock) fn slots(&mut self) -> PageSlots<'_> {
        let count = self.0.len();
        // SAFETY: There is room for so many, which is borrowed as long.
        unsafe { PageSlots::new(self.0.as_mut_ptr(), count) }
    }

    /// Whether the process has all of them mapped, one after the other.
    ///
    /// # Errors
    ///
    /// `EBADE`: it has not. Those of [`look`].
    pub(in crate::mock) fn check(&self, uptr: u64) -> Result {
        for (number, page) in self.0.iter().enumerate() {
            let at = uptr.wrapping_add((number * PAGE_SIZE) as u64);
            if !core::ptr::eq(look(at)?.page, *page) {
                return Err(Error::from_errno(-(bindings::EBADE as c_int)));
            }
        }
        Ok(())
    }
}

/// Bytes that an access writes `to_memory`, or reads from there.
pub(in crate::mock) fn buffer(bytes: &mut [u8], to_memory: bool) -> Buffer<'_> {
    let (data, len) = (bytes.as_mut_ptr().cast(), bytes.len());
    // SAFETY: They are initialised, and borrowed as long.
    unsafe { Buffer::new(data, len, to_memory) }
}
