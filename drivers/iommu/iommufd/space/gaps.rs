// SPDX-License-Identifier: GPL-2.0

//! Where addresses may be chosen, and the lowest gap that has room for so many.
//!
//! Pure bookkeeping, as that of the areas, which it belongs to. It begins when the first address is
//! chosen: a space in which none is has nothing of this.
//!
//! What is kept is a **superset of what is free**: a new area is not taken out of its gap. Whoever
//! chooses an address and finds an area in a gap, or addresses that nobody may choose, takes it
//! out then ([`crate::space::areas::Areas::choose`]). An area that goes becomes part of a gap at
//! once. So the lowest gap with enough room either has an address to choose, or is in need of
//! repair; and each area is taken out of a gap but once, or once in each of the ranges that it lies
//! in.
//!
//! The gaps are the nodes of an AVL tree, in the order of their addresses. Each knows the most room
//! that there is in a gap below it **for each alignment**, so that a search never looks at a gap
//! that is large enough and then is not, because of where it begins. `m` is the number of pages of
//! the largest gap; for an alignment of 2^k pages, a gap of `m` pages has room for more than
//! `m` - 2^k, so what is kept beside `m` is what the most room lacks of `m`: k bits.
//!
//! As many nodes as there can be gaps are there beforehand: an unmap allocates nothing. Behind each
//! gap there is an area that was taken out of it, or the end of a range in which addresses may be
//! chosen, and each of them is behind one gap only: so there are no more gaps than areas and
//! ranges.

