// SPDX-License-Identifier: GPL-2.0

//! Memory that is brought ahead of whoever pins it, by several threads.
//!
//! What a map of untouched memory takes long for is to get it and to clear it. So when one turns
//! out to take long for that, other threads of the process go ahead: each takes some of the
//! memory, a unit, pins it, and lets go of it at once. It is there then, where it may be pinned
//! for long. The one who maps still pins all of it himself, in order. So nothing depends on them:
//! what they meet, a hole, a limit, a signal, ends them in silence, and he will meet it, in its
//! turn.
//!
//! He never waits for them either. Where another one is about the memory that he needs, he
//! brings what nobody has taken yet, and when there is no more of that he goes on regardless.

use crate::{
    kapi::{
        params,
        worker::{
            self,
            Work,
            Worker, //
        }, //
    },
    space::pages::PageRange, //
};
use core::{
    mem::replace,
    num::NonZeroU64, //
};
use kernel::{
    new_spinlock,
    page::PAGE_SHIFT,
    prelude::*,
    sizes::{
        SZ_32M,
        SZ_8M, //
    },
    sync::{
        atomic::{
            ordering::Relaxed,
            AtomicFlag, //
        },
        Arc,
        SpinLock, //
    },
    time::{
        Delta,
        Instant,
        Monotonic, //
    }, //
};

/// What a thread takes at a time, in pages, at the least. Two of them are what nobody else comes
/// for.
const UNIT: u64 = SZ_32M as u64 >> PAGE_SHIFT;

/// The same where tests want as many units as there can be.
const TEST_UNIT: u64 = 16;

/// Nobody else comes before so many pages, and so much time.
const ALONE: u64 = SZ_8M as u64 >> PAGE_SHIFT;
const ALONE_FOR: Delta = Delta::from_micros(500);

/// Nor do more pages than these go by before it is looked again whether they should.
const PAUSE: u64 = 2 * UNIT;

/// How many threads there are in all, if nobody has said, and at most.
const DEFAULT_THREADS: u64 = 8;
const MOST_THREADS: u64 = 64;

/// Memory that can be brought.
pub(crate) trait Bring: Send + Sync + 'static {
    /// Has memory for `pages` come, from the first on, as long as it `goes_on`.
    ///
    /// # Errors
    ///
    /// Whatever ends that before. Nobody needs to be told.
    fn bring(&self, pages: PageRange, goes_on: &dyn Fn() -> bool) -> Result;

    /// A number that changes when the current thread has memory come.
    fn count(&self) -> u64;

    /// As many pages as come at once, one at least, at page number `page`.
    fn step(&self, page: u64) -> u64;

    /// Whether it is known that nothing of what surrounds page number `page` has come yet.
    fn is_untouched(&self, page: u64) -> bool;
}

/// Who is about which pages.
struct Claims {
    /// The first that nobody has taken, and the one behind the last.
    next: u64,
    end: u64,
    unit: NonZeroU64,
    /// What each of the others has taken.
    taken: KVec<Option<PageRange>>,
}

impl Claims {
    /// What is left of `pages` from number `next` on, for `others`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    fn new(pages: PageRange, next: u64, unit: NonZeroU64, others: usize) -> Result<Self> {
        Ok(Self {
            next,
            end: pages.last() + 1,
            unit,
            taken: KVec::from_elem(None, others, GFP_KERNEL)?,
        })
    }

    /// Takes what comes next, up to a multiple of the unit; `None` if there is nothing.
    fn take(&mut self) -> Option<PageRange> {
        let last = self.end.checked_sub(1).filter(|last| self.next <= *last)?;
        let to_end_of_unit = self.unit.get() - self.next % self.unit;
        let last = last.min(self.next.saturating_add(to_end_of_unit - 1));
        let taken = PageRange::new(self.next, last);
        self.next = last + 1;
        Some(taken)
    }

    /// The same for one of the others, who is done with what he had.
    fn take_for(&mut self, number: usize) -> Option<PageRange> {
        let taken = self.take();
        if let Some(claim) = self.taken.get_mut(number) {
            *claim = taken;
        }
        taken
    }

    /// The first page behind `page` that somebody else is about, or that nobody has taken:
    /// `page` itself, if that is one.
    fn free_until(&self, page: u64) -> u64 {
        let taken = self.taken.iter().flatten();
        let met = taken.filter(|taken| taken.last() >= page);
        let first = met.map(|taken| taken.first().max(page)).min();
        first.map_or(self.next, |first| first.min(self.next))
    }
}

