// SPDX-License-Identifier: GPL-2.0

//! Areas that are cut in two, for VFIO's type1 without v2: it unmaps what is in the middle.

use super::IoPagetable;
use crate::{
    areas::Spare,
    kapi::task,
    mapping::Mapping, //
};
use kernel::{
    page::PAGE_SIZE,
    prelude::*, //
};

impl IoPagetable {
    /// Cuts the area that has the address `last` behind it, if there is one that goes on.
    ///
    /// # Errors
    ///
    /// * `EINVAL`: not between two pages, or a driver has pinned some of the area, or a domain may
    ///   have it in large pages.
    /// * `EBUSY`: it is being unmapped.
    /// * `ENOMEM`, `EINTR`.
    pub(crate) fn cut_behind(&self, last: u64) -> Result {
        let spare = Spare::new()?;
        task::breathe()?;
        // No map or unmap is under way, so that the areas may be locked for long.
        let domains = self.domains.write_killable()?;
        let mut space = self.space.lock();
        let space = &mut *space;
        let Some((area, _)) = space.areas.live_at(last) else {
            return Ok(());
        };
        // A single byte in front is cut off by nobody; that is for the unmap to refuse.
        if last == area.first() || last == area.last() {
            return Ok(());
        }
        if space.pins.is_closed(area) {
            return Err(EBUSY);
        }
        let len = last - area.first() + 1;
        if len % PAGE_SIZE as u64 != 0
            || space.pins.first_in(area).is_some()
            || (domains.large_pages && !domains.list.is_empty())
        {
            return Err(EINVAL);
        }
        let cut = |mapping: &mut Mapping| mapping.cut_off(len);
        space.areas.split(area.last(), last, spare, cut)?;
        space.usage.areas = space.usage.areas.wrapping_add(1);
        Ok(())
    }
}
