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
