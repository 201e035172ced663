// SPDX-License-Identifier: GPL-2.0

//! What of an address space kernel drivers have pinned for themselves, and where they may not.
//!
//! Pure bookkeeping: the memory is pinned as long as it is mapped. What is in here keeps it from
//! being unmapped.

use crate::iova::IovaRange;
use kernel::{
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNodeReservation, //
    },
    warn_on, //
};

/// As many ranges can be closed at once.
const CLOSED: usize = 8;

/// A range by its first and last address.
type Key = (u64, u64);

/// Ranges that are pinned, each within one area, and ranges that are closed to new pins.
pub(crate) struct Pins {
    /// How many times each is pinned.
    counts: RBTree<Key, u64>,
    closed: [Option<IovaRange>; CLOSED],
}

/// Memory for a pin, allocated before any lock is taken.
pub(crate) struct SparePin(RBTreeNodeReservation<Key, u64>);

impl SparePin {
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?))
    }
}

/// A closed range, to be handed to [`Pins::open`].
#[must_use]
pub(crate) struct Closed(usize);

impl Pins {
    /// No pins.
    pub(crate) fn new() -> Self {
        Self {
            counts: RBTree::new(),
            closed: [None; CLOSED],
        }
    }

    /// Pins `range` once more.
    pub(crate) fn add(&mut self, range: IovaRange, spare: SparePin) {
        let key = (range.first(), range.last());
        match self.counts.get_mut(&key) {
            Some(count) => *count = count.saturating_add(1),
            None => {
                self.counts.insert(spare.0.into_node(key, 1));
            }
        }
    }

    /// Undoes one [`Self::add`] of exactly this range; `false` if there was none.
    pub(crate) fn remove(&mut self, range: IovaRange) -> bool {
        let key = (range.first(), range.last());
        let Some(count) = self.counts.get_mut(&key) else {
            return false;
        };
        *count -= 1;
        if *count == 0 {
            self.counts.remove_node(&key);
        }
        true
    }

    /// The first address at or behind that of `range` where a pin begins, if that is in `range`.
    pub(crate) fn first_in(&self, range: IovaRange) -> Option<u64> {
        let next = self.counts.cursor_lower_bound(&(range.first(), 0))?;
        let (first, _) = *next.current().0;
        (first <= range.last()).then_some(first)
    }

    /// Closes `range` to new pins; `None` if too many are closed already.
    pub(crate) fn close(&mut self, range: IovaRange) -> Option<Closed> {
        let mut slots = self.closed.iter_mut().enumerate();
        let (number, slot) = slots.find(|(_, slot)| slot.is_none())?;
        *slot = Some(range);
        Some(Closed(number))
    }

    /// Undoes a [`Self::close`].
    pub(crate) fn open(&mut self, closed: Closed) {
        let slot = self.closed.get_mut(closed.0).and_then(Option::take);
        warn_on!(slot.is_none());
    }

    /// Whether some of `range` is closed.
    pub(crate) fn is_closed(&self, range: IovaRange) -> bool {
        let mut closed = self.closed.iter().flatten();
        closed.any(|closed| closed.overlaps(&range))
    }
}

#[kunit_tests(iommufd_pins)]
mod tests {
    use super::*;

    fn range(first: u64, last: u64) -> Result<IovaRange> {
        IovaRange::new(first, last).ok_or(EINVAL)
    }

    #[test]
    fn counted() -> Result {
        let mut pins = Pins::new();
        for (first, last) in [(10, 19), (10, 19), (10, 14), (30, 39)] {
            pins.add(range(first, last)?, SparePin::new()?);
        }
        for (first, last, found) in [
            (0, 99, Some(10)),
            (0, 9, None),
            (11, 99, Some(30)),
            (20, 30, Some(30)),
            (31, 99, None),
        ] {
            assert_eq!(pins.first_in(range(first, last)?), found);
        }
        assert!(!pins.remove(range(10, 18)?));
        assert!(pins.remove(range(10, 14)?));
        assert!(!pins.remove(range(10, 14)?));
        assert!(pins.remove(range(10, 19)?));
        assert_eq!(pins.first_in(range(0, 29)?), Some(10));
        assert!(pins.remove(range(10, 19)?));
        assert_eq!(pins.first_in(range(0, 29)?), None);
        Ok(())
    }

    #[test]
    fn closed() -> Result {
        let mut pins = Pins::new();
        let closed = pins.close(range(10, 19)?).ok_or(EINVAL)?;
        let same = pins.close(range(10, 19)?).ok_or(EINVAL)?;
        assert!(pins.is_closed(range(0, 10)?) && !pins.is_closed(range(20, 29)?));
        pins.open(closed);
        assert!(pins.is_closed(range(19, 19)?));
        pins.open(same);
        assert!(!pins.is_closed(range(0, 99)?));
        for number in 0..CLOSED as u64 {
            assert!(pins.close(range(number, number)?).is_some());
        }
        assert!(pins.close(range(99, 99)?).is_none());
        Ok(())
    }
}
