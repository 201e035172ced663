// SPDX-License-Identifier: GPL-2.0

//! An address space of the driver's, and what it is made of, in userspace: the files themselves,
//! on a machine of its own. Run with `--help`.

// Who makes calls, and what is shown of a space, is not there.
#![allow(dead_code, unused_imports)]

mod kapi;
mod sys;

// The folder that the files are in.
#[path = "../../../../../drivers/iommu/iommufd"]
mod driver {
    pub(crate) mod iova;
    pub(crate) mod space;
}
use driver::{
    iova,
    space, //
};

#[cfg(any(test, feature = "model"))]
mod model;
#[cfg(all(test, not(feature = "model")))]
mod tables;

#[cfg(feature = "model")]
fn main() -> std::process::ExitCode {
    model::main()
}

#[cfg(not(feature = "model"))]
fn main() {
    eprintln!("Here are only tests: build it with the feature 'model' for the rest.");
}
