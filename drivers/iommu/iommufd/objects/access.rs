// SPDX-License-Identifier: GPL-2.0

//! What drivers bind to a context that do no DMA, but read, write and pin an address space's
//! memory themselves: mediated devices, for one.

use crate::{
    iova::IovaRange,
    kapi::access::{
        Buffer,
        PageSlots,
        UnmapCallback, //
    },
    objects::{
        context::{
            Context,
            Object, //
        },
        ioas::IoasUser, //
    }, //
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

/// An access: what the driver that made it holds. Dropping it detaches.
pub(crate) struct Access {
    seat: Arc<Seat>,
    /// When this is gone, which is last, the driver is not asked any more.
    callback: UnmapCallback,
    ctx: Arc<Context>,
}

/// Where an access is attached.
#[pin_data]
pub(crate) struct Seat {
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

impl Seat {
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
                .add_listener(self.id, callback.listener().clone())?;
        }
        if let Some(old) = state.ioas.take() {
            drop(state);
            callback.ask_for_all();
            state = self.state.lock();
            old.ioas().remove_listener(self.id);
        }
        state.unpin = new.clone();
        state.ioas = new;
        Ok(())
    }
}

impl Access {
    /// Makes an access that is not attached.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(ctx: &Arc<Context>, callback: UnmapCallback) -> Result<KBox<Self>> {
        let room = KBox::new_uninit(GFP_KERNEL_ACCOUNT)?;
        let id = ctx.reserve_id()?;
        let state = State {
            ioas: None,
            unpin: None,
        };
        let number = id.number();
        let seat = Arc::pin_init(
            pin_init!(Seat {
                id: number,
                state <- new_mutex!(state, "iommufd_access"),
            }),
            GFP_KERNEL_ACCOUNT,
        )?;
        id.give_to(Object::Access(seat.clone()), None);
        let access = Self {
            seat,
            callback,
            ctx: ctx.clone(),
        };
        Ok(KBox::write(room, access))
    }

    fn move_to(&self, state: Guard<'_, State, MutexBackend>, new: Option<IoasUser>) -> Result {
        self.seat.move_to(&self.callback, state, new)
    }

    /// The id that userspace knows it by.
    pub(crate) fn id(&self) -> u32 {
        self.seat.id
    }

    /// Attaches it to the address space `ioas_id`.
    ///
    /// # Errors
    ///
    /// * `EINVAL`: it is attached already, which the driver should know.
    /// * `ENOENT`: there is no such address space. `ENOMEM`.
    /// * `EBUSY`: it is being detached.
    pub(crate) fn attach(&self, ioas_id: u32) -> Result {
        let state = self.seat.state.lock();
        if warn_on!(state.ioas.is_some()) {
            return Err(EINVAL);
        }
        let new = self.ctx.use_ioas(&self.ctx.ioas(ioas_id)?)?;
        self.move_to(state, Some(new))
    }

    /// Moves it to the address space `ioas_id`.
    ///
    /// # Errors
    ///
    /// `ENOENT`: it is not attached, or there is no such address space. `EBUSY`, `ENOMEM`.
    pub(crate) fn replace(&self, ioas_id: u32) -> Result {
        let state = self.seat.state.lock();
        if state.ioas.is_none() {
            return Err(ENOENT);
        }
        let new = self.ctx.use_ioas(&self.ctx.ioas(ioas_id)?)?;
        self.move_to(state, Some(new))
    }

    /// Detaches it. What it has pinned is unpinned by then.
    pub(crate) fn detach(&self) {
        let state = self.seat.state.lock();
        if warn_on!(state.ioas.is_none()) {
            return;
        }
        // It fails only while another thread detaches it, which is the driver's fault.
        warn_on!(self.move_to(state, None).is_err());
    }

    /// Pins pages; see [`crate::space::IoPagetable::pin`].
    ///
    /// # Errors
    ///
    /// Those of that, and `ENOENT` if it is not attached.
    pub(crate) fn pin(&self, range: IovaRange, slots: PageSlots<'_>, write: bool) -> Result {
        let state = self.seat.state.lock();
        let user = state.ioas.as_ref().ok_or(ENOENT)?;
        user.ioas().pin(range, slots, write)
    }

    /// Undoes a [`Self::pin`] of the same range.
    pub(crate) fn unpin(&self, range: IovaRange) {
        let state = self.seat.state.lock();
        match &state.unpin {
            Some(user) => user.ioas().unpin(range),
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
        let state = self.seat.state.lock();
        let user = state.ioas.as_ref().ok_or(ENOENT)?;
        user.ioas().copy(range, buffer)
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        // The id is free when this goes, behind all that is undone.
        let gone = self.ctx.take_out(&Object::Access(self.seat.clone()));
        // Nobody else takes accesses out.
        warn_on!(gone.is_err());
        let state = self.seat.state.lock();
        if state.ioas.is_some() {
            // As in `detach`.
            warn_on!(self.move_to(state, None).is_err());
        } else {
            drop(state);
        }
    }
}