/// What all threads know.
#[pin_data]
struct Shared<B> {
    #[pin]
    claims: SpinLock<Claims>,
    is_over: AtomicFlag,
    memory: B,
}

impl<B: Bring> Shared<B> {
    fn goes_on(&self) -> bool {
        !self.is_over.load(Relaxed)
    }
}

/// What one of the others does.
struct Helper<B> {
    shared: Arc<Shared<B>>,
    number: usize,
}

impl<B: Bring> Work for Helper<B> {
    fn work(&self) {
        let shared = &*self.shared;
        let goes_on = || shared.goes_on();
        while goes_on() {
            let taken = shared.claims.lock().take_for(self.number);
            let Some(taken) = taken else { return };
            if shared.memory.bring(taken, &goes_on).is_err() {
                break;
            }
        }
        // What is left of that is the caller's.
        if let Some(claim) = shared.claims.lock().taken.get_mut(self.number) {
            *claim = None;
        }
    }
}

/// Others at work. Dropping this ends them.
struct Helpers<B: Bring> {
    shared: Arc<Shared<B>>,
    workers: KVec<Worker<Helper<B>>>,
}

impl<B: Bring> Helpers<B> {
    /// Has others bring what is left of `pages` from number `next` on, but for the first unit;
    /// `None` if there is nobody.
    fn start(memory: B, pages: PageRange, next: u64, unit: NonZeroU64) -> Option<Self> {
        let units = (pages.last() - next) / unit + 1;
        let threads = allowed_threads().min(worker::processors()).min(units);
        let others = usize::try_from(threads.checked_sub(1)?).ok()?;
        let mut claims = Claims::new(pages, next, unit, others).ok()?;
        claims.take();
        let shared = Arc::pin_init(
            pin_init!(Shared {
                claims <- new_spinlock!(claims, "iommufd_claims"),
                is_over: AtomicFlag::new(false),
                memory,
            }),
            GFP_KERNEL,
        );
        let mut workers = KVec::with_capacity(others, GFP_KERNEL).ok()?;
        let shared = shared.ok()?;
        for number in 0..others {
            let shared = shared.clone();
            // There may be a limit on threads, which is no reason to fail.
            let Some(worker) = Worker::start(Helper { shared, number }) else {
                break;
            };
            workers.push_within_capacity(worker).ok()?;
        }
        (!workers.is_empty()).then_some(Self { shared, workers })
    }

    /// The caller is at `page`: does what is left to be done before he pins it, and says up to
    /// where he need not ask again.
    fn reach(&self, page: u64) -> u64 {
        loop {
            let mut claims = self.shared.claims.lock();
            let until = claims.free_until(page);
            if until > page {
                return until;
            }
            let taken = claims.take();
            drop(claims);
            // Somebody is about this page, or nobody: meanwhile, the next that is free.
            match taken {
                None => return u64::MAX,
                Some(taken) if taken.first() == page => return taken.last() + 1,
                Some(taken) => {
                    if self.shared.memory.bring(taken, &|| true).is_err() {
                        return page + 1;
                    }
                }
            }
        }
    }
}

impl<B: Bring> Drop for Helpers<B> {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Relaxed);
        self.workers.clear();
    }
}

/// How many threads may bring the memory of a map, the caller included.
fn allowed_threads() -> u64 {
    match params::fill_threads() {
        0 => DEFAULT_THREADS,
        some => some.min(MOST_THREADS),
    }
}

/// Memory that somebody is about to pin, from the first page to the last.
pub(crate) struct Ahead<B: Bring> {
    pages: PageRange,
    /// There is nothing to do before this page is reached.
    until: u64,
    state: State<B>,
}

enum State<B: Bring> {
    /// There is nobody else, nor will there be.
    Alone,
    /// It has yet to be found out whether others would be of use.
    Watching {
        memory: B,
        /// When that began.
        since: Option<Instant<Monotonic>>,
        /// What [`Bring::count`] said last.
        count: u64,
        /// So many pages go by until it is asked again: the more, the more was there already.
        pause: u64,
    },
    /// There are others.
    Helped(Helpers<B>),
}

