// SPDX-License-Identifier: GPL-2.0

//! Paging domains: the I/O page tables. Would become `rust/kernel/iommu/domain.rs`.
//!
//! C header: [`include/linux/iommu.h`](srctree/include/linux/iommu.h)

use crate::{
    iova::IovaRange,
    kapi::{
        attach_handle::Faults,
        device::OwnedDevice,
        fault_queue::FaultQueue,
        run::{
            PinnedRun,
            Span, //
        },
        sw_msi::DomainDoorbells,
        table::Table,
        task,
        user_data::UserData, //
    },
    sys,
};
use core::{
    mem::MaybeUninit,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    do_once_lite,
    error::{
        from_err_ptr,
        to_result, //
    },
    page::PAGE_SIZE,
    prelude::*,
    sync::{
        atomic::{
            ordering::Relaxed,
            Atomic,
            AtomicFlag, //
        },
        Arc, //
    },
    warn_on, //
};

/// As many runs are mapped in one call: their list is on the stack.
const LIST: usize = 32;

/// What devices may do with mapped memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Prot {
    /// Devices may read.
    pub(crate) read: bool,
    /// Devices may write.
    pub(crate) write: bool,
    /// It is a device's own memory.
    pub(crate) mmio: bool,
}

impl Prot {
    /// As the IOMMU core wants it; accesses snoop the CPU's caches, as with both peers, but for
    /// those to other devices.
    fn bits(self) -> c_int {
        let mut bits = if self.mmio {
            bindings::IOMMU_MMIO
        } else {
            bindings::IOMMU_CACHE
        };
        if self.read {
            bits |= bindings::IOMMU_READ;
        }
        if self.write {
            bits |= bindings::IOMMU_WRITE;
        }
        bits as c_int
    }
}

/// An I/O page table of type `IOMMU_DOMAIN_UNMANAGED`.
///
/// Mapping and unmapping disjoint ranges is safe from many threads at once: the page tables of
/// the IOMMU drivers are built for it.
///
/// # Invariants
///
/// `ptr` is a domain that this owns. It has a page table if it `translates`, which is `table` if it
/// is a generic one.
pub(crate) struct Domain {
    ptr: NonNull<bindings::iommu_domain>,
    translates: bool,
    table: Option<Table>,
    enforces_snoop: bool,
    leftover: Leftover,
    faults: Faults,
    /// Dropped after the domain.
    doorbells: DomainDoorbells,
}

/// The lowest range that has all addresses at which a domain may map what was to be unmapped; none
/// as long as the IOMMU driver does as it is told.
struct Leftover {
    first: Atomic<u64>,
    last: Atomic<u64>,
}

impl Leftover {
    fn new() -> Self {
        Self {
            first: Atomic::new(u64::MAX),
            last: Atomic::new(0),
        }
    }

    /// Whoever adds a range asks about it later: nobody else needs to see it in time.
    fn add(&self, range: &IovaRange) {
        change(&self.first, |first| first.min(range.first()));
        change(&self.last, |last| last.max(range.last()));
    }

    #[inline]
    fn get(&self) -> Option<IovaRange> {
        IovaRange::new(self.first.load(Relaxed), self.last.load(Relaxed))
    }
}

/// Whether there has ever been a leftover: every unmap asks.
static HAVE_LEFTOVERS: AtomicFlag = AtomicFlag::new(false);

/// Whether [`Domain::may_still_map`] may say `true` of any domain.
#[inline]
pub(crate) fn have_leftovers() -> bool {
    HAVE_LEFTOVERS.load(Relaxed)
}

fn change(value: &Atomic<u64>, change: impl Fn(u64) -> u64) {
    let mut old = value.load(Relaxed);
    while let Err(seen) = value.cmpxchg(old, change(old), Relaxed) {
        old = seen;
    }
}

// SAFETY: A domain belongs to no thread.
unsafe impl Send for Domain {}
// SAFETY: See the type's description; its fields are constant once it is set up.
unsafe impl Sync for Domain {}

