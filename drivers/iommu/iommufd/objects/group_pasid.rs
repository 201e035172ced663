// SPDX-License-Identifier: GPL-2.0

//! Where the PASIDs of a group's devices are attached.
//!
//! An IOMMU translates a PASID for the group as a whole, as it does for DMA without one: all
//! devices that attach it share its domain, the first puts it there, the last takes it off. It goes
//! to domains only that userspace has made for PASIDs, and only beside another such domain, if the
//! group is on one.

use super::{
    group::{
        find,
        Attached,
        Group,
        Idev,
        Member,
        Pasid,
        State, //
    },
    group_attach::Target,
    hwpt_ids::HwptIds,
    table::Objects, //
};
use crate::{
    kapi::{
        attachment::Attachment,
        task, //
    },
    space::{
        attach::WantedHwpt,
        hwpt::Hwpt, //
    }, //
};
use kernel::{
    prelude::*,
    rbtree::RBTreeNodeReservation,
    sync::Arc, //
};

impl Pasid {
    fn has(&self, idev: &Arc<Idev>) -> bool {
        self.devices.iter().any(|other| Arc::ptr_eq(other, idev))
    }

    /// Takes in a device that wants it to be where it is. Returns the id of its domain.
    fn join(&mut self, idev: &Arc<Idev>, target: &Target<'_>) -> Result<u32> {
        if self.has(idev) {
            return Err(EBUSY);
        }
        if !self.attached.suits(target) {
            return Err(EINVAL);
        }
        self.devices.push(idev.clone(), GFP_KERNEL_ACCOUNT)?;
        Ok(self.attached.hwpt_id())
    }
}

/// The domain that a PASID is to go to, be it by way of another, of a group that is on `beside`
/// without one.
///
/// # Errors
///
/// `EINVAL`: it is not for PASIDs, or what the group is on is not.
fn wanted<'a>(target: &'a Target<'_>, beside: Option<&Attached>) -> Result<&'a Arc<Hwpt>> {
    match &target.wanted {
        WantedHwpt::This(hwpt)
            if target.takes_pasids() && beside.is_none_or(Attached::takes_pasids) =>
        {
            Ok(hwpt)
        }
        _ => Err(EINVAL),
    }
}

impl Attached {
    /// Puts a PASID on a domain.
    fn of_pasid(
        member: &Member,
        pasid: u32,
        target: &Target<'_>,
        hwpt: &Arc<Hwpt>,
        objects: &Objects,
    ) -> Result<Self> {
        let dev = &member.dev;
        let inside = target.hold_inside(objects)?;
        let (ioas, hw) = target.ioas.iopt.attach_pasid(dev, hwpt, |domain| {
            let ioas = objects.use_ioas(&target.ioas)?;
            Ok((
                ioas,
                Attachment::new(dev, member.idev.id(), pasid, target.by(domain))?,
            ))
        })?;
        Ok(Self {
            hw,
            ioas,
            hwpt: hwpt.clone(),
            inside,
        })
    }

    /// Moves a PASID to another domain.
    fn move_pasid(
        &mut self,
        member: &Member,
        target: &Target<'_>,
        hwpt: &Arc<Hwpt>,
        objects: &Objects,
    ) -> Result {
        let dev = &member.dev;
        let inside = target.hold_inside(objects)?;
        let ioas = target.ioas.iopt.attach_pasid(dev, hwpt, |domain| {
            let ioas = objects.use_ioas(&target.ioas)?;
            self.hw.replace(target.by(domain))?;
            Ok(ioas)
        })?;
        self.inside = inside;
        let left = core::mem::replace(&mut self.ioas, ioas);
        let old = core::mem::replace(&mut self.hwpt, hwpt.clone());
        left.ioas().iopt.detach(|_| false, Some(old), |_| ());
        Ok(())
    }

    /// Takes a PASID off its domain, which userspace has made, and which stays.
    fn end_pasid(self) {
        // First block the DMA, then let go of what it went to.
        drop(self.hw);
        drop(self.inside);
        let ioas = self.ioas.ioas();
        ioas.iopt.detach(|_| false, Some(self.hwpt), |_| ());
    }
}

