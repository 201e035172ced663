// SPDX-License-Identifier: GPL-2.0

//! Which pages devices have written to. Would become `rust/kernel/iommu/dirty.rs`.
//!
//! C header: [`include/linux/iommu.h`](srctree/include/linux/iommu.h)

use crate::{
    iova::IovaRange,
    kapi::{
        device::OwnedDevice,
        domain::{
            Domain,
            Gather, //
        },
        iova_bitmap::Window,
        task, //
    },
    sys,
};
use core::ptr::null_mut;
use kernel::{
    bindings,
    error::to_result,
    prelude::*, //
};

/// What is to become of the marks of pages that were written to, once they are read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marks {
    /// They stay.
    Keep,
    /// They go, until the next write.
    Clear,
}

impl OwnedDevice {
    /// Whether the device's IOMMU can say which pages it writes to.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn can_track_dirty(&self) -> Result<bool> {
        const FLAGS: u32 = bindings::iommufd_hwpt_alloc_flags_IOMMU_HWPT_ALLOC_DIRTY_TRACKING;
        if !self.has_dirty_bits() {
            return Ok(false);
        }
        // Whether the answer arrives is for its page table to say.
        match Domain::new(self, FLAGS, None) {
            Ok(domain) => Ok(domain.can_read_dirty()),
            Err(e) if e == ENOMEM => Err(e),
            Err(_) => Ok(false),
        }
    }
}

impl Domain {
    /// Whether it can be asked which pages were written to.
    pub(crate) fn can_read_dirty(&self) -> bool {
        // SAFETY: The domain is valid.
        unsafe { sys::iommufd_can_read_dirty(self.as_raw()) }
    }

    /// Begins or ends to mark pages that are written to.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP`: it was not made for that. What else the IOMMU driver says.
    pub(crate) fn set_dirty_tracking(&self, enable: bool) -> Result {
        // SAFETY: The domain is valid.
        to_result(unsafe { sys::iommufd_set_dirty_tracking(self.as_raw(), enable) })
    }

    /// Reads which pages of `ranges` are marked, into `window` if there is one. If marks are
    /// cleared then no IOTLB knows them any more.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP`: it cannot be asked. `EIO`: its page table is not what the module was built
    /// for. What else the IOMMU driver says.
    ///
    /// # Safety
    ///
    /// Nobody maps or unmaps any of it at the same time, and all of it is mapped.
    pub(crate) unsafe fn read_dirty(
        &self,
        ranges: impl Iterator<Item = IovaRange>,
        marks: Marks,
        mut window: Option<&mut Window<'_>>,
    ) -> Result {
        let mut gather = Gather::new(self);
        for range in ranges {
            let bitmap = window.as_mut().map_or(null_mut(), |window| window.as_raw());
            let gather = match marks {
                Marks::Keep => null_mut(),
                Marks::Clear => gather.as_raw(),
            };
            // SAFETY: Domain and gather are valid, the bitmap is one or NULL, and nobody else has
            // it meanwhile; about the addresses there is the caller's promise.
            to_result(unsafe {
                sys::iommufd_read_dirty(
                    self.as_raw(),
                    range.first() as c_ulong,
                    range.len() as usize,
                    bitmap,
                    gather,
                )
            })?;
            task::resched();
        }
        Ok(())
    }
}
