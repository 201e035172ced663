// SPDX-License-Identifier: GPL-2.0

//! Memory that is mapped once more: pinned and charged once, however often it is mapped, and as
//! long as it is mapped anywhere.

use super::{
    choose::WantedIova,
    IoPagetable, //
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
        memory::{
            Held,
            Part,
            Repeats,
            SharedRoom, //
        }, //
    }, //
};
use kernel::{
    alloc::flags::__GFP_NOWARN,
    page::{
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    prelude::*,
    sync::Arc,
    warn_on, //
};

/// Neighbouring parts of memory.
pub(crate) struct Parts {
    /// Each is as long as the area that it came from, or what of that was asked for.
    list: KVVec<(u64, Part)>,
    /// Whether the first begins with a page.
    are_aligned: bool,
}

impl Parts {
    /// Whether they can be mapped that way.
    ///
    /// # Errors
    ///
    /// `EPERM`: devices may not write to all of it. `EINVAL`: they do not begin with a page.
    fn check(&self, prot: Prot) -> Result {
        for (_, part) in &self.list {
            part.check(prot)?;
            if !self.are_aligned {
                return Err(EINVAL);
            }
        }
        Ok(())
    }
}

impl IoPagetable {
    /// The memory that is mapped in `range`, which has no holes; `repeats` are the context's.
    ///
    /// # Errors
    ///
    /// `ENOENT`: it has holes. `EOPNOTSUPP`: some of it is a device's. `ENOMEM`, `EINTR`.
    pub(crate) fn parts(&self, range: IovaRange, repeats: &Arc<Repeats>) -> Result<Parts> {
        let mut list = KVVec::new();
        let mut rest = Some(range);
        while let Some(todo) = rest {
            task::resched_killable()?;
            let (piece, held) = self.share(todo, SharedRoom::new(repeats)?)?;
            // Without a lock: memory may have to be cut.
            let part = held.into_part()?;
            list.push((piece.len(), part), GFP_KERNEL_ACCOUNT | __GFP_NOWARN)?;
            rest = todo.behind(piece.last());
        }
        Ok(Parts {
            list,
            are_aligned: range.first() % PAGE_SIZE as u64 == 0,
        })
    }

    /// Holds what is mapped in the first of the areas that make up `range`, and says what of it
    /// that is.
    fn share(&self, range: IovaRange, room: SharedRoom) -> Result<(IovaRange, Held)> {
        let mut space = self.space.lock();
        let (area, _) = space.areas.live_at(range.first()).ok_or(ENOENT)?;
        let piece = area.intersection(&range).ok_or(ENOENT)?;
        let page_of = |iova: u64| (iova - area.first()) >> PAGE_SHIFT;
        let skip = page_of(piece.first());
        let npages = page_of(piece.last()) - skip + 1;
        let mut held = Err(ENOENT);
        space.areas.change(area.last(), |mapped| {
            let (mapped, result) = mapped.share(room, area, (skip, npages));
            held = result;
            mapped
        });
        Ok((piece, held?))
    }

    /// Maps parts of memory one behind the other, and says where, and in how many runs.
    ///
    /// # Errors
    ///
    /// Those of [`Self::map_at`] that are not about memory of userspace, and of [`Parts::check`].
    pub(crate) fn map_parts(
        &self,
        parts: Parts,
        wanted: WantedIova,
        prot: Prot,
    ) -> Result<(IovaRange, u64)> {
        let checked = parts.check(prot);
        let room = GFP_KERNEL_ACCOUNT | __GFP_NOWARN;
        let mut spares = KVVec::with_capacity(parts.list.len(), room)?;
        // Before the locks, so that it is dropped after them: each may be the last of its memory.
        let mut copied = KVVec::with_capacity(parts.list.len(), room)?;
        let mut next = 0;
        for (len, part) in parts.list {
            spares.push_within_capacity(Spare::new()?)?;
            let area = IovaRange::with_len(next, len)?;
            let mapping = Mapping::Part(part.with(prot));
            copied.push_within_capacity(Entry { area, mapping })?;
            next = next.wrapping_add(len);
        }
        let domains = self.domains.read_killable()?;
        self.check_alive()?;
        let range = self.reserve_copies(&domains, &wanted, &mut copied, spares, checked)?;
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
        let (mut space, range) = self.find(domains, wanted)?;
        checked?;
        for copy in copied.iter_mut() {
            let first = range.first().wrapping_add(copy.area.first());
            copy.area = IovaRange::with_len(first, copy.area.len())?;
        }
        for (copy, spare) in copied.iter().zip(spares) {
            // All of the range is free.
            warn_on!(space.areas.reserve(copy.area, spare).is_err());
        }
        Ok(range)
    }
}
