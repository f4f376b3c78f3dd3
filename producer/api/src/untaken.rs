//! Answers that are made and not taken yet: how much memory they may hold, of this process and of each tenant.
//!
//! What an answer holds is given back when the last of it is written to the client, or its connection ends. A request that
//! only reads is refused while there is no room for its answer; what has changed something is answered all the same.

use super::middleware::Fault;
use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::http::Method;
use axum::response::Response;
use engine::Asker;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes of the answers of a process.
const MOST: usize = 64 << 20;
/// Bytes of the answers of one tenant; whoever shows no key is one.
const MOST_OF_ONE: usize = MOST / 4;
/// No answer up to this size is counted: each connection may hold one.
const SMALL: usize = 16 << 10;

/// An answer that points to what the process has anyway, and so costs no memory. It is an extension of the answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shared;

/// The answers of a process.
#[derive(Clone, Debug)]
pub(super) struct Untaken {
    most: usize,
    most_of_one: usize,
    held: Arc<Mutex<Held>>,
}

#[derive(Debug, Default)]
struct Held {
    all: usize,
    of: HashMap<Option<Asker>, usize>,
}

impl Untaken {
    pub(super) fn new() -> Self {
        Self::of(MOST, MOST_OF_ONE)
    }

    fn of(most: usize, most_of_one: usize) -> Self {
        Self { most, most_of_one, held: Arc::default() }
    }

    /// The answer, which counts as the asker's until it is taken.
    pub(super) async fn hold(
        &self,
        method: &Method,
        asker: Option<Asker>,
        answer: Response,
    ) -> Result<Response, Fault> {
        let size = answer.size_hint().exact().and_then(|size| usize::try_from(size).ok());
        // What is made as it is taken holds nothing beforehand.
        let Some(size) = size.filter(|size| *size > SMALL) else { return Ok(answer) };
        if answer.extensions().get::<Shared>().is_some() {
            return Ok(answer);
        }
        let share = self.take(asker, size, method.is_safe()).ok_or(Fault::NoRoom)?;
        let (parts, body) = answer.into_parts();
        let bytes = to_bytes(body, size).await.map_err(|error| {
            tracing::error!(%error, "an answer could not be read");
            Fault::Defect
        })?;
        // A text that was written bit by bit has room to grow, up to as much again.
        let mut bytes = Vec::from(bytes);
        bytes.shrink_to_fit();
        Ok(Response::from_parts(parts, Body::from(Bytes::from_owner(Counted { bytes, _share: share }))))
    }

    /// Room for so many bytes; none if it may be refused and there is no room.
    fn take(&self, asker: Option<Asker>, bytes: usize, may_be_refused: bool) -> Option<Share> {
        let mut held = self.held();
        let of = held.of.get(&asker).copied().unwrap_or_default();
        if may_be_refused && (held.all + bytes > self.most || of + bytes > self.most_of_one) {
            return None;
        }
        held.all += bytes;
        held.of.insert(asker, of + bytes);
        Some(Share { untaken: self.clone(), asker, bytes })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // No code that can panic runs under the lock.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an answer holds, for as long as any of it is there.
struct Counted {
    bytes: Vec<u8>,
    _share: Share,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

struct Share {
    untaken: Untaken,
    asker: Option<Asker>,
    bytes: usize,
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.untaken.held();
        held.all = held.all.saturating_sub(self.bytes);
        if let Some(of) = held.of.get_mut(&self.asker) {
            *of = of.saturating_sub(self.bytes);
            if *of == 0 {
                held.of.remove(&self.asker);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::response::IntoResponse;

    const SIZE: usize = 100 << 10;
    const ONE: Option<Asker> = Some([1; 32]);
    const OTHER: Option<Asker> = Some([2; 32]);

    fn answer(size: usize) -> Response {
        vec![b'x'; size].into_response()
    }

    async fn get(untaken: &Untaken, asker: Option<Asker>) -> Result<Response, Fault> {
        untaken.hold(&Method::GET, asker, answer(SIZE)).await
    }

    async fn body(answer: Response) -> Bytes {
        to_bytes(answer.into_body(), usize::MAX).await.unwrap()
    }

    #[tokio::test]
    async fn answers_that_are_not_taken_leave_no_room_for_more_of_the_same_tenant() {
        let untaken = Untaken::of(4 * SIZE, 2 * SIZE);
        let [first, second] = [get(&untaken, ONE).await.unwrap(), get(&untaken, ONE).await.unwrap()];
        assert_eq!(get(&untaken, ONE).await.unwrap_err(), Fault::NoRoom);
        let others = [get(&untaken, OTHER).await.unwrap(), get(&untaken, None).await.unwrap()];
        // Nobody has any left.
        assert_eq!(get(&untaken, Some([3; 32])).await.unwrap_err(), Fault::NoRoom);
        drop(first);
        get(&untaken, Some([3; 32])).await.unwrap();
        // As long as a byte of it is there, all of it is.
        let mut bytes = body(second).await;
        let rest = bytes.split_off(SIZE - 1);
        drop(bytes);
        get(&untaken, ONE).await.unwrap();
        let _again = get(&untaken, ONE).await.unwrap();
        assert_eq!(get(&untaken, ONE).await.unwrap_err(), Fault::NoRoom);
        drop((rest, others));
        get(&untaken, ONE).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_small_shared_or_done_is_always_answered() {
        let untaken = Untaken::of(SIZE, SIZE);
        let full = get(&untaken, ONE).await.unwrap();
        untaken.hold(&Method::GET, ONE, answer(SMALL)).await.unwrap();
        let mut shared = answer(SIZE);
        shared.extensions_mut().insert(Shared);
        untaken.hold(&Method::GET, ONE, shared).await.unwrap();
        let done = untaken.hold(&Method::POST, ONE, answer(SIZE)).await.unwrap();
        assert_eq!(untaken.held().all, 2 * SIZE);
        assert_eq!(body(done).await.len(), SIZE);
        drop(full);
        let held = untaken.held();
        assert_eq!((held.all, held.of.len()), (0, 0));
    }
}
