// SPDX-License-Identifier: GPL-2.0

//! The devices of one IOMMU group that are bound to a context, and where the group is attached.
//!
//! Devices are bound one by one, but an IOMMU translates for the group as a whole: all that
//! attach share one address space, the first puts the group on a domain, the last takes it off
//! ([`super::group_attach`]). Each PASID does so by itself ([`super::group_pasid`]).

use crate::{
    kapi::{
        attachment::Attachment,
        device::{
            BoundDevice,
            DeviceRef,
            IommuGroup,
            OwnedDevice,
            OwnedGroup, //
        },
        domain::Domain,
        driver_ctx::DriverCtx,
        trace, //
    },
    objects::{
        ioas::{
            Ioas,
            IoasUser, //
        },
        nested::Nested,
        users::{
            Used,
            User, //
        },
        vdevice::BoundVdevice, //
    },
    space::hwpt::Hwpt, //
};
use kernel::{
    new_mutex,
    prelude::*,
    rbtree::RBTree,
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

    /// The device itself.
    pub(super) fn dev(&self) -> &DeviceRef {
        &self.dev
    }

    /// The device's group.
    pub(crate) fn group(&self) -> &Arc<Group> {
        &self.group
    }

    /// The address space that it is attached to, if it is.
    pub(crate) fn ioasid(&self) -> Option<u32> {
        Some(self.ioasid.load(Relaxed)).filter(|ioasid| *ioasid != 0)
    }

    /// Says where it is attached.
    pub(super) fn set_ioasid(&self, ioasid: u32) {
        self.ioasid.store(ioasid, Relaxed);
    }
}

/// An IOMMU group, as one context sees it.
#[pin_data]
pub(crate) struct Group {
    iommu: Arc<OwnedGroup>,
    #[pin]
    pub(super) state: Mutex<State>,
}

/// What may change of a group.
pub(super) struct State {
    pub(super) members: KVVec<Member>,
    pub(super) attached: Option<Attached>,
    /// Its PASIDs that are attached.
    pub(super) pasids: RBTree<u32, Pasid>,
    /// The domain that the group was on last, for what its devices still know of it.
    pub(super) before: Option<Arc<Domain>>,
}

/// What a group knows of a bound device.
pub(super) struct Member {
    pub(super) idev: Arc<Idev>,
    pub(super) dev: OwnedDevice,
    pub(super) is_attached: bool,
    /// What it is to a virtual IOMMU, if it is known to one.
    pub(super) vdevice: Option<BoundVdevice>,
}

/// Where the group, or one of its PASIDs, is attached; there while any member is attached.
pub(crate) struct Attached {
    pub(super) hw: Attachment,
    pub(super) ioas: IoasUser,
    pub(super) hwpt: Arc<Hwpt>,
    /// The domain inside of it that comes first, if there is one.
    pub(super) inside: Option<User<Nested>>,
}

impl Attached {
    /// The id of what the group is on.
    pub(super) fn hwpt_id(&self) -> u32 {
        self.inside
            .as_ref()
            .map_or(self.hwpt.id(), |inside| inside.get().id())
    }

    /// The paging domain that the group is on.
    pub(crate) fn domain(&self) -> &Arc<Domain> {
        self.hw.domain()
    }

    /// The address space that the domain belongs to.
    pub(crate) fn ioas(&self) -> &Arc<Ioas> {
        self.ioas.ioas()
    }

    /// Whether it is for devices that have PASIDs in use, and for PASIDs.
    pub(super) fn takes_pasids(&self) -> bool {
        self.inside
            .as_ref()
            .map_or(self.hwpt.takes_pasids(), |inside| {
                inside.get().takes_pasids()
            })
    }
}

/// Where a PASID is attached, and by which devices: there is one at least.
pub(super) struct Pasid {
    pub(super) attached: Attached,
    pub(super) devices: KVVec<Arc<Idev>>,
}

/// Those of `members` that are attached.
pub(super) fn attached(members: &[Member]) -> impl Iterator<Item = &Member> {
    members.iter().filter(|member| member.is_attached)
}

/// The one of `members` that is `idev`.
///
/// # Errors
///
/// `ENOENT`: it is not bound any more.
pub(super) fn find<'a>(members: &'a [Member], idev: &Arc<Idev>) -> Result<&'a Member> {
    let mut members = members.iter();
    members
        .find(|member| Arc::ptr_eq(&member.idev, idev))
        .ok_or(ENOENT)
}

/// As [`find`].
pub(super) fn find_mut<'a>(members: &'a mut [Member], idev: &Arc<Idev>) -> Result<&'a mut Member> {
    let mut members = members.iter_mut();
    members
        .find(|member| Arc::ptr_eq(&member.idev, idev))
        .ok_or(ENOENT)
}

/// Whether one of `members` may send message-signalled interrupts.
pub(super) fn have_interrupts(members: &[Member]) -> bool {
    members.iter().any(|member| member.dev.has_interrupts())
}

impl Group {
    /// A group without devices, or what stands for one to a device that no IOMMU has.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(iommu: Option<IommuGroup>, drivers: &Arc<DriverCtx>) -> Result<Arc<Self>> {
        let iommu = OwnedGroup::new(iommu, drivers.clone())?;
        let state = State {
            members: KVVec::new(),
            attached: None,
            pasids: RBTree::new(),
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

    /// The group itself, if an IOMMU has its devices.
    pub(crate) fn iommu_group(&self) -> Option<&IommuGroup> {
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
            is_attached: false,
            vdevice: None,
        };
        warn_on!(state.members.push_within_capacity(member).is_err());
        Ok(())
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
        look: impl FnOnce(&OwnedDevice, Option<&Attached>) -> Result<R>,
    ) -> Result<R> {
        let state = self.state.lock();
        let member = find(&state.members, idev)?;
        let attached = state.attached.as_ref();
        look(&member.dev, attached.filter(|_| member.is_attached))
    }
}
