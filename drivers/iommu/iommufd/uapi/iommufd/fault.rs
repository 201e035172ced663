// SPDX-License-Identifier: GPL-2.0

//! Queues of page faults.

use super::{
    structs::*,
    OpenCommand,
    Reply, //
};
use crate::{
    kapi::fault,
    objects::{
        context::Context,
        fault_file,
        fault_queue::FaultQueue,
        table::Object,
        users::User, //
    }, //
};
use kernel::{
    fs::file::{
        flags,
        FileDescriptorReservation, //
    },
    prelude::*,
    sync::ArcBorrow, //
};

impl OpenCommand for FaultAlloc {
    fn run(mut self, ctx: ArcBorrow<'_, Context>, reply: &Reply) -> Result {
        if self.flags != 0 || !fault::ARE_TOLD {
            return Err(EOPNOTSUPP);
        }
        let id = ctx.objects.reserve_id()?;
        let fd = FileDescriptorReservation::get_unused_fd_flags(flags::O_CLOEXEC)?;
        let queue = FaultQueue::new(id.number())?;
        // If nothing comes of it, it may go later than this call: it has no id then.
        let file = fault_file::open(ctx.into(), &queue)?;
        self.out_fault_id = id.number();
        self.out_fault_fd = fd.reserved_fd();
        reply.write(&self)?;
        id.give_to(Object::FaultQueue(queue), None);
        fd.fd_install(file);
        Ok(())
    }
}

impl HwptAlloc {
    /// A use of the queue that the page faults of the domain shall go to, if they shall.
    ///
    /// # Errors
    ///
    /// `ENOENT`: there is no such queue.
    pub(super) fn faults(&self, ctx: &Context) -> Result<Option<User<FaultQueue>>> {
        if self.flags & IOMMU_HWPT_FAULT_ID_VALID == 0 {
            return Ok(None);
        }
        let queue = ctx.objects.find(self.fault_id)?;
        Ok(Some(ctx.objects.hold(&queue)?))
    }
}
