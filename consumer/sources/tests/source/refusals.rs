//! Answers other than 200, and no answer at all.

use std::time::Duration;

use axum::http::StatusCode;
use sources::FetchError;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use url::Url;

use crate::upstream::{
    Upstream, answer, fetch, fetcher, limited, list, permanent, record, small_limits, stuck, transient,
};

async fn limit(status: u16, retry_after: Option<&'static str>) -> Option<Duration> {
    let upstream = Upstream::start(move |_| {
        let headers = retry_after.map(|value| [("retry-after", value)]);
        (
            StatusCode::from_u16(status).unwrap(),
            headers.into_iter().flatten().collect::<Headers>(),
            "slow down",
        )
    })
    .await;
    match upstream.fetch().await {
        Err(FetchError::RateLimited { retry_after, body, .. }) => {
            assert_eq!(body.as_deref(), Some("slow down"));
            retry_after
        }
        other => panic!("not rate limited: {other:?}"),
    }
}

/// Headers as axum takes them.
#[derive(Default)]
struct Headers(axum::http::HeaderMap);

impl FromIterator<(&'static str, &'static str)> for Headers {
    fn from_iter<I: IntoIterator<Item = (&'static str, &'static str)>>(headers: I) -> Self {
        let headers = headers.into_iter();
        Self(headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect())
    }
}

impl axum::response::IntoResponseParts for Headers {
    type Error = std::convert::Infallible;

    fn into_response_parts(
        self,
        mut parts: axum::response::ResponseParts,
    ) -> Result<axum::response::ResponseParts, Self::Error> {
        parts.headers_mut().extend(self.0);
        Ok(parts)
    }
}

#[tokio::test]
async fn rate_limits_with_and_without_a_time() {
    assert_eq!(limit(429, Some("7")).await, Some(Duration::from_secs(7)));
    assert_eq!(limit(429, None).await, None);
    assert_eq!(limit(429, Some("Fri, 31 Dec 9999 23:59:59 GMT")).await, Some(Duration::from_secs(24 * 3600)));
    assert_eq!(limit(429, Some("99999999999999999999")).await, Some(Duration::from_secs(24 * 3600)));
    assert_eq!(limit(429, Some("7200")).await, Some(Duration::from_secs(7200)));
    assert_eq!(limit(429, Some("-1")).await, None);
    assert_eq!(limit(429, Some("whenever")).await, None);
    assert_eq!(limit(503, Some("0")).await, Some(Duration::from_secs(1)));
}

#[tokio::test]
async fn server_errors_are_transient_and_keep_the_first_kib() {
    for status in [500, 502, 503, 504, 408, 425] {
        let upstream =
            Upstream::start(move |_| (StatusCode::from_u16(status).unwrap(), "\0oops".repeat(1000))).await;
        let Err(FetchError::Transient { cause, body: Some(body) }) = upstream.fetch().await else { panic!() };
        assert!(cause.contains(&status.to_string()), "{cause}");
        assert!(body.starts_with("\u{fffd}oops") && body.chars().count() == 1024, "{body}");
    }
}

#[tokio::test]
async fn client_errors_are_permanent() {
    for status in [400, 401, 403, 404, 410] {
        let upstream = Upstream::start(move |_| StatusCode::from_u16(status).unwrap()).await;
        assert_eq!(permanent(upstream.fetch().await).split(' ').nth(3), Some(&*status.to_string()));
    }
}

#[tokio::test]
async fn an_error_whose_body_never_ends_is_still_that_error() {
    let upstream = Upstream::start(|_| (StatusCode::FORBIDDEN, stuck("no"))).await;
    let result = fetch(&*list(&upstream.url), &fetcher(), None, Duration::from_millis(150)).await;
    let Err(FetchError::Permanent { body, .. }) = result else { panic!("{result:?}") };
    assert_eq!(body.as_deref(), Some("no"));
}

#[tokio::test]
async fn no_connection_is_transient() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    drop(listener);
    let cause = transient(fetch(&*list(&url), &fetcher(), None, Duration::from_secs(5)).await);
    assert!(cause.contains("refused") && !cause.contains("http://"), "{cause}");
}

/// An upstream that reads a request, writes some bytes, and closes the connection.
async fn cut_after(bytes: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        assert!(stream.read(&mut request).await.unwrap() > 0);
        stream.write_all(bytes.as_bytes()).await.unwrap();
    });
    let cause = transient(fetch(&*list(&url), &fetcher(), None, Duration::from_secs(5)).await);
    server.await.unwrap();
    cause
}

