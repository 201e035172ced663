// SPDX-License-Identifier: GPL-2.0

//! Calls that are not served yet. Each checks what mainline checks before it finds out that the
//! hardware has no such thing, or that an object is not there because nothing can make one.

use super::{
    structs::*,
    Command,
    Reply, //
};
use crate::{
    iova::IovaRange,
    objects::{
        context::Context,
        table::Object, //
    }, //
};
use core::mem::offset_of;
use kernel::{
    page::PAGE_SIZE,
    prelude::*, //
};

/// No queue is longer, and no batch of invalidations larger.
const MOST: u32 = 1 << 19;

fn check_hwpt(ctx: &Context, id: u32) -> Result {
    match ctx.objects.get(id) {
        Some(Object::Hwpt(..)) => Ok(()),
        _ => Err(ENOENT),
    }
}

impl Command for HwptSetDirtyTracking {
    fn run(self, ctx: &Context, _reply: &Reply) -> Result {
        if self.flags & !IOMMU_HWPT_DIRTY_TRACKING_ENABLE == 0 {
            check_hwpt(ctx, self.hwpt_id)?;
        }
        Err(EOPNOTSUPP)
    }
}

impl Command for HwptGetDirtyBitmap {
    fn run(self, ctx: &Context, _reply: &Reply) -> Result {
        if self.flags & !IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR != 0 || self.__reserved != 0 {
            return Err(EOPNOTSUPP);
        }
        check_hwpt(ctx, self.hwpt_id)?;
        let range = IovaRange::with_len(self.iova, self.length)?;
        let ends = self.iova | range.last().wrapping_add(1);
        // Whether its size is a power of two is not for here to tell.
        if !range.is_aligned(PAGE_SIZE as u64)
            || self.page_size == 0
            || ends & self.page_size.wrapping_sub(1) != 0
        {
            return Err(EINVAL);
        }
        Err(EOPNOTSUPP)
    }
}

impl Command for HwptInvalidate {
    fn run(self, ctx: &Context, reply: &Reply) -> Result {
        let nothing_to_read =
            self.data_uptr == 0 || self.entry_len == 0 || self.entry_len as usize > PAGE_SIZE;
        let result = if self.__reserved != 0 {
            Err(EOPNOTSUPP)
        } else if self.entry_num > 0 && (nothing_to_read || self.entry_num > MOST) {
            Err(EINVAL)
        } else {
            // Only nested domains are invalidated.
            ctx.objects.get(self.hwpt_id).ok_or(ENOENT).and(Err(EINVAL))
        };
        // How many were done is said in any case.
        reply.write_u32(offset_of!(Self, entry_num), 0)?;
        result
    }
}

impl Command for FaultAlloc {
    fn run(self, _ctx: &Context, _reply: &Reply) -> Result {
        Err(EOPNOTSUPP)
    }
}

impl Command for ViommuAlloc {
    fn run(self, ctx: &Context, _reply: &Reply) -> Result {
        if self.flags == 0 && self.type_ != 0 {
            ctx.objects.device(self.dev_id)?;
        }
        Err(EOPNOTSUPP)
    }
}

impl Command for VdeviceAlloc {
    fn run(self, _ctx: &Context, _reply: &Reply) -> Result {
        Err(ENOENT)
    }
}

impl Command for VeventqAlloc {
    fn run(self, _ctx: &Context, _reply: &Reply) -> Result {
        if self.flags != 0 || self.__reserved != 0 || self.type_ == 0 {
            return Err(EOPNOTSUPP);
        }
        if self.veventq_depth == 0 || self.veventq_depth > MOST {
            return Err(EINVAL);
        }
        Err(ENOENT)
    }
}

impl Command for HwQueueAlloc {
    fn run(self, _ctx: &Context, _reply: &Reply) -> Result {
        if self.flags != 0 || self.type_ == 0 {
            return Err(EOPNOTSUPP);
        }
        IovaRange::with_len(self.nesting_parent_iova, self.length)?;
        Err(ENOENT)
    }
}

impl Command for IoasNoiommuGetPa {
    fn run(self, _ctx: &Context, _reply: &Reply) -> Result {
        Err(EOPNOTSUPP)
    }
}
