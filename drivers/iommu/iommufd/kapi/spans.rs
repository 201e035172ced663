// SPDX-License-Identifier: GPL-2.0

//! Where the memory of a device is: a few pieces, one behind the other.

use crate::{
    iova::IovaRange,
    kapi::run::Span, //
};
use core::iter;
use kernel::{
    prelude::*,
    sizes::SZ_1G, //
};

/// As much is mapped, and unmapped, without others getting their turn. A page table for a device
/// has no larger pages than that.
const STEP: u64 = SZ_1G as u64;

/// The pieces of a device's memory.
pub(super) struct Spans(KVVec<Span>);

impl Spans {
    /// None.
    pub(super) fn new() -> Self {
        Self(KVVec::new())
    }

    /// With one more piece, behind the last.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn push(&mut self, span: Span) -> Result {
        match self.0.last_mut() {
            Some(last) if last.address.checked_add(last.len) == Some(span.address) => {
                last.len += span.len;
            }
            _ => self.0.push(span, GFP_KERNEL_ACCOUNT)?,
        }
        Ok(())
    }

    /// The `len` bytes from number `skip` on, or what there is of them, as they lie.
    fn part(&self, skip: u64, len: u64) -> impl Iterator<Item = Span> + '_ {
        let (mut skip, mut left) = (skip, len);
        self.0.iter().filter_map(move |span| {
            let part = span.after(skip).filter(|_| left > 0);
            skip = skip.saturating_sub(span.len);
            let part = part?.front(left);
            left -= part.len;
            Some(part)
        })
    }

    /// In how many pieces the `len` bytes from number `skip` on are.
    pub(super) fn count(&self, skip: u64, len: u64) -> usize {
        self.part(skip, len).count()
    }

    /// What comes first of the `len` bytes from number `skip` on, if there are any.
    pub(super) fn one_piece(&self, skip: u64, len: u64) -> Option<Span> {
        self.part(skip, len).next()
    }

    /// How to map the bytes from number `skip` on as `range`: in which steps.
    pub(super) fn steps(
        &self,
        skip: u64,
        range: IovaRange,
    ) -> impl Iterator<Item = (IovaRange, Span)> + '_ {
        let mut next = range.first();
        self.part(skip, range.len()).flat_map(move |span| {
            let first = next;
            next = next.wrapping_add(span.len);
            cut(first, span)
        })
    }
}

/// Cuts what is to be mapped from `first` on where the address comes to a multiple of [`STEP`].
fn cut(first: u64, span: Span) -> impl Iterator<Item = (IovaRange, Span)> {
    let mut rest = Some((first, span));
    iter::from_fn(move || {
        let (first, span) = rest.take()?;
        let len = (STEP - first % STEP).min(span.len);
        let more = span.after(len);
        rest = more.map(|more| (first.wrapping_add(len), more));
        let range = IovaRange::with_len(first, len).ok()?;
        Some((range, span.front(len)))
    })
}

#[kunit_tests(iommufd_spans)]
mod tests {
    use super::*;

    const G: u64 = SZ_1G as u64;

    fn spans(pieces: &[(u64, u64)]) -> Result<Spans> {
        let mut spans = Spans::new();
        for &(address, len) in pieces {
            spans.push(Span { address, len })?;
        }
        Ok(spans)
    }

    #[test]
    fn pieces() -> Result {
        // What is contiguous is one piece.
        let all = spans(&[(0x4000, 0x1000), (0x5000, 0x3000), (0x1000, 0x2000)])?;
        for (skip, len, expected) in [
            (0, 0x6000, &[(0x4000, 0x4000), (0x1000, 0x2000)][..]),
            (0, 0x4000, &[(0x4000, 0x4000)]),
            (0x1000, 0x3001, &[(0x5000, 0x3000), (0x1000, 1)]),
            (0x4000, 0x1000, &[(0x1000, 0x1000)]),
            (0x5fff, 1, &[(0x2fff, 1)]),
            (0x5fff, 2, &[(0x2fff, 1)]),
            (0x6000, 1, &[]),
            (0, 0, &[]),
        ] {
            let part = all.part(skip, len).map(|span| (span.address, span.len));
            assert!(part.eq(expected.iter().copied()));
            assert_eq!(all.count(skip, len), expected.len());
        }
        Ok(())
    }

    #[test]
    fn steps() -> Result {
        let all = spans(&[(4 * G, 2 * G), (0x1000, 0x2000)])?;
        for (skip, first, len, expected) in [
            (0, 0, G, &[(0, 4 * G, G)][..]),
            (
                0,
                G - 0x1000,
                G,
                &[(G - 0x1000, 4 * G, 0x1000), (G, 4 * G + 0x1000, G - 0x1000)],
            ),
            (
                G,
                2 * G,
                G + 0x2000,
                &[(2 * G, 5 * G, G), (3 * G, 0x1000, 0x2000)],
            ),
            (2 * G + 0x1000, 0x8000, 0x1000, &[(0x8000, 0x2000, 0x1000)]),
        ] {
            let range = IovaRange::with_len(first, len)?;
            let steps = all.steps(skip, range);
            let steps = steps.map(|(range, span)| (range.first(), span.address, range.len()));
            assert!(steps.eq(expected.iter().copied()));
        }
        Ok(())
    }
}
