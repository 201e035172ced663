// SPDX-License-Identifier: GPL-2.0

//! The memory behind an area: pinned runs, in the order of their I/O addresses.
//!
//! Both peers read every page back out of the I/O page table when they unmap. We keep what was
//! pinned, 8 bytes for each physically contiguous run, so that unmapping costs per run.

use crate::{
    iova::IovaRange,
    kapi::{
        pin::Batch,
        run::{
            PinnedRun,
            Span, //
        },
        task, //
    },
};
use core::{
    iter,
    mem::size_of,
    slice, //
};
use kernel::{
    alloc::flags::__GFP_NOWARN,
    page::{
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    prelude::*,
    warn_on, //
};

/// Some neighbouring pages, one at least, by their numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PageRange {
    first: u64,
    last: u64,
}

impl PageRange {
    /// The pages from number `first` to number `last`, which is no less.
    pub(crate) fn new(first: u64, last: u64) -> Self {
        Self { first, last }
    }

    /// All that have something of the `len` bytes, one at least, from byte `start` on.
    #[inline]
    pub(crate) fn of_bytes(start: u64, len: u64) -> Self {
        let last = start.wrapping_add(len.wrapping_sub(1));
        Self::new(start >> PAGE_SHIFT, last >> PAGE_SHIFT)
    }

    /// The number of the first page.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// The number of the last page.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// How many pages there are.
    #[inline]
    pub(crate) fn count(&self) -> u64 {
        self.last - self.first + 1
    }
}

/// As many runs as fit in a page.
const CHUNK: usize = PAGE_SIZE / size_of::<PinnedRun>();

/// How many bytes are unmapped before others get their turn.
const STRIDE: u64 = 256 << 20;

/// Pinned runs, in order. Dropping them unpins the pages.
///
/// The first run needs no memory of its own, for most areas have but one. The list of all others
/// has no bound, so that it does without contiguous memory.
pub(crate) struct Runs {
    first: PinnedRun,
    rest: Chunks,
}

/// A list of chunks. Most areas have none: there is not even an empty list then, which would cost
/// a call of the allocator, and room in every area.
struct Chunks(Option<KBox<KVVec<Chunk>>>);

impl Chunks {
    fn new(chunks: KVVec<Chunk>) -> Result<Self> {
        Ok(Self(Some(KBox::new(chunks, GFP_KERNEL_ACCOUNT)?)))
    }

    fn all(&self) -> &[Chunk] {
        self.0.as_ref().map_or(&[], |chunks| chunks)
    }

    fn all_mut(&mut self) -> &mut [Chunk] {
        self.0.as_mut().map_or(&mut [], |chunks| chunks)
    }
}

/// A page full of runs.
struct Chunk {
    /// How many pages come before it.
    skipped: u64,
    runs: KVec<PinnedRun>,
}

impl Chunk {
    /// How many pages come before the next one.
    fn end(&self) -> u64 {
        self.skipped
            .wrapping_add(self.runs.iter().map(PinnedRun::npages).sum())
    }
}

/// Chunks with room for a number of runs, which are put there one behind the other.
struct Room {
    chunks: Chunks,
    /// How many of them are full.
    full: usize,
}

impl Room {
    /// Room for `count` runs.
    fn new(count: usize) -> Result<Self> {
        let count = count.div_ceil(CHUNK);
        let mut chunks = KVVec::with_capacity(count, GFP_KERNEL_ACCOUNT | __GFP_NOWARN)?;
        for _ in 0..count {
            let runs = KVec::with_capacity(CHUNK, GFP_KERNEL_ACCOUNT)?;
            chunks.push_within_capacity(Chunk { skipped: 0, runs })?;
        }
        let chunks = Chunks::new(chunks)?;
        Ok(Self { chunks, full: 0 })
    }

    fn put(&mut self, run: PinnedRun) {
        let mut run = run;
        while let Some(chunk) = self.chunks.all_mut().get_mut(self.full) {
            match chunk.runs.push_within_capacity(run) {
                Ok(()) => return,
                Err(back) => run = back.0,
            }
            self.full += 1;
        }
        // More than there is room for: whoever did that has lost it, but devices have not.
        warn_on!(true);
        run.leak();
    }

    /// What was put there; `skipped` pages come before it.
    fn into_chunks(mut self, mut skipped: u64) -> Chunks {
        for chunk in self.chunks.all_mut() {
            chunk.skipped = skipped;
            skipped = chunk.end();
        }
        self.chunks
    }
}

