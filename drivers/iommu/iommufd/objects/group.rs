// SPDX-License-Identifier: GPL-2.0

//! The devices of one IOMMU group that are bound to a context, and where the group is attached.
//!
//! Devices are bound one by one, but an IOMMU translates for the group as a whole: all that
//! attach share one address space, the first puts the group on a domain, the last takes it off.

use crate::{
    kapi::{
        device::{
            Attachment,
            BoundDevice,
            DeviceRef,
            IommuGroup,
            OwnedDevice,
            OwnedGroup, //
        },
        domain::Domain,
        trace, //
    },
    objects::{
        context::HwptIds,
        ioas::{
            Ioas,
            IoasUser, //
        }, //
    },
    space::{
        attach::{
            Onto,
            Wanted, //
        },
        hwpt::Hwpt, //
    }, //
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        Arc,
        Mutex, //
    },
    warn_on, //
};

/// A bound device, as it is found. What is done to it goes through its group.
pub(crate) struct Idev {
    id: u32,
    dev: DeviceRef,
    /// The group has it, too, as long as it is bound.
    group: Arc<Group>,
    /// The IOASID that it is attached to, or 0: for those who look on, and wait for nobody.
    ioasid: Atomic<u32>,
}

impl Idev {
    /// A device that is not bound yet.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(id: u32, dev: DeviceRef, group: Arc<Group>) -> Result<Arc<Self>> {
        let idev = Self {
            id,
            dev,
            group,
            ioasid: Atomic::new(0),
        };
        Ok(Arc::new(idev, GFP_KERNEL_ACCOUNT)?)
    }

    /// The id that userspace knows the device by.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// The name of the device, such as its PCI address.
    pub(crate) fn name(&self) -> &CStr {
        self.dev.name()
    }

    /// The device's group.
    pub(crate) fn group(&self) -> &Arc<Group> {
        &self.group
    }

    /// The address space that it is attached to, if it is.
    pub(crate) fn ioasid(&self) -> Option<u32> {
        Some(self.ioasid.load(Relaxed)).filter(|ioasid| *ioasid != 0)
    }

    fn set_ioasid(&self, ioasid: u32) {
        self.ioasid.store(ioasid, Relaxed);
    }
}

/// An IOMMU group, as one context sees it.
#[pin_data]
pub(crate) struct Group {
    iommu: Arc<OwnedGroup>,
    #[pin]
    state: Mutex<State>,
}

struct State {
    members: KVVec<Member>,
    seat: Option<Seat>,
    /// The domain that the group was on last, for what its devices still know of it.
    before: Option<Arc<Domain>>,
}

/// What a group knows of a bound device.
struct Member {
    idev: Arc<Idev>,
    dev: OwnedDevice,
    attached: bool,
}

/// Where a group is to go.
pub(crate) struct Target {
    /// The address space.
    pub(crate) ioas: Arc<Ioas>,
    /// Which of its domains.
    pub(crate) wanted: Wanted,
}

/// Where the group is attached; there while any member is attached.
pub(crate) struct Seat {
    hw: Attachment,
    ioas: IoasUser,
    hwpt: Arc<Hwpt>,
}

impl Seat {
    /// The domain that the group is on.
    pub(crate) fn domain(&self) -> &Arc<Domain> {
        self.hw.domain()
    }

    /// The address space that the domain belongs to.
    pub(crate) fn ioas(&self) -> &Arc<Ioas> {
        self.ioas.ioas()
    }

    fn suits(&self, target: &Target) -> bool {
        Arc::ptr_eq(self.ioas(), &target.ioas) && target.wanted.suits(&self.hwpt)
    }

    /// Moves the group, whose devices are `members`, to another domain.
    fn move_to(&mut self, members: &[Member], target: &Target, ids: &mut HwptIds<'_>) -> Result {
        if self.suits(target) {
            return Ok(());
        }
        if Arc::ptr_eq(self.ioas(), &target.ioas) {
            let old = self.move_within(members, &target.wanted, ids)?;
            let ioas = self.ioas();
            ioas.dismiss(|_| false, Some(old), |gone| ids.retire(gone, ioas));
        } else {
            let (left, old) = self.move_out(members, target, ids)?;
            let moved = |dev: &DeviceRef| attached(members).any(|member| member.idev.dev.same(dev));
            let ioas = left.ioas();
            ioas.dismiss(moved, Some(old), |gone| ids.retire(gone, ioas));
        }
        Ok(())
    }

    /// Returns the domain that the group has left.
    fn move_within(
        &mut self,
        members: &[Member],
        wanted: &Wanted,
        ids: &mut HwptIds<'_>,
    ) -> Result<Arc<Hwpt>> {
        let lead = attached(members).next().ok_or(EINVAL)?;
        let old = self.hw.domain().clone();
        let onto = Onto {
            put: &mut |domain| self.hw.replace(domain.clone()),
            publish: &mut |hwpt| ids.publish(hwpt),
            before: Some(&*old).filter(|_| have_interrupts(members)),
        };
        let (hwpt, ()) = self.ioas.ioas().reseat(&lead.dev, wanted, onto)?;
        Ok(core::mem::replace(&mut self.hwpt, hwpt))
    }

