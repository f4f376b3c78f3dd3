//! Refuses settings that cannot work together. What each part means is checked where it is used.

use chrono::{TimeDelta, Utc};
use protocol::slice::{MAX_SLICES, Span};

use super::{Dates, Settings, Start};
use crate::SourceError;
use crate::paged_json::dates::DateQuery;

impl Settings {
    /// Refuses settings that cannot work together.
    pub(crate) fn check(&self) -> Result<(), SourceError> {
        let wrong = |reason: &str| Err(SourceError::settings(reason));
        if !self.path.starts_with('/') || self.path.contains(['?', '#']) {
            return wrong("path: must begin with / and have neither ? nor #; parameters belong into query");
        }
        if self.page_size.as_ref().is_some_and(|page_size| page_size.size == 0) {
            return wrong("page_size.size: must be at least 1");
        }
        self.next.check()?;
        self.records.check()?;
        if let Some(item) = &self.item {
            item.check(&self.records)?;
        }
        if self.delete_at_once && !self.next.style.expires() {
            return wrong(
                "delete_at_once: is not possible with this next.style, since a record that moves while the list is read looks \
                 as if it were gone; a second full sync confirms what is",
            );
        }
        if self.straggler_days == 0 {
            return wrong("straggler_days: must be at least 1");
        }
        let query = DateQuery::new(self)?;
        if let Some(dates) = &self.dates {
            self.check_dates(dates, &query)?;
        }
        self.check_slicing(&query)
    }

    fn check_dates(&self, dates: &Dates, query: &DateQuery) -> Result<(), SourceError> {
        let wrong = |reason: String| Err(SourceError::settings(reason));
        let has_from = |name: &str| {
            dates
                .parameters
                .iter()
                .any(|parameter| parameter.name == name && parameter.value.contains("{from"))
        };
        if let Some(Start::Each(each)) = &dates.start
            && let Some(unknown) = each.keys().find(|name| !has_from(name))
        {
            return wrong(format!("dates.start: no parameter {unknown} has {{from}}"));
        }
        let is_sent = matches!(dates.start, Some(Start::At(_) | Start::Instead(_)));
        if is_sent && !dates.parameters.iter().any(|parameter| has_from(&parameter.name)) {
            return wrong("dates.start: no parameter has {from}, so that it would never be sent".to_owned());
        }
        if self.records.time.is_none() && (dates.whole_days || query.has_margin()) {
            let which = if dates.whole_days { "whole_days" } else { "margin" };
            return wrong(format!(
                "dates.{which}: needs records.time, by which what is asked for beyond a slice's span is dropped"
            ));
        }
        if dates.max_span.is_some() {
            if !query.has_both_ends() {
                return wrong(
                    "dates.max_span: needs dates.parameters with {from} and {to} (or {last})".to_owned(),
                );
            }
            if query.floor().is_none() {
                return wrong(
                    "dates.max_span: needs a dates.start that is a date, since a job without a lower bound would ask for more"
                        .to_owned(),
                );
            }
            if query.longest_slice().is_some_and(|longest| longest <= TimeDelta::zero()) {
                return wrong(
                    "dates.max_span: leaves nothing of a slice beside its margins on both sides".to_owned(),
                );
            }
        }
        self.check_filled(query)
    }

    /// Every template is filled in once, so that no job meets one that gives nothing.
    fn check_filled(&self, query: &DateQuery) -> Result<(), SourceError> {
        let to = Utc::now();
        for from in [None, to.checked_sub_signed(TimeDelta::days(400))] {
            for open_end in [false, true] {
                let filled = query.fill(&Span { from, to }, open_end);
                if let Some((name, _)) = filled.iter().find(|(_, value)| value.is_empty()) {
                    return Err(SourceError::settings(format!(
                        "dates.parameters, {name}: its value would be empty"
                    )));
                }
            }
        }
        Ok(())
    }

    fn check_slicing(&self, query: &DateQuery) -> Result<(), SourceError> {
        let wrong = |reason: &str| Err(SourceError::settings(reason));
        let Some(slicing) = self.slicing else { return Ok(()) };
        if slicing.days == 0 || !(1..=MAX_SLICES).contains(&slicing.max_slices) {
            return wrong("slicing: days must be at least 1, and max_slices between 1 and 10000");
        }
        if !query.has_both_ends() {
            return wrong("slicing: needs dates.parameters with {from} and {to} (or {last})");
        }
        let is_exact = self.dates.as_ref().is_some_and(|dates| dates.margin.is_some());
        if self.records.time.is_none() && !is_exact {
            return wrong(
                "slicing: without records.time, a record at a cut is lost if the upstream takes a bound as exclusive, or if its \
                 days are not UTC's: name records.time; or, if {from} is inclusive and times are UTC, set dates.margin to 0",
            );
        }
        Ok(())
    }
}
