// SPDX-License-Identifier: GPL-2.0

//! What a bound device is to a virtual IOMMU.
//!
//! All that changes is in the state of the device's group, under its lock: a device that is unbound
//! is not known to a virtual IOMMU any more, and whoever destroys it at that moment has to wait.

use super::group::{
    find_mut,
    Group,
    Idev,
    State, //
};
use crate::{
    kapi,
    objects::{
        table::{
            Object,
            Objects,
            ReservedId, //
        },
        vdevice::{
            BoundVdevice,
            Vdevice, //
        },
        viommu::Viommu, //
    }, //
};
use kernel::{
    prelude::*,
    sync::Arc,
    types::ScopeGuard, //
};

impl State {
    /// The device goes, and what it is to a virtual IOMMU with it. Whoever knows the id of that
    /// has not destroyed it: nothing else gets it.
    pub(super) fn entomb_vdevice(&mut self, idev: &Arc<Idev>, objects: &Objects) {
        let Ok(member) = find_mut(&mut self.members, idev) else {
            return;
        };
        if let Some(gone) = member.vdevice.take() {
            let object = Object::Vdevice(gone.object.clone(), idev.clone());
            // It has no id yet if it is just being made, and will get none.
            let _ = objects.entomb(&object);
        }
    }
}

impl Group {
    /// Makes a device known to a virtual IOMMU, and has `answer` tell userspace the id, which it
    /// has from then on.
    ///
    /// # Errors
    ///
    /// `ENOENT`: the device was unbound, or the virtual IOMMU destroyed. `EEXIST`: the device is
    /// known to one already. `EINTR`, and those of [`kapi::vdevice::Vdevice::new`] and `answer`.
    pub(crate) fn add_vdevice(
        &self,
        idev: &Arc<Idev>,
        vdevice: &Arc<Vdevice>,
        viommu: &Arc<Viommu>,
        (objects, id): (&Objects, ReservedId<'_>),
        answer: impl FnOnce() -> Result,
    ) -> Result {
        self.make_vdevice(idev, vdevice, viommu, objects)?;
        // Userspace may be waited for: not with the group locked.
        let undo = ScopeGuard::new(|| {
            let _ = self.take_vdevice(idev, vdevice, || Ok(()));
        });
        answer()?;
        self.publish_vdevice(idev, vdevice, id)?;
        undo.dismiss();
        Ok(())
    }

    fn make_vdevice(
        &self,
        idev: &Arc<Idev>,
        vdevice: &Arc<Vdevice>,
        viommu: &Arc<Viommu>,
        objects: &Objects,
    ) -> Result {
        viommu.with_running(|running| {
            let user = objects.hold(viommu)?;
            let mut state = self.state.lock();
            let member = find_mut(&mut state.members, idev)?;
            if !running.is_of(&member.dev) {
                return Err(EINVAL);
            }
            if member.vdevice.is_some() {
                return Err(EEXIST);
            }
            let (id, virt_id) = (vdevice.id(), vdevice.virt_id());
            let made = kapi::vdevice::Vdevice::new(running, &member.dev, id, virt_id)?;
            member.vdevice = Some(BoundVdevice::new(vdevice.clone(), made, user));
            Ok(())
        })
    }

    /// Gives it its id, unless the device was unbound meanwhile.
    fn publish_vdevice(
        &self,
        idev: &Arc<Idev>,
        vdevice: &Arc<Vdevice>,
        id: ReservedId<'_>,
    ) -> Result {
        let mut state = self.state.lock();
        find_mut(&mut state.members, idev)?;
        id.give_to(Object::Vdevice(vdevice.clone(), idev.clone()), None);
        Ok(())
    }

    /// Has a device known to a virtual IOMMU no more, if `retire` sees to it that nobody finds it.
    ///
    /// # Errors
    ///
    /// `ENOENT`: it is not known any more. Those of `retire`.
    pub(crate) fn take_vdevice<R>(
        &self,
        idev: &Arc<Idev>,
        vdevice: &Arc<Vdevice>,
        retire: impl FnOnce() -> Result<R>,
    ) -> Result<R> {
        let mut state = self.state.lock();
        let member = find_mut(&mut state.members, idev)?;
        if !member
            .vdevice
            .as_ref()
            .is_some_and(|bound| bound.is(vdevice))
        {
            return Err(ENOENT);
        }
        let retired = retire()?;
        member.vdevice = None;
        Ok(retired)
    }
}
