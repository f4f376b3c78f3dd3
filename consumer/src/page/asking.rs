//! A page that asks for records by their ids beside a walk: those that a full sync did not meet, and stragglers.
//!
//! That an id is gone is believed only beside an id that is there, before and after: an upstream that is being moved, or that
//! answers 404 to everything for a minute, must not cost anybody a record.

use super::PageHandler;
use super::fetching::{Asked, Fetched};
use super::step::Step;
use super::stint::Stint;
use protocol::slice::SliceKind;
use sources::{Content, FetchError, FetchedPage, Fetcher, ItemsRequest, Source};
use std::time::Duration;
use store::StoreError;
use store::slices::{Lease, PageContext};

/// What a page asks for.
struct Ids {
    ids: Vec<String>,
    /// An id that should be there.
    control: Option<String>,
    /// The cursor of the page after it.
    next: Option<String>,
}

impl PageHandler {
    pub(super) async fn asking_page(&self, lease: Lease, stint: &mut Stint) -> Result<Asked, StoreError> {
        let ended = |end| Asked::Ended(Step::End(end));
        let ids = match self.to_ask(&lease, stint).await? {
            Ok(ids) => ids,
            Err(cause) => {
                return self.fail_page(&lease, &stint.context, cause, None).await.map(ended);
            }
        };
        let as_of = self.as_of(stint).await?;
        let Stint { context, held, source, http, .. } = &mut *stint;
        let fetched = tokio::select! {
            biased;
            abort = held.aborted() => Err(abort),
            fetched = fetch(&ids, context, &**source, http, self.pages.budget) => Ok(fetched),
        };
        let (page, trusted) = match fetched {
            Ok(Ok(fetched)) => fetched,
            Ok(Err(error)) => return self.fetch_failed(&lease, stint, error).await.map(ended),
            Err(abort) => return self.aborted(lease, stint, abort).await.map(Asked::Ended),
        };
        let gone: Vec<&str> = page
            .records
            .iter()
            .filter(|record| trusted && matches!(record.content, Content::Gone { .. }))
            .map(|record| record.key.as_str())
            .collect();
        // Before the settle: should that be lost, the next page asks for the rest.
        if stint.context.kind == SliceKind::Confirm {
            self.store.slices().confirm(&lease, as_of, &ids.ids, &gone).await?;
        } else {
            self.store.slices().stragglers_asked(&lease, &ids.ids, &gone).await?;
        }
        let page = FetchedPage { next: ids.next, ..page };
        Ok(Asked::Fetched(Box::new(Fetched { lease, page, as_of })))
    }

    /// What the page asks for; `Err` is why it cannot be told. The cursor is the number of ids that were asked for before.
    async fn to_ask(&self, lease: &Lease, stint: &Stint) -> Result<Result<Ids, String>, StoreError> {
        let context = &stint.context;
        let before = context.cursor.as_deref().map_or(Some(0), |cursor| cursor.parse::<usize>().ok());
        let Some(before) = before else {
            return Ok(Err("the slice's checkpoint cannot be read; start the job again".to_owned()));
        };
        let size = if context.limited { 1 } else { stint.source.items_per_page().max(1) };
        if let Some(ids) = &context.documents {
            let ids: Vec<String> = ids.iter().skip(before).take(size + 1).cloned().collect();
            let control = match ids.first() {
                Some(first) => self.store.slices().stored_beside(context.connection, first).await?,
                None => None,
            };
            return Ok(Ok(Ids::of(ids, size, before, control)));
        }
        let limit = match sources::planning(context.source(), context.settings()) {
            Ok(planning) => usize::try_from(planning.confirm_limit).unwrap_or(usize::MAX),
            Err(error) => return Ok(Err(error.to_string())),
        };
        let left = limit.saturating_sub(before);
        let most = u32::try_from(left.min(size + 1)).unwrap_or(u32::MAX);
        let to_confirm = self.store.slices().to_confirm(lease.job(), most).await?;
        Ok(Ok(Ids::of(to_confirm.ids, size, before, to_confirm.control)))
    }
}

impl Ids {
    /// A page of `size` out of ids of which one more than that is there if there is a next page.
    fn of(mut ids: Vec<String>, size: usize, before: usize, control: Option<String>) -> Self {
        let next = (ids.len() > size).then(|| (before + size).to_string());
        ids.truncate(size);
        Self { ids, control, next }
    }
}

/// The records, and whether "gone" is to be believed.
async fn fetch(
    asked: &Ids,
    context: &PageContext,
    source: &dyn Source,
    http: &Fetcher,
    budget: Duration,
) -> Result<(FetchedPage, bool), FetchError> {
    if asked.ids.is_empty() {
        return Ok((FetchedPage::default(), false));
    }
    let budget = budget / 3;
    let request = |ids| ItemsRequest { ids, one_at_a_time: context.narrow, budget };
    let Some(control) = &asked.control else {
        return Ok((source.fetch_items(request(&asked.ids), http).await?, false));
    };
    let control = std::slice::from_ref(control);
    let before = is_there(&source.fetch_items(request(control), http).await?);
    let page = source.fetch_items(request(&asked.ids), http).await?;
    let after = is_there(&source.fetch_items(request(control), http).await?);
    Ok((page, before && after))
}

fn is_there(page: &FetchedPage) -> bool {
    page.records.iter().all(|record| match record.content {
        Content::Stored { .. } | Content::Deferred => true,
        Content::Gone { .. } | Content::Failed { .. } => false,
    })
}
