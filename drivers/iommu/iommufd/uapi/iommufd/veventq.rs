// SPDX-License-Identifier: GPL-2.0

//! Queues of events of virtual IOMMUs.

use super::{
    structs::*,
    OpenCommand,
    Reply, //
};
use crate::objects::{
    context::Context,
    table::Object,
    vevent_file,
    veventq::Veventq,
    viommu::Viommu, //
};
use kernel::{
    fs::file::{
        flags,
        FileDescriptorReservation, //
    },
    prelude::*,
    sync::{
        Arc,
        ArcBorrow, //
    },
    types::ScopeGuard, //
};

/// No queue is longer.
const MOST: u32 = 1 << 19;

impl OpenCommand for VeventqAlloc {
    fn run(mut self, ctx: ArcBorrow<'_, Context>, reply: &Reply) -> Result {
        if self.flags != 0 || self.__reserved != 0 || self.type_ == IOMMU_VEVENTQ_TYPE_DEFAULT {
            return Err(EOPNOTSUPP);
        }
        if self.veventq_depth == 0 || self.veventq_depth > MOST {
            return Err(EINVAL);
        }
        let objects = &ctx.objects;
        let viommu: Arc<Viommu> = objects.find(self.viommu_id)?;
        let id = objects.reserve_id()?;
        let fd = FileDescriptorReservation::get_unused_fd_flags(flags::O_CLOEXEC)?;
        let queue = viommu.with_running(|running| {
            let of = (running, objects.hold(&viommu)?);
            Veventq::new(id.number(), of, self.type_, self.veventq_depth)
        })?;
        // If nothing comes of it, its file goes later than this call, but events come no more.
        let undo = ScopeGuard::new(|| {
            let _ = queue.destroy(|| Ok(()));
        });
        let file = vevent_file::open(ctx.into(), &queue)?;
        self.out_veventq_id = id.number();
        self.out_veventq_fd = fd.reserved_fd();
        reply.write(&self)?;
        undo.dismiss();
        id.give_to(Object::Veventq(queue), None);
        fd.fd_install(file);
        Ok(())
    }
}
