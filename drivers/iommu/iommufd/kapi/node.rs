// SPDX-License-Identifier: GPL-2.0

//! The device node. Would become part of `rust/kernel/miscdevice.rs`, whose registration cannot
//! set a mode yet, nor tell whether a file is one of its own.
//!
//! C header: [`include/linux/miscdevice.h`](srctree/include/linux/miscdevice.h)

use kernel::{
    bindings,
    error::to_result,
    fs::File,
    miscdevice::{
        MiscDevice,
        MiscDeviceOptions,
        MiscDeviceRegistration, //
    },
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            ordering::{
                Acquire,
                Release, //
            },
            Atomic, //
        },
        Arc, //
    },
    types::{
        ForeignOwnable,
        Opaque, //
    },
};

/// Files of one node, which have something in common.
pub(crate) trait NodeFile: MiscDevice<Ptr = Arc<Self>> + 'static {
    /// What all files of the node share.
    type Shared: Send + Sync + 'static;
}

/// A registered misc device node with the file operations of `T`.
///
/// # Invariants
///
/// `dev` is registered, was made by [`MiscDeviceOptions::into_raw`], and its address is in
/// [`NODE`].
#[repr(C)]
#[pin_data(PinnedDrop)]
pub(crate) struct Node<T: NodeFile> {
    #[pin]
    dev: Opaque<bindings::miscdevice>,
    shared: T::Shared,
}

// SAFETY: A registration may be taken back by any thread.
unsafe impl<T: NodeFile> Send for Node<T> {}
// SAFETY: Through `&Node` nothing but what is shared can be reached.
unsafe impl<T: NodeFile> Sync for Node<T> {}

impl<T: NodeFile> Node<T> {
    /// Registers `/dev/<name>`, the only node of the module, with `mode` and the number `minor`;
    /// with one of the kernel's choice if another module has that.
    ///
    /// # Errors
    ///
    /// `EBUSY`: no minor is left; `EEXIST`: the name is taken; `ENOMEM`.
    pub(crate) fn register(
        name: &'static CStr,
        mode: u16,
        minor: i32,
        shared: T::Shared,
    ) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            // First, so that it is there when the node is.
            shared,
            dev <- Opaque::try_ffi_init(move |slot: *mut bindings::miscdevice| {
                let mut raw = MiscDeviceOptions { name }.into_raw::<T>();
                raw.mode = mode;
                raw.minor = minor;
                FILE_OPERATIONS.store(raw.fops.addr(), Release);
                NODE.store(slot.addr(), Release);
                // SAFETY: `slot` is valid for writing.
                unsafe { slot.write(raw) };
                // SAFETY: The slot is pinned, and the registration taken back before it goes.
                let registered = to_result(unsafe { bindings::misc_register(slot) });
                if registered != Err(EBUSY) {
                    return registered;
                }
                // SAFETY: It failed, so the slot is this function's alone.
                unsafe { (*slot).minor = ANY_MINOR };
                // SAFETY: As above.
                to_result(unsafe { bindings::misc_register(slot) })
            }),
        })
    }

    /// What the files of the node share, as [`MiscDevice::open`] can get at it.
    ///
    /// # Errors
    ///
    /// `ENODEV`: the registration is not a [`Node`]'s.
    pub(crate) fn shared(registration: &MiscDeviceRegistration<T>) -> Result<&T::Shared> {
        let node = registration.as_raw();
        if node.addr() != NODE.load(Acquire) {
            return Err(ENODEV);
        }
        // SAFETY: By the type invariant of `Node`, this is the first field of one, which is there
        // while the node can be opened. `T` is its type because there is but one.
        Ok(unsafe { &(*node.cast::<Self>()).shared })
    }
}

#[pinned_drop]
impl<T: NodeFile> PinnedDrop for Node<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariant.
        unsafe { bindings::misc_deregister(self.dev.get()) }
    }
}

/// Stands for a minor number of the kernel's choice.
// CAST: It is 255.
const ANY_MINOR: i32 = bindings::MISC_DYNAMIC_MINOR as i32;

/// The address of the only [`Node`] there is.
static NODE: Atomic<usize> = Atomic::new(0);

/// The address of our file operations, which tells our files from others.
static FILE_OPERATIONS: Atomic<usize> = Atomic::new(0);

/// The `T` behind a file, if the file was opened through our [`Node`].
///
/// `T` must be the only type that this module registers a [`Node`] for.
pub(crate) fn of_file<T>(file: &File) -> Option<Arc<T>>
where
    T: NodeFile,
{
    let raw = file.as_ptr();
    // SAFETY: `f_op` is set once, before the file becomes visible.
    let fops = unsafe { (*raw).f_op };
    if fops.addr() != FILE_OPERATIONS.load(Acquire) {
        return None;
    }
    // SAFETY: Set by `open`, which succeeded, and not changed before `release`.
    let private = unsafe { (*raw).private_data };
    // SAFETY: It is what `open` of `T` returned; the file, and so its reference, outlives this.
    let borrowed = unsafe { <Arc<T> as ForeignOwnable>::borrow(private) };
    Some(borrowed.into())
}

/// The `T` behind a file of the C side; see [`of_file`].
///
/// # Safety
///
/// `file` is a valid file for the duration of the call.
pub(crate) unsafe fn of_raw_file<T>(file: *mut bindings::file) -> Option<Arc<T>>
where
    T: NodeFile,
{
    // SAFETY: By the contract; only fields that are constant while the file is open are read.
    of_file(unsafe { File::from_raw_file(file) })
}

/// The `T` behind a file descriptor of the current process.
///
/// # Errors
///
/// * `EBADF`: the descriptor is not open.
/// * `EBADFD`: it is open on something else.
pub(crate) fn of_fd<T>(fd: i32) -> Result<Arc<T>>
where
    T: NodeFile,
{
    let fd = u32::try_from(fd).map_err(|_| EBADF)?;
    // SAFETY: `fget` takes any number.
    let file = unsafe { bindings::fget(fd) };
    let file = core::ptr::NonNull::new(file).ok_or(EBADF)?;
    // SAFETY: The reference that `fget` took goes over to the `ARef`.
    let file: ARef<File> = unsafe { ARef::from_raw(file.cast()) };
    of_file(&file).ok_or(EBADFD)
}
