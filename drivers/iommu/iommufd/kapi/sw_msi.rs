// SPDX-License-Identifier: GPL-2.0

//! Doorbells of interrupts, where the core leaves it to `iommufd_sw_msi()` to give them an I/O
//! address. Would become part of `rust/kernel/iommu/domain.rs`.
//!
//! That is on kernels with `CONFIG_IOMMUFD_DRIVER_CORE`. All domains of a context have a doorbell
//! at the same address there, if they have it: so a group finds its own in any, once they were
//! brought there. On other kernels, nothing of this is there, and `msi.rs` has all.
//!
//! C header: [`include/linux/iommufd.h`](srctree/include/linux/iommufd.h)

use crate::{
    kapi::driver_ctx::DriverCtx,
    sys, //
};
use core::ptr::NonNull;
use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    sync::Arc, //
};

/// Whether this kernel has that function, and interrupts for it.
pub(super) const SERVED: bool = cfg!(all(CONFIG_IOMMUFD_DRIVER_CORE, CONFIG_IRQ_MSI_IOMMU));

/// What the function knows a domain by, if there is the function.
///
/// # Invariants
///
/// If there is one, it was made by `iommufd_new_sw_msi_domain()`, and is this one's to free.
pub(super) struct DomainDoorbells(Option<NonNull<sys::iommufd_hw_pagetable>>);

impl DomainDoorbells {
    /// Of a domain that it does not know.
    pub(super) const fn none() -> Self {
        Self(None)
    }

    /// Has it know a domain, which is inside of the `parent`'s if there is one.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    ///
    /// # Safety
    ///
    /// The domain has no cookie, and nobody else has it yet. It is freed before the result is
    /// dropped, and the parent's after it.
    pub(super) unsafe fn new(
        domain: *mut bindings::iommu_domain,
        parent: Option<&Self>,
    ) -> Result<Self> {
        if !SERVED {
            return Ok(Self::none());
        }
        let parent = parent.map_or(core::ptr::null_mut(), Self::as_raw);
        // SAFETY: By the contract.
        let new = unsafe { sys::iommufd_new_sw_msi_domain(domain, parent) };
        // INVARIANT: Just made.
        Ok(Self(Some(NonNull::new(new).ok_or(ENOMEM)?)))
    }

    fn as_raw(&self) -> *mut sys::iommufd_hw_pagetable {
        self.0.map_or(core::ptr::null_mut(), NonNull::as_ptr)
    }
}

impl Drop for DomainDoorbells {
    fn drop(&mut self) {
        // SAFETY: By the type invariant, or it is NULL, which the function takes; the domain is
        // gone.
        unsafe { bindings::kfree(self.as_raw().cast()) }
    }
}

/// What the function knows the devices of a group by, and which doorbells they know.
///
/// # Invariants
///
/// If there is one, it was made by `iommufd_new_sw_msi_group()` for `ctx`, and is this one's to
/// free.
pub(super) struct GroupDoorbells {
    idev: Option<NonNull<sys::iommufd_device>>,
    _ctx: Arc<DriverCtx>,
}

// SAFETY: It belongs to no thread.
unsafe impl Send for GroupDoorbells {}
// SAFETY: What changes in it is the kernel's, which has locks for it.
unsafe impl Sync for GroupDoorbells {}

impl GroupDoorbells {
    /// Of a group whose devices know of none.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn new(ctx: Arc<DriverCtx>) -> Result<Self> {
        let idev = if SERVED {
            // SAFETY: The context lives as long as the result.
            let new = unsafe { sys::iommufd_new_sw_msi_group(ctx.as_raw()) };
            Some(NonNull::new(new).ok_or(ENOMEM)?)
        } else {
            None
        };
        // INVARIANT: Just made.
        Ok(Self { idev, _ctx: ctx })
    }

    /// What stands for each device of the group in `struct iommufd_attach_handle`.
    pub(super) fn as_raw(&self) -> *mut sys::iommufd_device {
        self.idev.map_or(core::ptr::null_mut(), NonNull::as_ptr)
    }

    /// Has the doorbells be at `start` and behind, or where the hardware has them, with no I/O
    /// address.
    pub(super) fn place(&self, start: Option<u64>) {
        if SERVED {
            let start = start.unwrap_or(bindings::phys_addr_t::MAX);
            // SAFETY: By the type invariant.
            unsafe { sys::iommufd_place_sw_msi(self.as_raw(), start) }
        }
    }

    /// Has those that the devices know be in a domain.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or what the IOMMU driver says.
    pub(super) fn carry_to(&self, domain: &DomainDoorbells) -> Result {
        if !SERVED {
            return Ok(());
        }
        // SAFETY: By the type invariants.
        to_result(unsafe { sys::iommufd_carry_sw_msi(self.as_raw(), domain.as_raw()) })
    }
}

impl Drop for GroupDoorbells {
    fn drop(&mut self) {
        // SAFETY: By the type invariant, or it is NULL, which the function takes.
        unsafe { bindings::kfree(self.as_raw().cast()) }
    }
}
