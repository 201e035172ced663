// SPDX-License-Identifier: GPL-2.0

//! Which parts of an address space are taken, and by what.
//!
//! Pure bookkeeping: nothing here pins, maps or waits.

use crate::iova::IovaRange;
use kernel::{
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNodeReservation, //
    },
};

/// Disjoint areas of an address space, each of which goes from filling to live to dying.
///
/// A map that is under way is not there yet, and an unmap that is under way is not over yet:
/// whoever meets a filling area acts as if that map came later, whoever meets a dying one has to
/// wait for the end of that unmap.
pub(crate) struct Areas<T> {
    /// Keyed by the last address, so that the lower bound of an address is the area that holds
    /// it or the next one.
    tree: RBTree<u64, Area<T>>,
}

struct Area<T> {
    first: u64,
    state: State<T>,
}

enum State<T> {
    /// Taken by a map that is under way.
    Filling,
    /// Mapped.
    Live(T),
    /// Being unmapped; nobody else may use the addresses yet.
    Dying,
}

/// Why a range cannot be taken, or not be unmapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Conflict {
    /// An area is in the way, or would be cut.
    Area,
    /// An unmap under way is; to be tried again when it is over.
    Unmapping,
}

/// Memory for an area, allocated before any lock is taken.
pub(crate) struct Spare<T>(RBTreeNodeReservation<u64, Area<T>>);

impl<T> Spare<T> {
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?))
    }
}

impl<T> Areas<T> {
    /// An address space with nothing in it.
    pub(crate) fn new() -> Self {
        Self {
            tree: RBTree::new(),
        }
    }

    /// Takes `range` for a map that begins.
    ///
    /// # Errors
    ///
    /// What is in the way, with the memory given back.
    pub(crate) fn reserve(
        &mut self,
        range: IovaRange,
        spare: Spare<T>,
    ) -> Result<(), (Conflict, Spare<T>)> {
        if let Some(conflict) = self.conflict(range) {
            return Err((conflict, spare));
        }
        let area = Area {
            first: range.first(),
            state: State::Filling,
        };
        // Nothing has this key: its last address is free.
        self.tree.insert(spare.0.into_node(range.last(), area));
        Ok(())
    }

    fn conflict(&mut self, range: IovaRange) -> Option<Conflict> {
        let mut found = None;
        let mut cursor = self.tree.cursor_lower_bound_mut(&range.first());
        while let Some(at) = cursor {
            let (_, area) = at.current();
            if area.first > range.last() {
                break;
            }
            match area.state {
                State::Dying => found = Some(Conflict::Unmapping),
                State::Filling | State::Live(_) => return Some(Conflict::Area),
            }
            cursor = at.move_next();
        }
        found
    }

    /// Ends a map: the area that was reserved as `range` is live from now on.
    pub(crate) fn publish(&mut self, range: IovaRange, content: T) {
        if let Some(area) = self.tree.get_mut(&range.last()) {
            area.state = State::Live(content);
        }
    }

    /// Gives back a range that was reserved, or unmapped.
    pub(crate) fn release(&mut self, range: IovaRange) {
        self.tree.remove_node(&range.last());
    }

    /// Whether `range` can be unmapped by type1v2's rules: neither end cuts an area.
    pub(crate) fn check_unmap(&mut self, range: IovaRange) -> Result<(), Conflict> {
        let low = range
            .first()
            .checked_sub(1)
            .map(|below| (below, range.first()));
        let high = range
            .last()
            .checked_add(1)
            .map(|above| (range.last(), above));
        for (inside, outside) in [low, high].into_iter().flatten() {
            if self.is_cut(inside, outside) {
                return Err(Conflict::Area);
            }
        }
        if self.any(range, |state| matches!(state, State::Dying)) {
            return Err(Conflict::Unmapping);
        }
        Ok(())
    }

    /// Whether one live area holds both of two neighbouring addresses.
    fn is_cut(&self, below: u64, above: u64) -> bool {
        match self
            .tree
            .cursor_lower_bound(&below)
            .as_ref()
            .map(|at| at.current())
        {
            Some((last, area)) => {
                matches!(area.state, State::Live(_)) && area.first <= below && *last >= above
            }
            None => false,
        }
    }

    fn any(&mut self, range: IovaRange, what: impl Fn(&State<T>) -> bool) -> bool {
        let mut cursor = self.tree.cursor_lower_bound_mut(&range.first());
        while let Some(at) = cursor {
            let (_, area) = at.current();
            if area.first > range.last() {
                return false;
            }
            if what(&area.state) {
                return true;
            }
            cursor = at.move_next();
        }
        false
    }

    /// Whether anything is mapped, being mapped or being unmapped in `range`.
    pub(crate) fn is_taken(&mut self, range: IovaRange) -> bool {
        self.any(range, |_| true)
    }

