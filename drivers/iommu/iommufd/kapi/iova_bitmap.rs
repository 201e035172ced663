// SPDX-License-Identifier: GPL-2.0

//! Bitmaps of userspace's with a bit for each page of I/O addresses, which IOMMU drivers set.
//! Would become `rust/kernel/iommu/iova_bitmap.rs`.
//!
//! C header: [`include/linux/iova_bitmap.h`](srctree/include/linux/iova_bitmap.h)
//!
//! Of a bitmap, only what is needed for a while is pinned, and that before a driver looks at a page
//! table: what it reads there, and forgets, always has somewhere to go.

use crate::{
    iova::IovaRange,
    kapi::pin::{
        Batch,
        Pinner,
        Term, //
    }, //
};
use kernel::{
    bindings,
    page::PAGE_SIZE,
    prelude::*,
    sizes::SZ_1G, //
};

const PAGE: u64 = PAGE_SIZE as u64;
const BITS: u64 = u8::BITS as u64;

/// As many pages of a bitmap are pinned at once: with a bit for 4 KiB, it is less than 2 GiB that
/// they stand for.
const MOST: u64 = 16;

/// So many addresses are looked at in one go, from a multiple of it to the next: hardly any IOMMU
/// has pages that are larger.
const STRIDE: u64 = SZ_1G as u64;

/// Where a bitmap is, and what its bits stand for.
#[derive(Clone, Copy)]
struct Layout {
    /// All of them.
    range: IovaRange,
    /// One for each `1 << shift` addresses.
    shift: u32,
    /// Where the first is, in the current process.
    start: u64,
}

impl Layout {
    /// The number of the bit that stands for an address of the range.
    fn bit(&self, iova: u64) -> u64 {
        iova.wrapping_sub(self.range.first()) >> self.shift
    }

    /// How many bits stand for `range`, which is part of the whole.
    fn count(&self, range: IovaRange) -> u64 {
        (self.bit(range.last()) - self.bit(range.first())).saturating_add(1)
    }

    /// What of `range` the first `count` bits stand for that have anything to do with it.
    fn front(&self, range: IovaRange, count: u64) -> Option<IovaRange> {
        if count >= self.count(range) {
            return Some(range);
        }
        // The bit behind them stands for what is in the range: nothing overflows.
        let behind = (self.bit(range.first()) + count) << self.shift;
        IovaRange::until(range.first(), self.range.first() + behind)
    }

    /// Which page the first bit for `range` is in, and how many bits of the page come before.
    ///
    /// # Errors
    ///
    /// `EFAULT`: there is no such address.
    fn locate(&self, range: IovaRange) -> Result<(u64, u64)> {
        let bit = self.bit(range.first());
        let at = self.start.checked_add(bit / BITS).ok_or(EFAULT)?;
        Ok((at - at % PAGE, at % PAGE * BITS + bit % BITS))
    }
}

/// Both ranges, and what is between them.
fn hull(one: IovaRange, other: IovaRange) -> IovaRange {
    let first = one.first().min(other.first());
    IovaRange::new(first, one.last().max(other.last())).unwrap_or(one)
}

/// The part of `range` that is looked at first.
pub(crate) fn stride(range: IovaRange) -> Option<IovaRange> {
    let last = range.first() | (STRIDE - 1);
    IovaRange::new(range.first(), last.min(range.last()))
}

/// A bitmap of the current process.
///
/// # Invariants
///
/// `raw` is one of the kernel's own, for the same bits, that this owns.
pub(crate) struct UserBitmap {
    layout: Layout,
    #[cfg(CONFIG_IOMMUFD_DRIVER)]
    raw: core::ptr::NonNull<bindings::iova_bitmap>,
}

