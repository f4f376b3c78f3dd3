//! Merge patches of settings (RFC 7396), and whether a source takes what comes of them.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::{Endpoint, fits};

/// The settings with a patch: members of objects are merged, null takes a member away, everything else is replaced.
#[must_use]
pub fn merge(target: &Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return patch.clone() };
    let mut merged = match target {
        Value::Object(members) => members.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    };
    for (name, value) in patch {
        if value.is_null() {
            merged.remove(name);
        } else {
            let inner = merge(merged.get(name).unwrap_or(&Value::Null), value);
            merged.insert(name.clone(), inner);
        }
    }
    Value::Object(merged)
}

/// The first of these patches whose settings the source takes, and which changes something.
pub(super) fn accepted(
    endpoint: &Endpoint,
    now: DateTime<Utc>,
    patches: impl IntoIterator<Item = Value>,
) -> Option<Value> {
    patches.into_iter().find(|patch| {
        let settings = merge(&endpoint.settings, patch);
        settings != endpoint.settings && takes(endpoint, settings, now)
    })
}

/// Patches as one, if the source takes that; the later ones count less.
pub(super) fn together<'p>(
    endpoint: &Endpoint,
    now: DateTime<Utc>,
    patches: impl IntoIterator<Item = &'p Value>,
) -> Option<Value> {
    let mut all: Option<Value> = None;
    for patch in patches {
        let with = all.as_ref().map_or_else(|| patch.clone(), |all| overlay(patch, all));
        if takes(endpoint, merge(&endpoint.settings, &with), now) {
            all = Some(with);
        }
    }
    all
}

/// A patch that does what both do; nulls are kept, since they take members away.
fn overlay(under: &Value, over: &Value) -> Value {
    let (Value::Object(under), Value::Object(above)) = (under, over) else { return over.clone() };
    let mut both = under.clone();
    for (name, value) in above {
        let value = both.get(name).map_or_else(|| value.clone(), |under| overlay(under, value));
        both.insert(name.clone(), value);
    }
    Value::Object(both)
}

fn takes(endpoint: &Endpoint, settings: Value, now: DateTime<Utc>) -> bool {
    fits(&Endpoint { settings, ..endpoint.clone() }, now).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn patches_are_merged_as_the_standard_says() {
        let target = json!({"a": {"b": 1, "c": [1]}, "d": 7});
        for (patch, merged) in [
            (json!({}), target.clone()),
            (json!({"a": {"b": null}}), json!({"a": {"c": [1]}, "d": 7})),
            (
                json!({"a": {"c": [2]}, "e": {"f": null, "g": 1}}),
                json!({"a": {"b": 1, "c": [2]}, "d": 7, "e": {"g": 1}}),
            ),
            (json!({"d": {"x": 1}, "a": null}), json!({"d": {"x": 1}})),
        ] {
            assert_eq!(merge(&target, &patch), merged, "{patch}");
        }
    }

    #[test]
    fn patches_together_keep_what_each_takes_away() {
        let both =
            overlay(&json!({"next": {"more": null}, "x": 1}), &json!({"next": {"done": "/m"}, "x": 2}));
        assert_eq!(both, json!({"next": {"more": null, "done": "/m"}, "x": 2}));
    }
}
