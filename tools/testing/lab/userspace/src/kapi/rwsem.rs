// SPDX-License-Identifier: GPL-2.0

//! Locks for many who read or one who writes. Who waits to write has those wait who come later to
//! read, as the kernel's may do: what locks up with one of them then is found.

use core::{
    cell::UnsafeCell,
    ops::{
        Deref,
        DerefMut, //
    }, //
};
use kernel::{
    prelude::*,
    sync::{
        CondVar,
        Mutex, //
    }, //
};

pub(crate) struct RwSemaphore<T> {
    holders: Mutex<Holders>,
    changed: CondVar,
    value: UnsafeCell<T>,
}

#[derive(Default)]
struct Holders {
    readers: u32,
    writer: bool,
    /// How many wait to write, and how many wait at all.
    writers_waiting: u32,
    waiting: u32,
}

// SAFETY: As the lock sees to it.
unsafe impl<T: Send> Send for RwSemaphore<T> {}
// SAFETY: As the lock sees to it.
unsafe impl<T: Send + Sync> Sync for RwSemaphore<T> {}

macro_rules! new_rwsem {
    ($value:expr, $name:literal $(,)?) => {{
        let value = $value;
        kernel::init::Fields::new(move || $crate::kapi::rwsem::RwSemaphore::new(value))
    }};
}
pub(crate) use new_rwsem;

impl<T> RwSemaphore<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            holders: Mutex::new(Holders::default()),
            changed: CondVar::new(),
            value: UnsafeCell::new(value),
        }
    }

    pub(crate) fn read_killable(&self) -> Result<ReadGuard<'_, T>> {
        let mut holders = self.holders.lock();
        while holders.writer || holders.writers_waiting > 0 {
            holders.waiting += 1;
            self.changed.wait(&mut holders);
            holders.waiting -= 1;
        }
        holders.readers += 1;
        Ok(ReadGuard(self))
    }

    pub(crate) fn write(&self) -> WriteGuard<'_, T> {
        let mut holders = self.holders.lock();
        while holders.writer || holders.readers > 0 {
            holders.waiting += 1;
            holders.writers_waiting += 1;
            self.changed.wait(&mut holders);
            holders.writers_waiting -= 1;
            holders.waiting -= 1;
        }
        holders.writer = true;
        WriteGuard(self)
    }

    pub(crate) fn write_killable(&self) -> Result<WriteGuard<'_, T>> {
        Ok(self.write())
    }

    fn change(&self, change: impl FnOnce(&mut Holders)) {
        let mut holders = self.holders.lock();
        change(&mut holders);
        if holders.waiting > 0 {
            self.changed.notify_all();
        }
    }
}

pub(crate) struct ReadGuard<'a, T>(&'a RwSemaphore<T>);

pub(crate) struct WriteGuard<'a, T>(&'a RwSemaphore<T>);

impl<'a, T> WriteGuard<'a, T> {
    pub(crate) fn downgrade(self) -> ReadGuard<'a, T> {
        let lock = self.0;
        core::mem::forget(self);
        lock.change(|holders| {
            holders.writer = false;
            holders.readers += 1;
        });
        ReadGuard(lock)
    }
}

impl<T> Deref for ReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: Nobody writes meanwhile.
        unsafe { &*self.0.value.get() }
    }
}

impl<T> Deref for WriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: Nobody else has it.
        unsafe { &*self.0.value.get() }
    }
}

impl<T> DerefMut for WriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: Nobody else has it.
        unsafe { &mut *self.0.value.get() }
    }
}

impl<T> Drop for ReadGuard<'_, T> {
    fn drop(&mut self) {
        self.0.change(|holders| holders.readers -= 1);
    }
}

impl<T> Drop for WriteGuard<'_, T> {
    fn drop(&mut self) {
        self.0.change(|holders| holders.writer = false);
    }
}
