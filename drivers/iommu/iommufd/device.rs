// SPDX-License-Identifier: GPL-2.0

//! Devices that a driver has bound to a context, and what userspace can learn of them.

use crate::{
    context::{
        Context,
        Object, //
    },
    group::Group,
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

    /// Attaches the device to the address space `ioasid`.
    ///
    /// # Errors
    ///
    /// `ENOENT`: there is none; and those of [`Group::attach`].
    pub(crate) fn attach(&self, ioasid: u32) -> Result {
        self.group.attach(self.id, self.ctx.use_ioas(ioasid)?)
    }

    /// Moves the device's group to the address space `ioasid`.
    ///
    /// # Errors
    ///
    /// `ENOENT`: there is none; and those of [`Group::replace`].
    pub(crate) fn replace(&self, ioasid: u32) -> Result {
        self.group.replace(self.id, self.ctx.use_ioas(ioasid)?)
    }

    /// Detaches the device, if it is attached.
    pub(crate) fn detach(&self) {
        self.group.detach(self.id, None)
    }

    /// Detaches the device, if it is attached to the address space `ioasid`.
    pub(crate) fn detach_from(&self, ioasid: u32) {
        self.group.detach(self.id, Some(ioasid))
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.group.unbind(self.id);
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
            let domain = Domain::new(dev)?;
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

/// The page sizes that mappings can be made of, in a kernel of pages of `page` bytes: memory
/// comes in those, however small the IOMMU's are.
fn usable_pgsizes(bitmap: u64, page: u64) -> u64 {
    let small = bitmap & (page - 1);
    (bitmap & !(page - 1)) | if small != 0 { page } else { 0 }
}

#[kunit_tests(iommufd_device)]
mod tests {
    use super::*;

    #[test]
    fn pgsizes() {
        const K4: u64 = 1 << 12;
        const K64: u64 = 1 << 16;
        const M2: u64 = 1 << 21;
        const G1: u64 = 1 << 30;
        assert_eq!(usable_pgsizes(K4 | M2 | G1, K4), K4 | M2 | G1);
        assert_eq!(usable_pgsizes(K4 | M2 | G1, K64), K64 | M2 | G1);
        assert_eq!(usable_pgsizes(K64 | M2, 1 << 14), K64 | M2);
        assert_eq!(usable_pgsizes(!0xfff, K4), !0xfff);
    }
}
