// SPDX-License-Identifier: GPL-2.0

//! Page tables of the machine, and their IOTLBs.

use super::{
    device::OwnedDevice,
    dirty::Marks,
    iova_bitmap::Window,
    run::{
        PinnedRun,
        Span, //
    },
    user_data::UserData,
};
use crate::iova::IovaRange;
use core::cell::{
    Cell,
    RefCell, //
};
use kernel::{
    machine::{
        self,
        Turn, //
    },
    page::{
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    prelude::*, //
};
use std::collections::BTreeMap;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Prot {
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) mmio: bool,
}

/// The addresses that have entries of their own to wait for; the others have one together.
const ENTRIES: usize = 8;

/// A page table.
pub(crate) struct Domain {
    translates: bool,
    /// Page frame numbers by page numbers.
    entries: RefCell<BTreeMap<u64, u64>>,
    turns: [Turn; ENTRIES + 1],
    /// So many pages are mapped before one fails.
    until_failure: Cell<Option<u32>>,
    dirty_tracking: Cell<bool>,
    aperture: IovaRange,
    page: u64,
    /// What was mapped last may be used so.
    prot: Cell<Option<Prot>>,
    /// What is at addresses that interrupts are written to, and where the core goes on with them.
    doorbells: RefCell<BTreeMap<u64, u64>>,
    sw_msi: Cell<Option<u64>>,
    /// What could not be unmapped.
    leftover: Cell<Option<IovaRange>>,
}

// SAFETY: A machine is run by one thread of the system.
unsafe impl Send for Domain {}
// SAFETY: As above.
unsafe impl Sync for Domain {}

std::thread_local! {
    /// So many pages are mapped into the next domain before that fails.
    static FAIL_NEXT: Cell<Option<u32>> = const { Cell::new(None) };
    /// Whether there are domains from which something could not be unmapped.
    static LEFTOVERS: Cell<bool> = const { Cell::new(false) };
}

/// Has mapping into the domain that is made next fail after so many pages.
pub(crate) fn fail_next(pages: Option<u32>) {
    FAIL_NEXT.set(pages);
}

pub(crate) fn have_leftovers() -> bool {
    LEFTOVERS.get()
}

impl Domain {
    pub(crate) fn new(dev: &OwnedDevice, _flags: u32, _data: Option<UserData>) -> Result<Self> {
        Ok(Self {
            translates: dev.is_translated(),
            entries: RefCell::new(BTreeMap::new()),
            turns: [const { None::<Turn> }; ENTRIES + 1].map(|_| Turn::new()),
            until_failure: Cell::new(FAIL_NEXT.take()),
            dirty_tracking: Cell::new(false),
            aperture: dev.aperture,
            page: dev.page,
            prot: Cell::new(None),
            doorbells: RefCell::new(BTreeMap::new()),
            sw_msi: Cell::new(None),
            leftover: Cell::new(None),
        })
    }

    /// What is mapped: page numbers, and the numbers of page frames.
    pub(crate) fn entries(&self) -> BTreeMap<u64, u64> {
        self.entries.borrow().clone()
    }

    fn turn(&self, page: u64) -> &Turn {
        &self.turns[(page as usize).min(ENTRIES)]
    }

    pub(crate) fn translates(&self) -> bool {
        self.translates
    }

    pub(crate) fn enforces_snoop(&self) -> bool {
        true
    }

    pub(crate) fn pgsize_bitmap(&self) -> u64 {
        PAGE_SIZE as u64
    }

    pub(crate) fn smallest_page(&self) -> u64 {
        self.page
    }

    pub(crate) fn aperture(&self) -> Option<IovaRange> {
        Some(self.aperture)
    }

    /// How what was mapped last may be used.
    pub(crate) fn prot(&self) -> Option<Prot> {
        self.prot.get()
    }

    pub(crate) fn translate(&self, iova: u64) -> Option<u64> {
        if let Some(doorbell) = self.doorbells.borrow().get(&iova) {
            return Some(*doorbell);
        }
        let pfn = *self.entries.borrow().get(&(iova >> PAGE_SHIFT))?;
        Some((pfn << PAGE_SHIFT) + iova % PAGE_SIZE as u64)
    }

    pub(super) fn set_sw_msi(&self, base: u64) -> Result {
        self.sw_msi.set(Some(base));
        Ok(())
    }

    /// Where the core goes on with doorbells, if it was told.
    pub(crate) fn sw_msi(&self) -> Option<u64> {
        self.sw_msi.get()
    }

