// SPDX-License-Identifier: GPL-2.0

//! Where a group goes when one of its devices is attached, moved or detached.

use super::group::{
    attached,
    find,
    find_mut,
    have_interrupts,
    Attached,
    Group,
    Idev,
    Member,
    State, //
};
use crate::{
    kapi::{
        attachment::{
            Attachment,
            Translation,
            NO_PASID, //
        },
        device::DeviceRef,
        domain::Domain,
        nested::NestedDomain,
        trace, //
    },
    objects::{
        hwpt_ids::HwptIds,
        ioas::{
            Ioas,
            IoasUser, //
        },
        nested::Nested,
        table::Objects,
        users::User, //
    },
    space::{
        attach::{
            Onto,
            WantedHwpt, //
        },
        hwpt::Hwpt, //
    }, //
};
use kernel::{
    prelude::*,
    sync::Arc,
    warn_on, //
};

/// Where a group is to go.
pub(crate) struct Target<'a> {
    /// The address space.
    pub(crate) ioas: Arc<Ioas>,
    /// Which of its domains.
    pub(crate) wanted: WantedHwpt,
    /// Which domain inside of that, if any.
    pub(crate) inside: Option<(&'a Arc<Nested>, &'a Arc<NestedDomain>)>,
}

impl Target<'_> {
    /// What is to translate, with `domain` as the paging domain.
    pub(super) fn by(&self, domain: &Arc<Domain>) -> Translation {
        match self.inside {
            Some((_, nested)) => Translation::Nested(nested.clone()),
            None => Translation::Paging(domain.clone()),
        }
    }

    /// Whether it is for devices that have PASIDs in use, and for PASIDs.
    pub(super) fn takes_pasids(&self) -> bool {
        match self.inside {
            Some((nested, _)) => nested.takes_pasids(),
            None => self.wanted.takes_pasids(),
        }
    }

    /// A use of the domain inside, if there is one.
    pub(super) fn hold_inside(&self, objects: &Objects) -> Result<Option<User<Nested>>> {
        self.inside
            .map(|(nested, _)| objects.hold(nested))
            .transpose()
    }
}

impl Attached {
    pub(super) fn suits(&self, target: &Target<'_>) -> bool {
        let inside = self.inside.as_ref().map(User::get);
        let same = match (inside, target.inside) {
            (Some(inside), Some((wanted, _))) => Arc::ptr_eq(inside, wanted),
            (None, None) => true,
            _ => false,
        };
        same && Arc::ptr_eq(self.ioas(), &target.ioas) && target.wanted.suits(&self.hwpt)
    }

    /// Moves the group, whose devices are `members`, to another domain.
    fn move_to(
        &mut self,
        members: &[Member],
        has_pasids: bool,
        target: &Target<'_>,
        ids: &mut HwptIds<'_>,
    ) -> Result {
        if self.suits(target) {
            return Ok(());
        }
        if Arc::ptr_eq(self.ioas(), &target.ioas) {
            let old = self.move_within(members, has_pasids, target, ids)?;
            let ioas = self.ioas();
            ioas.iopt
                .detach(|_| false, Some(old), |gone| ids.retire(gone, ioas));
        } else {
            let (left, old) = self.move_out(members, has_pasids, target, ids)?;
            let moved =
                |dev: &DeviceRef| attached(members).any(|member| member.idev.dev().same(dev));
            let ioas = left.ioas();
            ioas.iopt
                .detach(moved, Some(old), |gone| ids.retire(gone, ioas));
        }
        Ok(())
    }

