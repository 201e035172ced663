// SPDX-License-Identifier: GPL-2.0

//! Which of the mutator's changes is in force: the one whose number is the module's parameter
//! `mutant`.

extern "C" {
    static iommufd_mutant: u32;
}

fn chosen() -> u32 {
    // SAFETY: It is there, and any number is one.
    unsafe { (&raw const iommufd_mutant).read_volatile() }
}

/// Which of the `count` changes from number `first` on, counted from 1; 0 if it is none of them.
pub(crate) fn way(first: u32, count: u32) -> u32 {
    match chosen().checked_sub(first) {
        Some(way) if way < count => way + 1,
        _ => 0,
    }
}

/// Whether it is this one.
pub(crate) fn is(number: u32) -> bool {
    chosen() == number
}