impl Domain {
    /// Makes an empty domain in a format that `dev`'s IOMMU understands, as `data` say if there
    /// are any. If no IOMMU has `dev`, it is one without a page table, and takes neither flags nor
    /// data.
    ///
    /// Devices whose IOMMU can ignore their no-snoop attribute get a domain that does so. `flags`
    /// are those of `IOMMU_HWPT_ALLOC` that ask the IOMMU driver for something.
    ///
    /// # Errors
    ///
    /// * `ENODEV`, `EOPNOTSUPP`: the IOMMU has no such paging domains.
    /// * `EINVAL`: its driver says that it can enforce snooping, and then does not; or what the
    ///   data are.
    /// * `ENOMEM`, and what else the driver says about data: `EFAULT`, for one.
    pub(crate) fn new(dev: &OwnedDevice, flags: u32, data: Option<UserData>) -> Result<Self> {
        let domain = match data.map(|data| data.as_raw()) {
            None if flags == 0 && !dev.is_translated() => {
                // SAFETY: Has no preconditions.
                let domain = unsafe { sys::iommufd_alloc_untranslated() };
                NonNull::new(domain).ok_or(ENOMEM)?.as_ptr()
            }
            _ if !dev.is_translated() => return Err(EOPNOTSUPP),
            // SAFETY: An IOMMU has `dev`, as long as it is owned.
            None => unsafe { bindings::iommu_paging_domain_alloc_flags(dev.as_raw(), flags) },
            // SAFETY: As above; where the data are is for userspace to say.
            Some(data) => unsafe {
                sys::iommufd_alloc_paging(dev.as_raw(), flags, &raw const data)
            },
        };
        let ptr = NonNull::new(from_err_ptr(domain)?).ok_or(ENODEV)?;
        let mut domain = Self {
            // INVARIANT: A new domain is nobody else's.
            ptr,
            translates: dev.is_translated(),
            // SAFETY: The domain was just made, and is not freed before this is dropped.
            table: unsafe { Table::of(ptr.as_ptr()) },
            enforces_snoop: false,
            leftover: Leftover::new(),
            faults: Faults::new(),
            doorbells: DomainDoorbells::none(),
        };
        // SAFETY: Just made; the domain is freed before its fields are dropped.
        domain.doorbells = unsafe { DomainDoorbells::new(domain.as_raw(), None) }?;
        if dev.can_enforce_snoop() {
            let raw = domain.as_raw();
            // SAFETY: The domain is valid, and empty as the operation demands.
            domain.enforces_snoop = unsafe { sys::iommufd_enforce_cache_coherency(raw) };
            if !domain.enforces_snoop {
                warn_once();
                return Err(EINVAL);
            }
        }
        Ok(domain)
    }

    pub(super) fn as_raw(&self) -> *mut bindings::iommu_domain {
        self.ptr.as_ptr()
    }

    /// The domain itself, for the IOMMU that made it.
    #[cfg(IOMMUFD_MOCK)]
    pub(crate) fn as_ptr(&self) -> *mut bindings::iommu_domain {
        self.as_raw()
    }

    /// Where devices find the doorbells of their interrupts in it.
    pub(super) fn doorbells(&self) -> &DomainDoorbells {
        &self.doorbells
    }

    /// Has the page faults of its devices go to a queue. To be called once, before there are any.
    pub(crate) fn set_faults(&self, queue: Arc<FaultQueue>) {
        // SAFETY: It is this one's domain.
        unsafe { self.faults.set(self.as_raw(), queue) }
    }

    /// Where the page faults of its devices go, if they go anywhere.
    pub(super) fn faults(&self) -> Option<&Arc<FaultQueue>> {
        self.faults.get()
    }

    /// Whether the same IOMMU driver made both domains.
    pub(super) fn has_driver_of(&self, other: &Self) -> bool {
        core::ptr::eq(self.owner(), other.owner())
    }

    fn owner(&self) -> *const bindings::iommu_ops {
        // SAFETY: By the type invariant the domain is there; who made it does not change.
        unsafe { (*self.as_raw()).owner }
    }

    /// Whether it is for devices that an IOMMU translates for. The others do DMA to whichever
    /// memory they like.
    pub(crate) fn translates(&self) -> bool {
        self.translates
    }

    /// Whether devices cannot circumvent the CPU's caches.
    pub(crate) fn enforces_snoop(&self) -> bool {
        self.enforces_snoop
    }

    /// The page sizes of the format: bit n stands for 2^n bytes.
    pub(crate) fn pgsize_bitmap(&self) -> u64 {
        // SAFETY: By the type invariant the domain is there; its format does not change once it
        // is set up.
        unsafe { (*self.as_raw()).pgsize_bitmap as u64 }
    }

    /// The size of the smallest page of the format.
    #[inline]
    pub(crate) fn smallest_page(&self) -> u64 {
        let bitmap = self.pgsize_bitmap();
        bitmap & bitmap.wrapping_neg()
    }

    /// The addresses that the format can translate.
    pub(crate) fn aperture(&self) -> Option<IovaRange> {
        // SAFETY: As in `pgsize_bitmap`.
        let geometry = unsafe { (*self.as_raw()).geometry };
        IovaRange::new(geometry.aperture_start, geometry.aperture_end)
    }

