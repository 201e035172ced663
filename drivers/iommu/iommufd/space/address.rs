// SPDX-License-Identifier: GPL-2.0

//! Where in memory an address leads, for devices that no IOMMU has: they are told physical
//! addresses.

use super::IoPagetable;
use crate::{
    iova::IovaRange,
    kapi::run::Span, //
};
use kernel::prelude::*;

impl IoPagetable {
    /// The memory that is mapped at `iova`, as far as it goes on without a gap: `most` bytes, one
    /// at least, or to the end of the area. It stays until it is unmapped, or such devices are
    /// gone.
    ///
    /// # Errors
    ///
    /// * `ENOENT`: nothing is mapped there.
    /// * `EINVAL`: it was a device's memory, and was taken back.
    /// * `EOPNOTSUPP`: there is no domain for such devices.
    pub(crate) fn address_of(&self, iova: u64, most: u64) -> Result<Span> {
        let last = iova.saturating_add(most.saturating_sub(1));
        let range = IovaRange::new(iova, last).ok_or(EINVAL)?;
        let space = self.space.lock();
        let (area, mapping, part) = space.first_part(range)?;
        let skip = part.first() - area.first();
        if mapping.device().is_some_and(|device| device.is_gone()) {
            return Err(EINVAL);
        }
        if !space.has_untranslated {
            return Err(EOPNOTSUPP);
        }
        // It is pinned, or else a device's, for there is a domain.
        mapping.one_piece(skip, part.len()).ok_or(EINVAL)
    }
}
