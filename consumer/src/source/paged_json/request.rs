//! Makes the URL of a page, and reads from an answer where the next one is.

use serde_json::value::RawValue;
use url::Url;

use super::record::{number, text};
use super::settings::{Next, Settings};
use super::template::{DateTemplate, whole_days};
use crate::source::error::quote;
use crate::source::fetch::same_origin;
use crate::source::{FetchError, SourceError};
use common::slice::Span;

/// Longest cursor that is kept: it goes into a URL, and servers take no longer ones.
const MAX_CURSOR_BYTES: usize = 16 << 10;

/// What every page of a connection is asked with.
#[derive(Debug)]
pub(super) struct Requests {
    /// The list's URL with everything but its dates.
    list: Url,
    dates: Vec<(String, DateTemplate)>,
    whole_days: bool,
    next: Next,
}

impl Requests {
    pub(super) fn new(base_url: &Url, settings: &Settings) -> Result<Self, SourceError> {
        check_base(base_url)?;
        let mut list = base_url.clone();
        list.set_path(&format!("{}{}", base_url.path().trim_end_matches('/'), settings.path));
        {
            let mut query = list.query_pairs_mut();
            for parameter in &settings.query {
                query.append_pair(&parameter.name, &parameter.value);
            }
            if let Some(page_size) = &settings.page_size {
                query.append_pair(&page_size.parameter, &page_size.size.to_string());
            }
        }
        Ok(Self {
            list,
            dates: settings.date_templates()?,
            whole_days: settings.dates.as_ref().is_some_and(|dates| dates.whole_days),
            next: settings.next.clone(),
        })
    }

    /// The URL of a page: the first one of a span, or the one that a cursor stands for.
    pub(super) fn url(&self, span: &Span, cursor: Option<&str>) -> Result<Url, FetchError> {
        match (&self.next, cursor) {
            // A next page's URL has everything in it. It is put together and not joined: a path that begins with //
            // would lead to another host.
            (Next::NextUrl { .. }, Some(cursor)) => {
                let (path, query) = match cursor.split_once('?') {
                    Some((path, query)) => (path, Some(query)),
                    None => (cursor, None),
                };
                let mut url = self.list.clone();
                url.set_path(path);
                url.set_query(query);
                Ok(url)
            }
            (Next::Cursor { parameter, .. }, Some(cursor)) => {
                let mut url = self.first(span);
                url.query_pairs_mut().append_pair(parameter, cursor);
                Ok(url)
            }
            (Next::NextUrl { .. } | Next::Cursor { .. }, None) => Ok(self.first(span)),
        }
    }

    fn first(&self, span: &Span) -> Url {
        let asked = if self.whole_days { whole_days(span) } else { *span };
        let mut url = self.list.clone();
        let dates = self.dates.iter().filter_map(|(name, date)| Some((name, date.fill(&asked)?)));
        url.query_pairs_mut().extend_pairs(dates);
        if url.query() == Some("") {
            url.set_query(None);
        }
        url
    }

    /// The cursor of the next page, or `None` at the end of the list.
    ///
    /// For a next URL it is its path and query: the host is always the connection's own. `answered` is where the
    /// answer came from (a relative URL starts there), `asked` what was asked for, with `cursor`.
    pub(super) fn next(
        &self,
        raw: Option<&RawValue>,
        answered: &Url,
        asked: &Url,
        cursor: Option<&str>,
    ) -> Result<Option<String>, FetchError> {
        let Some(raw) = raw.filter(|raw| raw.get() != "null") else { return Ok(None) };
        let unreadable =
            |words: &str| FetchError::permanent(format!("next page {}: {words}", quote(raw.get())));
        let (next, here) = match &self.next {
            Next::NextUrl { .. } => {
                let text = text(raw).ok_or_else(|| unreadable("must be a URL or null"))?;
                if text.is_empty() {
                    return Ok(None);
                }
                let url = answered.join(&text).map_err(|error| unreadable(&error.to_string()))?;
                if !same_origin(&url, &self.list) {
                    return Err(unreadable("next page is on another host than the connection's base URL"));
                }
                (path_and_query(&url), Some(path_and_query(asked)))
            }
            Next::Cursor { .. } => {
                let text = text(raw).or_else(|| number(raw).map(Into::into));
                let text = text.ok_or_else(|| unreadable("must be a text, a number or null"))?;
                if text.is_empty() {
                    return Ok(None);
                }
                if text.contains('\0') {
                    return Err(unreadable("holds the NUL character"));
                }
                (text.into_owned(), cursor.map(ToOwned::to_owned))
            }
        };
        if here.as_ref() == Some(&next) {
            return Err(FetchError::permanent(format!(
                "cursor loop: the next page of {} is itself",
                quote(&next)
            )));
        }
        if next.len() > MAX_CURSOR_BYTES {
            return Err(unreadable("is longer than 16 KiB"));
        }
        Ok(Some(next))
    }
}

fn path_and_query(url: &Url) -> String {
    url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()))
}

fn check_base(base_url: &Url) -> Result<(), SourceError> {
    let wrong = |reason: &str| Err(SourceError::BaseUrl { reason: reason.to_owned() });
    if !matches!(base_url.scheme(), "http" | "https") || base_url.host().is_none() {
        return wrong("must begin with http:// or https:// and name a host");
    }
    if !base_url.username().is_empty() || base_url.password().is_some() {
        return wrong("must not hold a user or a password; they belong into the credentials");
    }
    if base_url.query().is_some() || base_url.fragment().is_some() {
        return wrong("must have neither a query nor a fragment; parameters belong into the settings");
    }
    Ok(())
}
