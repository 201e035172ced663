// SPDX-License-Identifier: GPL-2.0

//! /dev/iommu: I/O address spaces for userspace. What there is of it serves nobody yet.

#![deny(unsafe_code)]

use kernel::prelude::*;

// MODULES

// MODULE

struct Iommufd;

impl kernel::Module for Iommufd {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        Ok(Self)
    }
}
