// SPDX-License-Identifier: GPL-2.0

//! What userspace can learn of a device that is bound.

use super::structs::*;
use crate::{
    iova::IovaRange,
    kapi::{
        device::OwnedDevice,
        domain::Domain,
        user, //
    },
    objects::context::Context,
    space::attach::usable_pgsizes, //
};
use core::mem::size_of;
use kernel::{
    page::PAGE_SIZE,
    prelude::*,
    uaccess::UserPtr, //
};

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
    let idev = ctx.cookies.device(&ctx.objects, info.dev_cookie)?;
    let abilities = idev
        .group()
        .with_device(&idev, |dev, attached| match attached {
            Some(there) => Abilities::of(dev, there.domain(), there.ioas().iopt.usable_ranges()?),
            None => {
                let domain = Domain::new(dev, 0, None)?;
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
