// SPDX-License-Identifier: GPL-2.0

//! The installed kernels: which of them have no modules of the package iommufd-dkms, and why.

use super::Finding;
use crate::system;
use std::{
    path::{
        Path,
        PathBuf, //
    },
    process::Command,
};

const MODULES: &str = "/lib/modules";

/// What the package decides by, if it is installed.
fn judge() -> Option<PathBuf> {
    let folders = system::entries("/usr/src").into_iter();
    folders
        .filter(|name| name.starts_with("iommufd-"))
        .map(|name| {
            Path::new("/usr/src")
                .join(name)
                .join("tools/deb/dkms/check")
        })
        .find(|path| path.exists())
}

/// What is in the way of building for a kernel, and what to do about it, as the package says it:
/// `iommufd: not built for linux RELEASE: REASON; WHAT TO DO`.
fn refusal(said: &str) -> (&str, &str) {
    let reason = said.trim_end().splitn(3, ": ").last().unwrap_or(said);
    reason.split_once("; ").unwrap_or((reason, "nothing"))
}

/// The numbers in a kernel's name, by which they are older and newer.
fn numbers(release: &str) -> Vec<u64> {
    release
        .split(|letter: char| !letter.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect()
}

fn has_modules(release: &str) -> bool {
    system::entries(format!("{MODULES}/{release}/updates/dkms"))
        .iter()
        .any(|name| name.starts_with("iommufd.ko"))
}

/// The newest kernel stands for the next one: where its modules could not be built again, those
/// of the next are not going to be.
fn kernel(judge: &Path, release: &str, is_newest: bool) -> Option<Finding> {
    let has_modules = has_modules(release);
    if has_modules && !is_newest {
        return None;
    }
    let judged = Command::new(judge).arg(release).output().ok()?;
    let said = String::from_utf8_lossy(&judged.stdout);
    let (reason, todo) = refusal(&said);
    let text = match (has_modules, judged.status.success()) {
        (true, true) => return None,
        (false, true) => {
            let text = format!("linux {release} has no modules, but can have them.");
            return Some(Finding::note(
                "kernels",
                text,
                "dpkg-reconfigure iommufd-dkms",
            ));
        }
        (true, false) => format!(
            "The next kernel will have no modules, if it is like linux {release}: {reason}."
        ),
        (false, false) => format!("linux {release} has no modules: {reason}."),
    };
    Some(Finding::note("kernels", text, todo))
}

/// Looks at all of them; says nothing without the package.
pub(super) fn check() -> Vec<Finding> {
    let Some(judge) = judge() else {
        return Vec::new();
    };
    let has = |release: &str, name| Path::new(MODULES).join(release).join(name).exists();
    let mut releases = system::entries(MODULES);
    releases.retain(|release| has(release, "kernel") || has(release, "build"));
    releases.sort_by_key(|release| numbers(release));
    let newest = releases.last().cloned();
    releases
        .iter()
        .filter_map(|release| kernel(&judge, release, newest.as_ref() == Some(release)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_package_says() {
        for (said, reason, todo) in [
            (
                "iommufd: not built for linux 7.3.4: its headers are missing; apt install them\n",
                "its headers are missing",
                "apt install them",
            ),
            (
                "iommufd: not built for linux 7.3.4: it: has one\n",
                "it: has one",
                "nothing",
            ),
        ] {
            assert_eq!(refusal(said), (reason, todo));
        }
    }

    #[test]
    fn older_and_newer() {
        let mut releases = [
            "7.10.1+deb13-amd64",
            "7.3.12+deb13-amd64",
            "7.3.4+deb13-amd64",
        ];
        releases.sort_by_key(|release| numbers(release));
        assert_eq!(
            releases,
            [
                "7.3.4+deb13-amd64",
                "7.3.12+deb13-amd64",
                "7.10.1+deb13-amd64"
            ]
        );
    }
}
