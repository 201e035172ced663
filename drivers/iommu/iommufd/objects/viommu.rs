// SPDX-License-Identifier: GPL-2.0

//! Virtual IOMMUs as objects.

use crate::{
    kapi::{
        self,
        users::Users,
        viommu::RunningViommu, //
    },
    objects::{
        ioas::Ioas,
        live::{
            new_live,
            Live, //
        },
        users::{
            Used,
            User, //
        }, //
    },
    space::hwpt::Hwpt, //
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};

/// A virtual IOMMU, as it is found.
#[pin_data]
pub(crate) struct Viommu {
    id: u32,
    /// The memory that its driver has it in, which has its users.
    memory: Arc<kapi::viommu::Viommu>,
    /// The domain that it is on, and the address space of that.
    hwpt: Arc<Hwpt>,
    ioas: Arc<Ioas>,
    /// Held while a queue comes or goes; see [`crate::objects::hw_queue`].
    #[pin]
    queues: Mutex<()>,
    #[pin]
    live: Live<Inside>,
}

/// What is there until it is destroyed.
struct Inside {
    /// First, for it is dropped first.
    running: RunningViommu,
    _hwpt: User<Hwpt>,
}

impl Viommu {
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(
        id: u32,
        running: RunningViommu,
        user: User<Hwpt>,
        ioas: Arc<Ioas>,
    ) -> Result<Arc<Self>> {
        let (memory, hwpt) = (running.viommu().clone(), user.get().clone());
        let inside = Inside {
            running,
            _hwpt: user,
        };
        Arc::pin_init(
            pin_init!(Self {
                id,
                memory,
                hwpt,
                ioas,
                queues <- new_mutex!((), "iommufd_hw_queues"),
                live <- new_live!(inside, c"iommufd_viommu"),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// The domain that it is on.
    pub(crate) fn hwpt(&self) -> &Arc<Hwpt> {
        &self.hwpt
    }

    /// The address space of the domain that it is on.
    pub(crate) fn ioas(&self) -> &Arc<Ioas> {
        &self.ioas
    }

    /// Held while one of its queues comes or goes.
    pub(super) fn queues(&self) -> &Mutex<()> {
        &self.queues
    }

    /// Has it be used from here on: nothing that makes it can fail any more.
    pub(crate) fn begin(&self) {
        self.users().go_on();
    }

    /// Does something with it, which is not destroyed meanwhile.
    ///
    /// # Errors
    ///
    /// `ENOENT`: it was destroyed already. `EINTR`, and those of `work`.
    pub(crate) fn with_running<R>(
        &self,
        work: impl FnOnce(&RunningViommu) -> Result<R>,
    ) -> Result<R> {
        self.live.with(|inside| work(&inside.running))
    }

    /// Has its driver end it, if `retire` sees to it that nobody finds it any more.
    ///
    /// # Errors
    ///
    /// `EINTR`, and those of `retire`.
    pub(crate) fn destroy<R>(&self, retire: impl FnOnce() -> Result<R>) -> Result<R> {
        self.live.end(retire)
    }
}

impl Used for Viommu {
    fn id(&self) -> u32 {
        self.id
    }

    fn users(&self) -> &Users {
        self.memory.users()
    }
}
