// SPDX-License-Identifier: GPL-2.0

//! Memory of devices: the BARs that VFIO gives to other devices' DMA as dma-bufs. Would become part of
//! `rust/kernel/dma_buf.rs`.
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
            Attachment,
            DmaBuf,
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
    attachment: Option<Attachment<Places>>,
    places: Arc<Places>,
    span: Span,
}

/// Where a device's memory is mapped; nowhere for ever, once it was taken back.
#[pin_data]
struct Places {
    #[pin]
    list: Mutex<Option<KVVec<Place>>>,
    /// Set once, when a domain may still map it somewhere after that.
    is_stuck: AtomicFlag,
}

struct Place {
    domain: Arc<Domain>,
    range: IovaRange,
}

impl Importer for Places {
    fn revoke(&self) {
        let mut list = self.list.lock();
        for place in list.take().into_iter().flatten() {
            self.unmap(&place);
        }
    }
}

impl Places {
    fn unmap(&self, place: &Place) {
        // SAFETY: Only we map and unmap there, with the list locked; this was mapped as a whole.
        unsafe { place.domain.unmap(iter::once(place.range)) };
        if place.domain.may_still_map(place.range) {
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
    /// * Those of [`Attachment::new`] and [`Attachment::span`].
    pub(crate) fn new(dev: &Device, buf: DmaBuf, start: u64, len: u64) -> Result<Self> {
        let is_inside = start.checked_add(len).is_some_and(|end| end <= buf.len());
        if len == 0 || !is_inside {
            return Err(EINVAL);
        }
        let places = Arc::pin_init(
            pin_init!(Places {
                list <- new_mutex!(Some(KVVec::new()), "iommufd_device_memory"),
                is_stuck: AtomicFlag::new(false),
            }),
            GFP_KERNEL_ACCOUNT,
        )?;
        let attachment = Attachment::new(buf, dev, places.clone())?;
        let span = attachment.span(start, len)?;
        Ok(Self {
            attachment: Some(attachment),
            places,
            span,
        })
    }

    /// Whether it was taken back.
    pub(crate) fn is_revoked(&self) -> bool {
        self.places.list.lock().is_none()
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
        let mut list = self.places.list.lock();
        let Some(list) = &mut *list else {
            return Ok(());
        };
        let place = Place {
            domain: domain.clone(),
            range,
        };
        list.reserve(1, GFP_KERNEL_ACCOUNT | __GFP_NOWARN)?;
        let prot = Prot { mmio: true, ..prot };
        // SAFETY: As long as this is in the list, the BAR stays ours: before it is not, it is
        // unmapped, and if that fails, it is kept for good.
        unsafe { domain.map_span(range.first(), self.span, prot, large) }?;
        // There is room.
        Ok(list.push_within_capacity(place)?)
    }

    /// Takes it out of a domain.
    pub(crate) fn leave(&self, domain: &Domain) {
        let mut list = self.places.list.lock();
        let Some(list) = &mut *list else { return };
        list.retain(|place| {
            let stays = !core::ptr::eq(&*place.domain, domain);
            if !stays {
                self.places.unmap(place);
            }
            stays
        });
    }
}

impl Drop for DeviceMemory {
    fn drop(&mut self) {
        self.places.revoke();
        if self.places.is_stuck.load(Relaxed) {
            // Devices may still get at it: it stays in use for good.
            core::mem::forget(self.attachment.take());
        }
    }
}
