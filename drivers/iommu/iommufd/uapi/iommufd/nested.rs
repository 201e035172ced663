// SPDX-License-Identifier: GPL-2.0

//! Domains that userspace has inside of others, and what it has changed in them.

use super::{
    structs::*,
    Command,
    Reply, //
};
use crate::{
    kapi::{
        device::OwnedDevice,
        nested::NestedDomain,
        user_data::UserArray, //
    },
    objects::{
        context::Context,
        fault_queue::FaultQueue,
        group::{
            Attached,
            Idev, //
        },
        ioas::Ioas,
        nested::{
            Nested,
            Outer, //
        },
        table::Object,
        users::User,
        viommu::Viommu, //
    },
    space::hwpt::Hwpt, //
};
use core::mem::offset_of;
use kernel::{
    page::PAGE_SIZE,
    prelude::*,
    sync::Arc,
    uaccess::UserPtr, //
};

/// No batch of invalidations is larger.
const MOST_REQUESTS: u32 = 1 << 19;

impl HwptAlloc {
    /// The flags for the driver of a domain inside of another.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP`: an unknown flag, or no data.
    fn nested_flags(&self) -> Result<u32> {
        const PASSED_ON: u32 = IOMMU_HWPT_ALLOC_PASID;
        const KNOWN: u32 = IOMMU_HWPT_FAULT_ID_VALID | PASSED_ON;
        if self.flags & !KNOWN != 0 || self.data_len == 0 {
            return Err(EOPNOTSUPP);
        }
        Ok(self.flags & PASSED_ON)
    }

    /// Makes a domain inside of `parent`, which is one of `ioas`.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP`: an unknown flag, no data, or the IOMMU cannot. `EINVAL`: `parent` was not made
    /// for it. Those of [`NestedDomain::new`]; `ENOENT`: there is no such fault queue, or `parent`
    /// was destroyed meanwhile; `EFAULT`.
    pub(super) fn add_nested(
        self,
        ctx: &Context,
        reply: &Reply,
        idev: &Arc<Idev>,
        parent: &Arc<Hwpt>,
        ioas: Arc<Ioas>,
    ) -> Result {
        let (flags, data) = (self.nested_flags()?, self.data());
        let domain = idev.group().with_device(idev, |dev, _| {
            if !dev.can_nest() {
                return Err(EOPNOTSUPP);
            }
            if !parent.is_nest_parent() {
                return Err(EINVAL);
            }
            NestedDomain::new(dev, parent.domain(), flags, &data)
        })?;
        let faults = self.faults(ctx)?;
        let outer = Outer::Hwpt(ctx.objects.hold(parent)?, ioas);
        self.finish_nested(ctx, reply, domain, (outer, faults))
    }

    /// Makes a domain of a virtual IOMMU.
    ///
    /// # Errors
    ///
    /// `EINVAL`: the device is behind another IOMMU. `EOPNOTSUPP`: an unknown flag, no data, or the
    /// virtual IOMMU has none. Those of [`NestedDomain::of_viommu`]; `ENOENT`: there is no such
    /// fault queue, or the virtual IOMMU was destroyed meanwhile; `EINTR`, `EFAULT`.
    pub(super) fn add_nested_of(
        self,
        ctx: &Context,
        reply: &Reply,
        idev: &Arc<Idev>,
        viommu: &Arc<Viommu>,
    ) -> Result {
        let (domain, user, faults) = viommu.with_running(|running| {
            let is_of = |dev: &OwnedDevice, _: Option<&Attached>| Ok(running.is_of(dev));
            if !idev.group().with_device(idev, is_of)? {
                return Err(EINVAL);
            }
            let domain = NestedDomain::of_viommu(running, self.nested_flags()?, &self.data())?;
            let faults = self.faults(ctx)?;
            Ok((domain, ctx.objects.hold(viommu)?, faults))
        })?;
        self.finish_nested(ctx, reply, domain, (Outer::Viommu(user), faults))
    }

    fn finish_nested(
        mut self,
        ctx: &Context,
        reply: &Reply,
        domain: Arc<NestedDomain>,
        uses: (Outer, Option<User<FaultQueue>>),
    ) -> Result {
        if let Some(faults) = &uses.1 {
            domain.set_faults(faults.get().faults().clone());
        }
        let id = ctx.objects.reserve_id()?;
        let takes_pasids = self.flags & IOMMU_HWPT_ALLOC_PASID != 0;
        let nested = Nested::new(id.number(), domain, uses, takes_pasids)?;
        self.out_hwpt_id = id.number();
        reply.write(&self)?;
        id.give_to(Object::Nested(nested), None);
        Ok(())
    }
}

impl HwptInvalidate {
    fn requests(&self) -> UserArray {
        UserArray {
            kind: self.data_type,
            // CAST: As in `HwptAlloc::data`.
            at: UserPtr::from_addr(self.data_uptr as usize),
            entry_len: self.entry_len,
            entries: self.entry_num,
        }
    }

    /// Carries the requests out. Returns how many were, also if the next one is an error.
    fn invalidate(&self, ctx: &Context) -> (u32, Result) {
        let nothing_to_read =
            self.data_uptr == 0 || self.entry_len == 0 || self.entry_len as usize > PAGE_SIZE;
        if self.__reserved != 0 {
            return (0, Err(EOPNOTSUPP));
        }
        if self.entry_num > 0 && (nothing_to_read || self.entry_num > MOST_REQUESTS) {
            return (0, Err(EINVAL));
        }
        let requests = self.requests();
        let done = match ctx.objects.get(self.hwpt_id) {
            Some(Object::Nested(nested)) => {
                nested.with_domain(|domain| Ok(domain.invalidate(&requests)))
            }
            Some(Object::Viommu(viommu)) => {
                viommu.with_running(|running| Ok(running.invalidate(&requests)))
            }
            Some(_) => Err(EINVAL),
            None => Err(ENOENT),
        };
        done.unwrap_or_else(|e| (0, Err(e)))
    }
}

impl Command for HwptInvalidate {
    fn run(self, ctx: &Context, reply: &Reply) -> Result {
        let (done, result) = self.invalidate(ctx);
        // How many were carried out is said in any case.
        reply.write_u32(offset_of!(Self, entry_num), done)?;
        result
    }
}
