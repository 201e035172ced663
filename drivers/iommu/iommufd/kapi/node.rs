// SPDX-License-Identifier: GPL-2.0

//! The device node. Would become part of `rust/kernel/miscdevice.rs`, whose registration cannot
//! set a mode yet, nor tell whether a file is one of its own.
//!
//! C header: [`include/linux/miscdevice.h`](srctree/include/linux/miscdevice.h)

use core::marker::PhantomData;
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

    /// What the node and its files are known by: always the same.
    fn identity() -> &'static Identity<Self>;
}

/// What the node of `T` and its files are known by: a static of each type's own.
///
/// # Invariants
///
/// `node` is the address of a registered [`Node<T>`], or zero; `file_operations` is that of the
/// operations that [`MiscDeviceOptions::into_raw`] has made for `T`, or zero.
pub(crate) struct Identity<T: NodeFile> {
    node: Atomic<usize>,
    file_operations: Atomic<usize>,
    _type: PhantomData<fn() -> T>,
}

impl<T: NodeFile> Identity<T> {
    /// That of a node that is not there yet.
    // INVARIANT: Both are zero.
    pub(crate) const fn new() -> Self {
        Self {
            node: Atomic::new(0),
            file_operations: Atomic::new(0),
            _type: PhantomData,
        }
    }
}

/// A registered misc device node with the file operations of `T`.
///
/// # Invariants
///
/// `dev` is registered, and was made by [`MiscDeviceOptions::into_raw`].
#[repr(C)]
#[pin_data(PinnedDrop)]
pub(crate) struct Node<T: NodeFile> {
    #[pin]
    dev: Opaque<bindings::miscdevice>,
    shared: T::Shared,
    identity: &'static Identity<T>,
}

// SAFETY: A registration may be taken back by any thread.
unsafe impl<T: NodeFile> Send for Node<T> {}
// SAFETY: Through `&Node` nothing but what is shared can be reached.
unsafe impl<T: NodeFile> Sync for Node<T> {}

impl<T: NodeFile> Node<T> {
    /// Registers `/dev/<name>`, the only node for `T`, with `mode` and the number `minor`; with
    /// one of the kernel's choice if another module has that.
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
        let identity = T::identity();
        try_pin_init!(Self {
            identity,
            // First, so that it is there when the node is.
            shared,
            dev <- Opaque::try_ffi_init(move |slot: *mut bindings::miscdevice| {
                let mut raw = MiscDeviceOptions { name }.into_raw::<T>();
                raw.mode = mode;
                raw.minor = minor;
                // INVARIANT: The files of the node are of type `T`; the node is there when it can
                // be opened, and nobody can find it by its address before.
                identity.file_operations.store(raw.fops.addr(), Release);
                identity.node.store(slot.addr(), Release);
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
        if node.addr() != T::identity().node.load(Acquire) {
            return Err(ENODEV);
        }
        // SAFETY: By the invariant of `Identity`, this is the first field of a `Node<T>`, which is
        // there as long as its registration.
        Ok(unsafe { &(*node.cast::<Self>()).shared })
    }
}

#[pinned_drop]
impl<T: NodeFile> PinnedDrop for Node<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariant.
        unsafe { bindings::misc_deregister(self.dev.get()) }
        // INVARIANT: Something else may come to be there.
        self.identity.node.store(0, Release);
    }
}

/// Stands for a minor number of the kernel's choice.
// CAST: It is 255.
const ANY_MINOR: i32 = bindings::MISC_DYNAMIC_MINOR as i32;

/// The `T` behind a file, if the file was opened through a [`Node<T>`].
pub(crate) fn of_file<T>(file: &File) -> Option<Arc<T>>
where
    T: NodeFile,
{
    let raw = file.as_ptr();
    // SAFETY: `f_op` is set once, before the file becomes visible.
    let fops = unsafe { (*raw).f_op };
    if fops.is_null() || fops.addr() != T::identity().file_operations.load(Acquire) {
        return None;
    }
    // SAFETY: Set by `open`, which succeeded, and not changed before `release`.
    let private = unsafe { (*raw).private_data };
    // SAFETY: By the invariant of `Identity`, it is what `open` of `T` returned; the file, and so
    // its reference, outlives this.
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
