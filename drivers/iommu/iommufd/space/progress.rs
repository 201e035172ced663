// SPDX-License-Identifier: GPL-2.0

//! How far maps of much memory have come, for those who look on.
//!
//! It is noted once in a [`CHUNK`]: what is over before that leaves no note, and pays for none.

use crate::{
    iova::IovaRange,
    kapi::trace, //
};
use kernel::{
    page::PAGE_SHIFT,
    prelude::*,
    sync::Mutex, //
};

/// So many pages are pinned between two notes: 32 MiB.
const CHUNK: u64 = 32 << 20 >> PAGE_SHIFT;

/// As many can be seen at once, of one space.
const SEEN: usize = 8;

/// What of an area is pinned, and mapped, by now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct UnderWay {
    /// The area.
    pub(crate) area: IovaRange,
    /// How many bytes.
    pub(crate) done: u64,
}

/// What is under way in a space.
#[derive(Clone, Copy, Default)]
pub(crate) struct Ongoing([Option<UnderWay>; SEEN]);

impl Ongoing {
    /// What can be seen.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &UnderWay> {
        self.0.iter().flatten()
    }

    /// Notes it in `place`, or where there is room, and says where that is.
    fn note(&mut self, place: Option<usize>, note: UnderWay) -> Option<usize> {
        let place = place.or_else(|| self.0.iter().position(Option::is_none))?;
        *self.0.get_mut(place)? = Some(note);
        Some(place)
    }

    fn remove(&mut self, place: usize) {
        if let Some(note) = self.0.get_mut(place) {
            *note = None;
        }
    }
}

/// An area whose memory is going to be pinned, in the space of that id.
#[derive(Clone, Copy)]
pub(crate) struct Progress<'a> {
    pub(crate) ongoing: &'a Mutex<Ongoing>,
    pub(crate) ioasid: u32,
    pub(crate) area: IovaRange,
    /// So many pages of it come before what is pinned in one go.
    pub(crate) before: u64,
}

/// A note of how far it has come. Dropping it removes it.
pub(crate) struct Note<'a> {
    of: Progress<'a>,
    place: Option<usize>,
    /// When so many pages are pinned.
    next: u64,
}

impl<'a> Progress<'a> {
    /// The same of what comes behind the first `npages`, which are there.
    pub(super) fn behind(self, npages: u64) -> Self {
        Self {
            before: npages,
            ..self
        }
    }

    /// Begins.
    pub(super) fn begin(self) -> Note<'a> {
        Note {
            of: self,
            place: None,
            next: CHUNK,
        }
    }
}

impl Note<'_> {
    /// So many pages are pinned.
    #[inline]
    pub(super) fn reach(&mut self, npages: u64) {
        if npages >= self.next {
            self.write(npages);
        }
    }

    #[cold]
    fn write(&mut self, npages: u64) {
        let Progress {
            ongoing,
            ioasid,
            area,
            before,
        } = self.of;
        let done = before.saturating_add(npages) << PAGE_SHIFT;
        self.next = npages.saturating_add(CHUNK);
        self.place = ongoing.lock().note(self.place, UnderWay { area, done });
        trace::progress(ioasid, area.first(), area.len(), done);
    }
}

impl Drop for Note<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.of.ongoing.lock().remove(place);
        }
    }
}

#[kunit_tests(iommufd_progress)]
mod tests {
    use super::*;

    fn note(first: u64, done: u64) -> Result<UnderWay> {
        let area = IovaRange::with_len(first, 1 << 30)?;
        Ok(UnderWay { area, done })
    }

    #[test]
    fn notes() -> Result {
        let mut ongoing = Ongoing::default();
        let (one, other, later) = (note(0, 1)?, note(1 << 30, 1)?, note(0, 2)?);
        assert_eq!(ongoing.note(None, one), Some(0));
        assert_eq!(ongoing.note(None, other), Some(1));
        assert_eq!(ongoing.note(Some(0), later), Some(0));
        assert!(ongoing.iter().eq([&later, &other]));
        ongoing.remove(0);
        assert!(ongoing.iter().eq([&other]));
        // More than can be seen are not.
        for place in (0..SEEN).filter(|place| *place != 1) {
            assert_eq!(ongoing.note(None, one), Some(place));
        }
        assert_eq!(ongoing.note(None, one), None);
        Ok(())
    }
}