    /// Returns the domain that the group has left.
    fn move_within(
        &mut self,
        members: &[Member],
        has_pasids: bool,
        target: &Target<'_>,
        ids: &mut HwptIds<'_>,
    ) -> Result<Arc<Hwpt>> {
        let lead = attached(members).next().ok_or(EINVAL)?;
        let old = self.hw.domain().clone();
        let inside = target.hold_inside(ids.objects())?;
        let onto = Onto {
            put: &mut |domain| self.hw.replace(target.by(domain)),
            publish: &mut |hwpt| ids.publish(hwpt),
            before: Some(&*old).filter(|_| have_interrupts(members)),
            is_allowed: !has_pasids || target.takes_pasids(),
        };
        let iopt = &self.ioas.ioas().iopt;
        let (hwpt, ()) = iopt.replace(&lead.dev, &target.wanted, onto)?;
        self.inside = inside;
        Ok(core::mem::replace(&mut self.hwpt, hwpt))
    }

    /// Returns the space and the domain that the group has left.
    fn move_out(
        &mut self,
        members: &[Member],
        has_pasids: bool,
        target: &Target<'_>,
        ids: &mut HwptIds<'_>,
    ) -> Result<(IoasUser, Arc<Hwpt>)> {
        let mut newcomers = KVVec::new();
        for member in attached(members) {
            newcomers.push(&member.dev, GFP_KERNEL)?;
        }
        let lead = *newcomers.first().ok_or(EINVAL)?;
        let old = self.hw.domain().clone();
        let objects = ids.objects();
        let inside = target.hold_inside(objects)?;
        let onto = Onto {
            put: &mut |domain| {
                let user = objects.use_ioas(&target.ioas)?;
                self.hw.replace(target.by(domain))?;
                Ok(user)
            },
            publish: &mut |hwpt| ids.publish(hwpt),
            before: Some(&*old).filter(|_| have_interrupts(members)),
            is_allowed: !has_pasids || target.takes_pasids(),
        };
        let (hwpt, user) = target
            .ioas
            .iopt
            .attach(lead, &newcomers, &target.wanted, onto)?;
        self.inside = inside;
        Ok((
            core::mem::replace(&mut self.ioas, user),
            core::mem::replace(&mut self.hwpt, hwpt),
        ))
    }
}

/// Takes a device into an address space, and its group onto a domain if it is the first. Returns
/// the id of that domain.
fn attach_device(
    place: &mut Option<Attached>,
    member: &Member,
    target: &Target<'_>,
    before: Option<&Domain>,
    has_pasids: bool,
    ids: &mut HwptIds<'_>,
) -> Result<u32> {
    if member.is_attached {
        return Err(EBUSY);
    }
    if let Some(there) = place {
        if !there.suits(target) || !there.hw.suits() {
            return Err(EINVAL);
        }
        target.ioas.iopt.attach_one_more(&member.dev)?;
        return Ok(there.hwpt_id());
    }
    let objects = ids.objects();
    let inside = target.hold_inside(objects)?;
    let onto = Onto {
        put: &mut |domain| {
            let user = objects.use_ioas(&target.ioas)?;
            let hw = Attachment::new(&member.dev, member.idev.id(), NO_PASID, target.by(domain))?;
            Ok((user, hw))
        },
        publish: &mut |hwpt| ids.publish(hwpt),
        before,
        is_allowed: !has_pasids || target.takes_pasids(),
    };
    let dev = &member.dev;
    let (hwpt, (ioas, hw)) = target.ioas.iopt.attach(dev, &[dev], &target.wanted, onto)?;
    let there = Attached {
        hw,
        ioas,
        hwpt,
        inside,
    };
    Ok(place.insert(there).hwpt_id())
}

/// Takes a device that was attached out of the address space, and its group off the domain if it
/// was the last.
fn leave(place: &mut Option<Attached>, leaver: &DeviceRef, last: bool, ids: &mut HwptIds<'_>) {
    let is_leaving = |dev: &DeviceRef| leaver.same(dev);
    match place.take() {
        Some(Attached {
            hw,
            ioas,
            hwpt,
            inside,
        }) if last => {
            // First block the DMA, then let go of what it went to.
            drop(hw);
            drop(inside);
            let ioas = ioas.ioas();
            ioas.iopt
                .detach(is_leaving, Some(hwpt), |gone| ids.retire(gone, ioas));
        }
        Some(stays) => {
            stays.ioas().iopt.detach(is_leaving, None, |_| ());
            *place = Some(stays);
        }
        // A member is attached where the group is.
        None => {
            warn_on!(true);
        }
    }
}