use crate::iova::IovaRange;
use core::mem;
use kernel::{
    page::{
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    prelude::*, //
};

const PAGE: u64 = PAGE_SIZE as u64;

/// An address can be aligned to 2^`ORDERS` pages, and less: to what a table of the kernel maps.
const ORDERS: usize = PAGE_SHIFT - 3;

/// The most that a chosen address can be aligned to.
pub(crate) const MOST_ALIGN: u64 = PAGE << ORDERS;

/// What the most room for an alignment can lack, and more.
const MOST_LACK: u16 = 1 << ORDERS;

/// How many nodes are allocated or freed in one go.
const NODES: usize = 64;

type Tree = Option<KBox<Gap>>;

/// A gap, and the gaps of a tree that it is the root of.
struct Gap {
    first: u64,
    last: u64,
    left: Tree,
    right: Tree,
    /// The most pages that a gap of the tree has.
    most: u64,
    /// How many less than `most` it has room for if they are to lie on a multiple of 2, 4, 8 and
    /// so on.
    lacks: [u16; ORDERS],
    height: u8,
    /// Whether the way down went to the left; see [`Way`].
    went_left: bool,
}

/// How many pages are wanted, on a multiple of 2^`order`.
#[derive(Clone, Copy)]
struct Wanted {
    pages: u64,
    order: usize,
}

impl Wanted {
    fn new(len: u64, align: u64) -> Self {
        let order = align.trailing_zeros() as usize;
        Self {
            pages: len.div_ceil(PAGE),
            order: order.saturating_sub(PAGE_SHIFT).min(ORDERS),
        }
    }

    fn align(&self) -> u64 {
        PAGE << self.order
    }

    /// The lowest of the addresses from `first` to `last` where that many are.
    fn place(&self, first: u64, last: u64) -> Option<IovaRange> {
        let at = first.checked_next_multiple_of(self.align())?;
        let range = IovaRange::with_len(at, self.pages.checked_mul(PAGE)?).ok()?;
        (range.last() <= last).then_some(range)
    }

    /// Whether a gap of `tree` has room for them.
    fn fit_in(&self, tree: &Tree) -> bool {
        tree.as_ref().is_some_and(|top| {
            let lack = self.order.checked_sub(1).and_then(|k| top.lacks.get(k));
            let lack = lack.copied().map_or(0, u64::from);
            top.most
                .checked_sub(self.pages)
                .is_some_and(|spare| spare >= lack)
        })
    }
}

fn height(tree: &Tree) -> u8 {
    tree.as_ref().map_or(0, |top| top.height)
}

impl Gap {
    /// The number of the first whole page, and how many there are.
    fn pages(&self) -> (u64, u64) {
        let first = self.first.div_ceil(PAGE);
        let end = (self.last >> PAGE_SHIFT) + u64::from(self.last % PAGE == PAGE - 1);
        (first, end.saturating_sub(first))
    }

    /// To be called when it, or what is below it, has changed.
    fn update(&mut self) {
        let (first, pages) = self.pages();
        let below = [&self.left, &self.right];
        let tops = || below.into_iter().flatten();
        let most = tops().fold(pages, |most, top| most.max(top.most));
        let mut lacks = [MOST_LACK; ORDERS];
        if let Some(less) = less_than(most, pages) {
            let mut mask = 0;
            for lack in &mut lacks {
                mask = mask << 1 | 1;
                *lack = less + (first.wrapping_neg() as u16 & mask);
            }
        }
        for top in tops() {
            if let Some(less) = less_than(most, top.most) {
                for (lack, other) in lacks.iter_mut().zip(&top.lacks) {
                    *lack = (*lack).min(less + *other);
                }
            }
        }
        self.height = tops().fold(0, |most, top| most.max(top.height)) + 1;
        self.most = most;
        self.lacks = lacks;
    }
}

/// How much less than `most` it is, unless that is so much that it does not matter.
fn less_than(most: u64, pages: u64) -> Option<u16> {
    let less = most.wrapping_sub(pages);
    (less < u64::from(MOST_LACK)).then_some(less as u16)
}

/// Makes a tree of one whose halves may differ in height by two.
fn balanced(mut top: KBox<Gap>) -> KBox<Gap> {
    let (left, right) = (height(&top.left), height(&top.right));
    if left > right + 1 {
        top.left = top.left.take().map(|top| {
            if height(&top.right) > height(&top.left) {
                turned_left(top)
            } else {
                top
            }
        });
        turned_right(top)
    } else if right > left + 1 {
        top.right = top.right.take().map(|top| {
            if height(&top.left) > height(&top.right) {
                turned_right(top)
            } else {
                top
            }
        });
        turned_left(top)
    } else {
        top.update();
        top
    }
}

/// Makes what is to the left the top.
fn turned_right(mut top: KBox<Gap>) -> KBox<Gap> {
    let Some(mut new) = top.left.take() else {
        return top;
    };
    top.left = new.right.take();
    top.update();
    new.right = Some(top);
    new.update();
    new
}

/// Makes what is to the right the top.
fn turned_left(mut top: KBox<Gap>) -> KBox<Gap> {
    let Some(mut new) = top.right.take() else {
        return top;
    };
    top.right = new.left.take();
    top.update();
    new.left = Some(top);
    new.update();
    new
}

/// The way from the root of a tree to some place in it. What was passed has what is above it where
/// what is below it was: that takes no memory, and no recursion.
struct Way(Tree);

impl Way {
    fn left(&mut self, mut gap: KBox<Gap>) -> Tree {
        gap.went_left = true;
        let below = mem::replace(&mut gap.left, self.0.take());
        self.0 = Some(gap);
        below
    }

    fn right(&mut self, mut gap: KBox<Gap>) -> Tree {
        gap.went_left = false;
        let below = mem::replace(&mut gap.right, self.0.take());
        self.0 = Some(gap);
        below
    }

    /// Goes down in `tree` to the gap that ends with `last`, or to where it would be.
    fn to(mut tree: Tree, last: u64) -> (Self, Tree) {
        let mut way = Self(None);
        loop {
            tree = match tree {
                Some(gap) if last < gap.last => way.left(gap),
                Some(gap) if last > gap.last => way.right(gap),
                found => return (way, found),
            };
        }
    }

    /// Goes up by one, with `below` at the place that the way went to.
    fn up(&mut self, below: &mut Tree) -> Tree {
        let mut gap = self.0.take()?;
        let place = if gap.went_left {
            &mut gap.left
        } else {
            &mut gap.right
        };
        self.0 = mem::replace(place, below.take());
        Some(gap)
    }

    /// Goes up to the root, with `below` at the place that the way went to.
    fn back(mut self, mut below: Tree) -> Tree {
        while let Some(gap) = self.up(&mut below) {
            below = Some(balanced(gap));
        }
        below
    }
}

/// Takes the first gap out of a tree.
fn without_first(mut tree: Tree) -> (Tree, Tree) {
    let mut way = Way(None);
    loop {
        tree = match tree {
            Some(gap) if gap.left.is_some() => way.left(gap),
            Some(mut gap) => {
                let rest = gap.right.take();
                return (Some(gap), way.back(rest));
            }
            None => return (None, None),
        };
    }
}

/// Makes one tree of two and what is between them.
fn joined(left: Tree, mut between: KBox<Gap>, right: Tree) -> Tree {
    let mut way = Way(None);
    let (mut left, mut right) = (left, right);
    loop {
        let (low, high) = (height(&left), height(&right));
        match (left, right) {
            (Some(top), other) if low > high + 1 => {
                left = way.right(top);
                right = other;
            }
            (other, Some(top)) if high > low + 1 => {
                right = way.left(top);
                left = other;
            }
            (low, high) => {
                between.left = low;
                between.right = high;
                between.update();
                return way.back(Some(between));
            }
        }
    }
}

/// Makes two trees of one: what ends before `last`, and the others.
fn split(mut tree: Tree, last: u64) -> (Tree, Tree) {
    let mut way = Way(None);
    while let Some(gap) = tree {
        tree = if gap.last < last {
            way.right(gap)
        } else {
            way.left(gap)
        };
    }
    let (mut low, mut high) = (None, None);
    while let Some(mut gap) = way.up(&mut None) {
        if gap.went_left {
            let right = gap.right.take();
            high = joined(high, gap, right);
        } else {
            let left = gap.left.take();
            low = joined(left, gap, low);
        }
    }
    (low, high)
}

/// Nodes without a meaning, in trees that are in no order.
struct Bag(Tree);

impl Bag {
    fn pop(&mut self) -> Tree {
        let mut top = self.0.take()?;
        while let Some(mut left) = top.left.take() {
            top.left = left.right.take();
            left.right = Some(top);
            top = left;
        }
        self.0 = top.right.take();
        Some(top)
    }

    fn add(&mut self, tree: Tree) {
        let mut bag = Bag(tree);
        if let Some(mut top) = bag.pop() {
            top.left = bag.0.take();
            top.right = self.0.take();
            self.0 = Some(top);
        }
    }
}

impl Drop for Bag {
    fn drop(&mut self) {
        // One by one: a tree of this form may be as high as it is large.
        while self.pop().is_some() {}
    }
}

/// Nodes for gaps, allocated before any lock is taken.
pub(crate) struct Nodes {
    bag: Bag,
    count: usize,
}

impl Nodes {
    /// No more than some.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(count: usize) -> Result<Self> {
        let mut nodes = Self {
            bag: Bag(None),
            count: 0,
        };
        for _ in 0..count.min(NODES) {
            let gap = Gap {
                first: 0,
                last: 0,
                left: None,
                right: None,
                most: 0,
                lacks: [0; ORDERS],
                height: 0,
                went_left: false,
            };
            nodes.bag.add(Some(KBox::new(gap, GFP_KERNEL_ACCOUNT)?));
            nodes.count += 1;
        }
        Ok(nodes)
    }
}

