// SPDX-License-Identifier: GPL-2.0

//! What a person can see of a context: its number and a line for each object in
//! `/proc/<pid>/fdinfo/<fd>`, and the same with all areas in debugfs. No host address is ever
//! shown.

use crate::{
    kapi::task,
    objects::{
        context::{
            Context,
            Object,
            Objects, //
        },
        group::Idev,
        ioas::Ioas, //
    }, //
};
use kernel::{
    fmt,
    page::PAGE_SHIFT,
    prelude::*,
    seq_file::SeqFile,
    seq_print, //
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
    task::breathe().map_err(|_| fmt::Error)
}

/// Shows a context to whoever may look at its file.
pub(crate) fn fdinfo(context: &Context, f: &mut dyn fmt::Write) -> fmt::Result {
    writeln!(f, "context:\t{}", context.number())?;
    objects(context, f)
}

/// Shows all objects, in the order of their ids.
pub(crate) fn objects(objects: &Objects, f: &mut dyn fmt::Write) -> fmt::Result {
    for object in objects.iter() {
        pause()?;
        match object {
            Object::Ioas(space) => ioas(&space, f)?,
            Object::Hwpt(hwpt, ioas) => {
                writeln!(f, "hwpt:\t{} ioasid {}", hwpt.id(), ioas.id())?;
            }
            Object::Device(idev) => device(&idev, f)?,
            Object::Access(seat) => match seat.ioasid() {
                Some(ioasid) => writeln!(f, "access:\t{} ioasid {}", seat.id(), ioasid)?,
                None => writeln!(f, "access:\t{} detached", seat.id())?,
            },
        }
    }
    Ok(())
}

fn ioas(ioas: &Ioas, f: &mut dyn fmt::Write) -> fmt::Result {
    let window = ioas.window();
    let usage = ioas.usage();
    let snoop = if ioas.enforces_snoop() {
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
pub(crate) fn areas(objects: &Objects, f: &mut dyn fmt::Write) -> fmt::Result {
    for ioas in objects.spaces() {
        let mut next = Some(0);
        while let Some(area) = next.and_then(|first| ioas.area_from(first)) {
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
