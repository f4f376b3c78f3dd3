//! What a fetched page becomes on its way to the settle.

use chrono::{DateTime, Utc};
use protocol::job::JobMode;
use protocol::slice::SliceKind;
use protocol::warning::{Warning, WarningKind};
use sealing::Redactor;
use sources::{Content, FetchedPage, ParsedRecord};
use store::slices::{PageContext, PageRecord, Reach, Settlement, Verdict};

/// Longest text of a warning.
const LONGEST_TEXT: usize = 500;

/// The parts of a settlement that only a walk has. What is fetched by ids leaves out what lies between them: it shows no list,
/// and says nothing about what is known.
pub(super) fn of_walk(context: &PageContext, page: &FetchedPage, redactor: &Redactor) -> Settlement {
    if context.kind != SliceKind::Walk {
        return Settlement::default();
    }
    // Ids out of span are looked at where a walk is judged by what it met.
    let judged = context.counted || context.mode == JobMode::Full || page.walk.smallest_total.is_some();
    let redacted = |warning: &Warning| Warning { text: told(&warning.text, redactor), ..warning.clone() };
    Settlement {
        outside: if judged { page.outside_ids.clone() } else { Vec::new() },
        scope: context.scope,
        whole: page.walk.is_whole(),
        walk: page.walk.clone(),
        warnings: page.warnings.iter().map(redacted).collect(),
        reach: reach(page),
        ..Settlement::default()
    }
}

/// How many records of a page failed or are not importable yet, with the first of them.
pub(super) fn failures(records: &[ParsedRecord], redactor: &Redactor) -> Vec<Warning> {
    let first = |kind: WarningKind, of: fn(&Content) -> Option<&str>| {
        let mut all = records.iter().filter_map(|record| Some((record, of(&record.content)?)));
        let (record, reason) = all.next()?;
        let count = 1 + i64::try_from(all.count()).unwrap_or(i64::MAX - 1);
        let name =
            if record.key.is_empty() { "a record".to_owned() } else { format!("record {}", record.key) };
        Some(Warning { kind, count, text: told(&format!("{name}: {reason}"), redactor) })
    };
    let failed = first(WarningKind::Failed, |content| match content {
        Content::Failed { reason } => Some(reason),
        Content::Stored { .. } | Content::Deferred | Content::Gone { .. } => None,
    });
    let deferred = first(WarningKind::Deferred, |content| match content {
        Content::Deferred => Some("not importable yet"),
        Content::Stored { .. } | Content::Failed { .. } | Content::Gone { .. } => None,
    });
    failed.into_iter().chain(deferred).collect()
}

/// What is stored and shown: free of secrets, and no longer than it may be.
fn told(text: &str, redactor: &Redactor) -> String {
    redactor.redact(text).replace('\0', "\u{fffd}").chars().take(LONGEST_TEXT).collect()
}

fn reach(page: &FetchedPage) -> Reach {
    let mut reach = Reach::default();
    let mut meet = |time: Option<DateTime<Utc>>| {
        reach.oldest_met = [reach.oldest_met, time].into_iter().flatten().min();
        reach.newest_met = reach.newest_met.max(time);
    };
    page.outside.iter().for_each(|outside| meet(outside.time));
    page.records.iter().for_each(|record| meet(record.time));
    let stored = page.records.iter().filter(|record| matches!(record.content, Content::Stored { .. }));
    reach.newest = stored.filter_map(|record| record.time).max();
    reach
}

pub(super) fn to_page_record(record: ParsedRecord, kind: SliceKind, redactor: &Redactor) -> PageRecord {
    let verdict = match record.content {
        Content::Stored { hash, payload } => Verdict::Store { hash, payload },
        Content::Deferred => Verdict::Defer,
        // A job over documents tells the outcome of each; elsewhere an id that is gone is what one wanted to know.
        Content::Gone { .. } if kind != SliceKind::Documents => Verdict::Absent,
        Content::Failed { reason } | Content::Gone { reason } => {
            Verdict::Fail { reason: redactor.redact(&reason).into_owned() }
        }
    };
    PageRecord { key: record.key, time: record.time, version: record.version, verdict }
}
