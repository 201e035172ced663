// SPDX-License-Identifier: GPL-2.0

//! DMA faults: what IOMMUs' drivers put into the kernel log about accesses that were refused.

use anyhow::{
    Context as _,
    Result, //
};
use rustix::{
    fs::{
        Mode,
        OFlags, //
    },
    io::Errno,
};
use serde::Serialize;

use crate::{
    parse,
    size, //
};

/// An access that was refused.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Fault {
    /// When, in seconds since boot.
    pub(crate) seconds: f64,
    /// Which device tried it.
    pub(crate) device: String,
    #[serde(serialize_with = "size::as_hex")]
    pub(crate) address: u64,
    /// Was it a write? Not every IOMMU says so in the same line.
    pub(crate) write: Option<bool>,
    /// The kernel's line.
    pub(crate) text: String,
}

/// The number behind a word, decimal or hexadecimal.
fn number(text: &str, before: &str) -> Option<u64> {
    let (_, rest) = text.split_once(before)?;
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric());
    parse::number(&rest[..end.unwrap_or(rest.len())])
}

/// A PCI address in full, if the text is one.
pub(crate) fn pci_address(text: &str) -> Option<String> {
    let (rest, function) = text.rsplit_once('.')?;
    let (rest, slot) = rest.rsplit_once(':')?;
    let (domain, bus) = rest.rsplit_once(':').unwrap_or(("0000", rest));
    let hex = |text: &str| u32::from_str_radix(text, 16).ok();
    Some(format!(
        "{:04x}:{:02x}:{:02x}.{:x}",
        hex(domain)?,
        hex(bus)?,
        hex(slot)?,
        hex(function)?
    ))
}

/// The device that a line names. Virtio's IOMMU numbers them as the bus does.
fn device(line: &str) -> Option<String> {
    if let Some(endpoint) = number(line, "fault from EP ") {
        let (bus, slot) = ((endpoint >> 8) & 0xff, (endpoint >> 3) & 0x1f);
        return Some(format!(
            "{:04x}:{bus:02x}:{slot:02x}.{:x}",
            endpoint >> 16,
            endpoint & 7
        ));
    }
    line.split(|c: char| !(c.is_ascii_alphanumeric() || c == ':' || c == '.'))
        .find_map(|word| pci_address(word.trim_end_matches(':')))
}

/// Is it a write? The bit is that of AMD's event.
fn write(line: &str) -> Option<bool> {
    const AMD_WRITE: u64 = 1 << 5;
    if line.contains("AMD-Vi") {
        return Some(number(line, "flags=")? & AMD_WRITE != 0);
    }
    let is = |words: [&str; 2]| words.iter().any(|word| line.contains(word));
    match (is(["[DMA Read", "[R]"]), is(["[DMA Write", "[W]"])) {
        (true, false) => Some(false),
        (false, true) => Some(true),
        _ => None,
    }
}

fn parse(seconds: f64, line: &str) -> Option<Fault> {
    // By IOMMU: Intel's, AMD's, Arm's, virtio's.
    let (_, before) = [
        ("DMAR: ", "fault addr "),
        ("IO_PAGE_FAULT", "address="),
        ("arm-smmu-v3 ", "iova: "),
        ("fault from EP ", " at "),
    ]
    .into_iter()
    .find(|(name, _)| line.contains(name))?;
    Some(Fault {
        seconds,
        device: device(line)?,
        address: number(line, before)?,
        write: write(line),
        text: line.to_owned(),
    })
}

/// A record of the log, `priority,number,microseconds,flags;text` and lines about its source:
/// its time in seconds since boot, and its text.
fn record(text: &str) -> Option<(f64, String)> {
    let (head, rest) = text.split_once(';')?;
    let micros: u64 = head.split(',').nth(2)?.parse().ok()?;
    let millis = u32::try_from(micros / 1000).ok()?;
    Some((f64::from(millis) / 1e3, rest.lines().next()?.to_owned()))
}

/// The kernel log.
///
/// # Errors
///
/// One may not read it.
pub(crate) fn log() -> Result<Vec<(f64, String)>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    let log = rustix::fs::open("/dev/kmsg", flags, Mode::empty())
        .context("the kernel log cannot be read: run it with sudo")?;
    let mut lines = Vec::new();
    let mut buffer = [0; 8192];
    loop {
        match rustix::io::read(&log, &mut buffer) {
            Ok(0) | Err(Errno::AGAIN) => return Ok(lines),
            Ok(length) => lines.extend(record(&String::from_utf8_lossy(&buffer[..length]))),
            // What was next has been written over.
            Err(Errno::PIPE | Errno::INTR) => {}
            Err(error) => return Err(error).context("the kernel log cannot be read"),
        }
    }
}

/// All that are in the kernel log.
///
/// # Errors
///
/// As [`log`].
pub(crate) fn read() -> Result<Vec<Fault>> {
    let lines = log()?;
    let faults = lines
        .iter()
        .filter_map(|(seconds, line)| parse(*seconds, line));
    Ok(faults.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        for (line, device, address, write) in [
            (
                "DMAR: [DMA Read NO_PASID] Request device [0000:00:05.0] fault addr 0x1000000 \
                 [fault reason 0x06] PTE Read access is not set",
                "0000:00:05.0",
                0x1000000,
                Some(false),
            ),
            (
                "DMAR: [DMA Write PASID 0x1] Request device [3a:00.1] fault addr 0xfffffffffffff000",
                "0000:3a:00.1",
                0xfffffffffffff000,
                Some(true),
            ),
            (
                "vfio-pci 0001:c1:00.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x000c \
                 address=0x5000 flags=0x0020]",
                "0001:c1:00.0",
                0x5000,
                Some(true),
            ),
            (
                "AMD-Vi: Event logged [IO_PAGE_FAULT device=0000:c1:00.0 domain=0x000c \
                 address=0x5000 flags=0x0000]",
                "0000:c1:00.0",
                0x5000,
                Some(false),
            ),
            (
                "arm-smmu-v3 9050000.smmuv3: event: F_TRANSLATION client: 0000:00:05.0 sid: 0x28 \
                 ssid: 0x0 iova: 0x2000 ipa: 0x0",
                "0000:00:05.0",
                0x2000,
                None,
            ),
            (
                "virtio_iommu virtio1: page fault from EP 296 at 0x3000 [W]",
                "0000:01:05.0",
                0x3000,
                Some(true),
            ),
        ] {
            let fault = parse(1.0, line).unwrap();
            assert_eq!((fault.device.as_str(), fault.address), (device, address), "{line}");
            assert_eq!(fault.write, write, "{line}");
        }
        for line in [
            "",
            "DMAR: DRHD: handling fault status reg 2",
            "DMAR: [INTR-REMAP] Request device [0000:00:05.0] fault index 0x10",
            "pci 0000:00:05.0: address=0x5000",
            "arm-smmu-v3 9050000.smmuv3: event: F_CD_FETCH client: 0000:00:05.0 fetch_addr: 0x1",
        ] {
            assert_eq!(parse(1.0, line), None, "{line}");
        }
    }

    #[test]
    fn records() {
        let text = "3,500,7654321,-;DMAR: fault\n SUBSYSTEM=pci\n";
        assert_eq!(record(text), Some((7.654, "DMAR: fault".to_owned())));
        assert_eq!(record("nonsense"), None);
    }
}
