// SPDX-License-Identifier: GPL-2.0

//! The groups of the devices that are bound to a context.

use crate::{
    kapi::{
        device::BoundDevice,
        driver_ctx::DriverCtx, //
    },
    objects::group::Group, //
};
use kernel::{
    bindings,
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
    types::ScopeGuard, //
};

/// The groups of a context, each with how many devices of it are bound.
#[pin_data]
pub(crate) struct Groups {
    #[pin]
    list: Mutex<KVVec<(Arc<Group>, usize)>>,
}

impl Groups {
    /// A list without groups.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self { list <- new_mutex!(KVVec::new(), "iommufd_groups") })
    }

    /// The group of `dev`, which knows that it has one device more; `drivers` is what IOMMU
    /// drivers have of the context. Dropping the
    /// result undoes that.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn join<'a>(
        &'a self,
        dev: &BoundDevice<'_>,
        drivers: &Arc<DriverCtx>,
    ) -> Result<ScopeGuard<Arc<Group>, impl FnOnce(Arc<Group>) + 'a>> {
        let group = self.count_in(dev, drivers)?;
        Ok(ScopeGuard::new_with_data(group, |group| self.leave(&group)))
    }

    fn count_in(&self, dev: &BoundDevice<'_>, drivers: &Arc<DriverCtx>) -> Result<Arc<Group>> {
        let mut groups = self.list.lock();
        for (group, devices) in groups.iter_mut() {
            // What no IOMMU has is in a group with nobody.
            let both = group.iommu_group().zip(dev.group());
            if both.is_some_and(|(group, other)| group.same(other)) {
                *devices = devices.checked_add(1).ok_or(ENOMEM)?;
                return Ok(group.clone());
            }
        }
        let group = Group::new(dev.group_ref()?, drivers)?;
        groups.push((group.clone(), 1), GFP_KERNEL_ACCOUNT)?;
        Ok(group)
    }

    /// Undoes one [`Self::join`].
    pub(crate) fn leave(&self, group: &Arc<Group>) {
        self.list.lock().retain(|(other, devices)| {
            if Arc::ptr_eq(other, group) {
                *devices = devices.saturating_sub(1);
            }
            *devices > 0
        });
    }

    /// Whether a device of the group at `ptr` is bound.
    pub(crate) fn has(&self, ptr: *const bindings::iommu_group) -> bool {
        let groups = self.list.lock();
        let mut groups = groups.iter().filter_map(|(group, _)| group.iommu_group());
        groups.any(|group| group.is(ptr))
    }
}
