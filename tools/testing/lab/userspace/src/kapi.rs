// SPDX-License-Identifier: GPL-2.0

//! What stands between the driver and the kernel's interfaces in C: as it is, as far as it is about
//! memory and who pays for it; else what does the same on the machine.

#[path = "../../../../../drivers/iommu/iommufd/kapi/access_ops.rs"]
pub(crate) mod access_ops;
#[path = "../../../../../drivers/iommu/iommufd/kapi/account.rs"]
pub(crate) mod account;
#[path = "../../../../../drivers/iommu/iommufd/kapi/msi.rs"]
pub(crate) mod msi;
#[path = "../../../../../drivers/iommu/iommufd/kapi/run.rs"]
pub(crate) mod run;
#[path = "../../../../../drivers/iommu/iommufd/kapi/spans.rs"]
pub(crate) mod spans;
#[path = "../../../../../drivers/iommu/iommufd/kapi/user_data.rs"]
pub(crate) mod user_data;
#[path = "../../../../../drivers/iommu/iommufd/kapi/users.rs"]
pub(crate) mod users;

pub(crate) mod device;
pub(crate) mod domain;
pub(crate) mod mutant;
pub(crate) mod pin;
pub(crate) mod rwsem;

/// Memory files: each is one more process.
pub(crate) mod memfd {
    use super::pin::{
        self,
        Batch, //
    };
    use kernel::{
        machine,
        page::PAGE_SHIFT,
        prelude::*,
        sync::Arc, //
    };

    pub(crate) struct MemoryFile;

    impl MemoryFile {
        pub(crate) fn npages(&self) -> u64 {
            machine::MEMORY
        }

        pub(crate) fn has_huge_pages(&self) -> bool {
            false
        }
    }

    pub(crate) struct FilePinner<'a>(&'a Arc<MemoryFile>, bool);

    impl<'a> FilePinner<'a> {
        pub(crate) fn new(file: &'a Arc<MemoryFile>, writable: bool) -> Self {
            Self(file, writable)
        }

        pub(crate) fn file(&self) -> &'a Arc<MemoryFile> {
            self.0
        }

        pub(crate) fn is_for_writes(&self) -> bool {
            self.1
        }

        pub(crate) fn prepare(&mut self, _npages: u64) -> Result {
            Ok(())
        }

        pub(crate) fn pin(&mut self, offset: u64, npages: u64) -> Result<Batch<'_>> {
            pin::pin(pin::FILE, offset >> PAGE_SHIFT, npages, self.1)
        }
    }
}

/// The current task.
pub(crate) mod task {
    use kernel::{
        machine,
        prelude::*, //
    };

    pub(crate) fn resched_killable() -> Result {
        if machine::is_killed() {
            return Err(EINTR);
        }
        Ok(())
    }

    pub(crate) fn resched() {}

    pub(crate) fn fault_count() -> u64 {
        0
    }
}

/// Nobody helps with a map.
pub(crate) mod worker {
    use std::marker::PhantomData;

    pub(crate) trait Work: Send + Sync + 'static {
        fn work(&self);
    }

    pub(crate) struct Worker<T: Work>(PhantomData<T>);

    pub(crate) fn processors() -> u64 {
        0
    }

    impl<T: Work> Worker<T> {
        pub(crate) fn start(_: T) -> Option<Self> {
            None
        }
    }
}

/// The module's parameters, which nobody sets.
pub(crate) mod params {
    pub(crate) fn fill_threads() -> u64 {
        0
    }

    pub(crate) fn fill_always() -> bool {
        false
    }
}

/// Nobody looks on.
pub(crate) mod trace {
    use kernel::prelude::*;

    #[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
    pub(crate) struct Unmapped {
        pub(crate) bytes: u64,
        pub(crate) runs: u64,
    }

    #[derive(Clone, Copy)]
    pub(crate) struct PinnedAreas {
        pub(crate) areas: u64,
        pub(crate) bytes: u64,
    }

    pub(crate) fn pin(_: u32, _: PinnedAreas, work: impl FnOnce() -> Result) -> Result {
        work()
    }

