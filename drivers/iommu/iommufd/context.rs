// SPDX-License-Identifier: GPL-2.0

//! A context: what one open of /dev/iommu owns, by id.
//!
//! It lives as long as its file is open or a device is bound to it. An object's id is reserved
//! first, and given to the object when that is complete: nobody ever finds half an object.

use crate::{
    group::Group,
    ioas::{
        Ioas,
        IoasUser, //
    },
    kapi::device::BoundDevice,
    registry::{
        Listing,
        Registry, //
    },
};
use core::ops::Deref;
use kernel::{
    bindings,
    id_pool::IdPool,
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
    xarray::{
        AllocKind,
        XArray, //
    },
};

/// One open of /dev/iommu, as its file and the devices bound to it hold it.
pub(crate) struct Context {
    /// Where it can be looked at; given up first.
    _listing: Listing,
    objects: Arc<Objects>,
}

impl Context {
    /// A context without objects, for the current process.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(registry: &Arc<Registry>) -> Result<Arc<Self>> {
        let objects = Objects::new()?;
        let context = Self {
            _listing: Listing::new(registry.clone(), &objects)?,
            objects,
        };
        Ok(Arc::new(context, GFP_KERNEL_ACCOUNT)?)
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
    ids: Mutex<IdPool>,
    /// The objects that have their id.
    #[pin]
    objects: XArray<KBox<Object>>,
    /// The ids of devices whose driver gave userspace another name for them.
    #[pin]
    cookies: Mutex<KVec<(u64, u32)>>,
    /// The groups of the bound devices, each with how many of them it has.
    #[pin]
    groups: Mutex<KVec<(Arc<Group>, usize)>>,
}

/// What an id can stand for.
#[derive(Clone)]
pub(crate) enum Object {
    /// An I/O address space.
    Ioas(Arc<Ioas>),
    /// A bound device, which its group knows by the same id.
    Device(Arc<Group>),
}

impl Objects {
    fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                ids <- new_mutex!(IdPool::new(), "iommufd_ids"),
                objects <- XArray::new(AllocKind::Alloc1),
                cookies <- new_mutex!(KVec::new(), "iommufd_cookies"),
                groups <- new_mutex!(KVec::new(), "iommufd_groups"),
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
            if let Some(id) = ids.find_unused_id(1) {
                let number = id.as_u32();
                id.acquire();
                return Ok(ReservedId {
                    objects: self,
                    number,
                });
            }
            let grown = ids
                .grow_request()
                .ok_or(ENOSPC)?
                .realloc(GFP_KERNEL_ACCOUNT)?;
            ids.grow(grown);
        }
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
        u32::try_from(self.ids.lock().capacity()).unwrap_or(u32::MAX)
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
        self.ids.lock().release_id(id as usize);
        Ok(())
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
        let removed = self.objects.lock().remove(id as usize);
        drop(removed);
        self.ids.lock().release_id(id as usize);
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
        self.objects.ids.lock().release_id(self.number as usize);
    }
}
