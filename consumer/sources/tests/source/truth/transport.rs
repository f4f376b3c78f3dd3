//! How answers come, and how next pages are asked for.

use std::io::Write as _;

use axum::http::StatusCode;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use protocol::warning::WarningKind;
use serde_json::{Value, json};
use sources::{FetchError, Source};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use url::Url;

use super::{ever, ids, query, read, rows, settings};
use crate::upstream::{Upstream, source};
use crate::walker::{Walked, walk};

fn by_url() -> Value {
    settings(json!({"style": "next_url", "pointer": "/next"}))
}

fn by_cursor(extra: &Value) -> Value {
    let mut next = json!({"style": "cursor", "pointer": "/next", "parameter": "c"});
    next.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    settings(next)
}

#[tokio::test]
async fn a_next_page_on_another_scheme_or_port_of_the_host_is_followed_on_the_connections_own() {
    for next in [
        "https://127.0.0.1/list?c=1",
        "http://127.0.0.1:1/list?c=1",
        "//127.0.0.1:9/list?c=1",
        "https://user:x@127.0.0.1/list?c=1#f",
    ] {
        let upstream = Upstream::start(move |parts| {
            let first = !query(parts).contains_key("c");
            let next = first.then_some(next);
            json!({"data": rows(if first { 0..2 } else { 2..4 }), "next": next}).to_string()
        })
        .await;
        assert_eq!(read(&upstream, by_url()).await.ended().keys(), ids(0..4), "{next}");
        assert_eq!(upstream.seen(), ["/list?limit=100", "/list?c=1"], "{next}");
    }
}

/// Some upstreams write the key that they were asked with into the next page's URL.
#[tokio::test]
async fn secrets_are_not_stored_in_next_pages_and_are_sent_all_the_same() {
    let upstream = Upstream::start(|parts| {
        let query = query(parts);
        let first = !query.contains_key("page");
        assert!(first || query["key"] == "s3cret", "{query:?}");
        let next = first
            .then(|| format!("http://{}/list?key=s3%63ret&page=2", parts.headers["host"].to_str().unwrap()));
        json!({"data": rows(if first { 0..2 } else { 2..4 }), "next": next}).to_string()
    })
    .await;
    let walked = read(&upstream, by_url()).await.ended();
    assert_eq!(walked.keys(), ids(0..4));
    assert_eq!(walked.pages[1].0.cursor.as_deref(), Some("/list?key=<api_key>&page=2"));
    assert_eq!(upstream.seen()[1], "/list?key=s3cret&page=2");
}

