// SPDX-License-Identifier: GPL-2.0

//! What stands for a VFIO container, in contexts of programs that know nothing else.

use crate::{
    iova::IovaRange,
    objects::{
        ioas::Ioas,
        table::{
            Object,
            Objects, //
        }, //
    }, //
};
use core::mem::replace;
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            ordering::Relaxed,
            AtomicFlag, //
        },
        Arc,
        Mutex, //
    }, //
};

/// The container of a context.
#[pin_data]
pub(crate) struct Container {
    #[pin]
    state: Mutex<State>,
    /// Whether a device was bound or an IOASID allocated: no program of VFIO's has either before
    /// there is a container.
    knows_ioasids: AtomicFlag,
}

#[derive(Default)]
struct State {
    /// The address space that its calls work on.
    ioas: Option<Arc<Ioas>>,
    /// Whether it is for devices without an IOMMU, and so without an address space.
    no_iommu: bool,
    /// Whether a VFIO group was given to it.
    has_group: bool,
}

impl Container {
    /// A container without an address space.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            state <- new_mutex!(State::default(), "iommufd_container"),
            knows_ioasids: AtomicFlag::new(false),
        })
    }

    /// The address space that the calls of a VFIO container work on.
    ///
    /// # Errors
    ///
    /// `ENODEV`: there is none.
    pub(crate) fn ioas(&self) -> Result<Arc<Ioas>> {
        self.state.lock().ioas.clone().ok_or(ENODEV)
    }

    /// Says which address space the calls of a VFIO container work on, if on any.
    ///
    /// # Errors
    ///
    /// `ENOENT`: it was freed already.
    pub(crate) fn set_ioas(&self, objects: &Objects, ioas: Option<Arc<Ioas>>) -> Result {
        let mut state = self.state.lock();
        if let Some(ioas) = &ioas {
            // Freeing it takes it out of the container, under this lock, when it is not found
            // any more.
            let found = objects.ioas(ioas.id())?;
            Arc::ptr_eq(&found, ioas).then_some(()).ok_or(ENOENT)?;
        }
        let old = replace(&mut state.ioas, ioas);
        drop(state);
        // If it was the last reference, what it held goes here, after the lock.
        drop(old);
        Ok(())
    }

    /// Sees to it that there is an address space for the calls of a VFIO container, to which a
    /// group is given.
    ///
    /// # Errors
    ///
    /// `EINVAL`: the container is for devices without an IOMMU. `ENOMEM`, `ENOSPC`.
    pub(crate) fn make_ioas(&self, objects: &Objects) -> Result {
        let id = objects.reserve_id()?;
        let ioas = Ioas::new(id.number(), IovaRange::ALL, false, objects.totals())?;
        let mut state = self.state.lock();
        if state.no_iommu {
            return Err(EINVAL);
        }
        if state.ioas.is_none() {
            id.give_to(Object::Ioas(ioas.clone()), None);
            state.ioas = Some(ioas);
        }
        state.has_group = true;
        Ok(())
    }

    /// Forgets an address space that was freed, if it is that one.
    pub(crate) fn forget(&self, ioas: &Arc<Ioas>) {
        // It was put there while it could be found, under this lock.
        let mut state = self.state.lock();
        let forgotten = state.ioas.take_if(|other| Arc::ptr_eq(other, ioas));
        drop(state);
        drop(forgotten);
    }

    /// Says that the container is for devices without an IOMMU.
    ///
    /// # Errors
    ///
    /// `EINVAL`: it has an address space.
    pub(crate) fn set_no_iommu(&self) -> Result {
        let mut state = self.state.lock();
        if state.ioas.is_some() {
            return Err(EINVAL);
        }
        state.no_iommu = true;
        state.has_group = true;
        Ok(())
    }

    /// Notes that a device was bound or an IOASID allocated.
    pub(crate) fn note_ioasids(&self) {
        self.knows_ioasids.store(true, Relaxed);
    }

    /// Whether the context is a container: `IOMMU_CHECK_EXTENSION` is that call of a container then
    /// which has the same number, and no argument.
    pub(crate) fn is_in_use(&self) -> bool {
        let state = self.state.lock();
        state.ioas.is_some() || state.has_group
    }

    /// Whether a device was bound or an IOASID allocated.
    pub(crate) fn knows_ioasids(&self) -> bool {
        self.knows_ioasids.load(Relaxed)
    }

    /// Whether the container is for devices without an IOMMU.
    pub(crate) fn is_no_iommu(&self) -> bool {
        self.state.lock().no_iommu
    }
}
