// SPDX-License-Identifier: GPL-2.0

//! Memory of devices, which VFIO gives to other devices' DMA: BARs as dma-bufs, or as a process
//! has mapped them. Would become part of `rust/kernel/dma_buf.rs`.
//!
//! Nobody pins it, or pays for it, and it can be taken back: VFIO does so before the BAR stops
//! to answer, because of a reset for one; and so does whatever takes it out of the page table of
//! the process. The area stays, with nothing behind it, until it is unmapped.
//!
//! Which domains it is in has a lock of its own: whoever takes it back holds locks under which
//! those of an address space cannot be taken. It comes after all of these, and is held
//! while a domain is changed. As memory may be reclaimed by who takes something back, none can be
//! waited for with it held.

use crate::{
    iova::IovaRange,
    kapi::{
        account::Payer,
        bar::{
            self,
            Watch, //
        },
        dmabuf::{
            DmaBuf,
            DmaBufAttachment,
            Importer, //
        },
        domain::{
            Domain,
            Prot, //
        },
        run::Span,
        spans::Spans,
        task, //
    },
};
use core::iter;
use kernel::{
    device::Device,
    new_mutex,
    page::PAGE_SIZE,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNodeReservation, //
    },
    sync::{
        atomic::{
            ordering::Relaxed,
            AtomicFlag, //
        },
        Arc,
        Mutex, //
    },
};

/// A part of a BAR, or several. Dropping it takes it out of every domain.
struct DeviceMemory {
    /// There until this is dropped.
    claim: Option<Claim>,
    ranges: Arc<DomainRanges>,
    spans: Spans,
    /// Whether devices may write to it.
    writable: bool,
}

/// What has us told when it is taken back.
#[expect(dead_code, reason = "what counts is that it is there")]
enum Claim {
    DmaBuf(DmaBufAttachment<DomainRanges>),
    Process(Watch<DomainRanges>),
}

/// A part of the memory of a device, which several areas may have.
pub(crate) struct DevicePart {
    memory: Arc<DeviceMemory>,
    /// How many bytes come before it.
    first: u64,
    /// How many bytes it has.
    len: u64,
}

/// Where a device's memory is mapped; nowhere for ever, once it was taken back.
#[pin_data]
struct DomainRanges {
    #[pin]
    tree: Mutex<Option<RBTree<Key, DomainRange>>>,
    /// Set once, when a domain may still map it somewhere after that.
    is_stuck: AtomicFlag,
}

/// The address of a domain, which is there as long as its memory, and an address in it.
type Key = (usize, u64);

struct DomainRange {
    domain: Arc<Domain>,
    range: IovaRange,
}

impl Importer for DomainRanges {
    fn revoke(&self) {
        let mut tree = self.tree.lock();
        for entry in tree.take().iter().flat_map(RBTree::values) {
            self.unmap(entry);
        }
    }

    fn is_revoked(&self) -> bool {
        self.tree.try_lock().is_some_and(|tree| tree.is_none())
    }
}

/// How often a step is tried for which there was no memory.
const TRIES: u32 = 4;

/// As much memory is asked for before it is tried again.
const ROOM: usize = 32 * PAGE_SIZE;

impl DomainRanges {
    fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                tree <- new_mutex!(Some(RBTree::new()), "iommufd_device_memory"),
                is_stuck: AtomicFlag::new(false),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Maps `span`, of the memory that this is of, as `range`, unless it was taken back.
    ///
    /// # Errors
    ///
    /// Those of [`Domain::map`].
    fn map(
        &self,
        domain: &Arc<Domain>,
        (range, span): (IovaRange, Span),
        prot: Prot,
        large: bool,
    ) -> Result {
        for _ in 1..TRIES {
            match self.try_map(domain, (range, span), prot, large) {
                // Reclaims what the next try may find.
                Err(e) if e == ENOMEM => {
                    drop(KVVec::<u8>::with_capacity(ROOM, GFP_KERNEL_ACCOUNT)?)
                }
                result => return result,
            }
        }
        self.try_map(domain, (range, span), prot, large)
    }

    fn try_map(
        &self,
        domain: &Arc<Domain>,
        (range, span): (IovaRange, Span),
        prot: Prot,
        large: bool,
    ) -> Result {
        let node = RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?;
        let mut tree = self.tree.lock();
        let Some(tree) = &mut *tree else {
            return Ok(());
        };
        // SAFETY: As long as this is in the tree, the memory stays the device's, and ours: before
        // it is not, it is unmapped, and if that fails, it is kept for good if it can be.
        unsafe { domain.map_device(range.first(), span, prot, large) }?;
        let entry = DomainRange {
            domain: domain.clone(),
            range,
        };
        tree.insert(node.into_node(key(domain, range.first()), entry));
        Ok(())
    }

    /// Takes what was mapped in `range` out of a domain, if it is there.
    fn leave(&self, domain: &Domain, range: IovaRange) {
        let mut tree = self.tree.lock();
        let Some(tree) = &mut *tree else { return };
        let last = key(domain, range.last());
        while let Some(at) = tree.cursor_lower_bound_mut(&key(domain, range.first())) {
            if *at.current().0 > last {
                break;
            }
            let (_, entry) = at.remove_current().1.to_key_value();
            self.unmap(&entry);
        }
    }

