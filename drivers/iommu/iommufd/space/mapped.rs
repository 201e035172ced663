// SPDX-License-Identifier: GPL-2.0

//! What devices can get at: the way of memory into the domains, and out of them again.
//!
//! This is the one place outside of [`crate::kapi`] that is `unsafe`, for only here is known that
//! memory stays pinned while it is mapped. Memory is in one of three hands:
//!
//! * a [`Fill`] or a [`Mapping`], until all of it is in every domain: what fails is unmapped,
//!   then dropped;
//! * a [`Mapped`], while it is an area's content: nobody can drop what it has;
//! * a [`Mapping`] or [`Released`] again, when no domain has it any more, and no IOTLB either.
//!
//! Whoever calls holds `domains`: for reading, and the addresses are his own, reserved or taken out
//! of the areas, or held; or for writing, and nobody else maps or unmaps. A domain that is not in
//! the list yet is only its maker's.

use crate::{
    iova::IovaRange,
    kapi::{
        account::Charge,
        dirty::Marks,
        domain::{
            Domain,
            Prot, //
        },
        iova_bitmap::Window,
        pin::Batch,
        run::PinnedRun,
        task, //
    },
    space::{
        areas::{
            Areas,
            RemovedArea,
            RemovedAreas, //
        },
        domains::Domains,
        mapping::{
            Kept,
            Mapping,
            OwnRoom, //
        },
        memory::Memory,
        pages::Runs,
        part::SharedRoom,
        pinning::Pinned, //
    }, //
};
use core::{
    iter,
    mem::{
        forget,
        take,
        ManuallyDrop, //
    }, //
};
use kernel::{
    prelude::*,
    sync::Arc,
    warn_on, //
};

/// The content of a live area, which is mapped there in every domain of the space.
///
/// Dropping it leaks the memory, which is better than DMA to what is somebody else's by then:
/// [`Domains::unmap`] and [`Domains::unmap_all`] make of it what can be dropped.
pub(crate) struct Mapped(ManuallyDrop<Mapping>);

impl Mapped {
    fn new(mapping: Mapping) -> Self {
        Self(ManuallyDrop::new(mapping))
    }

    /// What it is, to be looked at.
    #[inline]
    pub(crate) fn mapping(&self) -> &Mapping {
        &self.0
    }

    /// See [`Mapping::each_charge`].
    ///
    /// # Errors
    ///
    /// As there.
    pub(crate) fn each_charge(&mut self, look: &mut dyn FnMut(&mut Charge) -> Result) -> Result {
        self.0.each_charge(look)
    }

    /// See [`Mapping::cut_off`].
    ///
    /// # Errors
    ///
    /// As there.
    pub(crate) fn cut_off(&mut self, len: u64) -> Result<Self> {
        self.0.cut_off(len).map(Self::new)
    }

    /// See [`Mapping::share`].
    pub(crate) fn share(self, room: SharedRoom, area: IovaRange) -> Self {
        Self::new(self.into_mapping().share(room, area))
    }

    /// See [`Mapping::put`].
    ///
    /// # Errors
    ///
    /// As there.
    pub(crate) fn put(&mut self, kept: Kept) -> Result<(), Kept> {
        self.0.put(kept)
    }

    fn into_mapping(self) -> Mapping {
        ManuallyDrop::into_inner(self.0)
    }
}

/// What was mapped in areas, and is not any more. Dropping it unpins and uncharges.
pub(crate) struct Released(RemovedAreas<Mapped>);

impl Drop for Released {
    fn drop(&mut self) {
        for (_, mapped) in self.0.drain() {
            drop(mapped.into_mapping());
        }
    }
}

impl Domains {
    /// Unmaps an area from every domain, after it was shown to `look`. Returns what was mapped, to
    /// be dropped without a lock; nothing if an IOMMU driver fails, for then it is leaked.
    #[inline]
    pub(crate) fn unmap(
        &self,
        one: RemovedArea<Mapped>,
        look: impl FnOnce(IovaRange, &Mapping),
    ) -> Option<Mapping> {
        let area = one.range();
        let mapping = one.content()?.mapping();
        look(area, mapping);
        self.unmap_from_all(|domain| mapping.leave(domain, area));
        if self.may_still_map(area) {
            return None;
        }
        one.into_content().map(Mapped::into_mapping)
    }

