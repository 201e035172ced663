// SPDX-License-Identifier: GPL-2.0

//! The calls of a VFIO container, for programs that know nothing else.
//!
//! They work on one address space of the context. Three have the numbers of calls in
//! `<linux/iommu.h>`: two of those take a small number here and a pointer there, which tells them
//! apart. The third, `VFIO_GET_API_VERSION`, takes nothing here, and is served where
//! `IOMMU_CHECK_EXTENSION` is.

use super::iommufd::map::{
    map,
    Map, //
};
use crate::{
    iova::IovaRange,
    kapi::{
        device::TAKES_UNTRANSLATED,
        task,
        trace,
        user, //
    },
    objects::{
        context::Context,
        ioas::Ioas, //
    },
    space::MapSource,
    uapi::structs::*, //
};
use core::mem::{
    offset_of,
    size_of, //
};
use kernel::{
    ioctl::_IO,
    page::PAGE_SIZE,
    prelude::*,
    uaccess::UserPtr, //
};

const fn nr(nr: u32) -> u32 {
    _IO(b';' as u32, VFIO_BASE + nr)
}

const CHECK_EXTENSION: u32 = nr(1);
const SET_IOMMU: u32 = nr(2);
const GET_INFO: u32 = nr(12);
const MAP_DMA: u32 = nr(13);
const UNMAP_DMA: u32 = nr(14);

/// No program has anything below this address, and no extension a number above.
const SMALLEST_POINTER: usize = PAGE_SIZE;

/// Where the ranges are, behind the two that come before.
const RANGES_OFFSET: u32 = (size_of::<VfioInfo>() + size_of::<CapDmaAvail>()) as u32;

/// Whether a call with a number of `<linux/iommu.h>` is one of a container.
pub(crate) fn is_for_container(cmd: u32, arg: usize) -> bool {
    matches!(cmd, CHECK_EXTENSION | SET_IOMMU) && (1..SMALLEST_POINTER).contains(&arg)
}

/// Serves the call `cmd` of a container.
///
/// # Errors
///
/// `ENOTTY`: there is no such call; and those of the call.
pub(crate) fn ioctl(ctx: &Context, cmd: u32, arg: usize) -> Result<isize> {
    let ptr = UserPtr::from_addr(arg);
    match cmd {
        // CAST: Small numbers, see above.
        CHECK_EXTENSION => check_extension(ctx, arg as u32),
        SET_IOMMU => set_iommu(ctx, arg as u32),
        GET_INFO => get_info(ctx, ptr),
        MAP_DMA => map_dma(ctx, ptr),
        UNMAP_DMA => unmap_dma(ctx, ptr),
        _ => Err(ENOTTY),
    }
}

fn check_extension(ctx: &Context, extension: u32) -> Result<isize> {
    Ok(match extension {
        VFIO_TYPE1_IOMMU | VFIO_TYPE1V2_IOMMU | VFIO_UNMAP_ALL => {
            isize::from(!ctx.container.is_no_iommu())
        }
        VFIO_NOIOMMU_IOMMU => isize::from(TAKES_UNTRANSLATED),
        VFIO_DMA_CC_IOMMU => {
            let ioas = ctx.container.ioas()?;
            isize::from(ioas.iopt.all_enforce_snoop()?)
        }
        _ => 0,
    })
}

fn set_iommu(ctx: &Context, kind: u32) -> Result<isize> {
    match kind {
        VFIO_NOIOMMU_IOMMU if ctx.container.is_no_iommu() => {
            if !task::may_do_raw_io() {
                return Err(EPERM);
            }
        }
        VFIO_TYPE1_IOMMU | VFIO_TYPE1V2_IOMMU if !ctx.container.is_no_iommu() => {
            let ioas = ctx.container.ioas()?;
            if kind == VFIO_TYPE1_IOMMU {
                ioas.iopt.set_large_pages(false)?;
            }
        }
        _ => return Err(EINVAL),
    }
    Ok(0)
}

fn map_dma(ctx: &Context, arg: UserPtr) -> Result<isize> {
    let cmd: VfioMap = user::read(arg)?;
    if cmd.is_short() || cmd.flags & !VfioMap::ACCESS != 0 {
        return Err(EINVAL);
    }
    let ioas = ctx.container.ioas()?;
    // Without a device, an address space takes any bytes; a container does not.
    let in_pages = (cmd.vaddr | cmd.iova | cmd.size) % PAGE_SIZE as u64 == 0;
    if cmd.flags & VfioMap::ACCESS == 0 || !in_pages {
        return Err(EINVAL);
    }
    cmd.vaddr.checked_add(cmd.size).ok_or(EOVERFLOW)?;
    let wanted = Map {
        ioas_id: ioas.id(),
        source: MapSource::Process(cmd.vaddr),
        length: cmd.size,
        iova: Some(cmd.iova),
        prot: cmd.prot(),
    };
    map(ctx, &ioas, wanted)?;
    Ok(0)
}

