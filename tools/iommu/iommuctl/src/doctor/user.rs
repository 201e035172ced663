// SPDX-License-Identifier: GPL-2.0

//! Whoever asks: what they may open, and how much memory they may lock.

use super::Finding;
use crate::{
    contexts::Contexts,
    parse::Space,
    size,
    system, //
};
use rustix::{
    fs::Access,
    process::{
        getrlimit,
        getuid,
        Resource, //
    },
};
use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::Path, //
};

const NODE: &str = "/dev/iommu";

/// Lets a process lock as much as it likes.
const CAP_IPC_LOCK: u32 = 14;

fn user() -> String {
    system::user_name(&getuid().as_raw().to_string())
}

fn group_name(gid: u32) -> String {
    system::text("/etc/group")
        .lines()
        .find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)? == gid.to_string()).then(|| name.to_owned())
        })
        .unwrap_or_else(|| gid.to_string())
}

/// May the user open a node for reading and writing? If not, why.
pub(super) fn permission(check: &'static str, node: &str) -> Finding {
    if rustix::fs::access(node, Access::READ_OK | Access::WRITE_OK).is_ok() {
        return Finding::ok(check, format!("{} may open {node}.", user()));
    }
    let (group, mode) = fs::metadata(node).map_or((0, 0), |metadata| {
        (metadata.gid(), metadata.mode() & 0o7777)
    });
    let name = group_name(group);
    let text = format!(
        "{} may not open {node} (group {name}, mode {mode:04o}).",
        user()
    );
    let todo = if group == 0 {
        format!(
            "install the package's udev rule, which gives it to the group iommu; until then, as \
             root: chgrp iommu {node}; chmod 660 {node}"
        )
    } else {
        format!("as root: adduser {} {name}; then log in again", user())
    };
    Finding::problem(check, text, todo)
}

fn is_exempt() -> bool {
    system::text("/proc/self/status")
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|caps| u64::from_str_radix(caps.trim(), 16).ok())
        .is_some_and(|caps| caps & (1 << CAP_IPC_LOCK) != 0)
}

/// What one's own processes have locked through /dev/iommu already, and what they are going to
/// when devices come to what is mapped.
fn charged() -> (u64, u64) {
    let me = user();
    let contexts = Contexts::read().map_or_else(|_| Vec::new(), |found| found.contexts);
    let mine = contexts.iter().filter(|context| context.user.user == me);
    mine.fold((0, 0), |(charged, waiting), context| {
        (
            charged + context.objects.held.charged_bytes,
            waiting + context.total(Space::waiting_bytes),
        )
    })
}

fn memlock(wanted: Option<u64>) -> Finding {
    let human = |bytes: u64| size::human(bytes.into());
    if is_exempt() {
        return Finding::ok(
            "memlock",
            format!("{} may lock any amount of memory (CAP_IPC_LOCK).", user()),
        );
    }
    let Some(limit) = getrlimit(Resource::Memlock).current else {
        return Finding::ok("memlock", "The limit of locked memory is unlimited.");
    };
    let (charged, waiting) = charged();
    let taken = charged.saturating_add(waiting);
    let left = limit.saturating_sub(taken);
    let text = format!(
        "{} may map {} more ({} of locked memory, of which {} is in use by /dev/iommu{}).",
        user(),
        human(left),
        human(limit),
        human(charged),
        match waiting {
            0 => String::new(),
            // What root has mapped will not count, and is not told apart.
            _ => format!(", and up to {} will be when a device comes", human(waiting)),
        }
    );
    match wanted {
        Some(wanted) if wanted > left => Finding::problem(
            "memlock",
            format!("{text} That is too little for {}.", human(wanted)),
            format!(
                "allow at least {} KiB, or unlimited: 'ulimit -l' in the shell that starts it, \
                 'memlock' in /etc/security/limits.d, or LimitMEMLOCK= in the systemd unit",
                (taken.saturating_add(wanted)).div_ceil(1024)
            ),
        ),
        Some(wanted) => Finding::ok(
            "memlock",
            format!("{text} That is enough for {}.", human(wanted)),
        ),
        None => Finding::note(
            "memlock",
            text,
            "say --memory SIZE to learn whether that is enough",
        ),
    }
}

/// What concerns the user.
pub(super) fn check(memory: Option<u64>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if Path::new(NODE).exists() {
        findings.push(permission("permission", NODE));
    }
    findings.push(memlock(memory));
    findings
}
