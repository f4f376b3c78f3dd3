//! The TOML file, with the place of every value. What is wrong with it is told by place and reason, never by what stands
//! there: it may be a secret.

use super::ConfigError;
use config::{ConfigError as Cause, Map, Source, Value, ValueKind};
use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use toml::de::{DeTable, DeValue};

/// What a file says. Each value's origin is its place: the file, the line and the column, both counted from 1.
#[derive(Clone)]
pub(super) struct TomlFile {
    values: Map<String, Value>,
}

impl TomlFile {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ConfigError::Unreadable`] when there is no such file, or it is not TOML.
    pub(super) fn read(path: &Path) -> Result<Self, ConfigError> {
        let unreadable = |reason| ConfigError::Unreadable { reason };
        let text = std::fs::read_to_string(path)
            .map_err(|error| unreadable(format!("{}: {error}", path.display())))?;
        let text = Placed { path, text: &text };
        match DeTable::parse(text.text) {
            Ok(table) => Ok(Self { values: text.table(table.into_inner()).map_err(unreadable)? }),
            // Its own words about the error show the line.
            Err(error) => {
                let at = error.span().map_or(text.text.len(), |span| span.start);
                Err(unreadable(format!("{}: {}", text.place(at), error.message())))
            }
        }
    }

    /// The place of each table, by its key, such as `pages.retry`: tables lose their origin when sources are merged.
    pub(super) fn tables(&self) -> HashMap<String, String> {
        let mut places = HashMap::new();
        note_tables("", &self.values, &mut places);
        places
    }
}

fn note_tables(above: &str, values: &Map<String, Value>, places: &mut HashMap<String, String>) {
    for (name, value) in values {
        if let (ValueKind::Table(inner), Some(place)) = (&value.kind, value.origin()) {
            let key = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
            places.insert(key.clone(), place.to_owned());
            note_tables(&key, inner, places);
        }
    }
}

impl Source for TomlFile {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, Cause> {
        Ok(self.values.clone())
    }
}

// The values may hold credentials.
impl fmt::Debug for TomlFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TomlFile").finish_non_exhaustive()
    }
}

/// A text whose places can be told.
struct Placed<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Placed<'_> {
    /// `backhaul.toml, line 3, column 7`, of a byte of the text.
    fn place(&self, at: usize) -> String {
        let before = self.text.get(..self.text.floor_char_boundary(at)).unwrap_or_default();
        let (line, last) = before.split('\n').fold((0, ""), |(lines, _), line| (lines + 1, line));
        format!("{}, line {line}, column {}", self.path.display(), last.chars().count() + 1)
    }

    fn table(&self, table: DeTable<'_>) -> Result<Map<String, Value>, String> {
        let mut values = Map::new();
        for (key, value) in table {
            let place = self.place(value.span().start);
            values.insert(key.into_inner().into_owned(), self.value(&place, value.into_inner())?);
        }
        Ok(values)
    }

    fn value(&self, place: &String, value: DeValue<'_>) -> Result<Value, String> {
        let at = Some(place);
        Ok(match value {
            DeValue::String(text) => Value::new(at, text.into_owned()),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Value::new(at, number),
                Err(_too_large) => return Err(format!("{place}: the number does not fit into 64 bits")),
            },
            DeValue::Float(number) => match number.as_str().parse::<f64>() {
                Ok(number) if number.is_finite() => Value::new(at, number),
                Ok(_) | Err(_) => return Err(format!("{place}: no setting takes this number")),
            },
            DeValue::Boolean(flag) => Value::new(at, flag),
            DeValue::Datetime(time) => Value::new(at, time.to_string()),
            DeValue::Table(table) => Value::new(at, self.table(table)?),
            DeValue::Array(items) => {
                let items = items.into_iter().map(|item| {
                    let place = self.place(item.span().start);
                    self.value(&place, item.into_inner())
                });
                Value::new(at, items.collect::<Result<Vec<_>, _>>()?)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_from_one_and_in_characters() {
        let text = Placed { path: Path::new("a.toml"), text: "é = 1\nb = \"ü\" x" };
        for (at, place) in [(0, "1, column 1"), (2, "1, column 2"), (7, "2, column 1"), (16, "2, column 9")] {
            assert_eq!(text.place(at), format!("a.toml, line {place}"));
        }
        assert_eq!(text.place(99), "a.toml, line 2, column 10");
    }
}
