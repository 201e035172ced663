// SPDX-License-Identifier: GPL-2.0

//! The domains of an address space, what the devices on them need left out, and what userspace
//! wants kept free for itself.

use crate::{
    iova::IovaRange,
    kapi::{
        device::DeviceRef,
        domain::{
            self,
            Domain, //
        },
        task, //
    },
    space::{
        gaps::Choosable,
        hwpt::Hwpt, //
    }, //
};
use core::{
    iter,
    ops::{
        Deref,
        DerefMut, //
    }, //
};
use kernel::{
    prelude::*,
    rbtree::RBTree,
    sync::Arc,
    warn_on, //
};

/// Where the areas are mapped.
pub(crate) struct Domains {
    pub(crate) list: Watched<KVVec<Slot>>,
    /// What each attached device needs left out.
    pub(crate) reserved: Watched<KVVec<(DeviceRef, IovaRange)>>,
    /// Where addresses may be chosen: anywhere if there is nothing in it.
    pub(crate) allowed: Watched<Allowed>,
    /// Whether a domain may use pages larger than the kernel's.
    pub(crate) large_pages: bool,
    /// What everything that is mapped has to be a multiple of: the largest of the domains'
    /// smallest pages, or a byte.
    alignment: u64,
}

/// A value, and how often it may have been changed.
pub(crate) struct Watched<T> {
    value: T,
    changes: u64,
}

impl<T> Watched<T> {
    fn new(value: T) -> Self {
        Self { value, changes: 0 }
    }
}

impl<T> Deref for Watched<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Watched<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.changes += 1;
        &mut self.value
    }
}

/// A domain and how many groups, and PASIDs of groups, are on it.
pub(crate) struct Slot {
    pub(crate) hwpt: Arc<Hwpt>,
    pub(crate) groups: usize,
    /// Where the doorbells of interrupts are that devices have, or have had, in it. Nobody takes
    /// them out again.
    pub(crate) doorbells: Option<IovaRange>,
}

impl Slot {
    pub(crate) fn domain(&self) -> &Arc<Domain> {
        self.hwpt.domain()
    }
}

impl Domains {
    /// No domains, no devices.
    pub(crate) fn new() -> Self {
        Self {
            list: Watched::new(KVVec::new()),
            reserved: Watched::new(KVVec::new()),
            allowed: Watched::new(Allowed::new()),
            large_pages: true,
            alignment: 1,
        }
    }

    /// What everything that is mapped has to be a multiple of, for the domains.
    #[inline]
    pub(crate) fn alignment(&self) -> u64 {
        self.alignment
    }

    fn update_alignment(&mut self) {
        let sizes = self.iter().map(|domain| domain.smallest_page());
        self.alignment = sizes.fold(1, u64::max);
    }

    /// Whether no domain and no device objects to `range`.
    pub(crate) fn accept(&self, range: IovaRange) -> bool {
        let translate = |slot: &Slot| {
            let aperture = slot.domain().aperture();
            aperture.is_some_and(|aperture| aperture.contains(&range))
                && !slot.doorbells.is_some_and(|hole| hole.overlaps(&range))
        };
        self.list.iter().all(translate)
            && !self.reserved.iter().any(|(_, hole)| hole.overlaps(&range))
    }

