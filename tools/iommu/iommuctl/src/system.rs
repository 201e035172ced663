// SPDX-License-Identifier: GPL-2.0

//! What sysfs and procfs show of the machine: PCI devices, groups, modules, processes.

use crate::names;
use serde::Serialize;
use std::{
    fs,
    path::{
        Path,
        PathBuf, //
    },
};

const PCI_DEVICES: &str = "/sys/bus/pci/devices";
const GROUPS: &str = "/sys/kernel/iommu_groups";

/// Drivers that do no DMA of their own, and so may share a group with a device given away.
const HARMLESS_DRIVERS: [&str; 3] = ["pci-stub", "pcieport", "xen-pciback"];

/// The names of what a folder holds, sorted; none if there is no such folder.
pub(crate) fn entries(folder: impl AsRef<Path>) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// The text of a file without the line's end; empty if it cannot be read.
pub(crate) fn text(path: impl AsRef<Path>) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default())
        .trim_end()
        .to_owned()
}

/// The last part of what a link leads to.
fn link_name(path: impl AsRef<Path>) -> Option<String> {
    let target = fs::read_link(path).ok()?;
    Some(target.file_name()?.to_string_lossy().into_owned())
}

/// A PCI device.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PciDevice {
    pub(crate) address: String,
    /// Vendor and device, as in `8086:10d3`.
    pub(crate) id: String,
    /// What they are called, if the machine has a list of that.
    pub(crate) name: Option<String>,
    /// As in `020000`.
    pub(crate) class: String,
    pub(crate) class_name: Option<String>,
    pub(crate) driver: Option<String>,
    pub(crate) group: Option<u32>,
}

impl PciDevice {
    /// The device at an address; the domain may be left out.
    pub(crate) fn find(address: &str) -> Option<Self> {
        let full = if address.matches(':').count() == 1 {
            format!("0000:{address}")
        } else {
            address.to_owned()
        };
        entries(PCI_DEVICES)
            .contains(&full)
            .then(|| Self::at(&full))
    }

    fn at(address: &str) -> Self {
        let folder = Path::new(PCI_DEVICES).join(address);
        let number = |name| text(folder.join(name)).replace("0x", "");
        let id = format!("{}:{}", number("vendor"), number("device"));
        let class = number("class");
        Self {
            address: address.to_owned(),
            name: names::device(&id),
            id,
            class_name: names::class(&class),
            class,
            driver: link_name(folder.join("driver")),
            group: link_name(folder.join("iommu_group")).and_then(|name| name.parse().ok()),
        }
    }

    /// All there are.
    pub(crate) fn all() -> Vec<Self> {
        entries(PCI_DEVICES)
            .iter()
            .map(|address| Self::at(address))
            .collect()
    }

    /// All there are, by group; those of no group come last.
    pub(crate) fn by_group() -> Vec<Self> {
        let mut devices = Self::all();
        devices.sort_by_key(|device| device.group.map_or(u64::MAX, u64::from));
        devices
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        Path::new(PCI_DEVICES).join(&self.address).join(name)
    }

    pub(crate) fn attribute(&self, name: &str) -> String {
        text(self.path(name))
    }

    /// Bridges lead to devices; they are not given away themselves.
    pub(crate) fn is_bridge(&self) -> bool {
        self.class.starts_with("06")
    }

    /// The others of its group.
    pub(crate) fn siblings(&self) -> Vec<Self> {
        let Some(group) = self.group else {
            return Vec::new();
        };
        entries(format!("{GROUPS}/{group}/devices"))
            .iter()
            .filter(|address| **address != self.address)
            .map(|address| Self::at(address))
            .collect()
    }

    pub(crate) fn is_vfios(&self) -> bool {
        self.driver
            .as_ref()
            .is_some_and(|driver| driver.replace('_', "-").contains("vfio"))
    }

    /// Does a driver of the host do DMA with it?
    pub(crate) fn is_hosts(&self) -> bool {
        self.driver
            .as_ref()
            .is_some_and(|driver| !HARMLESS_DRIVERS.contains(&driver.as_str()))
            && !self.is_vfios()
    }

    /// How to make the host give it up.
    pub(crate) fn way_out(&self) -> String {
        match &self.driver {
            Some(driver) if self.is_bridge() => {
                format!(
                    "echo {} >/sys/bus/pci/drivers/{driver}/unbind",
                    self.address
                )
            }
            _ => format!("iommuctl bind {}", self.address),
        }
    }

    /// Is something of this path in sysfs a part of it?
    pub(crate) fn has(&self, part: impl AsRef<Path>) -> bool {
        match (fs::canonicalize(self.path("")), fs::canonicalize(part)) {
            (Ok(folder), Ok(part)) => part.starts_with(folder),
            _ => false,
        }
    }

    /// Its file in `/dev/vfio/devices`, if VFIO has made one.
    pub(crate) fn node(&self) -> Option<String> {
        let name = entries(self.path("vfio-dev")).into_iter().next()?;
        Some(format!("/dev/vfio/devices/{name}"))
    }

    /// Its name, as far as it has one, and its numbers.
    pub(crate) fn title(&self) -> String {
        match &self.name {
            Some(name) => format!("{name} [{}]", self.id),
            None => format!("[{}]", self.id),
        }
    }

