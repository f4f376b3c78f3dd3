//! Walks a list as the engine does: each page with what the walk has shown before it.

use std::time::Duration;

use protocol::slice::Span;
use protocol::walk::Walk;
use protocol::warning::WarningKind;
use sources::{FetchError, FetchedPage, Fetcher, PageRequest, Source};

use crate::upstream::fetcher;

/// A checkpoint: all that another process knows of a walk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) cursor: Option<String>,
    pub(crate) walk: Walk,
    pub(crate) page: i32,
}

impl Checkpoint {
    /// With this cursor, and of an unknown walk.
    pub(crate) fn at(cursor: Option<&str>) -> Self {
        Self { cursor: cursor.map(ToOwned::to_owned), ..Self::default() }
    }

    pub(crate) async fn fetch(
        &self,
        source: &dyn Source,
        span: &Span,
        http: &Fetcher,
    ) -> Result<FetchedPage, FetchError> {
        let request = PageRequest {
            cursor: self.cursor.as_deref(),
            walk: &self.walk,
            page: self.page,
            ..PageRequest::first(span, Duration::from_secs(20))
        };
        source.fetch(request, http).await
    }

    /// Where the walk stands after a page, if it goes on.
    pub(crate) fn after(&self, page: &FetchedPage) -> Option<Self> {
        let cursor = Some(page.next.clone()?);
        // It is kept as JSON.
        let walk = serde_json::from_str(&serde_json::to_string(&page.walk).unwrap()).unwrap();
        Some(Self { cursor, walk, page: self.page + 1 })
    }
}

/// A walk, to its end or to an error.
#[derive(Debug)]
pub(crate) struct Walked {
    /// Every page that was read, and where the walk stood before it.
    pub(crate) pages: Vec<(Checkpoint, FetchedPage)>,
    /// Why it did not end.
    pub(crate) error: Option<FetchError>,
}

impl Walked {
    /// The ids of what was read, in their order.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.pages.iter().flat_map(|(_, page)| keys(page)).collect()
    }

    /// What the walk has shown.
    pub(crate) fn walk(&self) -> &Walk {
        &self.pages.last().unwrap().1.walk
    }

    /// Why it is not whole.
    pub(crate) fn doubt(&self) -> Option<&str> {
        self.walk().doubt.as_deref()
    }

    /// The kinds of its warnings and notes, and how many of each.
    pub(crate) fn warnings(&self) -> Vec<(WarningKind, i64)> {
        let mut kinds: Vec<(WarningKind, i64)> = Vec::new();
        for warning in self.pages.iter().flat_map(|(_, page)| &page.warnings) {
            assert!(warning.count > 0 && (1..=500).contains(&warning.text.chars().count()), "{warning:?}");
            match kinds.iter_mut().find(|(kind, _)| *kind == warning.kind) {
                Some((_, count)) => *count += warning.count,
                None => kinds.push((warning.kind, warning.count)),
            }
        }
        kinds
    }

    /// The same without the notes.
    pub(crate) fn doubts(&self) -> Vec<WarningKind> {
        self.warnings().into_iter().map(|(kind, _)| kind).filter(|kind| !kind.is_note()).collect()
    }

    /// The walk, if it came to its end.
    pub(crate) fn ended(self) -> Self {
        assert!(self.error.is_none(), "{:?} after {:?}", self.error, self.keys());
        self
    }

    /// Why it failed for good.
    pub(crate) fn failed(self) -> String {
        match self.error {
            Some(FetchError::Permanent { cause, .. }) => cause,
            other => panic!("{other:?} after {} pages", self.pages.len()),
        }
    }
}

pub(crate) fn keys(page: &FetchedPage) -> Vec<String> {
    page.records.iter().map(|record| record.key.clone()).collect()
}

/// Every page from a checkpoint on.
pub(crate) async fn walk_from(source: &dyn Source, span: &Span, from: Checkpoint) -> Walked {
    let (http, mut at) = (fetcher(), Some(from));
    let mut walked = Walked { pages: Vec::new(), error: None };
    while let Some(here) = at {
        assert!(walked.pages.len() < 500, "the walk has no end");
        match here.fetch(source, span, &http).await {
            Err(error) => {
                walked.error = Some(error);
                return walked;
            }
            Ok(page) => {
                at = here.after(&page);
                walked.pages.push((here, page));
            }
        }
    }
    walked
}

/// Every page of a list.
pub(crate) async fn walk(source: &dyn Source, span: &Span) -> Walked {
    walk_from(source, span, Checkpoint::default()).await
}
