// SPDX-License-Identifier: GPL-2.0

//! What a person can see of a context: its number and a line for each object in
//! `/proc/<pid>/fdinfo/<fd>`, and the same with all areas in debugfs. No host address is ever
//! shown.

use crate::{
    context::{
        Context,
        Object,
        Objects, //
    },
    group::Group,
    ioas::Ioas,
    kapi::task,
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
    for id in 1..objects.id_limit() {
        pause()?;
        match objects.get(id) {
            Some(Object::Ioas(space)) => ioas(id, &space, f)?,
            Some(Object::Hwpt(hwpt)) => {
                writeln!(f, "hwpt:\t{} ioasid {}", id, hwpt.ioas().id())?;
            }
            Some(Object::Device(group)) => device(id, &group, f)?,
            Some(Object::Access(seat)) => match seat.ioasid() {
                Some(ioasid) => writeln!(f, "access:\t{} ioasid {}", id, ioasid)?,
                None => writeln!(f, "access:\t{} detached", id)?,
            },
            None => {}
        }
    }
    Ok(())
}

fn ioas(id: u32, ioas: &Ioas, f: &mut dyn fmt::Write) -> fmt::Result {
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
        id,
        window.first(),
        window.last(),
        snoop,
        usage.areas,
        usage.bytes >> 10,
        usage.pinned >> PAGE_SHIFT,
        usage.charged >> 10,
    )
}

fn device(id: u32, group: &Group, f: &mut dyn fmt::Write) -> fmt::Result {
    let mut shown = Ok(());
    // A device that is being unbound at this moment is not shown.
    let _ = group.with_device(id, |dev, seat| {
        let ioasid = seat.map_or(0, |seat| seat.ioas().id());
        let number = group.iommu_group().id();
        let name = dev.name();
        shown = match ioasid {
            0 => writeln!(
                f,
                "device:\t{} {} group {} detached",
                id,
                fmt!("{}", name),
                number
            ),
            _ => writeln!(
                f,
                "device:\t{} {} group {} ioasid {}",
                id,
                fmt!("{}", name),
                number,
                ioasid
            ),
        };
        Ok(())
    });
    shown
}

/// Shows all areas of all address spaces.
pub(crate) fn areas(objects: &Objects, f: &mut dyn fmt::Write) -> fmt::Result {
    for id in 1..objects.id_limit() {
        let Some(Object::Ioas(ioas)) = objects.get(id) else {
            continue;
        };
        let mut next = Some(0);
        while let Some(area) = next.and_then(|first| ioas.area_from(first)) {
            pause()?;
            writeln!(
                f,
                "area:\tioasid {} {:#x}-{:#x} {}{} runs {}",
                id,
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
