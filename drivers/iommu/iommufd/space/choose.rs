// SPDX-License-Identifier: GPL-2.0

//! Maps whose address the space may choose, and what userspace says about addresses.

use super::{
    IoPagetable,
    MapRequest,
    Space, //
};
use crate::{
    iova::IovaRange,
    kapi::{
        account::Payer,
        device_memory::DevicePart,
        domain::Prot,
        rwsem::ReadGuard,
        task, //
    },
    space::{
        areas::{
            Choice,
            Conflict,
            Spare, //
        },
        domains::{
            Allowed,
            Domains, //
        },
        gaps::{
            Choosable,
            Nodes, //
        },
        mapped::{
            self,
            Entry,
            Mapped, //
        },
        mapping::Mapping, //
    }, //
};
use kernel::{
    page::PAGE_SIZE,
    prelude::*,
    sync::{
        atomic::ordering::Relaxed,
        lock::{
            mutex::MutexBackend,
            Guard, //
        },
        Arc, //
    },
};

const PAGE: u64 = PAGE_SIZE as u64;

/// Which addresses a map may get.
pub(crate) enum WantedIova {
    /// These.
    Fixed(IovaRange),
    /// `len` of them, `offset` bytes behind the start of a page that is on a multiple of `align`, a
    /// power of two up to [`MOST_ALIGN`].
    ///
    /// [`MOST_ALIGN`]: crate::space::gaps::MOST_ALIGN
    Any { len: u64, align: u64, offset: u64 },
}

impl WantedIova {
    /// As it is for memory that begins with byte `offset` of a page.
    pub(super) fn at_offset(self, offset: u64) -> Self {
        match self {
            Self::Fixed(_) => self,
            Self::Any { len, align, .. } => Self::Any { len, align, offset },
        }
    }

    /// Whether they are multiples of `alignment`, as far as it is known which they are.
    ///
    /// # Errors
    ///
    /// `EINVAL`.
    pub(super) fn check(&self, alignment: u64) -> Result {
        let bits = match *self {
            Self::Fixed(range) => range.first() | range.len(),
            Self::Any { len, .. } => len,
        };
        if bits & (alignment - 1) != 0 {
            return Err(EINVAL);
        }
        Ok(())
    }
}

impl IoPagetable {
    /// As [`Self::map`], by mainline's rules. Returns where it is, and in how many runs.
    ///
    /// # Errors
    ///
    /// * `EINVAL`: outside the window, a domain's aperture, or inside a reserved region; or not a
    ///   multiple of [`Self::alignment`].
    /// * `EEXIST`: something is mapped, or being mapped, in the range.
    /// * `ENOSPC`: no address can be chosen.
    /// * Those of [`Self::map`].
    pub(crate) fn map_at(
        &self,
        wanted: WantedIova,
        request: &MapRequest,
    ) -> Result<(IovaRange, u64)> {
        let spare = Spare::new()?;
        let domains = self.domains.read_killable()?;
        let alignment = self.alignment_with(&domains);
        wanted.check(alignment)?;
        let (range, payer) = self.reserve_at(&domains, &wanted, spare)?;
        // As with mainline, what is wrong with the address comes first.
        if request.source.start() & (alignment - 1) != 0 {
            self.space.lock().areas.release(range);
            return Err(EINVAL);
        }
        let runs = self.map_reserved(&domains, range, request, payer)?;
        Ok((range, runs))
    }

    /// Maps a device's memory, and says where, and in how many runs.
    ///
    /// # Errors
    ///
    /// As [`Self::map_at`], but for those about memory of userspace.
    pub(crate) fn map_device(
        &self,
        wanted: WantedIova,
        part: DevicePart,
        prot: Prot,
    ) -> Result<(IovaRange, u64)> {
        let mapping = Mapping::Device { part, prot };
        let mut new = KVVec::with_capacity(1, GFP_KERNEL_ACCOUNT)?;
        new.push_within_capacity(Entry {
            area: IovaRange::ALL,
            mapping,
        })?;
        let spare = Spare::new()?;
        let domains = self.domains.read_killable()?;
        wanted.check(self.alignment_with(&domains))?;
        let (area, _) = self.reserve_at(&domains, &wanted, spare)?;
        for entry in new.iter_mut() {
            entry.area = area;
        }
        self.enter(domains, new)?;
        Ok((area, 1))
    }

    /// Maps what is in no domain yet, pinned if there is one; its addresses are reserved.
    ///
    /// # Errors
    ///
    /// Those of [`mapped::enter`]; the addresses are free again then.
    pub(super) fn enter(&self, domains: ReadGuard<'_, Domains>, new: KVVec<Entry>) -> Result {
        let entered = mapped::enter(&domains, new);
        let mut space = self.space.lock();
        match entered {
            Ok(entered) => {
                for (area, mapped) in entered.into_areas() {
                    space.has_bytes |= !mapped.mapping().is_aligned(area, PAGE);
                    space.publish(area, mapped);
                }
                Ok(())
            }
            Err(not_entered) => {
                for area in not_entered.areas() {
                    space.areas.release(area);
                }
                drop(space);
                drop(domains);
                // What was to be mapped goes without the locks.
                Err(not_entered.error)
            }
        }
    }

    /// Takes a range for a map that begins, and says who mapped last.
    fn reserve_at(
        &self,
        domains: &Domains,
        wanted: &WantedIova,
        spare: Spare<Mapped>,
    ) -> Result<(IovaRange, Option<Arc<Payer>>)> {
        self.check_alive()?;
        if let WantedIova::Fixed(range) = *wanted {
            self.check_range(domains, range)?;
            return Ok((range, self.reserve(range, spare)?));
        }
        let (mut space, range) = self.find(domains, wanted)?;
        if space.areas.reserve(range, spare).is_err() {
            return Err(EEXIST);
        }
        Ok((range, space.payer.clone()))
    }

