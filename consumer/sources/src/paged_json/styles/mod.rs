//! The styles of paging: what a cursor adds to a request, and what a page says of the one after it.
//!
//! The cursor is the slice's checkpoint, so a walk can be taken up at any page, by another process. What it holds is up
//! to the style: a path and query, a cursor or id of the upstream, or a number.

mod cursor;
mod last_id;
mod link_header;
mod marks;
mod next_url;
mod offset;
mod page_number;

pub use cursor::Cursor;
pub use last_id::LastId;
pub use link_header::LinkHeader;
pub use next_url::NextUrl;
pub use offset::Offset;
pub use page_number::PageNumber;

use std::fmt::Debug;

use protocol::walk::Walk;
use reqwest::header::HeaderMap;
use url::Url;

use super::answer::Answer;
use super::record::{number, text};
use super::secrets::Secrets;
use super::settings::{Place as Spot, Settings, Style as StyleSettings};
use crate::error::quote;
use crate::walking::{Follow, Traits};
use crate::{FetchError, SourceError};

/// Longest cursor that is kept: it goes into a URL, and servers take no longer ones.
const MAX_CURSOR_BYTES: usize = 16 << 10;

/// One style, as a connection's settings have it.
pub(super) trait Style: Debug + Send + Sync {
    /// What a cursor adds to the list's URL.
    fn place<'p>(&'p self, cursor: Option<&'p str>, walk: &Walk) -> Result<Place<'p>, FetchError>;

    /// What follows a page.
    fn follow(&self, page: &Page<'_, '_>) -> Result<Follow, FetchError>;

    /// How far pages of this style can be trusted.
    fn traits(&self) -> Traits {
        Traits::default()
    }

    /// Whether a page was asked for one record early, so that it must begin with the last record of the page before.
    fn is_early(&self, _cursor: Option<&str>, _walk: &Walk) -> bool {
        false
    }

    /// What contradicts that the list ends at this page, in words.
    fn contradicts(&self, _page: &Page<'_, '_>) -> Option<String> {
        None
    }

    /// The cursor of the page after one that cannot be read; `None` where only that page could have said it.
    fn after(&self, _cursor: Option<&str>, _walk: &Walk) -> Option<String> {
        None
    }

    /// Where an answer has the next page's URL or cursor.
    fn next(&self) -> Option<&Spot> {
        None
    }

    /// Where an answer has the number of pages.
    fn pages(&self) -> Option<&Spot> {
        None
    }
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
    /// One more parameter, whose value is encoded already.
    Encoded {
        /// The parameter.
        name: &'p str,
        /// Its value.
        value: &'p str,
        /// Whether that is only concluded from how it looks.
        guessed: bool,
    },
}

/// A page, and what it answers.
#[derive(Debug)]
pub(super) struct Page<'a, 'de> {
    /// The parts of the answer.
    pub(super) answer: &'a Answer<'de>,
    /// Its headers.
    pub(super) headers: &'a HeaderMap,
    /// Where it came from, redirects followed: a relative URL starts there.
    pub(super) from: &'a Url,
    /// What was asked for.
    pub(super) asked: &'a Url,
    /// The cursor that it was asked for with.
    pub(super) cursor: Option<&'a str>,
    /// What the walk had shown before.
    pub(super) walk: &'a Walk,
    /// Whether the answer says that there is more.
    pub(super) more: Option<bool>,
    /// How many of its records are new, as far as the end of the page before tells.
    pub(super) fresh: usize,
    /// Whether as many records have been met as the total says that there are.
    pub(super) complete: bool,
    /// Takes the connection's secrets out of a URL.
    pub(super) secrets: &'a Secrets,
}

/// The style that the settings ask for.
pub(super) fn open(settings: &Settings) -> Result<Box<dyn Style>, SourceError> {
    Ok(match settings.next.style.clone() {
        StyleSettings::NextUrl(style) => Box::new(style),
        StyleSettings::LinkHeader(style) => Box::new(style),
        StyleSettings::Cursor(style) => Box::new(style),
        StyleSettings::LastId(style) => Box::new(last_id::After::new(style, &settings.records)?),
        StyleSettings::PageNumber(style) => Box::new(style),
        StyleSettings::Offset(style) => Box::new(offset::Counted::new(style, settings)?),
    })
}

impl StyleSettings {
    /// Whether a record that moves while the list is read may be missed without a sign.
    pub(super) const fn is_blind(&self) -> bool {
        match self {
            Self::NextUrl(_) | Self::LinkHeader(_) | Self::Cursor(_) | Self::LastId(_) => false,
            Self::PageNumber(_) => true,
            Self::Offset(style) => style.overlap == 0,
        }
    }

    /// Whether a walk that stored a cursor can find it refused: where pages are counted, there is nothing to refuse.
    pub(super) const fn expires(&self) -> bool {
        match self {
            Self::NextUrl(_) | Self::LinkHeader(_) | Self::Cursor(_) | Self::LastId(_) => true,
            Self::PageNumber(_) | Self::Offset(_) => false,
        }
    }
}

/// A cursor that is short enough to be kept.
fn kept(next: String) -> Result<Follow, FetchError> {
    if next.len() > MAX_CURSOR_BYTES {
        return Err(unreadable(&next, "is longer than 16 KiB"));
    }
    Ok(Follow::Next(next))
}

/// What follows a page whose next page is itself: it is a loop, unless the page is empty.
fn itself(next: &str, page: &Page<'_, '_>) -> Result<Follow, FetchError> {
    if page.answer.records.is_empty() && page.more != Some(true) {
        return Ok(Follow::End);
    }
    Err(FetchError::permanent(format!("cursor loop: the next page of {} is itself", quote(next))))
}

/// What follows a page that names no next one.
fn nowhere(page: &Page<'_, '_>, what: &str) -> Result<Follow, FetchError> {
    if page.more == Some(true) {
        return Err(FetchError::permanent(format!("the answer says that there is more, and has no {what}")));
    }
    Ok(Follow::End)
}

/// A next page's path and query, if it is on this host: its scheme and port do not matter, since the connection's own are
/// used. Without the connection's secrets.
fn on_this_host(next: &str, page: &Page<'_, '_>) -> Result<String, FetchError> {
    let wrong = |why: &str| unreadable(&page.secrets.hide(next), why);
    let url = page.from.join(next).map_err(|error| wrong(&error.to_string()))?;
    if url.host().is_none() || url.host() != page.asked.host() {
        return Err(wrong("next page is on another host than the connection's base URL"));
    }
    Ok(page.secrets.hide(&path_and_query(&url)))
}

/// What a page was asked for with, as [`on_this_host`] writes it.
fn here(page: &Page<'_, '_>) -> String {
    page.secrets.hide(&path_and_query(page.asked))
}

fn path_and_query(url: &Url) -> String {
    url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()))
}

/// A cursor or id of the upstream: a text or a number.
fn own(json: &str) -> Result<String, FetchError> {
    let text = text(json).or_else(|| number(json).map(Into::into));
    let text = text.ok_or_else(|| {
        unreadable(
            json,
            "must be a text, a number or null; if this means the end of the list, name it in next.end_marks",
        )
    })?;
    if text.contains('\0') {
        return Err(unreadable(json, "holds the NUL character"));
    }
    Ok(text.into_owned())
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
