// SPDX-License-Identifier: GPL-2.0

//! What ids name: who holds whom, and when it ends.
//!
//! Nothing here sees a page.

pub(crate) mod access;
pub(crate) mod context;
pub(crate) mod device;
pub(crate) mod group;
pub(crate) mod ioas;
pub(crate) mod registry;
pub(crate) mod show;