impl Runs {
    /// A list of one run.
    pub(crate) fn new(first: PinnedRun) -> Self {
        Self {
            first,
            rest: Chunks(None),
        }
    }

    /// Appends what is pinned in `batch`; the last run goes on with it if it can.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; what was not appended is unpinned.
    #[inline(always)]
    pub(crate) fn extend(&mut self, mut batch: Batch<'_>) -> Result {
        // The runs of a batch are apart from each other: only the first can go on with another.
        let Some(first) = batch.next_run() else {
            return Ok(());
        };
        let last = self.rest.all_mut().last_mut();
        let last = last.and_then(|chunk| chunk.runs.last_mut());
        let mut next = last.unwrap_or(&mut self.first).append(first).err();
        while let Some(run) = next.or_else(|| batch.next_run()) {
            let room = self.room()?;
            room.push_within_capacity(run)?;
            while room.len() < CHUNK {
                let Some(run) = batch.next_run() else {
                    return Ok(());
                };
                room.push_within_capacity(run)?;
            }
            next = None;
        }
        Ok(())
    }

    /// A chunk with room for one more run at least.
    fn room(&mut self) -> Result<&mut KVec<PinnedRun>> {
        let full = |chunk: &Chunk| chunk.runs.len() == CHUNK;
        if self.rest.all().last().is_none_or(full) {
            let chunk = Chunk {
                skipped: self
                    .rest
                    .all()
                    .last()
                    .map_or(self.first.npages(), Chunk::end),
                runs: KVec::with_capacity(CHUNK, GFP_KERNEL_ACCOUNT)?,
            };
            if self.rest.0.is_none() {
                self.rest = Chunks::new(KVVec::new())?;
            }
            let chunks = self.rest.0.as_mut().ok_or(ENOMEM)?;
            chunks.push(chunk, GFP_KERNEL_ACCOUNT | __GFP_NOWARN)?;
        }
        let last = self.rest.all_mut().last_mut().ok_or(ENOMEM)?;
        Ok(&mut last.runs)
    }

    /// Cuts off what comes behind the first `npages` pages, some but not all.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; nothing has changed then.
    pub(crate) fn cut_off(&mut self, npages: u64) -> Result<Self> {
        // The run that the first page behind is in, and how many runs stay, that one included if
        // it stays in part.
        let (boundary, staying) = self.find(npages);
        let more = self.count().checked_sub(boundary + 1).ok_or(EINVAL)?;
        let keep = boundary + usize::from(staying > 0);
        let mut front = Room::new(keep.checked_sub(1).ok_or(EINVAL)?)?;
        let mut back = Room::new(more)?;
        // The second half begins with what is cut off a run, or else with a run.
        let mut first = match staying {
            0 => None,
            _ => Some(self.get_mut(boundary).ok_or(EINVAL)?.cut_off(staying)?),
        };
        // Nothing fails from here on: there is room for every run.
        let mut number = 0;
        for chunk in self.rest.0.take().into_iter().flat_map(KBox::into_inner) {
            for run in chunk.runs {
                number += 1;
                if number < keep {
                    front.put(run);
                } else if first.is_none() {
                    first = Some(run);
                } else {
                    back.put(run);
                }
            }
            task::resched();
        }
        self.rest = front.into_chunks(self.first.npages());
        let first = first.ok_or(EINVAL)?;
        Ok(Self {
            rest: back.into_chunks(first.npages()),
            first,
        })
    }

    fn get_mut(&mut self, number: usize) -> Option<&mut PinnedRun> {
        match number.checked_sub(1) {
            None => Some(&mut self.first),
            Some(number) => {
                let chunk = self.rest.all_mut().get_mut(number / CHUNK)?;
                chunk.runs.get_mut(number % CHUNK)
            }
        }
    }

    /// The number of runs.
    #[inline]
    pub(crate) fn count(&self) -> usize {
        // All chunks but the last are full.
        let chunks = self.rest.all();
        let last = chunks.last().map_or(0, |chunk| chunk.runs.len());
        1 + chunks.len().saturating_sub(1) * CHUNK + last
    }

    /// The runs but for the first `skip` and the last `keep`, in slices.
    #[inline]
    pub(crate) fn slices(&self, skip: usize, keep: usize) -> impl Iterator<Item = &[PinnedRun]> {
        let end = self.count().saturating_sub(keep);
        let mut at = skip;
        iter::from_fn(move || {
            let most = end.checked_sub(at).filter(|most| *most > 0)?;
            let slice = match at.checked_sub(1) {
                None => slice::from_ref(&self.first),
                Some(at) => self.rest.all().get(at / CHUNK)?.runs.get(at % CHUNK..)?,
            };
            let slice = slice.get(..most).unwrap_or(slice);
            at += slice.len();
            Some(slice)
        })
    }

