//! Reads one answer: splits it, judges its records, and says what follows it.

use std::sync::Arc;

use protocol::slice::Span;
use protocol::walk::Walk;
use protocol::warning::{Warning, WarningKind};
use reqwest::StatusCode;
use url::Url;

use super::answer::{Answer, AnswerError, AnswerShape, Listed};
use super::asked::Asked;
use super::request::Requests;
use super::styles::Page;
use crate::fetch::Body;
use crate::walking::{Follow, Ids, Onward, Seen, onward};
use crate::{FetchError, FetchedPage, Outside, ParsedRecord, Reservation};

/// Some servers and proxies write it before a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Everything that reading a body needs, so that it can move to another thread. The body's reservation goes along,
/// and is given back only when the bytes are gone.
pub(super) struct Reading {
    pub(super) requests: Arc<Requests>,
    pub(super) shape: Arc<AnswerShape>,
    /// What was asked for.
    pub(super) url: Url,
    pub(super) cursor: Option<String>,
    pub(super) walk: Walk,
    pub(super) page: i32,
    pub(super) span: Span,
    /// The span as it was asked for.
    pub(super) asked: Asked,
    pub(super) max_records: usize,
    pub(super) body: Body,
    pub(super) reservation: Reservation,
}

impl Reading {
    pub(super) fn read(mut self) -> Result<FetchedPage, FetchError> {
        let reservation = std::mem::take(&mut self.reservation);
        let page = if self.body.status == StatusCode::NO_CONTENT {
            let answer = self.shape.empty(&self.body.headers);
            self.page(&answer, &Arc::default())?
        } else {
            let text = Arc::new(self.text()?);
            let split = self.shape.split(&text, &self.body.headers, self.max_records);
            let answer = split.map_err(|error| self.unreadable(error, &text))?;
            self.page(&answer, &text)?
        };
        Ok(FetchedPage { reservation, ..page })
    }

    fn text(&mut self) -> Result<String, FetchError> {
        let mut bytes = std::mem::take(&mut self.body.bytes);
        if bytes.starts_with(BYTE_ORDER_MARK) {
            bytes.drain(..BYTE_ORDER_MARK.len());
        }
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(FetchError::transient(format!(
                "the upstream answered {} with an empty body",
                self.body.status
            )));
        }
        String::from_utf8(bytes).map_err(|error| {
            // The last character may be missing its end.
            if error.utf8_error().error_len().is_none() && !self.body.is_framed {
                return broken_off();
            }
            let utf16 =
                error.as_bytes().starts_with(b"\xff\xfe") || error.as_bytes().starts_with(b"\xfe\xff");
            let what = if utf16 { "it is UTF-16, and must be UTF-8: " } else { "" };
            let why = format!("{what}{}", error.utf8_error());
            FetchError::unreadable(&self.body.content_type, why, error.as_bytes())
        })
    }

    fn unreadable(&self, error: AnswerError, text: &str) -> FetchError {
        if matches!(error, AnswerError::Cut(_)) && !self.body.is_framed {
            return broken_off();
        }
        FetchError::unreadable(&self.body.content_type, error, text.as_bytes())
    }

    fn page(&self, answer: &Answer<'_>, text: &Arc<String>) -> Result<FetchedPage, FetchError> {
        let records = Records::of(answer, self, text);
        let (style, rules) = (self.requests.style(), self.requests.rules(&self.asked));
        let early = style.is_early(self.cursor.as_deref(), &self.walk);
        let again = records.place(self.walk.last_id.as_deref());
        let fresh = records.all.len() - again.map_or(0, |place| place + 1);
        let total = answer.total();
        let met = self.walk.fresh.saturating_add(i64::try_from(fresh).unwrap_or(i64::MAX));
        let smallest = total.into_iter().chain(self.walk.smallest_total).filter(|total| *total > 0).min();
        let page = Page {
            answer,
            headers: &self.body.headers,
            from: &self.body.url,
            asked: &self.url,
            cursor: self.cursor.as_deref(),
            walk: &self.walk,
            more: answer.more()?,
            fresh,
            complete: rules.judges_totals && smallest.is_some_and(|total| met >= total),
            secrets: self.requests.secrets(),
        };
        let follow = style.follow(&page)?;
        let absent = self.absent(answer, text);
        if let Some(absent) = &absent
            && !self.is_empty(&follow, total)
        {
            return Err(absent.clone());
        }
        // That one was asked for again on purpose.
        let overlap = again.filter(|_| early);
        let seen = Seen {
            page: self.page,
            records: records.all.len() - usize::from(overlap.is_some()),
            fresh,
            ids: records.ids,
            last_id: records.last_id(),
            early,
            overlap_lost: early && again.is_none(),
            total,
            more: page.more,
            contradiction: style.contradicts(&page),
        };
        let onward = onward(&self.walk, &seen, follow, &rules)?;
        let page = self.fetched(records, onward, overlap, total, text.len());
        Ok(FetchedPage { absent, ..page })
    }

    /// Why an answer without an array of records is none, if it is one.
    fn absent(&self, answer: &Answer<'_>, text: &str) -> Option<FetchError> {
        (answer.list == Listed::Absent).then(|| self.unreadable(self.shape.no_records(), text))
    }

    /// Whether an array that is not there is an empty one: only with a sign of that.
    fn is_empty(&self, follow: &Follow, total: Option<i64>) -> bool {
        let names_next = matches!(follow, Follow::Next(_)) && !self.requests.style().traits().counted;
        total == Some(0) || names_next || self.walk.largest_page > 0 || self.requests.absent_is_empty()
    }

    fn fetched(
        &self,
        records: Records,
        onward: Onward,
        overlap: Option<usize>,
        total: Option<i64>,
        bytes: usize,
    ) -> FetchedPage {
        let Onward { walk, next, warnings, is_repeat } = onward;
        let mut page = FetchedPage { next, total, bytes, walk, warnings, ..FetchedPage::default() };
        if !is_repeat {
            page.records.reserve(records.all.len());
            for (place, record) in records.all.into_iter().enumerate() {
                match record {
                    _ if overlap == Some(place) => {}
                    Ok(record) => page.records.push(record),
                    Err(outside) => {
                        let asked = outside.time.is_none_or(|time| self.asked.contains(time));
                        page.drop_outside(outside, asked);
                    }
                }
            }
        }
        self.requests.note_cursor(self.cursor.as_deref(), &mut page.warnings);
        self.requests.note_counting((self.cursor.as_deref(), self.page), &self.walk, &mut page.warnings);
        tell_of_dropped(&mut page, &self.asked);
        page
    }
}

