// SPDX-License-Identifier: GPL-2.0

//! What drivers without DMA of their own do with the memory of an address space. Would become
//! `rust/kernel/iommu/access.rs`.
//!
//! C header: [`include/linux/iommufd.h`](srctree/include/linux/iommufd.h)

use super::{
    pin::PagePtr,
    run::PinnedRun,
    rwsem::{
        new_rwsem,
        RwSemaphore, //
    },
};
use crate::{
    iova::IovaRange,
    sys, //
};
use core::{
    marker::PhantomData,
    mem::MaybeUninit, //
};
use kernel::{
    page::{
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    prelude::*,
    sync::Arc, //
};

/// How a driver wants to be asked to unpin. Dropping this waits until nobody asks any more, and
/// nobody will.
pub(crate) struct UnmapCallback(Arc<Listener>);

/// Someone who pins, and can be asked to unpin as long as his [`UnmapCallback`] is there.
///
/// # Invariants
///
/// As long as `is_open` is set, `ops` is valid, and its function may be called with `data`. Only
/// dropping the [`UnmapCallback`] clears it.
#[pin_data]
pub(crate) struct Listener {
    ops: *const sys::iommufd_access_ops,
    data: *mut c_void,
    /// Held for reading while the function is called.
    #[pin]
    is_open: RwSemaphore<bool>,
}

// SAFETY: The driver's function may be called by any thread.
unsafe impl Send for Listener {}
// SAFETY: And by many at once.
unsafe impl Sync for Listener {}

impl UnmapCallback {
    /// # Safety
    ///
    /// `ops` is valid, and its function may be called with `data`, until the result is dropped.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) unsafe fn new(
        ops: *const sys::iommufd_access_ops,
        data: *mut c_void,
    ) -> Result<Self> {
        let listener = Arc::pin_init(
            // INVARIANT: By the contract.
            pin_init!(Listener {
                ops,
                data,
                is_open <- new_rwsem!(true, c"iommufd_listener"),
            }),
            GFP_KERNEL_ACCOUNT,
        )?;
        Ok(Self(listener))
    }

    /// Whether the driver pins. If it does not, it reads and writes.
    pub(crate) fn pins(&self) -> bool {
        // SAFETY: By the type invariant, as this is there.
        unsafe { (*self.0.ops).needs_pin_pages() != 0 }
    }

    /// For those who will ask.
    pub(crate) fn listener(&self) -> &Arc<Listener> {
        &self.0
    }

    /// Asks for everything.
    pub(crate) fn ask_for_all(&self) {
        // SAFETY: As this is borrowed, it is not dropped meanwhile.
        unsafe { self.0.call(IovaRange::ALL) }
    }
}

impl Drop for UnmapCallback {
    fn drop(&mut self) {
        *self.0.is_open.write() = false;
    }
}

impl Listener {
    /// Asks for what is in `range`, if there is still somebody to ask.
    ///
    /// # Errors
    ///
    /// `EINTR`: a fatal signal came while the [`UnmapCallback`] was being dropped.
    pub(crate) fn ask(&self, range: IovaRange) -> Result {
        let is_open = self.is_open.read_killable()?;
        if *is_open {
            // SAFETY: It stays so as long as it is locked.
            unsafe { self.call(range) };
        }
        Ok(())
    }

    /// Asks the driver to unpin whatever it has in `range`; all 2^64 addresses are one too many
    /// to say, and go as 2^64 - 1.
    ///
    /// # Safety
    ///
    /// `is_open` is set, and not cleared meanwhile.
    unsafe fn call(&self, range: IovaRange) {
        let length = match range.len() {
            0 => c_ulong::MAX,
            length => length as c_ulong,
        };
        // SAFETY: By the contract and the type invariant.
        if let Some(unmap) = unsafe { (*self.ops).unmap } {
            // SAFETY: As above.
            unsafe { unmap(self.data, range.first() as c_ulong, length) }
        }
    }
}

