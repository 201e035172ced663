// SPDX-License-Identifier: GPL-2.0

//! What `/proc/<pid>/fdinfo/<fd>` shows of a context: a line for each object.

use crate::{
    context::{
        Context,
        Object, //
    },
    group::Group,
    ioas::Ioas,
};
use kernel::{
    seq_file::SeqFile,
    seq_print, //
};

/// Shows all objects of a context, in the order of their ids.
pub(crate) fn show(ctx: &Context, m: &SeqFile) {
    for id in 1..ctx.id_limit() {
        match ctx.get(id) {
            Some(Object::Ioas(ioas)) => show_ioas(id, &ioas, m),
            Some(Object::Device(group)) => show_device(id, &group, m),
            None => {}
        }
    }
}

fn show_ioas(id: u32, ioas: &Ioas, m: &SeqFile) {
    let window = ioas.window();
    let usage = ioas.usage();
    seq_print!(
        m,
        "ioasid:\t{} window {:#x}-{:#x} areas {} mapped {} kB charged {} kB{}\n",
        id,
        window.first(),
        window.last(),
        usage.areas,
        usage.bytes >> 10,
        usage.charged >> 10,
        if ioas.enforces_snoop() {
            " enforce-snoop"
        } else {
            ""
        },
    );
}

fn show_device(id: u32, group: &Group, m: &SeqFile) {
    // A device that is being unbound at this moment is not shown.
    let _ = group.with_device(id, |dev, seat| {
        seq_print!(m, "device:\t{} {} group {}", id, dev.name(), group.iommu_group().id());
        match seat {
            Some(seat) => seq_print!(m, " ioasid {}\n", seat.ioas().id()),
            None => seq_print!(m, " detached\n"),
        }
        Ok(())
    });
}
