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
}

// SAFETY: A machine is run by one thread of the system.
unsafe impl Send for Domain {}
// SAFETY: As above.
unsafe impl Sync for Domain {}

std::thread_local! {
    /// So many pages are mapped into the next domain before that fails.
    static FAIL_NEXT: Cell<Option<u32>> = const { Cell::new(None) };
}

/// Has mapping into the domain that is made next fail after so many pages.
pub(crate) fn fail_next(pages: Option<u32>) {
    FAIL_NEXT.set(pages);
}

pub(crate) fn have_leftovers() -> bool {
    false
}

impl Domain {
    pub(crate) fn new(dev: &OwnedDevice, _flags: u32, _data: Option<UserData>) -> Result<Self> {
        Ok(Self {
            translates: dev.is_translated(),
            entries: RefCell::new(BTreeMap::new()),
            turns: [const { None::<Turn> }; ENTRIES + 1].map(|_| Turn::new()),
            until_failure: Cell::new(FAIL_NEXT.take()),
            dirty_tracking: Cell::new(false),
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
        PAGE_SIZE as u64
    }

    pub(crate) fn aperture(&self) -> Option<IovaRange> {
        Some(IovaRange::ALL)
    }

    pub(crate) fn translate(&self, iova: u64) -> Option<u64> {
        let pfn = *self.entries.borrow().get(&(iova >> PAGE_SHIFT))?;
        Some((pfn << PAGE_SHIFT) + iova % PAGE_SIZE as u64)
    }

    pub(super) fn set_sw_msi(&self, _base: u64) -> Result {
        Ok(())
    }

    pub(super) unsafe fn map_doorbell_of(&self, _other: &Self, _iova: u64) -> Result {
        Ok(())
    }

    pub(crate) fn may_still_map(&self, _range: IovaRange) -> bool {
        false
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
        _prot: Prot,
        _large: bool,
    ) -> Result {
        if !self.translates {
            return Ok(());
        }
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
