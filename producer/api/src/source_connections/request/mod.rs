//! What a request says: its path, its query, its body. Whatever is wrong with it is said in one answer.

use super::refusal::{Refusal, Wrong};
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::StatusCode;
use axum::http::request::Parts;
use engine::ConnectionDraft;
use protocol::command::MAX_COMMAND_BYTES;
use protocol::ids::{ConnectionId, JobId};
use protocol::json;
use serde_json::{Map, Value};
use url::form_urlencoded;
use utoipa::IntoParams;
use uuid::Uuid;

const FIELDS: [&str; 5] = ["name", "source", "base_url", "credentials", "settings"];
const DEFAULT_LIMIT: u16 = 100;
const MAX_LIMIT: u16 = 1000;

/// A part of a request that is read, and adds to what is wrong with it.
pub(super) trait Part: Sized {
    /// `None` if something is wrong.
    fn read(parts: &Params, wrong: &mut Vec<Wrong>) -> Option<Self>;
}

/// The parameters of a request's path and query, as texts.
pub(super) struct Params {
    path: Vec<(String, String)>,
    query: Vec<(String, String)>,
}

impl Params {
    async fn of(parts: &mut Parts) -> Self {
        let path = RawPathParams::from_request_parts(parts, &())
            .await
            .map(|params| params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect());
        let query = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned();
        Self { path: path.unwrap_or_default(), query: query.collect() }
    }

    fn id(&self, name: &'static str, shown: &'static str, wrong: &mut Vec<Wrong>) -> Option<Uuid> {
        let text = self.path.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        match Uuid::try_parse(text.unwrap_or_default()) {
            Ok(id) => Some(id),
            Err(error) => {
                let msg = format!("Input should be a valid UUID, {error}");
                wrong.push(Wrong::new(&["path", shown], "uuid_parsing", msg));
                None
            }
        }
    }

    /// A parameter of the query that is false unless it is set.
    fn flag(&self, name: &'static str, wrong: &mut Vec<Wrong>) -> Option<bool> {
        let Some(asked) = self.asked(name) else { return Some(false) };
        match asked.to_ascii_lowercase().as_str() {
            "true" | "1" | "on" | "yes" | "t" | "y" => Some(true),
            "false" | "0" | "off" | "no" | "f" | "n" => Some(false),
            _ => {
                let msg = "Input should be a valid boolean, unable to interpret input";
                wrong.push(Wrong::new(&["query", name], "bool_parsing", msg));
                None
            }
        }
    }

    /// How many are asked for.
    fn limit(&self, wrong: &mut Vec<Wrong>) -> Option<u16> {
        let Some(asked) = self.asked("limit") else { return Some(DEFAULT_LIMIT) };
        let (kind, msg) = match asked.parse::<i128>() {
            Err(_not_a_number) => (
                "int_parsing",
                "Input should be a valid integer, unable to parse string as an integer".to_owned(),
            ),
            Ok(..1) => ("greater_than_equal", "Input should be greater than or equal to 1".to_owned()),
            Ok(limit) => match u16::try_from(limit).ok().filter(|limit| *limit <= MAX_LIMIT) {
                Some(limit) => return Some(limit),
                None => ("less_than_equal", format!("Input should be less than or equal to {MAX_LIMIT}")),
            },
        };
        wrong.push(Wrong::new(&["query", "limit"], kind, msg));
        None
    }

    /// The last value of a parameter of the query.
    fn asked(&self, name: &str) -> Option<&str> {
        self.query.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// The connection that a path names.
pub(super) struct ConnectionPath(pub(super) ConnectionId);

impl Part for ConnectionPath {
    fn read(params: &Params, wrong: &mut Vec<Wrong>) -> Option<Self> {
        Some(Self(ConnectionId(params.id("connection", "source_connection_id", wrong)?)))
    }
}

/// The connection and the job that a path names.
pub(super) struct JobPath(pub(super) ConnectionId, pub(super) JobId);

impl Part for JobPath {
    fn read(params: &Params, wrong: &mut Vec<Wrong>) -> Option<Self> {
        let connection = ConnectionPath::read(params, wrong);
        let job = params.id("job", "job_id", wrong);
        Some(Self(connection?.0, JobId(job?)))
    }
}

/// The query of a run.
#[derive(Debug, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct RunQuery {
    /// Whether everything is fetched again, and what the upstream has no more is deleted once that is complete.
    #[param(required = false, default = false)]
    pub(super) force_full_sync: bool,
}

impl Part for RunQuery {
    fn read(params: &Params, wrong: &mut Vec<Wrong>) -> Option<Self> {
        Some(Self { force_full_sync: params.flag("force_full_sync", wrong)? })
    }
}

/// The query of a list of jobs.
#[derive(Debug, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct JobsQuery {
    /// How many at most.
    #[param(required = false, minimum = 1, maximum = 1000, default = 100)]
    pub(super) limit: u16,
}

impl Part for JobsQuery {
    fn read(params: &Params, wrong: &mut Vec<Wrong>) -> Option<Self> {
        Some(Self { limit: params.limit(wrong)? })
    }
}

