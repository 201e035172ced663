// SPDX-License-Identifier: GPL-2.0

//! Bitmaps of userspace's, for VFIO and drivers of devices that track what they write to:
//! `<linux/iova_bitmap.h>`, which kernels with `CONFIG_IOMMUFD_DRIVER` have themselves.

use super::{
    err_ptr,
    export_fn, //
};
use crate::{
    iova::IovaRange,
    kapi::iova_bitmap::{
        ours::{
            iova_bitmap_set,
            Whole, //
        },
        UserBitmap, //
    },
    sys, //
};
use kernel::{
    bindings,
    error::from_result,
    prelude::*, //
};

type Bitmap = bindings::iova_bitmap;

const _: () = {
    // Both branches must have one type.
    let _ = if true {
        sys::iova_bitmap_set
    } else {
        iova_bitmap_set
    };
};

export_fn! {
    /// A bitmap at `data`, in the current process, with a bit for each `page_size` bytes of a
    /// range. Errors as pointers: `-EINVAL`, `-EOVERFLOW`, `-ENOMEM`.
    ///
    /// # Safety
    ///
    /// None: where the bitmap is is for userspace to say.
    unsafe extern "C" fn iova_bitmap_alloc(
        iova: c_ulong,
        length: usize,
        page_size: c_ulong,
        data: *mut u64,
    ) -> *mut Bitmap {
        let bitmap = IovaRange::with_len(iova as u64, length as u64)
            .and_then(|range| UserBitmap::new(range, page_size as u64, data.addr() as u64))
            .and_then(Whole::new);
        bitmap.map_or_else(err_ptr, |bitmap| KBox::into_raw(bitmap).cast())
    }
}

export_fn! {
    /// Frees a bitmap.
    ///
    /// # Safety
    ///
    /// `bitmap` is of `iova_bitmap_alloc()`, and not used any more.
    unsafe extern "C" fn iova_bitmap_free(bitmap: *mut Bitmap) {
        // SAFETY: By the contract.
        drop(unsafe { KBox::from_raw(bitmap.cast::<Whole>()) });
    }
}

export_fn! {
    /// Calls `look` with one part of the bitmap after the other, and the addresses that its bits
    /// stand for. The part is pinned meanwhile: what `look` sets is not lost.
    ///
    /// Returns 0, what `look` has returned if that is not 0, `-EFAULT`, `-EINTR`, or as
    /// [`UserBitmap::window`].
    ///
    /// # Safety
    ///
    /// `bitmap` is of `iova_bitmap_alloc()`; `look` may be called with `opaque`.
    unsafe extern "C" fn iova_bitmap_for_each(
        bitmap: *mut Bitmap,
        opaque: *mut c_void,
        look: bindings::iova_bitmap_fn_t,
    ) -> c_int {
        // SAFETY: By the contract.
        let bitmap = unsafe { &*bitmap.cast::<Whole>() };
        from_result(|| {
            let look = look.ok_or(EINVAL)?;
            bitmap.for_each(|part, range| {
                // CAST: The lengths of parts are far below what it can be.
                let (first, len) = (range.first() as c_ulong, range.len() as usize);
                // SAFETY: By the contract; the part is there until it returns.
                unsafe { look(part, first, len, opaque) }
            })
        })
    }
}
