//! The OpenAPI document of every contract, and a page to read it. Each handler says beside its code what it takes and
//! answers; what is not declared there is not served, since its route is made from the same declaration.

use super::error::ProblemBody;
use super::{document_jobs, historical_sync, jobs, source_connections};
use axum::http::Method;
use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::schema::{AdditionalProperties, Schema};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{OpenApi, RefOr};
use utoipa::{IntoResponses, Modify, OpenApi as _, PartialSchema};

mod pages;

pub(super) use pages::{PAGE, pages};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Backhaul",
        description = "Pulls the history of an upstream API into Postgres, page by page. Every answer has the header \
            `x-request-id`, by which the operator finds it in the log. The messages that do the same over RabbitMQ are \
            described at `/asyncapi.json`.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    components(schemas(
        ProblemBody,
        historical_sync::RefusalBody,
        source_connections::RefusalBody,
        source_connections::Invalid,
        document_jobs::RefusalBody
    )),
    modifiers(&Schemes),
    tags(
        (name = "jobs", description = "The native contract. Another tenant's job is a 404. Errors are \
            `application/problem+json`, with a `code` that never changes."),
        (name = "historical sync", description = "For the web pages of agencies. Any origin may call it, errors are \
            `{\"error\": \"…\"}`."),
        (name = "source connections", description = "Connections to upstreams, and their sync jobs. Errors are \
            `{\"detail\": \"…\"}`; of a request that is not as it should be, `detail` lists what is wrong where."),
        (name = "jobs with results", description = "Jobs whose documents are shown as rows. All errors have one form, \
            with a `code` that never changes."),
        (name = "schemas", description = "How the documents of such a job are shown as rows."),
    )
)]
struct Described;

/// How callers say who they are.
struct Schemes;

impl Modify for Schemes {
    fn modify(&self, document: &mut OpenApi) {
        let bearer = |format: Option<&str>, about: &str| {
            let mut scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(about));
            if let Some(format) = format {
                scheme = scheme.bearer_format(format);
            }
            SecurityScheme::Http(scheme.build())
        };
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("key", bearer(None, "An API key, or a user's JSON Web Token"));
        components.add_security_scheme("bearer_key", bearer(None, "An API key"));
        let header_key = ApiKeyValue::with_description("x-api-key", "An API key");
        components.add_security_scheme("header_key", SecurityScheme::ApiKey(ApiKey::Header(header_key)));
        components.add_security_scheme("token", bearer(Some("JWT"), "A user's JSON Web Token"));
    }
}

/// What every call of the native contract may answer.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it describes")]
pub(super) enum Refusals {
    /// No key or token, or one that does not count
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(ProblemBody),
    /// You have no tenant
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(ProblemBody),
    /// The method is another one: the header `Allow` says which
    #[response(status = 405, content_type = "application/problem+json")]
    WrongMethod(ProblemBody),
    /// A member of the body or a parameter of the query is not known (`unknown_field`, `unknown_parameter`; the nearest
    /// name is said), missing, or makes no sense
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(ProblemBody),
    /// Too many requests: the headers say when to come back
    #[response(status = 429, content_type = "application/problem+json")]
    TooMany(ProblemBody),
    /// A defect, which the operator finds in the log
    #[response(status = 500, content_type = "application/problem+json")]
    Failed(ProblemBody),
    /// For now: repeat the request (`Retry-After`)
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(ProblemBody),
}

/// What a call that changes something may answer beside it.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it describes")]
pub(super) enum MayNotChange {
    /// You have no tenant, or may only read
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(ProblemBody),
}

/// The document.
#[must_use]
pub fn document() -> OpenApi {
    let mut document = Described::openapi();
    document.merge(jobs::routes().into_openapi());
    document.merge(historical_sync::routes().into_openapi());
    document.merge(source_connections::described());
    document.merge(document_jobs::described());
    closed(&mut document);
    for item in document.paths.paths.values_mut() {
        for (_, operation) in operations(item) {
            if let Some(RefOr::T(too_many)) = operation.responses.responses.get_mut("429") {
                too_many.headers.extend(limit_headers());
            }
        }
    }
    document
}

/// The native contract refuses what it does not know. As a message a start may have more, so its type does not say it.
fn closed(document: &mut OpenApi) {
    let schemas = document.components.as_mut().map(|components| &mut components.schemas);
    let start = schemas.and_then(|schemas| schemas.get_mut("StartCommand"));
    if let Some(RefOr::T(Schema::Object(start))) = start {
        start.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
    }
}

/// What tells a caller who came too often when to come back.
fn limit_headers() -> impl Iterator<Item = (String, RefOr<Header>)> {
    let described = [
        ("Retry-After", "Seconds until the next request may be made"),
        ("RateLimit-Limit", "How many may be made at once, after a silence"),
        ("RateLimit-Remaining", "How many may be made now: none"),
        ("RateLimit-Reset", "As `Retry-After`"),
    ];
    described.into_iter().map(|(name, about)| {
        let header = HeaderBuilder::new().schema(Some(u64::schema())).description(Some(about)).build();
        (name.to_owned(), RefOr::T(header))
    })
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    let operations = [
        (Method::GET, &mut item.get),
        (Method::POST, &mut item.post),
        (Method::PUT, &mut item.put),
        (Method::PATCH, &mut item.patch),
        (Method::DELETE, &mut item.delete),
        (Method::OPTIONS, &mut item.options),
        (Method::HEAD, &mut item.head),
    ];
    operations.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// A call of a contract: a method and a path with parameters in braces, such as `/api/v1/jobs/{id}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path.
    pub path: String,
}

/// Every call of every contract: what the document describes is what is served.
#[must_use]
pub fn routes() -> Vec<Route> {
    let mut described = document().paths.paths;
    let routes = described.iter_mut().flat_map(|(path, item)| {
        operations(item).map(|(method, _)| Route { method, path: path.clone() }).collect::<Vec<_>>()
    });
    routes.collect()
}

#[cfg(test)]
mod tests;
