//! Names that nobody here knows, and what was most likely meant by them. A misspelt `date_from` would otherwise pull
//! everything without a word.

use std::fmt;

/// Names this near to a known one, in letters added, left out or changed, are taken for it.
const NEAR: usize = 2;
/// So many characters of a name are repeated, and compared with others.
const LONGEST: usize = 64;
/// What people call the ends of a span elsewhere.
const ENDS: [(&str, &str); 4] =
    [("from", "date_from"), ("since", "date_from"), ("to", "date_to"), ("until", "date_to")];
/// Words that say no more about such an end.
const OF_TIMES: [&str; 3] = ["date", "time", "datetime"];

/// A name that is not known, and the nearest that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownName {
    /// As it was given; a long one is cut.
    pub name: String,
    /// What was most likely meant. None where no name at all is known.
    pub nearest: Option<&'static str>,
    /// Whether it is so near that nothing else can have been meant.
    pub is_near: bool,
    known: &'static [&'static str],
}

impl UnknownName {
    /// None for a name that is known.
    #[must_use]
    pub fn of(given: &str, known: &'static [&'static str]) -> Option<Self> {
        if known.contains(&given) {
            return None;
        }
        let name: String = given.chars().take(LONGEST).collect();
        let folded = name.to_lowercase();
        let far = |known: &&&'static str| strsim::levenshtein(&folded, known);
        let nearest = known.iter().min_by_key(far);
        let end = end_of_span(&name);
        let named = end.and_then(|end| known.iter().find(|known| **known == end));
        let is_near = end.is_some() || nearest.is_some_and(|nearest| far(&nearest) <= NEAR);
        Some(Self { name, nearest: named.or(nearest).copied(), is_near, known })
    }
}

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" is not known here", self.name.escape_debug())?;
        match self.nearest {
            Some(nearest) => write!(f, "; did you mean {nearest}? Known are {}", self.known.join(", ")),
            None => f.write_str(", and neither is any other"),
        }
    }
}

/// Which end of a span a name means by one of the usual words: `from`, `fromDate`, `date-until`.
fn end_of_span(name: &str) -> Option<&'static str> {
    let words = words_of(name);
    let mut telling = words.iter().filter(|word| !OF_TIMES.contains(&word.as_str()));
    let (word, None) = (telling.next()?, telling.next()) else { return None };
    ENDS.iter().find(|(usual, _)| usual == word).map(|(_, end)| *end)
}

/// In lower case. A capital begins a word if a small letter is before it.
fn words_of(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = '_';
    for letter in name.chars() {
        let begins = !letter.is_alphanumeric() || (letter.is_uppercase() && before.is_lowercase());
        if begins {
            words.push(String::new());
        }
        if letter.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(letter.to_lowercase());
        }
        before = letter;
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{CancelCommand, Command, StartCommand};

    fn start(name: &str) -> (Option<&'static str>, bool) {
        let unknown = UnknownName::of(name, StartCommand::FIELDS).unwrap();
        (unknown.nearest, unknown.is_near)
    }

    #[test]
    fn a_misspelt_name_is_near_the_one_that_was_meant() {
        for (name, meant) in [
            ("date_fron", "date_from"),
            ("datefrom", "date_from"),
            ("dateFrom", "date_from"),
            ("Date_From", "date_from"),
            ("DATE_FROM", "date_from"),
            ("date-to", "date_to"),
            ("date_too", "date_to"),
            ("connectionId", "connection_id"),
            ("conection_id", "connection_id"),
            ("connection_ids", "connection_id"),
            ("jobid", "job_id"),
            ("modus", "mode"),
            ("nane", "name"),
            ("document_id", "document_ids"),
            ("on_conflit", "on_conflict"),
            ("requested-by", "requested_by"),
            ("schemaid", "schema_id"),
        ] {
            assert_eq!(start(name), (Some(meant), true), "{name}");
        }
    }

    #[test]
    fn the_usual_words_for_the_ends_of_a_span_are_near_however_they_are_written() {
        for name in
            ["from", "FROM", "since", "from_date", "fromDate", "date_since", "sinceDateTime", "from-time"]
        {
            assert_eq!(start(name), (Some("date_from"), true), "{name}");
        }
        for name in ["to", "until", "To", "to_date", "toDate", "untilTime", "date until"] {
            assert_eq!(start(name), (Some("date_to"), true), "{name}");
        }
        for name in ["from", "to", "since", "until"] {
            assert!(UnknownName::of(name, CancelCommand::FIELDS).unwrap().is_near, "{name}");
        }
    }

    #[test]
    fn another_name_is_not_near_and_has_a_nearest_all_the_same() {
        for name in
            ["colour", "größe", "priority", "tenant", "from_account", "up_to", "untilted", "", "x", "日付"]
        {
            let (nearest, near) = start(name);
            assert!(nearest.is_some() && !near, "{name}: {nearest:?}");
        }
        for name in StartCommand::FIELDS {
            assert_eq!(UnknownName::of(name, StartCommand::FIELDS), None);
        }
        assert_eq!(UnknownName::of("x", &[]).unwrap().nearest, None);
    }

    #[test]
    fn it_says_what_was_meant_without_repeating_all() {
        let said = UnknownName::of("from", StartCommand::FIELDS).unwrap().to_string();
        assert!(
            said.starts_with("\"from\" is not known here; did you mean date_from? Known are connection_id, "),
            "{said}"
        );
        let long = UnknownName::of(&"\u{1b}".repeat(100_000), StartCommand::FIELDS).unwrap().to_string();
        assert!(long.len() < 700 && !long.contains('\u{1b}'), "{long}");
    }
}
