//! Walks a list: what a cursor adds to a request, and what an answer says of the page after it.
//!
//! The cursor is the slice's checkpoint, so a walk can be taken up at any page, by another process. What it holds is up
//! to the style: a path and query, a cursor or id of the upstream, or a number.

use url::Url;

use super::answer::Answer;
use super::link;
use super::next::Next;
use super::pointer::Pointer;
use super::record::{number, text};
use super::scan::scan;
use super::settings::{OneOrMany, Settings, pointer};
use crate::source::error::quote;
use crate::source::fetch::same_origin;
use crate::source::{FetchError, SourceError};

/// Longest cursor that is kept: it goes into a URL, and servers take no longer ones.
const MAX_CURSOR_BYTES: usize = 16 << 10;

/// How one connection's list is walked.
#[derive(Debug)]
pub(super) struct Paging {
    next: Next,
    /// Where the id is that [`Next::LastId`] goes on after.
    id: Option<Pointer>,
    /// How many records are asked for.
    size: Option<u32>,
}

/// What a cursor stands for in a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place<'p> {
    /// The list as it is.
    Start,
    /// A path and query of its own.
    Elsewhere(&'p str),
    /// One more parameter.
    Parameter(&'p str, String),
}

/// An answer, and what it answers.
#[derive(Debug)]
pub(super) struct Answered<'a, 'de> {
    /// Its parts.
    pub(super) answer: &'a Answer<'de>,
    /// The values of its `Link` headers.
    pub(super) links: &'a [String],
    /// Where it came from, redirects followed: a relative URL starts there.
    pub(super) from: &'a Url,
    /// What was asked for.
    pub(super) asked: &'a Url,
    /// The cursor that it was asked for with.
    pub(super) cursor: Option<&'a str>,
}

impl Paging {
    pub(super) fn new(settings: &Settings) -> Result<Self, SourceError> {
        let next = settings.next.clone();
        next.check(settings)?;
        let id = match (&next, &settings.records.id) {
            (Next::LastId { id: Some(id), .. }, _) => Some(pointer("next.id", id)?),
            (Next::LastId { id: None, .. }, OneOrMany::One(id)) => Some(pointer("records.id", id)?),
            _ => None,
        };
        Ok(Self { next, id, size: settings.page_size.as_ref().map(|page_size| page_size.size) })
    }

    /// What a cursor adds to the list's URL.
    pub(super) fn place<'p>(&'p self, cursor: Option<&'p str>) -> Result<Place<'p>, FetchError> {
        Ok(match (&self.next, cursor) {
            (Next::NextUrl { .. } | Next::LinkHeader {}, Some(cursor)) => Place::Elsewhere(cursor),
            (Next::Cursor { parameter, .. } | Next::LastId { parameter, .. }, Some(cursor)) => {
                Place::Parameter(parameter, cursor.to_owned())
            }
            (Next::PageNumber { parameter, first, .. }, cursor) => {
                Place::Parameter(parameter, whole(cursor, *first)?.to_string())
            }
            (Next::Offset { parameter, .. }, cursor) => {
                Place::Parameter(parameter, whole(cursor, 0)?.to_string())
            }
            (
                Next::NextUrl { .. } | Next::LinkHeader {} | Next::Cursor { .. } | Next::LastId { .. },
                None,
            ) => Place::Start,
        })
    }

    /// The cursor of the page after one that cannot be read; `None` where only that page could have said it.
    ///
    /// With offsets it is as many records further as were asked for. Of an upstream that gives fewer, records that a
    /// readable page would have had are skipped too.
    pub(super) fn after(&self, cursor: Option<&str>) -> Option<String> {
        match &self.next {
            Next::PageNumber { first, .. } => Some(whole(cursor, *first).ok()?.checked_add(1)?.to_string()),
            Next::Offset { .. } => {
                Some(whole(cursor, 0).ok()?.checked_add(u64::from(self.size?))?.to_string())
            }
            Next::NextUrl { .. } | Next::LinkHeader {} | Next::Cursor { .. } | Next::LastId { .. } => None,
        }
    }

    /// The cursor of the next page, or `None` at the end of the list.
    pub(super) fn next(&self, page: &Answered<'_, '_>) -> Result<Option<String>, FetchError> {
        let Some(next) = self.candidate(page)? else { return Ok(None) };
        let here = match &self.next {
            Next::NextUrl { .. } | Next::LinkHeader {} => Some(path_and_query(page.asked)),
            Next::Cursor { .. } | Next::LastId { .. } | Next::PageNumber { .. } | Next::Offset { .. } => {
                page.cursor.map(ToOwned::to_owned)
            }
        };
        if here.as_ref() == Some(&next) {
            return Err(FetchError::permanent(format!(
                "cursor loop: the next page of {} is itself",
                quote(&next)
            )));
        }
        if next.len() > MAX_CURSOR_BYTES {
            return Err(unreadable(&next, "is longer than 16 KiB"));
        }
        Ok(Some(next))
    }

    fn candidate(&self, page: &Answered<'_, '_>) -> Result<Option<String>, FetchError> {
        let answer = page.answer;
        let more = flag(answer.more)?;
        match &self.next {
            Next::NextUrl { .. } => {
                let Some(json) = present(answer.next) else { return Ok(None) };
                let url = text(json).ok_or_else(|| unreadable(json, "must be a URL or null"))?;
                self.on_this_host(&url, page)
            }
            Next::LinkHeader {} => {
                let next = link::next(page.links.iter().map(String::as_str));
                let next = next
                    .map_err(|why| FetchError::permanent(format!("the header Link cannot be read: {why}")))?;
                next.map_or(Ok(None), |url| self.on_this_host(&url, page))
            }
            Next::Cursor { .. } => {
                if more == Some(false) {
                    return Ok(None);
                }
                let cursor = present(answer.next).map(own).transpose()?.filter(|cursor| !cursor.is_empty());
                if cursor.is_none() && more == Some(true) {
                    return Err(FetchError::permanent(
                        "the answer says that there is more, and has no cursor",
                    ));
                }
                Ok(cursor)
            }
            Next::LastId { .. } => match (more, answer.records.last()) {
                (Some(false), _) | (None, None) => Ok(None),
                (Some(true), None) => Err(more_of_nothing()),
                (Some(true) | None, Some(last)) => self.id_of(last.json).map(Some),
            },
            Next::PageNumber { first, .. } => {
                let here = whole(page.cursor, *first)?;
                let last = answer.pages().and_then(|pages| first.checked_add(pages)?.checked_sub(1));
                // A number of pages that this page with its records contradicts says nothing.
                let last = last.filter(|last| *last >= here || answer.records.is_empty());
                let ends = match (more, last) {
                    (Some(more), _) => !more,
                    (None, Some(last)) => here >= last,
                    (None, None) => answer.records.is_empty(),
                };
                if more == Some(true) && answer.records.is_empty() {
                    return Err(more_of_nothing());
                }
                Ok(if ends { None } else { here.checked_add(1).map(|next| next.to_string()) })
            }
            Next::Offset { until_total, .. } => {
                let read = u64::try_from(answer.records.len()).unwrap_or(u64::MAX);
                if read == 0 && more == Some(true) {
                    return Err(more_of_nothing());
                }
                let next = whole(page.cursor, 0)?.saturating_add(read);
                // A total that is smaller than what was read says nothing.
                let total =
                    answer.total().filter(|_| *until_total).and_then(|total| u64::try_from(total).ok());
                let ends = read == 0 || more == Some(false) || (more.is_none() && total == Some(next));
                Ok(if ends { None } else { Some(next.to_string()) })
            }
        }
    }

    /// A next page's path and query: the host is always the connection's own.
    fn on_this_host(&self, next: &str, page: &Answered<'_, '_>) -> Result<Option<String>, FetchError> {
        if next.is_empty() {
            return Ok(None);
        }
        let url = page.from.join(next).map_err(|error| unreadable(next, &error.to_string()))?;
        if !same_origin(&url, page.asked) {
            return Err(unreadable(next, "next page is on another host than the connection's base URL"));
        }
        Ok(Some(path_and_query(&url)))
    }

    fn id_of(&self, record: &str) -> Result<String, FetchError> {
        let mut found = [None];
        let pointers = self.id.as_slice();
        let read = scan(record, pointers, found.get_mut(..pointers.len()).unwrap_or_default());
        // Whether it can be stored is another matter.
        let id = read.ok().and_then(|_storable| present(found.first().copied().flatten()));
        let id = id.map(own).transpose()?;
        id.filter(|id| !id.is_empty()).ok_or_else(|| {
            let pointer = pointers.first().map(ToString::to_string).unwrap_or_default();
            FetchError::permanent(format!(
                "the page's last record has no id at {pointer:?}, by which the next page is asked for"
            ))
        })
    }
}

/// A value that is there; null is none.
fn present(json: Option<&str>) -> Option<&str> {
    json.filter(|json| *json != "null")
}

/// A cursor or id of the upstream: a text or a number.
fn own(json: &str) -> Result<String, FetchError> {
    let text = text(json).or_else(|| number(json).map(Into::into));
    let text = text.ok_or_else(|| unreadable(json, "must be a text, a number or null"))?;
    if text.contains('\0') {
        return Err(unreadable(json, "holds the NUL character"));
    }
    Ok(text.into_owned())
}

fn flag(json: Option<&str>) -> Result<Option<bool>, FetchError> {
    match present(json) {
        None => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(other) => Err(FetchError::permanent(format!(
            "whether there is more must be true or false, and is {}",
            quote(other)
        ))),
    }
}

/// A checkpoint that is a number.
fn whole(cursor: Option<&str>, first: u64) -> Result<u64, FetchError> {
    let Some(cursor) = cursor else { return Ok(first) };
    cursor.parse().map_err(|_not_whole| {
        FetchError::permanent(format!(
            "the checkpoint {} is no number: the setting `next` was changed since the job began; start another job",
            quote(cursor)
        ))
    })
}

fn unreadable(next: &str, words: &str) -> FetchError {
    FetchError::permanent(format!("next page {}: {words}", quote(next)))
}

fn more_of_nothing() -> FetchError {
    FetchError::permanent(
        "cursor loop: the answer says that there is more, and has no records to go on after",
    )
}

fn path_and_query(url: &Url) -> String {
    url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()))
}
