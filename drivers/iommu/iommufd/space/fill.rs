// SPDX-License-Identifier: GPL-2.0

//! A domain that comes, and is filled with all that is mapped, and what is pinned for the first and
//! let go of with the last.
//!
//! Whoever pins holds `domains` for writing: no map or unmap is under way. The areas are locked
//! for moments, for those who look on must not wait until userspace has brought its memory.

use super::IoPagetable;
use crate::{
    iova::IovaRange,
    kapi::{
        domain::Domain,
        rwsem::WriteGuard,
        task,
        trace::{
            self,
            PinnedAreas, //
        }, //
    },
    space::{
        domains::{
            Domains,
            Slot, //
        },
        hwpt::Hwpt,
        mapped,
        mapping::Kept, //
    }, //
};
use kernel::{
    prelude::*,
    sync::Arc,
    warn_on, //
};

impl IoPagetable {
    /// Maps all areas into a domain that is not in the list, and no device uses, or nothing. If it
    /// will be the first then all memory is pinned before.
    ///
    /// # Errors
    ///
    /// Those of [`Source::pin`] and [`Domain::map`]. `EINTR`: a fatal signal.
    ///
    /// [`Source::pin`]: crate::space::pinning::Source::pin
    pub(super) fn fill(&self, domains: &Domains, domain: &Arc<Domain>) -> Result {
        let mut rest = Some(IovaRange::ALL);
        let mut fill_all = || {
            while let Some(range) = rest {
                task::resched_killable()?;
                rest = self.fill_next(domains, domain, range)?;
            }
            Ok(())
        };
        let usage = self.space.lock().usage;
        let filled = if domains.list.is_empty() && usage.areas > 0 {
            let all = PinnedAreas {
                areas: usage.areas,
                bytes: usage.bytes,
            };
            trace::pin(self.id, all, fill_all)
        } else {
            fill_all()
        };
        if filled.is_err() {
            mapped::empty(domain, &self.space.lock().areas, rest);
            self.let_go_unless_needed(domains);
        }
        filled
    }

    /// Maps the first area in `range`, and says where the others are. If that fails, it is as
    /// before, but for what is pinned.
    fn fill_next(
        &self,
        domains: &Domains,
        domain: &Arc<Domain>,
        range: IovaRange,
    ) -> Result<Option<IovaRange>> {
        loop {
            let space = self.space.lock();
            let Some((area, mapped)) = space.areas.first_live(range) else {
                return Ok(None);
            };
            let Some(to_pin) = mapped.mapping().to_pin(area) else {
                domains.enter(domain, area, mapped.mapping())?;
                return Ok(range.behind(area.last()));
            };
            drop(space);
            // Nobody shares it meanwhile, or takes it out: that takes `domains`.
            let put = self.put(area, to_pin.pin(Some(self.progress_of(area)))?);
            warn_on!(put.is_err());
        }
    }

    fn put(&self, area: IovaRange, kept: Kept) -> Result<(), Kept> {
        let mut space = self.space.lock();
        let space = &mut *space;
        let Some((_, mapped)) = space.areas.first_live_mut(area) else {
            return Err(kept);
        };
        mapped.put(kept)?;
        space.usage.pin(mapped.mapping());
        Ok(())
    }

    /// Notes of which kinds there are domains, for those who look at areas only.
    fn note_domains(&self, domains: &Domains) {
        let untranslated = |slot: &Slot| !slot.domain().translates();
        let mut space = self.space.lock();
        space.has_domain = !domains.list.is_empty();
        space.has_untranslated = domains.list.iter().any(untranslated);
    }

    /// Adds a domain that was filled, and that `groups` are on.
    pub(super) fn add_domain(&self, domains: &mut Domains, hwpt: Arc<Hwpt>, groups: usize) {
        domains.add(hwpt, groups);
        self.note_domains(domains);
    }

    /// Unmaps every area from a domain that no device uses any more, nor ever will, and takes it
    /// out of the list. If it was the last then all is unpinned, while others may map and unmap.
    pub(super) fn drop_domain(&self, mut domains: WriteGuard<'_, Domains>, hwpt: &Arc<Hwpt>) {
        mapped::empty(hwpt.domain(), &self.space.lock().areas, None);
        domains.remove(hwpt);
        self.note_domains(&domains);
        self.let_go_unless_needed(&domains.downgrade());
    }

    /// As [`Self::drop_domain`], of one that has not come into the list.
    pub(super) fn drop_new_domain(&self, domains: &Domains, domain: &Domain) {
        mapped::empty(domain, &self.space.lock().areas, None);
        self.let_go_unless_needed(domains);
    }

    /// Unpins all that areas keep pinned, if there is no domain.
    fn let_go_unless_needed(&self, domains: &Domains) {
        if !domains.list.is_empty() {
            return;
        }
        let mut rest = Some(IovaRange::ALL);
        while let Some(range) = rest {
            rest = self.let_go_of_next(domains, range);
            task::resched();
        }
    }

    /// Unpins what the first area in `range` keeps pinned, and says where the others are.
    fn let_go_of_next(&self, domains: &Domains, range: IovaRange) -> Option<IovaRange> {
        let mut space = self.space.lock();
        let space_ref = &mut *space;
        let (area, mapped) = space_ref.areas.first_live_mut(range)?;
        space_ref.usage.unpin(mapped.mapping());
        let kept = domains.let_go(mapped);
        drop(space);
        // Unpins and uncharges, without the lock.
        drop(kept);
        range.behind(area.last())
    }
}
