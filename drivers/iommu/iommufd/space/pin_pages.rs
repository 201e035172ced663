// SPDX-License-Identifier: GPL-2.0

//! Kernel drivers that read, write and pin the memory of an address space themselves.
//!
//! A driver's pin pins and charges just its pages, unless they are pinned already; it keeps the
//! area from being unmapped. An unmap that meets one asks all drivers to unpin what they have
//! there, by calling them without any lock, and tries again.
//!
//! Memory is pinned without any lock, for userspace may have to bring it. What was mapped when that
//! began must still be there when it is given to the driver; else it begins again.

use super::{
    Attempt,
    IoPagetable,
    Space, //
};
use crate::{
    iova::IovaRange,
    kapi::{
        access_ops::{
            Buffer,
            Listener,
            PageSlots, //
        },
        hw_queue::OnePiece,
        task,
        trace::Unmapped, //
    },
    space::{
        mapping::Mapping,
        pages::Runs,
        part::{
            Part,
            SharedRoom, //
        },
        pinning::Source,
        pins::{
            Pins,
            SparePin, //
        },
    }, //
};
use kernel::{
    alloc::flags::__GFP_NOWARN,
    page::PAGE_SIZE,
    prelude::*,
    rbtree::RBTreeNodeReservation,
    sync::{
        atomic::ordering::Relaxed,
        Arc, //
    },
    types::ScopeGuard,
    warn_on, //
};

const PAGE: u64 = PAGE_SIZE as u64;

/// So often drivers are asked to unpin an area before it is given up.
const TRIES: u32 = 100;

/// At most so many bytes are copied before others get their turn.
const COPY: u64 = 64 << 10;

/// All of the pages that `part` of `area` has something of, as far as the area goes: it begins with
/// a page of the memory.
fn whole_pages(area: IovaRange, part: IovaRange) -> Option<IovaRange> {
    let len = part.len().checked_next_multiple_of(PAGE)?;
    IovaRange::with_len(part.first(), len)
        .ok()?
        .intersection(&area)
}

/// Whether a driver may have `part` of an area.
fn check(pins: &Pins<Part>, mapping: &Mapping, part: IovaRange, write: bool) -> Result {
    let prot = mapping.prot();
    match if write { prot.write } else { prot.read } {
        _ if pins.is_closed(part) || mapping.device().is_some() => Err(EINVAL),
        true => Ok(()),
        false => Err(EPERM),
    }
}

/// What was pinned for a driver, which does not have it yet. Dropping it unpins.
pub(crate) struct NewPins(KVVec<NewPin>);

/// Some of an area.
struct NewPin {
    area: IovaRange,
    pages: IovaRange,
    part: Part,
    spare: SparePin<Part>,
}

impl NewPins {
    /// Where they are, if each page comes right behind the one before it.
    pub(super) fn in_one_piece(&self) -> Option<OnePiece> {
        let mut piece = OnePiece::default();
        let mut pins = self.0.iter();
        pins.all(|pin| pin.part.goes_on_with(&mut piece))
            .then_some(piece)
    }
}

/// Which pins of a space.
type Which = fn(&mut Space) -> &mut Pins<Part>;

impl Space {
    /// What `range` has of its first area, whose memory can be shared from here on.
    fn first_to_pin(
        &mut self,
        range: IovaRange,
        write: bool,
        room: SharedRoom,
        spare: SparePin<Part>,
    ) -> Result<NewPin> {
        let (area, mapping, part) = self.first_part(range)?;
        let pages = whole_pages(area, part).ok_or(EINVAL)?;
        check(&self.pins, mapping, pages, write)?;
        if self.areas.is_being_unmapped(pages) {
            return Err(ENOENT);
        }
        if !mapping.is_page(part.first() - area.first()) {
            return Err(EINVAL);
        }
        self.share(area, room);
        Ok(NewPin {
            area,
            pages,
            part: self.part_at(area, pages).ok_or(ENOENT)?,
            spare,
        })
    }

    /// The first of the areas that make up `range`, with its content, and what `range` has of it.
    pub(super) fn first_part(&self, range: IovaRange) -> Result<(IovaRange, &Mapping, IovaRange)> {
        let (area, mapped) = self.areas.live_at(range.first()).ok_or(ENOENT)?;
        let part = area.intersection(&range).ok_or(ENOENT)?;
        if self.areas.is_being_unmapped(part) {
            return Err(ENOENT);
        }
        Ok((area, mapped.mapping(), part))
    }

    /// What is mapped as `pages` of `area`, if that is shared.
    fn part_at(&self, area: IovaRange, pages: IovaRange) -> Option<Part> {
        let (there, mapped) = self.areas.live_at(area.first())?;
        let whole = mapped.mapping().part().filter(|_| there == area)?;
        Some(whole.again(pages.first() - area.first(), pages.len()))
    }

