//! The upstreams of all cases, as one server. Each case has its own below `/u/{number}`.

use super::history::{History, Moved};
use super::listing::{self, Page, Place};
use super::times::{self, Asked};
use super::world::{Change, End, Odd, Style, Trouble, World};
use anyhow::Result;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use chrono::Utc;
use futures::stream;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The server.
#[derive(Debug)]
pub struct Upstreams {
    /// Where it is.
    pub origin: String,
    cases: Cases,
    server: JoinHandle<()>,
}

type Cases = Arc<Mutex<HashMap<u64, Arc<Upstream>>>>;

/// What an upstream noted while a job read it.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// Requests for pages.
    pub pages: u32,
    /// Requests for single records.
    pub items: u32,
    /// Records that belonged to what was asked for and were not listed.
    pub withheld: BTreeSet<String>,
    /// Records that no list showed.
    pub hidden: BTreeSet<String>,
    /// The newest time that was listed, as it is read, in microseconds since 1970.
    pub newest: Option<i64>,
    /// How many records were gone, or moved, while the job read.
    pub removed: u32,
}

/// The upstream of one case.
#[derive(Debug)]
pub struct Upstream {
    world: World,
    midnight: i64,
    state: Mutex<Now>,
}

#[derive(Debug)]
struct Now {
    history: History,
    /// Requests for pages of all jobs.
    requests: u32,
    job: usize,
    log: Log,
}

impl Upstreams {
    /// Starts the server.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn start() -> Result<Self> {
        let cases: Cases = Arc::default();
        let app = Router::new()
            .route("/u/{case}/items", get(list))
            .route("/u/{case}/items/{id}", get(item))
            .with_state(Arc::clone(&cases));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let origin = format!("http://{}", listener.local_addr()?);
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                tracing::error!(%error, "the upstreams ended");
            }
        });
        Ok(Self { origin, cases, server })
    }

    /// Adds the upstream of a world.
    pub fn add(&self, number: u64, world: &World, midnight: i64) -> Arc<Upstream> {
        let state =
            Now { history: History::begin(world, midnight), requests: 0, job: 0, log: Log::default() };
        let upstream = Arc::new(Upstream { world: world.clone(), midnight, state: Mutex::new(state) });
        lock(&self.cases).insert(number, Arc::clone(&upstream));
        upstream
    }

    /// Takes it away.
    pub fn remove(&self, number: u64) {
        lock(&self.cases).remove(&number);
    }
}

impl Drop for Upstreams {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Upstream {
    /// Changes it between two jobs.
    pub fn change(&self, change: Change) {
        let mut now = lock(&self.state);
        now.history.change(change, Utc::now().timestamp_millis(), self.midnight);
    }

    /// A job begins: which moment that is.
    pub fn begin(&self, job: usize) -> u64 {
        let mut now = lock(&self.state);
        let hides = self.world.steps.get(job).and_then(|step| step.hides);
        let hidden = hides.map(|(count, place)| now.history.chosen(count, place));
        (now.job, now.log) = (job, Log { hidden: hidden.into_iter().flatten().collect(), ..Log::default() });
        now.history.tick += 1;
        now.history.tick
    }

    /// A job has ended: which moment that is, and what was noted.
    pub fn end(&self) -> (u64, Log) {
        let mut now = lock(&self.state);
        now.history.tick += 1;
        (now.history.tick, std::mem::take(&mut now.log))
    }

    /// All that it had so far.
    pub fn history(&self) -> History {
        lock(&self.state).history.clone()
    }

    fn list(&self, base: &str, query: &HashMap<String, String>) -> Response {
        let mut now = lock(&self.state);
        let Now { history, requests, job, log } = &mut *now;
        history.tick += 1;
        *requests += 1;
        log.pages += 1;
        if let Some(change) = self.world.steps.get(*job).and_then(|step| step.during.get(&log.pages)) {
            let Moved { gone, touched } =
                history.change(*change, Utc::now().timestamp_millis(), self.midnight);
            log.removed += gone + touched;
        }
        let trouble = self.world.troubles.get(requests);
        if let Some(trouble) = trouble.filter(|trouble| **trouble != Trouble::Cut)
            && let Some(refusal) = refused(*trouble, query)
        {
            return refusal;
        }
        let Some(page) = self.page(history, log, query) else {
            return (StatusCode::NOT_FOUND, "no such place").into_response();
        };
        let over = page.beyond && page.rows.is_empty();
        match self.world.end {
            End::Status if over => return (StatusCode::NOT_FOUND, "beyond the end").into_response(),
            End::UntilTotal if over => return (StatusCode::BAD_REQUEST, "beyond the total").into_response(),
            End::Usual
            | End::Missing
            | End::Empty
            | End::Mark
            | End::More
            | End::Done
            | End::Status
            | End::Pages
            | End::LastAgain
            | End::UntilTotal => {}
        }
        let answer = self.answer(base, query, history, &page);
        if trouble == Some(&Trouble::Cut) { cut(answer) } else { answer }
    }