/// Ranges in which addresses may be chosen, as they were in one generation of them.
pub(crate) struct Choosable {
    /// Disjoint, in order; neighbours are one.
    pub(crate) ranges: KVVec<IovaRange>,
    /// What tells them from others; not 0.
    pub(crate) generation: u64,
}

impl Choosable {
    /// The first range, or what is left of it, at or behind `from`.
    fn next(&self, from: u64) -> Option<IovaRange> {
        let skipped = self.ranges.partition_point(|range| range.last() < from);
        let range = self.ranges.get(skipped)?;
        IovaRange::new(range.first().max(from), range.last())
    }

    /// `range` without what lies before the first, and behind the last address of it that may be
    /// chosen.
    fn trim(&self, range: IovaRange) -> Option<IovaRange> {
        let first = self.next(range.first())?.first();
        let before = self
            .ranges
            .partition_point(|other| other.first() <= range.last());
        let end = self.ranges.get(before.checked_sub(1)?)?.last();
        IovaRange::new(first, end.min(range.last()))
    }

    fn all(&self) -> Option<IovaRange> {
        IovaRange::new(self.ranges.first()?.first(), self.ranges.last()?.last())
    }
}

/// Whether `range` has room for `len` addresses on a multiple of `align`.
pub(crate) fn has_room(range: IovaRange, len: u64, align: u64) -> bool {
    Wanted::new(len, align)
        .place(range.first(), range.last())
        .is_some()
}

