// SPDX-License-Identifier: GPL-2.0

//! Queues of page faults as objects.

use crate::{
    kapi::{
        self,
        users::Users, //
    },
    objects::users::Used, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// A queue of page faults, as it is found. The domains whose faults go there use it, and the file
/// that they are read from while that is open.
pub(crate) struct FaultQueue {
    id: u32,
    users: Users,
    faults: Arc<kapi::fault_queue::FaultQueue>,
}

impl FaultQueue {
    /// An empty queue.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(id: u32) -> Result<Arc<Self>> {
        let queue = Self {
            id,
            users: Users::new(),
            faults: kapi::fault_queue::FaultQueue::new()?,
        };
        Ok(Arc::new(queue, GFP_KERNEL_ACCOUNT)?)
    }

    /// The faults.
    pub(crate) fn faults(&self) -> &Arc<kapi::fault_queue::FaultQueue> {
        &self.faults
    }
}

impl Used for FaultQueue {
    fn id(&self) -> u32 {
        self.id
    }

    fn users(&self) -> &Users {
        &self.users
    }
}