    /// # Errors
    ///
    /// `EINVAL`: it is outside the window, a domain's aperture, or inside a reserved region.
    pub(super) fn check_range(&self, domains: &Domains, range: IovaRange) -> Result {
        if !self.window.contains(&range) || !domains.accept(range) {
            return Err(EINVAL);
        }
        Ok(())
    }

    /// Finds a range that is free as long as the space stays locked.
    pub(super) fn find(
        &self,
        domains: &Domains,
        wanted: &WantedIova,
    ) -> Result<(Guard<'_, Space, MutexBackend>, IovaRange)> {
        match *wanted {
            WantedIova::Fixed(range) => {
                self.check_range(domains, range)?;
                Ok((self.wait_for(range)?, range))
            }
            WantedIova::Any { len, align, offset } => {
                let (space, pages) = self.choose(domains, len + offset, align)?;
                Ok((space, pages.after(offset).ok_or(ENOSPC)?))
            }
        }
    }

    /// # Errors
    ///
    /// `EEXIST`: something is mapped, or being mapped, in the range.
    fn wait_for(&self, range: IovaRange) -> Result<Guard<'_, Space, MutexBackend>> {
        let mut space = self.space.lock();
        loop {
            match space.areas.conflict(range) {
                None => return Ok(space),
                Some(Conflict::Area) => return Err(EEXIST),
                Some(Conflict::Unmapping) => self.wait_for_unmap(&mut space),
            }
        }
    }

    /// The lowest addresses that are free, or will be when the unmaps under way are over.
    ///
    /// # Errors
    ///
    /// `ENOSPC`, `ENOMEM`, `EINTR`.
    fn choose(
        &self,
        domains: &Domains,
        len: u64,
        align: u64,
    ) -> Result<(Guard<'_, Space, MutexBackend>, IovaRange)> {
        // What the area that was chosen last can take.
        let mut nodes = Nodes::new(1)?;
        loop {
            let mut space = self.space.lock();
            let generation = domains.generation();
            match space.areas.choose(generation, len, align, &mut nodes) {
                Choice::At(range) => return Ok((space, range)),
                Choice::Nowhere if space.areas.are_being_unmapped() => {
                    self.wait_for_unmap(&mut space);
                }
                Choice::Nowhere => return Err(ENOSPC),
                Choice::Again(missing) => {
                    drop(space);
                    task::resched_killable()?;
                    nodes = Nodes::new(missing.max(1))?;
                }
                Choice::Unknown => {
                    drop(space);
                    let choosable = self.choosable(domains)?;
                    let old = self.space.lock().areas.choose_in(choosable);
                    drop(old);
                }
            }
        }
    }

    fn choosable(&self, domains: &Domains) -> Result<Choosable> {
        let sane = IovaRange::new(PAGE, u64::MAX - PAGE);
        let window = sane.and_then(|sane| sane.intersection(&self.window));
        domains.choosable(window.ok_or(ENOSPC)?)
    }

    /// What addresses, lengths and where memory begins have to be multiples of at the moment: a
    /// byte if there is no domain, no driver that pins, and pages may be large.
    ///
    /// # Errors
    ///
    /// `EINTR`.
    pub(crate) fn alignment(&self) -> Result<u64> {
        Ok(self.alignment_with(&*self.domains.read_killable()?))
    }

    #[inline(always)]
    pub(super) fn alignment_with(&self, domains: &Domains) -> u64 {
        if !domains.large_pages || self.pinners.load(Relaxed) > 0 {
            return PAGE;
        }
        domains.alignment()
    }

    /// Sets where addresses may be chosen; nowhere in particular if `allowed` is empty.
    ///
    /// # Errors
    ///
    /// `EADDRINUSE`: some of it is reserved, or cannot be translated.
    pub(crate) fn set_allowed(&self, allowed: Allowed) -> Result {
        let mut domains = self.domains.write_killable()?;
        self.check_alive()?;
        let reserved = domains.reserved.iter().map(|(_, range)| *range);
        let mut apertures = domains.list.iter().map(|slot| slot.domain().aperture());
        if reserved.clone().any(|range| allowed.overlaps(range))
            || !allowed.lie_in(self.window)
            || !apertures.all(|aperture| aperture.is_none_or(|aperture| allowed.lie_in(aperture)))
        {
            return Err(EADDRINUSE);
        }
        let old = core::mem::replace(&mut *domains.allowed, allowed);
        drop(domains);
        drop(old);
        Ok(())
    }

    /// Whether domains may use pages larger than the kernel's.
    ///
    /// # Errors
    ///
    /// `EINTR`.
    pub(crate) fn large_pages(&self) -> Result<bool> {
        Ok(self.domains.read_killable()?.large_pages)
    }

    /// Says whether domains may use pages larger than the kernel's.
    ///
    /// # Errors
    ///
    /// `EINVAL`: some may be in use. `EADDRINUSE`: something is mapped that is not made of whole
    /// pages. `EINTR`.
    pub(crate) fn set_large_pages(&self, wanted: bool) -> Result {
        let mut domains = self.domains.write_killable()?;
        let in_use = !domains.list.is_empty() && !self.space.lock().areas.is_empty();
        if domains.large_pages && !wanted && in_use {
            return Err(EINVAL);
        }
        if !wanted {
            self.check_alignment(PAGE)?;
        }
        domains.large_pages = wanted;
        Ok(())
    }
}
