// SPDX-License-Identifier: GPL-2.0

//! Which pages of an address space devices have written to.
//!
//! A page table is read some addresses at a time. Who would unmap these waits meanwhile, but never
//! for memory of userspace, which is pinned before.

use super::{
    IoPagetable,
    Space, //
};
use crate::{
    iova::IovaRange,
    kapi::{
        dirty::Marks,
        iova_bitmap::{
            self,
            Pages,
            UserBitmap,
            Window, //
        },
        rwsem::ReadGuard,
        task, //
    },
    space::{
        areas::Unmap,
        domains::Domains,
        hwpt::Hwpt,
        mapped, //
    }, //
};
use core::iter;
use kernel::{
    prelude::*,
    sync::{
        lock::{
            mutex::MutexBackend,
            Guard, //
        },
        Arc, //
    }, //
};

/// Addresses of an address space at which what is mapped stays.
struct Steady<'a> {
    iopt: &'a IoPagetable,
    range: IovaRange,
    hold: Option<Unmap>,
    /// Nor does a domain come or go.
    _domains: ReadGuard<'a, Domains>,
}

impl Steady<'_> {
    /// Where memory is mapped in them, in order: not that of devices, which can be taken back at
    /// any time.
    fn areas(&self) -> impl Iterator<Item = IovaRange> + '_ {
        let mut rest = Some(self.range);
        iter::from_fn(move || loop {
            let space = self.iopt.space.lock();
            let (area, mapped) = space.areas.next_live(rest?)?;
            rest = rest?.behind(area.last());
            if mapped.mapping().device().is_none() {
                return Some(area);
            }
        })
    }
}

impl Drop for Steady<'_> {
    fn drop(&mut self) {
        let mut space = self.iopt.space.lock();
        if let Some(hold) = self.hold.take() {
            space.areas.end_unmap(hold);
        }
        if space.waiting > 0 {
            self.iopt.unmapped.notify_all();
        }
    }
}

impl IoPagetable {
    /// # Errors
    ///
    /// `ENOENT`: the domain is not there any more. `EINTR`.
    fn keep_steady(&self, hwpt: &Arc<Hwpt>, range: IovaRange) -> Result<Steady<'_>> {
        let domains = self.domains.read_killable()?;
        domains.find(hwpt)?;
        let mut space = self.space.lock();
        let hold = loop {
            // Whoever waits for an unmap to end has been there before.
            if space.waiting == space.readers {
                if let Some(hold) = space.areas.hold(range) {
                    break hold;
                }
            }
            self.wait_as_reader(&mut space);
        };
        drop(space);
        Ok(Steady {
            iopt: self,
            range,
            hold: Some(hold),
            _domains: domains,
        })
    }

    fn wait_as_reader(&self, space: &mut Guard<'_, Space, MutexBackend>) {
        space.readers += 1;
        self.wait_for_unmap(space);
        space.readers -= 1;
    }

    /// Begins or ends to mark the pages that devices write to by way of a domain. None is marked
    /// when that begins.
    ///
    /// # Errors
    ///
    /// * `EOPNOTSUPP`: the domain was not made for it. `ENOENT`: it is not there any more.
    /// * `EINTR`; what the IOMMU driver says.
    pub(crate) fn set_dirty_tracking(&self, hwpt: &Arc<Hwpt>, enable: bool) -> Result {
        let domain = hwpt.domain();
        if !domain.can_read_dirty() {
            return Err(EOPNOTSUPP);
        }
        if enable {
            self.each_stride(IovaRange::ALL, |range| {
                let steady = self.keep_steady(hwpt, range)?;
                mapped::read_dirty(domain, steady.areas(), Marks::Clear, None)?;
                Ok(range)
            })?;
        }
        let domains = self.domains.read_killable()?;
        domains.find(hwpt)?;
        domain.set_dirty_tracking(enable)
    }

    /// Sets the bits of what devices have written to by way of a domain, as far as it is mapped.
    ///
    /// If marks are cleared, and there is more of the bitmap than can be pinned at once, then all
    /// of it is looked at before: one that cannot be written to costs nobody's marks.
    ///
    /// # Errors
    ///
    /// * `EINVAL`: an end of the bitmap is not between two pages of the domains.
    /// * `EOPNOTSUPP`: the domain was not made for it. `ENOENT`: it is not there any more.
    /// * Those of [`UserBitmap::window`].
    /// * `EINTR`; what the IOMMU driver says.
    pub(crate) fn read_dirty(&self, hwpt: &Arc<Hwpt>, bitmap: &UserBitmap, marks: Marks) -> Result {
        let mut pages = Pages::new();
        if marks == Marks::Clear && !bitmap.is_small() {
            self.each_stride(bitmap.range(), |range| {
                Ok(bitmap.window(range, &mut pages)?.range())
            })?;
        }
        self.each_stride(bitmap.range(), |range| {
            let mut window = bitmap.window(range, &mut pages)?;
            self.read_into(hwpt, &mut window, marks)?;
            let (range, beside) = (window.range(), window.beside());
            drop(window);
            for more in beside {
                bitmap.set(more, &mut pages)?;
            }
            Ok(range)
        })
    }

    fn read_into(&self, hwpt: &Arc<Hwpt>, window: &mut Window<'_>, marks: Marks) -> Result {
        let steady = self.keep_steady(hwpt, window.range())?;
        mapped::read_dirty(hwpt.domain(), steady.areas(), marks, Some(window))
    }

    /// Calls `work` for what of `range` is worth a look, some at a time, until it has said that it
    /// has done all of it.
    fn each_stride(
        &self,
        range: IovaRange,
        mut work: impl FnMut(IovaRange) -> Result<IovaRange>,
    ) -> Result {
        let mut rest = Some(range);
        while let Some(range) = rest {
            task::resched_killable()?;
            let space = self.space.lock();
            let next = space.areas.next_live(range).map(|(area, _)| area.first());
            drop(space);
            let stride = next
                .and_then(|first| IovaRange::new(first, range.last()))
                .and_then(iova_bitmap::stride);
            let Some(stride) = stride else { break };
            rest = range.behind(work(stride)?.last());
        }
        Ok(())
    }

    /// Shows a domain to `work` while nobody unmaps in `range`.
    ///
    /// # Errors
    ///
    /// `ENOENT`: it is not there any more. `EINTR`.
    #[cfg(IOMMUFD_MOCK)]
    pub(crate) fn with_steady(
        &self,
        hwpt: &Arc<Hwpt>,
        range: IovaRange,
        work: impl FnOnce(&crate::kapi::domain::Domain),
    ) -> Result {
        let _steady = self.keep_steady(hwpt, range)?;
        work(hwpt.domain());
        Ok(())
    }
}
