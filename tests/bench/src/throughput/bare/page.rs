//! One page of the bare programs: fetched, split, hashed, stored.

use super::database::{Session, connection};
use super::{Kind, Task};
use crate::throughput::corpus::path;
use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    next: Option<Cow<'a, str>>,
    #[serde(borrow)]
    results: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Call<'a> {
    #[serde(borrow)]
    call_id: Cow<'a, str>,
}

/// Fetches pages.
pub(super) struct Pages {
    client: reqwest::Client,
    upstream: String,
    kind: Kind,
}

/// What a page led to.
pub(super) struct Done {
    pub(super) next: Option<String>,
    pub(super) cancelled: bool,
}

impl Pages {
    pub(super) fn of(task: &Task) -> Result<Self> {
        sealing::install_tls_provider();
        let client = reqwest::Client::builder().http1_only().no_proxy().build()?;
        Ok(Self { client, upstream: task.upstream.clone(), kind: task.kind })
    }

    pub(super) fn first(&self, job: u32) -> String {
        format!("/{}/api/calls", path(self.kind, job))
    }

    pub(super) async fn get(&self, page: &str) -> Result<Vec<u8>> {
        let answer = self.client.get(format!("{}{page}", self.upstream)).send().await?.error_for_status()?;
        Ok(answer.bytes().await?.into())
    }
}

/// Splits a page without a tree, hashes its records, and stores them.
pub(super) async fn store(session: &Session, job: u32, body: &[u8]) -> Result<Done> {
    let page: Page<'_> = serde_json::from_slice(body).context("a page cannot be read")?;
    let count = page.results.len();
    let (mut keys, mut hashes, mut payloads) =
        (Vec::with_capacity(count), Vec::with_capacity(count), Vec::with_capacity(count));
    for raw in &page.results {
        let call: Call<'_> = serde_json::from_str(raw.get())?;
        keys.push(call.call_id);
        hashes.push(blake3::hash(raw.get().as_bytes()));
        payloads.push(raw.get());
    }
    let hashes: Vec<&[u8]> = hashes.iter().map(|hash| hash.as_bytes().as_slice()).collect();
    let keys: Vec<&str> = keys.iter().map(AsRef::as_ref).collect();
    let row = session
        .client
        .query_one(
            &session.page,
            &[&i32::try_from(job)?, &connection(job), &keys, &hashes, &payloads, &page.next],
        )
        .await?;
    Ok(Done { next: page.next.map(Cow::into_owned), cancelled: row.try_get(0)? })
}
