// SPDX-License-Identifier: GPL-2.0

//! The IOMMU in software towards C, made safe: what the kernel crate has no abstractions for. All
//! of the mock's unsafe code is here.

pub(super) mod access;
pub(super) mod command;
pub(super) mod device;
pub(super) mod dmabuf;
pub(super) mod hw_queue;
pub(super) mod iommu;
pub(super) mod memory;
pub(super) mod nested;
pub(super) mod user_data;
pub(super) mod viommu;

use kernel::prelude::*;

fn err_ptr<T>(error: Error) -> *mut T {
    // What `ERR_PTR()` does.
    core::ptr::without_provenance_mut(error.to_errno() as isize as usize)
}

/// Defines a function of `face.h`; does not compile unless it has the type it has there.
macro_rules! face_fn {
    ($(#[$meta:meta])*
     unsafe extern "C" fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        const _: () = {
            // Both branches must have one type.
            let _ = if true { $crate::mock::sys::$name } else { $name };
        };

        $(#[$meta])*
        #[no_mangle]
        unsafe extern "C" fn $name($($arg: $ty),*) $(-> $ret)? $body
    };
}
use face_fn;
