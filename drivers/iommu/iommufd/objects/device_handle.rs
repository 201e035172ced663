// SPDX-License-Identifier: GPL-2.0

//! What a kernel driver holds of the device that it has bound to a context.

use crate::{
    kapi::{
        attachment::NO_PASID,
        device::BoundDevice, //
    },
    objects::{
        context::Context,
        group::Idev,
        group_attach::Target,
        hwpt_ids::HwptIds,
        table::{
            Object,
            Objects, //
        }, //
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
    /// by the cookie if there is one. `msi_may_leak` accepts one that could send forged
    /// interrupts.
    ///
    /// # Errors
    ///
    /// Those of [`BoundDevice::claim`]; `EBUSY`: another device has the cookie; `ENOMEM`,
    /// `ENOSPC`.
    pub(crate) fn bind(
        ctx: &Arc<Context>,
        dev: BoundDevice<'_>,
        cookie: Option<u64>,
        msi_may_leak: bool,
    ) -> Result<KBox<Self>> {
        let room = KBox::new_uninit(GFP_KERNEL_ACCOUNT)?;
        let id = ctx.objects.reserve_id()?;
        let group = ctx.groups.join(&dev, ctx.drivers())?;
        let idev = Idev::new(id.number(), dev.device(), group.clone())?;
        let named = match cookie {
            Some(cookie) => Some(ctx.cookies.add(cookie, idev.clone())?),
            None => None,
        };
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

    /// Attaches the device, or a PASID of it, to the address space, or to the domain, whose id is
    /// `pt_id`. Returns the id of the domain.
    ///
    /// # Errors
    ///
    /// `ENOENT`: nothing has that id. `EINVAL`: something else has. Those of
    /// [`crate::objects::group::Group::attach`], or of
    /// [`crate::objects::group::Group::attach_pasid`].
    pub(crate) fn attach(&self, pasid: u32, pt_id: u32) -> Result<u32> {
        let _charges = self.ctx.hold_charges()?;
        let group = self.idev.group();
        self.go(pt_id, |target, ids| match pasid {
            NO_PASID => group.attach(&self.idev, target, ids),
            _ => group.attach_pasid(&self.idev, pasid, target, ids.objects()),
        })
    }

    /// Moves the device's group, or a PASID of it, to the address space, or to the domain, whose
    /// id is `pt_id`. Returns the id of the domain.
    ///
    /// # Errors
    ///
    /// As [`Self::attach`], and those of [`crate::objects::group::Group::replace`], or of
    /// [`crate::objects::group::Group::replace_pasid`].
    pub(crate) fn replace(&self, pasid: u32, pt_id: u32) -> Result<u32> {
        let _charges = self.ctx.hold_charges()?;
        let group = self.idev.group();
        self.go(pt_id, |target, ids| match pasid {
            NO_PASID => group.replace(&self.idev, target, ids),
            _ => group.replace_pasid(&self.idev, pasid, target, ids.objects()),
        })
    }

    /// Finds what has an id, and goes there. A domain of userspace's is not destroyed meanwhile.
    fn go<'a>(
        &'a self,
        pt_id: u32,
        go: impl FnOnce(&Target<'_>, &mut HwptIds<'a>) -> Result<u32>,
    ) -> Result<u32> {
        let objects: &Objects = &self.ctx.objects;
        let (ioas, wanted, mut ids) = match objects.get(pt_id) {
            Some(Object::Hwpt(hwpt, ioas)) => (ioas, WantedHwpt::This(hwpt), HwptIds::new(objects)),
            Some(Object::Ioas(ioas)) => {
                let (ids, fresh) = HwptIds::with_fresh(objects, &ioas)?;
                (ioas, WantedHwpt::Any(fresh), ids)
            }
            Some(Object::Nested(nested)) => {
                return nested.with_domain(|domain| {
                    let target = Target {
                        ioas: nested.ioas().clone(),
                        wanted: WantedHwpt::This(nested.parent().clone()),
                        inside: Some((&nested, domain)),
                    };
                    go(&target, &mut HwptIds::new(objects))
                })
            }
            Some(_) => return Err(EINVAL),
            None => return Err(ENOENT),
        };
        let target = Target {
            ioas,
            wanted,
            inside: None,
        };
        go(&target, &mut ids)
    }

    /// Detaches the device, or a PASID of it, if it is attached.
    pub(crate) fn detach(&self, pasid: u32) {
        if pasid != NO_PASID {
            return self.idev.group().detach_pasid(&self.idev, pasid);
        }
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
