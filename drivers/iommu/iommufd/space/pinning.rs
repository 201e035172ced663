// SPDX-License-Identifier: GPL-2.0

//! Where memory comes from, and how it is pinned and charged when something needs it.

use crate::{
    kapi::{
        account::{
            Charge,
            Payer, //
        },
        bar,
        device_memory::DevicePart,
        memfd::{
            FilePinner,
            MemoryFile, //
        },
        pin::{
            Batch,
            Pinner,
            Term,
            SMALL, //
        },
        task, //
    },
    space::{
        ahead::{
            Ahead,
            Bring, //
        },
        pages::{
            PageRange,
            Runs, //
        },
        progress::Progress, //
    }, //
};
use kernel::{
    page::PAGE_SHIFT,
    prelude::*,
    sync::{
        atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        Arc, //
    }, //
};

/// How often the BAR of a device was found where it may not be mapped: see [`Source::bar`].
static REFUSED_BARS: Atomic<u64> = Atomic::new(0);

/// How often a BAR was not mapped since the module was loaded, for `map_device_memory` was off.
pub(crate) fn refused_bars() -> u64 {
    REFUSED_BARS.load(Relaxed)
}

/// Where some memory is, and who pays for it.
pub(crate) struct Source {
    /// In this file, or else in the memory of the process that pays.
    file: Option<Arc<MemoryFile>>,
    /// Charged with nothing.
    charge: Charge,
    /// Which pages, counted from address or offset 0.
    pages: PageRange,
    /// Whether devices, or drivers, may write to it.
    writable: bool,
}

/// Memory that is pinned, and charged to somebody. Dropping it unpins and uncharges, in this order.
pub(crate) struct Pinned {
    /// What is pinned.
    pub(crate) runs: Runs,
    /// What is charged for it.
    pub(crate) charge: Charge,
}

/// Memory that is kept pinned.
#[derive(Clone, Copy, Default)]
pub(crate) struct Held {
    /// Pages.
    pub(crate) pinned: u64,
    /// Those of them that count against a limit.
    pub(crate) charged: u64,
}

impl Held {
    #[inline]
    pub(crate) fn new(npages: u64, is_limited: bool) -> Self {
        Self {
            pinned: npages,
            charged: if is_limited { npages } else { 0 },
        }
    }

    /// With what `other` has.
    #[inline]
    pub(crate) fn add(&mut self, other: Self) {
        self.pinned = self.pinned.wrapping_add(other.pinned);
        self.charged = self.charged.wrapping_add(other.charged);
    }

    /// Without what `other` has.
    #[inline]
    pub(crate) fn subtract(&mut self, other: Self) {
        self.pinned = self.pinned.wrapping_sub(other.pinned);
        self.charged = self.charged.wrapping_sub(other.charged);
    }

    /// What is charged, in KiB.
    pub(crate) fn charged_kib(&self) -> u64 {
        self.charged << (PAGE_SHIFT - 10)
    }
}

