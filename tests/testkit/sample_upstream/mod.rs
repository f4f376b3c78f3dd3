//! An upstream of our own: an HTTP server that behaves as Ultravox's call list does, with any number of calls that
//! are computed from a seed, and that a test can make misbehave in every way it knows.
//!
//! `GET /api/calls` (header `X-API-Key`; `cursor`, `pageSize`, `fromDate`, `toDate`, `sort`) answers
//! `{"next", "previous", "results", "total"}`, newest call first unless `sort=created`;
//! `GET /api/calls/{callId}` answers one call. Tests name calls by their ordinal: 0 is the oldest.

mod body;
mod call;
mod catalogue;
mod merge;
mod options;
mod query;
mod script;
mod seen;
mod server;
#[cfg(test)]
mod tests;
mod timestamp;

pub use catalogue::{Expected, Span};
pub use options::{Behaviour, Limit, LimitBy, NextAtEnd, Options, TenantOptions, Total};
pub use script::{Answer, Asked};
pub use seen::{Disconnect, Seen};

use catalogue::Catalogue;
use chrono::{DateTime, Utc};
use seen::unpoisoned;
use server::Server;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// What has not happened by then never will.
const LONGEST: Duration = Duration::from_secs(60);

/// A running sample upstream. It stops when this is dropped. Naming a tenant that it does not have panics.
#[derive(Debug)]
pub struct SampleUpstream {
    server: Arc<Server>,
    address: SocketAddr,
    _stop: DropGuard,
}

impl SampleUpstream {
    /// Starts serving.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind(options.listen).await?;
        let address = listener.local_addr()?;
        let server = Arc::new(Server::new(&options));
        let stop = CancellationToken::new();
        tokio::spawn(runtime::health::serve(listener, server.router(), stop.clone()));
        Ok(Self { server, address, _stop: stop.drop_guard() })
    }

    /// `http://127.0.0.1:port`, with no slash at its end.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The key that the tenant's client must send.
    #[must_use]
    pub fn key(&self, tenant: &str) -> &str {
        &self.tenant(tenant).key
    }

    // The calls.

    /// Every call of the tenant that was created in the span, oldest first, as they are now.
    pub fn expected(&self, tenant: &str, span: Span) -> impl Iterator<Item = Expected> + use<> {
        catalogue::expected(self.calls(tenant), span)
    }

    /// The id of a call.
    #[must_use]
    pub fn id(&self, tenant: &str, ordinal: u64) -> String {
        self.calls(tenant).id(ordinal).to_string()
    }

    /// When a call was created, or `None` if it does not exist (any more).
    #[must_use]
    pub fn created(&self, tenant: &str, ordinal: u64) -> Option<DateTime<Utc>> {
        self.calls(tenant).created_us(ordinal).and_then(DateTime::from_timestamp_micros)
    }

    /// Adds a call, and returns its ordinal (which says nothing about its place in the list).
    pub fn add(&self, tenant: &str, created: DateTime<Utc>) -> u64 {
        self.change(tenant, |calls| calls.add(created))
    }

    /// Changes a call's content, and so its hash.
    pub fn edit(&self, tenant: &str, ordinal: u64) {
        self.change(tenant, |calls| calls.change(ordinal).revision += 1);
    }

    /// Removes a call.
    pub fn delete(&self, tenant: &str, ordinal: u64) {
        self.change(tenant, |calls| calls.delete(ordinal));
    }

    /// Takes a removal back.
    pub fn restore(&self, tenant: &str, ordinal: u64) {
        self.change(tenant, |calls| calls.restore(ordinal));
    }

    /// Makes a call one that is still running (`ended` is null), or one that has ended.
    pub fn set_running(&self, tenant: &str, ordinal: u64, running: bool) {
        self.change(tenant, |calls| calls.change(ordinal).running = running);
    }

    /// Serves `text` in the call's place, whatever it is.
    pub fn set_raw(&self, tenant: &str, ordinal: u64, text: &str) {
        self.change(tenant, |calls| calls.change(ordinal).raw = Some(text.to_owned()));
    }

    // How it behaves.

    /// Changes the behaviour from the next request on.
    pub fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        self.server.behave(change);
    }

    /// Answers the next request that `choice` picks with `answer`. Scripts are tried in the order of their making.
    pub fn script(&self, choice: impl Fn(&Asked) -> bool + Send + Sync + 'static, answer: Answer) {
        self.script_times(choice, answer, 1);
    }

    /// As [`SampleUpstream::script`], for so many requests (`u64::MAX`: for all).
    pub fn script_times(
        &self,
        choice: impl Fn(&Asked) -> bool + Send + Sync + 'static,
        answer: Answer,
        times: u64,
    ) {
        self.server.scripts.add(Box::new(choice), answer, times);
    }

    /// Forgets every script that is not used up.
    pub fn clear_scripts(&self) {
        self.server.scripts.clear();
    }

    /// Holds every request from now on, unanswered, until [`SampleUpstream::release`].
    pub fn hold(&self) {
        self.hold_if(|_asked| true);
    }

    /// Holds the requests that `choice` picks. It replaces an earlier choice; what is held stays held.
    pub fn hold_if(&self, choice: impl Fn(&Asked) -> bool + Send + Sync + 'static) {
        self.server.gate.close(Box::new(choice));
    }

    /// Lets so many held requests go on, those of the future included. The others stay held.
    pub fn let_through(&self, requests: usize) {
        self.server.gate.let_through(requests);
    }

    /// Lets every held, hanging and stalled request go on, and holds none from now on.
    pub fn release(&self) {
        self.server.gate.release();
    }

    // What it has seen.

    /// The counters now.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.server.board.seen()
    }

    /// Waits until the counters satisfy `enough`, and returns them: `until(|seen| seen.held >= 3)`. Panics if they do
    /// not for a minute, so that a test fails instead of hanging.
    #[expect(clippy::panic, reason = "only a failing test meets it")]
    pub async fn until(&self, enough: impl FnMut(&Seen) -> bool) -> Seen {
        match tokio::time::timeout(LONGEST, self.server.board.until(enough)).await {
            Ok(seen) => seen,
            Err(_elapsed) => panic!("the sample upstream never came to it; it has {:?}", self.seen()),
        }
    }

    /// The clients that did not wait for their answers, and when they left.
    #[must_use]
    pub fn disconnects(&self) -> Vec<Disconnect> {
        self.server.board.disconnects()
    }

    /// How often each page was asked for, by `tenant path?query`. Empty if pages are not counted.
    #[must_use]
    pub fn fetches(&self) -> BTreeMap<String, u64> {
        self.server.board.fetches()
    }

    #[expect(clippy::panic, reason = "a test that misspells its tenant should stop there")]
    fn tenant(&self, name: &str) -> &server::Tenant {
        let Some(tenant) = self.server.tenants.get(name) else {
            panic!("the sample upstream has no tenant {name:?}; it has {:?}", self.server.tenants.keys());
        };
        tenant
    }

    fn calls(&self, tenant: &str) -> Arc<Catalogue> {
        Arc::clone(&unpoisoned(&self.tenant(tenant).calls))
    }

    fn change<T>(&self, tenant: &str, change: impl FnOnce(&mut Catalogue) -> T) -> T {
        change(Arc::make_mut(&mut *unpoisoned(&self.tenant(tenant).calls)))
    }
}
