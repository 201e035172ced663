// SPDX-License-Identifier: GPL-2.0

//! Queues of virtual IOMMUs: memory of a guest that the hardware reads its commands from by
//! itself. Would become part of `rust/kernel/iommu/viommu.rs`.
//!
//! C header: [`include/linux/iommufd.h`](srctree/include/linux/iommufd.h)

use crate::{
    iova::IovaRange,
    kapi::{
        driver_ctx::users_of,
        run::PinnedRun,
        users::Users,
        viommu::{
            RunningViommu,
            Viommu, //
        }, //
    },
    sys, //
};
use core::{
    mem::size_of,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    error::to_result,
    page::{
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    prelude::*,
    sync::Arc,
    warn_on, //
};

/// Pages, of which each comes right behind the one before it in memory.
#[derive(Default)]
pub(crate) struct OnePiece {
    first: Option<u64>,
    /// The page frame number of the one that would come next.
    next: u64,
}

impl OnePiece {
    /// Goes on with up to `most` pages of `run`, from number `skip` on, and says how many that was;
    /// `None` if they are somewhere else.
    pub(crate) fn add(&mut self, run: &PinnedRun, skip: u64, most: u64) -> Option<u64> {
        let pfn = run.pfn() + skip;
        if self.first.is_some() && self.next != pfn {
            return None;
        }
        self.first.get_or_insert(pfn);
        let npages = run.npages().saturating_sub(skip).min(most);
        self.next = pfn + npages;
        Some(npages)
    }

    /// The physical address of its byte that is for `iova`, which is in the first page.
    fn address(&self, iova: u64) -> Result<u64> {
        let page = self.first.ok_or(EFAULT)? << PAGE_SHIFT;
        Ok(page + iova % PAGE_SIZE as u64)
    }
}

/// A queue that can be made.
pub(crate) struct NewHwQueue<'a> {
    viommu: &'a RunningViommu,
    kind: u32,
    size: usize,
}

impl RunningViommu {
    /// A queue of a type (`IOMMU_HW_QUEUE_TYPE_*`).
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP`: it has none.
    pub(crate) fn hw_queue(&self, kind: u32) -> Result<NewHwQueue<'_>> {
        // SAFETY: It is initialised.
        let size = unsafe { sys::iommufd_hw_queue_size(self.viommu().as_raw(), kind) };
        if size == 0 || warn_on!(size < size_of::<sys::iommufd_hw_queue>()) {
            return Err(EOPNOTSUPP);
        }
        Ok(NewHwQueue {
            viommu: self,
            kind,
            size,
        })
    }
}

impl NewHwQueue<'_> {
    /// Makes it, as number `index` of its virtual IOMMU: it is at `range` for the guest, and
    /// really in `memory`, which stays there until it is dropped.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, and what the driver says.
    pub(crate) fn make(
        self,
        id: u32,
        index: u32,
        range: IovaRange,
        memory: &OnePiece,
    ) -> Result<RunningHwQueue> {
        let address = memory.address(range.first())?;
        let kind = sys::iommufd_object_type_IOMMUFD_OBJ_HW_QUEUE;
        // SAFETY: The function takes any size and number.
        let ptr = unsafe { sys::iommufd_new_object(self.size, kind, id) };
        let queue = HwQueue {
            // INVARIANT: The memory was just allocated, and begins with an object.
            ptr: NonNull::new(ptr.cast()).ok_or(ENOMEM)?,
            _viommu: self.viommu.viommu().clone(),
        };
        let queue = Arc::new(queue, GFP_KERNEL_ACCOUNT)?;
        let raw = queue.as_raw();
        // SAFETY: Nobody else has it yet.
        unsafe {
            (*raw).viommu = self.viommu.viommu().as_raw();
            (*raw).type_ = self.kind;
            (*raw).base_addr = range.first();
            // CAST: All of it is mapped, so that it has a length that fits.
            (*raw).length = range.len() as usize;
        }
        // What the driver has begun when it fails is ended as well.
        let running = RunningHwQueue(queue);
        // SAFETY: It is as the driver wants it, and its virtual IOMMU is initialised.
        to_result(unsafe { sys::iommufd_init_hw_queue(raw, index, address) })?;
        Ok(running)
    }
}

/// A queue: the memory that its driver has it in.
///
/// # Invariants
///
/// `ptr` is an allocation that this owns, of the size that the driver wants, and begins with a
/// `struct iommufd_hw_queue`.
pub(crate) struct HwQueue {
    ptr: NonNull<sys::iommufd_hw_queue>,
    _viommu: Arc<Viommu>,
}

// SAFETY: A queue belongs to no thread.
unsafe impl Send for HwQueue {}
// SAFETY: What we read of it is atomic.
unsafe impl Sync for HwQueue {}

impl HwQueue {
    fn as_raw(&self) -> *mut sys::iommufd_hw_queue {
        self.ptr.as_ptr()
    }

    /// How many use it: other queues, that need it.
    pub(crate) fn users(&self) -> &Users {
        // SAFETY: By the type invariant it begins with an object, which lives as long as `self`.
        unsafe { users_of(self.as_raw().cast()) }
    }
}

impl Drop for HwQueue {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::kfree(self.as_raw().cast()) }
    }
}

/// A queue that its driver has initialised. Dropping this has the driver end it: the hardware
/// reads its memory no more.
pub(crate) struct RunningHwQueue(Arc<HwQueue>);

impl RunningHwQueue {
    /// The queue itself.
    pub(crate) fn queue(&self) -> &Arc<HwQueue> {
        &self.0
    }
}

impl Drop for RunningHwQueue {
    fn drop(&mut self) {
        // SAFETY: It was initialised, or its driver has failed to, and nobody needs it any more.
        unsafe { sys::iommufd_end_hw_queue(self.0.as_raw()) }
    }
}