    /// Begins an unmap: takes the content of the first live area in `range`, which is dying from
    /// now on.
    pub(crate) fn take_first(&mut self, range: IovaRange) -> Option<(IovaRange, T)> {
        let mut cursor = self.tree.cursor_lower_bound_mut(&range.first());
        while let Some(mut at) = cursor {
            let (last, area) = at.current_mut();
            if *last > range.last() {
                return None;
            }
            // What cuts the start was mapped after the check of the ends.
            let whole = IovaRange::new(area.first, *last).filter(|whole| range.contains(whole));
            if let (Some(whole), State::Live(_)) = (whole, &area.state) {
                if let State::Live(content) = core::mem::replace(&mut area.state, State::Dying) {
                    return Some((whole, content));
                }
            }
            cursor = at.move_next();
        }
        None
    }

    /// The first live area that is in `range` as a whole.
    pub(crate) fn first_live(&mut self, range: IovaRange) -> Option<(IovaRange, &T)> {
        let mut found = None;
        let mut cursor = self.tree.cursor_lower_bound_mut(&range.first());
        while let Some(at) = cursor {
            let (last, area) = at.current();
            let whole = IovaRange::new(area.first, *last).filter(|whole| range.contains(whole));
            if let (Some(whole), State::Live(_)) = (whole, &area.state) {
                found = Some(whole);
                break;
            }
            cursor = at.move_next();
        }
        let whole = found?;
        match &self.tree.get(&whole.last())?.state {
            State::Live(content) => Some((whole, content)),
            State::Filling | State::Dying => None,
        }
    }

    /// The live areas, in order.
    pub(crate) fn live(&self) -> impl Iterator<Item = (IovaRange, &T)> {
        self.tree.iter().filter_map(|(last, area)| {
            let range = IovaRange::new(area.first, *last)?;
            match &area.state {
                State::Live(content) => Some((range, content)),
                State::Filling | State::Dying => None,
            }
        })
    }
}

#[kunit_tests(iommufd_areas)]
mod tests {
    use super::*;

    fn range(first: u64, last: u64) -> Result<IovaRange> {
        IovaRange::new(first, last).ok_or(EINVAL)
    }

    fn reserve(areas: &mut Areas<u32>, range: IovaRange) -> Result<(), Conflict> {
        let spare = Spare::new().map_err(|_| Conflict::Area)?;
        areas
            .reserve(range, spare)
            .map_err(|(conflict, _)| conflict)
    }

    fn mapped(ranges: &[(u64, u64)]) -> Result<Areas<u32>> {
        let mut areas = Areas::new();
        for (content, (first, last)) in (0u32..).zip(ranges) {
            let range = range(*first, *last)?;
            reserve(&mut areas, range).map_err(|_| EEXIST)?;
            areas.publish(range, content);
        }
        Ok(areas)
    }

    #[test]
    fn overlap() -> Result {
        let mut areas = mapped(&[(10, 19), (30, 39), (u64::MAX - 9, u64::MAX)])?;
        for (first, last, free) in [
            (0, 9, true),
            (0, 10, false),
            (19, 19, false),
            (20, 29, true),
            (15, 35, false),
            (0, u64::MAX, false),
            (40, u64::MAX - 10, true),
            (u64::MAX, u64::MAX, false),
        ] {
            let range = range(first, last)?;
            assert_eq!(areas.is_taken(range), !free);
            let reserved = reserve(&mut areas, range);
            assert_eq!(reserved.is_ok(), free);
            if free {
                areas.release(range);
            }
        }
        Ok(())
    }

    #[test]
    fn bisect() -> Result {
        let mut areas = mapped(&[(10, 19), (20, 29), (40, 49)])?;
        for (first, last, whole) in [
            (10, 19, true),
            (0, 29, true),
            (0, u64::MAX, true),
            (11, 19, false),
            (10, 18, false),
            (0, 15, false),
            (12, 15, false),
            (30, 39, true),
            (35, 45, false),
        ] {
            assert_eq!(areas.check_unmap(range(first, last)?).is_ok(), whole);
        }
        Ok(())
    }

    #[test]
    fn states() -> Result {
        let mut areas = mapped(&[(10, 19), (20, 29), (40, 49)])?;
        let all = range(0, u64::MAX)?;
        assert_eq!(areas.take_first(range(15, 45)?), Some((range(20, 29)?, 1)));
        assert_eq!(areas.check_unmap(all), Err(Conflict::Unmapping));
        assert_eq!(
            reserve(&mut areas, range(25, 35)?),
            Err(Conflict::Unmapping)
        );
        assert_eq!(reserve(&mut areas, range(5, 35)?), Err(Conflict::Area));
        assert_eq!(areas.take_first(range(20, 29)?), None);
        areas.release(range(20, 29)?);
        assert_eq!(reserve(&mut areas, range(25, 35)?), Ok(()));
        // A map that is under way is not there yet.
        assert_eq!(areas.check_unmap(range(30, 49)?), Ok(()));
        assert_eq!(areas.live().count(), 2);
        assert_eq!(areas.take_first(all), Some((range(10, 19)?, 0)));
        assert_eq!(areas.take_first(all), Some((range(40, 49)?, 2)));
        assert_eq!(areas.take_first(all), None);
        Ok(())
    }
}
