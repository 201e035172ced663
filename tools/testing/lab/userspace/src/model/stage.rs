// SPDX-License-Identifier: GPL-2.0

//! An address space, what threads do with it, and what must be true of it.

use crate::{
    iova::IovaRange,
    kapi::{
        access_ops::{
            PageSlots,
            UnmapCallback, //
        },
        account::{
            Accounting,
            Takeover, //
        },
        device::OwnedDevice,
        dirty::Marks,
        domain::{
            Domain,
            Prot, //
        },
        iova_bitmap::UserBitmap,
        memfd::MemoryFile,
    },
    space::{
        attach::{
            NewHwpt,
            Onto,
            WantedHwpt, //
        },
        choose::WantedIova,
        hwpt::{
            Hwpt,
            Kind, //
        },
        part::SharedTotals,
        Bars,
        IoPagetable,
        MapRequest,
        MapSource, //
    },
    sys::iommufd_access_ops,
};
use kernel::{
    machine,
    page::PAGE_SIZE,
    prelude::*,
    sync::Arc, //
};
use std::{
    cell::{
        Cell,
        RefCell, //
    },
    collections::BTreeMap, //
};

const PAGE: u64 = PAGE_SIZE as u64;

/// All that the threads of a case share.
pub(super) struct Stage {
    pub(super) space: IoPagetable,
    totals: Arc<SharedTotals>,
    /// What may fail in this run.
    pub(super) variant: u32,
    /// The domains that there are, each with the device that is on it, if one is.
    domains: RefCell<Vec<(Arc<Hwpt>, Option<u32>)>>,
    /// How many bytes were mapped, and are not unmapped, unless a signal has left that open.
    bytes: Cell<Option<u64>>,
    /// What a thread has found out, for the end.
    pub(super) found: RefCell<Vec<(&'static str, Result<u64>)>>,
    /// A driver that pins, and what it has pinned.
    callback: RefCell<Option<UnmapCallback>>,
    pub(super) pinned: RefCell<Vec<IovaRange>>,
    /// Held by who takes charges over; for reading by who shares memory.
    takeovers: crate::kapi::rwsem::RwSemaphore<()>,
    file: Arc<MemoryFile>,
}

// SAFETY: A model is run by one thread of the system.
unsafe impl Send for Stage {}
// SAFETY: As above.
unsafe impl Sync for Stage {}

/// Some pages, by the number of the first.
pub(super) fn pages(first: u64, count: u64) -> IovaRange {
    IovaRange::with_len(first * PAGE, count * PAGE).expect("there are such pages")
}

const READ_WRITE: Prot = Prot {
    read: true,
    write: true,
    mmio: false,
};

impl Stage {
    pub(super) fn new(variant: u32) -> Self {
        let totals = SharedTotals::new().expect("memory");
        let window = pages(0, 1 << 20);
        Self {
            space: kernel::init::made(IoPagetable::new(1, window, false, totals.clone())),
            totals,
            variant,
            domains: RefCell::new(Vec::new()),
            bytes: Cell::new(Some(0)),
            found: RefCell::new(Vec::new()),
            callback: RefCell::new(None),
            pinned: RefCell::new(Vec::new()),
            takeovers: crate::kapi::rwsem::RwSemaphore::new(()),
            file: Arc::new(MemoryFile, GFP_KERNEL).expect("memory"),
        }
    }

    /// Notes how something ended.
    pub(super) fn note(&self, what: &'static str, result: Result<u64>) {
        self.found.borrow_mut().push((what, result));
    }

    /// How `what` ended, for which there was one result.
    pub(super) fn noted(&self, what: &str) -> Result<u64> {
        let found = self.found.borrow();
        let mut results = found.iter().filter(|(name, _)| *name == what);
        results
            .next()
            .map(|(_, result)| *result)
            .expect("it has ended")
    }

