// SPDX-License-Identifier: GPL-2.0

//! What a kernel driver holds of the access that it has made.

use crate::{
    iova::IovaRange,
    kapi::access_ops::{
        PageSlots,
        UnmapCallback, //
    },
    objects::{
        access::Access,
        context::Context,
        ioas::IoasUser,
        table::Object, //
    }, //
};
use kernel::{
    prelude::*,
    sync::Arc,
    warn_on, //
};

/// An access of a driver. Dropping it detaches.
pub(crate) struct AccessHandle {
    access: Arc<Access>,
    /// When this is gone, which is last, the driver is not asked any more.
    callback: UnmapCallback,
    ctx: Arc<Context>,
}

impl AccessHandle {
    /// Makes an access that is not attached.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `ENOSPC`.
    pub(crate) fn new(ctx: &Arc<Context>, callback: UnmapCallback) -> Result<KBox<Self>> {
        let room = KBox::new_uninit(GFP_KERNEL_ACCOUNT)?;
        let id = ctx.objects.reserve_id()?;
        let access = Access::new(id.number())?;
        id.give_to(Object::Access(access.clone()), None);
        let handle = Self {
            access,
            callback,
            ctx: ctx.clone(),
        };
        Ok(KBox::write(room, handle))
    }

    fn find(&self, ioas_id: u32) -> Result<IoasUser> {
        let objects = &self.ctx.objects;
        objects.use_ioas(&objects.ioas(ioas_id)?)
    }

    /// The access itself.
    pub(crate) fn access(&self) -> &Arc<Access> {
        &self.access
    }

    /// Pins pages, and lists them in `slots`; see [`Access::pin`].
    ///
    /// # Errors
    ///
    /// As there; `EINTR`. `EINVAL`: the driver has said that it does not pin, so that areas need
    /// not be made of pages.
    pub(crate) fn pin(&self, range: IovaRange, slots: PageSlots<'_>, write: bool) -> Result {
        if !self.callback.pins() {
            return Err(EINVAL);
        }
        let _charges = self.ctx.hold_charges()?;
        self.access.pin(range, slots, write)
    }

    /// Attaches it to the address space `ioas_id`.
    ///
    /// # Errors
    ///
    /// Those of [`Access::attach`]; `ENOENT`: there is no such address space.
    pub(crate) fn attach(&self, ioas_id: u32) -> Result {
        self.access.attach(&self.callback, || self.find(ioas_id))
    }

    /// Moves it to the address space `ioas_id`.
    ///
    /// # Errors
    ///
    /// Those of [`Access::replace`]; `ENOENT`: there is no such address space.
    pub(crate) fn replace(&self, ioas_id: u32) -> Result {
        self.access.replace(&self.callback, || self.find(ioas_id))
    }

    /// Detaches it. What it has pinned is unpinned by then.
    pub(crate) fn detach(&self) {
        // The driver should know where it is attached.
        warn_on!(!self.access.detach(&self.callback));
    }
}

impl Drop for AccessHandle {
    fn drop(&mut self) {
        // The id is free when this goes, behind all that is undone.
        let object = Object::Access(self.access.clone());
        let gone = self.ctx.objects.retire(&object);
        // Nobody else takes accesses out.
        warn_on!(gone.is_err());
        self.access.detach(&self.callback);
    }
}