    /// Whether what was pinned is what is still mapped there.
    fn has(&self, pin: &NewPin) -> bool {
        let part = self.part_at(pin.area, pin.pages);
        part.is_some_and(|part| part.is(&pin.part))
            && !self.areas.is_being_unmapped(pin.pages)
            && !self.pins.is_closed(pin.pages)
    }
}

impl IoPagetable {
    /// Lets a driver know of unmaps; `pins` if it will pin pages, and not just read and write.
    ///
    /// # Errors
    ///
    /// `EADDRINUSE`: something is mapped that is not made of whole pages. `ENOMEM`, `EINTR`.
    pub(crate) fn add_listener(&self, id: u32, listener: Arc<Listener>, pins: bool) -> Result {
        let room = RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?;
        if pins {
            self.add_pinner()?;
        }
        let mut space = self.space.lock();
        let displaced = space.listeners.insert(room.into_node(id, listener));
        // Nobody else has the id.
        warn_on!(displaced.is_some());
        Ok(())
    }

    /// Undoes [`Self::add_listener`]. Another one of that id stays.
    pub(crate) fn remove_listener(&self, id: u32, listener: &Arc<Listener>, pins: bool) {
        let mut space = self.space.lock();
        let found = space.listeners.get(&id);
        let is_it = found.is_some_and(|found| Arc::ptr_eq(found, listener));
        let removed = is_it.then(|| space.listeners.remove_node(&id));
        drop(space);
        // If it was the last reference, it goes here, after the lock.
        drop(removed);
        if pins && is_it {
            self.remove_pinner();
        }
    }

    /// Sees to it that all that is mapped is made of whole pages, until [`Self::remove_pinner`].
    ///
    /// # Errors
    ///
    /// `EADDRINUSE`: not all is. `EINTR`.
    pub(super) fn add_pinner(&self) -> Result {
        // No map is under way.
        let _domains = self.domains.write_killable()?;
        self.check_alignment(PAGE)?;
        self.pinners.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Undoes [`Self::add_pinner`].
    pub(super) fn remove_pinner(&self) {
        self.pinners.fetch_sub(1, Relaxed);
    }

    /// Pins the pages that `range` has something of, for a driver that has said that it will;
    /// `write` if it will write to them.
    ///
    /// # Errors
    ///
    /// * `EINVAL`: it does not begin with a page, is being unmapped, or a device's own.
    /// * `EPERM`: not mapped for that.
    /// * `ENOENT`: there is a hole. `ENOMEM`, `EINTR`; and if they are not pinned yet, those of
    ///   [`Part::pin`].
    pub(crate) fn pin(&self, range: IovaRange, write: bool) -> Result<NewPins> {
        let mut new = KVVec::new();
        let mut rest = Some(range);
        while let Some(todo) = rest {
            task::resched_killable()?;
            let (room, spare) = (SharedRoom::new(&self.totals)?, SparePin::new()?);
            // As with copies, see `parts`.
            let domains = self.domains.read_killable()?;
            let pin = self.space.lock().first_to_pin(todo, write, room, spare)?;
            drop(domains);
            rest = todo.behind(pin.area.last());
            // Userspace decides how many areas there are.
            new.push(pin, GFP_KERNEL_ACCOUNT | __GFP_NOWARN)?;
        }
        for pin in new.iter_mut() {
            pin.part.pin(None)?;
        }
        Ok(NewPins(new))
    }

    /// Gives a driver what was pinned, and lists the pages in `slots`. `None` if something else is
    /// mapped there by now: it is to be pinned again.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn keep(&self, new: NewPins, slots: &mut PageSlots<'_>) -> Result<Option<()>> {
        self.keep_as(new, |space| &mut space.pins, |part| part.list_pages(slots))
    }

    /// As [`Self::keep`], but nobody can be asked to unpin them.
    pub(super) fn keep_locked(&self, new: NewPins) -> Result<Option<()>> {
        self.keep_as(new, |space| &mut space.locked, |_| ())
    }

    fn keep_as(
        &self,
        new: NewPins,
        which: Which,
        mut look: impl FnMut(&Part),
    ) -> Result<Option<()>> {
        let flags = GFP_KERNEL_ACCOUNT | __GFP_NOWARN;
        // To be dropped without the lock.
        let mut unneeded = KVVec::with_capacity(new.0.len(), flags)?;
        let mut space = self.space.lock();
        if !new.0.iter().all(|pin| space.has(pin)) {
            drop(space);
            drop(new);
            return Ok(None);
        }
        for pin in new.0 {
            look(&pin.part);
            let held = pin.part.held();
            if let Some(part) = which(&mut space).add(pin.pages, pin.part, held, pin.spare) {
                warn_on!(unneeded.push_within_capacity(part).is_err());
            }
        }
        drop(space);
        Ok(Some(()))
    }

