// SPDX-License-Identifier: GPL-2.0

//! The commands that list contexts: `list`, `show` and `watch`.

use crate::{
    contexts::{
        Context,
        Contexts,
        NO_AREAS, //
    },
    output,
    parse::Space,
    size,
};
use anyhow::Result;
use serde::Serialize;
use std::{
    collections::HashMap,
    fmt::Write as _,
    thread,
    time::{
        Duration,
        SystemTime, //
    },
};

/// Arguments of `show`.
#[derive(clap::Args)]
pub(crate) struct ShowArgs {
    /// Only this context, by its name in 'iommuctl list', or those of the process with this
    /// number.
    #[arg(value_name = "CONTEXT|PID")]
    context: Option<String>,
    /// List each mapping, too (root only).
    #[arg(long)]
    areas: bool,
}

/// Arguments of `watch` and `top`.
#[derive(clap::Args)]
pub(crate) struct Pace {
    /// Seconds between two looks.
    #[arg(long, default_value_t = 2.0, value_parser = seconds)]
    pub(crate) interval: f64,
    /// Stop after so many looks; by default, go on until interrupted.
    #[arg(long)]
    pub(crate) count: Option<u64>,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.1..=86400.0).contains(&seconds) => Ok(seconds),
        _ => Err("between 0.1 and 86400 seconds".to_owned()),
    }
}

fn human(bytes: u64) -> String {
    size::human(bytes.into())
}

/// What is mapped, with the change since the last look if there was one.
fn mapped(context: &Context, before: Option<u64>) -> String {
    let now = context.total(|space| space.mapped_bytes);
    match before {
        Some(before) if now > before => format!("{} +{}", human(now), human(now - before)),
        Some(before) if now < before => format!("{} -{}", human(now), human(before - now)),
        _ => human(now),
    }
}

/// One line for each context.
fn overview(found: &Contexts, before: &HashMap<String, u64>) -> String {
    if found.contexts.is_empty() {
        return format!("Nothing has /dev/iommu open{}.", found.hint());
    }
    let mut table = output::table(&[
        "CONTEXT", "PROCESS", "USER", ">IOASIDS", ">DEVICES", ">AREAS", ">MAPPED", ">PINNED",
        ">CHARGED", "",
    ]);
    for context in &found.contexts {
        table.add_row([
            context.context.clone(),
            context.user.title(),
            context.user.user.clone(),
            context.objects.spaces.len().to_string(),
            context.objects.devices.len().to_string(),
            context.total(|space| space.area_count).to_string(),
            mapped(context, before.get(&context.context).copied()),
            human(context.objects.held.pinned_bytes),
            human(context.objects.held.charged_bytes),
            context.notes().join("; "),
        ]);
    }
    table.to_string()
}

/// `iommuctl list`
pub(crate) fn list(json: bool) -> Result<()> {
    let mut found = Contexts::read()?;
    if json {
        without_areas(&mut found.contexts);
        return output::json(&found);
    }
    output::text(&overview(&found, &HashMap::new()))
}

fn without_areas(contexts: &mut [Context]) {
    for context in contexts {
        for space in &mut context.objects.spaces {
            space.areas = None;
        }
    }
}

fn spaces(context: &Context) -> String {
    let mut table = output::table(&[
        "IOASID", "FIRST", "LAST", ">AREAS", ">MAPPED", ">PINNED", ">CHARGED", "DEVICES",
    ]);
    for space in &context.objects.spaces {
        let devices: Vec<_> = context
            .attached(space.ioasid)
            .map(|device| device.name.as_str())
            .collect();
        table.add_row([
            space.ioasid.to_string(),
            format!("{:#x}", space.first),
            format!("{:#x}", space.last),
            space.area_count.to_string(),
            human(space.mapped_bytes),
            human(space.pinned_bytes),
            human(space.charged_bytes),
            space.note().unwrap_or_else(|| devices.join(" ")),
        ]);
    }
    table.to_string()
}

fn devices(context: &Context) -> String {
    let mut table = output::table(&["ID", "DEVICE", "GROUP", "ATTACHED TO"]);
    for device in &context.objects.devices {
        table.add_row([
            device.id.to_string(),
            device.name.clone(),
            device
                .group
                .map_or("none".to_owned(), |group| group.to_string()),
            device
                .ioasid
                .map_or("nothing".to_owned(), |ioasid| format!("IOASID {ioasid}")),
        ]);
    }
    table.to_string()
}