    fn request(source: MapSource) -> MapRequest {
        MapRequest {
            source,
            prot: READ_WRITE,
            accounting: Accounting::User,
            bars: Bars::IfAllowed,
        }
    }

    fn add(&self, bytes: u64) {
        self.bytes
            .set(self.bytes.get().map(|before| before.wrapping_add(bytes)));
    }

    /// Maps pages of the process's memory, from number `memory` on.
    pub(super) fn map(&self, first: u64, count: u64, memory: u64) -> Result<u64> {
        self.map_from(first, count, MapSource::Process(memory * PAGE))
    }

    /// Maps pages of a file.
    pub(super) fn map_file(&self, first: u64, count: u64, offset: u64) -> Result<u64> {
        self.map_from(
            first,
            count,
            MapSource::File(self.file.clone(), offset * PAGE),
        )
    }

    fn map_from(&self, first: u64, count: u64, source: MapSource) -> Result<u64> {
        let runs = self
            .space
            .map(pages(first, count), &Self::request(source))?;
        self.add(count * PAGE);
        Ok(runs)
    }

    /// Maps pages somewhere, and says where.
    pub(super) fn map_anywhere(&self, count: u64, memory: u64) -> Result<u64> {
        let wanted = WantedIova::Any {
            len: count * PAGE,
            align: PAGE,
            offset: 0,
        };
        let request = Self::request(MapSource::Process(memory * PAGE));
        let (range, _) = self.space.map_at(wanted, &request)?;
        self.add(count * PAGE);
        Ok(range.first() / PAGE)
    }

    /// Unmaps what is in some pages, and says how many of them that was.
    pub(super) fn unmap(&self, first: u64, count: u64) -> Result<u64> {
        self.unmap_all_of(pages(first, count))
    }

    fn unmap_all_of(&self, range: IovaRange) -> Result<u64> {
        let unmapped = self.space.unmap(range)?;
        self.add(unmapped.bytes.wrapping_neg());
        Ok(unmapped.bytes / PAGE)
    }

    /// Maps what is in some pages once more.
    pub(super) fn copy(&self, from: u64, count: u64, to: u64) -> Result<u64> {
        let _charges = self.takeovers.read_killable()?;
        let parts = self.space.parts(pages(from, count))?;
        let wanted = WantedIova::Fixed(pages(to, count));
        let (_, runs) = self.space.map_parts(parts, wanted, READ_WRITE)?;
        self.add(count * PAGE);
        Ok(runs)
    }

    /// Cuts what has an end of some pages in the middle.
    pub(super) fn cut(&self, first: u64, count: u64) -> Result {
        self.space.cut_at_ends(pages(first, count))
    }

    /// Attaches a device, which finds all there that is mapped.
    pub(super) fn attach(&self, number: u32) -> Result<Arc<Hwpt>> {
        self.attach_device(&OwnedDevice::new(number))
    }

    pub(super) fn attach_device(&self, dev: &OwnedDevice) -> Result<Arc<Hwpt>> {
        let onto = Onto {
            put: &mut |domain: &Arc<Domain>| {
                self.compare(domain);
                Ok(())
            },
            publish: &mut |_| (),
            before: None,
            is_allowed: true,
        };
        let wanted = WantedHwpt::Any(dev.number);
        let (hwpt, ()) = self.space.attach(dev, &[dev], &wanted, onto)?;
        self.domains
            .borrow_mut()
            .push((hwpt.clone(), Some(dev.number)));
        Ok(hwpt)
    }

    /// Detaches a device that is attached. A domain goes with its last one.
    pub(super) fn detach(&self, number: u32) {
        let found = {
            let mut domains = self.domains.borrow_mut();
            let at = domains.iter().position(|(_, dev)| *dev == Some(number));
            domains.remove(at.expect("it is attached"))
        };
        let leaving = OwnedDevice::new(number).device();
        self.space
            .detach(|dev| dev.same(&leaving), Some(found.0), |_| ());
    }

