// SPDX-License-Identifier: GPL-2.0

//! The contexts there are: all of them from debugfs for root, else those of one's own processes
//! from their fdinfo.

use crate::{
    parse::{
        self,
        Objects,
        Space, //
    },
    system::{
        self,
        Process, //
    },
};
use anyhow::{
    bail,
    Context as _,
    Result, //
};
use rustix::process::geteuid;
use serde::Serialize;
use std::{
    fs,
    path::Path, //
};

const DEBUGFS: &str = "/sys/kernel/debug/iommufd/contexts";
const NODE: &str = "/dev/iommu";

/// Why mappings are not shown one by one.
pub(crate) const NO_AREAS: &str =
    "only root can see what is mapped where, and only with debugfs at /sys/kernel/debug";

/// One open of /dev/iommu.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Context {
    /// Its name in all commands: the driver's number for it, or `pid/fd` if there is none.
    pub(crate) context: String,
    /// Who opened it; one who has it open, if that is all that can be seen.
    pub(crate) owner: Process,
    #[serde(flatten)]
    pub(crate) objects: Objects,
}

impl Context {
    /// A sum over all address spaces.
    pub(crate) fn total(&self, of: impl Fn(&Space) -> u64) -> u64 {
        self.objects.spaces.iter().map(of).sum()
    }

    /// The devices attached to an address space.
    pub(crate) fn attached(&self, ioasid: u32) -> impl Iterator<Item = &parse::Device> {
        let devices = self.objects.devices.iter();
        devices.filter(move |device| device.ioasid == Some(ioasid))
    }
}

/// All that can be seen, and where it was seen.
#[derive(Serialize)]
pub(crate) struct Contexts {
    /// `debugfs`: all of the machine; `fdinfo`: those of processes that one may look into.
    pub(crate) source: &'static str,
    pub(crate) contexts: Vec<Context>,
}

fn page_size() -> u64 {
    u64::try_from(rustix::param::page_size()).unwrap_or(4096)
}

fn from_debugfs(text: &str) -> Contexts {
    let listed = parse::contexts(text, page_size());
    Contexts {
        source: "debugfs",
        contexts: listed
            .into_iter()
            .map(|listed| Context {
                context: listed.number.to_string(),
                owner: Process::new(listed.owner),
                objects: listed.objects,
            })
            .collect(),
    }
}

fn from_fdinfo() -> Contexts {
    let mut contexts: Vec<Context> = Vec::new();
    for (pid, fd, _) in system::open_files().filter(|(_, _, path)| path == NODE) {
        let Ok(text) = fs::read_to_string(fd.replace("/fd/", "/fdinfo/")) else {
            continue;
        };
        let (number, objects) = parse::fdinfo(&text, page_size());
        let fd = fd.rsplit('/').next().unwrap_or_default();
        let name = number.map_or_else(|| format!("{pid}/{fd}"), |number| number.to_string());
        // Several files, also of several processes, may be one open.
        if contexts.iter().all(|context| context.context != name) {
            contexts.push(Context {
                context: name,
                owner: Process::new(pid),
                objects,
            });
        }
    }
    Contexts {
        source: "fdinfo",
        contexts,
    }
}

impl Contexts {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// There is no driver to ask.
    pub(crate) fn read() -> Result<Self> {
        if let Ok(text) = fs::read_to_string(DEBUGFS) {
            return Ok(from_debugfs(&text));
        }
        if !system::is_loaded("iommufd") && !Path::new(NODE).exists() {
            bail!("there is no {NODE}: 'iommuctl doctor' says why");
        }
        Ok(from_fdinfo())
    }

    /// The one of that name; the only one if no name is given.
    ///
    /// # Errors
    ///
    /// There is none, or there are several.
    pub(crate) fn pick(&self, name: Option<&str>) -> Result<&Context> {
        match (name, self.contexts.as_slice()) {
            (Some(name), contexts) => contexts
                .iter()
                .find(|context| context.context == name)
                .with_context(|| format!("there is no context {name}: see 'iommuctl list'")),
            (None, [only]) => Ok(only),
            (None, []) => bail!("nothing has {NODE} open{}", self.hint()),
            (None, _) => bail!("there are several contexts: name one, see 'iommuctl list'"),
        }
    }

    /// What may be missing.
    pub(crate) fn hint(&self) -> &'static str {
        match self.source {
            "debugfs" => "",
            _ if !geteuid().is_root() => " (of what you may look into; root sees all)",
            _ if system::is_loaded("iommufd") => {
                " (as far as /proc shows; for all, mount -t debugfs debugfs /sys/kernel/debug)"
            }
            _ => "",
        }
    }
}
