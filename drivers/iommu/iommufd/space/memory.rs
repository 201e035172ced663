// SPDX-License-Identifier: GPL-2.0

//! Pinned memory and who pays for it, and what several areas have parts of.
//!
//! The latter lies in pieces, each pinned and charged once, however many parts have it. A part is
//! made of whole pieces: where it begins and ends, a piece is cut in two when the part is made.
//! That may fail, so that nothing has to when a part is dropped, and each piece goes with the last
//! part that has it: what is pinned and charged is what is still mapped somewhere.

use crate::{
    kapi::{
        account::{
            Charge,
            Payer, //
        },
        domain::Prot,
        memfd::WrittenFile,
        run::PinnedRun,
        task, //
    },
    space::pages::Runs, //
};
use core::mem::MaybeUninit;
use kernel::{
    new_mutex,
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
    },
    warn_on, //
};

/// Pinned memory, and who pays for it. Dropping it unpins and uncharges, in this order.
pub(crate) struct Memory {
    runs: Runs,
    charge: Charge,
}

/// Memory of a file, and the file, which learns that nobody writes to it any more after the
/// memory was unpinned.
pub(crate) struct FileMemory {
    pub(crate) memory: Memory,
    pub(crate) file: Arc<WrittenFile>,
}

/// How often pages of shared memory are in areas of a context beyond the first time: what areas
/// have, summed up, is more by as many pages than what is held.
pub(crate) struct Repeats {
    pinned: Atomic<u64>,
    /// Those of them that count against a limit.
    charged: Atomic<u64>,
}

/// Pinned memory that several areas may have parts of.
#[pin_data]
struct Shared {
    /// Whether devices may write to it.
    writable: bool,
    /// Whether it counts against a limit.
    limited: bool,
    /// Where it counts what several parts have.
    repeats: Arc<Repeats>,
    #[pin]
    pieces: Mutex<Pieces>,
    /// The file that it is of, if devices may write to that.
    _file: Option<Arc<WrittenFile>>,
}

/// The pieces of some memory, whose pages are numbered, by the number of their last page.
struct Pieces(RBTree<u64, Piece>);

struct Piece {
    /// The number of its first page.
    first: u64,
    /// How many parts have it; one at least.
    users: usize,
    memory: Memory,
}

/// Some neighbouring pieces of shared memory, which stay pinned as long as this is there.
pub(crate) struct Part {
    memory: Arc<Shared>,
    /// The number of the first page.
    first: u64,
    npages: u64,
    prot: Prot,
}

/// Whole pieces, in which a part is that is wanted: what [`Part::hold`] returns.
pub(crate) struct Held {
    whole: Part,
    /// How many pages come before the part.
    skip: u64,
    npages: u64,
}

/// Where memory goes when it becomes shared, allocated before any lock is taken.
pub(crate) struct SharedRoom {
    shared: UniqueArc<MaybeUninit<Shared>>,
    node: RBTreeNodeReservation<u64, Piece>,
    repeats: Arc<Repeats>,
}

impl Memory {
    /// What was pinned, and charged for.
    pub(crate) fn new(runs: Runs, charge: Charge) -> Self {
        Self { runs, charge }
    }

    /// What is pinned.
    pub(crate) fn runs(&self) -> &Runs {
        &self.runs
    }

    /// What is charged for it.
    pub(crate) fn charge_mut(&mut self) -> &mut Charge {
        &mut self.charge
    }

    /// Who pays for it.
    pub(crate) fn payer(&self) -> &Arc<Payer> {
        self.charge.payer()
    }

    /// Whether it counts against a limit.
    pub(crate) fn is_limited(&self) -> bool {
        self.charge.is_limited()
    }

    /// Cuts off what comes behind the first `npages`, some but not all.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; nothing has changed then.
    pub(crate) fn cut_off(&mut self, npages: u64) -> Result<Self> {
        Ok(Self {
            runs: self.runs.cut_off(npages)?,
            charge: self.charge.cut_off(npages),
        })
    }
}

impl Repeats {
    /// None.
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

    /// Pages that are pinned, and those of them that count against a limit.
    pub(crate) fn get(&self) -> (u64, u64) {
        (self.pinned.load(Relaxed), self.charged.load(Relaxed))
    }
}

