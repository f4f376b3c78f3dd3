//! Servers that page as real ones do, over one list that may change while it is read.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::header::LINK;
use axum::http::request::Parts;
use axum::http::{Response, StatusCode};
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::upstream::Upstream;

/// A list of records, and how many of them the server gives at most, whatever is asked for.
#[derive(Clone)]
pub(super) struct List {
    rows: Arc<Mutex<Vec<Value>>>,
    most: usize,
}

impl List {
    /// `r00`, `r01` …
    pub(super) fn of(count: usize, most: usize) -> Self {
        let rows = (0..count).map(|index| row(&format!("r{index:02}"))).collect();
        Self { rows: Arc::new(Mutex::new(rows)), most }
    }

    pub(super) fn insert(&self, at: usize, id: &str) {
        self.rows.lock().unwrap().insert(at, row(id));
    }

    pub(super) fn remove(&self, at: usize) {
        self.rows.lock().unwrap().remove(at);
    }

    /// Serves it in this style.
    pub(super) async fn serve(&self, style: &str) -> Upstream {
        let answer = match style {
            "next_url" => next_url,
            "link_header" => link_header,
            "cursor" => cursor,
            "last_id" => last_id,
            "page_number" => page_number,
            "offset" => offset,
            unknown => panic!("no server pages by {unknown}"),
        };
        let list = self.clone();
        Upstream::start(move |parts| answer(&list, &Query::of(parts))).await
    }

    /// So many rows from `skip` on, how many come after them, and how many there are.
    fn part(&self, skip: usize, size: usize) -> (Vec<Value>, usize, usize) {
        let rows = self.rows.lock().unwrap();
        let part: Vec<Value> = rows.iter().skip(skip).take(size).cloned().collect();
        let after = rows.len().saturating_sub(skip + part.len());
        (part, after, rows.len())
    }
}

fn row(id: &str) -> Value {
    json!({"id": id, "created_at": "2026-01-02T03:04:05Z"})
}

struct Query<'p> {
    parts: &'p Parts,
    values: BTreeMap<String, String>,
}

impl<'p> Query<'p> {
    fn of(parts: &'p Parts) -> Self {
        let query = parts.uri.query().unwrap_or_default();
        Self { parts, values: form_urlencoded::parse(query.as_bytes()).into_owned().collect() }
    }

    fn number(&self, name: &str) -> Option<usize> {
        self.values.get(name).map(|text| text.parse().unwrap())
    }

    /// The page size that is asked for, clamped without a word.
    fn size(&self, list: &List, name: &str) -> usize {
        self.number(name).unwrap_or(5).min(list.most)
    }

    /// The same request with another value of a parameter.
    fn with(&self, name: &str, value: usize) -> String {
        let others = self.values.iter().filter(|(other, _)| *other != name);
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(others)
            .append_pair(name, &value.to_string())
            .finish();
        let host = self.parts.headers["host"].to_str().unwrap();
        format!("http://{host}{}?{query}", self.parts.uri.path())
    }
}

fn ok(body: &Value) -> Response<Body> {
    Response::new(body.to_string().into())
}

fn refused(status: StatusCode, why: &str) -> Response<Body> {
    Response::builder().status(status).body(why.to_owned().into()).unwrap()
}

fn next_url(list: &List, query: &Query<'_>) -> Response<Body> {
    let skip = query.number("from").unwrap_or(0);
    let (rows, after, count) = list.part(skip, query.size(list, "page_size"));
    let next = (after > 0).then(|| query.with("from", skip + rows.len()));
    ok(&json!({"results": rows, "count": count, "next": next}))
}

fn link_header(list: &List, query: &Query<'_>) -> Response<Body> {
    let (page, size) = (query.number("page").unwrap_or(1), query.size(list, "per_page"));
    let (rows, after, count) = list.part((page - 1) * size, size);
    let mut links = vec![format!("<{}>; rel=\"last\"", query.with("page", count.div_ceil(size)))];
    if page > 1 {
        links.insert(0, format!("<{}>; rel=\"prev\"", query.with("page", page - 1)));
    }
    if after > 0 {
        links
            .insert(0, format!("<{}>; title=\"more, and more\"; rel=\"next\"", query.with("page", page + 1)));
    }
    let mut response = ok(&json!(rows));
    response.headers_mut().insert(LINK, links.join(", ").parse().unwrap());
    response
}

fn cursor(list: &List, query: &Query<'_>) -> Response<Body> {
    let skip =
        match query.values.get("cursor").map(|cursor| cursor.strip_prefix("opaque+/=").unwrap().parse()) {
            Some(skip) => skip.unwrap(),
            None => 0,
        };
    let (rows, after, _) = list.part(skip, query.size(list, "limit"));
    // Some send a cursor with the last page too.
    let next = format!("opaque+/={}", skip + rows.len());
    ok(&json!({"data": rows, "meta": {"next_cursor": next, "has_more": after > 0}}))
}

fn last_id(list: &List, query: &Query<'_>) -> Response<Body> {
    let skip = match query.values.get("starting_after") {
        None => Some(0),
        Some(id) => list.rows.lock().unwrap().iter().position(|row| row["id"] == **id).map(|place| place + 1),
    };
    let Some(skip) = skip else { return refused(StatusCode::BAD_REQUEST, "no such object") };
    let (rows, after, _) = list.part(skip, query.size(list, "limit"));
    ok(&json!({"object": "list", "data": rows, "has_more": after > 0}))
}

/// A page after the last one is refused.
fn page_number(list: &List, query: &Query<'_>) -> Response<Body> {
    let (page, size) = (query.number("page").unwrap_or(1), query.size(list, "per_page"));
    let (rows, _, count) = list.part((page - 1) * size, size);
    if rows.is_empty() && page > 1 {
        return refused(StatusCode::NOT_FOUND, "invalid page");
    }
    ok(&json!({"orders": rows, "page": page, "total_pages": count.div_ceil(size)}))
}

fn offset(list: &List, query: &Query<'_>) -> Response<Body> {
    let skip = query.number("offset").unwrap_or(0);
    let (rows, _, count) = list.part(skip, query.size(list, "limit"));
    ok(&json!({"items": rows, "total": count}))
}
