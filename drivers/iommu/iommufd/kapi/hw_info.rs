// SPDX-License-Identifier: GPL-2.0

//! What an IOMMU says of itself. Would become part of `rust/kernel/iommu/device.rs`.
//!
//! C header: [`include/linux/iommu.h`](srctree/include/linux/iommu.h)

use crate::{
    kapi::device::OwnedDevice,
    sys, //
};
use kernel::{
    bindings,
    error::from_err_ptr,
    prelude::*, //
};

/// What the IOMMU of a device says of itself, in a structure of `<linux/iommufd.h>`.
///
/// # Invariants
///
/// `data` is NULL or an allocation of at least `len` bytes that this owns.
pub(crate) struct IommuInfo {
    data: *mut c_void,
    len: u32,
    kind: u32,
}

impl IommuInfo {
    /// Which structure it is.
    pub(crate) fn kind(&self) -> u32 {
        self.kind
    }

    /// The structure; nothing if the IOMMU has none.
    pub(crate) fn bytes(&self) -> &[u8] {
        if self.data.is_null() {
            return &[];
        }
        // SAFETY: By the type invariant; the driver has initialised what it returned.
        unsafe { core::slice::from_raw_parts(self.data.cast::<u8>(), self.len as usize) }
    }
}

impl Drop for IommuInfo {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; it takes NULL, too.
        unsafe { bindings::kfree(self.data) }
    }
}

/// The PASIDs of a device.
pub(crate) struct PasidInfo {
    /// How many bits they have: none if there are no PASIDs.
    pub(crate) width: u8,
    /// Requests to execute may have one.
    pub(crate) exec: bool,
    /// Privileged requests may have one.
    pub(crate) privileged: bool,
}

impl OwnedDevice {
    /// What there is of PASIDs.
    pub(crate) fn pasid_info(&self) -> PasidInfo {
        let count = if self.is_translated() {
            // SAFETY: An IOMMU has the device, as long as it is owned.
            unsafe { sys::iommufd_max_pasids(self.as_raw()) }
        } else {
            0
        };
        let Some(width) = count.checked_ilog2() else {
            return PasidInfo {
                width: 0,
                exec: false,
                privileged: false,
            };
        };
        // SAFETY: The device is there.
        let rights = unsafe { sys::iommufd_pasid_rights(self.as_raw()) };
        PasidInfo {
            // CAST: It is below 32.
            width: width as u8,
            exec: rights.exec,
            privileged: rights.priv_,
        }
    }

    /// What the device's IOMMU says of itself; `kind` is the structure that is wanted, or 0.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP`: the IOMMU does not have that structure, or there is none. `ENOMEM`.
    pub(crate) fn iommu_info(&self, kind: u32) -> Result<IommuInfo> {
        if !self.is_translated() {
            return Err(EOPNOTSUPP);
        }
        let mut info = IommuInfo {
            data: core::ptr::null_mut(),
            len: 0,
            kind,
        };
        // SAFETY: An IOMMU has the device; what is returned is for the caller to free.
        let data =
            unsafe { sys::iommufd_hw_info(self.as_raw(), &raw mut info.len, &raw mut info.kind) };
        // INVARIANT: An allocation of that length, or NULL.
        info.data = from_err_ptr(data)?;
        Ok(info)
    }
}
