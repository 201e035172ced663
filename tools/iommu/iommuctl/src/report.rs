// SPDX-License-Identifier: GPL-2.0

//! `iommuctl report`: what a bug report needs. Names of people, machines, processes and files,
//! serial numbers and network addresses are not looked at.

use crate::{
    contexts::Contexts,
    doctor, faults, output,
    parse::Space,
    size,
    system::{
        self,
        PciDevice, //
    },
};
use anyhow::Result;
use serde::Serialize;
use std::{
    env,
    fs,
    thread, //
};

/// So many lines of the kernel log at most, the last ones.
const LOG_LINES: usize = 200;

/// Kernel arguments that matter begin with these.
const ARGUMENTS: [&str; 9] = [
    "amd_iommu",
    "arm-smmu",
    "intel_iommu",
    "intremap",
    "iommu",
    "iommufd",
    "nointremap",
    "pci",
    "vfio",
];

/// Lines of the kernel log that matter begin with these.
const LOG: [&str; 8] = [
    "AMD-Vi",
    "DMAR",
    "arm-smmu",
    "iommu",
    "ivhd",
    "vfio",
    "virtio_iommu",
    "virtio-pci",
];

const MODULES: [&str; 8] = [
    "iommufd",
    "vfio",
    "vfio_iommu_type1",
    "vfio_pci",
    "vfio_pci_core",
    "mdev",
    "kvm_intel",
    "kvm_amd",
];

#[derive(Serialize)]
struct Section {
    title: &'static str,
    lines: Vec<String>,
}

#[derive(Serialize)]
struct Report {
    sections: Vec<Section>,
}

/// `NAME: VALUE` for the files of a folder that hold one.
fn values(folder: &str, names: &[&str]) -> Vec<String> {
    names
        .iter()
        .map(|name| (name, system::text(format!("{folder}/{name}"))))
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name}: {value}"))
        .collect()
}

/// The first line of a file that has such a name before a colon.
fn named(file: &str, name: &str) -> Option<String> {
    let text = system::text(file);
    let line = text.lines().find(|line| line.starts_with(name))?;
    let (_, value) = line.split_once(':')?;
    Some(format!("{name}: {}", value.trim()))
}

fn machine() -> Vec<String> {
    let mut lines = vec![
        format!("iommuctl: {}", env!("CARGO_PKG_VERSION")),
        format!("kernel: {} {}", system::kernel_release(), env::consts::ARCH),
    ];
    lines.extend(thread::available_parallelism().map(|count| format!("processors: {count}")));
    lines.extend(named("/proc/cpuinfo", "model name"));
    lines.extend(named("/proc/meminfo", "MemTotal"));
    let firmware = [
        "sys_vendor",
        "product_name",
        "board_name",
        "bios_version",
        "bios_date",
    ];
    lines.extend(values("/sys/class/dmi/id", &firmware));
    lines
}

fn arguments() -> Vec<String> {
    let line = system::text("/proc/cmdline");
    line.split_whitespace()
        .filter(|argument| ARGUMENTS.iter().any(|name| argument.starts_with(name)))
        .map(str::to_owned)
        .collect()
}

