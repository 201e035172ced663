// SPDX-License-Identifier: GPL-2.0

//! `iommuctl why`: a DMA fault of the kernel log explained.

use crate::{
    contexts::{
        Context,
        Contexts,
        NO_AREAS, //
    },
    faults::{
        self,
        Fault, //
    },
    output,
    parse::{
        Area,
        Space, //
    },
    size,
    system::{
        self,
        PciDevice, //
    },
    trace::{
        self,
        Unmap, //
    },
};
use anyhow::{
    bail,
    Context as _,
    Result, //
};
use serde::Serialize;
use std::fmt::Write as _;

/// IOMMUs tell the page at most.
const PAGE: u64 = 4096;

/// Arguments of `why`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The device's PCI address, or the address it used, such as 0x12345000; without, the last
    /// fault is explained.
    #[arg(value_name = "DEVICE|ADDRESS")]
    of: Option<String>,
}

/// The space that the device is attached to now, around the address.
#[derive(Serialize)]
struct Around {
    context: String,
    ioasid: u32,
    #[serde(serialize_with = "size::as_hex")]
    first: u64,
    #[serde(serialize_with = "size::as_hex")]
    last: u64,
    /// Why nothing can be mapped there, if so.
    reserved: Option<String>,
    below: Option<Area>,
    here: Option<Area>,
    above: Option<Area>,
    last_unmap: Option<Unmap>,
}

/// Another space of the device's context, which has the address mapped, but no device.
#[derive(Debug, PartialEq, Serialize)]
struct Waiting {
    context: String,
    ioasid: u32,
}

#[derive(Serialize)]
struct Explanation {
    /// How many of this device are in the log.
    faults: usize,
    fault: Fault,
    device: Option<PciDevice>,
    space: Option<Around>,
    waiting: Option<Waiting>,
    verdict: String,
}

fn matching(faults: Vec<Fault>, of: Option<&str>) -> Result<Vec<Fault>> {
    let Some(of) = of else { return Ok(faults) };
    let is_it: Box<dyn Fn(&Fault) -> bool> = match of.strip_prefix("0x") {
        Some(digits) => {
            let address = u64::from_str_radix(digits, 16)
                .ok()
                .with_context(|| format!("{of} is no address"))?;
            Box::new(move |fault| fault.address / PAGE == address / PAGE)
        }
        None => {
            let device = faults::pci_address(of).with_context(|| {
                format!("{of} is neither a PCI device nor an address: these begin with 0x")
            })?;
            Box::new(move |fault| fault.device == device)
        }
    };
    Ok(faults.into_iter().filter(|fault| is_it(fault)).collect())
}

fn around(context: &Context, space: &Space, group: Option<u32>, address: u64) -> Result<Around> {
    let areas = space.areas.as_ref().context(NO_AREAS)?;
    let find = |is_it: &dyn Fn(&&Area) -> bool| areas.iter().find(is_it).cloned();
    Ok(Around {
        context: context.context.clone(),
        ioasid: space.ioasid,
        first: space.first,
        last: space.last,
        reserved: group
            .into_iter()
            .flat_map(system::reserved_regions)
            .find(|region| (region.first..=region.last).contains(&address))
            .map(|region| region.kind),
        below: areas.iter().rfind(|area| area.last < address).cloned(),
        here: find(&|area| (area.first..=area.last).contains(&address)),
        above: find(&|area| area.first > address),
        last_unmap: trace::last_unmap(space.ioasid, address),
    })
}

/// The space that the device is attached to, if it is.
fn space_of(found: &Contexts, fault: &Fault) -> Result<Option<Around>> {
    for context in &found.contexts {
        for device in &context.objects.devices {
            let spaces = &context.objects.spaces;
            let space = spaces
                .iter()
                .find(|space| Some(space.ioasid) == device.ioasid);
            if let Some(space) = space.filter(|_| device.name == fault.device) {
                return around(context, space, device.group, fault.address).map(Some);
            }
        }
    }
    Ok(None)
}

/// Where the address is mapped, if it is so where no device is.
fn waiting_for(found: &[Context], fault: &Fault) -> Option<Waiting> {
    let is_bound = |context: &&Context| {
        let mut devices = context.objects.devices.iter();
        devices.any(|device| device.name == fault.device)
    };
    let has_it = |space: &&Space| {
        let mut areas = space.areas.iter().flatten();
        space.no_device && areas.any(|area| (area.first..=area.last).contains(&fault.address))
    };
    found.iter().filter(is_bound).find_map(|context| {
        let space = context.objects.spaces.iter().find(has_it)?;
        Some(Waiting {
            context: context.context.clone(),
            ioasid: space.ioasid,
        })
    })
}

/// What it comes to, if the address is not mapped where the device is.
fn elsewhere(waiting: &Waiting) -> String {
    format!(
        " IOASID {} of context {} has it mapped, but not pinned: no device is attached there.",
        waiting.ioasid, waiting.context
    )
}

fn verdict(fault: &Fault, space: Option<&Around>) -> String {
    let Some(space) = space else {
        return "The device is attached to no address space of /dev/iommu now: it was not yet, or \
                is no longer."
            .to_owned();
    };
    let forbidden = match fault.write {
        Some(true) => "r-",
        _ => "-w",
    };
    match (&space.here, &space.reserved) {
        (Some(area), _) if area.access == forbidden => format!(
            "It is mapped, but for {} only.",
            if forbidden == "r-" {
                "reading"
            } else {
                "writing"
            }
        ),
        (Some(_), _) => "It is mapped now: it was not yet, or was for a moment not.".to_owned(),
        (None, _) if !(space.first..=space.last).contains(&fault.address) => {
            "It is outside of the space's window: nothing can be mapped there.".to_owned()
        }
        (None, Some(kind)) => format!("It is reserved ({kind}): nothing can be mapped there."),
        (None, None) => match space.last_unmap {
            Some(_) => "It is not mapped any more: the device was not told, or not in time.",
            None => "It is not mapped.",
        }
        .to_owned(),
    }
}

