// SPDX-License-Identifier: GPL-2.0

//! Page faults of devices, which wait for an answer. Would become `rust/kernel/iommu/fault.rs`.
//!
//! C header: [`include/linux/iommu.h`](srctree/include/linux/iommu.h)

use crate::sys;
use core::{
    mem::{
        forget,
        offset_of,
        size_of, //
    },
    ptr::NonNull, //
};
use kernel::{
    bindings,
    container_of,
    prelude::*, //
};
use zerocopy_derive::Immutable;

/// A page fault as userspace has it (`struct iommu_hwpt_pgfault`).
#[repr(C)]
#[derive(IntoBytes, Immutable, Clone, Copy)]
pub(crate) struct PageFault {
    flags: u32,
    dev_id: u32,
    pasid: u32,
    grpid: u32,
    perm: u32,
    __reserved: u32,
    addr: u64,
    length: u32,
    cookie: u32,
}
static_assert!(size_of::<PageFault>() == size_of::<bindings::iommu_hwpt_pgfault>());
static_assert!(offset_of!(PageFault, addr) == offset_of!(bindings::iommu_hwpt_pgfault, addr));
static_assert!(offset_of!(PageFault, cookie) == offset_of!(bindings::iommu_hwpt_pgfault, cookie));

/// Whether this kernel has devices tell of page faults.
pub(crate) const ARE_TOLD: bool = cfg!(CONFIG_IOMMU_IOPF);

/// What userspace is told of a fault beside where it is.
const FLAGS: u32 = bindings::iommu_hwpt_pgfault_flags_IOMMU_PGFAULT_FLAGS_PASID_VALID
    | bindings::iommu_hwpt_pgfault_flags_IOMMU_PGFAULT_FLAGS_LAST_PAGE;
static_assert!(FLAGS & bindings::IOMMU_FAULT_PAGE_REQUEST_PASID_VALID != 0);
static_assert!(FLAGS & bindings::IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE != 0);

/// What a device is answered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// There is something now where it wanted to go, and it may try again.
    Success,
    /// There is nothing, and it shall not.
    Invalid,
}

impl Answer {
    /// What userspace says (`enum iommufd_page_response_code`).
    pub(crate) fn from_code(code: u32) -> Option<Self> {
        match code {
            bindings::iommufd_page_response_code_IOMMUFD_PAGE_RESP_SUCCESS => Some(Self::Success),
            bindings::iommufd_page_response_code_IOMMUFD_PAGE_RESP_INVALID => Some(Self::Invalid),
            _ => None,
        }
    }

    fn code(self) -> bindings::iommu_page_response_code {
        match self {
            Self::Success => bindings::iommu_page_response_code_IOMMU_PAGE_RESP_SUCCESS,
            Self::Invalid => bindings::iommu_page_response_code_IOMMU_PAGE_RESP_INVALID,
        }
    }
}

/// Faults of a device that have one answer. Dropping this says that they are invalid.
///
/// # Invariants
///
/// The group is taken off the core's list, is not answered yet, and is this one's to answer and
/// free. Its device is there. Its `cookie` is the id that userspace knows that by.
pub(super) struct FaultGroup(NonNull<bindings::iopf_group>);

// SAFETY: A group of faults belongs to no thread.
unsafe impl Send for FaultGroup {}

impl FaultGroup {
    /// Takes a group over, of a device that userspace knows by `dev_id`.
    ///
    /// # Safety
    ///
    /// The core has just handed it to its domain's handler, which accepts it. Its device stays
    /// until it is answered.
    pub(super) unsafe fn take(group: NonNull<bindings::iopf_group>, dev_id: u32) -> Self {
        let raw = group.as_ptr();
        // Before anybody can answer and free it: the driver answers what is on the core's list
        // when the device goes.
        // SAFETY: It is the handler's by the contract.
        unsafe { sys::iommufd_dequeue_faults(raw) };
        // SAFETY: As above; that is for the handler's own use.
        unsafe { (*raw).cookie = dev_id };
        // INVARIANT: By the contract and the lines above.
        Self(group)
    }

    /// Whether they came by way of that attachment.
    pub(super) fn is_of(&self, handle: *const bindings::iommu_attach_handle) -> bool {
        // SAFETY: By the type invariant.
        core::ptr::eq(unsafe { (*self.0.as_ptr()).attach_handle }, handle)
    }

    /// How many they are.
    pub(super) fn len(&self) -> usize {
        // SAFETY: By the type invariant.
        unsafe { (*self.0.as_ptr()).fault_count }
    }

