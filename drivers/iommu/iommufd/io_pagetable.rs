// SPDX-License-Identifier: GPL-2.0

//! An I/O address space: what is mapped in it, and into which domains.
//!
//! The **areas** say what is mapped: a range of I/O addresses, the pinned memory behind it and
//! what devices may do with it. The **domains** are where it is mapped: one for each kind of
//! IOMMU behind which devices are attached. A new domain is filled from the areas before a device
//! sees it; with no domain at all, mapping just pins.
//!
//! Three rules hold everywhere:
//!
//! * Memory is unpinned only after no domain maps it any more and the IOTLBs were told.
//! * What fails leaves every domain, pin and charge as it was.
//! * No map or unmap pins, maps or allocates under the lock of the areas: those of different
//!   ranges run side by side. They hold `domains` for reading, so whoever holds it for
//!   writing knows that none is under way.

use crate::{
    areas::{
        Areas,
        Conflict,
        Spare,
        Taken,
        Unmap, //
    },
    domains::{
        Domains,
        Slot, //
    },
    fill::Fill,
    iova::IovaRange,
    kapi::{
        account::{
            Charge,
            Payer, //
        },
        device::{
            OwnedDevice,
            Reserved, //
        },
        domain::{
            Domain,
            Prot, //
        },
        pin::Pinner,
        rwsem::{
            new_rwsem,
            RwSemaphore, //
        },
        task,
        trace::Unmapped, //
    },
    pages::Runs,
};
use kernel::{
    new_condvar, new_mutex,
    page::{
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    prelude::*,
    sync::{
        atomic::{
            ordering::Relaxed,
            AtomicFlag, //
        },
        lock::{
            mutex::MutexBackend,
            Guard, //
        },
        Arc,
        CondVar,
        Mutex, //
    },
};

/// As many areas are taken out of the tree before others get their turn.
const UNMAP_BATCH: usize = 64;

/// An I/O address space.
#[pin_data]
pub(crate) struct IoPagetable {
    /// The addresses that can be mapped at all. Immutable.
    window: IovaRange,
    /// Whether every domain must enforce snooping. Immutable.
    enforce_snoop: bool,
    /// Set once, when the space is being freed: long maps stop then.
    dying: AtomicFlag,
    /// Outer lock; see the head of this file.
    #[pin]
    domains: RwSemaphore<Domains>,
    /// Inner lock, held for moments only, unless `domains` is held for writing.
    #[pin]
    space: Mutex<Space>,
    /// Tells those who wait for it, under the inner lock, that an unmap has ended.
    #[pin]
    unmapped: CondVar,
}

/// What is mapped.
struct Space {
    areas: Areas<Mapping>,
    usage: Usage,
    /// How many wait for the end of an unmap.
    waiting: usize,
    /// Who mapped last, and so will probably map next.
    payer: Option<Arc<Payer>>,
}

/// The content of a live area. Dropping it unpins and uncharges, in this order.
struct Mapping {
    runs: Runs,
    charge: Charge,
    prot: Prot,
}

/// What an address space holds.
#[derive(Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Number of areas.
    pub(crate) areas: u64,
    /// Bytes mapped, all of them pinned.
    pub(crate) bytes: u64,
    /// Bytes that count against a limit on locked memory.
    pub(crate) charged: u64,
}

/// What can be seen of an area.
pub(crate) struct AreaInfo {
    /// Where it is.
    pub(crate) range: IovaRange,
    /// What devices may do.
    pub(crate) prot: Prot,
    /// In how many pieces the memory is.
    pub(crate) runs: u64,
}

/// A request to map memory of the current process.
pub(crate) struct MapRequest {
    /// Where in the space; page-aligned at both ends.
    pub(crate) range: IovaRange,
    /// Where in the process's memory; page-aligned.
    pub(crate) vaddr: u64,
    /// What devices may do; one of the two at least.
    pub(crate) prot: Prot,
}

/// Puts a group onto a domain.
pub(crate) type Onto<'a> = &'a mut dyn FnMut(&Arc<Domain>) -> Result;

/// A device on its way into an address space.
pub(crate) struct Newcomer<'a> {
    /// The id that its reserved regions are kept under.
    pub(crate) id: u32,
    /// The device.
    pub(crate) dev: &'a OwnedDevice,
}

