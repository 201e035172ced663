// SPDX-License-Identifier: GPL-2.0

//! A context: what one open of /dev/iommu owns.
//!
//! It lives as long as its file is open or a driver has bound something to it.

use crate::{
    kapi::{
        account::Accounting,
        driver_ctx::DriverCtx,
        rwsem::{
            new_rwsem,
            ReadGuard,
            RwSemaphore,
            WriteGuard, //
        },
        task, //
    },
    objects::{
        container::Container,
        cookies::Cookies,
        groups::Groups,
        ioas::Ioas,
        registry::{
            Listing,
            Registry, //
        },
        table::{
            Object,
            Objects,
            RetiredId, //
        },
        users::Used, //
    }, //
};
use kernel::{
    device::Device,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            ordering::Relaxed,
            AtomicFlag, //
        },
        Arc, //
    }, //
};

/// One open of /dev/iommu, as its file and what is bound to it hold it.
#[pin_data]
pub(crate) struct Context {
    /// Where it can be looked at; given up first.
    listing: Listing<Objects>,
    /// What ids stand for.
    pub(crate) objects: Arc<Objects>,
    /// Those who only look at the objects may have them for longer.
    _end: End,
    /// What IOMMU drivers know of it.
    drivers: Arc<DriverCtx>,
    /// The devices that have another name.
    #[pin]
    pub(crate) cookies: Cookies,
    /// The groups of the bound devices.
    #[pin]
    pub(crate) groups: Groups,
    /// What stands for a VFIO container.
    #[pin]
    pub(crate) container: Container,
    /// Whether memory counts against the limit of the process. Set while there are no objects.
    per_process: AtomicFlag,
    /// Held for writing while a process takes charges over, for reading while memory that has
    /// its charge goes to another address space.
    #[pin]
    takeovers: RwSemaphore<()>,
    /// The device node, which stands for us where a device has to be named.
    node: ARef<Device>,
}

/// The end of a context's objects, when this is dropped.
struct End(Arc<Objects>);

impl Drop for End {
    fn drop(&mut self) {
        // Nothing is bound and nobody calls any more, so that only each other uses what is left.
        while self.end_some() {}
        // Whatever domain is left is one of userspace's own. What is mapped in it has to be
        // unmapped before it is unpinned.
        for ioas in self.0.spaces() {
            ioas.iopt.close();
        }
    }
}

impl End {
    /// Ends what is not used of what IOMMU drivers have a part in: whether there was any.
    fn end_some(&self) -> bool {
        let mut ended = false;
        for object in self.0.iter() {
            ended |= end(&self.0, &object).is_ok();
            task::resched();
        }
        ended
    }
}

/// Destroys an object that an IOMMU driver has a part in, unless it is in use.
///
/// # Errors
///
/// `ENOENT`: it was destroyed already. `EBUSY`: it is in use, or nothing of the kind. `EINTR`.
fn end<'a>(objects: &'a Objects, object: &Object) -> Result<RetiredId<'a>> {
    match object {
        Object::Nested(nested) => nested.destroy(|| objects.retire_unused(object)),
        Object::FaultQueue(_) => objects.retire_unused(object),
        Object::Viommu(viommu) => viommu.destroy(|| objects.retire_unused(object)),
        Object::HwQueue(queue) => queue.destroy(|| objects.retire_unused(object)),
        Object::Veventq(queue) => queue.destroy(|| objects.retire_unused(object)),
        Object::Vdevice(vdevice, idev) => idev
            .group()
            .take_vdevice(idev, vdevice, || objects.retire(object)),
        _ => Err(EBUSY),
    }
}

impl Context {
    /// A context without objects, for the current process.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(registry: &Arc<Registry<Objects>>, node: &Device) -> Result<Arc<Self>> {
        let objects = Objects::new()?;
        let listing = Listing::new(registry.clone(), &objects)?;
        let drivers = DriverCtx::new()?;
        Arc::pin_init(
            pin_init!(Self {
                listing,
                _end: End(objects.clone()),
                objects,
                drivers,
                cookies <- Cookies::new(),
                groups <- Groups::new(),
                container <- Container::new(),
                per_process: AtomicFlag::new(false),
                takeovers <- new_rwsem!((), c"iommufd_takeovers"),
                node: node.into(),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// What it is called wherever contexts are shown.
    pub(crate) fn number(&self) -> u64 {
        self.listing.number()
    }

    /// What IOMMU drivers know of it.
    pub(crate) fn drivers(&self) -> &Arc<DriverCtx> {
        &self.drivers
    }

    /// The device node.
    pub(crate) fn node(&self) -> &Device {
        &self.node
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
        self.objects.if_empty(set).unwrap_or(Err(EBUSY))
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

    /// Frees an address space, with all that is mapped in it.
    ///
    /// # Errors
    ///
    /// * `ENOENT`: it was freed already.
    /// * `EBUSY`: it is in use.
    /// * `EINTR`: a fatal signal came while a map was waited for; it is there as before.
    pub(crate) fn free_ioas(&self, ioas: Arc<Ioas>) -> Result {
        let object = Object::Ioas(ioas.clone());
        let gone = self.objects.retire_unused(&object)?;
        if let Err(e) = ioas.iopt.destroy() {
            ioas.users().go_on();
            gone.put_back();
            return Err(e);
        }
        self.container.forget(&ioas);
        drop((object, ioas));
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
        let mut gone = None;
        let object = self.objects.get(id).ok_or(ENOENT)?;
        let destroyed = match &object {
            Object::Ioas(ioas) => self.free_ioas(ioas.clone()),
            Object::Hwpt(hwpt, ioas) => ioas.iopt.remove_hwpt(hwpt, || {
                gone = Some(self.objects.retire_unused(&object)?);
                Ok(())
            }),
            #[cfg(IOMMUFD_MOCK)]
            Object::Extra(extra) => {
                let retired = self.objects.retire(&object)?;
                match extra.end() {
                    Ok(()) => gone = Some(retired),
                    Err(e) => {
                        retired.put_back();
                        return Err(e);
                    }
                }
                Ok(())
            }
            _ => end(&self.objects, &object).map(|retired| gone = Some(retired)),
        };
        drop(object);
        // The id is free when nothing is left.
        drop(gone);
        destroyed
    }
}
