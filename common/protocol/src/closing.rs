//! What follows the walks of a job: its *check*, which judges whether they are whole, and, for a full sync, its *deletion*. Both
//! fetch nothing, are slices of their own, and are walked in bounded pages.
//!
//! The check has three stages: *collecting* the ids that the walks met, out of the page log; *judging* the walks; and, for a
//! full sync, *comparing* the connection's records with what was met. Between collecting and comparing the job fails if too
//! much is missing, and at the end of comparing if too much would be deleted. Nothing is deleted before everything has been
//! compared.

use std::fmt;
use std::str::FromStr;

/// What a page of a check or a deletion does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Gathers what the walks have met.
    Collecting,
    /// Judges whether they are whole.
    Judging,
    /// Finds the records that a full sync has not met.
    Comparing,
    /// Marks those that are proved gone.
    Deleting,
}

/// How a page ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StageEvent {
    /// There may be more of the same.
    Advanced,
    /// That was all of this stage.
    Exhausted,
    /// That was all, and nothing follows: the job is no full sync, or its walks are not whole.
    Enough,
    /// That was all, and the job is to fail.
    Refused,
}

/// What follows a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Following {
    /// A page of this stage.
    Page(Stage),
    /// Nothing: the slice is done.
    End,
    /// Nothing: the job is to fail.
    Refusal,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Self; 4] = [Self::Collecting, Self::Judging, Self::Comparing, Self::Deleting];

    /// What follows; `None` where the event cannot happen.
    #[must_use]
    pub const fn next(self, event: StageEvent) -> Option<Following> {
        match (self, event) {
            (Self::Collecting | Self::Comparing | Self::Deleting, StageEvent::Advanced) => {
                Some(Following::Page(self))
            }
            (Self::Collecting, StageEvent::Exhausted) => Some(Following::Page(Self::Judging)),
            (Self::Judging, StageEvent::Exhausted) => Some(Following::Page(Self::Comparing)),
            (Self::Judging, StageEvent::Enough)
            | (Self::Comparing | Self::Deleting, StageEvent::Exhausted) => Some(Following::End),
            (Self::Judging | Self::Comparing, StageEvent::Refused) => Some(Following::Refusal),
            (Self::Judging, StageEvent::Advanced)
            | (Self::Collecting | Self::Deleting, StageEvent::Refused)
            | (Self::Collecting | Self::Comparing | Self::Deleting, StageEvent::Enough) => None,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Collecting => "collecting",
            Self::Judging => "judging",
            Self::Comparing => "comparing",
            Self::Deleting => "deleting",
        }
    }
}

/// How far a check or a deletion is: the cursor of its slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The stage.
    pub stage: Stage,
    /// What its page before ended with: a slice and a page of the walk (`3/17`), or an external id. `None` at its beginning.
    pub after: Option<String>,
}

impl Position {
    /// The beginning of a stage.
    #[must_use]
    pub const fn start_of(stage: Stage) -> Self {
        Self { stage, after: None }
    }

    /// The position that a cursor says; no cursor is the beginning of `first`. `None` if it says none.
    #[must_use]
    pub fn of(cursor: Option<&str>, first: Stage) -> Option<Self> {
        cursor.map_or(Some(Self::start_of(first)), |cursor| cursor.parse().ok())
    }
}

/// A text that is no position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a position of a check or a deletion")]
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
        use Stage::{Collecting, Comparing, Deleting, Judging};
        let events = [StageEvent::Advanced, StageEvent::Exhausted, StageEvent::Enough, StageEvent::Refused];
        let table = [
            (Collecting, [Some(Page(Collecting)), Some(Page(Judging)), None, None]),
            (Judging, [None, Some(Page(Comparing)), Some(End), Some(Refusal)]),
            (Comparing, [Some(Page(Comparing)), Some(End), None, Some(Refusal)]),
            (Deleting, [Some(Page(Deleting)), Some(End), None, None]),
        ];
        for (stage, expected) in table {
            assert_eq!(events.map(|event| stage.next(event)), expected, "{stage:?}");
        }
    }

    #[test]
    fn no_cursor_is_the_beginning_and_a_foreign_one_is_refused() {
        for stage in Stage::ALL {
            assert_eq!(Position::of(None, stage), Some(Position::start_of(stage)));
        }
        for foreign in ["", "https://upstream.example/?cursor=1", "delete", " deleting"] {
            assert_eq!(Position::of(Some(foreign), Stage::Collecting), None, "{foreign}");
        }
    }

    proptest! {
        #[test]
        fn a_position_survives_its_text(stage in 0..4_usize, after: Option<String>) {
            let position = Position { stage: Stage::ALL[stage], after };
            prop_assert_eq!(Position::of(Some(&position.to_string()), Stage::Collecting), Some(position));
        }
    }
}