impl Shared {
    /// Counts `npages` that one part more has which others have as well, or with `wrapping_neg`
    /// one part less.
    fn repeat(&self, npages: u64) {
        self.repeats.pinned.fetch_add(npages, Relaxed);
        if self.limited {
            self.repeats.charged.fetch_add(npages, Relaxed);
        }
    }
}

impl SharedRoom {
    /// Room for memory of the context that has `repeats`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(repeats: &Arc<Repeats>) -> Result<Self> {
        Ok(Self {
            repeats: repeats.clone(),
            shared: UniqueArc::new_uninit(GFP_KERNEL_ACCOUNT)?,
            node: RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?,
        })
    }
}

impl Pieces {
    /// Sees to it that no piece has both the page `page` and the one before.
    ///
    /// # Errors
    ///
    /// Those of [`Memory::cut_off`]; nothing has changed then.
    fn cut_before(&mut self, page: u64, node: RBTreeNodeReservation<u64, Piece>) -> Result {
        let Some(mut at) = self.0.cursor_lower_bound_mut(&page) else {
            return Ok(());
        };
        let (_, piece) = at.current_mut();
        let npages = match page.checked_sub(piece.first) {
            None | Some(0) => return Ok(()),
            Some(npages) => npages,
        };
        let back = piece.memory.cut_off(npages)?;
        let front = Piece {
            first: core::mem::replace(&mut piece.first, page),
            users: piece.users,
            memory: core::mem::replace(&mut piece.memory, back),
        };
        self.0.insert(node.into_node(page - 1, front));
        Ok(())
    }

    /// Adds a user to all pieces that have pages from `first` to `last`, and says from where to
    /// where they go.
    fn hold(&mut self, first: u64, last: u64) -> Option<(u64, u64)> {
        let mut all = None;
        let mut next = self.0.cursor_lower_bound_mut(&first);
        while let Some(mut at) = next {
            let (end, piece) = at.current_mut();
            if piece.first > last {
                break;
            }
            piece.users = piece.users.saturating_add(1);
            all = Some((all.map_or(piece.first, |(start, _)| start), *end));
            next = at.move_next();
        }
        all
    }

    /// Removes a user from all pieces from page `first` to `last`, and returns those that have
    /// none any more, and how many pages others have.
    fn let_go(&mut self, first: u64, last: u64) -> (RBTree<u64, Piece>, u64) {
        let mut gone = RBTree::new();
        let mut staying = 0;
        let mut next = Some(first);
        while let Some(first) = next.filter(|first| *first <= last) {
            let Some(mut at) = self.0.cursor_lower_bound_mut(&first) else {
                break;
            };
            let (end, piece) = at.current_mut();
            next = end.checked_add(1);
            piece.users -= 1;
            if piece.users == 0 {
                gone.insert(at.remove_current().1);
            } else {
                staying += end - piece.first + 1;
            }
            task::resched();
        }
        (gone, staying)
    }
}

impl Part {
    /// All of the `npages` of `memory`, which may be shared from here on, and which is of `file` if
    /// devices may write to one.
    pub(crate) fn new(
        room: SharedRoom,
        memory: Memory,
        npages: u64,
        prot: Prot,
        file: Option<Arc<WrittenFile>>,
    ) -> Self {
        let writable = memory.runs().writable();
        let limited = memory.is_limited();
        let piece = Piece {
            first: 0,
            users: 1,
            memory,
        };
        let mut pieces = RBTree::new();
        pieces.insert(room.node.into_node(npages - 1, piece));
        let Ok(shared) = room.shared.pin_init_with(pin_init!(Shared {
            writable,
            limited,
            repeats: room.repeats,
            pieces <- new_mutex!(Pieces(pieces), "iommufd_pieces"),
            _file: file,
        }));
        Self {
            memory: shared.into(),
            first: 0,
            npages,
            prot,
        }
    }

    fn last(&self) -> u64 {
        self.first + (self.npages - 1)
    }

    /// What devices may do.
    pub(crate) fn prot(&self) -> Prot {
        self.prot
    }

