// SPDX-License-Identifier: GPL-2.0

//! Devices of virtual IOMMUs as objects: by which number the IOMMU of a guest knows a bound device.

use crate::{
    kapi,
    objects::{
        users::{
            Used,
            User, //
        },
        viommu::Viommu, //
    }, //
};
use kernel::{
    fmt,
    prelude::*,
    sync::Arc, //
};

/// A device of a virtual IOMMU, as it is found.
pub(crate) struct Vdevice {
    id: u32,
    viommu_id: u32,
    virt_id: u64,
}

impl Vdevice {
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(id: u32, viommu: &Viommu, virt_id: u64) -> Result<Arc<Self>> {
        let vdevice = Self {
            id,
            viommu_id: viommu.id(),
            virt_id,
        };
        Ok(Arc::new(vdevice, GFP_KERNEL_ACCOUNT)?)
    }

    /// The id that userspace knows it by.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// The number that the virtual IOMMU knows it by.
    pub(crate) fn virt_id(&self) -> u64 {
        self.virt_id
    }

    /// Writes a line of fdinfo, of the bound device that it is.
    pub(super) fn show(&self, device: u32, f: &mut dyn fmt::Write) -> fmt::Result {
        writeln!(
            f,
            "vdevice:\t{} viommu {} device {} number {:#x}",
            self.id, self.viommu_id, device, self.virt_id,
        )
    }
}

/// The same, as the group of the bound device has it.
pub(super) struct BoundVdevice {
    pub(super) object: Arc<Vdevice>,
    /// Dropped before what it is of.
    _vdevice: kapi::vdevice::Vdevice,
    _viommu: User<Viommu>,
}

impl BoundVdevice {
    /// What the driver of the virtual IOMMU has made.
    pub(super) fn new(
        object: Arc<Vdevice>,
        vdevice: kapi::vdevice::Vdevice,
        viommu: User<Viommu>,
    ) -> Self {
        Self {
            object,
            _vdevice: vdevice,
            _viommu: viommu,
        }
    }

    /// Whether this is `vdevice`.
    pub(super) fn is(&self, vdevice: &Arc<Vdevice>) -> bool {
        Arc::ptr_eq(&self.object, vdevice)
    }
}
