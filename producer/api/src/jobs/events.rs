//! `GET /api/v1/jobs/{id}/events`: what happened to a job, as a list or as an event stream.

use super::request::{Asked, Caller, JobPath, Parameters, limit};
use crate::error::{Problem, ProblemBody};
use crate::openapi::Refusals;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use engine::{Engine, NoPlace, SentAway, Told};
use futures::future::ready;
use futures::stream::once;
use futures::{FutureExt, StreamExt};
use protocol::contract::EventMessage;
use protocol::ids::JobId;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use utoipa::{IntoParams, ToSchema};

const DEFAULT_LIMIT: u16 = 100;
const MAX_LIMIT: u16 = 500;
/// When a client whose stream was ended connects again.
const GO_ON_AFTER: Duration = Duration::from_millis(100);

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct EventsQuery {
    /// How many at most.
    #[param(minimum = 1, maximum = 500, default = 100)]
    limit: Option<u16>,
    /// Those after the event with this id.
    after: Option<i64>,
}

impl Parameters for EventsQuery {
    const NAMES: &'static [&'static str] = &["limit", "after"];
}

/// Where a stream goes on.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "it describes")]
struct EventsHeaders {
    /// Of a stream: the event to go on after.
    #[param(rename = "last-event-id", value_type = i64, required = false)]
    last_event_id: Option<i64>,
}

/// A part of the events of a job.
#[derive(Serialize, ToSchema)]
#[schema(as = JobEvents)]
pub(super) struct EventsBody {
    data: Vec<EventBody>,
    pagination: EventsPagination,
}

/// An event: `id`, and what the broker's message has.
#[derive(Serialize, ToSchema)]
#[schema(as = JobEvent)]
struct EventBody {
    id: Option<i64>,
    #[serde(flatten)]
    #[schema(value_type = Object)]
    message: EventMessage,
}

#[derive(Serialize, ToSchema)]
#[schema(as = JobEventsPagination)]
struct EventsPagination {
    limit: u16,
    has_more: bool,
    /// The `after` of the next part.
    next_after: Option<i64>,
}

/// What happened to a job, oldest first. With `Accept: text/event-stream` they are sent as they come, and progress in between, until the job is
/// over; `Last-Event-ID` goes on where a broken stream ended. A stream whose process ends, or that has lasted ten minutes, sends `event: moved`
/// last: connect again. One whose key is revoked or whose token expires sends `event: closed`, with a `reason`. A caller may have 20 streams, a
/// tenant 50 and a process 100; beyond that the answer is 503 with `Retry-After`.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/events", tag = "jobs",
    operation_id = "job_events", security(("key" = [])), params(("id" = JobId, Path, description = "The job"), EventsQuery,
        EventsHeaders),
    responses(
    (status = 200, description = "The events", content((EventsBody = "application/json"), (String = "text/event-stream"))),
    (status = 400, description = "A parameter makes no sense", body = ProblemBody, content_type = "application/problem+json"),
    (status = 404, description = "No such job", body = ProblemBody, content_type = "application/problem+json"),
    Refusals))]
pub(super) async fn events(
    Caller(caller): Caller,
    State(engine): State<Arc<Engine>>,
    JobPath(job): JobPath,
    Asked(query): Asked<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let limit = limit(query.limit, DEFAULT_LIMIT, MAX_LIMIT)?;
    let after = query.after.unwrap_or(0);
    let last = last_event_id(&headers)?;
    if !wants_stream(&headers) {
        let page = engine.events(caller.tenant, job, after, limit).await?;
        let pagination = EventsPagination { limit, has_more: page.next.is_some(), next_after: page.next };
        let data = page.events.into_iter().map(|Told { id, message }| EventBody { id, message }).collect();
        return Ok(Json(EventsBody { data, pagination }).into_response());
    }
    let after = last.unwrap_or(after);
    let (told, following) = match Arc::clone(&engine).follow(&caller, job, after).await? {
        Ok(followed) => followed,
        Err(none) => return Ok(no_place(none)),
    };
    let leaving = engine.leaving().clone();
    let ended = async move {
        tokio::select! {
            () = leaving.cancelled() => moved(),
            why = following.end() => match why {
                SentAway::Age => moved(),
                SentAway::NoLonger => closed("your API key was revoked, or your user may not read this any more"),
                SentAway::Expired => closed("your token has expired; come again with a fresh one"),
            },
        }
    };
    // A stream that has ended because the job is over says so itself.
    let over = Arc::new(OnceLock::new());
    let last = Arc::clone(&over);
    let stream = told
        .map(|told| sent(&told))
        .take_until(ended.map(move |event| drop(last.set(event))))
        .chain(once(async move { over.get().cloned() }).filter_map(ready))
        .map(Ok::<_, Infallible>);
    let mut response = Sse::new(stream).keep_alive(KeepAlive::default()).into_response();
    // Proxies must not collect it.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// Too many streams are open: of this caller, of this tenant, or at all.
fn no_place(none: NoPlace) -> Response {
    let detail = match none {
        NoPlace::Process => "too many jobs are followed here; ask again, or ask for the list",
        NoPlace::Tenant => "your tenant follows as many jobs as it may; end a stream, or ask for the list",
        NoPlace::Caller => "you follow as many jobs as you may; end a stream, or ask for the list",
    };
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_streams", detail);
    ([(header::RETRY_AFTER, HeaderValue::from_static("5"))], problem).into_response()
}

fn wants_stream(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|kind| kind.split(';').next().unwrap_or_default().trim() == "text/event-stream")
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<i64>, Problem> {
    let Some(given) = headers.get("last-event-id") else { return Ok(None) };
    let id = given.to_str().ok().and_then(|text| text.parse().ok());
    let refused = || {
        let detail =
            "the header Last-Event-ID is not the id of an event; leave it out to begin with the first";
        Problem::new(StatusCode::BAD_REQUEST, "invalid_header", detail)
    };
    id.map(Some).ok_or_else(refused)
}

/// Go on with another stream, after the last id: this process ends, or this stream has lasted long enough.
fn moved() -> Event {
    Event::default().event("moved").data("{}").retry(GO_ON_AFTER)
}

/// Nothing more is told to this caller.
fn closed(reason: &str) -> Event {
    Event::default().event("closed").data(json!({ "reason": reason }).to_string())
}

fn sent(told: &Told) -> Event {
    let event = Event::default().event(told.message.event.key()).data(json!(told.message).to_string());
    match told.id {
        Some(id) => event.id(id.to_string()),
        None => event,
    }
}
