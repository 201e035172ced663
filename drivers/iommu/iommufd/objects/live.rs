// SPDX-License-Identifier: GPL-2.0

//! What an IOMMU driver has of an object: there from when the object is made until it is destroyed,
//! whoever still has the object.

use crate::kapi::rwsem::RwSemaphore;
use kernel::{
    prelude::*,
    sync::LockClassKey, //
};

/// What ends when its object is destroyed, and is at work for calls until then: whoever destroys
/// it waits for them.
#[pin_data]
pub(crate) struct Live<T> {
    #[pin]
    content: RwSemaphore<Option<T>>,
}

/// Makes a [`Live`] with a lockdep class of its own: who destroys an object may hold a lock that is
/// taken while objects of other kinds are at work.
macro_rules! new_live {
    ($content:expr, $name:literal) => {
        $crate::objects::live::Live::new($content, $name, ::kernel::static_lock_class!())
    };
}
pub(crate) use new_live;

impl<T> Live<T> {
    /// Something that is there. See [`new_live`].
    pub(crate) fn new(
        content: T,
        name: &'static CStr,
        key: Pin<&'static LockClassKey>,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            content <- RwSemaphore::new(Some(content), name, key),
        })
    }

    /// Does something with it, which stays meanwhile.
    ///
    /// # Errors
    ///
    /// `ENOENT`: the object was destroyed. `EINTR`, and those of `work`.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&T) -> Result<R>) -> Result<R> {
        let content = self.content.read_killable()?;
        work(content.as_ref().ok_or(ENOENT)?)
    }

    /// Ends it, when no call is at work with it, if `retire` sees to it that nobody finds the
    /// object any more.
    ///
    /// # Errors
    ///
    /// `EINTR`, and those of `retire`.
    pub(crate) fn end<R>(&self, retire: impl FnOnce() -> Result<R>) -> Result<R> {
        let mut content = self.content.write_killable()?;
        let retired = retire()?;
        let gone = content.take();
        drop(content);
        // Without the lock, which lasts as long as the object.
        drop(gone);
        Ok(retired)
    }
}