/// What tells one build of a module from another: the end of a note in its file.
fn build_id(module: &str) -> Option<String> {
    const LENGTH: usize = 20;
    let note = fs::read(format!("/sys/module/{module}/notes/.note.gnu.build-id")).ok()?;
    let id = note.get(note.len().checked_sub(LENGTH)?..)?;
    let digits = id.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits
        .map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

fn module(name: &&str) -> String {
    let folder = format!("/sys/module/{name}");
    let taint = system::text(format!("{folder}/taint"));
    let mut words = vec![format!("{name}: taint '{taint}'")];
    words.extend(build_id(name).map(|id| format!("build-id: {id}")));
    words.extend(values(&folder, &["version"]));
    let parameters = system::entries(format!("{folder}/parameters"));
    let parameters: Vec<_> = parameters.iter().map(String::as_str).collect();
    words.extend(values(&format!("{folder}/parameters"), &parameters));
    words.join(", ")
}

fn modules() -> Vec<String> {
    MODULES
        .iter()
        .filter(|name| system::is_loaded(name))
        .map(module)
        .collect()
}

fn iommus() -> Vec<String> {
    let folder = "/sys/class/iommu";
    let names = system::entries(folder).into_iter();
    names
        .map(|name| {
            let mut words = vec![name.clone()];
            words.extend(values(
                &format!("{folder}/{name}/intel-iommu"),
                &["version", "cap", "ecap"],
            ));
            words.extend(values(
                &format!("{folder}/{name}/amd-iommu"),
                &["cap", "features"],
            ));
            words.join(" ")
        })
        .collect()
}

fn device(device: &PciDevice) -> String {
    format!(
        "  {} class {} driver {}: {}",
        device.address,
        device.class,
        device.driver.as_deref().unwrap_or("-"),
        device.title()
    )
}

/// The groups with their devices and reserved ranges, and the devices without.
fn groups() -> Vec<String> {
    let devices = PciDevice::by_group();
    let mut lines = Vec::new();
    for same in devices.chunk_by(|one, other| one.group == other.group) {
        if let Some(group) = same.first().and_then(|device| device.group) {
            let kind = system::text(format!("/sys/kernel/iommu_groups/{group}/type"));
            lines.push(format!("group {group} type {kind}"));
            let regions = system::reserved_regions(group).into_iter();
            lines.extend(regions.map(|region| {
                format!(
                    "  reserved {:#x} to {:#x} {}",
                    region.first, region.last, region.kind
                )
            }));
        } else {
            lines.push("no group".to_owned());
        }
        lines.extend(same.iter().map(device));
    }
    lines
}

fn space(space: &Space) -> String {
    let mut text = format!(
        "  IOASID {} {:#x} to {:#x}: {} areas, {} mapped, {} pinned, {} charged",
        space.ioasid,
        space.first,
        space.last,
        space.area_count,
        size::human(space.mapped_bytes.into()),
        size::human(space.pinned_bytes.into()),
        size::human(space.charged_bytes.into())
    );
    if let Some(note) = space.note() {
        text += ", ";
        text += &note;
    }
    text
}

fn contexts() -> Vec<String> {
    let found = match Contexts::read() {
        Ok(found) => found.contexts,
        Err(error) => return vec![format!("none: {error:#}")],
    };
    let mut lines = Vec::new();
    for context in found {
        let held = &context.objects.held;
        lines.push(format!(
            "context {}: {} pinned, {} charged",
            context.context,
            size::human(held.pinned_bytes.into()),
            size::human(held.charged_bytes.into())
        ));
        lines.extend(context.objects.spaces.iter().map(space));
        for device in &context.objects.devices {
            let space = device
                .ioasid
                .map_or("-".to_owned(), |ioasid| ioasid.to_string());
            lines.push(format!("  device {} on IOASID {space}", device.name));
        }
    }
    lines
}

fn log() -> Vec<String> {
    let lines = match faults::log() {
        Ok(lines) => lines,
        Err(error) => return vec![format!("none: {error:#}")],
    };
    let matters = |line: &str| LOG.iter().any(|name| line.starts_with(name));
    let mut lines: Vec<_> = lines
        .into_iter()
        .filter(|(_, line)| matters(line))
        .map(|(seconds, line)| format!("{seconds} {line}"))
        .collect();
    lines.split_off(lines.len().saturating_sub(LOG_LINES))
}

/// `iommuctl report`
pub(crate) fn run(json: bool) -> Result<()> {
    let section = |title, lines| Section { title, lines };
    let report = Report {
        sections: vec![
            section("Machine", machine()),
            section("Kernel arguments", arguments()),
            section("Modules", modules()),
            section("IOMMUs", iommus()),
            section("Groups", groups()),
            section("Doctor", doctor::of_machine()),
            section("Contexts", contexts()),
            section("Kernel log", log()),
        ],
    };
    if json {
        return output::json(&report);
    }
    let text: Vec<_> = report
        .sections
        .iter()
        .map(|section| format!("== {}\n{}\n", section.title, section.lines.join("\n")))
        .collect();
    output::text(&text.join("\n"))
}
