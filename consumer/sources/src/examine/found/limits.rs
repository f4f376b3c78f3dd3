//! What answers tell beside the list: the upstream's limit, and where it really is.

use reqwest::header::HeaderMap;
use serde_json::{Map, Value, json};

use super::finding;
use crate::error::quote;
use crate::examine::evidence::Evidence;
use crate::examine::finding::{Finding, FindingKind};
use crate::fetch::RestRules;

/// Whether the upstream says that nothing is left of its limit.
pub(in crate::examine) fn is_used_up(headers: &HeaderMap) -> bool {
    RestRules::remaining_of(headers).is_some_and(|left| left <= 0.0)
}

pub(super) fn headers(evidence: &Evidence<'_>) -> Option<Finding> {
    let lens = evidence.lens?;
    let headers = evidence.headers.iter().rev().find(|headers| told(headers).next().is_some())?;
    let seen: Vec<String> = told(headers).map(|(name, value)| format!("{name}: {}", quote(&value))).collect();
    let mut limits = Map::new();
    let limit = &lens.settings.limits;
    for (setting, words, is_set) in [
        ("reset_header", "reset", limit.reset_header.is_some()),
        ("remaining_header", "remaining", limit.remaining_header.is_some()),
    ] {
        let unknown = told(headers).find(|(name, value)| {
            name.contains(words) && value.bytes().next().is_some_and(|byte| byte.is_ascii_digit())
        });
        if let Some((name, _)) = unknown.filter(|(name, _)| !is_set && !RestRules::knows(name)) {
            limits.insert(setting.to_owned(), json!(name));
        }
    }
    let is_set = |name: &str| {
        [&limit.reset_header, &limit.remaining_header]
            .into_iter()
            .flatten()
            .any(|set| set.eq_ignore_ascii_case(name))
    };
    let is_read = told(headers).any(|(name, _)| RestRules::knows(name) || is_set(name));
    let mut means = match (limits.is_empty(), is_read) {
        (false, _) => "a job rests when the limit is used up, if it knows these headers",
        (true, true) => "a job reads them, and rests when the limit is used up",
        (true, false) => "they do not say what is left of it: a job rests when it is refused",
    }
    .to_owned();
    if let Some((requests, seconds)) = told(headers).find_map(|(_, value)| policy(&value)) {
        let rate = requests / seconds;
        means.push_str(&format!(
            "; {requests} requests in {seconds} s are {rate:.3} per second: `backhaul admin connection limit` holds the whole fleet to that"
        ));
    }
    let settings = evidence.patch((!limits.is_empty()).then(|| json!({"limits": Value::Object(limits)})));
    Some(Finding { settings, ..finding(FindingKind::RateHeaders, "every request", seen.join(", "), means) })
}

/// The headers that are about a limit.
fn told(headers: &HeaderMap) -> impl Iterator<Item = (&str, String)> {
    let is_about = |name: &str| {
        ["ratelimit", "rate-limit", "quota"].iter().any(|word| name.contains(word)) || name == "retry-after"
    };
    headers
        .iter()
        .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .filter(move |(name, _)| is_about(name))
}

/// How many requests in how many seconds: `100;w=60`, `"default";q=100;w=60`.
fn policy(value: &str) -> Option<(f64, f64)> {
    let first = value.split(',').next()?;
    let members: Vec<(&str, &str)> =
        first.split(';').map(|part| part.trim().split_once('=').unwrap_or((part.trim(), ""))).collect();
    let of = |wanted: &str| members.iter().find(|(name, _)| *name == wanted)?.1.parse::<f64>().ok();
    let requests = of("q").or_else(|| members.first()?.0.parse().ok())?;
    let seconds = of("w").filter(|seconds| *seconds > 0.0)?;
    Some((requests, seconds))
}

pub(super) fn redirected(evidence: &Evidence<'_>) -> Option<Finding> {
    let (from, to) = evidence.redirected.as_ref()?;
    let means = "each page costs another request: correct the base URL or the path";
    Some(finding(FindingKind::Redirected, from, format!("a redirect to {to}"), means))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_read_in_both_forms() {
        assert_eq!(policy("100;w=60"), Some((100.0, 60.0)));
        assert_eq!(policy("\"burst\";q=10;w=1, \"day\";q=1000;w=86400"), Some((10.0, 1.0)));
        for none in ["100", "\"a\";r=5;t=3", "", "100;w=0", "w=60"] {
            assert_eq!(policy(none), None, "{none}");
        }
    }
}
