// SPDX-License-Identifier: GPL-2.0

//! Structures that userspace passes by pointer. Would become part of `rust/kernel/uaccess.rs`.

use crate::{
    kapi::task,
    sys, //
};
use core::mem::{
    align_of,
    size_of, //
};
use kernel::{
    bindings,
    page::PAGE_SIZE,
    prelude::*,
    uaccess::{
        UserPtr,
        UserSlice, //
    },
};

/// A structure whose first field is its size as userspace knows it (`argsz`).
pub(crate) trait Sized32: FromBytes + IntoBytes + Sized {
    /// Size of the structure's first version, at least 4.
    const MIN_SIZE: usize;

    /// The size that userspace gave.
    fn argsz(&self) -> u32;

    /// How much of what userspace gave is understood, or known to be ignored.
    fn known(&self) -> usize {
        size_of::<Self>()
    }
}

/// Copies a structure in, by the rules of `copy_struct_from_user()`.
///
/// What userspace does not know of reads as zero; what we do not know of must be zero. The value
/// that comes back is the only fetch of each byte that matters: `argsz` is checked on it.
///
/// # Errors
///
/// * `EFAULT`: the pointer is bad.
/// * `EINVAL`: `argsz` is smaller than the first version.
/// * `E2BIG`: `argsz` is larger than ours, with something non-zero in what we do not know.
/// * `EINTR`: a fatal signal, while a great deal of that was looked at.
pub(crate) fn read_struct<T: Sized32>(ptr: UserPtr) -> Result<T> {
    let argsz = read_argsz(ptr)?;
    if argsz < T::MIN_SIZE {
        return Err(EINVAL);
    }
    let value = read_prefix::<T>(ptr, argsz.min(size_of::<T>()))?;
    // The size may have changed between the two fetches: then it is as bad as any bad size.
    if value.argsz() as usize != argsz {
        return Err(EINVAL);
    }
    check_tail(ptr, argsz, value.known())?;
    Ok(value)
}

/// Copies a structure in whose argument is at least as long as ours, in one fetch.
///
/// # Errors
///
/// As [`read_struct`].
#[inline]
pub(crate) fn read_whole<T: Sized32>(ptr: UserPtr) -> Result<T> {
    let Ok(value) = read::<T>(ptr) else {
        // A short structure may well end where the memory does.
        return match read_argsz(ptr)? {
            argsz if argsz < T::MIN_SIZE => Err(EINVAL),
            _ => Err(EFAULT),
        };
    };
    let argsz = value.argsz() as usize;
    if argsz < T::MIN_SIZE {
        return Err(EINVAL);
    }
    check_tail(ptr, argsz, value.known())?;
    Ok(value)
}

/// Copies a structure in that is followed by room for an answer, not by more of itself.
///
/// # Errors
///
/// `EFAULT` and `EINVAL` as [`read_struct`].
pub(crate) fn read_known<T: Sized32>(ptr: UserPtr) -> Result<T> {
    if read_argsz(ptr)? < T::MIN_SIZE {
        return Err(EINVAL);
    }
    let value = read::<T>(ptr)?;
    // The size may have changed between the two fetches: then it is as bad as any bad size.
    if (value.argsz() as usize) < T::MIN_SIZE {
        return Err(EINVAL);
    }
    Ok(value)
}

/// Writes a number to `ptr + offset`.
///
/// # Errors
///
/// `EFAULT`: the pointer is bad.
pub(crate) fn write_u64(ptr: UserPtr, offset: usize, value: u64) -> Result {
    let to = ptr.wrapping_byte_add(offset).as_mut_ptr();
    // SAFETY: The function takes any user address.
    match unsafe { sys::iommufd_put_user_u64(value, to.cast()) } {
        0 => Ok(()),
        _ => Err(EFAULT),
    }
}

/// Copies bytes out to `ptr + offset`.
///
/// # Errors
///
/// `EFAULT`: the pointer is bad.
pub(crate) fn write_bytes(ptr: UserPtr, offset: usize, bytes: &[u8]) -> Result {
    UserSlice::new(ptr.wrapping_byte_add(offset), bytes.len())
        .writer()
        .write_slice(bytes)
}

/// Copies a value in, in one fetch.
///
/// # Errors
///
/// `EFAULT`: the pointer is bad.
#[inline]
pub(crate) fn read<T: FromBytes + IntoBytes>(ptr: UserPtr) -> Result<T> {
    let mut value = T::new_zeroed();
    // The arguments of calls are made of words, which are faster to copy than bytes.
    if align_of::<T>() == align_of::<u64>() {
        let words = size_of::<T>() / size_of::<u64>();
        let to = (&raw mut value).cast();
        // SAFETY: `value` has room for the words, which make up all of it, and is aligned like
        // them; whatever they are makes a `T`. The function takes any user address.
        return match unsafe { sys::iommufd_get_user_words(to, ptr.as_const_ptr().cast(), words) } {
            0 => Ok(value),
            _ => Err(EFAULT),
        };
    }
    UserSlice::new(ptr, size_of::<T>())
        .reader()
        .read_slice(value.as_mut_bytes())?;
    Ok(value)
}

/// Writes zeroes from `ptr + offset` on, up to but not including `ptr + end`.
///
/// # Errors
///
/// `EFAULT`: the pointer is bad. `EINTR`: a fatal signal.
pub(crate) fn clear(ptr: UserPtr, offset: usize, end: usize) -> Result {
    let mut next = offset;
    while next < end {
        let len = (end - next).min(PAGE_SIZE);
        let to = ptr.wrapping_byte_add(next).as_mut_ptr();
        // SAFETY: The function takes any user address and size.
        if unsafe { sys::iommufd_clear_user(to, len as c_ulong) } != 0 {
            return Err(EFAULT);
        }
        next += len;
        task::resched_killable()?;
    }
    Ok(())
}

fn read_argsz(ptr: UserPtr) -> Result<usize> {
    Ok(read::<u32>(ptr)? as usize)
}

fn read_prefix<T: Sized32>(ptr: UserPtr, len: usize) -> Result<T> {
    let mut value = T::new_zeroed();
    let bytes = value.as_mut_bytes().get_mut(..len).ok_or(EINVAL)?;
    UserSlice::new(ptr, len).reader().read_slice(bytes)?;
    Ok(value)
}

#[inline]
fn check_tail(ptr: UserPtr, argsz: usize, known: usize) -> Result {
    if argsz <= known {
        return Ok(());
    }
    check_zeroes(ptr, argsz, known)
}

fn check_zeroes(ptr: UserPtr, argsz: usize, known: usize) -> Result {
    let mut next = known;
    while next < argsz {
        let len = (argsz - next).min(PAGE_SIZE);
        let tail = ptr.wrapping_byte_add(next).as_const_ptr();
        // SAFETY: The function takes any user address and length, and checks both.
        match unsafe { bindings::check_zeroed_user(tail, len) } {
            1 => next += len,
            0 => return Err(E2BIG),
            errno => return Err(Error::from_errno(errno)),
        }
        task::resched_killable()?;
    }
    Ok(())
}
