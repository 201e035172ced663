// SPDX-License-Identifier: GPL-2.0

//! An I/O address space: what is mapped in it, and into which domains.
//!
//! The **areas** say what is mapped: a range of I/O addresses, the memory behind it and
//! what devices may do with it. The **domains** are where it is mapped: one for each kind of
//! IOMMU behind which devices are attached. A new domain is filled from the areas before a device
//! sees it. Memory is pinned while there is a domain: with none at all, mapping just records where
//! it is.
//!
//! Three rules hold everywhere:
//!
//! * Memory is unpinned only after no domain maps it any more and the IOTLBs were told. What an
//!   IOMMU driver fails to unmap is never unpinned.
//! * What fails leaves every domain, pin and charge as it was.
//! * No map or unmap pins, maps or allocates under the lock of the areas: those of different
//!   ranges run side by side. They hold `domains` for reading, so whoever holds it for
//!   writing knows that none is under way.

use crate::{
    iova::IovaRange,
    kapi::{
        access_ops::Listener,
        account::{
            Accounting,
            Charge,
            Payer, //
        },
        bar,
        domain::Prot,
        memfd::MemoryFile,
        rwsem::{
            new_rwsem,
            ReadGuard,
            RwSemaphore,
            WriteGuard, //
        },
        task,
        trace::Unmapped, //
    },
    space::{
        areas::{
            Areas,
            Conflict,
            RemovedArea,
            RemovedAreas,
            Spare,
            Unmap, //
        },
        domains::Domains,
        mapped::{
            Fill,
            Mapped, //
        },
        mapping::{
            Mapping,
            OwnRoom, //
        },
        memory::Memory,
        pages::PageRange,
        part::{
            Part,
            SharedTotals, //
        },
        pinning::{
            Held,
            Pinning,
            Source, //
        },
        pins::Pins,
        progress::{
            Ongoing,
            Progress, //
        },
        usage::Usage, //
    }, //
};
use kernel::{
    new_condvar,
    new_mutex,
    page::PAGE_SIZE,
    prelude::*,
    rbtree::RBTree,
    sync::{
        atomic::{
            ordering::Relaxed,
            Atomic,
            AtomicFlag, //
        },
        lock::{
            mutex::MutexBackend,
            Guard, //
        },
        Arc,
        CondVar,
        Mutex, //
    }, //
};

pub(crate) mod address;
pub(crate) mod ahead;
pub(crate) mod areas;
pub(crate) mod attach;
pub(crate) mod charges;
pub(crate) mod choose;
pub(crate) mod copy;
pub(crate) mod cut;
pub(crate) mod dirty;
pub(crate) mod domains;
pub(crate) mod fill;
pub(crate) mod gaps;
pub(crate) mod hwpt;
pub(crate) mod lock_pages;
#[allow(unsafe_code)]
pub(crate) mod mapped;
pub(crate) mod mapping;
pub(crate) mod memory;
pub(crate) mod pages;
pub(crate) mod part;
pub(crate) mod pin_pages;
pub(crate) mod pinning;
pub(crate) mod pins;
pub(crate) mod progress;
pub(crate) mod usage;

/// As many areas are taken out of the tree before others get their turn.
const UNMAP_BATCH: usize = 64;

/// An I/O address space.
#[pin_data]
pub(crate) struct IoPagetable {
    /// What userspace knows it by. Immutable.
    id: u32,
    /// The addresses that can be mapped at all. Immutable.
    window: IovaRange,
    /// Whether every domain must enforce snooping. Immutable.
    enforce_snoop: bool,
    /// What is pinned of its context's shared memory. Immutable.
    totals: Arc<SharedTotals>,
    /// Set once, when the space is being freed.
    dying: AtomicFlag,
    /// How many drivers are there that pin pages. Goes up only while `domains` is held for writing.
    pinners: Atomic<u32>,
    /// Outer lock; see the head of this file.
    #[pin]
    domains: RwSemaphore<Domains>,
    /// Inner lock, held for moments only, unless `domains` is held for writing.
    #[pin]
    space: Mutex<Space>,
    /// The maps of much memory that are under way. Innermost lock, held for moments.
    #[pin]
    ongoing: Mutex<Ongoing>,
    /// Tells those who wait for it, under the inner lock, that an unmap has ended.
    #[pin]
    unmapped: CondVar,
}

