// SPDX-License-Identifier: GPL-2.0

//! Memory of devices: the BARs that VFIO gives to other devices' DMA as dma-bufs. Would become part
//! of `rust/kernel/dma_buf.rs`.
//!
//! Nobody pins it, or pays for it, and it can be taken back: VFIO does so before the BAR stops
//! to answer, because of a reset for one. The area stays, with nothing behind it, until it is
//! unmapped.
//!
//! Which domains it is in has a lock of its own: whoever takes it back holds locks under which
//! those of an address space cannot be taken. It comes after all of these, and is held
//! while a domain is changed.

use crate::{
    iova::IovaRange,
    kapi::{
        dmabuf::{
            DmaBuf,
            DmaBufAttachment,
            Importer, //
        },
        domain::{
            Domain,
            Prot, //
        },
        run::Span, //
    },
};
use core::iter;
use kernel::{
    alloc::flags::__GFP_NOWARN,
    device::Device,
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            ordering::Relaxed,
            AtomicFlag, //
        },
        Arc,
        Mutex, //
    },
};

/// A part of a BAR. Dropping it takes it out of every domain.
pub(crate) struct DeviceMemory {
    /// There until this is dropped.
    attachment: Option<DmaBufAttachment<DomainRanges>>,
    ranges: Arc<DomainRanges>,
    span: Span,
}

/// Where a device's memory is mapped; nowhere for ever, once it was taken back.
#[pin_data]
struct DomainRanges {
    #[pin]
    list: Mutex<Option<KVVec<DomainRange>>>,
    /// Set once, when a domain may still map it somewhere after that.
    is_stuck: AtomicFlag,
}

struct DomainRange {
    domain: Arc<Domain>,
    range: IovaRange,
}

impl Importer for DomainRanges {
    fn revoke(&self) {
        let mut list = self.list.lock();
        for entry in list.take().into_iter().flatten() {
            self.unmap(&entry);
        }
    }
}

impl DomainRanges {
    fn unmap(&self, entry: &DomainRange) {
        // SAFETY: Only we map and unmap there, with the list locked; this was mapped as a whole.
        unsafe { entry.domain.unmap(iter::once(entry.range)) };
        if entry.domain.may_still_map(entry.range) {
            self.is_stuck.store(true, Relaxed);
        }
    }
}

impl DeviceMemory {
    /// `len` bytes from `start` on of what `buf` stands for, to be used on behalf of `dev`.
    ///
    /// # Errors
    ///
    /// * `EINVAL`: there are fewer bytes, or they are not made of pages.
    /// * Those of [`DmaBufAttachment::new`] and [`DmaBufAttachment::span`].
    pub(crate) fn new(dev: &Device, buf: DmaBuf, start: u64, len: u64) -> Result<Self> {
        let is_inside = start.checked_add(len).is_some_and(|end| end <= buf.len());
        if len == 0 || !is_inside {
            return Err(EINVAL);
        }
        let ranges = Arc::pin_init(
            pin_init!(DomainRanges {
                list <- new_mutex!(Some(KVVec::new()), "iommufd_device_memory"),
                is_stuck: AtomicFlag::new(false),
            }),
            GFP_KERNEL_ACCOUNT,
        )?;
        let attachment = DmaBufAttachment::new(buf, dev, ranges.clone())?;
        let span = attachment.span(start, len)?;
        Ok(Self {
            attachment: Some(attachment),
            ranges,
            span,
        })
    }

    /// Whether it was taken back.
    pub(crate) fn is_revoked(&self) -> bool {
        self.ranges.list.lock().is_none()
    }

    /// Maps it into `domain` as `range`, which is the caller's and as long, unless it was taken
    /// back: page by page unless pages may be `large`.
    ///
    /// # Errors
    ///
    /// Those of [`Domain::map`].
    pub(crate) fn enter(
        &self,
        domain: &Arc<Domain>,
        range: IovaRange,
        prot: Prot,
        large: bool,
    ) -> Result {
        let mut list = self.ranges.list.lock();
        let Some(list) = &mut *list else {
            return Ok(());
        };
        let entry = DomainRange {
            domain: domain.clone(),
            range,
        };
        list.reserve(1, GFP_KERNEL_ACCOUNT | __GFP_NOWARN)?;
        let prot = Prot { mmio: true, ..prot };
        // SAFETY: As long as this is in the list, the BAR stays ours: before it is not, it is
        // unmapped, and if that fails, it is kept for good.
        unsafe { domain.map_span(range.first(), self.span, prot, large) }?;
        // There is room.
        Ok(list.push_within_capacity(entry)?)
    }

    /// Takes it out of a domain.
    pub(crate) fn leave(&self, domain: &Domain) {
        let mut list = self.ranges.list.lock();
        let Some(list) = &mut *list else { return };
        list.retain(|entry| {
            let stays = !core::ptr::eq(&*entry.domain, domain);
            if !stays {
                self.ranges.unmap(entry);
            }
            stays
        });
    }
}

impl Drop for DeviceMemory {
    fn drop(&mut self) {
        self.ranges.revoke();
        if self.ranges.is_stuck.load(Relaxed) {
            // Devices may still get at it: it stays in use for good.
            core::mem::forget(self.attachment.take());
        }
    }
}
