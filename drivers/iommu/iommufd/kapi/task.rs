// SPDX-License-Identifier: GPL-2.0

//! What long operations ask of the current task. Would become part of `rust/kernel/task.rs`.

use crate::sys;
use kernel::{
    bindings,
    prelude::*, //
};

/// Gives way to others, and says whether the task was told to die.
///
/// To be called between the steps of whatever userspace can make long.
///
/// # Errors
///
/// `EINTR` when a fatal signal is pending.
pub(crate) fn resched_killable() -> Result {
    resched();
    // SAFETY: Has no preconditions.
    if unsafe { sys::iommufd_fatal_signal_pending() } {
        return Err(EINTR);
    }
    Ok(())
}

/// Whether the current task may exceed limits on resources.
pub(crate) fn may_exceed_resources() -> bool {
    // SAFETY: Has no preconditions.
    unsafe { bindings::capable(bindings::CAP_SYS_RESOURCE as c_int) }
}

/// Whether the current task may do to devices what it likes.
pub(crate) fn may_do_raw_io() -> bool {
    // SAFETY: Has no preconditions.
    unsafe { bindings::capable(bindings::CAP_SYS_RAWIO as c_int) }
}

/// Gives way to others; for steps that must be finished.
pub(crate) fn resched() {
    // SAFETY: Has no preconditions but a context that may sleep, where all of this driver runs.
    unsafe { sys::iommufd_cond_resched() }
}

/// How many page faults of the current task brought memory, by now.
pub(crate) fn fault_count() -> u64 {
    // SAFETY: Has no preconditions.
    unsafe { sys::iommufd_fault_count() as u64 }
}
