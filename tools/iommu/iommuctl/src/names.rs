// SPDX-License-Identifier: GPL-2.0

//! What PCI devices and their classes are called, from the list that `lspci` reads, too.

use crate::system;
use std::sync::OnceLock;

const LISTS: [&str; 2] = ["/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids"];

/// The list; empty if the machine has none.
fn list() -> &'static str {
    static LIST: OnceLock<String> = OnceLock::new();
    LIST.get_or_init(|| {
        let mut texts = LISTS.iter().map(system::text);
        texts.find(|text| !text.is_empty()).unwrap_or_default()
    })
}

/// The name on a line `ID  NAME`.
fn named<'a>(line: &'a str, id: &str) -> Option<&'a str> {
    line.strip_prefix(id)?.strip_prefix("  ")
}

/// The name of an entry, and that of one that is indented below it.
fn find<'a>(list: &'a str, outer: &str, inner: &str) -> Option<(&'a str, Option<&'a str>)> {
    let mut lines = list.lines();
    let outer = lines.find_map(|line| named(line, outer))?;
    let inner = lines
        .take_while(|line| line.starts_with(['\t', '#']))
        .find_map(|line| named(line.strip_prefix('\t')?, inner));
    Some((outer, inner))
}

/// Vendor and device, of an id as in `8086:10d3`; the vendor if no more is known.
pub(crate) fn device(id: &str) -> Option<String> {
    let (vendor, device) = id.split_once(':')?;
    let (vendor, device) = find(list(), vendor, device)?;
    Some(device.map_or_else(|| vendor.to_owned(), |device| format!("{vendor} {device}")))
}

/// What kind of device it is, by its class as in `020000`.
pub(crate) fn class(class: &str) -> Option<String> {
    let (base, sub) = (class.get(..2)?, class.get(2..4)?);
    let (base, sub) = find(list(), &format!("C {base}"), sub)?;
    Some(sub.unwrap_or(base).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "# comment\n\n\
        1234  Acme\n\t0001  One\n# comment\n\t\t1234 0002  A board\n\t0002  Two\n\
        1235  Bcme\n\t0003  Three\n\n\
        C 02  Network\n\t00  Ethernet\n\t\t01  Fast\n\
        C 03  Display\n\t01  XGA\n";

    #[test]
    fn entries() {
        for (outer, inner, found) in [
            ("1234", "0001", Some(("Acme", Some("One")))),
            ("1234", "0002", Some(("Acme", Some("Two")))),
            ("1234", "0003", Some(("Acme", None))),
            ("1235", "0003", Some(("Bcme", Some("Three")))),
            ("1236", "0001", None),
            ("C 02", "00", Some(("Network", Some("Ethernet")))),
            ("C 02", "01", Some(("Network", None))),
        ] {
            assert_eq!(find(LIST, outer, inner), found, "{outer} {inner}");
        }
    }
}
