// SPDX-License-Identifier: GPL-2.0

//! The module's parameters, as they are at the moment: see `params.c`.

use crate::sys;

/// How many threads may bring the memory of one map: none but the caller if 1, as many as are good
/// if 0.
pub(crate) fn fill_threads() -> u64 {
    // SAFETY: Has no preconditions.
    u64::from(unsafe { sys::iommufd_fill_threads() })
}

/// Whether they are there for the smallest map, needed or not.
pub(crate) fn fill_always() -> bool {
    // SAFETY: Has no preconditions.
    unsafe { sys::iommufd_fill_always() }
}
