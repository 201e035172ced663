// SPDX-License-Identifier: GPL-2.0

//! What ids stand for.
//!
//! An object is itself, not its number: it has an id from when it is whole until it is about to go,
//! and the id is free again when nothing is left of it. Whoever has found an object acts on that,
//! and on no number.

use crate::{
    kapi::ids::{
        self,
        IdTable, //
    },
    objects::{
        access::Access,
        group::Idev,
        ioas::{
            Ioas,
            IoasUser, //
        }, //
    },
    space::{
        hwpt::Hwpt,
        memory::Repeats, //
    }, //
};
use core::iter;
use kernel::{
    prelude::*,
    sync::Arc,
    warn_on, //
};

/// What an id can stand for.
#[derive(Clone)]
pub(crate) enum Object {
    /// An I/O address space.
    Ioas(Arc<Ioas>),
    /// A domain, and the address space that it belongs to.
    Hwpt(Arc<Hwpt>, Arc<Ioas>),
    /// A bound device.
    Device(Arc<Idev>),
    /// What a driver accesses an address space's memory by.
    Access(Arc<Access>),
}

impl Object {
    fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ioas(one), Self::Ioas(other)) => Arc::ptr_eq(one, other),
            (Self::Hwpt(one, _), Self::Hwpt(other, _)) => Arc::ptr_eq(one, other),
            (Self::Device(one), Self::Device(other)) => Arc::ptr_eq(one, other),
            (Self::Access(one), Self::Access(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }

    fn id(&self) -> u32 {
        match self {
            Self::Ioas(ioas) => ioas.id(),
            Self::Hwpt(hwpt, _) => hwpt.id(),
            Self::Device(idev) => idev.id(),
            Self::Access(access) => access.id(),
        }
    }
}

/// An object that has its id.
pub(crate) struct Entry {
    object: Object,
    /// What it keeps from being freed.
    _uses: Option<IoasUser>,
}

/// An id that nothing can be found by yet; free again if dropped.
pub(crate) type ReservedId<'a> = ids::ReservedId<'a, Entry>;

/// An object that nobody finds any more. Dropping this makes its id free.
pub(crate) type RetiredId<'a> = ids::RetiredId<'a, Entry>;

impl ReservedId<'_> {
    /// Gives the id to an object, which has it in itself and can be found from here on. It uses
    /// an address space as long.
    pub(crate) fn give_to(self, object: Object, uses: Option<IoasUser>) {
        warn_on!(object.id() != self.number());
        self.publish(Entry {
            object,
            _uses: uses,
        });
    }
}

/// The objects of a context, by id.
#[pin_data]
pub(crate) struct Objects {
    #[pin]
    table: IdTable<Entry>,
    /// How often pages are in areas of its address spaces beyond the first time.
    repeats: Arc<Repeats>,
}

impl Objects {
    /// A table without objects.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Arc<Self>> {
        let repeats = Repeats::new()?;
        Arc::pin_init(
            pin_init!(Self {
                table <- IdTable::new(),
                repeats,
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Takes the lowest free id.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `ENOSPC` when there are no more ids.
    pub(crate) fn reserve_id(&self) -> Result<ReservedId<'_>> {
        self.table.reserve()
    }

    /// Sees to it that nobody finds `object` any more.
    ///
    /// # Errors
    ///
    /// `ENOENT`: somebody else did.
    pub(crate) fn retire(&self, object: &Object) -> Result<RetiredId<'_>> {
        self.retire_if(object, || Ok(()))
    }

    /// As [`Self::retire`], if `may_go` says so, under the lock of the ids.
    pub(crate) fn retire_if(
        &self,
        object: &Object,
        may_go: impl FnOnce() -> Result,
    ) -> Result<RetiredId<'_>> {
        self.table.retire(object.id(), |entry| {
            if !entry.object.same(object) {
                return Err(ENOENT);
            }
            may_go()
        })
    }

    /// How often pages are in areas of its address spaces beyond the first time.
    pub(crate) fn repeats(&self) -> &Arc<Repeats> {
        &self.repeats
    }

    /// Does something, which may not sleep, unless an id is taken: returns nothing then.
    pub(crate) fn if_empty<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        self.table.if_empty(work)
    }

    /// The object of an id.
    pub(crate) fn get(&self, id: u32) -> Option<Object> {
        self.table.look(id, |entry| entry.object.clone())
    }

    /// All objects, in the order of their ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Object> + '_ {
        let mut next = Some(1);
        iter::from_fn(move || {
            let (id, object) = self.table.look_from(next?, |entry| entry.object.clone())?;
            next = id.checked_add(1);
            Some(object)
        })
    }

    /// All address spaces, in the order of their ids.
    pub(crate) fn spaces(&self) -> impl Iterator<Item = Arc<Ioas>> + '_ {
        self.iter().filter_map(|object| match object {
            Object::Ioas(ioas) => Some(ioas),
            _ => None,
        })
    }

    /// The address space of an id, for the length of a call.
    ///
    /// # Errors
    ///
    /// `ENOENT`: there is none.
    pub(crate) fn ioas(&self, id: u32) -> Result<Arc<Ioas>> {
        let ioas = self.table.look(id, |entry| match &entry.object {
            Object::Ioas(ioas) => Some(ioas.clone()),
            _ => None,
        });
        ioas.flatten().ok_or(ENOENT)
    }

    /// The bound device of an id.
    ///
    /// # Errors
    ///
    /// `ENOENT`: there is none.
    pub(crate) fn device(&self, id: u32) -> Result<Arc<Idev>> {
        match self.get(id) {
            Some(Object::Device(idev)) => Ok(idev),
            _ => Err(ENOENT),
        }
    }

    /// A use of an address space, which cannot be freed while the result lives.
    ///
    /// # Errors
    ///
    /// `ENOENT`: it was freed already.
    pub(crate) fn use_ioas(&self, ioas: &Arc<Ioas>) -> Result<IoasUser> {
        // Under the lock that freeing looks at the users under.
        let user = self.table.look(ioas.id(), |entry| match &entry.object {
            Object::Ioas(other) if Arc::ptr_eq(ioas, other) => Some(IoasUser::new(ioas.clone())),
            _ => None,
        });
        user.flatten().ok_or(ENOENT)
    }
}
