// SPDX-License-Identifier: GPL-2.0

//! What is to be vfio-pci's at each boot, too: a rule for udev, one file a device.

use crate::system::PciDevice;
use anyhow::{
    Context as _,
    Result, //
};
use std::{
    env, fs,
    io::ErrorKind,
    path::{
        Path,
        PathBuf, //
    },
};

const FOLDER: &str = "/etc/udev/rules.d";

fn rule(device: &PciDevice) -> PathBuf {
    Path::new(FOLDER).join(format!("90-iommuctl-{}.rules", device.address))
}

/// The override keeps other drivers from a device that has none yet. `bind` takes it from one that
/// was faster, unless it is in use by then; udev may not wait for that, as what `bind` does
/// makes events that udev has to handle, so that systemd runs it (udev(7), "RUN"). Another
/// device at this address is left alone.
fn text(device: &PciDevice, program: &Path) -> String {
    let (vendor, id) = device.id.split_once(':').unwrap_or_default();
    let address = &device.address;
    format!(
        "# Of 'iommuctl bind --persist'; 'iommuctl unbind --persist' removes it.\n\
         ACTION==\"add\", SUBSYSTEM==\"pci\", KERNEL==\"{address}\", ATTR{{vendor}}==\"0x{vendor}\", \
         ATTR{{device}}==\"0x{id}\", ATTR{{driver_override}}=\"vfio-pci\", \
         RUN+=\"/usr/bin/systemd-run --no-block --collect --unit=iommuctl-bind-{address} \
         {} bind {address}\"\n",
        program.display()
    )
}

/// Is it to be vfio-pci's at each boot?
pub(crate) fn is_kept(device: &PciDevice) -> bool {
    rule(device).exists()
}

/// Has it given to vfio-pci at each boot.
pub(crate) fn keep(device: &PciDevice) -> Result<()> {
    let program = env::current_exe().context("cannot find out where this program is")?;
    let rule = rule(device);
    fs::write(&rule, text(device, &program))
        .with_context(|| format!("udev's rule {} cannot be written", rule.display()))
}

/// Leaves it to its own driver from the next boot on.
pub(crate) fn forget(device: &PciDevice) -> Result<()> {
    let rule = rule(device);
    match fs::remove_file(&rule) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("{} cannot be removed", rule.display()))
        }
        _ => Ok(()),
    }
}