    /// Returns the space and the domain that the group has left.
    fn move_out(
        &mut self,
        members: &[Member],
        target: &Target,
        ids: &mut HwptIds<'_>,
    ) -> Result<(IoasUser, Arc<Hwpt>)> {
        let mut newcomers = KVVec::new();
        for member in attached(members) {
            newcomers.push(&member.dev, GFP_KERNEL)?;
        }
        let lead = *newcomers.first().ok_or(EINVAL)?;
        let old = self.hw.domain().clone();
        let objects = ids.objects();
        let onto = Onto {
            put: &mut |domain| {
                let user = objects.use_ioas(&target.ioas)?;
                self.hw.replace(domain.clone())?;
                Ok(user)
            },
            publish: &mut |hwpt| ids.publish(hwpt),
            before: Some(&*old).filter(|_| have_interrupts(members)),
        };
        let (hwpt, user) = target.ioas.admit(lead, &newcomers, &target.wanted, onto)?;
        Ok((
            core::mem::replace(&mut self.ioas, user),
            core::mem::replace(&mut self.hwpt, hwpt),
        ))
    }
}

fn attached(members: &[Member]) -> impl Iterator<Item = &Member> {
    members.iter().filter(|member| member.attached)
}

fn find<'a>(members: &'a [Member], idev: &Arc<Idev>) -> Result<&'a Member> {
    let mut members = members.iter();
    members
        .find(|member| Arc::ptr_eq(&member.idev, idev))
        .ok_or(ENOENT)
}

fn find_mut<'a>(members: &'a mut [Member], idev: &Arc<Idev>) -> Result<&'a mut Member> {
    let mut members = members.iter_mut();
    members
        .find(|member| Arc::ptr_eq(&member.idev, idev))
        .ok_or(ENOENT)
}

fn have_interrupts(members: &[Member]) -> bool {
    members.iter().any(|member| member.dev.has_interrupts())
}

/// Takes a device into an address space, and its group onto a domain if it is the first. Returns
/// the id of that domain.
fn seat_device(
    seat: &mut Option<Seat>,
    member: &Member,
    target: &Target,
    before: Option<&Domain>,
    ids: &mut HwptIds<'_>,
) -> Result<u32> {
    if member.attached {
        return Err(EBUSY);
    }
    if let Some(seat) = seat {
        if !seat.suits(target) {
            return Err(EINVAL);
        }
        target.ioas.admit_one_more(&member.dev)?;
        return Ok(seat.hwpt.id());
    }
    let objects = ids.objects();
    let onto = Onto {
        put: &mut |domain| {
            let user = objects.use_ioas(&target.ioas)?;
            Ok((user, member.dev.attach(domain.clone())?))
        },
        publish: &mut |hwpt| ids.publish(hwpt),
        before,
    };
    let dev = &member.dev;
    let (hwpt, (ioas, hw)) = target.ioas.admit(dev, &[dev], &target.wanted, onto)?;
    Ok(seat.insert(Seat { hw, ioas, hwpt }).hwpt.id())
}

/// Takes a device that was attached out of the address space, and its group off the domain if it
/// was the last.
fn leave(seat: &mut Option<Seat>, leaver: &DeviceRef, last: bool, ids: &mut HwptIds<'_>) {
    let is_leaving = |dev: &DeviceRef| leaver.same(dev);
    match seat.take() {
        Some(Seat { hw, ioas, hwpt }) if last => {
            // First block the DMA, then let go of what it went to.
            drop(hw);
            let ioas = ioas.ioas();
            ioas.dismiss(is_leaving, Some(hwpt), |gone| ids.retire(gone, ioas));
        }
        Some(stays) => {
            stays.ioas().dismiss(is_leaving, None, |_| ());
            *seat = Some(stays);
        }
        // A member is attached where the group is.
        None => {
            warn_on!(true);
        }
    }
}

impl State {
    fn detach(&mut self, idev: &Arc<Idev>, ids: &mut HwptIds<'_>) {
        let Self {
            members,
            seat,
            before,
        } = self;
        match find_mut(members, idev) {
            Ok(member) if member.attached => member.attached = false,
            _ => return,
        }
        let last = attached(members).next().is_none();
        let ioasid = seat.as_ref().map_or(0, |seat| seat.ioas().id());
        if last && have_interrupts(members) {
            *before = seat.as_ref().map(|seat| seat.domain().clone());
        }
        // Detaching cannot fail; the closure does as the tracing of calls that can wants it.
        let detached = trace::detach(idev.name(), idev.id, ioasid, || {
            leave(seat, &idev.dev, last, ids);
            Ok(())
        });
        warn_on!(detached.is_err());
        idev.set_ioasid(0);
    }

