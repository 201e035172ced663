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
}

impl State {
    fn member(&mut self, id: u32) -> Result<&mut Member> {
        let member = self.members.iter_mut().find(|member| member.id == id);
        member.ok_or(ENOENT)
    }

    fn is_attached(&self) -> bool {
        self.members.iter().any(|member| member.attached)
    }

    /// Takes a member out of the address space, and the group off the domain if it was the last.
    fn detach(&mut self, id: u32) {
        match self.member(id) {
            Ok(member) if member.attached => member.attached = false,
            _ => return,
        }
        if self.is_attached() {
            if let Some(seat) = &self.seat {
                seat.ioas.dismiss(|leaver| leaver == id, None);
            }
        } else if let Some(Seat { hw, ioas }) = self.seat.take() {
            let domain = hw.domain().clone();
            // First block the DMA, then let go of what it went to.
            drop(hw);
            ioas.dismiss(|leaver| leaver == id, Some(&domain));
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
        let member = Member {
            id,
            dev: dev.claim(owner, msi_may_leak)?,
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
        let state = &mut *state;
        let seat = &mut state.seat;
        let member = state.members.iter_mut().find(|member| member.id == id);
        let member = member.ok_or(ENOENT)?;
        if member.attached {
            return Err(EBUSY);
        }
        let newcomer = Newcomer {
            id,
            dev: &member.dev,
        };
        match seat {
            Some(seat) if !seat.ioas.same(&ioas) => return Err(EINVAL),
            Some(_) => ioas.admit(&[newcomer], None)?,
            None => {
                let mut hw = None;
                let mut onto = |domain: &Arc<Domain>| {
                    hw = Some(member.dev.attach(domain.clone())?);
                    Ok(())
                };
                ioas.admit(&[newcomer], Some(&mut onto))?;
                *seat = hw.map(|hw| Seat { hw, ioas });
            }
        }
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
        if !state.member(id)?.attached {
            return Err(EINVAL);
        }
        let State { members, seat } = &mut *state;
        let seat = seat.as_mut().ok_or(EINVAL)?;
        if seat.ioas.same(&ioas) {
            return Ok(());
        }
        let mut newcomers = KVec::new();
        for member in members.iter().filter(|member| member.attached) {
            let newcomer = Newcomer {
                id: member.id,
                dev: &member.dev,
            };
            newcomers.push(newcomer, GFP_KERNEL)?;
        }
        let old = seat.hw.domain().clone();
        let mut onto = |domain: &Arc<Domain>| seat.hw.replace(domain.clone());
        ioas.admit(&newcomers, Some(&mut onto))?;
        let is_mover = |id| newcomers.iter().any(|newcomer| newcomer.id == id);
        let left = core::mem::replace(&mut seat.ioas, ioas);
        left.dismiss(is_mover, Some(&old));
        Ok(())
    }

    /// Detaches a device; its DMA is blocked from here on. Does nothing if it is not attached.
    pub(crate) fn detach(&self, id: u32) {
        self.state.lock().detach(id);
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
        let mut state = self.state.lock();
        let attached = state.member(id)?.attached;
        let State { members, seat } = &*state;
        let member = members.iter().find(|member| member.id == id);
        look(
            &member.ok_or(ENOENT)?.dev,
            seat.as_ref().filter(|_| attached),
        )
    }
}
