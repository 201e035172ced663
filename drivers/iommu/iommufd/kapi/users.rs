// SPDX-License-Identifier: GPL-2.0

//! How many use an object. Would become part of `rust/kernel/sync/refcount.rs`.
//!
//! C header: [`include/linux/refcount.h`](srctree/include/linux/refcount.h)

use kernel::{
    prelude::*,
    sync::{
        atomic::ordering::{
            Full,
            Relaxed, //
        },
        Refcount, //
    }, //
};

/// How many use an object, which cannot end meanwhile, and which nobody begins to use once it has
/// ended. It is the `users` of `struct iommufd_object`.
#[repr(transparent)]
pub(crate) struct Users(Refcount);

impl Users {
    /// Nobody.
    pub(crate) fn new() -> Self {
        // The object itself is one: zero is when it has ended.
        Self(Refcount::new(1))
    }

    /// One more. The object has not ended: it is in the table of ids, whose lock is held, or has
    /// other users.
    pub(crate) fn add(&self) {
        self.0.inc();
    }

    /// One more, unless the object has ended: whether that is so.
    #[must_use]
    pub(crate) fn add_unless_ended(&self) -> bool {
        let users = self.0.as_atomic();
        let mut seen = users.load(Relaxed);
        while let Some(more) = seen.checked_add(1).filter(|_| seen > 0) {
            match users.cmpxchg(seen, more, Full) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }

    /// One less.
    pub(crate) fn remove(&self) {
        self.0.dec();
    }

    /// Ends the object, unless it has users: whether it has ended.
    #[must_use]
    pub(crate) fn end(&self) -> bool {
        self.0.as_atomic().cmpxchg(1, 0, Full).is_ok()
    }

    /// Undoes [`Self::end`].
    pub(crate) fn go_on(&self) {
        self.0.set(1);
    }
}

#[kunit_tests(iommufd_users)]
mod tests {
    use super::*;

    #[test]
    fn users() {
        let users = Users::new();
        users.add();
        users.add();
        assert!(!users.end());
        users.remove();
        assert!(!users.end());
        users.remove();
        assert!(users.end());
        assert!(!users.end());
        assert!(!users.add_unless_ended());
        users.go_on();
        users.add();
        assert!(users.add_unless_ended());
        users.remove();
        assert!(!users.end());
        users.remove();
        assert!(users.end());
    }
}
