//! An answer on its way: it goes out in small pieces, so that a client who does not read holds no more than one of them
//! besides what its handler has made, and its connection is busy until the last piece is taken.

use super::due::Underway;
use super::open::Busy;
use axum::body::{Body as AnyBody, Bytes};
use axum::http::Response;
use hyper::body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::sync::OwnedSemaphorePermit;

/// Bytes that are handed to the connection at a time. It asks for more only while it holds less than its limit.
const PIECE: usize = 16 << 10;

/// The body of an answer.
pub(super) struct Answering {
    body: AnyBody,
    /// What is left of the part that the handler gave last.
    rest: Bytes,
    /// None if nobody knows how large the answer is: it is made as it is taken.
    underway: Option<Underway>,
    _busy: Busy,
    _working: Option<OwnedSemaphorePermit>,
}

impl Answering {
    pub(super) fn new(
        (answer, working): (Response<AnyBody>, Option<OwnedSemaphorePermit>),
        underway: Option<Underway>,
        busy: Busy,
    ) -> Response<Self> {
        answer.map(|body| Self { body, rest: Bytes::new(), underway, _busy: busy, _working: working })
    }
}

impl Body for Answering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(context)).transpose()? {
                None => return Poll::Ready(None),
                Some(frame) => match frame.into_data() {
                    Ok(data) => {
                        self.rest = match &self.underway {
                            Some(underway) => underway.part(data),
                            None => data,
                        }
                    }
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
            }
        }
        let next = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(next)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + rest);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}
