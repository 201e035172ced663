// SPDX-License-Identifier: GPL-2.0

//! Pins pages of the machine, a few at a time.

use super::{
    account::Payer,
    run::{
        Level,
        PinnedRun, //
    },
};
use kernel::{
    machine,
    page::PAGE_SHIFT,
    prelude::*,
    sync::Arc, //
};
use std::{
    collections::VecDeque,
    marker::PhantomData, //
};

pub(crate) type PagePtr = *mut kernel::bindings::page;

/// The pages of files come after those of processes.
pub(crate) const FILE: usize = 2;

/// As many pages come at a time.
const BATCH: u64 = 2;

/// Of more than these it is asked who could help: more than a batch are not always more.
pub(crate) const SMALL: usize = 3;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Term {
    Long,
    Short,
}

pub(crate) struct Pinner<'a> {
    /// Whose memory it is, unless it is the current process's.
    other: Option<&'a Arc<Payer>>,
    writable: bool,
    term: Term,
}

impl<'a> Pinner<'a> {
    pub(crate) fn of(process: &'a Arc<Payer>, writable: bool, term: Term) -> Self {
        Self {
            other: (!process.has_current_memory()).then_some(process),
            ..Self::new(writable, term)
        }
    }

    pub(crate) fn new(writable: bool, term: Term) -> Self {
        Self {
            other: None,
            writable,
            term,
        }
    }

    pub(crate) fn other(&self) -> Option<&'a Arc<Payer>> {
        self.other
    }

    pub(crate) fn is_for_writes(&self) -> bool {
        self.writable
    }

    pub(crate) fn is_for_long(&self) -> bool {
        self.term == Term::Long
    }

    pub(crate) fn without_waiting(self) -> Self {
        self
    }

    pub(crate) fn step(&self, _vaddr: u64) -> u64 {
        1
    }

    pub(crate) fn is_untouched(&self, _vaddr: u64) -> bool {
        false
    }

    pub(crate) fn prepare(&mut self, _npages: u64) -> Result {
        Ok(())
    }

    pub(crate) fn pin(&mut self, vaddr: u64, npages: u64) -> Result<Batch<'_>> {
        // CAST: What the machine has as a number.
        let process = match self.other {
            Some(process) => process.tgid() as usize,
            None => machine::current().number(),
        };
        pin(process, vaddr >> PAGE_SHIFT, npages, self.writable)
    }
}

/// Pins some of the pages of a process or a file.
pub(super) fn pin<'a>(
    process: usize,
    first: u64,
    npages: u64,
    writable: bool,
) -> Result<Batch<'a>> {
    let mut pfns = VecDeque::new();
    for page in first..first + npages.min(BATCH) {
        if page >= machine::MEMORY {
            // What was pinned before is in the batch, which ends there.
            break;
        }
        let pfn = machine::pfn(process, page);
        machine::pin(pfn);
        pfns.push_back(pfn);
    }
    if pfns.is_empty() {
        return Err(EFAULT);
    }
    Ok(Batch {
        pfns,
        writable,
        _pinner: PhantomData,
    })
}

pub(crate) struct Batch<'a> {
    pfns: VecDeque<u64>,
    writable: bool,
    _pinner: PhantomData<&'a ()>,
}

impl Batch<'_> {
    /// These pages, which are pinned by that.
    pub(crate) fn of(pfns: &[u64]) -> Self {
        pfns.iter().copied().for_each(machine::pin);
        Self {
            pfns: pfns.iter().copied().collect(),
            writable: true,
            _pinner: PhantomData,
        }
    }

    pub(crate) fn npages(&self) -> u64 {
        self.pfns.len() as u64
    }

    pub(crate) fn next_run(&mut self) -> Option<PinnedRun> {
        let first = self.pfns.pop_front()?;
        let mut npages = 1;
        while self.pfns.front() == Some(&(first + npages)) {
            self.pfns.pop_front();
            npages += 1;
        }
        // SAFETY: The pins on these pages were the batch's.
        unsafe { PinnedRun::new(first, npages, Level::PAGE, self.writable) }
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        self.pfns.drain(..).for_each(machine::unpin);
    }
}
