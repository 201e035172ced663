// SPDX-License-Identifier: GPL-2.0

//! What IOMMU drivers call about their virtual IOMMUs: functions of `<linux/iommufd.h>`, which
//! kernels with `CONFIG_IOMMUFD_DRIVER_CORE` have themselves.

use super::export_fn;
use crate::{
    kapi::{
        driver_ctx,
        vdevice, //
    },
    sys, //
};
use kernel::{
    bindings,
    prelude::*,
    warn_on, //
};

type Object = sys::iommufd_object;

/// Whether one of two objects may need the other.
///
/// # Safety
///
/// Both are there.
unsafe fn are_siblings(one: *const Object, other: *const Object) -> bool {
    // SAFETY: By the contract; the type does not change.
    !core::ptr::eq(one, other) && unsafe { (*one).type_ == (*other).type_ }
}

export_fn! {
    /// Has an object need another one of its type, which cannot be destroyed meanwhile.
    ///
    /// `-EINVAL`: it is not of its type, or the object itself. `-ENOENT`: it is being destroyed.
    ///
    /// # Safety
    ///
    /// Both are objects of the caller's virtual IOMMU.
    unsafe extern "C" fn _iommufd_object_depend(
        dependent: *mut Object,
        depended: *mut Object,
    ) -> c_int {
        // SAFETY: By the contract.
        if !unsafe { are_siblings(dependent, depended) } {
            return EINVAL.to_errno();
        }
        // SAFETY: By the contract.
        match unsafe { driver_ctx::users_of(depended) }.add_unless_ended() {
            true => 0,
            false => ENOENT.to_errno(),
        }
    }
}

export_fn! {
    /// Undoes `_iommufd_object_depend()`.
    ///
    /// # Safety
    ///
    /// As there, where it has returned 0.
    unsafe extern "C" fn _iommufd_object_undepend(dependent: *mut Object, depended: *mut Object) {
        // SAFETY: By the contract.
        let are_siblings = unsafe { are_siblings(dependent, depended) };
        if !warn_on!(!are_siblings) {
            // SAFETY: By the contract.
            unsafe { driver_ctx::users_of(depended) }.remove();
        }
    }
}

export_fn! {
    /// Lets userspace map memory of the hardware: says at which offset.
    ///
    /// `-EINVAL`: it is not made of whole pages, or nothing. `-ENOMEM`.
    ///
    /// # Safety
    ///
    /// `ictx` is the context of a virtual IOMMU of the caller's, and `owner` an object of that;
    /// `_iommufd_destroy_mmap()` is called before it goes. `offset` can be written to.
    unsafe extern "C" fn _iommufd_alloc_mmap(
        ictx: *mut bindings::iommufd_ctx,
        owner: *mut Object,
        mmio_addr: bindings::phys_addr_t,
        length: usize,
        offset: *mut c_ulong,
    ) -> c_int {
        // SAFETY: By the contract.
        match unsafe { driver_ctx::offer(ictx, owner, mmio_addr, length) } {
            Ok(at) => {
                // SAFETY: By the contract.
                unsafe { offset.write(at) };
                0
            }
            Err(e) => e.to_errno(),
        }
    }
}

export_fn! {
    /// Undoes `_iommufd_alloc_mmap()`.
    ///
    /// # Safety
    ///
    /// As there; `offset` is what it has said, and nobody has that mapped.
    unsafe extern "C" fn _iommufd_destroy_mmap(
        ictx: *mut bindings::iommufd_ctx,
        owner: *mut Object,
        offset: c_ulong,
    ) {
        // SAFETY: By the contract.
        unsafe { driver_ctx::take_back(ictx, owner, offset) }
    }
}

export_fn! {
    /// The device that a virtual IOMMU knows.
    ///
    /// # Safety
    ///
    /// `vdev` is initialised, and not ended meanwhile.
    unsafe extern "C" fn iommufd_vdevice_to_device(
        vdev: *mut sys::iommufd_vdevice,
    ) -> *mut bindings::device {
        // SAFETY: By the contract.
        unsafe { vdevice::device_of(vdev) }
    }
}

export_fn! {
    /// The device that a virtual IOMMU knows by a number, or NULL.
    ///
    /// # Safety
    ///
    /// `viommu` is initialised; its `vdevs` are locked as long as the result is used.
    unsafe extern "C" fn iommufd_viommu_find_dev(
        viommu: *mut sys::iommufd_viommu,
        vdev_id: c_ulong,
    ) -> *mut bindings::device {
        // SAFETY: By the contract.
        unsafe { vdevice::find_device(viommu, vdev_id) }
    }
}

export_fn! {
    /// The number that a virtual IOMMU knows a device by; `-ENOENT` if it does not know it.
    ///
    /// # Safety
    ///
    /// `viommu` is initialised; `vdev_id` can be written to.
    unsafe extern "C" fn iommufd_viommu_get_vdev_id(
        viommu: *mut sys::iommufd_viommu,
        dev: *mut bindings::device,
        vdev_id: *mut c_ulong,
    ) -> c_int {
        // SAFETY: By the contract.
        match unsafe { vdevice::number_of(viommu, dev) } {
            Ok(number) => {
                // SAFETY: By the contract.
                unsafe { vdev_id.write(number) };
                0
            }
            Err(e) => e.to_errno(),
        }
    }
}

export_fn! {
    /// Tells userspace of an event.
    ///
    /// `-EOPNOTSUPP`: there is no queue for events of that type. `-ENOMEM`: it is lost, as it is
    /// without an error if the queue is full. `-EINVAL`: it is no event.
    ///
    /// # Safety
    ///
    /// `viommu` is initialised, and not ended meanwhile; `event_data` has `data_len` bytes.
    unsafe extern "C" fn iommufd_viommu_report_event(
        viommu: *mut sys::iommufd_viommu,
        kind: bindings::iommu_veventq_type,
        event_data: *mut c_void,
        data_len: usize,
    ) -> c_int {
        if warn_on!(data_len == 0 || event_data.is_null()) {
            return EINVAL.to_errno();
        }
        // SAFETY: By the contract.
        unsafe { sys::iommufd_report_vevent(viommu, kind, event_data, data_len) }
    }
}
