//! Commands that wait for a session of the database are applied together, as pages are claimed and settled together: most
//! of what a command costs is the statements' own, and the disk's. Only the plain case is done here. Whatever is not plain,
//! or held by somebody else for a moment, is left out, and to be applied alone.

mod cancel;
mod plan;
mod start;

pub use plan::ShownIn;

use super::super::commands::{CommandIdentity, CommandKind, Lookup};
use std::collections::HashSet;

/// A command, and the trace that it belongs to.
#[derive(Debug)]
pub struct Commanded<'a, T> {
    /// What is asked for.
    pub request: &'a T,
    /// The trace.
    pub trace: Option<&'a str>,
}

impl<T> Copy for Commanded<'_, T> {}

impl<T> Clone for Commanded<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

/// How commands are found, as a statement takes them: identifiers beside their tenants, or whole keys.
#[derive(Default)]
struct Lookups<'a> {
    given: Vec<Option<&'a str>>,
    keys: Vec<Option<String>>,
    seen: HashSet<(Option<&'a str>, Option<String>)>,
}

impl<'a> Lookups<'a> {
    /// False for a second command of one identifier: it is to find the answer to the first.
    fn add(&mut self, kind: CommandKind, command: Option<&'a CommandIdentity>) -> bool {
        let (given, key) = match command.map(|command| command.lookup(kind)) {
            None => (None, None),
            Some(Lookup::OfTenant(_, id)) => (Some(id), None),
            Some(Lookup::Key(key)) => (None, Some(key)),
        };
        if command.is_some() && !self.seen.insert((given, key.clone())) {
            return false;
        }
        self.given.push(given);
        self.keys.push(key);
        true
    }
}

/// How many there are, for a statement that is told.
fn number<T>(items: &[T]) -> i64 {
    i64::try_from(items.len()).unwrap_or(i64::MAX)
}

/// The one at this place, counted from 1.
fn at<T>(items: &[T], nth: i64) -> Option<&T> {
    items.get(usize::try_from(nth).ok()?.checked_sub(1)?)
}
