// SPDX-License-Identifier: GPL-2.0

//! The kernel's generic I/O page tables: those of VT-d and AMD-Vi, without the calls of the IOMMU
//! core around each piece. Would become `rust/kernel/iommu/pt.rs`.
//!
//! C header: [`include/linux/generic_pt/iommu.h`](srctree/include/linux/generic_pt/iommu.h)

use crate::{
    iova::IovaRange,
    kapi::{
        run::Span,
        trace, //
    },
    sys,
};
use core::ptr::NonNull;
use kernel::{
    bindings,
    prelude::*, //
};

/// `map_range` of `struct pt_iommu_ops`.
type MapRange = unsafe extern "C" fn(
    *mut sys::pt_iommu,
    bindings::dma_addr_t,
    bindings::phys_addr_t,
    bindings::dma_addr_t,
    c_uint,
    bindings::gfp_t,
    *mut usize,
) -> c_int;

/// `unmap_range` of `struct pt_iommu_ops`.
type UnmapRange = unsafe extern "C" fn(
    *mut sys::pt_iommu,
    bindings::dma_addr_t,
    bindings::dma_addr_t,
    *mut bindings::iommu_iotlb_gather,
) -> usize;

/// A generic page table.
///
/// What it maps and unmaps is traced as by the IOMMU core (`iommu:map`, `iommu:unmap`).
///
/// # Invariants
///
/// `ptr` is that of a domain, which is there as long as this is, and the others are its operations.
pub(super) struct Table {
    ptr: NonNull<sys::pt_iommu>,
    map_range: MapRange,
    unmap_range: UnmapRange,
}

// SAFETY: A page table belongs to no thread, as the domain that it is of.
unsafe impl Send for Table {}
// SAFETY: Its operations take callers in many threads, if their ranges are disjoint; the fields are
// constant.
unsafe impl Sync for Table {}

impl Table {
    /// That of `domain`, if it has one, and nobody else keeps book of what is mapped there.
    ///
    /// # Safety
    ///
    /// The domain is valid, and outlives what is returned.
    pub(super) unsafe fn of(domain: *mut bindings::iommu_domain) -> Option<Self> {
        // SAFETY: By the contract.
        let ptr = NonNull::new(unsafe { sys::iommufd_table(domain) })?;
        // SAFETY: It is a page table, as that says, and its operations are a constant.
        let ops = unsafe { &*sys::iommufd_table_ops(ptr.as_ptr()) };
        // INVARIANT: By the contract, and as just found.
        Some(Self {
            ptr,
            map_range: ops.map_range?,
            unmap_range: ops.unmap_range?,
        })
    }

    /// Maps `spans`, one after the other, from `iova` on. Adds to `mapped` how many bytes were
    /// mapped, also if it fails.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `EADDRINUSE` if something is mapped there, `ERANGE` if the format cannot have it.
    ///
    /// # Safety
    ///
    /// Nobody else maps or unmaps at these addresses at the same time. The memory stays until it
    /// is unmapped.
    #[inline(always)]
    pub(super) unsafe fn map(
        &self,
        iova: u64,
        spans: impl Iterator<Item = Span>,
        prot: c_int,
        gfp: bindings::gfp_t,
        mapped: &mut usize,
    ) -> Result {
        for span in spans {
            let (before, at) = (*mapped, iova.wrapping_add(*mapped as u64));
            let (address, len, prot) = (span.address, span.len(), prot as c_uint);
            // SAFETY: By the type invariant and the contract.
            let result =
                unsafe { (self.map_range)(self.ptr.as_ptr(), at, address, len, prot, gfp, mapped) };
            trace::core_map(at, address, mapped.wrapping_sub(before));
            if result != 0 {
                return Err(Error::from_errno(result));
            }
        }
        Ok(())
    }

    /// Unmaps what is in `range`, and says how many bytes from its beginning on that were.
    ///
    /// # Safety
    ///
    /// As [`Self::map`]; and the range is made of whole spans that were mapped. `gather` is
    /// initialised.
    #[inline(always)]
    pub(super) unsafe fn unmap(
        &self,
        range: &IovaRange,
        gather: *mut bindings::iommu_iotlb_gather,
    ) -> usize {
        let (first, len) = (range.first(), range.len());
        // SAFETY: By the type invariant and the contract.
        let unmapped = unsafe { (self.unmap_range)(self.ptr.as_ptr(), first, len, gather) };
        trace::core_unmap(first, len as usize, unmapped);
        unmapped
    }
}
