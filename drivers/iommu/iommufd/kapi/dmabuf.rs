// SPDX-License-Identifier: GPL-2.0

//! The BARs of PCI devices, as VFIO gives them to other devices' DMA. Would become
//! `rust/kernel/dma_buf.rs`.
//!
//! C header: [`include/linux/dma-buf.h`](srctree/include/linux/dma-buf.h)

use crate::{
    kapi::run::Span,
    sys, //
};
use core::ptr::NonNull;
use kernel::{
    bindings,
    device::Device,
    error::{
        from_err_ptr,
        to_result, //
    },
    page::PAGE_SIZE,
    prelude::*,
    sync::Arc,
    warn_on, //
};

/// As `iommufd_bar_address()`, for dma-bufs of who else can tell.
#[cfg(IOMMUFD_MOCK)]
type Ask = unsafe fn(*mut bindings::dma_buf_attachment, *mut bindings::phys_vec) -> c_int;

/// Who that is: tests, whose memory is never unplugged.
#[cfg(IOMMUFD_MOCK)]
pub(crate) static TEST_EXPORTER: kernel::sync::SetOnce<Ask> = kernel::sync::SetOnce::new();

/// Where the memory is that the dma-buf of an attachment stands for.
///
/// # Safety
///
/// `attach` is an attachment whose dma-buf is locked; `span` can be written to.
unsafe fn ask(attach: *mut bindings::dma_buf_attachment, span: *mut bindings::phys_vec) -> c_int {
    #[cfg(IOMMUFD_MOCK)]
    if let Some(ask) = TEST_EXPORTER.as_ref() {
        // SAFETY: By the contract.
        let answer = unsafe { ask(attach, span) };
        if answer != EOPNOTSUPP.to_errno() {
            return answer;
        }
    }
    // SAFETY: By the contract.
    unsafe { sys::iommufd_bar_address(attach, span) }
}

/// A dma-buf.
///
/// # Invariants
///
/// This owns a reference to it.
pub(crate) struct DmaBuf(NonNull<bindings::dma_buf>);

// SAFETY: A dma-buf belongs to no thread.
unsafe impl Send for DmaBuf {}
// SAFETY: As above; through a shared reference only its length is read, which is constant.
unsafe impl Sync for DmaBuf {}

impl DmaBuf {
    /// The dma-buf behind a file descriptor of the current process, if it is one.
    pub(crate) fn of_fd(fd: i32) -> Option<Self> {
        // SAFETY: The function takes any number.
        let buf = from_err_ptr(unsafe { bindings::dma_buf_get(fd) }).ok()?;
        // INVARIANT: The reference is the caller's.
        NonNull::new(buf).map(Self)
    }

    /// Whether devices may read, and if `write` is set write to, it: as `mmap()` would let the
    /// process.
    ///
    /// # Errors
    ///
    /// `EACCES`: it is not open for reading. `EPERM`: it is not open for writing.
    pub(crate) fn check_access(&self, write: bool) -> Result {
        // SAFETY: By the type invariant it is there; its file is constant.
        let file = unsafe { (*self.0.as_ptr()).file };
        // SAFETY: As above, and the file is there as long as the dma-buf is.
        to_result(unsafe { sys::iommufd_check_access(file, write) })
    }

    /// Its length in bytes.
    pub(crate) fn len(&self) -> u64 {
        // SAFETY: By the type invariant it is there; its length is constant.
        unsafe { (*self.0.as_ptr()).size as u64 }
    }
}

impl Drop for DmaBuf {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::dma_buf_put(self.0.as_ptr()) }
    }
}

/// Who uses the memory of a device, and has to let go of it when told.
pub(crate) trait Importer: Send + Sync + 'static {
    /// Stops all DMA to it, for good. Called with locks of the exporter's held, and those of a
    /// process's memory.
    fn revoke(&self);

    /// Whether that is done. Does not wait, and may say `false` while it is being done.
    fn is_revoked(&self) -> bool;
}

/// A use of a dma-buf, which ends when this is dropped.
///
/// # Invariants
///
/// `raw` is an attachment to `buf` that is pinned and that this owns; its importer is `_importer`.
pub(crate) struct DmaBufAttachment<T: Importer> {
    raw: NonNull<bindings::dma_buf_attachment>,
    buf: DmaBuf,
    _importer: Arc<T>,
}

// SAFETY: An attachment belongs to no thread.
unsafe impl<T: Importer> Send for DmaBufAttachment<T> {}
// SAFETY: As above; its methods take the lock of the dma-buf.
unsafe impl<T: Importer> Sync for DmaBufAttachment<T> {}

