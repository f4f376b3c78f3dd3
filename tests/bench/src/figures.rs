//! What was measured, beside what was aimed at: a table for people, JSON for programs.

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};
use stage::milliseconds;
use std::fmt;
use std::time::Duration;

const HEADER: [&str; 7] = ["WHAT", "N", "P50", "P99", "LONGEST", "GOAL", ""];

/// A row: times of one kind, and how long they should be at most.
#[derive(Clone, Debug)]
pub struct Series {
    /// What was measured.
    pub what: String,
    /// What 99 of 100 should not exceed, if anything is aimed at.
    pub goal: Option<Duration>,
    times: Vec<Duration>,
}

impl Series {
    /// Times of one kind.
    #[must_use]
    pub fn new(what: impl Into<String>, goal: Option<Duration>, mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self { what: what.into(), goal, times }
    }

    /// The smallest time that so many per cent do not exceed.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> Option<Duration> {
        self.times.get((self.times.len() * percent).div_ceil(100).checked_sub(1)?).copied()
    }

    /// Whether the goal is kept; `None` without one, or without a time.
    #[must_use]
    pub fn kept(&self) -> Option<bool> {
        Some(self.percentile(99)? <= self.goal?)
    }

    fn row(&self) -> [String; 7] {
        let said = |time: Option<Duration>| time.map(milliseconds).unwrap_or_default();
        let verdict = match self.kept() {
            Some(true) => "ok",
            Some(false) => "missed",
            None => "",
        };
        [
            self.what.clone(),
            self.times.len().to_string(),
            said(self.percentile(50)),
            said(self.percentile(99)),
            said(self.percentile(100)),
            said(self.goal),
            verdict.to_owned(),
        ]
    }

    /// As JSON, in milliseconds.
    #[must_use]
    pub fn json(&self) -> Value {
        let ms = |time: Option<Duration>| time.map(|time| time.as_secs_f64() * 1000.0);
        json!({
            "what": self.what, "count": self.times.len(), "p50_ms": ms(self.percentile(50)),
            "p99_ms": ms(self.percentile(99)), "longest_ms": ms(self.percentile(100)),
            "goal_p99_ms": ms(self.goal), "kept": self.kept(),
        })
    }
}

/// Everything that a program measured, and whatever was wrong.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Where and with which settings.
    pub about: Vec<(String, String)>,
    /// The rows.
    pub series: Vec<Series>,
    /// What else is to be said.
    pub notes: Vec<String>,
    /// Broken invariants, records that differ. Goals that were missed are none.
    pub problems: Vec<String>,
}

impl Figures {
    /// As JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let about: serde_json::Map<_, _> =
            self.about.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        json!({
            "about": about, "series": self.series.iter().map(Series::json).collect::<Vec<_>>(),
            "notes": self.notes, "problems": self.problems,
        })
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.about.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
        for (name, value) in &self.about {
            writeln!(f, " {name:<width$}  {value}")?;
        }
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(HEADER);
        table.add_rows(self.series.iter().map(Series::row));
        for column in table.column_iter_mut().skip(1).take(5) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        writeln!(f, "\n{}\n", table.trim_fmt())?;
        for note in &self.notes {
            writeln!(f, " {note}")?;
        }
        for problem in &self.problems {
            writeln!(f, " ✗ {problem}")?;
        }
        let exact = self.problems.is_empty();
        write!(
            f,
            " {}",
            if exact { "✓ every invariant holds, and every record is exact" } else { "NOT exact: see ✗" }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_for_99_of_100() {
        let times = |most| (1..=most).map(Duration::from_millis).collect::<Vec<_>>();
        let series = Series::new("cancel", Some(Duration::from_millis(198)), times(200));
        assert_eq!(series.kept(), Some(true));
        assert_eq!(series.json()["p99_ms"], 198.0);
        assert_eq!(Series::new("cancel", Some(Duration::from_millis(197)), times(200)).kept(), Some(false));
        assert_eq!(Series::new("cancel", Some(Duration::ZERO), Vec::new()).kept(), None);
        assert_eq!(Series::new("cancel", None, times(1)).percentile(99), Some(Duration::from_millis(1)));
    }
}
