// SPDX-License-Identifier: GPL-2.0

//! The argument of a test call: a number that says what is to be done, and a union.
//!
//! C header: `drivers/iommu/iommufd/iommufd_test.h`

use crate::{
    kapi::user::{
        self,
        Sized32, //
    },
    mock::sys, //
};
use core::mem::{
    offset_of,
    size_of, //
};
use kernel::{
    prelude::*,
    uaccess::UserPtr, //
};
use zerocopy_derive::{
    Immutable,
    KnownLayout, //
};

/// The argument's size in words.
const WORDS: usize = size_of::<sys::iommu_test_cmd>() / size_of::<u64>();

/// The argument as userspace gives it: words, of which the first has the size in front.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(transparent)]
struct Words([u64; WORDS]);

static_assert!(size_of::<Words>() == size_of::<sys::iommu_test_cmd>());
static_assert!(offset_of!(sys::iommu_test_cmd, size) == 0);

impl Sized32 for Words {
    const MIN_SIZE: usize = offset_of!(sys::iommu_test_cmd, last) + size_of::<u32>();

    fn argsz(&self) -> u32 {
        zerocopy::FromBytes::read_from_prefix(self.as_bytes()).map_or(0, |(size, _)| size)
    }
}

/// A test call.
pub(in crate::mock) struct Command {
    raw: sys::iommu_test_cmd,
    arg: UserPtr,
}

impl Command {
    /// Copies a call in.
    ///
    /// # Errors
    ///
    /// Those of [`user::read_struct`].
    pub(in crate::mock) fn read(arg: UserPtr) -> Result<Self> {
        let words: Words = user::read_struct(arg)?;
        // SAFETY: Both have the same size, and whatever is in there are integers, of which all
        // fields are made.
        let raw = unsafe { core::mem::transmute::<Words, sys::iommu_test_cmd>(words) };
        Ok(Self { raw, arg })
    }

    /// Copies it out, with the answer.
    ///
    /// # Errors
    ///
    /// `EFAULT`.
    pub(in crate::mock) fn answer(&self) -> Result {
        let bytes = core::ptr::from_ref(&self.raw).cast::<u8>();
        // SAFETY: All bytes were initialised when it was read: there is no padding of the
        // compiler's own in there, for it came as words.
        let bytes = unsafe { core::slice::from_raw_parts(bytes, size_of::<sys::iommu_test_cmd>()) };
        user::write_bytes(self.arg, 0, bytes)
    }

    /// What is to be done.
    pub(in crate::mock) fn op(&self) -> u32 {
        self.raw.op
    }

    /// What to do it to.
    pub(in crate::mock) fn id(&self) -> u32 {
        self.raw.id
    }
}

