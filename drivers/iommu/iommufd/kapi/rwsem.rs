// SPDX-License-Identifier: GPL-2.0

//! A sleeping lock that many readers or one writer hold. Would become `rust/kernel/sync/rwsem.rs`.
//!
//! C header: [`include/linux/rwsem.h`](srctree/include/linux/rwsem.h)

use core::{
    cell::UnsafeCell,
    marker::PhantomPinned,
    ops::{
        Deref,
        DerefMut, //
    },
};
use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    sync::LockClassKey,
    types::{
        NotThreadSafe,
        Opaque, //
    },
};

/// A value behind a `struct rw_semaphore`.
#[pin_data]
pub(crate) struct RwSemaphore<T> {
    #[pin]
    sem: Opaque<bindings::rw_semaphore>,
    #[pin]
    _pin: PhantomPinned,
    data: UnsafeCell<T>,
}

// SAFETY: The semaphore may be used from any thread; moving the whole moves the `T`.
unsafe impl<T: Send> Send for RwSemaphore<T> {}

// SAFETY: Readers on several threads share `&T`, hence `Sync`; a writer takes `&mut T` from
// another thread than the one that made it, hence `Send`.
unsafe impl<T: Send + Sync> Sync for RwSemaphore<T> {}

/// Makes a [`RwSemaphore`] with a lockdep class of its own.
macro_rules! new_rwsem {
    ($data:expr, $name:literal) => {
        $crate::kapi::rwsem::RwSemaphore::new($data, $name, ::kernel::static_lock_class!())
    };
}
pub(crate) use new_rwsem;

impl<T> RwSemaphore<T> {
    /// See [`new_rwsem`].
    pub(crate) fn new(
        data: T,
        name: &'static CStr,
        key: Pin<&'static LockClassKey>,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            // SAFETY: `slot` is valid for writing, and pinned from now on; name and key are static.
            sem <- Opaque::ffi_init(|slot| unsafe {
                bindings::__init_rwsem(slot, name.as_char_ptr(), key.as_ptr())
            }),
            _pin: PhantomPinned,
            data: UnsafeCell::new(data),
        })
    }

    /// Waits until no writer has the lock, or a fatal signal comes.
    ///
    /// # Errors
    ///
    /// `EINTR` on a fatal signal.
    pub(crate) fn read_killable(&self) -> Result<ReadGuard<'_, T>> {
        // SAFETY: `sem` is initialised and pinned.
        match unsafe { bindings::down_read_killable(self.sem.get()) } {
            0 => Ok(ReadGuard::new(self)),
            _ => Err(EINTR),
        }
    }

    /// Waits until nobody has the lock.
    pub(crate) fn write(&self) -> WriteGuard<'_, T> {
        // SAFETY: `sem` is initialised and pinned.
        unsafe { bindings::down_write(self.sem.get()) };
        WriteGuard::new(self)
    }

    /// Like [`Self::write`], but a fatal signal ends the wait.
    ///
    /// # Errors
    ///
    /// `EINTR` on a fatal signal.
    pub(crate) fn write_killable(&self) -> Result<WriteGuard<'_, T>> {
        // SAFETY: `sem` is initialised and pinned.
        to_result(unsafe { bindings::down_write_killable(self.sem.get()) })?;
        Ok(WriteGuard::new(self))
    }
}

impl<'a, T> WriteGuard<'a, T> {
    /// Lets other readers in, but no writer.
    pub(crate) fn downgrade(self) -> ReadGuard<'a, T> {
        let lock = self.lock;
        core::mem::forget(self);
        // SAFETY: This thread has the semaphore for writing, and from here on for reading.
        unsafe { bindings::downgrade_write(lock.sem.get()) };
        ReadGuard::new(lock)
    }
}

/// Shared access to the value of a [`RwSemaphore`].
///
/// # Invariants
///
/// The thread that made the guard holds the semaphore for reading.
pub(crate) struct ReadGuard<'a, T> {
    lock: &'a RwSemaphore<T>,
    _not_send: NotThreadSafe,
}

/// Exclusive access to the value of a [`RwSemaphore`].
///
/// # Invariants
///
/// The thread that made the guard holds the semaphore for writing.
pub(crate) struct WriteGuard<'a, T> {
    lock: &'a RwSemaphore<T>,
    _not_send: NotThreadSafe,
}

impl<'a, T> ReadGuard<'a, T> {
    fn new(lock: &'a RwSemaphore<T>) -> Self {
        // INVARIANT: The callers have just taken the semaphore.
        Self {
            lock,
            _not_send: NotThreadSafe,
        }
    }
}

impl<'a, T> WriteGuard<'a, T> {
    fn new(lock: &'a RwSemaphore<T>) -> Self {
        // INVARIANT: The callers have just taken the semaphore.
        Self {
            lock,
            _not_send: NotThreadSafe,
        }
    }
}

impl<T> Deref for ReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: While the semaphore is held for reading, nobody has a `&mut T`.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T> Deref for WriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: While the semaphore is held for writing, only this guard gives access.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T> DerefMut for WriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: While the semaphore is held for writing, only this guard gives access.
        unsafe { &mut *self.lock.data.get() }
    }
}

impl<T> Drop for ReadGuard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant, this thread holds the semaphore for reading.
        unsafe { bindings::up_read(self.lock.sem.get()) }
    }
}

impl<T> Drop for WriteGuard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant, this thread holds the semaphore for writing.
        unsafe { bindings::up_write(self.lock.sem.get()) }
    }
}