/// The gaps of an address space.
pub(crate) struct Gaps {
    tree: Tree,
    spare: Bag,
    /// How many nodes there are, in the tree and not.
    nodes: usize,
    choosable: Choosable,
    /// Whether the tree is a superset of what is free.
    is_kept: bool,
}

impl Gaps {
    /// Nowhere is an address to be chosen.
    pub(crate) fn new() -> Self {
        Self {
            tree: None,
            spare: Bag(None),
            nodes: 0,
            choosable: Choosable {
                ranges: KVVec::new(),
                generation: 0,
            },
            is_kept: false,
        }
    }

    /// In which generation of ranges addresses are chosen; 0 if in none.
    pub(crate) fn generation(&self) -> u64 {
        self.choosable.generation
    }

    /// Changes where addresses are chosen, and returns what is to be dropped without a lock.
    pub(crate) fn choose_in(&mut self, choosable: Choosable) -> Choosable {
        self.forget();
        mem::replace(&mut self.choosable, choosable)
    }

    /// Whether they are known; if not, others become ready for the next choice.
    pub(crate) fn are_kept(&self) -> bool {
        self.is_kept
    }

    /// Gives up the tree; another begins when an address is chosen.
    fn forget(&mut self) {
        self.spare.add(self.tree.take());
        self.is_kept = false;
    }

    /// Makes ready for a choice among so many areas; else says how many nodes that takes.
    ///
    /// # Errors
    ///
    /// The number of nodes that are missing, after those in `nodes` were taken.
    pub(crate) fn prepare(&mut self, areas: usize, nodes: &mut Nodes) -> Result<(), usize> {
        let most = self.most(areas);
        if self.nodes < most {
            self.spare.add(nodes.bag.0.take());
            self.nodes += mem::take(&mut nodes.count);
        }
        if self.nodes < most {
            return Err(most - self.nodes);
        }
        self.shrink(areas, NODES);
        if !self.is_kept {
            self.is_kept = true;
            if let Some(all) = self.choosable.all() {
                self.put(all);
            }
        }
        Ok(())
    }

    /// How many gaps there can be.
    fn most(&self, areas: usize) -> usize {
        areas + self.choosable.ranges.len() + 1
    }

    /// Frees nodes that are too many for so many areas, but not too many at a time.
    fn shrink(&mut self, areas: usize, most: usize) {
        let excess = self.nodes.saturating_sub(self.most(areas));
        for _ in 0..excess.min(most) {
            if self.spare.pop().is_some() {
                self.nodes -= 1;
            }
        }
    }

    /// The lowest gap that has room for `len` addresses on a multiple of `align` from `from` on,
    /// and where in it they are.
    pub(crate) fn lowest(&self, from: u64, len: u64, align: u64) -> Option<(IovaRange, IovaRange)> {
        let wanted = Wanted::new(len, align);
        // The lowest of those on the way to `from` that are behind it.
        let mut best = None;
        let mut tree = &self.tree;
        while let Some(gap) = tree {
            if gap.last < from {
                tree = &gap.right;
                continue;
            }
            if wanted.place(gap.first.max(from), gap.last).is_some() || wanted.fit_in(&gap.right) {
                best = Some(gap);
            }
            if !wanted.fit_in(&gap.left) {
                break;
            }
            tree = &gap.left;
        }
        let mut gap = best?;
        loop {
            if let Some(place) = wanted.place(gap.first.max(from), gap.last) {
                return Some((IovaRange::new(gap.first, gap.last)?, place));
            }
            tree = &gap.right;
            while let Some(lower) = tree {
                gap = lower;
                if !wanted.fit_in(&gap.left) {
                    break;
                }
                tree = &gap.left;
            }
            tree.as_ref()?;
        }
    }