/// Accessors of the union's fields.
macro_rules! fields {
    ($($(#[$meta:meta])* $name:ident: $variant:ident.$field:ident -> $ty:ty,)*) => {
        impl Command {
            $($(#[$meta])*
            pub(in crate::mock) fn $name(&self) -> $ty {
                // SAFETY: All fields of the union are integers, and all its bytes initialised.
                unsafe { self.raw.__bindgen_anon_1.$variant.$field }
            })*
        }
    };
}

/// What is answered in the union's fields.
macro_rules! answers {
    ($($(#[$meta:meta])* $name:ident: $variant:ident.$field:ident <- $ty:ty,)*) => {
        impl Command {
            $($(#[$meta])*
            pub(in crate::mock) fn $name(&mut self, value: $ty) {
                self.raw.__bindgen_anon_1.$variant.$field = value;
            })*
        }
    };
}

fields! {
    /// The first address to be reserved.
    reserved_start: add_reserved.start -> u64,
    /// How many addresses.
    reserved_length: add_reserved.length -> u64,
    /// What a device is to be like.
    device_flags: mock_domain_flags.dev_flags -> u32,
    /// Where a device is to go.
    replacement: mock_domain_replace.pt_id -> u32,
    /// Which PASID of a device is to go elsewhere.
    pasid: pasid_attach.pasid -> u32,
    /// Where it is to go.
    pasid_target: pasid_attach.pt_id -> u32,
    /// Which PASID is to end.
    pasid_detached: pasid_detach.pasid -> u32,
    /// Which PASID is looked at.
    pasid_checked: pasid_check.pasid -> u32,
    /// The domain that it should be on, or zero.
    pasid_hwpt: pasid_check.hwpt_id -> u32,
    /// The first address to be translated.
    map_iova: check_map.iova -> u64,
    /// How much of what follows it.
    map_length: check_map.length -> u64,
    /// The process's address that it should lead to.
    map_uptr: check_map.uptr -> u64,
    /// The length of what should be pinned so often.
    refs_length: check_refs.length -> u64,
    /// Its address.
    refs_uptr: check_refs.uptr -> u64,
    /// How often.
    refs: check_refs.refs -> u32,
    /// What an access is to be like.
    access_flags: create_access.flags -> u32,
    /// Which pins of an access.
    pins_id: destroy_access_pages.access_pages_id -> u32,
    /// How to pin.
    pin_flags: access_pages.flags -> u32,
    /// What to pin.
    pin_iova: access_pages.iova -> u64,
    /// How much of it.
    pin_length: access_pages.length -> u64,
    /// What should be there, or zero.
    pin_uptr: access_pages.uptr -> u64,
    /// What to read or write.
    rw_iova: access_rw.iova -> u64,
    /// How much of it.
    rw_length: access_rw.length -> u64,
    /// Where to, or from where.
    rw_uptr: access_rw.uptr -> u64,
    /// Which of both.
    rw_flags: access_rw.flags -> u32,
    /// How much memory a batch may take.
    memory_limit: memory_limit.limit -> u32,
    /// Where an access is to go.
    access_ioas: access_replace_ioas.ioas_id -> u32,
    /// How large a dma-buf is to be.
    buf_length: dmabuf_get.length -> u32,
    /// How its descriptor is to be opened.
    buf_flags: dmabuf_get.open_flags -> u32,
    /// The descriptor of a dma-buf.
    buf_fd: dmabuf_revoke.dmabuf_fd -> i32,
    /// Whether its memory is taken back.
    buf_revoked: dmabuf_revoke.revoked -> u32,
    /// Which entry of a nested domain's IOTLB.
    iotlb_id: check_iotlb.id -> u32,
    /// What should be in there.
    iotlb: check_iotlb.iotlb -> u32,
    /// The first address that a device writes to.
    dirty_iova: dirty.iova -> u64,
    /// How much of what follows it may be written to.
    dirty_length: dirty.length -> u64,
    /// What a bit stands for.
    dirty_page: dirty.page_size -> u64,
    /// Where the bits are.
    dirty_uptr: dirty.uptr -> u64,
    /// Which entry of a device's cache.
    cache_id: check_dev_cache.id -> u32,
    /// Which device asks for a page.
    fault_device: trigger_iopf.dev_id -> u32,
    /// Which device there is an event of, as what is bound.
    event_device: trigger_vevent.dev_id -> u32,
    /// With which PASID.
    fault_pasid: trigger_iopf.pasid -> u32,
    /// As a part of which group.
    fault_group: trigger_iopf.grpid -> u32,
    /// What it wants to do with it.
    fault_perm: trigger_iopf.perm -> u32,
    /// Where.
    fault_addr: trigger_iopf.addr -> u64,
    /// What should be in there.
    cache: check_dev_cache.cache -> u32,
}

answers! {
    /// The device, as what can be destroyed.
    set_stdev_id: mock_domain.out_stdev_id <- u32,
    /// The domain that it is on.
    set_hwpt_id: mock_domain.out_hwpt_id <- u32,
    /// The device, as what is bound.
    set_idev_id: mock_domain.out_idev_id <- u32,
    /// The domain that a device went to.
    set_replaced: mock_domain_replace.pt_id <- u32,
    /// What is in an entry of a device's cache, or instead of one.
    set_cache: check_dev_cache.cache <- u32,
    /// The domain that a PASID went to.
    set_pasid_hwpt: pasid_attach.pt_id <- u32,
    /// The file that stands for an access.
    set_access_fd: create_access.out_access_fd <- u32,
    /// What pins are undone by.
    set_pins_id: access_pages.out_access_pages_id <- u32,
    /// How many bits were set.
    set_dirty_count: dirty.out_nr_dirty <- u64,
}
