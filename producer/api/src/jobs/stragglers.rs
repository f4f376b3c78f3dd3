//! What the jobs of a connection met and could not store.

use super::super::openapi::Refusals;
use super::request::{Asked, Caller, MAX_LIMIT, Parameters, limit};
use crate::error::{Problem, ProblemBody};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use engine::Engine;
use engine::{StragglerQuery, StragglerView};
use protocol::ids::ConnectionId;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

const DEFAULT_LIMIT: u16 = 100;

/// The query of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct StragglersQuery {
    /// Whether those that have ended are listed, too.
    #[serde(default)]
    closed: bool,
    /// `next_after` of the page before.
    #[param(pattern = "^[^\\u0000]*$")]
    after: Option<String>,
    /// How many at most; 100 if absent.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u16>,
}

impl Parameters for StragglersQuery {
    const NAMES: &'static [&'static str] = &["closed", "after", "limit"];
}

/// A part of the list.
#[derive(Serialize, ToSchema)]
#[schema(as = StragglerList)]
pub(super) struct StragglersBody {
    /// The connection.
    connection_id: ConnectionId,
    data: Vec<StragglerView>,
    /// Give it as `after` for the next part; null at the end.
    next_after: Option<String>,
}

/// Lists the records that could not be stored when they were met, by their ids.
#[utoipa::path(get, path = "/api/v1/connections/{id}/stragglers", tag = "jobs",
    operation_id = "list_stragglers", security(("key" = [])), params(
    ("id" = ConnectionId, Path, description = "The connection"), StragglersQuery), responses(
    (status = 200, description = "The records", body = StragglersBody),
    (status = 400, description = "The query makes no sense", body = ProblemBody, content_type = "application/problem+json"),
    (status = 404, description = "No such connection", body = ProblemBody, content_type = "application/problem+json"),
    Refusals))]
pub(super) async fn stragglers(
    Caller(caller): Caller,
    State(engine): State<Arc<Engine>>,
    Path(id): Path<String>,
    Asked(asked): Asked<StragglersQuery>,
) -> Result<Response, Problem> {
    let connection: ConnectionId = id.parse().map_err(|_not_a_uuid| {
        let detail = format!("the tenant has no connection {id:?} (an identifier is a UUID)");
        Problem::new(StatusCode::NOT_FOUND, "connection_not_found", detail)
    })?;
    let limit = limit(asked.limit, DEFAULT_LIMIT, MAX_LIMIT)?;
    let after = asked.after.unwrap_or_default();
    if after.contains('\0') {
        return Err(Problem::invalid_query("after is an id, and holds no NUL character".to_owned()));
    }
    let query = StragglerQuery { closed: asked.closed, after, limit };
    let data = engine.stragglers(caller.tenant, connection, &query).await?;
    let is_full = data.len() == usize::from(limit);
    let next_after = data.last().filter(|_| is_full).map(|last| last.external_id.clone());
    Ok(Json(StragglersBody { connection_id: connection, data, next_after }).into_response())
}
