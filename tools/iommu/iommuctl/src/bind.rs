// SPDX-License-Identifier: GPL-2.0

//! `iommuctl bind` and `unbind`: give PCI devices to vfio-pci, and take them back.

use crate::{
    in_use::Host,
    output,
    persist,
    system::PciDevice, //
};
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
    /// The devices' PCI addresses, such as 0000:01:00.0 or 01:00.0.
    #[arg(required = true, value_name = "ADDRESS")]
    devices: Vec<String>,
    /// Do it with the other devices of their groups, too.
    #[arg(long)]
    group: bool,
    /// Do it at each boot, too (with unbind: no longer do it at each boot).
    #[arg(long)]
    persist: bool,
    /// Do it although a device is in use.
    #[arg(long)]
    force: bool,
}

/// What has become of a device.
#[derive(Serialize)]
struct Outcome {
    #[serde(flatten)]
    device: PciDevice,
    driver_before: Option<String>,
    node: Option<String>,
    /// Is it given to vfio-pci at each boot?
    persistent: bool,
    /// Devices of its group that a driver of the host still has.
    in_the_way: Vec<PciDevice>,
}

fn find(address: &str) -> Result<PciDevice> {
    PciDevice::find(address)
        .with_context(|| format!("there is no PCI device {address}: see /sys/bus/pci/devices"))
}

/// What the arguments name, each once.
fn chosen(args: &Args) -> Result<Vec<PciDevice>> {
    let mut devices: Vec<PciDevice> = Vec::new();
    for address in &args.devices {
        let device = find(address)?;
        let siblings = device.siblings();
        let others = siblings.into_iter().filter(|_| args.group);
        let others = others.filter(|other| !other.is_bridge());
        for device in [device].into_iter().chain(others) {
            if devices.iter().all(|known| known.address != device.address) {
                devices.push(device);
            }
        }
    }
    Ok(devices)
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

fn check_bind(device: &PciDevice, host: Option<&Host>) -> Result<()> {
    let address = &device.address;
    if device.is_bridge() {
        bail!("{address} is a bridge: bind the devices behind it instead");
    }
    // An IOMMU is mostly behind none itself.
    if let Some(what) = host.and_then(|host| host.use_of(device)) {
        bail!("{address} is in use: {what}. Give it up first, or say --force");
    }
    if device.group.is_none() {
        bail!("{address} is not behind an IOMMU: 'iommuctl doctor' says why");
    }
    Ok(())
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

/// Gives the device to vfio-pci, or leaves it with the driver it would have on its own.
fn give(device: &PciDevice) -> Result<()> {
    let now = switch_driver(device, DRIVER)?;
    if now.driver.as_deref() == Some(DRIVER) {
        return Ok(());
    }
    let back = switch_driver(&now, "")?;
    bail!(
        "{DRIVER} refused {}, which is {} again: the kernel log says why",
        device.address,
        back.with_driver()
    )
}

/// Gives all of them, or none.
fn give_all(devices: &[&PciDevice]) -> Result<()> {
    for (at, device) in devices.iter().enumerate() {
        if let Err(error) = give(device) {
            for given in &devices[..at] {
                switch_driver(&find(&given.address)?, "")?;
            }
            return Err(error);
        }
    }
    Ok(())
}

/// `iommuctl bind`
pub(crate) fn bind(args: &Args, json: bool) -> Result<()> {
    let devices = chosen(args)?;
    let is_others = |device: &&PciDevice| device.driver.as_deref() != Some(DRIVER);
    let others: Vec<_> = devices.iter().filter(is_others).collect();
    if !others.is_empty() {
        must_be_root()?;
        let host = (!args.force).then(Host::read);
        for device in &others {
            check_bind(device, host.as_ref())?;
        }
        load_driver()?;
        give_all(&others)?;
    }
    if args.persist {
        must_be_root()?;
        for device in &devices {
            persist::keep(device)
                .with_context(|| format!("{} is bound, but until the next boot", device.address))?;
        }
    }
    report(devices, json)
}

/// `iommuctl unbind`
pub(crate) fn unbind(args: &Args, json: bool) -> Result<()> {
    let devices = chosen(args)?;
    let given: Vec<_> = devices.iter().filter(|device| device.is_vfios()).collect();
    if args.persist || !given.is_empty() {
        must_be_root()?;
    }
    for device in given.iter().filter(|_| !args.force) {
        if let Some(user) = device.users().first() {
            bail!(
                "{} is open in process {} ({}): the kernel would wait until it is closed. \
                 End that process first, or say --force",
                device.address,
                user.pid,
                user.command
            );
        }
    }
    for device in devices.iter().filter(|_| args.persist) {
        persist::forget(device)?;
    }
    for device in given {
        switch_driver(device, "")?;
    }
    report(devices, json)
}

fn report(devices: Vec<PciDevice>, json: bool) -> Result<()> {
    for before in devices {
        let now = find(&before.address)?;
        report_one(before, now, json)?;
    }
    Ok(())
}

fn report_one(before: PciDevice, now: PciDevice, json: bool) -> Result<()> {
    let is_vfios = now.is_vfios();
    let siblings = if is_vfios { now.siblings() } else { Vec::new() };
    let outcome = Outcome {
        node: now.node(),
        persistent: persist::is_kept(&now),
        in_the_way: siblings.into_iter().filter(PciDevice::is_hosts).collect(),
        driver_before: before.driver,
        device: now,
    };
    if json {
        return output::json_line(&outcome);
    }
    let mut text = outcome.device.with_driver();
    if let Some(node) = &outcome.node {
        text += &format!(", as {node}");
    }
    match (is_vfios, outcome.persistent) {
        (true, true) => text += ", also after a boot",
        (true, false) => text += ", until the next boot",
        (false, true) => {
            text += "; vfio-pci's at the next boot: 'iommuctl unbind --persist' ends that"
        }
        (false, false) => {}
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
