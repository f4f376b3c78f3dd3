//! Exactness, by the set of (identifier, content hash): a count would not notice a record that is there in another's
//! place, or with other content.

use super::words::thousands;
use anyhow::Result;
use futures::TryStreamExt;
use protocol::ids::ConnectionId;
use std::collections::HashMap;
use std::fmt;
use std::pin::pin;
use store::Store;

/// What must be stored: the content hash of each record by its identifier, found without any code of the consumer's.
pub type Expected = HashMap<String, [u8; 32]>;

/// How what is stored differs from what is expected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Stored records that are expected, with exactly their content.
    pub equal: usize,
    /// Stored records with other content.
    pub different: usize,
    /// Stored records that are not expected at all.
    pub foreign: usize,
    /// Expected records that are not stored.
    pub missing: usize,
}

/// Compares the records of a connection with what must be stored.
///
/// # Errors
/// When the database cannot be read.
pub async fn compare(store: &Store, connection: ConnectionId, expected: &Expected) -> Result<Comparison> {
    let mut found = Comparison::default();
    let mut stored = pin!(store.connections().record_hashes(connection));
    while let Some(record) = stored.try_next().await? {
        match expected.get(&record.external_id) {
            Some(hash) if hash.as_slice() == record.hash => found.equal += 1,
            Some(_) => found.different += 1,
            None => found.foreign += 1,
        }
    }
    // An identifier is stored once per connection: that is the key of the table.
    found.missing = expected.len().saturating_sub(found.equal + found.different);
    Ok(found)
}

impl Comparison {
    /// Nothing more, nothing less, nothing else.
    #[must_use]
    pub const fn is_exact(&self) -> bool {
        self.is_part() && self.missing == 0
    }

    /// What is there is right; there may be more to come. What a cancelled job leaves behind.
    #[must_use]
    pub const fn is_part(&self) -> bool {
        self.different == 0 && self.foreign == 0
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |count: usize| thousands(i64::try_from(count).unwrap_or(i64::MAX));
        let (right, wanted) = (count(self.equal), count(self.equal + self.different + self.missing));
        write!(f, "{right} of {wanted} records are stored as expected")?;
        for (number, what) in [(self.different, "with other content"), (self.foreign, "that nobody expected")]
        {
            if number > 0 {
                write!(f, ", {} {what}", count(number))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_set_is_exact() {
        let exact = Comparison { equal: 1200, ..Comparison::default() };
        assert!(exact.is_exact());
        let part = Comparison { missing: 5, ..exact };
        assert!(part.is_part() && !part.is_exact());
        assert_eq!(part.to_string(), "1,200 of 1,205 records are stored as expected");
        let wrong = Comparison { different: 1, foreign: 2, ..exact };
        assert!(
            !wrong.is_part() && wrong.to_string().ends_with(", 1 with other content, 2 that nobody expected")
        );
    }
}
