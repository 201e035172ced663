// SPDX-License-Identifier: GPL-2.0

//! What ids stand for.
//!
//! An object is itself, not its number: it has an id from when it is whole until it is about to go,
//! and the id is free again when nothing is left of it. Whoever has found an object acts on that,
//! and on no number.

use crate::{
    kapi::{
        ids::{
            self,
            IdTable, //
        },
        users::Users, //
    },
    objects::{
        access::Access,
        fault_queue::FaultQueue,
        group::Idev,
        hw_queue::HwQueue,
        ioas::{
            Ioas,
            IoasUser, //
        },
        nested::Nested,
        users::{
            Used,
            User, //
        },
        vdevice::Vdevice,
        veventq::Veventq,
        viommu::Viommu, //
    },
    space::{
        hwpt::Hwpt,
        part::SharedTotals, //
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
    /// A domain inside of another.
    Nested(Arc<Nested>),
    /// A queue of page faults.
    FaultQueue(Arc<FaultQueue>),
    /// A virtual IOMMU.
    Viommu(Arc<Viommu>),
    /// A device of a virtual IOMMU, and the bound one that it is.
    Vdevice(Arc<Vdevice>, Arc<Idev>),
    /// A queue of a virtual IOMMU.
    HwQueue(Arc<HwQueue>),
    /// A queue of events of a virtual IOMMU.
    Veventq(Arc<Veventq>),
    /// A bound device.
    Device(Arc<Idev>),
    /// What a driver accesses an address space's memory by.
    Access(Arc<Access>),
    /// Something that tests have made.
    #[cfg(IOMMUFD_MOCK)]
    Extra(Arc<dyn Extra>),
}

/// What tests make, of which no more is known here.
#[cfg(IOMMUFD_MOCK)]
pub(crate) trait Extra: Send + Sync {
    /// The id that userspace knows it by.
    fn id(&self) -> u32;

    /// Ends it when nothing is done with it any more. Nobody finds it by now.
    ///
    /// # Errors
    ///
    /// `EINTR`: a fatal signal came; it is there as before.
    fn end(&self) -> Result;

    /// For who knows what it is.
    fn as_any(&self) -> &dyn core::any::Any;
}

impl Object {
    fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ioas(one), Self::Ioas(other)) => Arc::ptr_eq(one, other),
            (Self::Hwpt(one, _), Self::Hwpt(other, _)) => Arc::ptr_eq(one, other),
            (Self::Nested(one), Self::Nested(other)) => Arc::ptr_eq(one, other),
            (Self::FaultQueue(one), Self::FaultQueue(other)) => Arc::ptr_eq(one, other),
            (Self::Viommu(one), Self::Viommu(other)) => Arc::ptr_eq(one, other),
            (Self::Vdevice(one, _), Self::Vdevice(other, _)) => Arc::ptr_eq(one, other),
            (Self::HwQueue(one), Self::HwQueue(other)) => Arc::ptr_eq(one, other),
            (Self::Veventq(one), Self::Veventq(other)) => Arc::ptr_eq(one, other),
            (Self::Device(one), Self::Device(other)) => Arc::ptr_eq(one, other),
            (Self::Access(one), Self::Access(other)) => Arc::ptr_eq(one, other),
            #[cfg(IOMMUFD_MOCK)]
            (Self::Extra(one), Self::Extra(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }

    fn id(&self) -> u32 {
        match self {
            Self::Ioas(ioas) => ioas.id(),
            Self::Hwpt(hwpt, _) => hwpt.id(),
            Self::Nested(nested) => nested.id(),
            Self::FaultQueue(queue) => queue.id(),
            Self::Viommu(viommu) => viommu.id(),
            Self::Vdevice(vdevice, _) => vdevice.id(),
            Self::HwQueue(queue) => queue.id(),
            Self::Veventq(queue) => queue.id(),
            Self::Device(idev) => idev.id(),
            Self::Access(access) => access.id(),
            #[cfg(IOMMUFD_MOCK)]
            Self::Extra(extra) => extra.id(),
        }
    }

    /// Those who use it, where that keeps it from being destroyed.
    fn users(&self) -> Option<&Users> {
        match self {
            Self::Ioas(ioas) => Some(ioas.users()),
            Self::Hwpt(hwpt, _) => Some(hwpt.users()),
            Self::Nested(nested) => Some(nested.users()),
            Self::FaultQueue(queue) => Some(queue.users()),
            Self::Viommu(viommu) => Some(viommu.users()),
            Self::HwQueue(queue) => Some(queue.users()),
            Self::Veventq(queue) => Some(queue.users()),
            _ => None,
        }
    }
}

/// Objects of one kind that others use, as the table has them.
pub(crate) trait Kind: Used {
    /// An object, if it is of this kind.
    fn of(object: &Object) -> Option<&Arc<Self>>;
}

/// Tells which objects are of a kind.
macro_rules! kind {
    ($($kind:ident: $pattern:pat => $it:ident;)*) => {
        $(impl Kind for $kind {
            fn of(object: &Object) -> Option<&Arc<Self>> {
                match object {
                    $pattern => Some($it),
                    _ => None,
                }
            }
        })*
    };
}

kind! {
    Ioas: Object::Ioas(ioas) => ioas;
    Hwpt: Object::Hwpt(hwpt, _) => hwpt;
    Nested: Object::Nested(nested) => nested;
    FaultQueue: Object::FaultQueue(queue) => queue;
    Viommu: Object::Viommu(viommu) => viommu;
}

/// What a domain of userspace's keeps from being destroyed, as long as it has its id.
pub(crate) struct HwptUses {
    /// Its address space.
    pub(crate) _ioas: IoasUser,
    /// Where its page faults go.
    pub(crate) _faults: Option<User<FaultQueue>>,
}

/// An object that has its id.
pub(crate) struct Entry {
    object: Object,
    _uses: Option<HwptUses>,
}

/// An id that nothing can be found by yet; free again if dropped.
pub(crate) type ReservedId<'a> = ids::ReservedId<'a, Entry>;

/// An object that nobody finds any more. Dropping this makes its id free.
pub(crate) type RetiredId<'a> = ids::RetiredId<'a, Entry>;

impl ReservedId<'_> {
    /// Gives the id to an object, which has it in itself and can be found from here on. It uses
    /// something as long, if it is a domain of userspace's.
    pub(crate) fn give_to(self, object: Object, uses: Option<HwptUses>) {
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
    /// What is pinned of memory that its address spaces share.
    totals: Arc<SharedTotals>,
}

impl Objects {
    /// A table without objects.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Arc<Self>> {
        let totals = SharedTotals::new()?;
        Arc::pin_init(
            pin_init!(Self {
                table <- IdTable::new(),
                totals,
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

    /// As [`Self::retire`], unless somebody uses it, as nobody begins to from here on.
    ///
    /// # Errors
    ///
    /// `ENOENT`, and `EBUSY`: somebody uses it.
    pub(crate) fn retire_unused(&self, object: &Object) -> Result<RetiredId<'_>> {
        self.retire_if(object, || match object.users().is_none_or(Users::end) {
            true => Ok(()),
            false => Err(EBUSY),
        })
    }

    /// As [`Self::retire`], but the id is not used again: whoever knows it has not destroyed the
    /// object.
    ///
    /// # Errors
    ///
    /// `ENOENT`: somebody else did.
    pub(crate) fn entomb(&self, object: &Object) -> Result {
        let entombed = self
            .table
            .entomb(object.id(), |entry| match entry.object.same(object) {
                true => Ok(()),
                false => Err(ENOENT),
            });
        entombed.map(drop)
    }

    /// What is pinned of memory that its address spaces share.
    pub(crate) fn totals(&self) -> &Arc<SharedTotals> {
        &self.totals
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

    /// The object of an id, for the length of a call.
    ///
    /// # Errors
    ///
    /// `ENOENT`: there is none of that kind.
    pub(crate) fn find<T: Kind>(&self, id: u32) -> Result<Arc<T>> {
        let found = self.table.look(id, |entry| T::of(&entry.object).cloned());
        found.flatten().ok_or(ENOENT)
    }

    /// The address space of an id, for the length of a call.
    ///
    /// # Errors
    ///
    /// `ENOENT`: there is none.
    pub(crate) fn ioas(&self, id: u32) -> Result<Arc<Ioas>> {
        self.find(id)
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

    /// A use of an object, which cannot be destroyed while the result lives.
    ///
    /// # Errors
    ///
    /// `ENOENT`: it was destroyed already.
    pub(crate) fn hold<T: Kind>(&self, used: &Arc<T>) -> Result<User<T>> {
        // Under the lock that destroying looks at the users under.
        let user = self.table.look(used.id(), |entry| {
            let found = T::of(&entry.object)?;
            Arc::ptr_eq(found, used).then(|| User::new(used.clone()))
        });
        user.flatten().ok_or(ENOENT)
    }

    /// A use of an address space, which cannot be freed while the result lives.
    ///
    /// # Errors
    ///
    /// `ENOENT`: it was freed already.
    pub(crate) fn use_ioas(&self, ioas: &Arc<Ioas>) -> Result<IoasUser> {
        self.hold(ioas)
    }
}