impl<B: Bring> Ahead<B> {
    /// Nobody is there yet, nor will be if there is no `memory` that others can bring.
    pub(crate) fn new(pages: PageRange, memory: impl FnOnce() -> Option<B>) -> Self {
        let is_much = pages.count() > 2 * UNIT || params::fill_always();
        match is_much.then(memory).flatten() {
            None => Self {
                pages,
                until: u64::MAX,
                state: State::Alone,
            },
            Some(memory) => Self {
                pages,
                until: pages.first(),
                state: State::Watching {
                    memory,
                    since: None,
                    count: 0,
                    pause: ALONE,
                },
            },
        }
    }

    /// The caller is about to pin what comes from page number `page` on.
    #[inline]
    pub(crate) fn reach(&mut self, page: u64) {
        if page >= self.until {
            self.look(page);
        }
    }

    /// Has nobody else at the memory any more, nor again, and says whether somebody was.
    #[cold]
    pub(crate) fn go_on_alone(&mut self) -> bool {
        self.until = u64::MAX;
        matches!(replace(&mut self.state, State::Alone), State::Helped(_))
    }

    #[inline(never)]
    fn look(&mut self, page: u64) {
        if self.is_worth_it(page) {
            self.start(page);
        }
        self.until = match &self.state {
            State::Alone => u64::MAX,
            State::Watching { pause, .. } => page + pause,
            State::Helped(helpers) => helpers.reach(page),
        };
    }

    /// Whether others should come now.
    fn is_worth_it(&mut self, page: u64) -> bool {
        let State::Watching {
            memory,
            since,
            count,
            pause,
        } = &mut self.state
        else {
            return false;
        };
        let before = replace(count, memory.count());
        if params::fill_always() {
            return true;
        }
        match since {
            None => {
                *since = Some(Instant::now());
                // Of huge pages as large as that, the first alone would take too long.
                memory.step(page) >= UNIT && memory.is_untouched(page)
            }
            // Populated memory pays for no more than this.
            Some(_) if *count == before => {
                *pause = (*pause * 2).min(PAUSE);
                false
            }
            Some(since) => {
                *pause = ALONE;
                since.elapsed() >= ALONE_FOR
            }
        }
    }

    fn start(&mut self, page: u64) {
        let State::Watching { memory, .. } = replace(&mut self.state, State::Alone) else {
            return;
        };
        let least = if params::fill_always() {
            TEST_UNIT
        } else {
            UNIT
        };
        let unit = NonZeroU64::new(memory.step(page).max(least));
        let helpers = unit.and_then(|unit| Helpers::start(memory, self.pages, page, unit));
        if let Some(helpers) = helpers {
            self.state = State::Helped(helpers);
        }
    }
}

#[kunit_tests(iommufd_claims)]
mod tests {
    use super::*;

    fn range(first: u64, last: u64) -> Option<PageRange> {
        Some(PageRange::new(first, last))
    }

    fn claims(first: u64, last: u64, unit: u64) -> Result<Claims> {
        let unit = NonZeroU64::new(unit).ok_or(EINVAL)?;
        Claims::new(PageRange::new(first, last), first, unit, 2)
    }

    #[test]
    fn taken_in_units() -> Result {
        for (first, last, taken) in [
            (0, 24, [range(0, 9), range(10, 19), range(20, 24), None]),
            (7, 20, [range(7, 9), range(10, 19), range(20, 20), None]),
            (3, 3, [range(3, 3), None, None, None]),
            // As far up as there are pages.
            (
                (1 << 52) - 3,
                (1 << 52) - 1,
                [range((1 << 52) - 3, (1 << 52) - 1), None, None, None],
            ),
        ] {
            let mut claims = claims(first, last, 10)?;
            for taken in taken {
                assert_eq!(claims.take(), taken);
            }
        }
        Ok(())
    }

    #[test]
    fn free() -> Result {
        let mut claims = claims(0, 99, 10)?;
        // The caller has the first, the others the next two.
        assert_eq!(claims.take(), range(0, 9));
        assert_eq!(claims.free_until(0), 10);
        assert_eq!(claims.take_for(0), range(10, 19));
        assert_eq!(claims.take_for(1), range(20, 29));
        for (page, until) in [(0, 10), (9, 10), (10, 10), (19, 19), (25, 25), (30, 30)] {
            assert_eq!(claims.free_until(page), until);
        }
        // Who goes on is done with what he had.
        assert_eq!(claims.take_for(0), range(30, 39));
        for (page, until) in [(10, 20), (20, 20), (30, 30), (35, 35), (40, 40)] {
            assert_eq!(claims.free_until(page), until);
        }
        assert_eq!(claims.take_for(1), range(40, 49));
        assert_eq!(claims.free_until(10), 30);
        Ok(())
    }
}
