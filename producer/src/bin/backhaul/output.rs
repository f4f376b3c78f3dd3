//! The one place that writes to stdout, and complains on stderr.

use crate::failure::Failure;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use std::io::{self, IsTerminal, Write};

/// Where results go, and in which form.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether a script reads.
    pub(crate) const fn is_json(self) -> bool {
        self.json
    }

    /// Whether a person looks at a terminal.
    pub(crate) fn is_terminal(self) -> bool {
        !self.json && io::stdout().is_terminal()
    }

    /// A line for people.
    pub(crate) fn line(self, text: impl AsRef<str>) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{}", text.as_ref())?;
        Ok(stdout.flush()?)
    }

    /// One JSON document, on one line.
    pub(crate) fn json(self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value).map_err(io::Error::from)?;
        self.line(text)
    }

    /// JSON for scripts, or what `text` makes of it for people.
    pub(crate) fn either(self, json: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), Failure> {
        if self.json { self.json(json) } else { self.line(text()) }
    }

    /// Says on stderr what went wrong.
    pub(crate) fn complain(self, failure: &Failure) {
        if !failure.is_silent() {
            self.note(&format!("error: {failure}"));
        }
    }

    /// Something beside the result, on stderr.
    pub(crate) fn note(self, text: &str) {
        // With stderr closed there is nobody left to tell.
        drop(writeln!(io::stderr().lock(), "{text}"));
    }
}

/// A table without lines. Nothing in it is wrapped, not even in a narrow terminal: identifiers are there to be copied.
pub(crate) fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header);
    table.column_iter_mut().for_each(|column| {
        column.set_padding((0, 2));
    });
    table
}

/// What a table says, or this if it has no rows.
pub(crate) fn table_or(table: &Table, empty: &str) -> String {
    if table.is_empty() { empty.to_owned() } else { table.trim_fmt() }
}