/// What is mapped.
struct Space {
    areas: Areas<Mapped>,
    /// Whether there may be some that are not made of whole pages.
    has_bytes: bool,
    /// Whether there is a domain, for which what is mapped is pinned.
    has_domain: bool,
    /// Whether there is one for devices that no IOMMU has.
    has_untranslated: bool,
    /// What of it kernel drivers have pinned.
    pins: Pins<Part>,
    /// What of it hardware reads, so that it cannot be unmapped.
    locked: Pins<Part>,
    /// The drivers that can be asked to unpin, by the ids of what they have bound.
    listeners: RBTree<u32, Arc<Listener>>,
    usage: Usage,
    /// How many wait for the end of an unmap.
    waiting: usize,
    /// How many of these will read, and so let the others go first.
    readers: usize,
    /// Who mapped last, or took over, and so will probably map next.
    payer: Option<Arc<Payer>>,
}

/// What can be seen of an address space.
pub(crate) struct Summary {
    /// What it holds.
    pub(crate) usage: Usage,
    /// What of it is pinned: for the domains, or else for drivers.
    pub(crate) held: Held,
    /// Whether there is a domain.
    pub(crate) has_domain: bool,
    /// The maps of much memory that are under way.
    pub(crate) ongoing: Ongoing,
    /// Who mapped last, or took over.
    pub(crate) mapper: Option<Arc<Payer>>,
}

/// What can be seen of an area.
pub(crate) struct AreaInfo {
    /// Where it is.
    pub(crate) range: IovaRange,
    /// What devices may do.
    pub(crate) prot: Prot,
    /// In how many pieces the memory is; none if it is not pinned.
    pub(crate) runs: u64,
}

/// Where memory to be mapped is.
pub(crate) enum MapSource {
    /// In the current process, from this address on.
    Process(u64),
    /// In a memory file, from this offset on.
    File(Arc<MemoryFile>, u64),
}

impl MapSource {
    /// Where it begins.
    #[inline]
    pub(crate) fn start(&self) -> u64 {
        match self {
            Self::Process(start) | Self::File(_, start) => *start,
        }
    }

    #[inline]
    fn file(&self) -> Option<&Arc<MemoryFile>> {
        match self {
            Self::Process(_) => None,
            Self::File(file, _) => Some(file),
        }
    }
}

/// What came of an attempt to unmap.
enum Attempt {
    /// It is done.
    Done(Unmapped),
    /// Nothing is: a driver has pinned something in this area.
    Pinned(IovaRange),
}

/// A request to map memory.
pub(crate) struct MapRequest {
    /// Where it is.
    pub(crate) source: MapSource,
    /// What devices may do; one of the two at least.
    pub(crate) prot: Prot,
    /// What the memory counts against.
    pub(crate) accounting: Accounting,
    /// Whether it may be a BAR that VFIO has mapped for the process, which counts against nothing.
    pub(crate) bars: Bars,
}

/// Whether BARs are mapped by their address.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bars {
    /// They are.
    Mapped,
    /// If the parameter `map_device_memory` says so.
    IfAllowed,
}

impl MapRequest {
    /// With what a BAR needs that may be found later.
    fn note_bars(&self, charge: Charge) -> Charge {
        if self.bars == Bars::Mapped || bar::are_mapped_by_address() {
            return charge.let_be_bar();
        }
        charge
    }
}

impl IoPagetable {
    /// An empty space.
    pub(crate) fn new(
        id: u32,
        window: IovaRange,
        enforce_snoop: bool,
        totals: Arc<SharedTotals>,
    ) -> impl PinInit<Self> {
        let space = Space {
            areas: Areas::new(),
            has_bytes: false,
            has_domain: false,
            has_untranslated: false,
            pins: Pins::new(),
            locked: Pins::new(),
            listeners: RBTree::new(),
            usage: Usage::default(),
            waiting: 0,
            readers: 0,
            payer: None,
        };
        pin_init!(Self {
            id,
            window,
            enforce_snoop,
            totals,
            dying: AtomicFlag::new(false),
            pinners: Atomic::new(0),
            domains <- new_rwsem!(Domains::new(), c"iommufd_domains"),
            space <- new_mutex!(space, "iommufd_space"),
            ongoing <- new_mutex!(Ongoing::default(), "iommufd_ongoing"),
            unmapped <- new_condvar!("iommufd_unmapped"),
        })
    }

    /// The addresses that can be mapped at all.
    pub(crate) fn window(&self) -> IovaRange {
        self.window
    }

