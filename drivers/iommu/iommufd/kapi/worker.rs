// SPDX-License-Identifier: GPL-2.0

//! Threads of the current process that work for it. Would become `rust/kernel/vhost_task.rs`.
//!
//! C header: [`include/linux/sched/vhost_task.h`](srctree/include/linux/sched/vhost_task.h)

use crate::sys;
use core::ptr::NonNull;
use kernel::{
    error::to_result,
    prelude::*, //
};

/// What a thread does.
pub(crate) trait Work: Send + Sync + 'static {
    /// Does it, once. It should end when the process is killed, has to end when whoever waits for
    /// it says so, and may not wait for userspace.
    fn work(&self);
}

/// What workers need while the module is there: see `worker.c`.
pub(crate) struct Workers(());

impl Workers {
    /// Makes it, once, before the first worker.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: Has no preconditions.
        to_result(unsafe { sys::iommufd_init_workers() })?;
        Ok(Self(()))
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // SAFETY: It was made. Each worker's thread holds the module, as does whatever starts one:
        // a file, or a driver.
        unsafe { sys::iommufd_exit_workers() }
    }
}

/// Work that a thread of the process does that started it; the thread never comes to userspace.
/// Dropping this waits until the work is done, if it was begun, but not for the end of the thread.
///
/// # Invariants
///
/// `raw` is a worker that was started and not ended, with what is in the box as its data.
pub(crate) struct Worker<T: Work> {
    raw: NonNull<sys::iommufd_worker>,
    _work: KBox<T>,
}

// SAFETY: What the thread has is `Sync`, and anybody may end its work.
unsafe impl<T: Work> Send for Worker<T> {}
// SAFETY: There is nothing to be done by way of `&self`.
unsafe impl<T: Work> Sync for Worker<T> {}

/// How many processors the current thread and others that work for it could have: those it may
/// run on, as far as they are near the memory that it gets. None if it can have no others.
pub(crate) fn processors() -> u64 {
    // SAFETY: Has no preconditions.
    u64::from(unsafe { sys::iommufd_worker_cpus() })
}

impl<T: Work> Worker<T> {
    /// Starts a thread that does `work`; `None` if there is none to be had. It may be killed
    /// before it has begun.
    pub(crate) fn start(work: T) -> Option<Self> {
        let mut work = KBox::new(work, GFP_KERNEL).ok()?;
        let data = (&raw mut *work).cast();
        // SAFETY: `call` may be called with this, for it is there until the worker is ended; if
        // there is none then nobody calls it.
        let raw = unsafe { sys::iommufd_start_worker(Some(Self::call), data) };
        // INVARIANT: As it was just started.
        NonNull::new(raw).map(|raw| Self { raw, _work: work })
    }

    /// # Safety
    ///
    /// `data` is a `T`, to which nobody has more than `&T`.
    unsafe extern "C" fn call(data: *mut c_void) {
        // SAFETY: By the contract.
        let work = unsafe { &*data.cast::<T>() };
        work.work();
    }
}

impl<T: Work> Drop for Worker<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; from here on nobody uses what is in the box.
        unsafe { sys::iommufd_end_worker(self.raw.as_ptr()) }
    }
}
