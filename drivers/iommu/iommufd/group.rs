// SPDX-License-Identifier: GPL-2.0

//! The devices of one IOMMU group that are bound to a context, and where the group is attached.
//!
//! Devices are bound one by one, but an IOMMU translates for the group as a whole: all that
//! attach share one address space, the first puts the group on a domain, the last takes it off.

use crate::{
    io_pagetable::attach::{
        Chosen,
        Newcomer,
        Onto,
        Wanted, //
    },
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
    /// The domain that the group was on last, for what its devices still know of it.
    before: Option<Arc<Domain>>,
}

/// A bound device.
struct Member {
    id: u32,
    dev: OwnedDevice,
    attached: bool,
}

/// Where a group is to go.
pub(crate) struct Target {
    /// The address space.
    pub(crate) ioas: IoasUser,
    /// Which of its domains.
    pub(crate) wanted: Wanted,
}

/// Where the group is attached; there while any member is attached.
pub(crate) struct Seat {
    hw: Attachment,
    ioas: IoasUser,
    hwpt: Chosen,
}

/// What came of an attach.
pub(crate) struct Attached {
    /// The id of the domain that the group is on.
    pub(crate) hwpt: u32,
    /// The id of a domain that went, because nothing was left on it.
    pub(crate) gone: Option<u32>,
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

    fn suits(&self, target: &Target) -> bool {
        self.ioas.same(&target.ioas) && self.hwpt.suits(target.wanted)
    }

    /// Moves the group, whose devices are `members`, to another domain.
    fn move_to(&mut self, members: &[Member], target: Target) -> Result<Attached> {
        let old = self.hwpt.id;
        let mut gone = false;
        if self.ioas.same(&target.ioas) {
            if !self.suits(&target) {
                self.move_within(members, target.wanted)?;
                gone = self.ioas.dismiss(|_| false, Some(old));
            }
        } else {
            let left = self.move_out(members, target)?;
            let moved = |id| {
                members
                    .iter()
                    .any(|member| member.attached && member.id == id)
            };
            gone = left.dismiss(moved, Some(old));
        }
        Ok(Attached {
            hwpt: self.hwpt.id,
            gone: gone.then_some(old),
        })
    }

    fn move_within(&mut self, members: &[Member], wanted: Wanted) -> Result {
        let lead = members.iter().find(|member| member.attached);
        let lead = lead.ok_or(EINVAL)?;
        let old = self.hw.domain().clone();
        let onto = Onto {
            put: &mut |domain| self.hw.replace(domain.clone()),
            before: Some(&*old).filter(|_| have_interrupts(members)),
        };
        self.hwpt = self.ioas.reseat(&lead.dev, wanted, onto)?;
        Ok(())
    }

