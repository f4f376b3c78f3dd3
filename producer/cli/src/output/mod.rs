//! The one place that writes to the terminal: results on stdout, everything beside them on stderr.
//!
//! What is shown comes from everywhere: names that tenants chose, answers of upstreams, messages of strangers. So nothing is
//! written but a [`Text`], a [`Table`], [`Bars`] or JSON, and each of them escapes what a terminal would obey.

mod bars;
mod shown;
mod table;
mod text;

pub(crate) use bars::{Bar, Bars};
pub(crate) use shown::json_text;
pub(crate) use table::Table;
pub(crate) use text::Text;

use crate::failure::Failure;
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

    /// Lines for people. A string is one line, whatever it contains.
    pub(crate) fn line(self, text: impl Into<Text>) -> Result<(), Failure> {
        write(&text.into().to_string())
    }

    /// One JSON document, on one line.
    pub(crate) fn json(self, value: &impl Serialize) -> Result<(), Failure> {
        write(&json_text(value)?)
    }

    /// One JSON document, on many lines.
    pub(crate) fn json_for_people(self, value: &impl Serialize) -> Result<(), Failure> {
        write(&shown::json_lines(value)?)
    }

    /// JSON for scripts, or what `text` makes of it for people.
    pub(crate) fn either<T: Into<Text>>(
        self,
        json: &impl Serialize,
        text: impl FnOnce() -> T,
    ) -> Result<(), Failure> {
        if self.json { self.json(json) } else { self.line(text()) }
    }

    /// Says on stderr what went wrong.
    pub(crate) fn complain(self, failure: &Failure) {
        if !failure.is_silent() {
            self.note(failure.text().begun_with("error: "));
        }
    }

    /// Something beside the result, on stderr.
    pub(crate) fn note(self, text: impl Into<Text>) {
        // With stderr closed there is nobody left to tell.
        drop(writeln!(io::stderr().lock(), "{}", text.into()));
    }
}

fn write(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")?;
    Ok(stdout.flush()?)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { sources(&path, found) } else { found.push(path) }
        }
    }

    /// Whoever writes past this module writes what strangers say as it is.
    #[test]
    fn nothing_is_written_past_this_module() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut found = Vec::new();
        sources(&here, &mut found);
        let others: Vec<_> = found.iter().filter(|path| !path.starts_with(here.join("output"))).collect();
        assert!(others.len() > 20, "{others:?}");
        for path in others {
            let text = fs::read_to_string(path).unwrap();
            for way in ["::stdout()", "::stderr()", "print!", "println!", "comfy_table", "indicatif"] {
                assert!(!text.contains(way), "{}: {way}", path.display());
            }
        }
    }
}
