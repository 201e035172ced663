// SPDX-License-Identifier: GPL-2.0

//! A context: what one open of /dev/iommu owns, by id.
//!
//! It lives as long as its file is open or a driver has bound something to it. An object is itself,
//! not its number: it has an id from when it is whole until it is about to go, and the id is free
//! again when nothing is left of it. Whoever has found an object acts on that, and on no number.

use crate::{
    iova::IovaRange,
    kapi::{
        account::Accounting,
        device::BoundDevice,
        ids::{
            self,
            IdTable, //
        },
        rwsem::{
            new_rwsem,
            ReadGuard,
            RwSemaphore,
            WriteGuard, //
        }, //
    },
    objects::{
        access,
        group::{
            Group,
            Idev, //
        },
        ioas::{
            Ioas,
            IoasUser, //
        },
        registry::{
            Listing,
            Registry, //
        }, //
    },
    space::hwpt::Hwpt, //
};
use core::{
    iter,
    ops::Deref, //
};
use kernel::{
    bindings,
    device::Device,
    new_mutex,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            ordering::Relaxed,
            AtomicFlag, //
        },
        Arc,
        Mutex, //
    },
    types::ScopeGuard,
    warn_on, //
};

/// One open of /dev/iommu, as its file and what is bound to it hold it.
pub(crate) struct Context {
    /// Where it can be looked at; given up first.
    listing: Listing,
    objects: Arc<Objects>,
    /// The device node, which stands for us where a device has to be named.
    node: ARef<Device>,
}

impl Context {
    /// A context without objects, for the current process.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(registry: &Arc<Registry>, node: &Device) -> Result<Arc<Self>> {
        let objects = Objects::new()?;
        let context = Self {
            listing: Listing::new(registry.clone(), &objects)?,
            objects,
            node: node.into(),
        };
        Ok(Arc::new(context, GFP_KERNEL_ACCOUNT)?)
    }

    /// What it is called wherever contexts are shown.
    pub(crate) fn number(&self) -> u64 {
        self.listing.number()
    }

    /// The device node.
    pub(crate) fn node(&self) -> &Device {
        &self.node
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // Nothing is bound and nobody calls any more: whatever domain is left is one of
        // userspace's own. What is mapped in it has to be unmapped before it is unpinned.
        for ioas in self.spaces() {
            ioas.close();
        }
    }
}

impl Deref for Context {
    type Target = Objects;

    fn deref(&self) -> &Objects {
        &self.objects
    }
}

/// What a context owns.
#[pin_data]
pub(crate) struct Objects {
    /// What ids stand for, and which are taken.
    #[pin]
    table: IdTable<Entry>,
    /// Whether memory counts against the limit of the process. Set while there are no objects.
    per_process: AtomicFlag,
    /// Whether a device was bound or an IOASID allocated: no program of VFIO's has either before
    /// there is a container.
    knows_ioasids: AtomicFlag,
    /// The devices whose driver gave userspace another name for them.
    #[pin]
    cookies: Mutex<KVVec<(u64, Arc<Idev>)>>,
    /// The groups of the bound devices, each with how many of them it has.
    #[pin]
    groups: Mutex<KVVec<(Arc<Group>, usize)>>,
    #[pin]
    container: Mutex<Container>,
    /// Held for writing while a process takes charges over, for reading while memory that has
    /// its charge goes to another address space.
    #[pin]
    takeovers: RwSemaphore<()>,
}

/// What stands for a VFIO container.
#[derive(Default)]
struct Container {
    /// The address space that its calls work on.
    ioas: Option<Arc<Ioas>>,
    /// Whether it is for devices without an IOMMU, and so without an address space.
    no_iommu: bool,
}

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
    Access(Arc<access::Seat>),
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
            Self::Access(seat) => seat.id(),
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
pub(crate) type TakenOut<'a> = ids::TakenOut<'a, Entry>;

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

