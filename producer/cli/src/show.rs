//! Numbers, times and jobs in words.

use chrono::{DateTime, Utc};
use engine::JobBody;
use protocol::job::JobStatus;
use serde::Serialize;
use store::jobs::JobView;

/// A job for scripts: what the HTTP API says, and whose it is.
#[derive(Debug, Serialize)]
pub(crate) struct JobJson {
    #[serde(flatten)]
    body: JobBody,
    tenant_id: String,
    name: Option<String>,
}

impl From<&JobView> for JobJson {
    fn from(job: &JobView) -> Self {
        Self { body: JobBody::from(job), tenant_id: job.tenant.to_string(), name: job.name.clone() }
    }
}

/// `12345` as `12,345`.
pub(crate) fn number(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut text = String::from(if value < 0 { "-" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A length of time, to the unit that matters.
pub(crate) fn duration(seconds: i64) -> String {
    match seconds {
        ..=119 => format!("{} s", seconds.max(0)),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// How long ago, by the database's clock.
pub(crate) fn ago(then: DateTime<Utc>, now: DateTime<Utc>) -> String {
    format!("{} ago", duration((now - then).num_seconds()))
}

/// A moment, to the second.
pub(crate) fn moment(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// `running`, or `running, paused`.
pub(crate) fn state(job: &JobView) -> String {
    let paused = if job.paused { ", paused" } else { "" };
    format!("{}{paused}", job.status)
}

/// `1,200 of 5,000`; or `1,200` at the end, or while nobody knows how many there are.
pub(crate) fn records(job: &JobView) -> String {
    let processed = number(job.counters.processed());
    match job.total {
        Some(total) if job.status != JobStatus::Completed => format!("{processed} of {}", number(total)),
        Some(_) | None => processed,
    }
}

/// How much is done, and of how much: records, or slices while nobody knows how many records there are.
pub(crate) fn share(job: &JobView) -> (i64, i64) {
    match job.total {
        Some(total) if total > 0 => (job.counters.processed().min(total), total),
        Some(_) | None => (job.slices.done, job.slices.total.max(1)),
    }
}

/// `24%`; `~24%` while it is only known how many slices are done; nothing while there is no telling.
pub(crate) fn percent(job: &JobView) -> String {
    if let Some(percent) = job.percent() {
        return format!("{percent}%");
    }
    let (done, all) = share(job);
    if all > 1 { format!("~{}%", done * 100 / all) } else { String::new() }
}

/// `1,234/s`, or nothing.
pub(crate) fn rate(job: &JobView) -> String {
    job.rate_per_second().map(|rate| format!("{}/s", number(whole(rate)))).unwrap_or_default()
}

/// `about 12 s left`, or nothing.
pub(crate) fn remaining(job: &JobView) -> String {
    let seconds = job.estimated_seconds_remaining();
    seconds.map(|seconds| format!("about {} left", duration(whole(seconds.ceil())))).unwrap_or_default()
}

/// What became of the records, leaving out what there is none of.
pub(crate) fn outcome(job: &JobView) -> String {
    let counters = &job.counters;
    let counts = [
        (counters.inserted, "inserted"),
        (counters.updated, "updated"),
        (counters.unchanged, "unchanged"),
        (counters.deferred, "deferred"),
        (counters.failed, "failed"),
        (counters.deleted, "deleted"),
    ];
    let said: Vec<_> = counts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{} {what}", number(count)))
        .collect();
    if said.is_empty() { "none".to_owned() } else { said.join(", ") }
}

/// The parts that say something, two spaces apart.
pub(crate) fn joined(parts: &[String]) -> String {
    let said: Vec<_> = parts.iter().filter(|part| !part.is_empty()).map(String::as_str).collect();
    said.join("  ")
}

fn whole(value: f64) -> i64 {
    std::time::Duration::try_from_secs_f64(value.max(0.0))
        .ok()
        .and_then(|seconds| i64::try_from(seconds.as_secs()).ok())
        .unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_thousands_apart() {
        let cases =
            [(0, "0"), (999, "999"), (1000, "1,000"), (336_776, "336,776"), (-1_234_567, "-1,234,567")];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn durations_have_the_unit_that_matters() {
        let cases = [(-1, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (200_000, "2 d")];
        for (seconds, text) in cases {
            assert_eq!(duration(seconds), text);
        }
    }
}