/// What pins memory.
pub(crate) enum Pinning<'a> {
    Process(Pinner<'a>),
    File(FilePinner<'a>),
}

impl<'a> Pinning<'a> {
    fn new(source: &'a Source, term: Term) -> Self {
        match &source.file {
            None => {
                let payer = source.charge.payer();
                Self::Process(Pinner::of(payer, source.writable, term))
            }
            Some(file) => Self::File(FilePinner::new(file, source.writable)),
        }
    }

    /// For memory of `file`, or else of the current process.
    #[inline]
    pub(crate) fn of_current(file: Option<&'a Arc<MemoryFile>>, writable: bool) -> Self {
        match file {
            None => Self::Process(Pinner::new(writable, Term::Long)),
            Some(file) => Self::File(FilePinner::new(file, writable)),
        }
    }

    #[inline]
    fn prepare(&mut self, npages: u64) -> Result {
        match self {
            Self::Process(pinner) => pinner.prepare(npages),
            Self::File(pinner) => pinner.prepare(npages),
        }
    }

    #[inline(always)]
    fn pin(&mut self, at: u64, npages: u64) -> Result<Batch<'_>> {
        match self {
            Self::Process(pinner) => pinner.pin(at, npages),
            Self::File(pinner) => pinner.pin(at, npages),
        }
    }

    /// As [`Self::pin_all`] does for [`Self::of_current`].
    // It is asked only once which of the two it is.
    #[inline(always)]
    pub(crate) fn pin_all_of_current(
        file: Option<&'a Arc<MemoryFile>>,
        writable: bool,
        pages: PageRange,
        progress: impl FnOnce() -> Option<Progress<'a>>,
        take: impl FnMut(Batch<'_>) -> Result,
    ) -> Result {
        match file {
            None => Self::of_current(None, writable).pin_all(pages, progress, take),
            Some(_) => Self::of_current(file, writable).pin_all(pages, progress, take),
        }
    }

    /// Pins all of `pages`, and shows them to `take`, a batch at a time.
    ///
    /// # Errors
    ///
    /// Those of [`Pinner::pin`] and [`FilePinner::pin`], and of `take`. `EINTR`: a fatal signal.
    #[inline(always)]
    pub(crate) fn pin_all(
        mut self,
        pages: PageRange,
        progress: impl FnOnce() -> Option<Progress<'a>>,
        mut take: impl FnMut(Batch<'_>) -> Result,
    ) -> Result {
        let npages = pages.count();
        if npages > SMALL as u64 {
            return self.pin_rest(pages, 0, progress(), &mut take);
        }
        self.prepare(npages)?;
        let batch = self.pin(pages.first() << PAGE_SHIFT, npages)?;
        let done = batch.npages();
        take(batch)?;
        if done < npages {
            return self.pin_rest(pages, done, progress(), &mut take);
        }
        Ok(())
    }

    // What is a few pages has nothing to do with what this needs.
    #[inline(never)]
    fn pin_rest(
        &mut self,
        pages: PageRange,
        mut done: u64,
        progress: Option<Progress<'_>>,
        take: &mut impl FnMut(Batch<'_>) -> Result,
    ) -> Result {
        let npages = pages.count();
        self.prepare(npages)?;
        let mut note = progress.map(Progress::begin);
        let mut ahead = Ahead::new(pages, || Bringer::new(self));
        while done < npages {
            if done > 0 {
                task::resched_killable()?;
            }
            if let Some(note) = &mut note {
                note.reach(done);
            }
            let page = pages.first() + done;
            ahead.reach(page);
            let batch = self.pin(page << PAGE_SHIFT, npages - done);
            // Pages that two have to move at the same time fail both. Alone, it says what it would
            // have said without them.
            let batch = if batch.is_err() && ahead.go_on_alone() {
                drop(batch);
                self.pin(page << PAGE_SHIFT, npages - done)?
            } else {
                batch?
            };
            done += batch.npages();
            take(batch)?;
        }
        Ok(())
    }
}

/// What has the same memory come as a [`Pinning`] pins, in any thread of the process.
struct Bringer {
    file: Option<Arc<MemoryFile>>,
    /// Whose memory it is otherwise, unless it is the current process's.
    process: Option<Arc<Payer>>,
    writable: bool,
}

impl Bringer {
    /// `None` where it is of no use, and for files of huge pages: if two threads bring the same one
    /// at a time, the kernel loses count of what is reserved in its pool (`memfd_alloc_folio()`).
    fn new(pinning: &Pinning<'_>) -> Option<Self> {
        let (file, process, writable) = match pinning {
            Pinning::Process(pinner) if pinner.is_for_long() => {
                (None, pinner.other(), pinner.is_for_writes())
            }
            Pinning::File(pinner) if !pinner.file().has_huge_pages() => {
                (Some(pinner.file()), None, pinner.is_for_writes())
            }
            _ => return None,
        };
        Some(Self {
            file: file.cloned(),
            process: process.cloned(),
            writable,
        })
    }

    fn pinning(&self) -> Pinning<'_> {
        let pinner = match (&self.file, &self.process) {
            (Some(file), _) => return Pinning::File(FilePinner::new(file, self.writable)),
            (None, Some(process)) => Pinner::of(process, self.writable, Term::Long),
            (None, None) => Pinner::new(self.writable, Term::Long),
        };
        Pinning::Process(pinner.without_waiting())
    }
}

impl Bring for Bringer {
    /// Pins it as the caller will, so that it need not be copied or moved later, and unpins it.
    fn bring(&self, pages: PageRange, goes_on: &dyn Fn() -> bool) -> Result {
        let mut pinning = self.pinning();
        pinning.prepare(pages.count())?;
        let mut page = pages.first();
        while page <= pages.last() && goes_on() {
            task::resched_killable()?;
            let batch = pinning.pin(page << PAGE_SHIFT, pages.last() - page + 1)?;
            // What takes longer is on its way then, or the caller will see to it.
            page += batch.npages().max(1);
        }
        Ok(())
    }

    fn count(&self) -> u64 {
        match &self.file {
            None => task::fault_count(),
            Some(file) => file.npages(),
        }
    }

    fn step(&self, page: u64) -> u64 {
        match self.pinning() {
            Pinning::Process(pinner) => pinner.step(page << PAGE_SHIFT),
            Pinning::File(_) => 1,
        }
    }

    fn is_untouched(&self, page: u64) -> bool {
        match self.pinning() {
            Pinning::Process(pinner) => pinner.is_untouched(page << PAGE_SHIFT),
            Pinning::File(_) => false,
        }
    }
}

/// A file that has become shorter has not all of its memory any more.
fn gone(why: Error) -> Error {
    match why {
        e if e == EINVAL => EFAULT,
        e => e,
    }
}

impl Source {
    /// Pages of `file`, or of the memory of the process that `charge` is for.
    pub(crate) fn new(
        file: Option<Arc<MemoryFile>>,
        charge: Charge,
        pages: PageRange,
        writable: bool,
    ) -> Self {
        Self {
            file,
            charge,
            pages,
            writable,
        }
    }

    /// Charges for it, and pins it, for who has just named it.
    ///
    /// # Errors
    ///
    /// Those of [`Charge::with`] and [`Pinning::pin_all`]; `ENOMEM`.
    pub(crate) fn pin_new(&self, progress: Option<Progress<'_>>) -> Result<Pinned> {
        if self.file.is_none() {
            // Nobody can do anything about the limit of a process that is gone.
            self.charge.payer().check_alive()?;
        }
        let charge = self.charge.another().with(self.pages.count())?;
        let runs = self.pin_for(Term::Long, progress)?;
        Ok(Pinned { runs, charge })
    }

    /// As [`Self::pin_new`], for who has named it before.
    ///
    /// # Errors
    ///
    /// As there, but `EFAULT` if a file has become too short.
    pub(crate) fn pin(&self, progress: Option<Progress<'_>>) -> Result<Pinned> {
        self.pin_new(progress).map_err(gone)
    }

    /// The BAR that the process has mapped there, which could not be pinned, for the reason `why`.
    ///
    /// # Errors
    ///
    /// `why`, if it is not one, or may not be; those of [`DevicePart::of_process`].
    #[cold]
    pub(crate) fn bar(&self, why: Error) -> Result<DevicePart> {
        let (start, len) = (
            self.pages.first() << PAGE_SHIFT,
            self.pages.count() << PAGE_SHIFT,
        );
        let process = self.charge.payer();
        // Nobody pays for a BAR, so that a limit may have been what was met first.
        let may_be = self.file.is_none() && (why == EFAULT || why == ENOMEM);
        if !may_be || !bar::is_at(process, start) {
            return Err(why);
        }
        if !self.charge.may_be_bar() {
            REFUSED_BARS.fetch_add(1, Relaxed);
            return Err(why);
        }
        DevicePart::of_process(process, start, len, self.writable)
    }

    /// Pins it for a moment, for which nobody is charged.
    ///
    /// # Errors
    ///
    /// As [`Self::pin`], but for those of the charge.
    pub(crate) fn pin_shortly(&self) -> Result<Runs> {
        self.pin_for(Term::Short, None).map_err(gone)
    }

    fn pin_for(&self, term: Term, progress: Option<Progress<'_>>) -> Result<Runs> {
        let mut runs: Option<Runs> = None;
        let pinned = Pinning::new(self, term).pin_all(
            self.pages,
            || progress,
            |mut batch| {
                if runs.is_none() {
                    runs = batch.next_run().map(Runs::new);
                }
                match &mut runs {
                    Some(runs) => runs.extend(batch),
                    None => Ok(()),
                }
            },
        );
        pinned.and(runs.ok_or(EFAULT))
    }

    /// Whether the two are the same memory.
    pub(crate) fn is(&self, other: &Self) -> bool {
        let same_file = match (&self.file, &other.file) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => Arc::ptr_eq(self.charge.payer(), other.charge.payer()),
            _ => false,
        };
        same_file && self.pages == other.pages && self.writable == other.writable
    }
}
