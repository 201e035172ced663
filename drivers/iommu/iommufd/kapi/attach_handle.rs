// SPDX-License-Identifier: GPL-2.0

//! What the core knows an attachment by, and leads the page faults of its devices back with. Would
//! become part of `rust/kernel/iommu/attachment.rs`.
//!
//! C header: [`include/linux/iommu.h`](srctree/include/linux/iommu.h)

use super::{
    fault::FaultGroup,
    fault_queue::FaultQueue,
    sw_msi::GroupDoorbells, //
};
use crate::sys;
use core::ptr::{
    null_mut,
    NonNull, //
};
use kernel::{
    bindings,
    prelude::*,
    sync::{
        atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        Arc,
        SetOnce, //
    },
    types::Opaque,
    warn_on, //
};

/// Where the page faults of a domain's devices go, if they go anywhere.
pub(super) struct Faults(SetOnce<Arc<FaultQueue>>);

impl Faults {
    /// Nowhere.
    pub(super) const fn new() -> Self {
        Self(SetOnce::new())
    }

    /// Has them go to a queue, once. Nothing has come to the domain yet.
    ///
    /// # Safety
    ///
    /// `domain` is the domain, and ours.
    pub(super) unsafe fn set(&self, domain: *mut bindings::iommu_domain, queue: Arc<FaultQueue>) {
        if warn_on!(!self.0.populate(queue)) {
            return;
        }
        // SAFETY: By the contract. Whoever reads it at this moment finds the one or the other, and
        // the function refuses what came too early.
        unsafe { (&raw mut (*domain).iopf_handler).write_volatile(Some(take_faults)) };
    }

    /// Where they go.
    pub(super) fn get(&self) -> Option<&Arc<FaultQueue>> {
        self.0.as_ref()
    }
}

/// What the core knows an attachment by, and where the page faults go that come by way of it.
/// Dropping this, when the core has forgotten it, says of those that they are invalid.
#[repr(C)]
pub(super) struct AttachHandle {
    /// First, for it is what the core has. What comes behind that in here, it has from us as well
    /// where it calls `iommufd_sw_msi()`.
    raw: Opaque<sys::iommufd_attach_handle>,
    /// The id by which userspace knows a device that is attached.
    dev_id: Atomic<u32>,
    faults: Option<Arc<FaultQueue>>,
}

impl AttachHandle {
    /// One for an attachment to a domain whose faults go to `faults`. The `doorbells` are its
    /// group's, and live as long.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn new(
        dev_id: u32,
        faults: Option<&Arc<FaultQueue>>,
        doorbells: &GroupDoorbells,
    ) -> Result<KBox<Self>> {
        let handle = Self {
            raw: Opaque::new(sys::iommufd_attach_handle {
                handle: bindings::iommu_attach_handle { domain: null_mut() },
                idev: doorbells.as_raw(),
            }),
            dev_id: Atomic::new(dev_id),
            faults: faults.cloned(),
        };
        Ok(KBox::new(handle, GFP_KERNEL_ACCOUNT)?)
    }

    pub(super) fn as_raw(&self) -> *mut bindings::iommu_attach_handle {
        self.raw.get().cast()
    }

    /// The id by which userspace knows a device that is attached.
    pub(super) fn dev_id(&self) -> u32 {
        self.dev_id.load(Relaxed)
    }

    /// Names another device that is.
    pub(super) fn set_dev_id(&self, dev_id: u32) {
        self.dev_id.store(dev_id, Relaxed);
    }
}

impl Drop for AttachHandle {
    fn drop(&mut self) {
        if let Some(faults) = &self.faults {
            faults.answer_all_of(self.as_raw());
        }
    }
}

/// Takes a group of faults over, if it returns zero.
///
/// # Safety
///
/// The core calls this, with a group that came by way of an attachment to a domain of ours. The
/// IOMMU driver lets the attachment go only when it is through with them.
unsafe extern "C" fn take_faults(group: *mut bindings::iopf_group) -> c_int {
    // SAFETY: By the contract.
    let handle = unsafe { (*group).attach_handle };
    // SAFETY: What is attached to a domain of ours has the `raw` of an `AttachHandle`, which is its
    // first field, and there until the attachment is gone.
    let handle = unsafe { &*handle.cast::<AttachHandle>() };
    let (Some(group), Some(faults)) = (NonNull::new(group), &handle.faults) else {
        return EINVAL.to_errno();
    };
    // SAFETY: By the contract. Its device does not go before the handle does, which has it
    // answered then.
    faults.add(unsafe { FaultGroup::take(group, handle.dev_id()) });
    0
}
