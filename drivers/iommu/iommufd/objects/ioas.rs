// SPDX-License-Identifier: GPL-2.0

//! I/O address spaces as objects.

use crate::{
    iova::IovaRange,
    kapi::users::Users,
    objects::users::{
        Used,
        User, //
    },
    space::{
        part::SharedTotals,
        IoPagetable, //
    }, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// What an IOASID names.
#[pin_data]
pub(crate) struct Ioas {
    id: u32,
    /// The groups, domains and accesses that use it.
    users: Users,
    /// What is mapped, and where.
    #[pin]
    pub(crate) iopt: IoPagetable,
}

impl Ioas {
    /// An empty address space of the context whose shared memory has `totals`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(
        id: u32,
        window: IovaRange,
        enforce_snoop: bool,
        totals: &Arc<SharedTotals>,
    ) -> Result<Arc<Self>> {
        let iopt = IoPagetable::new(id, window, enforce_snoop, totals.clone());
        Arc::pin_init(
            pin_init!(Self {
                id,
                users: Users::new(),
                iopt <- iopt,
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// The IOASID.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }
}

/// A use of an address space.
pub(crate) type IoasUser = User<Ioas>;

impl IoasUser {
    /// The address space.
    pub(crate) fn ioas(&self) -> &Arc<Ioas> {
        self.get()
    }
}

impl Used for Ioas {
    fn id(&self) -> u32 {
        self.id
    }

    fn users(&self) -> &Users {
        &self.users
    }
}
