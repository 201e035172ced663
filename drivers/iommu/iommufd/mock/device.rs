// SPDX-License-Identifier: GPL-2.0

//! Devices behind the IOMMU in software: each is bound and attached when it is made, and destroyed
//! by userspace, which unbinds it.

use super::{
    face::{
        command::Command,
        device::{
            BoundTestDevice,
            Device, //
        },
        viommu, //
    },
    sys, //
};
use crate::{
    kapi::{
        attachment::{
            self,
            Translation,
            NO_PASID, //
        },
        rwsem::{
            new_rwsem,
            RwSemaphore, //
        }, //
    },
    objects::{
        context::Context,
        table::{
            Extra,
            Object, //
        }, //
    }, //
};
use core::any::Any;
use kernel::{
    bindings,
    prelude::*,
    sync::Arc,
    warn_on, //
};

/// A device that the test has made, as it finds it.
#[pin_data]
struct TestDevice {
    id: u32,
    /// The id of what is bound.
    idev: u32,
    /// Nothing once it is destroyed, which waits for those who do something with it: they hold it
    /// for reading.
    #[pin]
    bound: RwSemaphore<Option<BoundTestDevice>>,
    /// Held for writing while the device has a page fault, for which an IOMMU has those wait who
    /// move the device: they hold it for reading.
    #[pin]
    moves: RwSemaphore<()>,
}

impl Extra for TestDevice {
    fn id(&self) -> u32 {
        self.id
    }

