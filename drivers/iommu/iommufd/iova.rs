// SPDX-License-Identifier: GPL-2.0

//! Ranges of I/O virtual addresses.
//!
//! Ranges are closed, `first..=last`, so that the last page of the address space can be named and
//! nothing ever overflows. A length is only computed where it is known to be short of 2^64.

use kernel::prelude::*;

/// A range of I/O virtual addresses (IOVAs), never empty.
///
/// # Invariants
///
/// `first <= last`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct IovaRange {
    first: u64,
    last: u64,
}

impl IovaRange {
    /// All addresses.
    // INVARIANT: As can be seen.
    pub(crate) const ALL: Self = Self {
        first: 0,
        last: u64::MAX,
    };

    /// Everything from `first` up to and including `last`, unless that is nothing.
    pub(crate) fn new(first: u64, last: u64) -> Option<Self> {
        // INVARIANT: Just checked.
        (first <= last).then_some(Self { first, last })
    }

    /// The range of `len` bytes from `first` on.
    ///
    /// # Errors
    ///
    /// * `EINVAL`: `len` is zero.
    /// * `EOVERFLOW`: the last byte would lie beyond 2^64 - 1.
    pub(crate) fn with_len(first: u64, len: u64) -> Result<Self> {
        let more = len.checked_sub(1).ok_or(EINVAL)?;
        let last = first.checked_add(more).ok_or(EOVERFLOW)?;
        // INVARIANT: `last` is `first` and something.
        Ok(Self { first, last })
    }

    /// Everything from `first` up to but not including `next`, unless that is nothing.
    pub(crate) fn until(first: u64, next: u64) -> Option<Self> {
        next.checked_sub(1).and_then(|last| Self::new(first, last))
    }

    /// The lowest 2^`width` addresses; `width` is 1 to 64.
    pub(crate) fn with_width(width: u32) -> Option<Self> {
        let spare = 64u32.checked_sub(width)?;
        // A shift by 64 is refused: a space of width 0 has no address.
        Self::new(0, u64::MAX.checked_shr(spare)?)
    }

    /// The first address.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// The last address, which belongs to the range.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// What of the range lies behind `last`.
    pub(crate) fn behind(&self, last: u64) -> Option<Self> {
        last.checked_add(1)
            .and_then(|next| Self::new(next, self.last))
    }

    /// What of the range lies behind its first `len` bytes.
    pub(crate) fn after(&self, len: u64) -> Option<Self> {
        let first = self.first.checked_add(len)?;
        Self::new(first, self.last)
    }

    /// The number of bytes, 0 standing for all 2^64.
    pub(crate) fn len(&self) -> u64 {
        (self.last - self.first).wrapping_add(1)
    }

    /// Whether the two have an address in common.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// Whether all of `other` lies in this range.
    pub(crate) fn contains(&self, other: &Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }

    /// What the two have in common.
    pub(crate) fn intersection(&self, other: &Self) -> Option<Self> {
        Self::new(self.first.max(other.first), self.last.min(other.last))
    }

    /// The smallest range that has both.
    pub(crate) fn hull(&self, other: &Self) -> Self {
        Self {
            first: self.first.min(other.first),
            last: self.last.max(other.last),
        }
    }

    /// Whether the range begins and ends on a multiple of `align`, a power of two.
    pub(crate) fn is_aligned(&self, align: u64) -> bool {
        let mask = align.wrapping_sub(1);
        self.first & mask == 0 && self.last & mask == mask
    }

    /// What is left of this range without `holes`, in order.
    ///
    /// `holes`, which are few, may lie in any order, touch and overlap.
    pub(crate) fn without<'a>(&self, holes: &'a [Self]) -> Gaps<'a> {
        Gaps {
            rest: Some(*self),
            holes,
        }
    }
}

/// The iterator that [`IovaRange::without`] returns.
pub(crate) struct Gaps<'a> {
    rest: Option<IovaRange>,
    holes: &'a [IovaRange],
}

impl Iterator for Gaps<'_> {
    type Item = IovaRange;

    fn next(&mut self) -> Option<IovaRange> {
        loop {
            let rest = self.rest.take()?;
            let holes = self.holes.iter().filter(|hole| hole.overlaps(&rest));
            let Some(hole) = holes.min_by_key(|hole| hole.first) else {
                return Some(rest);
            };
            self.rest = rest.behind(hole.last);
            let before = IovaRange::until(rest.first, hole.first);
            if before.is_some() {
                return before;
            }
        }
    }
}

#[kunit_tests(iommufd_iova)]
mod tests {
    use super::*;

    fn range(first: u64, last: u64) -> IovaRange {
        IovaRange { first, last }
    }

