// SPDX-License-Identifier: GPL-2.0

//! Devices that a driver has bound to a context, and what userspace can learn of them.

use crate::{
    context::{
        Context,
        Object, //
    },
    group::{
        Attached,
        Group,
        Target, //
    },
    hwpt::Hwpt,
    io_pagetable::attach::{
        usable_pgsizes,
        Wanted, //
    },
    ioas::IoasUser,
    iova::IovaRange,
    kapi::{
        device::{
            BoundDevice,
            OwnedDevice, //
        },
        domain::Domain,
        user, //
    },
    module_parameters,
    uapi::*,
};
use core::mem::size_of;
use kernel::{
    page::PAGE_SIZE,
    prelude::*,
    sync::Arc,
    uaccess::UserPtr, //
};

/// A device bound to a context: what the driver that bound it holds. Dropping it unbinds.
pub(crate) struct Device {
    id: u32,
    group: Arc<Group>,
    ctx: Arc<Context>,
}

impl Device {
    /// Binds a device; its DMA is blocked until it is attached. Userspace names it by its id, and
    /// by the cookie if there is one.
    ///
    /// # Errors
    ///
    /// Those of [`BoundDevice::claim`]; `EBUSY`: another device has the cookie; `ENOMEM`.
    pub(crate) fn bind(
        ctx: &Arc<Context>,
        dev: BoundDevice<'_>,
        cookie: Option<u64>,
    ) -> Result<KBox<Self>> {
        let id = ctx.reserve_id()?;
        let group = ctx.join_group(&dev)?;
        // From here on, dropping the device undoes what was done so far.
        let device = Self {
            id: id.keep(),
            group,
            ctx: ctx.clone(),
        };
        let device = KBox::new(device, GFP_KERNEL_ACCOUNT)?;
        let msi_may_leak = *module_parameters::allow_unsafe_interrupts.value_ref();
        if let Some(cookie) = cookie {
            ctx.add_cookie(cookie, device.id)?;
        }
        device.group.bind(device.id, dev, ctx, msi_may_leak)?;
        ctx.publish(device.id, Object::Device(device.group.clone()))?;
        Ok(device)
    }