    /// Returns the space that the group has left.
    fn move_out(&mut self, members: &[Member], target: Target) -> Result<IoasUser> {
        let mut newcomers = KVec::new();
        for member in members.iter().filter(|member| member.attached) {
            newcomers.push(member.as_newcomer(), GFP_KERNEL)?;
        }
        let old = self.hw.domain().clone();
        let onto = Onto {
            put: &mut |domain| self.hw.replace(domain.clone()),
            before: Some(&*old).filter(|_| have_interrupts(members)),
        };
        let chosen = target.ioas.admit(&newcomers, Some((target.wanted, onto)))?;
        self.hwpt = chosen.ok_or(EINVAL)?;
        Ok(core::mem::replace(&mut self.ioas, target.ioas))
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

fn have_interrupts(members: &[Member]) -> bool {
    members.iter().any(|member| member.dev.has_interrupts())
}

/// Takes a device into an address space, and its group onto a domain if it is the first. Returns
/// the id of that domain.
fn seat_device(
    seat: &mut Option<Seat>,
    member: &Member,
    target: Target,
    before: Option<&Domain>,
) -> Result<u32> {
    if member.attached {
        return Err(EBUSY);
    }
    if let Some(seat) = seat {
        if !seat.suits(&target) {
            return Err(EINVAL);
        }
        target.ioas.admit(&[member.as_newcomer()], None)?;
        return Ok(seat.hwpt.id);
    }
    let mut hw = None;
    let onto = Onto {
        put: &mut |domain| {
            hw = Some(member.dev.attach(domain.clone())?);
            Ok(())
        },
        before,
    };
    let chosen = target
        .ioas
        .admit(&[member.as_newcomer()], Some((target.wanted, onto)))?;
    let (Some(hw), Some(hwpt)) = (hw, chosen) else {
        return Err(EINVAL);
    };
    *seat = Some(Seat {
        hw,
        ioas: target.ioas,
        hwpt,
    });
    Ok(hwpt.id)
}

/// Takes a device that was attached out of the address space, and its group off the domain if it
/// was the last. Returns the id of a domain that went with it.
fn leave(seat: &mut Option<Seat>, id: u32, last: bool) -> Option<u32> {
    let is_leaving = |leaver| leaver == id;
    match seat.take() {
        Some(Seat { hw, ioas, hwpt }) if last => {
            // First block the DMA, then let go of what it went to.
            drop(hw);
            ioas.dismiss(is_leaving, Some(hwpt.id)).then_some(hwpt.id)
        }
        Some(stays) => {
            stays.ioas.dismiss(is_leaving, None);
            *seat = Some(stays);
            None
        }
        None => None,
    }
}

impl State {
    /// Returns the id of a domain that went with it.
    fn detach(&mut self, id: u32) -> Option<u32> {
        let Self {
            members,
            seat,
            before,
        } = self;
        match find_mut(members, id) {
            Ok(member) if member.attached => member.attached = false,
            _ => return None,
        }
        let last = !members.iter().any(|member| member.attached);
        let ioasid = seat.as_ref().map_or(0, |seat| seat.ioas.id());
        if last && have_interrupts(members) {
            *before = seat.as_ref().map(|seat| seat.domain().clone());
        }
        let member = find(members, id).ok()?;
        // Detaching cannot fail; the closure does as the tracing of calls that can wants it.
        trace::detach(member.dev.name(), id, ioasid, || Ok(leave(seat, id, last))).ok()?
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

    /// Lets a device go, detached. Returns the id of a domain that went with it.
    pub(crate) fn unbind(&self, id: u32) -> Option<u32> {
        let mut state = self.state.lock();
        let gone = state.detach(id);
        state.members.retain(|member| member.id != id);
        gone
    }

    /// Attaches a device to an address space.
    ///
    /// # Errors
    ///
    /// * `EBUSY`: it is attached already.
    /// * `EINVAL`: another device of the group is attached to another domain.
    /// * Those of [`crate::io_pagetable::IoPagetable::admit`].
    pub(crate) fn attach(&self, id: u32, target: Target) -> Result<Attached> {
        let mut state = self.state.lock();
        let State {
            members,
            seat,
            before,
        } = &mut *state;
        let known = before.as_deref().filter(|_| have_interrupts(members));
        let member = find_mut(members, id)?;
        let hwpt = trace::attach(member.dev.name(), id, target.ioas.id(), || {
            seat_device(seat, member, target, known)
        })?;
        member.attached = true;
        *before = None;
        Ok(Attached { hwpt, gone: None })
    }

    /// Moves the group, with all its attached devices, to another domain or address space.
    ///
    /// # Errors
    ///
    /// `EINVAL`: the device is not attached; and those of [`Self::attach`]. The group then is
    /// where it was.
    pub(crate) fn replace(&self, id: u32, target: Target) -> Result<Attached> {
        let mut state = self.state.lock();
        let State { members, seat, .. } = &mut *state;
        let member = find(members, id)?;
        let seat = seat.as_mut().filter(|_| member.attached).ok_or(EINVAL)?;
        let name = member.dev.name();
        trace::attach(name, id, target.ioas.id(), || seat.move_to(members, target))
    }

    /// Detaches a device; its DMA is blocked from here on. Does nothing if it is not attached, or
    /// not to `ioasid`. Returns the id of a domain that went with it.
    pub(crate) fn detach(&self, id: u32, ioasid: Option<u32>) -> Option<u32> {
        let mut state = self.state.lock();
        let there = state.seat.as_ref().map(|seat| seat.ioas.id());
        if ioasid.is_none() || ioasid == there {
            return state.detach(id);
        }
        None
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
