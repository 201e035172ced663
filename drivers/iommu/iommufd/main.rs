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
//!    ([`kapi::access_ops::Listener`]);
//! 1. the state of a group ([`objects::group::Group`]) or of an access
//!    ([`objects::access::Access`]);
//! 2. the domains of an address space ([`space::IoPagetable`]): held for reading by maps and
//!    unmaps, for writing by attach and detach;
//! 3. its areas, for moments where the domains are held for reading; then the pieces of memory
//!    that several areas have ([`space::memory`]), and where a device's memory is mapped
//!    ([`kapi::device_memory`]);
//! 4. the table of ids ([`objects::table`]), the cookies ([`objects::cookies`]) and the groups
//!    ([`objects::groups`]) of a context, and the list of all contexts ([`objects::registry`]),
//!    each on its own and for moments; a context's container ([`objects::container`]) above them.

#![deny(unsafe_code)]

use crate::{
    kapi::node::{
        Identity,
        Node,
        NodeFile, //
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
    imports_ns: ["DMA_BUF", "IOMMUFD_INTERNAL"],
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
    dir: debugfs::Dir,
}

impl kernel::InPlaceModule for Iommufd {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        let registry = Registry::new();
        let dir = debugfs::Dir::new(c"iommufd");
        try_pin_init!(Self {
            contexts <- dir.read_callback_file(c"contexts", registry.clone()?, &show::contexts),
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
        uapi::ioctl(&ctx, cmd, arg)
    }

    /// There is nothing to be mapped, which is said as mainline says it.
    fn mmap(_ctx: ArcBorrow<'_, Self>, _file: &File, vma: &VmaNew) -> Result {
        if vma.flags() & flags::SHARED == 0 {
            return Err(EINVAL);
        }
        Err(if vma.flags() & flags::EXEC != 0 {
            EPERM
        } else {
            ENXIO
        })
    }

    fn show_fdinfo(ctx: ArcBorrow<'_, Self>, m: &SeqFile, _file: &File) {
        // Writing to a seq_file cannot fail; what does not fit is asked for again.
        let _ = show::fdinfo(&ctx, &mut SeqWriter(m));
    }
}
