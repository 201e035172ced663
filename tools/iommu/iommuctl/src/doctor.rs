// SPDX-License-Identifier: GPL-2.0

//! `iommuctl doctor`: what keeps a device from being given to a program, and what to do.

mod device;
mod kernels;
mod machine;
mod migration;
mod user;

use crate::{
    output,
    size,
    system, //
};
use anyhow::{
    bail,
    Context as _,
    Result, //
};
use rustix::process::geteuid;
use serde::Serialize;
use std::{
    env,
    process::{
        Command,
        ExitCode, //
    },
};

/// Arguments of `doctor`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A PCI device that shall be given to a program; may be repeated. Without, those that are
    /// bound to vfio-pci are looked at.
    #[arg(long)]
    device: Vec<String>,
    /// How much memory the virtual machine or the driver's buffers have, such as 4G.
    #[arg(long, value_parser = size::parse)]
    memory: Option<u64>,
    /// Say as well whether a guest can be moved to another machine while it runs.
    #[arg(long)]
    migration: bool,
    /// Who is going to run that program, with the limits of their logins; only root can ask for
    /// another.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
}

/// Runs the same as another user, after whatever a login does to limits.
fn as_user(name: &str, args: &Args, json: bool) -> Result<ExitCode> {
    let is_known = Command::new("id").args(["-u", name]).output()?;
    if name.starts_with('-') || !is_known.status.success() {
        bail!("there is no user {name}");
    }
    if !geteuid().is_root() {
        bail!("only root can ask for another user: run it with sudo, or as {name}");
    }
    let mut command = Command::new("su");
    command.args(["-s", "/bin/sh", "-c", "exec \"$0\" \"$@\"", name, "--"]);
    command.arg(env::current_exe()?);
    command.args(json.then_some("--json")).arg("doctor");
    for device in &args.device {
        command.args(["--device", device]);
    }
    command.args(args.memory.map(|bytes| format!("--memory={bytes}B")));
    command.args(args.migration.then_some("--migration"));
    let status = command.status().context("cannot become another user")?;
    // What a signal ended has said nothing.
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(1)))
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    Note,
    Problem,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    status: Status,
    /// Which check it is of.
    check: &'static str,
    /// What it is about, if not the whole machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    text: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    todo: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, text: impl Into<String>) -> Self {
        Self {
            status: Status::Ok,
            check,
            device: None,
            text: text.into(),
            todo: None,
        }
    }

    fn note(check: &'static str, text: impl Into<String>, todo: impl Into<String>) -> Self {
        Self {
            status: Status::Note,
            todo: Some(todo.into()),
            ..Self::ok(check, text)
        }
    }

    fn problem(check: &'static str, text: impl Into<String>, todo: impl Into<String>) -> Self {
        Self {
            status: Status::Problem,
            ..Self::note(check, text, todo)
        }
    }

    fn about(mut self, device: &str) -> Self {
        self.device = Some(device.to_owned());
        self
    }
}

/// All findings.
#[derive(Serialize)]
struct Report {
    kernel: String,
    problems: usize,
    findings: Vec<Finding>,
}

fn print(report: &Report) -> Result<()> {
    let mut text = format!("linux {}\n", report.kernel);
    for finding in &report.findings {
        let status = match finding.status {
            Status::Ok => "ok",
            Status::Note => "note",
            Status::Problem => "PROBLEM",
        };
        text += &format!("{status:<8} {:<11} {}\n", finding.check, finding.text);
        if let Some(todo) = &finding.todo {
            text += &format!("{:21}To do: {todo}\n", "");
        }
    }
    text += &match report.problems {
        0 => "Nothing is wrong.".to_owned(),
        1 => "1 problem.".to_owned(),
        count => format!("{count} problems."),
    };
    output::text(&text)
}

/// What concerns the machine and its devices, and nobody's name, one line each.
pub(crate) fn of_machine() -> Vec<String> {
    let findings = machine::check().into_iter().chain(device::check(&[]));
    findings
        .filter(|finding| finding.check != "permission")
        .map(|finding| format!("{:?} {}: {}", finding.status, finding.check, finding.text))
        .collect()
}

/// `iommuctl doctor`
pub(crate) fn run(args: &Args, json: bool) -> Result<ExitCode> {
    if let Some(name) = &args.user {
        return as_user(name, args, json);
    }
    let mut findings = Vec::new();
    findings.extend(machine::check());
    findings.extend(user::check(args.memory));
    findings.extend(device::check(&args.device));
    if args.migration {
        findings.extend(migration::check());
    }
    tell(findings, json)
}

/// `iommuctl migrate-check`: what `doctor --migration` adds, of which all has to be well here.
pub(crate) fn migrate_check(json: bool) -> Result<ExitCode> {
    let mut findings = migration::check();
    for finding in &mut findings {
        if finding.status == Status::Note {
            finding.status = Status::Problem;
        }
    }
    tell(findings, json)
}

/// Prints it; the exit status says whether there is a problem.
fn tell(findings: Vec<Finding>, json: bool) -> Result<ExitCode> {
    let problems = findings
        .iter()
        .filter(|finding| finding.status == Status::Problem)
        .count();
    let report = Report {
        kernel: system::kernel_release(),
        problems,
        findings,
    };
    let printed = if json {
        output::json(&report)
    } else {
        print(&report)
    };
    // The verdict is the same, however much of it was read.
    match printed {
        Err(error) if !output::is_broken_pipe(&error) => Err(error),
        _ => Ok(ExitCode::from(u8::from(problems > 0))),
    }
}
