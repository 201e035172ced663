// SPDX-License-Identifier: GPL-2.0

//! `iommuctl bind` and `unbind`: give a PCI device to vfio-pci, and take it back.

use crate::{
    output,
    system::{
        self,
        PciDevice,
        Process, //
    },
};
use anyhow::{
    bail,
    Context as _,
    Result, //
};
use rustix::{
    fs::{
        Mode,
        OFlags, //
    },
    io::Errno,
    process::geteuid,
};
use serde::Serialize;
use std::{
    fs,
    path::Path,
    process::Command, //
};

const DRIVER: &str = "vfio-pci";
const DRIVER_FOLDER: &str = "/sys/bus/pci/drivers/vfio-pci";
const PROBE: &str = "/sys/bus/pci/drivers_probe";

/// Arguments of `bind` and `unbind`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The device's PCI address, such as 0000:01:00.0 or 01:00.0.
    device: String,
    /// Do it although the device is in use.
    #[arg(long)]
    force: bool,
}

/// What has become of the device.
#[derive(Serialize)]
struct Outcome {
    #[serde(flatten)]
    device: PciDevice,
    driver_before: Option<String>,
    node: Option<String>,
    /// Devices of its group that a driver of the host still has.
    in_the_way: Vec<PciDevice>,
}

fn find(address: &str) -> Result<PciDevice> {
    PciDevice::find(address)
        .with_context(|| format!("there is no PCI device {address}: see /sys/bus/pci/devices"))
}

fn write(path: impl AsRef<Path>, text: &str) -> Result<()> {
    let path = path.as_ref();
    fs::write(path, text).with_context(|| format!("cannot write to {}", path.display()))
}

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

/// What the host does with the device at this moment, if that can be told.
fn use_by_host(device: &PciDevice) -> Option<String> {
    let folder = fs::canonicalize(device.path("")).ok()?;
    let is_part = |class: &str, name: &str| {
        fs::canonicalize(format!("/sys/class/{class}/{name}"))
            .is_ok_and(|path| path.starts_with(&folder))
    };
    let disk = system::entries("/sys/class/block")
        .into_iter()
        .filter(|name| is_part("block", name))
        .map(|name| openable(&name))
        .find(|disk| is_claimed(disk));
    if let Some(disk) = disk {
        return Some(format!(
            "its disk {disk} is mounted, swapped to, or a part of another volume"
        ));
    }
    let interface = system::entries("/sys/class/net").into_iter().find(|name| {
        is_part("net", name) && system::text(format!("/sys/class/net/{name}/operstate")) == "up"
    })?;
    Some(format!("its network interface {interface} is up"))
}

fn load_driver() -> Result<()> {
    if !Path::new(DRIVER_FOLDER).is_dir() {
        // Its success is seen by what it is for.
        let _ = Command::new("/sbin/modprobe").arg(DRIVER).status();
    }
    if !Path::new(DRIVER_FOLDER).is_dir() {
        bail!("{DRIVER} is not loaded and cannot be: 'iommuctl doctor' says why");
    }
    Ok(())
}

fn must_be_root() -> Result<()> {
    if !geteuid().is_root() {
        bail!("only root can give a device to another driver: run it with sudo");
    }
    Ok(())
}

fn check_bind(device: &PciDevice, force: bool) -> Result<()> {
    let address = &device.address;
    must_be_root()?;
    if device.is_bridge() {
        bail!("{address} is a bridge: bind the devices behind it instead");
    }
    if device.group.is_none() {
        bail!("{address} is not behind an IOMMU: 'iommuctl doctor' says why");
    }
    if let Some(what) = use_by_host(device).filter(|_| !force) {
        bail!("{address} is in use: {what}. Give it up first, or say --force");
    }
    load_driver()
}

/// Hands the device to the driver that now matches.
fn switch_driver(device: &PciDevice, wanted: &str) -> Result<PciDevice> {
    write(device.path("driver_override"), &format!("{wanted}\n"))?;
    if device.driver.is_some() {
        write(device.path("driver/unbind"), &device.address)?;
    }
    write(PROBE, &device.address)?;
    find(&device.address)
}

/// `iommuctl bind`
pub(crate) fn bind(args: &Args, json: bool) -> Result<()> {
    let before = find(&args.device)?;
    let mut now = before.clone();
    if before.driver.as_deref() != Some(DRIVER) {
        check_bind(&before, args.force)?;
        now = switch_driver(&before, DRIVER)?;
        if now.driver.as_deref() != Some(DRIVER) {
            let back = switch_driver(&now, "")?;
            bail!(
                "{DRIVER} refused {}, which is {} again: the kernel log says why",
                before.address,
                back.with_driver()
            );
        }
    }
    report(before, now, json)
}

/// The processes that have the device open, by way of either of VFIO's nodes.
fn users(device: &PciDevice) -> Vec<Process> {
    let group = device.group.map(|group| format!("/dev/vfio/{group}"));
    let mut pids: Vec<_> = device
        .node()
        .into_iter()
        .chain(group)
        .flat_map(|node| system::holders(&node))
        .map(|(pid, _)| pid)
        .collect();
    pids.sort();
    pids.dedup();
    pids.into_iter().map(Process::new).collect()
}

/// `iommuctl unbind`
pub(crate) fn unbind(args: &Args, json: bool) -> Result<()> {
    let before = find(&args.device)?;
    let mut now = before.clone();
    if before.is_vfios() {
        must_be_root()?;
        if let Some(user) = users(&before).first().filter(|_| !args.force) {
            bail!(
                "{} is open in process {} ({}): the kernel would wait until it is closed. \
                 End that process first, or say --force",
                before.address,
                user.pid,
                user.command
            );
        }
        now = switch_driver(&before, "")?;
    }
    report(before, now, json)
}

fn report(before: PciDevice, now: PciDevice, json: bool) -> Result<()> {
    let is_vfios = now.is_vfios();
    let siblings = if is_vfios { now.siblings() } else { Vec::new() };
    let outcome = Outcome {
        node: now.node(),
        in_the_way: siblings.into_iter().filter(PciDevice::is_hosts).collect(),
        driver_before: before.driver,
        device: now,
    };
    if json {
        return output::json(&outcome);
    }
    let mut text = outcome.device.with_driver();
    if let Some(node) = &outcome.node {
        text += &format!(", as {node}");
    }
    for sibling in &outcome.in_the_way {
        text += &format!(
            "\nNot usable yet: {} is in the same group. To do: {}",
            sibling.with_driver(),
            sibling.way_out()
        );
    }
    output::text(&text)
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