    /// The first addresses at or behind `from` that may be chosen as long as they are free.
    pub(crate) fn next_choosable(&self, from: u64) -> Option<IovaRange> {
        self.choosable.next(from)
    }

    /// Whether `range` may be chosen as long as it is free.
    pub(crate) fn is_choosable(&self, range: IovaRange) -> bool {
        self.choosable
            .next(range.first())
            .is_some_and(|next| next.contains(&range))
    }

    /// Leaves of a gap only what is behind `last`.
    pub(crate) fn cut_front(&mut self, gap: IovaRange, last: u64) {
        match gap.behind(last) {
            Some(rest) => self.change(gap.last(), rest),
            None => self.remove(gap.last()),
        }
    }

    /// Adds a gap where there is none, or in front of what will be cut off from one.
    pub(crate) fn put(&mut self, range: IovaRange) {
        let Some(mut gap) = self.spare.pop() else {
            // An area that was cut in two can come to have two gaps, but has brought one node.
            self.forget();
            return;
        };
        gap.first = range.first();
        gap.last = range.last();
        gap.update();
        let (way, found) = Way::to(self.tree.take(), range.last());
        if found.is_some() {
            self.spare.add(Some(gap));
            self.tree = way.back(found);
        } else {
            self.tree = way.back(Some(gap));
        }
    }

    /// An area was in `range`; so many are left.
    #[inline]
    pub(crate) fn free(&mut self, range: IovaRange, areas: usize) {
        if self.is_kept {
            self.free_kept(range, areas);
        }
    }

    #[cold]
    fn free_kept(&mut self, range: IovaRange, areas: usize) {
        if let Some(range) = self.choosable.trim(range) {
            self.merge(range);
        }
        // One more than came with the area: some were for ranges that are gone, perhaps.
        self.shrink(areas, 2);
    }

    /// Makes `range` and the gaps that it touches one gap.
    fn merge(&mut self, range: IovaRange) {
        let behind = range.last().saturating_add(1);
        let touches = |gap: &IovaRange| gap.first() <= behind;
        let Some(low) = self.next(range.first().saturating_sub(1)).filter(touches) else {
            self.put(range);
            return;
        };
        if low.contains(&range) {
            return;
        }
        // One of them stays, with another range.
        let high = self.next(behind).filter(touches);
        let (stays, last, others) = match high {
            Some(high) => (
                high.last(),
                high.last(),
                IovaRange::until(low.last(), high.last()),
            ),
            None => (low.last(), range.last(), range.behind(low.last())),
        };
        if let Some(others) = others {
            self.remove_all(others);
        }
        if let Some(whole) = IovaRange::new(low.first().min(range.first()), last) {
            self.change(stays, whole);
        }
    }

    /// The first gap that does not end before `last`.
    fn next(&self, last: u64) -> Option<IovaRange> {
        let mut next = None;
        let mut tree = &self.tree;
        while let Some(gap) = tree {
            tree = if gap.last < last {
                &gap.right
            } else {
                next = IovaRange::new(gap.first, gap.last);
                &gap.left
            };
        }
        next
    }

    /// Gives the gap that ends with `last` another range, at the same place in the order.
    fn change(&mut self, last: u64, range: IovaRange) {
        let (way, mut found) = Way::to(self.tree.take(), last);
        if let Some(gap) = &mut found {
            gap.first = range.first();
            gap.last = range.last();
            gap.update();
        }
        self.tree = way.back(found);
    }

