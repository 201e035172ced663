// SPDX-License-Identifier: GPL-2.0

//! A context that goes from one process to another.

use super::{
    structs::*,
    Command,
    Reply, //
};
use crate::{
    kapi::{
        account::Takeover,
        task, //
    },
    objects::context::Context, //
};
use kernel::prelude::*;

impl Command for IoasChangeProcess {
    fn run(self, ctx: &Context, _reply: &Reply) -> Result {
        if self.__reserved != 0 {
            return Err(EOPNOTSUPP);
        }
        let alone = ctx.move_charges()?;
        let mut takeover = Takeover::by_current()?;
        let noted = ctx.objects.spaces().try_for_each(|ioas| {
            task::resched_killable()?;
            ioas.iopt.note_charges(&mut takeover)
        });
        let result = noted.and_then(|()| takeover.pay());
        for ioas in ctx.objects.spaces() {
            ioas.iopt.finish_charges(&mut takeover);
        }
        drop(alone);
        takeover.settle();
        result
    }
}
