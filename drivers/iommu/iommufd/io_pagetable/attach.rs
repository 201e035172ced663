// SPDX-License-Identifier: GPL-2.0

//! Devices and domains that come to an address space, and leave it.

use super::IoPagetable;
use crate::{
    domains::{
        Domains,
        Slot, //
    },
    iova::IovaRange,
    kapi::{
        device::OwnedDevice,
        domain::Domain,
        rwsem::WriteGuard,
        task, //
    },
    mapping::Mapping,
    msi::Window,
};
use kernel::{
    page::PAGE_SIZE,
    prelude::*,
    sync::Arc, //
};

/// A device on its way into an address space.
pub(crate) struct Newcomer<'a> {
    /// The id that its reserved regions are kept under.
    pub(crate) id: u32,
    /// The device.
    pub(crate) dev: &'a OwnedDevice,
}

/// Which domain a group wants.
#[derive(Clone, Copy)]
pub(crate) enum Wanted {
    /// One that is there and suits, or else a new one, to be known by this id.
    Any(u32),
    /// The one that is known by this id.
    This(u32),
}

/// Which domain a group got.
#[derive(Clone, Copy)]
pub(crate) struct Chosen {
    /// What userspace knows it by.
    pub(crate) id: u32,
    /// Whether it goes with its last group.
    pub(crate) is_auto: bool,
}

impl Chosen {
    /// Whether whoever wants `wanted` would be content with it.
    pub(crate) fn suits(&self, wanted: Wanted) -> bool {
        match wanted {
            Wanted::Any(_) => self.is_auto,
            Wanted::This(id) => self.id == id,
        }
    }
}

/// How a group gets onto a domain.
pub(crate) struct Onto<'a> {
    /// Puts the group on a domain, or says why that cannot be.
    pub(crate) put: &'a mut dyn FnMut(&Arc<Domain>) -> Result,
    /// The domain that the group was on when its interrupts were set up, if they were.
    pub(crate) before: Option<&'a Domain>,
}

/// What devices need left out of a space.
struct Regions {
    reserved: KVec<(u32, IovaRange)>,
    /// Where they find the doorbells of their interrupts.
    window: Window,
}

