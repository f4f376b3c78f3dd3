//! The deletion of a full sync: its stages, and how far it is, as its slice's cursor says it.
//!
//! Three stages, each walked in bounded pages: *collecting* the identifiers that the pass has seen, out of its page log;
//! *comparing* the connection's records with them; *deleting* those that were not seen. Between the second and the third it
//! is refused if it would delete too much. Nothing is deleted before everything has been compared.

use std::fmt;
use std::str::FromStr;

/// What a page of a deletion does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Gathers what the pass has seen.
    Collecting,
    /// Finds the records that it has not.
    Comparing,
    /// Marks these as deleted.
    Deleting,
}

/// How a page of a deletion ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StageEvent {
    /// There may be more of the same.
    Advanced,
    /// That was all of this stage.
    Exhausted,
    /// That was all, and more is unseen than may be deleted.
    TooMany,
}

/// What follows a page of a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Following {
    /// A page of this stage.
    Page(Stage),
    /// Nothing: all is deleted.
    End,
    /// Nothing: the job is to fail.
    Refusal,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Self; 3] = [Self::Collecting, Self::Comparing, Self::Deleting];

    /// What follows; `None` where the event cannot happen: only a comparison finds out that it is too much.
    #[must_use]
    pub const fn next(self, event: StageEvent) -> Option<Following> {
        match (self, event) {
            (Self::Collecting | Self::Comparing | Self::Deleting, StageEvent::Advanced) => {
                Some(Following::Page(self))
            }
            (Self::Collecting, StageEvent::Exhausted) => Some(Following::Page(Self::Comparing)),
            (Self::Comparing, StageEvent::Exhausted) => Some(Following::Page(Self::Deleting)),
            (Self::Deleting, StageEvent::Exhausted) => Some(Following::End),
            (Self::Comparing, StageEvent::TooMany) => Some(Following::Refusal),
            (Self::Collecting | Self::Deleting, StageEvent::TooMany) => None,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Collecting => "collecting",
            Self::Comparing => "comparing",
            Self::Deleting => "deleting",
        }
    }
}

/// How far a deletion is: the cursor of its slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The stage.
    pub stage: Stage,
    /// What its page before ended with: a slice and a page of the walk (`3/17`), or an external id. `None` at its beginning.
    pub after: Option<String>,
}

impl Position {
    /// Where every deletion begins.
    pub const BEGIN: Self = Self { stage: Stage::Collecting, after: None };

    /// The position that a cursor says; no cursor is the beginning. `None` if it says none.
    #[must_use]
    pub fn of(cursor: Option<&str>) -> Option<Self> {
        cursor.map_or(Some(Self::BEGIN), |cursor| cursor.parse().ok())
    }
}

/// A text that is no position of a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a position of a deletion")]
pub struct NoPosition;

/// The stage's word, and after a space what its page before ended with. An external id may hold anything.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.stage.word())?;
        self.after.as_ref().map_or(Ok(()), |after| write!(f, " {after}"))
    }
}

impl FromStr for Position {
    type Err = NoPosition;

    fn from_str(text: &str) -> Result<Self, NoPosition> {
        let (word, after) = match text.split_once(' ') {
            Some((word, after)) => (word, Some(after.to_owned())),
            None => (text, None),
        };
        let stage = Stage::ALL.into_iter().find(|stage| stage.word() == word).ok_or(NoPosition)?;
        Ok(Self { stage, after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_stage_meets_every_event() {
        use Following::{End, Page, Refusal};
        use Stage::{Collecting, Comparing, Deleting};
        let events = [StageEvent::Advanced, StageEvent::Exhausted, StageEvent::TooMany];
        let table = [
            (Collecting, [Some(Page(Collecting)), Some(Page(Comparing)), None]),
            (Comparing, [Some(Page(Comparing)), Some(Page(Deleting)), Some(Refusal)]),
            (Deleting, [Some(Page(Deleting)), Some(End), None]),
        ];
        for (stage, expected) in table {
            assert_eq!(events.map(|event| stage.next(event)), expected, "{stage:?}");
        }
    }

    #[test]
    fn no_cursor_is_the_beginning_and_a_foreign_one_is_refused() {
        assert_eq!(Position::of(None), Some(Position::BEGIN));
        for foreign in ["", "https://upstream.example/?cursor=1", "delete", " deleting"] {
            assert_eq!(Position::of(Some(foreign)), None, "{foreign}");
        }
    }

    proptest! {
        #[test]
        fn a_position_survives_its_text(stage in 0..3_usize, after: Option<String>) {
            let position = Position { stage: Stage::ALL[stage], after };
            prop_assert_eq!(Position::of(Some(&position.to_string())), Some(position));
        }
    }
}
