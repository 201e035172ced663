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
        },
        users::Used, //
    },
    space::{
        pinning::{
            self,
            Held, //
        },
        progress::UnderWay,
        Summary, //
    }, //
};
use kernel::{
    fmt,
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

/// Shows how often a BAR was not mapped because of `map_device_memory`.
pub(crate) fn refused_bars(_: &(), f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "{}", pinning::refused_bars())
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
    let mut own = Held::default();
    for object in objects.iter() {
        pause()?;
        match object {
            Object::Ioas(space) => {
                let summary = space.iopt.summary();
                ioas(&space, &summary, f)?;
                own.add(summary.usage.own);
            }
            Object::Hwpt(hwpt, ioas) => {
                writeln!(f, "hwpt:\t{} ioasid {}", hwpt.id(), ioas.id())?;
            }
            Object::Nested(nested) => {
                let parent = nested.parent().id();
                writeln!(f, "nested:\t{} hwpt {}", nested.id(), parent)?;
            }
            Object::FaultQueue(queue) => writeln!(f, "fault-queue:\t{}", queue.id())?,
            Object::Viommu(viommu) => {
                writeln!(f, "viommu:\t{} hwpt {}", viommu.id(), viommu.hwpt().id())?;
            }
            Object::HwQueue(queue) => {
                let viommu = queue.viommu().id();
                writeln!(f, "hw_queue:\t{} viommu {}", queue.id(), viommu)?;
            }
            Object::Veventq(queue) => {
                writeln!(f, "veventq:\t{} viommu {}", queue.id(), queue.viommu_id())?;
            }
            Object::Vdevice(vdevice, idev) => vdevice.show(idev.id(), f)?,
            Object::Device(idev) => device(&idev, f)?,
            Object::Access(access) => match access.ioasid() {
                Some(ioasid) => writeln!(f, "access:\t{} ioasid {}", access.id(), ioasid)?,
                None => writeln!(f, "access:\t{} detached", access.id())?,
            },
            #[cfg(IOMMUFD_MOCK)]
            Object::Extra(extra) => writeln!(f, "test:\t{}", extra.id())?,
        }
    }
    let mut all = own;
    all.add(objects.totals().get());
    writeln!(
        f,
        "held:\tpinned {} pages charged {} kB",
        all.pinned,
        all.charged_kib(),
    )
}

fn ioas(ioas: &Ioas, summary: &Summary, f: &mut dyn fmt::Write) -> fmt::Result {
    let Summary {
        usage,
        held,
        has_domain,
        ongoing,
        mapper,
    } = summary;
    let window = ioas.iopt.window();
    let snoop = if ioas.iopt.enforces_snoop() {
        " enforce-snoop"
    } else {
        ""
    };
    writeln!(
        f,
        "ioasid:\t{} window {:#x}-{:#x}{} areas {} mapped {} kB pinned {} pages charged {} kB{}",
        ioas.id(),
        window.first(),
        window.last(),
        snoop,
        usage.areas,
        usage.bytes >> 10,
        held.pinned,
        held.charged_kib(),
        // Why nothing is pinned.
        if usage.areas > 0 && !has_domain {
            " no-device"
        } else {
            ""
        },
    )?;
    for UnderWay { area, done } in ongoing.iter() {
        writeln!(
            f,
            "under-way:\tioasid {} {:#x}-{:#x} done {} kB",
            ioas.id(),
            area.first(),
            area.last(),
            done >> 10,
        )?;
    }
    match mapper.as_ref().filter(|_| usage.areas > 0) {
        None => Ok(()),
        Some(mapper) => writeln!(f, "mapper:\tioasid {} process {}", ioas.id(), mapper.tgid()),
    }
}

/// Waits for nobody: what moves the device may have to wait for long.
fn device(idev: &Idev, f: &mut dyn fmt::Write) -> fmt::Result {
    let name = idev.name();
    write!(f, "device:\t{} {} group ", idev.id(), fmt!("{}", name))?;
    match idev.group().iommu_group() {
        Some(group) => write!(f, "{} ", group.id())?,
        // No IOMMU has it.
        None => write!(f, "none ")?,
    }
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
