// SPDX-License-Identifier: GPL-2.0

//! Memory that hardware reads without any domain: it stays mapped, and where it is, until the
//! kernel lets go of it. Nobody can be asked to, so that an unmap is refused.

use super::IoPagetable;
use crate::{
    iova::IovaRange,
    kapi::{
        hw_queue::OnePiece,
        task, //
    }, //
};
use kernel::{
    page::PAGE_SIZE,
    prelude::*,
    types::ScopeGuard, //
};

/// All of the pages that `range` has something of.
fn whole_pages(range: IovaRange) -> Option<IovaRange> {
    const IN_PAGE: u64 = PAGE_SIZE as u64 - 1;
    IovaRange::new(range.first() & !IN_PAGE, range.last() | IN_PAGE)
}

impl IoPagetable {
    /// Keeps the pages that `range` has something of pinned and mapped until
    /// [`Self::unlock_pages`], and says where they are.
    ///
    /// # Errors
    ///
    /// * `EFAULT`: they do not come one behind the other in memory.
    /// * `EADDRINUSE`: something is mapped in the address space that is not made of whole pages.
    /// * Those of [`Self::pin`] for reading.
    pub(crate) fn lock_pages(&self, range: IovaRange) -> Result<OnePiece> {
        let pages = whole_pages(range).ok_or(EINVAL)?;
        self.add_pinner()?;
        let undo = ScopeGuard::new(|| self.remove_pinner());
        loop {
            let new = self.pin(pages, false)?;
            let place = new.in_one_piece().ok_or(EFAULT)?;
            if self.keep_locked(new)?.is_some() {
                undo.dismiss();
                return Ok(place);
            }
            task::resched_killable()?;
        }
    }

    /// Undoes a [`Self::lock_pages`] of the same range.
    pub(crate) fn unlock_pages(&self, range: IovaRange) {
        if let Some(pages) = whole_pages(range) {
            self.unpin_locked(pages);
        }
        self.remove_pinner();
    }
}
