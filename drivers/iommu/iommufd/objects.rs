// SPDX-License-Identifier: GPL-2.0

//! What ids name: who holds whom, and when it ends.
//!
//! Nothing here sees a page.

pub(crate) mod access;
pub(crate) mod access_handle;
pub(crate) mod container;
pub(crate) mod context;
pub(crate) mod cookies;
pub(crate) mod device_handle;
pub(crate) mod fault_file;
pub(crate) mod fault_queue;
pub(crate) mod group;
pub(crate) mod group_attach;
pub(crate) mod group_pasid;
pub(crate) mod group_vdevice;
pub(crate) mod groups;
pub(crate) mod hw_queue;
pub(crate) mod hwpt_ids;
pub(crate) mod ioas;
pub(crate) mod live;
pub(crate) mod nested;
pub(crate) mod registry;
pub(crate) mod show;
pub(crate) mod table;
pub(crate) mod users;
pub(crate) mod vdevice;
pub(crate) mod vevent_file;
pub(crate) mod veventq;
pub(crate) mod viommu;