    /// The run that page number `page` is in, and how many of its pages come before that.
    fn find(&self, page: u64) -> (usize, u64) {
        // Memory may be in millions of runs: all chunks but one are passed over at once.
        let rest = self.rest.all();
        let chunks = rest.partition_point(|chunk| chunk.skipped <= page);
        let chunk = chunks.checked_sub(1).and_then(|last| rest.get(last));
        let mut number = chunk.map_or(0, |_| 1 + (chunks - 1) * CHUNK);
        let mut skip = page - chunk.map_or(0, |chunk| chunk.skipped);
        for run in self.slices(number, 0).flatten() {
            if skip < run.npages() {
                break;
            }
            skip -= run.npages();
            number += 1;
        }
        (number, skip)
    }

    /// The runs from page number `skip` on, each with how many of its pages come before that.
    pub(crate) fn after(&self, skip: u64) -> After<'_> {
        let (number, skip) = self.find(skip);
        let slice = self.slices(number, 0).next().unwrap_or_default();
        // The first run is in none.
        let chunks = number.checked_sub(1).map_or(0, |number| number / CHUNK + 1);
        After {
            slice: slice.iter(),
            chunks: self.rest.all().get(chunks..).unwrap_or_default().iter(),
            skip,
        }
    }

    /// The parts to unmap `area` in, which it is mapped in from the start on; see [`strides`].
    pub(crate) fn strides(&self, area: IovaRange) -> impl Iterator<Item = IovaRange> + '_ {
        strides(Some(area), 0, |skip, look| {
            self.after(skip).all(|(run, skipped)| look(run, skipped));
        })
    }
}

/// The parts to unmap `area` in, so that others get their turn in between. A domain cannot cut
/// what was mapped in one call: each part ends where physical memory does not go on.
///
/// `each_run` shows the runs from a page of the area on, each with how many of its pages come
/// before, until it is told `false`. The area begins with byte `offset` of the first page.
#[inline]
pub(crate) fn strides<'a>(
    area: Option<IovaRange>,
    offset: u64,
    each_run: impl Fn(u64, Look<'_>) + 'a,
) -> impl Iterator<Item = IovaRange> + 'a {
    let mut rest = area;
    let mut offset = offset;
    let mut skip = 0;
    iter::from_fn(move || {
        let all = rest.take()?;
        // Most areas have no more than one.
        if all.last() - all.first() < STRIDE {
            return Some(all);
        }
        let npages = stride(skip, &each_run);
        skip += npages;
        let next = all.after((npages << PAGE_SHIFT).wrapping_sub(offset));
        offset = 0;
        rest = next.filter(|_| npages > 0);
        let Some(next) = rest else { return Some(all) };
        IovaRange::until(all.first(), next.first())
    })
}

/// What is shown runs, each with how many of its pages come before, until it says `false`.
pub(crate) type Look<'a> = &'a mut dyn FnMut(&PinnedRun, u64) -> bool;

/// Shows what of the runs that `each_run` shows makes up `area`, from byte `offset` of the first
/// page on, to `look`: each span with its I/O address.
///
/// # Errors
///
/// Those of `look`, with which it ends.
pub(crate) fn each_span(
    area: IovaRange,
    offset: u64,
    mut look: impl FnMut(u64, Span) -> Result,
    each_run: impl FnOnce(Look<'_>),
) -> Result {
    let mut rest = Some(area);
    let mut offset = offset;
    let mut result = Ok(());
    each_run(&mut |run, skipped| {
        let span = run.span().after((skipped << PAGE_SHIFT) + offset);
        let (Some(all), Some(span)) = (rest, span) else {
            return false;
        };
        offset = 0;
        let span = span.front(all.len());
        result = look(all.first(), span);
        rest = all.after(span.len());
        result.is_ok()
    });
    result
}

/// How many pages the stride has that begins with page number `skip`.
#[inline(never)]
fn stride(skip: u64, each_run: &dyn Fn(u64, Look<'_>)) -> u64 {
    let mut npages = 0u64;
    let mut end = None;
    each_run(skip, &mut |run, skipped| {
        if npages >= STRIDE >> PAGE_SHIFT && end != Some(run.pfn()) {
            return false;
        }
        npages = npages.saturating_add(run.npages() - skipped);
        end = run.pfn().checked_add(run.npages());
        true
    });
    npages
}

/// The iterator that [`Runs::after`] returns.
pub(crate) struct After<'a> {
    slice: slice::Iter<'a, PinnedRun>,
    /// The chunks that come after that slice.
    chunks: slice::Iter<'a, Chunk>,
    /// How many pages of the first run are passed over.
    skip: u64,
}

impl<'a> Iterator for After<'a> {
    type Item = (&'a PinnedRun, u64);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(run) = self.slice.next() {
                return Some((run, core::mem::take(&mut self.skip)));
            }
            self.slice = self.chunks.next()?.runs.iter();
        }
    }
}

