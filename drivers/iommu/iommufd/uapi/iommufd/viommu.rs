// SPDX-License-Identifier: GPL-2.0

//! Virtual IOMMUs, which devices they know, and their queues.

use super::{
    structs::*,
    Command,
    Reply, //
};
use crate::{
    iova::IovaRange,
    kapi::user_data::UserData,
    objects::{
        context::Context,
        hw_queue::{
            HwQueue,
            QueueRequest, //
        },
        table::Object,
        vdevice::Vdevice,
        viommu::Viommu, //
    },
};
use kernel::{
    prelude::*,
    sync::Arc,
    uaccess::UserPtr, //
};

impl ViommuAlloc {
    fn data(&self) -> Option<UserData> {
        let data = UserData {
            kind: self.type_,
            // CAST: User addresses fit; what does not is no address, and found to be none.
            at: UserPtr::from_addr(self.data_uptr as usize),
            len: self.data_len,
        };
        (self.data_len > 0).then_some(data)
    }
}

impl Command for ViommuAlloc {
    fn run(mut self, ctx: &Context, reply: &Reply) -> Result {
        if self.flags != 0 || self.type_ == IOMMU_VIOMMU_TYPE_DEFAULT {
            return Err(EOPNOTSUPP);
        }
        let objects = &ctx.objects;
        let idev = objects.device(self.dev_id)?;
        let new = idev
            .group()
            .with_device(&idev, |dev, _| dev.viommu(self.type_))?;
        let (hwpt, ioas) = match objects.get(self.hwpt_id) {
            Some(Object::Hwpt(hwpt, ioas)) => (hwpt, ioas),
            _ => return Err(ENOENT),
        };
        if !hwpt.is_nest_parent() {
            return Err(EINVAL);
        }
        let id = objects.reserve_id()?;
        let (domain, data) = (hwpt.domain(), self.data());
        let running = new.make(id.number(), ctx.drivers(), domain, data.as_ref())?;
        let user = objects.hold(&hwpt)?;
        let viommu = Viommu::new(id.number(), running, user, ioas)?;
        self.out_viommu_id = id.number();
        reply.write(&self)?;
        viommu.begin();
        id.give_to(Object::Viommu(viommu), None);
        Ok(())
    }
}

impl Command for VdeviceAlloc {
    fn run(mut self, ctx: &Context, reply: &Reply) -> Result {
        let objects = &ctx.objects;
        let viommu: Arc<Viommu> = objects.find(self.viommu_id)?;
        let idev = objects.device(self.dev_id)?;
        let id = objects.reserve_id()?;
        self.out_vdevice_id = id.number();
        let vdevice = Vdevice::new(id.number(), &viommu, self.virt_id)?;
        let answer = || reply.write(&self);
        idev.group()
            .add_vdevice(&idev, &vdevice, &viommu, (objects, id), answer)
    }
}

impl Command for HwQueueAlloc {
    fn run(mut self, ctx: &Context, reply: &Reply) -> Result {
        if self.flags != 0 || self.type_ == IOMMU_HW_QUEUE_TYPE_DEFAULT {
            return Err(EOPNOTSUPP);
        }
        let request = QueueRequest {
            kind: self.type_,
            index: self.index,
            range: IovaRange::with_len(self.nesting_parent_iova, self.length)?,
        };
        let objects = &ctx.objects;
        let viommu: Arc<Viommu> = objects.find(self.viommu_id)?;
        let id = objects.reserve_id()?;
        let before = self.out_hw_queue_id;
        self.out_hw_queue_id = id.number();
        let made = viommu.with_running(|running| {
            let new = (id.number(), running, objects.hold(&viommu)?);
            let answer = || reply.write(&self);
            HwQueue::add(new, &request, answer, |queue| {
                id.give_to(Object::HwQueue(queue), None);
            })
        });
        made.inspect_err(|_| {
            // The answer comes first.
            self.out_hw_queue_id = before;
            let _ = reply.write(&self);
        })
    }
}