    /// Lets the IOMMU core place the doorbells of message-signalled interrupts from `base` on.
    ///
    /// # Errors
    ///
    /// `ENOMEM`. Where the architecture needs no such region nothing happens.
    pub(super) fn set_sw_msi(&self, base: u64) -> Result {
        // SAFETY: The domain is valid, unmanaged, and has no cookie yet: this is called once.
        match to_result(unsafe { bindings::iommu_get_msi_cookie(self.as_raw(), base) }) {
            Err(e) if e == ENODEV => Ok(()),
            result => result,
        }
    }

    /// What is mapped at `iova`, if anything is.
    pub(crate) fn translate(&self, iova: u64) -> Option<u64> {
        if !self.translates {
            return None;
        }
        // SAFETY: The domain is valid, and has a page table.
        let address = unsafe { bindings::iommu_iova_to_phys(self.as_raw(), iova) };
        (address != 0).then_some(address)
    }

    /// Maps the page at `iova` that another domain has there for interrupts, if it has one.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or what the IOMMU driver says.
    ///
    /// # Safety
    ///
    /// No memory is mapped at `iova` in the other domain: it is in a region for doorbells.
    pub(super) unsafe fn map_doorbell_of(&self, other: &Self, iova: u64) -> Result {
        let Some(doorbell) = other.translate(iova) else {
            return Ok(());
        };
        let prot = bindings::IOMMU_WRITE | bindings::IOMMU_NOEXEC | bindings::IOMMU_MMIO;
        // SAFETY: The domain is valid; addresses and size are multiples of the page size. What is
        // there is no memory that could go, but a register, as the caller promises.
        to_result(unsafe {
            bindings::iommu_map(
                self.as_raw(),
                iova as c_ulong,
                doorbell,
                PAGE_SIZE,
                prot as c_int,
                bindings::GFP_KERNEL_ACCOUNT,
            )
        })
    }

    /// Maps `runs`, one after the other, from `iova` on: page by page unless pages may be `large`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or what the IOMMU driver says; the domain is then as before.
    ///
    /// # Safety
    ///
    /// The pages stay pinned until [`Self::unmap`] has unmapped them, and [`Self::may_still_map`]
    /// denies that any is left, or else until the domain is gone. Nobody else maps or unmaps at
    /// these addresses at the same time, and no device on the domain has reserved them.
    #[inline(always)]
    pub(crate) unsafe fn map(
        &self,
        iova: u64,
        runs: &[PinnedRun],
        prot: Prot,
        large: bool,
    ) -> Result {
        if let [run] = runs {
            // SAFETY: The caller's promise is about this run.
            return unsafe { self.map_span(iova, run.span(), prot, large) };
        }
        if large {
            return self.map_runs(iova, runs, prot);
        }
        // SAFETY: The caller's promise.
        unsafe { self.map_small(iova, runs, prot) }
    }

    /// As [`Self::map`], page by page.
    ///
    /// # Safety
    ///
    /// As there.
    unsafe fn map_small(&self, iova: u64, runs: &[PinnedRun], prot: Prot) -> Result {
        let mut next = iova;
        for span in runs.iter().map(PinnedRun::span) {
            // SAFETY: The caller's promise is about each run.
            let mapped = unsafe { self.map_span(next, span, prot, false) };
            if let Err(e) = mapped {
                // SAFETY: The addresses are the caller's, and were just mapped.
                unsafe { self.unmap(IovaRange::until(iova, next).into_iter()) };
                return Err(e);
            }
            next = next.wrapping_add(span.len());
        }
        Ok(())
    }

    /// Maps a part of a run at `iova`: page by page unless pages may be `large`.
    ///
    /// # Errors
    ///
    /// As [`Self::map`].
    ///
    /// # Safety
    ///
    /// As [`Self::map`].
    #[inline(always)]
    pub(crate) unsafe fn map_span(&self, iova: u64, span: Span, prot: Prot, large: bool) -> Result {
        if large || span.is_in_a_page() {
            return self.map_in_one(iova, span, prot);
        }
        self.map_pages(iova, span, prot, bindings::GFP_KERNEL_ACCOUNT)
    }

    /// As [`Self::map_span`], for a part of a device's memory, where no memory for page tables can
    /// be waited for.
    ///
    /// # Errors
    ///
    /// As there; `ENOMEM`: there was none at once.
    ///
    /// # Safety
    ///
    /// As there; the memory is the caller's to give away until then.
    pub(super) unsafe fn map_device(
        &self,
        iova: u64,
        span: Span,
        prot: Prot,
        large: bool,
    ) -> Result {
        const AT_ONCE: bindings::gfp_t = bindings::GFP_NOWAIT | 1 << bindings::___GFP_ACCOUNT_BIT;
        if large {
            return self.map_with(iova, span, prot, AT_ONCE);
        }
        self.map_pages(iova, span, prot, AT_ONCE)
    }

