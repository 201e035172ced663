// SPDX-License-Identifier: GPL-2.0

//! Address spaces: making and destroying them, which addresses they have, and where these lead.

use super::{
    structs::*,
    Command,
    Reply, //
};
use crate::{
    iova::IovaRange,
    kapi::{
        device::TAKES_UNTRANSLATED,
        task,
        user, //
    },
    objects::{
        context::Context,
        ioas::Ioas,
        table::Object, //
    },
    space::domains::Allowed, //
};
use core::mem::size_of;
use kernel::{
    prelude::*,
    uaccess::UserPtr, //
};

impl Command for Destroy {
    fn run(self, ctx: &Context, _reply: &Reply) -> Result {
        ctx.destroy(self.id)
    }
}

impl Command for IoasAlloc {
    fn run(mut self, ctx: &Context, reply: &Reply) -> Result {
        if self.flags != 0 {
            return Err(EOPNOTSUPP);
        }
        let id = ctx.objects.reserve_id()?;
        let ioas = Ioas::new(id.number(), IovaRange::ALL, false, ctx.objects.totals())?;
        self.out_ioas_id = id.number();
        reply.write(&self)?;
        id.give_to(Object::Ioas(ioas), None);
        Ok(())
    }
}

/// The place of the element `index` in a list of ranges.
fn element(list: u64, index: usize) -> UserPtr {
    // CAST: User addresses fit; what does not is no address, and found to be none.
    UserPtr::from_addr(list as usize).wrapping_byte_add(index.wrapping_mul(size_of::<UserRange>()))
}

impl Command for IoasIovaRanges {
    fn run(mut self, ctx: &Context, reply: &Reply) -> Result {
        if self.__reserved != 0 {
            return Err(EOPNOTSUPP);
        }
        let ioas = ctx.objects.ioas(self.ioas_id)?;
        let ranges = ioas.iopt.usable_ranges()?;
        let room = self.num_iovas as usize;
        for (index, range) in ranges.iter().enumerate().take(room) {
            let range = UserRange {
                start: range.first(),
                last: range.last(),
            };
            user::write_bytes(element(self.allowed_iovas, index), 0, range.as_bytes())?;
        }
        self.num_iovas = u32::try_from(ranges.len()).map_err(|_| EOVERFLOW)?;
        self.out_iova_alignment = ioas.iopt.alignment()?;
        reply.write(&self)?;
        if ranges.len() > room {
            return Err(EMSGSIZE);
        }
        Ok(())
    }
}

impl Command for IoasAllowIovas {
    fn run(self, ctx: &Context, _reply: &Reply) -> Result {
        if self.__reserved != 0 {
            return Err(EOPNOTSUPP);
        }
        let ioas = ctx.objects.ioas(self.ioas_id)?;
        let mut allowed = Allowed::new();
        for index in 0..self.num_iovas as usize {
            task::resched_killable()?;
            let range: UserRange = user::read(element(self.allowed_iovas, index))?;
            if range.start >= range.last {
                return Err(EINVAL);
            }
            allowed.add(IovaRange::new(range.start, range.last).ok_or(EINVAL)?)?;
        }
        ioas.iopt.set_allowed(allowed)
    }
}

impl Command for IoasNoiommuGetPa {
    fn run(mut self, ctx: &Context, reply: &Reply) -> Result {
        if !TAKES_UNTRANSLATED {
            return Err(EOPNOTSUPP);
        }
        if !task::may_do_raw_io() {
            return Err(EPERM);
        }
        if self.flags != 0 || self.__reserved != 0 {
            return Err(EOPNOTSUPP);
        }
        if self.length == 0 {
            return Err(EINVAL);
        }
        if self.iova == u64::MAX {
            return Err(EOVERFLOW);
        }
        let ioas = ctx.objects.ioas(self.ioas_id)?;
        let memory = ioas.iopt.address_of(self.iova, self.length)?;
        self.out_phys = memory.address();
        self.length = memory.len();
        reply.write(&self)
    }
}
