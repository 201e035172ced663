// SPDX-License-Identifier: GPL-2.0

//! Devices and domains that come to an address space, and leave it.

use super::IoPagetable;
use crate::{
    iova::IovaRange,
    kapi::{
        device::{
            DeviceRef,
            OwnedDevice, //
        },
        domain::Domain,
        msi::SwMsi,
        rwsem::WriteGuard,
        task,
        user_data::UserData, //
    },
    space::{
        domains::Domains,
        hwpt::{
            Hwpt,
            Kind, //
        },
        mapped, //
    }, //
};
use kernel::{
    page::PAGE_SIZE,
    prelude::*,
    sync::Arc,
    warn_on, //
};

/// A space has no more domains than these: what is mapped goes into each of them.
const MOST_DOMAINS: usize = 4096;

/// A domain to be made.
pub(crate) struct NewHwpt {
    /// What userspace will know it by.
    pub(crate) id: u32,
    /// Those of [`Domain::new`].
    pub(crate) flags: u32,
    /// As [`Domain::new`] has them.
    pub(crate) data: Option<UserData>,
    /// What it is for.
    pub(crate) kind: Kind,
    /// Whether devices may use it that have PASIDs in use, and with them.
    pub(crate) takes_pasids: bool,
}

/// Which domain a group wants.
#[derive(Clone)]
pub(crate) enum WantedHwpt {
    /// One that is there and suits, or else a new one, to be known by this id.
    Any(u32),
    /// This one.
    This(Arc<Hwpt>),
}

impl WantedHwpt {
    /// Whether whoever wants this would be content with `hwpt`.
    pub(crate) fn suits(&self, hwpt: &Arc<Hwpt>) -> bool {
        match self {
            Self::Any(_) => hwpt.is_auto(),
            Self::This(this) => Arc::ptr_eq(this, hwpt),
        }
    }

    /// Whether that is a domain for devices that have PASIDs in use, and for PASIDs.
    pub(crate) fn takes_pasids(&self) -> bool {
        match self {
            Self::Any(_) => false,
            Self::This(this) => this.takes_pasids(),
        }
    }
}

/// How a group gets onto a domain.
pub(crate) struct Onto<'a, T> {
    /// Puts the group on a domain, or says why that cannot be.
    pub(crate) put: &'a mut dyn FnMut(&Arc<Domain>) -> Result<T>,
    /// Lets a domain be found that was made for the group, which is on it. What is in the list
    /// of domains has its id, so this is called while the list is locked, and may not wait.
    pub(crate) publish: &'a mut dyn FnMut(&Arc<Hwpt>),
    /// The domain that the group was on when its interrupts were set up, if they were.
    pub(crate) before: Option<&'a Domain>,
    /// Whether what of the group has PASIDs, or has none, may go there beside the rest.
    pub(crate) is_allowed: bool,
}

/// The domain that a group was put on, and what came of that.
pub(crate) type OnHwpt<T> = (Arc<Hwpt>, T);

/// What devices need left out of a space.
struct Regions {
    reserved: KVVec<(DeviceRef, IovaRange)>,
    /// Where they find the doorbells of their interrupts.
    sw_msi: SwMsi,
}

impl IoPagetable {
    /// Takes a device in whose group is on a domain of this space.
    ///
    /// # Errors
    ///
    /// As [`Self::attach`].
    pub(crate) fn attach_one_more(&self, dev: &OwnedDevice) -> Result {
        let mut domains = self.write_domains()?;
        let regions = self.regions_of(&domains, &[dev])?;
        domains.reserve_for(&regions.reserved)?;
        domains.add_reserved(regions.reserved);
        Ok(())
    }

    /// Reserves a range for good, as if `dev` wanted it, which is never attached.
    ///
    /// # Errors
    ///
    /// `EADDRINUSE`: something is mapped there, or wanted to be mapped. `ENOMEM`, `EINTR`.
    #[cfg(IOMMUFD_MOCK)]
    pub(crate) fn reserve_for_test(
        &self,
        dev: &kernel::device::Device,
        range: IovaRange,
    ) -> Result {
        let mut domains = self.write_domains()?;
        self.check_reserved(&domains, range)?;
        let reserved = KVVec::from_elem((dev.into(), range), 1, GFP_KERNEL_ACCOUNT)?;
        domains.reserve_for(&reserved)?;
        domains.add_reserved(reserved);
        Ok(())
    }

