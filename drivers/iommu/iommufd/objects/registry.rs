// SPDX-License-Identifier: GPL-2.0

//! All contexts that there are, for those who may look at them: `debugfs/iommufd/contexts`.

use crate::objects::{
    context::Objects,
    show, //
};
use kernel::{
    debugfs, fmt, new_mutex,
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

/// All contexts of the module.
#[pin_data]
pub(crate) struct Registry {
    #[pin]
    list: Mutex<List>,
}

struct List {
    /// By their numbers.
    entries: RBTree<u64, Entry>,
    next: u64,
}

#[derive(Clone)]
struct Entry {
    /// The process that opened it, as the initial pid namespace numbers it.
    owner: Pid,
    objects: Arc<Objects>,
}

impl Registry {
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

    /// Makes the file that shows the list.
    pub(crate) fn debugfs_file<'a>(
        self: &Arc<Self>,
        dir: &'a debugfs::Dir,
    ) -> impl PinInit<debugfs::File<Arc<Self>>> + 'a {
        dir.read_callback_file(c"contexts", self.clone(), &Self::show)
    }

    fn show(registry: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = 0;
        while let Some((number, entry)) = registry.after(last) {
            writeln!(f, "context:\t{} opened by {}", number, entry.owner)?;
            show::objects(&entry.objects, f)?;
            show::areas(&entry.objects, f)?;
            last = number;
        }
        Ok(())
    }

    /// The first context numbered above `number`. One at a time, because showing one takes long.
    fn after(&self, number: u64) -> Option<(u64, Entry)> {
        let list = self.list.lock();
        let next = list.entries.cursor_lower_bound(&number.checked_add(1)?)?;
        let (number, entry) = next.current();
        Some((*number, entry.clone()))
    }
}

/// A place in the [`Registry`], given up on drop.
pub(crate) struct Listing {
    registry: Arc<Registry>,
    number: u64,
}

impl Listing {
    /// Lists objects as those of the current process.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(registry: Arc<Registry>, objects: &Arc<Objects>) -> Result<Self> {
        let room = RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?;
        let entry = Entry {
            owner: current!().tgid(),
            objects: objects.clone(),
        };
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

impl Drop for Listing {
    fn drop(&mut self) {
        let removed = self.registry.list.lock().entries.remove_node(&self.number);
        // If it was the last reference, what it held goes here, after the lock.
        drop(removed);
    }
}
