// SPDX-License-Identifier: GPL-2.0

//! All contexts that there are, for those who may look at them.

use kernel::{
    new_mutex,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNodeReservation, //
    },
    sync::{
        Arc,
        Mutex, //
    },
    task::Pid,
};

/// All contexts of the module; what can be seen of each is a `T`.
#[pin_data]
pub(crate) struct Registry<T> {
    #[pin]
    list: Mutex<List<T>>,
}

struct List<T> {
    /// By their numbers, each with who opened it.
    entries: RBTree<u64, (Pid, Arc<T>)>,
    next: u64,
}

/// A context that is listed.
pub(crate) struct Listed<T> {
    /// What it is called wherever contexts are shown.
    pub(crate) number: u64,
    /// The process that opened it, as the initial pid namespace numbers it.
    pub(crate) owner: Pid,
    /// What can be seen of it.
    pub(crate) content: Arc<T>,
}

impl<T> Registry<T> {
    /// A list without contexts.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Arc<Self>> {
        let list = List {
            entries: RBTree::new(),
            next: 1,
        };
        Arc::pin_init(
            pin_init!(Self { list <- new_mutex!(list, "iommufd_registry") }),
            GFP_KERNEL,
        )
    }

    /// The first context numbered above `number`. One at a time, because showing one takes long.
    pub(crate) fn after(&self, number: u64) -> Option<Listed<T>> {
        let list = self.list.lock();
        let next = list.entries.cursor_lower_bound(&number.checked_add(1)?)?;
        let (number, (owner, content)) = next.current();
        Some(Listed {
            number: *number,
            owner: *owner,
            content: content.clone(),
        })
    }
}

/// That a context is listed, until this is dropped.
pub(crate) struct Listing<T> {
    registry: Arc<Registry<T>>,
    number: u64,
}

impl<T> Listing<T> {
    /// Lists what can be seen of a context of the current process.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(registry: Arc<Registry<T>>, content: &Arc<T>) -> Result<Self> {
        let room = RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?;
        let entry = (current!().tgid(), content.clone());
        let mut list = registry.list.lock();
        let number = list.next;
        list.next = number.wrapping_add(1);
        list.entries.insert(room.into_node(number, entry));
        drop(list);
        Ok(Self { registry, number })
    }

    /// The number by which it is listed.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

impl<T> Drop for Listing<T> {
    fn drop(&mut self) {
        let removed = self.registry.list.lock().entries.remove_node(&self.number);
        // If it was the last reference, what it held goes here, after the lock.
        drop(removed);
    }
}
