// SPDX-License-Identifier: GPL-2.0

//! Memory that several areas, and drivers, have parts of.
//!
//! What of it is pinned lies in pieces, each pinned and charged once, however many parts need it:
//! it goes with the last of them. A part is made of whole pieces, so that nothing has to be cut
//! when it goes: where it begins and ends, a piece is cut in two when the part comes to need it,
//! which may fail. What no part needs is in no piece.

use crate::{
    kapi::{
        access_ops::PageSlots,
        account::Charge,
        hw_queue::OnePiece,
        memfd::MemoryFile,
        run::PinnedRun,
        rwsem::{
            new_rwsem,
            RwSemaphore, //
        },
        task, //
    },
    space::{
        memory::Memory,
        pages::PageRange,
        pinning::{
            Held,
            Pinned,
            Source, //
        },
        progress::Progress, //
    }, //
};
use core::mem::{
    replace,
    MaybeUninit, //
};
use kernel::{
    new_mutex,
    page::{
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNodeReservation, //
    },
    sync::{
        atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        Arc,
        Mutex,
        UniqueArc, //
    }, //
};

/// What is pinned of a context's shared memory.
pub(crate) struct SharedTotals {
    /// Pages.
    pinned: Atomic<u64>,
    /// Those of them that count against a limit.
    charged: Atomic<u64>,
}

/// Memory that several have parts of. Its bytes are numbered from the start of its first page on.
#[pin_data]
struct Shared {
    /// The number of that page in the process or the file.
    first_page: u64,
    /// Whether devices and drivers may write to it.
    writable: bool,
    /// Whether it counts against a limit.
    limited: bool,
    totals: Arc<SharedTotals>,
    /// Held while something is being pinned, for which userspace may be waited for.
    #[pin]
    pinning: RwSemaphore<()>,
    /// Inner lock, held for moments.
    #[pin]
    pieces: Mutex<Pieces>,
    /// The file that it is of, which learns that nobody writes to it after that was unpinned.
    file: Option<Arc<MemoryFile>>,
}

struct Pieces {
    /// By the number of their last page.
    tree: RBTree<u64, Piece>,
    /// Who pays for the next one.
    charge: Charge,
}

/// Pages that are pinned.
struct Piece {
    /// The number of the first.
    first: u64,
    /// How many parts need it; one at least.
    needs: usize,
    pinned: Pinned,
}

/// A part of shared memory. While it is pinned it stays so.
pub(crate) struct Part {
    memory: Arc<Shared>,
    /// The number of its first byte.
    first: u64,
    /// How many bytes it has.
    len: u64,
    is_pinned: bool,
}

/// Where memory goes when it becomes shared, allocated before any lock is taken.
pub(crate) struct SharedRoom {
    shared: UniqueArc<MaybeUninit<Shared>>,
    node: RBTreeNodeReservation<u64, Piece>,
    totals: Arc<SharedTotals>,
}

impl SharedTotals {
    /// Nothing.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Arc<Self>> {
        let none = Self {
            pinned: Atomic::new(0),
            charged: Atomic::new(0),
        };
        Ok(Arc::new(none, GFP_KERNEL_ACCOUNT)?)
    }

    /// What they are at the moment.
    pub(crate) fn get(&self) -> Held {
        Held {
            pinned: self.pinned.load(Relaxed),
            charged: self.charged.load(Relaxed),
        }
    }
}

impl SharedRoom {
    /// Room for memory of the context that has `totals`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(totals: &Arc<SharedTotals>) -> Result<Self> {
        Ok(Self {
            totals: totals.clone(),
            shared: UniqueArc::new_uninit(GFP_KERNEL_ACCOUNT)?,
            node: RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?,
        })
    }
}

/// What comes next, for a part that comes to need it.
enum Next {
    /// A piece that ends with this page, and is needed once more.
    Piece(u64),
    /// Pages up to this one that are not pinned; with who pays for them.
    Gap(u64, Charge),
}

