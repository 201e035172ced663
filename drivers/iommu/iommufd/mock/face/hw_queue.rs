// SPDX-License-Identifier: GPL-2.0

//! Queues of the IOMMU in software, which read nothing: each but the first needs the one before it.
//!
//! C header: [`include/linux/iommufd.h`](srctree/include/linux/iommufd.h)

use super::{
    face_fn,
    viommu::MockViommu, //
};
use crate::{
    mock::sys,
    sys::{
        _iommufd_object_depend,
        _iommufd_object_undepend, //
        iommufd_hw_queue,
        iommufd_viommu,
    }, //
};
use core::mem::size_of;
use kernel::{
    bindings,
    error::to_result,
    prelude::*, //
};

/// A queue, as the core has it and, behind that, as this IOMMU does: zeroes at first.
#[repr(C)]
pub(super) struct MockHwQueue {
    /// First, so that both have one address.
    core: iommufd_hw_queue,
    /// The one before it, which it needs, or NULL.
    before: *mut iommufd_hw_queue,
    /// Which one it is.
    index: usize,
}

face_fn! {
    /// How long a queue is.
    ///
    /// # Safety
    ///
    /// None.
    unsafe extern "C" fn iommufd_mock_hw_queue_size(
        _viommu: *mut iommufd_viommu,
        kind: bindings::iommu_hw_queue_type,
    ) -> usize {
        match kind {
            sys::IOMMU_HW_QUEUE_TYPE_SELFTEST => size_of::<MockHwQueue>(),
            _ => 0,
        }
    }
}

/// # Safety
///
/// `queue` is as the core makes it; no other one of its virtual IOMMU comes or goes.
unsafe fn init(queue: *mut MockHwQueue, index: usize, address: bindings::phys_addr_t) -> Result {
    // SAFETY: By the contract.
    let core = unsafe { &(*queue).core };
    // SAFETY: It is of a virtual IOMMU of this IOMMU's, whose queues nobody else changes.
    let viommu = unsafe { &mut *core.viommu.cast::<MockViommu>() };
    let before = match index.checked_sub(1) {
        Some(before) => viommu.queues.get(before).copied(),
        None => None,
    };
    let slot = viommu.queues.get_mut(index).ok_or(EINVAL)?;
    if !slot.is_null() {
        return Err(EEXIST);
    }
    // SAFETY: What it is on is there as long as it.
    if unsafe { bindings::iommu_iova_to_phys(viommu.parent, core.base_addr) } != address {
        return Err(EFAULT);
    }
    if let Some(before) = before {
        if before.is_null() {
            return Err(EIO);
        }
        // SAFETY: Both are queues of one virtual IOMMU.
        to_result(unsafe { _iommufd_object_depend(queue.cast(), before.cast()) })?;
    }
    *slot = queue.cast();
    // SAFETY: By the contract.
    unsafe {
        (*queue).before = before.unwrap_or(core::ptr::null_mut());
        (*queue).index = index;
        (*queue).core.destroy = Some(sys::iommufd_mock_end_hw_queue);
    }
    Ok(())
}

face_fn! {
    /// Initialises a queue.
    ///
    /// # Safety
    ///
    /// As [`init`].
    unsafe extern "C" fn iommufd_mock_init_hw_queue(
        queue: *mut iommufd_hw_queue,
        index: u32,
        address: bindings::phys_addr_t,
    ) -> c_int {
        // SAFETY: By the contract.
        let made = unsafe { init(queue.cast(), index as usize, address) };
        made.map_or_else(Error::to_errno, |()| 0)
    }
}

face_fn! {
    /// Ends a queue.
    ///
    /// # Safety
    ///
    /// `queue` was initialised, and nobody needs it; otherwise as [`init`].
    unsafe extern "C" fn iommufd_mock_end_hw_queue(queue: *mut iommufd_hw_queue) {
        let queue = queue.cast::<MockHwQueue>();
        // SAFETY: By the contract.
        let (viommu, before, index) =
            unsafe { ((*queue).core.viommu, (*queue).before, (*queue).index) };
        // SAFETY: As in `init`.
        let viommu = unsafe { &mut *viommu.cast::<MockViommu>() };
        if let Some(slot) = viommu.queues.get_mut(index) {
            *slot = core::ptr::null_mut();
        }
        if !before.is_null() {
            // SAFETY: `init` has said that it needs it.
            unsafe { _iommufd_object_undepend(queue.cast(), before.cast()) };
        }
    }
}
