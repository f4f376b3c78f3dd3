//! Reads bodies up to a limit, within the process's byte budget.
//!
//! Every slot owns a small share of the budget. A page that outgrows it takes a permit before it reads on; a permit
//! stands for the rest of the largest page, so a holder never has to wait for a second one, and no two pages can wait
//! for each other. A page of several bodies counts them together. Who gets a permit when is decided in `shares`.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use reqwest::Response;
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::shares::{Owner, Share, Shares, TURN, Why};
use super::{FetchConfig, explain, too_late};
use crate::{FetchError, Reservation};

/// A body may stop for so long while its page has a share of the budget that others wait for.
const STALL: Duration = Duration::from_secs(2);
/// Why a page has found no room.
const USED_UP: &str = "the byte budget of the process was used up by other pages";
/// How often a page looks whether another tenant needs its share.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What the bodies of one page may take, and have taken.
#[derive(Debug)]
pub struct Allowance {
    small: usize,
    max: usize,
    owner: Owner,
    large_pages: Shares,
    begun: Instant,
    budget: Duration,
    used: AtomicUsize,
    /// All that has come, what is not held any more included.
    came: AtomicUsize,
    large: OnceCell<Share>,
    /// How long it has waited for its share.
    waited: Mutex<Waited>,
}

/// How long a page has waited for its share.
#[derive(Clone, Copy, Debug)]
enum Waited {
    /// Not at all.
    Not,
    /// Since then, and it still waits.
    Since(Instant),
    /// So long.
    For(Duration),
}

impl Allowance {
    pub(super) fn new(config: &FetchConfig, large_pages: &Shares, owner: Owner, budget: Duration) -> Self {
        Self {
            small: config.small_page_bytes,
            max: config.max_page_bytes,
            owner,
            large_pages: large_pages.clone(),
            begun: Instant::now(),
            budget,
            used: AtomicUsize::new(0),
            came: AtomicUsize::new(0),
            large: OnceCell::new(),
            waited: Mutex::new(Waited::Not),
        }
    }

    /// Waits until so many more bytes may be held.
    pub(super) async fn take(&self, bytes: usize) -> Result<(), FetchError> {
        self.came.fetch_add(bytes, Ordering::Relaxed);
        let used = self.used.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if used > self.max {
            return Err(too_large(self.max));
        }
        if used > self.small {
            self.large.get_or_try_init(|| self.reserve()).await?;
        }
        Ok(())
    }

    /// Whether the page has a share that another one may be waiting for.
    fn is_in_the_way(&self) -> bool {
        self.large.initialized() && self.large_pages.are_waited_for()
    }

    /// Resolves when the page has to leave its share to another tenant's page.
    pub(super) async fn is_needed(&self) -> FetchError {
        loop {
            sleep(LOOK_EVERY).await;
            let came = self.came.load(Ordering::Relaxed);
            match self.large.get().and_then(|share| share.is_needed(came)) {
                None => {}
                // The same page would stand in the way again.
                Some(Why::Slow) => {
                    return FetchError::transient(format!(
                        "the page came slowly and was not read after {TURN:?}, while another tenant's page waits for the \
                         process's byte budget"
                    ));
                }
                Some(Why::OneOfSeveral) => {
                    return no_room(format!(
                        "another tenant's page had none of the process's byte budget, of which this tenant's pages had several \
                         shares for {TURN:?}"
                    ));
                }
            }
        }
    }

    /// The error of a page whose time was up, if it had waited for room for most of it.
    pub(super) fn without_room(&self) -> Option<FetchError> {
        let waited = match *self.waited.lock().unwrap_or_else(PoisonError::into_inner) {
            Waited::Not => Duration::ZERO,
            Waited::Since(since) => since.elapsed(),
            Waited::For(waited) => waited,
        };
        (waited * 2 > self.budget).then(|| no_room(USED_UP))
    }

    async fn reserve(&self) -> Result<Share, FetchError> {
        let since = Instant::now();
        let note = |waited| *self.waited.lock().unwrap_or_else(PoisonError::into_inner) = waited;
        note(Waited::Since(since));
        let share = timeout_at(self.begun + self.budget, self.large_pages.take(self.owner)).await;
        note(Waited::For(since.elapsed()));
        share.map_err(|_elapsed| self.without_room().unwrap_or_else(|| too_late(self.budget)))
    }

    /// So many bytes are not held any more.
    pub(super) fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes.min(self.used.load(Ordering::Relaxed)), Ordering::Relaxed);
    }

    /// The page's share of the budget, to be kept as long as its records.
    #[must_use]
    pub fn into_reservation(self) -> Reservation {
        Reservation::of(self.large.into_inner())
    }
}

pub(super) async fn read(mut response: Response, allowance: &Allowance) -> Result<Vec<u8>, FetchError> {
    // A compressed body has no known length; then this is 0.
    let announced = usize::try_from(response.content_length().unwrap_or(0)).unwrap_or(usize::MAX);
    if announced > allowance.max {
        return Err(too_large(allowance.max));
    }
    // Only what has come counts: an upstream that announces much and sends nothing takes nothing from the others.
    let mut body = Vec::new();
    while let Some(chunk) = next(&mut response, allowance).await? {
        let size = body.len() + chunk.len();
        allowance.take(chunk.len()).await?;
        if size > body.capacity() {
            // Doubling, as a Vec does by itself, would go beyond what is reserved.
            let reserved = if size <= allowance.small { allowance.small } else { allowance.max };
            let target = (body.capacity() * 2).max(announced.min(reserved)).clamp(size, reserved.max(size));
            body.reserve_exact(target - body.len());
        }
        body.extend_from_slice(&chunk);
    }
    // It is kept until its records are stored.
    body.shrink_to_fit();
    Ok(body)
}

/// What comes next of a body. One that stops is waited for as long as its page may take, unless others wait for its share.
async fn next(response: &mut Response, allowance: &Allowance) -> Result<Option<Bytes>, FetchError> {
    let mut chunk = pin!(response.chunk());
    loop {
        match timeout(STALL, &mut chunk).await {
            Ok(chunk) => return chunk.map_err(|error| explain("the answer's body broke off", error)),
            Err(_elapsed) if allowance.is_in_the_way() => {
                return Err(FetchError::transient(format!(
                    "the answer stopped for {STALL:?}, while other pages wait for the process's byte budget"
                )));
            }
            Err(_elapsed) => {}
        }
    }
}

fn no_room(cause: impl Into<String>) -> FetchError {
    FetchError::NoRoom { cause: cause.into() }
}

fn too_large(max: usize) -> FetchError {
    let cause = format!("page of more than {max} bytes: use a smaller page size, or raise max_page_bytes");
    FetchError::Unreadable { cause, body: None }
}
