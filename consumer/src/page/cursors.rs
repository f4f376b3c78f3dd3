//! Cursors: where a page leads to, and whether that is back.

use super::stint::Stint;
use sources::FetchedPage;
use store::slices::{Lease, PageContext};

/// The next cursor of a page, unless it leads back to where the slice has been: `Err` is the cause in words.
///
/// Comparing with one earlier cursor, renewed at every page number that is a power of two (Brent), finds a loop of any
/// length without remembering every cursor.
pub(super) fn checked_next(
    lease: &Lease,
    stint: &Stint,
    page: &FetchedPage,
) -> Result<Option<String>, String> {
    let context = &stint.context;
    let Some(next) = &page.next else { return Ok(None) };
    if stint.redactor.finds(next) {
        return Err("the next page's address or cursor holds the connection's credentials, which are not stored in clear; \
                    the upstream must not send them back"
            .to_owned());
    }
    if context.cursor.as_ref() == Some(next) || context.anchor.as_ref() == Some(next) {
        return Err(format!(
            "cursor loop: page {} of the slice leads back to a page that was settled before",
            lease.page()
        ));
    }
    Ok(Some(next.clone()))
}

/// The cursor to compare later ones with.
pub(super) fn next_anchor(page: i32, context: &PageContext, next: Option<&String>) -> Option<String> {
    let number = u32::try_from(page).unwrap_or_default() + 1;
    if number.is_power_of_two() { next.cloned() } else { context.anchor.clone() }
}
