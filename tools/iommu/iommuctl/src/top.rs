// SPDX-License-Identifier: GPL-2.0

//! `iommuctl top`: who maps and unmaps how much at this moment, from the driver's tracepoints.

use crate::{
    contexts::Contexts,
    list::{
        now,
        Pace, //
    },
    output,
    parse::UnderWay,
    size,
    system::Process,
    trace::{
        Call,
        Live, //
    },
};
use anyhow::Result;
use serde::Serialize;
use std::{
    cmp::Reverse,
    io::{
        stdout,
        IsTerminal, //
    },
    sync::{
        atomic::{
            AtomicBool,
            Ordering, //
        },
        Arc,
    },
    thread,
    time::{
        Duration,
        Instant, //
    },
};

/// What one process did of one kind.
#[derive(Debug, Default, PartialEq, Serialize)]
struct Done {
    calls: u64,
    failed: u64,
    bytes: u64,
    /// The time of all, and of the one that took longest.
    nanoseconds: u64,
    longest_nanoseconds: u64,
    largest_bytes: u64,
}

impl Done {
    fn add(&mut self, call: &Call) {
        self.calls += 1;
        self.failed += u64::from(call.has_failed);
        self.bytes = self.bytes.saturating_add(call.bytes);
        self.nanoseconds = self.nanoseconds.saturating_add(call.nanoseconds);
        self.longest_nanoseconds = self.longest_nanoseconds.max(call.nanoseconds);
        self.largest_bytes = self.largest_bytes.max(call.bytes);
    }
}

/// A process that did something since the last look.
#[derive(Debug, Serialize)]
struct Row {
    process: Process,
    /// The contexts that it uses.
    contexts: Vec<String>,
    map: Done,
    unmap: Done,
}

/// One look.
#[derive(Serialize)]
struct Look {
    look: u64,
    time: String,
    /// Since the last look.
    seconds: f64,
    /// How many calls were too fast to be seen one by one.
    lost: u64,
    processes: Vec<Row>,
    under_way: Vec<Long>,
}

/// A call that takes long, and is not over.
#[derive(Debug, Serialize)]
struct Long {
    context: String,
    process: Process,
    ioasid: u32,
    #[serde(flatten)]
    under_way: UnderWay,
}

fn long(found: &Contexts) -> Vec<Long> {
    let spaces = found.contexts.iter().flat_map(|context| {
        let spaces = context.objects.spaces.iter();
        spaces.map(move |space| (context, space))
    });
    let calls = spaces.flat_map(|(context, space)| {
        space.under_way.iter().map(|under_way| Long {
            context: context.context.clone(),
            process: context.user.clone(),
            ioasid: space.ioasid,
            under_way: under_way.clone(),
        })
    });
    calls.collect()
}

fn rows(calls: &[Call], found: &Contexts) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for call in calls {
        let pid = call.process();
        let at = match rows.iter().position(|row| row.process.pid == pid) {
            Some(at) => at,
            None => {
                let mut process = Process::new(pid);
                if process.command.is_empty() {
                    process.command.clone_from(&call.command);
                }
                rows.push(Row {
                    contexts: found.of(pid),
                    process,
                    map: Done::default(),
                    unmap: Done::default(),
                });
                rows.len() - 1
            }
        };
        let row = &mut rows[at];
        let done = if call.is_map {
            &mut row.map
        } else {
            &mut row.unmap
        };
        done.add(call);
    }
    // Who spends most time comes first.
    rows.sort_by_key(|row| Reverse(row.map.nanoseconds.saturating_add(row.unmap.nanoseconds)));
    rows
}

fn cells(done: &Done, seconds: f64) -> [String; 5] {
    // CAST: No figure here is so large that it matters.
    let (calls, bytes) = (done.calls as f64 / seconds, done.bytes as f64 / seconds);
    [
        format!("{:.*}", usize::from(calls < 10.0), calls),
        format!("{}/s", size::human(bytes as u128)),
        format!("{:.0} %", done.nanoseconds as f64 / seconds / 1e7),
        size::human(done.largest_bytes.into()),
        format!("{:.1} ms", done.longest_nanoseconds as f64 / 1e6),
    ]
}

