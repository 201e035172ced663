// SPDX-License-Identifier: GPL-2.0

//! Runs cases in loom's orders.

use super::{
    cases::CASES,
    Case, //
};
use std::{
    process::ExitCode,
    sync::atomic::{
        AtomicU64,
        Ordering::Relaxed, //
    },
    time::Instant,
};

impl Case {
    /// A limit of the caller's, or its own.
    fn most_preemptions(&self) -> Option<usize> {
        match std::env::var("MODEL_PREEMPTIONS") {
            Ok(all) if all == "all" => None,
            Ok(number) => Some(
                number
                    .parse()
                    .expect("MODEL_PREEMPTIONS is a number, or 'all'"),
            ),
            Err(_) => self.preemptions,
        }
    }

    /// Runs it in each order, and says how many there were.
    fn explore(&'static self) -> u64 {
        static ORDERS: AtomicU64 = AtomicU64::new(0);
        for variant in 0..self.variants {
            let mut builder = loom::model::Builder::new();
            builder.preemption_bound = self.most_preemptions();
            builder.max_branches = 100_000;
            builder.check(move || {
                ORDERS.fetch_add(1, Relaxed);
                self.run(variant, |stage| {
                    let spawn = |work: &'static fn(&super::Stage)| {
                        let stage = stage.clone();
                        loom::thread::spawn(move || work(&stage))
                    };
                    let threads: Vec<_> = self.threads.iter().map(spawn).collect();
                    for thread in threads {
                        thread.join().expect("a thread has panicked");
                    }
                });
            });
        }
        ORDERS.load(Relaxed)
    }

    fn report(&'static self) {
        let start = Instant::now();
        let orders = self.explore();
        let limit = match self.most_preemptions() {
            None => String::from("all there are"),
            Some(most) => format!("{most} preemptions at most"),
        };
        println!(
            "{orders} orders ({limit}) in {} s",
            start.elapsed().as_secs()
        );
    }
}

/// Runs the case that is named, or says which there are.
pub(crate) fn main() -> ExitCode {
    let name = std::env::args().nth(1).unwrap_or_default();
    if name == "--list" {
        for case in CASES {
            println!("{}\t{}", case.name, case.about);
        }
        return ExitCode::SUCCESS;
    }
    match CASES.iter().find(|case| case.name == name) {
        Some(case) => {
            case.report();
            ExitCode::SUCCESS
        }
        None => {
            eprintln!("usage: iommufd-userspace --list | CASE");
            ExitCode::from(2)
        }
    }
}