fn unmap_dma(ctx: &Context, arg: UserPtr) -> Result<isize> {
    const SIZE: usize = offset_of!(VfioUnmap, size);
    let cmd: VfioUnmap = user::read(arg)?;
    if cmd.is_short() || cmd.flags & !VFIO_DMA_UNMAP_FLAG_ALL != 0 {
        return Err(EINVAL);
    }
    let ioas = ctx.container.ioas()?;
    let range = if cmd.flags & VFIO_DMA_UNMAP_FLAG_ALL == 0 {
        match IovaRange::with_len(cmd.iova, cmd.size) {
            Ok(range) => range,
            Err(e) => {
                user::write_u64(arg, SIZE, 0)?;
                return Err(e);
            }
        }
    } else if cmd.iova == 0 && cmd.size == 0 {
        IovaRange::ALL
    } else {
        return Err(EINVAL);
    };
    // What cannot be written to should fail before anything is cut, not after.
    user::write_u64(arg, SIZE, cmd.size)?;
    let all = cmd.flags & VFIO_DMA_UNMAP_FLAG_ALL != 0;
    if !all && !ioas.iopt.large_pages()? {
        // This is type1 without v2. Charges are cut, too.
        let _charges = ctx.hold_charges()?;
        ioas.iopt.cut_at_ends(range)?;
    }
    // What was unmapped is said in any case, even if it was nothing.
    user::write_u64(arg, SIZE, 0)?;
    let unmapped = trace::unmap(ioas.id(), cmd.iova, cmd.size, || {
        ioas.iopt.unmap(range).map_err(|e| match e {
            // An end of the range cuts an area.
            e if e == EINVAL => ENOENT,
            e => e,
        })
    })?;
    user::write_u64(arg, SIZE, unmapped.bytes)?;
    Ok(0)
}

fn get_info(ctx: &Context, arg: UserPtr) -> Result<isize> {
    const MIN: usize = offset_of!(VfioInfo, cap_offset);
    let [argsz, ..]: [u32; MIN / size_of::<u32>()] = user::read(arg)?;
    if (argsz as usize) < MIN {
        return Err(EINVAL);
    }
    let ioas = ctx.container.ioas()?;
    let chain = capabilities(&ioas)?;
    let needed = size_of::<VfioInfo>() + chain.len();
    let mut info = VfioInfo {
        argsz: u32::try_from(needed).map_err(|_| EOVERFLOW)?,
        flags: VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS,
        iova_pgsizes: ioas.iopt.pgsizes()?,
        cap_offset: 0,
        pad: 0,
    };
    if argsz as usize >= needed {
        info.cap_offset = size_of::<VfioInfo>() as u32;
        user::write_bytes(arg, size_of::<VfioInfo>(), &chain)?;
    }
    let known = size_of::<VfioInfo>().min(argsz as usize);
    let bytes = info.as_bytes();
    user::write_bytes(arg, 0, bytes.get(..known).unwrap_or(bytes))?;
    Ok(0)
}

/// The chain of capabilities: how many mappings there may be, and where. All addresses are no
/// limit, and left out, as by type1 without a domain: programs add 1 to the end of a range.
fn capabilities(ioas: &Ioas) -> Result<KVec<u8>> {
    let ranges = ioas.iopt.usable_ranges()?;
    let is_limited = ranges.as_slice() != [IovaRange::ALL];
    let mut chain = KVec::new();
    let avail = CapDmaAvail {
        id: VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL as u16,
        version: 1,
        next: if is_limited { RANGES_OFFSET } else { 0 },
        // Memory is what limits them.
        avail: u32::MAX,
        pad: 0,
    };
    chain.extend_from_slice(avail.as_bytes(), GFP_KERNEL)?;
    if is_limited {
        add_ranges(&mut chain, ranges)?;
    }
    Ok(chain)
}

fn add_ranges(chain: &mut KVec<u8>, ranges: KVec<IovaRange>) -> Result {
    let head = CapIovaRange {
        id: VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE as u16,
        version: 1,
        next: 0,
        nr_iovas: u32::try_from(ranges.len()).map_err(|_| EOVERFLOW)?,
        reserved: 0,
    };
    chain.extend_from_slice(head.as_bytes(), GFP_KERNEL)?;
    for range in ranges {
        let range = CapRange {
            start: range.first(),
            end: range.last(),
        };
        chain.extend_from_slice(range.as_bytes(), GFP_KERNEL)?;
    }
    Ok(())
}