    /// Makes a domain for userspace.
    pub(super) fn add_domain(&self) -> Result<Arc<Hwpt>> {
        let new = NewHwpt {
            id: 9,
            flags: 0,
            data: None,
            kind: Kind::Manual,
            takes_pasids: false,
        };
        let dev = OwnedDevice::new(9);
        let (hwpt, ()) = self.space.add_hwpt(new, &dev, None, || Ok(()))?;
        self.domains.borrow_mut().push((hwpt.clone(), None));
        Ok(hwpt)
    }

    /// Removes one.
    pub(super) fn remove_domain(&self, hwpt: &Arc<Hwpt>) -> Result {
        self.space.remove_hwpt(hwpt, || Ok(()))?;
        self.domains
            .borrow_mut()
            .retain(|(other, _)| !Arc::ptr_eq(other, hwpt));
        Ok(())
    }

    /// A domain that is there.
    pub(super) fn domain(&self) -> Arc<Hwpt> {
        self.domains.borrow()[0].0.clone()
    }

    /// Has the process of this number pay for all that is mapped.
    pub(super) fn take_over(&self, process: usize) -> Result {
        machine::act_as(process);
        let alone = self.takeovers.write_killable()?;
        let mut takeover = Takeover::by_current()?;
        let noted = self.space.note_charges(&mut takeover);
        let result = noted.and_then(|()| takeover.pay());
        self.space.finish_charges(&mut takeover);
        drop(alone);
        takeover.settle();
        result
    }

    /// A driver comes that pins, and unpins when it is asked.
    pub(super) fn add_driver(&self) -> Result {
        static OPS: iommufd_access_ops = iommufd_access_ops {
            pins: true,
            unmap: Some(asked),
        };
        // SAFETY: The stage is there until the callback is dropped.
        let callback =
            unsafe { UnmapCallback::new(&OPS, core::ptr::from_ref(self).cast_mut().cast()) }?;
        self.space
            .add_listener(1, callback.listener().clone(), true)?;
        *self.callback.borrow_mut() = Some(callback);
        Ok(())
    }

    /// The driver goes, as it does when it is detached.
    pub(super) fn remove_driver(&self) {
        let Some(callback) = self.callback.borrow_mut().take() else {
            return;
        };
        self.space.remove_listener(1, callback.listener(), true);
        callback.ask_for_all();
    }

    /// The driver pins some pages.
    pub(super) fn pin(&self, first: u64, count: u64) -> Result {
        let _charges = self.takeovers.read_killable()?;
        let range = pages(first, count);
        let mut slots = [core::ptr::null_mut(); 8];
        loop {
            let new = self.space.pin(range, true)?;
            // What is asked for meanwhile is there.
            self.pinned.borrow_mut().push(range);
            // SAFETY: There is room.
            let slots = &mut unsafe { PageSlots::new(slots.as_mut_ptr(), 8) };
            let kept = self.space.keep(new, slots);
            if matches!(kept, Ok(Some(()))) {
                return Ok(());
            }
            self.forget(range);
            kept?;
        }
    }

    fn forget(&self, range: IovaRange) -> bool {
        let mut pinned = self.pinned.borrow_mut();
        let at = pinned.iter().position(|one| *one == range);
        at.map(|at| pinned.remove(at)).is_some()
    }

    /// And unpins them.
    pub(super) fn unpin(&self, first: u64, count: u64) {
        let range = pages(first, count);
        if self.forget(range) {
            self.space.unpin(range);
        }
    }

    /// Begins to mark what devices write to, and reads the marks.
    pub(super) fn read_marks(&self, first: u64, count: u64) -> Result {
        let bitmap = UserBitmap(pages(first, count));
        self.space.read_dirty(&self.domain(), &bitmap, Marks::Clear)
    }

    /// Unmaps some pages, which a signal may stop: what is left is what is there.
    pub(super) fn unmap_some(&self, first: u64, count: u64) {
        if let Err(e) = self.unmap(first, count) {
            assert_eq!(e, EINTR);
            self.bytes.set(None);
        }
    }

