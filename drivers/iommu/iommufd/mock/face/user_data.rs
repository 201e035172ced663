// SPDX-License-Identifier: GPL-2.0

//! Structures that userspace hands to the IOMMU in software.
//!
//! C header: [`include/linux/iommu.h`](srctree/include/linux/iommu.h)

use kernel::{
    bindings,
    prelude::*,
    uaccess::{
        UserPtr,
        UserSlice, //
    }, //
};
use zerocopy::{
    FromBytes,
    Immutable,
    IntoBytes, //
};

/// Copies one in, by the rules of `iommu_copy_struct_from_user()`: what userspace does not know of
/// reads as zero. `MIN` is the size of its first version.
///
/// # Errors
///
/// `EINVAL`: it is not of this kind, too short or too long. `EFAULT`.
pub(super) fn read<T: FromBytes + IntoBytes, const MIN: usize>(
    data: &bindings::iommu_user_data,
    kind: u32,
) -> Result<T> {
    if data.type_ != kind || data.len < MIN {
        return Err(EINVAL);
    }
    let mut value = T::new_zeroed();
    let known = value.as_mut_bytes().get_mut(..data.len).ok_or(EINVAL)?;
    let at = UserPtr::from_ptr(data.uptr.cast());
    UserSlice::new(at, data.len).reader().read_slice(known)?;
    Ok(value)
}

/// Copies one out, as far as userspace knows of it.
///
/// # Errors
///
/// `EFAULT`.
pub(super) fn write<T: IntoBytes + Immutable>(
    data: &bindings::iommu_user_data,
    value: &T,
) -> Result {
    let bytes = value.as_bytes();
    let known = bytes.get(..data.len).unwrap_or(bytes);
    UserSlice::new(UserPtr::from_ptr(data.uptr.cast()), known.len())
        .writer()
        .write_slice(known)
}

/// As [`read`], entry `index` of a list.
///
/// # Errors
///
/// As there.
pub(super) fn read_entry<T: FromBytes + IntoBytes, const MIN: usize>(
    list: &bindings::iommu_user_data_array,
    kind: u32,
    index: u32,
) -> Result<T> {
    let entry = bindings::iommu_user_data {
        type_: list.type_,
        uptr: list.uptr.wrapping_byte_add(list.entry_len * index as usize),
        len: list.entry_len,
    };
    read::<T, MIN>(&entry, kind)
}
