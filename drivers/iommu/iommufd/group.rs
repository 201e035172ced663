// SPDX-License-Identifier: GPL-2.0

//! The devices of one IOMMU group that are bound to a context, and where the group is attached.
//!
//! Devices are bound one by one, but an IOMMU translates for the group as a whole: all that
//! attach share one address space, the first puts the group on a domain, the last takes it off.

use crate::{
    io_pagetable::Newcomer,
    ioas::IoasUser,
    kapi::{
        device::{
            Attachment,
            BoundDevice,
            IommuGroup,
            OwnedDevice, //
        },
        domain::Domain,
        trace,
    },
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};

/// An IOMMU group, as one context sees it.
#[pin_data]
pub(crate) struct Group {
    iommu: IommuGroup,
    #[pin]
    state: Mutex<State>,
}

struct State {
    members: KVec<Member>,
    seat: Option<Seat>,
}

/// A bound device.
struct Member {
    id: u32,
    dev: OwnedDevice,
    attached: bool,
}

/// Where the group is attached; there while any member is attached.
pub(crate) struct Seat {
    hw: Attachment,
    ioas: IoasUser,
}

impl Seat {
    /// The domain that the group is on.
    pub(crate) fn domain(&self) -> &Arc<Domain> {
        self.hw.domain()
    }

    /// The address space that the domain belongs to.
    pub(crate) fn ioas(&self) -> &IoasUser {
        &self.ioas
    }

    /// Moves the group, whose devices are `members`, to another address space.
    fn move_to(&mut self, members: &[Member], ioas: IoasUser) -> Result {
        if self.ioas.same(&ioas) {
            return Ok(());
        }
        let mut newcomers = KVec::new();
        for member in members.iter().filter(|member| member.attached) {
            newcomers.push(member.as_newcomer(), GFP_KERNEL)?;
        }
        let old = self.hw.domain().clone();
        let mut onto = |domain: &Arc<Domain>| self.hw.replace(domain.clone());
        ioas.admit(&newcomers, Some(&mut onto))?;
        let is_mover = |id| newcomers.iter().any(|newcomer| newcomer.id == id);
        let left = core::mem::replace(&mut self.ioas, ioas);
        left.dismiss(is_mover, Some(&old));
        Ok(())
    }
}

impl Member {
    fn as_newcomer(&self) -> Newcomer<'_> {
        Newcomer {
            id: self.id,
            dev: &self.dev,
        }
    }
}

fn find(members: &[Member], id: u32) -> Result<&Member> {
    let member = members.iter().find(|member| member.id == id);
    member.ok_or(ENOENT)
}

fn find_mut(members: &mut [Member], id: u32) -> Result<&mut Member> {
    let member = members.iter_mut().find(|member| member.id == id);
    member.ok_or(ENOENT)
}

/// Takes a device into an address space, and its group onto a domain if it is the first.
fn seat_device(seat: &mut Option<Seat>, member: &Member, ioas: IoasUser) -> Result {
    if member.attached {
        return Err(EBUSY);
    }
    match seat {
        Some(seat) if !seat.ioas.same(&ioas) => Err(EINVAL),
        Some(_) => ioas.admit(&[member.as_newcomer()], None),
        None => {
            let mut hw = None;
            let mut onto = |domain: &Arc<Domain>| {
                hw = Some(member.dev.attach(domain.clone())?);
                Ok(())
            };
            ioas.admit(&[member.as_newcomer()], Some(&mut onto))?;
            *seat = hw.map(|hw| Seat { hw, ioas });
            Ok(())
        }
    }
}

/// Takes a device that was attached out of the address space, and its group off the domain if it
/// was the last.
fn leave(seat: &mut Option<Seat>, id: u32, last: bool) {
    match seat.take() {
        Some(Seat { hw, ioas }) if last => {
            let domain = hw.domain().clone();
            // First block the DMA, then let go of what it went to.
            drop(hw);
            ioas.dismiss(|leaver| leaver == id, Some(&domain));
        }
        Some(stays) => {
            stays.ioas.dismiss(|leaver| leaver == id, None);
            *seat = Some(stays);
        }
        None => {}
    }
}