    /// Frees the space, with all that is mapped.
    pub(super) fn free(&self) {
        self.space.destroy().expect("there is no signal");
        self.bytes.set(Some(0));
    }

    /// What is mapped: page numbers, of I/O addresses.
    pub(super) fn areas(&self) -> Vec<(u64, u64)> {
        let mut areas = Vec::new();
        let mut rest = Some(0);
        while let Some(area) = rest.and_then(|first| self.space.area_from(first)) {
            areas.push((area.range.first() / PAGE, area.range.last() / PAGE));
            rest = area.range.last().checked_add(1);
        }
        areas
    }

    /// Whether a domain has all that is mapped, and nothing else.
    pub(super) fn compare(&self, domain: &Domain) {
        if !domain.translates() {
            return;
        }
        let entries: BTreeMap<u64, u64> = domain.entries();
        let areas = self.areas();
        let mapped = areas.iter().flat_map(|(first, last)| *first..=*last);
        assert!(
            mapped.eq(entries.keys().copied()),
            "mapped are {areas:?}, and a domain has {entries:?}"
        );
    }

    /// Whether all is as it must be when nobody does anything.
    pub(super) fn check(&self) {
        for (hwpt, _) in self.domains.borrow().iter() {
            self.compare(hwpt.domain());
        }
        let summary = self.space.summary();
        let areas = self.areas();
        assert_eq!(summary.usage.areas, areas.len() as u64, "areas");
        let bytes = areas.iter().map(|(first, last)| (last - first + 1) * PAGE);
        assert_eq!(
            summary.usage.bytes,
            bytes.sum::<u64>(),
            "bytes, as areas tell"
        );
        let said = self.bytes.get().unwrap_or(summary.usage.bytes);
        assert_eq!(summary.usage.bytes, said, "bytes, as was said");
        let (own, shared) = (summary.usage.own, self.totals.get());
        let (pins, charged, pinned) = machine::left();
        assert_eq!(
            pins,
            (own.pinned + shared.pinned) as i64,
            "pages are pinned"
        );
        assert_eq!(
            charged,
            (own.charged + shared.charged) as isize,
            "pages are charged"
        );
        assert_eq!(pinned, pins as isize, "pages are counted for processes");
        let has_domain = !self.domains.borrow().is_empty();
        assert_eq!(summary.has_domain, has_domain, "there is a domain");
        if has_domain {
            let all = summary.usage.bytes / PAGE;
            assert_eq!(
                own.pinned + summary.usage.shared.pinned,
                all,
                "all is pinned"
            );
        } else if self.pinned.borrow().is_empty() {
            assert_eq!(pins, 0, "nothing needs to be pinned");
        }
    }

    /// Frees it all.
    pub(super) fn close(&self) {
        self.remove_driver();
        while let Some((hwpt, dev)) = {
            let first = self.domains.borrow().first().cloned();
            first
        } {
            match dev {
                Some(number) => self.detach(number),
                None => self.remove_domain(&hwpt).expect("nobody is on it"),
            }
        }
        self.space.destroy().expect("there is no signal");
        let left = machine::left();
        assert_eq!(left, (0, 0, 0), "pins, charges and counts are left");
    }
}

/// The driver is asked to unpin what it has in a range.
unsafe extern "C" fn asked(stage: *mut c_void, first: c_ulong, length: c_ulong) {
    // SAFETY: As it was given.
    let stage = unsafe { &*stage.cast::<Stage>() };
    let range = IovaRange::with_len(first as u64, length as u64).unwrap_or(IovaRange::ALL);
    loop {
        let next = stage
            .pinned
            .borrow()
            .iter()
            .copied()
            .find(|one| one.overlaps(&range));
        let Some(one) = next else { return };
        stage.forget(one);
        stage.space.unpin(one);
    }
}
