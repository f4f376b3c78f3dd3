//! What is asked of an upstream, and in which order. Every request has a purpose, and is left out if nothing could follow
//! from it.

use chrono::{DateTime, TimeDelta, Utc};
use protocol::slice::Span;

use super::evidence::{Beyond, Bounded, ById, Deep, Evidence, Sight};
use super::inquiry::Inquiry;
use crate::paged_json::{Lens, PagedJson};
use crate::{Endpoint, Source};

/// No clock on Earth is further from UTC.
pub(super) const FARTHEST_CLOCK: TimeDelta = TimeDelta::hours(14);
/// More than clocks and days can differ by: a day, and the farthest zone.
pub(super) const BEYOND_CLOCKS: TimeDelta = TimeDelta::hours(38);
/// A page number that no list of this kind has.
const FAR_PAGE: u64 = 100_000;
/// No list has a default window that is longer.
const A_YEAR: TimeDelta = TimeDelta::days(400);
/// As far back as anything is asked for.
pub(super) const LONG_AGO: &str = "2000-01-01";

/// An upstream that is read by settings.
pub(super) struct Paged<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) lens: &'a Lens,
}

impl Paged<'_> {
    /// Asks everything that may show a habit of the upstream, after its first page.
    pub(super) async fn run(&self, inquiry: &mut Inquiry<'_>, evidence: &mut Evidence<'_>) {
        self.second(inquiry, evidence).await;
        evidence.bounded = self.bounded(inquiry, evidence).await;
        evidence.deep = self.deep(inquiry, evidence).await;
        evidence.beyond = self.beyond(inquiry, evidence).await;
        if let Some(cursor) = self.lens.before_first().filter(|_| evidence.first.has_records()) {
            evidence.before_first =
                self.ask(inquiry, "the page before the first one", evidence.span, Some(&cursor)).await;
        }
        self.by_id(inquiry, evidence).await;
        evidence.again = self.ask(inquiry, "the first page again", evidence.span, None).await;
    }

    async fn ask(
        &self,
        inquiry: &mut Inquiry<'_>,
        purpose: &str,
        span: Span,
        cursor: Option<&str>,
    ) -> Option<Sight> {
        self.ask_of(inquiry, purpose, &self.lens.free, span, cursor).await
    }

    /// The first page of a span, whose ends are sent as they are.
    async fn ask_exactly(&self, inquiry: &mut Inquiry<'_>, purpose: &str, span: Span) -> Option<Sight> {
        self.ask_of(inquiry, purpose, &self.lens.exact, span, None).await
    }

    async fn ask_of(
        &self,
        inquiry: &mut Inquiry<'_>,
        purpose: &str,
        source: &PagedJson,
        span: Span,
        cursor: Option<&str>,
    ) -> Option<Sight> {
        Some(inquiry.page(purpose, source, Some(self.lens), span, cursor).await?.0)
    }

    async fn second(&self, inquiry: &mut Inquiry<'_>, evidence: &mut Evidence<'_>) {
        let Some(cursor) = evidence.first.look.as_ref().and_then(|look| look.next.clone()) else { return };
        let could_be_encoded = cursor.contains('%').then_some(());
        let ways = could_be_encoded.and_then(|()| {
            let as_it_is = self.lens.encoded(self.endpoint, true)?;
            Some((as_it_is, self.lens.encoded(self.endpoint, false)?))
        });
        let Some((as_it_is, encoded_anew)) = ways else {
            evidence.second = self.ask(inquiry, "page 2", evidence.span, Some(&cursor)).await;
            return;
        };
        let one = self
            .ask_of(inquiry, "page 2, its cursor sent as it came", &as_it_is, evidence.span, Some(&cursor))
            .await;
        let other = self
            .ask_of(
                inquiry,
                "page 2, its cursor encoded once more",
                &encoded_anew,
                evidence.span,
                Some(&cursor),
            )
            .await;
        let brings = |sight: &Option<Sight>| {
            sight.as_ref().is_some_and(|sight| sight.has_records() && sight.set() != evidence.first.set())
        };
        // The better one is the second page.
        (evidence.second, evidence.second_otherwise) = if brings(&other) && !brings(&one) {
            (other, one.map(|one| (true, one)))
        } else {
            (one, other.map(|other| (false, other)))
        };
    }

    /// The list from the time of a record on that is known.
    async fn bounded(&self, inquiry: &mut Inquiry<'_>, evidence: &Evidence<'_>) -> Option<Bounded> {
        if !self.lens.has_lower_bound() {
            return None;
        }
        let (bound, at_bound) = telling_bound(self.lens, evidence)?;
        let span = Span { from: Some(bound), to: evidence.span.to };
        let sight = self.ask_exactly(inquiry, "the list with a lower bound", span).await?;
        Some(Bounded { bound, at_bound, sight })
    }

    /// What the list has of long ago, if its lower bound is named.
    async fn deep(&self, inquiry: &mut Inquiry<'_>, evidence: &Evidence<'_>) -> Option<Deep> {
        if !self.lens.sends_nothing_unbounded() || evidence.span.from.is_some() {
            return None;
        }
        let from: DateTime<Utc> = format!("{LONG_AGO}T00:00:00Z").parse().ok()?;
        let all = Span { from: Some(from), to: evidence.span.to };
        let mut spans = vec![all];
        if !self.shows_all(evidence) {
            // The list begins with the newest records, which are in every window.
            let year = evidence.span.to - A_YEAR;
            let oldest = evidence.known().into_values().min();
            let ends = [Some(year).filter(|year| oldest.is_none_or(|oldest| *year < oldest)), oldest];
            let ends = ends.into_iter().flatten().filter(|to| *to > from);
            spans = ends.map(|to| Span { from: Some(from), to }).collect();
        }
        let mut deep = None;
        for span in spans {
            let sight = self.ask_exactly(inquiry, "the list with a lower bound long ago", span).await?;
            let is_enough = !sight.is_empty_page();
            deep = Some(Deep { span, shallow: None, sight });
            if is_enough {
                break;
            }
        }
        let deep = deep?;
        if self.shows_all(evidence) {
            return Some(deep);
        }
        let met = evidence.met();
        let older =
            deep.sight.dated().into_iter().filter(|(id, _)| !met.contains(id)).min_by_key(|(_, time)| *time);
        let Some((id, time)) = older else { return Some(deep) };
        // Without a lower bound, and not much newer than that record.
        let (id, to) = (id.to_owned(), (time + TimeDelta::days(2)).min(evidence.span.to));
        let sight =
            self.ask_exactly(inquiry, "an old record without a lower bound", Span { from: None, to }).await;
        Some(Deep { shallow: sight.map(|sight| (id, sight)), ..deep })
    }

    /// Whether a list without a lower bound and with one can be compared as they are: the one is known whole, it begins with
    /// the oldest records, or its total tells.
    fn shows_all(&self, evidence: &Evidence<'_>) -> bool {
        let total = evidence.first.total();
        let filtered = evidence.bounded.as_ref().and_then(|bounded| bounded.sight.total());
        let total_tells = total.is_some() && filtered.is_some() && total != filtered;
        evidence.ends_with_first() || evidence.first.oldest_first() == Some(true) || total_tells
    }

    /// A page beyond the end, where pages are counted.
    async fn beyond(&self, inquiry: &mut Inquiry<'_>, evidence: &Evidence<'_>) -> Option<Beyond> {
        let page = u64::try_from(evidence.first.len()).ok().filter(|page| *page > 0)?;
        // The second page may be it already.
        if !self.lens.is_counted() || !evidence.second.as_ref().is_some_and(Sight::has_records) {
            return None;
        }
        let look = evidence.first.look.as_ref()?;
        let told = look.total.and_then(|total| u64::try_from(total).ok()).filter(|total| *total > 2 * page);
        let pages = look.pages.filter(|pages| *pages > 1).or_else(|| told.map(|total| total.div_ceil(page)));
        let second = evidence.second.as_ref().map_or(0, Sight::len);
        let is_short = u64::try_from(second).is_ok_and(|second| second < page);
        let (pages, is_next) = match pages {
            _ if is_short && told.is_none() => (2, true),
            Some(pages) => (pages, true),
            None => (FAR_PAGE, false),
        };
        let cursor = self.lens.far(pages.saturating_mul(page), pages)?;
        let place = format!("page {}", pages + 1);
        let sight =
            self.ask(inquiry, &format!("{place}, beyond the end"), evidence.span, Some(&cursor)).await?;
        Some(Beyond { is_next, place, sight })
    }

    /// A record that is listed, and one that is not there, each by its id.
    async fn by_id(&self, inquiry: &mut Inquiry<'_>, evidence: &mut Evidence<'_>) {
        if self.lens.settings.item.is_none() {
            return;
        }
        let ids = evidence.met();
        // One that can be read in the list.
        let readable = match self.lens.settings.records.time {
            Some(_) => evidence.first.dated().first().map(|(id, _)| *id),
            None => evidence.first.ids().first().copied(),
        };
        let Some(listed) = readable.map(ToOwned::to_owned) else { return };
        let Some(unknown) = super::found::items::absent_id(&ids) else { return };
        let plain: &dyn Source = &self.lens.plain;
        let found = inquiry.item("a listed record by its id", plain, &listed).await;
        evidence.listed = found.map(|(status, record)| ById { id: listed, status, record });
        let found = inquiry.item("an id that is not there", plain, &unknown).await;
        evidence.unknown = found.map(|(status, record)| ById { id: unknown, status, record });
    }
}

