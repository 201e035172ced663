// SPDX-License-Identifier: GPL-2.0

//! Tests as devices that write to memory.

use super::face::{
    command::Command,
    iommu, //
};
use crate::{
    iova::IovaRange,
    objects::{
        context::Context,
        table::Object, //
    }, //
};
use kernel::{
    prelude::*,
    sizes::SZ_16M,
    uaccess::{
        UserPtr,
        UserSlice, //
    }, //
};

/// `DIRTY`: marks the pages whose bits are set in a bitmap as written to, and says how many bits
/// that is.
///
/// # Errors
///
/// * `EINVAL`: nothing, not made of such pages, or the domain does not mark pages now. `EOVERFLOW`:
///   too many.
/// * `ENOENT`: there is no such domain. `EFAULT`, `ENOMEM`.
pub(super) fn mark(ctx: &Context, mut cmd: Command) -> Result {
    let (iova, length, page) = (cmd.dirty_iova(), cmd.dirty_length(), cmd.dirty_page());
    if page == 0 || length == 0 || iova % page != 0 || length % page != 0 || cmd.dirty_uptr() == 0 {
        return Err(EINVAL);
    }
    let bits = length / page;
    if bits > SZ_16M as u64 * 8 {
        return Err(EOVERFLOW);
    }
    let Some(Object::Hwpt(hwpt, ioas)) = ctx.objects.get(cmd.id()) else {
        return Err(ENOENT);
    };
    if !iommu::tracks_dirty(hwpt.domain()) {
        return Err(EINVAL);
    }
    // CAST: It is limited above; an address of the process.
    let mut bitmap = KVVec::from_elem(0u8, bits.div_ceil(8) as usize, GFP_KERNEL_ACCOUNT)?;
    UserSlice::new(UserPtr::from_addr(cmd.dirty_uptr() as usize), bitmap.len())
        .reader()
        .read_slice(&mut bitmap)?;
    let is_set = |bit: &u64| {
        let byte = bitmap.get((*bit / 8) as usize);
        byte.is_some_and(|byte| byte >> (*bit % 8) & 1 != 0)
    };
    let range = IovaRange::with_len(iova, length)?;
    let mut count = 0;
    ioas.iopt.with_steady(&hwpt, range, |domain| {
        for bit in (0..bits).filter(is_set) {
            iommu::set_dirty(domain, iova + bit * page);
            count += 1;
        }
    })?;
    cmd.set_dirty_count(count);
    cmd.answer()
}

/// `FLUSHES`: how often a domain's IOTLB would have been flushed.
///
/// # Errors
///
/// `ENOENT`: there is no such domain. `EFAULT`.
pub(super) fn flushes(ctx: &Context, mut cmd: Command) -> Result {
    let Some(Object::Hwpt(hwpt, _)) = ctx.objects.get(cmd.id()) else {
        return Err(ENOENT);
    };
    cmd.set_cache(iommu::flushes(hwpt.domain()));
    cmd.answer()
}