    fn end(&self) -> Result {
        let gone = self.bound.write_killable()?.take();
        drop(gone);
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// What is done with a device that is found by its own id. It has no page fault meanwhile.
///
/// # Errors
///
/// `ENOENT`: there is none. `EINTR`. Those of `work`.
fn with<R>(ctx: &Context, id: u32, work: impl FnOnce(&BoundTestDevice) -> Result<R>) -> Result<R> {
    let Some(Object::Extra(extra)) = ctx.objects.get(id) else {
        return Err(ENOENT);
    };
    let found: &TestDevice = extra.as_any().downcast_ref().ok_or(ENOENT)?;
    let bound = found.bound.read_killable()?;
    let _moves = found.moves.read_killable()?;
    work(bound.as_ref().ok_or(ENOENT)?)
}

/// What is done with a device that is found by the id of what is bound. Nothing moves it.
///
/// # Errors
///
/// As [`with`].
fn look<R>(ctx: &Context, id: u32, work: impl FnOnce(&BoundTestDevice) -> Result<R>) -> Result<R> {
    for object in ctx.objects.iter() {
        let Object::Extra(extra) = object else {
            continue;
        };
        let found: Option<&TestDevice> = extra.as_any().downcast_ref();
        if let Some(found) = found.filter(|found| found.idev == id) {
            let bound = found.bound.read_killable()?;
            let _moves = found.moves.write_killable()?;
            return work(bound.as_ref().ok_or(ENOENT)?);
        }
    }
    Err(ENOENT)
}

/// `MOCK_DOMAIN_FLAGS`: as [`add`], with a device of its own.
///
/// # Errors
///
/// `EINVAL`: an unknown flag. As there.
pub(super) fn add_with(ctx: &Arc<Context>, cmd: Command, flags: u32) -> Result {
    const KNOWN: u32 = sys::MOCK_FLAGS_DEVICE_NO_DIRTY | sys::MOCK_FLAGS_DEVICE_PASID;
    if flags & !KNOWN != 0 {
        return Err(EINVAL);
    }
    add(ctx, cmd, Device::add(flags)?)
}

/// `ADD_BESIDE`: as [`add`], with one like another, in its group.
///
/// # Errors
///
/// `ENOENT`: there is no such other. As there.
pub(super) fn add_beside(ctx: &Arc<Context>, cmd: Command) -> Result {
    let device = with(ctx, cmd.device_flags(), Device::beside)?;
    add(ctx, cmd, device)
}

/// `MOCK_DOMAIN`, `ADD_UNTRANSLATED`: a new device is bound, and attached.
///
/// # Errors
///
/// Those of bind and attach. `EFAULT`: the answer cannot be written.
pub(super) fn add(ctx: &Arc<Context>, mut cmd: Command, device: Device) -> Result {
    let reserved = ctx.objects.reserve_id()?;
    let id = reserved.number();
    let bound = device.bind(ctx)?;
    let idev = bound.handle().id();
    let hwpt = bound.handle().attach(NO_PASID, cmd.id())?;
    let added = Arc::pin_init(
        pin_init!(TestDevice {
            id,
            idev,
            bound <- new_rwsem!(Some(bound), c"iommufd_mock_device"),
            moves <- new_rwsem!((), c"iommufd_mock_moves"),
        }),
        GFP_KERNEL_ACCOUNT,
    )?;
    cmd.set_hwpt_id(hwpt);
    cmd.set_stdev_id(id);
    cmd.set_idev_id(idev);
    cmd.answer()?;
    reserved.give_to(Object::Extra(added), None);
    Ok(())
}

/// `MOCK_DOMAIN_REPLACE`: a device goes elsewhere.
///
/// # Errors
///
/// `ENOENT`: there is no such device. Those of moving it. `EFAULT`.
pub(super) fn replace(ctx: &Context, mut cmd: Command) -> Result {
    let hwpt = with(ctx, cmd.id(), |bound| {
        bound.handle().replace(NO_PASID, cmd.replacement())
    })?;
    cmd.set_replaced(hwpt);
    cmd.answer()
}

/// `PASID_ATTACH`: a PASID of a device comes to a domain.
///
/// # Errors
///
/// `ENOENT`: there is no such device. Those of attaching it. `EFAULT`.
pub(super) fn attach_pasid(ctx: &Context, mut cmd: Command) -> Result {
    with(ctx, cmd.id(), |bound| {
        let (handle, pasid) = (bound.handle(), cmd.pasid());
        cmd.set_pasid_hwpt(handle.attach(pasid, cmd.pasid_target())?);
        cmd.answer().inspect_err(|_| handle.detach(pasid))
    })
}

/// `PASID_REPLACE`: a PASID of a device goes elsewhere.
///
/// # Errors
///
/// `ENOENT`: there is no such device. Those of moving it. `EFAULT`.
pub(super) fn replace_pasid(ctx: &Context, mut cmd: Command) -> Result {
    with(ctx, cmd.id(), |bound| {
        let hwpt = bound.handle().replace(cmd.pasid(), cmd.pasid_target())?;
        cmd.set_pasid_hwpt(hwpt);
        cmd.answer()
    })
}

/// `PASID_DETACH`: a PASID of a device goes nowhere any more.
///
/// # Errors
///
/// `ENOENT`: there is no such device.
pub(super) fn detach_pasid(ctx: &Context, cmd: &Command) -> Result {
    with(ctx, cmd.id(), |bound| {
        bound.handle().detach(cmd.pasid_detached());
        Ok(())
    })
}

/// `PASID_CHECK_HWPT`: whether the core has a PASID of a device on a domain, or on none.
///
/// # Errors
///
/// `ENOENT`: there is no such device, or no such object. `EINVAL`: it has not.
pub(super) fn check_pasid(ctx: &Context, cmd: &Command) -> Result {
    with(ctx, cmd.id(), |bound| {
        let idev = ctx.objects.device(bound.handle().id())?;
        let is_on = |by: Option<&Translation>| {
            idev.group().with_device(&idev, |dev, _| {
                if !attachment::is_on(dev, cmd.pasid_checked(), by) {
                    return Err(EINVAL);
                }
                Ok(())
            })
        };
        match cmd.pasid_hwpt() {
            0 => is_on(None),
            id => match ctx.objects.get(id).ok_or(ENOENT)? {
                Object::Hwpt(hwpt, _) => is_on(Some(&Translation::Paging(hwpt.domain().clone()))),
                Object::Nested(nested) => {
                    nested.with_domain(|domain| is_on(Some(&Translation::Nested(domain.clone()))))
                }
                _ => Err(EINVAL),
            },
        }
    })
}

/// `CHECK_TOLD`: whether the IOMMU was told last of a device that a PASID is on a domain, or on
/// none.
///
/// # Errors
///
/// `ENOENT`: there is no such device, or no such domain. `EINVAL`: it was not.
pub(super) fn check_told(ctx: &Context, cmd: &Command) -> Result {
    let hwpt = match (cmd.pasid_hwpt(), ctx.objects.get(cmd.pasid_hwpt())) {
        (0, _) => None,
        (_, Some(Object::Hwpt(hwpt, _))) => Some(hwpt),
        _ => return Err(ENOENT),
    };
    with(ctx, cmd.id(), |bound| {
        let domain = hwpt.as_ref().map(|hwpt| &**hwpt.domain());
        if !bound.was_told(cmd.pasid_checked(), domain) {
            return Err(EINVAL);
        }
        Ok(())
    })
}

/// `FAIL_PASID`: the next PASID that goes to a domain does not get there with a device.
///
/// # Errors
///
/// `ENOENT`: there is no such device.
pub(super) fn fail_pasid(ctx: &Context, cmd: &Command) -> Result {
    with(ctx, cmd.id(), |bound| {
        bound.fail_pasid();
        Ok(())
    })
}

/// `DEV_CHECK_CACHE`: whether an entry of a device's cache is as it should be; the device is named
/// by what is bound.
///
/// # Errors
///
/// `ENOENT`: there is no such device. `EINVAL`: it is not. `EINTR`.
pub(super) fn check_cache(ctx: &Context, cmd: &Command) -> Result {
    look(ctx, cmd.id(), |bound| match bound.cached(cmd.cache_id()) {
        Some(entry) if entry == cmd.cache() => Ok(()),
        _ => Err(EINVAL),
    })
}

/// `TRIGGER_IOPF`, `TRIGGER_PART`: a device, named by what is bound, asks for a page; if it is not
/// the `last` one, more of its group follow.
///
/// # Errors
///
/// `ENOENT`: there is no such device. `EINTR`.
pub(super) fn fault(ctx: &Context, cmd: &Command, last: bool) -> Result {
    let mut request = bindings::iommu_fault_page_request {
        pasid: cmd.fault_pasid(),
        grpid: cmd.fault_group(),
        perm: cmd.fault_perm(),
        addr: cmd.fault_addr(),
        ..Default::default()
    };
    if last {
        request.flags |= bindings::IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE;
    }
    if request.pasid != NO_PASID {
        request.flags |= bindings::IOMMU_FAULT_PAGE_REQUEST_PASID_VALID;
    }
    look(ctx, cmd.fault_device(), |bound| {
        bound.fault(&request);
        Ok(())
    })
}

/// `ANSWERS`: how often a device, named by what is bound, was answered with a code.
///
/// # Errors
///
/// `ENOENT`: there is no such device. `EINTR`, `EFAULT`.
pub(super) fn answers(ctx: &Context, mut cmd: Command) -> Result {
    let count = look(ctx, cmd.id(), |bound| Ok(bound.answers(cmd.cache_id())))?;
    cmd.set_cache(count);
    cmd.answer()
}

/// Unbinds all that tests have bound to a context whose file is closed. Each holds a reference on
/// the context, which would stay for ever.
pub(super) fn end(ctx: &Context) {
    for object in ctx.objects.iter() {
        if let Object::Extra(extra) = &object {
            let gone = ctx.objects.retire(&object);
            // Nobody does anything with it any more.
            warn_on!(extra.end().is_err());
            drop(gone);
        }
    }
}

/// `TRIGGER_VEVENT`: something happens to a device on a domain of a virtual IOMMU, which has its
/// number.
///
/// # Errors
///
/// `ENOENT`: there is no such device, or it is not on one. Those of telling userspace.
pub(super) fn trigger_event(ctx: &Context, cmd: &Command) -> Result {
    let idev = ctx.objects.device(cmd.event_device())?;
    idev.group().with_device(&idev, |dev, attached| {
        attached.ok_or(ENOENT)?;
        viommu::report_event(dev)
    })
}
