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
}

struct State {
    /// Where to pin, read and write.
    ioas: Option<IoasUser>,
    /// Where to unpin: the same, but while it moves, when there is no longer anywhere to pin.
    unpin: Option<IoasUser>,
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
        };
        Arc::pin_init(
            pin_init!(Self {
                id,
                state <- new_mutex!(state, "iommufd_access"),
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
        let state = self.state.lock();
        state.ioas.as_ref().map(|user| user.ioas().id())
    }

    /// Moves the access, whose state is locked, to another address space, or out of any.
    ///
    /// What is pinned has to be unpinned by the driver, which is asked to while nothing is locked.
    fn move_to<'a>(
        &'a self,
        callback: &UnmapCallback,
        mut state: Guard<'a, State, MutexBackend>,
        new: Option<IoasUser>,
    ) -> Result {
        if !same(state.ioas.as_ref(), state.unpin.as_ref()) {
            return Err(EBUSY);
        }
        if same(state.ioas.as_ref(), new.as_ref()) {
            return Ok(());
        }
        if let Some(new) = &new {
            // The id is this one's as long as the listener is there.
            new.ioas()
                .iopt
                .add_listener(self.id, callback.listener().clone())?;
        }
        if let Some(old) = state.ioas.take() {
            drop(state);
            callback.ask_for_all();
            state = self.state.lock();
            old.ioas()
                .iopt
                .remove_listener(self.id, callback.listener());
        }
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

    /// Pins pages; see [`crate::space::IoPagetable::pin`].
    ///
    /// # Errors
    ///
    /// Those of that, and `ENOENT` if it is not attached.
    pub(crate) fn pin(&self, range: IovaRange, slots: PageSlots<'_>, write: bool) -> Result {
        let state = self.state.lock();
        let user = state.ioas.as_ref().ok_or(ENOENT)?;
        user.ioas().iopt.pin(range, slots, write)
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
        let state = self.state.lock();
        let user = state.ioas.as_ref().ok_or(ENOENT)?;
        user.ioas().iopt.copy(range, buffer)
    }
}
