// SPDX-License-Identifier: GPL-2.0

//! A map under way: pinned runs go into the domains as they come.

use crate::{
    domains::Domains,
    iova::IovaRange,
    kapi::{
        domain::Prot,
        pin::PinnedRun, //
    },
    pages::Runs,
};
use kernel::prelude::*;

/// A map under way. Dropping it takes everything back.
pub(crate) struct Fill<'a> {
    domains: &'a Domains,
    prot: Prot,
    range: IovaRange,
    /// The end, so far, of what is mapped.
    next: u64,
    /// The last run, which may go on with the next batch; pinned, not mapped.
    open: Option<PinnedRun>,
    /// All runs before, mapped up to `next`.
    runs: Option<Runs>,
}

impl<'a> Fill<'a> {
    /// A map of `range` that has not begun.
    pub(crate) fn new(domains: &'a Domains, range: IovaRange, prot: Prot) -> Self {
        Self {
            domains,
            prot,
            range,
            next: range.first(),
            open: None,
            runs: None,
        }
    }

    /// Goes on with `run`.
    ///
    /// # Errors
    ///
    /// Those of [`Domains::map`]; `ENOMEM`.
    pub(crate) fn add(&mut self, run: PinnedRun) -> Result {
        let run = match &mut self.open {
            Some(open) => match open.append(run) {
                Ok(()) => return Ok(()),
                Err(run) => run,
            },
            None => run,
        };
        match self.open.replace(run) {
            Some(closed) => self.map(closed),
            None => Ok(()),
        }
    }

    /// Maps a run that is complete into every domain.
    fn map(&mut self, run: PinnedRun) -> Result {
        let runs = match &mut self.runs {
            Some(runs) => {
                runs.push(run)?;
                runs
            }
            None => self.runs.insert(Runs::new(run)),
        };
        let run = runs.last();
        self.domains.map(self.next, run, self.prot)?;
        self.next = self.next.wrapping_add(run.len());
        Ok(())
    }

    /// Maps what is left, and hands over what was pinned.
    ///
    /// # Errors
    ///
    /// As [`Self::add`]; `EFAULT` if there was no run.
    pub(crate) fn finish(mut self) -> Result<Runs> {
        if let Some(open) = self.open.take() {
            self.map(open)?;
        }
        self.runs.take().ok_or(EFAULT)
    }
}

impl Drop for Fill<'_> {
    fn drop(&mut self) {
        let Some(runs) = &self.runs else { return };
        let mapped = self
            .next
            .checked_sub(1)
            .and_then(|last| IovaRange::new(self.range.first(), last));
        let Some(mapped) = mapped else { return };
        self.domains.unmap(|| runs.strides(mapped));
    }
}
