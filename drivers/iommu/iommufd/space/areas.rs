// SPDX-License-Identifier: GPL-2.0

//! Which parts of an address space are taken, and by what.
//!
//! Pure bookkeeping: nothing here pins, maps or waits.

use crate::{
    iova::IovaRange,
    space::gaps::{
        self,
        Choosable,
        Gaps,
        Nodes, //
    }, //
};
use core::mem::{
    forget,
    replace, //
};
use kernel::{
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNode,
        RBTreeNodeReservation, //
    },
    warn_on, //
};

/// As many unmaps of one space, and looks at its page tables, can be under way at once; more wait
/// for each other.
const UNMAPS: usize = 8;

/// A choice looks at as many areas, and ranges, that are new to it before others get their turn.
const LOOKS: usize = 64;

/// Disjoint areas of an address space, and the ranges that are being unmapped.
///
/// A map that is under way is not there yet: whoever meets its area acts as if the map came later.
/// An unmap that is under way is not over yet: whoever meets its range has to wait for its end. So
/// has an unmap that meets a range that is held.
pub(crate) struct Areas<T> {
    /// Keyed by the last address, so that the lower bound of an address is the area that holds
    /// it or the next one.
    tree: RBTree<u64, Area<T>>,
    /// How many areas there are.
    count: usize,
    unmaps: Unmaps,
    /// Where addresses can be chosen, once the first is.
    gaps: Gaps,
}

/// What came of an attempt to choose an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Choice {
    /// These are the lowest, and free as long as the areas stay locked.
    At(IovaRange),
    /// There is nothing free that would do.
    Nowhere,
    /// To be tried again with so many nodes; others should get their turn before.
    Again(usize),
    /// To be tried again when [`Areas::choose_in`] was told of the ranges.
    Unknown,
}

/// A range in which nobody begins to unmap.
#[derive(Clone, Copy)]
struct Closed {
    range: IovaRange,
    /// Because it is being unmapped, or else because it is held as it is.
    is_unmap: bool,
}

/// Ranges that are being unmapped, or held.
struct Unmaps {
    ranges: [Option<Closed>; UNMAPS],
    /// How many there are.
    count: usize,
}

impl Unmaps {
    fn new() -> Self {
        Self {
            ranges: [None; UNMAPS],
            count: 0,
        }
    }

    /// Those that are being unmapped.
    fn iter(&self) -> impl Iterator<Item = IovaRange> + '_ {
        let unmaps = self.ranges.iter().flatten().filter(|one| one.is_unmap);
        unmaps.map(|unmap| unmap.range)
    }

    /// Whether some of `range` is being unmapped.
    fn overlap(&self, range: IovaRange) -> bool {
        self.count > 0 && self.iter().any(|unmap| unmap.overlaps(&range))
    }

    /// Adds one, which is known by the result; `None` if one is in the way, or there are too many.
    fn add(&mut self, range: IovaRange, is_unmap: bool) -> Option<usize> {
        let mut closed = self.ranges.iter().flatten();
        if self.count > 0 && closed.any(|one| one.range.overlaps(&range)) {
            return None;
        }
        let mut places = self.ranges.iter_mut().enumerate();
        let (number, place) = places.find(|(_, place)| place.is_none())?;
        *place = Some(Closed { range, is_unmap });
        self.count += 1;
        Some(number)
    }

    fn remove(&mut self, number: usize) {
        let range = self.ranges.get_mut(number).and_then(Option::take);
        if !warn_on!(range.is_none()) {
            self.count -= 1;
        }
    }
}

/// What a choice comes across.
enum Found {
    /// Nothing that could be chosen.
    Nothing,
    /// An area, or the rest of one, up to this address.
    Taken(u64),
    /// Addresses that can be chosen.
    Free(IovaRange),
}

/// An area: in the tree, or taken out of it.
pub(crate) struct Area<T> {
    first: u64,
    /// What is mapped; nothing yet while the map is under way.
    content: Option<T>,
}

/// A live area that was taken out.
pub(crate) struct RemovedArea<T> {
    range: IovaRange,
    /// What was mapped: there, for the area was live. It is here, and not in the node, because
    /// that gives its content away as a copy of the whole.
    content: Option<T>,
    /// What is left of it, to be freed without a lock.
    _node: RBTreeNode<u64, Area<T>>,
}

/// Areas that were taken out, in order.
pub(crate) struct RemovedAreas<T>(RBTree<u64, Area<T>>);

/// Why a range cannot be taken, or not be unmapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Conflict {
    /// An area is in the way, or would be cut.
    Area,
    /// An unmap under way is, or a hold, or there are too many; to be tried again when one is over.
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

/// An unmap under way, or a hold, to be handed to [`Areas::end_unmap`].
#[must_use]
pub(crate) struct Unmap {
    number: usize,
    /// What has not been taken yet.
    rest: Option<IovaRange>,
}

