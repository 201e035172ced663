// SPDX-License-Identifier: GPL-2.0

//! Domains inside of domains as objects.

use crate::{
    kapi::{
        nested::NestedDomain,
        users::Users, //
    },
    objects::{
        fault_queue::FaultQueue,
        ioas::Ioas,
        live::{
            new_live,
            Live, //
        },
        users::{
            Used,
            User, //
        },
        viommu::Viommu, //
    },
    space::hwpt::Hwpt, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// A domain inside of another, as it is found.
#[pin_data]
pub(crate) struct Nested {
    id: u32,
    /// The groups that are on it.
    users: Users,
    /// The domain that it is inside of, and the address space of that.
    parent: Arc<Hwpt>,
    ioas: Arc<Ioas>,
    takes_pasids: bool,
    #[pin]
    live: Live<Inside>,
}

/// What a domain is inside of.
pub(crate) enum Outer {
    /// A domain that was made for it.
    Hwpt(User<Hwpt>, Arc<Ioas>),
    /// What a virtual IOMMU is on.
    Viommu(User<Viommu>),
}

impl Outer {
    fn hwpt(&self) -> (Arc<Hwpt>, Arc<Ioas>) {
        match self {
            Self::Hwpt(hwpt, ioas) => (hwpt.get().clone(), ioas.clone()),
            Self::Viommu(viommu) => (viommu.get().hwpt().clone(), viommu.get().ioas().clone()),
        }
    }
}

/// What is there until it is destroyed.
struct Inside {
    /// First, for it is dropped first.
    domain: Arc<NestedDomain>,
    _outer: Outer,
    _faults: Option<User<FaultQueue>>,
}

impl Nested {
    /// `takes_pasids`: devices may use it that have PASIDs in use, and with them. It uses a queue
    /// of page faults, if its own go there.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(
        id: u32,
        domain: Arc<NestedDomain>,
        (outer, faults): (Outer, Option<User<FaultQueue>>),
        takes_pasids: bool,
    ) -> Result<Arc<Self>> {
        let (parent, ioas) = outer.hwpt();
        let inside = Inside {
            domain,
            _outer: outer,
            _faults: faults,
        };
        Arc::pin_init(
            pin_init!(Self {
                id,
                users: Users::new(),
                parent,
                ioas,
                takes_pasids,
                live <- new_live!(inside, c"iommufd_nested"),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// The domain that it is inside of.
    pub(crate) fn parent(&self) -> &Arc<Hwpt> {
        &self.parent
    }

    /// The address space of the domain that it is inside of.
    pub(crate) fn ioas(&self) -> &Arc<Ioas> {
        &self.ioas
    }

    /// Whether devices may use it that have PASIDs in use, and with them.
    pub(crate) fn takes_pasids(&self) -> bool {
        self.takes_pasids
    }

    /// Does something with the domain, which is not destroyed meanwhile.
    ///
    /// # Errors
    ///
    /// `ENOENT`: it was destroyed already. `EINTR`, and those of `work`.
    pub(crate) fn with_domain<R>(
        &self,
        work: impl FnOnce(&Arc<NestedDomain>) -> Result<R>,
    ) -> Result<R> {
        self.live.with(|inside| work(&inside.domain))
    }

    /// Lets go of the domain, if `retire` sees to it that nobody finds it any more.
    ///
    /// # Errors
    ///
    /// `EINTR`, and those of `retire`.
    pub(crate) fn destroy<R>(&self, retire: impl FnOnce() -> Result<R>) -> Result<R> {
        self.live.end(retire)
    }
}

impl Used for Nested {
    fn id(&self) -> u32 {
        self.id
    }

    fn users(&self) -> &Users {
        &self.users
    }
}