    /// Whether every domain must enforce snooping.
    pub(crate) fn enforces_snoop(&self) -> bool {
        self.enforce_snoop
    }

    /// What the space holds at the moment.
    pub(crate) fn summary(&self) -> Summary {
        let space = self.space.lock();
        let mut held = space.usage.own;
        held.add(space.usage.shared);
        Summary {
            usage: space.usage,
            held: if space.has_domain {
                held
            } else {
                space.pins.held()
            },
            has_domain: space.has_domain,
            ongoing: *self.ongoing.lock(),
            mapper: space.payer.clone(),
        }
    }

    /// The first area at or behind `first`.
    pub(crate) fn area_from(&self, first: u64) -> Option<AreaInfo> {
        let rest = IovaRange::new(first, u64::MAX)?;
        let space = self.space.lock();
        let (range, mapped) = space.areas.first_live(rest)?;
        let mapping = mapped.mapping();
        Some(AreaInfo {
            range,
            prot: mapping.prot(),
            runs: mapping.run_count(),
        })
    }

    /// Pins the memory, maps it at `range` into every domain, and says in how many runs; if there
    /// is no domain, records where it is. Range and memory begin and end with a page.
    ///
    /// # Errors
    ///
    /// * `EEXIST`: something is mapped, or being mapped, in the range.
    /// * `EINVAL`: outside the window, a domain's aperture, or inside a reserved region.
    /// * `ENOMEM`: over the limit on locked memory, or out of memory.
    /// * `EINTR`: a fatal signal. `ENOENT`: the space is being freed. `ESRCH`: a kernel thread.
    ///
    /// And if there is a domain:
    ///
    /// * `EFAULT`: the memory is not there, or cannot be used this way.
    /// * What faulting the memory in or an IOMMU driver says: `EOPNOTSUPP` for fs-DAX, for one.
    pub(crate) fn map(&self, range: IovaRange, request: &MapRequest) -> Result<u64> {
        let spare = Spare::new()?;
        let domains = self.domains.read_killable()?;
        self.check_alive()?;
        let payer = self.reserve(range, spare)?;
        self.map_reserved(&domains, range, request, payer)
    }

    /// Takes `range` for a map that begins, and says who mapped last.
    ///
    /// # Errors
    ///
    /// `EEXIST`.
    fn reserve(&self, range: IovaRange, mut spare: Spare<Mapped>) -> Result<Option<Arc<Payer>>> {
        let mut space = self.space.lock();
        loop {
            spare = match space.areas.reserve(range, spare) {
                Ok(()) => return Ok(space.payer.clone()),
                Err((Conflict::Area, _)) => return Err(EEXIST),
                Err((Conflict::Unmapping, spare)) => spare,
            };
            self.wait_for_unmap(&mut space);
        }
    }

    fn map_reserved(
        &self,
        domains: &Domains,
        range: IovaRange,
        request: &MapRequest,
        payer: Option<Arc<Payer>>,
    ) -> Result<u64> {
        let filled = match self.pin_and_fill(domains, range, request, payer) {
            Err(e) => self.enter_bar(domains, range, request, e),
            filled => filled,
        };
        let mut space = self.space.lock();
        match filled {
            Ok(mapped) => {
                let runs = mapped.mapping().run_count();
                space.publish(range, mapped);
                Ok(runs)
            }
            Err(e) => {
                space.areas.release(range);
                Err(e)
            }
        }
    }

    fn pin_and_fill(
        &self,
        domains: &Domains,
        range: IovaRange,
        request: &MapRequest,
        payer: Option<Arc<Payer>>,
    ) -> Result<Mapped> {
        self.check_range(domains, range)?;
        let payer = match payer.filter(|payer| payer.is_current()) {
            Some(payer) => payer,
            None => Payer::current()?,
        };
        let (file, start) = (request.source.file(), request.source.start());
        let charge = Charge::new(payer, request.accounting, file.is_some());
        let room = OwnRoom::new(file.cloned())?;
        let are_whole_pages = are_whole_pages(range, start);
        if !are_whole_pages {
            self.space.lock().has_bytes = true;
        }
        if domains.list.is_empty() {
            let memory = Memory::new(start, request.note_bars(charge));
            return mapped::record(domains, room.hold(memory, request.prot));
        }
        let pages = PageRange::of_bytes(start, range.len());
        if !are_whole_pages {
            let source = Source::new(file.cloned(), charge, pages, request.prot.write);
            let memory = Memory::pinned(start, source.pin_new(Some(self.progress_of(range)))?);
            return mapped::enter_one(domains, range, room.hold(memory, request.prot));
        }
        let charge = charge.with(pages.count())?;
        let mut fill = Fill::new(domains, range, start, request.prot, charge);
        Pinning::pin_all_of_current(
            file,
            request.prot.write,
            pages,
            || Some(self.progress_of(range)),
            |batch| fill.add(batch),
        )?;
        fill.finish(room)
    }

