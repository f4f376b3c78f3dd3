//! The HTTP side: who asks, what is scripted for them, and the usual answer.

use super::body;
use super::catalogue::Catalogue;
use super::options::{Behaviour, Limit, LimitBy, Options};
use super::query::Query;
use super::script::{Answer, Asked, Gate, Scripts};
use super::seen::{Board, OpenRequest, unpoisoned};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use uuid::Uuid;

const LIST: &str = "/api/calls";

#[derive(Debug)]
pub(super) struct Server {
    pub(super) tenants: HashMap<String, Tenant>,
    names: HashMap<String, String>,
    behaviour: Mutex<Arc<Behaviour>>,
    pub(super) scripts: Scripts,
    pub(super) gate: Arc<Gate>,
    pub(super) board: Arc<Board>,
    started: Instant,
}

#[derive(Debug)]
pub(super) struct Tenant {
    pub(super) key: String,
    pub(super) calls: Mutex<Arc<Catalogue>>,
    /// Requests in the current second, for the limit.
    window: Mutex<(u64, u64)>,
}

/// An answer whose body is known.
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Server {
    pub(super) fn new(options: &Options) -> Self {
        let tenant = |options: &super::TenantOptions| Tenant {
            key: options.key.clone(),
            calls: Mutex::new(Arc::new(Catalogue::new(options))),
            window: Mutex::default(),
        };
        Self {
            tenants: options.tenants.iter().map(|each| (each.name.clone(), tenant(each))).collect(),
            names: options.tenants.iter().map(|each| (each.key.clone(), each.name.clone())).collect(),
            behaviour: Mutex::new(Arc::new(options.behaviour.clone())),
            scripts: Scripts::default(),
            gate: Arc::new(Gate::new()),
            board: Arc::new(Board::new(options.count_pages)),
            started: Instant::now(),
        }
    }

    pub(super) fn router(self: &Arc<Self>) -> Router {
        Router::new().fallback(handle).with_state(Arc::clone(self))
    }

    pub(super) fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        change(Arc::make_mut(&mut *unpoisoned(&self.behaviour)));
    }

    fn arrive(&self, request: &Request) -> OpenRequest {
        let number = self.board.arrive();
        let key = request.headers().get("x-api-key").and_then(|key| key.to_str().ok()).unwrap_or_default();
        let tenant = self.names.get(key).cloned().unwrap_or_default();
        let path = request.uri().path().to_owned();
        let query = request.uri().query().unwrap_or_default().to_owned();
        let repeats = self.board.fetched(&format!("{tenant} {path}?{query}"));
        let asked = Asked { number, tenant, path, query, repeats };
        OpenRequest::new(Arc::clone(&self.board), Arc::new(asked))
    }

    fn limited(&self, asked: &Asked, limit: &Limit) -> bool {
        match limit.by {
            LimitBy::EveryNth(n) => asked.number.is_multiple_of(n.max(1)),
            LimitBy::PerSecond(most) => {
                let Some(tenant) = self.tenants.get(&asked.tenant) else { return false };
                let second = self.started.elapsed().as_secs();
                let mut window = unpoisoned(&tenant.window);
                let used = if window.0 == second { window.1 } else { 0 };
                *window = (second, used + 1);
                used >= most
            }
        }
    }

    fn usual(&self, asked: &Asked, origin: &str, behaviour: &Behaviour) -> Reply {
        let Some(tenant) = self.tenants.get(&asked.tenant) else {
            return Reply::text(StatusCode::UNAUTHORIZED, "missing or unknown X-API-Key");
        };
        // The calls as they are now; a test may change them while the page is rendered.
        let calls = Arc::clone(&unpoisoned(&tenant.calls));
        match asked.path.strip_prefix(LIST) {
            Some("") => match Query::parse(&asked.query, behaviour) {
                Ok(query) => {
                    Reply::json(query.page(&calls, behaviour, &format!("{origin}{LIST}"), asked.number))
                }
                Err(problem) => Reply::text(StatusCode::BAD_REQUEST, &problem),
            },
            Some(rest) => {
                let id = rest.strip_prefix('/').and_then(|id| Uuid::parse_str(id).ok());
                let Some(position) = id.and_then(|id| calls.by_id(id)) else {
                    return Reply::text(StatusCode::NOT_FOUND, "no such call");
                };
                let mut text = String::new();
                calls.render(position, &mut text);
                Reply::json(text)
            }
            None => Reply::text(StatusCode::NOT_FOUND, "no such path"),
        }
    }
}

