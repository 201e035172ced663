// SPDX-License-Identifier: GPL-2.0

//! Devices of virtual IOMMUs: which number a guest's IOMMU knows a device by. Would become part of
//! `rust/kernel/iommu/viommu.rs`.
//!
//! C header: [`include/linux/iommufd.h`](srctree/include/linux/iommufd.h)

use crate::{
    kapi::{
        device::OwnedDevice,
        viommu::{
            RunningViommu,
            Viommu, //
        }, //
    },
    sys,
};
use core::{
    mem::size_of,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    device::Device,
    error::to_result,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
    warn_on, //
};

/// A device of a virtual IOMMU. Dropping this has the driver end it; nobody finds it then.
///
/// # Invariants
///
/// `ptr` is an allocation that this owns, of the size that the driver wants, and begins with a
/// `struct iommufd_vdevice` of `viommu`. The driver has initialised it. Its `idev` stands for the
/// device.
pub(crate) struct Vdevice {
    ptr: NonNull<sys::iommufd_vdevice>,
    /// Dropped after it has ended.
    _idev: Memory<sys::iommufd_device>,
    _viommu: Arc<Viommu>,
    _dev: ARef<Device>,
}

// SAFETY: It belongs to no thread.
unsafe impl Send for Vdevice {}
// SAFETY: Nothing can be done with a reference to it.
unsafe impl Sync for Vdevice {}

/// Memory that is freed when this is dropped.
struct Memory<T>(NonNull<T>);

impl<T> Drop for Memory<T> {
    fn drop(&mut self) {
        // SAFETY: Whoever made this has allocated it.
        unsafe { bindings::kfree(self.0.as_ptr().cast()) }
    }
}

impl Vdevice {
    /// Makes `dev` known in a virtual IOMMU by a number.
    ///
    /// # Errors
    ///
    /// `EINVAL`: the device is behind another IOMMU. `EEXIST`: another device has the number.
    /// `ENOMEM`, and what the driver says.
    pub(crate) fn new(
        viommu: &RunningViommu,
        dev: &OwnedDevice,
        id: u32,
        virt_id: u64,
    ) -> Result<Self> {
        if !viommu.is_of(dev) {
            return Err(EINVAL);
        }
        let viommu = viommu.viommu();
        // SAFETY: It is initialised.
        let size = unsafe { sys::iommufd_vdevice_size(viommu.as_raw()) };
        if warn_on!(size < size_of::<sys::iommufd_vdevice>()) {
            return Err(EOPNOTSUPP);
        }
        let kind = sys::iommufd_object_type_IOMMUFD_OBJ_VDEVICE;
        // SAFETY: The function takes any size and number.
        let ptr = unsafe { sys::iommufd_new_object(size, kind, id) };
        let memory = Memory(NonNull::new(ptr.cast::<sys::iommufd_vdevice>()).ok_or(ENOMEM)?);
        let raw = memory.0.as_ptr();
        // SAFETY: The device is there as long as the result.
        let idev = unsafe { sys::iommufd_new_idev(viommu.ctx().as_raw(), dev.as_raw()) };
        let idev = Memory(NonNull::new(idev).ok_or(ENOMEM)?);
        // SAFETY: Nobody else has it yet.
        unsafe {
            (*raw).viommu = viommu.as_raw();
            (*raw).virt_id = virt_id;
            (*raw).idev = idev.0.as_ptr();
        }
        // SAFETY: It is as the driver wants it, and its virtual IOMMU is initialised.
        to_result(unsafe { sys::iommufd_init_vdevice(raw) })?;
        core::mem::forget(memory);
        Ok(Self {
            // INVARIANT: All of it was just done.
            ptr: NonNull::new(raw).ok_or(ENOMEM)?,
            _idev: idev,
            _viommu: viommu.clone(),
            _dev: dev.aref(),
        })
    }
}

impl Drop for Vdevice {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { sys::iommufd_end_vdevice(self.ptr.as_ptr()) };
        drop(Memory(self.ptr));
    }
}

