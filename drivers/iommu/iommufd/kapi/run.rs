// SPDX-License-Identifier: GPL-2.0

//! Runs of pinned pages. Would become `rust/kernel/mm/pin/run.rs`.
//!
//! C header: [`include/linux/mm.h`](srctree/include/linux/mm.h);
//! see `Documentation/core-api/pin_user_pages.rst`.

use crate::sys;
#[cfg(any(test, CONFIG_KUNIT = "y"))]
use core::mem::ManuallyDrop;
use core::{
    mem::forget,
    num::NonZeroU64, //
};
use kernel::{
    error::to_result,
    page::{
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    prelude::*,
    sizes::SZ_1G, //
};

const PAGE: u64 = PAGE_SIZE as u64;

/// A part of a run, or of several, or of a device's memory. Nobody but `kapi` can say where one is.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    /// The physical address of the first byte.
    pub(super) address: u64,
    /// How many bytes there are, one at least.
    pub(super) len: u64,
}

impl Span {
    /// What is left of it without the first `skip` bytes, if anything.
    pub(crate) fn after(self, skip: u64) -> Option<Self> {
        let len = self.len.checked_sub(skip).filter(|left| *left > 0)?;
        Some(Self {
            address: self.address.wrapping_add(skip),
            len,
        })
    }

    /// Its first `len` bytes, one at least, or all of it if there are no more.
    pub(crate) fn front(self, len: u64) -> Self {
        Self {
            len: self.len.min(len),
            ..self
        }
    }

    /// What it has of each page, one by one.
    pub(crate) fn pages(self) -> impl Iterator<Item = Self> {
        let mut rest = Some(self);
        core::iter::from_fn(move || {
            let all = rest.take()?;
            let page = all.front(PAGE - all.address % PAGE);
            rest = all.after(page.len);
            Some(page)
        })
    }

    /// Whether it is in one page.
    pub(super) fn is_in_a_page(&self) -> bool {
        self.address % PAGE + self.len <= PAGE
    }

    /// Makes it longer by `next`, if that comes right behind it, and says whether it does.
    pub(crate) fn goes_on_with(&mut self, next: Self) -> bool {
        let goes_on = self.address.checked_add(self.len) == Some(next.address);
        if goes_on {
            self.len = self.len.wrapping_add(next.len);
        }
        goes_on
    }

    /// Where it is, for devices that no IOMMU has.
    pub(crate) fn address(&self) -> u64 {
        self.address
    }

    /// Its length in bytes: 1 GiB at most if it is a part of a run, anything if it is of a BAR.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }
}

/// A run of physically contiguous pages, pinned until this is dropped.
///
/// # Invariants
///
/// This owns the pins (`FOLL_PIN | FOLL_LONGTERM`) that [`Extent::pins`] names.
pub(crate) struct PinnedRun(Extent);

impl PinnedRun {
    /// As many of `npages` pages from `pfn` on as a run can have.
    pub(super) fn limit(pfn: u64, npages: u64) -> u64 {
        npages.min(Extent::LIMIT - pfn % Extent::LIMIT)
    }

    /// A run of `npages` pages from `pfn` on that were pinned at `level`, and may be written to
    /// by a device if `writable`. `None` if no run can be like that.
    ///
    /// # Safety
    ///
    /// The caller gives up the pins that [`Extent::pins`] names, if he gets a run.
    pub(super) unsafe fn new(pfn: u64, npages: u64, level: Level, writable: bool) -> Option<Self> {
        // INVARIANT: The pins are the caller's.
        Extent::new(pfn, npages, level, writable).map(Self)
    }

    /// The first page frame number.
    pub(crate) fn pfn(&self) -> u64 {
        self.0.pfn()
    }

    /// All of it.
    pub(crate) fn span(&self) -> Span {
        Span {
            address: self.0.pfn() << PAGE_SHIFT,
            len: self.len(),
        }
    }

    /// Whether devices may write to it.
    pub(crate) fn writable(&self) -> bool {
        self.0.writable()
    }