impl Drop for Runs {
    fn drop(&mut self) {
        let Some(chunks) = &mut self.rest.0 else {
            return;
        };
        while let Some(chunk) = chunks.pop() {
            drop(chunk);
            task::resched();
        }
    }
}

#[kunit_tests(iommufd_pages)]
mod tests {
    use super::*;
    use core::mem::{
        take,
        ManuallyDrop, //
    };

    const PAGE: u64 = PAGE_SIZE as u64;

    /// As many pages as are unmapped before others get their turn.
    const TURN: u64 = STRIDE >> PAGE_SHIFT;

    /// Runs of pages that nobody has pinned: nobody unpins them either.
    struct Unpinned(ManuallyDrop<Runs>);

    impl Drop for Unpinned {
        fn drop(&mut self) {
            let chunks = self.0.rest.0.take();
            for chunk in chunks.into_iter().flat_map(KBox::into_inner) {
                chunk.runs.into_iter().for_each(PinnedRun::leak);
            }
        }
    }

    /// Run number `number` of those that are tried: none of them goes on with the next.
    const fn npages_of(number: usize) -> u64 {
        1 + number as u64 % 3
    }

    const fn pfn_of(number: usize) -> u64 {
        10 + 10 * number as u64
    }

    fn run(number: usize) -> Result<PinnedRun> {
        let run = PinnedRun::not_pinned(pfn_of(number), npages_of(number)).ok_or(EINVAL)?;
        Ok(ManuallyDrop::into_inner(run))
    }

    fn runs(count: usize) -> Result<Unpinned> {
        let mut runs = Unpinned(ManuallyDrop::new(Runs::new(run(0)?)));
        for number in 1..count {
            runs.0.room()?.push_within_capacity(run(number)?)?;
        }
        Ok(runs)
    }

    /// How many pages come before a run.
    fn before(number: usize) -> u64 {
        (0..number).map(npages_of).sum()
    }

    /// The first and the last run of chunks, and those beside them.
    const EDGES: [usize; 9] = [
        0,
        1,
        2,
        CHUNK - 1,
        CHUNK,
        CHUNK + 1,
        CHUNK + 2,
        2 * CHUNK,
        2 * CHUNK + 1,
    ];

    const COUNTS: [usize; 6] = [1, 2, CHUNK, CHUNK + 1, CHUNK + 2, 2 * CHUNK + 2];

    #[test]
    fn page_ranges() {
        for (start, len, first, last) in [
            (0, 1, 0, 0),
            (0, PAGE, 0, 0),
            (0, PAGE + 1, 0, 1),
            (PAGE - 1, 1, 0, 0),
            (PAGE - 1, 2, 0, 1),
            (3 * PAGE, 2 * PAGE, 3, 4),
            (u64::MAX, 1, u64::MAX >> PAGE_SHIFT, u64::MAX >> PAGE_SHIFT),
        ] {
            let pages = PageRange::of_bytes(start, len);
            assert_eq!((pages.first(), pages.last()), (first, last));
            assert_eq!(pages.count(), last - first + 1);
        }
    }

    #[test]
    fn found() -> Result {
        for count in COUNTS {
            let runs = runs(count)?;
            assert_eq!(runs.0.count(), count);
            for number in EDGES.into_iter().filter(|number| *number < count) {
                for skip in 0..npages_of(number) {
                    let page = before(number) + skip;
                    assert_eq!(runs.0.find(page), (number, skip));
                    let mut after = runs.0.after(page);
                    let next = after.next().map(|(run, skipped)| (run.pfn(), skipped));
                    assert_eq!(next, Some((pfn_of(number), skip)));
                    assert!(after.all(|(_, skipped)| skipped == 0));
                    assert_eq!(runs.0.after(page).count(), count - number);
                }
            }
            assert_eq!(runs.0.find(before(count)), (count, 0));
            assert_eq!(runs.0.after(before(count)).count(), 0);
        }
        Ok(())
    }