impl Unmap {
    /// Whether there may be areas that have not been taken yet.
    pub(crate) fn has_more(&self) -> bool {
        self.rest.is_some()
    }
}

impl<T> Areas<T> {
    /// An address space with nothing in it.
    pub(crate) fn new() -> Self {
        Self {
            tree: RBTree::new(),
            count: 0,
            unmaps: Unmaps::new(),
            gaps: Gaps::new(),
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
            content: None,
        };
        // Nothing has this key: its last address is free.
        self.tree.insert(spare.0.into_node(range.last(), area));
        self.count += 1;
        Ok(())
    }

    /// What is in the way of a map of `range`.
    pub(crate) fn conflict(&self, range: IovaRange) -> Option<Conflict> {
        if self.has_area(range) {
            return Some(Conflict::Area);
        }
        self.is_being_unmapped(range).then_some(Conflict::Unmapping)
    }

    /// Finds the lowest `len` free addresses on a multiple of `align`, a power of two up to
    /// [`MOST_ALIGN`], and of a page, in the ranges of `generation`.
    ///
    /// That takes the logarithm of the number of areas and ranges, and as much again for each area
    /// and range that no choice has come across since it was added or something was unmapped there.
    ///
    /// [`MOST_ALIGN`]: crate::space::gaps::MOST_ALIGN
    pub(crate) fn choose(
        &mut self,
        generation: u64,
        len: u64,
        align: u64,
        nodes: &mut Nodes,
    ) -> Choice {
        if self.gaps.generation() != generation {
            return Choice::Unknown;
        }
        if let Err(missing) = self.gaps.prepare(self.count, nodes) {
            return Choice::Again(missing);
        }
        let mut from = 0;
        let mut looks = LOOKS;
        // Each turn sees less to look at, or one unmap less.
        while let Some((gap, wanted)) = self.gaps.lowest(from, len, align) {
            let in_the_way = self.unmaps.iter().find(|unmap| unmap.overlaps(&wanted));
            if let Some(unmap) = in_the_way {
                match unmap.last().checked_add(1) {
                    Some(behind) => from = behind,
                    None => return Choice::Nowhere,
                }
            } else if !self.has_area(wanted) && self.gaps.is_choosable(wanted) {
                // Gaps have room for whole pages.
                return match IovaRange::with_len(wanted.first(), len) {
                    Ok(range) => Choice::At(range),
                    Err(_) => Choice::Nowhere,
                };
            } else if looks == 0 {
                return Choice::Again(0);
            } else if !self.repair(gap, len, align, &mut looks) {
                return Choice::Again(1);
            }
        }
        Choice::Nowhere
    }

    /// Takes out of a gap what cannot be chosen in front of the first part of it that has enough
    /// room, but does not look too often. Whether the gaps are still known.
    fn repair(&mut self, gap: IovaRange, len: u64, align: u64, looks: &mut usize) -> bool {
        // What is before this is done.
        let mut from = gap.first();
        while *looks > 0 {
            *looks -= 1;
            let seen = match self.look(from, gap.last()) {
                Found::Nothing => gap.last(),
                Found::Taken(last) => last,
                Found::Free(free) if free.last() == gap.last() => {
                    from = free.first();
                    break;
                }
                Found::Free(free) => {
                    self.gaps.put(free);
                    if let (true, Some(rest)) =
                        (gaps::has_room(free, len, align), gap.behind(free.last()))
                    {
                        from = rest.first();
                        break;
                    }
                    free.last()
                }
            };
            let Some(behind) = gap.behind(seen) else {
                self.gaps.cut_front(gap, gap.last());
                return self.gaps.are_kept();
            };
            from = behind.first();
        }
        if let Some(done) = IovaRange::until(gap.first(), from) {
            self.gaps.cut_front(gap, done.last());
        }
        self.gaps.are_kept()
    }

    /// What is first from `from` to `last`.
    fn look(&self, from: u64, last: u64) -> Found {
        let next = self.gaps.next_choosable(from);
        let Some(open) = next.and_then(|next| IovaRange::new(next.first(), next.last().min(last)))
        else {
            return Found::Nothing;
        };
        let area = self.area_at_or_behind(open.first());
        let before = area.map_or(Some(open), |area| {
            IovaRange::until(open.first(), area.first()).and_then(|free| free.intersection(&open))
        });
        match (before, area) {
            (Some(free), _) => Found::Free(free),
            (None, Some(area)) => Found::Taken(area.last()),
            (None, None) => Found::Nothing,
        }
    }

    fn area_at_or_behind(&self, iova: u64) -> Option<IovaRange> {
        let next = self.tree.cursor_lower_bound(&iova)?;
        let (last, area) = next.current();
        IovaRange::new(area.first, *last)
    }

    /// Changes where addresses are chosen, and returns what is to be dropped without a lock.
    pub(crate) fn choose_in(&mut self, choosable: Choosable) -> Choosable {
        self.gaps.choose_in(choosable)
    }

