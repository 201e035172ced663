// SPDX-License-Identifier: GPL-2.0

//! A context: what one open of /dev/iommu owns.
//!
//! It lives as long as its file is open or a driver has bound something to it.

use crate::{
    kapi::{
        account::Accounting,
        rwsem::{
            new_rwsem,
            ReadGuard,
            RwSemaphore,
            WriteGuard, //
        }, //
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
            Objects, //
        }, //
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
        // Nothing is bound and nobody calls any more: whatever domain is left is one of
        // userspace's own. What is mapped in it has to be unmapped before it is unpinned.
        for ioas in self.0.spaces() {
            ioas.iopt.close();
        }
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
        Arc::pin_init(
            pin_init!(Self {
                listing,
                _end: End(objects.clone()),
                objects,
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
        let gone = self.objects.retire_if(&object, || match ioas.is_used() {
            true => Err(EBUSY),
            false => Ok(()),
        })?;
        if let Err(e) = ioas.iopt.destroy() {
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
        // Dropped last, so that the id is free when nothing is left.
        let mut gone = None;
        let object = self.objects.get(id).ok_or(ENOENT)?;
        match &object {
            Object::Ioas(ioas) => self.free_ioas(ioas.clone()),
            Object::Hwpt(hwpt, ioas) => ioas.iopt.remove_hwpt(hwpt, || {
                gone = Some(self.objects.retire(&object)?);
                Ok(())
            }),
            Object::Device(_) | Object::Access(_) => Err(EBUSY),
        }
    }
}
