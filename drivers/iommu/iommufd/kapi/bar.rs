// SPDX-License-Identifier: GPL-2.0

//! The BARs of devices, as VFIO has mapped them for a process: found by address, and watched.
//! Would become `rust/kernel/mm/mmu_notifier.rs`.
//!
//! Nobody pins them. What takes one out of the page table (VFIO, before it stops to answer;
//! `munmap()`; the end of the process) is told of to whoever watches, and waits for him.
//!
//! C header: [`include/linux/mmu_notifier.h`](srctree/include/linux/mmu_notifier.h)

use crate::{
    kapi::{
        account::Payer,
        dmabuf::Importer,
        run::Span,
        spans::Spans,
        task, //
    },
    sys, //
};
use kernel::{
    bindings,
    error::to_result,
    page::PAGE_SIZE,
    prelude::*,
    sync::Arc,
    types::Opaque, //
};

/// The parameter `map_device_memory`, as it is at this moment.
pub(crate) fn are_mapped_by_address() -> bool {
    // SAFETY: Has no preconditions.
    unsafe { sys::iommufd_maps_device_memory() }
}

/// Whether VFIO has mapped the memory of a device at `vaddr` of `process`.
pub(crate) fn is_at(process: &Payer, vaddr: u64) -> bool {
    process.memory().is_ok_and(|memory| {
        // SAFETY: The memory has users as long as we hold it.
        unsafe { sys::iommufd_is_bar(memory.as_raw(), vaddr as c_ulong) }
    })
}

/// Where the `len` bytes are that VFIO has mapped at `vaddr` of `process`; both are multiples of
/// the page size. Whoever asks watches them, and has looked at none before he did.
///
/// # Errors
///
/// * `EFAULT`: not all of it is the memory of a device, or may be read, or if `write`, written to;
///   or the device does not answer; or the process is gone.
/// * `ENOMEM`. `EINTR`: a fatal signal.
pub(super) fn spans(process: &Payer, vaddr: u64, len: u64, write: bool) -> Result<Spans> {
    let memory = process.memory()?;
    let mut spans = Spans::new();
    let mut done = 0;
    while done < len {
        task::resched_killable()?;
        let mut bar = bindings::phys_vec::default();
        let (at, left) = (vaddr.wrapping_add(done) as c_ulong, (len - done) as c_ulong);
        // SAFETY: The memory has users as long as we hold it; `bar` can be written to.
        let ret = unsafe { sys::iommufd_find_bar(memory.as_raw(), at, left, write, &raw mut bar) };
        to_result(ret)?;
        let (address, len) = (bar.paddr, bar.len as u64);
        if len == 0 || (address | len) % PAGE_SIZE as u64 != 0 {
            return Err(EFAULT);
        }
        spans.push(Span { address, len })?;
        done += len;
    }
    Ok(spans)
}

/// Has an importer let go of what leaves the page table of a process, until this is dropped.
///
/// # Invariants
///
/// The notifier of the subscription is in the list of a process's memory.
pub(crate) struct Watch<T: Importer>(Pin<KBox<Subscription<T>>>);

#[pin_data]
#[repr(C)]
struct Subscription<T: Importer> {
    /// First, so that both have one address.
    #[pin]
    raw: Opaque<bindings::mmu_interval_notifier>,
    importer: Arc<T>,
}

// SAFETY: A notifier belongs to no thread.
unsafe impl<T: Importer> Send for Watch<T> {}
// SAFETY: As above; nothing can be done with a shared reference.
unsafe impl<T: Importer> Sync for Watch<T> {}

impl<T: Importer> Watch<T> {
    const OPS: bindings::mmu_interval_notifier_ops = bindings::mmu_interval_notifier_ops {
        invalidate: Some(Self::invalidate),
        invalidate_start: None,
        invalidate_finish: None,
    };

    /// Begins to watch `len` bytes at `vaddr` of `process`. What has begun to leave the page table
    /// before is not there any more when this returns.
    ///
    /// # Errors
    ///
    /// `EFAULT`: the process is gone. `EOVERFLOW`: the addresses are none. `ENOMEM`. `EINTR`: a
    /// fatal signal.
    pub(super) fn new(process: &Payer, vaddr: u64, len: u64, importer: Arc<T>) -> Result<Self> {
        let memory = process.memory()?;
        let subscription = KBox::pin_init(
            pin_init!(Subscription {
                raw: Opaque::zeroed(),
                importer,
            }),
            GFP_KERNEL_ACCOUNT,
        )?;
        let raw = subscription.raw.get();
        let (at, len) = (vaddr as c_ulong, len as c_ulong);
        // SAFETY: The memory has users as long as we hold it. The notifier is pinned, and out of
        // the list before it goes.
        to_result(unsafe { sys::iommufd_watch(raw, memory.as_raw(), at, len, &Self::OPS) })?;
        // INVARIANT: As was just done.
        Ok(Self(subscription))
    }

    /// # Safety
    ///
    /// `raw` is the notifier of a [`Subscription`], and `range` what is to leave the page table.
    unsafe extern "C" fn invalidate(
        raw: *mut bindings::mmu_interval_notifier,
        range: *const bindings::mmu_notifier_range,
        seq: c_ulong,
    ) -> bool {
        // SAFETY: By the contract.
        let (event, flags) = unsafe { ((*range).event, (*range).flags) };
        if event == bindings::mmu_notifier_event_MMU_NOTIFY_SOFT_DIRTY {
            // Nothing leaves: somebody wants to know what is written to.
            return true;
        }
        // SAFETY: By the contract. What the kernel calls mmu_interval_set_seq().
        unsafe { (&raw mut (*raw).invalidate_seq).write_volatile(seq) };
        // SAFETY: By the contract, and as it is the first field.
        let importer = unsafe { &(*raw.cast::<Subscription<T>>()).importer };
        if flags & bindings::MMU_NOTIFIER_RANGE_BLOCKABLE == 0 {
            return importer.is_revoked();
        }
        importer.revoke();
        true
    }
}

impl<T: Importer> Drop for Watch<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant. Nobody drops it in a callback, or with a lock held that
        // one takes.
        unsafe { bindings::mmu_interval_notifier_remove(self.0.raw.get()) }
    }
}