    #[inline(never)]
    fn map_pages(&self, iova: u64, span: Span, prot: Prot, gfp: bindings::gfp_t) -> Result {
        let mut next = iova;
        for page in span.pages() {
            if let Err(e) = self.map_with(next, page, prot, gfp) {
                // SAFETY: The addresses are the caller's, and were just mapped.
                unsafe { self.unmap(IovaRange::until(iova, next).into_iter()) };
                return Err(e);
            }
            next = next.wrapping_add(page.len());
            task::resched();
        }
        Ok(())
    }

    fn map_in_one(&self, iova: u64, span: Span, prot: Prot) -> Result {
        self.map_with(iova, span, prot, bindings::GFP_KERNEL_ACCOUNT)
    }

    #[inline(always)]
    fn map_with(&self, iova: u64, span: Span, prot: Prot, gfp: bindings::gfp_t) -> Result {
        if !self.translates {
            return Ok(());
        }
        if let Some(table) = &self.table {
            return self.map_table(table, iova, core::iter::once(span), prot, gfp);
        }
        // SAFETY: The domain is valid, and has a page table. Addresses and sizes are multiples of
        // its smallest page, or it says no. The callers of our callers keep what is there.
        to_result(unsafe {
            bindings::iommu_map(
                self.as_raw(),
                iova as c_ulong,
                span.address,
                span.len() as usize,
                prot.bits(),
                gfp,
            )
        })
    }

    /// Maps `spans` into its `table`, and tells the IOMMU once of all of them.
    #[inline(always)]
    fn map_table(
        &self,
        table: &Table,
        iova: u64,
        spans: impl Iterator<Item = Span>,
        prot: Prot,
        gfp: bindings::gfp_t,
    ) -> Result {
        let mut mapped = 0;
        // SAFETY: The addresses are the caller's. The callers of our callers keep what is there.
        let result = unsafe { table.map(iova, spans, prot.bits(), gfp, &mut mapped) };
        let result = result.and_then(|()| {
            // SAFETY: The domain is valid.
            to_result(unsafe { sys::iommufd_sync_map(self.as_raw(), iova as c_ulong, mapped) })
        });
        if result.is_err() {
            let mapped = IovaRange::with_len(iova, mapped as u64);
            // SAFETY: The addresses are the caller's, and were just mapped.
            unsafe { self.unmap(mapped.into_iter()) };
        }
        result
    }

    /// Maps `runs` in as few steps as the page table allows.
    fn map_runs(&self, iova: u64, runs: &[PinnedRun], prot: Prot) -> Result {
        if !self.translates {
            return Ok(());
        }
        if let Some(table) = &self.table {
            let spans = runs.iter().map(PinnedRun::span);
            return self.map_table(table, iova, spans, prot, bindings::GFP_KERNEL_ACCOUNT);
        }
        self.map_lists(iova, runs, prot)
    }

    fn map_lists(&self, iova: u64, runs: &[PinnedRun], prot: Prot) -> Result {
        let mut list = [const { MaybeUninit::uninit() }; LIST];
        // SAFETY: There is room for `LIST` entries, and no more are asked for.
        unsafe { bindings::sg_init_table(list.as_mut_ptr().cast(), LIST as c_uint) };
        let mut next = iova;
        for some in runs.chunks(LIST) {
            match self.map_list(next, some, &mut list, prot) {
                Ok(len) => next = next.wrapping_add(len),
                Err(e) => {
                    // SAFETY: The addresses are the caller's, and were just mapped.
                    unsafe { self.unmap(IovaRange::until(iova, next).into_iter()) };
                    return Err(e);
                }
            }
        }
        Ok(())
    }

