// SPDX-License-Identifier: GPL-2.0

//! Whether a guest with devices can be moved to another machine while it runs: that takes an IOMMU
//! that marks the pages which devices write to, and a kernel that reads the marks, or has page
//! tables of a format that `iommufd` reads by itself.

use super::Finding;
use crate::system;

const CHECK: &str = "migration";

/// What an IOMMU says of marks.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Marks {
    Yes,
    No,
    /// Its driver does not show it.
    Unknown,
}

/// All of `bits` in a hexadecimal number, which may not be there.
fn has_bits(number: &str, bits: &[u32]) -> Option<bool> {
    let first = number.trim().split(':').next()?;
    let number = u64::from_str_radix(first.trim_start_matches("0x"), 16).ok()?;
    Some(bits.iter().all(|bit| (number >> bit) & 1 != 0))
}

/// `ecap` and `features` are registers as sysfs shows them: VT-d's extended capabilities, and
/// AMD's extended features.
fn marks(ecap: &str, features: &str) -> Marks {
    // Scalable mode, marks in the second stage, coherent walks of page tables.
    let intel = has_bits(ecap, &[43, 45, 48]);
    // Marks of accesses, and of writes.
    let amd = has_bits(features, &[49, 52]);
    match intel.or(amd) {
        Some(true) => Marks::Yes,
        Some(false) => Marks::No,
        None => Marks::Unknown,
    }
}

/// Who reads the marks.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Reader {
    /// The IOMMU's driver.
    Kernel,
    /// `iommufd`, for that driver was built without what reads them.
    Module,
    Nobody,
    /// The kernel's configuration is not there.
    Unknown,
}

/// Who reads marks of page tables of `format`, by the kernel's configuration.
fn reader(config: &str, format: &str) -> Reader {
    let is_set = |name: &str| {
        let line = format!("{name}=y");
        config.lines().any(|other| other == line)
    };
    if config.is_empty() {
        Reader::Unknown
    } else if is_set("CONFIG_IOMMUFD_DRIVER") {
        Reader::Kernel
    } else if is_set(format) {
        Reader::Module
    } else {
        Reader::Nobody
    }
}

fn iommu(name: &str, marks: Marks, reader: Reader) -> Finding {
    const STOP: &str =
        "have the guest give its devices back before it moves, or take devices that \
                        keep track themselves and have a vfio driver of their own for it";
    match (marks, reader) {
        (Marks::No, _) => Finding::note(
            CHECK,
            format!("{name} does not mark the pages that devices write to."),
            STOP,
        ),
        (Marks::Unknown, _) => Finding::note(
            CHECK,
            format!("{name} does not show here whether it marks pages that are written to."),
            "ask by IOMMU_GET_HW_INFO for IOMMU_HW_CAP_DIRTY_TRACKING, for a bound device",
        ),
        (Marks::Yes, Reader::Nobody) => Finding::note(
            CHECK,
            format!(
                "{name} marks the pages that devices write to, but this kernel's driver was built \
                 without CONFIG_IOMMUFD_DRIVER, and does not tell which they are."
            ),
            format!("boot a kernel with CONFIG_IOMMUFD; or {STOP}"),
        ),
        (Marks::Yes, Reader::Unknown) => Finding::note(
            CHECK,
            format!("{name} marks the pages that devices write to, if somebody reads the marks."),
            "ask by IOMMU_GET_HW_INFO for IOMMU_HW_CAP_DIRTY_TRACKING, for a bound device; the \
             kernel's configuration, which would tell, is not in /boot",
        ),
        (Marks::Yes, Reader::Module) => Finding::ok(
            CHECK,
            format!(
                "{name} marks the pages that devices write to. This kernel's driver was built \
                 without CONFIG_IOMMUFD_DRIVER: iommufd reads the marks itself."
            ),
        ),
        (Marks::Yes, Reader::Kernel) => Finding::ok(
            CHECK,
            format!(
                "{name} marks the pages that devices write to, and the kernel reads the marks."
            ),
        ),
    }
}

/// What each IOMMU can do for it.
pub(super) fn check() -> Vec<Finding> {
    let config = system::text(format!("/boot/config-{}", system::kernel_release()));
    let names = system::entries("/sys/class/iommu");
    if names.is_empty() {
        return vec![Finding::note(
            CHECK,
            "There is no IOMMU that could mark the pages that devices write to.",
            "see what is said of the iommu",
        )];
    }
    let register = |name: &str, path: &str| system::text(format!("/sys/class/iommu/{name}/{path}"));
    names
        .iter()
        .map(|name| {
            let ecap = register(name, "intel-iommu/ecap");
            let features = register(name, "amd-iommu/features");
            let format = if ecap.is_empty() {
                "CONFIG_IOMMU_PT_AMDV1"
            } else {
                "CONFIG_IOMMU_PT_VTDSS"
            };
            iommu(name, marks(&ecap, &features), reader(&config, format))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers() {
        for (ecap, features, expected) in [
            ("", "", Marks::Unknown),
            ("nothing\n", "", Marks::Unknown),
            ("f00f4a\n", "", Marks::No),
            ("1280000000000\n", "", Marks::Yes),
            ("12800000f00f4a\n", "", Marks::No),
            ("280000000000\n", "", Marks::No),
            ("", "12000000000000:0\n", Marks::Yes),
            ("", "0x12000000000000:0\n", Marks::Yes),
            ("", "10000000000000:0\n", Marks::No),
        ] {
            assert_eq!(marks(ecap, features), expected, "{ecap} {features}");
        }
    }

    #[test]
    fn configuration() {
        const FORMAT: &str = "CONFIG_IOMMU_PT_VTDSS";
        for (config, expected) in [
            ("", Reader::Unknown),
            ("CONFIG_IOMMUFD_DRIVER=y\n", Reader::Kernel),
            (
                "CONFIG_IOMMUFD_DRIVER=y\nCONFIG_IOMMU_PT_VTDSS=y\n",
                Reader::Kernel,
            ),
            ("# CONFIG_IOMMUFD is not set\n", Reader::Nobody),
            (
                "# CONFIG_IOMMUFD is not set\nCONFIG_IOMMU_PT_VTDSS=y\n",
                Reader::Module,
            ),
            ("CONFIG_IOMMU_PT_AMDV1=y\n", Reader::Nobody),
            ("CONFIG_IOMMUFD_DRIVER_CORE=y\n", Reader::Nobody),
        ] {
            assert_eq!(reader(config, FORMAT), expected, "{config}");
        }
    }
}