impl IoPagetable {
    /// An empty space.
    pub(crate) fn new(window: IovaRange, enforce_snoop: bool) -> impl PinInit<Self> {
        let space = Space {
            areas: Areas::new(),
            usage: Usage::default(),
            waiting: 0,
            payer: None,
        };
        pin_init!(Self {
            window,
            enforce_snoop,
            dying: AtomicFlag::new(false),
            domains <- new_rwsem!(Domains::new(), c"iommufd_domains"),
            space <- new_mutex!(space, "iommufd_space"),
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
    pub(crate) fn usage(&self) -> Usage {
        self.space.lock().usage
    }

    /// The first area at or behind `first`.
    pub(crate) fn area_from(&self, first: u64) -> Option<AreaInfo> {
        let rest = IovaRange::new(first, u64::MAX)?;
        let space = self.space.lock();
        let (range, mapping) = space.areas.first_live(rest)?;
        Some(AreaInfo {
            range,
            prot: mapping.prot,
            runs: mapping.runs.count(),
        })
    }

    /// Pins the memory, maps it into every domain, and says in how many runs.
    ///
    /// # Errors
    ///
    /// * `EEXIST`: something is mapped, or being mapped, in the range.
    /// * `EINVAL`: outside the window, a domain's aperture, or inside a reserved region.
    /// * `ENOMEM`: over the limit on locked memory, or out of memory.
    /// * `EFAULT`: the memory is not there, or cannot be used this way.
    /// * `EINTR`: a fatal signal. `ENOENT`: the space is being freed. `ESRCH`: a kernel thread.
    /// * What faulting the memory in or an IOMMU driver says: `EOPNOTSUPP` for fs-DAX, for one.
    pub(crate) fn map(&self, request: &MapRequest) -> Result<u64> {
        let mut spare = Spare::new()?;
        let domains = self.domains.read_killable()?;
        self.check_alive()?;
        let mut space = self.space.lock();
        loop {
            spare = match space.areas.reserve(request.range, spare) {
                Ok(()) => break,
                Err((Conflict::Area, _)) => return Err(EEXIST),
                Err((Conflict::Unmapping, spare)) => spare,
            };
            self.wait_for_unmap(&mut space);
        }
        let payer = space.payer.clone();
        drop(space);
        self.map_reserved(&domains, request, payer)
    }

    fn map_reserved(
        &self,
        domains: &Domains,
        request: &MapRequest,
        payer: Option<Arc<Payer>>,
    ) -> Result<u64> {
        let filled = self.fill(domains, request, payer);
        let mut space = self.space.lock();
        match filled {
            Ok(mapping) => {
                let runs = mapping.runs.count();
                space.publish(request.range, mapping);
                Ok(runs)
            }
            Err(e) => {
                space.areas.release(request.range);
                Err(e)
            }
        }
    }

    fn fill(
        &self,
        domains: &Domains,
        request: &MapRequest,
        payer: Option<Arc<Payer>>,
    ) -> Result<Mapping> {
        if !self.window.contains(&request.range) || !domains.accept(request.range) {
            return Err(EINVAL);
        }
        let payer = match payer.filter(|payer| payer.is_current()) {
            Some(payer) => payer,
            None => Payer::current()?,
        };
        let npages = request.range.len() >> PAGE_SHIFT;
        let charge = Charge::new(payer, npages)?;
        let mut pinner = Pinner::new(npages, request.prot.write)?;
        let mut fill = Fill::new(domains, request.range, request.prot);
        let mut done = 0;
        while done < npages {
            if done > 0 {
                task::breathe()?;
                self.check_alive()?;
            }
            let vaddr = request.vaddr.wrapping_add(done << PAGE_SHIFT);
            let mut batch = pinner.pin(vaddr, npages - done)?;
            done += batch.npages();
            while let Some(run) = batch.next_run() {
                fill.add(run)?;
            }
        }
        Ok(Mapping {
            runs: fill.finish()?,
            charge,
            prot: request.prot,
        })
    }

    /// Unmaps all areas in `range`, by type1v2's rules, and says how much that was.
    ///
    /// # Errors
    ///
    /// * `EINVAL`: an end of the range cuts an area; nothing is unmapped then.
    /// * `EINTR`: a fatal signal; some areas may be unmapped then.
    /// * `ENOENT`: the space is being freed.
    pub(crate) fn unmap(&self, range: IovaRange) -> Result<Unmapped> {
        let domains = self.domains.read_killable()?;
        self.check_alive()?;
        let mut taken = Taken::new();
        let mut space = self.space.lock();
        let unmap = loop {
            match space.areas.begin_unmap(range, &mut taken) {
                Ok(unmap) => break unmap,
                Err(Conflict::Area) => return Err(EINVAL),
                Err(Conflict::Unmapping) => self.wait_for_unmap(&mut space),
            }
        };
        drop(space);
        self.finish_unmap(&domains, unmap, taken)
    }

    fn finish_unmap(
        &self,
        domains: &Domains,
        mut unmap: Unmap,
        mut taken: Taken<Mapping>,
    ) -> Result<Unmapped> {
        let mut result = Ok(());
        while unmap.has_more() && result.is_ok() {
            let mut space = self.space.lock();
            space.areas.take(&mut unmap, UNMAP_BATCH, &mut taken);
            drop(space);
            result = task::breathe();
        }
        domains.unmap(|| {
            taken
                .iter()
                .flat_map(|(area, mapping)| mapping.runs.strides(area))
        });
        let mut done = Unmapped::default();
        let mut gone = Usage::default();
        for (area, mapping) in taken.iter() {
            done.runs = done.runs.wrapping_add(mapping.runs.count());
            gone.add(area, mapping);
        }
        done.bytes = gone.bytes;
        // Unpins and uncharges.
        drop(taken);
        let mut space = self.space.lock();
        space.usage.subtract(&gone);
        space.areas.end_unmap(unmap);
        if space.waiting > 0 {
            self.unmapped.notify_all();
        }
        result.map(|()| done)
    }

    /// Waits for the end of an unmap that is under way. None takes long: they touch no memory of
    /// userspace, and nothing that others hold while they wait for userspace.
    fn wait_for_unmap(&self, space: &mut Guard<'_, Space, MutexBackend>) {
        space.waiting += 1;
        self.unmapped.wait(space);
        space.waiting -= 1;
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

    /// Takes devices of one group in. With `onto`, the group must get a domain too: it is called
    /// with one after the other, until one suits.
    ///
    /// # Errors
    ///
    /// * `EADDRINUSE`: something is mapped in a reserved region or outside of the aperture.
    /// * `EINVAL`: no address would be left, or no domain suits.
    /// * `ENOMEM`, `EINTR`, `ENOENT`, and what `onto` says.
    pub(crate) fn admit(&self, newcomers: &[Newcomer<'_>], onto: Option<Onto<'_>>) -> Result {
        let mut domains = self.domains.write_killable()?;
        self.check_alive()?;
        let mut reserved = KVec::new();
        let mut msi_window = None;
        let mut has_msi = false;
        for newcomer in newcomers {
            if self.enforce_snoop && !newcomer.dev.can_enforce_snoop() {
                return Err(EINVAL);
            }
            for region in newcomer.dev.reserved_regions()? {
                let range = region.range();
                if self.space.lock().areas.is_taken(range) {
                    return Err(EADDRINUSE);
                }
                match region {
                    Reserved::SoftwareMsi(range) => msi_window = Some(range.first()),
                    Reserved::Msi(_) => has_msi = true,
                    Reserved::Range(_) => {}
                }
                reserved.push((newcomer.id, range), GFP_KERNEL_ACCOUNT)?;
            }
        }
        domains
            .reserved
            .reserve(reserved.len(), GFP_KERNEL_ACCOUNT)?;
        // Where hardware has a window of its own, none is wanted.
        let msi_window = msi_window.filter(|_| !has_msi);
        if let (Some(onto), Some(lead)) = (onto, newcomers.first()) {
            self.choose_domain(&mut domains, lead.dev, msi_window, &reserved, onto)?;
        }
        for entry in reserved {
            // There is room: it was reserved above.
            domains.reserved.push(entry, GFP_KERNEL_ACCOUNT)?;
        }
        Ok(())
    }

    fn choose_domain(
        &self,
        domains: &mut Domains,
        dev: &OwnedDevice,
        msi_window: Option<u64>,
        reserved: &[(u32, IovaRange)],
        onto: Onto<'_>,
    ) -> Result {
        let enforces_snoop = dev.can_enforce_snoop();
        for slot in &mut domains.list {
            if slot.domain.enforces_snoop() != enforces_snoop {
                continue;
            }
            match onto(&slot.domain) {
                Ok(()) => {
                    slot.groups += 1;
                    return Ok(());
                }
                Err(e) if e == EINVAL => {}
                Err(e) => return Err(e),
            }
        }
        let domain = Arc::new(Domain::new(dev)?, GFP_KERNEL_ACCOUNT)?;
        self.check_domain(domains, &domain, reserved)?;
        if let Some(base) = msi_window {
            domain.set_msi_window(base)?;
        }
        domains.list.reserve(1, GFP_KERNEL_ACCOUNT)?;
        self.fill_domain(&domain)?;
        if let Err(e) = onto(&domain) {
            self.empty_domain(&domain);
            return Err(e);
        }
        // There is room: it was reserved above.
        Ok(domains
            .list
            .push(Slot { domain, groups: 1 }, GFP_KERNEL_ACCOUNT)?)
    }

    /// Whether a new domain suits the space: its pages, its aperture, what is mapped already.
    fn check_domain(
        &self,
        domains: &Domains,
        domain: &Domain,
        reserved: &[(u32, IovaRange)],
    ) -> Result {
        let smallest = 1u64.checked_shl(domain.pgsize_bitmap().trailing_zeros());
        let pages_fit = smallest.is_some_and(|size| size <= PAGE_SIZE as u64);
        if !pages_fit || (self.enforce_snoop && !domain.enforces_snoop()) {
            return Err(EINVAL);
        }
        let aperture = domain.aperture().ok_or(EINVAL)?;
        let window = self.window.intersection(&aperture).ok_or(EINVAL)?;
        if domains.usable_ranges(window, reserved)?.is_empty() {
            return Err(EINVAL);
        }
        let space = self.space.lock();
        let fits = space
            .areas
            .live()
            .all(|(range, _)| aperture.contains(&range));
        if fits {
            Ok(())
        } else {
            Err(EADDRINUSE)
        }
    }

    /// Maps every area into a domain that no device uses yet. No map or unmap is under way.
    fn fill_domain(&self, domain: &Domain) -> Result {
        let space = self.space.lock();
        let mut result = Ok(());
        let mut filled = 0;
        for (range, mapping) in space.areas.live() {
            result = fill_area(domain, range, mapping);
            if result.is_ok() {
                filled += 1;
                result = task::breathe();
            }
            if result.is_err() {
                break;
            }
        }
        if result.is_err() {
            for (range, mapping) in space.areas.live().take(filled) {
                domain.unmap(mapping.runs.strides(range));
            }
        }
        result
    }

    /// Unmaps every area from a domain that no device uses any more.
    fn empty_domain(&self, domain: &Domain) {
        let space = self.space.lock();
        let strides = space
            .areas
            .live()
            .flat_map(|(range, mapping)| mapping.runs.strides(range));
        domain.unmap(strides);
    }

    /// Undoes [`Self::admit`] for devices that are blocked, or in another space, by now.
    ///
    /// `off` is the domain that the group was on, if the group goes as a whole.
    pub(crate) fn dismiss(&self, is_leaving: impl Fn(u32) -> bool, off: Option<&Arc<Domain>>) {
        let mut domains = self.domains.write();
        domains.reserved.retain(|(id, _)| !is_leaving(*id));
        let Some(off) = off else { return };
        domains.list.retain(|slot| {
            if !Arc::ptr_eq(&slot.domain, off) {
                return true;
            }
            slot.groups -= 1;
            if slot.groups == 0 {
                self.empty_domain(&slot.domain);
            }
            slot.groups > 0
        });
    }

    /// The ranges that can be mapped with the devices attached now, in order.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `EINTR`.
    pub(crate) fn usable_ranges(&self) -> Result<KVec<IovaRange>> {
        let domains = self.domains.read_killable()?;
        domains.usable_ranges(self.window, &[])
    }

    /// Removes everything, for good. No device is attached.
    pub(crate) fn destroy(&self) {
        self.dying.store(true, Relaxed);
        let domains = self.domains.write();
        let areas = {
            let mut space = self.space.lock();
            space.usage = Usage::default();
            core::mem::replace(&mut space.areas, Areas::new())
        };
        drop(areas);
        drop(domains);
    }
}

/// Maps one area into one domain, all of it or nothing.
fn fill_area(domain: &Domain, range: IovaRange, mapping: &Mapping) -> Result {
    for (iova, run) in mapping.runs.placed(range.first()) {
        if let Err(e) = domain.map(iova, run, mapping.prot) {
            let done = iova
                .checked_sub(1)
                .and_then(|last| IovaRange::new(range.first(), last));
            if let Some(done) = done {
                domain.unmap(mapping.runs.strides(done));
            }
            return Err(e);
        }
    }
    Ok(())
}

impl Space {
    fn publish(&mut self, range: IovaRange, mapping: Mapping) {
        self.usage.add(range, &mapping);
        let payer = mapping.charge.payer();
        if !self
            .payer
            .as_ref()
            .is_some_and(|last| Arc::ptr_eq(last, payer))
        {
            self.payer = Some(payer.clone());
        }
        self.areas.publish(range, mapping);
    }
}

impl Usage {
    fn add(&mut self, area: IovaRange, mapping: &Mapping) {
        let charged = mapping.charge.locked_pages() << PAGE_SHIFT;
        self.areas = self.areas.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(area.len());
        self.charged = self.charged.wrapping_add(charged);
    }

    fn subtract(&mut self, other: &Self) {
        self.areas = self.areas.wrapping_sub(other.areas);
        self.bytes = self.bytes.wrapping_sub(other.bytes);
        self.charged = self.charged.wrapping_sub(other.charged);
    }
}
