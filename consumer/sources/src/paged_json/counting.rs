//! Whether a next page's URL counts, as `?page=2` does: then the list may move while it is read, as with pages by number.

use protocol::walk::Walk;
use url::form_urlencoded;

/// Parameters that hold the number of a page, without what separates their words.
const PAGES: [&str; 7] = ["page", "p", "pagenumber", "pageno", "pagenum", "pageindex", "currentpage"];

/// Parameters that hold how many records come before a page.
const RECORDS: [&str; 8] =
    ["offset", "pageoffset", "skip", "start", "startat", "startindex", "startrow", "firstresult"];

/// The parameter by which the URL of a walk's second page counts, if it does: its name says so, and its value is that page's
/// number or the number of records before it.
pub(super) fn counts(url: &str, walk: &Walk) -> Option<String> {
    let (_, query) = url.split_once('?')?;
    let counting = |name: &str, value: &str| {
        let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
        let name = name.to_ascii_lowercase();
        let Ok(value) = value.parse::<i64>() else { return false };
        PAGES.contains(&name.as_str()) && (1..=2).contains(&value)
            || RECORDS.contains(&name.as_str()) && (walk.met..=walk.met.saturating_add(1)).contains(&value)
    };
    form_urlencoded::parse(query.as_bytes())
        .find(|(name, value)| counting(name, value))
        .map(|(name, value)| format!("{name}={value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_number_and_an_offset_count_and_a_cursor_does_not() {
        let walk = Walk { met: 100, ..Walk::NEW };
        for (url, counting) in [
            ("/items?limit=100&page=2", Some("page=2")),
            ("/items?page%5Bnumber%5D=2", Some("page[number]=2")),
            ("/items?startAt=100", Some("startAt=100")),
            ("/items?Offset=100", Some("Offset=100")),
            ("/items?page=9f3a", None),
            ("/items?page=7", None),
            ("/items?offset=250", None),
            ("/items?starting_after=100", None),
            ("/items?per_page=2&cursor=2", None),
            ("/items/2", None),
        ] {
            assert_eq!(counts(url, &walk).as_deref(), counting, "{url}");
        }
    }
}
