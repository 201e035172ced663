// SPDX-License-Identifier: GPL-2.0

//! Uses what `compat.rs` adds: compiles where the kernel's crate has all of it.

#![allow(dead_code, unused_imports)]

use kernel::{
    bindings::{
        iommu_ioas_noiommu_get_pa,
        IOMMUFD_CMD_IOAS_NOIOMMU_GET_PA, //
    },
    error::code::{
        EADDRINUSE,
        EBADFD,
        EDEADLK,
        EOPNOTSUPP, //
    },
    module::this_module,
    sync::poll::PollCondVarBox,
    task::{
        Pid,
        Task, //
    },
};

fn tgid(task: &Task) -> Pid {
    task.tgid()
}
