//! Makes the URL of a page.

use url::Url;

use super::paging::{Paging, Place};
use super::settings::Settings;
use super::template::{DateTemplate, whole_days};
use crate::source::{FetchError, SourceError};
use common::slice::Span;

/// What every page of a connection is asked with.
#[derive(Debug)]
pub(super) struct Requests {
    /// The list's URL with everything but its dates.
    list: Url,
    dates: Vec<(String, DateTemplate)>,
    whole_days: bool,
    paging: Paging,
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
            paging: Paging::new(settings)?,
        })
    }

    /// The URL of a page: the first one of a span, or the one that a cursor stands for.
    pub(super) fn url(&self, span: &Span, cursor: Option<&str>) -> Result<Url, FetchError> {
        Ok(match self.paging.place(cursor)? {
            Place::Start => self.first(span),
            // A next page's URL has everything in it. It is put together and not joined: a path that begins with //
            // would lead to another host.
            Place::Elsewhere(cursor) => {
                let (path, query) = match cursor.split_once('?') {
                    Some((path, query)) => (path, Some(query)),
                    None => (cursor, None),
                };
                let mut url = self.list.clone();
                url.set_path(path);
                url.set_query(query);
                url
            }
            Place::Parameter(name, value) => {
                let mut url = self.first(span);
                url.query_pairs_mut().append_pair(name, &value);
                url
            }
        })
    }

    /// How the list is walked.
    pub(super) const fn paging(&self) -> &Paging {
        &self.paging
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
}

pub(super) fn check_base(base_url: &Url) -> Result<(), SourceError> {
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