    fn page(&self, history: &History, log: &mut Log, query: &HashMap<String, String>) -> Option<Page> {
        let world = &self.world;
        let text = |name: &str| query.get(name).map(String::as_str);
        let asked = match world.dates {
            Some(dates) => Asked::of(dates, world.zone, text("from"), text("to"))?,
            None => Asked::default(),
        };
        if asked.is_longer_than(world.dates.and_then(|dates| dates.max_span)) {
            return None;
        }
        let window = world.dates.and_then(|dates| dates.window).filter(|_| !query.contains_key("from"));
        let oldest = window.map(|days| Utc::now().timestamp_millis() - i64::from(days) * 86_400_000);
        let limit = text("limit").and_then(|limit| limit.parse().ok()).unwrap_or(world.page_size);
        let limit = world.clamp.map_or(limit, |clamp| clamp.min(limit)).max(1) as usize;
        let number = |name: &str| text(name).and_then(|number| number.parse::<usize>().ok());
        let place = match world.style {
            Style::PageNumber => Place::Position((number("page").unwrap_or(1).max(1) - 1) * limit),
            Style::Offset => Place::Position(number("offset").unwrap_or(0)),
            Style::RoundedOffset => Place::Position(number("offset").unwrap_or(0) / limit * limit),
            Style::LastId => text("after_id").map_or(Place::Position(0), |id| Place::AfterId(id.to_owned())),
            Style::Cursor | Style::NextUrl | Style::LinkHeader => match text("cursor") {
                None if world.counts => Place::Position(number("offset").unwrap_or(0)),
                None => Place::Position(0),
                Some(cursor) => {
                    let (key, id) = cursor.split_once('~')?;
                    Place::After(key.parse().ok()?, id.to_owned())
                }
            },
        };
        let mut page = listing::page(world, history, asked, (oldest, &log.hidden), &place, limit)?;
        if world.end == End::LastAgain && page.beyond {
            let place = Place::Position(listing::last_position(world, page.pages));
            page = listing::page(world, history, asked, (oldest, &log.hidden), &place, limit)?;
        }
        log.withheld.extend(page.withheld.iter().cloned());
        log.newest = log.newest.max(page.newest);
        Some(page)
    }

    fn answer(
        &self,
        base: &str,
        query: &HashMap<String, String>,
        history: &History,
        page: &Page,
    ) -> Response {
        let world = &self.world;
        let data: Vec<_> = page.rows.iter().map(|(id, version)| self.shown(id, version)).collect();
        let mut answer = json!({ "data": data });
        let mut headers = Vec::new();
        if let Some(total) = listing::total(world, history, page) {
            if world.total_in_header {
                headers.push(("x-total-count", total.to_string()));
            } else {
                answer["total"] = json!(total);
            }
        }
        match world.end {
            End::More => answer["more"] = json!(page.more),
            End::Done => answer["done"] = json!(!page.more),
            End::Pages => answer["pages"] = json!(page.pages),
            End::Usual
            | End::Missing
            | End::Empty
            | End::Mark
            | End::Status
            | End::LastAgain
            | End::UntilTotal => {}
        }
        // Where a flag says whether there is more, the next page is named in any case.
        let flagged = matches!(world.end, End::More | End::Done);
        let cursor = page.last.as_ref().filter(|_| page.more || flagged);
        let cursor = cursor.map(|(key, id)| format!("{key}~{id}"));
        let forgets = world.dates.is_some_and(|dates| dates.forgets);
        let kept = query.iter().filter(|(name, _)| !forgets || !matches!(name.as_str(), "from" | "to"));
        let offset = page.begin + page.rows.len();
        let url = cursor.as_ref().map(|cursor| match world.counts {
            true => next_url(base, kept, "offset", &offset.to_string()),
            false => next_url(base, kept, "cursor", cursor),
        });
        let next = match world.style {
            Style::Cursor => cursor.map(Value::from),
            Style::NextUrl => url.map(Value::from),
            Style::LinkHeader => {
                if let Some(url) = url {
                    headers.push(("link", format!("<{url}>; rel=\"next\"")));
                }
                None
            }
            Style::PageNumber | Style::Offset | Style::RoundedOffset | Style::LastId => None,
        };
        if matches!(world.style, Style::Cursor | Style::NextUrl) {
            match (next, world.end) {
                (Some(next), _) => answer["next"] = next,
                (None, End::Missing) => {}
                (None, End::Empty) => answer["next"] = json!(""),
                (None, End::Mark) => answer["next"] = json!(false),
                (
                    None,
                    End::Usual
                    | End::More
                    | End::Done
                    | End::Status
                    | End::Pages
                    | End::LastAgain
                    | End::UntilTotal,
                ) => answer["next"] = Value::Null,
            }
        }
        let mut response = axum::Json(answer).into_response();
        for (name, value) in headers {
            if let Ok(value) = value.parse() {
                response.headers_mut().append(name, value);
            }
        }
        response
    }