    #[test]
    fn length() {
        const TOP: u64 = u64::MAX;
        assert_eq!(IovaRange::with_len(0, 0).err(), Some(EINVAL));
        assert_eq!(IovaRange::with_len(TOP, 1), Ok(range(TOP, TOP)));
        assert_eq!(IovaRange::with_len(TOP, 2).err(), Some(EOVERFLOW));
        assert_eq!(IovaRange::with_len(1, TOP), Ok(range(1, TOP)));
        assert_eq!(IovaRange::with_len(2, TOP).err(), Some(EOVERFLOW));
        assert_eq!(range(0, TOP).len(), 0);
        assert_eq!(range(0x1000, 0x2fff).len(), 0x2000);
    }

    #[test]
    fn width() {
        assert_eq!(IovaRange::with_width(0), None);
        assert_eq!(IovaRange::with_width(1), Some(range(0, 1)));
        assert_eq!(IovaRange::with_width(39), Some(range(0, 0x7f_ffff_ffff)));
        assert_eq!(IovaRange::with_width(64), Some(range(0, u64::MAX)));
        assert_eq!(IovaRange::with_width(65), None);
    }

    #[test]
    fn order() {
        for (a, b, overlaps, contains) in [
            (range(0, 9), range(10, 19), false, false),
            (range(0, 9), range(9, 19), true, false),
            (range(0, 9), range(3, 9), true, true),
            (range(3, 9), range(0, 9), true, false),
            (range(5, 5), range(5, 5), true, true),
            (range(0, u64::MAX), range(u64::MAX, u64::MAX), true, true),
        ] {
            assert_eq!(a.overlaps(&b), overlaps);
            assert_eq!(b.overlaps(&a), overlaps);
            assert_eq!(a.contains(&b), contains);
            assert_eq!(a.intersection(&b).is_some(), overlaps);
        }
    }

    #[test]
    fn intersection() {
        const TOP: u64 = u64::MAX;
        for (a, b, both) in [
            (range(0, 9), range(5, 19), Some(range(5, 9))),
            (range(0, 99), range(5, 19), Some(range(5, 19))),
            (range(0, 9), range(9, 9), Some(range(9, 9))),
            (range(0, TOP), range(TOP, TOP), Some(range(TOP, TOP))),
            (range(0, 9), range(10, TOP), None),
        ] {
            assert_eq!(a.intersection(&b), both);
            assert_eq!(b.intersection(&a), both);
        }
    }

    #[test]
    fn hull() {
        for (a, b, both) in [
            (range(0, 9), range(5, 19), range(0, 19)),
            (range(0, 99), range(5, 19), range(0, 99)),
            (range(9, 9), range(u64::MAX, u64::MAX), range(9, u64::MAX)),
        ] {
            assert_eq!(a.hull(&b), both);
            assert_eq!(b.hull(&a), both);
        }
    }

    #[test]
    fn alignment() {
        assert!(range(0x1000, 0x1fff).is_aligned(0x1000));
        assert!(range(0, u64::MAX).is_aligned(0x1_0000));
        assert!(!range(0x1000, 0x1ffe).is_aligned(0x1000));
        assert!(!range(0x800, 0x1fff).is_aligned(0x1000));
        assert!(!range(0x1000, 0x1fff).is_aligned(0x4000));
    }

    #[test]
    fn alignment_by_page_size() {
        for shift in [12, 14, 16] {
            let page = 1u64 << shift;
            assert!(range(0, page - 1).is_aligned(page));
            assert!(range(3 * page, 5 * page - 1).is_aligned(page));
            assert!(range(u64::MAX - page + 1, u64::MAX).is_aligned(page));
            assert!(!range(page / 2, 2 * page - 1).is_aligned(page));
            assert!(!range(page, page + page / 2 - 1).is_aligned(page));
            assert!(!range(page, 2 * page).is_aligned(page));
        }
    }

    #[test]
    fn gaps() {
        fn check(within: IovaRange, holes: &[IovaRange], want: &[IovaRange]) {
            let mut got = within.without(holes);
            for range in want {
                assert_eq!(got.next(), Some(*range));
            }
            assert_eq!(got.next(), None);
        }
        check(range(0, 99), &[], &[range(0, 99)]);
        check(
            range(0, 99),
            &[range(50, 59), range(10, 19)],
            &[range(0, 9), range(20, 49), range(60, 99)],
        );
        check(range(0, 99), &[range(0, 9)], &[range(10, 99)]);
        check(range(0, 99), &[range(90, u64::MAX)], &[range(0, 89)]);
        check(range(0, 99), &[range(0, u64::MAX)], &[]);
        check(
            range(0, u64::MAX),
            &[range(u64::MAX, u64::MAX), range(0, 0)],
            &[range(1, u64::MAX - 1)],
        );
        check(
            range(0, 99),
            &[range(10, 10), range(11, 11), range(99, 99)],
            &[range(0, 9), range(12, 98)],
        );
        check(
            range(10, 99),
            &[range(20, 60), range(30, 40), range(61, 70), range(0, 5)],
            &[range(10, 19), range(71, 99)],
        );
    }
}