    /// Whether `range` contains all areas, those that are on their way as well.
    pub(crate) fn lie_in(&self, range: IovaRange) -> bool {
        let front = self.tree.cursor_front();
        let back = self.tree.cursor_back();
        front.is_none_or(|front| front.current().1.first >= range.first())
            && back.is_none_or(|back| *back.current().0 <= range.last())
    }

    /// Whether there are no areas, not even on their way.
    pub(crate) fn is_empty(&self) -> bool {
        self.tree.is_empty()
    }

    /// Whether an unmap is under way.
    pub(crate) fn are_being_unmapped(&self) -> bool {
        self.unmaps.iter().next().is_some()
    }

    /// The live area that has the address `iova`, and its content.
    pub(crate) fn live_at(&self, iova: u64) -> Option<(IovaRange, &T)> {
        let last = *self.tree.cursor_lower_bound(&iova)?.current().0;
        let area = self.tree.get(&last)?;
        let range = IovaRange::new(area.first, last).filter(|range| range.first() <= iova)?;
        Some((range, area.content.as_ref()?))
    }

    fn has_area(&self, range: IovaRange) -> bool {
        let next = self.tree.cursor_lower_bound(&range.first());
        next.is_some_and(|next| next.current().1.first <= range.last())
    }

    /// Whether an unmap of some of `range` is under way.
    pub(crate) fn is_being_unmapped(&self, range: IovaRange) -> bool {
        self.unmaps.overlap(range)
    }

    /// Whether anything is mapped, being mapped or being unmapped in `range`.
    pub(crate) fn is_taken(&self, range: IovaRange) -> bool {
        self.has_area(range) || self.is_being_unmapped(range)
    }

    /// Ends a map: the area that was reserved as `range` is live from now on.
    pub(crate) fn publish(&mut self, range: IovaRange, content: T) {
        match self.tree.get_mut(&range.last()) {
            Some(area) => area.content = Some(content),
            None => {
                // Nobody has reserved it. The content may be in use: it is not to be dropped.
                warn_on!(true);
                forget(content);
            }
        }
    }

    /// The first live area that lies in `range` as a whole, to have its content changed.
    pub(crate) fn first_live_mut(&mut self, range: IovaRange) -> Option<(IovaRange, &mut T)> {
        let (area, _) = self.first_live(range)?;
        let content = self.tree.get_mut(&area.last())?.content.as_mut()?;
        Some((area, content))
    }

    /// Changes the content of the live area that ends with `last`.
    pub(crate) fn change(&mut self, last: u64, change: impl FnOnce(T) -> T) {
        if let Some(area) = self.tree.get_mut(&last) {
            area.content = area.content.take().map(change);
        }
    }

    /// Makes two areas of the live one that ends with `last`: the first ends with `cut`, and
    /// `split` takes the content of the second from that of the first.
    ///
    /// # Errors
    ///
    /// Those of `split`; nothing has changed then.
    pub(crate) fn split(
        &mut self,
        last: u64,
        cut: u64,
        spare: Spare<T>,
        split: impl FnOnce(&mut T) -> Result<T>,
    ) -> Result {
        let area = self.tree.get_mut(&last).ok_or(ENOENT)?;
        let content = area.content.as_mut().ok_or(ENOENT)?;
        let second = split(content)?;
        let front = Area {
            first: replace(&mut area.first, cut.wrapping_add(1)),
            content: area.content.replace(second),
        };
        self.tree.insert(spare.0.into_node(cut, front));
        self.count += 1;
        Ok(())
    }

    /// Ends a map that failed: the range that was reserved is free again.
    pub(crate) fn release(&mut self, range: IovaRange) {
        let released = self.tree.remove_node(&range.last());
        if !warn_on!(released.is_none()) {
            self.count -= 1;
            self.gaps.free(range, self.count);
        }
    }

    /// Begins an unmap of the live area that is all of `range`, if there is one, and takes it out.
    ///
    /// Most unmaps are like that. `None` also if another unmap that is under way has to end first.
    pub(crate) fn begin_unmap_one(&mut self, range: IovaRange) -> Option<(Unmap, RemovedArea<T>)> {
        let mut entry = self.tree.find_mut(&range.last())?;
        let area = entry.get_mut();
        if area.first != range.first() || area.content.is_none() {
            return None;
        }
        let number = self.unmaps.add(range, true)?;
        let one = RemovedArea {
            range,
            content: area.content.take(),
            _node: entry.remove_node(),
        };
        self.count -= 1;
        self.gaps.free(range, self.count);
        Some((Unmap { number, rest: None }, one))
    }

