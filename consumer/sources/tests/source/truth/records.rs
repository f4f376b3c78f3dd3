//! What records may hold, and what of it costs them alone.

use serde_json::{Value, json};
use sources::{Content, FetchError};

use super::{read, row, settings};
use crate::upstream::Upstream;

fn listed() -> Value {
    settings(json!({"style": "next_url", "pointer": "/next"}))
}

#[tokio::test]
async fn times_are_read_in_the_format_that_the_settings_name() {
    for (format, times) in [
        (
            None,
            vec![
                json!("2024-01-01T00:00:00.000+0000"),
                json!("2024-01-01T00:00:00Z"),
                json!("2024-01-01 00:00:00 UTC"),
                json!("2024-01-01T01:00:00+01"),
                json!("2024-01-01 00:00:00"),
                json!("2024-01-01"),
            ],
        ),
        (Some("unix"), vec![json!(1_704_067_200), json!("1704067200"), json!("1704067200.0")]),
        (Some("unix_ms"), vec![json!(1_704_067_200_000_i64), json!("1704067200000")]),
        (
            Some("rfc2822"),
            vec![
                json!("Mon, 01 Jan 2024 00:00:00 +0000"),
                json!("Mon, 1 Jan 2024 01:00:00 +0100"),
                json!("Mon, 01 Jan 2024 00:00:00 GMT"),
            ],
        ),
        (Some("%d.%m.%Y %H:%M"), vec![json!("01.01.2024 00:00")]),
        (Some("%Y%m%d"), vec![json!(20_240_101)]),
    ] {
        let data: Vec<_> = times.iter().enumerate().map(|(id, time)| json!({"id": id, "at": time})).collect();
        let upstream = Upstream::text(json!({ "data": data }).to_string()).await;
        let mut settings = listed();
        settings["records"]["time_format"] = json!(format);
        let walked = read(&upstream, settings).await.ended();
        let (_, page) = &walked.pages[0];
        for (record, time) in page.records.iter().zip(&times) {
            assert!(matches!(record.content, Content::Stored { .. }), "{time}: {record:?}");
            assert_eq!(record.time, Some("2024-01-01T00:00:00Z".parse().unwrap()), "{time}");
        }
        assert_eq!(page.records.len(), times.len(), "{format:?}");
    }
}

#[tokio::test]
async fn a_time_in_another_format_fails_its_record_and_names_the_setting() {
    let data = [json!({"id": "a", "at": 1_704_067_200}), json!({"id": "b", "at": "soon"}), row(7)];
    let walked = read(&Upstream::text(json!({ "data": data }).to_string()).await, listed()).await.ended();
    let (_, page) = &walked.pages[0];
    for record in &page.records[..2] {
        let Content::Failed { reason } = &record.content else { panic!("{record:?}") };
        assert!(reason.contains("records.time_format"), "{reason}");
    }
    assert!(matches!(page.records[2].content, Content::Stored { .. }));
}

#[tokio::test]
async fn a_record_that_is_no_json_is_named() {
    let mut data: Vec<String> = (0..100).map(|id| row(id).to_string()).collect();
    for (place, broken, words) in [
        (
            56,
            r#"{"id": "x56", "at": "2024-01-01", "v": NaN}"#,
            "record 57 (\"x56\") of the page: expected value",
        ),
        (56, r#"{"v": -Infinity, "id": "x56"}"#, "record 57 of the page: invalid number"),
        (0, "{'id': 1}", "record 1 of the page: key must be a string"),
        (99, r#"{"id": "y"#, "record 100 of the page: "),
    ] {
        let whole = std::mem::replace(&mut data[place], broken.to_owned());
        let upstream = Upstream::text(format!(r#"{{"data":[{}]}}"#, data.join(","))).await;
        data[place] = whole;
        let error = read(&upstream, listed()).await.error.unwrap();
        assert!(
            matches!(error, FetchError::Unreadable { .. }) && error.to_string().contains(words),
            "{error}"
        );
    }
}

#[tokio::test]
async fn enormous_numbers_fail_their_record() {
    let many = |number: &str, count: usize| vec![number; count].join(",");
    for enormous in [
        many("1e131071", 50),
        many("1e401", 1),
        many("-1E-9999", 1),
        "9".repeat(3000),
        format!("0.{}", "1".repeat(3000)),
        many("1e400", 5000),
    ] {
        let small = r#"{"id": "small", "at": "2024-01-01", "v": [1e400, 1.5e-7, 12345678901234567890]}"#;
        let body = format!(r#"{{"data":[{{"id":"huge","at":"2024-01-01","v":[{enormous}]}},{small}]}}"#);
        let walked = read(&Upstream::text(body).await, listed()).await.ended();
        let (_, page) = &walked.pages[0];
        let Content::Failed { reason } = &page.records[0].content else { panic!("{:?}", page.records[0]) };
        assert!(reason.contains("number"), "{reason}");
        assert_eq!(page.records[0].key, "huge");
        assert!(matches!(page.records[1].content, Content::Stored { .. }));
    }
}

#[tokio::test]
async fn a_record_has_the_version_that_the_settings_point_to() {
    let data = [json!({"id": "a", "at": "2024-01-01", "v": 7}), json!({"id": "b", "at": "2024-01-01"})];
    let mut settings = listed();
    settings["records"]["version"] = json!("/v");
    let walked = read(&Upstream::text(json!({ "data": data }).to_string()).await, settings).await.ended();
    let versions: Vec<_> = walked.pages[0].1.records.iter().map(|record| record.version).collect();
    assert_eq!(versions, [Some(7), None]);
}
