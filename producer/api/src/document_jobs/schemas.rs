//! `/v1/schemas`.

use super::body::Pagination;
use super::query::{self, PageQuery};
use super::refusal::{Refusal, RefusalBody, Refusals};
use super::request::{self, IdPath};
use super::{Caller, Shared, warn};
use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use engine::Cursor;
use engine::Schema;
use protocol::ids::{JobId, SchemaId};
use protocol::schema::{Field, Fields};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A schema to be made.
#[derive(Deserialize, ToSchema)]
#[schema(as = DocumentSchemaCreate)]
pub(super) struct CreateBody {
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// The columns of a row; no two have the same name.
    #[schema(value_type = Vec<FieldBody>, min_items = 1, max_items = 100)]
    fields: Vec<Field>,
    #[serde(flatten)]
    #[schema(ignore)]
    unknown: BTreeMap<String, IgnoredAny>,
}

/// A field of a schema.
#[derive(ToSchema)]
#[schema(as = DocumentSchemaField)]
#[expect(dead_code, reason = "it describes a Field")]
struct FieldBody {
    /// Its name in the row.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// A JSON pointer to its value in the document; empty for the whole document.
    #[schema(pattern = "^(/.*)?$", max_length = 512)]
    pointer: String,
    /// What its value must be.
    #[schema(rename = "type", pattern = "^(string|integer|number|boolean|timestamp|json)$")]
    kind: String,
    /// Whether a row without it is only `partial`.
    #[schema(required = false, default = false)]
    required: bool,
}

/// How documents are shown as rows.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DocumentSchema)]
pub(super) struct SchemaBody {
    id: SchemaId,
    name: String,
    #[schema(value_type = Vec<FieldBody>)]
    fields: Fields,
    created_at: DateTime<Utc>,
}

impl SchemaBody {
    pub(super) fn new(schema: &Schema) -> Self {
        Self {
            id: schema.id,
            name: schema.name.clone(),
            fields: schema.fields.clone(),
            created_at: schema.created_at,
        }
    }
}

/// A part of the list of schemas.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DocumentSchemaList)]
pub(super) struct SchemaList {
    data: Vec<SchemaBody>,
    pagination: Pagination,
}

/// Makes a schema: how documents are shown as rows.
#[utoipa::path(post, path = "/v1/schemas", tag = "schemas", operation_id = "create_schema",
    security(("bearer_key" = [])), request_body = CreateBody, responses(
    (status = 201, description = "The schema", body = SchemaBody, headers(
        ("x-warning" = Option<String>, description = "Which fields of the body were ignored"))),
    (status = 400, description = "The body cannot be read, or a field makes no sense", body = RefusalBody),
    (status = 413, description = "The body is too large", body = RefusalBody),
    Refusals))]
pub(super) async fn create(
    Caller(caller): Caller,
    State(contract): Shared,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refusal> {
    let CreateBody { name, fields, unknown } = request::read(&request::whole(body)?)?;
    let fields = Fields::new(fields).map_err(Refusal::bad_request)?;
    let schema = contract.engine.create_schema(caller.tenant, &name, &fields).await?;
    let mut response = (StatusCode::CREATED, Json(SchemaBody::new(&schema))).into_response();
    warn(&mut response, &unknown.into_keys().collect::<Vec<_>>());
    Ok(response)
}

/// Lists your schemas, newest first.
#[utoipa::path(get, path = "/v1/schemas", tag = "schemas", operation_id = "list_schemas",
    security(("bearer_key" = [])), params(PageQuery), responses(
    (status = 200, description = "Schemas, newest first", body = SchemaList),
    (status = 400, description = "The query makes no sense", body = RefusalBody),
    Refusals))]
pub(super) async fn list(
    Caller(caller): Caller,
    State(contract): Shared,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Response, Refusal> {
    let (limit, after) = query::checked(query)?.read()?;
    // A cursor is a time and a UUID, whatever it is a list of.
    let after = after.map(|cursor| (cursor.created_at, SchemaId(cursor.job.0)));
    let page = contract.engine.schemas(caller.tenant, after, limit).await?;
    let next = page.next.map(|(created_at, id)| Cursor { created_at, job: JobId(id.0) }.to_string());
    let data: Vec<_> = page.schemas.iter().map(SchemaBody::new).collect();
    let pagination = Pagination { total: page.total, limit, has_more: next.is_some(), next_cursor: next };
    Ok(Json(SchemaList { data, pagination }).into_response())
}

/// Shows a schema.
#[utoipa::path(get, path = "/v1/schemas/{id}", tag = "schemas", operation_id = "show_schema",
    security(("bearer_key" = [])), params(("id" = SchemaId, Path, description = "The schema")), responses(
    (status = 200, description = "The schema", body = SchemaBody),
    (status = 400, description = "The path names no UUID", body = RefusalBody),
    (status = 404, description = "No such schema", body = RefusalBody),
    Refusals))]
pub(super) async fn show(
    Caller(caller): Caller,
    State(contract): Shared,
    IdPath(schema): IdPath<SchemaId>,
) -> Result<Response, Refusal> {
    let schema = contract.engine.schema(caller.tenant, schema).await?;
    Ok(Json(SchemaBody::new(&schema)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::schema::FieldType;
    use utoipa::PartialSchema;

    #[test]
    fn the_described_types_are_those_that_there_are() {
        let described = serde_json::to_value(FieldBody::schema()).unwrap();
        let pattern = described["properties"]["type"]["pattern"].as_str().unwrap().to_owned();
        let words = pattern.trim_start_matches("^(").trim_end_matches(")$").split('|');
        let read = words.map(|word| serde_json::from_value::<FieldType>(word.into()).unwrap().word());
        let all = [
            FieldType::String,
            FieldType::Integer,
            FieldType::Number,
            FieldType::Boolean,
            FieldType::Timestamp,
            FieldType::Json,
        ];
        assert_eq!(read.collect::<Vec<_>>(), all.map(FieldType::word));
    }
}
