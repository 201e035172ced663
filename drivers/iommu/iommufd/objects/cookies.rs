// SPDX-License-Identifier: GPL-2.0

//! The names that drivers of the RFC's interface give to devices.

use crate::objects::{
    group::Idev,
    table::Objects, //
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
    types::ScopeGuard, //
};

/// The devices of a context whose driver gave userspace another name for them than their ids.
#[pin_data]
pub(crate) struct Cookies {
    #[pin]
    list: Mutex<KVVec<(u64, Arc<Idev>)>>,
}

impl Cookies {
    /// A list without names.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self { list <- new_mutex!(KVVec::new(), "iommufd_cookies") })
    }

    /// Lets userspace name a device by `cookie`, from when it has its id on. Dropping the result
    /// undoes that.
    ///
    /// # Errors
    ///
    /// `EBUSY`: another device has that cookie. `ENOMEM`.
    pub(crate) fn add(
        &self,
        cookie: u64,
        idev: Arc<Idev>,
    ) -> Result<ScopeGuard<Arc<Idev>, impl FnOnce(Arc<Idev>) + '_>> {
        let mut cookies = self.list.lock();
        if cookies.iter().any(|(other, _)| *other == cookie) {
            return Err(EBUSY);
        }
        cookies.push((cookie, idev.clone()), GFP_KERNEL_ACCOUNT)?;
        drop(cookies);
        Ok(ScopeGuard::new_with_data(idev, |idev| self.remove(&idev)))
    }

    /// Undoes [`Self::add`].
    pub(crate) fn remove(&self, idev: &Arc<Idev>) {
        let mut cookies = self.list.lock();
        cookies.retain(|(_, other)| !Arc::ptr_eq(other, idev));
    }

    /// The device that userspace names by `cookie`, which may be its id.
    ///
    /// # Errors
    ///
    /// `ENOENT`: there is none.
    pub(crate) fn device(&self, objects: &Objects, cookie: u64) -> Result<Arc<Idev>> {
        let cookies = self.list.lock();
        let named = cookies.iter().find(|(other, _)| *other == cookie);
        let named = named.map(|(_, idev)| idev.clone());
        drop(cookies);
        match named {
            // It may not have its id yet, or not any more.
            Some(named) => {
                let found = objects.device(named.id())?;
                Arc::ptr_eq(&found, &named).then_some(found).ok_or(ENOENT)
            }
            None => objects.device(u32::try_from(cookie).map_err(|_| ENOENT)?),
        }
    }
}