impl Pieces {
    /// Sees to it that no piece has both the page `page` and the one before.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; nothing has changed then.
    fn cut_before(&mut self, page: u64, node: RBTreeNodeReservation<u64, Piece>) -> Result {
        let Some(mut at) = self.tree.cursor_lower_bound_mut(&page) else {
            return Ok(());
        };
        let (_, piece) = at.current_mut();
        let npages = match page.checked_sub(piece.first) {
            None | Some(0) => return Ok(()),
            Some(npages) => npages,
        };
        let back = Pinned {
            runs: piece.pinned.runs.cut_off(npages)?,
            charge: piece.pinned.charge.cut_off(npages),
        };
        let front = Piece {
            first: replace(&mut piece.first, page),
            needs: piece.needs,
            pinned: replace(&mut piece.pinned, back),
        };
        self.tree.insert(node.into_node(page - 1, front));
        Ok(())
    }

    /// What is at page `page`, the first of a piece if there is one, and up to `last`.
    fn need_next(&mut self, page: u64, last: u64) -> Next {
        let mut end = last;
        if let Some(mut at) = self.tree.cursor_lower_bound_mut(&page) {
            let (end_of_piece, piece) = at.current_mut();
            if piece.first <= page {
                piece.needs += 1;
                return Next::Piece(*end_of_piece);
            }
            end = end.min(piece.first - 1);
        }
        Next::Gap(end, self.charge.another())
    }

    /// All pages from `first` to `last` are needed once less. Returns what nobody needs any more,
    /// and how many pages that is.
    fn let_go(&mut self, first: u64, last: u64) -> (RBTree<u64, Piece>, u64) {
        let mut gone = RBTree::new();
        let mut npages = 0;
        let mut next = Some(first);
        while let Some(first) = next.filter(|first| *first <= last) {
            let Some(mut at) = self.tree.cursor_lower_bound_mut(&first) else {
                break;
            };
            let (end, piece) = at.current_mut();
            next = end.checked_add(1);
            piece.needs -= 1;
            if piece.needs == 0 {
                npages += end - piece.first + 1;
                gone.insert(at.remove_current().1);
            }
            task::resched();
        }
        (gone, npages)
    }
}

impl Shared {
    /// Counts `npages` that are pinned now, or with `wrapping_neg` are not any more.
    fn count(&self, npages: u64) {
        self.totals.pinned.fetch_add(npages, Relaxed);
        if self.limited {
            self.totals.charged.fetch_add(npages, Relaxed);
        }
    }

    /// Pins what is not pinned of `pages`, all of which are needed once more.
    ///
    /// # Errors
    ///
    /// Those of [`Source::pin`]; `EINTR`. Nothing has changed then.
    fn need(&self, pages: PageRange, progress: Option<Progress<'_>>) -> Result {
        let _alone = self.pinning.write_killable()?;
        let (first, last) = (pages.first(), pages.last());
        for page in [first, last + 1] {
            let node = RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?;
            self.pieces.lock().cut_before(page, node)?;
        }
        let mut next = first;
        while next <= last {
            let progress = progress.map(|progress| progress.behind(next - first));
            match self.need_next(next, last, progress) {
                Ok(end) => next = end + 1,
                Err(e) => {
                    if let Some(done) = next.checked_sub(1).filter(|done| *done >= first) {
                        self.let_go(PageRange::new(first, done));
                    }
                    return Err(e);
                }
            }
        }
        Ok(())
    }

    /// Sees to it that some pages from `page` on, up to `last` at most, are pinned, and needed once
    /// more. Returns the last of them.
    fn need_next(&self, page: u64, last: u64, progress: Option<Progress<'_>>) -> Result<u64> {
        task::resched_killable()?;
        let found = self.pieces.lock().need_next(page, last);
        let (end, charge) = match found {
            Next::Piece(end) => return Ok(end),
            Next::Gap(end, charge) => (end, charge),
        };
        let node = RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?;
        let pages = PageRange::new(self.first_page + page, self.first_page + end);
        let source = Source::new(self.file.clone(), charge, pages, self.writable);
        let pinned = source.pin(progress)?;
        let piece = Piece {
            first: page,
            needs: 1,
            pinned,
        };
        // Nobody else can have pinned some of it meanwhile.
        self.pieces.lock().tree.insert(node.into_node(end, piece));
        self.count(pages.count());
        Ok(end)
    }

