// SPDX-License-Identifier: GPL-2.0

//! Groups, and their PASIDs, on domains. Would become `rust/kernel/iommu/attachment.rs`.
//!
//! C header: [`include/linux/iommu.h`](srctree/include/linux/iommu.h)

use super::{
    attach_handle::AttachHandle,
    device::{
        OwnedDevice,
        OwnedDevices,
        OwnedGroup, //
    },
    domain::Domain,
    fault_queue::FaultQueue,
    msi::SwMsi,
    nested::NestedDomain,
    sw_msi, //
};
use crate::sys;
use core::mem::ManuallyDrop;
use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    sync::Arc,
    warn_on, //
};

/// DMA that carries no PASID.
pub(crate) const NO_PASID: u32 = bindings::IOMMU_NO_PASID;

/// What translates for a group: a paging domain, or a domain inside of one.
#[derive(Clone)]
pub(crate) enum Translation {
    /// The paging domain alone.
    Paging(Arc<Domain>),
    /// A domain of userspace's, and then the paging domain that it is inside of.
    Nested(Arc<NestedDomain>),
}

impl Translation {
    fn as_raw(&self) -> *mut bindings::iommu_domain {
        match self {
            Self::Paging(domain) => domain.as_raw(),
            Self::Nested(nested) => nested.as_raw(),
        }
    }

    /// Where the page faults of its devices go, if they go anywhere.
    fn faults(&self) -> Option<&Arc<FaultQueue>> {
        match self {
            Self::Paging(domain) => domain.faults(),
            Self::Nested(nested) => nested.faults(),
        }
    }

    /// Whether devices can be on it: those that share their page requests with others cannot tell
    /// userspace of them, for what it does not answer well would be the fault of all.
    fn suits(&self, devices: &OwnedDevices<'_>) -> bool {
        self.faults().is_none() || !devices.share_page_requests()
    }

    /// The paging domain.
    fn paging(&self) -> &Arc<Domain> {
        match self {
            Self::Paging(domain) => domain,
            Self::Nested(nested) => nested.parent(),
        }
    }
}

/// Where the doorbells of a device's interrupts begin, if they get I/O addresses by
/// `iommufd_sw_msi()`.
fn doorbells_of(dev: &OwnedDevice) -> Result<Option<u64>> {
    if !sw_msi::SERVED {
        return Ok(None);
    }
    let mut place = SwMsi::None;
    for region in dev.reserved_regions()? {
        place.learn(&region);
    }
    Ok(place.region().map(|region| region.first()))
}

/// The DMA of a group, without a PASID or with a certain one, on a domain of ours. Dropping this
/// blocks it again. That of a device that no IOMMU has goes where it likes, and nobody is told.
///
/// # Invariants
///
/// What it says is attached to the domain of `by` with `handle`. `group` counts it, and so its DMA
/// ownership is claimed. `by` translates if, and only if, an IOMMU has the devices of `group`.
pub(crate) struct Attachment {
    group: Arc<OwnedGroup>,
    pasid: u32,
    by: ManuallyDrop<Translation>,
    /// A new one each time.
    handle: ManuallyDrop<KBox<AttachHandle>>,
}

// SAFETY: An attachment belongs to no thread; the handle is the core's to look at.
unsafe impl Send for Attachment {}
// SAFETY: Through `&Attachment` nothing but the domain, which is `Sync`, can be reached.
unsafe impl Sync for Attachment {}

impl Attachment {
    /// Has the DMA of the whole group of `dev`, which userspace knows by `dev_id`, that carries
    /// `pasid` translated.
    ///
    /// # Errors
    ///
    /// `EINVAL`: the domain does not suit this group, another may; or no device can have that
    /// PASID. Any other errno is final. `EOPNOTSUPP`: the IOMMU knows no PASIDs. `EBUSY`: a device
    /// is being reset.
    pub(crate) fn new(dev: &OwnedDevice, dev_id: u32, pasid: u32, by: Translation) -> Result<Self> {
        let group = dev.group().clone();
        if by.paging().translates() != dev.is_translated() || !by.suits(&group.devices()) {
            return Err(EINVAL);
        }
        if pasid == NO_PASID {
            group.doorbells().place(doorbells_of(dev)?);
            group.doorbells().carry_to(by.paging().doorbells())?;
        }
        let handle = AttachHandle::new(dev_id, by.faults(), group.doorbells())?;
        let to = by.as_raw();
        to_result(match group.as_raw() {
            None => 0,
            // SAFETY: Domain and group are valid; the handle lives until the group is off it.
            Some(group) if pasid == NO_PASID => unsafe {
                sys::iommu_attach_group_handle(to, group, handle.as_raw())
            },
            // SAFETY: As above, and the device is owned, so it has a driver and that group.
            Some(_) => unsafe {
                bindings::iommu_attach_device_pasid(to, dev.as_raw(), pasid, handle.as_raw())
            },
        })?;
        group.count_attachment();
        // INVARIANT: Just attached, and counted while this device is there, whose claim holds.
        Ok(Self {
            group,
            pasid,
            by: ManuallyDrop::new(by),
            handle: ManuallyDrop::new(handle),
        })
    }

