// SPDX-License-Identifier: GPL-2.0

//! Charging pinned memory to whoever asked for it. Would become `rust/kernel/mm/account.rs`.
//!
//! C header: [`include/linux/sched/user.h`](srctree/include/linux/sched/user.h)

use crate::sys;
use core::ptr::NonNull;
use kernel::{
    bindings,
    mm::Mm,
    page::PAGE_SHIFT,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        Arc, //
    },
};

/// Who pays for pinned memory: a process's address space and its user.
///
/// # Invariants
///
/// `user` is a `struct user_struct` on which this holds a reference.
pub(crate) struct Payer {
    mm: ARef<Mm>,
    user: NonNull<bindings::user_struct>,
}

// SAFETY: References on both may be dropped by any thread.
unsafe impl Send for Payer {}
// SAFETY: What `&self` gives access to is atomic.
unsafe impl Sync for Payer {}

impl Payer {
    /// The current process.
    ///
    /// # Errors
    ///
    /// * `ESRCH`: a kernel thread has no memory of its own.
    /// * `ENOMEM`.
    pub(crate) fn current() -> Result<Arc<Self>> {
        let mm: ARef<Mm> = ARef::from(&**current!().mm().ok_or(ESRCH)?);
        // SAFETY: Has no preconditions; it returns a reference that we own.
        let user = unsafe { sys::iommufd_get_current_user() };
        // INVARIANT: The reference just taken.
        let payer = Self {
            mm,
            user: NonNull::new(user).ok_or(ESRCH)?,
        };
        Ok(Arc::new(payer, GFP_KERNEL_ACCOUNT)?)
    }

    /// Whether this is what [`Self::current`] would return.
    pub(crate) fn is_current(&self) -> bool {
        current!()
            .mm()
            .is_some_and(|mm| core::ptr::eq(mm.as_raw(), self.mm.as_raw()))
            // SAFETY: `user` is valid by the type invariant.
            && unsafe { sys::iommufd_user_is_current(self.user.as_ptr()) }
    }

    fn locked_vm(&self) -> &Atomic<isize> {
        // SAFETY: By the type invariant, `user` lives as long as `self`.
        let counter = unsafe { &raw mut (*self.user.as_ptr()).locked_vm.counter };
        // SAFETY: The counter is an `atomic_long_t`, only ever accessed atomically.
        unsafe { Atomic::from_ptr(counter.cast::<isize>()) }
    }

    fn add_pinned(&self, npages: isize) {
        // SAFETY: `mm` is valid while we hold a reference.
        unsafe { sys::iommufd_add_pinned_vm(self.mm.as_raw(), npages as c_long) }
    }

    fn lock(&self, npages: isize, limit: isize) -> Result {
        let mut old = self.locked_vm().load(Relaxed);
        loop {
            let new = old.checked_add(npages).ok_or(ENOMEM)?;
            if new > limit {
                return Err(ENOMEM);
            }
            match self.locked_vm().cmpxchg(old, new, Relaxed) {
                Ok(_) => return Ok(()),
                Err(seen) => old = seen,
            }
        }
    }
}

impl Drop for Payer {
    fn drop(&mut self) {
        // SAFETY: By the type invariant we own a reference, and give it up here.
        unsafe { bindings::free_uid(self.user.as_ptr()) }
    }
}

/// Pages that a [`Payer`] is charged for, until this is dropped.
///
/// The address space's `pinned_vm` always moves by them; the user's locked memory does so unless
/// the caller had `CAP_IPC_LOCK`.
pub(crate) struct Charge {
    payer: Arc<Payer>,
    /// The pages, times two, plus one if they count against the user's limit: every area has a
    /// charge, so that it should be small.
    packed: u64,
}

impl Charge {
    /// Charges `npages`, below 2^52, to `payer`, which must be the current process.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: the user's locked memory would exceed the process's `RLIMIT_MEMLOCK`.
    pub(crate) fn new(payer: Arc<Payer>, npages: u64) -> Result<Self> {
        let count = isize::try_from(npages).map_err(|_| ENOMEM)?;
        // SAFETY: Has no preconditions.
        let locked = !unsafe { bindings::capable(bindings::CAP_IPC_LOCK as c_int) };
        if locked {
            // SAFETY: Has no preconditions.
            let limit = unsafe { sys::iommufd_memlock_limit() } >> PAGE_SHIFT;
            payer.lock(count, isize::try_from(limit).unwrap_or(isize::MAX))?;
        }
        payer.add_pinned(count);
        Ok(Self {
            payer,
            packed: (npages << 1) | u64::from(locked),
        })
    }

    fn npages(&self) -> u64 {
        self.packed >> 1
    }

    fn is_locked(&self) -> bool {
        self.packed & 1 != 0
    }

    /// Who pays.
    pub(crate) fn payer(&self) -> &Arc<Payer> {
        &self.payer
    }

    /// The pages that count against the user's limit.
    pub(crate) fn locked_pages(&self) -> u64 {
        if self.is_locked() {
            self.npages()
        } else {
            0
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        // CAST: It came from an `isize`, which is at least twice as large as any memory.
        let count = self.npages() as isize;
        self.payer.add_pinned(-count);
        if self.is_locked() {
            self.payer.locked_vm().fetch_sub(count, Relaxed);
        }
    }
}