    /// Maps as many runs as an initialised list has room for, and says how long they are: where
    /// an IOMMU has to be told of new mappings, that is once for all of them.
    fn map_list(
        &self,
        iova: u64,
        runs: &[PinnedRun],
        list: &mut [MaybeUninit<bindings::scatterlist>; LIST],
        prot: Prot,
    ) -> Result<u64> {
        for (run, entry) in runs.iter().zip(list.iter_mut()) {
            // CAST: The length of a run is 1 GiB at most.
            let len = run.len() as c_uint;
            // SAFETY: The entry is initialised; the pages exist, for they are pinned.
            unsafe { sys::iommufd_sg_set(entry.as_mut_ptr(), run.pfn() as c_ulong, len) };
        }
        // SAFETY: As in `map_in_one`; the list has an entry for each run.
        let mapped = unsafe {
            bindings::iommu_map_sg(
                self.as_raw(),
                iova as c_ulong,
                list.as_mut_ptr().cast(),
                runs.len() as c_uint,
                prot.bits(),
                bindings::GFP_KERNEL_ACCOUNT,
            )
        };
        // CAST: Negative values are error codes, which fit.
        u64::try_from(mapped).map_err(|_| Error::from_errno(mapped as c_int))
    }

    /// Removes the mappings of `ranges`, then makes sure that no IOTLB still has them.
    ///
    /// Afterwards [`Self::may_still_map`] says whether that was all.
    ///
    /// # Safety
    ///
    /// Nobody else maps or unmaps any of it at the same time. Each range is made of whole runs, as
    /// they were given to [`Self::map`].
    pub(crate) unsafe fn unmap(&self, ranges: impl Iterator<Item = IovaRange>) {
        let mut gather = Gather::new(self);
        for range in ranges {
            gather.unmap(&range);
            task::resched();
        }
    }
}

impl Domain {
    /// Whether the IOMMU driver has failed to unmap something there, so that devices may still
    /// get at the memory.
    #[inline]
    pub(crate) fn may_still_map(&self, range: IovaRange) -> bool {
        let leftover = self.leftover.get();
        leftover.is_some_and(|leftover| leftover.overlaps(&range))
    }
}

/// An IOMMU driver has a bug that would show in every call: one line of the log is enough.
#[cold]
fn warn_once() {
    do_once_lite! { warn_on!(true); }
}

impl Drop for Domain {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the domain is ours; whoever attached it held a reference.
        unsafe { bindings::iommu_domain_free(self.as_raw()) }
    }
}

/// Ranges of which the IOTLBs may still know what was there; dropping this flushes them.
pub(super) struct Gather<'a> {
    domain: &'a Domain,
    raw: MaybeUninit<bindings::iommu_iotlb_gather>,
    initialised: bool,
}

impl<'a> Gather<'a> {
    pub(super) fn new(domain: &'a Domain) -> Self {
        Self {
            domain,
            raw: MaybeUninit::uninit(),
            initialised: false,
        }
    }

    /// What C calls it by; it must not move any more.
    #[inline]
    pub(super) fn as_raw(&mut self) -> *mut bindings::iommu_iotlb_gather {
        if !self.initialised {
            // Here and not in `new`: there is a list head in it.
            // SAFETY: `raw` is valid for writing.
            unsafe { sys::iommufd_iotlb_gather_init(self.raw.as_mut_ptr()) };
            self.initialised = true;
        }
        self.raw.as_mut_ptr()
    }

    #[inline(always)]
    fn unmap(&mut self, range: &IovaRange) {
        if !self.domain.translates {
            return;
        }
        let gather = self.as_raw();
        let (domain, first, len) = (self.domain, range.first() as c_ulong, range.len() as usize);
        let done = match &domain.table {
            // SAFETY: The gather is initialised; the rest is the callers' promise.
            Some(table) => unsafe { table.unmap(range, gather) },
            // SAFETY: The domain is valid and the gather initialised.
            None => unsafe { bindings::iommu_unmap_fast(domain.as_raw(), first, len, gather) },
        };
        if done != len {
            self.domain.leftover.add(range);
            HAVE_LEFTOVERS.store(true, Relaxed);
            warn_once();
        }
    }
}

impl Drop for Gather<'_> {
    fn drop(&mut self) {
        if self.initialised {
            // SAFETY: The domain is valid and the gather initialised.
            unsafe { sys::iommufd_iotlb_sync(self.domain.as_raw(), self.raw.as_mut_ptr()) }
        }
    }
}

#[kunit_tests(iommufd_leftover)]
mod tests {
    use super::*;

    #[test]
    fn leftover() -> Result {
        let range = |first, last| IovaRange::new(first, last).ok_or(EINVAL);
        let leftover = Leftover::new();
        assert_eq!(leftover.get(), None);
        for (first, last, all) in [
            (40, 49, (40, 49)),
            (20, 29, (20, 49)),
            (25, 59, (20, 59)),
            (30, 35, (20, 59)),
            (u64::MAX, u64::MAX, (20, u64::MAX)),
        ] {
            leftover.add(&range(first, last)?);
            assert_eq!(leftover.get(), Some(range(all.0, all.1)?));
        }
        Ok(())
    }
}
