//! What of the settings decides which records are listed, identified and dated.

use serde::Serialize;
use serde_json::{Map, Value, json};
use url::Url;

use super::{Dates, OneOrMany, Parameter, Place, Settings, Style};
use crate::paged_json::time::Zone;
use crate::{Scope, TimeIs};

impl Settings {
    /// The scope of a connection with these settings. What is as it is by default is left out, so that a default that is
    /// written out, or that a later version adds, changes nothing.
    pub(crate) fn scope(&self, base_url: &Url) -> Scope {
        let mut scope = Map::new();
        scope.insert("path".to_owned(), json!(self.path.trim_end_matches('/')));
        // The order of parameters decides nothing.
        let mut query = parameters(&self.query);
        query.sort_unstable();
        put(&mut scope, "query", &query, &Vec::new());
        scope.insert("records".to_owned(), self.listed());
        scope.insert("next".to_owned(), self.walked());
        if let Some(dates) = &self.dates {
            let mut asked = Map::new();
            let mut query = parameters(&dates.parameters);
            query.sort_unstable();
            put(&mut asked, "parameters", &query, &Vec::new());
            put(&mut asked, "zone", &zone(dates), &"UTC");
            put(&mut scope, "dates", &Value::Object(asked), &json!({}));
        }
        Scope::of(base_url, &Value::Object(scope))
    }

    fn listed(&self) -> Value {
        let records = &self.records;
        let mut listed = Map::new();
        listed.insert("pointer".to_owned(), json!(records.pointer));
        let id = match &records.id {
            OneOrMany::One(id) => json!(id),
            OneOrMany::Many(ids) => match ids.as_slice() {
                [id] => json!(id),
                ids => json!(ids),
            },
        };
        listed.insert("id".to_owned(), id);
        put(&mut listed, "time", &records.time.as_deref(), &None);
        put(&mut listed, "time_format", &records.time_format.as_deref().unwrap_or("rfc3339"), &"rfc3339");
        let time_is = match records.time_is {
            TimeIs::Created => "created",
            TimeIs::Updated => "updated",
        };
        put(&mut listed, "time_is", &time_is, &"created");
        Value::Object(listed)
    }

    /// What decides how much of a list is read.
    fn walked(&self) -> Value {
        let mut walked = Map::new();
        match &self.next.style {
            Style::NextUrl(style) => {
                walked.extend([
                    ("style".to_owned(), json!("next_url")),
                    ("pointer".to_owned(), place(&style.pointer)),
                ]);
                put(&mut walked, "end_marks", &style.end_marks, &Vec::new());
            }
            Style::LinkHeader(_) => drop(walked.insert("style".to_owned(), json!("link_header"))),
            Style::Cursor(style) => {
                walked.extend([
                    ("style".to_owned(), json!("cursor")),
                    ("pointer".to_owned(), place(&style.pointer)),
                ]);
                walked.insert("parameter".to_owned(), json!(style.parameter));
                put(&mut walked, "end_marks", &style.end_marks, &Vec::new());
            }
            Style::LastId(style) => {
                walked.extend([
                    ("style".to_owned(), json!("last_id")),
                    ("parameter".to_owned(), json!(style.parameter)),
                ]);
                put(&mut walked, "id", &style.id.as_deref(), &None);
            }
            Style::PageNumber(style) => {
                walked.insert("style".to_owned(), json!("page_number"));
                walked.insert("parameter".to_owned(), json!(style.parameter));
                put(&mut walked, "first", &style.first, &1);
                put(&mut walked, "pages", &style.pages.as_ref().map(place), &None);
            }
            Style::Offset(style) => {
                walked.extend([
                    ("style".to_owned(), json!("offset")),
                    ("parameter".to_owned(), json!(style.parameter)),
                ]);
                put(&mut walked, "until_total", &style.until_total, &false);
            }
        }
        let ends = &self.next.ends;
        put(&mut walked, "more", &ends.more.as_ref().map(place), &None);
        put(&mut walked, "done", &ends.done.as_ref().map(place), &None);
        let mut statuses = ends.end_status.clone();
        statuses.sort_unstable();
        put(&mut walked, "end_status", &statuses, &Vec::new());
        Value::Object(walked)
    }
}

fn parameters(parameters: &[Parameter]) -> Vec<(&str, &str)> {
    parameters.iter().map(|parameter| (&*parameter.name, &*parameter.value)).collect()
}

fn zone(dates: &Dates) -> &str {
    let is_utc = |name: &&str| Zone::named(name).is_ok_and(|zone| zone.is_utc());
    dates.zone.as_deref().filter(|name| !is_utc(name)).unwrap_or("UTC")
}

fn place(place: &Place) -> Value {
    match place {
        Place::Pointer(pointer) => json!(pointer),
        Place::Header(name) => json!({"header": name.as_str()}),
    }
}

