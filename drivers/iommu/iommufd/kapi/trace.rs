// SPDX-License-Identifier: GPL-2.0

//! Tracepoints; see `include/trace/events/iommufd.h`. Would become `declare_trace!` calls, if that
//! macro could be used outside of the kernel crate's own bindings.

use crate::{
    iova::IovaRange,
    sys, //
};
use kernel::{
    bindings,
    prelude::*,
    time::{
        Instant,
        Monotonic, //
    },
};

/// Whether anyone listens to a tracepoint: a jump that is patched into the code.
macro_rules! is_on {
    ($tracepoint:ident) => {{
        // SAFETY: The tracepoint is a static of `trace.c` or of the kernel, with a key in it.
        unsafe {
            kernel::jump_label::static_branch_unlikely!(sys::$tracepoint, bindings::tracepoint, key)
        }
    }};
}

/// Traces a map as the IOMMU core does, for what goes past it.
#[inline(always)]
pub(super) fn core_map(iova: u64, address: u64, size: usize) {
    if is_on!(__tracepoint_map) {
        // SAFETY: The event only reads its arguments.
        unsafe { sys::iommufd_trace_map(iova as c_ulong, address, size) };
    }
}

/// The same of an unmap.
#[inline(always)]
pub(super) fn core_unmap(iova: u64, size: usize, unmapped: usize) {
    if is_on!(__tracepoint_unmap) {
        // SAFETY: The event only reads its arguments.
        unsafe { sys::iommufd_trace_unmap(iova as c_ulong, size, unmapped) };
    }
}

/// What an unmap did.
#[derive(Clone, Copy, Default)]
pub(crate) struct Unmapped {
    /// How many bytes.
    pub(crate) bytes: u64,
    /// In how many runs.
    pub(crate) runs: u64,
}

fn errno<T>(result: &Result<T>) -> c_int {
    result.as_ref().err().map_or(0, |e| e.to_errno())
}

fn nanoseconds(start: Instant<Monotonic>) -> u64 {
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(0)
}

/// Does a map, which returns the number of runs, and traces it.
#[inline]
pub(crate) fn map(
    ioasid: u32,
    iova: u64,
    length: u64,
    work: impl FnOnce() -> Result<u64>,
) -> Result<u64> {
    if !is_on!(__tracepoint_iommufd_map) {
        return work();
    }
    let start = Instant::<Monotonic>::now();
    let result = work();
    let runs = *result.as_ref().unwrap_or(&0);
    mapped(ioasid, iova, length, runs, start, errno(&result));
    result
}

/// As [`map`], but to `iova`, or else to where `work` says with the number of runs.
pub(crate) fn map_somewhere(
    ioasid: u32,
    iova: Option<u64>,
    length: u64,
    work: impl FnOnce() -> Result<(IovaRange, u64)>,
) -> Result<IovaRange> {
    if !is_on!(__tracepoint_iommufd_map) {
        return work().map(|(range, _)| range);
    }
    let start = Instant::<Monotonic>::now();
    let result = work();
    let (iova, runs) = match &result {
        Ok((range, runs)) => (range.first(), *runs),
        Err(_) => (iova.unwrap_or(0), 0),
    };
    mapped(ioasid, iova, length, runs, start, errno(&result));
    result.map(|(range, _)| range)
}

fn mapped(ioasid: u32, iova: u64, length: u64, runs: u64, start: Instant<Monotonic>, errno: c_int) {
    // SAFETY: The event only reads its arguments.
    unsafe {
        sys::rust_do_trace_iommufd_map(ioasid, iova, length, runs, nanoseconds(start), errno)
    };
}

/// Does an unmap and traces it.
#[inline(always)]
pub(crate) fn unmap(
    ioasid: u32,
    iova: u64,
    length: u64,
    work: impl FnOnce() -> Result<Unmapped>,
) -> Result<Unmapped> {
    if !is_on!(__tracepoint_iommufd_unmap) {
        return work();
    }
    let start = Instant::<Monotonic>::now();
    let result = work();
    let done = result.as_ref().copied().unwrap_or_default();
    let duration = nanoseconds(start);
    // SAFETY: The event only reads its arguments.
    unsafe {
        sys::rust_do_trace_iommufd_unmap(
            ioasid,
            iova,
            length,
            done.bytes,
            done.runs,
            duration,
            errno(&result),
        )
    };
    result
}

/// What is to be pinned of an address space.
#[derive(Clone, Copy)]
pub(crate) struct PinnedAreas {
    /// How many areas there are.
    pub(crate) areas: u64,
    /// How many bytes.
    pub(crate) bytes: u64,
}

/// Pins all of an address space's memory and traces it.
pub(crate) fn pin(ioasid: u32, all: PinnedAreas, work: impl FnOnce() -> Result) -> Result {
    if !is_on!(__tracepoint_iommufd_pin) {
        return work();
    }
    let start = Instant::<Monotonic>::now();
    let result = work();
    let duration = nanoseconds(start);
    // SAFETY: The event only reads its arguments.
    unsafe {
        sys::rust_do_trace_iommufd_pin(ioasid, all.areas, all.bytes, duration, errno(&result))
    };
    result
}

/// Traces how much of a map is done.
pub(crate) fn progress(ioasid: u32, iova: u64, length: u64, done: u64) {
    if is_on!(__tracepoint_iommufd_progress) {
        // SAFETY: The event only reads its arguments.
        unsafe { sys::rust_do_trace_iommufd_progress(ioasid, iova, length, done) };
    }
}

/// Defines a function that does something with a device and traces it.
macro_rules! device_event {
    ($(#[$meta:meta])* $name:ident, $tracepoint:ident, $call:ident) => {
        $(#[$meta])*
        pub(crate) fn $name<T>(
            device: &CStr,
            id: u32,
            ioasid: u32,
            work: impl FnOnce() -> Result<T>,
        ) -> Result<T> {
            if !is_on!($tracepoint) {
                return work();
            }
            let start = Instant::<Monotonic>::now();
            let result = work();
            // SAFETY: The event only reads its arguments, and copies the string.
            unsafe {
                sys::$call(
                    device.as_char_ptr(),
                    id,
                    ioasid,
                    nanoseconds(start),
                    errno(&result),
                )
            };
            result
        }
    };
}

device_event!(
    /// Binds a device and traces it; `ioasid` is 0.
    bind,
    __tracepoint_iommufd_bind,
    rust_do_trace_iommufd_bind
);
device_event!(
    /// Attaches or moves a device and traces it.
    attach,
    __tracepoint_iommufd_attach,
    rust_do_trace_iommufd_attach
);
device_event!(
    /// Detaches a device and traces it.
    detach,
    __tracepoint_iommufd_detach,
    rust_do_trace_iommufd_detach
);