impl UserBitmap {
    /// A bitmap at `start` with a bit for each page of `range`. The size of the pages is the lowest
    /// power of two that is in `page_size`, which is not zero.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(range: IovaRange, page_size: u64, start: u64) -> Result<Self> {
        let shift = page_size.trailing_zeros();
        if shift >= u64::BITS {
            return Err(EINVAL);
        }
        Ok(Self {
            layout: Layout {
                range,
                shift,
                start,
            },
            #[cfg(CONFIG_IOMMUFD_DRIVER)]
            raw: kernels_own::alloc(range, 1 << shift, start)?,
        })
    }

    /// What its bits stand for.
    pub(crate) fn range(&self) -> IovaRange {
        self.layout.range
    }

    /// Whether one window shows all of it.
    pub(crate) fn is_small(&self) -> bool {
        let range = self.layout.range;
        // One page less, for it may begin in the middle of one.
        stride(range) == Some(range) && self.layout.count(range) <= (MOST - 1) * PAGE * BITS
    }

    /// Pins the first bits for `range`, which is part of the whole: as many as one window has.
    ///
    /// # Errors
    ///
    /// `EFAULT`: they cannot be written to. Those of [`Pinner::pin`].
    pub(crate) fn window<'a>(&self, range: IovaRange, pages: &'a mut Pages) -> Result<Window<'a>> {
        let layout = self.layout;
        let range = stride(range).ok_or(EINVAL)?;
        let (page, before) = layout.locate(range)?;
        let count = (before + layout.count(range))
            .div_ceil(PAGE * BITS)
            .min(MOST);
        let pages = pages.0.pin(page, count)?;
        if pages.npages() < count {
            return Err(EFAULT);
        }
        Ok(Window {
            #[cfg(not(CONFIG_IOMMUFD_DRIVER))]
            kind: ours::Kind::Window,
            layout,
            range: layout
                .front(range, count * PAGE * BITS - before)
                .ok_or(EFAULT)?,
            before,
            pages,
            is_changed: false,
            beside: [None; 2],
            #[cfg(CONFIG_IOMMUFD_DRIVER)]
            raw: self.raw,
        })
    }

    /// Sets the bits for `range`, which is part of the whole.
    ///
    /// # Errors
    ///
    /// Those of [`Self::window`].
    pub(crate) fn set(&self, range: IovaRange, pages: &mut Pages) -> Result {
        let mut rest = Some(range);
        while let Some(range) = rest {
            let mut window = self.window(range, pages)?;
            window.set(window.range);
            rest = range.behind(window.range.last());
        }
        Ok(())
    }
}

/// Room for the pages of a window.
pub(crate) struct Pages(Pinner<'static>);

impl Pages {
    /// For one window after the other.
    pub(crate) fn new() -> Self {
        Self(Pinner::new(true, Term::Short))
    }
}

/// A part of a bitmap, which is pinned.
#[cfg_attr(not(CONFIG_IOMMUFD_DRIVER), repr(C))]
pub(crate) struct Window<'a> {
    /// First, for it is how C's functions tell it from a whole one.
    #[cfg(not(CONFIG_IOMMUFD_DRIVER))]
    kind: ours::Kind,
    layout: Layout,
    /// What its bits stand for.
    range: IovaRange,
    /// How many bits of the pages are in front of them.
    before: u64,
    pages: Batch<'a>,
    is_changed: bool,
    /// What was to be set in front of them and behind, for an IOMMU has pages that end elsewhere;
    /// if that was more than one range, what is between them as well.
    beside: [Option<IovaRange>; 2],
    #[cfg(CONFIG_IOMMUFD_DRIVER)]
    raw: core::ptr::NonNull<bindings::iova_bitmap>,
}

impl Window<'_> {
    /// What its bits stand for.
    pub(crate) fn range(&self) -> IovaRange {
        self.range
    }

    /// What was to be set in front of it and behind, which is to be seen to by who has it.
    pub(crate) fn beside(&self) -> impl Iterator<Item = IovaRange> + 'static {
        self.beside.into_iter().flatten()
    }

    /// Sets the bits for what the whole bitmap has of `range`, as far as they are here.
    fn set(&mut self, range: IovaRange) {
        let Some(range) = self.layout.range.intersection(&range) else {
            return;
        };
        if let Some(here) = self.range.intersection(&range) {
            self.set_here(here);
        }
        let front = IovaRange::until(range.first(), self.range.first());
        let back = range.behind(self.range.last());
        for (beside, more) in self.beside.iter_mut().zip([front, back]) {
            // All of it may be there.
            if let Some(more) = more.and_then(|more| more.intersection(&range)) {
                *beside = Some(beside.map_or(more, |beside| hull(beside, more)));
            }
        }
    }

    fn set_here(&mut self, range: IovaRange) {
        const EACH: u64 = PAGE * BITS;
        let skipped = self.layout.bit(range.first()) - self.layout.bit(self.range.first());
        let mut next = self.before + skipped;
        let mut left = self.layout.count(range);
        while left > 0 {
            let (bit, count) = (next % EACH, left.min(EACH - next % EACH));
            // CAST: A page has fewer bits, and there are no more pages than these.
            self.pages
                .set_bits((next / EACH) as usize, bit as u32, count as u32);
            next += count;
            left -= count;
        }
        self.is_changed = true;
    }
}

impl Drop for Window<'_> {
    fn drop(&mut self) {
        if self.is_changed {
            self.pages.mark_dirty();
        }
    }
}

