//! The end of a demo: a table of its jobs, what was measured, and whether it was exact.

use super::words::{milliseconds, rate, thousands, whole};
use chrono::{DateTime, Utc};
use comfy_table::{CellAlignment, Table, presets};
use protocol::job::Counters;
use std::fmt;
use std::time::Duration;
use store::jobs::JobView;

const HEADER: [&str; 8] =
    ["JOB", "STATUS", "PAGES", "INSERTED", "UNCHANGED", "SECONDS", "PAGES/S", "RECORDS/S"];

/// What a demo has to say at its end.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<[String; 8]>,
    facts: Vec<(String, String)>,
    checks: Vec<(bool, String)>,
}

impl Report {
    /// A row of the table for these jobs; one row for several that are much alike.
    pub fn jobs(&mut self, label: &str, jobs: &[JobView]) {
        let Some(first) = jobs.first() else { return };
        let status = first.status.word();
        let status = if jobs.len() == 1 { status.to_owned() } else { format!("{} × {status}", jobs.len()) };
        let sum = |of: fn(&Counters) -> i64| jobs.iter().map(|job| of(&job.counters)).sum::<i64>();
        let pages: i64 = jobs.iter().map(|job| job.pages_settled).sum();
        let seconds: f64 = jobs.iter().filter_map(ran).map(|(from, to)| (to - from).as_seconds_f64()).sum();
        self.rows.push([
            label.to_owned(),
            status,
            thousands(pages),
            thousands(sum(|counters| counters.inserted)),
            thousands(sum(|counters| counters.unchanged)),
            format!("{seconds:.1}"),
            rate(pages, seconds),
            rate(sum(Counters::processed), seconds),
        ]);
    }

    /// Everything that these jobs pulled, by the time from the first one's start to the last one's end.
    pub fn throughput(&mut self, label: &str, jobs: &[JobView]) {
        let from = jobs.iter().filter_map(ran).map(|(from, _)| from).min();
        let to = jobs.iter().filter_map(ran).map(|(_, to)| to).max();
        let Some((from, to)) = from.zip(to) else { return };
        let seconds = (to - from).as_seconds_f64();
        let pages = jobs.iter().map(|job| job.pages_settled).sum();
        let records = jobs.iter().map(|job| job.counters.processed()).sum();
        let said = format!(
            "{} pages/s, {} records/s ({} pages, {} records in {seconds:.1} s)",
            rate(pages, seconds),
            rate(records, seconds),
            thousands(pages),
            thousands(records)
        );
        self.fact(label, said);
    }

    /// The most memory that each process ever had resident.
    pub fn memory(&mut self, peaks: &[(String, u64)]) {
        let mebibytes =
            |bytes: u64| whole(f64::from(u32::try_from(bytes / 1024).unwrap_or(u32::MAX)) / 1024.0);
        let said: Vec<_> =
            peaks.iter().map(|(name, peak)| format!("{name} {} MiB", mebibytes(*peak))).collect();
        self.fact("peak memory", said.join(", "));
    }

    /// Something that was measured.
    pub fn fact(&mut self, label: &str, said: impl Into<String>) {
        self.facts.push((label.to_owned(), said.into()));
    }

    /// Something that must be so, and whether it is.
    pub fn check(&mut self, so: bool, said: impl Into<String>) {
        self.checks.push((so, said.into()));
    }

    /// One check for all the problems that were looked for; each is said.
    pub fn no_problems(&mut self, problems: Vec<String>) {
        if problems.is_empty() {
            self.check(true, "every invariant holds, and the dead-letter queue is empty");
        }
        self.checks.extend(problems.into_iter().map(|problem| (false, problem)));
    }

    /// Whether everything is as it must be.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.checks.iter().all(|(so, _)| *so)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(HEADER);
        table.add_rows(&self.rows);
        for column in table.column_iter_mut().skip(2) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        writeln!(f, "{}\n", table.trim_fmt())?;
        let width = self.facts.iter().map(|(label, _)| label.chars().count()).max().unwrap_or_default();
        for (label, said) in &self.facts {
            writeln!(f, " {label:<width$}  {said}")?;
        }
        writeln!(f)?;
        for (so, said) in &self.checks {
            writeln!(f, " {} {said}", if *so { "✓" } else { "✗" })?;
        }
        let verdict = if self.is_good() {
            "Everything was exact."
        } else {
            "NOT everything was as it must be: see ✗."
        };
        write!(f, "\n{verdict}")
    }
}

/// `p50 9.1 ms, p99 20 ms, most 21 ms (30 of them)`.
#[must_use]
pub fn latencies(mut all: Vec<Duration>) -> String {
    all.sort_unstable();
    // The smallest one that so many per cent do not exceed.
    let at = |percent: usize| all.get((all.len() * percent).div_ceil(100).saturating_sub(1)).copied();
    let (Some(p50), Some(p99), Some(most)) = (at(50), at(99), all.last()) else { return "none".to_owned() };
    format!(
        "p50 {}, p99 {}, longest {} ({} cancels)",
        milliseconds(p50),
        milliseconds(p99),
        milliseconds(*most),
        all.len()
    )
}

/// From a job's plan to its end.
fn ran(job: &JobView) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    job.started_at.zip(job.finished_at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_ones_that_were_seen() {
        let all = |most| (1..=most).map(Duration::from_millis).collect();
        assert_eq!(latencies(all(200)), "p50 100 ms, p99 198 ms, longest 200 ms (200 cancels)");
        assert_eq!(latencies(all(1)), "p50 1.0 ms, p99 1.0 ms, longest 1.0 ms (1 cancels)");
        assert_eq!(latencies(Vec::new()), "none");
    }

    #[test]
    fn one_wrong_thing_is_enough() {
        let mut report = Report::default();
        report.no_problems(Vec::new());
        assert!(report.is_good() && report.to_string().ends_with("Everything was exact."));
        report.no_problems(vec!["invariant 3: broken".to_owned()]);
        assert!(!report.is_good() && report.to_string().contains("✗ invariant 3: broken"));
    }
}
