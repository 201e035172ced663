// SPDX-License-Identifier: GPL-2.0

//! Domains inside of domains: userspace has the first stage of a translation, and a paging domain
//! is the second. Would become `rust/kernel/iommu/nested.rs`.
//!
//! C header: [`include/linux/iommu.h`](srctree/include/linux/iommu.h)

use crate::{
    kapi::{
        attach_handle::Faults,
        device::OwnedDevice,
        domain::Domain,
        fault_queue::FaultQueue,
        sw_msi::DomainDoorbells,
        user_data::{
            UserArray,
            UserData, //
        },
        viommu::{
            RunningViommu,
            Viommu, //
        }, //
    },
    sys,
};
use core::ptr::NonNull;
use kernel::{
    bindings,
    error::from_err_ptr,
    prelude::*,
    sync::Arc, //
};

/// A domain of type `IOMMU_DOMAIN_NESTED`.
///
/// # Invariants
///
/// `ptr` is a domain that this owns. It is inside of `parent`, which `viommu` is on if it is of a
/// virtual IOMMU.
pub(crate) struct NestedDomain {
    ptr: NonNull<bindings::iommu_domain>,
    parent: Arc<Domain>,
    _viommu: Option<Arc<Viommu>>,
    faults: Faults,
    /// Dropped after the domain.
    doorbells: DomainDoorbells,
}

// SAFETY: A domain belongs to no thread.
unsafe impl Send for NestedDomain {}
// SAFETY: IOMMU drivers serialise what is done to a domain.
unsafe impl Sync for NestedDomain {}

impl NestedDomain {
    /// Makes a domain inside of `parent`, as `data` says. `flags` are those of `IOMMU_HWPT_ALLOC`
    /// that ask the IOMMU driver for something.
    ///
    /// # Errors
    ///
    /// * `EOPNOTSUPP`: the IOMMU has no such domains, or none of that type.
    /// * `EINVAL`: `parent` is another driver's, or was not made for it; or what the data are.
    /// * `EFAULT`, `ENOMEM`, and what else the driver says.
    pub(crate) fn new(
        dev: &OwnedDevice,
        parent: &Arc<Domain>,
        flags: u32,
        data: &UserData,
    ) -> Result<Arc<Self>> {
        let data = data.as_raw();
        if !dev.is_translated() {
            return Err(EOPNOTSUPP);
        }
        // SAFETY: `dev` is a device behind an IOMMU, for it has an owner of its group; the parent
        // is a paging domain, which lives as long as the result.
        let domain = unsafe {
            sys::iommufd_alloc_nested(dev.as_raw(), parent.as_raw(), flags, &raw const data)
        };
        Self::from_raw(from_err_ptr(domain)?, parent, None)
    }

    /// Makes a domain of a virtual IOMMU, inside of the one that this is on. Otherwise as
    /// [`Self::new`].
    ///
    /// # Errors
    ///
    /// As there.
    pub(crate) fn of_viommu(
        viommu: &RunningViommu,
        flags: u32,
        data: &UserData,
    ) -> Result<Arc<Self>> {
        let domain = viommu.alloc_nested(flags, data)?;
        let viommu = viommu.viommu();
        Self::from_raw(domain, viommu.parent(), Some(viommu.clone()))
    }

    /// Takes a domain over that an IOMMU driver has just made.
    fn from_raw(
        domain: *mut bindings::iommu_domain,
        parent: &Arc<Domain>,
        viommu: Option<Arc<Viommu>>,
    ) -> Result<Arc<Self>> {
        let mut nested = Self {
            // INVARIANT: A new domain is nobody else's, and was just made inside of this one.
            ptr: NonNull::new(domain).ok_or(ENODEV)?,
            parent: parent.clone(),
            _viommu: viommu,
            faults: Faults::new(),
            doorbells: DomainDoorbells::none(),
        };
        let doorbells = Some(parent.doorbells());
        // SAFETY: Just made; the domain is freed before its fields are dropped, which keep the
        // parent.
        nested.doorbells = unsafe { DomainDoorbells::new(nested.as_raw(), doorbells) }?;
        Ok(Arc::new(nested, GFP_KERNEL_ACCOUNT)?)
    }

    pub(super) fn as_raw(&self) -> *mut bindings::iommu_domain {
        self.ptr.as_ptr()
    }

    /// The domain itself, for the IOMMU that made it.
    #[cfg(IOMMUFD_MOCK)]
    pub(crate) fn as_ptr(&self) -> *mut bindings::iommu_domain {
        self.as_raw()
    }

    /// Has the page faults of its devices go to a queue. To be called once, before there are any.
    pub(crate) fn set_faults(&self, queue: Arc<FaultQueue>) {
        // SAFETY: It is this one's domain.
        unsafe { self.faults.set(self.as_raw(), queue) }
    }

    /// Where the page faults of its devices go, if they go anywhere.
    pub(super) fn faults(&self) -> Option<&Arc<FaultQueue>> {
        self.faults.get()
    }

    /// The domain that it is inside of.
    pub(crate) fn parent(&self) -> &Arc<Domain> {
        &self.parent
    }

    /// Has the IOMMU forget what userspace has changed. Returns how many of the requests were
    /// carried out, also if the next one is an error.
    ///
    /// The error is `EOPNOTSUPP` if the IOMMU cannot, `EINTR` for a fatal signal, or what the
    /// driver says.
    pub(crate) fn invalidate(&self, requests: &UserArray) -> (u32, Result) {
        requests.for_batches(|batch| {
            // SAFETY: By the type invariant; where the requests are is for userspace to say.
            unsafe { sys::iommufd_invalidate(self.as_raw(), batch) }
        })
    }
}

impl Drop for NestedDomain {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the domain is ours; whoever attached it held a reference.
        unsafe { bindings::iommu_domain_free(self.as_raw()) }
    }
}