    /// Begins an unmap of all live areas in `range`, by type1v2's rules.
    ///
    /// # Errors
    ///
    /// * [`Conflict::Area`]: an end of the range cuts an area.
    /// * [`Conflict::Unmapping`]: other unmaps have to end first.
    pub(crate) fn begin_unmap(&mut self, range: IovaRange) -> Result<Unmap, Conflict> {
        if self.is_cut_by(range) {
            return Err(Conflict::Area);
        }
        let number = self.unmaps.add(range, true).ok_or(Conflict::Unmapping)?;
        let rest = Some(range);
        Ok(Unmap { number, rest })
    }

    /// Whether an end of `range` cuts a live area.
    pub(crate) fn is_cut_by(&self, range: IovaRange) -> bool {
        let low = range.first().checked_sub(1);
        let high = range.last().checked_add(1);
        low.is_some_and(|low| self.is_cut(low, range.first()))
            || high.is_some_and(|high| self.is_cut(range.last(), high))
    }

    /// Whether one live area holds both of two neighbouring addresses.
    fn is_cut(&self, below: u64, above: u64) -> bool {
        let area = self.tree.cursor_lower_bound(&below);
        area.is_some_and(|area| {
            let (last, area) = area.current();
            area.content.is_some() && area.first <= below && *last >= above
        })
    }

    /// Takes up to `most` live areas out. Their addresses stay taken until the unmap ends.
    pub(crate) fn take(&mut self, unmap: &mut Unmap, most: usize, taken: &mut RemovedAreas<T>) {
        for _ in 0..most {
            let Some(rest) = unmap.rest.take() else {
                return;
            };
            let Some(at) = self.tree.cursor_lower_bound_mut(&rest.first()) else {
                return;
            };
            let (last, area) = at.current();
            let last = *last;
            if last > rest.last() {
                return;
            }
            unmap.rest = rest.behind(last);
            // A map under way that cuts the start of the range came after the check of the ends.
            let whole = IovaRange::new(area.first, last).filter(|area| rest.contains(area));
            if let (Some(whole), true) = (whole, area.content.is_some()) {
                taken.0.insert(at.remove_current().1);
                self.count -= 1;
                self.gaps.free(whole, self.count);
            }
        }
    }

    /// Ends an unmap, whose addresses are free again, or a hold.
    pub(crate) fn end_unmap(&mut self, unmap: Unmap) {
        self.unmaps.remove(unmap.number);
    }

    /// The first live area that lies in `range` as a whole.
    pub(crate) fn first_live(&self, range: IovaRange) -> Option<(IovaRange, &T)> {
        let mut rest = Some(range);
        while let Some(range) = rest {
            let at = self.tree.cursor_lower_bound(&range.first())?;
            let last = *at.current().0;
            let area = self.tree.get(&last)?;
            let whole = IovaRange::new(area.first, last).filter(|whole| range.contains(whole));
            if let (Some(whole), Some(content)) = (whole, &area.content) {
                return Some((whole, content));
            }
            rest = range.behind(last);
        }
        None
    }

    /// The part of `range` that the first live area has of it, and its content.
    pub(crate) fn next_live(&self, range: IovaRange) -> Option<(IovaRange, &T)> {
        let mut rest = Some(range);
        while let Some(range) = rest {
            let last = *self.tree.cursor_lower_bound(&range.first())?.current().0;
            let area = self.tree.get(&last)?;
            let here = IovaRange::new(area.first, last)?.intersection(&range)?;
            if let Some(content) = &area.content {
                return Some((here, content));
            }
            rest = range.behind(last);
        }
        None
    }

    /// Has those who unmap in `range` wait until it is handed to [`Self::end_unmap`]; `None` if
    /// something else that is under way has to end before.
    pub(crate) fn hold(&mut self, range: IovaRange) -> Option<Unmap> {
        let number = self.unmaps.add(range, false)?;
        Some(Unmap { number, rest: None })
    }

    /// Takes all areas out, for good: maps under way are forgotten.
    pub(crate) fn take_all(&mut self) -> RemovedAreas<T> {
        RemovedAreas(replace(self, Self::new()).tree)
    }

    /// What is in the live areas, in order.
    pub(crate) fn contents_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let areas = self.tree.values_mut();
        areas.filter_map(|area| area.content.as_mut())
    }

    /// The live areas, in order.
    pub(crate) fn live(&self) -> impl Iterator<Item = (IovaRange, &T)> {
        contents(&self.tree)
    }
}

impl<T> RemovedArea<T> {
    /// Where it was.
    pub(crate) fn range(&self) -> IovaRange {
        self.range
    }

    /// What was mapped.
    pub(crate) fn content(&self) -> Option<&T> {
        self.content.as_ref()
    }

    /// The same, to keep.
    #[inline]
    pub(crate) fn into_content(self) -> Option<T> {
        self.content
    }
}

impl<T> RemovedAreas<T> {
    /// No areas.
    pub(crate) fn new() -> Self {
        Self(RBTree::new())
    }