    /// Takes devices of one group in, of which `lead` is one, and puts the group on a domain.
    ///
    /// # Errors
    ///
    /// * `EADDRINUSE`: something is mapped, or wanted to be mapped, in a reserved region or
    ///   outside of the aperture, or not in multiples of the domain's smallest page.
    /// * `EINVAL`: no address would be left, or no domain suits: beside PASIDs, none will do that
    ///   was not made for it.
    /// * `ENOSPC`: there are too many domains, or no room for the doorbells of interrupts.
    /// * If it is the first, and memory has to be pinned: `EFAULT`: it is not there any more, or
    ///   cannot be used this way; `ENOMEM`: over the limit on locked memory of who has mapped it;
    ///   and what else [`Source::pin`] says.
    /// * `ENOMEM`, `EINTR`, `ENOENT`, and what `onto` says.
    ///
    /// [`Source::pin`]: crate::space::pinning::Source::pin
    pub(crate) fn attach<T>(
        &self,
        lead: &OwnedDevice,
        devs: &[&OwnedDevice],
        wanted: &WantedHwpt,
        onto: Onto<'_, T>,
    ) -> Result<OnHwpt<T>> {
        let mut domains = self.write_domains()?;
        let regions = self.regions_of(&domains, devs)?;
        domains.reserve_for(&regions.reserved)?;
        let on = self.put_on_hwpt(&mut domains, lead, &regions, wanted, onto)?;
        domains.add_reserved(regions.reserved);
        Ok(on)
    }

    /// Puts the group of a device that is in this space onto another domain of it.
    ///
    /// # Errors
    ///
    /// As [`Self::attach`].
    pub(crate) fn replace<T>(
        &self,
        dev: &OwnedDevice,
        wanted: &WantedHwpt,
        onto: Onto<'_, T>,
    ) -> Result<OnHwpt<T>> {
        let mut domains = self.write_domains()?;
        let regions = Regions::of_resident(dev)?;
        self.put_on_hwpt(&mut domains, dev, &regions, wanted, onto)
    }

    /// Puts a PASID of a device on a domain of this space. What the device needs left out, it
    /// needs for DMA without one.
    ///
    /// # Errors
    ///
    /// * `EINVAL`: the device cannot enforce snooping, and has to.
    /// * `ENOENT`: the domain was removed. `EINTR`. What `put` says.
    pub(crate) fn attach_pasid<T>(
        &self,
        dev: &OwnedDevice,
        hwpt: &Arc<Hwpt>,
        put: impl FnOnce(&Arc<Domain>) -> Result<T>,
    ) -> Result<T> {
        let mut domains = self.write_domains()?;
        self.check_snoop(&[dev])?;
        let slot = domains.slot_mut(hwpt)?;
        let put = put(slot.domain())?;
        slot.groups += 1;
        Ok(put)
    }

    /// Makes a domain for userspace that `dev` could be attached to, filled with all areas.
    /// `before` is the domain that `dev` was on when its interrupts were set up, if they were.
    /// `hold` is called before there is one, and may refuse.
    ///
    /// # Errors
    ///
    /// As [`Self::attach`], and those of [`Domain::new`] and `hold`.
    pub(crate) fn add_hwpt<T>(
        &self,
        new: NewHwpt,
        dev: &OwnedDevice,
        before: Option<&Domain>,
        hold: impl FnOnce() -> Result<T>,
    ) -> Result<OnHwpt<T>> {
        let mut domains = self.write_domains()?;
        let regions = Regions::of_resident(dev)?;
        let held = hold()?;
        let hwpt = self.new_hwpt(&mut domains, new, dev, &regions, before)?;
        self.add_domain(&mut domains, hwpt.clone(), 0);
        Ok((hwpt, held))
    }

    /// Removes a domain that no group is on. `retire` sees to it that nobody finds it, before
    /// anything of it goes, and may not wait.
    ///
    /// # Errors
    ///
    /// * `EBUSY`: there is one. `ENOENT`: it was removed already. `EINTR`.
    /// * What `retire` says.
    pub(crate) fn remove_hwpt(&self, hwpt: &Arc<Hwpt>, retire: impl FnOnce() -> Result) -> Result {
        let mut domains = self.domains.write_killable()?;
        if domains.slot_mut(hwpt)?.groups > 0 {
            return Err(EBUSY);
        }
        retire()?;
        self.drop_domain(domains, hwpt);
        Ok(())
    }