async fn handle(State(server): State<Arc<Server>>, request: Request) -> Response {
    let open = server.arrive(&request);
    let asked = Arc::clone(&open.asked);
    let behaviour = Arc::clone(&unpoisoned(&server.behaviour));
    let scripted = server.scripts.take(&asked);
    if let Some(limit) =
        behaviour.limit.as_ref().filter(|limit| scripted.is_none() && server.limited(&asked, limit))
    {
        server.board.update(|seen| seen.limited += 1);
        open.answered();
        return refused(limit).into_response();
    }
    server.gate.pass(&open).await;
    if !behaviour.delay.is_zero() {
        tokio::time::sleep(behaviour.delay).await;
    }
    // A proxy in front of this server must stay in front of it on the next page too.
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let usual = || server.usual(&asked, &format!("http://{host}"), &behaviour);
    let reply = match scripted {
        None => usual(),
        Some(Answer::Respond { status, headers, body }) => Reply::scripted(status, headers, body),
        Some(Answer::Hang) => {
            server.gate.until_released(&open).await;
            usual()
        }
        Some(Answer::After(delay)) => {
            tokio::time::sleep(delay).await;
            usual()
        }
        Some(Answer::Stall) => {
            let (answer, body) = usual().into_parts();
            return body::stall(answer, &body, Arc::clone(&server.gate), open);
        }
        Some(Answer::Truncate) => {
            let (answer, body) = usual().into_parts();
            return body::truncate(answer, &body, open);
        }
        Some(Answer::Huge { bytes, announced }) => return body::huge(bytes, announced, open),
        Some(Answer::Endless) => return body::endless(open),
    };
    open.answered();
    reply.into_response()
}

fn refused(limit: &Limit) -> Reply {
    let mut reply = Reply::text(StatusCode::TOO_MANY_REQUESTS, "too many requests");
    if let Some(value) = limit.retry_after.as_ref().and_then(|value| HeaderValue::from_str(value).ok()) {
        reply.headers.insert(header::RETRY_AFTER, value);
    }
    reply
}

impl Reply {
    fn json(body: String) -> Self {
        Self::new(StatusCode::OK, "application/json", body.into())
    }

    fn text(status: StatusCode, text: &str) -> Self {
        Self::new(status, "text/plain; charset=utf-8", text.to_owned().into())
    }

    fn new(status: StatusCode, kind: &'static str, body: Bytes) -> Self {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(kind))]);
        Self { status, headers, body }
    }

    /// A script with an impossible status or header is a mistake of the test; it shows as a 599.
    fn scripted(status: u16, headers: Vec<(String, String)>, body: Vec<u8>) -> Self {
        let parsed = |(name, value): (String, String)| {
            Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?))
        };
        match (StatusCode::from_u16(status), headers.into_iter().map(parsed).collect()) {
            (Ok(status), Some(headers)) => Self { status, headers, body: body.into() },
            _ => Self::text(StatusCode::from_u16(599).unwrap_or_default(), "the script's answer is not HTTP"),
        }
    }

    /// The answer without its body, for who streams it.
    fn into_parts(self) -> (Response, Bytes) {
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = self.status;
        *answer.headers_mut() = self.headers;
        (answer, self.body)
    }

    fn into_response(self) -> Response {
        let (mut answer, body) = self.into_parts();
        *answer.body_mut() = Body::from(body);
        answer
    }
}
