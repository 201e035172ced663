// SPDX-License-Identifier: GPL-2.0

//! The face towards other drivers: `<linux/iommufd.h>` and `<linux/iommufd_ioasid.h>`.
//!
//! Each function converts its arguments, makes one call and converts the result. Signatures are
//! compared with the header's at compile time; `exports.c` holds the `EXPORT_SYMBOL` lines.
//!
//! A `struct iommufd_ctx` is a [`Context`] in an [`Arc`], a `struct iommufd_device` a
//! [`DeviceHandle`] and a `struct iommufd_access` an [`AccessHandle`], each in a [`KBox`].

use crate::{
    iova::IovaRange,
    kapi::{
        access_ops::{
            Buffer,
            PageSlots,
            UnmapCallback, //
        },
        attachment::NO_PASID,
        device::{
            unsafe_interrupts_are_allowed,
            BoundDevice, //
        },
        node, //
    },
    objects::{
        access_handle::AccessHandle,
        context::Context,
        device_handle::DeviceHandle, //
    },
    sys, //
};
use core::mem::ManuallyDrop;
use kernel::{
    bindings,
    error::from_result,
    page::PAGE_SHIFT,
    prelude::*,
    sync::Arc,
    warn_on, //
};

type Ctx = bindings::iommufd_ctx;
type Idev = sys::iommufd_device;
type RawAccess = sys::iommufd_access;

/// `IOMMUFD_ACCESS_RW_WRITE`.
const WRITE: c_uint = sys::IOMMUFD_ACCESS_RW_WRITE;

#[cfg(not(CONFIG_IOMMUFD_DRIVER))]
mod bitmap;
#[cfg(not(CONFIG_IOMMUFD_DRIVER_CORE))]
mod driver;

