// SPDX-License-Identifier: GPL-2.0

//! /dev/iommu: I/O address spaces for userspace.
//!
//! A context ([`objects::context`]) is one open of the node. It owns I/O address spaces
//! ([`objects::ioas`], with [`space`] as what they are made of) and the devices that drivers such
//! as VFIO have bound to it ([`objects::group`]). The way of a map is: [`uapi::ioctl`],
//! [`uapi::ioasid`], [`space::IoPagetable::map`], [`kapi::domain::Domain::map`].
//!
//! # Lock order
//!
//! Outermost first:
//!
//! 0. the takeovers of a context ([`objects::context`]), and that a driver's callback may be used
//!    ([`kapi::access_ops::Listener`]); then the queues of a virtual IOMMU
//!    ([`objects::hw_queue`]), and what an IOMMU driver has of an object ([`objects::live`]): of
//!    a virtual IOMMU before its queues, of a queue after them;
//! 1. the state of a group ([`objects::group::Group`]) or of an access
//!    ([`objects::access::Access`]);
//! 2. the domains of an address space ([`space::IoPagetable`]): held for reading by maps and
//!    unmaps, for writing by attach and detach;
//! 3. that shared memory is being pinned ([`space::part`]), for which userspace may be waited for;
//! 4. the areas of a space, for moments, or while one area is put into a new domain; then the
//!    pieces of shared memory;
//! 5. the table of ids ([`objects::table`]), the cookies ([`objects::cookies`]) and the groups
//!    ([`objects::groups`]) of a context, and the list of all contexts ([`objects::registry`]),
//!    each on its own and for moments; a context's container ([`objects::container`]) above them;
//! 6. a queue of page faults ([`kapi::fault_queue`]), with which held devices are answered;
//! 7. not ours: the IOMMU core's lock of a group, which maps and unmaps do not take; the memory of
//!    a process (`mmap_lock`), VFIO's `memory_lock`, its files' `i_mmap_rwsem`, dma-bufs; what is
//!    called with these held takes none of the above, but
//! 8. where a device's memory is mapped ([`kapi::device_memory`]): with it held, domains are
//!    changed, and no memory is waited for.

#![deny(unsafe_code)]

use crate::{
    kapi::{
        node::{
            Identity,
            Node,
            NodeFile, //
        },
        worker::Workers, //
    },
    objects::{
        context::Context,
        registry::Registry,
        show::{
            self,
            SeqWriter, //
        },
        table::Objects, //
    }, //
};
use kernel::{
    debugfs,
    fs::File,
    miscdevice::{
        MiscDevice,
        MiscDeviceRegistration, //
    },
    mm::virt::{
        flags,
        VmaNew, //
    },
    prelude::*,
    seq_file::SeqFile,
    sync::{
        Arc,
        ArcBorrow, //
    },
};

#[allow(unsafe_code)]
mod exports;
mod iova;
#[allow(unsafe_code)]
mod kapi;
#[cfg(IOMMUFD_MOCK)]
mod mock;
mod objects;
mod space;
#[allow(unsafe_code)]
mod sys;
mod uapi;

module! {
    type: Iommufd,
    name: "iommufd",
    authors: ["The iommufd developers"],
    description: "I/O address spaces for userspace (/dev/iommu)",
    license: "GPL",
    // Together they make udev create the node before the module is loaded, and the kernel load
    // it when the node is opened. The second has the number of `MINOR`.
    alias: ["devname:iommu", "char-major-10-249"],
    imports_ns: ["DMA_BUF", "GENERIC_PT_IOMMU", "IOMMUFD", "IOMMUFD_INTERNAL"],
}

/// The node's minor number, one of those for local use. It is fixed so that the node can be there
/// before the module is.
const MINOR: i32 = 249;

/// The module: its device node, and a file in debugfs that shows all contexts.
#[pin_data]
struct Iommufd {
    #[pin]
    node: Node<Context>,
    #[pin]
    contexts: debugfs::File<Arc<Registry<Objects>>>,
    #[pin]
    refused_bars: debugfs::File<()>,
    dir: debugfs::Dir,
    _workers: Workers,
    /// Last, for it goes when nobody is there any more.
    #[cfg(IOMMUFD_MOCK)]
    _mock: mock::Mock,
}

impl kernel::InPlaceModule for Iommufd {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        let registry = Registry::new();
        let dir = debugfs::Dir::new(c"iommufd");
        try_pin_init!(Self {
            #[cfg(IOMMUFD_MOCK)]
            _mock: mock::Mock::new()?,
            _workers: Workers::new()?,
            contexts <- dir.read_callback_file(c"contexts", registry.clone()?, &show::contexts),
            refused_bars <- dir.read_callback_file(c"refused_bars", (), &show::refused_bars),
            node <- Node::register(c"iommu", 0o660, MINOR, registry?),
            dir,
        })
    }
}

static NODE: Identity<Context> = Identity::new();

impl NodeFile for Context {
    type Shared = Arc<Registry<Objects>>;

    fn identity() -> &'static Identity<Self> {
        &NODE
    }
}

#[vtable]
impl MiscDevice for Context {
    type Ptr = Arc<Self>;

    fn open(_file: &File, node: &MiscDeviceRegistration<Self>) -> Result<Arc<Self>> {
        Context::new(Node::shared(node)?, node.device())
    }

    fn ioctl(ctx: ArcBorrow<'_, Self>, _file: &File, cmd: u32, arg: usize) -> Result<isize> {
        #[cfg(IOMMUFD_MOCK)]
        if cmd == mock::TEST_CMD {
            return mock::ioctl(&ctx.into(), arg);
        }
        uapi::ioctl(ctx, cmd, arg)
    }

    #[cfg(IOMMUFD_MOCK)]
    fn release(ctx: Arc<Self>, _file: &File) {
        mock::release(&ctx);
    }

    /// Maps what an IOMMU driver has offered userspace of its hardware.
    fn mmap(ctx: ArcBorrow<'_, Self>, _file: &File, vma: &VmaNew) -> Result {
        if vma.flags() & flags::SHARED == 0 {
            return Err(EINVAL);
        }
        if vma.flags() & flags::EXEC != 0 {
            return Err(EPERM);
        }
        // Nor later.
        vma.try_clear_mayexec()?;
        ctx.drivers().map(vma)
    }

    fn show_fdinfo(ctx: ArcBorrow<'_, Self>, m: &SeqFile, _file: &File) {
        // Writing to a seq_file cannot fail; what does not fit is asked for again.
        let _ = show::fdinfo(&ctx, &mut SeqWriter(m));
    }
}