/// Asks what can be asked of a source that is no preset of `paged_json`.
pub(super) async fn plain(source: &dyn Source, inquiry: &mut Inquiry<'_>, evidence: &mut Evidence<'_>) {
    if let Some(cursor) = evidence.first.look.as_ref().and_then(|look| look.next.clone()) {
        let second = inquiry.page("page 2", source, None, evidence.span, Some(&cursor)).await;
        evidence.second = second.map(|(sight, _)| sight);
    }
    let again = inquiry.page("the first page again", source, None, evidence.span, None).await;
    evidence.again = again.map(|(sight, _)| sight);
}

/// The bound from which most can be learned: the time of a record, with other records before and behind it.
fn telling_bound(lens: &Lens, evidence: &Evidence<'_>) -> Option<(DateTime<Utc>, Option<String>)> {
    let (known, first) = (evidence.known(), evidence.first.dated());
    let worth = |id: &str, time: DateTime<Utc>| {
        let bound = lens.sent(time);
        let others = |matches: &dyn Fn(DateTime<Utc>) -> bool| known.values().any(|time| matches(*time));
        if !others(&|other| other < bound) {
            return None;
        }
        // A bound that is ignored brings the first page.
        let far = first.iter().any(|(_, other)| *other < bound - BEYOND_CLOCKS);
        let much_newer = others(&|other| other > time + BEYOND_CLOCKS);
        let newer = others(&|other| other > time);
        let same_day = others(&|other| other < bound && lens.midnight(other) == lens.midnight(bound));
        let past_clocks = others(&|other| other > time + FARTHEST_CLOCK);
        let worth =
            [(far, 32), (bound == time, 16), (past_clocks, 8), (much_newer, 4), (newer, 2), (same_day, 1)];
        let worth: u8 = worth.into_iter().filter(|(is_so, _)| *is_so).map(|(_, worth)| worth).sum();
        Some((worth, bound, (bound == time).then(|| id.to_owned())))
    };
    let all = first.iter().filter_map(|(id, time)| worth(id, *time));
    // Of those that are worth the same, the newest: then the page has room for all.
    let best = all.max_by_key(|(worth, bound, _)| (*worth, *bound))?;
    Some((best.1, best.2))
}
