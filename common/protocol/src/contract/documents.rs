//! The documents that are published.

use super::{Message, asyncapi, schema};
use serde_json::Value;

/// Every published document, by the name of its file.
#[must_use]
pub fn documents() -> Vec<(String, Value)> {
    let schemas = Message::ALL.into_iter().map(|it| (format!("{}.schema.json", it.name()), schema(it)));
    schemas.chain([("asyncapi.json".to_owned(), asyncapi())]).collect()
}
