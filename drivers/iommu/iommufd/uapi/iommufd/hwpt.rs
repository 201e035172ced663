// SPDX-License-Identifier: GPL-2.0

//! Domains that userspace makes, and what a device's IOMMU says of itself.

use super::{
    structs::*,
    Command,
    Reply, //
};
use crate::{
    kapi::{
        user,
        user_data::UserData, //
    },
    objects::{
        context::Context,
        group::Idev,
        ioas::{
            Ioas,
            IoasUser, //
        },
        table::{
            HwptUses,
            Object, //
        }, //
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
        const PASSED_ON: u32 =
            IOMMU_HWPT_ALLOC_NEST_PARENT | IOMMU_HWPT_ALLOC_DIRTY_TRACKING | IOMMU_HWPT_ALLOC_PASID;
        let nest_with_faults = IOMMU_HWPT_FAULT_ID_VALID | IOMMU_HWPT_ALLOC_NEST_PARENT;
        if self.flags & !(PASSED_ON | IOMMU_HWPT_FAULT_ID_VALID) != 0
            || self.flags & nest_with_faults == nest_with_faults
        {
            return Err(EOPNOTSUPP);
        }
        Ok(())
    }

    /// What is for the IOMMU driver to understand.
    pub(super) fn data(&self) -> UserData {
        UserData {
            kind: self.data_type,
            // CAST: User addresses fit; what does not is no address, and found to be none.
            at: UserPtr::from_addr(self.data_uptr as usize),
            len: self.data_len,
        }
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
            data: (self.data_len != 0).then(|| self.data()),
            kind: if self.flags & IOMMU_HWPT_ALLOC_NEST_PARENT != 0 {
                Kind::NestParent
            } else {
                Kind::Manual
            },
            takes_pasids: self.flags & IOMMU_HWPT_ALLOC_PASID != 0,
        };
        idev.group().with_device(idev, |dev, attached| {
            let wants_dirty = self.flags & IOMMU_HWPT_ALLOC_DIRTY_TRACKING != 0;
            if ((self.flags != 0 || new.data.is_some()) && !dev.has_domain_flags())
                || (wants_dirty && !dev.can_track_dirty()?)
            {
                return Err(EOPNOTSUPP);
            }
            let attached = attached.filter(|_| dev.has_interrupts());
            let before = attached.map(|attached| &**attached.domain());
            ioas.iopt
                .add_hwpt(new, dev, before, || ctx.objects.use_ioas(ioas))
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
            Some(Object::Hwpt(parent, ioas)) => {
                return self.add_nested(ctx, reply, &idev, &parent, ioas)
            }
            Some(Object::Viommu(viommu)) => return self.add_nested_of(ctx, reply, &idev, &viommu),
            _ => return Err(EINVAL),
        };
        self.check_for_paging()?;
        let _charges = ctx.hold_charges()?;
        let id = ctx.objects.reserve_id()?;
        self.out_hwpt_id = id.number();
        let (hwpt, user) = self.add_to(ctx, &ioas, &idev)?;
        // Nobody else knows of it until it has its id.
        let undo = ScopeGuard::new(|| ioas.iopt.withdraw_hwpt(&hwpt));
        let faults = self.faults(ctx)?;
        if let Some(faults) = &faults {
            hwpt.domain().set_faults(faults.get().faults().clone());
        }
        reply.write(&self)?;
        undo.dismiss();
        let uses = HwptUses {
            _ioas: user,
            _faults: faults,
        };
        id.give_to(Object::Hwpt(hwpt, ioas), Some(uses));
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
        let (info, pasids, capabilities) = idev.group().with_device(&idev, |dev, _| {
            let info = dev.iommu_info(self.data_type)?;
            let mut capabilities = 0;
            if dev.can_track_dirty()? {
                capabilities |= IOMMU_HW_CAP_DIRTY_TRACKING;
            }
            if !dev.can_cache_translations() {
                capabilities |= IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED;
            }
            let pasids = dev.pasid_info();
            if pasids.exec {
                capabilities |= IOMMU_HW_CAP_PCI_PASID_EXEC;
            }
            if pasids.privileged {
                capabilities |= IOMMU_HW_CAP_PCI_PASID_PRIV;
            }
            Ok((info, pasids, capabilities))
        })?;
        // CAST: User addresses fit; what does not is no address, and found to be none.
        let to = UserPtr::from_addr(self.data_uptr as usize);
        let room = self.data_len as usize;
        let known = info.bytes().len().min(room);
        user::write_bytes(to, 0, info.bytes().get(..known).unwrap_or_default())?;
        user::clear(to, known, room)?;
        self.data_len = u32::try_from(info.bytes().len()).map_err(|_| EOVERFLOW)?;
        self.data_type = info.kind();
        self.out_max_pasid_log2 = pasids.width;
        self.out_capabilities = u64::from(capabilities);
        reply.write(&self)
    }
}