    pub(crate) fn progress(_: u32, _: u64, _: u64, _: u64) {}
}

/// BARs, which the machine has none of.
pub(crate) mod bar {
    use super::account::Payer;

    pub(crate) fn are_mapped_by_address() -> bool {
        false
    }

    pub(crate) fn is_at(_process: &Payer, _vaddr: u64) -> bool {
        false
    }
}

/// The same.
pub(crate) mod device_memory {
    use super::{
        account::Payer,
        domain::{
            Domain,
            Prot, //
        },
        run::Span,
    };
    use crate::iova::IovaRange;
    use core::convert::Infallible;
    use kernel::{
        prelude::*,
        sync::Arc, //
    };

    pub(crate) struct DevicePart(Infallible);

    impl DevicePart {
        pub(crate) fn of_process(_: &Payer, _: u64, _: u64, _: bool) -> Result<Self> {
            Err(EFAULT)
        }

        pub(crate) fn again(&self, _skip: u64, _len: u64) -> Self {
            match self.0 {}
        }

        pub(crate) fn offset(&self) -> u64 {
            match self.0 {}
        }

        pub(crate) fn is_writable(&self) -> bool {
            match self.0 {}
        }

        pub(crate) fn is_of_process(&self) -> bool {
            match self.0 {}
        }

        pub(crate) fn count(&self) -> usize {
            match self.0 {}
        }

        pub(crate) fn is_gone(&self) -> bool {
            match self.0 {}
        }

        pub(crate) fn one_piece(&self, _skip: u64, _len: u64) -> Option<Span> {
            match self.0 {}
        }

        pub(crate) fn enter(&self, _: &Arc<Domain>, _: IovaRange, _: Prot, _: bool) -> Result {
            match self.0 {}
        }

        pub(crate) fn leave(&self, _: &Domain, _: IovaRange) {
            match self.0 {}
        }
    }
}

/// Marks of what devices have written to.
pub(crate) mod dirty {
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub(crate) enum Marks {
        Keep,
        Clear,
    }
}

/// Bitmaps of userspace's: what was read is all that is to be known.
pub(crate) mod iova_bitmap {
    use crate::iova::IovaRange;
    use kernel::prelude::*;
    use std::marker::PhantomData;

    pub(crate) fn stride(range: IovaRange) -> Option<IovaRange> {
        Some(range)
    }

    pub(crate) struct UserBitmap(pub(crate) IovaRange);

    impl UserBitmap {
        pub(crate) fn range(&self) -> IovaRange {
            self.0
        }

        pub(crate) fn is_small(&self) -> bool {
            true
        }

        pub(crate) fn window<'a>(&self, range: IovaRange, _: &'a mut Pages) -> Result<Window<'a>> {
            Ok(Window(range, PhantomData))
        }

        pub(crate) fn set(&self, _: IovaRange, _: &mut Pages) -> Result {
            Ok(())
        }
    }

    pub(crate) struct Pages;

    impl Pages {
        pub(crate) fn new() -> Self {
            Self
        }
    }

    pub(crate) struct Window<'a>(IovaRange, PhantomData<&'a mut Pages>);

    impl Window<'_> {
        pub(crate) fn range(&self) -> IovaRange {
            self.0
        }

        pub(crate) fn beside(&self) -> impl Iterator<Item = IovaRange> + 'static {
            std::iter::empty()
        }
    }
}

/// Pages, one behind the other.
pub(crate) mod hw_queue {
    use super::run::PinnedRun;

    #[derive(Default)]
    pub(crate) struct OnePiece(Option<u64>);

    impl OnePiece {
        pub(crate) fn add(&mut self, run: &PinnedRun, skip: u64, most: u64) -> Option<u64> {
            let first = run.pfn() + skip;
            if self.0.is_some_and(|next| next != first) {
                return None;
            }
            let npages = run.npages().saturating_sub(skip).min(most);
            self.0 = Some(first + npages);
            Some(npages)
        }
    }
}

/// The core gives interrupts their addresses.
pub(crate) mod sw_msi {
    pub(crate) const SERVED: bool = false;
}
