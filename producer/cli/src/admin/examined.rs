//! What `connection test` says to people.

use super::examine::LostScope;
use crate::output::{Table, Text, json_text};
use crate::show::{moment, number};
use chrono::{DateTime, Utc};
use sources::examine::{Asked, Examination, Fate, Finding, Outcome, PageSeen, Reason, Verdict};

/// A request that has ended.
pub(super) fn request(nth: u32, asked: &Asked) -> Text {
    let status = asked.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
    let records = asked.records.map_or_else(String::new, |records| format!(": {records} records"));
    let total = asked.total.map_or_else(String::new, |total| format!(", total {}", number(total)));
    let Asked { purpose, url, elapsed_ms, .. } = asked;
    let text = Text::from(format!("{nth:>2}  {purpose}: GET {url}"));
    text.and(format!("    {status}, after {elapsed_ms} ms{records}{total}"))
}

/// Everything else.
pub(super) fn text(seen: &Examination, scope: Option<&LostScope>) -> Text {
    let mut lines = Text::default();
    match &seen.outcome {
        Outcome::Page(page) => lines.append(page_lines(page)),
        Outcome::Error(error) => {
            lines.push(format!("✗ {}", error.cause));
            if let Some(body) = &error.body {
                lines.push("The answer began with:");
                lines.append(Text::of_lines(body, "    "));
            }
        }
    }
    lines.extend(seen.advice.iter().map(|advice| format!("! {advice}")));
    if let Some(LostScope { known_to }) = scope {
        lines.push(format!(
            "! with these settings nothing is known of the upstream: what is known of the stored connection, up to {}, is not known \
             under them. The next incremental job would read everything, and stragglers would be dropped",
            moment(*known_to)
        ));
    }
    for finding in &seen.findings {
        lines.push("");
        lines.append(finding_lines(finding));
    }
    if let Some(why) = &seen.stopped {
        lines.push("");
        lines.push(format!("! not everything was asked: {why}"));
    }
    if let (Some(patch), true) = (&seen.patch, seen.findings.len() > 1) {
        lines.push("");
        lines.push("All settings together, as a merge patch (try it with --patch):");
        lines.extend(json_text(patch));
    }
    let seconds = std::time::Duration::from_millis(seen.elapsed_ms).as_secs_f64();
    let requests = if seen.sent == 1 { "request" } else { "requests" };
    lines.push("");
    lines.push(format!("{} {requests} in {seconds:.1} s; nothing was stored", seen.sent));
    lines
}

fn finding_lines(finding: &Finding) -> Text {
    let mut lines = Text::from(format!("• {}", finding.kind.title()));
    for (label, text) in [("asked", &finding.asked), ("seen", &finding.seen), ("means", &finding.means)] {
        for (nth, line) in wrapped(text).into_iter().enumerate() {
            let label = if nth == 0 { label } else { "" };
            lines.push(format!("    {label:<8}  {line}"));
        }
    }
    // Not wrapped: it is there to be copied.
    let settings = finding.settings.as_ref().and_then(|settings| json_text(settings).ok());
    lines.extend(settings.map(|settings| format!("    settings  {settings}")));
    lines
}

/// A text in lines of at most so many characters, unless a word is longer.
fn wrapped(text: &str) -> Vec<String> {
    const WIDTH: usize = 90;
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
}

fn page_lines(page: &PageSeen) -> Text {
    let count = |count: usize| number(i64::try_from(count).unwrap_or(i64::MAX));
    let total = page.total.map_or_else(|| "unknown".to_owned(), number);
    let sign = match page.verdict() {
        Verdict::Read => "✓",
        Verdict::SomeFailed => "!",
        Verdict::AllFailed => "✗",
    };
    let mut lines = Text::from(format!(
        "{sign} {} records: {} would be stored, {} deferred, {} failed; {} dropped, as outside the span",
        count(page.stored + page.deferred + page.failed + page.dropped),
        count(page.stored),
        count(page.deferred),
        count(page.failed),
        count(page.dropped),
    ));
    lines.push(format!("    {} bytes; total {total}", count(page.bytes)));
    for Reason { reason, count } in &page.reasons {
        lines.push(format!("    {count} × {reason}"));
    }
    let time = |time: Option<DateTime<Utc>>| time.map(|time| time.to_rfc3339()).unwrap_or_default();
    let mut table = Table::new(["RECORD", "TIME", "WOULD BE", "REASON"]);
    for record in &page.records {
        let would_be = match record.would_be {
            Fate::Stored => "stored",
            Fate::Deferred => "deferred",
            Fate::Failed => "failed",
        };
        let reason = record.reason.clone().unwrap_or_default();
        table.row([record.id.clone(), time(record.time), would_be.to_owned(), reason]);
    }
    for record in &page.outside {
        let row = [&record.id, &time(record.time), "dropped", "outside the span"];
        table.row(row);
    }
    lines.append(table.text());
    lines.push(match &page.next {
        Some(next) => format!("next page: {next}"),
        None => "no next page: the list ends here".to_owned(),
    });
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_wrapped_and_none_is_lost() {
        let text = "one two ".repeat(30) + &"x".repeat(120);
        let lines = wrapped(&text);
        assert!(
            lines.len() > 2 && lines.iter().rev().skip(1).all(|line| line.chars().count() <= 90),
            "{lines:?}"
        );
        assert_eq!(lines.join(" "), text);
    }
}
