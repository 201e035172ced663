// SPDX-License-Identifier: GPL-2.0

//! Devices behind the IOMMU in software.

use crate::{
    kapi::{
        device::BoundDevice,
        domain::Domain, //
    },
    mock::sys,
    objects::{
        context::Context,
        device_handle::DeviceHandle, //
    }, //
};
use core::ptr::NonNull;
use kernel::{
    bindings,
    error::{
        from_err_ptr,
        to_result, //
    },
    prelude::*,
    sync::{
        atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        Arc, //
    }, //
};

/// The IOMMU, known to the core.
pub(in crate::mock) struct Iommu(());

impl Iommu {
    /// Makes it known.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(in crate::mock) fn register() -> Result<Self> {
        // SAFETY: The module does so once, before there is any device.
        to_result(unsafe { sys::iommufd_mock_register() })?;
        Ok(Self(()))
    }
}

impl Drop for Iommu {
    fn drop(&mut self) {
        // SAFETY: It is registered, and there is no device any more: each keeps the module.
        unsafe { sys::iommufd_mock_unregister() }
    }
}

/// The translations that a device keeps.
///
/// # Safety
///
/// `dev` is one of this IOMMU's, and is not removed for the duration of `'a`.
pub(super) unsafe fn cache<'a>(
    dev: *mut bindings::device,
) -> &'a [Atomic<u32>; sys::MOCK_DEV_CACHE_NUM as usize] {
    // SAFETY: By the contract.
    let cache = unsafe { sys::iommufd_mock_cache(dev) };
    // SAFETY: There are so many, which live as long as the device, and of which everybody
    // makes atomics.
    unsafe { &*cache.cast() }
}

/// A device that is there until this is dropped.
///
/// # Invariants
///
/// `dev` was added, and is this one's to remove.
pub(in crate::mock) struct Device(NonNull<bindings::device>);

// SAFETY: A device belongs to no thread.
unsafe impl Send for Device {}
// SAFETY: As above; the device itself is only named.
unsafe impl Sync for Device {}

impl Device {
    /// Adds a device that is as `flags` say (`MOCK_FLAGS_DEVICE_*`).
    ///
    /// # Errors
    ///
    /// `ENOMEM`, and what the core says.
    pub(in crate::mock) fn add(flags: u32) -> Result<Self> {
        // SAFETY: The IOMMU is registered, for there is a context.
        Self::from_raw(unsafe { sys::iommufd_mock_add_device(flags) })
    }

    /// Adds a device like another one, to its group.
    ///
    /// # Errors
    ///
    /// As [`Self::add`].
    pub(in crate::mock) fn beside(other: &BoundTestDevice) -> Result<Self> {
        // SAFETY: By the type invariant the other is there, and stays meanwhile.
        Self::from_raw(unsafe { sys::iommufd_mock_add_beside(other._device.0.as_ptr()) })
    }

    /// Adds a device that no IOMMU has.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(in crate::mock) fn untranslated() -> Result<Self> {
        // SAFETY: Has no preconditions.
        Self::from_raw(unsafe { sys::iommufd_mock_add_untranslated() })
    }

    fn from_raw(dev: *mut bindings::device) -> Result<Self> {
        // INVARIANT: Just added.
        Ok(Self(NonNull::new(from_err_ptr(dev)?).ok_or(ENODEV)?))
    }

    /// Binds the device to a context. It has no interrupts that could leak.
    ///
    /// # Errors
    ///
    /// Those of [`DeviceHandle::bind`].
    pub(in crate::mock) fn bind(self, ctx: &Arc<Context>) -> Result<BoundTestDevice> {
        // SAFETY: By the type invariant it is there, and stays until it is unbound; no driver knows
        // of it, so there is none to let go of it.
        let dev = unsafe { BoundDevice::maybe_untranslated(self.0.as_ptr()) }?;
        Ok(BoundTestDevice {
            handle: DeviceHandle::bind(ctx, dev, None, true)?,
            _device: self,
        })
    }
}

/// A device that is bound, and removed when it is not any more.
pub(in crate::mock) struct BoundTestDevice {
    /// First, for it is dropped first.
    handle: KBox<DeviceHandle>,
    _device: Device,
}

impl BoundTestDevice {
    /// An entry of its cache of translations.
    pub(in crate::mock) fn cached(&self, id: u32) -> Option<u32> {
        // SAFETY: By the invariant of `Device`, it was added, and is not removed yet.
        let cache = unsafe { cache(self._device.0.as_ptr()) };
        Some(cache.get(id as usize)?.load(Relaxed))
    }

    /// Has the device ask for a page. It is not moved meanwhile.
    pub(in crate::mock) fn fault(&self, request: &bindings::iommu_fault_page_request) {
        // SAFETY: By the invariant of `Device`, it was added, and is not removed yet.
        unsafe { sys::iommufd_mock_fault(self._device.0.as_ptr(), request) }
    }

    /// How often it was answered with `code`.
    pub(in crate::mock) fn answers(&self, code: u32) -> u32 {
        // SAFETY: As above.
        unsafe { sys::iommufd_mock_answers(self._device.0.as_ptr(), code) }
    }

    /// Has the next PASID that goes to a domain fail to with this device.
    pub(in crate::mock) fn fail_pasid(&self) {
        // SAFETY: As above.
        unsafe { sys::iommufd_mock_fail_pasid(self._device.0.as_ptr()) }
    }

    /// Whether the IOMMU was told last of this device that `pasid` is on `domain`, or on none.
    pub(in crate::mock) fn was_told(&self, pasid: u32, domain: Option<&Domain>) -> bool {
        let domain = domain.map_or(core::ptr::null_mut(), Domain::as_ptr);
        // SAFETY: As above; domains are only compared.
        unsafe { sys::iommufd_mock_was_told(self._device.0.as_ptr(), pasid, domain) }
    }

    /// What is bound.
    pub(in crate::mock) fn handle(&self) -> &DeviceHandle {
        &self.handle
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { sys::iommufd_mock_remove_device(self.0.as_ptr()) }
    }
}
