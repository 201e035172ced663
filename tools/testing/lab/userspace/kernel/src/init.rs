// SPDX-License-Identifier: GPL-2.0

//! What makes a value. In userspace it may move afterwards.

use core::convert::Infallible;

/// Makes a `T`, once.
pub trait PinInit<T, E = Infallible> {
    /// Makes it.
    ///
    /// # Errors
    ///
    /// Why it cannot be made.
    fn make(self) -> Result<T, E>;
}

/// What [`pin_init!`] makes a value with.
pub struct Fields<F>(F);

impl<F> Fields<F> {
    /// By a function, which says what it makes.
    pub fn new<T>(make: F) -> Self
    where
        F: FnOnce() -> T,
    {
        Self(make)
    }
}

impl<T, F: FnOnce() -> T> PinInit<T, Infallible> for Fields<F> {
    fn make(self) -> Result<T, Infallible> {
        Ok((self.0)())
    }
}

/// What cannot fail.
pub fn made<T>(init: impl PinInit<T, Infallible>) -> T {
    match init.make() {
        Ok(value) => value,
        Err(never) => match never {},
    }
}

/// The fields of a structure, some of which are made in their place.
#[macro_export]
macro_rules! pin_init {
    ($name:ident { $($fields:tt)* }) => {
        $crate::pin_init!(@ $name [] $($fields)*)
    };
    (@ $name:ident [$($done:tt)*] $field:ident <- $init:expr $(, $($rest:tt)*)?) => {
        $crate::pin_init!(@ $name [$($done)* $field: $crate::init::made($init),] $($($rest)*)?)
    };
    (@ $name:ident [$($done:tt)*] $field:ident : $value:expr $(, $($rest:tt)*)?) => {
        $crate::pin_init!(@ $name [$($done)* $field: $value,] $($($rest)*)?)
    };
    (@ $name:ident [$($done:tt)*] $field:ident $(, $($rest:tt)*)?) => {
        $crate::pin_init!(@ $name [$($done)* $field,] $($($rest)*)?)
    };
    (@ $name:ident [$($done:tt)*]) => {
        $crate::init::Fields::new(move || $name { $($done)* })
    };
}
