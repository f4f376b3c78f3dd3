//! What can be typed after `dlq`.

use crate::output::Text;
use broker::DeadLetter;
use clap::{Args, Subcommand};
use std::fmt;

#[derive(Debug, Subcommand)]
pub(crate) enum DeadLetterAction {
    /// List dead letters and unrouted messages, oldest first; removes nothing
    List {
        /// Only those with this reason, such as unknown_connection
        #[arg(long, value_name = "WORD")]
        reason: Option<String>,
        /// How many at most
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
    },
    /// Show a dead letter in full; does not remove it
    Show {
        /// Its identifier, as `list` shows it
        id: String,
    },
    /// Publish dead letters again where they came from, and remove them once that is confirmed
    Retry(Which),
    /// Remove dead letters permanently
    Drop {
        #[command(flatten)]
        which: Which,
        /// Confirm
        #[arg(long)]
        yes: bool,
    },
}

/// Which letters are meant.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Its identifier, as `list` shows it
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub(crate) id: Option<String>,
    /// All that are there now
    #[arg(long)]
    pub(crate) all: bool,
    /// With --all: only those with this reason, such as unknown_connection
    #[arg(long, value_name = "WORD", requires = "all", conflicts_with = "id")]
    pub(crate) reason: Option<String>,
}

impl Which {
    pub(crate) fn means(&self, letter: &DeadLetter) -> bool {
        match (&self.id, &self.reason) {
            (Some(id), _) => is_called(letter, id),
            (None, Some(reason)) => letter.reason.as_ref() == Some(reason),
            (None, None) => self.all,
        }
    }
}

/// Whether a letter is called so: by its message or by itself, as they are or as a terminal shows them.
pub(super) fn is_called(letter: &DeadLetter, given: &str) -> bool {
    let names = [Some(letter.id.as_str()), letter.letter.as_deref()];
    names.into_iter().flatten().any(|name| name == given || Text::from(name).to_string() == given)
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.id, &self.reason) {
            (Some(id), _) => write!(f, "dead letter {id:?}"),
            (None, Some(reason)) => write!(f, "every dead letter with the reason {reason:?}"),
            (None, None) => f.write_str("every dead letter"),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::arguments::Arguments;
    use clap::Parser;

    #[test]
    fn a_letter_is_named_or_all_are_meant() {
        let parses =
            |rest: &[&str]| Arguments::try_parse_from(["backhaul", "dlq"].iter().chain(rest)).is_ok();
        for good in [
            &["list"][..],
            &["list", "--reason", "invalid", "--limit", "5"],
            &["show", "1"],
            &["retry", "1"],
            &["retry", "--all"],
            &["retry", "--all", "--reason", "invalid"],
            &["drop", "1", "--yes"],
        ] {
            assert!(parses(good), "{good:?}");
        }
        for wrong in [
            &["show"][..],
            &["retry"],
            &["retry", "1", "--all"],
            &["retry", "1", "--reason", "invalid"],
            &["drop", "--yes"],
            &["list", "--limit", "0"],
        ] {
            assert!(!parses(wrong), "{wrong:?}");
        }
    }
}