/// Puts a member where it is not as it is by default.
fn put<T: PartialEq + Serialize>(members: &mut Map<String, Value>, name: &str, value: &T, usual: &T) {
    if value != usual {
        members.insert(name.to_owned(), json!(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Value {
        json!({
            "path": "/list",
            "query": [{"name": "state", "value": "all"}, {"name": "sort", "value": "id"}],
            "records": {"pointer": "/items", "id": "/id", "time": "/at"},
            "next": {"style": "page_number", "parameter": "page"},
            "dates": {"parameters": [{"name": "since", "value": "{from}"}, {"name": "until", "value": "{to}"}], "start": null},
        })
    }

    fn scope(base_url: &str, settings: &Value) -> Scope {
        Settings::read(settings).unwrap().scope(&base_url.parse().unwrap())
    }

    fn with(changes: &[(&str, Value)]) -> Value {
        let mut settings = settings();
        for (pointer, value) in changes {
            let (parent, member) = pointer.rsplit_once('/').unwrap();
            settings.pointer_mut(parent).unwrap()[member] = value.clone();
        }
        settings
    }

    #[test]
    fn what_only_changes_how_a_list_is_read_changes_no_scope() {
        let base = scope("https://x.org/v1", &settings());
        for same in [
            with(&[("/page_size", json!({"parameter": "n", "size": 7}))]),
            with(&[
                ("/limits", json!({"longest_rest": "1h"})),
                ("/overlap_hours", json!(1)),
                ("/max_empty_pages", json!(3)),
            ]),
            with(&[
                ("/dates/margin", json!("2d")),
                ("/dates/whole_days", json!(true)),
                ("/dates/start", json!("2015-01-01")),
            ]),
            with(&[("/slicing", json!({"days": 1})), ("/auth", json!({"header": "X", "value": "{k}"}))]),
            with(&[("/total", json!("/n")), ("/total_is", json!("estimate")), ("/confirm_after", json!(0))]),
            // Defaults, written out.
            with(&[
                ("/records/time_format", json!("rfc3339")),
                ("/records/time_is", json!("created")),
                ("/records/absent", json!("error")),
            ]),
            with(&[
                ("/next/first", json!(1)),
                ("/next/end_status", json!([])),
                ("/dates/zone", json!("UTC")),
            ]),
            with(&[("/records/id", json!(["/id"])), ("/path", json!("/list/"))]),
            with(&[("/query", json!([{"name": "sort", "value": "id"}, {"name": "state", "value": "all"}]))]),
            with(&[("/item", json!({"path": "/list/{id}"})), ("/records/version", json!("/v"))]),
        ] {
            assert_eq!(scope("https://x.org/v1", &same), base, "{same}");
        }
        for same in ["http://x.org/v1", "https://x.org/v1/", "https://X.ORG:8443/v1"] {
            assert_eq!(scope(same, &settings()), base, "{same}");
        }
        assert!(base.fingerprint.starts_with("v1-") && base.fingerprint.len() == 67);
        // It stands in rows: a change of it makes every connection start from nothing.
        assert_eq!(
            base.canonical.to_string(),
            r#"{"settings":{"dates":{"parameters":[["since","{from}"],["until","{to}"]]},"next":{"parameter":"page","style":"page_number"},"path":"/list","query":[["sort","id"],["state","all"]],"records":{"id":"/id","pointer":"/items","time":"/at"}},"upstream":"x.org/v1"}"#
        );
    }

    #[test]
    fn what_decides_which_records_are_listed_identified_and_dated_changes_it() {
        let base = scope("https://x.org/v1", &settings());
        let mut seen = vec![base.fingerprint];
        for other in [
            with(&[("/path", json!("/other"))]),
            with(&[("/query", json!([]))]),
            with(&[("/records/pointer", json!("/data"))]),
            with(&[("/records/id", json!("/key"))]),
            with(&[("/records/id", json!(["/id", "/part"]))]),
            with(&[("/records/time", json!("/updated"))]),
            with(&[("/records/time_format", json!("unix"))]),
            with(&[("/records/time_is", json!("updated"))]),
            with(&[("/next/parameter", json!("p"))]),
            with(&[("/next/first", json!(0))]),
            with(&[("/next/pages", json!("/pages"))]),
            with(&[("/next/pages", json!({"header": "x-pages"}))]),
            with(&[("/next/more", json!("/more"))]),
            with(&[("/next/end_status", json!(404))]),
            with(&[("/dates/zone", json!("Asia/Tokyo"))]),
            with(&[("/dates/parameters/0/value", json!("{from:date}"))]),
            with(&[("/next", json!({"style": "link_header"}))]),
        ] {
            let fingerprint = scope("https://x.org/v1", &other).fingerprint;
            assert!(!seen.contains(&fingerprint), "{other}");
            seen.push(fingerprint);
        }
        for other in ["https://y.org/v1", "https://x.org/v2", "https://x.org"] {
            assert!(!seen.contains(&scope(other, &settings()).fingerprint), "{other}");
        }
    }
}
