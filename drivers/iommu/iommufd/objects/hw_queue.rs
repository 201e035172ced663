// SPDX-License-Identifier: GPL-2.0

//! Queues of virtual IOMMUs as objects.
//!
//! A queue may need another one, which its driver sees to. So one comes or goes at a time of each
//! virtual IOMMU, and has its id as soon as its driver has it: nobody comes to need one that is
//! about to go.

use crate::{
    iova::IovaRange,
    kapi::{
        self,
        hw_queue::{
            OnePiece,
            RunningHwQueue, //
        },
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
        },
        viommu::Viommu, //
    }, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// A queue of a virtual IOMMU, as it is found.
#[pin_data]
pub(crate) struct HwQueue {
    id: u32,
    /// The memory that its driver has it in, which has its users.
    memory: Arc<kapi::hw_queue::HwQueue>,
    viommu: Arc<Viommu>,
    #[pin]
    live: Live<Inside>,
}

/// What is there until it is destroyed.
struct Inside {
    /// First, for it is dropped first.
    _running: RunningHwQueue,
    _memory: QueueMemory,
    _viommu: User<Viommu>,
}

/// What is mapped in an address space, and stays mapped until this is dropped.
struct QueueMemory {
    ioas: Arc<Ioas>,
    range: IovaRange,
    place: OnePiece,
}

impl QueueMemory {
    /// # Errors
    ///
    /// Those of [`crate::space::IoPagetable::lock_pages`].
    fn lock(ioas: &Arc<Ioas>, range: IovaRange) -> Result<Self> {
        let place = ioas.iopt.lock_pages(range)?;
        Ok(Self {
            ioas: ioas.clone(),
            range,
            place,
        })
    }
}

impl Drop for QueueMemory {
    fn drop(&mut self) {
        self.ioas.iopt.unlock_pages(self.range);
    }
}

/// What a queue is to be like.
pub(crate) struct QueueRequest {
    /// Its type (`IOMMU_HW_QUEUE_TYPE_*`).
    pub(crate) kind: u32,
    /// Which one of its virtual IOMMU it is.
    pub(crate) index: u32,
    /// Where its memory is for the guest.
    pub(crate) range: IovaRange,
}

impl HwQueue {
    /// Makes a queue of a virtual IOMMU that is at work for the call. `answer` tells userspace the
    /// id, before `give` gives it to the queue.
    ///
    /// # Errors
    ///
    /// Those of [`hw_queue`](RunningViommu::hw_queue),
    /// [`lock_pages`](crate::space::IoPagetable::lock_pages), `answer` and
    /// [`make`](kapi::hw_queue::NewHwQueue::make).
    pub(crate) fn add(
        (id, running, user): (u32, &RunningViommu, User<Viommu>),
        request: &QueueRequest,
        answer: impl FnOnce() -> Result,
        give: impl FnOnce(Arc<Self>),
    ) -> Result {
        let viommu = user.get().clone();
        let new = running.hw_queue(request.kind)?;
        let memory = QueueMemory::lock(viommu.ioas(), request.range)?;
        // Userspace may be waited for; and once it is there, another one may need it.
        answer()?;
        let _one_at_a_time = viommu.queues().lock();
        let running = new.make(id, request.index, request.range, &memory.place)?;
        let (queue, of) = (running.queue().clone(), viommu.clone());
        let inside = Inside {
            _running: running,
            _memory: memory,
            _viommu: user,
        };
        give(Arc::pin_init(
            pin_init!(Self {
                id,
                memory: queue,
                viommu: of,
                live <- new_live!(inside, c"iommufd_hw_queue"),
            }),
            GFP_KERNEL_ACCOUNT,
        )?);
        Ok(())
    }

    /// The virtual IOMMU that it is of.
    pub(crate) fn viommu(&self) -> &Viommu {
        &self.viommu
    }

    /// Has its driver end it, if `retire` sees to it that nobody finds it any more.
    ///
    /// # Errors
    ///
    /// `EINTR`, and those of `retire`.
    pub(crate) fn destroy<R>(&self, retire: impl FnOnce() -> Result<R>) -> Result<R> {
        let _one_at_a_time = self.viommu.queues().lock();
        self.live.end(retire)
    }
}

impl Used for HwQueue {
    fn id(&self) -> u32 {
        self.id
    }

    fn users(&self) -> &Users {
        self.memory.users()
    }
}
