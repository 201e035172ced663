// SPDX-License-Identifier: GPL-2.0

//! Pinning user memory for DMA. Would become `rust/kernel/mm/pin.rs`.
//!
//! C header: [`include/linux/mm.h`](srctree/include/linux/mm.h);
//! see `Documentation/core-api/pin_user_pages.rst`.

use crate::sys;
use core::{
    mem::{
        forget,
        MaybeUninit, //
    },
    num::NonZeroU64,
};
use kernel::{
    bindings,
    page::PAGE_SHIFT,
    prelude::*, //
};

/// At most this many pages are pinned in one call.
const BATCH: u64 = 2048;

/// Up to this many pages are pinned without allocating.
const SMALL: usize = 16;

type PagePtr = *mut bindings::page;

/// A run of physically contiguous pages, pinned until this is dropped.
///
/// Packed into 8 bytes, because scattered memory needs one for each page: from the lowest bit,
/// 23 bits of page count, one that says whether the device may write, 40 bits of page frame number.
///
/// # Invariants
///
/// The count is not zero, and this owns one pin (`FOLL_PIN | FOLL_LONGTERM`) on each page.
pub(crate) struct PinnedRun(NonZeroU64);

impl PinnedRun {
    const COUNT_BITS: u32 = 23;
    const COUNT_MAX: u64 = (1 << Self::COUNT_BITS) - 1;
    const WRITABLE: u64 = 1 << Self::COUNT_BITS;
    const PFN_SHIFT: u32 = Self::COUNT_BITS + 1;

    fn pack(pfn: u64, npages: u64, writable: bool) -> Option<Self> {
        let writable = if writable { Self::WRITABLE } else { 0 };
        NonZeroU64::new((pfn << Self::PFN_SHIFT) | writable | npages).map(Self)
    }

    /// The first page frame number.
    pub(crate) fn pfn(&self) -> u64 {
        self.0.get() >> Self::PFN_SHIFT
    }

    /// How many pages there are, at least one.
    pub(crate) fn npages(&self) -> u64 {
        self.0.get() & Self::COUNT_MAX
    }

    /// Its length in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.npages() << PAGE_SHIFT
    }

    fn writable(&self) -> bool {
        self.0.get() & Self::WRITABLE != 0
    }

    /// Takes `next` into this run if it goes on where this one ends; else gives it back.
    pub(crate) fn append(&mut self, next: Self) -> Result<(), Self> {
        let end = self.pfn().wrapping_add(self.npages());
        let follows = end == next.pfn() && self.writable() == next.writable();
        let npages = self.npages().wrapping_add(next.npages());
        if !follows || npages > Self::COUNT_MAX {
            return Err(next);
        }
        let Some(merged) = Self::pack(self.pfn(), npages, self.writable()) else {
            return Err(next);
        };
        // INVARIANT: The pins of both go over to the merged run; neither old one drops them.
        forget(next);
        forget(core::mem::replace(self, merged));
        Ok(())
    }
}

impl Drop for PinnedRun {
    fn drop(&mut self) {
        // SAFETY: By the type invariant, the pages exist.
        let page = unsafe { sys::iommufd_pfn_to_page(self.pfn() as c_ulong) };
        // SAFETY: By the type invariant, we own a pin on each page of the run.
        unsafe {
            bindings::unpin_user_page_range_dirty_lock(
                page,
                self.npages() as c_ulong,
                self.writable(),
            )
        }
    }
}

/// Pins the current process's memory, a batch at a time.
pub(crate) struct Pinner {
    writable: bool,
    small: [MaybeUninit<PagePtr>; SMALL],
    /// Room for more than `small` has; never anything in it.
    large: KVec<PagePtr>,
}