#[tokio::test]
async fn a_cut_answer_is_transient() {
    cut_after("").await;
    cut_after("HTTP/1.1 200 OK\r\ncontent-le").await;
    cut_after("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"items\":[").await;
    cut_after("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"ite\r\n").await;
}

#[tokio::test]
async fn redirects_stay_on_the_host() {
    let elsewhere = Upstream::text(answer(&[record("stolen")])).await;
    let target = elsewhere.url.clone();
    let upstream = Upstream::start(move |_| (StatusCode::FOUND, [("location", target.to_string())])).await;
    let cause = permanent(upstream.fetch().await);
    assert!(cause.contains("redirect to another host"), "{cause}");
    assert_eq!(elsewhere.seen(), Vec::<String>::new());

    let upstream = Upstream::start(|parts| match parts.uri.path() {
        "/moved" => (StatusCode::OK, [("location", "")], answer(&[record("a")])),
        _ => (StatusCode::TEMPORARY_REDIRECT, [("location", "/moved")], String::new()),
    })
    .await;
    assert_eq!(upstream.fetch().await.unwrap().records.len(), 1);
    assert_eq!(upstream.seen_header("x-api-key"), ["s3cret", "s3cret"]);
    assert_eq!(upstream.seen_header("referer"), Vec::<String>::new());
}

#[tokio::test]
async fn redirects_end_after_three() {
    let upstream = Upstream::start(|_| (StatusCode::FOUND, [("location", "/again")])).await;
    assert!(permanent(upstream.fetch().await).contains("more than 3 redirects"));
    assert_eq!(upstream.seen().len(), 4);
    // Three are followed.
    let upstream = Upstream::start(|parts| match parts.uri.path() {
        "/a/b/c" => (StatusCode::OK, [("location", "")], answer(&[record("a")])),
        "/a/b" => (StatusCode::FOUND, [("location", "/a/b/c")], String::new()),
        "/a" => (StatusCode::FOUND, [("location", "/a/b")], String::new()),
        _ => (StatusCode::FOUND, [("location", "/a")], String::new()),
    })
    .await;
    assert_eq!(upstream.fetch().await.unwrap().records.len(), 1);
}

#[tokio::test]
async fn private_addresses_are_refused() {
    let upstream = Upstream::text(answer(&[])).await;
    let mut config = small_limits();
    config.allow_private_addresses = false;
    let http = limited(config);
    for host in ["127.0.0.1", "2130706433", "[::ffff:127.0.0.1]"] {
        let cause = permanent(fetch(&*list(&at(&upstream, host)), &http, None, Duration::from_secs(5)).await);
        assert!(cause.contains("is not a public address"), "{cause}");
    }
    assert_eq!(upstream.seen(), Vec::<String>::new());
}

fn at(upstream: &Upstream, host: &str) -> Url {
    let mut url = upstream.url.clone();
    url.set_host(Some(host)).unwrap();
    url
}

#[tokio::test]
async fn a_name_of_the_private_network_is_answered_as_one_that_does_not_exist() {
    let upstream = Upstream::text(answer(&[])).await;
    let mut config = small_limits();
    config.allow_private_addresses = false;
    let http = limited(config);
    let mut causes = Vec::new();
    for host in ["localhost", "no-such-name.invalid"] {
        let list = list(&at(&upstream, host));
        let cause = transient(fetch(&*list, &http, None, Duration::from_secs(20)).await);
        assert!(cause.contains("does not lead to a public address"), "{cause}");
        causes.push(cause.replace(host, "HOST"));
    }
    assert_eq!(causes[0], causes[1]);
    assert_eq!(upstream.seen(), Vec::<String>::new());
}

#[tokio::test]
async fn an_aborted_fetch_closes_its_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    for start in ["", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"items\":["] {
        let (source, http) = (list(&url), fetcher());
        let fetching =
            tokio::spawn(async move { fetch(&*source, &http, None, Duration::from_secs(60)).await });
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        assert!(stream.read(&mut request).await.unwrap() > 0);
        stream.write_all(start.as_bytes()).await.unwrap();
        fetching.abort();
        let rest = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut request)).await;
        // Closed, or reset with the bytes that nobody read.
        assert!(rest.expect("the connection stayed open").unwrap_or(0) == 0);
    }
}