    /// The processes that have it open, by way of either of VFIO's nodes.
    pub(crate) fn users(&self) -> Vec<Process> {
        let group = self.group.map(|group| format!("/dev/vfio/{group}"));
        let nodes: Vec<_> = self.node().into_iter().chain(group).collect();
        let mut pids: Vec<_> = open_files()
            .filter(|(_, _, path)| nodes.contains(path))
            .map(|(pid, _, _)| pid)
            .collect();
        pids.sort();
        pids.dedup();
        pids.into_iter().map(Process::new).collect()
    }

    /// What it is called when it is the reason for something.
    pub(crate) fn with_driver(&self) -> String {
        let (address, name) = (&self.address, self.title());
        match &self.driver {
            Some(driver) => format!("{address} {name} on {driver}"),
            None => format!("{address} {name} without a driver"),
        }
    }
}

/// A range that a group's devices cannot use, or that the host has given a meaning.
pub(crate) struct Reserved {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) kind: String,
}

/// The reserved regions of a group.
pub(crate) fn reserved_regions(group: u32) -> Vec<Reserved> {
    let hex = |word: &str| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok();
    text(format!("{GROUPS}/{group}/reserved_regions"))
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some(Reserved {
                first: hex(words.next()?)?,
                last: hex(words.next()?)?,
                kind: words.next()?.to_owned(),
            })
        })
        .collect()
}

/// True if the kernel translates for any device at all.
pub(crate) fn has_groups() -> bool {
    !entries(GROUPS).is_empty()
}

/// A process, by what it is known by.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// Empty once it has ended: its files may live on in another process.
    pub(crate) command: String,
    pub(crate) user: String,
    /// The name of the virtual machine that it runs, if its command line has one.
    pub(crate) vm: Option<String>,
}

/// QEMU's `-name NAME` or `-name guest=NAME,...`; others know `--name NAME`.
fn vm_name(command_line: &str) -> Option<String> {
    let mut words = command_line.split('\0');
    words.find(|word| matches!(*word, "-name" | "--name"))?;
    let mut parts = words.next()?.split(',');
    let name = parts.find_map(|part| match part.split_once('=') {
        None => Some(part),
        Some((key, name)) => (key == "guest").then_some(name),
    })?;
    Some(printable(name))
}

/// A process can give itself any name, which the terminal shall not get as it is.
pub(crate) fn printable(text: &str) -> String {
    text.replace(char::is_control, "?")
}

/// The name of a user, or the number.
pub(crate) fn user_name(uid: &str) -> String {
    text("/etc/passwd")
        .lines()
        .find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)? == uid).then(|| name.to_owned())
        })
        .unwrap_or_else(|| uid.to_owned())
}

impl Process {
    pub(crate) fn new(pid: u32) -> Self {
        let status = text(format!("/proc/{pid}/status"));
        let uid = status
            .lines()
            .find_map(|line| line.strip_prefix("Uid:"))
            .and_then(|ids| ids.split_whitespace().nth(1));
        Self {
            pid,
            command: printable(&text(format!("/proc/{pid}/comm"))),
            user: uid.map(user_name).unwrap_or_default(),
            vm: vm_name(&text(format!("/proc/{pid}/cmdline"))),
        }
    }

    /// What it is called in a line about it.
    pub(crate) fn title(&self) -> String {
        match (self.command.as_str(), &self.vm) {
            ("", _) => format!("{} (ended)", self.pid),
            (command, None) => format!("{} {command}", self.pid),
            (command, Some(vm)) => format!("{} {command} ({vm})", self.pid),
        }
    }
}

/// The open files of all processes, as far as one may look: whose, which in `/proc`, and the
/// file's path.
pub(crate) fn open_files() -> impl Iterator<Item = (u32, String, String)> {
    let processes = entries("/proc").into_iter();
    let pids = processes.filter_map(|name| name.parse::<u32>().ok());
    let files = pids.flat_map(|pid| {
        let folder = format!("/proc/{pid}/fd");
        let files = entries(&folder).into_iter();
        files.map(move |fd| (pid, format!("{folder}/{fd}")))
    });
    files.filter_map(|(pid, fd)| {
        let path = fs::read_link(&fd).ok()?;
        Some((pid, fd, path.to_str()?.to_owned()))
    })
}

/// True if a module is loaded, or built in with a folder of its own.
pub(crate) fn is_loaded(module: &str) -> bool {
    Path::new("/sys/module").join(module).is_dir()
}

/// True if a loaded module was built outside of the kernel's tree, as ours are.
pub(crate) fn is_from_outside(module: &str) -> bool {
    text(format!("/sys/module/{module}/taint")).contains('O')
}

/// The release of the running kernel.
pub(crate) fn kernel_release() -> String {
    rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_virtual_machines() {
        for (line, name) in [
            ("qemu-system-x86_64\0-name\0one\0-m\0004G\0", Some("one")),
            ("qemu\0-name\0guest=two,debug-threads=on\0", Some("two")),
            ("qemu\0-name\0debug-threads=on,guest=three\0", Some("three")),
            ("qemu\0-name\0four,process=x\0", Some("four")),
            ("crosvm\0run\0--name\0f\u{1b}ve\0", Some("f?ve")),
            ("qemu\0-name\0process=x\0", None),
            ("qemu\0-name", None),
            ("", None),
        ] {
            assert_eq!(vm_name(line).as_deref(), name, "{line}");
        }
    }
}
