//! What is refused, and what is not.

use super::*;

const CONNECTION: &str = "018f0000-0000-7000-8000-000000000001";

fn start(body: &str) -> Result<Decoded<StartCommand>, Rejection> {
    decode(body.as_bytes(), None)
}

#[test]
fn a_person_can_type_a_start() {
    let decoded = start(&format!(r#"{{"connection_id": "{CONNECTION}", "colour": 1}}"#)).unwrap();
    assert_eq!(decoded.command.connection_id.to_string(), CONNECTION);
    assert_eq!(decoded.command.mode, JobMode::Range);
    assert_eq!(decoded.unknown, ["colour"]);
}

#[test]
fn refusals_name_the_fault() {
    let cases = [
        ("", "not_json"),
        ("[]", "invalid"),
        ("{}", "invalid"),
        (r#"{"connection_id": "x"}"#, "invalid"),
        (r#"{"connection_id": "018f0000-0000-7000-8000-000000000001", "name": "a", "name": "a"}"#, "invalid"),
        (r#"{"connection_id": "018f0000-0000-7000-8000-000000000001", "mode": "sideways"}"#, "invalid"),
        (r#"{"connection_id": "018f0000-0000-7000-8000-000000000001", "name": "a\u0000b"}"#, "invalid"),
        (r#"{"connection_id": "018f0000-0000-7000-8000-000000000001", "schema_id": "x"}"#, "invalid"),
        (r#"{"connection_id": "018f0000-0000-7000-8000-000000000001", "document_ids": []}"#, "invalid"),
        (r#"{"connection_id": "018f0000-0000-7000-8000-000000000001", "document_ids": [""]}"#, "invalid"),
        (
            r#"{"connection_id": "018f0000-0000-7000-8000-000000000001", "document_ids": ["a", "b", "a"]}"#,
            "invalid",
        ),
        (
            r#"{"connection_id": "018f0000-0000-7000-8000-000000000001", "document_ids": ["a"],
                "date_from": "2026-01-02T00:00:00Z"}"#,
            "invalid",
        ),
        (
            r#"{"connection_id": "018f0000-0000-7000-8000-000000000001", "document_ids": ["a"],
                "mode": "incremental"}"#,
            "invalid",
        ),
        (
            r#"{"connection_id": "018f0000-0000-7000-8000-000000000001",
                "date_from": "2026-01-02T00:00:00Z", "date_to": "2026-01-01T00:00:00Z"}"#,
            "invalid",
        ),
        (
            r#"{"connection_id": "018f0000-0000-7000-8000-000000000001", "mode": "incremental",
                "date_from": "2026-01-02T00:00:00Z"}"#,
            "invalid",
        ),
    ];
    for (body, reason) in cases {
        assert_eq!(start(body).unwrap_err().reason, reason, "{body}");
    }
    let at = r#""date_from": "0000-01-01T00:00:00Z", "date_to": "9999-12-31T23:59:59.999999Z""#;
    start(&format!(r#"{{"connection_id": "{CONNECTION}", {at}}}"#)).unwrap();
    for (field, date) in [
        ("date_from", "-0001-12-31T23:59:59Z"),
        ("date_to", "+10000-01-01T00:00:00Z"),
        ("date_from", "-200000-01-01T00:00:00Z"),
    ] {
        let refused =
            start(&format!(r#"{{"connection_id": "{CONNECTION}", "{field}": "{date}"}}"#)).unwrap_err();
        assert!(refused.reason == "invalid" && refused.detail.contains("years 0 to 9999"), "{refused}");
    }
    let deep = "[".repeat(100_000);
    assert_eq!(start(&deep).unwrap_err().reason, "not_json");
    assert_eq!(start(&" ".repeat(MAX_COMMAND_BYTES + 1)).unwrap_err().reason, "too_large");
    assert_eq!(decode::<StartCommand>(b"\xff", None).unwrap_err().reason, "not_json");
    let wrong = decode::<StartCommand>(b"{}", Some("sync.cancel")).unwrap_err();
    assert_eq!(wrong.reason, "wrong_type");
}

#[test]
fn a_field_that_was_meant_otherwise_is_refused_and_the_nearest_named() {
    for (field, nearest) in
        [("from", "date_from"), ("until", "date_to"), ("date_fron", "date_from"), ("Mode", "mode")]
    {
        let body =
            format!(r#"{{"connection_id": "{CONNECTION}", "colour": 1, "{field}": "2026-01-01T00:00:00Z"}}"#);
        let refused = start(&body).unwrap_err();
        assert_eq!(refused.reason, "unknown_field");
        let words = format!("the field \"{field}\" is not known here; did you mean {nearest}?");
        assert!(refused.detail.starts_with(&words), "{}", refused.detail);
    }
    // It comes before what is missing for its sake.
    assert_eq!(start(r#"{"conection_id": "x"}"#).unwrap_err().reason, "unknown_field");
    let cancel =
        decode::<CancelCommand>(format!(r#"{{"job_ids": "{CONNECTION}"}}"#).as_bytes(), None).unwrap_err();
    assert!(cancel.reason == "unknown_field" && cancel.detail.contains("did you mean job_id?"), "{cancel}");
}

#[test]
fn where_every_field_must_be_known_none_is_ignored() {
    let exactly = |field: &str| {
        decode_exactly::<StartCommand>(format!(r#"{{"connection_id": "{CONNECTION}"{field}}}"#).as_bytes())
    };
    assert_eq!(exactly("").unwrap().connection_id.to_string(), CONNECTION);
    for field in ["colour", "from", "date_fron"] {
        assert_eq!(exactly(&format!(r#", "{field}": null"#)).unwrap_err().reason, "unknown_field", "{field}");
    }
    assert_eq!(decode_exactly::<StartCommand>(b"{").unwrap_err().reason, "not_json");
}

#[test]
fn a_body_and_its_texts_have_a_length() {
    let body = format!(r#"{{"connection_id": "{CONNECTION}"}}"#);
    let padded = |bytes: usize| format!("{body}{}", " ".repeat(bytes - body.len()));
    assert!(start(&padded(MAX_COMMAND_BYTES)).is_ok());
    assert_eq!(start(&padded(MAX_COMMAND_BYTES + 1)).unwrap_err().reason, "too_large");
    let (at, past) = ("é".repeat(MAX_TEXT_CHARS), "é".repeat(MAX_TEXT_CHARS + 1));
    for field in ["command_id", "name", "requested_by"] {
        let with =
            |text: &str| start(&format!(r#"{{"connection_id": "{CONNECTION}", "{field}": "{text}"}}"#));
        assert!(with(&at).is_ok());
        assert_eq!(with(&past).unwrap_err().detail, format!("{field} is longer than 200 characters"));
    }
    for field in ["command_id", "reason", "requested_by"] {
        let with = |text: &str| {
            let body = format!(r#"{{"job_id": "{CONNECTION}", "{field}": "{text}"}}"#);
            decode::<CancelCommand>(body.as_bytes(), None)
        };
        assert!(with(&at).is_ok());
        assert_eq!(with(&past).unwrap_err().detail, format!("{field} is longer than 200 characters"));
    }
    // However much of the body a refusal would repeat.
    let long = format!(r#"{{"connection_id": "{}"}}"#, "x".repeat(10_000));
    assert!(start(&long).unwrap_err().detail.chars().count() <= crate::short::MAX_SENTENCE_CHARS);
}

#[test]
fn a_start_may_be_over_documents() {
    let of = |ids: Vec<String>| {
        serde_json::json!({ "connection_id": CONNECTION, "document_ids": ids }).to_string()
    };
    let ids = |number: usize, length: usize| (0..number).map(|n| format!("{n:0length$}")).collect();
    let decoded = start(&of(ids(2000, 36))).unwrap();
    assert_eq!(decoded.command.document_ids.map(|ids| ids.len()), Some(2000));
    assert!(decoded.unknown.is_empty());
    let detail = |body: &str| start(body).unwrap_err().detail;
    assert!(detail(&of(ids(2001, 1))).contains("between 1 and 2000"));
    assert!(detail(&of(ids(1, 513))).contains("between 1 and 512 bytes"));
    assert!(detail(&of(vec!["a".to_owned(), "a".to_owned()])).contains("document_ids[1] is a duplicate"));
}

#[test]
fn a_cancel_names_a_job_or_a_connection() {
    for body in ["{}", &format!(r#"{{"job_id": "{CONNECTION}", "connection_id": "{CONNECTION}"}}"#)] {
        assert_eq!(decode::<CancelCommand>(body.as_bytes(), None).unwrap_err().reason, "invalid", "{body}");
    }
    let one = format!(r#"{{"job_id": "{CONNECTION}", "reason": "enough"}}"#);
    let decoded = decode::<CancelCommand>(one.as_bytes(), Some("sync.cancel")).unwrap();
    assert_eq!(decoded.command.reason.as_deref(), Some("enough"));
}

#[test]
fn a_refusal_names_the_field() {
    let detail = |body: &str| start(body).unwrap_err().detail;
    assert_eq!(detail("{}"), "missing field `connection_id`");
    assert!(
        detail(r#"{"connection_id": "x"}"#).starts_with("connection_id: UUID parsing failed"),
        "{}",
        detail(r#"{"connection_id": "x"}"#)
    );
    let conflict = format!(r#"{{"connection_id": "{CONNECTION}", "on_conflict": "fight"}}"#);
    assert!(detail(&conflict).starts_with("on_conflict: unknown variant `fight`"), "{}", detail(&conflict));
}

#[test]
fn ignored_fields_are_named_without_breaking_a_header() {
    assert_eq!(warning(&[]), None);
    assert_eq!(warning(&["colour".to_owned()]).unwrap(), r#"unknown field "colour""#);
    let names = ["colour".to_owned(), "a\"b\r\nö".to_owned(), "x".repeat(300)];
    let text = warning(&names).unwrap();
    assert!(text.starts_with(r#"unknown fields "colour", "a\"b\r\n\u{f6}", "xxx"#), "{text}");
    assert!(text.len() < 250 && text.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
}
