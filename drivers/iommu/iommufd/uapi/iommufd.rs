// SPDX-License-Identifier: GPL-2.0

//! Mainline's dialect: the calls of `<linux/iommufd.h>`, on the same objects and ids.
//!
//! Checks come in mainline's order, and say what mainline says: `EOPNOTSUPP` for what is not
//! known, `EOVERFLOW` for numbers out of range, `EINVAL` for what makes no sense, `ENOENT` for
//! what is not there. What the hardware would have to offer and this driver does not serve yet is
//! answered as on hardware that does not offer it ([`absent`]).

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
    uaccess::UserPtr, //
};
use structs::*;
use zerocopy::Immutable;

mod absent;
mod hwpt;
mod ioas;
pub(super) mod map;
mod option;
mod process;
mod structs;

/// A call: its argument, and what it does.
trait Command: Sized32 + Immutable {
    /// Does it, and answers; what comes after the answer cannot fail.
    fn run(self, ctx: &Context, reply: &Reply) -> Result;
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
    fn write<T: Command>(&self, answer: &T) -> Result {
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
    let cmd: T = if T::MIN_SIZE == size_of::<T>() {
        user::read_whole(arg)?
    } else {
        user::read_struct(arg)?
    };
    let reply = Reply {
        arg,
        size: cmd.argsz() as usize,
    };
    cmd.run(ctx, &reply)?;
    Ok(0)
}

/// Serves the call `cmd`, if there is such a call.
///
/// # Errors
///
/// Those of the call.
pub(super) fn ioctl(ctx: &Context, cmd: u32, arg: UserPtr) -> Option<Result<isize>> {
    Some(match cmd {
        Destroy::NR => serve::<Destroy>(ctx, arg),
        IoasAlloc::NR => serve::<IoasAlloc>(ctx, arg),
        IoasAllowIovas::NR => serve::<IoasAllowIovas>(ctx, arg),
        IoasCopy::NR => serve::<IoasCopy>(ctx, arg),
        IoasIovaRanges::NR => serve::<IoasIovaRanges>(ctx, arg),
        IoasMap::NR => serve::<IoasMap>(ctx, arg),
        IoasUnmap::NR => serve::<IoasUnmap>(ctx, arg),
        GetOption::NR => serve::<GetOption>(ctx, arg),
        VfioIoas::NR => serve::<VfioIoas>(ctx, arg),
        HwptAlloc::NR => serve::<HwptAlloc>(ctx, arg),
        HwInfo::NR => serve::<HwInfo>(ctx, arg),
        HwptSetDirtyTracking::NR => serve::<HwptSetDirtyTracking>(ctx, arg),
        HwptGetDirtyBitmap::NR => serve::<HwptGetDirtyBitmap>(ctx, arg),
        HwptInvalidate::NR => serve::<HwptInvalidate>(ctx, arg),
        FaultAlloc::NR => serve::<FaultAlloc>(ctx, arg),
        IoasMapFile::NR => serve::<IoasMapFile>(ctx, arg),
        ViommuAlloc::NR => serve::<ViommuAlloc>(ctx, arg),
        VdeviceAlloc::NR => serve::<VdeviceAlloc>(ctx, arg),
        IoasChangeProcess::NR => serve::<IoasChangeProcess>(ctx, arg),
        VeventqAlloc::NR => serve::<VeventqAlloc>(ctx, arg),
        HwQueueAlloc::NR => serve::<HwQueueAlloc>(ctx, arg),
        IoasNoiommuGetPa::NR => serve::<IoasNoiommuGetPa>(ctx, arg),
        _ => return None,
    })
}