/// Where a driver wants pointers to pages written to, one after the other.
pub(crate) struct PageSlots<'a>(&'a mut [MaybeUninit<PagePtr>]);

impl PageSlots<'_> {
    /// # Safety
    ///
    /// `slots` has room for `npages` pointers, and is the result's alone while that lives.
    pub(crate) unsafe fn new(slots: *mut PagePtr, npages: usize) -> Self {
        // SAFETY: By the contract.
        Self(unsafe { core::slice::from_raw_parts_mut(slots.cast(), npages) })
    }
}

/// A driver's buffer on its way to memory, or from there.
///
/// # Invariants
///
/// The `left` bytes from `next` on are this one's alone, and initialised.
pub(crate) struct Buffer<'a> {
    next: *mut u8,
    left: usize,
    to_memory: bool,
    _borrowed: PhantomData<&'a mut [u8]>,
}

impl Buffer<'_> {
    /// The `len` bytes at `data`, to be written `to_memory`, or else to be read from there.
    ///
    /// # Safety
    ///
    /// They are initialised, and the result's alone while that lives.
    pub(crate) unsafe fn new(data: *mut c_void, len: usize, to_memory: bool) -> Self {
        // INVARIANT: By the contract.
        Self {
            next: data.cast(),
            left: len,
            to_memory,
            _borrowed: PhantomData,
        }
    }

    /// Whether memory is written.
    pub(crate) fn is_to_memory(&self) -> bool {
        self.to_memory
    }
}

impl PinnedRun {
    /// Puts its pages from number `skip` on into `slots`, up to `most` and as many as there is room
    /// for, and says how many that was.
    pub(crate) fn list(&self, skip: u64, most: u64, slots: &mut PageSlots<'_>) -> u64 {
        let room = core::mem::take(&mut slots.0);
        let left = self.npages().saturating_sub(skip);
        let count = left.min(most).min(room.len() as u64);
        // CAST: No larger than the length of a slice.
        let (now, later) = room.split_at_mut(count as usize);
        // SAFETY: The pages exist, for they are pinned.
        let first = unsafe { sys::iommufd_pfn_to_page((self.pfn() + skip) as c_ulong) };
        for (number, slot) in now.iter_mut().enumerate() {
            // Neighbours have neighbouring `struct page`s, see `pin.rs`.
            slot.write(first.wrapping_add(number));
        }
        slots.0 = later;
        count
    }

    /// Copies up to `most` bytes between its memory from byte `from` on and `buffer`, and says how
    /// many that was.
    ///
    /// # Errors
    ///
    /// `EPERM`: it may not be written to.
    pub(crate) fn copy(&self, from: u64, most: u64, buffer: &mut Buffer<'_>) -> Result<u64> {
        if buffer.to_memory && !self.writable() {
            return Err(EPERM);
        }
        let most = most.min(self.len().saturating_sub(from));
        let mut done = 0;
        while done < most && buffer.left > 0 {
            let at = from + done;
            // CAST: Both are smaller than a page.
            let offset = at as usize % PAGE_SIZE;
            let len = (PAGE_SIZE - offset)
                .min(buffer.left)
                .min((most - done) as usize);
            let pfn = (self.pfn() + (at >> PAGE_SHIFT)) as c_ulong;
            if buffer.to_memory {
                // SAFETY: The page is pinned for writing; what is copied does not cross its end,
                // and is in the buffer.
                unsafe { sys::iommufd_copy_to_page(pfn, offset, buffer.next.cast(), len) };
            } else {
                // SAFETY: As above, for reading.
                unsafe { sys::iommufd_copy_from_page(buffer.next.cast(), pfn, offset, len) };
            }
            // INVARIANT: What was copied is not used again.
            buffer.next = buffer.next.wrapping_add(len);
            buffer.left -= len;
            done += len as u64;
        }
        Ok(done)
    }
}
