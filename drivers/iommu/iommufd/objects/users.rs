// SPDX-License-Identifier: GPL-2.0

//! Objects that others use, and that cannot be destroyed meanwhile.

use crate::{
    kapi::users::Users,
    space::hwpt::Hwpt, //
};
use kernel::sync::Arc;

/// An object that others can use.
pub(crate) trait Used {
    /// The id that userspace knows it by.
    fn id(&self) -> u32;

    /// How many do.
    fn users(&self) -> &Users;
}

impl Used for Hwpt {
    fn id(&self) -> u32 {
        self.id()
    }

    fn users(&self) -> &Users {
        self.users()
    }
}

/// A use of an object, which cannot be destroyed meanwhile.
pub(crate) struct User<T: Used>(Arc<T>);

impl<T: Used> User<T> {
    /// To be called under the lock that destroying takes; see
    /// [`crate::objects::table::Objects::hold`].
    pub(crate) fn new(used: Arc<T>) -> Self {
        used.users().add();
        Self(used)
    }

    /// The object.
    pub(crate) fn get(&self) -> &Arc<T> {
        &self.0
    }
}

impl<T: Used> Clone for User<T> {
    fn clone(&self) -> Self {
        // It is in use already, so that nobody can be destroying it.
        Self::new(self.0.clone())
    }
}

impl<T: Used> Drop for User<T> {
    fn drop(&mut self) {
        self.0.users().remove();
    }
}
