// SPDX-License-Identifier: GPL-2.0

//! Domains as userspace knows them: hardware page tables, as mainline calls them.
//!
//! Each domain of an address space has an id. Those that come with the first device that needs
//! one go with the last that uses it; those that userspace has made stay until it destroys them.

use crate::kapi::{
    domain::Domain,
    users::Users, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// A domain of an address space.
pub(crate) struct Hwpt {
    id: u32,
    domain: Arc<Domain>,
    kind: Kind,
    takes_pasids: bool,
    /// What keeps it from being destroyed beside the groups that are on it.
    users: Users,
}

/// What a domain is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Made for a group, to be there while there is any on it.
    Auto,
    /// Made by userspace, to be there until told otherwise.
    Manual,
    /// As [`Self::Manual`], and to have domains inside.
    NestParent,
}

impl Hwpt {
    /// `takes_pasids`: devices may use it that have PASIDs in use, and with them.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(
        id: u32,
        domain: Domain,
        kind: Kind,
        takes_pasids: bool,
    ) -> Result<Arc<Self>> {
        let hwpt = Self {
            id,
            domain: Arc::new(domain, GFP_KERNEL_ACCOUNT)?,
            kind,
            takes_pasids,
            users: Users::new(),
        };
        Ok(Arc::new(hwpt, GFP_KERNEL_ACCOUNT)?)
    }

    /// What userspace knows it by.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// The page table.
    pub(crate) fn domain(&self) -> &Arc<Domain> {
        &self.domain
    }

    /// What keeps it from being destroyed beside the groups that are on it.
    pub(crate) fn users(&self) -> &Users {
        &self.users
    }

    /// Whether it goes with its last group.
    pub(crate) fn is_auto(&self) -> bool {
        self.kind == Kind::Auto
    }

    /// Whether devices may use it that have PASIDs in use, and with them.
    pub(crate) fn takes_pasids(&self) -> bool {
        self.takes_pasids
    }

    /// Whether it was made to have domains inside.
    pub(crate) fn is_nest_parent(&self) -> bool {
        self.kind == Kind::NestParent
    }
}
