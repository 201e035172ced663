// SPDX-License-Identifier: GPL-2.0

//! Changes Rust files in as many ways as there are, one of which is in force at a time.
//!
//! Each place in which something could be wrong comes to ask which change is in force, and does
//! what it did if it is none of its own. So all of them are compiled at once, and each costs no
//! more than a run.

mod operators;
mod places;
mod text;

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::ExitCode, //
};

const USAGE: &str = "usage: iommufd-mutator [--only NUMBER,...] FOLDER FILE...

Changes each FILE, a path below FOLDER, in place: in all ways, or only in those that have one of
these numbers. Every way is written to the standard output, a line each: its number, the file, the
line, the function, what becomes of what, and the line's text, with tabs between.";

/// Changes a file in those ways that are wanted, if not in all, and says how many there are;
/// `first` is the number of the first.
fn change(
    folder: &Path,
    name: &str,
    first: usize,
    wanted: Option<&BTreeSet<usize>>,
) -> Result<usize, String> {
    let path = folder.join(name);
    let source = fs::read_to_string(&path).map_err(|e| format!("{name}: {e}"))?;
    let (changed, mutants) =
        places::change(&source, first, wanted).map_err(|e| format!("{name}: {e}"))?;
    if changed != source {
        fs::write(&path, changed).map_err(|e| format!("{name}: {e}"))?;
    }
    for mutant in &mutants {
        let text = source.lines().nth(mutant.line - 1).unwrap_or_default();
        println!(
            "{}\t{name}\t{}\t{}\t{}\t{}",
            mutant.number,
            mutant.line,
            mutant.function,
            mutant.what,
            text.trim()
        );
    }
    Ok(mutants.len())
}

fn change_all(
    folder: &str,
    files: &[String],
    wanted: Option<&BTreeSet<usize>>,
) -> Result<(), String> {
    let mut number = 1;
    for file in files {
        number += change(Path::new(folder), file, number, wanted)?;
    }
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (wanted, rest) = match &arguments[..] {
        [only, numbers, rest @ ..] if only == "--only" => {
            let numbers = numbers.split(',').filter_map(|one| one.parse().ok());
            (Some(numbers.collect()), rest)
        }
        rest => (None, rest),
    };
    let [folder, files @ ..] = rest else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match change_all(folder, files, wanted.as_ref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}