/// The query of a list of connections.
#[derive(Debug, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ConnectionsQuery {
    /// How many at most.
    #[param(required = false, minimum = 1, maximum = 1000, default = 100)]
    pub(super) limit: u16,
    /// Those whose names come after this one: the `Link` header of the answer before has it.
    #[param(required = false)]
    pub(super) after: Option<String>,
    /// Whether each connection is shown with its settings, which may be long.
    #[param(required = false, default = false)]
    pub(super) settings: bool,
}

impl ConnectionsQuery {
    /// The query of the part that follows a name.
    pub(super) fn following(&self, name: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("limit", &self.limit.to_string()).append_pair("after", name);
        if self.settings {
            query.append_pair("settings", "true");
        }
        query.finish()
    }
}

impl Part for ConnectionsQuery {
    fn read(params: &Params, wrong: &mut Vec<Wrong>) -> Option<Self> {
        let (limit, settings) = (params.limit(wrong), params.flag("settings", wrong));
        Some(Self { limit: limit?, after: params.asked("after").map(str::to_owned), settings: settings? })
    }
}

/// Two parts of a request; what is wrong with either is said at once.
pub(super) struct Selection<A, B>(pub(super) A, pub(super) B);

impl<A: Part, B: Part> Part for Selection<A, B> {
    fn read(params: &Params, wrong: &mut Vec<Wrong>) -> Option<Self> {
        let (first, second) = (A::read(params, wrong), B::read(params, wrong));
        Some(Self(first?, second?))
    }
}

async fn extract<P: Part>(parts: &mut Parts) -> Result<P, Refusal> {
    let params = Params::of(parts).await;
    let mut wrong = Vec::new();
    P::read(&params, &mut wrong).ok_or_else(|| Refusal::of_request(wrong))
}

macro_rules! extractor {
    ($($part:ty $(, $a:ident, $b:ident)?);+) => { $(
        impl<S: Send + Sync $(, $a: Part, $b: Part)?> FromRequestParts<S> for $part {
            type Rejection = Refusal;

            async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refusal> {
                extract(parts).await
            }
        }
    )+ };
}
extractor!(ConnectionPath; JobPath; ConnectionsQuery; Selection<A, B>, A, B);

/// The connection that is to be made.
#[derive(Debug)]
pub(super) struct NewConnection {
    pub(super) draft: ConnectionDraft,
    /// Fields that nobody here knows.
    pub(super) unknown: Vec<String>,
}

impl NewConnection {
    pub(super) fn read(body: Result<Bytes, BytesRejection>) -> Result<Self, Refusal> {
        let body = body.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Refusal::say(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the body is larger than {MAX_COMMAND_BYTES} bytes"),
            ),
            _ => Refusal::say(StatusCode::BAD_REQUEST, "the body could not be read to its end"),
        })?;
        Self::of_text(&body).map_err(Refusal::of_request)
    }

    fn of_text(body: &[u8]) -> Result<Self, Vec<Wrong>> {
        if body.trim_ascii().is_empty() {
            return Err(vec![Wrong::new(&["body"], "missing", "Field required")]);
        }
        let mut fields = match json::read(body) {
            Ok(Value::Object(fields)) => fields,
            Ok(_) => {
                let msg = "Input should be a valid dictionary";
                return Err(vec![Wrong::new(&["body"], "dict_type", msg)]);
            }
            // Where, but never what: it may be secret.
            Err(error) => {
                let what =
                    if json::is_duplicate(&error) { "a member appears twice" } else { "JSON decode error" };
                let msg = format!("{what} at line {}, column {}", error.line(), error.column());
                return Err(vec![Wrong::new(&["body"], "json_invalid", msg)]);
            }
        };
        let mut wrong = Vec::new();
        let name = text(&mut fields, "name", &mut wrong);
        let source = text(&mut fields, "source", &mut wrong);
        let base_url = text(&mut fields, "base_url", &mut wrong);
        let credentials = object(&mut fields, "credentials", &mut wrong);
        let settings = match fields.get("settings") {
            None | Some(Value::Null) => Some(Map::new()),
            Some(_) => object(&mut fields, "settings", &mut wrong),
        };
        let unknown = fields.into_iter().map(|(field, _)| field);
        let unknown = unknown.filter(|field| !FIELDS.contains(&field.as_str())).collect();
        match (name, source, base_url, credentials, settings) {
            (Some(name), Some(source), Some(base_url), Some(credentials), Some(settings)) => {
                let draft = ConnectionDraft { name, source, base_url, credentials, settings };
                Ok(Self { draft, unknown })
            }
            _ => Err(wrong),
        }
    }
}

fn text(fields: &mut Map<String, Value>, field: &'static str, wrong: &mut Vec<Wrong>) -> Option<String> {
    match fields.remove(field) {
        Some(Value::String(text)) => return Some(text),
        Some(_) => {
            wrong.push(Wrong::new(&["body", field], "string_type", "Input should be a valid string"));
        }
        None => wrong.push(Wrong::new(&["body", field], "missing", "Field required")),
    }
    None
}

fn object(
    fields: &mut Map<String, Value>,
    field: &'static str,
    wrong: &mut Vec<Wrong>,
) -> Option<Map<String, Value>> {
    match fields.remove(field) {
        Some(Value::Object(object)) => return Some(object),
        Some(_) => {
            wrong.push(Wrong::new(&["body", field], "dict_type", "Input should be a valid dictionary"));
        }
        None => wrong.push(Wrong::new(&["body", field], "missing", "Field required")),
    }
    None
}

#[cfg(test)]
mod tests;
