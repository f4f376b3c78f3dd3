//! What to look at before a connection is used, by its first page.

use crate::{FetchError, FetchedPage};

use super::seen::Fate;

pub(super) fn on_page(page: &FetchedPage) -> Vec<String> {
    let failed = page.records.iter().filter(|record| Fate::of(&record.content) == Fate::Failed).count();
    let whole = page.records.len() + page.dropped();
    let mut advice = Vec::new();
    if whole == 0 {
        advice.push(
            "the upstream has no records in this span: widen it with --from and --to to see some".to_owned(),
        );
    }
    if failed > 0 {
        advice.push(format!(
            "{failed} of {whole} records would be counted as failed: do the reasons point at a wrong setting?"
        ));
    }
    if page.dropped() > 0 && page.records.is_empty() {
        advice.push(
            "every record lies outside the span: does the upstream know the date parameters that it is asked with?"
                .to_owned(),
        );
    }
    if page.next.is_some() && i64::try_from(whole).ok() == page.total && whole > 0 {
        advice.push(
            "the total is the number of records on this page, and there is a next page: if it only counts the page, \
             leave it out of the settings"
                .to_owned(),
        );
    }
    if page.next.is_none()
        && page.total.is_some_and(|total| i64::try_from(whole).is_ok_and(|whole| total > whole))
    {
        advice.push(format!(
            "the upstream says that there are more than the {whole} records of this page, and no next page was found: is \
             the setting that finds it right?"
        ));
    }
    advice
}

pub(super) fn on_error(error: &FetchError, status: Option<u16>) -> String {
    match (error, status) {
        (FetchError::RateLimited { retry_after: Some(after), .. }, _) => {
            format!("try again in {} s; a job would wait by itself", after.as_secs())
        }
        (FetchError::RateLimited { retry_after: None, .. }, _) => {
            "try again in a minute; a job would wait by itself".to_owned()
        }
        (FetchError::NoRoom { .. }, _) => "try again; a job would do so by itself".to_owned(),
        (FetchError::Transient { .. }, None) => {
            "is the base URL right, and can this machine reach it? A job would try again by itself".to_owned()
        }
        (FetchError::Transient { .. }, Some(200..300)) => {
            "is the path right, and may this key read it? If the upstream is in maintenance, a job would wait by itself".to_owned()
        }
        (FetchError::Transient { .. }, Some(_)) => "try again; a job would do so by itself".to_owned(),
        (FetchError::Expired { .. }, _) => {
            "the upstream refuses this checkpoint: begin at the first page".to_owned()
        }
        (FetchError::Permanent { .. }, Some(401 | 403)) => {
            "the upstream refuses the credentials: check them, and the header that carries them".to_owned()
        }
        (FetchError::Permanent { .. }, Some(404)) => {
            "there is nothing at that URL: check the base URL and the path".to_owned()
        }
        (FetchError::Permanent { .. }, Some(200)) | (FetchError::Unreadable { .. }, _) => {
            "compare the answer with the settings: where are the records in it, and where the next page?"
                .to_owned()
        }
        (FetchError::Permanent { .. }, Some(_)) => {
            "the upstream refuses the request: compare its URL with the upstream's documentation".to_owned()
        }
        (FetchError::Permanent { .. }, None) => {
            "nothing was asked of the upstream; correct this first".to_owned()
        }
    }
}
