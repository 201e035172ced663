// SPDX-License-Identifier: GPL-2.0

//! Message-signalled interrupts where an IOMMU translates them: on Arm, say.
//!
//! There, an interrupt is a write to a doorbell, at an address that the IOMMU core chooses when
//! the interrupt is set up: the next free page of a region that is kept out of the address space.
//! The device knows that address from then on. So whichever domain it comes to must have the
//! doorbell at the same place, or the interrupts that are set up get lost.

use crate::{
    iova::IovaRange,
    kapi::{
        device::Reserved,
        domain::Domain,
        sw_msi, //
    },
};
use kernel::{
    page::PAGE_SIZE,
    prelude::*, //
};

/// Whether doorbells have I/O addresses at all on this architecture, and it is the core that
/// chooses them.
const TRANSLATED: bool = cfg!(CONFIG_IRQ_MSI_IOMMU) && !sw_msi::SERVED;

/// Where a group's devices find the doorbells.
#[derive(Clone, Copy)]
pub(crate) enum SwMsi {
    /// Nothing is known of a place, and none needed.
    None,
    /// Where the core puts them.
    Software(IovaRange),
    /// Where the hardware has them, whatever the domain. The core insists on an address all the
    /// same, and gives the first one, which is right.
    Hardware(IovaRange),
}

impl SwMsi {
    /// Takes a region of a device into account. What hardware has takes precedence.
    pub(crate) fn learn(&mut self, region: &Reserved) {
        *self = match (&*self, region) {
            (Self::None | Self::Software(_), Reserved::Msi(range)) => Self::Hardware(*range),
            (Self::None, Reserved::SoftwareMsi(range)) => Self::Software(*range),
            _ => return,
        };
    }

    /// Where doorbells are mapped, of use or not. Each stays in its domain as long as that is
    /// there.
    pub(crate) fn region(&self) -> Option<IovaRange> {
        match self {
            Self::Software(range) => Some(*range),
            Self::Hardware(range) if TRANSLATED => Some(*range),
            Self::None | Self::Hardware(_) => None,
        }
    }

    /// Whether `domain` has the doorbells that `before` has.
    pub(crate) fn is_alike(&self, domain: &Domain, before: Option<&Domain>) -> bool {
        self.doorbells(before)
            .all(|(iova, doorbell)| domain.translate(iova) == Some(doorbell))
    }

    /// Gives a new domain the doorbells that `before` has, and the core what is left for others.
    ///
    /// # Errors
    ///
    /// `ENOSPC`: nothing is left. `ENOMEM`.
    pub(crate) fn set_up(&self, domain: &Domain, before: Option<&Domain>) -> Result {
        let mut base = match self {
            Self::Software(range) | Self::Hardware(range) if TRANSLATED => range.first(),
            _ => return Ok(()),
        };
        if let Some(before) = before {
            for (iova, _) in self.doorbells(Some(before)) {
                // SAFETY: It is in a region that the device has reserved.
                unsafe { domain.map_doorbell_of(before, iova) }?;
                base = iova.checked_add(PAGE_SIZE as u64).ok_or(ENOSPC)?;
            }
        }
        match self {
            Self::Software(range) if base > range.last() => Err(ENOSPC),
            _ => domain.set_sw_msi(base),
        }
    }

    /// The doorbells in `domain`: where they are, and what is there.
    fn doorbells<'a>(
        &self,
        domain: Option<&'a Domain>,
    ) -> impl Iterator<Item = (u64, u64)> + use<'a> {
        let region = match self {
            Self::Software(range) if TRANSLATED => Some(*range),
            _ => None,
        };
        // The core fills the region from its start.
        region.zip(domain).into_iter().flat_map(|(region, domain)| {
            (region.first()..=region.last())
                .step_by(PAGE_SIZE)
                .map_while(|iova| Some((iova, domain.translate(iova)?)))
        })
    }
}
