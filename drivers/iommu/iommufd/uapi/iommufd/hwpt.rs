// SPDX-License-Identifier: GPL-2.0

//! Domains that userspace makes, and what a device's IOMMU says of itself.

use super::{
    structs::*,
    Command,
    Reply, //
};
use crate::{
    kapi::user,
    objects::{
        context::Context,
        group::Idev,
        ioas::{
            Ioas,
            IoasUser, //
        },
        table::Object, //
    },
    space::{
        attach::NewHwpt,
        hwpt::{
            Hwpt,
            Kind, //
        }, //
    }, //
};
use kernel::{
    prelude::*,
    sync::Arc,
    types::ScopeGuard,
    uaccess::UserPtr, //
};

impl HwptAlloc {
    /// # Errors
    ///
    /// `EOPNOTSUPP`: what is asked for is unknown, contradictory, or not served.
    fn check_for_paging(&self) -> Result {
        const PASSED_ON: u32 = IOMMU_HWPT_ALLOC_NEST_PARENT | IOMMU_HWPT_ALLOC_PASID;
        let nest_with_faults = IOMMU_HWPT_FAULT_ID_VALID | IOMMU_HWPT_ALLOC_NEST_PARENT;
        if self.flags & !(PASSED_ON | IOMMU_HWPT_FAULT_ID_VALID) != 0
            || self.flags & nest_with_faults == nest_with_faults
            || self.data_len != 0
        {
            return Err(EOPNOTSUPP);
        }
        Ok(())
    }

    /// Makes the domain that is asked for, under the id in the answer.
    fn add_to(
        &self,
        ctx: &Context,
        ioas: &Arc<Ioas>,
        idev: &Arc<Idev>,
    ) -> Result<(Arc<Hwpt>, IoasUser)> {
        let new = NewHwpt {
            id: self.out_hwpt_id,
            flags: self.flags & !IOMMU_HWPT_FAULT_ID_VALID,
            kind: if self.flags & IOMMU_HWPT_ALLOC_NEST_PARENT != 0 {
                Kind::NestParent
            } else {
                Kind::Manual
            },
        };
        idev.group().with_device(idev, |dev, seat| {
            if self.flags != 0 && !dev.has_domain_flags() {
                return Err(EOPNOTSUPP);
            }
            let seat = seat.filter(|_| dev.has_interrupts());
            let before = seat.map(|seat| &**seat.domain());
            ioas.iopt
                .add_hwpt(new, dev, before, || ctx.objects.use_ioas(ioas))
        })
    }

    /// A domain inside a domain: no IOMMU driver is asked for it yet.
    ///
    /// # Errors
    ///
    /// `EINVAL`: the outer one was not made for it. `EOPNOTSUPP`, if it was or the IOMMU cannot.
    fn refuse_nested(&self, idev: &Arc<Idev>, parent: &Hwpt) -> Result {
        const PASSED_ON: u32 = IOMMU_HWPT_FAULT_ID_VALID | IOMMU_HWPT_ALLOC_PASID;
        let can_nest = idev
            .group()
            .with_device(idev, |dev, _| Ok(dev.can_nest()))?;
        if self.flags & !PASSED_ON != 0 || self.data_len == 0 || !can_nest {
            return Err(EOPNOTSUPP);
        }
        Err(if parent.is_nest_parent() {
            EOPNOTSUPP
        } else {
            EINVAL
        })
    }
}

impl Command for HwptAlloc {
    fn run(mut self, ctx: &Context, reply: &Reply) -> Result {
        if self.__reserved != 0 {
            return Err(EOPNOTSUPP);
        }
        if (self.data_type == 0) != (self.data_len == 0) {
            return Err(EINVAL);
        }
        let idev = ctx.objects.device(self.dev_id)?;
        let ioas = match ctx.objects.get(self.pt_id) {
            Some(Object::Ioas(ioas)) => ioas,
            Some(Object::Hwpt(parent, _)) => return self.refuse_nested(&idev, &parent),
            Some(Object::Device(_) | Object::Access(_)) | None => return Err(EINVAL),
        };
        self.check_for_paging()?;
        let id = ctx.objects.reserve_id()?;
        self.out_hwpt_id = id.number();
        let (hwpt, user) = self.add_to(ctx, &ioas, &idev)?;
        // Nobody else knows of it until it has its id.
        let undo = ScopeGuard::new(|| ioas.iopt.withdraw_hwpt(&hwpt));
        if self.flags & IOMMU_HWPT_FAULT_ID_VALID != 0 {
            // There are no fault queues, so there is none of that id.
            return Err(ENOENT);
        }
        reply.write(&self)?;
        undo.dismiss();
        id.give_to(Object::Hwpt(hwpt, ioas), Some(user));
        Ok(())
    }
}

impl Command for HwInfo {
    fn run(mut self, ctx: &Context, reply: &Reply) -> Result {
        if self.flags & !IOMMU_HW_INFO_FLAG_INPUT_TYPE != 0 || self.__reserved != [0; 3] {
            return Err(EOPNOTSUPP);
        }
        if self.flags & IOMMU_HW_INFO_FLAG_INPUT_TYPE == 0 {
            self.data_type = IOMMU_HW_INFO_TYPE_DEFAULT;
        }
        let idev = ctx.objects.device(self.dev_id)?;
        let (info, has_ats) = idev.group().with_device(&idev, |dev, _| {
            Ok((
                dev.iommu_info(self.data_type)?,
                dev.can_cache_translations(),
            ))
        })?;
        // CAST: User addresses fit; what does not is no address, and found to be none.
        let to = UserPtr::from_addr(self.data_uptr as usize);
        let room = self.data_len as usize;
        let known = info.bytes().len().min(room);
        user::write_bytes(to, 0, info.bytes().get(..known).unwrap_or_default())?;
        user::clear(to, known, room)?;
        self.data_len = u32::try_from(info.bytes().len()).map_err(|_| EOVERFLOW)?;
        self.data_type = info.kind();
        // Only what is served: neither dirty tracking nor PASIDs are, whatever hardware there is.
        self.out_max_pasid_log2 = 0;
        self.out_capabilities = if has_ats {
            0
        } else {
            u64::from(IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED)
        };
        reply.write(&self)
    }
}
