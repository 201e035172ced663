// SPDX-License-Identifier: GPL-2.0

//! A source text with some of its parts replaced. Lines stay where they are.

use std::ops::Range;

/// What is to be replaced, in any order; no two of them overlap.
#[derive(Default)]
pub(crate) struct Edits(Vec<(Range<usize>, String)>);

impl Edits {
    pub(crate) fn replace(&mut self, range: Range<usize>, new: String) {
        self.0.push((range, new));
    }

    /// What becomes of `range`.
    pub(crate) fn apply(mut self, source: &str, range: Range<usize>) -> String {
        // What is put in between comes before what begins there.
        self.0.sort_by_key(|(range, _)| (range.start, range.end));
        let mut text = String::new();
        let mut at = range.start;
        for (part, new) in self.0 {
            text.push_str(&source[at..part.start]);
            text.push_str(&new);
            at = part.end;
        }
        text.push_str(&source[at..range.end]);
        text
    }
}
