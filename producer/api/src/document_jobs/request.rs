//! What this contract is asked: bodies, paths and the key of a start.

use super::refusal::Refusal;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use chrono::{DateTime, Utc};
use protocol::command::{MAX_COMMAND_BYTES, OnConflict, StartCommand};
use protocol::ids::{ConnectionId, SchemaId};
use protocol::job::JobMode;
use protocol::json;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use std::collections::BTreeMap;
use std::str::FromStr;
use utoipa::ToSchema;

const MAX_KEY_CHARS: usize = 255;
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The body of a request, read to its end.
pub(super) fn whole(body: Result<Bytes, BytesRejection>) -> Result<Bytes, Refusal> {
    body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let why = format!("the body is larger than {MAX_COMMAND_BYTES} bytes");
            Refusal::invalid(StatusCode::PAYLOAD_TOO_LARGE, why)
        }
        _ => Refusal::bad_request("the body could not be read to its end"),
    })
}

/// A body as a type, or which field of it is at fault.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    let refused = |error: String| Refusal::bad_request(format!("the body cannot be read: {error}"));
    let value = json::read(body).map_err(|error| refused(error.to_string()))?;
    serde_path_to_error::deserialize(value).map_err(|error| refused(error.to_string()))
}

/// The key under which a start is done once; printable ASCII.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let Some(given) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = given.to_str().ok().map(str::trim).filter(|key| {
        (1..=MAX_KEY_CHARS).contains(&key.len()) && key.bytes().all(|byte| (b' '..=b'~').contains(&byte))
    });
    let key = key.ok_or_else(|| {
        Refusal::bad_request(format!(
            "Idempotency-Key must have 1 to {MAX_KEY_CHARS} printable ASCII characters"
        ))
    })?;
    Ok(Some(key.to_owned()))
}

/// `POST /v1/jobs`.
#[derive(Debug)]
pub(super) struct StartBody {
    pub(super) command: StartCommand,
    /// Names of fields that are ignored.
    pub(super) unknown: Vec<String>,
}

/// A job to be started.
#[derive(Deserialize, ToSchema)]
#[schema(as = DocumentJobStart)]
pub(super) struct StartFields {
    /// Where the documents are.
    connection_id: ConnectionId,
    /// How they are shown as rows; each whole if absent.
    schema_id: Option<SchemaId>,
    /// The documents to fetch, each by itself, instead of a span. Such a job is in no other's way.
    #[schema(min_items = 1, max_items = 2000)]
    document_ids: Option<Vec<String>>,
    /// A name for people.
    #[schema(max_length = 200)]
    name: Option<String>,
    /// Start of the span; no lower bound if absent.
    date_from: Option<DateTime<Utc>>,
    /// End of the span, not part of it; now if absent.
    date_to: Option<DateTime<Utc>>,
    #[serde(flatten)]
    #[schema(ignore)]
    unknown: BTreeMap<String, IgnoredAny>,
}

impl StartBody {
    pub(super) fn read(body: &[u8], requested_by: &str) -> Result<Self, Refusal> {
        let fields: StartFields = read(body)?;
        let command = StartCommand {
            connection_id: fields.connection_id,
            job_id: None,
            command_id: None,
            date_from: fields.date_from,
            date_to: fields.date_to,
            mode: JobMode::Range,
            name: fields.name,
            schema_id: fields.schema_id,
            document_ids: fields.document_ids,
            on_conflict: OnConflict::Reject,
            requested_by: Some(requested_by.to_owned()),
        };
        Ok(Self { command, unknown: fields.unknown.into_keys().collect() })
    }
}

/// What a path names.
pub(super) struct IdPath<T>(pub(super) T);

impl<S: Send + Sync, T: FromStr + Send> FromRequestParts<S> for IdPath<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let id = path.ok().and_then(|Path(id)| id.parse().ok());
        id.map(Self).ok_or_else(|| Refusal::bad_request("the path must name a UUID"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn a_key_is_short_and_printable() {
        let key = |value: &[u8]| {
            let headers = HeaderMap::from_iter([(IDEMPOTENCY_KEY, HeaderValue::from_bytes(value).unwrap())]);
            idempotency_key(&headers).map_err(|refusal| refusal.body.message)
        };
        assert_eq!(key(b"order 42").unwrap().as_deref(), Some("order 42"));
        for wrong in [&b""[..], b"   ", "ö".as_bytes(), &[b'k'; 256]] {
            assert!(key(wrong).unwrap_err().contains("1 to 255 printable"));
        }
        assert_eq!(idempotency_key(&HeaderMap::new()).unwrap(), None);
    }

    #[test]
    fn a_body_that_cannot_be_read_names_the_field() {
        let why = |body: &str| StartBody::read(body.as_bytes(), "api").unwrap_err().body.message;
        assert!(why("{}").contains("missing field `connection_id`"), "{}", why("{}"));
        let wrong = r#"{"connection_id": "018f0000-0000-7000-8000-000000000001", "document_ids": ["a", 7]}"#;
        assert!(why(wrong).contains("document_ids[1]: invalid type"), "{}", why(wrong));
        let twice = r#"{"connection_id": "018f0000-0000-7000-8000-000000000001", "name": "a", "name": "b"}"#;
        assert!(why(twice).contains("the member \"name\" appears twice"), "{}", why(twice));
        let given = StartBody::read(
            br#"{"connection_id": "018f0000-0000-7000-8000-000000000001", "colour": 1}"#,
            "api",
        );
        assert_eq!(given.unwrap().unknown, ["colour"]);
    }
}
