// SPDX-License-Identifier: GPL-2.0

//! What an area holds: memory, whole or in part, and what devices may do with it.
//!
//! Most memory is in one area, and lies in it. What `IOAS_COPY` puts into other areas as well, or a
//! driver pins, is moved out of the first, and is what [`crate::space::part`] is about.

use crate::{
    iova::IovaRange,
    kapi::{
        access_ops::Buffer,
        account::{
            Charge,
            Payer, //
        },
        device_memory::DevicePart,
        domain::{
            Domain,
            Prot, //
        },
        memfd::MemoryFile,
        run::{
            PinnedRun,
            Span, //
        }, //
    },
    space::{
        memory::{
            FileMemory,
            Memory, //
        },
        pages::{
            each_span,
            strides,
            Look,
            Runs, //
        },
        part::{
            Part,
            SharedRoom, //
        },
        pinning::{
            Held,
            Pinned,
            Source, //
        }, //
        progress::Progress,
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

const PAGE: u64 = PAGE_SIZE as u64;

/// As many runs are looked at, at most, to find out how far memory goes on.
const MOST_LOOKS: u32 = 1 << 16;

/// The content of a live area.
pub(crate) enum Mapping {
    /// Memory of a process that nobody else has.
    Own { memory: Memory, prot: Prot },
    /// The same, of a file.
    File {
        memory: KBox<FileMemory>,
        prot: Prot,
    },
    /// A part of some memory that others may have as well.
    Part { part: Part, prot: Prot },
    /// Memory of a device, which knows the domains that it is in.
    Device { part: DevicePart, prot: Prot },
}

// Every area has one: it has to be small.
static_assert!(size_of::<Option<Mapping>>() <= 56);

/// Where memory goes that nobody else has, allocated before it is mapped.
pub(crate) struct OwnRoom(Option<(KBox<MaybeUninit<FileMemory>>, Arc<MemoryFile>)>);

impl OwnRoom {
    /// Room for memory of `file`, if it is of one.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    #[inline]
    pub(crate) fn new(file: Option<Arc<MemoryFile>>) -> Result<Self> {
        let Some(file) = file else {
            return Ok(Self(None));
        };
        Ok(Self(Some((KBox::new_uninit(GFP_KERNEL_ACCOUNT)?, file))))
    }

    /// The content of the area that has `memory`.
    #[inline]
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

/// What is to be pinned of an area.
pub(crate) struct ToPin {
    /// Where it is.
    source: Source,
    /// Where in its first page it begins, and how many bytes it has.
    offset: u64,
    len: u64,
    /// The memory, if others may have it as well.
    part: Option<Part>,
}

/// What was pinned of an area, or let go of by one. Dropping it unpins what nobody else needs.
pub(crate) enum Kept {
    /// All of what nobody else has.
    Own(Pinned),
    /// A part of what others may have.
    Part(Part),
    /// The memory of a device, which is there instead.
    Device(DevicePart),
}

impl ToPin {
    /// Pins it, or finds the BAR that is there.
    ///
    /// # Errors
    ///
    /// Those of [`Source::pin`] and [`Source::bar`].
    pub(crate) fn pin(self, progress: Option<Progress<'_>>) -> Result<Kept> {
        let pinned = match self.part {
            None => self.source.pin(progress).map(Kept::Own),
            Some(mut part) => part.pin(progress).map(|()| Kept::Part(part)),
        };
        pinned.or_else(|e| {
            let bar = self.source.bar(e)?;
            Ok(Kept::Device(bar.again(self.offset, self.len)))
        })
    }
}

impl Mapping {
    /// The memory, if nobody else has it.
    fn own(&self) -> Option<&Memory> {
        match self {
            Self::Own { memory, .. } => Some(memory),
            Self::File { memory, .. } => Some(&memory.memory),
            Self::Part { .. } | Self::Device { .. } => None,
        }
    }

    fn own_mut(&mut self) -> Option<&mut Memory> {
        match self {
            Self::Own { memory, .. } => Some(memory),
            Self::File { memory, .. } => Some(&mut memory.memory),
            Self::Part { .. } | Self::Device { .. } => None,
        }
    }

    fn file(&self) -> Option<&Arc<MemoryFile>> {
        match self {
            Self::File { memory, .. } => Some(&memory.file),
            Self::Own { .. } | Self::Part { .. } | Self::Device { .. } => None,
        }
    }

    /// Shows its runs from page number `skip` on to `look`, each with how many of its pages come
    /// before that, until it says `false`. What is not pinned, and a device's memory, has none.
    fn each_run(&self, skip: u64, mut look: impl FnMut(&PinnedRun, u64) -> bool) {
        if let Self::Part { part, .. } = self {
            part.each_run(skip, look);
        } else if let Some(runs) = self.own().and_then(Memory::runs) {
            let mut runs = runs.after(skip);
            runs.all(|(run, skipped)| look(run, skipped));
        }
    }

    /// The memory, if it is a device's.
    #[inline]
    pub(crate) fn device(&self) -> Option<&DevicePart> {
        match self {
            Self::Device { part, .. } => Some(part),
            Self::Own { .. } | Self::File { .. } | Self::Part { .. } => None,
        }
    }

    /// The memory, if others may have it as well.
    pub(crate) fn part(&self) -> Option<&Part> {
        match self {
            Self::Part { part, .. } => Some(part),
            Self::Own { .. } | Self::File { .. } | Self::Device { .. } => None,
        }
    }

    /// What devices may do.
    #[inline]
    pub(crate) fn prot(&self) -> Prot {
        match self {
            Self::Own { prot, .. }
            | Self::File { prot, .. }
            | Self::Part { prot, .. }
            | Self::Device { prot, .. } => *prot,
        }
    }

    /// Where in its first page the memory begins.
    #[inline]
    pub(crate) fn offset(&self) -> u64 {
        match self {
            Self::Own { memory, .. } => memory.start() % PAGE,
            Self::File { memory, .. } => memory.memory.start() % PAGE,
            Self::Part { part, .. } => part.offset(),
            Self::Device { part, .. } => part.offset(),
        }
    }

    /// Whether a page begins with its byte number `skip`.
    pub(crate) fn is_page(&self, skip: u64) -> bool {
        (self.offset() + skip) % PAGE == 0
    }

    /// Whether it can be mapped as `area` in units of `alignment`, a page or less.
    pub(crate) fn is_aligned(&self, area: IovaRange, alignment: u64) -> bool {
        area.is_aligned(alignment) && self.offset() & alignment.wrapping_sub(1) == 0
    }

    /// Who pays for the memory, if nobody else has it.
    #[inline]
    pub(crate) fn payer(&self) -> Option<&Arc<Payer>> {
        self.own().map(|memory| memory.charge().payer())
    }

    /// Whether it is pinned, if it can be.
    #[inline]
    pub(crate) fn is_pinned(&self) -> bool {
        match self {
            Self::Part { part, .. } => part.is_pinned(),
            Self::Own { .. } | Self::File { .. } | Self::Device { .. } => {
                self.own().is_some_and(|memory| memory.runs().is_some())
            }
        }
    }

    /// What it keeps pinned, and charged.
    #[inline]
    pub(crate) fn held(&self) -> Held {
        match self {
            Self::Part { part, .. } => part.held(),
            Self::Own { .. } | Self::File { .. } | Self::Device { .. } => {
                self.own().map_or(Held::default(), Memory::held)
            }
        }
    }

    /// Shows each charge for the memory to `look`, which may have another one pay. Nobody pays for
    /// a device's.
    ///
    /// # Errors
    ///
    /// Those of `look`.
    pub(crate) fn each_charge(&mut self, look: &mut dyn FnMut(&mut Charge) -> Result) -> Result {
        match self {
            Self::Own { memory, .. } => look(memory.charge_mut()),
            Self::File { memory, .. } => look(memory.memory.charge_mut()),
            Self::Part { part, .. } => part.each_charge(look),
            Self::Device { .. } => Ok(()),
        }
    }

    /// In how many pieces the memory is that is mapped; none if it is not pinned, or was taken
    /// back.
    #[inline(always)]
    pub(crate) fn run_count(&self) -> u64 {
        match self {
            Self::Own { memory, .. } => memory.runs().map_or(0, Runs::count) as u64,
            Self::File { memory, .. } => memory.memory.runs().map_or(0, Runs::count) as u64,
            Self::Part { part, .. } => part.run_count(),
            Self::Device { part, .. } => part.count() as u64,
        }
    }

    /// The runs that make up all of `area`, if nobody else has them.
    pub(crate) fn whole(&self, area: IovaRange) -> Option<&Runs> {
        let runs = self.own()?.runs()?;
        self.is_aligned(area, PAGE).then_some(runs)
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
        look: impl FnMut(u64, Span) -> Result,
    ) -> Result {
        each_span(area, self.offset(), look, |look| self.each_run(0, look))
    }

    /// The first of the `len` bytes from number `skip` on, one at least, that lie in one piece;
    /// none if they are neither pinned nor a device's.
    pub(crate) fn one_piece(&self, skip: u64, len: u64) -> Option<Span> {
        if let Some(device) = self.device() {
            return device.one_piece(skip, len);
        }
        let at = self.offset() + skip;
        let mut offset = at % PAGE;
        let mut looks = MOST_LOOKS;
        let mut piece: Option<Span> = None;
        self.each_run(at >> PAGE_SHIFT, |run, skipped| {
            let next = run.span().after((skipped << PAGE_SHIFT) + offset);
            offset = 0;
            looks -= 1;
            let (Some(next), true) = (next, looks > 0) else {
                return false;
            };
            let Some(piece) = &mut piece else {
                piece = Some(next);
                return true;
            };
            piece.len() < len && piece.goes_on_with(next)
        });
        piece.map(|piece| piece.front(len))
    }

    /// The parts to unmap `area` in, which this is the content of, or the start of that. A device's
    /// memory is not among it.
    #[inline]
    pub(crate) fn strides(&self, area: IovaRange) -> impl Iterator<Item = IovaRange> + '_ {
        let all = self.device().is_none().then_some(area);
        strides(all, self.offset(), |skip, look| self.each_run(skip, look))
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
            device.leave(domain, area);
        }
        self.strides(area)
    }

    /// Where the `len` bytes from number `skip` on are, that will be written to if `writable`.
    ///
    /// # Errors
    ///
    /// `EINVAL`: it is a device's memory.
    pub(crate) fn source(&self, skip: u64, len: u64, writable: bool) -> Result<Source> {
        if let Self::Part { part, .. } = self {
            return Ok(part.source(skip, len, writable));
        }
        let memory = self.own().ok_or(EINVAL)?;
        Ok(memory.source(self.file(), skip, len, writable))
    }

    /// Copies `len` bytes, from number `skip` on, between `buffer` and what is pinned of it.
    ///
    /// # Errors
    ///
    /// `EPERM`: it may not be written to.
    pub(crate) fn copy(&self, skip: u64, len: u64, buffer: &mut Buffer<'_>) -> Result {
        let at = self.offset() + skip;
        copy(at % PAGE, len, buffer, |look| {
            self.each_run(at >> PAGE_SHIFT, look);
        })
    }

    /// As [`Self::copy`], when not it but `runs`, which begin with the page of the first byte, was
    /// pinned.
    ///
    /// # Errors
    ///
    /// As there.
    pub(crate) fn copy_with(
        &self,
        runs: &Runs,
        skip: u64,
        len: u64,
        buffer: &mut Buffer<'_>,
    ) -> Result {
        copy((self.offset() + skip) % PAGE, len, buffer, |look| {
            runs.after(0).all(|(run, skipped)| look(run, skipped));
        })
    }

    /// Whether [`Self::cut_off`] can cut there, if there is memory for it.
    pub(crate) fn can_be_cut(&self, len: u64) -> bool {
        self.device().is_none() && self.is_page(len)
    }

    /// Cuts off what comes behind the first `len` bytes.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EINVAL`: see [`Self::can_be_cut`]. Nothing has changed then.
    pub(crate) fn cut_off(&mut self, len: u64) -> Result<Self> {
        match self {
            Self::Own { memory, prot } => Ok(Self::Own {
                memory: memory.cut_off(len)?,
                prot: *prot,
            }),
            Self::File { memory, prot } => {
                let room = OwnRoom::new(Some(memory.file.clone()))?;
                Ok(room.hold(memory.memory.cut_off(len)?, *prot))
            }
            Self::Part { part, prot } => Ok(Self::Part {
                part: part.cut_off(len)?,
                prot: *prot,
            }),
            Self::Device { .. } => Err(EINVAL),
        }
    }

    /// Makes what it holds, which is mapped in `area`, a part of shared memory, unless it is that,
    /// or a device's, already.
    pub(crate) fn share(self, room: SharedRoom, area: IovaRange) -> Self {
        match self {
            Self::Own { memory, prot } => Self::Part {
                part: Part::new(room, memory, None, area.len(), prot.write),
                prot,
            },
            Self::File { memory, prot } => {
                let FileMemory { memory, file } = KBox::into_inner(memory);
                Self::Part {
                    part: Part::new(room, memory, Some(file), area.len(), prot.write),
                    prot,
                }
            }
            Self::Part { .. } | Self::Device { .. } => self,
        }
    }

    /// The `len` bytes from number `skip` on once more, if they are shared already. They are not
    /// pinned by that.
    pub(crate) fn again(&self, skip: u64, len: u64) -> Option<Self> {
        match self {
            Self::Part { part, prot } => Some(Self::Part {
                part: part.again(skip, len),
                prot: *prot,
            }),
            Self::Device { part, prot } => Some(Self::Device {
                part: part.again(skip, len),
                prot: *prot,
            }),
            Self::Own { .. } | Self::File { .. } => None,
        }
    }

    /// The same memory with other rights.
    ///
    /// # Errors
    ///
    /// `EPERM`: it was not given to be written to.
    pub(crate) fn with(mut self, new: Prot) -> Result<Self> {
        let (writable, prot) = match &mut self {
            Self::Own { prot, .. } | Self::File { prot, .. } => (prot.write, prot),
            Self::Part { part, prot } => (part.is_writable(), prot),
            Self::Device { part, prot } => (part.is_writable(), prot),
        };
        if new.write && !writable {
            return Err(EPERM);
        }
        *prot = new;
        Ok(self)
    }

    /// What is to be pinned of it, if something is, as the content of `area`.
    pub(crate) fn to_pin(&self, area: IovaRange) -> Option<ToPin> {
        if self.is_pinned() || self.device().is_some() {
            return None;
        }
        let part = self.part();
        let writable = part.map_or(self.prot().write, Part::is_writable);
        Some(ToPin {
            source: self.source(0, area.len(), writable).ok()?,
            offset: self.offset(),
            len: area.len(),
            part: part.map(|part| part.again(0, part.len())),
        })
    }

    /// Pins it, as the content of `area`, unless it is already.
    ///
    /// # Errors
    ///
    /// Those of [`Source::pin`].
    pub(crate) fn pin(&mut self, area: IovaRange, progress: Option<Progress<'_>>) -> Result {
        if let Some(to_pin) = self.to_pin(area) {
            // Nobody else has it, so that it is what it was.
            drop(self.put(to_pin.pin(progress)?));
        }
        Ok(())
    }

    /// Keeps what was pinned of it, unless it has come to be something else.
    pub(crate) fn put(&mut self, kept: Kept) -> Result<(), Kept> {
        match (self, kept) {
            (Self::Part { part, .. }, Kept::Part(pinned)) => *part = pinned,
            (mapping, Kept::Device(part)) => {
                let prot = mapping.prot();
                *mapping = Self::Device { part, prot };
            }
            (mapping, Kept::Own(pinned)) => match mapping.own_mut() {
                Some(memory) => memory.put(pinned),
                None => return Err(Kept::Own(pinned)),
            },
            (_, kept) => return Err(kept),
        }
        Ok(())
    }

    /// Takes out what it keeps pinned.
    pub(crate) fn let_go(&mut self) -> Option<Kept> {
        match self {
            Self::Own { memory, .. } => memory.let_go().map(Kept::Own),
            Self::File { memory, .. } => memory.memory.let_go().map(Kept::Own),
            Self::Part { part, .. } => part.let_go().map(Kept::Part),
            Self::Device { .. } => None,
        }
    }
}

/// Copies `len` bytes between `buffer` and the runs that `each_run` shows, from byte `offset` of
/// the first page on.
fn copy(offset: u64, len: u64, buffer: &mut Buffer<'_>, each_run: impl FnOnce(Look<'_>)) -> Result {
    let mut offset = offset;
    let mut left = len;
    let mut result = Ok(());
    each_run(&mut |run, skipped| {
        match run.copy((skipped << PAGE_SHIFT) + offset, left, buffer) {
            Ok(done) => left -= done,
            Err(e) => result = Err(e),
        }
        offset = 0;
        left > 0 && result.is_ok()
    });
    result
}
