// SPDX-License-Identifier: GPL-2.0

//! Pinning user memory for DMA. Would become `rust/kernel/mm/pin.rs`.
//!
//! C header: [`include/linux/mm.h`](srctree/include/linux/mm.h);
//! see `Documentation/core-api/pin_user_pages.rst`.

use crate::{
    kapi::{
        account::Payer,
        run::{
            Level,
            PinnedRun, //
        }, //
    },
    sys,
};
use core::{
    mem::MaybeUninit,
    ptr::null_mut, //
};
use kernel::{
    bindings,
    mm::MmWithUserAsync,
    page::{
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    }, //
};

/// At most this many single pages are pinned in one call: as many as one page table maps.
pub(super) const BATCH: u64 = PAGE_SIZE as u64 / 8;

/// Up to this many pages of a process are pinned without allocating.
pub(crate) const SMALL: usize = 16;

pub(super) type PagePtr = *mut bindings::page;

/// How long pages will be pinned.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Term {
    /// As long as userspace likes.
    Long,
    /// While something is copied.
    Short,
}

/// Pins a process's memory, a batch at a time.
///
/// Huge pages of the current process are pinned as a whole, with one pin: of a folio, all pages
/// stay where they are as long as there is one on any.
pub(crate) struct Pinner<'a> {
    /// Whose memory it is, unless it is the current process's.
    other: Option<&'a Arc<Payer>>,
    /// Whether what takes long is waited for.
    waits: bool,
    writable: bool,
    /// Those of `pin_user_pages()`.
    flags: c_uint,
    small: [MaybeUninit<PagePtr>; SMALL],
    /// Room for more than `small` has; never anything in it.
    large: KVec<PagePtr>,
    /// Where the last batch began, if that was one that may stand for a huge page.
    block: Option<u64>,
}

impl<'a> Pinner<'a> {
    /// For pages of a process that will be written to, if `writable`.
    pub(crate) fn of(process: &'a Arc<Payer>, writable: bool, term: Term) -> Self {
        Self {
            other: (!process.has_current_memory()).then_some(process),
            ..Self::new(writable, term)
        }
    }

    /// For pages of the current process that will be written to, if `writable`.
    #[inline]
    pub(crate) fn new(writable: bool, term: Term) -> Self {
        let mut flags = match term {
            Term::Long => bindings::FOLL_LONGTERM,
            Term::Short => 0,
        };
        if writable {
            flags |= bindings::FOLL_WRITE;
        }
        Self {
            other: None,
            waits: true,
            writable,
            flags,
            small: [const { MaybeUninit::uninit() }; SMALL],
            large: KVec::new(),
            block: None,
        }
    }