#[tokio::test]
async fn a_cursor_that_is_encoded_already_is_sent_as_it_came() {
    let upstream = Upstream::start(|parts| {
        let query = parts.uri.query().unwrap_or_default();
        let next = match query {
            "limit=100" => Some("a%3D"),
            "limit=100&c=a%3D" => Some("b=="),
            "limit=100&c=b%3D%3D" | "limit=100&c=a%253D" => None,
            other => panic!("{other}"),
        };
        json!({"data": rows([query.len()]), "next": next}).to_string()
    })
    .await;
    let walked = read(&upstream, by_cursor(&json!({}))).await.ended();
    assert_eq!((walked.keys().len(), walked.warnings()), (3, vec![(WarningKind::EncodedCursor, 1)]));
    let walked = read(&upstream, by_cursor(&json!({"encoded": false}))).await.ended();
    assert_eq!((walked.keys().len(), walked.warnings()), (2, vec![]));
    let always = Upstream::start(|parts| {
        let next = if parts.uri.query() == Some("limit=100") { Some("x=&y=%20") } else { None };
        json!({"data": rows([0]), "next": next}).to_string()
    })
    .await;
    read(&always, by_cursor(&json!({"encoded": true}))).await;
    assert_eq!(always.seen()[1], "/list?limit=100&c=x=&y=%20");
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn zlib(body: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn deflate(body: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn zstd(body: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(body, ruzstd::encoding::CompressionLevel::Fastest)
}

/// `{"data":[{"id":"0","at":"2026-01-02T03:04:05Z"}]}`, as `brotli` has it.
const BROTLI: &[u8] = include_bytes!("one_record.br");

async fn encoded(encoding: &'static str, body: Vec<u8>) -> Walked {
    let upstream = Upstream::start(move |_| ([("content-encoding", encoding)], body.clone())).await;
    let walked = read(&upstream, by_url()).await;
    assert_eq!(upstream.seen_header("accept-encoding"), ["gzip, deflate, br, zstd"]);
    walked
}

#[tokio::test]
async fn bodies_are_decoded_whatever_they_are_encoded_as() {
    let plain = json!({"data": rows([0])}).to_string().into_bytes();
    for (encoding, body) in [
        ("gzip", gzip(&plain)),
        ("x-gzip", gzip(&plain)),
        ("GZIP", gzip(&plain)),
        ("deflate", zlib(&plain)),
        ("deflate", deflate(&plain)),
        ("br", BROTLI.to_vec()),
        ("zstd", zstd(&plain)),
        ("identity", plain.clone()),
        ("deflate, gzip", gzip(&zlib(&plain))),
        // In two frames; announced and not done; done and not announced; twice, announced once.
        ("zstd", [zstd(&plain[..9]), zstd(&plain[9..])].concat()),
        ("gzip", [gzip(&plain[..9]), gzip(&plain[9..])].concat()),
        ("gzip", plain.clone()),
        ("br", plain.clone()),
        ("identity", gzip(&plain)),
        ("gzip", gzip(&gzip(&plain))),
        // What has no meaning is no harm where the body is plain.
        ("utf-8", plain.clone()),
    ] {
        let walked = encoded(encoding, body).await;
        assert_eq!(walked.error, None, "{encoding}");
        assert_eq!(walked.keys(), ids([0]), "{encoding}");
    }
}

#[tokio::test]
async fn what_cannot_be_decoded_is_named() {
    let plain = json!({"data": rows(0..50)}).to_string().into_bytes();
    let unknown = encoded("compress", b"\x1f\x9d\x90whatever".to_vec()).await.error.unwrap();
    assert!(unknown.to_string().contains("encoded as compress"), "{unknown}");
    let mut wrong = gzip(&plain);
    let middle = wrong.len() / 2;
    wrong[middle] ^= 0x55;
    let error = encoded("gzip", wrong).await.error.unwrap();
    assert!(
        matches!(error, FetchError::Unreadable { .. }) && error.to_string().contains("encoded as gzip"),
        "{error}"
    );
    // Cut within its encoding.
    for (encoding, body) in [("gzip", gzip(&plain)), ("deflate", zlib(&plain)), ("br", BROTLI.to_vec())] {
        let error = encoded(encoding, body[..body.len() - 12].to_vec()).await.error.unwrap();
        assert!(matches!(error, FetchError::Transient { .. }), "{encoding}: {error:?}");
    }
    let utf16: Vec<u8> = "\u{feff}{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let error = encoded("identity", utf16).await.error.unwrap();
    assert!(error.to_string().contains("it is UTF-16, and must be UTF-8"), "{error}");
    // An error's beginning is readable.
    let refusal = gzip(b"no such token");
    let upstream =
        Upstream::start(move |_| (StatusCode::UNAUTHORIZED, [("content-encoding", "gzip")], refusal.clone()))
            .await;
    assert_eq!(read(&upstream, by_url()).await.error.unwrap().body(), Some("no such token"));
}

#[tokio::test]
async fn caches_are_asked_to_revalidate() {
    let upstream = Upstream::text(r#"{"data":[]}"#).await;
    read(&upstream, by_url()).await.ended();
    assert_eq!(upstream.seen_header("cache-control"), ["no-cache"]);
}

#[tokio::test]
async fn a_byte_order_mark_is_skipped() {
    let upstream = Upstream::text(format!("\u{feff}{}", json!({"data": rows(0..2)}))).await;
    assert_eq!(read(&upstream, by_url()).await.ended().keys(), ids(0..2));
}

#[tokio::test]
async fn an_answer_that_is_not_there_yet_is_asked_for_again() {
    let accepted = Upstream::start(|_| (StatusCode::ACCEPTED, r#"{"data":[]}"#)).await;
    let empty = Upstream::text("").await;
    let blank = Upstream::text(" \r\n").await;
    for upstream in [accepted, empty, blank] {
        let error = read(&upstream, by_url()).await.error;
        assert!(matches!(error, Some(FetchError::Transient { .. })), "{error:?}");
    }
}

/// An upstream that writes these bytes, and closes the connection.
async fn raw(answer: Vec<u8>) -> Walked {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        assert!(stream.read(&mut request).await.unwrap() > 0);
        stream.write_all(&answer).await.unwrap();
    });
    let opened: Box<dyn Source> = source("paged_json", &url, by_url());
    let walked = walk(&*opened, &ever()).await;
    server.await.unwrap();
    walked
}

#[tokio::test]
async fn a_body_that_ends_with_its_connection_may_be_a_cut_one() {
    let whole = json!({"data": rows(0..3)}).to_string();
    let answered = |headers: &str, body: &str| format!("HTTP/1.1 200 OK\r\n{headers}\r\n{body}").into_bytes();
    assert_eq!(raw(answered("", &whole)).await.ended().keys(), ids(0..3));
    for cut in [1, whole.len() / 2, whole.len() - 1] {
        let error = raw(answered("", &whole[..cut])).await.error;
        assert!(
            matches!(&error, Some(FetchError::Transient { cause, .. }) if cause.contains("broke off")),
            "{cut}: {error:?}"
        );
        // With a length it was sent so.
        let error = raw(answered(&format!("content-length: {cut}\r\n"), &whole[..cut])).await.error;
        assert!(matches!(error, Some(FetchError::Unreadable { .. })), "{cut}: {error:?}");
    }
    // Within a character.
    let text = json!({"data": [{"id": "é", "at": "2026-01-01"}]}).to_string();
    let within = text.find('é').unwrap() + 1;
    let bytes = [answered("", ""), text.as_bytes()[..within].to_vec()].concat();
    assert!(matches!(raw(bytes).await.error, Some(FetchError::Transient { .. })));
}

#[tokio::test]
async fn headers_that_are_no_text_cost_nothing() {
    let body = json!({"data": rows(0..3), "total": 3}).to_string();
    for header in [
        &b"Set-Cookie: a=\x01b; path=/"[..],
        b"X-Name: caf\xe9",
        b"X-\x02: 1",
        b"Set-Cookie: \x7f",
        b"no colon at all",
    ] {
        let answer = [
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n",
            header,
            format!("\r\ncontent-length: {}\r\n\r\n{body}", body.len()).as_bytes(),
        ]
        .concat();
        let walked = raw(answer).await;
        assert_eq!(walked.error, None, "{:?}", String::from_utf8_lossy(header));
        assert_eq!(walked.keys(), ids(0..3));
    }
}