fn area(name: &str, area: Option<&Area>) -> String {
    area.map_or_else(
        || format!("  {name:<7} nothing\n"),
        |area| {
            let bytes = size::human(u128::from(area.last - area.first) + 1);
            format!(
                "  {name:<7} {:#x} to {:#x} ({bytes}) {}\n",
                area.first, area.last, area.access
            )
        },
    )
}

fn draw(told: &Explanation) -> String {
    let fault = &told.fault;
    let access = match fault.write {
        Some(true) => "write to",
        Some(false) => "read from",
        None => "access",
    };
    let device = told.device.as_ref();
    let device = device.map_or_else(|| fault.device.clone(), PciDevice::with_driver);
    let mut text = format!(
        "{device}\n  tried to {access} {:#x}, {} s after boot (faults of it in the log: {})\n",
        fault.address, fault.seconds, told.faults
    );
    let _ = writeln!(text, "  kernel: {}", fault.text);
    if let Some(space) = &told.space {
        let _ = writeln!(
            text,
            "Context {}, IOASID {}: {:#x} to {:#x}",
            space.context, space.ioasid, space.first, space.last
        );
        text += &area("below:", space.below.as_ref());
        text += &area("there:", space.here.as_ref());
        text += &area("above:", space.above.as_ref());
        text += &space.last_unmap.as_ref().map_or_else(
            || {
                "  No unmap of it was traced. To see the next one: echo 1 \
                 >/sys/kernel/tracing/events/iommufd/iommufd_unmap/enable\n"
                    .to_owned()
            },
            |unmap| {
                format!(
                    "  {} unmapped {:#x} to {:#x}, at {} s by the clock of the trace\n",
                    unmap.thread, unmap.first, unmap.last, unmap.seconds
                )
            },
        );
    }
    text + &told.verdict
}

/// `iommuctl why`
pub(crate) fn run(args: &Args, json: bool) -> Result<()> {
    let mut faults = matching(faults::read()?, args.of.as_deref())?;
    let Some(fault) = faults.pop() else {
        match &args.of {
            Some(of) => bail!("the kernel log has no DMA fault of {of}"),
            None => bail!("the kernel log has no DMA fault"),
        }
    };
    let found = Contexts::read()?;
    let space = space_of(&found, &fault)?;
    let is_mapped = space.as_ref().is_some_and(|space| space.here.is_some());
    let waiting = waiting_for(&found.contexts, &fault).filter(|_| !is_mapped);
    let elsewhere = waiting.as_ref().map_or_else(String::new, elsewhere);
    let told = Explanation {
        faults: 1 + faults
            .iter()
            .filter(|one| one.device == fault.device)
            .count(),
        device: PciDevice::find(&fault.device),
        verdict: verdict(&fault, space.as_ref()) + &elsewhere,
        fault,
        space,
        waiting,
    };
    if json {
        return output::json(&told);
    }
    output::text(&draw(&told))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contexts::from_debugfs;

    const TEXT: &str = "context:\t7 opened by 0\n\
        device:\t1 0000:00:05.0 group 2 ioasid 2\n\
        device:\t3 0000:00:06.0 group 3 detached\n\
        ioasid:\t2 window 0x0-0xffffff areas 1 mapped 4 kB pinned 1 pages charged 0 kB\n\
        ioasid:\t4 window 0x0-0xffffff areas 1 mapped 8 kB pinned 0 pages charged 0 kB no-device\n\
        area:\tioasid 2 0x1000-0x1fff rw runs 1\n\
        area:\tioasid 4 0x1000-0x2fff rw runs 0\n\
        context:\t8 opened by 0\n\
        device:\t1 0000:00:07.0 group 4 detached\n";

    fn fault(device: &str, address: u64) -> Fault {
        Fault {
            seconds: 1.0,
            device: device.to_owned(),
            address,
            write: None,
            text: String::new(),
        }
    }

    #[test]
    fn mapped_where_no_device_is() {
        let found = from_debugfs(TEXT);
        // For each device and address, the space that waits, and whether the device's own has it.
        for (device, address, waiting, is_mapped) in [
            ("0000:00:05.0", 0x2000, Some(4), false),
            ("0000:00:05.0", 0x1fff, Some(4), true),
            ("0000:00:05.0", 0x3000, None, false),
            ("0000:00:06.0", 0x1000, Some(4), false),
            ("0000:00:07.0", 0x1000, None, false),
        ] {
            let fault = fault(device, address);
            let found_waiting = waiting_for(&found.contexts, &fault);
            let ioasid = found_waiting.as_ref().map(|waiting| waiting.ioasid);
            assert_eq!(ioasid, waiting, "{device} {address:#x}");
            let around = space_of(&found, &fault).unwrap();
            let here = around.and_then(|around| around.here);
            assert_eq!(here.is_some(), is_mapped, "{device} {address:#x}");
        }
        let waiting = waiting_for(&found.contexts, &fault("0000:00:06.0", 0x1000));
        assert_eq!(
            elsewhere(&waiting.unwrap()),
            " IOASID 4 of context 7 has it mapped, but not pinned: no device is attached there."
        );
    }
}