    /// Whether it counts against a limit.
    pub(crate) fn is_limited(&self) -> bool {
        self.memory.limited
    }

    /// Whether it was pinned for these rights.
    ///
    /// # Errors
    ///
    /// `EPERM`: devices may not write to it.
    pub(crate) fn check(&self, prot: Prot) -> Result {
        if prot.write && !self.memory.writable {
            return Err(EPERM);
        }
        Ok(())
    }

    /// The same memory with other rights.
    pub(crate) fn with(mut self, prot: Prot) -> Self {
        self.prot = prot;
        self
    }

    /// Holds `npages` of its pages from number `skip` on.
    ///
    /// # Errors
    ///
    /// `EINVAL`: it has fewer.
    pub(crate) fn hold(&self, skip: u64, npages: u64) -> Result<Held> {
        let first = self.first + skip;
        let last = first + npages.checked_sub(1).ok_or(EINVAL)?;
        if last > self.last() {
            return Err(EINVAL);
        }
        let held = self.memory.pieces.lock().hold(first, last);
        // All pages of a part are in pieces.
        warn_on!(held.is_none());
        let (start, end) = held.ok_or(EINVAL)?;
        self.memory.repeat(end - start + 1);
        Ok(Held {
            whole: Self {
                memory: self.memory.clone(),
                first: start,
                npages: end - start + 1,
                prot: self.prot,
            },
            skip: first - start,
            npages,
        })
    }

    /// Cuts off what comes behind the first `npages`, some but not all.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; nothing has changed then. `EINVAL`.
    pub(crate) fn cut_off(&mut self, npages: u64) -> Result<Self> {
        if npages == 0 || npages >= self.npages {
            return Err(EINVAL);
        }
        let at = self.first + npages;
        let node = RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?;
        self.memory.pieces.lock().cut_before(at, node)?;
        let more = self.npages - npages;
        self.npages = npages;
        Ok(Self {
            memory: self.memory.clone(),
            first: at,
            npages: more,
            prot: self.prot,
        })
    }

    fn each_piece(&self, skip: u64, mut look: impl FnMut(&Piece, u64) -> bool) {
        let pieces = self.memory.pieces.lock();
        let mut next = Some(self.first + skip);
        while let Some(page) = next.filter(|page| *page <= self.last()) {
            let Some(at) = pieces.0.cursor_lower_bound(&page) else {
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
    /// before that, until it says `false`.
    pub(crate) fn each_run(&self, skip: u64, mut look: impl FnMut(&PinnedRun, u64) -> bool) {
        self.each_piece(skip, |piece, skip| {
            let mut runs = piece.memory.runs().after(skip);
            runs.all(|(run, skipped)| look(run, skipped))
        });
    }

    /// In how many runs it is.
    pub(crate) fn run_count(&self) -> u64 {
        let mut count = 0u64;
        self.each_piece(0, |piece, _| {
            count = count.saturating_add(piece.memory.runs().count() as u64);
            true
        });
        count
    }

    /// Shows what is charged for each piece of it to `look`.
    ///
    /// # Errors
    ///
    /// Those of `look`.
    pub(crate) fn each_charge(&self, look: &mut dyn FnMut(&mut Charge) -> Result) -> Result {
        let mut pieces = self.memory.pieces.lock();
        let mut next = pieces.0.cursor_lower_bound_mut(&self.first);
        while let Some(mut at) = next {
            let (_, piece) = at.current_mut();
            if piece.first > self.last() {
                break;
            }
            look(piece.memory.charge_mut())?;
            next = at.move_next();
        }
        Ok(())
    }
}

impl Held {
    /// The part that was wanted, and nothing else.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn into_part(self) -> Result<Part> {
        let mut part = self.whole;
        if self.skip > 0 {
            part = part.cut_off(self.skip)?;
        }
        if part.npages > self.npages {
            drop(part.cut_off(self.npages)?);
        }
        Ok(part)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let (first, last) = (self.first, self.last());
        let (gone, staying) = self.memory.pieces.lock().let_go(first, last);
        self.memory.repeat(staying.wrapping_neg());
        // Unpins and uncharges, without the lock.
        drop(gone);
    }
}
