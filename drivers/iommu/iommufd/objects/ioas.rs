// SPDX-License-Identifier: GPL-2.0

//! I/O address spaces as objects.

use crate::{
    iova::IovaRange,
    space::IoPagetable, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            ordering::{
                Acquire,
                Relaxed,
                Release, //
            },
            Atomic, //
        },
        Arc, //
    }, //
};

/// What an IOASID names.
#[pin_data]
pub(crate) struct Ioas {
    id: u32,
    /// How many groups, domains and accesses use it. Goes up only under the lock of the context's
    /// objects, where freeing looks at it.
    users: Atomic<i32>,
    /// What is mapped, and where.
    #[pin]
    pub(crate) iopt: IoPagetable,
}

impl Ioas {
    /// An empty address space.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(id: u32, window: IovaRange, enforce_snoop: bool) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                id,
                users: Atomic::new(0),
                iopt <- IoPagetable::new(window, enforce_snoop),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// The IOASID.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// Whether anything uses it.
    pub(crate) fn is_used(&self) -> bool {
        self.users.load(Acquire) != 0
    }
}

/// A use of an address space, which cannot be freed meanwhile.
pub(crate) struct IoasUser {
    ioas: Arc<Ioas>,
}

impl IoasUser {
    /// To be called under the lock that freeing takes; see
    /// [`crate::objects::table::Objects::use_ioas`].
    pub(crate) fn new(ioas: Arc<Ioas>) -> Self {
        ioas.users.fetch_add(1, Relaxed);
        Self { ioas }
    }

    /// The address space.
    pub(crate) fn ioas(&self) -> &Arc<Ioas> {
        &self.ioas
    }
}

impl Clone for IoasUser {
    fn clone(&self) -> Self {
        // It is in use already, so that nobody can be freeing it.
        Self::new(self.ioas.clone())
    }
}

impl Drop for IoasUser {
    fn drop(&mut self) {
        self.ioas.users.fetch_sub(1, Release);
    }
}
