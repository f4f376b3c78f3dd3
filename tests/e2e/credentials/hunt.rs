//! Looks for secrets in everything that a run leaves behind.

use anyhow::Result;
use sqlx::AssertSqlSafe;
use std::collections::BTreeSet;
use std::path::Path;
use testkit::database::Database;

/// A secret, and what gives it away in any writing. It has letters and digits only in its core, which no JSON, HTML or
/// URL writer changes; so beside those letters only base64 (at three alignments), hexadecimal and small letters are
/// other forms.
#[derive(Clone, Debug)]
pub(crate) struct Needle {
    forms: Vec<String>,
}

impl Needle {
    pub(crate) fn new(core: &str) -> Self {
        assert!(core.len() > 12 && core.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        let hex: String = core.bytes().map(|byte| format!("{byte:02x}")).collect();
        // Names of hosts and headers have small letters only.
        let mut forms = vec![core.to_owned(), core.to_ascii_lowercase(), hex.to_uppercase(), hex];
        // Three bytes are four characters, whatever stands before them: drop what the neighbours decide.
        forms.extend((0..3).map(|skip| base64(&core.as_bytes()[skip..skip + (core.len() - skip) / 3 * 3])));
        Self { forms }
    }

    /// Where in the text it is, with what is around it.
    pub(crate) fn found_in(&self, text: &str) -> Option<String> {
        let at = self.forms.iter().find_map(|form| text.find(form.as_str()))?;
        Some(text.chars().skip(text[..at].chars().count().saturating_sub(80)).take(240).collect())
    }
}

/// Everything that was looked through, and what was found.
#[derive(Debug, Default)]
pub(crate) struct Hunt {
    needles: Vec<Needle>,
    looked_through: usize,
    found: Vec<String>,
    /// Whether the database is one of a test's own.
    is_small: bool,
}

impl Hunt {
    pub(crate) fn for_needles(needles: &[&str]) -> Self {
        Self { needles: needles.iter().map(|core| Needle::new(core)).collect(), ..Self::default() }
    }

    /// For a database that has no more than a table of the test's own.
    pub(crate) fn in_small(needles: &[&str]) -> Self {
        Self { is_small: true, ..Self::for_needles(needles) }
    }

    pub(crate) fn text(&mut self, place: &str, text: &str) {
        self.looked_through += text.len();
        for needle in &self.needles {
            if let Some(around) = needle.found_in(text) {
                self.found.push(format!("{place}: …{around}…"));
            }
        }
    }

    pub(crate) fn file(&mut self, path: &Path) -> Result<()> {
        self.text(&path.display().to_string(), &String::from_utf8_lossy(&std::fs::read(path)?));
        Ok(())
    }

    /// Every column of every row of every table, as text; of bytes, what is readable of them.
    pub(crate) async fn database(&mut self, database: &Database) -> Result<()> {
        let columns: Vec<(String, String, String)> = sqlx::query_as(
            "select quote_ident(c.table_schema) || '.' || quote_ident(c.table_name), quote_ident(c.column_name), c.data_type
               from information_schema.columns c join information_schema.tables t using (table_schema, table_name)
              where t.table_type = 'BASE TABLE' and c.table_schema not in ('pg_catalog', 'information_schema')",
        )
        .fetch_all(&database.pool)
        .await?;
        let tables: BTreeSet<&str> = columns.iter().map(|(table, ..)| table.as_str()).collect();
        assert!(columns.len() > tables.len() && (self.is_small || tables.len() > 12), "{tables:?}");
        for (table, column, data_type) in &columns {
            let text = match data_type.as_str() {
                "bytea" => format!("encode({column}, 'escape') || encode({column}, 'hex')"),
                _ => format!("{column}::text"),
            };
            let query = format!("select coalesce({text}, '') from {table}");
            for text in
                sqlx::query_scalar::<_, String>(AssertSqlSafe(query)).fetch_all(&database.pool).await?
            {
                self.text(&format!("{table}.{column}"), &text);
            }
        }
        Ok(())
    }

    /// What was found, and how many bytes were looked through.
    pub(crate) fn end(self) -> (Vec<String>, usize) {
        (self.found, self.looked_through)
    }
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut group = [0; 3];
        group[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit) & 63) as usize;
            text.push(if digit <= chunk.len() { char::from(DIGITS[index]) } else { '=' });
        }
    }
    text
}
