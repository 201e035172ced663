// SPDX-License-Identifier: GPL-2.0

//! Tests as drivers without DMA, which pin, read and write.

use super::{
    face::{
        access::TestAccess,
        command::Command,
        memory::{
            self,
            Pages, //
        }, //
    },
    sys, //
};
use crate::{
    iova::IovaRange,
    objects::context::Context, //
};
use kernel::{
    fs::file::{
        flags,
        FileDescriptorReservation, //
    },
    page::{
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    prelude::*,
    sync::Arc,
    uaccess::{
        UserPtr,
        UserSlice, //
    }, //
};

/// As much is read, written or pinned at once.
const MOST: u64 = 16 << 20;
/// As much of that has room on the stack: tests read and write a few bytes very often, and a
/// kernel that watches its allocator takes long over each allocation.
const FEW: usize = 64;

/// `CREATE_ACCESS`: an access, as a file.
///
/// # Errors
///
/// `EOPNOTSUPP`: an unknown flag. Those of attaching; `EMFILE`, `ENOMEM`, `EFAULT`.
pub(super) fn create(ctx: &Arc<Context>, mut cmd: Command) -> Result {
    let pins = cmd.access_flags() & sys::MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES != 0;
    if cmd.access_flags() & !sys::MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES != 0 {
        return Err(EOPNOTSUPP);
    }
    let fd = FileDescriptorReservation::get_unused_fd_flags(flags::O_CLOEXEC)?;
    let access = TestAccess::new(ctx, pins)?;
    let file = access.clone().into_file()?;
    access.handle().attach(cmd.id())?;
    cmd.set_access_fd(fd.reserved_fd());
    cmd.answer()?;
    fd.fd_install(file);
    Ok(())
}

/// `ACCESS_REPLACE_IOAS`: an access goes to another address space.
///
/// # Errors
///
/// `EBADFD`: there is none. Those of moving it.
pub(super) fn replace_ioas(cmd: &Command) -> Result {
    let access = TestAccess::of_fd(cmd.id())?;
    access.handle().replace(cmd.access_ioas())
}

/// `ACCESS_PAGES`: pins, and sees if it is what the process has at an address.
///
/// # Errors
///
/// `EBADFD`: there is no access. `EOPNOTSUPP`: it may not pin, or an unknown flag. `EBADE`: it is
/// something else. Those of pinning.
pub(super) fn pin(mut cmd: Command) -> Result {
    if cmd.pin_length() > MOST {
        return Err(ENOMEM);
    }
    if cmd.pin_flags() & !sys::MOCK_FLAGS_ACCESS_WRITE != 0 {
        return Err(EOPNOTSUPP);
    }
    let access = TestAccess::of_fd(cmd.id())?;
    if !access.may_pin() {
        return Err(EOPNOTSUPP);
    }
    let range = IovaRange::with_len(cmd.pin_iova(), cmd.pin_length())?;
    let before = (range.last() >> PAGE_SHIFT) - (range.first() >> PAGE_SHIFT);
    // CAST: It is limited above.
    let mut pages = Pages::new(before as usize + 1)?;
    let write = cmd.pin_flags() & sys::MOCK_FLAGS_ACCESS_WRITE != 0;
    let inner = access.handle().access();
    access.pin(range, |id| {
        inner.pin(range, pages.slots(), write)?;
        let uptr = cmd.pin_uptr();
        // Without an address, there is nothing to compare with.
        let same = match uptr {
            0 => Ok(()),
            uptr => pages.check(uptr.wrapping_sub(range.first() % PAGE_SIZE as u64)),
        };
        cmd.set_pins_id(id);
        same.and_then(|()| cmd.answer())
            .inspect_err(|_| inner.unpin(range))
    })
}

/// `DESTROY_ACCESS_PAGES`: unpins.
///
/// # Errors
///
/// `EBADFD`: there is no such access. `ENOENT`: it has no such pins.
pub(super) fn unpin(cmd: &Command) -> Result {
    TestAccess::of_fd(cmd.id())?.unpin(cmd.pins_id())
}

/// `ACCESS_RW`: reads or writes.
///
/// # Errors
///
/// `EBADFD`: there is no access. `EOPNOTSUPP`: an unknown flag. `EFAULT`. Those of reading and
/// writing.
pub(super) fn read_or_write(cmd: &Command) -> Result {
    const KNOWN: u32 = sys::MOCK_ACCESS_RW_WRITE | sys::MOCK_ACCESS_RW_SLOW_PATH;
    if cmd.rw_length() > MOST {
        return Err(ENOMEM);
    }
    if cmd.rw_flags() & !KNOWN != 0 {
        return Err(EOPNOTSUPP);
    }
    let access = TestAccess::of_fd(cmd.id())?;
    // CAST: It is limited above.
    let length = cmd.rw_length() as usize;
    let mut few = [0u8; FEW];
    let mut many = KVVec::new();
    let bytes = match few.get_mut(..length) {
        Some(bytes) => bytes,
        None => {
            many.resize(length, 0, GFP_KERNEL_ACCOUNT)?;
            &mut many
        }
    };
    // CAST: An address of the process.
    let user = UserSlice::new(UserPtr::from_addr(cmd.rw_uptr() as usize), length);
    let write = cmd.rw_flags() & sys::MOCK_ACCESS_RW_WRITE != 0;
    let (mut from, mut to) = user.reader_writer();
    if write {
        from.read_slice(bytes)?;
    }
    let range = IovaRange::with_len(cmd.rw_iova(), cmd.rw_length())?;
    let inner = access.handle().access();
    inner.copy(range, memory::buffer(bytes, write))?;
    if !write {
        to.write_slice(bytes)?;
    }
    Ok(())
}