impl State {
    /// Detaches a device, if it is attached.
    pub(super) fn detach(&mut self, idev: &Arc<Idev>, ids: &mut HwptIds<'_>) {
        let Self {
            members,
            attached: place,
            before,
            ..
        } = self;
        match find_mut(members, idev) {
            Ok(member) if member.is_attached => member.is_attached = false,
            _ => return,
        }
        let last = attached(members).next().is_none();
        let ioasid = place.as_ref().map_or(0, |there| there.ioas().id());
        if last && have_interrupts(members) {
            *before = place.as_ref().map(|there| there.domain().clone());
        }
        // Detaching cannot fail; the closure does as the tracing of calls that can wants it.
        let detached = trace::detach(idev.name(), idev.id(), ioasid, || {
            leave(place, idev.dev(), last, ids);
            Ok(())
        });
        warn_on!(detached.is_err());
        if let (Some(there), Some(other)) = (place, attached(members).next()) {
            there.hw.set_dev_id(other.idev.id());
        }
        idev.set_ioasid(0);
    }

    fn note_where_attached(&self) {
        let ioasid = self.attached.as_ref().map_or(0, |there| there.ioas().id());
        for member in attached(&self.members) {
            member.idev.set_ioasid(ioasid);
        }
    }
}

impl Group {
    /// Attaches a device to an address space. Returns the id of the domain that its group is on.
    ///
    /// # Errors
    ///
    /// * `EBUSY`: it is attached already.
    /// * `EINVAL`: another device of the group is attached to another domain; or PASIDs of the
    ///   group are, and this domain was not made to be beside any.
    /// * Those of [`crate::space::IoPagetable::attach`].
    pub(crate) fn attach(
        &self,
        idev: &Arc<Idev>,
        target: &Target<'_>,
        ids: &mut HwptIds<'_>,
    ) -> Result<u32> {
        let mut state = self.state.lock();
        let State {
            members,
            attached: place,
            pasids,
            before,
        } = &mut *state;
        let known = before.as_deref().filter(|_| have_interrupts(members));
        let member = find_mut(members, idev)?;
        let hwpt = trace::attach(idev.name(), idev.id(), target.ioas.id(), || {
            attach_device(place, member, target, known, !pasids.is_empty(), ids)
        })?;
        member.is_attached = true;
        *before = None;
        state.note_where_attached();
        Ok(hwpt)
    }

    /// Moves the group, with all its attached devices, to another domain or address space.
    /// Returns the id of the domain that it is on.
    ///
    /// # Errors
    ///
    /// `EINVAL`: the device is not attached; and those of [`Self::attach`]. The group then is
    /// where it was.
    pub(crate) fn replace(
        &self,
        idev: &Arc<Idev>,
        target: &Target<'_>,
        ids: &mut HwptIds<'_>,
    ) -> Result<u32> {
        let mut state = self.state.lock();
        let State {
            members,
            attached,
            pasids,
            ..
        } = &mut *state;
        let member = find(members, idev)?;
        let there = attached.as_mut().filter(|_| member.is_attached);
        let there = there.ok_or(EINVAL)?;
        trace::attach(idev.name(), idev.id(), target.ioas.id(), || {
            there.move_to(members, !pasids.is_empty(), target, ids)
        })?;
        let hwpt = there.hwpt_id();
        state.note_where_attached();
        Ok(hwpt)
    }

    /// Detaches a device; its DMA is blocked from here on. Does nothing if it is not attached, or
    /// not to `ioasid`.
    pub(crate) fn detach(&self, idev: &Arc<Idev>, ioasid: Option<u32>, ids: &mut HwptIds<'_>) {
        let mut state = self.state.lock();
        let there = state.attached.as_ref().map(|there| there.ioas().id());
        if ioasid.is_none() || ioasid == there {
            state.detach(idev, ids);
        }
    }
}
