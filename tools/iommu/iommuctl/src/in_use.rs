// SPDX-License-Identifier: GPL-2.0

//! What the host does with a device at this moment, as far as that can be told.

use crate::system::{
    self,
    PciDevice,
    Process, //
};
use rustix::{
    fs::{
        Mode,
        OFlags, //
    },
    io::Errno,
};
use std::{
    fs,
    os::unix::fs::{
        FileTypeExt,
        MetadataExt, //
    },
    path::PathBuf,
};

/// The node of a disk; for one of several paths to a drive, as `nvme0c1n1` is, the drive's.
fn openable(disk: &str) -> String {
    match (disk.rfind('c'), disk.rfind('n')) {
        (Some(path), Some(rest)) if disk.starts_with("nvme") && path < rest => {
            format!("{}{}", &disk[..path], &disk[rest..])
        }
        _ => disk.replace('!', "/"),
    }
}

/// Has a disk, or a part of one, an owner, who alone may open it exclusively?
fn is_claimed(disk: &str) -> bool {
    let node = format!("/dev/{disk}");
    let exclusively = OFlags::RDONLY | OFlags::EXCL | OFlags::NONBLOCK;
    rustix::fs::open(node, exclusively, Mode::empty()).is_err_and(|error| error == Errno::BUSY)
}

/// Those of a class that are parts of the device.
fn parts<'a>(device: &'a PciDevice, class: &str) -> impl Iterator<Item = String> + 'a {
    let folder = format!("/sys/class/{class}");
    let names = system::entries(&folder).into_iter();
    names.filter(move |name| device.has(format!("{folder}/{name}")))
}

fn disk(device: &PciDevice) -> Option<String> {
    let disk = parts(device, "block")
        .map(|name| openable(&name))
        .find(|disk| is_claimed(disk))?;
    Some(format!(
        "its disk {disk} is mounted, swapped to, or a part of another volume"
    ))
}

fn interface(device: &PciDevice) -> Option<String> {
    let up = |name: &String| system::text(format!("/sys/class/net/{name}/operstate")) == "up";
    let interface = parts(device, "net").find(up)?;
    Some(format!("its network interface {interface} is up"))
}

/// What the machine shows its first lines on. Firmware and kernel write there without a driver.
fn display(device: &PciDevice) -> Option<String> {
    ["boot_vga", "boot_display"]
        .iter()
        .any(|name| device.attribute(name) == "1")
        .then(|| "it is the display that the machine booted with".to_owned())
}

/// Where the kernel writes its messages. Those of virtio's consoles are no part of a device in
/// sysfs: any of them may be this one's.
fn console(device: &PciDevice) -> Option<String> {
    let active = system::text("/sys/class/tty/console/active");
    let is_virtio = system::entries("/sys/bus/virtio/drivers/virtio_console")
        .iter()
        .any(|name| device.has(format!("/sys/bus/virtio/devices/{name}")));
    let console = active.split_whitespace().find(|name| {
        device.has(format!("/sys/class/tty/{name}")) || (is_virtio && name.starts_with("hvc"))
    })?;
    Some(format!("the kernel's console {console} is on it"))
}

/// Some IOMMUs are PCI devices themselves.
fn iommu(device: &PciDevice) -> Option<String> {
    let iommu = parts(device, "iommu").next()?;
    Some(format!("it is the IOMMU {iommu}"))
}

/// A device file that a process has open.
struct Open {
    /// Its folder in sysfs.
    part: PathBuf,
    path: String,
    pid: u32,
}

fn open((pid, fd, path): (u32, String, String)) -> Option<Open> {
    // Nothing else is asked for what it is: a file of a network's may keep one waiting.
    let file = path.starts_with("/dev/").then(|| fs::metadata(fd))?.ok()?;
    let kind = match file.file_type() {
        kind if kind.is_char_device() => "char",
        kind if kind.is_block_device() => "block",
        _ => return None,
    };
    let number = file.rdev();
    let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
    Some(Open {
        part: fs::canonicalize(format!("/sys/dev/{kind}/{major}:{minor}")).ok()?,
        path,
        pid,
    })
}

/// What processes do with devices, looked up once for all of them.
pub(crate) struct Host(Vec<Open>);

impl Host {
    pub(crate) fn read() -> Self {
        Self(system::open_files().filter_map(open).collect())
    }

    fn file(&self, device: &PciDevice) -> Option<String> {
        let open = self.0.iter().find(|open| device.has(&open.part))?;
        let user = Process::new(open.pid);
        Some(format!(
            "{} is open in process {} ({})",
            open.path, user.pid, user.command
        ))
    }

    /// What the host does with a device that it has not given away.
    pub(crate) fn use_of(&self, device: &PciDevice) -> Option<String> {
        [iommu, display, console, disk, interface]
            .iter()
            .find_map(|look| look(device))
            .or_else(|| self.file(device))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_that_can_be_opened() {
        for (disk, node) in [
            ("sda1", "sda1"),
            ("cciss!c0d0", "cciss/c0d0"),
            ("nvme0n1", "nvme0n1"),
            ("nvme1n1p2", "nvme1n1p2"),
            ("nvme0c12n3", "nvme0n3"),
        ] {
            assert_eq!(openable(disk), node);
        }
    }
}