    /// As [`Self::unmap`], for any number of areas.
    pub(crate) fn unmap_all(&self, mut taken: RemovedAreas<Mapped>) -> Released {
        self.unmap_from_all(|domain| leave_all(taken.iter(), domain));
        if self.may_still_map(IovaRange::ALL) {
            for (area, mapped) in taken.drain() {
                if !self.may_still_map(area) {
                    drop(mapped.into_mapping());
                }
            }
        }
        Released(taken)
    }

    /// Unmaps parts of areas, each made of whole runs, from every domain; no IOTLB has them any
    /// more.
    #[inline]
    fn unmap_from_all<'a, I: Iterator<Item = IovaRange>>(
        &'a self,
        ranges: impl Fn(&'a Domain) -> I,
    ) {
        for domain in self.iter() {
            // SAFETY: The addresses are the caller's own, see the head of this file; and runs were
            // mapped as a whole.
            unsafe { domain.unmap(ranges(domain)) };
        }
    }

    /// Maps `runs`, which make up `range`, into every domain, or into none.
    ///
    /// # Errors
    ///
    /// Those of [`Domain::map`].
    ///
    /// # Safety
    ///
    /// As for [`Domain::map`], in each of them.
    unsafe fn map(&self, range: IovaRange, runs: &[PinnedRun], prot: Prot) -> Result {
        self.in_all(
            // SAFETY: The caller's promise.
            |domain| unsafe { domain.map(range.first(), runs, prot, self.large_pages) },
            |_| iter::once(range),
        )
    }

    /// Takes out what the content of an area keeps pinned, when there is no domain that it could be
    /// mapped in.
    pub(crate) fn let_go(&self, mapped: &mut Mapped) -> Option<Kept> {
        if warn_on!(!self.list.is_empty()) {
            return None;
        }
        mapped.0.let_go()
    }

    /// Maps `mapping` as `area` into every domain, or into none.
    fn enter_all(&self, area: IovaRange, mapping: &Mapping) -> Result {
        self.in_all(
            |domain| self.enter(domain, area, mapping),
            |domain| mapping.leave(domain, area),
        )
    }

    /// Maps something into every domain, or into none: what is `mapped` when that fails is
    /// unmapped.
    #[inline]
    fn in_all<'a, I: Iterator<Item = IovaRange>>(
        &'a self,
        map: impl Fn(&Arc<Domain>) -> Result,
        mapped: impl Fn(&'a Domain) -> I,
    ) -> Result {
        for (done, domain) in self.iter().enumerate() {
            if let Err(e) = map(domain) {
                for domain in self.iter().take(done) {
                    // SAFETY: As in `unmap_from_all`.
                    unsafe { domain.unmap(mapped(domain)) };
                }
                return Err(e);
            }
        }
        Ok(())
    }

    /// Maps what is the content of `area`, or will be, into one domain, all of it or nothing.
    ///
    /// # Errors
    ///
    /// Those of [`Domain::map`].
    pub(crate) fn enter(&self, domain: &Arc<Domain>, area: IovaRange, mapping: &Mapping) -> Result {
        let (prot, large) = (mapping.prot(), self.large_pages);
        if let Some(device) = mapping.device() {
            return device.enter(domain, area, prot, large);
        }
        let mut next = area.first();
        let entered = match mapping.whole(area) {
            None => mapping.each_span(area, |iova, span| {
                task::resched_killable()?;
                // SAFETY: The callers keep the mapping until it has left the domain.
                unsafe { domain.map_span(iova, span, prot, large) }?;
                next = next.wrapping_add(span.len());
                Ok(())
            }),
            Some(runs) => runs.slices(0, 0).try_for_each(|some| {
                task::resched_killable()?;
                // SAFETY: As above.
                unsafe { domain.map(next, some, prot, large) }?;
                let len = some.iter().map(|run| run.len()).sum();
                next = next.wrapping_add(len);
                Ok(())
            }),
        };
        if let (Err(_), Some(done)) = (entered, IovaRange::until(area.first(), next)) {
            // SAFETY: As in `unmap_from_all`.
            unsafe { domain.unmap(mapping.strides(done)) };
        }
        entered
    }
}

