// SPDX-License-Identifier: GPL-2.0

//! Mainline's dialect: the calls of `<linux/iommufd.h>`, on the same objects and ids.
//!
//! Checks come in mainline's order, and say what mainline says: `EOPNOTSUPP` for what is not
//! known, `EOVERFLOW` for numbers out of range, `EINVAL` for what makes no sense, `ENOENT` for
//! what is not there.

use crate::{
    kapi::user::{
        self,
        Sized32, //
    },
    objects::context::Context, //
};
use core::mem::size_of;
use kernel::{
    prelude::*,
    sync::ArcBorrow,
    uaccess::UserPtr, //
};
use structs::*;
use zerocopy::Immutable;

mod dirty;
mod fault;
mod hwpt;
mod ioas;
pub(super) mod map;
mod nested;
mod option;
mod process;
mod structs;
mod veventq;
mod viommu;

/// A call: its argument, and what it does.
trait Command: Sized32 + Immutable {
    /// Does it, and answers; what comes after the answer cannot fail.
    fn run(self, ctx: &Context, reply: &Reply) -> Result;
}

/// A call that opens a file, which keeps the context.
trait OpenCommand: Sized32 + Immutable {
    /// As [`Command::run`].
    fn run(self, ctx: ArcBorrow<'_, Context>, reply: &Reply) -> Result;
}

/// Where the answer goes: over the argument, as far as userspace knows it.
struct Reply {
    arg: UserPtr,
    size: usize,
}

impl Reply {
    /// Answers with a whole argument.
    ///
    /// # Errors
    ///
    /// `EFAULT`.
    fn write<T: Sized32 + Immutable>(&self, answer: &T) -> Result {
        let bytes = answer.as_bytes();
        let known = bytes.get(..self.size).unwrap_or(bytes);
        user::write_bytes(self.arg, 0, known)
    }

    /// Answers with one number of the first version.
    ///
    /// # Errors
    ///
    /// `EFAULT`.
    fn write_u32(&self, offset: usize, value: u32) -> Result {
        user::write_bytes(self.arg, offset, value.as_bytes())
    }

    /// As [`Self::write_u32`].
    fn write_u64(&self, offset: usize, value: u64) -> Result {
        user::write_u64(self.arg, offset, value)
    }
}

fn serve<T: Command>(ctx: &Context, arg: UserPtr) -> Result<isize> {
    serve_with(arg, |cmd: T, reply| cmd.run(ctx, reply))
}

fn serve_open<T: OpenCommand>(ctx: ArcBorrow<'_, Context>, arg: UserPtr) -> Result<isize> {
    serve_with(arg, |cmd: T, reply| cmd.run(ctx, reply))
}

#[inline(always)]
fn serve_with<T: Sized32 + Immutable>(
    arg: UserPtr,
    run: impl FnOnce(T, &Reply) -> Result,
) -> Result<isize> {
    let cmd: T = if T::MIN_SIZE == size_of::<T>() {
        user::read_whole(arg)?
    } else {
        user::read_struct(arg)?
    };
    let reply = Reply {
        arg,
        size: cmd.argsz() as usize,
    };
    run(cmd, &reply)?;
    Ok(0)
}

/// Serves the call `cmd`, if there is such a call.
///
/// # Errors
///
/// Those of the call.
pub(super) fn ioctl(ctx: ArcBorrow<'_, Context>, cmd: u32, arg: UserPtr) -> Option<Result<isize>> {
    // What most calls need of it.
    let this = &*ctx;
    Some(match cmd {
        Destroy::NR => serve::<Destroy>(this, arg),
        IoasAlloc::NR => serve::<IoasAlloc>(this, arg),
        IoasAllowIovas::NR => serve::<IoasAllowIovas>(this, arg),
        IoasCopy::NR => serve::<IoasCopy>(this, arg),
        IoasIovaRanges::NR => serve::<IoasIovaRanges>(this, arg),
        IoasMap::NR => serve::<IoasMap>(this, arg),
        IoasUnmap::NR => serve::<IoasUnmap>(this, arg),
        GetOption::NR => serve::<GetOption>(this, arg),
        VfioIoas::NR => serve::<VfioIoas>(this, arg),
        HwptAlloc::NR => serve::<HwptAlloc>(this, arg),
        HwInfo::NR => serve::<HwInfo>(this, arg),
        HwptSetDirtyTracking::NR => serve::<HwptSetDirtyTracking>(this, arg),
        HwptGetDirtyBitmap::NR => serve::<HwptGetDirtyBitmap>(this, arg),
        HwptInvalidate::NR => serve::<HwptInvalidate>(this, arg),
        FaultAlloc::NR => serve_open::<FaultAlloc>(ctx, arg),
        IoasMapFile::NR => serve::<IoasMapFile>(this, arg),
        ViommuAlloc::NR => serve::<ViommuAlloc>(this, arg),
        VdeviceAlloc::NR => serve::<VdeviceAlloc>(this, arg),
        IoasChangeProcess::NR => serve::<IoasChangeProcess>(this, arg),
        VeventqAlloc::NR => serve_open::<VeventqAlloc>(ctx, arg),
        HwQueueAlloc::NR => serve::<HwQueueAlloc>(this, arg),
        IoasNoiommuGetPa::NR => serve::<IoasNoiommuGetPa>(this, arg),
        _ => return None,
    })
}
