// SPDX-License-Identifier: GPL-2.0

//! The machine: its IOMMU, its interrupts, its modules.

use super::{
    kernels,
    Finding, //
};
use crate::system;
use std::path::Path;

/// The firmware's tables that describe an IOMMU, and the name it has in a firmware's menu.
const TABLES: [(&str, &str); 3] = [
    ("DMAR", "Intel VT-d"),
    ("IVRS", "AMD-Vi"),
    ("IORT", "Arm SMMU"),
];

/// Kernel arguments that switch IOMMUs off.
const OFF: [&str; 3] = ["intel_iommu=off", "amd_iommu=off", "iommu=off"];

/// Kernel arguments that switch interrupt remapping off.
const NO_REMAPPING: [&str; 2] = ["intremap=off", "nointremap"];

fn kernel_argument(known: &[&'static str]) -> Option<&'static str> {
    let line = system::text("/proc/cmdline");
    let arguments: Vec<_> = line.split_whitespace().collect();
    known
        .iter()
        .find(|known| arguments.contains(known))
        .copied()
}

fn iommu() -> Finding {
    if system::has_groups() {
        let groups = system::entries("/sys/kernel/iommu_groups").len();
        return Finding::ok("iommu", format!("An IOMMU is in use ({groups} groups)."));
    }
    let table = TABLES
        .iter()
        .find(|(table, _)| Path::new("/sys/firmware/acpi/tables").join(table).exists());
    let text = "No IOMMU is in use, so no device can be given away";
    match (kernel_argument(&OFF), table) {
        (Some(argument), _) => Finding::problem(
            "iommu",
            format!("{text}: the kernel was told '{argument}'."),
            format!("take {argument} out of the kernel's command line, and reboot"),
        ),
        (None, Some((_, name))) => Finding::problem(
            "iommu",
            format!("{text}: the machine has one ({name}), but the kernel does not use it."),
            "put intel_iommu=on on the kernel's command line (Intel), or look for \
             'DMAR' or 'AMD-Vi' in the kernel log; reboot",
        ),
        (None, None) => Finding::problem(
            "iommu",
            format!("{text}: the firmware shows none."),
            "switch VT-d or AMD-Vi (SVM, IOMMU) on in the firmware's set-up; in a virtual \
             machine, give it a virtual IOMMU",
        ),
    }
}

/// Was the module told to do without isolated interrupts, or will it be when it is loaded?
fn unsafe_interrupts_allowed() -> bool {
    let now = system::text("/sys/module/iommufd/parameters/allow_unsafe_interrupts");
    if !now.is_empty() {
        return now.starts_with('Y');
    }
    let is_yes = |rest: &str| rest.starts_with('=') && !rest.starts_with("=0");
    let after = |text: &str, name: &str| text.split(name).skip(1).any(is_yes);
    after(
        &system::text("/proc/cmdline"),
        "iommufd.allow_unsafe_interrupts",
    ) || system::entries("/etc/modprobe.d").iter().any(|name| {
        system::text(format!("/etc/modprobe.d/{name}"))
            .lines()
            .filter(|line| line.trim_start().starts_with("options iommufd"))
            .any(|line| after(line, "allow_unsafe_interrupts"))
    })
}

/// On x86, interrupts that an IOMMU remaps show as such.
fn interrupts() -> Option<Finding> {
    if !cfg!(target_arch = "x86_64") || !system::has_groups() {
        return None;
    }
    if system::text("/proc/interrupts").contains(" IR-") {
        return Some(Finding::ok("interrupts", "Interrupts are remapped."));
    }
    if unsafe_interrupts_allowed() {
        return Some(Finding::note(
            "interrupts",
            "Interrupts are not remapped, and iommufd was told to do without: a device can \
             raise any interrupt.",
            "give devices to trusted programs only",
        ));
    }
    let (why, todo) = match kernel_argument(&NO_REMAPPING) {
        Some(argument) => (
            format!("the kernel was told '{argument}'"),
            format!("take {argument} out of the kernel's command line, and reboot"),
        ),
        None => (
            "the IOMMU or the firmware does not offer it".to_owned(),
            "switch x2APIC and interrupt remapping on in the firmware's set-up; as a last \
             resort, for trusted programs only: put 'options iommufd \
             allow_unsafe_interrupts=1' into /etc/modprobe.d/iommufd-local.conf, and reload"
                .to_owned(),
        ),
    };
    Some(Finding::problem(
        "interrupts",
        format!("Interrupts are not remapped: {why}. Binding a device fails with EPERM."),
        todo,
    ))
}

/// Is there a module for the running kernel that modprobe would find?
fn is_installed(module: &str) -> bool {
    let dep = format!("/lib/modules/{}/modules.dep", system::kernel_release());
    system::text(dep).lines().any(|line| {
        line.split(':')
            .next()
            .is_some_and(|path| path.contains(&format!("/{module}.ko")))
    })
}

fn iommufd() -> Finding {
    match (
        system::is_loaded("iommufd"),
        system::is_from_outside("iommufd"),
    ) {
        (true, true) => Finding::ok("modules", "iommufd is loaded: this project's."),
        (true, false) => Finding::note(
            "modules",
            "iommufd is the kernel's own.",
            "nothing; of what it serves, this program shows devices and groups only",
        ),
        (false, _) if is_installed("iommufd") => Finding::note(
            "modules",
            "iommufd is installed, but not loaded.",
            "modprobe vfio-pci",
        ),
        (false, _) => Finding::problem(
            "modules",
            format!(
                "There is no iommufd module for linux {}.",
                system::kernel_release()
            ),
            "install the package iommufd-dkms, which 'make deb' makes, with the headers and \
             the source of this kernel; if it is installed, see \"kernels\" below",
        ),
    }
}

fn vfio() -> Finding {
    let ours = system::is_from_outside("iommufd") || !system::is_loaded("iommufd");
    if system::is_loaded("vfio") && ours && !system::is_from_outside("vfio") {
        return Finding::problem(
            "modules",
            "The VFIO that is loaded is the kernel's own, which was built without iommufd: \
             there is no /dev/vfio/devices.",
            "modprobe -r vfio-pci vfio_iommu_type1 vfio, then modprobe vfio-pci; if it comes \
             back at the next boot, update-initramfs -u",
        );
    }
    if system::is_loaded("vfio_pci") {
        return Finding::ok("modules", "vfio-pci is loaded.");
    }
    Finding::note("modules", "vfio-pci is not loaded.", "modprobe vfio-pci")
}

/// Was a program kept from mapping the memory of a device, and would be again? Only root can tell.
fn refused_bars() -> Option<Finding> {
    let count = system::text("/sys/kernel/debug/iommufd/refused_bars");
    let count: u64 = count.trim().parse().ok()?;
    let parameter = system::text("/sys/module/iommufd/parameters/map_device_memory");
    (count > 0 && parameter.starts_with('N')).then(|| {
        Finding::note(
            "bars",
            format!(
                "Programs were kept from mapping a device's memory (BAR) by its address; maps \
                 that were refused: {count}. Transfers between devices do not work then, and \
                 some VMMs end."
            ),
            "if it needs them: echo 1 >/sys/module/iommufd/parameters/map_device_memory, and \
             for the next boot put 'options iommufd map_device_memory=1' into \
             /etc/modprobe.d/iommufd-local.conf",
        )
    })
}

/// What concerns all devices.
pub(super) fn check() -> Vec<Finding> {
    if !Path::new("/sys/kernel").is_dir() {
        return vec![Finding::problem(
            "iommu",
            "There is no /sys here, which is where all of this is seen.",
            "run it outside of the container",
        )];
    }
    let mut findings = vec![iommu()];
    findings.extend(interrupts());
    findings.push(iommufd());
    findings.push(vfio());
    findings.extend(kernels::check());
    findings.extend(refused_bars());
    findings
}
