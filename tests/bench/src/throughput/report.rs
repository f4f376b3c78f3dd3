//! What was measured: a row per contestant and kind of work, the goals, and every single run in the JSON.

use super::goals::goals;
use super::meter::median;
use super::{Contestant, Taken, Work};
use crate::Outcome;
use crate::goal::markdown;
use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};
use std::fmt;

const HEADER: [&str; 12] = [
    "WORK",
    "PROGRAM",
    "PAGES/S",
    "FROM–TO",
    "TO IDEAL",
    "TO REF",
    "WORKER",
    "POSTGRES",
    "BROKER",
    "UPSTREAM",
    "WAL KB",
    "PEAK MB",
];

/// One pass.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Of whom.
    pub who: Contestant,
    /// Over what.
    pub work: Work,
    /// In which round.
    pub round: usize,
    /// How many pages.
    pub pages: u32,
    /// What it took.
    pub taken: Taken,
}

impl Run {
    /// Pages per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        f64::from(self.pages) / self.taken.seconds
    }

    /// Milliseconds of the worker's CPU per page.
    #[must_use]
    pub fn worker(&self) -> f64 {
        self.taken.usage.worker * 1000.0 / f64::from(self.pages)
    }

    /// Milliseconds of Postgres' CPU per page.
    #[must_use]
    pub fn postgres(&self) -> f64 {
        self.taken.usage.postgres * 1000.0 / f64::from(self.pages)
    }

    fn broker(&self) -> f64 {
        self.taken.usage.broker * 1000.0 / f64::from(self.pages)
    }

    fn upstream(&self) -> f64 {
        self.taken.usage.upstream * 1000.0 / f64::from(self.pages)
    }

    /// KB of WAL per page.
    #[must_use]
    pub fn wal(&self) -> f64 {
        self.taken.usage.wal / 1000.0 / f64::from(self.pages)
    }

    /// The most memory of a worker, in MB.
    #[must_use]
    pub fn peak(&self) -> f64 {
        f64::from(u32::try_from(self.taken.peak >> 10).unwrap_or(u32::MAX)) * 1.024 / 1000.0
    }

    fn json(&self) -> Value {
        json!({
            "program": self.who.name(), "work": self.work.word(), "round": self.round + 1, "pages": self.pages,
            "seconds": self.taken.seconds, "pages_per_second": self.rate(), "worker_ms": self.worker(),
            "postgres_ms": self.postgres(), "broker_ms": self.broker(), "upstream_ms": self.upstream(),
            "wal_kb": self.wal(), "peak_mb": self.peak(),
        })
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (work, who) = (self.work.word(), self.who.name());
        write!(f, "{work:<9} {who:<28} {:>6.0} pages/s; CPU per page: ", self.rate())?;
        write!(
            f,
            "worker {:.2}, postgres {:.2}, broker {:.2} ms",
            self.worker(),
            self.postgres(),
            self.broker()
        )
    }
}

/// Everything.
#[derive(Debug)]
pub struct Report {
    about: Vec<(String, String)>,
    /// All passes.
    pub runs: Vec<Run>,
}

impl Report {
    /// Nothing is measured yet.
    #[must_use]
    pub const fn new(about: Vec<(String, String)>) -> Self {
        Self { about, runs: Vec::new() }
    }

    /// Something that a reader must know.
    pub fn say(&mut self, name: &str, value: String) {
        self.about.push((name.to_owned(), value));
    }

    /// The median of a figure over the rounds; `None` if it was not measured.
    #[must_use]
    pub fn median(&self, who: Contestant, work: Work, figure: fn(&Run) -> f64) -> Option<f64> {
        let figures: Vec<_> = self.of(who, work).map(figure).collect();
        (!figures.is_empty()).then(|| median(figures))
    }

    /// The median over the rounds of the ratio of a figure to another contestant's of the same round.
    #[must_use]
    pub fn ratio(&self, who: Contestant, to: Contestant, work: Work, figure: fn(&Run) -> f64) -> Option<f64> {
        let ratios: Vec<_> = self
            .of(who, work)
            .filter_map(|run| {
                let other = self.of(to, work).find(|other| other.round == run.round)?;
                Some(figure(run) / figure(other))
            })
            .filter(|ratio| ratio.is_finite())
            .collect();
        (!ratios.is_empty()).then(|| median(ratios))
    }

    fn of(&self, who: Contestant, work: Work) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(move |run| run.who == who && run.work == work)
    }

    fn row(&self, who: Contestant, work: Work) -> Option<[String; 12]> {
        let rates: Vec<_> = self.of(who, work).map(Run::rate).collect();
        let least = rates.iter().copied().reduce(f64::min)?;
        let most = rates.iter().copied().reduce(f64::max)?;
        let ratio =
            |to| self.ratio(who, to, work, Run::rate).map(|it| format!("{it:.2}")).unwrap_or_default();
        let said = |figure: fn(&Run) -> f64, digits: usize| {
            self.median(who, work, figure).map(|it| format!("{it:.digits$}")).unwrap_or_default()
        };
        Some([
            work.word().to_owned(),
            who.name().to_owned(),
            format!("{:.0}", median(rates)),
            format!("{least:.0}–{most:.0}"),
            ratio(Contestant::Ideal),
            ratio(Contestant::Reference),
            said(Run::worker, 2),
            said(Run::postgres, 2),
            said(Run::broker, 2),
            said(Run::upstream, 2),
            said(Run::wal, 1),
            said(Run::peak, 0),
        ])
    }

    fn rows(&self) -> impl Iterator<Item = [String; 12]> {
        let pairs = Work::ALL.into_iter().flat_map(|work| Contestant::ALL.map(|who| (who, work)));
        pairs.filter_map(|(who, work)| self.row(who, work))
    }
}

impl Outcome for Report {
    fn json(&self) -> Value {
        let about: serde_json::Map<_, _> =
            self.about.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let goals: Vec<_> = goals(self).iter().map(crate::goal::Goal::json).collect();
        let runs: Vec<_> = self.runs.iter().map(Run::json).collect();
        json!({ "about": about, "goals": goals, "runs": runs })
    }

    /// A run that is not exact has ended the program; a missed goal is no failure.
    fn is_good(&self) -> bool {
        true
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.about.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
        for (name, value) in &self.about {
            writeln!(f, " {name:<width$}  {value}")?;
        }
        if self.runs.is_empty() {
            return Ok(());
        }
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(HEADER);
        table.add_rows(self.rows());
        for column in table.column_iter_mut().skip(2) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        writeln!(f, "\n{}\n", table.trim_fmt())?;
        writeln!(
            f,
            " Medians of the rounds. Ratios are of pages/s within a round. WORKER … UPSTREAM: ms of CPU per page."
        )?;
        writeln!(f, " Every run was exact: each record by id and hash, and the counters.\n")?;
        f.write_str(&markdown(&goals(self)))
    }
}
