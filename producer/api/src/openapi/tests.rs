//! The document against the contracts, and against itself.

use super::*;
use crate::tests::send;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use serde_json::Value;
use std::collections::BTreeSet;

/// What the contracts promise: each call, and every status that it may have.
const CONTRACTS: [(&str, &str, &[u16]); 32] = [
    ("get", "/api/v1/jobs", &[200, 400, 401, 422]),
    ("post", "/api/v1/jobs", &[202, 400, 401, 404, 409, 422, 429]),
    ("get", "/api/v1/jobs/{id}", &[200, 304, 401, 404, 422]),
    ("post", "/api/v1/jobs/{id}/cancel", &[202, 400, 401, 404, 409, 422]),
    ("post", "/api/v1/jobs/{id}/pause", &[202, 400, 401, 404, 409, 422]),
    ("post", "/api/v1/jobs/{id}/unpause", &[202, 400, 401, 404, 409, 422]),
    ("post", "/api/v1/jobs/{id}/resume", &[202, 400, 401, 404, 409, 422]),
    ("get", "/api/v1/jobs/{id}/explain", &[200, 401, 404]),
    ("get", "/api/v1/jobs/{id}/events", &[200, 400, 401, 404]),
    ("get", "/api/v1/connections/{id}/stragglers", &[200, 400, 401, 403, 404, 422]),
    ("post", "/functions/v1/start-historical-sync", &[200, 400, 401, 403, 405, 409, 500]),
    ("options", "/functions/v1/start-historical-sync", &[204]),
    ("post", "/functions/v1/cancel-historical-sync", &[200, 400, 401, 403, 404, 405, 500]),
    ("options", "/functions/v1/cancel-historical-sync", &[204]),
    ("get", "/functions/v1/get-sync-status", &[200, 401, 403, 405, 500]),
    ("options", "/functions/v1/get-sync-status", &[204]),
    ("post", "/source-connections", &[200, 401, 422, 429]),
    ("get", "/source-connections", &[200, 401]),
    ("get", "/source-connections/{connection}", &[200, 401, 404]),
    ("delete", "/source-connections/{connection}", &[200, 401, 404]),
    ("post", "/source-connections/{connection}/run", &[200, 401, 404, 409, 422, 429]),
    ("get", "/source-connections/{connection}/jobs", &[200, 401, 404, 422, 429]),
    ("get", "/source-connections/{connection}/jobs/{job}", &[200, 401, 404]),
    ("post", "/source-connections/{connection}/jobs/{job}/cancel", &[200, 400, 401, 404, 422, 429]),
    ("post", "/v1/schemas", &[201, 400, 401, 429]),
    ("get", "/v1/schemas", &[200, 400, 401, 429]),
    ("get", "/v1/schemas/{id}", &[200, 400, 401, 404, 429]),
    ("post", "/v1/jobs", &[201, 400, 401, 404, 409, 429]),
    ("get", "/v1/jobs", &[200, 400, 401, 429]),
    ("get", "/v1/jobs/{id}", &[200, 400, 401, 404, 429]),
    ("get", "/v1/jobs/{id}/results", &[200, 400, 401, 404, 429]),
    ("post", "/v1/jobs/{id}/cancel", &[200, 400, 401, 404, 409, 429]),
];

fn described() -> Value {
    serde_json::to_value(document()).unwrap()
}

/// Every operation: its method, its path, and what is said of it.
fn operations(document: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths.flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter();
        methods.map(move |(method, operation)| (method.as_str(), path.as_str(), operation))
    })
}

#[test]
fn every_call_and_status_of_the_contracts_is_described() {
    let document = described();
    assert_eq!(document["openapi"], "3.1.0");
    for (method, path, statuses) in CONTRACTS {
        let operation = &document["paths"][path][method];
        assert!(operation.is_object(), "{method} {path} is missing");
        for status in statuses {
            let response = &operation["responses"][status.to_string()];
            assert!(response["description"].is_string(), "{method} {path} does not say what {status} means");
        }
    }
    let known: BTreeSet<_> = CONTRACTS.iter().map(|(method, path, _)| (*method, *path)).collect();
    for (method, path, _) in operations(&document) {
        assert!(known.contains(&(method, path)), "{method} {path} is in no contract");
    }
}

