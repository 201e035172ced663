// SPDX-License-Identifier: GPL-2.0

//! Drivers without DMA, as files: what they have pinned, and how they are asked to unpin.
//!
//! C header: [`include/linux/iommufd.h`](srctree/include/linux/iommufd.h)

use super::face_fn;
use crate::{
    iova::IovaRange,
    kapi::access_ops::UnmapCallback,
    mock::sys,
    objects::{
        access::Access,
        access_handle::AccessHandle,
        context::Context, //
    }, //
};
use kernel::{
    bindings,
    error::from_err_ptr,
    fs::File,
    new_mutex,
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        Mutex,
        SetOnce, //
    },
    types::ForeignOwnable, //
};

/// What an access has pinned.
#[pin_data]
pub(in crate::mock) struct Pins {
    /// Who has pinned it. Set before it is attached for the first time.
    access: SetOnce<Arc<Access>>,
    /// Held while something is pinned, so that who asks to unpin it finds it.
    #[pin]
    list: Mutex<List>,
}

/// All pins of an access.
struct List {
    pins: KVVec<(u32, IovaRange)>,
    next: u32,
}

impl Pins {
    fn new() -> Result<Arc<Self>> {
        let list = List {
            pins: KVVec::new(),
            next: 0,
        };
        Arc::pin_init(
            pin_init!(Self {
                access: SetOnce::new(),
                list <- new_mutex!(list, "iommufd_mock_pins"),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Unpins those that `which` tells.
    fn unpin(&self, which: impl Fn(u32, IovaRange) -> bool) -> bool {
        let mut list = self.list.lock();
        let before = list.pins.len();
        list.pins.retain(|(id, range)| {
            let goes = which(*id, *range);
            if let (true, Some(access)) = (goes, self.access.as_ref()) {
                access.unpin(*range);
            }
            !goes
        });
        list.pins.len() < before
    }
}

/// An access that is asked to unpin, as the file that it is has it.
pub(in crate::mock) struct TestAccess {
    /// First, for it is dropped first, and asks until then.
    handle: KBox<AccessHandle>,
    pins: Arc<Pins>,
    /// Whether it may pin.
    may_pin: bool,
}

impl TestAccess {
    /// Makes an access that is not attached, for who pins, or else reads and writes.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `ENOSPC`.
    pub(in crate::mock) fn new(ctx: &Arc<Context>, may_pin: bool) -> Result<Arc<Self>> {
        let pins = Pins::new()?;
        let ops = if may_pin {
            &raw const sys::iommufd_mock_pin_ops
        } else {
            &raw const sys::iommufd_mock_access_ops
        };
        let data = Arc::as_ptr(&pins).cast_mut().cast();
        // SAFETY: The table is static, and the pins are there as long as the access.
        let callback = unsafe { UnmapCallback::new(ops, data) }?;
        let handle = AccessHandle::new(ctx, callback)?;
        pins.access.populate(handle.access().clone());
        let access = Self {
            handle,
            pins,
            may_pin,
        };
        Ok(Arc::new(access, GFP_KERNEL_ACCOUNT)?)
    }

    /// The access itself.
    pub(in crate::mock) fn handle(&self) -> &AccessHandle {
        &self.handle
    }

    /// Whether it may pin.
    pub(in crate::mock) fn may_pin(&self) -> bool {
        self.may_pin
    }

    /// Has `pin` pin a range and tell of it by the number that it is given, which then undoes it.
    /// If it is not told after all, `pin` undoes it itself.
    ///
    /// # Errors
    ///
    /// Those of `pin`. `ENOMEM`.
    pub(in crate::mock) fn pin(&self, range: IovaRange, pin: impl FnOnce(u32) -> Result) -> Result {
        let mut list = self.pins.list.lock();
        list.pins.reserve(1, GFP_KERNEL_ACCOUNT)?;
        let id = list.next;
        pin(id)?;
        list.next = id.wrapping_add(1);
        Ok(list.pins.push_within_capacity((id, range))?)
    }

    /// Undoes a [`Self::pin`].
    ///
    /// # Errors
    ///
    /// `ENOENT`: it was undone already.
    pub(in crate::mock) fn unpin(&self, id: u32) -> Result {
        if self.pins.unpin(|other, _| other == id) {
            return Ok(());
        }
        Err(ENOENT)
    }

    /// The file that it is, to be given to userspace.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `ENFILE`.
    pub(in crate::mock) fn into_file(self: Arc<Self>) -> Result<ARef<File>> {
        let private = self.into_foreign();
        // SAFETY: The table is static; the file takes what it has over, if there is one.
        let file = from_err_ptr(unsafe {
            crate::sys::anon_inode_getfile(
                c"[iommufd_mock_access]".as_char_ptr(),
                &raw const sys::iommufd_mock_access_fops,
                private,
                bindings::O_RDWR as c_int,
            )
        });
        let file = file.inspect_err(|_| {
            // SAFETY: It is not the file's, for there is none.
            drop(unsafe { <Arc<Self> as ForeignOwnable>::from_foreign(private) });
        })?;
        let file = core::ptr::NonNull::new(file).ok_or(EINVAL)?;
        // SAFETY: The reference is ours; nobody else has the file.
        Ok(unsafe { ARef::from_raw(file.cast()) })
    }

    /// The access that a file of the process's is.
    ///
    /// # Errors
    ///
    /// `EBADFD`: it is none.
    pub(in crate::mock) fn of_fd(fd: u32) -> Result<Arc<Self>> {
        // SAFETY: The function takes any number.
        let file = core::ptr::NonNull::new(unsafe { bindings::fget(fd) }).ok_or(EBADFD)?;
        // SAFETY: The reference is ours now.
        let file: ARef<File> = unsafe { ARef::from_raw(file.cast()) };
        let raw = file.as_ptr();
        // SAFETY: Both are constant as long as the file is open.
        let (fops, private) = unsafe { ((*raw).f_op, (*raw).private_data) };
        if !core::ptr::eq(fops, &raw const sys::iommufd_mock_access_fops) {
            return Err(EBADFD);
        }
        // SAFETY: It is what `into_file` gave; the file, and so its reference, outlives this.
        Ok(unsafe { <Arc<Self> as ForeignOwnable>::borrow(private) }.into())
    }
}

face_fn! {
    /// Ends an access with its file.
    ///
    /// # Safety
    ///
    /// `file` was made by [`TestAccess::into_file`].
    unsafe extern "C" fn iommufd_mock_access_release(
        _inode: *mut bindings::inode,
        file: *mut bindings::file,
    ) -> c_int {
        // SAFETY: By the contract; a file is released once.
        drop(unsafe { <Arc<TestAccess> as ForeignOwnable>::from_foreign((*file).private_data) });
        0
    }
}

face_fn! {
    /// Asks an access to unpin whatever has something in a range.
    ///
    /// # Safety
    ///
    /// `data` is what [`TestAccess::new`] has said, of an access that is there.
    unsafe extern "C" fn iommufd_mock_unmap(data: *mut c_void, iova: c_ulong, length: c_ulong) {
        // SAFETY: By the contract.
        let pins = unsafe { &*data.cast::<Pins>() };
        if let Ok(range) = IovaRange::with_len(iova as u64, length as u64) {
            pins.unpin(|_, pinned| pinned.overlaps(&range));
        }
    }
}
