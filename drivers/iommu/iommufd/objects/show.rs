// SPDX-License-Identifier: GPL-2.0

//! What a person can see of a context: its number and a line for each object in
//! `/proc/<pid>/fdinfo/<fd>`, and the same with all areas in debugfs. No host address is ever
//! shown.

use crate::{
    kapi::task,
    objects::{
        context::Context,
        group::Idev,
        ioas::Ioas,
        registry::Registry,
        table::{
            Object,
            Objects, //
        }, //
    },
    space::mapping::Usage, //
};
use kernel::{
    fmt,
    page::PAGE_SHIFT,
    prelude::*,
    seq_file::SeqFile,
    seq_print,
    sync::Arc, //
};

/// Lets text be written to a seq_file.
pub(crate) struct SeqWriter<'a>(pub(crate) &'a SeqFile);

impl fmt::Write for SeqWriter<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        seq_print!(self.0, "{}", text);
        Ok(())
    }
}

/// There may be millions of objects and areas: others get their turn, and a fatal signal ends it.
fn pause() -> fmt::Result {
    task::resched_killable().map_err(|_| fmt::Error)
}

/// Shows a context to whoever may look at its file.
pub(crate) fn fdinfo(context: &Context, f: &mut dyn fmt::Write) -> fmt::Result {
    writeln!(f, "context:\t{}", context.number())?;
    objects(&context.objects, f)
}

/// Shows all contexts, with all their areas.
pub(crate) fn contexts(
    registry: &Arc<Registry<Objects>>,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let mut last = 0;
    while let Some(context) = registry.after(last) {
        let (number, owner) = (context.number, context.owner);
        writeln!(f, "context:\t{} opened by {}", number, owner)?;
        objects(&context.content, f)?;
        areas(&context.content, f)?;
        last = number;
    }
    Ok(())
}

/// Shows all objects, in the order of their ids, and what is held for them.
fn objects(objects: &Objects, f: &mut dyn fmt::Write) -> fmt::Result {
    let mut all = Usage::default();
    for object in objects.iter() {
        pause()?;
        match object {
            Object::Ioas(space) => {
                let usage = space.iopt.usage();
                ioas(&space, &usage, f)?;
                all.add_all(&usage);
            }
            Object::Hwpt(hwpt, ioas) => {
                writeln!(f, "hwpt:\t{} ioasid {}", hwpt.id(), ioas.id())?;
            }
            Object::Device(idev) => device(&idev, f)?,
            Object::Access(access) => match access.ioasid() {
                Some(ioasid) => writeln!(f, "access:\t{} ioasid {}", access.id(), ioasid)?,
                None => writeln!(f, "access:\t{} detached", access.id())?,
            },
        }
    }
    held(&all, objects.repeats().get(), f)
}

/// Shows what areas have of `all` address spaces, but memory that several of them have once.
fn held(all: &Usage, repeats: (u64, u64), f: &mut dyn fmt::Write) -> fmt::Result {
    let (pinned, charged) = repeats;
    // Others may map and copy meanwhile: no figure is below 0.
    writeln!(
        f,
        "held:\tpinned {} pages charged {} kB",
        (all.pinned >> PAGE_SHIFT).saturating_sub(pinned),
        (all.charged >> 10).saturating_sub(charged << (PAGE_SHIFT - 10)),
    )
}

fn ioas(ioas: &Ioas, usage: &Usage, f: &mut dyn fmt::Write) -> fmt::Result {
    let window = ioas.iopt.window();
    let snoop = if ioas.iopt.enforces_snoop() {
        " enforce-snoop"
    } else {
        ""
    };
    writeln!(
        f,
        "ioasid:\t{} window {:#x}-{:#x}{} areas {} mapped {} kB pinned {} pages charged {} kB",
        ioas.id(),
        window.first(),
        window.last(),
        snoop,
        usage.areas,
        usage.bytes >> 10,
        usage.pinned >> PAGE_SHIFT,
        usage.charged >> 10,
    )
}

/// Waits for nobody: what moves the device may have to wait for long.
fn device(idev: &Idev, f: &mut dyn fmt::Write) -> fmt::Result {
    let group = idev.group().iommu_group().id();
    let name = idev.name();
    write!(
        f,
        "device:\t{} {} group {} ",
        idev.id(),
        fmt!("{}", name),
        group
    )?;
    match idev.ioasid() {
        None => writeln!(f, "detached"),
        Some(ioasid) => writeln!(f, "ioasid {}", ioasid),
    }
}

/// Shows all areas of all address spaces.
fn areas(objects: &Objects, f: &mut dyn fmt::Write) -> fmt::Result {
    for ioas in objects.spaces() {
        let mut next = Some(0);
        while let Some(area) = next.and_then(|first| ioas.iopt.area_from(first)) {
            pause()?;
            writeln!(
                f,
                "area:\tioasid {} {:#x}-{:#x} {}{} runs {}",
                ioas.id(),
                area.range.first(),
                area.range.last(),
                if area.prot.read { "r" } else { "-" },
                if area.prot.write { "w" } else { "-" },
                area.runs,
            )?;
            next = area.range.last().checked_add(1);
        }
    }
    Ok(())
}