    /// Undoes [`Self::need`].
    fn let_go(&self, pages: PageRange) {
        let (gone, npages) = self.pieces.lock().let_go(pages.first(), pages.last());
        // Unpins and uncharges, without the lock.
        drop(gone);
        self.count(npages.wrapping_neg());
    }
}

impl Part {
    /// All of `memory`, `len` bytes, which may be shared from here on, and is of `file` if it is of
    /// one.
    pub(crate) fn new(
        room: SharedRoom,
        mut memory: Memory,
        file: Option<Arc<MemoryFile>>,
        len: u64,
        writable: bool,
    ) -> Self {
        let all = PageRange::of_bytes(memory.start(), len);
        let mut tree = RBTree::new();
        let pinned = memory.let_go();
        let is_pinned = pinned.is_some();
        if let Some(pinned) = pinned {
            let piece = Piece {
                first: 0,
                needs: 1,
                pinned,
            };
            tree.insert(room.node.into_node(all.count() - 1, piece));
        }
        let (start, charge) = memory.into_parts();
        let limited = charge.is_limited();
        let pieces = Pieces { tree, charge };
        let Ok(shared) = room.shared.pin_init_with(pin_init!(Shared {
            first_page: all.first(),
            writable,
            limited,
            totals: room.totals,
            pinning <- new_rwsem!((), c"iommufd_pinning"),
            pieces <- new_mutex!(pieces, "iommufd_pieces"),
            file,
        }));
        let part = Self {
            memory: shared.into(),
            first: start % PAGE_SIZE as u64,
            len,
            is_pinned,
        };
        if is_pinned {
            part.memory.count(all.count());
        }
        part
    }

    /// Its pages, as the memory numbers them.
    fn pages(&self) -> PageRange {
        PageRange::of_bytes(self.first, self.len)
    }

    /// What it keeps pinned, and charged.
    pub(crate) fn held(&self) -> Held {
        if !self.is_pinned {
            return Held::default();
        }
        Held::new(self.pages().count(), self.memory.limited)
    }

    /// Where in its page its first byte is.
    pub(crate) fn offset(&self) -> u64 {
        self.first % PAGE_SIZE as u64
    }

    /// How many bytes it has.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Whether it is pinned.
    pub(crate) fn is_pinned(&self) -> bool {
        self.is_pinned
    }

    /// Whether devices and drivers may write to it.
    pub(crate) fn is_writable(&self) -> bool {
        self.memory.writable
    }

