//! A page of a job over documents: some of the slice's ids, fetched one by one.

use sources::{FetchError, FetchedPage, Fetcher, ItemsRequest, Source};
use std::time::Duration;
use store::slices::PageContext;

/// Fetches the ids that the slice's cursor stands at: it is the number of those that were fetched before.
pub(super) async fn fetch(
    context: &PageContext,
    ids: &[String],
    source: &dyn Source,
    budget: Duration,
    http: &Fetcher,
) -> Result<FetchedPage, FetchError> {
    let unreadable = || FetchError::Permanent {
        cause: format!(
            "the slice stands at {:?}, which is none of its {} documents",
            context.cursor,
            ids.len()
        ),
        body: None,
    };
    let begin = context.cursor.as_deref().map_or(Some(0), |cursor| cursor.parse::<usize>().ok());
    let begin = begin.filter(|begin| *begin < ids.len()).ok_or_else(unreadable)?;
    // Each request is admitted by itself where they are limited: so it has a page of its own.
    let size = if context.limited { 1 } else { source.items_per_page() };
    let end = ids.len().min(begin + size.max(1));
    let request =
        ItemsRequest { ids: ids.get(begin..end).unwrap_or_default(), one_at_a_time: context.narrow, budget };
    let page = source.fetch_items(request, http).await?;
    let total = i64::try_from(ids.len()).ok();
    Ok(FetchedPage { next: (end < ids.len()).then(|| end.to_string()), total, ..page })
}
