// SPDX-License-Identifier: GPL-2.0

//! The driver's tracepoints, as tracefs prints them.

use crate::{
    parse,
    size,
    system, //
};
use serde::Serialize;

/// Where tracefs may be mounted.
const TRACEFS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// A successful unmap.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Unmap {
    /// When, by the clock of the trace: it runs beside that of the kernel log.
    pub(crate) seconds: f64,
    /// The thread's name and number.
    pub(crate) thread: String,
    pub(crate) ioasid: u64,
    #[serde(serialize_with = "size::as_hex")]
    pub(crate) first: u64,
    #[serde(serialize_with = "size::as_hex")]
    pub(crate) last: u64,
}

fn field(text: &str, name: &str) -> Option<u64> {
    let mut words = text.split_whitespace();
    parse::number(words.find_map(|word| word.strip_prefix(name))?)
}

/// `THREAD-PID [CPU] FLAGS SECONDS: unmap: ioasid=...`
fn unmap(line: &str) -> Option<Unmap> {
    let (head, fields) = line.split_once(": unmap: ")?;
    let (thread, rest) = head.split_once(" [")?;
    let (first, length) = (field(fields, "iova=")?, field(fields, "length=")?);
    (field(fields, "result=")? == 0).then_some(())?;
    Some(Unmap {
        seconds: rest.split_whitespace().next_back()?.parse().ok()?,
        thread: thread.trim().to_owned(),
        ioasid: field(fields, "ioasid=")?,
        first,
        // All of the space has no length.
        last: length
            .checked_sub(1)
            .map_or(u64::MAX, |more| first.saturating_add(more)),
    })
}

/// The last unmap of an address that was traced, if any was.
pub(crate) fn last_unmap(ioasid: u32, address: u64) -> Option<Unmap> {
    let of = |unmap: &Unmap| {
        unmap.ioasid == u64::from(ioasid) && (unmap.first..=unmap.last).contains(&address)
    };
    TRACEFS.iter().find_map(|folder| {
        let text = system::text(format!("{folder}/trace"));
        text.lines().rev().filter_map(unmap).find(of)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let line = "     qemu-system-x86-1234    [001] .....  98.765432: unmap: ioasid=2 \
                    iova=0x1000 length=0x2000 unmapped=0x2000 runs=1 duration_ns=5 result=0";
        let expected = Unmap {
            seconds: 98.765432,
            thread: "qemu-system-x86-1234".to_owned(),
            ioasid: 2,
            first: 0x1000,
            last: 0x2fff,
        };
        assert_eq!(unmap(line), Some(expected.clone()));
        let all = line.replace("iova=0x1000 length=0x2000", "iova=0x0 length=0x0");
        let expected = Unmap {
            first: 0,
            last: u64::MAX,
            ..expected
        };
        assert_eq!(unmap(&all), Some(expected));
        assert_eq!(unmap(&line.replace("result=0", "result=-2")), None);
        assert_eq!(unmap("# tracer: nop"), None);
    }
}
