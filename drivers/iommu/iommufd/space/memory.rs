// SPDX-License-Identifier: GPL-2.0

//! Memory that one area has alone: where it is, who pays for it, and, while something needs it,
//! what is pinned of it.

use crate::{
    kapi::{
        account::Charge,
        memfd::MemoryFile, //
    },
    space::{
        pages::{
            PageRange,
            Runs, //
        },
        pinning::{
            Held,
            Pinned,
            Source, //
        }, //
    }, //
};
use kernel::{
    page::{
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    prelude::*,
    sync::Arc, //
};

/// Memory of a process or a file. Dropping it unpins and uncharges, in this order.
pub(crate) struct Memory {
    /// There while it is pinned: all of it.
    runs: Option<Runs>,
    charge: Charge,
    /// The address or offset of its first byte.
    start: u64,
}

/// Memory of a file, and the file, which learns that nobody writes to it any more after the
/// memory was unpinned.
pub(crate) struct FileMemory {
    pub(crate) memory: Memory,
    pub(crate) file: Arc<MemoryFile>,
}

impl Memory {
    /// Memory from address or offset `start` on, which is not pinned.
    #[inline]
    pub(crate) fn new(start: u64, charge: Charge) -> Self {
        Self {
            runs: None,
            charge,
            start,
        }
    }

    /// As [`Self::new`], pinned.
    #[inline]
    pub(crate) fn pinned(start: u64, Pinned { runs, charge }: Pinned) -> Self {
        Self {
            runs: Some(runs),
            charge,
            start,
        }
    }

    /// The address or offset of its first byte.
    #[inline]
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// What is pinned.
    #[inline]
    pub(crate) fn runs(&self) -> Option<&Runs> {
        self.runs.as_ref()
    }

    /// What is charged for it.
    pub(crate) fn charge_mut(&mut self) -> &mut Charge {
        &mut self.charge
    }

    /// What it keeps pinned, and charged: pages are charged for while they are pinned.
    #[inline]
    pub(crate) fn held(&self) -> Held {
        Held::new(self.charge.npages(), self.charge.is_limited())
    }

    /// What is charged for it.
    #[inline]
    pub(crate) fn charge(&self) -> &Charge {
        &self.charge
    }

    /// Where `len` of its bytes are, from byte `skip` on: of `file`, if it is of one. They will be
    /// written to if `writable`.
    pub(crate) fn source(
        &self,
        file: Option<&Arc<MemoryFile>>,
        skip: u64,
        len: u64,
        writable: bool,
    ) -> Source {
        let pages = PageRange::of_bytes(self.start.wrapping_add(skip), len);
        Source::new(file.cloned(), self.charge.another(), pages, writable)
    }

    /// Keeps what was pinned of it.
    pub(crate) fn put(&mut self, Pinned { runs, charge }: Pinned) {
        self.runs = Some(runs);
        self.charge = charge;
    }

    /// Takes out what is pinned and charged.
    pub(crate) fn let_go(&mut self) -> Option<Pinned> {
        let runs = self.runs.take()?;
        let charge = self.charge.take();
        Some(Pinned { runs, charge })
    }

    /// Where it is and who pays, when nothing of it is pinned.
    pub(crate) fn into_parts(self) -> (u64, Charge) {
        (self.start, self.charge)
    }

    /// Cuts off what comes behind the first `len` bytes, some but not all.
    ///
    /// # Errors
    ///
    /// `ENOMEM`. `EINVAL`: it is pinned, and that would be within a page. Nothing has changed then.
    pub(crate) fn cut_off(&mut self, len: u64) -> Result<Self> {
        let start = self.start.wrapping_add(len);
        let Some(runs) = &mut self.runs else {
            return Ok(Self::new(start, self.charge.another()));
        };
        if start % PAGE_SIZE as u64 != 0 {
            return Err(EINVAL);
        }
        let npages = (start >> PAGE_SHIFT) - (self.start >> PAGE_SHIFT);
        let runs = runs.cut_off(npages)?;
        let charge = self.charge.cut_off(npages);
        Ok(Self::pinned(start, Pinned { runs, charge }))
    }
}
