//! Whether flags that say that there is more are right.

use serde_json::{Value, json};

use super::finding;
use crate::examine::evidence::{Evidence, Sight};
use crate::examine::finding::{Finding, FindingKind};
use crate::paged_json::{Lens, Place};

pub(super) fn flag(evidence: &Evidence<'_>) -> Option<Finding> {
    let lens = evidence.lens?;
    let ends = &lens.settings.next.ends;
    let observed: Vec<_> = observed(evidence, lens);
    let (page, says, is) = observed.iter().find(|(_, says, is)| says != is)?;
    let words = |more: bool| if more { "there is more" } else { "this is the end" };
    let comes = if *is { "more records came" } else { "nothing more came" };
    let seen = format!("page {page} says that {}, and {comes}", words(*says));
    let is_inverted = observed.iter().all(|(_, says, is)| says != is);
    let (patch, means) = match (&ends.more, &ends.done) {
        (Some(more), None) if is_inverted => (
            json!({"next": {"more": null, "done": place(more)}}),
            "the flag means the contrary: it is next.done, and not next.more",
        ),
        (None, Some(done)) if is_inverted => (
            json!({"next": {"done": null, "more": place(done)}}),
            "the flag means the contrary: it is next.more, and not next.done",
        ),
        _ => (json!({"next": {"more": null, "done": null}}), "the flag cannot be trusted: leave it out"),
    };
    let settings = evidence.patch([patch]);
    Some(Finding {
        settings,
        ..finding(FindingKind::FlagContradicts, "one page after the other", seen, means)
    })
}

/// Of each page: whether its flag says that there is more, and whether there was.
fn observed(evidence: &Evidence<'_>, lens: &Lens) -> Vec<(u32, bool, bool)> {
    let says = |page: &Sight| page.look.as_ref()?.more;
    let mut observed = Vec::new();
    let second = evidence.second.as_ref();
    let follows = match second {
        Some(second) => after(second, &evidence.first),
        None if !lens.is_counted() && evidence.ends_with_first() => Some(false),
        None => None,
    };
    // A list that grew meanwhile is no contradiction: the page must be as it was, and its flag too.
    let again = evidence.again.as_ref().filter(|again| again.set() == evidence.first.set());
    let still = again.and_then(says);
    let flag = says(&evidence.first).filter(|flag| still == Some(*flag));
    observed.extend(flag.zip(follows).map(|(says, is)| (1, says, is)));
    if let Some(second) = second.filter(|second| second.brings_more_than(&evidence.first)) {
        let ends = second.look.as_ref().is_some_and(|look| look.next.is_none());
        let third = evidence.beyond.as_ref().filter(|beyond| beyond.is_third());
        let follows = match third {
            Some(third) => after(&third.sight, second),
            None if !lens.is_counted() && ends => Some(false),
            None => None,
        };
        let flag = says(second).filter(|says| *says || follows != Some(true));
        observed.extend(flag.zip(follows).map(|(says, is)| (2, says, is)));
    }
    observed
}

/// Whether a page brings something new after another; `None` if that is not known.
fn after(page: &Sight, before: &Sight) -> Option<bool> {
    let refused = || page.status.is_some_and(|status| [400, 404, 410, 416, 422].contains(&status));
    match &page.look {
        Some(_) if page.is_empty_page() => Some(false),
        // The same again is no end; perhaps the page was not understood.
        Some(_) => page.brings_more_than(before).then_some(true),
        None => refused().then_some(false),
    }
}

fn place(place: &Place) -> Value {
    match place {
        Place::Pointer(pointer) => json!(pointer),
        Place::Header(name) => json!({"header": name.as_str()}),
    }
}