    /// Whether the two are the same bytes of the same memory.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.memory, &other.memory)
            && (self.first, self.len) == (other.first, other.len)
    }

    /// `len` of its bytes from number `skip` on, all of which it has; not pinned by itself.
    pub(crate) fn again(&self, skip: u64, len: u64) -> Self {
        Self {
            memory: self.memory.clone(),
            first: self.first + skip,
            len,
            is_pinned: false,
        }
    }

    /// Pins it, unless it is already.
    ///
    /// # Errors
    ///
    /// Those of [`Source::pin`]; `EINTR`. It is as it was then.
    pub(crate) fn pin(&mut self, progress: Option<Progress<'_>>) -> Result {
        if !self.is_pinned {
            self.memory.need(self.pages(), progress)?;
            self.is_pinned = true;
        }
        Ok(())
    }

    /// Takes out what keeps it pinned.
    pub(crate) fn let_go(&mut self) -> Option<Self> {
        if !self.is_pinned {
            return None;
        }
        let rest = self.again(0, self.len);
        Some(replace(self, rest))
    }

    /// Where `len` of its bytes are, from number `skip` on. They will be written to if `writable`.
    pub(crate) fn source(&self, skip: u64, len: u64, writable: bool) -> Source {
        let memory = &self.memory;
        let charge = memory.pieces.lock().charge.another();
        let start = (memory.first_page << PAGE_SHIFT) + self.first + skip;
        let pages = PageRange::of_bytes(start, len);
        Source::new(memory.file.clone(), charge, pages, writable)
    }

    /// Cuts off what comes behind the first `len` bytes, some but not all.
    ///
    /// # Errors
    ///
    /// `ENOMEM`. `EINVAL`: it is pinned, and that would be within a page. Nothing has changed then.
    pub(crate) fn cut_off(&mut self, len: u64) -> Result<Self> {
        let first = self.first + len;
        if self.is_pinned {
            if first % PAGE_SIZE as u64 != 0 {
                return Err(EINVAL);
            }
            let node = RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?;
            let mut pieces = self.memory.pieces.lock();
            pieces.cut_before(first >> PAGE_SHIFT, node)?;
        }
        let more = self.len - len;
        self.len = len;
        Ok(Self {
            memory: self.memory.clone(),
            first,
            len: more,
            is_pinned: self.is_pinned,
        })
    }

    fn each_piece(&self, skip: u64, mut look: impl FnMut(&Piece, u64) -> bool) {
        if !self.is_pinned {
            return;
        }
        let pages = self.pages();
        let pieces = self.memory.pieces.lock();
        let mut next = Some(pages.first() + skip);
        while let Some(page) = next.filter(|page| *page <= pages.last()) {
            let Some(at) = pieces.tree.cursor_lower_bound(&page) else {
                break;
            };
            let (end, piece) = at.current();
            if !look(piece, page - piece.first) {
                break;
            }
            next = end.checked_add(1);
        }
    }

    /// Shows its runs from page number `skip` on to `look`, each with how many of its pages come
    /// before that, until it says `false`. There are none while it is not pinned.
    pub(crate) fn each_run(&self, skip: u64, mut look: impl FnMut(&PinnedRun, u64) -> bool) {
        self.each_piece(skip, |piece, skip| {
            let mut runs = piece.pinned.runs.after(skip);
            runs.all(|(run, skipped)| look(run, skipped))
        });
    }

    /// Lists its pages, if it is pinned.
    pub(crate) fn list_pages(&self, slots: &mut PageSlots<'_>) {
        let mut left = self.pages().count();
        self.each_run(0, |run, skipped| {
            left -= run.list(skipped, left, slots);
            left > 0
        });
    }

    /// Whether its pages, which are pinned, are where `piece` goes on; that has them then.
    pub(crate) fn goes_on_with(&self, piece: &mut OnePiece) -> bool {
        let mut left = self.pages().count();
        self.each_run(0, |run, skipped| {
            let added = piece.add(run, skipped, left);
            left -= added.unwrap_or(0);
            added.is_some() && left > 0
        });
        left == 0
    }

    /// In how many runs it is pinned.
    pub(crate) fn run_count(&self) -> u64 {
        let mut count = 0u64;
        self.each_piece(0, |piece, _| {
            count = count.saturating_add(piece.pinned.runs.count() as u64);
            true
        });
        count
    }

    /// Shows what is charged for each piece of it, and will be for others, to `look`.
    ///
    /// # Errors
    ///
    /// Those of `look`.
    pub(crate) fn each_charge(&self, look: &mut dyn FnMut(&mut Charge) -> Result) -> Result {
        let pages = self.pages();
        let mut pieces = self.memory.pieces.lock();
        look(&mut pieces.charge)?;
        let mut next = pieces.tree.cursor_lower_bound_mut(&pages.first());
        while let Some(mut at) = next {
            let (_, piece) = at.current_mut();
            if piece.first > pages.last() {
                break;
            }
            look(&mut piece.pinned.charge)?;
            next = at.move_next();
        }
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.is_pinned {
            self.memory.let_go(self.pages());
        }
    }
}
