// SPDX-License-Identifier: GPL-2.0

//! What an area holds: pinned memory, whole or in part, and what devices may do with it.
//!
//! Most memory is in one area, and lies in it. What `IOAS_COPY` puts into other areas as well is
//! moved out of the first, behind a counted reference: it is pinned and charged once, and let go
//! with the last area that has some of it.

use crate::{
    iova::IovaRange,
    kapi::{
        access::{
            Buffer,
            PageSlots, //
        },
        account::{
            Charge,
            Payer, //
        },
        domain::Prot,
        run::Span, //
    },
    pages::Runs,
};
use core::mem::{
    size_of,
    MaybeUninit, //
};
use kernel::{
    new_mutex,
    page::{
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    prelude::*,
    sync::{
        Arc,
        Mutex,
        UniqueArc, //
    },
};

/// Pinned memory, and who pays for it. Dropping it unpins and uncharges, in this order.
pub(crate) struct Memory {
    runs: Runs,
    charge: Charge,
}

/// The content of a live area.
pub(crate) enum Mapping {
    /// All of some memory that nobody else has.
    Own { memory: Memory, prot: Prot },
    /// A part of some memory that others may have as well.
    Part(Part),
}

// Every area has one: it has to be small.
static_assert!(size_of::<Option<Mapping>>() == 56);

/// Pinned memory that several areas may have.
#[pin_data]
struct Shared {
    runs: Runs,
    /// Who pays for it may change, and no area is its only owner.
    #[pin]
    charge: Mutex<Charge>,
}

/// A part of shared memory.
#[derive(Clone)]
pub(crate) struct Part {
    memory: Arc<Shared>,
    /// How many pages of the memory come before this part.
    skip: u64,
    prot: Prot,
}

/// Where memory goes when it becomes shared, allocated before any lock is taken.
pub(crate) struct SharedRoom(UniqueArc<MaybeUninit<Shared>>);

impl SharedRoom {
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(UniqueArc::new_uninit(GFP_KERNEL_ACCOUNT)?))
    }
}

impl Memory {
    /// What was pinned, and charged for.
    pub(crate) fn new(runs: Runs, charge: Charge) -> Self {
        Self { runs, charge }
    }
}

impl Part {
    /// The part that begins `pages` further on.
    pub(crate) fn after(&self, pages: u64) -> Self {
        Self {
            skip: self.skip.wrapping_add(pages),
            ..self.clone()
        }
    }

    /// The same memory with other rights, if it was pinned for them.
    ///
    /// # Errors
    ///
    /// `EPERM`: devices may not write to it.
    pub(crate) fn with(self, prot: Prot) -> Result<Self> {
        if prot.write && !self.memory.runs.writable() {
            return Err(EPERM);
        }
        Ok(Self { prot, ..self })
    }
}

impl Mapping {
    fn runs(&self) -> &Runs {
        match self {
            Self::Own { memory, .. } => &memory.runs,
            Self::Part(part) => &part.memory.runs,
        }
    }

    fn skip(&self) -> u64 {
        match self {
            Self::Own { .. } => 0,
            Self::Part(part) => part.skip,
        }
    }

    /// What devices may do.
    pub(crate) fn prot(&self) -> Prot {
        match self {
            Self::Own { prot, .. } | Self::Part(Part { prot, .. }) => *prot,
        }
    }

    /// Who pays for the memory, if nobody else has it.
    pub(crate) fn payer(&self) -> Option<&Arc<Payer>> {
        match self {
            Self::Own { memory, .. } => Some(memory.charge.payer()),
            Self::Part(_) => None,
        }
    }

    /// Whether the memory counts against a limit.
    pub(crate) fn is_limited(&self) -> bool {
        match self {
            Self::Own { memory, .. } => memory.charge.is_limited(),
            Self::Part(part) => part.memory.charge.lock().is_limited(),
        }
    }

    /// Shows what is charged for the memory to `look`, which may have another one pay.
    pub(crate) fn with_charge<R>(&mut self, look: impl FnOnce(&mut Charge) -> R) -> R {
        match self {
            Self::Own { memory, .. } => look(&mut memory.charge),
            Self::Part(part) => look(&mut part.memory.charge.lock()),
        }
    }

