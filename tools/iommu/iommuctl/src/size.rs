// SPDX-License-Identifier: GPL-2.0

//! Sizes, as people write and read them; addresses, as JSON can hold them.

use serde::Serializer;

const UNITS: [(&str, u32); 5] = [("T", 40), ("G", 30), ("M", 20), ("K", 10), ("", 0)];

/// Fewer bytes than this are hardly meant.
const FEW: u64 = 1 << 20;

/// `4G`, `512M` or a number of bytes, which must be no small one: who says `16` means `16G`.
///
/// # Errors
///
/// What is wrong with it, in words.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text[digits.len()..].to_ascii_uppercase();
    let unit = unit.trim_end_matches('B').trim_end_matches('I');
    let number: u64 = digits
        .parse()
        .map_err(|_| format!("'{text}' is no size; try 4G"))?;
    if digits.len() == text.len() && number < FEW {
        return Err(format!("{text} of what? Say {text}G, {text}M, or {text}B"));
    }
    let (_, shift) = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(|| format!("'{unit}' is no unit; known are K, M, G and T"))?;
    number
        .checked_mul(1 << shift)
        .ok_or_else(|| format!("'{text}' is too much"))
}

/// With a unit in which it has few digits, to one place: `1.5 GiB`.
pub(crate) fn human(bytes: u128) -> String {
    for (name, shift) in [
        ("EiB", 60),
        ("PiB", 50),
        ("TiB", 40),
        ("GiB", 30),
        ("MiB", 20),
        ("KiB", 10),
    ] {
        let unit = 1u128 << shift;
        if bytes >= unit {
            let tenths = bytes * 10 / unit;
            return if tenths % 10 == 0 {
                format!("{} {name}", tenths / 10)
            } else {
                format!("{}.{} {name}", tenths / 10, tenths % 10)
            };
        }
    }
    format!("{bytes} B")
}

/// An address, which may be too large for a number in JSON, as text.
pub(crate) fn as_hex<S: Serializer>(address: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format!("{address:#x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in [
            ("16B", 16),
            ("1048576", 1 << 20),
            ("1K", 1 << 10),
            ("3m", 3 << 20),
            ("4G", 4 << 30),
            ("4GiB", 4 << 30),
            ("2TB", 2 << 40),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "16",
            "1048575",
            "G",
            "4X",
            "-1",
            "4 G",
            "16777216T",
            "1.5G",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_written() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (4096, "4 KiB"),
            (1536 << 10, "1.5 MiB"),
            (1 << 34, "16 GiB"),
            (1 << 64, "16 EiB"),
        ] {
            assert_eq!(human(bytes), text);
        }
    }
}
