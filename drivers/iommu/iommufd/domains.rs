// SPDX-License-Identifier: GPL-2.0

//! The domains of an address space, and what the devices on them need left out.

use crate::{
    iova::IovaRange,
    kapi::{
        domain::{
            Domain,
            Prot, //
        },
        pin::PinnedRun,
    },
};
use core::iter;
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// Where the areas are mapped.
pub(crate) struct Domains {
    pub(crate) list: KVec<Slot>,
    /// What the attached devices need left out, by the id of the device.
    pub(crate) reserved: KVec<(u32, IovaRange)>,
}

/// A domain and how many groups are on it, at least one.
pub(crate) struct Slot {
    pub(crate) domain: Arc<Domain>,
    pub(crate) groups: usize,
}

impl Domains {
    /// No domains, no devices.
    pub(crate) fn new() -> Self {
        Self {
            list: KVec::new(),
            reserved: KVec::new(),
        }
    }

    /// Whether no domain and no device objects to `range`.
    pub(crate) fn accept(&self, range: IovaRange) -> bool {
        let translate = |slot: &Slot| {
            let aperture = slot.domain.aperture();
            aperture.is_some_and(|aperture| aperture.contains(&range))
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
        reserved: &[(u32, IovaRange)],
    ) -> Result<KVec<IovaRange>> {
        let mut holes = KVec::new();
        for (_, range) in Iterator::chain(self.reserved.iter(), reserved) {
            holes.push(*range, GFP_KERNEL)?;
        }
        let mut ranges = KVec::new();
        let common = self.list.iter().try_fold(window, |common, slot| {
            common.intersection(&slot.domain.aperture()?)
        });
        if let Some(common) = common {
            for range in common.without(&holes) {
                ranges.push(range, GFP_KERNEL)?;
            }
        }
        Ok(ranges)
    }

    /// Maps `run` at `iova` into every domain, or into none.
    ///
    /// # Errors
    ///
    /// Those of [`Domain::map`].
    pub(crate) fn map(&self, iova: u64, run: &PinnedRun, prot: Prot) -> Result {
        for (done, slot) in self.list.iter().enumerate() {
            if let Err(e) = slot.domain.map(iova, run, prot) {
                let range = IovaRange::with_len(iova, run.len())?;
                for slot in self.list.iter().take(done) {
                    slot.domain.unmap(iter::once(range));
                }
                return Err(e);
            }
        }
        Ok(())
    }

    /// Unmaps ranges, each made of whole runs, from every domain; no IOTLB has them any more.
    pub(crate) fn unmap<I: Iterator<Item = IovaRange>>(&self, ranges: impl Fn() -> I) {
        for slot in &self.list {
            slot.domain.unmap(ranges());
        }
    }
}
