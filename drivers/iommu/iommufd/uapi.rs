// SPDX-License-Identifier: GPL-2.0

//! What userspace says: arguments in, checks in order, one call, an answer out.
//!
//! Nothing here takes a lock or walks a tree. Three dialects have one number space: that of the
//! RFC ([`ioasid`], [`device_info`]), that of mainline ([`iommufd`]), and that of VFIO's container
//! ([`container`]).

use crate::objects::context::Context;
use kernel::{
    prelude::*,
    sync::ArcBorrow,
    uaccess::UserPtr, //
};
use structs::*;

mod container;
mod device_info;
mod ioasid;
mod iommufd;
mod structs;

/// Serves the call `cmd` on a context.
///
/// # Errors
///
/// `ENOTTY`: there is no such call; and those of the call.
pub(crate) fn ioctl(ctx: ArcBorrow<'_, Context>, cmd: u32, arg: usize) -> Result<isize> {
    let ptr = UserPtr::from_addr(arg);
    match cmd {
        cmd if container::is_for_container(cmd, arg) => container::ioctl(&ctx, cmd, arg),
        IOMMU_CHECK_EXTENSION => Ok(ioasid::check_extension(&ctx, arg)),
        IOMMU_DEVICE_GET_INFO => device_info::get_info(&ctx, ptr),
        IOMMU_IOASID_ALLOC => ioasid::alloc(&ctx, ptr),
        IOMMU_IOASID_FREE => ioasid::free(&ctx, ptr),
        IOMMU_MAP_DMA => ioasid::map_dma(&ctx, ptr),
        IOMMU_UNMAP_DMA => ioasid::unmap_dma(&ctx, ptr),
        _ => iommufd::ioctl(ctx, cmd, ptr).unwrap_or_else(|| container::ioctl(&ctx, cmd, arg)),
    }
}