/// Kernels without drivers that set bits have no bitmaps either: these are ours.
#[cfg(not(CONFIG_IOMMUFD_DRIVER))]
pub(crate) mod ours {
    use super::*;
    use crate::kapi::task;

    /// What a `struct iova_bitmap` is.
    #[derive(Clone, Copy, PartialEq, Eq)]
    #[repr(u8)]
    pub(super) enum Kind {
        /// A [`Whole`].
        Whole,
        /// A [`Window`].
        Window,
    }

    /// A bitmap of which a driver has had nothing pinned.
    #[repr(C)]
    pub(crate) struct Whole {
        /// As in [`Window`].
        kind: Kind,
        bitmap: UserBitmap,
    }

    impl Whole {
        /// As [`UserBitmap::new`].
        ///
        /// # Errors
        ///
        /// `ENOMEM`.
        pub(crate) fn new(bitmap: UserBitmap) -> Result<KBox<Self>> {
            let whole = Self {
                kind: Kind::Whole,
                bitmap,
            };
            Ok(KBox::new(whole, GFP_KERNEL_ACCOUNT)?)
        }

        /// Calls `look` with one part after the other, until it says something else than 0, which
        /// is returned then. What it has set beside of a part is in the bitmap before the next.
        ///
        /// # Errors
        ///
        /// `EINTR`: the caller has been killed. Those of [`UserBitmap::window`].
        pub(crate) fn for_each(
            &self,
            mut look: impl FnMut(*mut bindings::iova_bitmap, IovaRange) -> c_int,
        ) -> Result<c_int> {
            let mut pages = Pages::new();
            let mut rest = Some(self.bitmap.range());
            while let Some(range) = rest {
                task::resched_killable()?;
                let mut window = self.bitmap.window(range, &mut pages)?;
                let here = window.range();
                let said = look(window.as_raw(), here);
                let beside = window.beside();
                drop(window);
                for more in beside {
                    self.bitmap.set(more, &mut pages)?;
                }
                if said != 0 {
                    return Ok(said);
                }
                rest = range.behind(here.last());
            }
            Ok(0)
        }

        /// Sets the bits for what it has of `range`. What cannot be written to is left out.
        fn set(&self, range: IovaRange) {
            if let Some(range) = self.bitmap.range().intersection(&range) {
                // The function that C has for it cannot fail.
                let _ = self.bitmap.set(range, &mut Pages::new());
            }
        }
    }

    impl Window<'_> {
        /// What C calls it by.
        pub(in crate::kapi) fn as_raw(&mut self) -> *mut bindings::iova_bitmap {
            (&raw mut *self).cast()
        }
    }

    /// Sets the bits for `length` addresses from `iova` on.
    ///
    /// # Safety
    ///
    /// `bitmap` is a [`Whole`], or what [`Window::as_raw`] has returned, and nobody else has it.
    #[no_mangle]
    pub(crate) unsafe extern "C" fn iova_bitmap_set(
        bitmap: *mut bindings::iova_bitmap,
        iova: c_ulong,
        length: usize,
    ) {
        let Ok(range) = IovaRange::with_len(iova as u64, length as u64) else {
            return;
        };
        // SAFETY: By the contract; both begin with it.
        if unsafe { bitmap.cast::<Kind>().read() } == Kind::Whole {
            // SAFETY: By the contract it is one.
            unsafe { &*bitmap.cast::<Whole>() }.set(range);
        } else {
            // SAFETY: By the contract it is one.
            unsafe { &mut *bitmap.cast::<Window<'_>>() }.set(range);
        }
    }
}

/// Where drivers set bits, they do so in the kernel's own bitmaps. These pin what they write to
/// themselves, and lose what they cannot write to; it is pinned already, so that they find it
/// unless userspace takes it away.
#[cfg(CONFIG_IOMMUFD_DRIVER)]
mod kernels_own {
    use super::*;
    use crate::sys;
    use core::ptr::NonNull;
    use kernel::error::from_err_ptr;

    pub(super) fn alloc(
        range: IovaRange,
        page_size: u64,
        start: u64,
    ) -> Result<NonNull<bindings::iova_bitmap>> {
        // SAFETY: Has no preconditions; the bitmap is looked at when it is used.
        let raw = unsafe {
            sys::iova_bitmap_alloc(
                range.first() as c_ulong,
                range.len() as usize,
                page_size as c_ulong,
                core::ptr::without_provenance_mut(start as usize),
            )
        };
        NonNull::new(from_err_ptr(raw)?).ok_or(ENOMEM)
    }