impl Objects {
    fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                table <- IdTable::new(),
                per_process: AtomicFlag::new(false),
                knows_ioasids: AtomicFlag::new(false),
                cookies <- new_mutex!(KVVec::new(), "iommufd_cookies"),
                groups <- new_mutex!(KVVec::new(), "iommufd_groups"),
                container <- new_mutex!(Container::default(), "iommufd_container"),
                takeovers <- new_rwsem!((), c"iommufd_takeovers"),
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
    pub(crate) fn take_out(&self, object: &Object) -> Result<TakenOut<'_>> {
        self.take_out_if(object, || Ok(()))
    }

    /// As [`Self::take_out`], if `may_go` says so, under the lock of the ids.
    fn take_out_if(
        &self,
        object: &Object,
        may_go: impl FnOnce() -> Result,
    ) -> Result<TakenOut<'_>> {
        self.table.take_out(object.id(), |entry| {
            if !entry.object.same(object) {
                return Err(ENOENT);
            }
            may_go()
        })
    }

    /// What mapped memory counts against.
    pub(crate) fn accounting(&self) -> Accounting {
        if self.per_process.load(Relaxed) {
            Accounting::Process
        } else {
            Accounting::User
        }
    }

    /// Says what mapped memory counts against.
    ///
    /// # Errors
    ///
    /// `EBUSY`: there are objects already.
    /// `EINVAL`: it is nothing that there is.
    pub(crate) fn set_accounting(&self, accounting: Option<Accounting>) -> Result {
        let set = || {
            let accounting = accounting.ok_or(EINVAL)?;
            self.per_process
                .store(accounting == Accounting::Process, Relaxed);
            Ok(())
        };
        self.table.if_empty(set).unwrap_or(Err(EBUSY))
    }

    /// Keeps charges with their payers, so that memory can be shared.
    ///
    /// # Errors
    ///
    /// `EINTR`.
    pub(crate) fn hold_charges(&self) -> Result<ReadGuard<'_, ()>> {
        self.takeovers.read_killable()
    }

    /// Keeps memory where it is, so that the current process can take charges over.
    ///
    /// # Errors
    ///
    /// `EINTR`.
    pub(crate) fn move_charges(&self) -> Result<WriteGuard<'_, ()>> {
        self.takeovers.write_killable()
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
        // Under the lock that `free_ioas` looks at the users under.
        let user = self.table.look(ioas.id(), |entry| match &entry.object {
            Object::Ioas(other) if Arc::ptr_eq(ioas, other) => Some(IoasUser::new(ioas.clone())),
            _ => None,
        });
        user.flatten().ok_or(ENOENT)
    }

    /// Frees an address space, with all that is mapped in it.
    ///
    /// # Errors
    ///
    /// * `ENOENT`: it was freed already.
    /// * `EBUSY`: it is in use.
    /// * `EINTR`: a fatal signal came while a map was waited for; it is there as before.
    pub(crate) fn free_ioas(&self, ioas: Arc<Ioas>) -> Result {
        let object = Object::Ioas(ioas.clone());
        let gone = self.take_out_if(&object, || match ioas.is_used() {
            true => Err(EBUSY),
            false => Ok(()),
        })?;
        if let Err(e) = ioas.destroy() {
            gone.put_back();
            return Err(e);
        }
        // It was put there while it could be found, under that lock.
        let mut container = self.container.lock();
        let stood_for = container.ioas.take_if(|other| Arc::ptr_eq(other, &ioas));
        drop(container);
        drop((stood_for, object, ioas));
        // The id is free now, behind what is freed.
        drop(gone);
        Ok(())
    }

    /// Destroys an object that is not in use.
    ///
    /// # Errors
    ///
    /// * `ENOENT`: there is none. `EINTR`.
    /// * `EBUSY`: it is in use, as a device or an access always is, by the driver that bound it.
    pub(crate) fn destroy(&self, id: u32) -> Result {
        // Dropped last, so that the id is free when nothing is left.
        let mut gone = None;
        let object = self.get(id).ok_or(ENOENT)?;
        match &object {
            Object::Ioas(ioas) => self.free_ioas(ioas.clone()),
            Object::Hwpt(hwpt, ioas) => ioas.remove_hwpt(hwpt, || {
                gone = Some(self.take_out(&object)?);
                Ok(())
            }),
            Object::Device(_) | Object::Access(_) => Err(EBUSY),
        }
    }

    /// The address space that the calls of a VFIO container work on.
    ///
    /// # Errors
    ///
    /// `ENODEV`: there is none.
    pub(crate) fn container_ioas(&self) -> Result<Arc<Ioas>> {
        self.container.lock().ioas.clone().ok_or(ENODEV)
    }

    /// Says which address space the calls of a VFIO container work on, if on any.
    ///
    /// # Errors
    ///
    /// `ENOENT`: it was freed already.
    pub(crate) fn set_container_ioas(&self, ioas: Option<Arc<Ioas>>) -> Result {
        let mut container = self.container.lock();
        if let Some(ioas) = &ioas {
            // Freeing it takes it out of the container, under this lock, when it is not found
            // any more.
            let found = self.ioas(ioas.id())?;
            Arc::ptr_eq(&found, ioas).then_some(()).ok_or(ENOENT)?;
        }
        let old = core::mem::replace(&mut container.ioas, ioas);
        drop(container);
        // If it was the last reference, what it held goes here, after the lock.
        drop(old);
        Ok(())
    }

    /// Sees to it that there is an address space for the calls of a VFIO container.
    ///
    /// # Errors
    ///
    /// `EINVAL`: the container is for devices without an IOMMU. `ENOMEM`, `ENOSPC`.
    pub(crate) fn make_container_ioas(&self) -> Result {
        let id = self.reserve_id()?;
        let ioas = Ioas::new(id.number(), IovaRange::ALL, false)?;
        let mut container = self.container.lock();
        if container.no_iommu {
            return Err(EINVAL);
        }
        if container.ioas.is_none() {
            id.give_to(Object::Ioas(ioas.clone()), None);
            container.ioas = Some(ioas);
        }
        Ok(())
    }

    /// Says that the container is for devices without an IOMMU.
    ///
    /// # Errors
    ///
    /// `EINVAL`: it has an address space.
    pub(crate) fn set_no_iommu(&self) -> Result {
        let mut container = self.container.lock();
        if container.ioas.is_some() {
            return Err(EINVAL);
        }
        container.no_iommu = true;
        Ok(())
    }

    /// Notes that a device was bound or an IOASID allocated.
    pub(crate) fn note_ioasids(&self) {
        self.knows_ioasids.store(true, Relaxed);
    }

    /// Whether a plain number that comes with `IOMMU_CHECK_EXTENSION` is one. If not, the call is
    /// that of a container by the same number, which has no argument.
    pub(crate) fn takes_plain_extensions(&self) -> bool {
        let container = self.container.lock();
        container.ioas.is_none() && !container.no_iommu && self.knows_ioasids.load(Relaxed)
    }

    /// Whether the container is for devices without an IOMMU.
    pub(crate) fn is_no_iommu(&self) -> bool {
        self.container.lock().no_iommu
    }

    /// Lets userspace name a device by `cookie`, from when it has its id on. Dropping the result
    /// undoes that.
    ///
    /// # Errors
    ///
    /// `EBUSY`: another device has that cookie. `ENOMEM`.
    pub(crate) fn add_cookie(
        &self,
        cookie: u64,
        idev: Arc<Idev>,
    ) -> Result<ScopeGuard<Arc<Idev>, impl FnOnce(Arc<Idev>) + '_>> {
        let mut cookies = self.cookies.lock();
        if cookies.iter().any(|(other, _)| *other == cookie) {
            return Err(EBUSY);
        }
        cookies.push((cookie, idev.clone()), GFP_KERNEL_ACCOUNT)?;
        drop(cookies);
        Ok(ScopeGuard::new_with_data(idev, |idev| {
            self.remove_cookie(&idev)
        }))
    }

    /// Undoes [`Self::add_cookie`].
    pub(crate) fn remove_cookie(&self, idev: &Arc<Idev>) {
        let mut cookies = self.cookies.lock();
        cookies.retain(|(_, other)| !Arc::ptr_eq(other, idev));
    }

    /// The device that userspace names by `cookie`, which may be its id.
    ///
    /// # Errors
    ///
    /// `ENOENT`: there is none.
    pub(crate) fn device_by_cookie(&self, cookie: u64) -> Result<Arc<Idev>> {
        let cookies = self.cookies.lock();
        let named = cookies.iter().find(|(other, _)| *other == cookie);
        let named = named.map(|(_, idev)| idev.clone());
        drop(cookies);
        match named {
            // It may not have its id yet, or not any more.
            Some(named) => {
                let found = self.device(named.id())?;
                Arc::ptr_eq(&found, &named).then_some(found).ok_or(ENOENT)
            }
            None => self.device(u32::try_from(cookie).map_err(|_| ENOENT)?),
        }
    }

    /// The group of `dev` in this context, which knows that it has one device more. Dropping the
    /// result undoes that.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn join_group<'a>(
        &'a self,
        dev: &BoundDevice<'_>,
    ) -> Result<ScopeGuard<Arc<Group>, impl FnOnce(Arc<Group>) + 'a>> {
        let group = self.count_into_group(dev)?;
        Ok(ScopeGuard::new_with_data(group, |group| {
            self.leave_group(&group)
        }))
    }

    fn count_into_group(&self, dev: &BoundDevice<'_>) -> Result<Arc<Group>> {
        let mut groups = self.groups.lock();
        for (group, devices) in groups.iter_mut() {
            if group.iommu_group().same(dev.group()) {
                *devices = devices.checked_add(1).ok_or(ENOMEM)?;
                return Ok(group.clone());
            }
        }
        let group = Group::new(dev.group_ref()?)?;
        groups.push((group.clone(), 1), GFP_KERNEL_ACCOUNT)?;
        Ok(group)
    }

    /// Undoes one [`Self::join_group`].
    pub(crate) fn leave_group(&self, group: &Arc<Group>) {
        self.groups.lock().retain(|(other, devices)| {
            if Arc::ptr_eq(other, group) {
                *devices = devices.saturating_sub(1);
            }
            *devices > 0
        });
    }

    /// Whether a device of the group at `ptr` is bound to this context.
    pub(crate) fn has_group(&self, ptr: *const bindings::iommu_group) -> bool {
        let groups = self.groups.lock();
        groups.iter().any(|(group, _)| group.iommu_group().is(ptr))
    }
}

