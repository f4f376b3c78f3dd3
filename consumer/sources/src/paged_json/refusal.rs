//! What a refused page means for its walk: its end, a cursor that has died, or an error.

use reqwest::StatusCode;

use super::settings::Settings;

use crate::walking::Traits;
use crate::{FetchError, FetchedPage, PageRequest};

use super::reading::ended;

/// What upstreams answer a page with that is not there. Never 401 and 403: they are about the credentials.
const NOT_THERE: [u16; 6] = [400, 404, 409, 410, 416, 422];

/// What the settings of a connection say about refused pages.
#[derive(Debug)]
pub(super) struct Refusals {
    end_status: Vec<u16>,
    /// Whether a stored cursor can die.
    expires: bool,
    traits: Traits,
}

impl Refusals {
    pub(super) fn new(settings: &Settings, traits: Traits) -> Self {
        let next = &settings.next;
        Self { end_status: next.ends.end_status.clone(), expires: next.style.expires(), traits }
    }

    /// Whether a page after the first one was answered with the end of the list.
    pub(super) fn is_end(&self, status: StatusCode, request: &PageRequest<'_>) -> bool {
        request.cursor.is_some() && self.end_status.contains(&status.as_u16())
    }

    /// What to do about a refused page.
    pub(super) fn judge(
        &self,
        status: StatusCode,
        error: FetchError,
        request: &PageRequest<'_>,
    ) -> Result<FetchedPage, FetchError> {
        let is_beyond =
            self.traits.until_total && request.walk.beyond_total && NOT_THERE.contains(&status.as_u16());
        if self.is_end(status, request) || is_beyond {
            return Ok(ended(request.walk));
        }
        let FetchError::Permanent { cause, body } = error else { return Err(error) };
        if request.cursor.is_none() || !NOT_THERE.contains(&status.as_u16()) {
            return Err(FetchError::Permanent { cause, body });
        }
        let hint = "if this is how the upstream ends its list, name the status in next.end_status";
        // Out of range is no answer to a cursor.
        if self.expires && status != StatusCode::RANGE_NOT_SATISFIABLE {
            return Err(FetchError::Expired {
                cause: format!("{cause} to the cursor of this page; {hint}"),
                body,
            });
        }
        Err(FetchError::Permanent { cause: format!("{cause} to a page after the first one; {hint}"), body })
    }
}
