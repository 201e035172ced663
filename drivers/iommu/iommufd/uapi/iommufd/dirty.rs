// SPDX-License-Identifier: GPL-2.0

//! Which pages devices have written to.

use super::{
    structs::*,
    Command,
    Reply, //
};
use crate::{
    iova::IovaRange,
    kapi::{
        dirty::Marks,
        iova_bitmap::UserBitmap, //
    },
    objects::{
        context::Context,
        ioas::Ioas,
        table::Object, //
    },
    space::hwpt::Hwpt, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

fn paging_hwpt(ctx: &Context, id: u32) -> Result<(Arc<Hwpt>, Arc<Ioas>)> {
    match ctx.objects.get(id) {
        Some(Object::Hwpt(hwpt, ioas)) => Ok((hwpt, ioas)),
        _ => Err(ENOENT),
    }
}

impl Command for HwptSetDirtyTracking {
    fn run(self, ctx: &Context, _reply: &Reply) -> Result {
        if self.flags & !IOMMU_HWPT_DIRTY_TRACKING_ENABLE != 0 {
            return Err(EOPNOTSUPP);
        }
        let (hwpt, ioas) = paging_hwpt(ctx, self.hwpt_id)?;
        let enable = self.flags & IOMMU_HWPT_DIRTY_TRACKING_ENABLE != 0;
        ioas.iopt.set_dirty_tracking(&hwpt, enable)
    }
}

impl HwptGetDirtyBitmap {
    /// What the bitmap is about.
    ///
    /// # Errors
    ///
    /// `EOVERFLOW`; `EINVAL`: nothing, or not made of pages of the domains, or of its own.
    fn range(&self, ioas: &Ioas) -> Result<IovaRange> {
        let range = IovaRange::with_len(self.iova, self.length)?;
        let ends = self.iova | range.last().wrapping_add(1);
        // Whether its size is a power of two is not for here to tell.
        if !range.is_aligned(ioas.iopt.alignment()?)
            || self.page_size == 0
            || ends & self.page_size.wrapping_sub(1) != 0
        {
            return Err(EINVAL);
        }
        Ok(range)
    }
}

impl Command for HwptGetDirtyBitmap {
    fn run(self, ctx: &Context, _reply: &Reply) -> Result {
        if self.flags & !IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR != 0 || self.__reserved != 0 {
            return Err(EOPNOTSUPP);
        }
        let (hwpt, ioas) = paging_hwpt(ctx, self.hwpt_id)?;
        let range = self.range(&ioas)?;
        if !hwpt.domain().can_read_dirty() {
            return Err(EOPNOTSUPP);
        }
        let bitmap = UserBitmap::new(range, self.page_size, self.data)?;
        let marks = if self.flags & IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR != 0 {
            Marks::Keep
        } else {
            Marks::Clear
        };
        ioas.iopt.read_dirty(&hwpt, &bitmap, marks)
    }
}
