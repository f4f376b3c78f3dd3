//! Where a list of jobs goes on: the last job's place in the order, written so that nobody takes it for a page number.

use chrono::{DateTime, Datelike, Utc};
use protocol::command::YEARS;
use protocol::ids::JobId;
use std::fmt;
use std::str::FromStr;
use store::jobs::JobView;
use uuid::Uuid;

const TIME_DIGITS: usize = 16;

/// A place in the list of jobs, newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// When the last job before it was accepted.
    pub created_at: DateTime<Utc>,
    /// That job.
    pub job: JobId,
}

/// A text that is no cursor of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the cursor is not one that this API gave out; leave it out to begin at the newest job")]
pub struct CursorError;

impl Cursor {
    /// The place after this job.
    #[must_use]
    pub fn after(job: &JobView) -> Self {
        Self { created_at: job.created_at, job: job.id }
    }
}

/// Microseconds since 1970 and the job's id, in hexadecimal digits. (Postgres keeps microseconds too.)
impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{}", self.created_at.timestamp_micros(), self.job.0.simple())
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let (time, job) = text.split_at_checked(TIME_DIGITS).ok_or(CursorError)?;
        // A sign, which the next line would take, was never given out; nor was a time that Postgres does not know.
        if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(CursorError);
        }
        let micros = i64::from_str_radix(time, 16).ok().ok_or(CursorError)?;
        let created_at = DateTime::from_timestamp_micros(micros).filter(|at| YEARS.contains(&at.year()));
        let created_at = created_at.ok_or(CursorError)?;
        let job = Uuid::try_parse(job).ok().filter(|_| job.len() == 32).ok_or(CursorError)?;
        Ok(Self { created_at, job: JobId(job) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text() {
        let created_at = "2026-02-03T04:05:06.123456Z".parse().unwrap();
        let cursor = Cursor { created_at, job: JobId::random() };
        let text = cursor.to_string();
        assert_eq!(text.len(), 48);
        assert_eq!(text.parse(), Ok(cursor));
    }

    #[test]
    fn anything_else_is_refused() {
        let long = "0".repeat(49);
        let wide = "ö".repeat(24);
        for text in [
            "",
            "1",
            "zz",
            "00064a0b1c2d3e4f",
            &long,
            &wide,
            "7fffffffffffffff00000000000000000000000000000000",
            // The year 10000, and a sign.
            "0384440ccc73600000000000000000000000000000000000",
            "-00000000000000100000000000000000000000000000000",
            "+00000000000000100000000000000000000000000000000",
        ] {
            assert_eq!(text.parse::<Cursor>(), Err(CursorError), "{text}");
        }
    }
}
