// SPDX-License-Identifier: GPL-2.0

//! What an area holds: pinned memory, whole or in part, and what devices may do with it.
//!
//! Most memory is in one area, and lies in it. What `IOAS_COPY` puts into other areas as well is
//! moved out of the first, behind a counted reference: it is pinned and charged once, and let go
//! with the last area that has some of it.

use crate::{
    device_memory::DeviceMemory,
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
        domain::{
            Domain,
            Prot, //
        },
        memfd::WrittenFile,
        run::Span, //
    },
    pages::Runs,
};
use core::{
    iter,
    mem::{
        size_of,
        MaybeUninit, //
    },
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
    /// The same, of a file that devices may write to.
    File { memory: KBox<FileMemory>, prot: Prot },
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

/// Memory of a file, and the file, which learns that nobody writes to it any more after the
/// memory was unpinned.
pub(crate) struct FileMemory {
    memory: Memory,
    file: Arc<WrittenFile>,
}

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

/// Pinned memory that several areas may have.
#[pin_data]
struct Shared {
    runs: Runs,
    /// The file that it is of, if devices may write to that.
    file: Option<Arc<WrittenFile>>,
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

    /// Cuts off what comes behind the first `npages`.
    ///
    /// # Errors
    ///
    /// Those of [`Runs::cut_off`].
    fn cut_off(&mut self, npages: u64) -> Result<Self> {
        let runs = self.runs.cut_off(npages)?;
        let charge = self.charge.cut_off(npages);
        Ok(Self { runs, charge })
    }

    /// Makes it what several areas may have, with the file that it is of, if devices may write to
    /// that.
    fn share(self, file: Option<Arc<WrittenFile>>, room: SharedRoom) -> Arc<Shared> {
        let Self { runs, charge } = self;
        let Ok(shared) = room.0.pin_init_with(pin_init!(Shared {
            runs,
            file,
            charge <- new_mutex!(charge, "iommufd_charge"),
        }));
        shared.into()
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

    /// Whether it was pinned for these rights.
    ///
    /// # Errors
    ///
    /// `EPERM`: devices may not write to it.
    pub(crate) fn check(&self, prot: Prot) -> Result {
        if prot.write && !self.memory.runs.writable() {
            return Err(EPERM);
        }
        Ok(())
    }

    /// The same memory with other rights.
    pub(crate) fn with(self, prot: Prot) -> Self {
        Self { prot, ..self }
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

    /// What is pinned, if anything is, and how many of its pages come before what is mapped.
    fn pinned(&self) -> Option<(&Runs, u64)> {
        match self {
            Self::Own { memory, .. } => Some((&memory.runs, 0)),
            Self::File { memory, .. } => Some((&memory.memory.runs, 0)),
            Self::Part(part) => Some((&part.memory.runs, part.skip)),
            Self::Device { .. } => None,
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
            Self::Own { prot, .. }
            | Self::File { prot, .. }
            | Self::Part(Part { prot, .. })
            | Self::Device { prot, .. } => *prot,
        }
    }

    /// Who pays for the memory, if nobody else has it.
    pub(crate) fn payer(&self) -> Option<&Arc<Payer>> {
        self.own().map(|memory| memory.charge.payer())
    }

    /// Whether the memory counts against a limit.
    pub(crate) fn is_limited(&self) -> bool {
        match self {
            Self::Own { memory, .. } => memory.charge.is_limited(),
            Self::File { memory, .. } => memory.memory.charge.is_limited(),
            Self::Part(part) => part.memory.charge.lock().is_limited(),
            Self::Device { .. } => false,
        }
    }

    /// Shows what is charged for the memory, if anything is, to `look`, which may have another one
    /// pay.
    pub(crate) fn with_charge<R>(&mut self, look: impl FnOnce(&mut Charge) -> R) -> Option<R> {
        match self {
            Self::Own { memory, .. } => Some(look(&mut memory.charge)),
            Self::File { memory, .. } => Some(look(&mut memory.memory.charge)),
            Self::Part(part) => Some(look(&mut part.memory.charge.lock())),
            Self::Device { .. } => None,
        }
    }

    /// In how many pieces the memory is that all or a part of is mapped; none if it was taken
    /// back.
    #[inline]
    pub(crate) fn run_count(&self) -> u64 {
        match self.device() {
            Some(device) => u64::from(!device.is_revoked()),
            None => self.pinned().map_or(0, |(runs, _)| runs.count() as u64),
        }
    }

    /// All of the memory, if nobody else has it.
    pub(crate) fn whole(&self) -> Option<&Runs> {
        self.own().map(|memory| &memory.runs)
    }

    /// What is mapped in `area`, which this is the content of: each span with its I/O address.
    /// A device's memory is not among it.
    pub(crate) fn placed(&self, area: IovaRange) -> impl Iterator<Item = (u64, Span)> + '_ {
        let pinned = self.pinned();
        let mut placed = pinned.map(|(runs, skip)| runs.placed(skip, area));
        iter::from_fn(move || placed.as_mut()?.next())
    }

    /// The parts to unmap `area` in, which this is the content of. A device's memory is not
    /// among it.
    pub(crate) fn strides(&self, area: IovaRange) -> impl Iterator<Item = IovaRange> + '_ {
        let pinned = self.pinned();
        let mut strides = pinned.map(|(runs, skip)| runs.strides(skip, area));
        iter::from_fn(move || strides.as_mut()?.next())
    }

    /// Takes a device's memory out of `domain`, and returns what else is to be unmapped of
    /// `area`, which this is the content of.
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
        let Some((runs, before)) = self.pinned() else {
            return;
        };
        let mut left = page_count(range);
        for (run, skipped) in runs.after(before.wrapping_add(skip)) {
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
    /// `EPERM`: it may not be written to. `EINVAL`: it is a device's.
    pub(crate) fn copy(&self, from: u64, len: u64, buffer: &mut Buffer<'_>) -> Result {
        let (runs, before) = self.pinned().ok_or(EINVAL)?;
        let first_page = before.wrapping_add(from >> PAGE_SHIFT);
        let mut offset = from % PAGE_SIZE as u64;
        let mut left = len;
        for (run, skipped) in runs.after(first_page) {
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
            Self::Part(part) => Ok(Self::Part(part.after(npages))),
            Self::Device { .. } => Err(EINVAL),
        }
    }

    /// Makes what it holds a part of shared memory, if it is not that already. A device's memory
    /// cannot be shared.
    pub(crate) fn share(self, room: SharedRoom) -> Result<Part, Self> {
        let (memory, prot) = match self {
            Self::Own { memory, prot } => (memory.share(None, room), prot),
            Self::File { memory, prot } => {
                let FileMemory { memory, file } = KBox::into_inner(memory);
                (memory.share(Some(file), room), prot)
            }
            Self::Part(part) => return Ok(part),
            Self::Device { .. } => return Err(self),
        };
        Ok(Part {
            memory,
            skip: 0,
            prot,
        })
    }
}

/// What an address space holds.
#[derive(Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Number of areas.
    pub(crate) areas: u64,
    /// Bytes mapped.
    pub(crate) bytes: u64,
    /// Those of them that are pinned: all but devices' own memory.
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