    /// Undoes [`Self::add_hwpt`] for a domain that nobody could find.
    pub(crate) fn withdraw_hwpt(&self, hwpt: &Arc<Hwpt>) {
        self.drop_domain(self.domains.write(), hwpt);
    }

    /// Removes all that is mapped, and all domains. No group is on any.
    pub(crate) fn close(&self) {
        let mut domains = self.domains.write();
        let list = core::mem::replace(&mut *domains.list, KVVec::new());
        for slot in &list {
            warn_on!(slot.groups > 0);
            mapped::empty(slot.domain(), &self.space.lock().areas, None);
        }
        self.remove_all(domains);
        drop(list);
    }

    fn write_domains(&self) -> Result<WriteGuard<'_, Domains>> {
        let domains = self.domains.write_killable()?;
        self.check_alive()?;
        Ok(domains)
    }

    /// Whether devices can enforce snooping, if they have to.
    fn check_snoop(&self, devs: &[&OwnedDevice]) -> Result {
        let snoops = |dev: &&OwnedDevice| dev.can_enforce_snoop();
        if self.enforce_snoop && !devs.iter().all(snoops) {
            return Err(EINVAL);
        }
        Ok(())
    }

    /// What `devs` need left out, if nothing is there.
    fn regions_of(&self, domains: &Domains, devs: &[&OwnedDevice]) -> Result<Regions> {
        self.check_snoop(devs)?;
        let regions = Regions::of(devs)?;
        for (_, range) in &regions.reserved {
            self.check_reserved(domains, *range)?;
        }
        Ok(regions)
    }

    /// Whether a range can be reserved.
    fn check_reserved(&self, domains: &Domains, range: IovaRange) -> Result {
        if domains.allowed.overlaps(range) || self.space.lock().areas.is_taken(range) {
            return Err(EADDRINUSE);
        }
        Ok(())
    }

    fn put_on_hwpt<T>(
        &self,
        domains: &mut Domains,
        dev: &OwnedDevice,
        regions: &Regions,
        wanted: &WantedHwpt,
        onto: Onto<'_, T>,
    ) -> Result<OnHwpt<T>> {
        if !onto.is_allowed {
            return Err(EINVAL);
        }
        let (hwpt, put) = match wanted {
            WantedHwpt::This(hwpt) => {
                let slot = domains.slot_mut(hwpt)?;
                if !regions.sw_msi.is_alike(slot.domain(), onto.before) {
                    return Err(EINVAL);
                }
                let put = (onto.put)(slot.domain())?;
                slot.groups += 1;
                (hwpt.clone(), put)
            }
            WantedHwpt::Any(id) => self.choose_domain(domains, dev, regions, *id, onto)?,
        };
        if let (Some(region), Ok(slot)) = (regions.sw_msi.region(), domains.slot_mut(&hwpt)) {
            let before = slot.doorbells.as_ref();
            slot.doorbells = Some(before.map_or(region, |before| before.hull(&region)));
        }
        Ok((hwpt, put))
    }

    /// A domain that userspace has made is never chosen.
    fn choose_domain<T>(
        &self,
        domains: &mut Domains,
        dev: &OwnedDevice,
        regions: &Regions,
        id: u32,
        onto: Onto<'_, T>,
    ) -> Result<OnHwpt<T>> {
        let enforces_snoop = dev.can_enforce_snoop();
        for slot in domains.list.iter_mut().filter(|slot| slot.hwpt.is_auto()) {
            if slot.domain().enforces_snoop() != enforces_snoop
                || !regions.sw_msi.is_alike(slot.domain(), onto.before)
            {
                continue;
            }
            match (onto.put)(slot.domain()) {
                Ok(put) => {
                    slot.groups += 1;
                    return Ok((slot.hwpt.clone(), put));
                }
                Err(e) if e == EINVAL => {}
                Err(e) => return Err(e),
            }
        }
        let new = NewHwpt {
            id,
            flags: 0,
            data: None,
            kind: Kind::Auto,
            takes_pasids: false,
        };
        let hwpt = self.new_hwpt(domains, new, dev, regions, onto.before)?;
        match (onto.put)(hwpt.domain()) {
            Ok(put) => {
                self.add_domain(domains, hwpt.clone(), 1);
                (onto.publish)(&hwpt);
                Ok((hwpt, put))
            }
            Err(e) => {
                self.drop_new_domain(domains, hwpt.domain());
                Err(e)
            }
        }
    }

    /// Makes a domain with everything in it that is mapped, and room for it in the list.
    fn new_hwpt(
        &self,
        domains: &mut Domains,
        new: NewHwpt,
        dev: &OwnedDevice,
        regions: &Regions,
        before: Option<&Domain>,
    ) -> Result<Arc<Hwpt>> {
        if domains.list.len() >= MOST_DOMAINS {
            return Err(ENOSPC);
        }
        let domain = Domain::new(dev, new.flags, new.data)?;
        let hwpt = Hwpt::new(new.id, domain, new.kind, new.takes_pasids)?;
        let domain = hwpt.domain();
        self.check_domain(domains, domain, &regions.reserved)?;
        regions.sw_msi.set_up(domain, before)?;
        domains.list.reserve(1, GFP_KERNEL_ACCOUNT)?;
        self.fill(domains, domain)?;
        Ok(hwpt)
    }

    /// Whether a new domain suits the space: its pages, its aperture, what is mapped already.
    fn check_domain(
        &self,
        domains: &Domains,
        domain: &Domain,
        reserved: &[(DeviceRef, IovaRange)],
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
        if domains.allowed.lie_in(aperture) && self.space.lock().areas.lie_in(aperture) {
            self.check_alignment(domain.smallest_page())
        } else {
            Err(EADDRINUSE)
        }
    }

    /// Whether all that is mapped is a multiple of `alignment`, a page at most. Nobody maps
    /// meanwhile.
    ///
    /// # Errors
    ///
    /// `EADDRINUSE`: something is not. `EINTR`.
    pub(super) fn check_alignment(&self, alignment: u64) -> Result {
        if !self.space.lock().has_bytes {
            return Ok(());
        }
        let mut rest = Some(IovaRange::ALL);
        while let Some(range) = rest {
            task::resched_killable()?;
            let space = self.space.lock();
            let Some((area, mapped)) = space.areas.first_live(range) else {
                break;
            };
            if !mapped.mapping().is_aligned(area, alignment) {
                return Err(EADDRINUSE);
            }
            rest = range.behind(area.last());
        }
        Ok(())
    }

    /// Undoes [`Self::attach`] for devices that are blocked, or in another space, by now.
    ///
    /// `off` is the domain that the group was on, if the group goes as a whole. If that domain goes
    /// with it, `retire` sees to it first that nobody finds it, and may not wait.
    pub(crate) fn detach(
        &self,
        is_leaving: impl Fn(&DeviceRef) -> bool,
        off: Option<Arc<Hwpt>>,
        retire: impl FnOnce(&Arc<Hwpt>),
    ) {
        let mut domains = self.domains.write();
        domains.reserved.retain(|(dev, _)| !is_leaving(dev));
        let Some(hwpt) = off else { return };
        let Ok(slot) = domains.slot_mut(&hwpt) else {
            // It cannot be removed while a group is on it.
            warn_on!(true);
            return;
        };
        slot.groups = slot.groups.saturating_sub(1);
        if slot.groups > 0 || !hwpt.is_auto() {
            return;
        }
        retire(&hwpt);
        self.drop_domain(domains, &hwpt);
    }

    /// Whether every domain enforces snooping.
    ///
    /// # Errors
    ///
    /// `EINTR`.
    pub(crate) fn all_enforce_snoop(&self) -> Result<bool> {
        let domains = self.domains.read_killable()?;
        let mut domains = domains.list.iter().map(|slot| slot.domain());
        Ok(domains.all(|domain| domain.enforces_snoop()))
    }

    /// The page sizes that mappings can be made of in every domain: bit n stands for 2^n bytes.
    ///
    /// # Errors
    ///
    /// `EINTR`.
    pub(crate) fn pgsizes(&self) -> Result<u64> {
        let domains = self.domains.read_killable()?;
        let bitmaps = domains
            .list
            .iter()
            .map(|slot| slot.domain().pgsize_bitmap());
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
            reserved: KVVec::new(),
            ..Self::of(&[dev])?
        })
    }

    fn of(devs: &[&OwnedDevice]) -> Result<Self> {
        let mut reserved = KVVec::new();
        let mut sw_msi = SwMsi::None;
        for dev in devs {
            for region in dev.reserved_regions()? {
                sw_msi.learn(&region);
                reserved.push((dev.device(), region.range()), GFP_KERNEL_ACCOUNT)?;
            }
        }
        Ok(Self { reserved, sw_msi })
    }
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
