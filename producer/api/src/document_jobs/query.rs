//! The queries of this contract's lists.

use super::refusal::Refusal;
use super::status::Word;
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use engine::{Cursor, JobQuery, ResultCursor};
use serde::Deserialize;
use std::str::FromStr;
use utoipa::{IntoParams, ToSchema};

const DEFAULT_LIMIT: u16 = 20;
const MAX_LIMIT: u16 = 100;
const DEFAULT_RESULTS: u16 = 100;
const MAX_RESULTS: u16 = 500;

/// The query of a list. What is misspelt is refused: ignoring it would list what was not asked for.
pub(super) fn checked<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Refusal> {
    let Query(query) = query.map_err(|rejection| {
        let text = rejection.body_text();
        Refusal::bad_request(
            text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text).to_owned(),
        )
    })?;
    Ok(query)
}

/// `GET /v1/jobs`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct JobsQuery {
    /// Jobs in this state.
    status: Option<Word>,
    /// How many at most.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u16>,
    /// `next_cursor` of the part before.
    cursor: Option<String>,
    /// Newest first if absent.
    #[param(inline)]
    order: Option<Order>,
}

/// By the time at which they were accepted.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Order {
    Asc,
    Desc,
}

impl JobsQuery {
    pub(super) fn read(self) -> Result<JobQuery, Refusal> {
        Ok(JobQuery {
            connection: None,
            statuses: self.status.map(Word::statuses).unwrap_or_default(),
            limit: limit(self.limit, DEFAULT_LIMIT, MAX_LIMIT)?,
            after: cursor::<Cursor>(self.cursor.as_deref())?,
            oldest_first: matches!(self.order, Some(Order::Asc)),
        })
    }
}

/// The query of a list without filters.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct PageQuery {
    /// How many at most.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u16>,
    /// `next_cursor` of the part before.
    cursor: Option<String>,
}

impl PageQuery {
    pub(super) fn read(self) -> Result<(u16, Option<Cursor>), Refusal> {
        Ok((limit(self.limit, DEFAULT_LIMIT, MAX_LIMIT)?, cursor(self.cursor.as_deref())?))
    }
}

/// The query of a job's results.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ResultsQuery {
    /// How many rows at most.
    #[param(minimum = 1, maximum = 500, default = 100)]
    limit: Option<u16>,
    /// `next_cursor` of the part before.
    cursor: Option<String>,
}

impl ResultsQuery {
    pub(super) fn read(self) -> Result<(u16, Option<ResultCursor>), Refusal> {
        Ok((limit(self.limit, DEFAULT_RESULTS, MAX_RESULTS)?, cursor(self.cursor.as_deref())?))
    }
}

fn limit(given: Option<u16>, default: u16, most: u16) -> Result<u16, Refusal> {
    let limit = given.unwrap_or(default);
    if (1..=most).contains(&limit) {
        return Ok(limit);
    }
    Err(Refusal::bad_request(format!("limit is {limit}; it must be between 1 and {most}")))
}

fn cursor<T: FromStr<Err: ToString>>(text: Option<&str>) -> Result<Option<T>, Refusal> {
    text.map(str::parse).transpose().map_err(|error: T::Err| Refusal::bad_request(error.to_string()))
}
