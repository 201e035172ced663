// SPDX-License-Identifier: GPL-2.0

//! Mapping, copying and unmapping.

use super::{
    structs::*,
    Command,
    Reply, //
};
use crate::{
    iova::IovaRange,
    kapi::{
        device_memory::DevicePart,
        dmabuf::DmaBuf,
        domain::Prot,
        memfd::{
            self,
            MemoryFile, //
        },
        trace, //
    },
    objects::{
        context::Context,
        ioas::Ioas, //
    },
    space::{
        choose::WantedIova,
        gaps::MOST_ALIGN,
        Bars,
        MapRequest,
        MapSource, //
    }, //
};
use core::mem::offset_of;
use kernel::{
    fs::LocalFile,
    page::PAGE_SIZE,
    prelude::*, //
};

const PAGE: u64 = PAGE_SIZE as u64;

/// What a map is allowed to do.
///
/// # Errors
///
/// * `EOPNOTSUPP`: unknown flags.
/// * `EOVERFLOW`: one of `numbers` is out of range.
/// * `EINVAL`: nothing is allowed.
fn prot(flags: u32, numbers: &[u64]) -> Result<Prot> {
    const ACCESS: u32 = IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE;
    if flags & !(ACCESS | IOMMU_IOAS_MAP_FIXED_IOVA) != 0 {
        return Err(EOPNOTSUPP);
    }
    if numbers.contains(&u64::MAX) {
        return Err(EOVERFLOW);
    }
    if flags & ACCESS == 0 {
        return Err(EINVAL);
    }
    Ok(Prot {
        read: flags & IOMMU_IOAS_MAP_READABLE != 0,
        write: flags & IOMMU_IOAS_MAP_WRITEABLE != 0,
        mmio: false,
    })
}

/// The address that a map gets, unless it is to be chosen.
fn fixed(flags: u32, iova: u64) -> Option<u64> {
    (flags & IOMMU_IOAS_MAP_FIXED_IOVA != 0).then_some(iova)
}

/// Where `len` bytes that are at `source` go: to `iova`, or else to where large pages would fit.
///
/// # Errors
///
/// `EINVAL`: nothing, or far too long; `EOVERFLOW`: too long.
fn wanted_iova(iova: Option<u64>, len: u64, source: u64) -> Result<WantedIova> {
    if len == 0 || len > u64::MAX - PAGE {
        return Err(EINVAL);
    }
    if let Some(iova) = iova {
        return Ok(WantedIova::Fixed(IovaRange::with_len(iova, len)?));
    }
    if len >= u64::MAX / 2 {
        return Err(EOVERFLOW);
    }
    let offset = source % PAGE;
    let lowest_bit = 1u64.checked_shl((source - offset).trailing_zeros());
    let align = len
        .next_power_of_two()
        .min(lowest_bit.unwrap_or(MOST_ALIGN))
        .min(MOST_ALIGN);
    Ok(WantedIova::Any { len, align, offset })
}

/// Does `map`, and tells userspace where, if it did not say so itself: in the argument, at
/// `offset`, where it has put `iova`.
///
/// Nothing is unmapped if that fails: who else knows of the address may have put something else
/// there. So whether the answer can be written to is seen first, by writing what is there.
fn map_and_tell(
    reply: &Reply,
    (offset, iova): (usize, u64),
    given: Option<u64>,
    map: impl FnOnce() -> Result<IovaRange>,
) -> Result {
    reply.write_u64(offset, iova)?;
    let range = map()?;
    match given {
        Some(_) => Ok(()),
        None => reply.write_u64(offset, range.first()),
    }
}

/// A map.
pub(crate) struct Map {
    pub(crate) ioas_id: u32,
    pub(crate) source: MapSource,
    pub(crate) length: u64,
    /// Where to, unless that is to be chosen.
    pub(crate) iova: Option<u64>,
    pub(crate) prot: Prot,
}

/// Maps memory of the current process or of a file, and says where.
pub(crate) fn map(ctx: &Context, ioas: &Ioas, map: Map) -> Result<IovaRange> {
    let wanted = wanted_iova(map.iova, map.length, map.source.start())?;
    let request = MapRequest {
        source: map.source,
        prot: map.prot,
        accounting: ctx.accounting(),
        bars: Bars::IfAllowed,
    };
    trace::map_somewhere(map.ioas_id, map.iova, map.length, || {
        ioas.iopt.map_at(wanted, &request)
    })
}

