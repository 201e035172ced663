// SPDX-License-Identifier: GPL-2.0

//! Options of contexts and address spaces, and which space stands for a VFIO container.

use super::{
    structs::*,
    Command,
    Reply, //
};
use crate::{
    kapi::{
        account::Accounting,
        task, //
    },
    objects::context::Context, //
};
use kernel::prelude::*;

impl GetOption {
    /// Which limit memory counts against, for the whole context.
    fn rlimit_mode(&mut self, ctx: &Context) -> Result {
        if self.object_id != 0 {
            return Err(EOPNOTSUPP);
        }
        match u32::from(self.op) {
            IOMMU_OPTION_OP_GET => {
                self.val64 = u64::from(ctx.accounting() == Accounting::Process);
                Ok(())
            }
            IOMMU_OPTION_OP_SET => {
                if !task::may_exceed_resources() {
                    return Err(EPERM);
                }
                ctx.set_accounting(match self.val64 {
                    0 => Some(Accounting::User),
                    1 => Some(Accounting::Process),
                    _ => None,
                })
            }
            _ => Err(EOPNOTSUPP),
        }
    }

    /// Whether the domains of an address space use large pages.
    fn huge_pages(&mut self, ctx: &Context) -> Result {
        let ioas = ctx.objects.ioas(self.object_id)?;
        match (u32::from(self.op), self.val64) {
            (IOMMU_OPTION_OP_GET, _) => {
                self.val64 = u64::from(ioas.iopt.large_pages()?);
                Ok(())
            }
            (IOMMU_OPTION_OP_SET, wanted @ (0 | 1)) => ioas.iopt.set_large_pages(wanted == 1),
            (IOMMU_OPTION_OP_SET, _) => Err(EINVAL),
            _ => Err(EOPNOTSUPP),
        }
    }
}

impl Command for GetOption {
    fn run(mut self, ctx: &Context, reply: &Reply) -> Result {
        if self.__reserved != 0 {
            return Err(EOPNOTSUPP);
        }
        match self.option_id {
            IOMMU_OPTION_RLIMIT_MODE => self.rlimit_mode(ctx)?,
            IOMMU_OPTION_HUGE_PAGES => self.huge_pages(ctx)?,
            _ => return Err(EOPNOTSUPP),
        }
        // Nothing can fail once it is set: there is no answer to that.
        if u32::from(self.op) == IOMMU_OPTION_OP_GET {
            reply.write(&self)?;
        }
        Ok(())
    }
}

impl Command for VfioIoas {
    fn run(mut self, ctx: &Context, reply: &Reply) -> Result {
        if self.__reserved != 0 {
            return Err(EOPNOTSUPP);
        }
        match u32::from(self.op) {
            IOMMU_VFIO_IOAS_GET => {
                self.ioas_id = ctx.container.ioas()?.id();
                reply.write(&self)
            }
            IOMMU_VFIO_IOAS_SET => {
                let ioas = ctx.objects.ioas(self.ioas_id)?;
                ctx.container.set_ioas(&ctx.objects, Some(ioas))
            }
            IOMMU_VFIO_IOAS_CLEAR => ctx.container.set_ioas(&ctx.objects, None),
            _ => Err(EOPNOTSUPP),
        }
    }
}
