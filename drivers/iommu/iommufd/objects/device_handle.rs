// SPDX-License-Identifier: GPL-2.0

//! What a kernel driver holds of the device that it has bound to a context.

use crate::{
    kapi::device::{
        unsafe_interrupts_are_allowed,
        BoundDevice, //
    },
    objects::{
        context::Context,
        group::Idev,
        group_attach::Target,
        hwpt_ids::HwptIds,
        table::Object, //
    },
    space::attach::WantedHwpt, //
};
use kernel::{
    prelude::*,
    sync::Arc,
    warn_on, //
};

/// A device that a driver has bound to a context. Dropping it unbinds.
pub(crate) struct DeviceHandle {
    idev: Arc<Idev>,
    ctx: Arc<Context>,
}

impl DeviceHandle {
    /// Binds a device; its DMA is blocked until it is attached. Userspace names it by its id, and
    /// by the cookie if there is one.
    ///
    /// # Errors
    ///
    /// Those of [`BoundDevice::claim`]; `EBUSY`: another device has the cookie; `ENOMEM`,
    /// `ENOSPC`.
    pub(crate) fn bind(
        ctx: &Arc<Context>,
        dev: BoundDevice<'_>,
        cookie: Option<u64>,
    ) -> Result<KBox<Self>> {
        let room = KBox::new_uninit(GFP_KERNEL_ACCOUNT)?;
        let id = ctx.objects.reserve_id()?;
        let group = ctx.groups.join(&dev)?;
        let idev = Idev::new(id.number(), dev.device(), group.clone())?;
        let named = match cookie {
            Some(cookie) => Some(ctx.cookies.add(cookie, idev.clone())?),
            None => None,
        };
        let msi_may_leak = unsafe_interrupts_are_allowed();
        idev.group().bind(&idev, dev, ctx, msi_may_leak)?;
        // Nothing fails from here on: what was done so far is undone when the device is dropped.
        id.give_to(Object::Device(idev.clone()), None);
        group.dismiss();
        if let Some(named) = named {
            named.dismiss();
        }
        let device = Self {
            idev,
            ctx: ctx.clone(),
        };
        ctx.container.note_ioasids();
        Ok(KBox::write(room, device))
    }

    /// The id that userspace knows the device by.
    pub(crate) fn id(&self) -> u32 {
        self.idev.id()
    }

    /// The context that the device is bound to.
    pub(crate) fn context(&self) -> &Arc<Context> {
        &self.ctx
    }

    /// Attaches the device to the address space, or to the domain, whose id is `pt_id`. Returns
    /// the id of the domain.
    ///
    /// # Errors
    ///
    /// `ENOENT`: neither has that id; and those of [`crate::objects::group::Group::attach`].
    pub(crate) fn attach(&self, pt_id: u32) -> Result<u32> {
        let (target, mut ids) = self.target(pt_id)?;
        self.idev.group().attach(&self.idev, &target, &mut ids)
    }

    /// Moves the device's group to the address space, or to the domain, whose id is `pt_id`.
    /// Returns the id of the domain.
    ///
    /// # Errors
    ///
    /// As [`Self::attach`], and those of [`crate::objects::group::Group::replace`].
    pub(crate) fn replace(&self, pt_id: u32) -> Result<u32> {
        let (target, mut ids) = self.target(pt_id)?;
        self.idev.group().replace(&self.idev, &target, &mut ids)
    }

    fn target(&self, pt_id: u32) -> Result<(Target, HwptIds<'_>)> {
        match self.ctx.objects.get(pt_id) {
            Some(Object::Hwpt(hwpt, ioas)) => {
                let wanted = WantedHwpt::This(hwpt);
                Ok((Target { ioas, wanted }, HwptIds::new(&self.ctx.objects)))
            }
            Some(Object::Ioas(ioas)) => {
                let (ids, fresh) = HwptIds::with_fresh(&self.ctx.objects, &ioas)?;
                let wanted = WantedHwpt::Any(fresh);
                Ok((Target { ioas, wanted }, ids))
            }
            Some(Object::Device(_) | Object::Access(_)) | None => Err(ENOENT),
        }
    }

    /// Detaches the device, if it is attached.
    pub(crate) fn detach(&self) {
        let mut ids = HwptIds::new(&self.ctx.objects);
        self.idev.group().detach(&self.idev, None, &mut ids);
    }

    /// Detaches the device, if it is attached to the address space `ioasid`.
    pub(crate) fn detach_from(&self, ioasid: u32) {
        let mut ids = HwptIds::new(&self.ctx.objects);
        self.idev.group().detach(&self.idev, Some(ioasid), &mut ids);
    }
}

impl Drop for DeviceHandle {
    fn drop(&mut self) {
        // The id is free when this goes, behind all that is undone.
        let gone = self.ctx.objects.retire(&Object::Device(self.idev.clone()));
        // Nobody else takes devices out.
        warn_on!(gone.is_err());
        let mut ids = HwptIds::new(&self.ctx.objects);
        self.idev.group().unbind(&self.idev, &mut ids);
        self.ctx.cookies.remove(&self.idev);
        self.ctx.groups.leave(self.idev.group());
    }
}