/// Defines a function of the headers; does not compile unless it has the type it has there.
macro_rules! export_fn {
    ($(#[$meta:meta])*
     unsafe extern "C" fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        const _: () = {
            // Both branches must have one type.
            let _ = if true { sys::$name } else { $name };
        };

        $(#[$meta])*
        #[no_mangle]
        pub(crate) unsafe extern "C" fn $name($($arg: $ty),*) $(-> $ret)? $body
    };
}
#[cfg(not(all(CONFIG_IOMMUFD_DRIVER, CONFIG_IOMMUFD_DRIVER_CORE)))]
use export_fn;

fn err_ptr<T>(error: Error) -> *mut T {
    // What `ERR_PTR()` does.
    core::ptr::without_provenance_mut(error.to_errno() as isize as usize)
}

fn ctx_into_raw(ctx: Arc<Context>) -> *mut Ctx {
    Arc::into_raw(ctx).cast_mut().cast()
}

/// # Safety
///
/// `ctx` came from [`ctx_into_raw`], and its reference outlives the result.
unsafe fn ctx_borrow(ctx: *mut Ctx) -> ManuallyDrop<Arc<Context>> {
    // SAFETY: By the contract; the reference count is not touched.
    ManuallyDrop::new(unsafe { Arc::from_raw(ctx.cast::<Context>()) })
}

/// # Safety
///
/// `idev` was returned by `iommufd_device_bind()`, and is not unbound for the duration of `'a`.
unsafe fn device_borrow<'a>(idev: *mut Idev) -> &'a DeviceHandle {
    // SAFETY: By the contract.
    unsafe { &*idev.cast::<DeviceHandle>() }
}

/// # Safety
///
/// As [`device_borrow`], and `idev` is not used any more.
unsafe fn device_take(idev: *mut Idev) -> KBox<DeviceHandle> {
    // SAFETY: By the contract; it is what `KBox::into_raw` gave.
    unsafe { KBox::from_raw(idev.cast::<DeviceHandle>()) }
}

/// # Safety
///
/// `access` was returned by `iommufd_access_create()`, and is not destroyed for the duration of
/// `'a`.
unsafe fn access_borrow<'a>(access: *mut RawAccess) -> &'a AccessHandle {
    // SAFETY: By the contract.
    unsafe { &*access.cast::<AccessHandle>() }
}

export_fn! {
    /// Takes one more reference on a context.
    ///
    /// # Safety
    ///
    /// `ictx` is a context that the caller has a reference on.
    unsafe extern "C" fn iommufd_ctx_get(ictx: *mut Ctx) {
        // SAFETY: By the contract.
        let ctx = unsafe { ctx_borrow(ictx) };
        core::mem::forget(Arc::clone(&ctx));
    }
}

export_fn! {
    /// The context behind a file, with a reference; `-EBADFD` if it is not ours.
    ///
    /// # Safety
    ///
    /// `file` is an open file.
    unsafe extern "C" fn iommufd_ctx_from_file(file: *mut bindings::file) -> *mut Ctx {
        // SAFETY: By the contract.
        match unsafe { node::of_raw_file(file) } {
            Some(ctx) => ctx_into_raw(ctx),
            None => err_ptr(EBADFD),
        }
    }
}

export_fn! {
    /// The context behind a file descriptor, with a reference; `-EBADF` or `-EBADFD`.
    ///
    /// # Safety
    ///
    /// None.
    unsafe extern "C" fn iommufd_ctx_from_fd(fd: c_int) -> *mut Ctx {
        node::of_fd(fd).map_or_else(err_ptr, ctx_into_raw)
    }
}

export_fn! {
    /// Gives a reference on a context back.
    ///
    /// # Safety
    ///
    /// `ictx` is a context that the caller has a reference on, and gives up.
    unsafe extern "C" fn iommufd_ctx_put(ictx: *mut Ctx) {
        // SAFETY: By the contract.
        drop(ManuallyDrop::into_inner(unsafe { ctx_borrow(ictx) }));
    }
}

export_fn! {
    /// Whether a device of the group is bound to the context.
    ///
    /// # Safety
    ///
    /// `ictx` is a context that the caller has a reference on.
    unsafe extern "C" fn iommufd_ctx_has_group(
        ictx: *mut Ctx,
        group: *mut bindings::iommu_group,
    ) -> bool {
        // SAFETY: By the contract.
        !ictx.is_null() && !group.is_null() && unsafe { ctx_borrow(ictx) }.groups.has(group)
    }
}

export_fn! {
    /// Binds a device to a context and writes the id that userspace knows it by to `id`. Where
    /// VFIO has them, that may be one that no IOMMU keeps from anything: it is for the caller to
    /// see to it that userspace may have such a device.
    ///
    /// Errors as pointers: `-EINVAL`, `-ENODEV`, `-EPERM`, `-EBUSY`, `-ENOMEM`; see
    /// [`DeviceHandle::bind`].
    ///
    /// # Safety
    ///
    /// `ictx` is a context that the caller has a reference on; `dev` is a device that the caller's
    /// driver is bound to until after `iommufd_device_unbind()`; `id` can be written to.
    unsafe extern "C" fn iommufd_device_bind(
        ictx: *mut Ctx,
        dev: *mut bindings::device,
        id: *mut u32,
    ) -> *mut Idev {
        // SAFETY: By the contract.
        let ctx = unsafe { ctx_borrow(ictx) };
        // SAFETY: By the contract.
        let dev = unsafe { BoundDevice::maybe_untranslated(dev) };
        let may_leak = unsafe_interrupts_are_allowed();
        match dev.and_then(|dev| DeviceHandle::bind(&ctx, dev, None, may_leak)) {
            Ok(device) => {
                // SAFETY: By the contract.
                unsafe { id.write(device.id()) };
                KBox::into_raw(device).cast()
            }
            Err(e) => err_ptr(e),
        }
    }
}

export_fn! {
    /// Undoes `iommufd_device_bind()`. Never fails.
    ///
    /// # Safety
    ///
    /// `idev` was returned by `iommufd_device_bind()`, and is not used any more.
    unsafe extern "C" fn iommufd_device_unbind(idev: *mut Idev) {
        // SAFETY: By the contract.
        drop(unsafe { device_take(idev) });
    }
}

/// Takes a device, or a PASID of it, to the address space or domain whose id is at `pt_id` by `go`,
/// and leaves the domain's id there.
///
/// # Safety
///
/// `idev` is a bound device; `pt_id` can be read and written to.
unsafe fn take_to(
    idev: *mut Idev,
    pasid: bindings::ioasid_t,
    pt_id: *mut u32,
    go: fn(&DeviceHandle, u32, u32) -> Result<u32>,
) -> c_int {
    // SAFETY: By the contract.
    let device = unsafe { device_borrow(idev) };
    // SAFETY: By the contract.
    let wanted = unsafe { pt_id.read() };
    from_result(|| {
        let hwpt = go(device, pasid, wanted)?;
        // SAFETY: By the contract.
        unsafe { pt_id.write(hwpt) };
        Ok(0)
    })
}

export_fn! {
    /// Attaches a device to the address space or domain whose id is at `pt_id`, or a PASID of it
    /// to the domain, and leaves the domain's id there.
    ///
    /// Returns 0, or as [`DeviceHandle::attach`].
    ///
    /// # Safety
    ///
    /// `idev` is a bound device; `pt_id` can be read and written to.
    unsafe extern "C" fn iommufd_device_attach(
        idev: *mut Idev,
        pasid: bindings::ioasid_t,
        pt_id: *mut u32,
    ) -> c_int {
        // SAFETY: By the contract.
        unsafe { take_to(idev, pasid, pt_id, DeviceHandle::attach) }
    }
}

export_fn! {
    /// Moves an attached device, and its group, to the address space or domain whose id is at
    /// `pt_id`, or an attached PASID to the domain, and leaves the domain's id there.
    ///
    /// Returns 0, or as [`DeviceHandle::replace`].
    ///
    /// # Safety
    ///
    /// `idev` is a bound device; `pt_id` can be read and written to.
    unsafe extern "C" fn iommufd_device_replace(
        idev: *mut Idev,
        pasid: bindings::ioasid_t,
        pt_id: *mut u32,
    ) -> c_int {
        // SAFETY: By the contract.
        unsafe { take_to(idev, pasid, pt_id, DeviceHandle::replace) }
    }
}

export_fn! {
    /// Detaches a device, or a PASID of it, if it is attached; its DMA is blocked from then on.
    /// Never fails.
    ///
    /// # Safety
    ///
    /// `idev` is a bound device.
    unsafe extern "C" fn iommufd_device_detach(idev: *mut Idev, pasid: bindings::ioasid_t) {
        // SAFETY: By the contract.
        unsafe { device_borrow(idev) }.detach(pasid);
    }
}

export_fn! {
    /// The context that a device is bound to, without a reference.
    ///
    /// # Safety
    ///
    /// `idev` is a bound device.
    unsafe extern "C" fn iommufd_device_to_ictx(idev: *mut Idev) -> *mut Ctx {
        // SAFETY: By the contract.
        let device = unsafe { device_borrow(idev) };
        Arc::as_ptr(device.context()).cast_mut().cast()
    }
}

export_fn! {
    /// The id that userspace knows a device by.
    ///
    /// # Safety
    ///
    /// `idev` is a bound device.
    unsafe extern "C" fn iommufd_device_to_id(idev: *mut Idev) -> u32 {
        // SAFETY: By the contract.
        unsafe { device_borrow(idev) }.id()
    }
}

export_fn! {
    /// As `iommufd_device_bind()`, for a file descriptor, and under a cookie; see
    /// `<linux/iommufd_ioasid.h>`.
    ///
    /// # Safety
    ///
    /// `dev` is a device that the caller's driver is bound to until after
    /// `iommufd_unbind_device()`.
    unsafe extern "C" fn iommufd_bind_device(
        fd: c_int,
        dev: *mut bindings::device,
        dev_cookie: u64,
    ) -> *mut Idev {
        let bind = || {
            let ctx: Arc<Context> = node::of_fd(fd)?;
            // SAFETY: By the contract.
            let dev = unsafe { BoundDevice::new(dev) }?;
            let may_leak = unsafe_interrupts_are_allowed();
            DeviceHandle::bind(&ctx, dev, Some(dev_cookie), may_leak)
        };
        bind().map_or_else(err_ptr, |device| KBox::into_raw(device).cast())
    }
}

export_fn! {
    /// Undoes `iommufd_bind_device()`. Never fails.
    ///
    /// # Safety
    ///
    /// `idev` was returned by `iommufd_bind_device()`, and is not used any more.
    unsafe extern "C" fn iommufd_unbind_device(idev: *mut Idev) {
        // SAFETY: By the contract.
        drop(unsafe { device_take(idev) });
    }
}

export_fn! {
    /// Attaches a device to the address space `ioasid`; see `<linux/iommufd_ioasid.h>`.
    ///
    /// # Safety
    ///
    /// `idev` is a bound device.
    unsafe extern "C" fn iommufd_device_attach_ioasid(idev: *mut Idev, ioasid: c_int) -> c_int {
        // SAFETY: By the contract.
        let device = unsafe { device_borrow(idev) };
        from_result(|| {
            let ioasid = u32::try_from(ioasid).map_err(|_| ENOENT)?;
            device.attach(NO_PASID, ioasid).map(|_| 0)
        })
    }
}

export_fn! {
    /// Detaches a device from the address space `ioasid`, if it is there. Never fails.
    ///
    /// # Safety
    ///
    /// `idev` is a bound device.
    unsafe extern "C" fn iommufd_device_detach_ioasid(idev: *mut Idev, ioasid: c_int) {
        if let Ok(ioasid) = u32::try_from(ioasid) {
            // SAFETY: By the contract.
            unsafe { device_borrow(idev) }.detach_from(ioasid);
        }
    }
}

export_fn! {
    /// Writes the id of the address space that stands for the VFIO container to `out_ioas_id`.
    ///
    /// Returns 0, or `-ENODEV` if there is none.
    ///
    /// # Safety
    ///
    /// `ictx` is a context that the caller has a reference on; `out_ioas_id` can be written to.
    unsafe extern "C" fn iommufd_vfio_compat_ioas_get_id(
        ictx: *mut Ctx,
        out_ioas_id: *mut u32,
    ) -> c_int {
        // SAFETY: By the contract.
        let ctx = unsafe { ctx_borrow(ictx) };
        from_result(|| {
            let id = ctx.container.ioas()?.id();
            // SAFETY: By the contract.
            unsafe { out_ioas_id.write(id) };
            Ok(0)
        })
    }
}

export_fn! {
    /// Sees to it that there is an address space that stands for the VFIO container.
    ///
    /// Returns 0, or as [`crate::objects::container::Container::make_ioas`].
    ///
    /// # Safety
    ///
    /// `ictx` is a context that the caller has a reference on.
    unsafe extern "C" fn iommufd_vfio_compat_ioas_create(ictx: *mut Ctx) -> c_int {
        // SAFETY: By the contract.
        let ctx = unsafe { ctx_borrow(ictx) };
        from_result(|| ctx.container.make_ioas(&ctx.objects).map(|()| 0))
    }
}

export_fn! {
    /// Says that the VFIO container has devices without an IOMMU.
    ///
    /// Returns 0, or as [`crate::objects::container::Container::set_no_iommu`].
    ///
    /// # Safety
    ///
    /// `ictx` is a context that the caller has a reference on.
    unsafe extern "C" fn iommufd_vfio_compat_set_no_iommu(ictx: *mut Ctx) -> c_int {
        // SAFETY: By the contract.
        let ctx = unsafe { ctx_borrow(ictx) };
        from_result(|| ctx.container.set_no_iommu().map(|()| 0))
    }
}

export_fn! {
    /// Makes an access for a driver, and writes the id that userspace knows it by to `id`.
    ///
    /// Errors as pointers: `-ENOMEM`, `-ENOSPC`.
    ///
    /// # Safety
    ///
    /// `ictx` is a context that the caller has a reference on; `ops` is valid, and its function may
    /// be called with `data`, until `iommufd_access_destroy()` returns; `id` can be written to.
    unsafe extern "C" fn iommufd_access_create(
        ictx: *mut Ctx,
        ops: *const sys::iommufd_access_ops,
        data: *mut c_void,
        id: *mut u32,
    ) -> *mut RawAccess {
        // SAFETY: By the contract.
        let ctx = unsafe { ctx_borrow(ictx) };
        // SAFETY: By the contract: what is made here is dropped with the access, which is in
        // `iommufd_access_destroy()`, or at once if there is none.
        let callback = unsafe { UnmapCallback::new(ops, data) };
        match callback.and_then(|callback| AccessHandle::new(&ctx, callback)) {
            Ok(access) => {
                // SAFETY: By the contract.
                unsafe { id.write(access.access().id()) };
                KBox::into_raw(access).cast()
            }
            Err(e) => err_ptr(e),
        }
    }
}

export_fn! {
    /// Undoes `iommufd_access_create()`; waits for calls of `ops` to return. Never fails.
    ///
    /// # Safety
    ///
    /// `access` was returned by `iommufd_access_create()`, and is not used any more.
    unsafe extern "C" fn iommufd_access_destroy(access: *mut RawAccess) {
        // SAFETY: By the contract; it is what `KBox::into_raw` gave.
        drop(unsafe { KBox::from_raw(access.cast::<AccessHandle>()) });
    }
}

export_fn! {
    /// Attaches an access to the address space `ioas_id`.
    ///
    /// Returns 0, or as [`AccessHandle::attach`].
    ///
    /// # Safety
    ///
    /// `access` is an access.
    unsafe extern "C" fn iommufd_access_attach(access: *mut RawAccess, ioas_id: u32) -> c_int {
        // SAFETY: By the contract.
        let access = unsafe { access_borrow(access) };
        from_result(|| access.attach(ioas_id).map(|()| 0))
    }
}

export_fn! {
    /// Moves an attached access to the address space `ioas_id`.
    ///
    /// Returns 0, or as [`AccessHandle::replace`].
    ///
    /// # Safety
    ///
    /// `access` is an access.
    unsafe extern "C" fn iommufd_access_replace(access: *mut RawAccess, ioas_id: u32) -> c_int {
        // SAFETY: By the contract.
        let access = unsafe { access_borrow(access) };
        from_result(|| access.replace(ioas_id).map(|()| 0))
    }
}

export_fn! {
    /// Detaches an access. Never fails.
    ///
    /// # Safety
    ///
    /// `access` is an access.
    unsafe extern "C" fn iommufd_access_detach(access: *mut RawAccess) {
        // SAFETY: By the contract.
        unsafe { access_borrow(access) }.detach();
    }
}

/// The `length` bytes from `iova` on, and how many pages they are in.
fn range_and_pages(iova: c_ulong, length: c_ulong) -> Result<(IovaRange, usize)> {
    let range = IovaRange::with_len(iova as u64, length as u64)?;
    let before = (range.last() >> PAGE_SHIFT) - (range.first() >> PAGE_SHIFT);
    // CAST: A number of pages fits.
    Ok((range, before as usize + 1))
}

export_fn! {
    /// Pins the pages behind a range and lists them in `out_pages`.
    ///
    /// Returns 0, `-EINVAL` for no length, `-EOVERFLOW` for one too long, or as
    /// [`AccessHandle::pin`].
    ///
    /// # Safety
    ///
    /// `access` is an access; `out_pages` has room for all pages that the range has something of.
    unsafe extern "C" fn iommufd_access_pin_pages(
        access: *mut RawAccess,
        iova: c_ulong,
        length: c_ulong,
        out_pages: *mut *mut bindings::page,
        flags: c_uint,
    ) -> c_int {
        // SAFETY: By the contract.
        let access = unsafe { access_borrow(access) };
        from_result(|| {
            let (range, npages) = range_and_pages(iova, length)?;
            // SAFETY: By the contract.
            let slots = unsafe { PageSlots::new(out_pages, npages) };
            access.pin(range, slots, flags & WRITE != 0).map(|()| 0)
        })
    }
}

export_fn! {
    /// Undoes one `iommufd_access_pin_pages()` of the same range. Never fails.
    ///
    /// # Safety
    ///
    /// `access` is an access; the pages are not used any more.
    unsafe extern "C" fn iommufd_access_unpin_pages(
        access: *mut RawAccess,
        iova: c_ulong,
        length: c_ulong,
    ) {
        // SAFETY: By the contract.
        let access = unsafe { access_borrow(access) };
        match range_and_pages(iova, length) {
            Ok((range, _)) => access.access().unpin(range),
            // The driver has never pinned that.
            Err(_) => {
                warn_on!(true);
            }
        }
    }
}

export_fn! {
    /// Copies between `data` and the memory behind a range: into it with
    /// `IOMMUFD_ACCESS_RW_WRITE`, else out of it. It is all the same who the caller is, so that
    /// `IOMMUFD_ACCESS_RW_KTHREAD` means nothing.
    ///
    /// Returns 0, `-EINVAL` for no length, `-EOVERFLOW` for one too long, or as
    /// [`crate::objects::access::Access::copy`].
    ///
    /// # Safety
    ///
    /// `access` is an access; `data` has `len` bytes, which nobody else uses meanwhile.
    unsafe extern "C" fn iommufd_access_rw(
        access: *mut RawAccess,
        iova: c_ulong,
        data: *mut c_void,
        len: usize,
        flags: c_uint,
    ) -> c_int {
        // SAFETY: By the contract.
        let access = unsafe { access_borrow(access) };
        from_result(|| {
            let range = IovaRange::with_len(iova as u64, len as u64)?;
            // SAFETY: By the contract.
            let buffer = unsafe { Buffer::new(data, len, flags & WRITE != 0) };
            access.access().copy(range, buffer).map(|()| 0)
        })
    }
}
