// SPDX-License-Identifier: GPL-2.0

//! A context: what one open of /dev/iommu owns, by id.
//!
//! It lives as long as its file is open or a driver has bound something to it. An object's id is reserved
//! first, and given to the object when that is complete: nobody ever finds half an object.

use crate::{
    access,
    group::Group,
    hwpt::Hwpt,
    ioas::{
        Ioas,
        IoasUser, //
    },
    iova::IovaRange,
    kapi::{
        account::Accounting,
        device::BoundDevice,
        rwsem::{
            new_rwsem,
            ReadGuard,
            RwSemaphore,
            WriteGuard, //
        },
        task, //
    },
    registry::{
        Listing,
        Registry, //
    },
};
use core::ops::Deref;
use kernel::{
    bindings,
    device::Device,
    id_pool::IdPool,
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
    xarray::{
        AllocKind,
        XArray, //
    },
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
        self.objects.destroy_domains();
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
    /// Which ids are taken, from 1 on.
    #[pin]
    ids: Mutex<Ids>,
    /// Whether memory counts against the limit of the process. Set while there are no objects.
    per_process: AtomicFlag,
    /// The objects that have their id.
    #[pin]
    objects: XArray<KBox<Object>>,
    /// The ids of devices whose driver gave userspace another name for them.
    #[pin]
    cookies: Mutex<KVec<(u64, u32)>>,
    /// The groups of the bound devices, each with how many of them it has.
    #[pin]
    groups: Mutex<KVec<(Arc<Group>, usize)>>,
    #[pin]
    container: Mutex<Container>,
    /// Held for writing while a process takes charges over, for reading while memory that has
    /// its charge goes to another address space.
    #[pin]
    takeovers: RwSemaphore<()>,
}

/// Ids in use.
struct Ids {
    pool: IdPool,
    /// How many there are.
    taken: u32,
}

/// What stands for a VFIO container.
#[derive(Default)]
struct Container {
    /// The id of the address space that its calls work on, or 0.
    ioas: u32,
    /// Whether it is for devices without an IOMMU, and so without an address space.
    no_iommu: bool,
}

/// What an id can stand for.
#[derive(Clone)]
pub(crate) enum Object {
    /// An I/O address space.
    Ioas(Arc<Ioas>),
    /// A domain of an address space, which the space knows by the same id.
    Hwpt(Arc<Hwpt>),
    /// A bound device, which its group knows by the same id.
    Device(Arc<Group>),
    /// What a driver accesses an address space's memory by.
    Access(Arc<access::Seat>),
}