    /// Whose memory it is, unless it is the current process's.
    pub(crate) fn other(&self) -> Option<&'a Arc<Payer>> {
        self.other
    }

    /// Whether its pages will be written to.
    pub(crate) fn is_for_writes(&self) -> bool {
        self.writable
    }

    /// Whether they are pinned as long as userspace likes.
    pub(crate) fn is_for_long(&self) -> bool {
        self.flags & bindings::FOLL_LONGTERM != 0
    }

    /// The same, but for pages that nobody has to be waited for. Of others there are none in a
    /// batch, and those that userspace would have to bring are as if there were nothing.
    pub(crate) fn without_waiting(self) -> Self {
        Self {
            waits: false,
            ..self
        }
    }

    /// As many pages as come at once at `vaddr`: more than one if they are from a pool.
    pub(crate) fn step(&self, vaddr: u64) -> u64 {
        let Ok(memory) = self.others_memory() else {
            return 1;
        };
        let mm = raw_or_null(&memory);
        // SAFETY: `mm` has users as long as we hold it, or is NULL.
        let size = unsafe { sys::iommufd_page_size(mm, vaddr as c_ulong) };
        (size as u64) >> PAGE_SHIFT
    }

    fn others_memory(&self) -> Result<Option<ARef<MmWithUserAsync>>> {
        self.other.map(|process| process.memory()).transpose()
    }

    /// Whether it is the current process's memory, and nothing of what surrounds `vaddr` has come
    /// yet: not even a page table.
    pub(crate) fn is_untouched(&self, vaddr: u64) -> bool {
        // SAFETY: Has no preconditions: it looks at the page table, and only that.
        self.other.is_none() && !unsafe { sys::iommufd_maps_something(vaddr as c_ulong) }
    }

    /// Prepares for pinning up to `npages` in all.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    #[inline]
    pub(crate) fn prepare(&mut self, npages: u64) -> Result {
        if npages > SMALL as u64 {
            // CAST: No larger than `BATCH`.
            self.large.reserve(npages.min(BATCH) as usize, GFP_KERNEL)?;
        }
        Ok(())
    }

    /// Pins pages from `vaddr` on: at least one, if it waits, and at most `npages`.
    ///
    /// `vaddr` is a multiple of the page size.
    ///
    /// # Errors
    ///
    /// * `EFAULT`: nothing is mapped there, or not with the access asked for, or it cannot be
    ///   pinned for long (device memory, some files); or the process's memory is gone.
    /// * `ENOMEM`: also if a page is pinned a million times already.
    /// * `EINTR` (a fatal signal), and what faulting the page in returns.
    #[inline]
    pub(crate) fn pin(&mut self, vaddr: u64, npages: u64) -> Result<Batch<'_>> {
        if npages <= SMALL as u64 || self.other.is_some() {
            return self.pin_pages(vaddr, npages);
        }
        self.pin_block(vaddr, npages)
    }

    /// Pins what a table maps in single pages, or some of what a single entry maps.
    #[inline(never)]
    fn pin_block(&mut self, vaddr: u64, npages: u64) -> Result<Batch<'_>> {
        // Huge pages come in rows: behind one, the look would be in vain.
        let block = self.block.take();
        let is_behind_huge =
            block.is_some_and(|block| vaddr.wrapping_sub(block) > PAGE_SIZE as u64);
        // SAFETY: Has no preconditions: it looks at the page table, and only that.
        if !is_behind_huge && unsafe { sys::iommufd_maps_single_pages(vaddr as c_ulong) } {
            let to_next_table = BATCH - (vaddr >> PAGE_SHIFT) % BATCH;
            return self.pin_pages(vaddr, npages.min(to_next_table));
        }
        self.block = Some(vaddr);
        let writable = self.writable;
        let mut batch = self.pin_pages(vaddr, 1)?;
        if let [page] = *batch.pages {
            // SAFETY: The batch has a pin on the page.
            let order = unsafe { sys::iommufd_leaf_order(vaddr as c_ulong, page, writable) };
            batch.widen(order, vaddr >> PAGE_SHIFT, npages);
        }
        Ok(batch)
    }

    #[inline(always)]
    fn pin_pages(&mut self, vaddr: u64, npages: u64) -> Result<Batch<'_>> {
        let room = match self.large.spare_capacity_mut() {
            [] => &mut self.small[..],
            large => large,
        };
        let want = npages.min(room.len() as u64);
        let slots = room.as_mut_ptr().cast::<PagePtr>();
        let got = match self.other {
            None if self.waits => {
                let (at, want) = (vaddr as c_ulong, want as c_int);
                // SAFETY: `slots` has room for `want` pointers; the function checks the addresses.
                unsafe { bindings::pin_user_pages_fast(at, want, self.flags, slots) }
            }
            // SAFETY: As above.
            _ => unsafe { self.pin_under_lock(vaddr, want, slots) }?,
        };
        match usize::try_from(got) {
            Ok(0) if self.waits => Err(EFAULT),
            // SAFETY: The function has filled in `got <= want` slots with a pinned page each,
            // and they are borrowed with `self`.
            Ok(got) => unsafe { Batch::new(slots, got, self.writable) },
            Err(_) => Err(match Error::from_errno(got) {
                // The last page of the address space: nothing is ever mapped there.
                e if e == EOVERFLOW => EFAULT,
                e => e,
            }),
        }
    }

    /// Pins pages of another process, or such as nobody has to be waited for.
    ///
    /// # Safety
    ///
    /// `slots` has room for `want` pointers.
    #[cold]
    unsafe fn pin_under_lock(&self, vaddr: u64, want: u64, slots: *mut PagePtr) -> Result<c_int> {
        let memory = self.others_memory()?;
        let mm = raw_or_null(&memory);
        let (at, want, flags) = (vaddr as c_ulong, want as c_ulong, self.flags);
        let got = if self.waits {
            // SAFETY: By the contract; who waits is here for another process, whose memory has
            // users as long as we hold it.
            unsafe { sys::iommufd_pin_remote(mm, at, want, flags, slots) }
        } else {
            // SAFETY: By the contract; and `mm` has users as long as we hold it, or is NULL.
            unsafe { sys::iommufd_pin_without_waiting(mm, at, want, flags, slots) }
        };
        // CAST: No more than was asked for, or an errno.
        Ok(got as c_int)
    }
}

fn raw_or_null(memory: &Option<ARef<MmWithUserAsync>>) -> *mut bindings::mm_struct {
    memory.as_ref().map_or(null_mut(), |mm| mm.as_raw())
}

