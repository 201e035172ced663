// SPDX-License-Identifier: GPL-2.0

//! The kernel's configuration, as far as the driver asks for it.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // An IOMMU that translates what interrupts write.
    println!("cargo::rustc-cfg=CONFIG_IRQ_MSI_IOMMU");
}
