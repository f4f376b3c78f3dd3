//! Says in words why a job is where it is, from what the store knows of it. The same words serve the API and the command
//! line.

use chrono::{DateTime, SecondsFormat, Utc};
use protocol::job::JobStatus;
use protocol::slice::SliceStatus;
use protocol::warning::Warning;
use serde::Serialize;
use store::jobs::{JobSituation, SliceSituation};
use utoipa::ToSchema;

/// One reason: a stable word for programs, and a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Reason {
    /// A stable word.
    pub code: &'static str,
    /// What holds, and since or until when.
    pub text: String,
    /// The slice that it is about, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slice: Option<i32>,
}

impl Reason {
    const fn new(code: &'static str, text: String) -> Self {
        Self { code, text, slice: None }
    }
}

/// Why the job is where it is, the most telling reason first. Never empty.
#[must_use]
pub fn explain(situation: &JobSituation) -> Vec<Reason> {
    let job = &situation.job;
    let now = job.read_at;
    let mut reasons = Vec::new();
    let mut add = |code, text| reasons.push(Reason::new(code, text));
    match job.status {
        JobStatus::Pending => {
            let since = age(job.created_at, now);
            let command = if situation.start_confirmed {
                "the broker has its start command, and no consumer has planned the job yet"
            } else {
                "the broker has not confirmed its start command; a consumer will plan the job without it"
            };
            add("pending", format!("accepted {since} ago; {command}"));
        }
        JobStatus::Running if job.paused => {
            add("paused", "paused on request; no page is fetched until it is unpaused".to_owned());
        }
        JobStatus::Running => {}
        JobStatus::Cancelling => {
            let since = job.cancel_requested_at.map(|at| age(at, now)).unwrap_or_default();
            let leased = count(job.slices.leased, "page is", "pages are");
            let text = format!(
                "cancelling for {since}{}: nothing more is imported; {leased} still held by a worker",
                because(job.cancel_reason.as_deref())
            );
            add("cancelling", text);
        }
        JobStatus::Completed => {
            add("completed", format!("completed {}", at(job.finished_at)));
            if let Some(why) = &job.deletion_left_out {
                add("deletion_left_out", format!("nothing was deleted: {why}"));
            }
        }
        JobStatus::Cancelled => {
            let by = job.cancel_requested_by.as_deref().map(|by| format!(" by {by}")).unwrap_or_default();
            let text =
                format!("cancelled{by} {}{}", at(job.finished_at), because(job.cancel_reason.as_deref()));
            add("cancelled", text);
        }
        JobStatus::Failed => add("failed", failure(situation)),
    }
    for Warning { kind, count, text } in &job.warnings {
        add("warning", format!("warning {} ({count}): {text}", kind.word()));
    }
    if job.status.is_terminal() {
        reasons.extend(idle(situation));
        reasons.extend(skipped(situation));
        return reasons;
    }
    if situation.live_workers == 0 {
        add("no_consumer", "no consumer is running: start one".to_owned());
    }
    for trouble in &situation.troubles {
        add("not_consuming", format!("a consumer process cannot take work: {trouble}"));
    }
    if situation.connection_deleted {
        add("connection_deleted", format!("its connection {} was deleted", situation.connection));
    }
    if let Some(until) = situation.connection_paused_until {
        let rest = age(now, until);
        let text = format!(
            "the upstream asked us to wait: connection {} rests until {}, for another {rest}",
            situation.connection,
            moment(until)
        );
        add("connection_paused", text);
    }
    if job.slices.queued > 0 && !job.paused && situation.connection_paused_until.is_none() {
        let queued = count(job.slices.queued, "slice waits", "slices wait");
        let (rung, most) = (situation.rung, situation.max_slices);
        match situation.max_pages_in_flight {
            Some(limit) if situation.rung_of_connection >= i64::from(limit) => {
                let text = format!(
                    "{queued} for connection {}: it is limited to {limit} pages in flight, and as many slices are being worked on",
                    situation.connection
                );
                add("connections_limit", text);
            }
            _ => {
                let text = format!(
                    "{queued} for the tenant's turn: {rung} of at most {most} slices are being worked on"
                );
                add("tenants_turn", text);
            }
        }
    }
    reasons.extend(situation.slices.iter().filter_map(|slice| of_slice(slice, situation, now)));
    if reasons.is_empty() {
        let text = "every page is settled; a consumer is about to complete the job".to_owned();
        reasons.push(Reason::new("finishing", text));
    }
    reasons.extend(idle(situation));
    reasons.extend(skipped(situation));
    reasons
}

