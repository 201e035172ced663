// SPDX-License-Identifier: GPL-2.0

//! Domains as objects of userspace: hardware page tables, as mainline calls them.
//!
//! Each domain of an address space has an id. Those that come with the first device that needs
//! one go with the last that uses it; those that userspace has made stay until it destroys them.

use crate::ioas::IoasUser;
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// A domain, which its address space knows by the id of this object.
pub(crate) struct Hwpt {
    ioas: IoasUser,
    is_nest_parent: bool,
}

impl Hwpt {
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(ioas: IoasUser, is_nest_parent: bool) -> Result<Arc<Self>> {
        let hwpt = Self {
            ioas,
            is_nest_parent,
        };
        Ok(Arc::new(hwpt, GFP_KERNEL_ACCOUNT)?)
    }

    /// Whether it was made to have domains inside.
    pub(crate) fn is_nest_parent(&self) -> bool {
        self.is_nest_parent
    }

    /// The address space.
    pub(crate) fn ioas(&self) -> &IoasUser {
        &self.ioas
    }
}
