// SPDX-License-Identifier: GPL-2.0

//! iommuctl: who maps what through /dev/iommu, and what keeps it from working.
//!
//! All that it knows comes from files: [`contexts`] reads what the driver shows, [`system`] what
//! sysfs and procfs show of everything else. The commands work on what these two found.

#![forbid(unsafe_code)]

mod bind;
mod completion;
mod contexts;
mod devices;
mod doctor;
mod faults;
mod in_use;
mod list;
mod map;
mod names;
mod output;
mod parse;
mod persist;
mod picture;
mod report;
mod size;
mod system;
mod top;
mod trace;
mod why;

use anyhow::Result;
use clap::{
    CommandFactory,
    Parser,
    Subcommand, //
};
use std::{
    env,
    process::ExitCode, //
};

/// Look at /dev/iommu: who maps what, and what keeps it from working.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    /// Print JSON instead of text; schema.json describes it.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Say what is wrong, and what to do about it; exit status 1 if something is.
    Doctor(doctor::Args),
    /// Say whether a guest with devices can be moved to another machine while it runs; exit status
    /// 1 if not.
    MigrateCheck,
    /// List the PCI devices by group: what they are, and what keeps each from being given away.
    Devices,
    /// List all contexts: who opened /dev/iommu, with how much mapped.
    List,
    /// Show contexts in full: their address spaces, devices and mappings.
    Show(list::ShowArgs),
    /// Draw an address space: what is mapped, free and reserved.
    Map(map::Args),
    /// Explain a DMA fault of the kernel log: which device, which space, what is mapped there.
    Why(why::Args),
    /// List all contexts again and again, with what changed.
    Watch(list::Pace),
    /// Show again and again who maps and unmaps how much, how fast, and how long it takes.
    Top(list::Pace),
    /// Give PCI devices to vfio-pci.
    Bind(bind::Args),
    /// Take PCI devices from vfio-pci, and give them back to their own drivers.
    Unbind(bind::Args),
    /// Collect what a bug report needs: versions, IOMMUs, groups, contexts; nobody's names.
    Report,
    /// Print the completion script of a shell.
    Completion(completion::Args),
}

fn run(cli: &Cli) -> Result<ExitCode> {
    let json = cli.json;
    match &cli.command {
        Command::Doctor(args) => return doctor::run(args, json),
        Command::MigrateCheck => return doctor::migrate_check(json),
        Command::Devices => devices::run(json)?,
        Command::List => list::list(json)?,
        Command::Show(args) => list::show(args, json)?,
        Command::Map(args) => map::run(args, json)?,
        Command::Why(args) => why::run(args, json)?,
        Command::Watch(args) => list::watch(args, json)?,
        Command::Top(args) => top::run(args, json)?,
        Command::Bind(args) => bind::bind(args, json)?,
        Command::Unbind(args) => bind::unbind(args, json)?,
        Command::Report => report::run(json)?,
        Command::Completion(args) => completion::run(args, Cli::command())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Says what went wrong, to those who asked for JSON as JSON.
fn fail(json: bool, text: &str, status: u8) -> ExitCode {
    if json {
        // There is nobody left to tell.
        let _ = output::json_line(&serde_json::json!({ "error": text }));
    } else {
        eprintln!("iommuctl: {text}");
    }
    ExitCode::from(status)
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Err(error) if error.use_stderr() && env::args_os().any(|arg| arg == "--json") => {
            let text = error.to_string();
            let sentence = text.trim_start_matches("error: ").lines().next();
            return fail(true, sentence.unwrap_or_default(), 2);
        }
        Err(error) => error.exit(),
        Ok(cli) => cli,
    };
    match run(&cli) {
        Ok(code) => code,
        // Whoever reads the output may have seen enough.
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => fail(cli.json, &format!("{error:#}"), 1),
    }
}