/// Holds the lock of a dma-buf, under which it is moved and revoked.
struct Locked<'a>(&'a DmaBuf);

impl<'a> Locked<'a> {
    fn new(buf: &'a DmaBuf) -> Self {
        // SAFETY: By the invariant of `DmaBuf`; `resv` is constant.
        let resv = unsafe { (*buf.0.as_ptr()).resv };
        // SAFETY: As above.
        let error = unsafe { bindings::dma_resv_lock(resv, core::ptr::null_mut()) };
        // Without a context, locking cannot fail.
        warn_on!(error != 0);
        Self(buf)
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // SAFETY: As in `new`.
        let resv = unsafe { (*self.0 .0.as_ptr()).resv };
        // SAFETY: `new` has locked it.
        unsafe { bindings::dma_resv_unlock(resv) }
    }
}

impl<T: Importer> DmaBufAttachment<T> {
    const OPS: bindings::dma_buf_attach_ops = bindings::dma_buf_attach_ops {
        allow_peer2peer: true,
        invalidate_mappings: Some(Self::invalidate),
    };

    /// Begins to use `buf` on behalf of `dev`.
    ///
    /// # Errors
    ///
    /// `ENODEV`: it was revoked. `EOPNOTSUPP`: it cannot be used by other devices. `ENOMEM`, and
    /// what its exporter says.
    pub(crate) fn new(buf: DmaBuf, dev: &Device, importer: Arc<T>) -> Result<Self> {
        // SAFETY: Both are there; the importer is there until after the attachment's end.
        let raw = from_err_ptr(unsafe {
            bindings::dma_buf_dynamic_attach(
                buf.0.as_ptr(),
                core::ptr::from_ref(dev).cast_mut().cast(),
                &Self::OPS,
                Arc::as_ptr(&importer).cast_mut().cast(),
            )
        })?;
        let pinned = {
            let _lock = Locked::new(&buf);
            // SAFETY: The attachment was just made, and the lock is held.
            to_result(unsafe { bindings::dma_buf_pin(raw) })
        };
        if let Err(e) = pinned {
            // SAFETY: The attachment was just made, for this dma-buf.
            unsafe { bindings::dma_buf_detach(buf.0.as_ptr(), raw) };
            return Err(e);
        }
        // INVARIANT: As was just done.
        Ok(Self {
            raw: NonNull::new(raw).ok_or(EINVAL)?,
            buf,
            _importer: importer,
        })
    }

    /// `len` bytes from `start` on of the part of a BAR that the dma-buf stands for.
    ///
    /// # Errors
    ///
    /// * `ENODEV`: it was revoked. `EOPNOTSUPP`: it is not that of a BAR, or of several parts.
    /// * `EINVAL`: there are fewer bytes, or they are not made of pages.
    pub(crate) fn span(&self, start: u64, len: u64) -> Result<Span> {
        let mut bar = bindings::phys_vec::default();
        let _lock = Locked::new(&self.buf);
        // SAFETY: By the type invariant, the attachment is there; the lock is held.
        to_result(unsafe { ask(self.raw.as_ptr(), &raw mut bar) })?;
        let address = bar.paddr.checked_add(start).ok_or(EINVAL)?;
        let end = start.checked_add(len).ok_or(EINVAL)?;
        if len == 0 || end > bar.len as u64 || (address | len) % PAGE_SIZE as u64 != 0 {
            return Err(EINVAL);
        }
        Ok(Span { address, len })
    }

    /// # Safety
    ///
    /// `attach` is an attachment that [`Self::new`] has made.
    unsafe extern "C" fn invalidate(attach: *mut bindings::dma_buf_attachment) {
        // SAFETY: By the contract.
        let importer = unsafe { (*attach).importer_priv }.cast::<T>();
        // SAFETY: `new` has set it to what is there until after the attachment's end.
        unsafe { &*importer }.revoke();
    }
}

impl<T: Importer> Drop for DmaBufAttachment<T> {
    fn drop(&mut self) {
        {
            let _lock = Locked::new(&self.buf);
            // SAFETY: By the type invariant; the lock is held.
            unsafe { bindings::dma_buf_unpin(self.raw.as_ptr()) };
        }
        // SAFETY: By the type invariant.
        unsafe { bindings::dma_buf_detach(self.buf.0.as_ptr(), self.raw.as_ptr()) }
    }
}
