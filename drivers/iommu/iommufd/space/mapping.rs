// SPDX-License-Identifier: GPL-2.0

//! What an area holds: pinned memory, whole or in part, and what devices may do with it.
//!
//! Most memory is in one area, and lies in it. What `IOAS_COPY` puts into other areas as well is
//! moved out of the first, and is what [`crate::space::memory`] is about.

use crate::{
    iova::IovaRange,
    kapi::{
        access_ops::{
            Buffer,
            PageSlots, //
        },
        account::{
            Charge,
            Payer, //
        },
        device_memory::DeviceMemory,
        domain::{
            Domain,
            Prot, //
        },
        memfd::WrittenFile,
        run::{
            PinnedRun,
            Span, //
        }, //
    },
    space::{
        memory::{
            FileMemory,
            Memory,
            Part,
            SharedRoom, //
        },
        pages::{
            strides,
            Runs, //
        }, //
    }, //
};
use core::mem::{
    size_of,
    MaybeUninit, //
};
use kernel::{
    page::{
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    prelude::*,
    sync::Arc, //
};

/// The content of a live area.
pub(crate) enum Mapping {
    /// All of some memory that nobody else has.
    Own { memory: Memory, prot: Prot },
    /// The same, of a file that devices may write to.
    File {
        memory: KBox<FileMemory>,
        prot: Prot,
    },
    /// A part of some memory that others may have as well.
    Part(Part),
    /// Memory of a device, which knows the domains that it is in.
    Device {
        memory: KBox<DeviceMemory>,
        prot: Prot,
    },
}

// Every area has one: it has to be small.
static_assert!(size_of::<Option<Mapping>>() == 56);

/// Where pinned memory goes that nobody else has, allocated before it is mapped.
pub(crate) struct OwnRoom(Option<(KBox<MaybeUninit<FileMemory>>, Arc<WrittenFile>)>);

impl OwnRoom {
    /// Room for memory of `file`, if devices may write to one.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(file: Option<Arc<WrittenFile>>) -> Result<Self> {
        let Some(file) = file else {
            return Ok(Self(None));
        };
        Ok(Self(Some((KBox::new_uninit(GFP_KERNEL_ACCOUNT)?, file))))
    }

    /// The content of the area that has `memory`.
    pub(crate) fn hold(self, memory: Memory, prot: Prot) -> Mapping {
        match self.0 {
            None => Mapping::Own { memory, prot },
            Some((room, file)) => Mapping::File {
                memory: KBox::write(room, FileMemory { memory, file }),
                prot,
            },
        }
    }
}

impl Mapping {
    /// The memory, if nobody else has it.
    fn own(&self) -> Option<&Memory> {
        match self {
            Self::Own { memory, .. } => Some(memory),
            Self::File { memory, .. } => Some(&memory.memory),
            Self::Part(_) | Self::Device { .. } => None,
        }
    }

    /// Shows its runs from page number `skip` on to `look`, each with how many of its pages come
    /// before that, until it says `false`. A device's memory has none.
    fn each_run(&self, skip: u64, mut look: impl FnMut(&PinnedRun, u64) -> bool) {
        match self {
            Self::Part(part) => part.each_run(skip, look),
            Self::Own { .. } | Self::File { .. } | Self::Device { .. } => {
                if let Some(memory) = self.own() {
                    let mut runs = memory.runs().after(skip);
                    runs.all(|(run, skipped)| look(run, skipped));
                }
            }
        }
    }

    /// The memory, if it is a device's.
    pub(crate) fn device(&self) -> Option<&DeviceMemory> {
        match self {
            Self::Device { memory, .. } => Some(memory),
            Self::Own { .. } | Self::File { .. } | Self::Part(_) => None,
        }
    }

    /// What devices may do.
    pub(crate) fn prot(&self) -> Prot {
        match self {
            Self::Own { prot, .. } | Self::File { prot, .. } | Self::Device { prot, .. } => *prot,
            Self::Part(part) => part.prot(),
        }
    }

    /// Who pays for the memory, if nobody else has it.
    pub(crate) fn payer(&self) -> Option<&Arc<Payer>> {
        self.own().map(Memory::payer)
    }

    /// Whether the memory counts against a limit.
    pub(crate) fn is_limited(&self) -> bool {
        match self {
            Self::Part(part) => part.is_limited(),
            Self::Own { .. } | Self::File { .. } | Self::Device { .. } => {
                self.own().is_some_and(Memory::is_limited)
            }
        }
    }

    /// Shows each charge for the memory to `look`, which may have another one pay.
    ///
    /// # Errors
    ///
    /// `EINVAL`: it is a device's, and nobody pays. Those of `look`.
    pub(crate) fn each_charge(&mut self, look: &mut dyn FnMut(&mut Charge) -> Result) -> Result {
        match self {
            Self::Own { memory, .. } => look(memory.charge_mut()),
            Self::File { memory, .. } => look(memory.memory.charge_mut()),
            Self::Part(part) => part.each_charge(look),
            Self::Device { .. } => Err(EINVAL),
        }
    }

    /// In how many pieces the memory is that is mapped; none if it was taken back.
    #[inline(always)]
    pub(crate) fn run_count(&self) -> u64 {
        match self {
            Self::Own { memory, .. } => memory.runs().count() as u64,
            Self::File { memory, .. } => memory.memory.runs().count() as u64,
            Self::Part(part) => part.run_count(),
            Self::Device { memory, .. } => u64::from(!memory.is_revoked()),
        }
    }

    /// All of the memory, if nobody else has it.
    pub(crate) fn whole(&self) -> Option<&Runs> {
        self.own().map(Memory::runs)
    }

