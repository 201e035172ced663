// SPDX-License-Identifier: GPL-2.0

//! Locks. Without the model, there is one thread: a lock that it cannot get is one for ever.

use core::{
    marker::PhantomData,
    ops::{
        Deref,
        DerefMut, //
    }, //
};
#[cfg(feature = "model")]
use loom::sync as real;
#[cfg(not(feature = "model"))]
use std::sync as real;

/// Which kind of lock.
pub mod mutex {
    /// One that sleeps.
    pub struct MutexBackend;
}

/// A lock.
pub struct Mutex<T>(real::Mutex<T>);

/// That it is held.
pub struct Guard<'a, T, B> {
    // Not there while it is waited.
    held: Option<real::MutexGuard<'a, T>>,
    _kind: PhantomData<B>,
}

impl<T> Mutex<T> {
    /// A lock with `value` inside.
    pub fn new(value: T) -> Self {
        Self(real::Mutex::new(value))
    }

    /// Takes it.
    pub fn lock(&self) -> Guard<'_, T, mutex::MutexBackend> {
        #[cfg(feature = "model")]
        let held = self.0.lock();
        #[cfg(not(feature = "model"))]
        let held = self.0.try_lock();
        Guard {
            held: Some(held.expect("a lock that its holder takes once more")),
            _kind: PhantomData,
        }
    }
}

/// A lock that does not sleep: nobody holds it where another thread may go on.
pub type SpinLock<T> = Mutex<T>;

impl<T, B> Deref for Guard<'_, T, B> {
    type Target = T;

    fn deref(&self) -> &T {
        self.held.as_ref().expect("held")
    }
}

impl<T, B> DerefMut for Guard<'_, T, B> {
    fn deref_mut(&mut self) -> &mut T {
        self.held.as_mut().expect("held")
    }
}

/// What is waited for under a lock.
pub struct CondVar(real::Condvar);

impl CondVar {
    /// Nobody waits.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(real::Condvar::new())
    }

    /// Gives the lock up until somebody says something.
    pub fn wait<T, B>(&self, guard: &mut Guard<'_, T, B>) {
        assert!(cfg!(feature = "model"), "the only thread waits for another");
        let held = guard.held.take().expect("held");
        guard.held = Some(self.0.wait(held).expect("held"));
    }

    /// Wakes all.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// A lock.
#[macro_export]
macro_rules! new_mutex {
    ($value:expr $(, $name:literal)? $(,)?) => {{
        let value = $value;
        $crate::init::Fields::new(move || $crate::sync::Mutex::new(value))
    }};
}

/// The same.
#[macro_export]
macro_rules! new_spinlock {
    ($value:expr $(, $name:literal)? $(,)?) => {
        $crate::new_mutex!($value)
    };
}

/// What is waited for.
#[macro_export]
macro_rules! new_condvar {
    ($($name:literal)?) => {
        $crate::init::Fields::new($crate::sync::CondVar::new)
    };
}
