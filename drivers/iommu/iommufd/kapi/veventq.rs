// SPDX-License-Identifier: GPL-2.0

//! Events of virtual IOMMUs, in the order in which they came. Would become part of
//! `rust/kernel/iommu/viommu.rs`.
//!
//! Events are numbered, those that are lost as well. If the last ones were lost, the reader finds a
//! header that says so; if others came after them, he finds it out by their numbers.
//!
//! C header: [`include/linux/iommufd.h`](srctree/include/linux/iommufd.h)

use crate::{
    kapi::{
        driver_ctx::users_of,
        users::Users,
        viommu::{
            RunningViommu,
            Viommu, //
        }, //
    },
    sys, //
};
use core::{
    mem::{
        align_of,
        forget,
        size_of, //
    },
    ptr::NonNull, //
};
use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    sync::{
        poll::PollCondVar,
        Arc, //
    }, //
};

/// A queue of events of one type.
///
/// # Invariants
///
/// `ptr` was made by `iommufd_new_veventq()`, and is this one's to free.
pub(crate) struct Veventq {
    ptr: NonNull<sys::iommufd_veventq>,
}

// SAFETY: A queue belongs to no thread.
unsafe impl Send for Veventq {}
// SAFETY: What changes in it has a lock of its own.
unsafe impl Sync for Veventq {}

impl Veventq {
    /// A queue for up to `depth` events of a type (`IOMMU_VEVENTQ_TYPE_*`), that none comes to yet.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(id: u32, kind: u32, depth: u32) -> Result<Arc<Self>> {
        // SAFETY: The function takes any numbers.
        let ptr = unsafe { sys::iommufd_new_veventq(id, kind, depth) };
        let ptr = NonNull::new(ptr).ok_or(ENOMEM)?;
        // INVARIANT: Just made.
        Ok(Arc::new(Self { ptr }, GFP_KERNEL_ACCOUNT)?)
    }

    fn as_raw(&self) -> *mut sys::iommufd_veventq {
        self.ptr.as_ptr()
    }

    /// How many use it: its file, as long as that is open.
    pub(crate) fn users(&self) -> &Users {
        // SAFETY: By the type invariant, and as it begins with an object.
        unsafe { users_of(self.as_raw().cast()) }
    }

    /// Those who wait for an event.
    pub(crate) fn waiters(&self) -> &PollCondVar {
        // It is nothing but what C has.
        static_assert!(size_of::<PollCondVar>() == size_of::<bindings::wait_queue_head>());
        static_assert!(align_of::<PollCondVar>() == align_of::<bindings::wait_queue_head>());
        // SAFETY: By the type invariant.
        let waiters = unsafe { sys::iommufd_vevent_waiters(self.as_raw()) };
        // SAFETY: It is initialised, lives as long as `self`, and has the layout, as above. Nobody
        // drops it.
        unsafe { &*waiters.cast::<PollCondVar>() }
    }

    /// Whether there is an event.
    pub(crate) fn has_some(&self) -> bool {
        // SAFETY: By the type invariant.
        unsafe { sys::iommufd_has_vevent(self.as_raw()) }
    }

    /// The next event. It comes next again, unless it is said to be [`read`](Vevent::done).
    pub(crate) fn next(&self) -> Option<Vevent<'_>> {
        let mut header = sys::iommufd_vevent_header {
            flags: 0,
            sequence: 0,
        };
        // SAFETY: By the type invariant.
        let raw = unsafe { sys::iommufd_take_vevent(self.as_raw(), &raw mut header) };
        Some(Vevent {
            queue: self,
            // INVARIANT: Just taken out.
            raw: NonNull::new(raw)?,
            flags: header.flags,
            sequence: header.sequence,
        })
    }
}

impl Drop for Veventq {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; no events come any more.
        unsafe { sys::iommufd_free_veventq(self.as_raw()) }
    }
}

/// An event on its way to who reads it.
///
/// # Invariants
///
/// `raw` was taken out of `queue`, and is this one's.
pub(crate) struct Vevent<'a> {
    queue: &'a Veventq,
    raw: NonNull<sys::iommufd_vevent>,
    /// `IOMMU_VEVENTQ_FLAG_*`.
    pub(crate) flags: u32,
    /// Its number.
    pub(crate) sequence: u32,
}

impl Vevent<'_> {
    /// What comes behind the header; nothing if events were lost.
    pub(crate) fn data(&self) -> &[u8] {
        let mut len = 0;
        // SAFETY: By the type invariant.
        let data = unsafe { sys::iommufd_vevent_data(self.raw.as_ptr(), &raw mut len) };
        // SAFETY: So many bytes are there, which do not change.
        unsafe { core::slice::from_raw_parts(data.cast(), len) }
    }

    /// It was read.
    pub(crate) fn done(self) {
        // SAFETY: By the type invariant; it is not used any more.
        unsafe { sys::iommufd_drop_vevent(self.queue.as_raw(), self.raw.as_ptr()) };
        forget(self);
    }
}

impl Drop for Vevent<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; it is not used any more.
        unsafe { sys::iommufd_put_vevent_back(self.queue.as_raw(), self.raw.as_ptr()) }
    }
}

/// A queue that the events of a virtual IOMMU come to, until this is dropped.
pub(crate) struct LinkedVeventq {
    queue: Arc<Veventq>,
    viommu: Arc<Viommu>,
}

impl LinkedVeventq {
    /// Has the events of the queue's type come there.
    ///
    /// # Errors
    ///
    /// `EEXIST`: they come to another one.
    pub(crate) fn new(viommu: &RunningViommu, queue: Arc<Veventq>) -> Result<Self> {
        let viommu = viommu.viommu().clone();
        // SAFETY: It is initialised; the queue is in no list, and taken out before it goes.
        to_result(unsafe { sys::iommufd_link_veventq(viommu.as_raw(), queue.as_raw()) })?;
        Ok(Self { queue, viommu })
    }
}

impl Drop for LinkedVeventq {
    fn drop(&mut self) {
        // SAFETY: It was put in there, and the virtual IOMMU is there.
        unsafe { sys::iommufd_unlink_veventq(self.viommu.as_raw(), self.queue.as_raw()) }
    }
}
