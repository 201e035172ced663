// SPDX-License-Identifier: GPL-2.0

//! Charging pinned memory to whoever asked for it. Would become `rust/kernel/mm/account.rs`.
//!
//! C header: [`include/linux/sched/user.h`](srctree/include/linux/sched/user.h)

use crate::{
    kapi::task,
    sys, //
};
use core::ptr::NonNull;
use kernel::{
    bindings,
    error::to_result,
    mm::{
        Mm,
        MmWithUser,
        MmWithUserAsync, //
    },
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
    task::{
        Pid,
        Task, //
    },
    warn_on, //
};

/// Who pays for pinned memory: a process's address space, the process, whose limit counts, and its
/// user.
///
/// # Invariants
///
/// `user` is a `struct user_struct` on which this holds a reference.
pub(crate) struct Payer {
    mm: ARef<Mm>,
    process: ARef<Task>,
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
            process: ARef::from(current!().group_leader()),
            user: NonNull::new(user).ok_or(ESRCH)?,
        };
        Ok(Arc::new(payer, GFP_KERNEL_ACCOUNT)?)
    }

    /// Whether this is what [`Self::current`] would return.
    pub(crate) fn is_current(&self) -> bool {
        self.has_current_memory()
            // SAFETY: `user` is valid by the type invariant.
            && unsafe { sys::iommufd_user_is_current(self.user.as_ptr()) }
    }

    /// Whether the current process's memory is that of this one.
    #[inline]
    pub(super) fn has_current_memory(&self) -> bool {
        current!()
            .mm()
            .is_some_and(|mm| core::ptr::eq(mm.as_raw(), self.mm.as_raw()))
    }

    /// Whether it has memory.
    ///
    /// # Errors
    ///
    /// `EFAULT`: that is gone.
    pub(crate) fn check_alive(&self) -> Result {
        self.memory().map(|_| ())
    }

    /// Its memory, which stays there as long as the result.
    ///
    /// # Errors
    ///
    /// `EFAULT`: it is gone.
    pub(super) fn memory(&self) -> Result<ARef<MmWithUserAsync>> {
        let alive = self.mm.mmget_not_zero().ok_or(EFAULT)?;
        // If it ends meanwhile, it is not for us to take it down.
        Ok(MmWithUser::into_mmput_async(alive))
    }

    /// The number by which the current process knows it; 0 if it has ended, or is not to be seen
    /// from there.
    pub(crate) fn tgid(&self) -> Pid {
        self.process.tgid_nr_ns(None)
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

    fn lock_for_user(&self, npages: isize) -> Result {
        // SAFETY: The task is valid while we hold a reference.
        let limit = unsafe { sys::iommufd_memlock_limit(self.process.as_ptr()) } >> PAGE_SHIFT;
        let limit = isize::try_from(limit).unwrap_or(isize::MAX);
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

impl Payer {
    fn lock_for_process(&self, npages: isize) -> Result {
        let _alive = self.memory()?;
        // SAFETY: `mm` has users, and the task is there.
        to_result(unsafe {
            sys::iommufd_lock_vm(self.mm.as_raw(), self.process.as_ptr(), npages as c_ulong)
        })
    }

    fn unlock_for_process(&self, npages: isize) {
        // What a process that is gone had locked went with it.
        if let Ok(_alive) = self.memory() {
            let npages = npages as c_ulong;
            // SAFETY: `mm` has users.
            let ret = unsafe { bindings::account_locked_vm(self.mm.as_raw(), npages, false) };
            // Taking back cannot fail.
            warn_on!(ret != 0);
        }
    }
}

impl Drop for Payer {
    fn drop(&mut self) {
        // SAFETY: By the type invariant we own a reference, and give it up here.
        unsafe { bindings::free_uid(self.user.as_ptr()) }
    }
}

/// Which limit pinned memory counts against; either way the limit is `RLIMIT_MEMLOCK`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accounting {
    /// All that the user's processes have locked in this way.
    User,
    /// All that the process has locked, by `mlock()` too.
    Process,
}

/// Who pays for some memory, and the pages that he is charged for, until this is dropped.
///
/// The address space's `pinned_vm` always moves by them; the locked memory of the user or of the
/// process does so unless the process had `CAP_IPC_LOCK` when this was made.
pub(crate) struct Charge {
    payer: Arc<Payer>,
    /// The pages, shifted by [`Self::FLAG_BITS`], and flags: every area has a charge, so that it
    /// should be small.
    packed: u64,
}

impl Charge {
    /// They count against the limit of the user, or of the process.
    const USER: u64 = 1;
    const PROCESS: u64 = 2;
    const LIMITS: u64 = Self::USER | Self::PROCESS;
    /// The memory is not the payer's own, so that another one may come to pay.
    const MOVABLE: u64 = 4;
    /// A [`Takeover`] knows of it.
    const MARKED: u64 = 8;
    /// What the payer has there may be a BAR as well, which nobody pays for.
    const MAY_BE_BAR: u64 = 16;
    const FLAG_BITS: u32 = 5;

    /// No pages yet, of `payer`, which must be the current process; another can take the charge
    /// over if the memory `is_movable`.
    pub(crate) fn new(payer: Arc<Payer>, accounting: Accounting, is_movable: bool) -> Self {
        // SAFETY: Has no preconditions.
        let exempt = unsafe { bindings::capable(bindings::CAP_IPC_LOCK as c_int) };
        let limit = match accounting {
            _ if exempt => 0,
            Accounting::User => Self::USER,
            Accounting::Process => Self::PROCESS,
        };
        let movable = if is_movable { Self::MOVABLE } else { 0 };
        Self {
            payer,
            packed: limit | movable,
        }
    }

    /// For other pages of the same memory, none yet.
    pub(crate) fn another(&self) -> Self {
        Self {
            payer: self.payer.clone(),
            packed: self.packed & (Self::LIMITS | Self::MOVABLE | Self::MAY_BE_BAR),
        }
    }

    /// With `npages`, below 2^52, if there are none yet.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: the locked memory would exceed the process's `RLIMIT_MEMLOCK`. `EFAULT`: that
    /// counts for the process itself, which is gone. `EINTR`: a fatal signal.
    pub(crate) fn with(mut self, npages: u64) -> Result<Self> {
        let count = isize::try_from(npages).map_err(|_| ENOMEM)?;
        match self.packed & Self::LIMITS {
            Self::USER => self.payer.lock_for_user(count)?,
            Self::PROCESS => self.payer.lock_for_process(count)?,
            _ => {}
        }
        self.payer.add_pinned(count);
        self.packed += npages << Self::FLAG_BITS;
        Ok(self)
    }

    /// All of its pages; none stay.
    pub(crate) fn take(&mut self) -> Self {
        self.cut_off(0)
    }

    /// How many pages there are.
    #[inline]
    pub(crate) fn npages(&self) -> u64 {
        self.packed >> Self::FLAG_BITS
    }

    /// Takes over what `other` is for, if the two differ in nothing else.
    fn absorb(&mut self, other: &mut Self) -> bool {
        let flags = (1 << Self::FLAG_BITS) - 1;
        let is_alike =
            Arc::ptr_eq(&self.payer, &other.payer) && (self.packed ^ other.packed) & flags == 0;
        if is_alike {
            // Nothing is left there to be given back.
            self.packed += core::mem::take(&mut other.packed) & !flags;
        }
        is_alike
    }

    /// Cuts off what goes beyond the first `npages`.
    pub(crate) fn cut_off(&mut self, npages: u64) -> Self {
        let more = self.npages().saturating_sub(npages) << Self::FLAG_BITS;
        let flags = self.packed & ((1 << Self::FLAG_BITS) - 1);
        self.packed -= more;
        Self {
            payer: self.payer.clone(),
            packed: more | flags,
        }
    }

    /// Who pays.
    pub(crate) fn payer(&self) -> &Arc<Payer> {
        &self.payer
    }

    /// What the payer has there may be a BAR from here on.
    pub(crate) fn let_be_bar(mut self) -> Self {
        self.packed |= Self::MAY_BE_BAR;
        self
    }

    /// Whether what the payer has there may be a BAR.
    pub(crate) fn may_be_bar(&self) -> bool {
        self.packed & Self::MAY_BE_BAR != 0
    }

    /// Whether the pages count against a limit.
    pub(crate) fn is_limited(&self) -> bool {
        self.packed & Self::LIMITS != 0
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        // CAST: It came from an `isize`, which is at least twice as large as any memory.
        let count = self.npages() as isize;
        if count == 0 {
            return;
        }
        self.payer.add_pinned(-count);
        match self.packed & Self::LIMITS {
            Self::USER => {
                self.payer.locked_vm().fetch_sub(count, Relaxed);
            }
            Self::PROCESS => self.payer.unlock_for_process(count),
            _ => {}
        }
    }
}

/// Charges that the current process takes over: first all of them are noted, then paid for, and
/// then finished with. One that nobody has noted is left alone, whenever it came.
pub(crate) struct Takeover {
    payer: Arc<Payer>,
    /// How many pages were noted, by what they count against.
    noted: [u64; Self::KINDS],
    /// What is paid for and not finished with; dropping it gives that back.
    paid: Option<[Charge; Self::KINDS]>,
    /// What others paid until now, with room for each charge that was noted.
    old: KVVec<Charge>,
    /// How many were noted.
    count: usize,
}

impl Takeover {
    const KINDS: usize = 3;

    /// Begins.
    ///
    /// # Errors
    ///
    /// Those of [`Payer::current`].
    pub(crate) fn by_current() -> Result<Self> {
        Ok(Self {
            payer: Payer::current()?,
            noted: [0; Self::KINDS],
            paid: None,
            old: KVVec::new(),
            count: 0,
        })
    }

    // CAST: One of three numbers.
    fn kind(charge: &Charge) -> usize {
        (charge.packed & Charge::LIMITS) as usize
    }

    /// Notes a charge, once, unless the current process pays already.
    ///
    /// # Errors
    ///
    /// `EINVAL`: nobody else can come to pay for this. `ENOMEM`.
    pub(crate) fn note(&mut self, charge: &mut Charge) -> Result {
        if charge.packed & Charge::MOVABLE == 0 {
            return Err(EINVAL);
        }
        if charge.packed & Charge::MARKED == 0 && !charge.payer.is_current() {
            let noted = self.noted.get_mut(Self::kind(charge)).ok_or(EINVAL)?;
            self.old.reserve(self.count + 1, GFP_KERNEL_ACCOUNT)?;
            self.count += 1;
            charge.packed |= Charge::MARKED;
            *noted = noted.saturating_add(charge.npages());
        }
        Ok(())
    }

    /// Pays for all that was noted.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: the locked memory would exceed the process's `RLIMIT_MEMLOCK`.
    pub(crate) fn pay(&mut self) -> Result {
        let [none, user, process] = self.noted;
        let pay = |npages, packed| {
            let payer = self.payer.clone();
            Charge { payer, packed }.with(npages)
        };
        self.paid = Some([
            pay(none, 0)?,
            pay(user, Charge::USER)?,
            pay(process, Charge::PROCESS)?,
        ]);
        Ok(())
    }

    /// Finishes with a charge that was noted: it is the current process's from here on, if that
    /// has paid. Others get theirs back in [`Self::settle`].
    pub(crate) fn finish(&mut self, charge: &mut Charge) {
        if charge.packed & Charge::MARKED == 0 {
            return;
        }
        charge.packed &= !Charge::MARKED;
        let kind = Self::kind(charge);
        let paid = self.paid.as_mut().and_then(|paid| paid.get_mut(kind));
        if let Some(paid) = paid {
            paid.packed -= charge.npages() << Charge::FLAG_BITS;
            let new = Charge {
                payer: self.payer.clone(),
                packed: charge.packed,
            };
            self.keep(core::mem::replace(charge, new));
        }
    }

    /// Keeps what was charged until the end. An area that was cut in two after it was noted has
    /// its charge in two pieces, one behind the other: they need the room of one.
    fn keep(&mut self, mut old: Charge) {
        let last = self.old.last_mut();
        if !last.is_some_and(|last| last.absorb(&mut old)) {
            warn_on!(self.old.push_within_capacity(old).is_err());
        }
    }

    /// Who pays for all that was noted, if that has paid.
    pub(crate) fn payer(&self) -> Option<&Arc<Payer>> {
        self.paid.as_ref().map(|_| &self.payer)
    }

    /// Gives back what others were charged. That may wait for locks of their processes, so that
    /// the caller should have none.
    pub(crate) fn settle(mut self) {
        while let Some(old) = self.old.pop() {
            drop(old);
            task::resched();
        }
    }
}