    fn unmap(&self, entry: &DomainRange) {
        // SAFETY: Only we map and unmap there, with the tree locked; this was mapped as a whole.
        unsafe { entry.domain.unmap(iter::once(entry.range)) };
        if entry.domain.may_still_map(entry.range) {
            self.is_stuck.store(true, Relaxed);
        }
    }
}

fn key(domain: &Domain, iova: u64) -> Key {
    (core::ptr::from_ref(domain).addr(), iova)
}

impl DevicePart {
    /// `len` bytes from `start` on of what `buf` stands for, to be used on behalf of `dev`, and to
    /// be written to if `writable`.
    ///
    /// # Errors
    ///
    /// * `EINVAL`: there are fewer bytes, or they are not made of pages.
    /// * Those of [`DmaBufAttachment::new`] and [`DmaBufAttachment::span`].
    pub(crate) fn new(
        dev: &Device,
        buf: DmaBuf,
        start: u64,
        len: u64,
        writable: bool,
    ) -> Result<Self> {
        let is_inside = start.checked_add(len).is_some_and(|end| end <= buf.len());
        if len == 0 || !is_inside {
            return Err(EINVAL);
        }
        let ranges = DomainRanges::new()?;
        let attachment = DmaBufAttachment::new(buf, dev, ranges.clone())?;
        let mut spans = Spans::new();
        spans.push(attachment.span(start, len)?)?;
        Self::of(Claim::DmaBuf(attachment), ranges, spans, writable, len)
    }

    /// `len` bytes that VFIO has mapped at `vaddr` of `process`, to be written to if `writable`;
    /// both are multiples of the page size.
    ///
    /// # Errors
    ///
    /// Those of [`bar::spans`] and [`Watch::new`].
    pub(crate) fn of_process(
        process: &Payer,
        vaddr: u64,
        len: u64,
        writable: bool,
    ) -> Result<Self> {
        let ranges = DomainRanges::new()?;
        // Before the look: what is taken back from here on will have been there.
        let watch = Watch::new(process, vaddr, len, ranges.clone())?;
        let spans = bar::spans(process, vaddr, len, writable)?;
        Self::of(Claim::Process(watch), ranges, spans, writable, len)
    }

    fn of(
        claim: Claim,
        ranges: Arc<DomainRanges>,
        spans: Spans,
        writable: bool,
        len: u64,
    ) -> Result<Self> {
        let memory = DeviceMemory {
            claim: Some(claim),
            ranges,
            spans,
            writable,
        };
        Ok(Self {
            memory: Arc::new(memory, GFP_KERNEL_ACCOUNT)?,
            first: 0,
            len,
        })
    }

    /// `len` of its bytes from number `skip` on, all of which it has.
    pub(crate) fn again(&self, skip: u64, len: u64) -> Self {
        Self {
            memory: self.memory.clone(),
            first: self.first + skip,
            len,
        }
    }

    /// Where in its page its first byte is.
    pub(crate) fn offset(&self) -> u64 {
        // All of the memory is made of pages.
        self.first % PAGE_SIZE as u64
    }

    /// Whether devices may write to it.
    pub(crate) fn is_writable(&self) -> bool {
        self.memory.writable
    }

    /// Whether it goes with what a process has mapped.
    pub(crate) fn is_of_process(&self) -> bool {
        matches!(self.memory.claim, Some(Claim::Process(_)))
    }

    /// In how many pieces it is; none if it was taken back.
    pub(crate) fn count(&self) -> usize {
        if self.is_gone() {
            return 0;
        }
        self.memory.spans.count(self.first, self.len)
    }

    /// Whether it was taken back.
    pub(crate) fn is_gone(&self) -> bool {
        self.memory.ranges.tree.lock().is_none()
    }

    /// The first of its `len` bytes from number `skip` on, one at least, that lie in one piece.
    pub(crate) fn one_piece(&self, skip: u64, len: u64) -> Option<Span> {
        self.memory.spans.one_piece(self.first + skip, len)
    }

    /// Maps it into `domain` as `range`, which is the caller's, and as long, unless it was
    /// taken back: page by page unless pages may be `large`.
    ///
    /// # Errors
    ///
    /// Those of [`Domain::map`], and `EINTR`. Nothing is mapped then.
    pub(crate) fn enter(
        &self,
        domain: &Arc<Domain>,
        range: IovaRange,
        prot: Prot,
        large: bool,
    ) -> Result {
        let prot = Prot { mmio: true, ..prot };
        let memory = &self.memory;
        let entered = memory.spans.steps(self.first, range).try_for_each(|step| {
            task::resched_killable()?;
            memory.ranges.map(domain, step, prot, large)
        });
        if entered.is_err() {
            self.leave(domain, range);
        }
        entered
    }

    /// Takes what was mapped in `range` out of a domain, if it is there.
    pub(crate) fn leave(&self, domain: &Domain, range: IovaRange) {
        self.memory.ranges.leave(domain, range);
    }
}

impl Drop for DeviceMemory {
    fn drop(&mut self) {
        self.ranges.revoke();
        if self.ranges.is_stuck.load(Relaxed) {
            // Devices may still get at it: it stays in use for good.
            core::mem::forget(self.claim.take());
        }
    }
}