    /// The core maps a doorbell.
    pub(crate) fn add_doorbell(&self, iova: u64, doorbell: u64) {
        self.doorbells.borrow_mut().insert(iova, doorbell);
    }

    pub(super) unsafe fn map_doorbell_of(&self, other: &Self, iova: u64) -> Result {
        let doorbell = other.translate(iova).ok_or(EINVAL)?;
        self.add_doorbell(iova, doorbell);
        Ok(())
    }

    /// Something cannot be unmapped.
    pub(crate) fn leave_over(&self, range: IovaRange) {
        self.leftover.set(Some(range));
        LEFTOVERS.set(true);
    }

    pub(crate) fn may_still_map(&self, range: IovaRange) -> bool {
        self.leftover
            .get()
            .is_some_and(|left| left.overlaps(&range))
    }

    pub(crate) fn can_read_dirty(&self) -> bool {
        true
    }

    pub(crate) fn set_dirty_tracking(&self, enable: bool) -> Result {
        self.dirty_tracking.set(enable);
        Ok(())
    }

    /// Maps `runs`, all or nothing.
    pub(crate) unsafe fn map(
        &self,
        iova: u64,
        runs: &[PinnedRun],
        prot: Prot,
        large: bool,
    ) -> Result {
        let mut next = iova;
        for run in runs {
            // SAFETY: The caller's promise.
            if let Err(e) = unsafe { self.map_span(next, run.span(), prot, large) } {
                if let Some(done) = IovaRange::until(iova, next) {
                    // SAFETY: The caller's promise; it is what was just mapped.
                    unsafe { self.unmap(core::iter::once(done)) };
                }
                return Err(e);
            }
            next += run.len();
        }
        Ok(())
    }

    pub(crate) unsafe fn map_span(
        &self,
        iova: u64,
        span: Span,
        prot: Prot,
        _large: bool,
    ) -> Result {
        if !self.translates {
            return Ok(());
        }
        self.prot.set(Some(prot));
        let pages = span.len() >> PAGE_SHIFT;
        for number in 0..pages {
            let page = (iova >> PAGE_SHIFT) + number;
            let pfn = (span.address() >> PAGE_SHIFT) + number;
            self.turn(page).take();
            if self.fails() {
                if let Some(done) = IovaRange::until(iova, page << PAGE_SHIFT) {
                    // SAFETY: As above.
                    unsafe { self.unmap(core::iter::once(done)) };
                }
                return Err(ENOMEM);
            }
            machine::begin_use(pfn);
            let before = self.entries.borrow_mut().insert(page, pfn);
            assert!(
                before.is_none(),
                "page {page} is mapped where something is already"
            );
        }
        Ok(())
    }

    fn fails(&self) -> bool {
        let left = self.until_failure.get();
        self.until_failure
            .set(left.and_then(|left| left.checked_sub(1)));
        left == Some(0)
    }

    pub(crate) unsafe fn unmap(&self, ranges: impl Iterator<Item = IovaRange>) {
        let mut iotlb = Vec::new();
        if self.translates {
            ranges.for_each(|range| self.take_out(range, &mut iotlb));
        }
        // Only now does no IOTLB have them.
        iotlb.into_iter().for_each(machine::end_use);
    }

    fn take_out(&self, range: IovaRange, iotlb: &mut Vec<u64>) {
        let (first, last) = (range.first() >> PAGE_SHIFT, range.last() >> PAGE_SHIFT);
        for page in first..=last {
            self.turn(page).take();
            let pfn = self.entries.borrow_mut().remove(&page);
            iotlb.push(pfn.unwrap_or_else(|| panic!("page {page} is unmapped, and not mapped")));
        }
    }

    pub(crate) unsafe fn read_dirty(
        &self,
        ranges: impl Iterator<Item = IovaRange>,
        _marks: Marks,
        _window: Option<&mut Window<'_>>,
    ) -> Result {
        for range in ranges.filter(|_| self.translates) {
            for page in range.first() >> PAGE_SHIFT..=range.last() >> PAGE_SHIFT {
                self.turn(page).take();
                let is_mapped = self.entries.borrow().contains_key(&page);
                assert!(
                    is_mapped,
                    "marks of page {page} are read, which is not mapped"
                );
            }
        }
        Ok(())
    }
}

impl Drop for Domain {
    fn drop(&mut self) {
        let left = self.entries.borrow().len();
        assert!(
            left == 0 || std::thread::panicking(),
            "a domain goes with {left} pages mapped"
        );
    }
}
