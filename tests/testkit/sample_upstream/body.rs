//! Answers that a well-behaved server never gives.

use super::script::Gate;
use super::seen::OpenRequest;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures::{Stream, StreamExt, stream};
use std::io;
use std::sync::Arc;
use std::time::Duration;

const BLOCK: usize = 64 * 1024;
/// Long enough to be cheap, short enough that no read time-out strikes between two drips.
const DRIP: Duration = Duration::from_millis(10);

/// Half of a body, and the rest once released.
pub(super) fn stall(usual: Response, whole: &Bytes, gate: Arc<Gate>, open: OpenRequest) -> Response {
    let (first, second) = halves(whole);
    let rest = async move {
        gate.until_released(&open).await;
        open.answered();
        Ok(second)
    };
    streamed(usual, Some(whole.len()), stream::iter([Ok(first)]).chain(stream::once(rest)))
}

/// Half of a body, then the end of the connection.
pub(super) fn truncate(usual: Response, whole: &Bytes, open: OpenRequest) -> Response {
    let (first, _) = halves(whole);
    let rest = async move {
        // The first half is flushed only when its successor is not ready at once.
        tokio::task::yield_now().await;
        open.answered();
        Err(io::Error::other("scripted: the rest of the body is missing"))
    };
    streamed(usual, Some(whole.len()), stream::iter([Ok(first)]).chain(stream::once(rest)))
}

/// `bytes` bytes of a JSON string that does not end.
pub(super) fn huge(bytes: u64, announced: bool, open: OpenRequest) -> Response {
    let length = usize::try_from(bytes).ok().filter(|_| announced);
    let block = Bytes::from(vec![b'a'; BLOCK]);
    let start = Bytes::from_static(b"{\"results\":[\"");
    let parts = stream::unfold((start, bytes, Some(open)), move |(next, left, mut open)| {
        let part = next.slice(..next.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
        let left = left - u64::try_from(part.len()).unwrap_or(left);
        if left == 0
            && let Some(open) = open.take()
        {
            open.answered();
        }
        let block = block.clone();
        async move { (!part.is_empty()).then_some((Ok(part), (block, left, open))) }
    });
    streamed(Response::default(), length, parts)
}

/// White space for ever.
pub(super) fn endless(open: OpenRequest) -> Response {
    let start = Bytes::from_static(b"{\"results\":[");
    let drips = stream::unfold((start, open), |(next, open)| async move {
        tokio::time::sleep(DRIP).await;
        Some((Ok(next), (Bytes::from_static(b"\n"), open)))
    });
    streamed(Response::default(), None, drips)
}

fn halves(whole: &Bytes) -> (Bytes, Bytes) {
    let middle = whole.len() / 2;
    (whole.slice(..middle), whole.slice(middle..))
}

fn streamed(
    mut answer: Response,
    length: Option<usize>,
    parts: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
) -> Response {
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(length) = length {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    *answer.body_mut() = Body::from_stream(parts);
    answer
}
