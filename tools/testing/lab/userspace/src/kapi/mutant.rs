// SPDX-License-Identifier: GPL-2.0

//! Which of the mutator's changes is in force: the one whose number is `MUTANT` in the environment.

use std::{
    env,
    process::abort,
    sync::{
        atomic::{
            AtomicU64,
            Ordering::Relaxed, //
        },
        OnceLock, //
    }, //
};

/// Who asks more often does not come to an end: without any change it is far less.
const MOST: u64 = 20_000_000;

/// None has the number 0.
fn chosen() -> u32 {
    static ASKED: AtomicU64 = AtomicU64::new(0);
    static CHOSEN: OnceLock<u32> = OnceLock::new();
    if ASKED.fetch_add(1, Relaxed) >= MOST {
        abort();
    }
    *CHOSEN.get_or_init(|| {
        let name = env::var("MUTANT").unwrap_or_default();
        name.parse().unwrap_or(0)
    })
}

/// Which of the `count` changes from number `first` on, counted from 1; 0 if it is none of them.
pub(crate) fn way(first: u32, count: u32) -> u32 {
    let way = chosen().checked_sub(first).filter(|way| *way < count);
    way.map_or(0, |way| way + 1)
}

/// Whether it is this one.
pub(crate) fn is(number: u32) -> bool {
    chosen() == number
}