    #[test]
    fn in_slices() -> Result {
        for count in COUNTS {
            let runs = runs(count)?;
            for skip in EDGES.into_iter().filter(|skip| *skip <= count) {
                for keep in EDGES.into_iter().filter(|keep| skip + keep <= count) {
                    let pfns = runs.0.slices(skip, keep).flatten().map(PinnedRun::pfn);
                    assert!(pfns.eq((skip..count - keep).map(pfn_of)));
                }
            }
            assert!(runs.0.slices(0, count + 1).next().is_none());
            assert!(runs.0.slices(1, 0).all(|slice| slice.len() <= CHUNK));
        }
        Ok(())
    }

    /// Whether these are the runs from number `first` on, of the first of which `skip` pages are
    /// missing, up to `end`, of which there are `more` pages.
    fn are(runs: &Runs, first: usize, skip: u64, end: usize, more: u64) -> bool {
        let mut whole = (first..end).map(|number| (pfn_of(number), npages_of(number)));
        let cut = skip > 0;
        let front = if cut { whole.next() } else { None };
        let front = front.map(|(pfn, npages)| (pfn + skip, npages - skip));
        let back = (more > 0).then_some((pfn_of(end), more));
        let want = Iterator::chain(Iterator::chain(front.into_iter(), whole), back);
        let got = runs.slices(0, 0).flatten();
        got.map(|run| (run.pfn(), run.npages())).eq(want)
    }

    #[test]
    fn cut() -> Result {
        for count in COUNTS {
            let total = before(count);
            for number in EDGES.into_iter().filter(|number| *number < count) {
                for more in 0..npages_of(number) {
                    let npages = before(number) + more;
                    if npages == 0 {
                        continue;
                    }
                    let mut front = runs(count)?;
                    let mut back = Unpinned(ManuallyDrop::new(front.0.cut_off(npages)?));
                    assert!(are(&front.0, 0, 0, number, more));
                    assert!(are(&back.0, number, more, count, 0));
                    // Pages are found as before, and there is room for more.
                    let last = (back.0.count() - 1, npages_of(count - 1) - 1);
                    let of_last = if back.0.count() == 1 { more } else { 0 };
                    assert_eq!(back.0.find(total - npages - 1), (last.0, last.1 - of_last));
                    assert_eq!(front.0.find(npages).0, front.0.count());
                    for half in [&mut front, &mut back] {
                        let count = half.0.count();
                        half.0.room()?.push_within_capacity(run(5)?)?;
                        assert_eq!(half.0.count(), count + 1);
                        let last = half.0.slices(count, 0).flatten().next();
                        assert_eq!(last.map(PinnedRun::pfn), Some(pfn_of(5)));
                    }
                }
            }
            let mut all = runs(count)?;
            for npages in [0, total, total + 1] {
                assert_eq!(all.0.cut_off(npages).map(forget_all), Err(EINVAL));
                assert!(are(&all.0, 0, 0, count, 0));
            }
        }
        Ok(())
    }

    fn forget_all(runs: Runs) {
        drop(Unpinned(ManuallyDrop::new(runs)));
    }

