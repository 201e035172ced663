// SPDX-License-Identifier: GPL-2.0

//! The driver's tracepoints, as tracefs prints them.

use crate::{
    parse,
    size,
    system, //
};
use anyhow::{
    bail,
    Context as _,
    Result, //
};
use rustix::{
    fs::{
        Mode,
        OFlags, //
    },
    io::Errno,
    process::geteuid, //
};
use serde::Serialize;
use std::{
    fs,
    os::fd::OwnedFd,
    path::{
        Path,
        PathBuf, //
    },
    process, //
};

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

/// `THREAD-PID [CPU] FLAGS SECONDS: iommufd_unmap: ioasid=...`
fn unmap(line: &str) -> Option<Unmap> {
    let (head, fields) = line.split_once(": iommufd_unmap: ")?;
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

/// A map or an unmap, of any outcome.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Call {
    pub(crate) thread: u32,
    /// The thread's name.
    pub(crate) command: String,
    pub(crate) is_map: bool,
    /// How much was mapped or unmapped.
    pub(crate) bytes: u64,
    pub(crate) nanoseconds: u64,
    pub(crate) has_failed: bool,
}

impl Call {
    /// The process of its thread, as long as that is there.
    pub(crate) fn process(&self) -> u32 {
        let status = system::text(format!("/proc/{}/status", self.thread));
        let line = status.lines().find_map(|line| line.strip_prefix("Tgid:"));
        let process = line.and_then(|pid| pid.trim().parse().ok());
        process.unwrap_or(self.thread)
    }
}

fn call(line: &str) -> Option<Call> {
    let is_map = line.contains(": iommufd_map: ");
    let event = if is_map {
        ": iommufd_map: "
    } else {
        ": iommufd_unmap: "
    };
    let (head, fields) = line.split_once(event)?;
    let (command, thread) = head.split_once(" [")?.0.trim().rsplit_once('-')?;
    let has_failed = !fields.ends_with("result=0");
    let size = if is_map { "length=" } else { "unmapped=" };
    Some(Call {
        thread: thread.parse().ok()?,
        command: system::printable(command),
        is_map,
        bytes: field(fields, size).filter(|_| !has_failed).unwrap_or(0),
        nanoseconds: field(fields, "duration_ns=")?,
        has_failed,
    })
}

/// How many events did not fit: `CPU:0 [LOST 12 EVENTS]`.
fn lost(line: &str) -> Option<u64> {
    let (_, rest) = line.split_once("[LOST ")?;
    rest.split(' ').next()?.parse().ok()
}

/// A trace of this program's own, with maps and unmaps, which nobody else's is disturbed by.
/// Dropping it ends that.
pub(crate) struct Live {
    folder: PathBuf,
    pipe: Option<OwnedFd>,
    /// The beginning of a line whose end was not there yet.
    rest: String,
}

/// What the traces of this program are called, before its number.
const NAME: &str = "iommuctl.";

impl Live {
    /// Begins.
    ///
    /// # Errors
    ///
    /// One may not, or there are no tracepoints.
    pub(crate) fn new() -> Result<Self> {
        if !geteuid().is_root() {
            bail!("only root can trace: run it with sudo");
        }
        let mut folders = TRACEFS
            .iter()
            .map(|folder| Path::new(folder).join("instances"));
        let instances = folders
            .find(|folder| folder.is_dir())
            .context("there is no tracefs: mount -t tracefs tracefs /sys/kernel/tracing")?;
        remove_stale(&instances);
        let folder = instances.join(format!("{NAME}{}", process::id()));
        fs::create_dir(&folder).context("cannot make a trace of its own")?;
        let mut live = Self {
            folder,
            pipe: None,
            rest: String::new(),
        };
        for event in ["iommufd_map", "iommufd_unmap"] {
            fs::write(
                live.folder.join(format!("events/iommufd/{event}/enable")),
                "1",
            )
            .context("there are no tracepoints of iommufd: 'iommuctl doctor' says why")?;
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let pipe = rustix::fs::open(live.folder.join("trace_pipe"), flags, Mode::empty());
        live.pipe = Some(pipe.context("cannot read the trace")?);
        Ok(live)
    }

    /// What was done since the last time, and how many events were too many.
    ///
    /// # Errors
    ///
    /// Those of reading.
    pub(crate) fn read(&mut self) -> Result<(Vec<Call>, u64)> {
        let (mut calls, mut too_many) = (Vec::new(), 0);
        let mut buffer = [0; 1 << 16];
        while let Some(pipe) = &self.pipe {
            match rustix::io::read(pipe, &mut buffer) {
                Ok(0) | Err(Errno::AGAIN) => break,
                Ok(length) => self.rest += &String::from_utf8_lossy(&buffer[..length]),
                Err(Errno::INTR) => break,
                Err(error) => return Err(error).context("cannot read the trace"),
            }
            let end = self.rest.rfind('\n').map_or(0, |at| at + 1);
            let lines: String = self.rest.drain(..end).collect();
            calls.extend(lines.lines().filter_map(call));
            too_many += lines.lines().filter_map(lost).sum::<u64>();
        }
        Ok((calls, too_many))
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // It can be removed only when nobody reads it.
        self.pipe = None;
        let _ = fs::remove_dir(&self.folder);
    }
}

/// Removes what those have left that had no time for it.
fn remove_stale(instances: &Path) {
    for name in system::entries(instances) {
        let pid = name.strip_prefix(NAME);
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = fs::remove_dir(instances.join(name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls() {
        let line = "     a vm-m-1234    [001] .....  98.765432: iommufd_map: ioasid=2 iova=0x1000 \
                    length=0x2000 runs=1 duration_ns=5 result=0";
        let expected = Call {
            thread: 1234,
            command: "a vm-m".to_owned(),
            is_map: true,
            bytes: 0x2000,
            nanoseconds: 5,
            has_failed: false,
        };
        assert_eq!(call(line), Some(expected.clone()));
        let failed = Call {
            bytes: 0,
            has_failed: true,
            ..expected.clone()
        };
        assert_eq!(call(&line.replace("result=0", "result=-12")), Some(failed));
        let unmap = line.replace(": iommufd_map:", ": iommufd_unmap:");
        let unmap = unmap.replace("runs=1", "unmapped=0x1000 runs=1");
        let unmapped = Call {
            is_map: false,
            bytes: 0x1000,
            ..expected
        };
        assert_eq!(call(&unmap), Some(unmapped));
        assert_eq!(lost("CPU:0 [LOST 12 EVENTS]"), Some(12));
        assert_eq!((call("CPU:0 [LOST 12 EVENTS]"), lost(line)), (None, None));
    }

    #[test]
    fn lines() {
        let line = "     qemu-system-x86-1234    [001] .....  98.765432: iommufd_unmap: ioasid=2 \
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