    /// What notes how far `area` is.
    #[inline]
    fn progress_of(&self, area: IovaRange) -> Progress<'_> {
        Progress {
            ongoing: &self.ongoing,
            ioasid: self.id,
            area,
            before: 0,
        }
    }

    /// Maps the BAR that is there, which could not be pinned, for the reason `why`.
    ///
    /// # Errors
    ///
    /// `why`, if it is not one; those of [`Source::bar`] and [`mapped::enter_one`].
    #[cold]
    fn enter_bar(
        &self,
        domains: &Domains,
        range: IovaRange,
        request: &MapRequest,
        why: Error,
    ) -> Result<Mapped> {
        let (MapSource::Process(start), false) = (&request.source, domains.list.is_empty()) else {
            return Err(why);
        };
        let charge = Charge::new(Payer::current()?, request.accounting, false);
        let charge = request.note_bars(charge);
        let pages = PageRange::of_bytes(*start, range.len());
        let bar = Source::new(None, charge, pages, request.prot.write).bar(why)?;
        let mapping = Mapping::Device {
            part: bar.again(start % PAGE_SIZE as u64, range.len()),
            prot: request.prot,
        };
        mapped::enter_one(domains, range, mapping)
    }

    /// Unmaps all areas in `range`, by type1v2's rules, and says how much that was. Drivers that
    /// have pinned some of it are asked to unpin it.
    ///
    /// # Errors
    ///
    /// * `EINVAL`: an end of the range cuts an area; nothing is unmapped then.
    /// * `EINTR`: a fatal signal; some areas may be unmapped then.
    /// * `ENOENT`: the space is being freed.
    /// * `EDEADLK`: a driver does not unpin; nothing is unmapped then.
    /// * `EBUSY`: hardware reads some of it; nothing is unmapped then.
    #[inline]
    pub(crate) fn unmap(&self, range: IovaRange) -> Result<Unmapped> {
        match self.try_unmap(range)? {
            Attempt::Done(unmapped) => Ok(unmapped),
            Attempt::Pinned(area) => self.unmap_pinned(range, area),
        }
    }

    fn try_unmap(&self, range: IovaRange) -> Result<Attempt> {
        let domains = self.domains.read_killable()?;
        self.check_alive()?;
        let mut space = self.space.lock();
        if let Some(area) = space.pinned_in(range)? {
            return Ok(Attempt::Pinned(area));
        }
        match space.areas.begin_unmap_one(range) {
            Some((unmap, one)) => {
                drop(space);
                let (unmapped, memory) = self.unmap_one(&domains, unmap, one);
                drop(domains);
                // Unpins and uncharges, for which nobody else should wait.
                drop(memory);
                Ok(Attempt::Done(unmapped))
            }
            None => self.unmap_all(domains, space, range),
        }
    }

    fn unmap_one(
        &self,
        domains: &Domains,
        unmap: Unmap,
        one: RemovedArea<Mapped>,
    ) -> (Unmapped, Option<Mapping>) {
        let mut gone = UnmapCount::default();
        let memory = domains.unmap(one, |area, mapping| gone.add(area, mapping));
        (self.end_unmap(unmap, &gone), memory)
    }

    #[inline(never)]
    fn unmap_all(
        &self,
        domains: ReadGuard<'_, Domains>,
        mut space: Guard<'_, Space, MutexBackend>,
        range: IovaRange,
    ) -> Result<Attempt> {
        let mut unmap = loop {
            match space.areas.begin_unmap(range) {
                Ok(unmap) => break unmap,
                Err(Conflict::Area) => return Err(EINVAL),
                Err(Conflict::Unmapping) => self.wait_for_unmap(&mut space),
            }
            if let Some(area) = space.pinned_in(range)? {
                return Ok(Attempt::Pinned(area));
            }
        };
        drop(space);
        let mut taken = RemovedAreas::new();
        let mut result = Ok(());
        while unmap.has_more() && result.is_ok() {
            let mut space = self.space.lock();
            space.areas.take(&mut unmap, UNMAP_BATCH, &mut taken);
            drop(space);
            result = task::resched_killable();
        }
        let mut gone = UnmapCount::default();
        for (area, mapped) in taken.iter() {
            gone.add(area, mapped.mapping());
        }
        let memory = domains.unmap_all(taken);
        let unmapped = self.end_unmap(unmap, &gone);
        drop(domains);
        // Unpins and uncharges, for which nobody else should wait.
        drop(memory);
        result.map(|()| Attempt::Done(unmapped))
    }

    fn end_unmap(&self, unmap: Unmap, gone: &UnmapCount) -> Unmapped {
        let mut space = self.space.lock();
        space.usage.subtract(&gone.usage);
        space.areas.end_unmap(unmap);
        if space.waiting > 0 {
            self.unmapped.notify_all();
        }
        Unmapped {
            bytes: gone.usage.bytes,
            runs: gone.runs,
        }
    }

    /// Waits for the end of an unmap that is under way. None takes long: until then they touch no
    /// memory of userspace, and nothing that others hold while they wait for userspace.
    fn wait_for_unmap(&self, space: &mut Guard<'_, Space, MutexBackend>) {
        space.waiting += 1;
        self.unmapped.wait(space);
        space.waiting -= 1;
        if space.readers > 0 && space.waiting == space.readers {
            self.unmapped.notify_all();
        }
    }

    /// # Errors
    ///
    /// `ENOENT`: the space is being freed, so its id is unknown by now.
    fn check_alive(&self) -> Result {
        if self.dying.load(Relaxed) {
            return Err(ENOENT);
        }
        Ok(())
    }

    /// Removes everything, for good, before the space is dropped. There are no domains, so that no
    /// map takes long.
    ///
    /// # Errors
    ///
    /// `EINTR`: a fatal signal came while maps were waited for; all that is mapped is there as
    /// before.
    pub(crate) fn destroy(&self) -> Result {
        self.dying.store(true, Relaxed);
        let domains = self.domains.write_killable().inspect_err(|_| {
            self.dying.store(false, Relaxed);
        })?;
        self.remove_all(domains);
        Ok(())
    }

    /// Removes what is mapped: what is still there when the space is dropped is leaked.
    fn remove_all(&self, domains: WriteGuard<'_, Domains>) {
        let mut space = self.space.lock();
        space.usage = Usage::default();
        let taken = space.areas.take_all();
        drop(space);
        let memory = domains.unmap_all(taken);
        drop(domains);
        // As in `unmap_all`.
        drop(memory);
    }
}