impl State {
    /// Detaches a PASID of a device, if it is attached.
    fn detach_pasid(&mut self, idev: &Arc<Idev>, pasid: u32) {
        let Some(mut entry) = self.pasids.find_mut(&pasid) else {
            return;
        };
        let Pasid { attached, devices } = entry.get_mut();
        devices.retain(|other| !Arc::ptr_eq(other, idev));
        match devices.first() {
            Some(other) => attached.hw.set_dev_id(other.id()),
            None => entry.remove().attached.end_pasid(),
        }
    }

    /// Detaches all PASIDs of a device.
    fn detach_pasids(&mut self, idev: &Arc<Idev>) {
        let mut next = Some(0);
        while let Some(pasid) = next.and_then(|next| self.pasid_from(next)) {
            self.detach_pasid(idev, pasid);
            next = pasid.checked_add(1);
            task::resched();
        }
    }

    /// The first PASID that is attached, from `first` on.
    fn pasid_from(&self, first: u32) -> Option<u32> {
        let found = self.pasids.cursor_lower_bound(&first)?;
        Some(*found.current().0)
    }
}

impl Group {
    /// Lets a device go, detached with all its PASIDs.
    pub(crate) fn unbind(&self, idev: &Arc<Idev>, ids: &mut HwptIds<'_>) {
        let mut state = self.state.lock();
        state.detach_pasids(idev);
        state.detach(idev, ids);
        state.entomb_vdevice(idev, ids.objects());
        state
            .members
            .retain(|member| !Arc::ptr_eq(&member.idev, idev));
    }

    /// Attaches a PASID of a device to a domain. Returns the id of that domain.
    ///
    /// # Errors
    ///
    /// * `EBUSY`: it is attached already, or a device of the group is being reset.
    /// * `EINVAL`: another device of the group has attached it to another domain; the domain was
    ///   not made for PASIDs, or the one that the group is on was not; no device has that PASID.
    /// * `EOPNOTSUPP`: the IOMMU knows no PASIDs. `ENOENT`, `ENOMEM`, `EINTR`.
    pub(crate) fn attach_pasid(
        &self,
        idev: &Arc<Idev>,
        pasid: u32,
        target: &Target<'_>,
        objects: &Objects,
    ) -> Result<u32> {
        let mut state = self.state.lock();
        let State {
            members,
            attached,
            pasids,
            ..
        } = &mut *state;
        let member = find(members, idev)?;
        if let Some(there) = pasids.get_mut(&pasid) {
            return there.join(idev, target);
        }
        let hwpt = wanted(target, attached.as_ref())?;
        let room = RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?;
        let devices = KVVec::from_elem(idev.clone(), 1, GFP_KERNEL_ACCOUNT)?;
        let attached = Attached::of_pasid(member, pasid, target, hwpt, objects)?;
        let id = attached.hwpt_id();
        pasids.insert(room.into_node(pasid, Pasid { attached, devices }));
        Ok(id)
    }

    /// Moves a PASID of a device, and of all that have attached it with this one, to another
    /// domain. Returns the id of that domain.
    ///
    /// # Errors
    ///
    /// `EINVAL`: it is not attached; and those of [`Self::attach_pasid`]. It then is where it was.
    pub(crate) fn replace_pasid(
        &self,
        idev: &Arc<Idev>,
        pasid: u32,
        target: &Target<'_>,
        objects: &Objects,
    ) -> Result<u32> {
        let mut state = self.state.lock();
        let State {
            members,
            attached,
            pasids,
            ..
        } = &mut *state;
        let member = find(members, idev)?;
        let there = pasids.get_mut(&pasid).filter(|there| there.has(idev));
        let there = &mut there.ok_or(EINVAL)?.attached;
        if !there.suits(target) {
            let hwpt = wanted(target, attached.as_ref())?;
            there.move_pasid(member, target, hwpt, objects)?;
        }
        Ok(there.hwpt_id())
    }

    /// Detaches a PASID of a device; its DMA is blocked from here on. Does nothing if it is not
    /// attached.
    pub(crate) fn detach_pasid(&self, idev: &Arc<Idev>, pasid: u32) {
        self.state.lock().detach_pasid(idev, pasid);
    }
}