/// Pages that [`Pinner::pin`] has pinned; those not taken as runs are unpinned on drop.
///
/// # Invariants
///
/// This owns a pin on each of `pages`. If `each` is more than one then there is one page, and the
/// pin holds `each` contiguous pages from it on, which are in one block of `level`.
pub(crate) struct Batch<'a> {
    pages: &'a [PagePtr],
    level: Level,
    each: u64,
    writable: bool,
    /// Where the `struct page` of page frame 0 would be.
    base: usize,
}

impl Batch<'_> {
    /// A batch of the `count` pages that `pages` points to.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: there is no room for many more pins on them. They are unpinned.
    ///
    /// # Safety
    ///
    /// They are there while the result lives, which takes over one pin on each.
    pub(super) unsafe fn new(pages: *const PagePtr, count: usize, writable: bool) -> Result<Self> {
        // INVARIANT: By the contract.
        let batch = Self {
            // SAFETY: By the contract.
            pages: unsafe { core::slice::from_raw_parts(pages, count) },
            level: Level::PAGE,
            each: 1,
            writable,
            // SAFETY: It is computed, and not looked at.
            base: unsafe { sys::iommufd_pfn_to_page(0) }.addr(),
        };
        // SAFETY: These are pages with a pin; the number is small.
        if count > 0 && !unsafe { sys::iommufd_has_room_for_pins(pages, count as c_uint) } {
            return Err(ENOMEM);
        }
        Ok(batch)
    }

    /// How many pages are left in the batch.
    pub(crate) fn npages(&self) -> u64 {
        self.each * self.pages.len() as u64
    }

    /// Has the only page stand for more: those, up to `most`, that follow in its block of
    /// `1 << order` pages and number `vpn` in the process's memory.
    fn widen(&mut self, order: u32, vpn: u64, most: u64) {
        let Some(level) = Level::from_order(order) else {
            return;
        };
        let block = 1u64 << order;
        // INVARIANT: Blocks are aligned in both memories.
        self.each = PinnedRun::limit(vpn, (block - vpn % block).min(most));
        self.level = level;
    }

    /// Sets `count` bits, one at least, of page `number` from bit `first` on: all are in the page.
    /// Others may change those beside them at the same time.
    pub(super) fn set_bits(&self, number: usize, first: u32, count: u32) {
        let fits = u64::from(first) + u64::from(count) <= PAGE_SIZE as u64 * 8;
        if let (Some(page), true, true) = (self.pages.get(number), self.writable, fits) {
            // SAFETY: We have a pin on the page, to write to it; the bits are in it.
            unsafe { sys::iommufd_set_bits(*page, first, count) }
        }
    }

    /// Notes that something was written to the pages. May sleep.
    pub(super) fn mark_dirty(&self) {
        for page in self.pages {
            // SAFETY: We have a pin on the page.
            unsafe { bindings::set_page_dirty_lock(*page) };
        }
    }

    /// Takes the longest run of contiguous pages from the front.
    #[inline]
    pub(crate) fn next_run(&mut self) -> Option<PinnedRun> {
        let (&first, rest) = self.pages.split_first()?;
        // As `page_to_pfn()`, without a call: see `contiguous` for the array.
        let pfn = (first.addr().wrapping_sub(self.base) / size_of::<bindings::page>()) as u64;
        let count = match rest.first() {
            Some(&next) if next == first.wrapping_add(1) => self.count_from(pfn),
            _ => 1,
        };
        let npages = self.each.wrapping_mul(count as u64);
        let left = self.pages.get(count..)?;
        // SAFETY: The batch gives up the pins on these pages, in the next line.
        let run = unsafe { PinnedRun::new(pfn, npages, self.level, self.writable) }?;
        self.pages = left;
        Some(run)
    }

    /// How many contiguous pages are at the front, of which the first is `pfn`.
    fn count_from(&self, pfn: u64) -> usize {
        let most = PinnedRun::limit(pfn, self.pages.len() as u64) as usize;
        most.min(contiguous(self.pages))
    }
}

// What `contiguous` relies on.
static_assert!(cfg!(CONFIG_SPARSEMEM_VMEMMAP));

/// How many of `pages`, one at least, are contiguous at the front.
///
/// Neighbouring pages have neighbouring `struct page`s: SPARSEMEM_VMEMMAP makes one array of all
/// of them.
fn contiguous(pages: &[PagePtr]) -> usize {
    const STEP: usize = 16;
    let mut count = 0;
    let Some(&(mut next)) = pages.first() else {
        return 0;
    };
    // Many at a time, as long as it lasts.
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
