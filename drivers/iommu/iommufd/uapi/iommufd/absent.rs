// SPDX-License-Identifier: GPL-2.0

//! The one call that is not served yet, as where there are no devices without an IOMMU.

use super::{
    structs::*,
    Command,
    Reply, //
};
use crate::objects::context::Context;
use kernel::prelude::*;

impl Command for IoasNoiommuGetPa {
    fn run(self, _ctx: &Context, _reply: &Reply) -> Result {
        Err(EOPNOTSUPP)
    }
}