impl State {
    fn detach(&mut self, id: u32) {
        let Self { members, seat } = self;
        match find_mut(members, id) {
            Ok(member) if member.attached => member.attached = false,
            _ => return,
        }
        let last = !members.iter().any(|member| member.attached);
        let ioasid = seat.as_ref().map_or(0, |seat| seat.ioas.id());
        let Ok(member) = find(members, id) else {
            return;
        };
        // Detaching cannot fail; the closure does as the tracing of calls that can wants it.
        let _ = trace::detach(member.dev.name(), id, ioasid, || {
            leave(seat, id, last);
            Ok(())
        });
    }
}

impl Group {
    /// A group without devices.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(iommu: IommuGroup) -> Result<Arc<Self>> {
        let state = State {
            members: KVec::new(),
            seat: None,
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
        &self.iommu
    }

    /// Claims a device for `owner` and takes it in under `id`. Its DMA is blocked from here on.
    ///
    /// # Errors
    ///
    /// Those of [`BoundDevice::claim`]; `EBUSY` if the device is bound already; `ENOMEM`.
    pub(crate) fn bind<T>(
        &self,
        id: u32,
        dev: BoundDevice<'_>,
        owner: &Arc<T>,
        msi_may_leak: bool,
    ) -> Result {
        let mut state = self.state.lock();
        if state.members.iter().any(|member| dev.is(&member.dev)) {
            return Err(EBUSY);
        }
        state.members.reserve(1, GFP_KERNEL_ACCOUNT)?;
        let dev = trace::bind(dev.name(), id, 0, || dev.claim(owner, msi_may_leak))?;
        let member = Member {
            id,
            dev,
            attached: false,
        };
        Ok(state.members.push(member, GFP_KERNEL_ACCOUNT)?)
    }

    /// Lets a device go, detached.
    pub(crate) fn unbind(&self, id: u32) {
        let mut state = self.state.lock();
        state.detach(id);
        state.members.retain(|member| member.id != id);
    }

    /// Attaches a device to an address space.
    ///
    /// # Errors
    ///
    /// * `EBUSY`: it is attached already.
    /// * `EINVAL`: another device of the group is attached to another space.
    /// * Those of [`crate::io_pagetable::IoPagetable::admit`].
    pub(crate) fn attach(&self, id: u32, ioas: IoasUser) -> Result {
        let mut state = self.state.lock();
        let State { members, seat } = &mut *state;
        let member = find_mut(members, id)?;
        trace::attach(member.dev.name(), id, ioas.id(), || {
            seat_device(seat, member, ioas)
        })?;
        member.attached = true;
        Ok(())
    }

    /// Moves the group, with all its attached devices, to another address space.
    ///
    /// # Errors
    ///
    /// `EINVAL`: the device is not attached; and those of [`Self::attach`]. The group then is
    /// where it was.
    pub(crate) fn replace(&self, id: u32, ioas: IoasUser) -> Result {
        let mut state = self.state.lock();
        let State { members, seat } = &mut *state;
        let member = find(members, id)?;
        let seat = seat.as_mut().filter(|_| member.attached).ok_or(EINVAL)?;
        let name = member.dev.name();
        trace::attach(name, id, ioas.id(), || seat.move_to(members, ioas))
    }

    /// Detaches a device; its DMA is blocked from here on. Does nothing if it is not attached, or
    /// not to `ioasid`.
    pub(crate) fn detach(&self, id: u32, ioasid: Option<u32>) {
        let mut state = self.state.lock();
        let there = state.seat.as_ref().map(|seat| seat.ioas.id());
        if ioasid.is_none() || ioasid == there {
            state.detach(id);
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
        id: u32,
        look: impl FnOnce(&OwnedDevice, Option<&Seat>) -> Result<R>,
    ) -> Result<R> {
        let state = self.state.lock();
        let member = find(&state.members, id)?;
        look(&member.dev, state.seat.as_ref().filter(|_| member.attached))
    }
}