    /// What all domains can translate of `window`, less what is reserved and `reserved`, in order.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn usable_ranges(
        &self,
        window: IovaRange,
        reserved: &[(DeviceRef, IovaRange)],
    ) -> Result<KVec<IovaRange>> {
        let mut holes = KVec::new();
        for (_, range) in Iterator::chain(self.reserved.iter(), reserved) {
            holes.push(*range, GFP_KERNEL)?;
        }
        for range in self.list.iter().filter_map(|slot| slot.doorbells) {
            holes.push(range, GFP_KERNEL)?;
        }
        let mut ranges = KVec::new();
        let common = self.list.iter().try_fold(window, |common, slot| {
            common.intersection(&slot.domain().aperture()?)
        });
        if let Some(common) = common {
            for range in common.without(&holes) {
                ranges.push(range, GFP_KERNEL)?;
            }
        }
        Ok(ranges)
    }

    /// The generation of the ranges in which addresses may be chosen: another one whenever they
    /// may have changed.
    pub(crate) fn generation(&self) -> u64 {
        self.list.changes + self.reserved.changes + self.allowed.changes + 1
    }

    /// Where addresses may be chosen in `window`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn choosable(&self, window: IovaRange) -> Result<Choosable> {
        let usable = self.usable_ranges(window, &[])?;
        let mut ranges = KVVec::new();
        let anywhere = self.allowed.is_empty().then_some(IovaRange::ALL);
        for allowed in Iterator::chain(anywhere.into_iter(), self.allowed.iter()) {
            let skipped = usable.partition_point(|usable| usable.last() < allowed.first());
            let usable = usable.iter().skip(skipped);
            for range in usable.map_while(|usable| usable.intersection(&allowed)) {
                ranges.push(range, GFP_KERNEL_ACCOUNT)?;
            }
            task::resched();
        }
        Ok(Choosable {
            ranges,
            generation: self.generation(),
        })
    }

    /// Where a domain of this space is in the list.
    ///
    /// # Errors
    ///
    /// `ENOENT`: it was removed.
    pub(crate) fn slot_mut(&mut self, hwpt: &Arc<Hwpt>) -> Result<&mut Slot> {
        let mut slots = self.list.iter_mut();
        slots
            .find(|slot| Arc::ptr_eq(&slot.hwpt, hwpt))
            .ok_or(ENOENT)
    }

    /// Whether a domain is one of this space.
    ///
    /// # Errors
    ///
    /// `ENOENT`: it was removed.
    pub(crate) fn find(&self, hwpt: &Arc<Hwpt>) -> Result {
        let mut slots = self.list.iter();
        let found = slots.any(|slot| Arc::ptr_eq(&slot.hwpt, hwpt));
        found.then_some(()).ok_or(ENOENT)
    }

    /// Adds a domain that `groups` are on. There is room: it was reserved before anything of the
    /// domain could not be undone.
    pub(crate) fn add(&mut self, hwpt: Arc<Hwpt>, groups: usize) {
        let added = self.list.push_within_capacity(Slot {
            hwpt,
            groups,
            doorbells: None,
        });
        warn_on!(added.is_err());
        self.update_alignment();
    }

    /// Makes room for `more` reserved regions.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn reserve_for(&mut self, more: &[(DeviceRef, IovaRange)]) -> Result {
        Ok(self.reserved.reserve(more.len(), GFP_KERNEL_ACCOUNT)?)
    }

    /// Adds reserved regions that there is room for.
    pub(crate) fn add_reserved(&mut self, more: KVVec<(DeviceRef, IovaRange)>) {
        for entry in more {
            let added = self.reserved.push_within_capacity(entry);
            warn_on!(added.is_err());
        }
    }

    /// Takes a domain out of the list.
    pub(crate) fn remove(&mut self, hwpt: &Arc<Hwpt>) {
        self.list.retain(|slot| !Arc::ptr_eq(&slot.hwpt, hwpt));
        self.update_alignment();
    }

    /// The domains.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Domain>> {
        self.list.iter().map(Slot::domain)
    }

    /// Whether an IOMMU driver has failed to unmap something in `range`.
    #[inline]
    pub(crate) fn may_still_map(&self, range: IovaRange) -> bool {
        let mut domains = self.iter();
        domain::have_leftovers() && domains.any(|domain| domain.may_still_map(range))
    }
}

/// Disjoint ranges in which addresses may be chosen.
pub(crate) struct Allowed(RBTree<u64, u64>);

impl Allowed {
    /// No ranges.
    pub(crate) fn new() -> Self {
        // The first address of each range, by the last.
        Self(RBTree::new())
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a range.
    ///
    /// # Errors
    ///
    /// `EINVAL`: it overlaps with another. `ENOMEM`.
    pub(crate) fn add(&mut self, range: IovaRange) -> Result {
        if self.overlaps(range) {
            return Err(EINVAL);
        }
        self.0
            .try_create_and_insert(range.last(), range.first(), GFP_KERNEL_ACCOUNT)?;
        Ok(())
    }

    /// Whether one of them has an address of `range`.
    pub(crate) fn overlaps(&self, range: IovaRange) -> bool {
        let next = self.0.cursor_lower_bound(&range.first());
        next.is_some_and(|next| *next.current().1 <= range.last())
    }

    /// Whether `range` contains all of them.
    pub(crate) fn lie_in(&self, range: IovaRange) -> bool {
        let front = self.0.cursor_front();
        let back = self.0.cursor_back();
        front.is_none_or(|front| *front.current().1 >= range.first())
            && back.is_none_or(|back| *back.current().0 <= range.last())
    }

    /// All of them, in order. Neighbours make up one.
    pub(crate) fn iter(&self) -> impl Iterator<Item = IovaRange> + '_ {
        let mut ranges = self.0.iter().peekable();
        iter::from_fn(move || {
            let (mut last, first) = ranges.next()?;
            while let Some((next, _)) =
                ranges.next_if(|(_, next)| last.checked_add(1) == Some(**next))
            {
                last = next;
            }
            IovaRange::new(*first, *last)
        })
    }
}

#[kunit_tests(iommufd_domains)]
mod tests {
    use super::*;

    #[test]
    fn allowed() -> Result {
        let range = |first, last| IovaRange::new(first, last).ok_or(EINVAL);
        let mut allowed = Allowed::new();
        assert!(allowed.is_empty() && allowed.lie_in(range(5, 5)?));
        allowed.add(range(10, 19)?)?;
        allowed.add(range(30, 39)?)?;
        assert!(!allowed.is_empty());
        for (first, last, free) in [
            (0, 9, true),
            (0, 10, false),
            (19, 19, false),
            (20, 29, true),
            (0, 99, false),
        ] {
            assert_eq!(allowed.overlaps(range(first, last)?), !free);
        }
        assert_eq!(allowed.add(range(39, 40)?), Err(EINVAL));
        assert!(allowed.lie_in(range(10, 39)?));
        assert!(!allowed.lie_in(range(11, 39)?));
        assert!(!allowed.lie_in(range(10, 38)?));
        assert_eq!(allowed.iter().count(), 2);
        allowed.add(range(20, 29)?)?;
        assert!(allowed.iter().eq([range(10, 39)?]));
        allowed.add(range(u64::MAX, u64::MAX)?)?;
        assert!(allowed
            .iter()
            .eq([range(10, 39)?, range(u64::MAX, u64::MAX)?]));
        Ok(())
    }
}