    /// The id that userspace knows the device by.
    pub(crate) fn id(&self) -> u32 {
        self.id
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
    /// `ENOENT`: neither has that id; and those of [`Group::attach`].
    pub(crate) fn attach(&self, pt_id: u32) -> Result<u32> {
        self.go_to(pt_id, |target| self.group.attach(self.id, target))
    }

    /// Moves the device's group to the address space, or to the domain, whose id is `pt_id`.
    /// Returns the id of the domain.
    ///
    /// # Errors
    ///
    /// As [`Self::attach`], and those of [`Group::replace`].
    pub(crate) fn replace(&self, pt_id: u32) -> Result<u32> {
        self.go_to(pt_id, |target| self.group.replace(self.id, target))
    }

    fn go_to(&self, pt_id: u32, go: impl FnOnce(Target) -> Result<Attached>) -> Result<u32> {
        let attached = match self.ctx.get(pt_id).ok_or(ENOENT)? {
            Object::Hwpt(hwpt) => go(Target {
                ioas: hwpt.ioas().clone(),
                wanted: Wanted::This(pt_id),
            })?,
            Object::Ioas(_) => self.go_to_any(self.ctx.use_ioas(pt_id)?, go)?,
            Object::Device(_) | Object::Access(_) => return Err(ENOENT),
        };
        self.forget_hwpt(attached.gone);
        Ok(attached.hwpt)
    }

    /// Whatever can fail is done before the device moves: so the domain that it may need has its
    /// id before it is there, and gives it back if another is found.
    fn go_to_any(
        &self,
        ioas: IoasUser,
        go: impl FnOnce(Target) -> Result<Attached>,
    ) -> Result<Attached> {
        let hwpt = Hwpt::new(ioas.clone(), false)?;
        let id = self.ctx.reserve_id()?.publish(Object::Hwpt(hwpt))?;
        let wanted = Wanted::Any(id);
        let attached = go(Target { ioas, wanted });
        let used = attached.as_ref().is_ok_and(|attached| attached.hwpt == id);
        self.forget_hwpt((!used).then_some(id));
        attached
    }

    fn forget_hwpt(&self, id: Option<u32>) {
        if let Some(id) = id {
            self.ctx.remove(id);
        }
    }

    /// Detaches the device, if it is attached.
    pub(crate) fn detach(&self) {
        self.forget_hwpt(self.group.detach(self.id, None));
    }

    /// Detaches the device, if it is attached to the address space `ioasid`.
    pub(crate) fn detach_from(&self, ioasid: u32) {
        self.forget_hwpt(self.group.detach(self.id, Some(ioasid)));
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.forget_hwpt(self.group.unbind(self.id));
        self.ctx.leave_group(&self.group);
        self.ctx.remove_device(self.id);
    }
}

/// What a device and its IOMMU can do.
struct Abilities {
    enforce_snoop: bool,
    pgsizes: u64,
    aperture: IovaRange,
    ranges: KVec<IovaRange>,
}

/// `IOMMU_DEVICE_GET_INFO`.
pub(crate) fn get_info(ctx: &Context, arg: UserPtr) -> Result<isize> {
    let mut info: DeviceInfo = user::read_known(arg)?;
    let id = ctx.device_id(info.dev_cookie)?;
    let Some(Object::Device(group)) = ctx.get(id) else {
        return Err(ENOENT);
    };
    let abilities = group.with_device(id, |dev, seat| match seat {
        Some(seat) => Abilities::of(dev, seat.domain(), seat.ioas().usable_ranges()?),
        None => {
            let domain = Domain::new(dev, 0)?;
            let ranges = own_ranges(dev, &domain)?;
            Abilities::of(dev, &domain, ranges)
        }
    })?;
    let chain = abilities.capabilities()?;
    abilities.describe(&mut info);
    let needed = size_of::<DeviceInfo>() + chain.len();
    if (info.argsz as usize) < needed {
        info.argsz = u32::try_from(needed).map_err(|_| EOVERFLOW)?;
    } else {
        info.cap_offset = size_of::<DeviceInfo>() as u32;
        user::write_bytes(arg, size_of::<DeviceInfo>(), &chain)?;
    }
    user::write_bytes(arg, 0, info.as_bytes())?;
    Ok(0)
}

/// What a device that is not attached could use.
fn own_ranges(dev: &OwnedDevice, domain: &Domain) -> Result<KVec<IovaRange>> {
    let mut holes = KVec::new();
    for region in dev.reserved_regions()? {
        holes.push(region.range(), GFP_KERNEL)?;
    }
    let mut ranges = KVec::new();
    if let Some(aperture) = domain.aperture() {
        for range in aperture.without(&holes) {
            ranges.push(range, GFP_KERNEL)?;
        }
    }
    Ok(ranges)
}

impl Abilities {
    fn of(dev: &OwnedDevice, domain: &Domain, ranges: KVec<IovaRange>) -> Result<Self> {
        Ok(Self {
            enforce_snoop: dev.can_enforce_snoop(),
            pgsizes: usable_pgsizes(domain.pgsize_bitmap(), PAGE_SIZE as u64),
            aperture: domain.aperture().ok_or(ENODEV)?,
            ranges,
        })
    }

    /// Fills in everything but sizes and offsets.
    fn describe(&self, info: &mut DeviceInfo) {
        info.flags =
            IOMMU_DEVICE_INFO_PGSIZES | IOMMU_DEVICE_INFO_ADDR_WIDTH | IOMMU_DEVICE_INFO_CAPS;
        if self.enforce_snoop {
            info.flags |= IOMMU_DEVICE_INFO_ENFORCE_SNOOP;
        }
        info.pgsize_bitmap = self.pgsizes;
        info.addr_width = u64::BITS - self.aperture.last().leading_zeros();
        info.cap_offset = 0;
    }

    /// The chain of capabilities, of which there is one.
    fn capabilities(&self) -> Result<KVec<u8>> {
        let head = CapIovaRange {
            id: VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE as u16,
            version: 1,
            next: 0,
            nr_iovas: u32::try_from(self.ranges.len()).map_err(|_| EOVERFLOW)?,
            reserved: 0,
        };
        let mut chain = KVec::new();
        chain.extend_from_slice(head.as_bytes(), GFP_KERNEL)?;
        for range in &self.ranges {
            let range = CapRange {
                start: range.first(),
                end: range.last(),
            };
            chain.extend_from_slice(range.as_bytes(), GFP_KERNEL)?;
        }
        Ok(chain)
    }
}
