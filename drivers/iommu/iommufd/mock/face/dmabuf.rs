// SPDX-License-Identifier: GPL-2.0

//! An exporter of dma-bufs: memory that can be taken back, and given again.
//!
//! C header: [`include/linux/dma-buf.h`](srctree/include/linux/dma-buf.h)

use super::face_fn;
use crate::{
    kapi::dmabuf,
    mock::sys, //
};
use kernel::{
    bindings,
    error::{
        from_err_ptr,
        to_result, //
    },
    page::{
        page_align,
        PAGE_SIZE, //
    },
    prelude::*,
    sync::atomic::{
        ordering::Relaxed,
        AtomicFlag, //
    },
    warn_on, //
};

/// What is behind a dma-buf.
struct TestBuf {
    /// Of pages, one after the other: so large an allocation is aligned to its size.
    memory: KVec<u8>,
    /// Changed and looked at with the lock of the dma-buf held.
    is_revoked: AtomicFlag,
}

/// A reference to a dma-buf of ours.
///
/// # Invariants
///
/// It is one, and the reference is this one's.
struct Exported(*mut bindings::dma_buf);

impl Drop for Exported {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::dma_buf_put(self.0) }
    }
}

/// Whether a dma-buf is one of ours.
///
/// # Safety
///
/// `buf` is a dma-buf.
unsafe fn is_ours(buf: *const bindings::dma_buf) -> bool {
    // SAFETY: By the contract; what it is does not change.
    core::ptr::eq(unsafe { (*buf).ops }, &raw const sys::iommufd_mock_buf_ops)
}

/// # Safety
///
/// `buf` is a dma-buf of ours, and there for the duration of `'a`.
unsafe fn behind<'a>(buf: *const bindings::dma_buf) -> &'a TestBuf {
    // SAFETY: By the contract.
    unsafe { &*(*buf).priv_.cast::<TestBuf>() }
}

/// A descriptor of a new dma-buf of `length` bytes, rounded up to pages. It can be read and written
/// to, whatever else `flags` ask for.
///
/// # Errors
///
/// `EINVAL`: that is nothing, or too much. `ENOMEM`, `EMFILE`.
pub(in crate::mock) fn export(length: u32, flags: u32) -> Result<i32> {
    const MOST: usize = 512 * PAGE_SIZE;
    let length = page_align(length as usize).ok_or(EINVAL)?;
    if length == 0 || length > MOST {
        return Err(EINVAL);
    }
    let behind = TestBuf {
        memory: KVec::from_elem(0, length, GFP_KERNEL)?,
        is_revoked: AtomicFlag::new(false),
    };
    let private = KBox::into_raw(KBox::new(behind, GFP_KERNEL)?);
    let flags = (flags | bindings::O_RDWR) as c_int;
    // SAFETY: The dma-buf takes what is behind it over, if there is one.
    let buf = from_err_ptr(unsafe { sys::iommufd_mock_export(private.cast(), length, flags) });
    let buf = buf.inspect_err(|_| {
        // SAFETY: It is not the dma-buf's, for there is none.
        drop(unsafe { KBox::from_raw(private) });
    })?;
    // INVARIANT: Just made.
    let buf = Exported(buf);
    // SAFETY: It is a dma-buf.
    let fd = unsafe { bindings::dma_buf_fd(buf.0, flags) };
    to_result(fd)?;
    // The descriptor has the reference.
    core::mem::forget(buf);
    Ok(fd)
}

/// Takes the memory of a dma-buf back from all who use it, or lets others have it again.
///
/// # Errors
///
/// `EBADF`, `EINVAL`: it is no dma-buf. `EOPNOTSUPP`: it is not one of ours.
pub(in crate::mock) fn revoke(fd: i32, is_revoked: bool) -> Result {
    // SAFETY: The function takes any number.
    let buf = from_err_ptr(unsafe { bindings::dma_buf_get(fd) })?;
    // INVARIANT: Nothing is done with it unless it is one of ours, but to give it back.
    let buf = Exported(buf);
    // SAFETY: It is a dma-buf.
    if !unsafe { is_ours(buf.0) } {
        return Err(EOPNOTSUPP);
    }
    // SAFETY: It is there; its lock does not change.
    let lock = unsafe { (*buf.0).resv };
    // SAFETY: As above. Without a context, it cannot fail.
    warn_on!(unsafe { bindings::dma_resv_lock(lock, core::ptr::null_mut()) } != 0);
    // SAFETY: It is one of ours, and there.
    unsafe { behind(buf.0) }
        .is_revoked
        .store(is_revoked, Relaxed);
    // SAFETY: It is there, and locked.
    unsafe { bindings::dma_buf_invalidate_mappings(buf.0) };
    // SAFETY: It was locked above.
    unsafe { bindings::dma_resv_unlock(lock) };
    Ok(())
}

/// Where the memory of an attachment's dma-buf is, if it is one of ours.
///
/// # Safety
///
/// `attach` is an attachment whose dma-buf is locked; `span` can be written to.
unsafe fn address(
    attach: *mut bindings::dma_buf_attachment,
    span: *mut bindings::phys_vec,
) -> c_int {
    // SAFETY: By the contract.
    let buf = unsafe { (*attach).dmabuf };
    // SAFETY: It is a dma-buf, for it has an attachment.
    if !unsafe { is_ours(buf) } {
        return EOPNOTSUPP.to_errno();
    }
    // SAFETY: It is one of ours, and there as long as the attachment.
    let behind = unsafe { behind(buf) };
    if behind.is_revoked.load(Relaxed) {
        return ENODEV.to_errno();
    }
    // SAFETY: It is an address of the kernel's own memory.
    let paddr = unsafe { sys::iommufd_mock_address(behind.memory.as_ptr().cast()) };
    // SAFETY: By the contract.
    unsafe {
        span.write(bindings::phys_vec {
            paddr,
            len: behind.memory.len(),
        })
    };
    0
}

/// Has this driver take our dma-bufs as it takes VFIO's.
pub(in crate::mock) fn admit() {
    dmabuf::TEST_EXPORTER.populate(address);
}

face_fn! {
    /// Ends what is behind a dma-buf.
    ///
    /// # Safety
    ///
    /// `buf` is one of ours, and goes.
    unsafe extern "C" fn iommufd_mock_buf_release(buf: *mut bindings::dma_buf) {
        // SAFETY: By the contract; it is what `KBox::into_raw` gave.
        drop(unsafe { KBox::from_raw((*buf).priv_.cast::<TestBuf>()) });
    }
}