    /// In how many pieces the memory is that all or a part of is mapped.
    pub(crate) fn run_count(&self) -> u64 {
        self.runs().count() as u64
    }

    /// All of the memory, if nobody else has it.
    pub(crate) fn whole(&self) -> Option<&Runs> {
        match self {
            Self::Own { memory, .. } => Some(&memory.runs),
            Self::Part(_) => None,
        }
    }

    /// What is mapped in `area`, which this is the content of: each span with its I/O address.
    pub(crate) fn placed(&self, area: IovaRange) -> impl Iterator<Item = (u64, Span)> + '_ {
        self.runs().placed(self.skip(), area)
    }

    /// The parts to unmap `area` in, which this is the content of.
    pub(crate) fn strides(&self, area: IovaRange) -> impl Iterator<Item = IovaRange> + '_ {
        self.runs().strides(self.skip(), area)
    }

    /// Lists the pages of it that are mapped in `range`, which begins `skip` pages behind the area
    /// that this is the content of.
    pub(crate) fn list_pages(&self, skip: u64, range: IovaRange, slots: &mut PageSlots<'_>) {
        let mut left = page_count(range);
        for (run, skipped) in self.runs().after(self.skip().wrapping_add(skip)) {
            left -= run.list(skipped, left, slots);
            if left == 0 {
                return;
            }
        }
    }

    /// Copies `len` bytes between `buffer` and the memory, from byte `from` of the area on.
    ///
    /// # Errors
    ///
    /// `EPERM`: it may not be written to.
    pub(crate) fn copy(&self, from: u64, len: u64, buffer: &mut Buffer<'_>) -> Result {
        let first_page = self.skip().wrapping_add(from >> PAGE_SHIFT);
        let mut offset = from % PAGE_SIZE as u64;
        let mut left = len;
        for (run, skipped) in self.runs().after(first_page) {
            left -= run.copy((skipped << PAGE_SHIFT) + offset, left, buffer)?;
            offset = 0;
            if left == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Cuts off what comes behind the first `len` bytes, which are whole pages. What areas share
    /// goes on being pinned as a whole.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; nothing has changed then.
    pub(crate) fn cut_off(&mut self, len: u64) -> Result<Self> {
        let npages = len >> PAGE_SHIFT;
        match self {
            Self::Own { memory, prot } => {
                let runs = memory.runs.cut_off(npages)?;
                let charge = memory.charge.cut_off(npages);
                Ok(Self::Own {
                    memory: Memory { runs, charge },
                    prot: *prot,
                })
            }
            Self::Part(part) => Ok(Self::Part(part.after(npages))),
        }
    }

    /// Makes what it holds a part of shared memory, if it is not that already.
    pub(crate) fn share(self, room: SharedRoom) -> Part {
        match self {
            Self::Own { memory, prot } => {
                let Memory { runs, charge } = memory;
                let Ok(shared) = room.0.pin_init_with(pin_init!(Shared {
                    runs,
                    charge <- new_mutex!(charge, "iommufd_charge"),
                }));
                Part {
                    memory: shared.into(),
                    skip: 0,
                    prot,
                }
            }
            Self::Part(part) => part,
        }
    }
}

/// What an address space holds.
#[derive(Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Number of areas.
    pub(crate) areas: u64,
    /// Bytes mapped, all of them pinned.
    pub(crate) bytes: u64,
    /// Those of them whose memory counts against a limit.
    pub(crate) charged: u64,
}

impl Usage {
    /// With one area more.
    pub(crate) fn add(&mut self, area: IovaRange, mapping: &Mapping) {
        self.areas = self.areas.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(area.len());
        if mapping.is_limited() {
            self.charged = self.charged.wrapping_add(area.len());
        }
    }

    /// Without the areas that make up `other`.
    pub(crate) fn subtract(&mut self, other: &Self) {
        self.areas = self.areas.wrapping_sub(other.areas);
        self.bytes = self.bytes.wrapping_sub(other.bytes);
        self.charged = self.charged.wrapping_sub(other.charged);
    }
}

/// The number of pages of a range that is made of whole pages.
pub(crate) fn page_count(range: IovaRange) -> u64 {
    range.len() >> PAGE_SHIFT
}