    /// A record as the upstream shows it.
    #[must_use]
    pub fn shown(&self, id: &str, version: &super::history::Version) -> Value {
        shown(&self.world, id, version)
    }

    fn item(&self, id: &str) -> Response {
        let mut now = lock(&self.state);
        now.history.tick += 1;
        now.log.items += 1;
        let tick = now.history.tick;
        match now.history.at(id, tick).filter(|version| version.there) {
            Some(version) => axum::Json(self.shown(id, version)).into_response(),
            None => (StatusCode::NOT_FOUND, "no such record").into_response(),
        }
    }
}

/// A record as its upstream shows it.
#[must_use]
pub fn shown(world: &World, id: &str, version: &super::history::Version) -> Value {
    let text = if version.odd == Some(Odd::Unstorable) { "\0" } else { "a record" };
    json!({
        "id": id,
        "at": times::written(world, version),
        "revision": version.revision,
        "ended": (version.odd != Some(Odd::Unfinished)).then_some(true),
        "text": text,
    })
}

fn next_url<'q>(
    base: &str,
    query: impl Iterator<Item = (&'q String, &'q String)>,
    name: &str,
    value: &str,
) -> String {
    let mut parameters = url::form_urlencoded::Serializer::new(String::new());
    for (kept, value) in query.filter(|(kept, _)| *kept != name) {
        parameters.append_pair(kept, value);
    }
    parameters.append_pair(name, value);
    format!("{base}?{}", parameters.finish())
}

fn refused(trouble: Trouble, query: &HashMap<String, String>) -> Option<Response> {
    Some(match trouble {
        Trouble::Broken => (StatusCode::INTERNAL_SERVER_ERROR, "broken").into_response(),
        Trouble::Slower => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "0")], "slower").into_response(),
        Trouble::Away => (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "1")], "away").into_response(),
        Trouble::UsedUp => {
            let reset = (Utc::now().timestamp() + 1).to_string();
            let headers = [("x-ratelimit-remaining", "0".to_owned()), ("x-ratelimit-reset", reset)];
            (StatusCode::FORBIDDEN, headers, "used up").into_response()
        }
        Trouble::Hollow => ([("content-type", "application/json")], "").into_response(),
        Trouble::Later => (StatusCode::ACCEPTED, axum::Json(json!({ "data": [] }))).into_response(),
        Trouble::Expired if query.contains_key("cursor") || query.contains_key("after_id") => {
            (StatusCode::GONE, "the cursor is too old").into_response()
        }
        Trouble::Expired | Trouble::Cut => return None,
    })
}

/// The same answer, whose body breaks off.
fn cut(answer: Response) -> Response {
    let (mut parts, body) = answer.into_parts();
    parts.headers.remove("content-length");
    drop(body);
    let pieces = [Ok(Bytes::from_static(b"{\"data\": [{\"id\": \"r0")), Err(std::io::Error::other("cut"))];
    Response::from_parts(parts, Body::from_stream(stream::iter(pieces)))
}

async fn list(State(cases): State<Cases>, Path(case): Path<u64>, RawQuery(query): RawQuery) -> Response {
    let Some(upstream) = lock(&cases).get(&case).cloned() else { return StatusCode::GONE.into_response() };
    let query = query.unwrap_or_default();
    let query = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    upstream.list(&format!("/u/{case}/items"), &query)
}

async fn item(State(cases): State<Cases>, Path((case, id)): Path<(u64, String)>) -> Response {
    let Some(upstream) = lock(&cases).get(&case).cloned() else { return StatusCode::GONE.into_response() };
    upstream.item(&id)
}
