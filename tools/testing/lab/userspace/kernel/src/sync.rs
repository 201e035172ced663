// SPDX-License-Identifier: GPL-2.0

//! Locks, references and atomics.

use crate::{
    alloc::{
        AllocError,
        Flags, //
    },
    init::PinInit, //
};
use core::{
    mem::MaybeUninit,
    ops::{
        Deref,
        DerefMut, //
    },
    pin::Pin, //
};

pub mod atomic;
pub mod lock;

pub use lock::{
    CondVar,
    Mutex,
    SpinLock, //
};

/// A shared reference. Its count is not one of the model's points: what goes with the last
/// reference takes locks, which are.
pub struct Arc<T>(std::sync::Arc<T>);

impl<T> Arc<T> {
    /// With `value` in it.
    pub fn new(value: T, _: Flags) -> Result<Self, AllocError> {
        Ok(Self(std::sync::Arc::new(value)))
    }

    /// With what `init` makes.
    pub fn pin_init(init: impl PinInit<T>, flags: Flags) -> crate::error::Result<Self> {
        Ok(Self::new(crate::init::made(init), flags)?)
    }

    /// Whether the two are one.
    pub fn ptr_eq(one: &Self, other: &Self) -> bool {
        std::sync::Arc::ptr_eq(&one.0, &other.0)
    }
}

impl<T> Clone for Arc<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Deref for Arc<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// A reference that nobody else has yet.
pub struct UniqueArc<T>(T);

impl<T> UniqueArc<T> {
    /// With nothing in it yet.
    pub fn new_uninit(_: Flags) -> Result<UniqueArc<MaybeUninit<T>>, AllocError> {
        Ok(UniqueArc(MaybeUninit::uninit()))
    }
}

impl<T> UniqueArc<MaybeUninit<T>> {
    /// Puts there what `init` makes.
    ///
    /// # Errors
    ///
    /// Those of `init`.
    pub fn pin_init_with<E>(self, init: impl PinInit<T, E>) -> Result<Pin<UniqueArc<T>>, E> {
        // SAFETY: In userspace nothing depends on where it is.
        init.make()
            .map(|value| unsafe { Pin::new_unchecked(UniqueArc(value)) })
    }
}

impl<T> Deref for UniqueArc<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for UniqueArc<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T> From<Pin<UniqueArc<T>>> for Arc<T> {
    fn from(unique: Pin<UniqueArc<T>>) -> Self {
        // SAFETY: As above.
        let UniqueArc(value) = unsafe { Pin::into_inner_unchecked(unique) };
        Self(std::sync::Arc::new(value))
    }
}

/// References to what counts them itself.
pub mod aref {
    use core::{
        ops::Deref,
        ptr::NonNull, //
    };

    /// One of them, to something of the machine's, which is there as long as the machine is.
    pub struct ARef<T>(NonNull<T>);

    impl<T> From<&T> for ARef<T> {
        fn from(it: &T) -> Self {
            Self(NonNull::from(it))
        }
    }

    impl<T> Deref for ARef<T> {
        type Target = T;

        fn deref(&self) -> &T {
            // SAFETY: The machine is there.
            unsafe { self.0.as_ref() }
        }
    }
}

/// A count of references.
#[repr(transparent)]
pub struct Refcount(atomic::Atomic<i32>);

impl Refcount {
    /// That many.
    pub fn new(count: i32) -> Self {
        Self(atomic::Atomic::new(count))
    }

    /// One more.
    pub fn inc(&self) {
        let before = self.0.fetch_add(1, atomic::ordering::Relaxed);
        assert!(before > 0, "refcount: one more of what has ended");
    }

    /// One less.
    pub fn dec(&self) {
        let before = self.0.fetch_sub(1, atomic::ordering::Relaxed);
        assert!(before > 1, "refcount: one less than there were");
    }

    /// Sets it.
    pub fn set(&self, count: i32) {
        self.0.store(count, atomic::ordering::Relaxed);
    }

    /// As a number.
    pub fn as_atomic(&self) -> &atomic::Atomic<i32> {
        &self.0
    }
}
