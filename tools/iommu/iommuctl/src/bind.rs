// SPDX-License-Identifier: GPL-2.0

//! `iommuctl bind` and `unbind`: give a PCI device to vfio-pci, and take it back.

use crate::{in_use::Host, output, system::PciDevice};
use anyhow::{
    bail,
    Context as _,
    Result, //
};
use rustix::process::geteuid;
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
    if let Some(what) = Host::read().use_of(device).filter(|_| !force) {
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

/// `iommuctl unbind`
pub(crate) fn unbind(args: &Args, json: bool) -> Result<()> {
    let before = find(&args.device)?;
    let mut now = before.clone();
    if before.is_vfios() {
        must_be_root()?;
        if let Some(user) = before.users().first().filter(|_| !args.force) {
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
