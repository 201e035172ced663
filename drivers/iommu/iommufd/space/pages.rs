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
        if first.is_none() && self.count() <= keep {
            return Err(EINVAL);
        }
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
