// SPDX-License-Identifier: GPL-2.0

//! Atomics. In the model, those that are used come to be loom's with their first use, for only
//! then is there a run that they belong to.

use core::marker::PhantomData;
#[cfg(feature = "model")]
use loom::sync::atomic::{
    AtomicU64,
    Ordering, //
};
use std::cell::OnceCell;
#[cfg(not(feature = "model"))]
use std::sync::atomic::{
    AtomicU64,
    Ordering, //
};

/// How accesses are ordered.
pub mod ordering {
    /// Not at all.
    pub struct Relaxed;
    /// With all others.
    pub struct Full;

    /// One of these.
    pub trait Order {
        /// As the standard library has it.
        const ORDER: std::sync::atomic::Ordering;
        /// For loads and stores.
        const ONE_WAY: std::sync::atomic::Ordering = Self::ORDER;
    }

    impl Order for Relaxed {
        const ORDER: std::sync::atomic::Ordering = std::sync::atomic::Ordering::Relaxed;
    }

    impl Order for Full {
        const ORDER: std::sync::atomic::Ordering = std::sync::atomic::Ordering::SeqCst;
    }
}

use ordering::Order;

/// What can be atomic: all of it fits 64 bits.
pub trait Word: Copy {
    /// As 64 bits.
    fn to_word(self) -> u64;
    /// Its low bits.
    fn from_word(word: u64) -> Self;
}

macro_rules! words {
    ($($kind:ty),*) => {
        $(impl Word for $kind {
            fn to_word(self) -> u64 {
                self as u64
            }

            fn from_word(word: u64) -> Self {
                word as Self
            }
        })*
    };
}
words!(i32, u32, i64, u64, isize, usize);

/// A number that several threads change.
pub struct Atomic<T> {
    first: T,
    cell: OnceCell<AtomicU64>,
    _number: PhantomData<T>,
}

// SAFETY: A machine, and all that is on it, is run by one thread of the system.
unsafe impl<T> Sync for Atomic<T> {}

impl<T> Atomic<T> {
    /// With this value.
    pub const fn new(first: T) -> Self {
        Self {
            first,
            cell: OnceCell::new(),
            _number: PhantomData,
        }
    }

    /// What C has as a number.
    ///
    /// # Safety
    ///
    /// It is one of these.
    pub unsafe fn from_ptr<'a>(number: *mut T) -> &'a Self {
        // SAFETY: By the contract.
        unsafe { &*number.cast() }
    }
}

impl<T: Word> Atomic<T> {
    fn cell(&self) -> &AtomicU64 {
        self.cell
            .get_or_init(|| AtomicU64::new(self.first.to_word()))
    }

    /// What it is.
    pub fn load<O: Order>(&self, _: O) -> T {
        T::from_word(self.cell().load(O::ONE_WAY))
    }

    /// Sets it.
    pub fn store<O: Order>(&self, value: T, _: O) {
        self.cell().store(value.to_word(), O::ONE_WAY);
    }

    /// Adds, and says what it was.
    pub fn fetch_add<O: Order>(&self, more: T, _: O) -> T {
        T::from_word(self.cell().fetch_add(more.to_word(), O::ORDER))
    }

    /// Subtracts, and says what it was.
    pub fn fetch_sub<O: Order>(&self, less: T, _: O) -> T {
        T::from_word(self.cell().fetch_sub(less.to_word(), O::ORDER))
    }

    /// Sets it to `new` if it is `old`, or says what else it is.
    pub fn cmpxchg<O: Order>(&self, old: T, new: T, _: O) -> Result<T, T> {
        // Bits above those of the number are what adding has left there.
        let cell = self.cell();
        let mut seen = cell.load(Ordering::Relaxed);
        loop {
            if T::from_word(seen).to_word() != old.to_word() {
                return Err(T::from_word(seen));
            }
            match cell.compare_exchange(seen, new.to_word(), O::ORDER, Ordering::Relaxed) {
                Ok(_) => return Ok(old),
                Err(now) => seen = now,
            }
        }
    }
}

/// A flag that several threads set.
pub struct AtomicFlag(Atomic<u32>);

impl AtomicFlag {
    /// Set or not.
    pub const fn new(set: bool) -> Self {
        Self(Atomic::new(set as u32))
    }

    /// Whether it is set.
    pub fn load<O: Order>(&self, order: O) -> bool {
        self.0.load(order) != 0
    }

    /// Sets it, or not.
    pub fn store<O: Order>(&self, set: bool, order: O) {
        self.0.store(set.into(), order);
    }
}
