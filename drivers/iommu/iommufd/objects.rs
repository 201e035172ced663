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
pub(crate) mod group;
pub(crate) mod group_attach;
pub(crate) mod groups;
pub(crate) mod hwpt_ids;
pub(crate) mod ioas;
pub(crate) mod registry;
pub(crate) mod show;
pub(crate) mod table;
