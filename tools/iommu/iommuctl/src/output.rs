// SPDX-License-Identifier: GPL-2.0

//! What goes to standard output: tables, and JSON.

use anyhow::Result;
use comfy_table::{
    presets,
    CellAlignment,
    Table, //
};
use serde::Serialize;
use std::io::{
    self,
    Write, //
};

/// A table without lines, with these columns; those whose title begins with '>' have numbers.
pub(crate) fn table(columns: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(columns.iter().map(|title| title.trim_start_matches('>')));
    for (title, column) in columns.iter().zip(table.column_iter_mut()) {
        column.set_padding((0, 2));
        if title.starts_with('>') {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Prints lines of text, without blanks at their ends.
pub(crate) fn text(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    for line in text.lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// Prints a value as JSON for a person or a program to read.
pub(crate) fn json(value: &impl Serialize) -> Result<()> {
    Ok(writeln!(
        io::stdout().lock(),
        "{}",
        serde_json::to_string_pretty(value)?
    )?)
}

/// Prints a value as one line of JSON.
pub(crate) fn json_line(value: &impl Serialize) -> Result<()> {
    Ok(writeln!(
        io::stdout().lock(),
        "{}",
        serde_json::to_string(value)?
    )?)
}

/// Is it that nobody reads the output any more?
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