fn broken_off() -> FetchError {
    FetchError::transient("the answer's body broke off: it ended with its connection, and is not complete")
}

fn tell_of_dropped(page: &mut FetchedPage, asked: &Asked) {
    let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    if page.dropped_by_margin > 0 {
        let text = "records outside the slice, but within what was asked for, are left to the slice that they belong to";
        let (kind, count) = (WarningKind::DroppedByMargin, count(page.dropped_by_margin));
        page.warnings.push(Warning { kind, count, text: text.to_owned() });
    }
    if page.dropped_beyond > 0 {
        let first = page.outside.iter().find(|record| record.time.is_some_and(|time| !asked.contains(time)));
        let example = first.map_or_else(String::new, |record| {
            let time = record.time.map(|time| time.to_rfc3339()).unwrap_or_default();
            format!(", such as {:?} of {time}", crate::error::quote(&record.id))
        });
        let text = format!(
            "records outside of what was asked for ({asked}){example}: does the upstream know the date parameters, and do \
             its next pages keep them?"
        );
        page.warnings.push(Warning {
            kind: WarningKind::OutsideAsked,
            count: count(page.dropped_beyond),
            text,
        });
    }
}

/// The records of a page, judged.
struct Records {
    /// Those that lie outside the span are errors.
    all: Vec<Result<ParsedRecord, Outside>>,
    /// The hash of their readable ids.
    ids: Option<i64>,
}

impl Records {
    fn of(answer: &Answer<'_>, reading: &Reading, text: &Arc<String>) -> Self {
        let judge = reading.shape.judge(reading.span, text);
        let mut ids = Ids::default();
        let all = answer.each().map(|(record, found)| judge.record(record, found));
        let all = all.inspect(|record| ids.add(id(record))).collect();
        Self { all, ids: ids.hash() }
    }

    /// Where the record with this id is.
    fn place(&self, wanted: Option<&str>) -> Option<usize> {
        let wanted = wanted?;
        self.all.iter().position(|record| id(record) == wanted)
    }

    fn last_id(&self) -> Option<String> {
        self.all.last().map(id).filter(|id| !id.is_empty()).map(ToOwned::to_owned)
    }
}

/// A record's id; empty if it cannot be read.
fn id(record: &Result<ParsedRecord, Outside>) -> &str {
    match record {
        Ok(record) => &record.key,
        Err(outside) => &outside.id,
    }
}

/// A page that the upstream has answered with the end of the list.
pub(super) fn ended(walk: &Walk) -> FetchedPage {
    FetchedPage { walk: Walk { beyond_total: false, ..walk.clone() }, ..FetchedPage::default() }
}
