// SPDX-License-Identifier: GPL-2.0

//! A context that goes from one process to another.

use super::{
    uapi::*,
    Command,
    Reply, //
};
use crate::{
    context::Context,
    ioas::Ioas,
    kapi::{
        account::Takeover,
        task, //
    },
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// All address spaces, in the order of their ids.
fn spaces(ctx: &Context) -> impl Iterator<Item = Arc<Ioas>> + '_ {
    (1..ctx.id_limit()).filter_map(|id| ctx.ioas(id).ok())
}

impl Command for IoasChangeProcess {
    fn run(self, ctx: &Context, _reply: &Reply) -> Result {
        if self.__reserved != 0 {
            return Err(EOPNOTSUPP);
        }
        let _alone = ctx.move_charges()?;
        let mut takeover = Takeover::by_current()?;
        let noted = spaces(ctx).try_for_each(|ioas| {
            task::breathe()?;
            ioas.note_charges(&mut takeover)
        });
        let result = noted.and_then(|()| takeover.pay());
        for ioas in spaces(ctx) {
            ioas.finish_charges(&mut takeover);
        }
        result
    }
}
