// SPDX-License-Identifier: GPL-2.0

//! The contexts there are: all of them from debugfs for root, else those of one's own processes
//! from their fdinfo.

use crate::{
    parse::{
        self,
        Objects,
        Space,
        UnderWay, //
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
    mem,
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
    /// Who uses it: whose memory is mapped, or else who has it open, its owner first.
    pub(crate) user: Process,
    /// Who has it open now, as far as one may look: files are handed on.
    pub(crate) open_in: Vec<Process>,
    #[serde(flatten)]
    pub(crate) objects: Objects,
}

impl Context {
    /// A sum over all address spaces.
    pub(crate) fn total(&self, of: impl Fn(&Space) -> u64) -> u64 {
        self.objects.spaces.iter().map(of).sum()
    }

    /// How far the maps of much memory are that are under way, and what of all that is mapped
    /// waits for a device, in words.
    pub(crate) fn notes(&self) -> Vec<String> {
        let spaces = || self.objects.spaces.iter();
        let waits = spaces().any(|space| space.no_device);
        let waits = waits.then(|| parse::not_pinned(self.total(Space::waiting_bytes)));
        let under_way = spaces().flat_map(|space| &space.under_way);
        under_way.map(UnderWay::note).chain(waits).collect()
    }

    /// Whose memory is mapped, each once.
    pub(crate) fn mappers(&self) -> Vec<Process> {
        let spaces = self.objects.spaces.iter();
        let mut pids: Vec<_> = spaces.filter_map(|space| space.mapper).collect();
        pids.sort();
        pids.dedup();
        pids.into_iter().map(Process::new).collect()
    }

    fn with_user(mut self) -> Self {
        let mapper = self.mappers().into_iter().next();
        let has_owner = self.open_in.contains(&self.owner);
        let other = self.open_in.first().filter(|_| !has_owner);
        self.user = mapper
            .or_else(|| other.cloned())
            .unwrap_or_else(|| self.owner.clone());
        self
    }

    /// Has this process opened it, or does it have or use it now?
    fn is_of(&self, pid: u32) -> bool {
        let known = [&self.owner, &self.user];
        let mut processes = known.into_iter().chain(&self.open_in);
        processes.any(|process| process.pid == pid)
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

/// All of them, from debugfs' text.
pub(crate) fn from_debugfs(text: &str) -> Contexts {
    let mut open = from_fdinfo().contexts;
    let contexts = parse::contexts(text, page_size())
        .into_iter()
        .map(|listed| {
            let name = listed.number.to_string();
            let users = open.iter_mut().find(|context| context.context == name);
            let owner = Process::new(listed.owner);
            Context {
                open_in: users.map_or_else(Vec::new, |context| mem::take(&mut context.open_in)),
                context: name,
                user: owner.clone(),
                owner,
                objects: listed.objects,
            }
            .with_user()
        });
    Contexts {
        source: "debugfs",
        contexts: contexts.collect(),
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
        let user = Process::new(pid);
        // Several files, also of several processes, may be one open.
        match contexts.iter_mut().find(|context| context.context == name) {
            Some(context) if context.is_of(pid) => {}
            Some(context) => context.open_in.push(user),
            None => contexts.push(Context {
                context: name,
                owner: user.clone(),
                user: user.clone(),
                open_in: vec![user],
                objects,
            }),
        }
    }
    Contexts {
        source: "fdinfo",
        contexts: contexts.into_iter().map(Context::with_user).collect(),
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

    /// Keeps the one of that name; if there is none, those of the process with that number.
    ///
    /// # Errors
    ///
    /// There is none either.
    pub(crate) fn keep(&mut self, name: &str) -> Result<()> {
        let pid = name.parse();
        let is_named = self.contexts.iter().any(|context| context.context == name);
        self.contexts.retain(|context| match &pid {
            Ok(pid) if !is_named => context.is_of(*pid),
            _ => context.context == name,
        });
        if self.contexts.is_empty() {
            bail!("there is no context {name}, and no process of that number has one: see 'iommuctl list'");
        }
        Ok(())
    }

    /// The names of those that a process uses.
    pub(crate) fn of(&self, pid: u32) -> Vec<String> {
        let its = self.contexts.iter().filter(|context| context.is_of(pid));
        its.map(|context| context.context.clone()).collect()
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