    /// Adds all of them to `faults`, where there is room, to be answered by `cookie`.
    pub(super) fn tell(&self, cookie: u32, faults: &mut KVVec<PageFault>) {
        let group = self.0.as_ptr();
        // SAFETY: By the type invariant.
        let (dev_id, head) = unsafe { ((*group).cookie, &raw const (*group).faults) };
        // SAFETY: As above.
        let mut node = unsafe { (*head).next };
        while !core::ptr::eq(node, head) {
            // SAFETY: Each node but the head is part of a fault, and none comes or goes.
            let fault = unsafe { &*container_of!(node, bindings::iopf_fault, list) };
            let request = &fault.fault.prm;
            let told = PageFault {
                flags: request.flags & FLAGS,
                dev_id,
                pasid: request.pasid,
                grpid: request.grpid,
                perm: request.perm,
                __reserved: 0,
                addr: request.addr,
                length: 0,
                cookie,
            };
            if faults.push_within_capacity(told).is_err() {
                return;
            }
            node = fault.list.next;
        }
    }

    /// Answers them.
    pub(super) fn answer(self, answer: Answer) {
        self.end(answer);
        forget(self);
    }

    fn end(&self, answer: Answer) {
        // SAFETY: By the type invariant; both callers forget it.
        unsafe { sys::iommufd_answer_faults(self.0.as_ptr(), answer.code()) }
    }
}

impl Drop for FaultGroup {
    fn drop(&mut self) {
        self.end(Answer::Invalid);
    }
}

/// Groups in a row, without any memory for it.
///
/// # Invariants
///
/// From `first` on the `node.next` of each group leads to the next one, and that of `last` is NULL;
/// both are `None` if there are none. All are what a [`FaultGroup`] is, and owned by this.
pub(super) struct FaultRow {
    ends: Option<(NonNull<bindings::iopf_group>, NonNull<bindings::iopf_group>)>,
}

// SAFETY: As with `FaultGroup`.
unsafe impl Send for FaultRow {}

impl FaultRow {
    /// No groups.
    pub(super) const fn new() -> Self {
        Self { ends: None }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_none()
    }

    /// Adds a group behind all others.
    pub(super) fn push(&mut self, group: FaultGroup) {
        let new = Self::link(group, None);
        let first = self.ends.map_or(new, |(first, last)| {
            // SAFETY: By the type invariant.
            unsafe { (*last.as_ptr()).node.next = Self::node(new) };
            first
        });
        // INVARIANT: It is the one behind the last.
        self.ends = Some((first, new));
    }

    /// Adds a group before all others.
    pub(super) fn push_first(&mut self, group: FaultGroup) {
        let new = Self::link(group, self.ends.map(|(first, _)| first));
        // INVARIANT: It leads to the one that was first.
        self.ends = Some((new, self.ends.map_or(new, |(_, last)| last)));
    }

    /// Takes out the group before all others.
    pub(super) fn pop(&mut self) -> Option<FaultGroup> {
        let (first, last) = self.ends?;
        // SAFETY: By the type invariant.
        let next = unsafe { (*first.as_ptr()).node.next };
        let next = NonNull::new(next).map(|node| {
            // SAFETY: By the type invariant, it is the `node` of a group.
            unsafe {
                NonNull::new_unchecked(container_of!(node.as_ptr(), bindings::iopf_group, node))
            }
        });
        // INVARIANT: The rest is as it was.
        self.ends = next.map(|next| (next, last));
        // INVARIANT: It was this one's.
        Some(FaultGroup(first))
    }

    fn node(group: NonNull<bindings::iopf_group>) -> *mut bindings::list_head {
        // SAFETY: Whoever calls this owns it.
        unsafe { &raw mut (*group.as_ptr()).node }
    }

    /// Makes a group lead to `next`.
    fn link(
        group: FaultGroup,
        next: Option<NonNull<bindings::iopf_group>>,
    ) -> NonNull<bindings::iopf_group> {
        let raw = group.0;
        let next = next.map_or(core::ptr::null_mut(), Self::node);
        // SAFETY: By the invariant of `FaultGroup`; the node is for the handler's own use.
        unsafe { (*raw.as_ptr()).node.next = next };
        // The row owns it.
        forget(group);
        raw
    }
}

impl Drop for FaultRow {
    fn drop(&mut self) {
        while self.pop().is_some() {}
    }
}