impl Command for IoasMap {
    fn run(self, ctx: &Context, reply: &Reply) -> Result {
        if self.__reserved != 0 {
            return Err(EOPNOTSUPP);
        }
        let prot = prot(self.flags, &[self.iova, self.length])?;
        let ioas = ctx.objects.ioas(self.ioas_id)?;
        self.user_va.checked_add(self.length).ok_or(EOVERFLOW)?;
        let iova = fixed(self.flags, self.iova);
        let wanted = Map {
            ioas_id: self.ioas_id,
            source: MapSource::Process(self.user_va),
            length: self.length,
            iova,
            prot,
        };
        let place = (offset_of!(Self, iova), self.iova);
        map_and_tell(reply, place, iova, || map(ctx, &ioas, wanted))
    }
}

impl Command for IoasMapFile {
    fn run(self, ctx: &Context, reply: &Reply) -> Result {
        let prot = prot(self.flags, &[self.iova, self.length])?;
        let ioas = ctx.objects.ioas(self.ioas_id)?;
        IovaRange::with_len(self.start, self.length)?;
        let iova = fixed(self.flags, self.iova);
        let place = (offset_of!(Self, iova), self.iova);
        if let Some(buf) = DmaBuf::of_fd(self.fd) {
            buf.check_access(prot.write)?;
            let memory = DevicePart::new(ctx.node(), buf, self.start, self.length, prot.write)?;
            let wanted = wanted_iova(iova, self.length, self.start)?;
            return map_and_tell(reply, place, iova, || {
                trace::map_somewhere(self.ioas_id, iova, self.length, || {
                    ioas.iopt.map_device(wanted, memory, prot)
                })
            });
        }
        let fd = u32::try_from(self.fd).map_err(|_| EBADF)?;
        let file = LocalFile::fget(fd)?;
        memfd::check_access(&file, prot.write)?;
        let file = MemoryFile::new(&file, prot.write)?;
        let wanted = Map {
            ioas_id: self.ioas_id,
            source: MapSource::File(file, self.start),
            length: self.length,
            iova,
            prot,
        };
        map_and_tell(reply, place, iova, || map(ctx, &ioas, wanted))
    }
}

impl Command for IoasCopy {
    fn run(self, ctx: &Context, reply: &Reply) -> Result {
        let prot = prot(self.flags, &[self.length, self.src_iova, self.dst_iova])?;
        let from = ctx.objects.ioas(self.src_ioas_id)?;
        let source = IovaRange::with_len(self.src_iova, self.length)?;
        let _charges = ctx.hold_charges()?;
        let parts = from.iopt.parts(source)?;
        let to = ctx.objects.ioas(self.dst_ioas_id)?;
        let iova = fixed(self.flags, self.dst_iova);
        let wanted = wanted_iova(iova, self.length, self.src_iova)?;
        let place = (offset_of!(Self, dst_iova), self.dst_iova);
        map_and_tell(reply, place, iova, || {
            trace::map_somewhere(self.dst_ioas_id, iova, self.length, || {
                to.iopt.map_parts(parts, wanted, prot)
            })
        })
    }
}

impl Command for IoasUnmap {
    fn run(self, ctx: &Context, reply: &Reply) -> Result {
        const LENGTH: usize = offset_of!(IoasUnmap, length);
        let ioas = ctx.objects.ioas(self.ioas_id)?;
        let all = self.iova == 0 && self.length == u64::MAX;
        let range = if all {
            IovaRange::ALL
        } else if self.iova == u64::MAX || self.length == u64::MAX {
            return Err(EOVERFLOW);
        } else {
            IovaRange::with_len(self.iova, self.length)?
        };
        // What cannot be written to should fail before anything is unmapped, not after.
        reply.write_u64(LENGTH, self.length)?;
        let unmapped = trace::unmap(self.ioas_id, self.iova, self.length, || {
            match ioas.iopt.unmap(range) {
                // An end of the range cuts an area.
                Err(e) if e == EINVAL => Err(ENOENT),
                Ok(unmapped) if unmapped.bytes == 0 && !all => Err(ENOENT),
                result => result,
            }
        })?;
        reply.write_u64(LENGTH, unmapped.bytes)
    }
}
