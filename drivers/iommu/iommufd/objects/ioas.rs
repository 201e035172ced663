// SPDX-License-Identifier: GPL-2.0

//! I/O address spaces as objects, and the calls on them: arguments are checked here.

use crate::{
    iova::IovaRange,
    kapi::{
        trace,
        user, //
    },
    objects::context::{
        Context,
        Object, //
    },
    space::{
        IoPagetable,
        MapRequest,
        Source, //
    },
    uapi::structs::*, //
};
use core::{
    mem::offset_of,
    ops::Deref, //
};
use kernel::{
    page::PAGE_SIZE,
    prelude::*,
    sync::{
        atomic::{
            ordering::{
                Acquire,
                Relaxed,
                Release, //
            },
            Atomic, //
        },
        Arc, //
    },
    uaccess::UserPtr, //
};

/// What an IOASID names.
#[pin_data]
pub(crate) struct Ioas {
    id: u32,
    /// How many groups, domains and accesses use it. Goes up only under the lock of the context's objects, where
    /// freeing looks at it.
    users: Atomic<i32>,
    #[pin]
    table: IoPagetable,
}

impl Ioas {
    /// An empty address space.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(id: u32, window: IovaRange, enforce_snoop: bool) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                id,
                users: Atomic::new(0),
                table <- IoPagetable::new(window, enforce_snoop),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// The IOASID.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// Whether anything uses it.
    pub(crate) fn is_used(&self) -> bool {
        self.users.load(Acquire) != 0
    }
}

impl Deref for Ioas {
    type Target = IoPagetable;

    fn deref(&self) -> &IoPagetable {
        &self.table
    }
}

/// A use of an address space, which cannot be freed meanwhile.
pub(crate) struct IoasUser {
    ioas: Arc<Ioas>,
}

impl IoasUser {
    /// To be called under the lock that freeing takes; see [`crate::objects::context::Objects::use_ioas`].
    pub(crate) fn new(ioas: Arc<Ioas>) -> Self {
        ioas.users.fetch_add(1, Relaxed);
        Self { ioas }
    }

    /// The address space.
    pub(crate) fn ioas(&self) -> &Arc<Ioas> {
        &self.ioas
    }
}

impl Clone for IoasUser {
    fn clone(&self) -> Self {
        // It is in use already, so that nobody can be freeing it.
        Self::new(self.ioas.clone())
    }
}

impl Drop for IoasUser {
    fn drop(&mut self) {
        self.ioas.users.fetch_sub(1, Release);
    }
}

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
    let id = ctx.reserve_id()?;
    let number = id.number();
    let ioas = Ioas::new(number, window, enforce_snoop)?;
    id.give_to(Object::Ioas(ioas), None);
    ctx.note_ioasids();
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
    ctx.free_ioas(ctx.ioas(id)?)?;
    Ok(0)
}

/// Finds the address space of a map or unmap.
fn op_target(ctx: &Context, op: &DmaOp) -> Result<Arc<Ioas>> {
    if op.flags != 0 || op.padding != 0 {
        return Err(EINVAL);
    }
    ctx.ioas(ioasid(op.ioasid)?)
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
        source: Source::User(map.vaddr),
        prot: map.prot(),
        accounting: ctx.accounting(),
    };
    trace::map(ioas.id(), map.iova, map.size, || ioas.map(range, &request))?;
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
    let unmapped = trace::unmap(ioas.id(), unmap.iova, unmap.size, || ioas.unmap(range))?;
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