impl IoPagetable {
    /// Takes devices of one group in. With `onto`, the group must get a domain too: it is called
    /// with one after the other, until one suits.
    ///
    /// # Errors
    ///
    /// * `EADDRINUSE`: something is mapped, or wanted to be mapped, in a reserved region or
    ///   outside of the aperture.
    /// * `EINVAL`: no address would be left, or no domain suits.
    /// * `ENOMEM`, `EINTR`, `ENOENT`, and what `onto` says.
    pub(crate) fn admit(
        &self,
        newcomers: &[Newcomer<'_>],
        onto: Option<(Wanted, Onto<'_>)>,
    ) -> Result<Option<Chosen>> {
        let mut domains = self.write_domains()?;
        let regions = self.regions_of(&domains, newcomers)?;
        domains
            .reserved
            .reserve(regions.reserved.len(), GFP_KERNEL_ACCOUNT)?;
        let chosen = match (onto, newcomers.first()) {
            (Some((wanted, onto)), Some(lead)) => {
                Some(self.seat(&mut domains, lead.dev, &regions, wanted, onto)?)
            }
            _ => None,
        };
        for entry in regions.reserved {
            // There is room: it was reserved above.
            domains.reserved.push(entry, GFP_KERNEL_ACCOUNT)?;
        }
        Ok(chosen)
    }

    /// Puts the group of a device that is in this space onto another domain of it.
    ///
    /// # Errors
    ///
    /// As [`Self::admit`].
    pub(crate) fn reseat(
        &self,
        dev: &OwnedDevice,
        wanted: Wanted,
        onto: Onto<'_>,
    ) -> Result<Chosen> {
        let mut domains = self.write_domains()?;
        let regions = Regions::of_resident(dev)?;
        self.seat(&mut domains, dev, &regions, wanted, onto)
    }

    /// Makes a domain for userspace that `dev` could be attached to, filled with all areas.
    /// `before` is the domain that `dev` was on when its interrupts were set up, if they were.
    ///
    /// # Errors
    ///
    /// As [`Self::admit`], and those of [`Domain::new`].
    pub(crate) fn add_domain(
        &self,
        id: u32,
        dev: &OwnedDevice,
        flags: u32,
        before: Option<&Domain>,
    ) -> Result {
        let mut domains = self.write_domains()?;
        let regions = Regions::of_resident(dev)?;
        let domain = self.new_domain(&mut domains, dev, flags, &regions, before)?;
        // There is room: `new_domain` reserved it.
        Ok(domains.list.push(
            Slot {
                id,
                domain,
                groups: 0,
                is_auto: false,
            },
            GFP_KERNEL_ACCOUNT,
        )?)
    }

    /// Removes a domain that no group is on.
    ///
    /// # Errors
    ///
    /// `EBUSY`: there is one. `ENOENT`: there is no such domain.
    pub(crate) fn remove_domain(&self, id: u32) -> Result {
        let mut domains = self.domains.write();
        match domains.slot_mut(id) {
            Some(slot) if slot.groups > 0 => return Err(EBUSY),
            Some(slot) => self.empty_domain(&slot.domain),
            None => return Err(ENOENT),
        }
        domains.list.retain(|slot| slot.id != id);
        Ok(())
    }

    fn write_domains(&self) -> Result<WriteGuard<'_, Domains>> {
        let domains = self.domains.write_killable()?;
        self.check_alive()?;
        Ok(domains)
    }

    /// What `newcomers` need left out, if nothing is there.
    fn regions_of(&self, domains: &Domains, newcomers: &[Newcomer<'_>]) -> Result<Regions> {
        let snoops = |newcomer: &Newcomer<'_>| newcomer.dev.can_enforce_snoop();
        if self.enforce_snoop && !newcomers.iter().all(snoops) {
            return Err(EINVAL);
        }
        let regions = Regions::of(newcomers)?;
        for (_, range) in &regions.reserved {
            if domains.allowed.overlaps(*range) || self.space.lock().areas.is_taken(*range) {
                return Err(EADDRINUSE);
            }
        }
        Ok(regions)
    }

    fn seat(
        &self,
        domains: &mut Domains,
        dev: &OwnedDevice,
        regions: &Regions,
        wanted: Wanted,
        onto: Onto<'_>,
    ) -> Result<Chosen> {
        match wanted {
            Wanted::This(id) => {
                let slot = domains.slot_mut(id).ok_or(ENOENT)?;
                if !regions.window.is_alike(&slot.domain, onto.before) {
                    return Err(EINVAL);
                }
                (onto.put)(&slot.domain)?;
                slot.groups += 1;
                Ok(Chosen {
                    id,
                    is_auto: slot.is_auto,
                })
            }
            Wanted::Any(id) => self.choose_domain(domains, dev, regions, id, onto),
        }
    }

    /// A domain that userspace has made is never chosen.
    fn choose_domain(
        &self,
        domains: &mut Domains,
        dev: &OwnedDevice,
        regions: &Regions,
        id: u32,
        onto: Onto<'_>,
    ) -> Result<Chosen> {
        let enforces_snoop = dev.can_enforce_snoop();
        for slot in domains.list.iter_mut().filter(|slot| slot.is_auto) {
            if slot.domain.enforces_snoop() != enforces_snoop
                || !regions.window.is_alike(&slot.domain, onto.before)
            {
                continue;
            }
            match (onto.put)(&slot.domain) {
                Ok(()) => {
                    slot.groups += 1;
                    return Ok(Chosen {
                        id: slot.id,
                        is_auto: true,
                    });
                }
                Err(e) if e == EINVAL => {}
                Err(e) => return Err(e),
            }
        }
        let domain = self.new_domain(domains, dev, 0, regions, onto.before)?;
        if let Err(e) = (onto.put)(&domain) {
            self.empty_domain(&domain);
            return Err(e);
        }
        // There is room: `new_domain` reserved it.
        domains.list.push(
            Slot {
                id,
                domain,
                groups: 1,
                is_auto: true,
            },
            GFP_KERNEL_ACCOUNT,
        )?;
        Ok(Chosen { id, is_auto: true })
    }

    /// Makes a domain with everything in it that is mapped, and room for it in the list.
    fn new_domain(
        &self,
        domains: &mut Domains,
        dev: &OwnedDevice,
        flags: u32,
        regions: &Regions,
        before: Option<&Domain>,
    ) -> Result<Arc<Domain>> {
        let domain = Arc::new(Domain::new(dev, flags)?, GFP_KERNEL_ACCOUNT)?;
        self.check_domain(domains, &domain, &regions.reserved)?;
        regions.window.set_up(&domain, before)?;
        domains.list.reserve(1, GFP_KERNEL_ACCOUNT)?;
        self.fill_domain(domains, &domain)?;
        Ok(domain)
    }

    /// Whether a new domain suits the space: its pages, its aperture, what is mapped already.
    fn check_domain(
        &self,
        domains: &Domains,
        domain: &Domain,
        reserved: &[(u32, IovaRange)],
    ) -> Result {
        let pages_fit = pages_fit(domain.pgsize_bitmap(), PAGE_SIZE as u64);
        if !pages_fit || (self.enforce_snoop && !domain.enforces_snoop()) {
            return Err(EINVAL);
        }
        let aperture = domain.aperture().ok_or(EINVAL)?;
        let window = self.window.intersection(&aperture).ok_or(EINVAL)?;
        if domains.usable_ranges(window, reserved)?.is_empty() {
            return Err(EINVAL);
        }
        let space = self.space.lock();
        let mut areas = space.areas.live();
        if domains.allowed.lie_in(aperture) && areas.all(|(range, _)| aperture.contains(&range)) {
            Ok(())
        } else {
            Err(EADDRINUSE)
        }
    }

    /// Maps every area into a domain that no device uses yet. No map or unmap is under way.
    fn fill_domain(&self, domains: &Domains, domain: &Arc<Domain>) -> Result {
        let space = self.space.lock();
        let mut result = Ok(());
        let mut filled = 0;
        for (range, mapping) in space.areas.live() {
            result = fill_area(domains, domain, range, mapping);
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
                domain.unmap(mapping.leave(domain, range));
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
            .flat_map(|(range, mapping)| mapping.leave(domain, range));
        domain.unmap(strides);
    }

    /// Undoes [`Self::admit`] for devices that are blocked, or in another space, by now.
    ///
    /// `off` is the id of the domain that the group was on, if the group goes as a whole. Returns
    /// whether that domain went with it.
    pub(crate) fn dismiss(&self, is_leaving: impl Fn(u32) -> bool, off: Option<u32>) -> bool {
        let mut domains = self.domains.write();
        domains.reserved.retain(|(id, _)| !is_leaving(*id));
        let Some(slot) = off.and_then(|off| domains.slot_mut(off)) else {
            return false;
        };
        slot.groups -= 1;
        if slot.groups > 0 || !slot.is_auto {
            return false;
        }
        let id = slot.id;
        self.empty_domain(&slot.domain);
        domains.list.retain(|slot| slot.id != id);
        true
    }

    /// Whether every domain enforces snooping.
    ///
    /// # Errors
    ///
    /// `EINTR`.
    pub(crate) fn all_enforce_snoop(&self) -> Result<bool> {
        let domains = self.domains.read_killable()?;
        let mut domains = domains.list.iter().map(|slot| &slot.domain);
        Ok(domains.all(|domain| domain.enforces_snoop()))
    }

    /// The page sizes that mappings can be made of in every domain: bit n stands for 2^n bytes.
    ///
    /// # Errors
    ///
    /// `EINTR`.
    pub(crate) fn pgsizes(&self) -> Result<u64> {
        let domains = self.domains.read_killable()?;
        let bitmaps = domains.list.iter().map(|slot| slot.domain.pgsize_bitmap());
        let common = bitmaps.fold(u64::MAX, |common, bitmap| common & bitmap);
        Ok(usable_pgsizes(common, PAGE_SIZE as u64))
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
}

impl Regions {
    /// Of a device that nothing has to be left out for: the space has it already, or will not yet.
    fn of_resident(dev: &OwnedDevice) -> Result<Self> {
        Ok(Self {
            reserved: KVec::new(),
            ..Self::of(&[Newcomer { id: 0, dev }])?
        })
    }

    fn of(newcomers: &[Newcomer<'_>]) -> Result<Self> {
        let mut reserved = KVec::new();
        let mut window = Window::None;
        for newcomer in newcomers {
            for region in newcomer.dev.reserved_regions()? {
                window.learn(&region);
                reserved.push((newcomer.id, region.range()), GFP_KERNEL_ACCOUNT)?;
            }
        }
        Ok(Self { reserved, window })
    }
}

/// Maps one area into one domain, all of it or nothing.
fn fill_area(
    domains: &Domains,
    domain: &Arc<Domain>,
    range: IovaRange,
    mapping: &Mapping,
) -> Result {
    if let Some(device) = mapping.device() {
        return device.enter(domains, domain, range, mapping.prot());
    }
    let mut next = range.first();
    let mut step = |len: u64, mapped: Result| {
        if let (Err(_), Some(done)) = (mapped, IovaRange::until(range.first(), next)) {
            domain.unmap(mapping.strides(done));
        }
        next = next.wrapping_add(len);
        mapped
    };
    let Some(runs) = mapping.whole() else {
        for (iova, span) in mapping.placed(range) {
            let mapped = domains.map_span_into(domain, iova, span, mapping.prot());
            step(span.len(), mapped)?;
        }
        return Ok(());
    };
    let mut iova = range.first();
    for some in runs.slices(0, 0) {
        let len = some.iter().map(|run| run.len()).sum();
        step(len, domains.map_into(domain, iova, some, mapping.prot()))?;
        iova = iova.wrapping_add(len);
    }
    Ok(())
}

/// Whether an IOMMU with the page sizes of `bitmap` can map any single page of `page` bytes.
fn pages_fit(bitmap: u64, page: u64) -> bool {
    // A shift by 64 is refused: there is no page size at all.
    let smallest = 1u64.checked_shl(bitmap.trailing_zeros());
    smallest.is_some_and(|size| size <= page)
}

/// The page sizes that mappings can be made of, in a kernel of pages of `page` bytes: memory
/// comes in those, however small the IOMMU's are.
pub(crate) fn usable_pgsizes(bitmap: u64, page: u64) -> u64 {
    let small = bitmap & (page - 1);
    (bitmap & !(page - 1)) | if small != 0 { page } else { 0 }
}

#[kunit_tests(iommufd_attach)]
mod tests {
    use super::*;

    #[test]
    fn fitting() {
        // For each format, whether it suits kernels of pages of 4, 16 and 64 KiB.
        for (bitmap, suits) in [
            (1 << 12 | 1 << 21 | 1 << 30, [true, true, true]),
            (1 << 14 | 1 << 25, [false, true, true]),
            (1 << 16 | 1 << 29, [false, false, true]),
            (1 << 21, [false, false, false]),
            (!0xffff, [false, false, true]),
            (1 << 63, [false, false, false]),
            (0, [false, false, false]),
        ] {
            assert_eq!([12, 14, 16].map(|n| pages_fit(bitmap, 1 << n)), suits);
        }
    }

    #[test]
    fn pgsizes() {
        const K4: u64 = 1 << 12;
        const K16: u64 = 1 << 14;
        const K64: u64 = 1 << 16;
        const M2: u64 = 1 << 21;
        const G1: u64 = 1 << 30;
        assert_eq!(usable_pgsizes(K4 | M2 | G1, K4), K4 | M2 | G1);
        assert_eq!(usable_pgsizes(K4 | M2 | G1, K16), K16 | M2 | G1);
        assert_eq!(usable_pgsizes(K4 | M2 | G1, K64), K64 | M2 | G1);
        assert_eq!(usable_pgsizes(K16 | M2, K16), K16 | M2);
        assert_eq!(usable_pgsizes(K16 | M2, K64), K64 | M2);
        assert_eq!(usable_pgsizes(!0xfff, K64), !0xffff);
        assert_eq!(usable_pgsizes(K64 | M2, K16), K64 | M2);
        assert_eq!(usable_pgsizes(!0xfff, K4), !0xfff);
    }
}
