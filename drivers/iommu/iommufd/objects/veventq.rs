// SPDX-License-Identifier: GPL-2.0

//! Queues of events of virtual IOMMUs as objects.

use crate::{
    kapi::{
        self,
        users::Users,
        veventq::LinkedVeventq,
        viommu::RunningViommu, //
    },
    objects::{
        live::{
            new_live,
            Live, //
        },
        users::{
            Used,
            User, //
        },
        viommu::Viommu, //
    }, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// A queue of events, as it is found.
#[pin_data]
pub(crate) struct Veventq {
    id: u32,
    viommu_id: u32,
    /// What the events are in, which has its users.
    queue: Arc<kapi::veventq::Veventq>,
    #[pin]
    live: Live<Inside>,
}

/// What is there until it is destroyed.
struct Inside {
    /// First, for it is dropped first.
    _linked: LinkedVeventq,
    _viommu: User<Viommu>,
}

impl Veventq {
    /// A queue for up to `depth` events of a type, of a virtual IOMMU that is at work for the call.
    ///
    /// # Errors
    ///
    /// `EEXIST`: there is a queue for them. `ENOMEM`.
    pub(crate) fn new(
        id: u32,
        (running, viommu): (&RunningViommu, User<Viommu>),
        kind: u32,
        depth: u32,
    ) -> Result<Arc<Self>> {
        let queue = kapi::veventq::Veventq::new(id, kind, depth)?;
        let viommu_id = viommu.get().id();
        let inside = Inside {
            _linked: LinkedVeventq::new(running, queue.clone())?,
            _viommu: viommu,
        };
        Arc::pin_init(
            pin_init!(Self {
                id,
                viommu_id,
                queue,
                live <- new_live!(inside, c"iommufd_veventq"),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// The virtual IOMMU that it is of.
    pub(crate) fn viommu_id(&self) -> u32 {
        self.viommu_id
    }

    /// What its events are in.
    pub(super) fn queue(&self) -> &kapi::veventq::Veventq {
        &self.queue
    }

    /// Has no event come to it any more, if `retire` sees to it that nobody finds it.
    ///
    /// # Errors
    ///
    /// `EINTR`, and those of `retire`.
    pub(crate) fn destroy<R>(&self, retire: impl FnOnce() -> Result<R>) -> Result<R> {
        self.live.end(retire)
    }
}

impl Used for Veventq {
    fn id(&self) -> u32 {
        self.id
    }

    fn users(&self) -> &Users {
        self.queue.users()
    }
}
