// SPDX-License-Identifier: GPL-2.0

//! Objects by number: what is reserved, what is there, what is on its way out. Would become part
//! of `rust/kernel/xarray.rs`, which cannot reserve an index yet.
//!
//! An id is free, reserved, an object's, or for good without one. All of these are one word in an
//! XArray, and change under its lock: nothing else has to agree with it. Who reserved an id, or
//! took its object out, holds a [`Reservation`], and nobody else can make the id free or give it
//! to an object.
//!
//! C header: [`include/linux/xarray.h`](srctree/include/linux/xarray.h)

use core::{
    marker::PhantomData,
    mem::{
        forget,
        MaybeUninit, //
    },
};
use kernel::{
    bindings,
    prelude::*,
    types::{
        NotThreadSafe,
        Opaque, //
    },
    warn_on, //
};

/// What the XArray has for an id that is reserved: a value, where objects are pointers.
const RESERVED: *mut c_void = core::ptr::without_provenance_mut(1);

/// What it has for an id whose object has gone without whoever knows the id: it is not used again.
const TOMBSTONE: *mut c_void = core::ptr::without_provenance_mut(3);

/// Ids are from 1 up to this one.
const LAST: u32 = i32::MAX as u32;

/// Objects of one kind, each with an id.
///
/// # Invariants
///
/// `xa` is initialised. Each entry is a [`TOMBSTONE`]; or it is [`RESERVED`], and there is one
/// [`Reservation`] of that id then; or came from [`KBox::into_raw`] and is owned by the table.
#[pin_data(PinnedDrop)]
pub(crate) struct IdTable<T> {
    #[pin]
    xa: Opaque<bindings::xarray>,
    _objects: PhantomData<KBox<T>>,
}

// SAFETY: The table owns its objects and belongs to no thread.
unsafe impl<T: Send> Send for IdTable<T> {}
// SAFETY: An object is looked at under the lock alone, by one thread at a time.
unsafe impl<T: Send> Sync for IdTable<T> {}

impl<T> IdTable<T> {
    /// A table without objects.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            // INVARIANT: It has no entries.
            // SAFETY: `slot` is valid for writing, and pinned from now on.
            xa <- Opaque::ffi_init(|slot| unsafe {
                bindings::xa_init_flags(slot, bindings::XA_FLAGS_ALLOC1)
            }),
            _objects: PhantomData,
        })
    }

    fn lock(&self) -> Locked<'_, T> {
        // SAFETY: By the type invariant.
        unsafe { bindings::xa_lock(self.xa.get()) };
        Locked {
            table: self,
            _not_send: NotThreadSafe,
        }
    }

    /// Takes the lowest free id, with all the memory that publishing needs.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `ENOSPC` when there are no more ids.
    pub(crate) fn reserve(&self) -> Result<ReservedId<'_, T>> {
        let room = KBox::new_uninit(GFP_KERNEL_ACCOUNT)?;
        let id = self.lock().reserve()?;
        Ok(ReservedId {
            reservation: Reservation { table: self, id },
            room,
        })
    }

    /// Shows the object of an id, if there is one, to `look`, which may not sleep.
    pub(crate) fn look<R>(&self, id: u32, look: impl FnOnce(&T) -> R) -> Option<R> {
        self.lock().object(id).map(look)
    }

    /// Shows the first object at or behind `id`, if there is one, to `look`, which may not sleep.
    /// Returns its id as well.
    pub(crate) fn look_from<R>(&self, id: u32, look: impl FnOnce(&T) -> R) -> Option<(u32, R)> {
        let locked = self.lock();
        let mut next = Some(id);
        while let Some(at) = next {
            let (id, entry) = locked.first_from(at)?;
            if is_object(entry) {
                return locked.object(id).map(|object| (id, look(object)));
            }
            next = id.checked_add(1);
        }
        None
    }

    /// Does something, which may not sleep, unless an id is taken: returns nothing then.
    pub(crate) fn if_empty<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        let locked = self.lock();
        locked.first_from(0).is_none().then(work)
    }

    /// Takes the object of an id out if `may_go` finds it to be the right one, and one that may
    /// go. The id stays reserved as long as the result lives.
    ///
    /// # Errors
    ///
    /// `ENOENT`: there is no object, and those of `may_go`, which may not sleep.
    pub(crate) fn retire(
        &self,
        id: u32,
        may_go: impl FnOnce(&T) -> Result,
    ) -> Result<RetiredId<'_, T>> {
        // INVARIANT: The reservation is made here.
        Ok(RetiredId {
            object: self.take(id, RESERVED, may_go)?,
            reservation: Reservation { table: self, id },
        })
    }

    /// As [`Self::retire`], but nothing gets the id any more as long as the table is there.
    ///
    /// # Errors
    ///
    /// As there.
    pub(crate) fn entomb(&self, id: u32, may_go: impl FnOnce(&T) -> Result) -> Result<KBox<T>> {
        self.take(id, TOMBSTONE, may_go)
    }

    fn take(
        &self,
        id: u32,
        instead: *mut c_void,
        may_go: impl FnOnce(&T) -> Result,
    ) -> Result<KBox<T>> {
        let locked = self.lock();
        let object = locked.object(id).ok_or(ENOENT)?;
        may_go(object)?;
        let entry = core::ptr::from_ref(object).cast_mut();
        // INVARIANT: See the callers.
        locked.replace(id, instead);
        drop(locked);
        // SAFETY: It was the table's by the type invariant, and is nobody's by now.
        Ok(unsafe { KBox::from_raw(entry) })
    }
}

