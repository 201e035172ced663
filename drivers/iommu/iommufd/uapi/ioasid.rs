// SPDX-License-Identifier: GPL-2.0

//! The RFC's dialect: the calls of `<linux/iommu.h>`.

use super::structs::*;
use crate::{
    iova::IovaRange,
    kapi::{
        trace,
        user, //
    },
    objects::{
        context::Context,
        ioas::Ioas,
        table::Object, //
    },
    space::{
        Bars,
        MapRequest,
        MapSource, //
    }, //
};
use core::mem::offset_of;
use kernel::{
    page::PAGE_SIZE,
    prelude::*,
    sync::Arc,
    uaccess::UserPtr, //
};

const PAGE: u64 = PAGE_SIZE as u64;

/// An IOASID as userspace writes it.
fn ioasid(id: i32) -> Result<u32> {
    u32::try_from(id).map_err(|_| ENOENT)
}

/// `IOMMU_IOASID_ALLOC`: makes an empty address space and returns its id.
pub(crate) fn alloc(ctx: &Context, arg: UserPtr) -> Result<isize> {
    let cmd: IoasidAlloc = user::read_struct(arg)?;
    if cmd.flags & !(IOMMU_IOASID_ENFORCE_SNOOP | IOMMU_IOASID_IOVA_WINDOW) != 0
        || cmd.type_ != IOMMU_IOASID_TYPE_KERNEL_TYPE1V2
    {
        return Err(EINVAL);
    }
    let window = if cmd.flags & IOMMU_IOASID_IOVA_WINDOW == 0 {
        IovaRange::with_width(cmd.addr_width).ok_or(EINVAL)?
    } else {
        iova_window(&cmd)?
    };
    let enforce_snoop = cmd.flags & IOMMU_IOASID_ENFORCE_SNOOP != 0;
    let id = ctx.objects.reserve_id()?;
    let number = id.number();
    let ioas = Ioas::new(number, window, enforce_snoop, ctx.objects.totals())?;
    id.give_to(Object::Ioas(ioas), None);
    ctx.container.note_ioasids();
    Ok(number as isize)
}

fn iova_window(cmd: &IoasidAlloc) -> Result<IovaRange> {
    if (cmd.argsz as usize) < size_of::<IoasidAlloc>() || cmd.addr_width != 0 {
        return Err(EINVAL);
    }
    IovaRange::new(cmd.iova_first, cmd.iova_last)
        .filter(|window| window.is_aligned(PAGE))
        .ok_or(EINVAL)
}

/// `IOMMU_IOASID_FREE`: `arg` points to the id.
pub(crate) fn free(ctx: &Context, arg: UserPtr) -> Result<isize> {
    let id = ioasid(user::read(arg)?)?;
    ctx.free_ioas(ctx.objects.ioas(id)?)?;
    Ok(0)
}

/// Finds the address space of a map or unmap.
fn op_target(ctx: &Context, op: &DmaOp) -> Result<Arc<Ioas>> {
    if op.flags != 0 || op.padding != 0 {
        return Err(EINVAL);
    }
    ctx.objects.ioas(ioasid(op.ioasid)?)
}

/// `IOMMU_MAP_DMA`, in type1v2's order of checks.
pub(crate) fn map_dma(ctx: &Context, arg: UserPtr) -> Result<isize> {
    let MapDma { op, map } = user::read_whole(arg)?;
    let ioas = op_target(ctx, &op)?;
    if map.is_short() || map.flags & !(VfioMap::ACCESS | VFIO_DMA_MAP_FLAG_VADDR) != 0 {
        return Err(EINVAL);
    }
    if map.flags & VFIO_DMA_MAP_FLAG_VADDR != 0 {
        return Err(EOPNOTSUPP);
    }
    let range = IovaRange::with_len(map.iova, map.size)?;
    let memory = IovaRange::with_len(map.vaddr, map.size)?;
    if map.flags & VfioMap::ACCESS == 0 || !range.is_aligned(PAGE) || !memory.is_aligned(PAGE) {
        return Err(EINVAL);
    }
    let request = MapRequest {
        source: MapSource::Process(map.vaddr),
        prot: map.prot(),
        accounting: ctx.accounting(),
        // As with type1v2.
        bars: Bars::Mapped,
    };
    trace::map(ioas.id(), map.iova, map.size, || {
        ioas.iopt.map(range, &request)
    })?;
    Ok(0)
}

/// `IOMMU_UNMAP_DMA`, in type1v2's order of checks.
pub(crate) fn unmap_dma(ctx: &Context, arg: UserPtr) -> Result<isize> {
    const SIZE: usize = offset_of!(UnmapDma, unmap) + offset_of!(VfioUnmap, size);
    let UnmapDma { op, unmap } = user::read_whole(arg)?;
    let ioas = op_target(ctx, &op)?;
    const UNSUPPORTED: u32 = VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP | VFIO_DMA_UNMAP_FLAG_VADDR;
    if unmap.is_short() || unmap.flags & !(UNSUPPORTED | VFIO_DMA_UNMAP_FLAG_ALL) != 0 {
        return Err(EINVAL);
    }
    if unmap.flags & UNSUPPORTED != 0 {
        return Err(EOPNOTSUPP);
    }
    let range = unmap_range(&unmap)?;
    // What cannot be written to should fail before anything is unmapped, not after.
    user::write_u64(arg, SIZE, unmap.size)?;
    let unmapped = trace::unmap(ioas.id(), unmap.iova, unmap.size, || ioas.iopt.unmap(range))?;
    user::write_u64(arg, SIZE, unmapped.bytes)?;
    Ok(0)
}

fn unmap_range(unmap: &VfioUnmap) -> Result<IovaRange> {
    if unmap.flags & VFIO_DMA_UNMAP_FLAG_ALL != 0 {
        if unmap.iova != 0 || unmap.size != 0 {
            return Err(EINVAL);
        }
        return Ok(IovaRange::ALL);
    }
    if unmap.iova % PAGE != 0 || unmap.size % PAGE != 0 {
        return Err(EINVAL);
    }
    IovaRange::with_len(unmap.iova, unmap.size)
}

/// `IOMMU_CHECK_EXTENSION`: 1 exactly where the feature works. A container's program, which asks
/// for the version of its calls by the same number and with no argument, has to get 0.
pub(crate) fn check_extension(ctx: &Context, arg: usize) -> isize {
    let Ok(asked) = u32::try_from(arg) else {
        return 0;
    };
    let number = asked & !IOMMU_EXT_EXPLICIT;
    let known = matches!(
        number,
        IOMMU_EXT_MAP_TYPE1V2
            | IOMMU_EXT_DMA_NO_SNOOP
            | IOMMU_EXT_MULTIDEV_GROUP
            | IOMMU_EXT_IOVA_WINDOW
    );
    let meant = asked != number || ctx.container.knows_ioasids();
    isize::from(known && meant && !ctx.container.is_in_use())
}