    /// How many pages there are.
    pub(crate) fn npages(&self) -> u64 {
        self.0.npages()
    }

    /// Its length in bytes, 1 GiB at most.
    pub(crate) fn len(&self) -> u64 {
        self.0.npages() << PAGE_SHIFT
    }

    /// Takes `next` into this run if it goes on where this one ends; else gives it back.
    pub(crate) fn append(&mut self, next: Self) -> Result<(), Self> {
        let Some(merged) = self.0.joined(next.0) else {
            return Err(next);
        };
        // INVARIANT: The pins of both are those of the merged run; `next` does not drop its own.
        self.0 = merged;
        forget(next);
        Ok(())
    }
}

impl PinnedRun {
    /// Leaves it pinned for good.
    pub(crate) fn leak(self) {
        forget(self);
    }

    /// Cuts off what comes behind the first `npages`, some but not all.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: a pin more was needed, on a block that both have pages of. `EINVAL`.
    pub(crate) fn cut_off(&mut self, npages: u64) -> Result<Self> {
        let (front, back) = self.0.split(npages).ok_or(EINVAL)?;
        if back.pfn() % (1 << back.level().order()) != 0 {
            // SAFETY: We have a pin on the block that the page is in.
            to_result(unsafe { sys::iommufd_add_pin(back.pfn() as c_ulong) })?;
        }
        // INVARIANT: The pins of the two are those that the whole had, and the one just taken.
        self.0 = front;
        Ok(Self(back))
    }
}

#[cfg(any(test, CONFIG_KUNIT = "y"))]
impl PinnedRun {
    /// A run of pages that nobody has pinned, for tables of cases: it must not be dropped.
    pub(crate) fn not_pinned(pfn: u64, npages: u64) -> Option<ManuallyDrop<Self>> {
        // INVARIANT: Not so, but nothing is done with the pins.
        Extent::new(pfn, npages, Level::PAGE, true).map(|extent| ManuallyDrop::new(Self(extent)))
    }
}

impl Drop for PinnedRun {
    #[inline]
    fn drop(&mut self) {
        let extent = self.0;
        let unpin = |pfn, npages| {
            // SAFETY: By the type invariant, we own a pin on each of these pages.
            unsafe { sys::iommufd_unpin(pfn as c_ulong, npages as c_ulong, extent.writable()) }
        };
        if extent.level() == Level::PAGE {
            return unpin(extent.pfn(), extent.npages());
        }
        for (pfn, npages) in extent.pins() {
            unpin(pfn, npages);
        }
    }
}

/// What one pin holds: the block of pages that an entry at this level of a page table maps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Level(u64);

impl Level {
    /// A page.
    pub(crate) const PAGE: Self = Self(0);

    /// Each level of a page table multiplies by the number of 8-byte entries in a page.
    const BITS: u32 = PAGE_SHIFT as u32 - 3;

    /// The level at which an entry maps blocks of `1 << order` pages.
    pub(super) fn from_order(order: u32) -> Option<Self> {
        let level = order / Self::BITS;
        (order % Self::BITS == 0 && u64::from(level) <= Extent::LEVEL_MAX)
            .then_some(Self(level.into()))
    }

    fn order(self) -> u32 {
        // CAST: Two bits.
        self.0 as u32 * Self::BITS
    }
}

/// Where the pages of a run are and how they were pinned, in 8 bytes, because scattered memory
/// needs a run for each page: from the lowest bit, 19 bits of page count, 2 of the level of its
/// pins, one that says whether the device may write, 42 bits of page frame number.
///
/// # Invariants
///
/// The count is neither zero nor more than 1 GiB.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Extent(NonZeroU64);

impl Extent {
    /// No run crosses a multiple of so many pages: that cuts no page of an IOMMU, and makes the
    /// length of every run fit a `struct scatterlist`.
    const LIMIT: u64 = SZ_1G as u64 >> PAGE_SHIFT;

