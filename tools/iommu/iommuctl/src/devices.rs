// SPDX-License-Identifier: GPL-2.0

//! `iommuctl devices`: the PCI devices by group, and what keeps each from being given away.

use crate::{
    in_use::Host,
    output,
    system::{
        PciDevice,
        Process, //
    },
};
use anyhow::Result;
use serde::Serialize;

/// A device, as seen by who looks for one to give away.
#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    device: PciDevice,
    /// What keeps it from being given away, one sentence each.
    reasons: Vec<String>,
    /// A process that it was given to.
    given_to: Option<Process>,
}

#[derive(Serialize)]
struct Listing {
    devices: Vec<Listed>,
}

fn in_the_way(device: &PciDevice, host: &Host) -> Vec<String> {
    if device.is_bridge() {
        return vec!["it is a bridge".to_owned()];
    }
    let mut reasons = Vec::new();
    if !device.is_vfios() {
        reasons.extend(host.use_of(device));
    }
    if device.group.is_none() {
        reasons.push("it is behind no IOMMU".to_owned());
    }
    let siblings = device.siblings();
    reasons.extend(
        siblings
            .iter()
            .filter(|sibling| sibling.is_hosts())
            .map(|sibling| format!("{} is in its group", sibling.with_driver())),
    );
    reasons
}

fn examine(device: PciDevice, host: &Host) -> Listed {
    let opener = device.is_vfios().then(|| device.users().into_iter().next());
    Listed {
        reasons: in_the_way(&device, host),
        given_to: opener.flatten(),
        device,
    }
}

/// A tree: groups, their devices, what is to be said of each.
fn draw(listing: &Listing) -> String {
    let width = |of: fn(&PciDevice) -> &str| {
        let devices = listing.devices.iter();
        devices.map(|listed| of(&listed.device).len()).max()
    };
    let driver: fn(&PciDevice) -> &str = |device| device.driver.as_deref().unwrap_or("-");
    let address = width(|device| &device.address).unwrap_or(0);
    let drivers = width(driver).unwrap_or(0);
    let mut text = String::new();
    let mut group = None;
    for listed in &listing.devices {
        let device = &listed.device;
        if group != Some(device.group) {
            group = Some(device.group);
            text += &device
                .group
                .map_or("No group\n".to_owned(), |group| format!("Group {group}\n"));
        }
        let class = device.class_name.as_deref().unwrap_or("Class");
        text += &format!(
            "  {:address$}  {:drivers$}  {class} [{}]: {}\n",
            device.address,
            driver(device),
            device.class.get(..4).unwrap_or_default(),
            device.title()
        );
        let user = listed.given_to.iter();
        let user = user.map(|user| format!("given to: {}", user.title()));
        let reasons = listed.reasons.iter();
        for line in user.chain(reasons.map(|reason| format!("in the way: {reason}"))) {
            text += &format!("  {:address$}  {line}\n", "");
        }
    }
    text
}

/// `iommuctl devices`
pub(crate) fn run(json: bool) -> Result<()> {
    let host = Host::read();
    let devices = PciDevice::by_group().into_iter();
    let listing = Listing {
        devices: devices.map(|device| examine(device, &host)).collect(),
    };
    if json {
        return output::json(&listing);
    }
    output::text(&draw(&listing))
}