fn draw(look: &Look) -> String {
    let mut table = output::table(&[
        "CONTEXT", "PROCESS", "", ">CALLS/S", ">SIZE/S", ">TIME", ">LARGEST", ">LONGEST", ">FAILED",
    ]);
    for row in &look.processes {
        let mut names = [row.contexts.join(" "), row.process.title()];
        for (what, done) in [("map", &row.map), ("unmap", &row.unmap)] {
            if done.calls > 0 {
                let failed = [done.failed.to_string()];
                let names = names.each_mut().map(std::mem::take);
                let cells = cells(done, look.seconds);
                let all = names.into_iter().chain([what.to_owned()]);
                table.add_row(all.chain(cells).chain(failed));
            }
        }
    }
    let mut text = look.time.clone();
    if look.lost > 0 {
        text += &format!(", and {} events that were too many", look.lost);
    }
    text += "\n";
    if look.processes.is_empty() {
        text += "Nothing was mapped or unmapped.";
    } else {
        text += &table.to_string();
    }
    for long in &look.under_way {
        let (process, what) = (long.process.title(), long.under_way.note());
        text += &format!("\nContext {}, {process}: {what}", long.context);
    }
    text + "\n "
}

/// Sleeps, unless it is time to end.
fn rest(interval: f64, is_over: &AtomicBool) {
    let end = Instant::now() + Duration::from_secs_f64(interval);
    while !is_over.load(Ordering::Relaxed) {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        thread::sleep(left.min(Duration::from_millis(100)));
    }
}

/// `iommuctl top`
pub(crate) fn run(pace: &Pace, json: bool) -> Result<()> {
    // What is traced must end, whatever ends this.
    let is_over = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, is_over.clone())?;
    }
    let mut live = Live::new()?;
    let mut since = Instant::now();
    for look in 1u64.. {
        rest(pace.interval, &is_over);
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let (calls, lost) = live.read()?;
        let seconds = since.elapsed().as_secs_f64();
        since = Instant::now();
        let found = Contexts::read()?;
        let look = Look {
            look,
            time: now(),
            seconds,
            lost,
            processes: rows(&calls, &found),
            under_way: long(&found),
        };
        if json {
            output::json_line(&look)?;
        } else if stdout().is_terminal() {
            output::text(&format!("\x1b[H\x1b[2J{}", draw(&look)))?;
        } else {
            output::text(&draw(&look))?;
        }
        if pace.count.is_some_and(|count| look.look >= count) {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contexts::from_debugfs;

    #[test]
    fn calls_are_added_up() {
        let call = |is_map, bytes, nanoseconds, has_failed| Call {
            // Nobody's.
            thread: u32::MAX,
            command: "vmm".to_owned(),
            is_map,
            bytes,
            nanoseconds,
            has_failed,
        };
        let calls = [
            call(true, 4096, 1_000_000, false),
            call(true, 0, 3_000_000, true),
            call(false, 8192, 500_000, false),
            call(true, 12288, 2_000_000, false),
        ];
        let rows = rows(&calls, &from_debugfs(""));
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].process.command, "vmm");
        let done = Done {
            calls: 3,
            failed: 1,
            bytes: 16384,
            nanoseconds: 6_000_000,
            longest_nanoseconds: 3_000_000,
            largest_bytes: 12288,
        };
        assert_eq!(rows[0].map, done);
        assert_eq!(rows[0].unmap.bytes, 8192);
        assert_eq!(
            cells(&done, 2.0),
            ["1.5", "8 KiB/s", "0 %", "12 KiB", "3.0 ms"].map(str::to_owned)
        );
    }
}
