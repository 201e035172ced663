// SPDX-License-Identifier: GPL-2.0

//! Kernel drivers that read, write and pin the memory of an address space themselves.
//!
//! Whatever is mapped is pinned, so a driver's pin pins nothing and costs nobody anything: it is
//! a mark that keeps the area from being unmapped. An unmap that meets one asks all drivers to
//! unpin what they have there, by calling them without any lock, and tries again.

use super::{
    Attempt,
    IoPagetable, //
};
use crate::{
    iova::IovaRange,
    kapi::{
        access_ops::{
            Buffer,
            Listener,
            PageSlots, //
        },
        task,
        trace::Unmapped, //
    },
    space::{
        areas::Areas,
        mapped::Mapped,
        mapping::Mapping,
        pins::{
            Pins,
            SparePin, //
        }, //
    }, //
};
use kernel::{
    alloc::flags::__GFP_NOWARN,
    page::{
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    prelude::*,
    rbtree::RBTreeNodeReservation,
    sync::Arc,
    types::ScopeGuard,
    warn_on, //
};

const PAGE: u64 = PAGE_SIZE as u64;

/// So often drivers are asked to unpin an area before it is given up.
const TRIES: u32 = 100;

/// At most so many bytes are copied before others get their turn.
const COPY: u64 = 64 << 10;

/// Shows the areas that make up `range` to `look`, each with its content and what `range` has of
/// it, in order.
///
/// # Errors
///
/// `ENOENT`: there is a hole; and those of `look`. Whichever comes first.
fn each_area(
    areas: &Areas<Mapped>,
    range: IovaRange,
    mut look: impl FnMut(IovaRange, &Mapping, IovaRange) -> Result,
) -> Result {
    let mut rest = Some(range);
    while let Some(todo) = rest {
        let (area, mapped) = areas.live_at(todo.first()).ok_or(ENOENT)?;
        let part = area.intersection(&todo).ok_or(ENOENT)?;
        if areas.is_being_unmapped(part) {
            return Err(ENOENT);
        }
        look(area, mapped.mapping(), part)?;
        rest = todo.behind(part.last());
    }
    Ok(())
}

/// All of the pages that `part` has something of.
fn whole_pages(part: IovaRange) -> Option<IovaRange> {
    IovaRange::new(part.first() & !(PAGE - 1), part.last() | (PAGE - 1))
}

/// Whether a driver may have `part` of an area.
fn check(pins: &Pins, mapping: &Mapping, part: IovaRange, write: bool) -> Result {
    let prot = mapping.prot();
    match if write { prot.write } else { prot.read } {
        _ if pins.is_closed(part) || mapping.device().is_some() => Err(EINVAL),
        true => Ok(()),
        false => Err(EPERM),
    }
}

impl IoPagetable {
    /// Lets a driver know of unmaps.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn add_listener(&self, id: u32, listener: Arc<Listener>) -> Result {
        let room = RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?;
        let mut space = self.space.lock();
        space.listeners.insert(room.into_node(id, listener));
        Ok(())
    }

    /// Undoes [`Self::add_listener`]. Another one of that id stays.
    pub(crate) fn remove_listener(&self, id: u32, listener: &Arc<Listener>) {
        let mut space = self.space.lock();
        let found = space.listeners.get(&id);
        let is_it = found.is_some_and(|found| Arc::ptr_eq(found, listener));
        let removed = is_it.then(|| space.listeners.remove_node(&id));
        drop(space);
        // If it was the last reference, it goes here, after the lock.
        drop(removed);
    }

    /// Pins the pages that `range` has something of, and lists them in `slots`; `write` if the
    /// driver will write to them.
    ///
    /// # Errors
    ///
    /// * `EINVAL`: it does not begin with a page, is being unmapped, or a device's own.
    /// * `EPERM`: not mapped for that.
    /// * `ENOENT`: there is a hole. `ENOMEM`.
    pub(crate) fn pin(&self, range: IovaRange, mut slots: PageSlots<'_>, write: bool) -> Result {
        // Userspace decides how many areas there are.
        let mut spares = KVVec::new();
        let mut needed = 1;
        loop {
            while spares.len() < needed {
                spares.push(SparePin::new()?, GFP_KERNEL_ACCOUNT | __GFP_NOWARN)?;
            }
            let mut space = self.space.lock();
            let space = &mut *space;
            needed = 0;
            each_area(&space.areas, range, |_, mapping, part| {
                if part.first() % PAGE != 0 {
                    return Err(EINVAL);
                }
                needed += 1;
                check(&space.pins, mapping, part, write)
            })?;
            if needed <= spares.len() {
                return each_area(&space.areas, range, |area, mapping, part| {
                    // Neither fails: the areas were looked at, and counted, under this lock.
                    let some = whole_pages(part).zip(spares.pop());
                    warn_on!(some.is_none());
                    let (pages, spare) = some.ok_or(EINVAL)?;
                    space.pins.add(pages, spare);
                    let skip = (part.first() - area.first()) >> PAGE_SHIFT;
                    mapping.list_pages(skip, pages, &mut slots);
                    Ok(())
                });
            }
        }
    }

    /// Undoes a [`Self::pin`] of the same range.
    pub(crate) fn unpin(&self, range: IovaRange) {
        let mut space = self.space.lock();
        let space = &mut *space;
        let mut were_pinned = true;
        let all = each_area(&space.areas, range, |_, _, part| {
            let pages = whole_pages(part).ok_or(EINVAL)?;
            were_pinned &= space.pins.remove(pages);
            Ok(())
        });
        // The driver has never pinned that.
        warn_on!(all.is_err() || !were_pinned);
    }

    /// Copies between `buffer` and the memory that is mapped in `range`, which is as long.
    ///
    /// # Errors
    ///
    /// As [`Self::pin`], at any address.
    pub(crate) fn copy(&self, range: IovaRange, mut buffer: Buffer<'_>) -> Result {
        let mut rest = Some(range);
        while let Some(todo) = rest {
            let next = IovaRange::with_len(todo.first(), COPY).ok();
            let now = next
                .and_then(|next| next.intersection(&todo))
                .unwrap_or(todo);
            // First of all, all of it: what fails should not have been done by half.
            let unchecked = if todo == range { range } else { now };
            let space = self.space.lock();
            each_area(&space.areas, unchecked, |_, mapping, part| {
                check(&space.pins, mapping, part, buffer.is_to_memory())
            })?;
            each_area(&space.areas, now, |area, mapping, part| {
                mapping.copy(part.first() - area.first(), part.len(), &mut buffer)
            })?;
            drop(space);
            task::resched();
            rest = todo.behind(now.last());
        }
        Ok(())
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