/// Unmaps all areas, or those before the first that has not entered it, from a domain that no
/// device uses any more, or will ever use: should some of it stay, nobody gets at it.
pub(crate) fn empty(domain: &Domain, areas: &Areas<Mapped>, missing: Option<IovaRange>) {
    let has_entered = |(area, _): &(IovaRange, &Mapped)| {
        missing.is_none_or(|missing| area.last() < missing.first())
    };
    // SAFETY: As in `unmap_from_all`.
    unsafe { domain.unmap(leave_all(areas.live().take_while(has_entered), domain)) }
}

/// Reads which pages of live areas, or of parts of them, were written to by way of a domain.
///
/// # Errors
///
/// Those of [`Domain::read_dirty`].
pub(crate) fn read_dirty(
    domain: &Domain,
    areas: impl Iterator<Item = IovaRange>,
    marks: Marks,
    window: Option<&mut Window<'_>>,
) -> Result {
    // SAFETY: The addresses are the caller's own, see the head of this file; and what is in a live
    // area is mapped in every domain of the space.
    unsafe { domain.read_dirty(areas, marks, window) }
}

/// What is to be unmapped from `domain` of these areas.
fn leave_all<'a>(
    areas: impl Iterator<Item = (IovaRange, &'a Mapped)> + 'a,
    domain: &'a Domain,
) -> impl Iterator<Item = IovaRange> + 'a {
    areas.flat_map(move |(area, mapped)| mapped.mapping().leave(domain, area))
}

/// Memory that is to be mapped, and where.
pub(crate) struct Entry {
    pub(crate) area: IovaRange,
    pub(crate) mapping: Mapping,
}

/// What is in every domain by now.
pub(crate) struct Entered(ManuallyDrop<KVVec<Entry>>);

/// What could not be mapped. Dropping it drops what was to be mapped, unless a domain may
/// still map some of it.
pub(crate) struct NotEntered {
    /// Why that was.
    pub(crate) error: Error,
    entries: ManuallyDrop<KVVec<Entry>>,
    is_stuck: bool,
}

impl NotEntered {
    /// The areas that are free again.
    pub(crate) fn areas(&self) -> impl Iterator<Item = IovaRange> + '_ {
        self.entries.iter().map(|entry| entry.area)
    }
}

impl Drop for NotEntered {
    fn drop(&mut self) {
        if !self.is_stuck {
            drop(take(&mut *self.entries));
        }
    }
}

impl Entered {
    /// The areas, and what is mapped there.
    pub(crate) fn into_areas(self) -> impl Iterator<Item = (IovaRange, Mapped)> {
        let entries = ManuallyDrop::into_inner(self.0).into_iter();
        entries.map(|entry| (entry.area, Mapped::new(entry.mapping)))
    }
}

/// Maps all of it into every domain, or nothing.
///
/// # Errors
///
/// Those of [`Domain::map`], and `EINTR`.
pub(crate) fn enter(domains: &Domains, entries: KVVec<Entry>) -> Result<Entered, NotEntered> {
    let entries = ManuallyDrop::new(entries);
    for (done, entry) in entries.iter().enumerate() {
        let entered = task::resched_killable();
        let entered = entered.and_then(|()| domains.enter_all(entry.area, &entry.mapping));
        if let Err(error) = entered {
            domains.unmap_from_all(|domain| {
                let whole = entries.iter().take(done);
                whole.flat_map(|entry| entry.mapping.leave(domain, entry.area))
            });
            let mut areas = entries.iter().map(|entry| entry.area);
            let is_stuck = areas.any(|area| domains.may_still_map(area));
            return Err(NotEntered {
                error,
                entries,
                is_stuck,
            });
        }
    }
    Ok(Entered(entries))
}