    /// The areas, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (IovaRange, &T)> {
        contents(&self.0)
    }

    /// Takes the content of every area, and says where it was.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (IovaRange, T)> + '_ {
        self.0.iter_mut().filter_map(|(last, area)| {
            let range = IovaRange::new(area.first, *last)?;
            Some((range, area.content.take()?))
        })
    }
}

fn contents<T>(tree: &RBTree<u64, Area<T>>) -> impl Iterator<Item = (IovaRange, &T)> {
    tree.iter().filter_map(|(last, area)| {
        let range = IovaRange::new(area.first, *last)?;
        Some((range, area.content.as_ref()?))
    })
}

#[kunit_tests(iommufd_areas)]
mod tests {
    use super::*;
    use kernel::page::PAGE_SIZE;

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
            let mut areas = mapped(&[(10, 19), (20, 29), (40, 49)])?;
            let unmap = areas.begin_unmap(range(first, last)?);
            assert_eq!(unmap.is_ok(), whole);
        }
        Ok(())
    }

    #[test]
    fn single() -> Result {
        let mut areas = mapped(&[(10, 19), (20, 29)])?;
        assert_eq!(reserve(&mut areas, range(30, 39)?), Ok(()));
        for (first, last) in [(10, 29), (10, 18), (11, 19), (0, 9), (30, 39)] {
            assert!(areas.begin_unmap_one(range(first, last)?).is_none());
        }
        let begun = areas.begin_unmap_one(range(20, 29)?);
        let (unmap, one) = begun.ok_or(EINVAL)?;
        assert!(!unmap.has_more());
        assert_eq!(one.content(), Some(&1));
        assert!(areas.is_taken(range(20, 29)?));
        assert!(areas.begin_unmap_one(range(10, 19)?).is_some());
        assert_eq!((areas.count, areas.unmaps.count), (1, 2));
        areas.end_unmap(unmap);
        assert_eq!(areas.unmaps.count, 1);
        assert!(!areas.is_taken(range(20, 29)?));
        assert!(areas.is_taken(range(10, 19)?));
        // One that another unmap will take is left to that.
        let mut areas = mapped(&[(10, 19), (20, 29)])?;
        assert!(areas.begin_unmap(range(0, 29)?).is_ok());
        assert!(areas.begin_unmap_one(range(20, 29)?).is_none());
        Ok(())
    }

    #[test]
    fn splitting() -> Result {
        let mut areas = mapped(&[(10, 19), (20, 29)])?;
        let spare = || Spare::new();
        assert_eq!(areas.split(29, 24, spare()?, |_| Err(EINVAL)), Err(EINVAL));
        assert_eq!(areas.live().count(), 2);
        areas.split(29, 24, spare()?, |content| {
            *content = 7;
            Ok(8)
        })?;
        assert_eq!(areas.count, 3);
        assert_eq!(areas.split(30, 27, spare()?, |_| Ok(9)), Err(ENOENT));
        let parts = [
            (range(10, 19)?, 0),
            (range(20, 24)?, 7),
            (range(25, 29)?, 8),
        ];
        assert!(areas
            .live()
            .map(|(range, content)| (range, *content))
            .eq(parts));
        Ok(())
    }

    #[test]
    fn unmapping() -> Result {
        let mut areas = mapped(&[(10, 19), (20, 29), (40, 49)])?;
        let all = range(0, u64::MAX)?;
        let mut taken = RemovedAreas::new();
        let begun = areas.begin_unmap(range(20, 49)?);
        let mut unmap = begun.map_err(|_| EINVAL)?;
        areas.take(&mut unmap, 1, &mut taken);
        assert!(unmap.has_more());
        let overlapping = areas.begin_unmap(all);
        assert_eq!(overlapping.err(), Some(Conflict::Unmapping));
        assert_eq!(
            reserve(&mut areas, range(30, 35)?),
            Err(Conflict::Unmapping)
        );
        assert_eq!(reserve(&mut areas, range(5, 35)?), Err(Conflict::Area));
        assert_eq!(areas.count, 2);
        areas.take(&mut unmap, 9, &mut taken);
        assert_eq!(areas.count, 1);
        assert!(!unmap.has_more());
        let contents = [(range(20, 29)?, 1), (range(40, 49)?, 2)];
        assert!(taken
            .iter()
            .map(|(range, content)| (range, *content))
            .eq(contents));
        assert!(areas.is_taken(range(20, 29)?));
        areas.end_unmap(unmap);
        assert!(!areas.is_taken(range(20, 49)?));
        assert_eq!(areas.live().count(), 1);
        Ok(())
    }

    #[test]
    fn map_under_way() -> Result {
        let mut areas = mapped(&[(10, 19)])?;
        assert_eq!(reserve(&mut areas, range(20, 29)?), Ok(()));
        // It is not there yet: it can neither be cut nor taken.
        let mut taken = RemovedAreas::new();
        let begun = areas.begin_unmap(range(0, 24)?);
        let mut unmap = begun.map_err(|_| EINVAL)?;
        areas.take(&mut unmap, 9, &mut taken);
        assert_eq!(taken.iter().count(), 1);
        areas.end_unmap(unmap);
        areas.publish(range(20, 29)?, 7);
        assert_eq!(areas.first_live(range(0, 99)?), Some((range(20, 29)?, &7)));
        assert_eq!(areas.first_live(range(21, 99)?), None);
        Ok(())
    }

    #[test]
    fn lie_in() -> Result {
        let mut areas = Areas::new();
        assert!(areas.is_empty() && areas.lie_in(range(5, 5)?));
        assert_eq!(reserve(&mut areas, range(10, 19)?), Ok(()));
        assert!(!areas.is_empty());
        assert_eq!(reserve(&mut areas, range(30, 39)?), Ok(()));
        for (first, last, all) in [
            (10, 39, true),
            (0, 99, true),
            (11, 39, false),
            (10, 38, false),
            (20, 29, false),
        ] {
            assert_eq!(areas.lie_in(range(first, last)?), all);
        }
        let unmap = areas.begin_unmap(range(50, 59)?).map_err(|_| EINVAL)?;
        assert!(areas.are_being_unmapped());
        areas.end_unmap(unmap);
        assert!(!areas.are_being_unmapped());
        Ok(())
    }

    const PAGE: u64 = PAGE_SIZE as u64;

    /// The range of `count` pages from page `first` on.
    fn pages(first: u64, count: u64) -> Result<IovaRange> {
        IovaRange::with_len(first * PAGE, count * PAGE)
    }

    /// The number of the first page that is chosen, in ranges that are given as first page and
    /// count.
    fn choose(
        areas: &mut Areas<u32>,
        ranges: &[(u64, u64)],
        count: u64,
        align: u64,
    ) -> Result<Option<u64>> {
        // No two sets of ranges in a test have the same.
        let generation = ranges.first().map_or(1, |range| range.0 + 1);
        let mut nodes = Nodes::new(0)?;
        loop {
            match areas.choose(generation, count * PAGE, align * PAGE, &mut nodes) {
                Choice::At(range) => return Ok(Some(range.first() / PAGE)),
                Choice::Nowhere => return Ok(None),
                Choice::Again(missing) => nodes = Nodes::new(missing)?,
                Choice::Unknown => {
                    let mut list = KVVec::new();
                    for (first, count) in ranges {
                        list.push(pages(*first, *count)?, GFP_KERNEL)?;
                    }
                    areas.choose_in(Choosable {
                        ranges: list,
                        generation,
                    });
                }
            }
        }
    }

    fn map(areas: &mut Areas<u32>, range: IovaRange) -> Result {
        reserve(areas, range).map_err(|_| EEXIST)?;
        areas.publish(range, 0);
        Ok(())
    }

    #[test]
    fn choice() -> Result {
        let mut areas = Areas::new();
        map(&mut areas, pages(10, 10)?)?;
        map(&mut areas, pages(30, 10)?)?;
        let ranges = [(4, 46), (100, 100)];
        for (count, align, first) in [
            (4, 1, Some(4)),
            (10, 1, Some(20)),
            (8, 8, Some(40)),
            (8, 16, Some(112)),
            (100, 1, Some(100)),
            (101, 1, None),
            (1, 512, None),
        ] {
            assert_eq!(choose(&mut areas, &ranges, count, align)?, first);
        }
        // Elsewhere, or nowhere.
        assert_eq!(
            choose(&mut areas, &[(5, 3), (9, 8), (22, 3)], 3, 1)?,
            Some(5)
        );
        assert_eq!(
            choose(&mut areas, &[(6, 2), (9, 8), (22, 3)], 3, 1)?,
            Some(22)
        );
        assert_eq!(choose(&mut areas, &[], 1, 1)?, None);
        Ok(())
    }

    #[test]
    fn choices_go_on() -> Result {
        let mut areas = Areas::new();
        let all = [(4, 1 << 20)];
        for first in [4, 5, 6] {
            assert_eq!(choose(&mut areas, &all, 1, 1)?, Some(first));
            map(&mut areas, pages(first, 1)?)?;
        }
        // What becomes free is chosen again, but not before it is.
        let (unmap, _) = areas.begin_unmap_one(pages(5, 1)?).ok_or(EINVAL)?;
        assert_eq!(choose(&mut areas, &all, 1, 1)?, Some(7));
        areas.end_unmap(unmap);
        assert_eq!(choose(&mut areas, &all, 2, 1)?, Some(7));
        assert_eq!(choose(&mut areas, &all, 1, 1)?, Some(5));
        // A map that fails leaves nothing behind.
        assert_eq!(reserve(&mut areas, pages(5, 1)?), Ok(()));
        assert_eq!(choose(&mut areas, &all, 1, 1)?, Some(7));
        areas.release(pages(5, 1)?);
        assert_eq!(choose(&mut areas, &all, 1, 1)?, Some(5));
        Ok(())
    }

    /// Areas that no choice has come across are looked at, but not too many of them in one go.
    #[test]
    fn choices_in_turns() -> Result {
        const COUNT: usize = 3 * LOOKS;
        let mut areas = Areas::new();
        let all = [(0, 1 << 20)];
        choose(&mut areas, &all, 1, 1)?;
        for first in 0..COUNT as u64 {
            map(&mut areas, pages(2 * first, 1)?)?;
        }
        let mut nodes = Nodes::new(0)?;
        let mut turns = 0;
        let found = loop {
            match areas.choose(1, 2 * PAGE, PAGE, &mut nodes) {
                Choice::Again(0) => turns += 1,
                Choice::Again(missing) => nodes = Nodes::new(missing)?,
                other => break other,
            }
        };
        assert_eq!(found, Choice::At(pages(2 * COUNT as u64 - 1, 2)?));
        // Each area, and the gap behind it, is a look; the last turn has found it.
        assert_eq!(turns, 2 * COUNT / LOOKS - 1);
        // From now on they are known.
        for count in [1, 2] {
            let found = areas.choose(1, count * PAGE, PAGE, &mut nodes);
            let first = if count == 1 { 1 } else { 2 * COUNT as u64 - 1 };
            assert_eq!(found, Choice::At(pages(first, count)?));
        }
        Ok(())
    }

    /// The last unmap of them all is of everything, free or not.
    #[test]
    fn choices_during_unmaps() -> Result {
        let mut areas = Areas::new();
        let all = [(4, 96)];
        map(&mut areas, pages(8, 2)?)?;
        for (first, count, found) in [(4, 1, Some(5)), (6, 1, Some(5)), (12, 70, Some(5))] {
            assert!(areas.begin_unmap(pages(first, count)?).is_ok());
            assert_eq!(choose(&mut areas, &all, 1, 1)?, found);
        }
        assert_eq!(choose(&mut areas, &all, 2, 1)?, Some(10));
        assert_eq!(choose(&mut areas, &all, 3, 1)?, Some(82));
        assert_eq!(choose(&mut areas, &all, 19, 1)?, None);
        Ok(())
    }

    /// Pages and which of them are taken: what a choice should find.
    struct Model {
        taken: [bool; 256],
        random: u32,
    }

    impl Model {
        fn random(&mut self, below: u64) -> u64 {
            self.random = self.random.wrapping_mul(1664525).wrapping_add(1013904223);
            u64::from(self.random >> 8) % below
        }

        fn lowest(&self, ranges: &[(u64, u64)], count: u64, align: u64) -> Option<u64> {
            let mut places = (0..256).step_by(align as usize);
            places.find(|first| {
                let is_in =
                    |range: &(u64, u64)| range.0 <= *first && first + count <= range.0 + range.1;
                let taken = self.taken.iter().skip(*first as usize);
                ranges.iter().any(is_in) && !taken.take(count as usize).any(|taken| *taken)
            })
        }

        fn set(&mut self, first: u64, count: u64, taken: bool) {
            let places = self.taken.iter_mut().skip(first as usize);
            places.take(count as usize).for_each(|place| *place = taken);
        }
    }

    /// Areas come and go at random, also outside of the ranges and across their ends.
    #[test]
    fn choices_as_in_a_model() -> Result {
        let mut model = Model {
            taken: [false; 256],
            random: 1,
        };
        let sets: [&[(u64, u64)]; 3] = [
            &[(0, 256)],
            &[(3, 5), (9, 1), (11, 60), (80, 16), (97, 100)],
            &[(1, 2), (4, 2), (7, 2), (10, 2), (13, 2), (60, 9), (70, 9)],
        ];
        let mut areas = Areas::new();
        for step in 0..300u64 {
            let ranges = *sets.get((step / 20 % 3) as usize).ok_or(EINVAL)?;
            let (count, align) = (1 + model.random(9), 1 << model.random(4));
            let found = choose(&mut areas, ranges, count, align)?;
            assert_eq!(found, model.lowest(ranges, count, align));
            let first = match found {
                Some(first) if model.random(2) == 0 => first,
                _ => model.random(247),
            };
            if map(&mut areas, pages(first, count)?).is_ok() {
                model.set(first, count, true);
            }
            let first = model.random(256);
            if let Some((area, _)) = areas.live_at(first * PAGE) {
                let (unmap, _) = areas.begin_unmap_one(area).ok_or(EINVAL)?;
                areas.end_unmap(unmap);
                model.set(area.first() / PAGE, area.len() / PAGE, false);
            } else if step % 10 == 0 {
                unmap_some(&mut areas, &mut model, first)?;
            }
        }
        Ok(())
    }

    /// Unmaps many areas in one call.
    fn unmap_some(areas: &mut Areas<u32>, model: &mut Model, first: u64) -> Result {
        let range = pages(first / 2, 100)?;
        if let Ok(mut unmap) = areas.begin_unmap(range) {
            let mut taken = RemovedAreas::new();
            while unmap.has_more() {
                areas.take(&mut unmap, 5, &mut taken);
            }
            areas.end_unmap(unmap);
            model.set(first / 2, 100, false);
        }
        Ok(())
    }

    /// Maps that were under way when an unmap began, at both its ends, and end before it does:
    /// they were not there to be cut, and are not taken either.
    #[test]
    fn maps_end_during_unmap() -> Result {
        let mut areas = mapped(&[(10, 19)])?;
        for (first, last) in [(5, 9), (20, 29), (35, 45)] {
            assert_eq!(reserve(&mut areas, range(first, last)?), Ok(()));
        }
        let mut taken = RemovedAreas::new();
        let begun = areas.begin_unmap(range(7, 39)?);
        let mut unmap = begun.map_err(|_| EINVAL)?;
        for (first, last) in [(5, 9), (20, 29), (35, 45)] {
            areas.publish(range(first, last)?, 7);
        }
        areas.take(&mut unmap, 9, &mut taken);
        assert!(!unmap.has_more());
        areas.end_unmap(unmap);
        let ranges = taken.iter().map(|(range, _)| range);
        assert!(ranges.eq([range(10, 19)?, range(20, 29)?]));
        let left = areas.live().map(|(range, _)| range);
        assert!(left.eq([range(5, 9)?, range(35, 45)?]));
        Ok(())
    }

    #[test]
    fn in_order() -> Result {
        const TOP: u64 = u64::MAX;
        let areas = mapped(&[(50, 59), (TOP, TOP), (0, 0), (20, 29), (30, 49)])?;
        let ranges = [(0, 0), (20, 29), (30, 49), (50, 59), (TOP, TOP)];
        let mut live = areas.live();
        for (first, last) in ranges {
            let next = live.next().map(|(range, _)| range);
            assert_eq!(next, Some(range(first, last)?));
        }
        assert!(live.next().is_none());
        for (first, last, found) in [
            (0, TOP, Some(2)),
            (1, TOP, Some(3)),
            (21, TOP, Some(4)),
            (21, 48, None),
            (60, TOP, Some(1)),
            (60, TOP - 1, None),
        ] {
            let first = areas.first_live(range(first, last)?);
            assert_eq!(first.map(|(_, content)| *content), found);
        }
        Ok(())
    }

    #[test]
    fn release() -> Result {
        let mut areas = mapped(&[(10, 19)])?;
        let rest = range(20, u64::MAX)?;
        assert_eq!(reserve(&mut areas, rest), Ok(()));
        let top = range(u64::MAX, u64::MAX)?;
        assert_eq!(reserve(&mut areas, top), Err(Conflict::Area));
        assert_eq!(areas.count, 2);
        areas.release(rest);
        assert_eq!(areas.count, 1);
        assert!(!areas.is_taken(rest));
        assert!(areas.is_taken(range(10, 19)?));
        Ok(())
    }

    #[test]
    fn many_unmaps() -> Result {
        let mut areas = Areas::<u32>::new();
        for first in 0..UNMAPS as u64 {
            let unmap = areas.begin_unmap(range(first, first)?);
            assert!(unmap.is_ok());
        }
        let one_more = areas.begin_unmap(range(99, 99)?);
        assert_eq!(one_more.err(), Some(Conflict::Unmapping));
        Ok(())
    }

    #[test]
    fn holds() -> Result {
        let mut areas = mapped(&[(10, 19), (30, 39)])?;
        let hold = areas.hold(range(15, 34)?).ok_or(EBUSY)?;
        // Who reads it, or maps beside what is there, need not wait.
        assert!(!areas.is_being_unmapped(range(0, 99)?) && !areas.are_being_unmapped());
        assert_eq!(reserve(&mut areas, range(20, 29)?), Ok(()));
        areas.publish(range(20, 29)?, 2);
        assert!(areas.hold(range(34, 40)?).is_none());
        assert!(areas.begin_unmap_one(range(10, 19)?).is_none());
        let all = areas.begin_unmap(range(0, 99)?);
        assert_eq!(all.err(), Some(Conflict::Unmapping));
        assert_eq!(areas.next_live(range(0, 12)?), Some((range(10, 12)?, &0)));
        assert_eq!(areas.next_live(range(35, 99)?), Some((range(35, 39)?, &1)));
        assert_eq!(areas.next_live(range(40, 99)?), None);
        areas.end_unmap(hold);
        let one = areas.begin_unmap_one(range(10, 19)?).ok_or(EBUSY)?;
        assert!(areas.hold(range(19, 19)?).is_none());
        areas.end_unmap(one.0);
        // What is on its way is not there.
        assert_eq!(reserve(&mut areas, range(10, 19)?), Ok(()));
        assert_eq!(areas.next_live(range(0, 99)?), Some((range(20, 29)?, &2)));
        Ok(())
    }
}