    /// Has page faults be told of under the id of another device that is attached.
    pub(crate) fn set_dev_id(&self, dev_id: u32) {
        self.handle.set_dev_id(dev_id);
    }

    /// The paging domain that it is on, be it by way of another.
    pub(crate) fn domain(&self) -> &Arc<Domain> {
        self.by.paging()
    }

    /// Whether all devices of the group that have owners by now can be on it.
    pub(crate) fn suits(&self) -> bool {
        self.by.suits(&self.group.devices())
    }

    /// Moves it to another domain. Its DMA goes through one or the other, and may be dropped in
    /// between.
    ///
    /// # Errors
    ///
    /// As [`Self::new`]; it then is where it was.
    pub(crate) fn replace(&mut self, by: Translation) -> Result {
        let devices = self.group.devices();
        // For groups, attaching checks the former; replacing does not.
        if !by.paging().has_driver_of(self.domain()) || !by.suits(&devices) {
            return Err(EINVAL);
        }
        let doorbells = self.group.doorbells();
        if self.pasid == NO_PASID {
            doorbells.carry_to(by.paging().doorbells())?;
        }
        let handle = AttachHandle::new(self.handle.dev_id(), by.faults(), doorbells)?;
        let to = by.as_raw();
        to_result(match self.group.as_raw() {
            None => 0,
            // SAFETY: Group and domain are valid; the handle lives until the group is off the
            // domain.
            Some(group) if self.pasid == NO_PASID => unsafe {
                sys::iommu_replace_group_handle(group, to, handle.as_raw())
            },
            Some(_) => {
                let dev = devices.any().ok_or(ENODEV)?;
                // SAFETY: As above. The device has an owner meanwhile, and so a driver and that
                // group.
                unsafe { sys::iommu_replace_device_pasid(to, dev, self.pasid, handle.as_raw()) }
            }
        })?;
        // INVARIANT: The core has forgotten the old pair and knows the new one. Whoever made one
        // domain has made the other.
        *self.handle = handle;
        *self.by = by;
        Ok(())
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        let from = self.by.as_raw();
        let devices = self.group.devices();
        match self.group.as_raw() {
            None => {}
            // SAFETY: By the type invariant.
            Some(group) if self.pasid == NO_PASID => unsafe {
                sys::iommu_detach_group_handle(from, group)
            },
            Some(_) => {
                let Some(dev) = devices.any() else {
                    // Nobody can detach it any more: the core goes on knowing domain and handle.
                    warn_on!(true);
                    return;
                };
                // SAFETY: By the type invariant. The device has an owner meanwhile, and so a driver
                // and that group.
                unsafe { bindings::iommu_detach_device_pasid(from, dev, self.pasid) }
            }
        }
        self.group.forget_attachment();
        // SAFETY: The core has forgotten both, and so will this.
        unsafe { ManuallyDrop::drop(&mut self.handle) };
        // SAFETY: As above.
        unsafe { ManuallyDrop::drop(&mut self.by) };
    }
}

/// Whether the core has the DMA of a device that carries `pasid` translated by that, or by nothing
/// of ours.
#[cfg(IOMMUFD_MOCK)]
pub(crate) fn is_on(dev: &OwnedDevice, pasid: u32, by: Option<&Translation>) -> bool {
    // What was attached is not detached, or moved, meanwhile.
    let devices = dev.group().devices();
    let Some(group) = dev.group().as_raw() else {
        return by.is_none();
    };
    // SAFETY: The group is valid; any domain will do.
    let handle = unsafe { sys::iommu_attach_handle_get(group, pasid, 0) };
    let found = kernel::error::from_err_ptr(handle).map(|handle| {
        // SAFETY: What is attached has its handle until it is not.
        unsafe { (*handle).domain }
    });
    drop(devices);
    found.ok() == by.map(Translation::as_raw)
}
