// SPDX-License-Identifier: GPL-2.0

//! Files that events are read from, and answered through. Would become
//! `rust/kernel/fs/anon_inode.rs`.
//!
//! C header: [`include/linux/anon_inodes.h`](srctree/include/linux/anon_inodes.h)

use crate::{
    kapi::task,
    sys, //
};
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    error::{
        from_err_ptr,
        Error,
        VTABLE_DEFAULT_ERROR, //
    },
    fs::File,
    module::this_module,
    prelude::*,
    sync::{
        aref::ARef,
        poll::{
            PollCondVar,
            PollTable, //
        }, //
    },
    types::ForeignOwnable,
    uaccess::UserPtr, //
};

/// What is behind a file of events. It is dropped when the file is closed for the last time.
///
/// Reading and writing wait for nothing, whatever the file's `O_NONBLOCK`, and take no position.
#[vtable]
pub(crate) trait EventFile: Sized + Send + Sync + 'static {
    /// What the file is called in `/proc/<pid>/fd`.
    const NAME: &'static CStr;

    /// Has the `room` bytes at `to` filled with events, as far as there are any. Returns how many
    /// bytes were, which may be none.
    ///
    /// # Errors
    ///
    /// Those of the kind of file; nothing was read then.
    fn read(&self, to: UserPtr, room: usize) -> Result<usize>;

    /// Has the answers in the `len` bytes at `from`. Returns how many bytes were taken. Files
    /// without this say `EINVAL`.
    ///
    /// # Errors
    ///
    /// Those of the kind of file; nothing was taken then.
    fn write(&self, _from: UserPtr, _len: usize) -> Result<usize> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Whether there is something to be read. What can be written to always can.
    fn has_some(&self) -> bool;

    /// Those who wait for something to be read, to be notified of it.
    fn waiters(&self) -> &PollCondVar;
}

/// A file with `behind` behind it, to be read from, and written to.
///
/// # Errors
///
/// `ENOMEM`, `ENFILE`.
pub(crate) fn open<T: EventFile>(behind: T) -> Result<ARef<File>> {
    let private = KBox::new(behind, GFP_KERNEL_ACCOUNT)?.into_foreign();
    // SAFETY: Name and table are there as long as the module, which the file keeps. It takes over
    // what is behind it, if there is a file.
    let file = from_err_ptr(unsafe {
        sys::anon_inode_getfile(
            T::NAME.as_char_ptr(),
            Operations::<T>::TABLE,
            private,
            bindings::O_RDWR as c_int,
        )
    });
    let file = file.inspect_err(|_| {
        // SAFETY: It is not the file's, for there is none.
        drop(unsafe { <KBox<T> as ForeignOwnable>::from_foreign(private) });
    })?;
    let file = NonNull::new(file).ok_or(ENOMEM)?;
    // SAFETY: The reference is ours; nobody else has the file.
    Ok(unsafe { ARef::from_raw(file.cast()) })
}

/// Has `each` copy one event after the other, or one answer, to or from `ptr` on, with what is left
/// of `len` bytes: it says how many bytes that was, and 0 if there is none. Returns how many bytes
/// there were.
///
/// # Errors
///
/// Those of `each`, for the first one; a later one ends it.
pub(crate) fn copy_each(
    ptr: UserPtr,
    len: usize,
    mut each: impl FnMut(UserPtr, usize) -> Result<usize>,
) -> Result<usize> {
    let mut done = 0;
    loop {
        match each(ptr.wrapping_byte_add(done), len - done) {
            Ok(0) => return Ok(done),
            Ok(copied) => done += copied,
            Err(_) if done > 0 => return Ok(done),
            Err(e) => return Err(e),
        }
        task::resched();
    }
}

/// What is done with such files.
struct Operations<T>(PhantomData<T>);

/// A number of bytes, or an errno, as C wants it.
fn returned(done: Result<usize>) -> isize {
    // CAST: There is no memory of more bytes than that.
    done.map_or_else(|e: Error| e.to_errno() as isize, |bytes| bytes as isize)
}

impl<T: EventFile> Operations<T> {
    const TABLE: &'static bindings::file_operations = &bindings::file_operations {
        owner: this_module::<crate::LocalModule>().as_ptr(),
        read: Some(Self::read),
        write: if T::HAS_WRITE {
            Some(Self::write)
        } else {
            None
        },
        poll: Some(Self::poll),
        release: Some(Self::release),
        ..pin_init::zeroed()
    };

    /// What is behind a file.
    ///
    /// # Safety
    ///
    /// `file` was made by [`open`] of a `T`, and is open for the duration of `'a`.
    unsafe fn behind<'a>(file: *mut bindings::file) -> &'a T {
        // SAFETY: By the contract; it does not change.
        let private = unsafe { (*file).private_data };
        // SAFETY: It is what `open` has put there, and goes with the file.
        unsafe { <KBox<T> as ForeignOwnable>::borrow(private) }
    }

    /// # Safety
    ///
    /// As [`Self::behind`]; `at` is valid.
    unsafe extern "C" fn read(
        file: *mut bindings::file,
        to: *mut c_char,
        room: usize,
        at: *mut bindings::loff_t,
    ) -> isize {
        // SAFETY: By the contract.
        if unsafe { *at } != 0 {
            return returned(Err(ESPIPE));
        }
        // SAFETY: By the contract.
        let behind = unsafe { Self::behind(file) };
        returned(behind.read(UserPtr::from_ptr(to.cast()), room))
    }

    /// # Safety
    ///
    /// As [`Self::read`].
    unsafe extern "C" fn write(
        file: *mut bindings::file,
        from: *const c_char,
        len: usize,
        at: *mut bindings::loff_t,
    ) -> isize {
        // SAFETY: By the contract.
        if unsafe { *at } != 0 {
            return returned(Err(ESPIPE));
        }
        // SAFETY: By the contract.
        let behind = unsafe { Self::behind(file) };
        returned(behind.write(UserPtr::from_ptr(from.cast_mut().cast()), len))
    }

    /// # Safety
    ///
    /// As [`Self::behind`]; `table` is NULL or valid.
    unsafe extern "C" fn poll(
        file: *mut bindings::file,
        table: *mut bindings::poll_table_struct,
    ) -> bindings::__poll_t {
        // SAFETY: By the contract.
        let behind = unsafe { Self::behind(file) };
        // SAFETY: By the contract.
        let table = unsafe { PollTable::from_raw(table) };
        // SAFETY: It is open, and has no position that anybody could change.
        let file = unsafe { File::from_raw_file(file) };
        table.register_wait(file, behind.waiters());
        let mut ready = 0;
        if behind.has_some() {
            ready |= bindings::POLLIN | bindings::POLLRDNORM;
        }
        if T::HAS_WRITE {
            ready |= bindings::POLLOUT;
        }
        ready
    }

    /// # Safety
    ///
    /// `file` was made by [`open`] of a `T`, and is closed.
    unsafe extern "C" fn release(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: By the contract; nobody reads, writes or polls any more.
        let private = unsafe { (*file).private_data };
        // SAFETY: It is what `open` has put there, and is taken once.
        drop(unsafe { <KBox<T> as ForeignOwnable>::from_foreign(private) });
        0
    }
}