/// The device of a [`Vdevice`].
///
/// # Safety
///
/// It is not dropped meanwhile.
#[cfg(not(CONFIG_IOMMUFD_DRIVER_CORE))]
pub(crate) unsafe fn device_of(vdev: *const sys::iommufd_vdevice) -> *mut bindings::device {
    // SAFETY: By the contract.
    let idev = unsafe { (*vdev).idev };
    // SAFETY: By the invariant of `Vdevice`.
    unsafe { sys::iommufd_device_of(idev) }
}

/// The virtual IOMMU's devices, locked until this is dropped.
#[cfg(not(CONFIG_IOMMUFD_DRIVER_CORE))]
struct Locked(*mut sys::iommufd_viommu);

#[cfg(not(CONFIG_IOMMUFD_DRIVER_CORE))]
impl Locked {
    /// # Safety
    ///
    /// `viommu` is initialised as long as this lives.
    unsafe fn new(viommu: *mut sys::iommufd_viommu) -> Self {
        // SAFETY: By the contract.
        unsafe { bindings::xa_lock(&raw mut (*viommu).vdevs) };
        Self(viommu)
    }

    /// The first device from a number on.
    fn first_from(&self, virt_id: c_ulong) -> Option<NonNull<sys::iommufd_vdevice>> {
        // SAFETY: By the contract of `new`.
        unsafe { first_from(self.0, virt_id) }
    }
}

#[cfg(not(CONFIG_IOMMUFD_DRIVER_CORE))]
impl Drop for Locked {
    fn drop(&mut self) {
        // SAFETY: By the contract of `new`; it was locked there.
        unsafe { bindings::xa_unlock(&raw mut (*self.0).vdevs) };
    }
}

/// The first device from a number on.
///
/// # Safety
///
/// `viommu` is initialised, and its devices are locked as long as the result is used.
#[cfg(not(CONFIG_IOMMUFD_DRIVER_CORE))]
unsafe fn first_from(
    viommu: *mut sys::iommufd_viommu,
    virt_id: c_ulong,
) -> Option<NonNull<sys::iommufd_vdevice>> {
    // SAFETY: By the contract.
    NonNull::new(unsafe { sys::iommufd_vdevice_from(viommu, virt_id) })
}

/// The device that a virtual IOMMU knows by a number, or NULL.
///
/// # Safety
///
/// `viommu` is initialised, and its devices are locked as long as the result is used.
#[cfg(not(CONFIG_IOMMUFD_DRIVER_CORE))]
pub(crate) unsafe fn find_device(
    viommu: *mut sys::iommufd_viommu,
    virt_id: c_ulong,
) -> *mut bindings::device {
    // SAFETY: By the contract.
    let Some(vdev) = (unsafe { first_from(viommu, virt_id) }) else {
        return core::ptr::null_mut();
    };
    // SAFETY: It is not dropped while it can be found, and it can as long as that is locked.
    let (found, dev) = unsafe { (vdev.as_ref().virt_id, device_of(vdev.as_ptr())) };
    if found == virt_id as u64 {
        dev
    } else {
        core::ptr::null_mut()
    }
}

/// The number that a virtual IOMMU knows a device by.
///
/// # Errors
///
/// `ENOENT`: it does not know it.
///
/// # Safety
///
/// `viommu` is initialised, and not ended meanwhile.
#[cfg(not(CONFIG_IOMMUFD_DRIVER_CORE))]
pub(crate) unsafe fn number_of(
    viommu: *mut sys::iommufd_viommu,
    dev: *const bindings::device,
) -> Result<c_ulong> {
    // SAFETY: By the contract.
    let locked = unsafe { Locked::new(viommu) };
    let mut next = Some(0);
    while let Some(vdev) = next.and_then(|virt_id| locked.first_from(virt_id)) {
        let vdev = vdev.as_ptr();
        // SAFETY: As in `find_device`.
        let (virt_id, found) = unsafe { ((*vdev).virt_id as c_ulong, device_of(vdev)) };
        if core::ptr::eq(found, dev) {
            return Ok(virt_id);
        }
        next = virt_id.checked_add(1);
    }
    Err(ENOENT)
}