    fn note_where_attached(&self) {
        let ioasid = self.seat.as_ref().map_or(0, |seat| seat.ioas().id());
        for member in attached(&self.members) {
            member.idev.set_ioasid(ioasid);
        }
    }
}

impl Group {
    /// A group without devices.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(iommu: IommuGroup) -> Result<Arc<Self>> {
        let iommu = OwnedGroup::new(iommu)?;
        let state = State {
            members: KVVec::new(),
            seat: None,
            before: None,
        };
        Arc::pin_init(
            pin_init!(Self {
                iommu,
                state <- new_mutex!(state, "iommufd_group"),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// The group itself.
    pub(crate) fn iommu_group(&self) -> &IommuGroup {
        self.iommu.iommu_group()
    }

    /// Claims a device for `owner` and takes it in as `idev`. Its DMA is blocked from here on.
    ///
    /// # Errors
    ///
    /// Those of [`BoundDevice::claim`]; `EBUSY` if the device is bound already; `ENOMEM`.
    pub(crate) fn bind<T>(
        &self,
        idev: &Arc<Idev>,
        dev: BoundDevice<'_>,
        owner: &Arc<T>,
        msi_may_leak: bool,
    ) -> Result {
        let mut state = self.state.lock();
        if state.members.iter().any(|member| dev.is(&member.dev)) {
            return Err(EBUSY);
        }
        state.members.reserve(1, GFP_KERNEL_ACCOUNT)?;
        let dev = trace::bind(dev.name(), idev.id, 0, || {
            dev.claim(&self.iommu, owner, msi_may_leak)
        })?;
        let member = Member {
            idev: idev.clone(),
            dev,
            attached: false,
        };
        warn_on!(state.members.push_within_capacity(member).is_err());
        Ok(())
    }

    /// Lets a device go, detached.
    pub(crate) fn unbind(&self, idev: &Arc<Idev>, ids: &mut HwptIds<'_>) {
        let mut state = self.state.lock();
        state.detach(idev, ids);
        state
            .members
            .retain(|member| !Arc::ptr_eq(&member.idev, idev));
    }

    /// Attaches a device to an address space. Returns the id of the domain that its group is on.
    ///
    /// # Errors
    ///
    /// * `EBUSY`: it is attached already.
    /// * `EINVAL`: another device of the group is attached to another domain.
    /// * Those of [`crate::space::IoPagetable::admit`].
    pub(crate) fn attach(
        &self,
        idev: &Arc<Idev>,
        target: &Target,
        ids: &mut HwptIds<'_>,
    ) -> Result<u32> {
        let mut state = self.state.lock();
        let State {
            members,
            seat,
            before,
        } = &mut *state;
        let known = before.as_deref().filter(|_| have_interrupts(members));
        let member = find_mut(members, idev)?;
        let hwpt = trace::attach(idev.name(), idev.id, target.ioas.id(), || {
            seat_device(seat, member, target, known, ids)
        })?;
        member.attached = true;
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
        target: &Target,
        ids: &mut HwptIds<'_>,
    ) -> Result<u32> {
        let mut state = self.state.lock();
        let State { members, seat, .. } = &mut *state;
        let member = find(members, idev)?;
        let seat = seat.as_mut().filter(|_| member.attached).ok_or(EINVAL)?;
        trace::attach(idev.name(), idev.id, target.ioas.id(), || {
            seat.move_to(members, target, ids)
        })?;
        let hwpt = seat.hwpt.id();
        state.note_where_attached();
        Ok(hwpt)
    }

    /// Detaches a device; its DMA is blocked from here on. Does nothing if it is not attached, or
    /// not to `ioasid`.
    pub(crate) fn detach(&self, idev: &Arc<Idev>, ioasid: Option<u32>, ids: &mut HwptIds<'_>) {
        let mut state = self.state.lock();
        let there = state.seat.as_ref().map(|seat| seat.ioas().id());
        if ioasid.is_none() || ioasid == there {
            state.detach(idev, ids);
        }
    }

    /// Shows a device, and where its group is attached if it is itself, to `look`. The device
    /// stays bound meanwhile.
    ///
    /// # Errors
    ///
    /// `ENOENT`: the device is not bound any more; and those of `look`.
    pub(crate) fn with_device<R>(
        &self,
        idev: &Arc<Idev>,
        look: impl FnOnce(&OwnedDevice, Option<&Seat>) -> Result<R>,
    ) -> Result<R> {
        let state = self.state.lock();
        let member = find(&state.members, idev)?;
        look(&member.dev, state.seat.as_ref().filter(|_| member.attached))
    }
}