#[pinned_drop]
impl<T> PinnedDrop for IdTable<T> {
    fn drop(self: Pin<&mut Self>) {
        let mut next = 0;
        // No lock: nobody else has the table, and dropping an object may sleep.
        loop {
            // SAFETY: By the type invariant.
            let entry = unsafe {
                bindings::xa_find(
                    self.xa.get(),
                    &raw mut next,
                    c_ulong::MAX,
                    bindings::XA_PRESENT,
                )
            };
            if entry.is_null() {
                break;
            }
            // Reservations borrow the table, so that there are none.
            warn_on!(entry == RESERVED);
            if is_object(entry) {
                // SAFETY: By the type invariant the table owns it; nobody looks at it any more.
                drop(unsafe { KBox::from_raw(entry.cast::<T>()) });
            }
            next = next.wrapping_add(1);
        }
        // SAFETY: By the type invariant.
        unsafe { bindings::xa_destroy(self.xa.get()) };
    }
}

/// Whether an entry of a table is an object's.
fn is_object(entry: *mut c_void) -> bool {
    !entry.is_null() && entry != RESERVED && entry != TOMBSTONE
}

/// A table whose lock is held, until this is dropped.
///
/// # Invariants
///
/// The thread that made this holds the lock.
struct Locked<'a, T> {
    table: &'a IdTable<T>,
    _not_send: NotThreadSafe,
}

impl<T> Locked<'_, T> {
    fn xa(&self) -> *mut bindings::xarray {
        self.table.xa.get()
    }

    fn entry(&self, id: u32) -> *mut c_void {
        // SAFETY: By the type invariants.
        unsafe { bindings::xa_load(self.xa(), id as c_ulong) }
    }

    fn object(&self, id: u32) -> Option<&T> {
        let entry = self.entry(id);
        if !is_object(entry) {
            return None;
        }
        // SAFETY: The table owns it, and it can only be taken out under the lock, which we hold.
        Some(unsafe { &*entry.cast::<T>() })
    }

    /// The first id at or behind `id` that is not free, and its entry.
    fn first_from(&self, id: u32) -> Option<(u32, *mut c_void)> {
        let mut index = id as c_ulong;
        // SAFETY: By the type invariants.
        let entry = unsafe {
            bindings::xa_find(
                self.xa(),
                &raw mut index,
                LAST as c_ulong,
                bindings::XA_PRESENT,
            )
        };
        // CAST: No larger than `LAST`.
        (!entry.is_null()).then_some((index as u32, entry))
    }

    fn reserve(&self) -> Result<u32> {
        let mut id = 0;
        let limit = bindings::xa_limit { min: 1, max: LAST };
        // SAFETY: We hold the lock, which the function drops while it allocates.
        let errno = unsafe {
            bindings::__xa_alloc(
                self.xa(),
                &raw mut id,
                RESERVED,
                limit,
                bindings::GFP_KERNEL_ACCOUNT,
            )
        };
        match errno {
            0 => Ok(id),
            _ => Err(match Error::from_errno(errno) {
                e if e == EBUSY => ENOSPC,
                e => e,
            }),
        }
    }

    /// Replaces the entry of an id that is not free: that needs no memory.
    fn replace(&self, id: u32, entry: *mut c_void) {
        // SAFETY: We hold the lock, and own what goes into the table.
        unsafe { bindings::__xa_store(self.xa(), id as c_ulong, entry, bindings::GFP_NOWAIT) };
    }

    fn free(&self, id: u32) {
        // SAFETY: We hold the lock; there is no object, so none is lost.
        unsafe { bindings::__xa_erase(self.xa(), id as c_ulong) };
    }
}

impl<T> Drop for Locked<'_, T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::xa_unlock(self.xa()) }
    }
}

/// An id without an object, by which nothing is found; free again if dropped.
///
/// # Invariants
///
/// The id is reserved, and this is its only reservation.
struct Reservation<'a, T> {
    table: &'a IdTable<T>,
    id: u32,
}

impl<T> Reservation<'_, T> {
    fn give_to(self, object: KBox<T>) {
        let locked = self.table.lock();
        // It is reserved by the type invariant. Whatever else it is belongs to somebody.
        if warn_on!(locked.entry(self.id) != RESERVED) {
            drop(locked);
            return;
        }
        // INVARIANT: The reservation ends in the next lines.
        locked.replace(self.id, KBox::into_raw(object).cast());
        drop(locked);
        forget(self);
    }
}

impl<T> Drop for Reservation<'_, T> {
    fn drop(&mut self) {
        let locked = self.table.lock();
        // It is by the type invariant. Whatever else it is belongs to somebody.
        if !warn_on!(locked.entry(self.id) != RESERVED) {
            locked.free(self.id);
        }
    }
}

/// A [`Reservation`] with room for an object.
pub(crate) struct ReservedId<'a, T> {
    reservation: Reservation<'a, T>,
    room: KBox<MaybeUninit<T>>,
}

impl<T> ReservedId<'_, T> {
    /// The id.
    pub(crate) fn number(&self) -> u32 {
        self.reservation.id
    }

    /// Gives the id to an object, which can be found from here on.
    pub(crate) fn publish(self, object: T) {
        self.reservation.give_to(KBox::write(self.room, object));
    }
}

/// An object that is found by nobody any more. Dropping this drops it, and then makes its id free.
pub(crate) struct RetiredId<'a, T> {
    object: KBox<T>,
    reservation: Reservation<'a, T>,
}

impl<T> RetiredId<'_, T> {
    /// The object, of which nothing more is known. Its id is free.
    pub(crate) fn into_object(self) -> T {
        KBox::into_inner(self.object)
    }

    /// Has it be found again, under the id that it had.
    pub(crate) fn put_back(self) {
        self.reservation.give_to(self.object);
    }
}
