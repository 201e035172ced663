// SPDX-License-Identifier: GPL-2.0

//! Memory that is mapped once more: pinned and charged once, however often it is mapped, and as
//! long as it is needed anywhere.

use super::{
    choose::WantedIova,
    IoPagetable,
    Space, //
};
use crate::{
    iova::IovaRange,
    kapi::{
        domain::Prot,
        task, //
    },
    space::{
        areas::Spare,
        domains::Domains,
        mapped::{
            Entry,
            Mapped, //
        },
        mapping::Mapping,
        part::SharedRoom, //
    }, //
};
use kernel::{
    alloc::flags::__GFP_NOWARN,
    prelude::*,
    warn_on, //
};

/// Neighbouring parts of memory: each is as long as the area that it came from, or what of that was
/// asked for.
pub(crate) struct Parts(KVVec<(u64, Mapping)>);

impl Space {
    /// Sees to it that others can have parts of what is mapped in `area` as well.
    pub(super) fn share(&mut self, area: IovaRange, room: SharedRoom) {
        let usage = &mut self.usage;
        self.areas.change(area.last(), |mapped| {
            usage.unpin(mapped.mapping());
            let mapped = mapped.share(room, area);
            usage.pin(mapped.mapping());
            mapped
        });
    }
}

impl IoPagetable {
    /// The memory that is mapped in `range`, which has no holes.
    ///
    /// # Errors
    ///
    /// `ENOENT`: it has holes. `ENOMEM`, `EINTR`.
    pub(crate) fn parts(&self, range: IovaRange) -> Result<Parts> {
        // What the first domain is just having pinned would be pinned, and charged, again.
        let _domains = self.domains.read_killable()?;
        let mut list = KVVec::new();
        let mut rest = Some(range);
        while let Some(todo) = rest {
            task::resched_killable()?;
            let (piece, part) = self.first_part(todo, SharedRoom::new(&self.totals)?)?;
            list.push((piece.len(), part), GFP_KERNEL_ACCOUNT | __GFP_NOWARN)?;
            rest = todo.behind(piece.last());
        }
        Ok(Parts(list))
    }

    /// What `range` has of the first of the areas that make it up, and where that is.
    fn first_part(&self, range: IovaRange, room: SharedRoom) -> Result<(IovaRange, Mapping)> {
        let mut space = self.space.lock();
        let (area, _) = space.areas.live_at(range.first()).ok_or(ENOENT)?;
        let piece = area.intersection(&range).ok_or(ENOENT)?;
        space.share(area, room);
        let (_, mapped) = space.areas.live_at(range.first()).ok_or(ENOENT)?;
        let skip = piece.first() - area.first();
        let part = mapped.mapping().again(skip, piece.len());
        // It was just shared.
        warn_on!(part.is_none());
        Ok((piece, part.ok_or(ENOENT)?))
    }

    /// Maps parts of memory one behind the other, and says where, and in how many runs.
    ///
    /// # Errors
    ///
    /// Those of [`Self::map_at`]. `EPERM`: devices may not write to all of it.
    pub(crate) fn map_parts(
        &self,
        parts: Parts,
        wanted: WantedIova,
        prot: Prot,
    ) -> Result<(IovaRange, u64)> {
        let room = GFP_KERNEL_ACCOUNT | __GFP_NOWARN;
        let mut spares = KVVec::with_capacity(parts.0.len(), room)?;
        // Before the locks, so that it is dropped after them: each may be the last of its memory.
        let mut copied = KVVec::with_capacity(parts.0.len(), room)?;
        let mut checked = Ok(());
        let mut next = 0;
        for (len, part) in parts.0 {
            spares.push_within_capacity(Spare::new()?)?;
            let area = IovaRange::with_len(next, len)?;
            match part.with(prot) {
                Ok(mapping) => copied.push_within_capacity(Entry { area, mapping })?,
                Err(e) => checked = Err(e),
            }
            next = next.wrapping_add(len);
        }
        let domains = self.domains.read_killable()?;
        self.check_alive()?;
        let offset = copied.first().map_or(0, |copy| copy.mapping.offset());
        let wanted = wanted.at_offset(offset);
        let range = self.reserve_copies(&domains, &wanted, &mut copied, spares, checked)?;
        let pinned = self.pin_copies(&domains, &mut copied);
        if pinned.is_err() {
            let mut space = self.space.lock();
            for copy in &copied {
                space.areas.release(copy.area);
            }
            return pinned.map(|()| (range, 0));
        }
        let runs = copied.iter().map(|copy| copy.mapping.run_count()).sum();
        self.enter(domains, copied)?;
        Ok((range, runs))
    }

    /// Finds a place for all of `copied`, whose areas begin at 0, and moves them there, unless it
    /// was `checked` that they cannot be mapped.
    fn reserve_copies(
        &self,
        domains: &Domains,
        wanted: &WantedIova,
        copied: &mut [Entry],
        spares: KVVec<Spare<Mapped>>,
        checked: Result,
    ) -> Result<IovaRange> {
        let alignment = self.alignment_with(domains);
        wanted.check(alignment)?;
        let (mut space, range) = self.find(domains, wanted)?;
        checked?;
        for copy in copied.iter_mut() {
            let first = range.first().wrapping_add(copy.area.first());
            copy.area = IovaRange::with_len(first, copy.area.len())?;
            if !copy.mapping.is_aligned(copy.area, alignment) {
                return Err(EINVAL);
            }
        }
        for (copy, spare) in copied.iter().zip(spares) {
            // All of the range is free.
            warn_on!(space.areas.reserve(copy.area, spare).is_err());
        }
        Ok(range)
    }

    /// Pins them if there is a domain that they will be mapped in.
    fn pin_copies(&self, domains: &Domains, copied: &mut [Entry]) -> Result {
        if domains.list.is_empty() {
            return Ok(());
        }
        for copy in copied {
            copy.mapping
                .pin(copy.area, Some(self.progress_of(copy.area)))?;
        }
        Ok(())
    }
}
