// SPDX-License-Identifier: GPL-2.0

//! What drivers bind to a context that do no DMA, but read, write and pin an address space's
//! memory themselves: mediated devices, for one.

use crate::{
    iova::IovaRange,
    kapi::access_ops::{
        Buffer,
        PageSlots,
        UnmapCallback, //
    },
    objects::ioas::IoasUser, //
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        lock::{
            mutex::MutexBackend,
            Guard, //
        },
        Arc,
        Mutex, //
    },
    warn_on, //
};

/// An access, as it is found.
#[pin_data]
pub(crate) struct Access {
    id: u32,
    #[pin]
    state: Mutex<State>,
    /// The address space that it is attached to, or 0: for those who look on, and wait for nobody.
    ioasid: Atomic<u32>,
}

struct State {
    /// Where to pin, read and write.
    ioas: Option<IoasUser>,
    /// Where to unpin: the same, but while it moves, when there is no longer anywhere to pin.
    unpin: Option<IoasUser>,
    is_moving: bool,
}

fn same(one: Option<&IoasUser>, other: Option<&IoasUser>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one.ioas(), other.ioas()),
        (None, None) => true,
        _ => false,
    }
}

impl Access {
    /// Makes an access that is not attached.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(id: u32) -> Result<Arc<Self>> {
        let state = State {
            ioas: None,
            unpin: None,
            is_moving: false,
        };
        Arc::pin_init(
            pin_init!(Self {
                id,
                state <- new_mutex!(state, "iommufd_access"),
                ioasid: Atomic::new(0),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// The id that userspace knows the access by.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// The address space, if it is attached to one.
    pub(crate) fn ioasid(&self) -> Option<u32> {
        Some(self.ioasid.load(Relaxed)).filter(|ioasid| *ioasid != 0)
    }

    /// Moves the access, whose state is locked, to another address space, or out of any.
    ///
    /// What is pinned has to be unpinned by the driver, which is asked to while nothing is locked.
    /// Nor is anything while maps are waited for: others may have to unpin.
    fn move_to<'a>(
        &'a self,
        callback: &UnmapCallback,
        mut state: Guard<'a, State, MutexBackend>,
        new: Option<IoasUser>,
    ) -> Result {
        if state.is_moving {
            return Err(EBUSY);
        }
        if same(state.ioas.as_ref(), new.as_ref()) {
            return Ok(());
        }
        state.is_moving = true;
        let old = state.ioas.take();
        drop(state);
        let (listener, pins) = (callback.listener(), callback.pins());
        let added = new.as_ref().map_or(Ok(()), |new| {
            // The id is this one's as long as the listener is there.
            let iopt = &new.ioas().iopt;
            iopt.add_listener(self.id, listener.clone(), pins)
        });
        if added.is_ok() {
            if let Some(old) = &old {
                callback.ask_for_all();
                old.ioas().iopt.remove_listener(self.id, listener, pins);
            }
        }
        let mut state = self.state.lock();
        state.is_moving = false;
        if added.is_err() {
            state.ioas = old;
            return added;
        }
        let ioasid = new.as_ref().map_or(0, |user| user.ioas().id());
        self.ioasid.store(ioasid, Relaxed);
        state.unpin = new.clone();
        state.ioas = new;
        Ok(())
    }

    /// Attaches it to the address space that `find` finds.
    ///
    /// # Errors
    ///
    /// * `EINVAL`: it is attached already, which the driver should know.
    /// * `EBUSY`: it is being detached. `ENOMEM`, and those of `find`.
    pub(crate) fn attach(
        &self,
        callback: &UnmapCallback,
        find: impl FnOnce() -> Result<IoasUser>,
    ) -> Result {
        let state = self.state.lock();
        if warn_on!(state.ioas.is_some()) {
            return Err(EINVAL);
        }
        let new = find()?;
        self.move_to(callback, state, Some(new))
    }

    /// Moves it to the address space that `find` finds.
    ///
    /// # Errors
    ///
    /// `ENOENT`: it is not attached. `EBUSY`, `ENOMEM`, and those of `find`.
    pub(crate) fn replace(
        &self,
        callback: &UnmapCallback,
        find: impl FnOnce() -> Result<IoasUser>,
    ) -> Result {
        let state = self.state.lock();
        if state.ioas.is_none() {
            return Err(ENOENT);
        }
        let new = find()?;
        self.move_to(callback, state, Some(new))
    }

    /// Detaches it, if it is attached: whether it was. What it has pinned is unpinned by then.
    pub(crate) fn detach(&self, callback: &UnmapCallback) -> bool {
        let state = self.state.lock();
        if state.ioas.is_none() {
            return false;
        }
        // It fails only while another thread detaches it, which is the driver's fault.
        warn_on!(self.move_to(callback, state, None).is_err());
        true
    }

    /// Where to pin, read and write.
    fn ioas(&self) -> Result<IoasUser> {
        self.state.lock().ioas.clone().ok_or(ENOENT)
    }

    /// Pins pages, and lists them in `slots`; see [`crate::space::IoPagetable::pin`].
    ///
    /// # Errors
    ///
    /// Those of that, and `ENOENT` if it is not attached.
    pub(crate) fn pin(&self, range: IovaRange, mut slots: PageSlots<'_>, write: bool) -> Result {
        loop {
            let user = self.ioas()?;
            // Userspace may be waited for: not with the state locked.
            let new = user.ioas().iopt.pin(range, write)?;
            let state = self.state.lock();
            if !same(state.ioas.as_ref(), Some(&user)) {
                drop(state);
                drop(new);
                return Err(ENOENT);
            }
            if user.ioas().iopt.keep(new, &mut slots)?.is_some() {
                return Ok(());
            }
        }
    }

    /// Undoes a [`Self::pin`] of the same range.
    pub(crate) fn unpin(&self, range: IovaRange) {
        let state = self.state.lock();
        match &state.unpin {
            Some(user) => user.ioas().iopt.unpin(range),
            // The driver has pinned nothing.
            None => {
                warn_on!(true);
            }
        }
    }

    /// Reads or writes memory; see [`crate::space::IoPagetable::copy`].
    ///
    /// # Errors
    ///
    /// Those of that, and `ENOENT` if it is not attached.
    pub(crate) fn copy(&self, range: IovaRange, buffer: Buffer<'_>) -> Result {
        self.ioas()?.ioas().iopt.copy(range, buffer)
    }
}
