// SPDX-License-Identifier: GPL-2.0

//! Groups on domains. Would become `rust/kernel/iommu/attachment.rs`.
//!
//! C header: [`include/linux/iommu.h`](srctree/include/linux/iommu.h)

use super::{
    device::{
        OwnedDevice,
        OwnedGroup, //
    },
    domain::Domain, //
};
use crate::sys;
use kernel::{
    error::to_result,
    prelude::*,
    sync::Arc,
    types::Opaque, //
};

/// What the core knows an attachment by; a new one for each.
type AttachHandle = KBox<Opaque<sys::iommu_attach_handle>>;

/// A group on a domain of ours. Dropping this blocks the group's DMA again.
///
/// # Invariants
///
/// The group is attached to `domain` with `handle`, which it counts, and so its DMA ownership is
/// claimed.
pub(crate) struct Attachment {
    group: Arc<OwnedGroup>,
    domain: Arc<Domain>,
    handle: AttachHandle,
}

// SAFETY: An attachment belongs to no thread; the handle is the core's to look at.
unsafe impl Send for Attachment {}
// SAFETY: Through `&Attachment` nothing but the domain, which is `Sync`, can be reached.
unsafe impl Sync for Attachment {}

impl Attachment {
    /// Puts the whole group of `dev` on `domain`.
    ///
    /// # Errors
    ///
    /// `EINVAL`: the domain does not suit this group, another may. Any other errno is final.
    pub(crate) fn new(dev: &OwnedDevice, domain: Arc<Domain>) -> Result<Self> {
        let handle = Self::new_handle()?;
        let group = dev.group().clone();
        // SAFETY: Domain and group are valid; the handle lives until the group is off it.
        to_result(unsafe {
            sys::iommu_attach_group_handle(domain.as_raw(), group.as_raw(), handle.get())
        })?;
        group.count_attachment();
        // INVARIANT: Just attached, and counted while this device is there, whose claim holds.
        Ok(Self {
            group,
            domain,
            handle,
        })
    }

    fn new_handle() -> Result<AttachHandle> {
        Ok(KBox::new(Opaque::zeroed(), GFP_KERNEL_ACCOUNT)?)
    }

    /// The domain that the group is on.
    pub(crate) fn domain(&self) -> &Arc<Domain> {
        &self.domain
    }

    /// Moves the group to another domain. Its DMA goes through one or the other, and may be
    /// dropped in between.
    ///
    /// # Errors
    ///
    /// As [`Self::new`]; the group then is where it was.
    pub(crate) fn replace(&mut self, domain: Arc<Domain>) -> Result {
        // Attaching checks this; replacing does not.
        if !domain.has_driver_of(&self.domain) {
            return Err(EINVAL);
        }
        let handle = Self::new_handle()?;
        // SAFETY: Group and domain are valid; the handle lives until the group is off the domain.
        to_result(unsafe {
            sys::iommu_replace_group_handle(self.group.as_raw(), domain.as_raw(), handle.get())
        })?;
        // INVARIANT: The core has forgotten the old pair and knows the new one.
        self.domain = domain;
        self.handle = handle;
        Ok(())
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        let group = self.group.as_raw();
        // SAFETY: By the type invariant.
        unsafe { sys::iommu_detach_group_handle(self.domain.as_raw(), group) }
        self.group.forget_attachment();
    }
}