    /// Shows runs of these first page frames and lengths, as [`Runs::after`] has them.
    fn show<'a>(runs: &'a [(u64, u64)]) -> impl Fn(u64, Look<'_>) + 'a {
        move |skip, look| {
            let mut skip = skip;
            for (pfn, npages) in runs {
                if skip >= *npages {
                    skip -= npages;
                    continue;
                }
                let Some(run) = PinnedRun::not_pinned(*pfn, *npages) else {
                    return;
                };
                if !look(&run, take(&mut skip)) {
                    return;
                }
            }
        }
    }

    #[test]
    fn in_strides() -> Result {
        assert!(strides(None, 0, show(&[(0, 1)])).next().is_none());
        for (pages, shown, parts) in [
            // As much as others wait for at once is one part.
            (TURN, &[(0, 1), (9 * TURN, TURN - 1)][..], &[TURN][..]),
            (TURN + 1, &[(0, TURN), (9 * TURN, 1)], &[TURN, 1]),
            (2 * TURN, &[(0, TURN), (9 * TURN, TURN)], &[TURN, TURN]),
            // No part ends where memory goes on.
            (2 * TURN, &[(0, TURN), (TURN, TURN)], &[2 * TURN]),
            (3 * TURN, &[(0, 3 * TURN)], &[3 * TURN]),
            (
                2 * TURN + 1,
                &[(0, TURN - 1), (5 * TURN, 2), (9 * TURN, TURN)],
                &[TURN + 1, TURN],
            ),
            (
                2 * TURN + 12,
                &[(0, TURN + 5), (9 * TURN, TURN), (20 * TURN, 7)],
                &[TURN + 5, TURN, 7],
            ),
            // What nothing is known of is one.
            (2 * TURN, &[], &[2 * TURN]),
        ] {
            // The last of these areas end where all addresses do.
            let top = 0u64.wrapping_sub(pages * PAGE);
            for (base, offset) in [(0, 0), (0, 8), (0, PAGE - 1), (top, 0), (top, 8)] {
                let area = IovaRange::with_len(base + offset, pages * PAGE - offset)?;
                let mut next = base + offset;
                let mut got = strides(Some(area), offset, show(shown));
                for (number, part) in parts.iter().enumerate() {
                    let skipped = if number == 0 { offset } else { 0 };
                    let part = IovaRange::with_len(next, part * PAGE - skipped)?;
                    // By `offset` shorter, the last may fit in one.
                    let all = parts.len() > 1 && area.len() <= STRIDE;
                    assert_eq!(got.next(), Some(if all { area } else { part }));
                    if all {
                        break;
                    }
                    next = part.last().wrapping_add(1);
                }
                assert_eq!(got.next(), None);
            }
        }
        Ok(())
    }

    #[test]
    fn turns() -> Result {
        let shown = show(&[(0, TURN), (9 * TURN, TURN)]);
        for (skip, npages) in [(0, TURN), (1, 2 * TURN - 1), (TURN, TURN), (2 * TURN, 0)] {
            assert_eq!(stride(skip, &shown), npages);
        }
        let mut all = runs(1)?;
        for pfn in [TURN, 9 * TURN] {
            let run = PinnedRun::not_pinned(pfn, TURN).ok_or(EINVAL)?;
            let run = ManuallyDrop::into_inner(run);
            all.0.room()?.push_within_capacity(run)?;
        }
        let area = IovaRange::with_len(0, (2 * TURN + 1) * PAGE)?;
        let lens = all.0.strides(area).map(|part| part.len() / PAGE);
        assert!(lens.eq([TURN + 1, TURN]));
        Ok(())
    }

    #[test]
    fn spans() -> Result {
        let runs = [(1, 2), (9, 1), (4, 3)];
        for (offset, len, want) in [
            (0, 1, &[(0, PAGE, 1)][..]),
            (0, 2 * PAGE, &[(0, PAGE, 2 * PAGE)]),
            (
                16,
                3 * PAGE - 20,
                &[
                    (0, PAGE + 16, 2 * PAGE - 16),
                    (2 * PAGE - 16, 9 * PAGE, PAGE - 4),
                ],
            ),
            (
                PAGE - 1,
                3 * PAGE + 1,
                &[
                    (0, 2 * PAGE - 1, PAGE + 1),
                    (PAGE + 1, 9 * PAGE, PAGE),
                    (2 * PAGE + 1, 4 * PAGE, PAGE),
                ],
            ),
        ] {
            let iova = 100 * PAGE;
            let area = IovaRange::with_len(iova, len)?;
            let mut want = want.iter();
            let mut look = |at: u64, span: Span| {
                let got = (at - iova, span.address(), span.len());
                assert_eq!(Some(&got), want.next());
                Ok(())
            };
            each_span(area, offset, &mut look, |look| show(&runs)(0, look))?;
            assert_eq!(want.next(), None);
        }
        Ok(())
    }

    #[test]
    fn spans_from_within() -> Result {
        // The first of the runs is passed over in part.
        let area = IovaRange::with_len(0, 2 * PAGE)?;
        let mut spans = 0;
        let mut look = |_, span: Span| {
            spans += 1;
            assert_eq!((span.address(), span.len()), (3 * PAGE + 5, 2 * PAGE));
            Ok(())
        };
        each_span(area, 5, &mut look, |look| show(&[(1, 6)])(2, look))?;
        assert_eq!(spans, 1);
        // Who looks may end it.
        let mut looks = 0;
        let look = |_, _| {
            looks += 1;
            Err(EFAULT)
        };
        let failed = each_span(area, 0, look, |look| show(&[(1, 1), (5, 1)])(0, look));
        assert_eq!((failed, looks), (Err(EFAULT), 1));
        Ok(())
    }
}
