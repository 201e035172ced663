// SPDX-License-Identifier: GPL-2.0

//! What the driver uses of the kernel crate, in userspace: same names, same meaning.
//!
//! With the feature `model`, locks and atomics are those of loom: each use of one is a point at
//! which another thread may go on, and a lock that nobody can get any more is reported.

pub mod alloc;
pub mod error;
pub mod init;
pub mod machine;
pub mod rbtree;
pub mod sync;
pub mod time;
pub mod types;

pub use machine::{
    bindings,
    mm,
    task, //
    uaccess,
};

/// Names that are everywhere.
pub mod prelude {
    pub use crate::ffi::{
        c_int,
        c_long,
        c_ulong,
        c_void, //
    };
    pub use crate::{
        alloc::{
            flags::*,
            KBox,
            KVVec,
            KVec, //
        },
        current,
        error::{
            code::*,
            Error,
            Result, //
        },
        init::PinInit,
        pin_init,
        static_assert, //
    };
    pub use core::pin::Pin;
    pub use macros::{
        kunit_tests,
        pin_data, //
    };
}

/// The types of C, as the kernel has them.
pub mod ffi {
    #![allow(non_camel_case_types, missing_docs)]
    pub use core::ffi::{
        c_int,
        c_void, //
    };
    pub type c_long = isize;
    pub type c_ulong = usize;
}

/// The size of a page.
pub mod page {
    /// As a power of two.
    pub const PAGE_SHIFT: usize = 12;
    /// In bytes.
    pub const PAGE_SIZE: usize = 1 << PAGE_SHIFT;
}

/// Sizes by name.
pub mod sizes {
    /// 8 MiB.
    pub const SZ_8M: usize = 8 << 20;
    /// 32 MiB.
    pub const SZ_32M: usize = 32 << 20;
    /// 1 GiB.
    pub const SZ_1G: usize = 1 << 30;
}

/// What must not be is the end here, so that it is noticed.
#[macro_export]
macro_rules! warn_on {
    ($wrong:expr) => {{
        let wrong = $wrong;
        assert!(!wrong, "WARNING: {}", stringify!($wrong));
        wrong
    }};
}

/// At compile time.
#[macro_export]
macro_rules! static_assert {
    ($holds:expr) => {
        const _: () = assert!($holds);
    };
}
