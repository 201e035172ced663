// SPDX-License-Identifier: GPL-2.0

//! Tables of cases for files whose own cannot have them, because they need memory that is pinned,
//! or domains: both are the machine's here.

mod domains;
mod mapping;
mod msi;
mod pages;
