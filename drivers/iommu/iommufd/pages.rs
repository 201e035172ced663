// SPDX-License-Identifier: GPL-2.0

//! The memory behind an area: pinned runs, in the order of their I/O addresses.
//!
//! Both peers read every page back out of the I/O page table when they unmap. We keep what was
//! pinned, 8 bytes for each physically contiguous run, so that unmapping costs per run.

use crate::{
    iova::IovaRange,
    kapi::{
        pin::PinnedRun,
        task, //
    },
};
use core::{
    iter,
    mem::size_of, //
};
use kernel::{
    page::PAGE_SIZE,
    prelude::*, //
};

/// As many runs as fit in a page.
const CHUNK: usize = PAGE_SIZE / size_of::<PinnedRun>();

/// How many bytes are unmapped before others get their turn.
const STRIDE: u64 = 256 << 20;

/// Pinned runs, in order. Dropping them unpins the pages.
///
/// The first run needs no memory of its own, for most areas have but one.
pub(crate) struct Runs {
    first: PinnedRun,
    rest: KVec<KVec<PinnedRun>>,
}

impl Runs {
    /// A list of one run.
    pub(crate) fn new(first: PinnedRun) -> Self {
        Self {
            first,
            rest: KVec::new(),
        }
    }

    /// Appends a run.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; the run is unpinned then.
    pub(crate) fn push(&mut self, run: PinnedRun) -> Result {
        if self.rest.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            let chunk = KVec::with_capacity(CHUNK, GFP_KERNEL_ACCOUNT)?;
            self.rest.push(chunk, GFP_KERNEL_ACCOUNT)?;
        }
        let chunk = self.rest.last_mut().ok_or(ENOMEM)?;
        Ok(chunk.push(run, GFP_KERNEL_ACCOUNT)?)
    }

    /// The run appended last.
    pub(crate) fn last(&self) -> &PinnedRun {
        self.rest
            .last()
            .and_then(|chunk| chunk.last())
            .unwrap_or(&self.first)
    }

    /// The number of runs.
    pub(crate) fn count(&self) -> u64 {
        let counts = self.rest.iter().map(|chunk| chunk.len() as u64);
        counts.fold(1, u64::wrapping_add)
    }

    fn iter(&self) -> impl Iterator<Item = &PinnedRun> {
        let rest = self.rest.iter().flat_map(|chunk| chunk.iter());
        Iterator::chain(iter::once(&self.first), rest)
    }

    /// All runs, each with its I/O address in an area that begins at `first`.
    pub(crate) fn placed(&self, first: u64) -> impl Iterator<Item = (u64, &PinnedRun)> {
        self.iter().scan(first, |next, run| {
            let iova = *next;
            *next = iova.wrapping_add(run.len());
            Some((iova, run))
        })
    }

    /// The parts to unmap `area` in, which these runs make up: a domain cannot cut what was
    /// mapped in one call, so each part is made of whole runs.
    pub(crate) fn strides(&self, area: IovaRange) -> impl Iterator<Item = IovaRange> + '_ {
        let mut runs = self.iter();
        let mut rest = Some(area);
        iter::from_fn(move || {
            let all = rest.take()?;
            if all.last() - all.first() < STRIDE {
                return Some(all);
            }
            let mut len = 0u64;
            while len < STRIDE {
                let Some(run) = runs.next() else { break };
                len = len.saturating_add(run.len());
            }
            let Some(part) = IovaRange::with_len(all.first(), len)
                .ok()
                .filter(|part| part.last() < all.last())
            else {
                return Some(all);
            };
            rest = IovaRange::new(part.last() + 1, all.last());
            Some(part)
        })
    }
}

impl Drop for Runs {
    fn drop(&mut self) {
        while let Some(chunk) = self.rest.pop() {
            drop(chunk);
            task::resched();
        }
    }
}
