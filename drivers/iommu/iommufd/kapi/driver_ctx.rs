// SPDX-License-Identifier: GPL-2.0

//! What IOMMU drivers have of a context: where they say what of their hardware a process may map.
//! Would become part of `rust/kernel/iommu/viommu.rs`.
//!
//! On kernels with `CONFIG_IOMMUFD_DRIVER_CORE` the functions that drivers call are the kernel's
//! own, which look into `struct iommufd_ctx`; on others they are in [`crate::exports`]. Either way
//! it is C's structure that they find.
//!
//! C header: [`include/linux/iommufd.h`](srctree/include/linux/iommufd.h)

use crate::{
    kapi::users::Users,
    sys, //
};
use core::ptr::NonNull;
use kernel::{
    bindings,
    error::to_result,
    mm::virt::VmaNew,
    page::PAGE_SHIFT,
    prelude::*,
    sync::Arc, //
};

/// A context, as IOMMU drivers have it.
///
/// # Invariants
///
/// `ptr` was made by `iommufd_new_ctx()`, and is this one's to free. All that can be mapped is of
/// an object that is there as long as it can.
pub(crate) struct DriverCtx {
    ptr: NonNull<bindings::iommufd_ctx>,
}

// SAFETY: It belongs to no thread.
unsafe impl Send for DriverCtx {}
// SAFETY: What changes in it has a lock of its own.
unsafe impl Sync for DriverCtx {}

/// How many use an object that begins as C's do.
///
/// # Safety
///
/// `object` is there for the duration of `'a`.
pub(crate) unsafe fn users_of<'a>(object: *mut sys::iommufd_object) -> &'a Users {
    // SAFETY: By the contract.
    let users = unsafe { &raw const (*object).users };
    // SAFETY: By the contract; it is atomic, as `Users` is, of which it has the layout.
    unsafe { &*users.cast::<Users>() }
}

/// The tree of what can be mapped, locked until this is dropped.
struct Locked(*mut bindings::maple_tree);

impl Locked {
    /// # Safety
    ///
    /// `tree` is initialised as long as this lives.
    unsafe fn new(tree: *mut bindings::maple_tree) -> Self {
        // SAFETY: By the contract.
        let lock = unsafe { &raw mut (*tree).__bindgen_anon_1.ma_lock };
        // SAFETY: By the contract.
        unsafe { bindings::spin_lock(lock) };
        Self(tree)
    }

    /// What has the byte `offset`.
    fn find(&self, offset: c_ulong) -> Option<&sys::iommufd_mmap> {
        // SAFETY: By the contract of `new`.
        let found = unsafe { bindings::mtree_load(self.0, offset) };
        // SAFETY: Whatever is in the tree is one of these, and is taken out with the lock held.
        unsafe { found.cast::<sys::iommufd_mmap>().as_ref() }
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // SAFETY: By the contract of `new`.
        let lock = unsafe { &raw mut (*self.0).__bindgen_anon_1.ma_lock };
        // SAFETY: It was locked there.
        unsafe { bindings::spin_unlock(lock) };
    }
}

/// Memory of a driver's hardware, on its way to a process. Its owner is in use.
///
/// # Invariants
///
/// `owner` has a use that is this one's.
struct Mappable {
    owner: NonNull<sys::iommufd_object>,
    address: bindings::phys_addr_t,
}

impl Drop for Mappable {
    fn drop(&mut self) {
        // SAFETY: By the type invariant it is there.
        unsafe { users_of(self.owner.as_ptr()) }.remove();
    }
}

