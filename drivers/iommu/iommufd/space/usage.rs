// SPDX-License-Identifier: GPL-2.0

//! How much an address space holds.

use crate::{
    iova::IovaRange,
    space::{
        mapping::Mapping,
        pinning::Held, //
    }, //
};

/// What an address space holds.
#[derive(Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Number of areas.
    pub(crate) areas: u64,
    /// Bytes mapped.
    pub(crate) bytes: u64,
    /// What areas keep pinned that nobody else has.
    pub(crate) own: Held,
    /// What areas keep pinned that others may have as well: each as much as it has.
    pub(crate) shared: Held,
}

impl Usage {
    fn held(&mut self, mapping: &Mapping) -> &mut Held {
        match mapping.part() {
            None => &mut self.own,
            Some(_) => &mut self.shared,
        }
    }

    /// With one area more.
    #[inline]
    pub(crate) fn add(&mut self, area: IovaRange, mapping: &Mapping) {
        self.areas = self.areas.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(area.len());
        self.pin(mapping);
    }

    /// With what an area keeps pinned.
    #[inline]
    pub(crate) fn pin(&mut self, mapping: &Mapping) {
        self.held(mapping).add(mapping.held());
    }

    /// Without what an area keeps pinned.
    pub(crate) fn unpin(&mut self, mapping: &Mapping) {
        self.held(mapping).subtract(mapping.held());
    }

    /// Without the areas that make up `other`.
    #[inline]
    pub(crate) fn subtract(&mut self, other: &Self) {
        self.areas = self.areas.wrapping_sub(other.areas);
        self.bytes = self.bytes.wrapping_sub(other.bytes);
        self.own.subtract(other.own);
        self.shared.subtract(other.shared);
    }
}