fn areas(space: &Space) -> String {
    let Some(areas) = &space.areas else {
        return format!("IOASID {}: {NO_AREAS}.", space.ioasid);
    };
    let mut table = output::table(&["IOASID", "FIRST", "LAST", ">SIZE", "ACCESS", ">RUNS"]);
    for area in areas {
        table.add_row([
            space.ioasid.to_string(),
            format!("{:#x}", area.first),
            format!("{:#x}", area.last),
            size::human(u128::from(area.last - area.first) + 1),
            area.access.clone(),
            area.runs.to_string(),
        ]);
    }
    table.to_string()
}

/// Everything about one context, as a person reads it.
fn in_full(context: &Context, with_areas: bool) -> String {
    let objects = &context.objects;
    let mut text = format!(
        "Context {}, opened by {} as {}\n",
        context.context,
        context.owner.title(),
        context.owner.user
    );
    let mappers = context.mappers().into_iter();
    for mapper in mappers.filter(|mapper| *mapper != context.owner) {
        let _ = writeln!(text, "  memory of {} as {}", mapper.title(), mapper.user);
    }
    let others = context.open_in.iter();
    for other in others.filter(|other| **other != context.owner) {
        let _ = writeln!(text, "  open in {} as {}", other.title(), other.user);
    }
    let mut tables = Vec::new();
    if !objects.devices.is_empty() {
        tables.push(devices(context));
    }
    if !objects.spaces.is_empty() {
        tables.push(spaces(context));
    }
    if with_areas {
        tables.extend(objects.spaces.iter().map(areas));
    }
    for table in tables {
        for line in table.lines() {
            let _ = writeln!(text, "  {line}");
        }
        text.push('\n');
    }
    text
}

/// `iommuctl show`
pub(crate) fn show(args: &ShowArgs, json: bool) -> Result<()> {
    let mut found = Contexts::read()?;
    if let Some(name) = &args.context {
        found.keep(name)?;
    }
    if json {
        if !args.areas {
            without_areas(&mut found.contexts);
        }
        return output::json(&found);
    }
    if found.contexts.is_empty() {
        return output::text(&overview(&found, &HashMap::new()));
    }
    for context in &found.contexts {
        output::text(&in_full(context, args.areas))?;
    }
    Ok(())
}

/// What `watch --json` prints for each look.
#[derive(Serialize)]
struct Look<'a> {
    look: u64,
    time: String,
    #[serde(flatten)]
    found: &'a Contexts,
}

/// The time of a look, in UTC.
pub(crate) fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}

/// `iommuctl watch`
pub(crate) fn watch(args: &Pace, json: bool) -> Result<()> {
    let mut before = HashMap::new();
    let mut look = 0;
    loop {
        look += 1;
        let time = now();
        let mut found = Contexts::read()?;
        if json {
            without_areas(&mut found.contexts);
            output::json_line(&Look {
                look,
                time,
                found: &found,
            })?;
        } else {
            output::text(&format!("{time}\n{}\n ", overview(&found, &before)))?;
        }
        if args.count.is_some_and(|count| look >= count) {
            return Ok(());
        }
        before = found
            .contexts
            .iter()
            .map(|context| {
                let bytes = context.total(|space| space.mapped_bytes);
                (context.context.clone(), bytes)
            })
            .collect();
        thread::sleep(Duration::from_secs_f64(args.interval));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contexts::from_debugfs;

    const TEXT: &str = "context:\t7 opened by 0\n\
        device:\t1 0000:00:05.0 group 2 ioasid 2\n\
        ioasid:\t2 window 0x0-0xff areas 1 mapped 4 kB pinned 1 pages charged 4 kB\n\
        ioasid:\t4 window 0x0-0xff areas 2 mapped 64 kB pinned 1 pages charged 0 kB no-device\n\
        held:\tpinned 2 pages charged 4 kB\n\
        context:\t8 opened by 0\n\
        ioasid:\t2 window 0x0-0xff areas 0 mapped 0 kB pinned 0 pages charged 0 kB\n";

    /// Whether the line that has this word first ends with this cell.
    fn ends_with(text: &str, word: &str, cell: &str) -> bool {
        let is_it = |line: &&str| line.split_whitespace().next() == Some(word);
        let line = text.lines().find(is_it).unwrap().trim_end();
        line.ends_with(&format!("  {cell}"))
    }

    #[test]
    fn what_waits_for_a_device_is_told() {
        let found = from_debugfs(TEXT);
        let text = overview(&found, &HashMap::new());
        let waits = "60 KiB not pinned: no device";
        assert!(ends_with(&text, "7", waits), "{text}");
        assert!(ends_with(&text, "8", "0 B"), "{text}");
        let text = spaces(&found.contexts[0]);
        assert!(ends_with(&text, "2", "0000:00:05.0"), "{text}");
        assert!(ends_with(&text, "4", waits), "{text}");
    }
}
