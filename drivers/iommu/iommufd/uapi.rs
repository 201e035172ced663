// SPDX-License-Identifier: GPL-2.0

//! What userspace says: arguments in, checks in order, one call, an answer out.
//!
//! Nothing here takes a lock or walks a tree.

pub(crate) mod container;
pub(crate) mod device_info;
pub(crate) mod ioasid;
pub(crate) mod iommufd;
pub(crate) mod structs;
