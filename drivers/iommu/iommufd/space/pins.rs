// SPDX-License-Identifier: GPL-2.0

//! What of an address space kernel drivers have pinned for themselves, and where they may not.
//!
//! Pure bookkeeping: what is in here keeps memory from being unmapped, and what is kept with it
//! keeps it pinned.

use crate::{
    iova::IovaRange,
    space::pinning::Held, //
};
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
pub(crate) struct Pins<T> {
    tree: RBTree<Key, Pin<T>>,
    /// What all of them together keep pinned.
    held: Held,
    closed: [Option<IovaRange>; CLOSED],
}

struct Pin<T> {
    /// How many times the range is pinned.
    count: u64,
    /// What keeps it so, and how much that is.
    content: T,
    held: Held,
}

/// Memory for a pin, allocated before any lock is taken.
pub(crate) struct SparePin<T>(RBTreeNodeReservation<Key, Pin<T>>);

impl<T> SparePin<T> {
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

fn key(range: IovaRange) -> Key {
    (range.first(), range.last())
}

impl<T> Pins<T> {
    /// No pins.
    pub(crate) fn new() -> Self {
        Self {
            tree: RBTree::new(),
            held: Held::default(),
            closed: [None; CLOSED],
        }
    }

    /// What they keep pinned.
    pub(crate) fn held(&self) -> Held {
        self.held
    }

    /// Pins `range` once more, which `content` keeps pinned, and that is `held`. Returns it if it
    /// is not needed, because another one does that already.
    pub(crate) fn add(
        &mut self,
        range: IovaRange,
        content: T,
        held: Held,
        spare: SparePin<T>,
    ) -> Option<T> {
        if let Some(pin) = self.tree.get_mut(&key(range)) {
            pin.count = pin.count.saturating_add(1);
            return Some(content);
        }
        let pin = Pin {
            count: 1,
            content,
            held,
        };
        self.held.add(held);
        self.tree.insert(spare.0.into_node(key(range), pin));
        None
    }

    /// Undoes one [`Self::add`] of exactly this range; `None` if there was none. Returns what kept
    /// the range pinned if that was the last.
    pub(crate) fn remove(&mut self, range: IovaRange) -> Option<Option<T>> {
        let pin = self.tree.get_mut(&key(range))?;
        pin.count -= 1;
        if pin.count > 0 {
            return Some(None);
        }
        let pin = self.tree.remove(&key(range))?;
        self.held.subtract(pin.held);
        Some(Some(pin.content))
    }

    /// The first address at or behind that of `range` where a pin begins, if that is in `range`.
    pub(crate) fn first_in(&self, range: IovaRange) -> Option<u64> {
        let next = self.tree.cursor_lower_bound(&(range.first(), 0))?;
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
        for (first, last, is_new) in [
            (10, 19, true),
            (10, 19, false),
            (10, 14, true),
            (30, 39, true),
        ] {
            let spare = SparePin::new()?;
            let back = pins.add(range(first, last)?, first, Held::new(1, true), spare);
            assert_eq!(back.is_none(), is_new);
        }
        assert_eq!((pins.held().pinned, pins.held().charged), (3, 3));
        for (first, last, found) in [
            (0, 99, Some(10)),
            (0, 9, None),
            (11, 99, Some(30)),
            (20, 30, Some(30)),
            (31, 99, None),
        ] {
            assert_eq!(pins.first_in(range(first, last)?), found);
        }
        assert_eq!(pins.remove(range(10, 18)?), None);
        assert_eq!(pins.remove(range(10, 14)?), Some(Some(10)));
        assert_eq!(pins.remove(range(10, 14)?), None);
        assert_eq!(pins.remove(range(10, 19)?), Some(None));
        assert_eq!(pins.first_in(range(0, 29)?), Some(10));
        assert_eq!(pins.remove(range(10, 19)?), Some(Some(10)));
        assert_eq!(pins.first_in(range(0, 29)?), None);
        assert_eq!(pins.held().pinned, 1);
        Ok(())
    }

    #[test]
    fn closed() -> Result {
        let mut pins = Pins::<()>::new();
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
