// SPDX-License-Identifier: GPL-2.0

//! Files that events of virtual IOMMUs are read from.

use crate::{
    kapi::{
        event_file::{
            self,
            EventFile, //
        },
        user, //
    },
    objects::{
        context::Context,
        users::User,
        veventq::Veventq, //
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

/// What comes before an event (`struct iommufd_vevent_header`).
#[repr(C)]
#[derive(IntoBytes, zerocopy_derive::Immutable)]
struct Header {
    flags: u32,
    sequence: u32,
}
static_assert!(size_of::<Header>() == size_of::<bindings::iommufd_vevent_header>());
static_assert!(
    offset_of!(Header, sequence) == offset_of!(bindings::iommufd_vevent_header, sequence)
);

/// The file of a queue.
struct VeventFile {
    /// Dropped before the context, which it may be the last to have.
    queue: User<Veventq>,
    _ctx: Arc<Context>,
}

/// Opens the file of a queue that nobody has found yet: there is one at most.
///
/// # Errors
///
/// `ENOMEM`, `ENFILE`.
pub(crate) fn open(ctx: Arc<Context>, queue: &Arc<Veventq>) -> Result<ARef<File>> {
    event_file::open(VeventFile {
        queue: User::new(queue.clone()),
        _ctx: ctx,
    })
}

impl VeventFile {
    /// Reads one event, if there is any. Returns how many bytes it has.
    ///
    /// # Errors
    ///
    /// `EINVAL`: there is no room for it. `EFAULT`. It is the next one again then.
    fn read_one(&self, to: UserPtr, room: usize) -> Result<usize> {
        let Some(event) = self.queue.get().queue().next() else {
            return Ok(0);
        };
        let header = Header {
            flags: event.flags,
            sequence: event.sequence,
        };
        let len = size_of::<Header>() + event.data().len();
        if len > room {
            return Err(EINVAL);
        }
        user::write_bytes(to, 0, header.as_bytes())?;
        user::write_bytes(to, size_of::<Header>(), event.data())?;
        event.done();
        Ok(len)
    }
}

#[vtable]
impl EventFile for VeventFile {
    const NAME: &'static CStr = c"[iommufd-viommu-event]";

    /// # Errors
    ///
    /// `EINVAL`: there is no room for a header, or for the first event. `EFAULT`.
    fn read(&self, to: UserPtr, room: usize) -> Result<usize> {
        if room < size_of::<Header>() {
            return Err(EINVAL);
        }
        event_file::copy_each(to, room, |to, room| self.read_one(to, room))
    }

    fn has_some(&self) -> bool {
        self.queue.get().queue().has_some()
    }

    fn waiters(&self) -> &PollCondVar {
        self.queue.get().queue().waiters()
    }
}
