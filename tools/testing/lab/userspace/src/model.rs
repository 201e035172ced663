// SPDX-License-Identifier: GPL-2.0

//! Every order in which threads can get at the locks of an address space.
//!
//! A [`Case`] is an address space with something in it, and a few threads that do a thing or two
//! each. loom runs them again and again until there is no other order left in which they could take
//! locks, or use the same page, entry of a page table, or atomic. The machine stops what must not
//! be as it happens: see [`kernel::machine`]. What must be afterwards, [`Stage::check`] knows.

mod cases;
#[cfg(feature = "model")]
mod loom_runs;
mod stage;

#[cfg(feature = "model")]
pub(crate) use loom_runs::main;
use stage::Stage;

/// Threads that meet.
struct Case {
    name: &'static str,
    /// What each thread does.
    about: &'static str,
    /// What comes before.
    begin: fn(&Stage),
    threads: &'static [fn(&Stage)],
    /// What must have come of it.
    end: fn(&Stage),
    /// It is run so often, with something else that fails.
    variants: u32,
    /// So often, at most, threads are stopped that could go on; whenever they can if there is no
    /// limit.
    preemptions: Option<usize>,
}

impl Case {
    /// In all orders, and nothing fails.
    const DEFAULT: Self = Self {
        name: "",
        about: "",
        begin: |_| (),
        threads: &[],
        end: |_| (),
        variants: 1,
        preemptions: None,
    };

    /// Runs it once, with the threads as `run` has them.
    fn run(&'static self, variant: u32, run: impl FnOnce(&std::sync::Arc<Stage>)) {
        kernel::machine::reset();
        let stage = std::sync::Arc::new(Stage::new(variant));
        (self.begin)(&stage);
        run(&stage);
        stage.check();
        (self.end)(&stage);
        stage.close();
        drop(stage);
        kernel::machine::end();
    }
}

/// One thread after the other, without loom: that costs nothing, and tells much of the code.
#[cfg(all(test, not(feature = "model")))]
mod tests {
    use super::{
        cases::CASES,
        Case, //
    };

    fn in_turn(case: &'static Case, variant: u32, backwards: bool) {
        case.run(variant, |stage| {
            let run = |work: &fn(&super::Stage)| {
                kernel::machine::begin_thread();
                work(stage);
            };
            match backwards {
                false => case.threads.iter().for_each(run),
                true => case.threads.iter().rev().for_each(run),
            }
            kernel::machine::begin_thread();
        });
    }

    #[test]
    fn one_after_the_other() {
        for case in CASES {
            for variant in 0..case.variants {
                in_turn(case, variant, false);
                in_turn(case, variant, true);
            }
        }
    }
}
