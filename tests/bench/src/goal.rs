//! What is aimed at, beside what was measured.

use super::Outcome;
use serde_json::{Value, json};
use std::fmt;

/// A figure that should be at least, or at most, another one.
#[derive(Clone, Debug)]
pub struct Goal {
    /// Of what.
    pub what: String,
    /// What is aimed at.
    pub aim: Aim,
    /// What it is.
    pub measured: f64,
    /// The unit; a ratio has none.
    pub unit: &'static str,
}

/// Which way is better.
#[derive(Clone, Copy, Debug)]
pub enum Aim {
    /// Not less than this.
    AtLeast(f64),
    /// Not more than this.
    AtMost(f64),
}

impl Goal {
    /// Whether it is reached.
    #[must_use]
    pub fn kept(&self) -> bool {
        match self.aim {
            Aim::AtLeast(least) => self.measured >= least,
            Aim::AtMost(most) => self.measured <= most,
        }
    }

    /// As JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let (word, aim) = match self.aim {
            Aim::AtLeast(least) => ("at_least", least),
            Aim::AtMost(most) => ("at_most", most),
        };
        json!({ "what": self.what, word: aim, "measured": self.measured, "unit": self.unit, "kept": self.kept() })
    }

    fn row(&self) -> String {
        let (sign, aim) = match self.aim {
            Aim::AtLeast(least) => ('≥', least),
            Aim::AtMost(most) => ('≤', most),
        };
        let unit = if self.unit.is_empty() { String::new() } else { format!(" {}", self.unit) };
        let verdict = if self.kept() { "yes" } else { "**no**" };
        let measured = said(self.measured);
        format!("| {} | {sign} {}{unit} | {measured}{unit} | {verdict} |\n", self.what, said(aim))
    }
}

/// Two digits after the point for ratios and small figures, none for large ones.
fn said(figure: f64) -> String {
    if figure.abs() < 10.0 { format!("{figure:.2}") } else { format!("{figure:.0}") }
}

/// A table in Markdown, for the README.
#[must_use]
pub fn markdown(goals: &[Goal]) -> String {
    let mut table = "| what | goal | measured | reached |\n|---|---|---|---|\n".to_owned();
    table.extend(goals.iter().map(Goal::row));
    table
}

/// What a program found: goals, and what else is to be said.
#[derive(Debug, Default)]
pub struct Findings {
    /// Where and with which settings.
    pub about: Vec<(String, String)>,
    /// The goals.
    pub goals: Vec<Goal>,
    /// Figures without a goal.
    pub notes: Vec<String>,
    /// Broken invariants, records that differ. Goals that were missed are none.
    pub problems: Vec<String>,
}

impl Outcome for Findings {
    fn json(&self) -> Value {
        let about: serde_json::Map<_, _> =
            self.about.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let goals: Vec<_> = self.goals.iter().map(Goal::json).collect();
        json!({ "about": about, "goals": goals, "notes": self.notes, "problems": self.problems })
    }

    fn is_good(&self) -> bool {
        self.problems.is_empty()
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.about.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
        for (name, value) in &self.about {
            writeln!(f, " {name:<width$}  {value}")?;
        }
        writeln!(f, "\n{}", markdown(&self.goals))?;
        for note in &self.notes {
            writeln!(f, " {note}")?;
        }
        for problem in &self.problems {
            writeln!(f, " ✗ {problem}")?;
        }
        let exact = self.problems.is_empty();
        write!(f, " {}", if exact { "✓ every invariant holds" } else { "NOT exact: see ✗" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_a_row() {
        let goal = |aim, measured, unit| Goal { what: "pages".to_owned(), aim, measured, unit };
        let fast = goal(Aim::AtLeast(0.9), 0.9, "");
        assert!(fast.kept());
        assert_eq!(fast.row(), "| pages | ≥ 0.90 | 0.90 | yes |\n");
        let large = goal(Aim::AtMost(64.0), 70.4, "MB");
        assert!(!large.kept());
        assert_eq!(large.row(), "| pages | ≤ 64 MB | 70 MB | **no** |\n");
        assert_eq!(large.json()["kept"], false);
    }
}
