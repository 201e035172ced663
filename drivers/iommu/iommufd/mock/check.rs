// SPDX-License-Identifier: GPL-2.0

//! Tests that look at what is mapped where, and pinned.

use super::face::{
    command::Command,
    memory,
    nested, //
};
use crate::{
    iova::IovaRange,
    objects::{
        context::Context,
        nested::Nested,
        table::Object, //
    }, //
};
use kernel::{
    page::PAGE_SIZE,
    prelude::*,
    sync::Arc, //
};

/// `MD_CHECK_MAP`: whether a domain has at a range of addresses what the process has at another; or
/// without one, anything at all.
///
/// # Errors
///
/// `ENOENT`: there is no domain. `EINVAL`: it has something else, or it is not made of the
/// domain's pages. `EFAULT`: the process has nothing there.
pub(super) fn map(ctx: &Context, cmd: &Command) -> Result {
    let Some(Object::Hwpt(hwpt, _)) = ctx.objects.get(cmd.id()) else {
        return Err(ENOENT);
    };
    let domain = hwpt.domain();
    let page = domain.smallest_page();
    let (iova, uptr, length) = (cmd.map_iova(), cmd.map_uptr(), cmd.map_length());
    let ends = uptr.checked_add(length).is_some();
    if !ends || page == 0 || (iova | uptr | length) % page != 0 {
        return Err(EINVAL);
    }
    let mut done = 0;
    while done < length {
        let there = domain.translate(iova.wrapping_add(done)).ok_or(EINVAL)?;
        if uptr != 0 && there != memory::address(uptr + done)? {
            return Err(EINVAL);
        }
        done += page;
    }
    Ok(())
}

/// `MD_CHECK_IOTLB`: whether an entry of a nested domain's IOTLB is as it should be.
///
/// # Errors
///
/// `ENOENT`: there is no nested domain. `EINVAL`: it is not, or the domain is another IOMMU's.
pub(super) fn iotlb(ctx: &Context, cmd: &Command) -> Result {
    let nested: Arc<Nested> = ctx.objects.find(cmd.id())?;
    nested.with_domain(|domain| match nested::iotlb(domain, cmd.iotlb_id()) {
        Some(entry) if entry == cmd.iotlb() => Ok(()),
        _ => Err(EINVAL),
    })
}

/// `MD_CHECK_REFS`: whether each page of a range of the process's is pinned so often. Of larger
/// folios that cannot be told.
///
/// # Errors
///
/// `EIO`: one is not. `EINVAL`: it is not made of pages. `EFAULT`: nothing is there.
pub(super) fn pins(cmd: &Command) -> Result {
    let (uptr, length) = (cmd.refs_uptr(), cmd.refs_length());
    if (uptr | length) % PAGE_SIZE as u64 != 0 || uptr.checked_add(length).is_none() {
        return Err(EINVAL);
    }
    let mut done = 0;
    while done < length {
        if memory::pins(uptr + done)?.is_some_and(|pins| pins != cmd.refs()) {
            return Err(EIO);
        }
        done += PAGE_SIZE as u64;
    }
    Ok(())
}

/// `ADD_RESERVED`: nothing may be mapped in a range of an address space any more, as if a device
/// had reserved it.
///
/// # Errors
///
/// `EINVAL`: there is nothing in it. `EOVERFLOW`: it ends beyond all addresses. `ENOENT`: there is
/// no such space. `EADDRINUSE`: something is mapped there.
pub(super) fn reserve(ctx: &Context, cmd: &Command) -> Result {
    let range = IovaRange::with_len(cmd.reserved_start(), cmd.reserved_length())?;
    let ioas = ctx.objects.ioas(cmd.id())?;
    ioas.iopt.reserve_for_test(ctx.node(), range)
}
