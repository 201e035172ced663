// SPDX-License-Identifier: GPL-2.0

//! A map under way: what is pinned goes into the domains as it comes.

use crate::{
    domains::Domains,
    iova::IovaRange,
    kapi::{
        account::Charge,
        domain::Prot,
        pin::Batch, //
    },
    memory::Memory,
    pages::Runs,
};
use kernel::prelude::*;

/// A map under way. Dropping it takes everything back.
pub(crate) struct Fill<'a> {
    domains: &'a Domains,
    prot: Prot,
    range: IovaRange,
    /// What is charged for the whole range.
    charge: Option<Charge>,
    /// What is pinned.
    runs: Option<Runs>,
    /// How many of the runs are mapped, and up to where.
    mapped: usize,
    next: u64,
}

impl<'a> Fill<'a> {
    /// A map of `range`, charged for, that has not begun.
    pub(crate) fn new(domains: &'a Domains, range: IovaRange, prot: Prot, charge: Charge) -> Self {
        Self {
            domains,
            prot,
            range,
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
    /// Those of [`Domains::map`]; `ENOMEM`.
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
            self.domains.map(range, some, self.prot)?;
            self.mapped += some.len();
            self.next = self.next.wrapping_add(len);
        }
        Ok(())
    }

    /// Maps what is left, and hands over what was pinned and charged.
    ///
    /// # Errors
    ///
    /// As [`Self::add`]; `EFAULT` if there was nothing.
    pub(crate) fn finish(mut self) -> Result<Memory> {
        self.map(0)?;
        let filled = self.runs.take().zip(self.charge.take());
        let (runs, charge) = filled.ok_or(EFAULT)?;
        Ok(Memory::new(runs, charge))
    }
}

impl Drop for Fill<'_> {
    fn drop(&mut self) {
        let Some(runs) = self.runs.take() else { return };
        if let Some(mapped) = IovaRange::until(self.range.first(), self.next) {
            self.domains.unmap(|| runs.strides(mapped));
        }
        // Unpins and uncharges.
        self.domains
            .give_back(self.range, (runs, self.charge.take()));
    }
}