impl DriverCtx {
    /// One without anything to be mapped.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Arc<Self>> {
        // SAFETY: It has no conditions.
        let ptr = NonNull::new(unsafe { sys::iommufd_new_ctx() }).ok_or(ENOMEM)?;
        // INVARIANT: Just made.
        Ok(Arc::new(Self { ptr }, GFP_KERNEL_ACCOUNT)?)
    }

    pub(super) fn as_raw(&self) -> *mut bindings::iommufd_ctx {
        self.ptr.as_ptr()
    }

    /// What is just `len` bytes from `offset` on.
    ///
    /// # Errors
    ///
    /// `ENXIO`: there is nothing like that, or its owner is being destroyed.
    fn find(&self, offset: c_ulong, len: usize) -> Result<Mappable> {
        // SAFETY: By the type invariant.
        let tree = unsafe { sys::iommufd_mmaps(self.as_raw()) };
        // SAFETY: It is initialised, and lives as long as `self`.
        let locked = unsafe { Locked::new(tree) };
        let found = locked.find(offset).ok_or(ENXIO)?;
        if found.vm_pgoff << PAGE_SHIFT != offset || found.length != len {
            return Err(ENXIO);
        }
        let owner = NonNull::new(found.owner).ok_or(ENXIO)?;
        // SAFETY: It is there as long as the tree has something of it, which is locked.
        if !unsafe { users_of(owner.as_ptr()) }.add_unless_ended() {
            return Err(ENXIO);
        }
        // INVARIANT: Just taken.
        Ok(Mappable {
            owner,
            address: found.mmio_addr,
        })
    }

    /// Maps what a driver has offered at the file offset of `vma`. What it is of cannot be
    /// destroyed while a process has it mapped.
    ///
    /// # Errors
    ///
    /// `ENXIO`: nothing that has this offset and length. `ENOMEM`.
    pub(crate) fn map(&self, vma: &VmaNew) -> Result {
        let raw = vma.as_ptr();
        // SAFETY: The area is being made, by nobody but the current thread.
        let pages = unsafe { (*raw).vm_pgoff };
        let len = vma.end() - vma.start();
        let offset = pages.checked_mul(1 << PAGE_SHIFT).ok_or(ENXIO)?;
        let found = self.find(offset, len)?;
        // SAFETY: The area is as above, and as long as what is there; the owner is in use.
        to_result(unsafe { sys::iommufd_map_for_user(raw, found.owner.as_ptr(), found.address) })?;
        // The area has the use now.
        core::mem::forget(found);
        Ok(())
    }
}

impl Drop for DriverCtx {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; what could be mapped has gone with the objects.
        unsafe { sys::iommufd_free_ctx(self.as_raw()) }
    }
}

/// Offers `len` bytes at `address` to be mapped, as something of `owner`'s: says at which offset.
///
/// # Errors
///
/// `EINVAL`: not whole pages. `ENOMEM`.
///
/// # Safety
///
/// `ictx` is the context of a virtual IOMMU that is there, and `owner` an object of it, which has
/// the offer taken back before it goes.
#[cfg(not(CONFIG_IOMMUFD_DRIVER_CORE))]
pub(crate) unsafe fn offer(
    ictx: *mut bindings::iommufd_ctx,
    owner: *mut sys::iommufd_object,
    address: bindings::phys_addr_t,
    len: usize,
) -> Result<c_ulong> {
    let page = kernel::page::PAGE_SIZE;
    if address % page as bindings::phys_addr_t != 0 || len == 0 || len % page != 0 {
        return Err(EINVAL);
    }
    let offer = sys::iommufd_mmap {
        owner,
        vm_pgoff: 0,
        mmio_addr: address,
        length: len,
    };
    let offer = KBox::into_raw(KBox::new(offer, GFP_KERNEL_ACCOUNT)?);
    let mut offset: c_ulong = 0;
    // SAFETY: By the contract.
    let tree = unsafe { sys::iommufd_mmaps(ictx) };
    // No offset is 0, which whoever was told of none may ask for.
    // SAFETY: The tree is initialised; it takes the entry, if there is room.
    let added = to_result(unsafe {
        bindings::mtree_alloc_range(
            tree,
            &raw mut offset,
            offer.cast(),
            len as c_ulong,
            page as c_ulong,
            c_ulong::MAX,
            bindings::GFP_KERNEL,
        )
    });
    if let Err(e) = added {
        // SAFETY: It is not the tree's.
        drop(unsafe { KBox::from_raw(offer) });
        return Err(e);
    }
    // Who finds it before that is told that it is not what he has asked for.
    // SAFETY: As above.
    let _locked = unsafe { Locked::new(tree) };
    // SAFETY: Nobody takes it out before the driver knows of it, or looks at it without the lock.
    unsafe { (*offer).vm_pgoff = offset >> PAGE_SHIFT };
    Ok(offset)
}

/// Takes back what [`offer`] has returned `offset` for. Nobody has it mapped.
///
/// # Safety
///
/// As there.
#[cfg(not(CONFIG_IOMMUFD_DRIVER_CORE))]
pub(crate) unsafe fn take_back(
    ictx: *mut bindings::iommufd_ctx,
    owner: *mut sys::iommufd_object,
    offset: c_ulong,
) {
    // SAFETY: By the contract.
    let tree = unsafe { sys::iommufd_mmaps(ictx) };
    // SAFETY: It is initialised.
    let offer = unsafe { bindings::mtree_erase(tree, offset) }.cast::<sys::iommufd_mmap>();
    if kernel::warn_on!(offer.is_null()) {
        return;
    }
    // SAFETY: It was one of these, which `offer` has made, and is the caller's now.
    let offer = unsafe { KBox::from_raw(offer) };
    kernel::warn_on!(!core::ptr::eq(offer.owner, owner));
}