/// The ids of the domains that come and go with a group's move.
pub(crate) struct HwptIds<'a> {
    objects: &'a Objects,
    /// For a domain that may have to be made, and the address space that it would belong to.
    fresh: Option<(ReservedId<'a>, Arc<Ioas>)>,
    gone: Option<TakenOut<'a>>,
}

impl<'a> HwptIds<'a> {
    /// For a move that needs no domain to be made.
    pub(crate) fn new(objects: &'a Objects) -> Self {
        Self {
            objects,
            fresh: None,
            gone: None,
        }
    }

    /// For a move that may need a domain of `ioas` to be made. Returns the id that it would get:
    /// whatever can fail is done before the group moves.
    ///
    /// # Errors
    ///
    /// Those of [`Objects::reserve_id`].
    pub(crate) fn with_fresh(objects: &'a Objects, ioas: &Arc<Ioas>) -> Result<(Self, u32)> {
        let id = objects.reserve_id()?;
        let number = id.number();
        let ids = Self {
            fresh: Some((id, ioas.clone())),
            ..Self::new(objects)
        };
        Ok((ids, number))
    }

    /// What the ids are in.
    pub(crate) fn objects(&self) -> &'a Objects {
        self.objects
    }

    /// Lets a domain that was made be found. The group that is on it uses its address space.
    pub(crate) fn publish(&mut self, hwpt: &Arc<Hwpt>) {
        match self.fresh.take() {
            Some((id, ioas)) => id.give_to(Object::Hwpt(hwpt.clone(), ioas), None),
            None => {
                warn_on!(true);
            }
        }
    }

    /// Sees to it that nobody finds a domain of `ioas` that is about to go. Its id is free when
    /// this is dropped.
    pub(crate) fn retire(&mut self, hwpt: &Arc<Hwpt>, ioas: &Arc<Ioas>) {
        let object = Object::Hwpt(hwpt.clone(), ioas.clone());
        self.gone = self.objects.take_out(&object).ok();
        // What is in the list of its space is in the table.
        warn_on!(self.gone.is_none());
    }
}