/// Maps it into every domain, or nothing.
///
/// # Errors
///
/// As [`enter`]; `ENOMEM`.
pub(crate) fn enter_one(domains: &Domains, area: IovaRange, mapping: Mapping) -> Result<Mapped> {
    let mut entries = KVVec::with_capacity(1, GFP_KERNEL_ACCOUNT)?;
    entries.push_within_capacity(Entry { area, mapping })?;
    match enter(domains, entries) {
        Ok(entered) => entered
            .into_areas()
            .next()
            .map(|(_, mapped)| mapped)
            .ok_or(EFAULT),
        Err(not_entered) => Err(not_entered.error),
    }
}

/// The content of an area that is in every domain, for there is none.
///
/// # Errors
///
/// `EBUSY`: there is one.
pub(crate) fn record(domains: &Domains, mapping: Mapping) -> Result<Mapped> {
    if warn_on!(!domains.list.is_empty()) {
        return Err(EBUSY);
    }
    Ok(Mapped::new(mapping))
}

/// A map under way. Dropping it takes everything back.
pub(crate) struct Fill<'a> {
    domains: &'a Domains,
    prot: Prot,
    range: IovaRange,
    /// Where the memory begins, in what it is of.
    start: u64,
    /// What is charged for the whole range.
    charge: Option<Charge>,
    /// What is pinned.
    runs: Option<Runs>,
    /// How many of the runs are mapped, and up to where.
    mapped: usize,
    next: u64,
}

impl<'a> Fill<'a> {
    /// A map of `range`, charged for, that has not begun. The memory begins with byte `start` of
    /// what it is of, and with a page, as the range does.
    #[inline]
    pub(crate) fn new(
        domains: &'a Domains,
        range: IovaRange,
        start: u64,
        prot: Prot,
        charge: Charge,
    ) -> Self {
        Self {
            domains,
            prot,
            range,
            start,
            charge: Some(charge),
            runs: None,
            mapped: 0,
            next: range.first(),
        }
    }

    /// Goes on with `batch`.
    ///
    /// # Errors
    ///
    /// Those of [`Domain::map`]; `ENOMEM`.
    #[inline(always)]
    pub(crate) fn add(&mut self, mut batch: Batch<'_>) -> Result {
        if self.runs.is_none() {
            self.runs = batch.next_run().map(Runs::new);
        }
        if let Some(runs) = &mut self.runs {
            runs.extend(batch)?;
        }
        // The last run may go on with the next batch.
        self.map(1)
    }

    /// Maps the runs into every domain, but for the last `keep`.
    fn map(&mut self, keep: usize) -> Result {
        let Some(runs) = &self.runs else {
            return Ok(());
        };
        for some in runs.slices(self.mapped, keep) {
            let len = some.iter().map(|run| run.len()).sum();
            let range = IovaRange::with_len(self.next, len)?;
            // SAFETY: The runs stay here until they are unmapped, or go to a `Mapped`.
            unsafe { self.domains.map(range, some, self.prot) }?;
            self.mapped += some.len();
            self.next = self.next.wrapping_add(len);
        }
        Ok(())
    }

    /// Maps what is left, and hands over what was pinned and charged, in `room`.
    ///
    /// # Errors
    ///
    /// As [`Self::add`]; `EFAULT` if there was nothing.
    #[inline]
    pub(crate) fn finish(mut self, room: OwnRoom) -> Result<Mapped> {
        self.map(0)?;
        // Nothing is left to be undone.
        let mut this = ManuallyDrop::new(self);
        let filled = this.runs.take().zip(this.charge.take());
        let (runs, charge) = filled.ok_or(EFAULT)?;
        let memory = Memory::pinned(this.start, Pinned { runs, charge });
        Ok(Mapped::new(room.hold(memory, this.prot)))
    }

    #[cold]
    fn undo(&mut self, runs: Runs) {
        if let Some(mapped) = IovaRange::until(self.range.first(), self.next) {
            self.domains.unmap_from_all(|_| runs.strides(mapped));
        }
        if self.domains.may_still_map(self.range) {
            // Devices may still get at it: it stays pinned and charged for good.
            forget((runs, self.charge.take()));
        }
    }
}

impl Drop for Fill<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(runs) = self.runs.take() {
            self.undo(runs);
        }
    }
}
