// SPDX-License-Identifier: GPL-2.0

//! Areas that are cut in two, for VFIO's type1 without v2: it unmaps what is in the middle.

use super::{
    IoPagetable,
    Space, //
};
use crate::{
    iova::IovaRange,
    space::{
        areas::Spare,
        mapped::Mapped,
        mapping::Mapping, //
    }, //
};
use kernel::prelude::*;

impl IoPagetable {
    /// Cuts the areas that an end of `range` is in the middle of.
    ///
    /// # Errors
    ///
    /// * `EINVAL`: not between two pages, or a driver has pinned some of the area, or a domain may
    ///   have it in large pages.
    /// * `EBUSY`: it is being unmapped.
    /// * `ENOMEM`: an area may have been cut at one end then, with both parts mapped. `EINTR`.
    pub(crate) fn cut_at_ends(&self, range: IovaRange) -> Result {
        let behind = Some((range.last(), Spare::new()?));
        let before = match range.first().checked_sub(1) {
            Some(last) => Some((last, Spare::new()?)),
            None => None,
        };
        // No map or unmap is under way, so that the areas may be locked for long.
        let domains = self.domains.write_killable()?;
        let are_large = domains.large_pages && !domains.list.is_empty();
        let mut space = self.space.lock();
        for (last, _) in [&behind, &before].into_iter().flatten() {
            if !space.check_cut(*last, are_large)? {
                return Ok(());
            }
        }
        for (last, spare) in [behind, before].into_iter().flatten() {
            space.cut_behind(last, spare)?;
        }
        Ok(())
    }
}

impl Space {
    /// The area that has the address `last`, and goes on, and what is in it.
    fn area_cut_behind(&self, last: u64) -> Option<(IovaRange, &Mapping)> {
        let (area, mapped) = self.areas.live_at(last)?;
        (area.last() != last).then_some((area, mapped.mapping()))
    }

    /// Whether a cut can be made, or none is needed. Nobody cuts off a single byte in front: that
    /// is for the unmap to refuse.
    fn check_cut(&self, last: u64, are_large: bool) -> Result<bool> {
        let Some((area, mapping)) = self.area_cut_behind(last) else {
            return Ok(true);
        };
        if last == area.first() {
            return Ok(false);
        }
        if self.pins.is_closed(area) {
            return Err(EBUSY);
        }
        let can_be_cut = mapping.can_be_cut(last - area.first() + 1);
        let is_pinned = [&self.pins, &self.locked]
            .iter()
            .any(|pins| pins.first_in(area).is_some());
        if !can_be_cut || is_pinned || are_large {
            return Err(EINVAL);
        }
        Ok(true)
    }

    fn cut_behind(&mut self, last: u64, spare: Spare<Mapped>) -> Result {
        let Some((area, _)) = self.area_cut_behind(last) else {
            return Ok(());
        };
        let len = last - area.first() + 1;
        self.areas
            .split(area.last(), last, spare, |mapped| mapped.cut_off(len))?;
        self.usage.areas = self.usage.areas.wrapping_add(1);
        Ok(())
    }
}