    /// Removes the gap that ends with `last`.
    fn remove(&mut self, last: u64) {
        let (way, mut found) = Way::to(self.tree.take(), last);
        let mut rest = None;
        if let Some(gap) = &mut found {
            let (next, right) = without_first(gap.right.take());
            rest = match next {
                Some(mut next) => {
                    next.left = gap.left.take();
                    next.right = right;
                    Some(balanced(next))
                }
                None => gap.left.take(),
            };
        }
        self.spare.add(found);
        self.tree = way.back(rest);
    }

    /// Removes all gaps that end in `range`.
    fn remove_all(&mut self, range: IovaRange) {
        let Some(first) = self
            .next(range.first())
            .filter(|gap| gap.last() <= range.last())
        else {
            return;
        };
        let second = range.behind(first.last());
        let second = second.and_then(|rest| self.next(rest.first()));
        if second.is_none_or(|gap| gap.last() > range.last()) {
            self.remove(first.last());
            return;
        }
        let (low, rest) = split(self.tree.take(), range.first());
        let (gone, high) = match range.last().checked_add(1) {
            Some(behind) => split(rest, behind),
            None => (rest, None),
        };
        self.spare.add(gone);
        self.tree = match without_first(high) {
            (Some(first), high) => joined(low, first, high),
            (None, _) => low,
        };
    }
}

impl Drop for Gaps {
    fn drop(&mut self) {
        self.forget();
    }
}

#[kunit_tests(iommufd_gaps)]
mod tests {
    use super::*;

    fn pages(first: u64, count: u64) -> Result<IovaRange> {
        IovaRange::with_len(first * PAGE, count * PAGE)
    }

    fn choosable(ranges: &[(u64, u64)], generation: u64) -> Result<Choosable> {
        let mut list = KVVec::new();
        for (first, last) in ranges {
            list.push(IovaRange::new(*first, *last).ok_or(EINVAL)?, GFP_KERNEL)?;
        }
        Ok(Choosable {
            ranges: list,
            generation,
        })
    }

    fn prepare(gaps: &mut Gaps, areas: usize) -> Result {
        let mut nodes = Nodes::new(0)?;
        while let Err(missing) = gaps.prepare(areas, &mut nodes) {
            nodes = Nodes::new(missing)?;
        }
        Ok(())
    }

    /// No gaps, but nodes for those beside so many areas.
    fn no_gaps(areas: usize) -> Result<Gaps> {
        let mut gaps = Gaps::new();
        gaps.choose_in(choosable(&[(0, u64::MAX)], 1)?);
        prepare(&mut gaps, areas)?;
        gaps.remove(u64::MAX);
        Ok(gaps)
    }

    /// The height of a tree, if it is as it has to be; `count` counts its gaps.
    fn shape(tree: &Tree, count: &mut usize) -> Option<u8> {
        let Some(top) = tree else { return Some(0) };
        let heights = (shape(&top.left, count)?, shape(&top.right, count)?);
        *count += 1;
        let below = || Iterator::chain(top.left.iter(), &top.right);
        let most = below().fold(top.pages().1, |most, below| most.max(below.most));
        let in_order = top.left.iter().all(|left| left.last < top.first)
            && top.right.iter().all(|right| right.first > top.last);
        let balanced = heights.0.abs_diff(heights.1) <= 1;
        let height = heights.0.max(heights.1) + 1;
        let right = balanced && in_order && top.most == most && top.height == height;
        right.then_some(height)
    }

    /// Whether these are the gaps, all is known of them that has to be, and no node is lost.
    fn are(gaps: &mut Gaps, mut want: impl Iterator<Item = IovaRange>) -> bool {
        let (mut count, mut from) = (0, 0);
        let height = shape(&gaps.tree, &mut count);
        let nodes = gaps.nodes - count;
        let mut others = Bag(None);
        let mut spare = 0;
        while let Some(node) = gaps.spare.pop() {
            spare += 1;
            others.add(Some(node));
        }
        gaps.spare.add(others.0.take());
        let same = (0..count).all(|_| {
            let next = gaps.next(from);
            from = next.map_or(0, |next| next.last().wrapping_add(1));
            next.is_some() && next == want.next()
        });
        same && want.next().is_none() && spare == nodes && height.is_some()
    }