    /// Shows what is mapped in `area`, which this is the content of, to `look`: each span with its
    /// I/O address. A device's memory is not among it.
    ///
    /// # Errors
    ///
    /// Those of `look`, with which it ends.
    pub(crate) fn each_span(
        &self,
        area: IovaRange,
        mut look: impl FnMut(u64, Span) -> Result,
    ) -> Result {
        let mut rest = Some(area);
        let mut result = Ok(());
        self.each_run(0, |run, skipped| {
            let (Some(all), Some(span)) = (rest, run.span().after(skipped)) else {
                return false;
            };
            let span = span.front(page_count(all));
            result = look(all.first(), span);
            rest = all.after(span.len());
            result.is_ok()
        });
        result
    }

    /// The parts to unmap `area` in, which this is the content of, or the start of that. A device's
    /// memory is not among it.
    #[inline]
    pub(crate) fn strides(&self, area: IovaRange) -> impl Iterator<Item = IovaRange> + '_ {
        let all = self.device().is_none().then_some(area);
        strides(all, |skip, look| self.each_run(skip, look))
    }

    /// Takes a device's memory out of `domain`, and returns what else is to be unmapped of
    /// `area`, which this is the content of.
    #[inline]
    pub(crate) fn leave<'a>(
        &'a self,
        domain: &Domain,
        area: IovaRange,
    ) -> impl Iterator<Item = IovaRange> + use<'a> {
        if let Some(device) = self.device() {
            device.leave(domain);
        }
        self.strides(area)
    }

    /// Lists the pages of it that are mapped in `range`, which begins `skip` pages behind the area
    /// that this is the content of. A device's memory has none.
    pub(crate) fn list_pages(&self, skip: u64, range: IovaRange, slots: &mut PageSlots<'_>) {
        let mut left = page_count(range);
        self.each_run(skip, |run, skipped| {
            left -= run.list(skipped, left, slots);
            left > 0
        });
    }

    /// Copies `len` bytes between `buffer` and the memory, from byte `from` of the area on.
    ///
    /// # Errors
    ///
    /// `EPERM`: it may not be written to. `EINVAL`: it is a device's.
    pub(crate) fn copy(&self, from: u64, len: u64, buffer: &mut Buffer<'_>) -> Result {
        if self.device().is_some() {
            return Err(EINVAL);
        }
        let mut offset = from % PAGE_SIZE as u64;
        let mut left = len;
        let mut result = Ok(());
        self.each_run(from >> PAGE_SHIFT, |run, skipped| {
            match run.copy((skipped << PAGE_SHIFT) + offset, left, buffer) {
                Ok(done) => left -= done,
                Err(e) => result = Err(e),
            }
            offset = 0;
            left > 0 && result.is_ok()
        });
        result
    }

    /// Cuts off what comes behind the first `len` bytes, which are whole pages.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EINVAL`: it is a device's. Nothing has changed then.
    pub(crate) fn cut_off(&mut self, len: u64) -> Result<Self> {
        let npages = len >> PAGE_SHIFT;
        match self {
            Self::Own { memory, prot } => Ok(Self::Own {
                memory: memory.cut_off(npages)?,
                prot: *prot,
            }),
            Self::File { memory, prot } => {
                let room = OwnRoom::new(Some(memory.file.clone()))?;
                Ok(room.hold(memory.memory.cut_off(npages)?, *prot))
            }
            Self::Part(part) => Ok(Self::Part(part.cut_off(npages)?)),
            Self::Device { .. } => Err(EINVAL),
        }
    }

    /// Makes what it holds, which is mapped in `area`, a part of shared memory, if it is not that
    /// already. A device's memory cannot be shared.
    pub(crate) fn share(self, room: SharedRoom, area: IovaRange) -> Result<Part, Self> {
        match self {
            Self::Own { memory, prot } => Ok(Part::new(room, memory, page_count(area), prot, None)),
            Self::File { memory, prot } => {
                let FileMemory { memory, file } = KBox::into_inner(memory);
                let npages = page_count(area);
                Ok(Part::new(room, memory, npages, prot, Some(file)))
            }
            Self::Part(part) => Ok(part),
            Self::Device { .. } => Err(self),
        }
    }
}

/// What an address space holds.
#[derive(Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Number of areas.
    pub(crate) areas: u64,
    /// Bytes mapped.
    pub(crate) bytes: u64,
    /// Those of them that are pinned: all but devices' own memory. What several areas have counts
    /// in each.
    pub(crate) pinned: u64,
    /// Those of these that count against a limit.
    pub(crate) charged: u64,
}

impl Usage {
    /// With one area more.
    #[inline]
    pub(crate) fn add(&mut self, area: IovaRange, mapping: &Mapping) {
        self.areas = self.areas.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(area.len());
        if mapping.device().is_none() {
            self.pinned = self.pinned.wrapping_add(area.len());
        }
        if mapping.is_limited() {
            self.charged = self.charged.wrapping_add(area.len());
        }
    }

    /// With all that `other` has.
    pub(crate) fn add_all(&mut self, other: &Self) {
        self.areas = self.areas.wrapping_add(other.areas);
        self.bytes = self.bytes.wrapping_add(other.bytes);
        self.pinned = self.pinned.wrapping_add(other.pinned);
        self.charged = self.charged.wrapping_add(other.charged);
    }

    /// Without the areas that make up `other`.
    pub(crate) fn subtract(&mut self, other: &Self) {
        self.areas = self.areas.wrapping_sub(other.areas);
        self.bytes = self.bytes.wrapping_sub(other.bytes);
        self.pinned = self.pinned.wrapping_sub(other.pinned);
        self.charged = self.charged.wrapping_sub(other.charged);
    }
}

/// The number of pages of a range that is made of whole pages.
pub(crate) fn page_count(range: IovaRange) -> u64 {
    range.len() >> PAGE_SHIFT
}
