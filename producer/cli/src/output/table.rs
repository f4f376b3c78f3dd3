//! Tables for people.

use super::shown::shown;
use super::text::Text;
use comfy_table::{ContentArrangement, presets};

/// A table of `N` columns without lines. Nothing in it is wrapped, not even in a narrow terminal: identifiers are there to be
/// copied. A row is one line, whatever its cells contain.
#[derive(Debug)]
pub(crate) struct Table<const N: usize>(comfy_table::Table);

impl<const N: usize> Table<N> {
    pub(crate) fn new(header: [&str; N]) -> Self {
        let mut table = comfy_table::Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header(header);
        table.column_iter_mut().for_each(|column| {
            column.set_padding((0, 2));
        });
        Self(table)
    }

    pub(crate) fn row<S: AsRef<str>>(&mut self, cells: [S; N]) {
        self.0.add_row(cells.map(|cell| shown(cell.as_ref()).into_owned()));
    }

    /// What the table says, or this if it has no rows.
    pub(crate) fn or(&self, empty: &str) -> Text {
        if self.0.is_empty() { empty.into() } else { self.text() }
    }

    /// What the table says; nothing without rows.
    pub(crate) fn text(&self) -> Text {
        if self.0.is_empty() { Text::default() } else { self.0.trim_fmt().lines().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_forges_no_row() {
        let mut table = Table::new(["NAME", "STATUS"]);
        assert_eq!(table.or("none").to_string(), "none");
        table.row(["a\nforged  completed", "failed"]);
        table.row(["\u{202e}b\u{1b}[8m", "\u{9b}A"]);
        let said = table.text().to_string();
        assert_eq!(said.lines().count(), 3, "{said}");
        assert!(said.contains("a\\nforged  completed  failed"), "{said}");
        let lines: Vec<_> = said.lines().collect();
        assert_eq!(lines[0].find("STATUS"), lines[1].rfind("failed"), "{said}");
    }
}