    #[test]
    fn shapes() -> Result {
        const MOST: u64 = 40;
        for order in [1, 3, 7, MOST - 1] {
            let mut gaps = no_gaps(MOST as usize)?;
            let mut there = [false; MOST as usize];
            for step in 0..MOST {
                let number = (step * order + step * order / MOST) % MOST;
                gaps.put(pages(2 * number, 1)?);
                if let Some(place) = there.get_mut(number as usize) {
                    *place = true;
                }
                let all = (0..MOST).zip(there).filter(|(_, there)| *there);
                let all = all.filter_map(|(number, _)| pages(2 * number, 1).ok());
                assert!(are(&mut gaps, all));
            }
            for step in 0..MOST {
                let number = (step * 3 + step * 3 / MOST) % MOST;
                if there.get(number as usize) == Some(&true) {
                    gaps.remove(pages(2 * number, 1)?.last());
                }
                if let Some(place) = there.get_mut(number as usize) {
                    *place = false;
                }
                let all = (0..MOST).zip(there).filter(|(_, there)| *there);
                let all = all.filter_map(|(number, _)| pages(2 * number, 1).ok());
                assert!(are(&mut gaps, all));
            }
        }
        Ok(())
    }

    fn top(gaps: &Gaps) -> Option<u64> {
        gaps.tree.as_ref().map(|top| top.first)
    }

    /// A tree is turned only where its halves differ by two.
    #[test]
    fn turns() -> Result {
        for numbers in [[1, 2], [2, 1]] {
            let mut gaps = no_gaps(2)?;
            for number in numbers {
                gaps.put(pages(2 * number, 1)?);
            }
            let [first, _] = numbers;
            assert_eq!(top(&gaps), Some(2 * first * PAGE));
        }
        // And once only where that is enough.
        for (numbers, gone, new) in [([4, 2, 6, 1, 3], 6, 2), ([4, 6, 2, 7, 5], 2, 6)] {
            let mut gaps = no_gaps(numbers.len())?;
            for number in numbers {
                gaps.put(pages(2 * number, 1)?);
            }
            gaps.remove(pages(2 * gone, 1)?.last());
            assert_eq!(top(&gaps), Some(2 * new * PAGE));
        }
        Ok(())
    }

    #[test]
    fn many_removed() -> Result {
        const COUNT: u64 = 24;
        for first in 0..COUNT {
            for last in first..COUNT {
                let mut gaps = no_gaps(COUNT as usize)?;
                for number in 0..COUNT {
                    gaps.put(pages(2 * number, 1)?);
                }
                let ends = (pages(2 * first, 1)?.last(), pages(2 * last, 1)?.last());
                gaps.remove_all(IovaRange::new(ends.0, ends.1).ok_or(EINVAL)?);
                let left = (0..COUNT).filter(|number| *number < first || *number > last);
                let left = left.filter_map(|number| pages(2 * number, 1).ok());
                assert!(are(&mut gaps, left));
            }
        }
        // What ends elsewhere stays.
        let mut gaps = no_gaps(2)?;
        gaps.put(pages(4, 2)?);
        for (first, count) in [(0, 4), (4, 1), (6, 9)] {
            gaps.remove_all(pages(first, count)?);
            assert!(are(&mut gaps, [pages(4, 2)?].into_iter()));
        }
        Ok(())
    }

    #[test]
    fn put_once() -> Result {
        let mut gaps = no_gaps(3)?;
        for first in [2, 8, 2] {
            gaps.put(pages(first, 2)?);
        }
        assert!(are(&mut gaps, [pages(2, 2)?, pages(8, 2)?].into_iter()));
        assert!(gaps.are_kept());
        // There were nodes for three areas, the range, and one more.
        for first in [20, 30, 40] {
            gaps.put(pages(first, 2)?);
            assert!(gaps.are_kept());
        }
        gaps.put(pages(50, 2)?);
        assert!(!gaps.are_kept());
        assert!(are(&mut gaps, [].into_iter()));
        Ok(())
    }