/// What the job has left out.
fn skipped(situation: &JobSituation) -> Option<Reason> {
    let number = situation.job.pages_skipped;
    if number == 0 {
        return None;
    }
    let pages = count(number, "page was skipped", "pages were skipped");
    let first = situation.skipped.as_ref();
    let place = first.map_or_else(
        || ", by the job that it resumes".to_owned(),
        |it| format!("; the first is page {} of slice {}: {}", it.page, it.slice, it.cause),
    );
    let text = format!("{pages}, as its connection wants it, and what was there is not imported{place}");
    Some(Reason { code: "pages_skipped", text, slice: first.map(|it| it.slice) })
}

fn failure(situation: &JobSituation) -> String {
    let error = situation.job.error.clone().unwrap_or_default();
    let place = match (error.slice, error.page) {
        (Some(slice), Some(page)) => format!(" at page {page} of slice {slice}"),
        _ => String::new(),
    };
    let cause = if error.cause.is_empty() { "no cause was recorded" } else { &error.cause };
    format!("failed{place} {}: {cause}", at(situation.job.finished_at))
}

fn of_slice(slice: &SliceSituation, situation: &JobSituation, now: DateTime<Utc>) -> Option<Reason> {
    let page = format!("slice {}, page {}", slice.slice, slice.page);
    let deaths = match slice.deaths {
        0 => String::new(),
        deaths => format!("; {} died while it held this page", count(i64::from(deaths), "worker", "workers")),
    };
    let since = slice.rung_at.max(slice.last_settled_at).map(|at| age(at, now));
    let since = since.as_deref().unwrap_or("some time");
    let reason = |code, text| Some(Reason { code, text, slice: Some(slice.slice) });
    if let (Some(worker), Some(until)) = (slice.worker, slice.leased_until) {
        let host = slice.host.as_deref().map(|host| format!(" on {host}")).unwrap_or_default();
        let (code, lease) = if until < now {
            ("lease_expired", format!("whose lease ran out {} ago", age(until, now)))
        } else {
            ("leased", format!("which renews its lease (until in {})", age(now, until)))
        };
        return reason(code, format!("{page}: held for {since} by worker {worker}{host}, {lease}{deaths}"));
    }
    match slice.status {
        SliceStatus::Waiting => {
            let until = slice.not_before.map(|until| age(now, until.max(now))).unwrap_or_default();
            let error = slice.last_error.as_deref().unwrap_or("no error was recorded");
            let tried = match slice.failing_since.filter(|_| slice.attempts > 0) {
                Some(since) => {
                    let attempts = count(i64::from(slice.attempts), "failed attempt", "failed attempts");
                    format!(" after {attempts} since {}", moment(since))
                }
                None => String::new(),
            };
            reason("retry", format!("{page}: retry in {until}{tried}: {error}{deaths}"))
        }
        SliceStatus::Ready => {
            let why = if situation.live_workers == 0 {
                "there is no consumer to take it"
            } else if !situation.troubles.is_empty() {
                "consumers will take it when they can consume again"
            } else if situation.markers_out == 0 {
                "a consumer takes it when a slot is free"
            } else {
                "a consumer takes it when a slot is free; if its message was lost, it is rung again"
            };
            reason("rung", format!("{page}: rung {since} ago; {why}{deaths}"))
        }
        // Said of all of them together.
        SliceStatus::Queued | SliceStatus::Done | SliceStatus::Cancelled | SliceStatus::Failed => None,
    }
}

fn because(reason: Option<&str>) -> String {
    reason.map(|reason| format!(" (reason: {reason})")).unwrap_or_default()
}

fn at(moment_of: Option<DateTime<Utc>>) -> String {
    moment_of.map(|at| format!("at {}", moment(at))).unwrap_or_default()
}

/// The part of the job's span that is not cut.
fn idle(situation: &JobSituation) -> Option<Reason> {
    let idle = situation.idle?;
    let from = idle.from.map_or_else(|| "the beginning".to_owned(), moment);
    let text = format!("earlier jobs found nothing from {from} to {}, so that is one slice", moment(idle.to));
    Some(Reason::new("idle_span", text))
}

fn moment(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn count(number: i64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// How long it is from one moment to another, in the unit that matters.
fn age(from: DateTime<Utc>, to: DateTime<Utc>) -> String {
    match (to - from).num_seconds() {
        seconds @ ..=119 => format!("{} s", seconds.max(0)),
        seconds @ 120..=7199 => format!("{} min", seconds / 60),
        seconds @ 7200..=172_799 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}