impl Objects {
    fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                ids <- new_mutex!(
                    Ids {
                        pool: IdPool::new(),
                        taken: 0,
                    },
                    "iommufd_ids"
                ),
                per_process: AtomicFlag::new(false),
                objects <- XArray::new(AllocKind::Alloc1),
                cookies <- new_mutex!(KVec::new(), "iommufd_cookies"),
                groups <- new_mutex!(KVec::new(), "iommufd_groups"),
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
        let mut ids = self.ids.lock();
        loop {
            if let Some(id) = ids.pool.find_unused_id(1) {
                let number = id.as_u32();
                id.acquire();
                ids.taken += 1;
                return Ok(ReservedId {
                    objects: self,
                    number,
                });
            }
            // Millions of ids want more memory in one piece than there may be. That is no
            // reason to fill the log.
            let grown = ids
                .pool
                .grow_request()
                .ok_or(ENOSPC)?
                .realloc(GFP_KERNEL_ACCOUNT | __GFP_NOWARN)?;
            ids.pool.grow(grown);
        }
    }

    fn release_id(&self, id: u32) {
        let mut ids = self.ids.lock();
        ids.pool.release_id(id as usize);
        ids.taken -= 1;
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
        let ids = self.ids.lock();
        if ids.taken > 0 {
            return Err(EBUSY);
        }
        let accounting = accounting.ok_or(EINVAL)?;
        self.per_process
            .store(accounting == Accounting::Process, Relaxed);
        Ok(())
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

    /// Gives a reserved id to an object, which can be found from here on.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn publish(&self, id: u32, object: Object) -> Result {
        let object = KBox::new(object, GFP_KERNEL_ACCOUNT)?;
        let stored = self
            .objects
            .lock()
            .store(id as usize, object, GFP_KERNEL_ACCOUNT);
        // What did not fit is dropped here, after the lock.
        stored?;
        Ok(())
    }

    /// The object of an id.
    pub(crate) fn get(&self, id: u32) -> Option<Object> {
        self.objects.lock().get(id as usize).cloned()
    }

    /// Ids in use are below this.
    pub(crate) fn id_limit(&self) -> u32 {
        u32::try_from(self.ids.lock().pool.capacity()).unwrap_or(u32::MAX)
    }

    /// The address space of an id, for the length of a call.
    ///
    /// # Errors
    ///
    /// `ENOENT`: there is none.
    pub(crate) fn ioas(&self, id: u32) -> Result<Arc<Ioas>> {
        match self.objects.lock().get(id as usize) {
            Some(Object::Ioas(ioas)) => Ok(ioas.clone()),
            _ => Err(ENOENT),
        }
    }

    /// The address space of an id, which cannot be freed while the result lives.
    ///
    /// # Errors
    ///
    /// `ENOENT`: there is none.
    pub(crate) fn use_ioas(&self, id: u32) -> Result<IoasUser> {
        // Under the lock that `free_ioas` looks at the users under.
        match self.objects.lock().get(id as usize) {
            Some(Object::Ioas(ioas)) => Ok(IoasUser::new(ioas.clone(), id)),
            _ => Err(ENOENT),
        }
    }

    /// Frees the address space of an id, with all that is mapped in it.
    ///
    /// # Errors
    ///
    /// * `ENOENT`: there is none.
    /// * `EBUSY`: it is in use.
    pub(crate) fn free_ioas(&self, id: u32) -> Result {
        let removed = {
            let mut objects = self.objects.lock();
            match objects.get(id as usize) {
                Some(Object::Ioas(ioas)) if ioas.is_used() => return Err(EBUSY),
                Some(Object::Ioas(_)) => objects.remove(id as usize),
                _ => return Err(ENOENT),
            }
        };
        if let Some(Object::Ioas(ioas)) = removed.map(KBox::into_inner) {
            ioas.destroy();
        }
        {
            let mut container = self.container.lock();
            if container.ioas == id {
                container.ioas = 0;
            }
        }
        self.release_id(id);
        Ok(())
    }

    /// Destroys an object that is not in use.
    ///
    /// # Errors
    ///
    /// * `ENOENT`: there is none. `EINTR`.
    /// * `EBUSY`: it is in use, as a device or an access always is, by the driver that bound it.
    pub(crate) fn destroy(&self, id: u32) -> Result {
        match self.get(id).ok_or(ENOENT)? {
            Object::Ioas(_) => self.free_ioas(id),
            Object::Hwpt(hwpt) => {
                hwpt.ioas().remove_domain(id)?;
                self.remove(id);
                Ok(())
            }
            Object::Device(_) | Object::Access(_) => Err(EBUSY),
        }
    }

    /// Destroys all domains that no device is attached to.
    fn destroy_domains(&self) {
        for id in 1..self.id_limit() {
            task::resched();
            if matches!(self.get(id), Some(Object::Hwpt(_))) {
                // One that is in use stays.
                let _ = self.destroy(id);
            }
        }
    }

    /// The address space that the calls of a VFIO container work on, and its id.
    ///
    /// # Errors
    ///
    /// `ENODEV`: there is none.
    pub(crate) fn container_ioas(&self) -> Result<(u32, Arc<Ioas>)> {
        let id = self.container.lock().ioas;
        let ioas = self.ioas(id).map_err(|_| ENODEV)?;
        Ok((id, ioas))
    }

    /// Says which address space the calls of a VFIO container work on; 0 for none.
    ///
    /// # Errors
    ///
    /// `ENOENT`: there is no such space.
    pub(crate) fn set_container_ioas(&self, id: u32) -> Result {
        // Freeing the space takes it out of the container, under this lock, after it was found.
        let mut container = self.container.lock();
        if id != 0 {
            self.ioas(id)?;
        }
        container.ioas = id;
        Ok(())
    }

    /// Sees to it that there is an address space for the calls of a VFIO container.
    ///
    /// # Errors
    ///
    /// `EINVAL`: the container is for devices without an IOMMU. `ENOMEM`.
    pub(crate) fn make_container_ioas(&self) -> Result {
        let id = self.reserve_id()?;
        let ioas = Ioas::new(IovaRange::ALL, false)?;
        let mut container = self.container.lock();
        if container.no_iommu {
            return Err(EINVAL);
        }
        if self.ioas(container.ioas).is_err() {
            container.ioas = id.publish(Object::Ioas(ioas))?;
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
        if container.ioas != 0 {
            return Err(EINVAL);
        }
        container.no_iommu = true;
        Ok(())
    }

    /// Whether the container is for devices without an IOMMU.
    pub(crate) fn is_no_iommu(&self) -> bool {
        self.container.lock().no_iommu
    }

    /// Lets userspace name the device `id` by `cookie`.
    ///
    /// # Errors
    ///
    /// `EBUSY`: another device has that cookie. `ENOMEM`.
    pub(crate) fn add_cookie(&self, cookie: u64, id: u32) -> Result {
        let mut cookies = self.cookies.lock();
        if cookies.iter().any(|(other, _)| *other == cookie) {
            return Err(EBUSY);
        }
        Ok(cookies.push((cookie, id), GFP_KERNEL_ACCOUNT)?)
    }

    /// The id of the device that userspace names by `cookie`, which may be the id itself.
    ///
    /// # Errors
    ///
    /// `ENOENT`: no device can have that name.
    pub(crate) fn device_id(&self, cookie: u64) -> Result<u32> {
        let cookies = self.cookies.lock();
        match cookies.iter().find(|(other, _)| *other == cookie) {
            Some((_, id)) => Ok(*id),
            None => u32::try_from(cookie).map_err(|_| ENOENT),
        }
    }

    /// Takes a device's id back, whether it was published or not, and its cookie.
    pub(crate) fn remove_device(&self, id: u32) {
        self.cookies.lock().retain(|(_, other)| *other != id);
        self.remove(id);
    }

    /// Takes the id of an object back that is gone, whether it was published or not.
    pub(crate) fn remove(&self, id: u32) {
        let removed = self.objects.lock().remove(id as usize);
        drop(removed);
        self.release_id(id);
    }

    /// The group of `dev` in this context, which knows that it has one device more.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn join_group(&self, dev: &BoundDevice<'_>) -> Result<Arc<Group>> {
        let mut groups = self.groups.lock();
        for (group, devices) in groups.iter_mut() {
            if group.iommu_group().same(dev.group()) {
                *devices += 1;
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
                *devices -= 1;
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

/// An id that nothing can be found by yet; free again if dropped.
pub(crate) struct ReservedId<'a> {
    objects: &'a Objects,
    number: u32,
}

impl ReservedId<'_> {
    /// The id.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// Makes the caller responsible for the id.
    pub(crate) fn keep(self) -> u32 {
        let number = self.number;
        core::mem::forget(self);
        number
    }

    /// Gives the id to an object, which can be found from here on.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; the id is free again, then.
    pub(crate) fn publish(self, object: Object) -> Result<u32> {
        self.objects.publish(self.number, object)?;
        Ok(self.keep())
    }
}

impl Drop for ReservedId<'_> {
    fn drop(&mut self) {
        self.objects.release_id(self.number);
    }
}