impl Pinner {
    /// Prepares for pinning up to `npages` in all; `writable` if the device will write to them.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(npages: u64, writable: bool) -> Result<Self> {
        let mut large = KVec::new();
        if npages > SMALL as u64 {
            // CAST: No larger than `BATCH`.
            large.reserve(npages.min(BATCH) as usize, GFP_KERNEL)?;
        }
        Ok(Self {
            writable,
            small: [const { MaybeUninit::uninit() }; SMALL],
            large,
        })
    }

    /// Pins pages from `vaddr` on: at least one, at most `npages`.
    ///
    /// `vaddr` is a multiple of the page size.
    ///
    /// # Errors
    ///
    /// * `EFAULT`: nothing is mapped there, or not with the access asked for, or it cannot be
    ///   pinned for long (device memory, some files).
    /// * `ENOMEM`, `EINTR` (a fatal signal), and what faulting the page in returns.
    pub(crate) fn pin(&mut self, vaddr: u64, npages: u64) -> Result<Batch<'_>> {
        let room = match self.large.spare_capacity_mut() {
            [] => &mut self.small[..],
            large => large,
        };
        let want = npages.min(room.len() as u64);
        let slots = room.as_mut_ptr().cast::<PagePtr>();
        let mut flags = bindings::FOLL_LONGTERM;
        if self.writable {
            flags |= bindings::FOLL_WRITE;
        }
        // SAFETY: `slots` has room for `want` pointers; the function checks the addresses.
        let got =
            unsafe { bindings::pin_user_pages_fast(vaddr as c_ulong, want as c_int, flags, slots) };
        match usize::try_from(got) {
            Ok(0) => Err(EFAULT),
            // INVARIANT: The function has filled in `got` pages, each with a pin.
            Ok(got) => Ok(Batch {
                // SAFETY: The first `got <= want` slots are initialised, and borrowed with `self`.
                pages: unsafe { core::slice::from_raw_parts(slots, got) },
                writable: self.writable,
            }),
            Err(_) => Err(match Error::from_errno(got) {
                // The last page of the address space: nothing is ever mapped there.
                e if e == EOVERFLOW => EFAULT,
                e => e,
            }),
        }
    }
}

/// Pages that [`Pinner::pin`] has pinned; those not taken as runs are unpinned on drop.
///
/// # Invariants
///
/// This owns one pin on each of `pages`.
pub(crate) struct Batch<'a> {
    pages: &'a [PagePtr],
    writable: bool,
}

impl Batch<'_> {
    /// How many pages are left in the batch.
    pub(crate) fn npages(&self) -> u64 {
        self.pages.len() as u64
    }

    /// Takes the longest run of contiguous pages from the front.
    pub(crate) fn next_run(&mut self) -> Option<PinnedRun> {
        let (&first, rest) = self.pages.split_first()?;
        let npages = 1 + contiguous(first, rest);
        // SAFETY: The pointer is to a page that we hold a pin on.
        let pfn = unsafe { sys::iommufd_page_to_pfn(first) } as u64;
        // INVARIANT: The pins go from the batch to the run.
        let run = PinnedRun::pack(pfn, npages as u64, self.writable)?;
        self.pages = self.pages.get(npages..)?;
        Some(run)
    }
}

/// How many of `pages` go on where `first` ends.
///
/// Neighbouring pages have neighbouring `struct page`s: the Kconfig entry asks for
/// SPARSEMEM_VMEMMAP, which makes one array of all of them.
fn contiguous(first: PagePtr, pages: &[PagePtr]) -> usize {
    const STEP: usize = 16;
    let mut count = 0;
    let mut next = first.wrapping_add(1);
    // Many at a time: huge pages are what this is called for most.
    for chunk in pages.chunks_exact(STEP) {
        let mut differ = 0;
        for (at, page) in chunk.iter().enumerate() {
            differ |= page.addr() ^ next.wrapping_add(at).addr();
        }
        if differ != 0 {
            break;
        }
        next = next.wrapping_add(STEP);
        count += STEP;
    }
    let rest = pages.get(count..).unwrap_or_default().iter();
    let more = rest.take_while(|page| {
        let follows = **page == next;
        next = next.wrapping_add(1);
        follows
    });
    count + more.count()
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        if !self.pages.is_empty() {
            // SAFETY: By the type invariant, we own a pin on each of the pages.
            unsafe {
                bindings::unpin_user_pages(
                    self.pages.as_ptr().cast_mut(),
                    self.pages.len() as c_ulong,
                )
            }
        }
    }
}
