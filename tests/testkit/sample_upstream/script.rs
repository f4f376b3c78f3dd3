//! What a test makes a sample upstream do instead of answering as usual, and what it makes wait.

use super::seen::{OpenRequest, unpoisoned};
use std::fmt;
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// A request, as scripts and gates choose by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The request's number, from 1, over the whole server.
    pub number: u64,
    /// The tenant whose key it carries, or empty.
    pub tenant: String,
    /// Without the query.
    pub path: String,
    /// As sent, without the `?`.
    pub query: String,
    /// How often exactly this page was asked for before (0 unless pages are counted).
    pub repeats: u64,
}

impl Asked {
    /// Whether the request is for the beginning of a list.
    #[must_use]
    pub fn is_first_page(&self) -> bool {
        self.parameter("cursor").is_none()
    }

    /// A parameter of the query, decoded.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<String> {
        let mut pairs = url::form_urlencoded::parse(self.query.as_bytes());
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }
}

/// An answer that is not the usual one.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Exactly this.
    Respond {
        /// The status code.
        status: u16,
        /// Names and values.
        headers: Vec<(String, String)>,
        /// Bytes, since an upstream's need not be UTF-8.
        body: Vec<u8>,
    },
    /// The usual answer, but only once [released](super::SampleUpstream::release).
    Hang,
    /// The usual answer, after so long.
    After(Duration),
    /// Headers and half of the usual body; the rest once [released](super::SampleUpstream::release).
    Stall,
    /// Headers that announce the usual body, half of it, and then the connection is closed.
    Truncate,
    /// A body of so many bytes, announced by `Content-Length` or not. It costs the server no memory.
    Huge {
        /// Length of the body.
        bytes: u64,
        /// Whether there is a `Content-Length`.
        announced: bool,
    },
    /// A body that goes on for ever, a few bytes at a time.
    Endless,
}

impl Answer {
    /// A page of the test's own: any text, said to be JSON, with status 200.
    #[must_use]
    pub fn json(body: impl Into<Vec<u8>>) -> Self {
        Self::Respond { status: 200, headers: header("content-type", "application/json"), body: body.into() }
    }

    /// Status 200 and a web page, as a proxy or a maintenance page would answer.
    #[must_use]
    pub fn html() -> Self {
        let body = b"<!doctype html><title>Maintenance</title><p>We are back soon.".to_vec();
        Self::Respond { status: 200, headers: header("content-type", "text/html"), body }
    }

    /// A bare status with a short text.
    #[must_use]
    pub fn status(status: u16) -> Self {
        let body = format!("the upstream says {status}").into_bytes();
        Self::Respond { status, headers: header("content-type", "text/plain"), body }
    }

    /// A status with `Retry-After` as given: 429, 503.
    #[must_use]
    pub fn retry_after(status: u16, retry_after: &str) -> Self {
        Self::Respond { status, headers: header("retry-after", retry_after), body: b"slow down".to_vec() }
    }

    /// A 302 to another place.
    #[must_use]
    pub fn redirect(location: &str) -> Self {
        Self::Respond { status: 302, headers: header("location", location), body: Vec::new() }
    }
}

fn header(name: &str, value: &str) -> Vec<(String, String)> {
    vec![(name.to_owned(), value.to_owned())]
}

type Choice = Box<dyn Fn(&Asked) -> bool + Send + Sync>;

struct Entry {
    choice: Choice,
    answer: Answer,
    times: u64,
}

/// The scripted answers that are still to be given, in order.
#[derive(Default)]
pub(super) struct Scripts(Mutex<Vec<Entry>>);

impl Scripts {
    pub(super) fn add(&self, choice: Choice, answer: Answer, times: u64) {
        if times > 0 {
            unpoisoned(&self.0).push(Entry { choice, answer, times });
        }
    }

    pub(super) fn clear(&self) {
        unpoisoned(&self.0).clear();
    }

    /// The first scripted answer that is meant for this request, used up once.
    pub(super) fn take(&self, asked: &Asked) -> Option<Answer> {
        let mut entries = unpoisoned(&self.0);
        let at = entries.iter().position(|entry| (entry.choice)(asked))?;
        let entry = entries.get_mut(at)?;
        let answer = entry.answer.clone();
        entry.times -= 1;
        if entry.times == 0 {
            entries.remove(at);
        }
        Some(answer)
    }
}

impl fmt::Debug for Scripts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(unpoisoned(&self.0).iter().map(|entry| &entry.answer)).finish()
    }
}

/// Holds chosen requests until they are released.
pub(super) struct Gate {
    choice: Mutex<Option<Choice>>,
    released: watch::Sender<u64>,
    single: Semaphore,
}

impl Gate {
    pub(super) fn new() -> Self {
        Self { choice: Mutex::default(), released: watch::Sender::default(), single: Semaphore::new(0) }
    }

    pub(super) fn close(&self, choice: Choice) {
        // Left over from a gate that let through more requests than came.
        self.single.forget_permits(self.single.available_permits());
        *unpoisoned(&self.choice) = Some(choice);
    }

    pub(super) fn let_through(&self, requests: usize) {
        self.single.add_permits(requests);
    }

    pub(super) fn release(&self) {
        *unpoisoned(&self.choice) = None;
        self.released.send_modify(|releases| *releases += 1);
    }

    /// Returns at once unless the request is chosen; else once it is released or let through.
    pub(super) async fn pass(&self, request: &OpenRequest) {
        // Subscribed before looking: a release in between is seen.
        let mut released = self.released.subscribe();
        let held = match &*unpoisoned(&self.choice) {
            Some(choice) if choice(&request.asked) => request.held(),
            _ => return,
        };
        tokio::select! {
            permit = self.single.acquire() => if let Ok(permit) = permit { permit.forget() },
            _released = released.changed() => {}
        }
        drop(held);
    }

    /// Returns at the next release.
    pub(super) async fn until_released(&self, request: &OpenRequest) {
        let mut released = self.released.subscribe();
        let _held = request.held();
        // An error means that the server is gone; nobody is waiting then.
        let _released = released.changed().await;
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("closed", &unpoisoned(&self.choice).is_some()).finish_non_exhaustive()
    }
}
