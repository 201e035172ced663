// SPDX-License-Identifier: GPL-2.0

//! Virtual IOMMUs: what an IOMMU driver does for the IOMMU of a guest. Would become
//! `rust/kernel/iommu/viommu.rs`.
//!
//! C header: [`include/linux/iommufd.h`](srctree/include/linux/iommufd.h)

use crate::{
    kapi::{
        device::OwnedDevice,
        domain::Domain,
        driver_ctx::{
            users_of,
            DriverCtx, //
        },
        user_data::{
            UserArray,
            UserData, //
        },
        users::Users, //
    },
    sys,
};
use core::{
    mem::size_of,
    ptr::{
        null_mut,
        NonNull, //
    }, //
};
use kernel::{
    bindings,
    error::{
        from_err_ptr,
        to_result, //
    },
    prelude::*,
    sync::Arc,
    warn_on, //
};

/// A virtual IOMMU that can be made.
pub(crate) struct NewViommu {
    iommu: NonNull<bindings::iommu_device>,
    kind: u32,
    size: usize,
}

impl OwnedDevice {
    /// The IOMMU that has it, or NULL.
    pub(super) fn iommu(&self) -> *mut bindings::iommu_device {
        if !self.is_translated() {
            return null_mut();
        }
        // SAFETY: An IOMMU has the device, as long as it is owned.
        unsafe { sys::iommufd_iommu_of(self.as_raw()) }
    }

    /// A virtual IOMMU of a type (`IOMMU_VIOMMU_TYPE_*`), for the device's IOMMU.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP`: it has none.
    pub(crate) fn viommu(&self, kind: u32) -> Result<NewViommu> {
        let iommu = NonNull::new(self.iommu()).ok_or(EOPNOTSUPP)?;
        // SAFETY: An IOMMU has the device.
        let size = unsafe { sys::iommufd_viommu_size(self.as_raw(), kind) };
        if size == 0 || warn_on!(size < size_of::<sys::iommufd_viommu>()) {
            return Err(EOPNOTSUPP);
        }
        Ok(NewViommu { iommu, kind, size })
    }
}

impl NewViommu {
    /// Makes it, as `data` say, on `parent`, which was made to have domains inside. It has ended
    /// until its users go on: what its driver offers cannot be mapped before.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, and what the driver says.
    pub(crate) fn make(
        self,
        id: u32,
        ctx: &Arc<DriverCtx>,
        parent: &Arc<Domain>,
        data: Option<&UserData>,
    ) -> Result<RunningViommu> {
        let kind = sys::iommufd_object_type_IOMMUFD_OBJ_VIOMMU;
        // SAFETY: The function takes any size and number.
        let ptr = unsafe { sys::iommufd_new_object(self.size, kind, id) };
        let viommu = Viommu {
            // INVARIANT: The memory was just allocated, and begins with an object.
            ptr: NonNull::new(ptr.cast()).ok_or(ENOMEM)?,
            parent: parent.clone(),
            ctx: ctx.clone(),
        };
        let viommu = Arc::new(viommu, GFP_KERNEL_ACCOUNT)?;
        let raw = viommu.as_raw();
        warn_on!(!viommu.users().end());
        // SAFETY: Nobody else has it yet.
        unsafe {
            (*raw).type_ = self.kind;
            (*raw).ictx = ctx.as_raw();
            (*raw).iommu_dev = self.iommu.as_ptr();
        }
        let data = data.map(UserData::as_raw);
        let data = data.as_ref().map_or(core::ptr::null(), core::ptr::from_ref);
        // What the driver has begun when it fails is ended as well.
        let running = RunningViommu(viommu);
        // SAFETY: It is as the driver wants it; the parent lives as long as it does.
        to_result(unsafe { sys::iommufd_init_viommu(raw, parent.as_raw(), data) })?;
        // SAFETY: It is there; the driver sets its operations as it initialises it.
        let ops = unsafe { (*raw).ops };
        if warn_on!(ops.is_null()) {
            return Err(EOPNOTSUPP);
        }
        Ok(running)
    }
}

/// A virtual IOMMU: the memory that its driver has it in.
///
/// # Invariants
///
/// `ptr` is an allocation that this owns, of the size that the driver wants, and begins with a
/// `struct iommufd_viommu`. It is on `parent`.
pub(crate) struct Viommu {
    ptr: NonNull<sys::iommufd_viommu>,
    parent: Arc<Domain>,
    /// What its driver knows of the context.
    ctx: Arc<DriverCtx>,
}

// SAFETY: A virtual IOMMU belongs to no thread.
unsafe impl Send for Viommu {}
// SAFETY: Its driver serialises what is done to it; what we read does not change, or is atomic.
unsafe impl Sync for Viommu {}

impl Viommu {
    pub(super) fn as_raw(&self) -> *mut sys::iommufd_viommu {
        self.ptr.as_ptr()
    }

    pub(super) fn ctx(&self) -> &DriverCtx {
        &self.ctx
    }

    /// The domain that it is on.
    pub(crate) fn parent(&self) -> &Arc<Domain> {
        &self.parent
    }

    /// How many use it.
    pub(crate) fn users(&self) -> &Users {
        // SAFETY: By the type invariant it begins with an object, which lives as long as `self`.
        unsafe { users_of(self.as_raw().cast()) }
    }
}

impl Drop for Viommu {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::kfree(self.as_raw().cast()) }
    }
}

/// A virtual IOMMU that its driver has initialised. Dropping this has the driver end it; nothing of
/// it is in use then.
pub(crate) struct RunningViommu(Arc<Viommu>);

impl RunningViommu {
    /// The virtual IOMMU itself.
    pub(crate) fn viommu(&self) -> &Arc<Viommu> {
        &self.0
    }

    pub(super) fn alloc_nested(
        &self,
        flags: u32,
        data: &UserData,
    ) -> Result<*mut bindings::iommu_domain> {
        let data = data.as_raw();
        // SAFETY: It is initialised.
        from_err_ptr(unsafe {
            sys::iommufd_viommu_alloc_nested(self.0.as_raw(), flags, &raw const data)
        })
    }

    /// Whether the device is behind the same IOMMU.
    pub(crate) fn is_of(&self, dev: &OwnedDevice) -> bool {
        // SAFETY: It is there, and stays behind the IOMMU that it was made for.
        let iommu = unsafe { (*self.0.as_raw()).iommu_dev };
        core::ptr::eq(iommu, dev.iommu())
    }

    /// Has the IOMMU forget what the guest has changed. As
    /// [`NestedDomain::invalidate`](super::nested::NestedDomain::invalidate).
    pub(crate) fn invalidate(&self, requests: &UserArray) -> (u32, Result) {
        requests.for_batches(|batch| {
            // SAFETY: It is initialised; where the requests are is for userspace to say.
            unsafe { sys::iommufd_viommu_invalidate(self.0.as_raw(), batch) }
        })
    }
}

impl Drop for RunningViommu {
    fn drop(&mut self) {
        // SAFETY: It was initialised, or its driver has failed to, and is not used any more.
        unsafe { sys::iommufd_end_viommu(self.0.as_raw()) }
    }
}