    const COUNT: u64 = (1 << 19) - 1;
    const LEVEL_SHIFT: u32 = 19;
    const LEVEL_MAX: u64 = 3;
    const WRITABLE: u64 = 1 << 21;
    const PFN_SHIFT: u32 = 22;

    fn new(pfn: u64, npages: u64, level: Level, writable: bool) -> Option<Self> {
        if npages == 0 || npages > Self::LIMIT {
            return None;
        }
        let writable = if writable { Self::WRITABLE } else { 0 };
        let packed = (pfn << Self::PFN_SHIFT) | writable | (level.0 << Self::LEVEL_SHIFT) | npages;
        // INVARIANT: Just checked.
        NonZeroU64::new(packed).map(Self)
    }

    fn pfn(self) -> u64 {
        self.0.get() >> Self::PFN_SHIFT
    }

    fn npages(self) -> u64 {
        self.0.get() & Self::COUNT
    }

    fn end(self) -> u64 {
        self.pfn().wrapping_add(self.npages())
    }

    fn writable(self) -> bool {
        self.0.get() & Self::WRITABLE != 0
    }

    fn level(self) -> Level {
        Level((self.0.get() >> Self::LEVEL_SHIFT) & Self::LEVEL_MAX)
    }

    /// This and `next` as one, if they are contiguous and have the same number of pins so.
    fn joined(self, next: Self) -> Option<Self> {
        const ATTRIBUTES: u64 = Extent::WRITABLE | (Extent::LEVEL_MAX << Extent::LEVEL_SHIFT);
        let end = self.end();
        let same = (self.0.get() ^ next.0.get()) & ATTRIBUTES == 0;
        // A block that both have a pin on would count once.
        let share_block = end % (1 << self.level().order()) != 0;
        if end != next.pfn() || end % Self::LIMIT == 0 || !same || share_block {
            return None;
        }
        let npages = self.npages().wrapping_add(next.npages());
        Self::new(self.pfn(), npages, self.level(), self.writable())
    }

    /// The first `npages` and the rest, unless one of them is nothing.
    fn split(self, npages: u64) -> Option<(Self, Self)> {
        let more = self.npages().checked_sub(npages)?;
        let part = |pfn, npages| Self::new(pfn, npages, self.level(), self.writable());
        let next = self.pfn().wrapping_add(npages);
        part(self.pfn(), npages).zip(part(next, more))
    }

    /// The pages that have a pin each, as ranges of page frame numbers and their lengths: all of
    /// them, or the first one in each block.
    fn pins(self) -> impl Iterator<Item = (u64, u64)> {
        // What follows the page that has a pin without one of its own.
        let (mask, npages) = match self.level().order() {
            0 => (u64::MAX, self.npages()),
            order => ((1 << order) - 1, 1),
        };
        let end = self.end();
        let mut next = self.pfn();
        core::iter::from_fn(move || {
            let first = next;
            next = (first | mask).saturating_add(1);
            (first < end).then_some((first, npages))
        })
    }
}

#[kunit_tests(iommufd_runs)]
mod tests {
    use super::*;

    fn extent(pfn: u64, npages: u64, order: u32) -> Result<Extent> {
        let level = Level::from_order(order).ok_or(EINVAL)?;
        Extent::new(pfn, npages, level, true).ok_or(EINVAL)
    }

    /// The order of a block one level up.
    const HUGE: u32 = Level::BITS;

    #[test]
    fn packed() -> Result {
        for (pfn, npages, order) in [
            (0, 1, 0),
            (1, Extent::LIMIT, HUGE),
            ((1 << 40) - 1, Extent::LIMIT - 1, 2 * HUGE),
        ] {
            let extent = extent(pfn, npages, order)?;
            assert_eq!((extent.pfn(), extent.npages()), (pfn, npages));
            assert_eq!(extent.level().order(), order);
            assert!(extent.writable());
        }
        assert_eq!(Extent::new(7, 0, Level::PAGE, true), None);
        assert_eq!(Extent::new(7, Extent::LIMIT + 1, Level::PAGE, true), None);
        assert_eq!(Level::from_order(1), None);
        let read_only = Extent::new(7, 1, Level::PAGE, false).ok_or(EINVAL)?;
        assert!(!read_only.writable());
        Ok(())
    }