    /// Undoes a [`Self::pin`] of the same range that was kept.
    pub(crate) fn unpin(&self, range: IovaRange) {
        self.unpin_as(range, |space| &mut space.pins);
    }

    /// Undoes a [`Self::pin`] that was kept by [`Self::keep_locked`].
    pub(super) fn unpin_locked(&self, range: IovaRange) {
        self.unpin_as(range, |space| &mut space.locked);
    }

    fn unpin_as(&self, range: IovaRange, which: Which) {
        let mut were_pinned = true;
        let mut rest = Some(range);
        while let Some(todo) = rest {
            let mut space = self.space.lock();
            let found = space.first_part(todo);
            let found = found.map(|(area, _, part)| (area, whole_pages(area, part)));
            let Ok((area, Some(pages))) = found else {
                were_pinned = false;
                break;
            };
            let removed = which(&mut space).remove(pages);
            drop(space);
            were_pinned &= removed.is_some();
            // Unpins, without the lock.
            drop(removed);
            rest = todo.behind(area.last());
        }
        // The driver has never pinned that.
        warn_on!(!were_pinned);
    }

    /// Copies between `buffer` and the memory that is mapped in `range`, which is as long.
    ///
    /// # Errors
    ///
    /// * `EINVAL`: some of it is being unmapped, or a device's own.
    /// * `EPERM`: not mapped for that. `ENOENT`: there is a hole.
    /// * If it is not pinned, those of [`Source::pin_shortly`]. Something may have been copied
    ///   then.
    ///
    /// [`Source::pin_shortly`]: crate::space::pinning::Source::pin_shortly
    pub(crate) fn copy(&self, range: IovaRange, mut buffer: Buffer<'_>) -> Result {
        // First of all, all of it: what fails should not have been done by half.
        let space = self.space.lock();
        let mut rest = Some(range);
        while let Some(todo) = rest {
            let (_, mapping, part) = space.first_part(todo)?;
            check(&space.pins, mapping, part, buffer.is_to_memory())?;
            rest = todo.behind(part.last());
        }
        drop(space);
        let mut rest = Some(range);
        while let Some(todo) = rest {
            let last = self.copy_some(todo, &mut buffer)?;
            task::resched();
            rest = todo.behind(last);
        }
        Ok(())
    }

    /// Copies what is first in `range`, of one area, and says up to where.
    fn copy_some(&self, range: IovaRange, buffer: &mut Buffer<'_>) -> Result<u64> {
        let some = IovaRange::with_len(range.first(), COPY);
        let range = some
            .ok()
            .and_then(|some| some.intersection(&range))
            .unwrap_or(range);
        let mut pinned: Option<(Source, Runs)> = None;
        loop {
            let space = self.space.lock();
            let (area, mapping, part) = space.first_part(range)?;
            check(&space.pins, mapping, part, buffer.is_to_memory())?;
            let (skip, len) = (part.first() - area.first(), part.len());
            if mapping.is_pinned() {
                mapping.copy(skip, len, buffer)?;
                return Ok(part.last());
            }
            let source = mapping.source(skip, len, buffer.is_to_memory())?;
            if let Some((_, runs)) = pinned.as_ref().filter(|(other, _)| source.is(other)) {
                mapping.copy_with(runs, skip, len, buffer)?;
                return Ok(part.last());
            }
            drop(space);
            task::resched_killable()?;
            let runs = source.pin_shortly()?;
            pinned = Some((source, runs));
        }
    }

    /// Unmaps `range`, of which drivers have pinned something in `area`.
    pub(super) fn unmap_pinned(&self, range: IovaRange, area: IovaRange) -> Result<Unmapped> {
        let closed = self.space.lock().pins.close(range);
        let _open = ScopeGuard::new(|| {
            if let Some(closed) = closed {
                self.space.lock().pins.open(closed);
            }
        });
        let mut area = area;
        let mut furthest = area.first();
        let mut tries = 0;
        while tries <= TRIES {
            self.ask_listeners(area)?;
            match self.try_unmap(range)? {
                Attempt::Done(unmapped) => return Ok(unmapped),
                Attempt::Pinned(next) => area = next,
            }
            tries = if area.first() > furthest {
                0
            } else {
                tries + 1
            };
            furthest = furthest.max(area.first());
        }
        Err(EDEADLK)
    }

    fn ask_listeners(&self, range: IovaRange) -> Result {
        let mut last = 0;
        while let Some((id, listener)) = self.listener_after(last) {
            task::resched_killable()?;
            listener.ask(range)?;
            last = id;
        }
        Ok(())
    }

    fn listener_after(&self, id: u32) -> Option<(u32, Arc<Listener>)> {
        let space = self.space.lock();
        let next = space.listeners.cursor_lower_bound(&id.checked_add(1)?)?;
        let (id, listener) = next.current();
        Some((*id, listener.clone()))
    }
}
