// SPDX-License-Identifier: GPL-2.0

//! Domains as userspace knows them: hardware page tables, as mainline calls them.
//!
//! Each domain of an address space has an id. Those that come with the first device that needs
//! one go with the last that uses it; those that userspace has made stay until it destroys them.

use crate::kapi::domain::Domain;
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// A domain of an address space.
pub(crate) struct Hwpt {
    id: u32,
    domain: Arc<Domain>,
    kind: Kind,
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
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(id: u32, domain: Domain, kind: Kind) -> Result<Arc<Self>> {
        let hwpt = Self {
            id,
            domain: Arc::new(domain, GFP_KERNEL_ACCOUNT)?,
            kind,
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

    /// Whether it goes with its last group.
    pub(crate) fn is_auto(&self) -> bool {
        self.kind == Kind::Auto
    }

    /// Whether it was made to have domains inside.
    pub(crate) fn is_nest_parent(&self) -> bool {
        self.kind == Kind::NestParent
    }
}
