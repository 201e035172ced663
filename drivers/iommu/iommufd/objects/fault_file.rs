// SPDX-License-Identifier: GPL-2.0

//! Files that page faults are read from, and answered through.
//!
//! Userspace gets faults by groups, as devices want them to be answered, and never a part of one.

use crate::{
    kapi::{
        event_file::{
            self,
            EventFile, //
        },
        fault::{
            Answer,
            PageFault, //
        },
        user, //
    },
    objects::{
        context::Context,
        fault_queue::FaultQueue,
        users::User, //
    }, //
};
use core::mem::{
    offset_of,
    size_of, //
};
use kernel::{
    bindings,
    fs::File,
    prelude::*,
    sync::{
        aref::ARef,
        poll::PollCondVar,
        Arc, //
    },
    uaccess::UserPtr, //
};

/// An answer (`struct iommu_hwpt_page_response`).
#[repr(C)]
#[derive(FromBytes, IntoBytes)]
struct Response {
    cookie: u32,
    code: u32,
}
static_assert!(size_of::<Response>() == size_of::<bindings::iommu_hwpt_page_response>());
static_assert!(offset_of!(Response, code) == offset_of!(bindings::iommu_hwpt_page_response, code));

/// The file of a queue. Who closes it will not answer what he has read.
struct FaultFile {
    /// Dropped before the context, which it may be the last to have.
    queue: User<FaultQueue>,
    _ctx: Arc<Context>,
}

impl Drop for FaultFile {
    fn drop(&mut self) {
        self.queue.get().faults().close();
    }
}

/// Opens the file of a queue that nobody has found yet: there is one at most.
///
/// # Errors
///
/// `ENOMEM`, `ENFILE`.
pub(crate) fn open(ctx: Arc<Context>, queue: &Arc<FaultQueue>) -> Result<ARef<File>> {
    event_file::open(FaultFile {
        queue: User::new(queue.clone()),
        _ctx: ctx,
    })
}

impl FaultFile {
    /// Reads one group, if there is any: `faults` is room for it. Returns how many bytes it has.
    fn read_group(&self, to: UserPtr, room: usize, faults: &mut KVVec<PageFault>) -> Result<usize> {
        let queue = self.queue.get().faults();
        let Some(reading) = queue.read(room / size_of::<PageFault>(), faults)? else {
            return Ok(0);
        };
        let bytes = faults.as_slice().as_bytes();
        user::write_bytes(to, 0, bytes)?;
        reading.done();
        Ok(bytes.len())
    }

    /// Takes one answer. Returns how many bytes it has.
    fn answer(&self, from: UserPtr) -> Result<usize> {
        let response: Response = user::read(from)?;
        let answer = Answer::from_code(response.code).ok_or(EINVAL)?;
        self.queue.get().faults().answer(response.cookie, answer)?;
        Ok(size_of::<Response>())
    }
}

#[vtable]
impl EventFile for FaultFile {
    const NAME: &'static CStr = c"[iommufd-pgfault]";

    /// # Errors
    ///
    /// `ESPIPE`: `room` is not that of so many faults. `EINVAL`: it is less than the first group
    /// has. `EFAULT`, `ENOMEM`.
    fn read(&self, to: UserPtr, room: usize) -> Result<usize> {
        if room % size_of::<PageFault>() != 0 {
            return Err(ESPIPE);
        }
        let mut faults = KVVec::new();
        event_file::copy_each(to, room, |to, room| self.read_group(to, room, &mut faults))
    }

    /// # Errors
    ///
    /// `ESPIPE`: `len` is not that of so many answers. `EINVAL`: the first is none, or nobody waits
    /// for it. `EFAULT`.
    fn write(&self, from: UserPtr, len: usize) -> Result<usize> {
        if len % size_of::<Response>() != 0 {
            return Err(ESPIPE);
        }
        event_file::copy_each(from, len, |from, left| match left {
            0 => Ok(0),
            _ => self.answer(from),
        })
    }

    fn has_some(&self) -> bool {
        self.queue.get().faults().has_some()
    }

    fn waiters(&self) -> &PollCondVar {
        self.queue.get().faults().waiters()
    }
}
