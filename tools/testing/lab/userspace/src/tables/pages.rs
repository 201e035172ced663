// SPDX-License-Identifier: GPL-2.0

//! What `space/pages.rs` makes of batches.

use crate::{
    kapi::{
        pin::Batch,
        run::PinnedRun, //
    },
    space::pages::Runs,
};
use kernel::machine;

fn runs_of(pfns: &[u64], batch: usize) -> Runs {
    let mut runs: Option<Runs> = None;
    for some in pfns.chunks(batch) {
        let mut batch = Batch::of(some);
        if runs.is_none() {
            runs = batch.next_run().map(Runs::new);
        }
        let extended = runs.as_mut().map(|runs| runs.extend(batch));
        assert_eq!(extended, Some(Ok(())));
    }
    runs.expect("there are pages")
}

#[test]
fn extended() {
    machine::reset();
    for count in [1, 2, 511, 512, 513, 514, 1024, 1025, 1026] {
        for batch in [1, 3, 512, 2000] {
            // None of them goes on with the next.
            let pfns: Vec<u64> = (0..count).map(|number| 2 * number + 1).collect();
            let runs = runs_of(&pfns, batch);
            assert_eq!(runs.count() as u64, count);
            assert!(runs.slices(0, 0).flatten().map(PinnedRun::pfn).eq(pfns));
            assert_eq!(machine::left().0, count as i64);
            drop(runs);
            assert_eq!(machine::left().0, 0);
            // All of them do.
            let pfns: Vec<u64> = (1..=count).collect();
            let runs = runs_of(&pfns, batch);
            assert_eq!(runs.count(), 1);
            assert_eq!(machine::left().0, count as i64);
        }
    }
}
