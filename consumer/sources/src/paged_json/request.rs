//! Makes the URL of a page.

use protocol::slice::Span;
use protocol::walk::Walk;
use protocol::warning::{Warning, WarningKind};
use serde_json::Value;
use url::Url;

use super::asked::Asked;
use super::counting::counts;
use super::dates::DateQuery;
use super::secrets::Secrets;
use super::settings::{Absent, Settings};
use super::styles::{self, Place, Style};
use crate::walking::Rules;
use crate::{FetchError, PageRequest, SourceError, TotalIs};

/// What every page of a connection is asked with.
#[derive(Debug)]
pub(super) struct Requests {
    /// The list's URL with everything but its dates.
    list: Url,
    dates: DateQuery,
    style: Box<dyn Style>,
    secrets: Secrets,
    total_is: TotalIs,
    rules: Rules,
    absent_is_empty: bool,
}

impl Requests {
    pub(super) fn new(base_url: &Url, credentials: &Value, settings: &Settings) -> Result<Self, SourceError> {
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
        let style = styles::open(settings)?;
        let rules = Rules {
            traits: style.traits(),
            judges_totals: true,
            max_empty_pages: settings.max_empty_pages,
            size: settings.page_size.as_ref().map(|page_size| page_size.size),
        };
        Ok(Self {
            list,
            dates: DateQuery::new(settings)?,
            style,
            secrets: Secrets::of(credentials),
            total_is: settings.total_is,
            rules,
            absent_is_empty: settings.records.absent == Absent::Empty,
        })
    }

    /// The URL of a page: the first one of a span, or the one that a cursor stands for.
    pub(super) fn url(&self, request: &PageRequest<'_>) -> Result<Url, FetchError> {
        let first = || self.first(request.span, request.open_end);
        Ok(match self.style.place(request.cursor, request.walk)? {
            Place::Start => first(),
            // A next page's URL has everything in it. It is put together and not joined: a path that begins with //
            // would lead to another host.
            Place::Elsewhere(cursor) => {
                let cursor = self.secrets.show(cursor)?;
                let (path, query) = match cursor.split_once('?') {
                    Some((path, query)) => (path, Some(query)),
                    None => (&*cursor, None),
                };
                let mut url = self.list.clone();
                url.set_path(path);
                url.set_query(query);
                url
            }
            Place::Parameter(name, value) => {
                let mut url = first();
                url.query_pairs_mut().append_pair(name, &value);
                url
            }
            Place::Encoded { name, value, .. } => {
                let mut url = first();
                url.query_pairs_mut().append_pair(name, "");
                let query = format!("{}{value}", url.query().unwrap_or_default());
                url.set_query(Some(&query));
                url
            }
        })
    }

    /// How the list is walked.
    pub(super) fn style(&self) -> &dyn Style {
        &*self.style
    }

    /// The rules of walks of a span that was asked for so.
    pub(super) const fn rules(&self, asked: &Asked) -> Rules {
        let judges_totals = match self.total_is {
            TotalIs::Exact => true,
            TotalIs::Estimate => false,
            TotalIs::Unfiltered => asked.from.is_none(),
        };
        Rules { judges_totals, ..self.rules }
    }

    pub(super) const fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    pub(super) const fn absent_is_empty(&self) -> bool {
        self.absent_is_empty
    }

    /// Tells that a page was asked for with a cursor that was encoded already.
    pub(super) fn note_cursor(&self, cursor: Option<&str>, warnings: &mut Vec<Warning>) {
        let placed = self.style.place(cursor, &Walk::NEW);
        if let Ok(Place::Encoded { name, guessed: true, .. }) = placed {
            let text = format!(
                "cursors that hold a valid %XX are sent as {name} as they came; next.encoded decides otherwise"
            );
            warnings.push(Warning { kind: WarningKind::EncodedCursor, count: 1, text });
        }
    }

    /// Tells that a walk's second page was asked for with a URL that counts.
    pub(super) fn note_counting(
        &self,
        (cursor, page): (Option<&str>, i32),
        walk: &Walk,
        warnings: &mut Vec<Warning>,
    ) {
        let is_second = page.saturating_sub(walk.first_page) == 1;
        if is_second
            && let Ok(Place::Elsewhere(url)) = self.style.place(cursor, walk)
            && let Some(parameter) = counts(url, walk)
        {
            let text = format!(
                "the next page's URL counts ({parameter}): a record that is removed before the place where the walk is hides \
                 another"
            );
            warnings.push(Warning { kind: WarningKind::MovingList, count: 1, text });
        }
    }

    /// What a span is asked for as.
    pub(super) fn asked(&self, span: &Span, open_end: bool) -> Asked {
        self.dates.asked(span, open_end)
    }

    fn first(&self, span: &Span, open_end: bool) -> Url {
        let mut url = self.list.clone();
        url.query_pairs_mut().extend_pairs(self.dates.fill(span, open_end));
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