/// Whether a range, and the memory for it that begins with byte `start` of something, are made of
/// whole pages.
#[inline]
fn are_whole_pages(range: IovaRange, start: u64) -> bool {
    let page = PAGE_SIZE as u64;
    start % page == 0 && range.is_aligned(page)
}

/// What an unmap is about.
#[derive(Default)]
struct UnmapCount {
    usage: Usage,
    runs: u64,
}

impl UnmapCount {
    #[inline]
    fn add(&mut self, area: IovaRange, mapping: &Mapping) {
        self.usage.add(area, mapping);
        self.runs = self.runs.wrapping_add(mapping.run_count());
    }
}

impl Space {
    /// The first area in `range` of which a driver has pinned something.
    ///
    /// # Errors
    ///
    /// `EBUSY`: hardware reads something in the range. `EINVAL`: an end of it cuts an area.
    #[inline(always)]
    fn pinned_in(&self, range: IovaRange) -> Result<Option<IovaRange>> {
        if self.locked.first_in(range).is_some() {
            return Err(EBUSY);
        }
        let Some(first) = self.pins.first_in(range) else {
            return Ok(None);
        };
        if self.areas.is_cut_by(range) {
            return Err(EINVAL);
        }
        Ok(self.areas.live_at(first).map(|(area, _)| area))
    }

    fn publish(&mut self, range: IovaRange, mapped: Mapped) {
        let mapping = mapped.mapping();
        self.usage.add(range, mapping);
        if let Some(payer) = mapping.payer() {
            let last = self.payer.as_ref();
            if !last.is_some_and(|last| Arc::ptr_eq(last, payer)) {
                self.payer = Some(payer.clone());
            }
        }
        self.areas.publish(range, mapped);
    }
}
