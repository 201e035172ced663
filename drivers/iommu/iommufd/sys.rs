// SPDX-License-Identifier: GPL-2.0

//! Declarations that the kernel crate's bindings lack, generated from `sys.h`.
//!
//! Used by [`crate::kapi`] and [`crate::exports`] alone.

#![allow(
    clippy::all,
    clippy::cast_lossless,
    clippy::ptr_as_ptr,
    clippy::ref_as_ptr,
    clippy::undocumented_unsafe_blocks,
    dead_code,
    improper_ctypes,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    unsafe_op_in_unsafe_fn,
    unused_imports
)]

include!(env!("IOMMUFD_SYS"));
// That they are what C has.
include!(env!("IOMMUFD_LAYOUT"));
