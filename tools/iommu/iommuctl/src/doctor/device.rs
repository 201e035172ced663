// SPDX-License-Identifier: GPL-2.0

//! The devices to be given away, and those that are in their way.

use super::{
    user,
    Finding, //
};
use crate::system::PciDevice;

fn driver(device: &PciDevice) -> Finding {
    let address = &device.address;
    if device.is_vfios() {
        return Finding::ok("driver", format!("{} is VFIO's.", device.with_driver()));
    }
    if device.is_bridge() {
        return Finding::problem(
            "driver",
            format!("{address} is a bridge, which cannot be given away."),
            "give away the devices behind it",
        );
    }
    let text = format!("{}: not VFIO's.", device.with_driver());
    Finding::problem("driver", text, format!("iommuctl bind {address}"))
}

/// The device's group can be given away if no driver of the host does DMA with a part of it.
fn group(device: &PciDevice) -> Vec<Finding> {
    let address = &device.address;
    let Some(number) = device.group else {
        return vec![Finding::problem(
            "group",
            format!("{address} is in no group: it is not behind an IOMMU."),
            "see what is said of the iommu; some devices of a machine may be behind none",
        )];
    };
    let siblings = device.siblings();
    let culprits: Vec<_> = siblings.iter().filter(|device| device.is_hosts()).collect();
    if culprits.is_empty() {
        return vec![Finding::ok(
            "group",
            format!("Group {number} of {address} can be given away."),
        )];
    }
    culprits
        .into_iter()
        .map(|culprit| {
            Finding::problem(
                "group",
                format!(
                    "Group {number} of {address} has a device that the host uses: {}. Binding \
                     fails with EPERM.",
                    culprit.with_driver()
                ),
                format!(
                    "{}, or put one of the two into another slot",
                    culprit.way_out()
                ),
            )
        })
        .collect()
}

fn node(device: &PciDevice) -> Option<Finding> {
    if let Some(node) = device.node() {
        return Some(user::permission("permission", &node));
    }
    device.is_vfios().then(|| {
        Finding::problem(
            "node",
            format!("{} has no file in /dev/vfio/devices.", device.address),
            "see what is said of the modules",
        )
    })
}

fn examine(device: &PciDevice) -> Vec<Finding> {
    let mut findings = vec![driver(device)];
    findings.extend(group(device));
    findings.extend(node(device));
    findings
        .into_iter()
        .map(|finding| finding.about(&device.address))
        .collect()
}

/// What concerns the devices of these addresses, or those that VFIO has.
pub(super) fn check(addresses: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut devices = Vec::new();
    for address in addresses {
        match PciDevice::find(address) {
            Some(device) => devices.push(device),
            None => findings.push(Finding::problem(
                "driver",
                format!("There is no PCI device {address}."),
                "look into /sys/bus/pci/devices for its address",
            )),
        }
    }
    if addresses.is_empty() {
        devices = PciDevice::all();
        devices.retain(PciDevice::is_vfios);
        if devices.is_empty() {
            findings.push(Finding::note(
                "driver",
                "No device is bound to vfio-pci.",
                "iommuctl bind ADDRESS; iommuctl doctor --device ADDRESS says more",
            ));
        }
    }
    findings.extend(devices.iter().flat_map(examine));
    findings
}