    #[test]
    fn nodes() -> Result {
        let mut gaps = Gaps::new();
        gaps.choose_in(choosable(&[(0, 9), (20, 29)], 1)?);
        let mut none = Nodes::new(0)?;
        assert_eq!(gaps.prepare(10, &mut none), Err(13));
        assert_eq!(gaps.prepare(10, &mut Nodes::new(3)?), Err(10));
        let mut nodes = Nodes::new(12)?;
        assert_eq!(gaps.prepare(10, &mut nodes), Ok(()));
        assert_eq!(nodes.count, 0);
        // Two too many are freed, and no more are taken than are missing.
        assert_eq!(gaps.nodes, 13);
        let mut more = Nodes::new(3)?;
        assert_eq!(gaps.prepare(10, &mut more), Ok(()));
        assert_eq!((gaps.nodes, more.count), (13, 3));
        // They go a few at a time.
        prepare(&mut gaps, 2 * NODES)?;
        assert_eq!(gaps.nodes, 2 * NODES + 3);
        assert_eq!(gaps.prepare(0, &mut none), Ok(()));
        assert_eq!(gaps.nodes, NODES + 3);
        gaps.free(pages(0, 1)?, 5);
        assert_eq!(gaps.nodes, NODES + 1);
        gaps.free(pages(0, 1)?, NODES - 2);
        assert_eq!(gaps.nodes, NODES + 1);
        assert_eq!(Nodes::new(NODES + 1)?.count, NODES);
        Ok(())
    }

    #[test]
    fn ranges() -> Result {
        let choosable = choosable(&[(10, 19), (30, 30), (40, 49)], 1)?;
        let range = |first, last| IovaRange::new(first, last);
        for (from, next) in [
            (0, range(10, 19)),
            (19, range(19, 19)),
            (20, range(30, 30)),
            (30, range(30, 30)),
            (31, range(40, 49)),
            (50, None),
        ] {
            assert_eq!(choosable.next(from), next);
        }
        for (first, last, trimmed) in [
            (0, 99, range(10, 49)),
            (0, 9, None),
            (0, 10, range(10, 10)),
            (15, 25, range(15, 19)),
            (20, 29, None),
            (20, 30, range(30, 30)),
            (31, 40, range(40, 40)),
        ] {
            let all = range(first, last).ok_or(EINVAL)?;
            assert_eq!(choosable.trim(all), trimmed);
        }
        Ok(())
    }

    #[test]
    fn room() -> Result {
        for (first, count, len, align, fits) in [
            (4, 4, 4 * PAGE, PAGE, true),
            (4, 4, 4 * PAGE + 1, PAGE, false),
            (3, 4, 3 * PAGE, 4 * PAGE, true),
            (3, 4, 4 * PAGE, 4 * PAGE, false),
            (3, 4, 1, 1, true),
        ] {
            assert_eq!(has_room(pages(first, count)?, len, align), fits);
        }
        Ok(())
    }

    /// The lowest place behind any address, as counting finds it.
    #[test]
    fn lowest_from() -> Result {
        let all = [(1, 2), (5, 1), (8, 7), (20, 3), (25, 12), (40, 1), (44, 20)];
        let mut gaps = no_gaps(all.len())?;
        for (first, count) in all {
            gaps.put(pages(first, count)?);
        }
        for from in 0..64 {
            for (count, align) in [(1, 1), (2, 1), (3, 2), (4, 4), (8, 1), (8, 8), (13, 1)] {
                let is_in = |place: &u64| {
                    let ends = (*place, place + count);
                    let mut all = all.iter();
                    all.any(|(first, count)| *first <= ends.0 && ends.1 <= first + count)
                };
                let mut places = (from..64).filter(|place| place % align == 0);
                let want = places.find(is_in).map(|place| place * PAGE);
                let got = gaps.lowest(from * PAGE, count * PAGE, align * PAGE);
                assert_eq!(got.map(|(_, place)| place.first()), want);
            }
        }
        Ok(())
    }
}