    impl Drop for UserBitmap {
        fn drop(&mut self) {
            // SAFETY: By the type invariant.
            unsafe { sys::iova_bitmap_free(self.raw.as_ptr()) }
        }
    }

    impl Window<'_> {
        /// What C calls it by.
        pub(in crate::kapi) fn as_raw(&mut self) -> *mut bindings::iova_bitmap {
            self.raw.as_ptr()
        }
    }
}

#[kunit_tests(iommufd_iova_bitmap)]
mod tests {
    use super::*;

    fn layout(first: u64, last: u64, shift: u32, start: u64) -> Result<Layout> {
        Ok(Layout {
            range: IovaRange::new(first, last).ok_or(EINVAL)?,
            shift,
            start,
        })
    }

    #[test]
    fn bits() -> Result {
        const TOP: u64 = u64::MAX;
        // What the bits stand for, for how much each, an address, and its bit.
        for (first, last, shift, iova, bit) in [
            (0, 0xffff, 12, 0, 0),
            (0, 0xffff, 12, 0xfff, 0),
            (0, 0xffff, 12, 0x1000, 1),
            (0x4000, 0xffff, 12, 0xffff, 11),
            (0, TOP, 63, TOP, 1),
            (0, TOP, 63, TOP >> 1, 0),
            (0, TOP, 0, TOP, TOP),
            (1 << 63, TOP, 63, TOP, 0),
        ] {
            assert_eq!(layout(first, last, shift, 0)?.bit(iova), bit);
        }
        assert_eq!(layout(0, TOP, 0, 0)?.count(IovaRange::ALL), TOP);
        assert_eq!(layout(0, TOP, 63, 0)?.count(IovaRange::ALL), 2);
        Ok(())
    }

    #[test]
    fn front() -> Result {
        const TOP: u64 = u64::MAX;
        // As above, a part of it, how many bits, and up to where they go.
        for (first, last, shift, part, count, end) in [
            (0, 0xffff, 12, (0, 0xffff), 16, 0xffff),
            (0, 0xffff, 12, (0, 0xffff), 99, 0xffff),
            (0, 0xffff, 12, (0, 0xffff), 1, 0xfff),
            (0x800, 0xffff, 12, (0x900, 0xffff), 1, 0x17ff),
            (0x800, 0xffff, 12, (0x900, 0xffff), 2, 0x27ff),
            (0, TOP, 63, (0, TOP), 1, TOP >> 1),
            (0, TOP, 63, (0, TOP), 2, TOP),
            (0, TOP, 0, (TOP - 9, TOP), 10, TOP),
            (0, TOP, 0, (TOP - 9, TOP), 9, TOP - 1),
        ] {
            let whole = layout(first, last, shift, 0)?;
            let part = IovaRange::new(part.0, part.1).ok_or(EINVAL)?;
            let front = whole.front(part, count).ok_or(EINVAL)?;
            assert_eq!((front.first(), front.last()), (part.first(), end));
        }
        Ok(())
    }

    #[test]
    fn places() -> Result {
        let whole = layout(0x10000, u64::MAX, 12, 3 * PAGE - 1)?;
        // An address, the page of its bit, and how many bits are before it.
        for (iova, page, before) in [
            (0x10000, 2 * PAGE, PAGE * 8 - 8),
            (0x17000, 2 * PAGE, PAGE * 8 - 1),
            (0x18000, 3 * PAGE, 0),
            (0x21000, 3 * PAGE, 9),
        ] {
            let part = IovaRange::new(iova, iova).ok_or(EINVAL)?;
            assert_eq!(whole.locate(part)?, (page, before));
        }
        let high = layout(0, u64::MAX, 0, u64::MAX)?;
        assert_eq!(high.locate(IovaRange::new(7, 7).ok_or(EINVAL)?)?.1 % 8, 7);
        let beyond = IovaRange::new(8, 8).ok_or(EINVAL)?;
        assert_eq!(high.locate(beyond).err(), Some(EFAULT));
        Ok(())
    }

    #[test]
    fn strides() -> Result {
        for (first, last, end) in [
            (0, u64::MAX, STRIDE - 1),
            (STRIDE - 1, STRIDE, STRIDE - 1),
            (5 * STRIDE + 7, 5 * STRIDE + 9, 5 * STRIDE + 9),
            (u64::MAX, u64::MAX, u64::MAX),
        ] {
            let range = IovaRange::new(first, last).ok_or(EINVAL)?;
            assert_eq!(stride(range), IovaRange::new(first, end));
        }
        Ok(())
    }
}