#[test]
fn who_calls_too_often_is_told_when_to_come_back() {
    let document = described();
    for (method, path, operation) in operations(&document) {
        if method == "options" {
            continue;
        }
        for name in ["Retry-After", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"] {
            let header = &operation["responses"]["429"]["headers"][name];
            assert_eq!(header["schema"]["type"], "integer", "{method} {path}: {name}");
        }
        // The functions have no 503: theirs is a 500.
        let passing = if path.starts_with("/functions/") { "500" } else { "503" };
        for status in ["405", "500", passing] {
            assert!(operation["responses"][status].is_object(), "{method} {path}: {status}");
        }
    }
}

#[test]
fn the_bodies_of_the_native_contract_have_no_other_members() {
    let document = described();
    for name in ["StartCommand", "JobCancel"] {
        assert_eq!(document["components"]["schemas"][name]["additionalProperties"], false, "{name}");
    }
}

/// A header that is left out is not the word `null`.
#[test]
fn where_a_stream_goes_on_is_a_number_or_left_out() {
    let document = described();
    let parameters = &document["paths"]["/api/v1/jobs/{id}/events"]["get"]["parameters"];
    let header = parameters.as_array().unwrap().iter().find(|it| it["in"] == "header").unwrap();
    assert_eq!((&header["name"], &header["required"]), (&"last-event-id".into(), &false.into()));
    assert_eq!(header["schema"]["type"], "integer");
}

#[test]
fn every_operation_is_described_and_named_once() {
    let document = described();
    let (mut names, tags) = (BTreeSet::new(), &document["tags"]);
    let tags: Vec<&Value> = tags.as_array().unwrap().iter().map(|tag| &tag["name"]).collect();
    for (method, path, operation) in operations(&document) {
        let it = format!("{method} {path}");
        assert!(operation["summary"].is_string(), "{it} has no summary");
        assert!(
            operation["tags"].as_array().is_some_and(|own| own.iter().all(|tag| tags.contains(&tag))),
            "{it}"
        );
        if method == "options" {
            continue;
        }
        let name = operation["operationId"].as_str().unwrap();
        assert!(names.insert(name.to_owned()), "{it}: the name {name} is taken");
        let (scheme, _) = operation["security"][0].as_object().unwrap().iter().next().unwrap();
        assert!(document["components"]["securitySchemes"][scheme].is_object(), "{it}: {scheme}");
    }
}

#[test]
fn every_reference_leads_somewhere() {
    fn references<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|field| references(field, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let document = described();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 50, "{}", found.len());
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

async fn get(path: &str) -> (StatusCode, String) {
    let response = send(Request::builder().uri(path).body(Body::empty()).unwrap()).await;
    let status = response.status();
    let body = to_bytes(response.into_body(), 16 << 20).await.unwrap();
    (status, String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test]
async fn the_document_and_its_page_are_served_from_here_alone() {
    let (status, body) = get("/openapi.json").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), described());

    let (status, page) = get("/docs/").await;
    assert_eq!(status, StatusCode::OK);
    let files: Vec<&str> = ["src=\"", "href=\""]
        .iter()
        .flat_map(|attribute| page.split(attribute).skip(1))
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert!(files.len() >= 5, "{page}");
    for file in files {
        assert!(!file.contains("//") && !file.starts_with('/'), "{file} is somewhere else");
        let (status, body) = get(&format!("/docs/{}", file.trim_start_matches("./"))).await;
        assert!(status == StatusCode::OK && !body.is_empty(), "{file}");
    }
    let (_, start) = get("/docs/swagger-initializer.js").await;
    assert!(start.contains("\"/openapi.json\"") && start.contains("\"validatorUrl\": \"none\""), "{start}");
}

#[tokio::test]
async fn every_described_call_is_there() {
    for (method, path, _) in operations(&described()) {
        let id = "018f0000-0000-7000-8000-000000000001";
        let path =
            ["{id}", "{connection}", "{job}"].iter().fold(path.to_owned(), |path, at| path.replace(at, id));
        assert!(!path.contains('{'), "{path}: a parameter that this test does not know");
        let request = Request::builder().method(method.to_uppercase().as_str()).uri(&path);
        let response = send(request.body(Body::empty()).unwrap()).await;
        let expected = if method == "options" { StatusCode::NO_CONTENT } else { StatusCode::UNAUTHORIZED };
        assert_eq!(response.status(), expected, "{method} {path}");
        assert_eq!(response.headers().contains_key(header::WWW_AUTHENTICATE), method != "options");
    }
}
