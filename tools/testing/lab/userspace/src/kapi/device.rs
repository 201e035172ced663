// SPDX-License-Identifier: GPL-2.0

//! Devices: what they want left out, and what their IOMMU can do.

use crate::iova::IovaRange;
use kernel::{
    page::PAGE_SIZE,
    prelude::*, //
};

#[derive(Clone)]
pub(crate) struct DeviceRef(u32);

impl DeviceRef {
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

#[derive(Clone, Copy)]
pub(crate) enum Reserved {
    Range(IovaRange),
    SoftwareMsi(IovaRange),
    Msi(IovaRange),
}

impl Reserved {
    pub(crate) fn range(&self) -> IovaRange {
        match self {
            Self::Range(range) | Self::SoftwareMsi(range) | Self::Msi(range) => *range,
        }
    }
}

pub(crate) struct OwnedDevice {
    pub(crate) number: u32,
    /// What it wants left out.
    pub(crate) reserved: Option<IovaRange>,
    /// Whether an IOMMU has it.
    pub(crate) is_translated: bool,
    /// What that translates, and in pages of which size.
    pub(crate) aperture: IovaRange,
    pub(crate) page: u64,
}

impl OwnedDevice {
    /// One that wants nothing.
    pub(crate) fn new(number: u32) -> Self {
        Self {
            number,
            reserved: None,
            is_translated: true,
            aperture: IovaRange::ALL,
            page: PAGE_SIZE as u64,
        }
    }

    pub(crate) fn device(&self) -> DeviceRef {
        DeviceRef(self.number)
    }

    pub(crate) fn is_translated(&self) -> bool {
        self.is_translated
    }

    pub(crate) fn can_enforce_snoop(&self) -> bool {
        true
    }

    pub(crate) fn reserved_regions(&self) -> Result<KVec<Reserved>> {
        let mut regions = KVec::new();
        if let Some(range) = self.reserved {
            regions.push(Reserved::Range(range), GFP_KERNEL)?;
        }
        Ok(regions)
    }
}