    #[test]
    fn joined() -> Result {
        let huge = 1 << HUGE;
        for (pfn, npages, order, next, next_order, joins) in [
            (10, 5, 0, 15, 0, true),
            (10, 5, 0, 16, 0, false),
            (10, 5, 0, 9, 0, false),
            (10, 5, 0, 15, HUGE, false),
            (huge, huge, HUGE, 2 * huge, HUGE, true),
            // Each has a pin on the block.
            (huge, huge / 2, HUGE, huge + huge / 2, HUGE, false),
            // At a multiple of the largest run.
            (Extent::LIMIT - 2, 2, 0, Extent::LIMIT, 0, false),
        ] {
            let joined = extent(pfn, npages, order)?.joined(extent(next, 1, next_order)?);
            assert_eq!(joined.is_some(), joins);
            if let Some(joined) = joined {
                assert_eq!(joined, extent(pfn, npages + 1, order)?);
            }
        }
        let read_only = Extent::new(15, 1, Level::PAGE, false).ok_or(EINVAL)?;
        assert_eq!(extent(10, 5, 0)?.joined(read_only), None);
        Ok(())
    }

    #[test]
    fn split() -> Result {
        let huge = 1 << HUGE;
        for (pfn, npages, order, first) in [
            (10, 5, 0, 2),
            (huge, 2 * huge, HUGE, huge),
            (huge, 2 * huge, HUGE, huge - 1),
        ] {
            let whole = extent(pfn, npages, order)?;
            let (front, back) = whole.split(first).ok_or(EINVAL)?;
            assert_eq!(front, extent(pfn, first, order)?);
            assert_eq!(back, extent(pfn + first, npages - first, order)?);
            assert!(whole.split(0).is_none());
            assert!(whole.split(npages).is_none());
            assert!(whole.split(npages + 1).is_none());
        }
        Ok(())
    }

    #[test]
    fn spans() {
        let span = |address, len| Span { address, len };
        let same = |one: Span, other: Span| one.address == other.address && one.len == other.len;
        for (whole, pages) in [
            (span(PAGE, PAGE), &[span(PAGE, PAGE)][..]),
            (span(PAGE + 5, 7), &[span(PAGE + 5, 7)]),
            (
                span(2 * PAGE - 1, PAGE + 2),
                &[
                    span(2 * PAGE - 1, 1),
                    span(2 * PAGE, PAGE),
                    span(3 * PAGE, 1),
                ],
            ),
        ] {
            assert_eq!(whole.pages().count(), pages.len());
            assert!(whole.pages().zip(pages).all(|(got, want)| same(got, *want)));
            assert_eq!(whole.is_in_a_page(), pages.len() == 1);
        }
        assert!(span(PAGE, 9).after(9).is_none());
        assert!(span(PAGE, 9)
            .after(8)
            .is_some_and(|rest| same(rest, span(PAGE + 8, 1))));
        assert!(same(span(PAGE, 9).front(3), span(PAGE, 3)));
        assert!(same(span(PAGE, 9).front(30), span(PAGE, 9)));
    }

    #[test]
    fn pins() -> Result {
        let huge = 1 << HUGE;
        for (pfn, npages, order, pins) in [
            (10, 5, 0, &[(10, 5)][..]),
            (huge, huge, HUGE, &[(huge, 1)]),
            (huge - 1, 2, HUGE, &[(huge - 1, 1), (huge, 1)]),
            (
                huge + 3,
                2 * huge,
                HUGE,
                &[(huge + 3, 1), (2 * huge, 1), (3 * huge, 1)],
            ),
            (5, 9, 2 * HUGE, &[(5, 1)]),
        ] {
            let extent = extent(pfn, npages, order)?;
            assert!(extent.pins().eq(pins.iter().copied()));
        }
        Ok(())
    }
}
