//! What neighbours share: one consumer, one producer; the tenant that does ordinary things, and the other.

use super::things::REFUSED;
use super::upstream;
use crate::Build;
use crate::build::Deployment;
use crate::throughput::meter::peak_memory;
use anyhow::{Context, Result};
use reqwest::Client;
use serde_json::{Value, json};
use sqlx::PgConnection;
use testkit::process::Process;
use tokio::sync::Mutex;
use uuid::Uuid;

/// As many as a tenant has by default.
const MAX_SLICES: i32 = 16;
/// Connections of each kind that the other tenant has.
const OF_EACH_KIND: usize = 24;
/// Those whose pages hang, to be started and cancelled.
const HANGING: usize = 200;
/// API keys of the other tenant.
const KEYS: usize = 3;

/// The ground.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) deployment: Deployment,
    /// The producer's address.
    pub(super) api: String,
    pub(super) victim: Victim,
    pub(super) other: Other,
    pub(super) session: Mutex<PgConnection>,
    consumer: Process,
    producer: Process,
}

/// The tenant that does ordinary things.
#[derive(Debug)]
pub(super) struct Victim {
    pub(super) client: Client,
    pub(super) key: String,
    pub(super) small: Uuid,
    pub(super) hanging: Uuid,
}

/// The tenant that does what it can.
#[derive(Debug)]
pub(super) struct Other {
    pub(super) client: Client,
    pub(super) keys: Vec<String>,
    /// A job that is over, whose results are large.
    pub(super) wide: Uuid,
    pub(super) hanging: Vec<Uuid>,
    pub(super) silent: Vec<Uuid>,
    pub(super) endless: Vec<Uuid>,
    pub(super) huge: Vec<Uuid>,
    pub(super) many_slices: Vec<Uuid>,
}

impl Ground {
    pub(super) async fn prepare(build: &Build) -> Result<Self> {
        let deployment = Deployment::of(build, "bench-neighbours-logs").await?;
        let upstream = upstream::start().await?;
        let key = deployment.tenant("victim", MAX_SLICES).await?;
        let mut keys = vec![deployment.tenant("other", MAX_SLICES).await?];
        while keys.len() < KEYS {
            keys.push(deployment.key("other").await?);
        }
        let connect = async |tenant: &str, path: &str, number: usize| {
            let named: Vec<_> = (0..number).map(|nth| (tenant.to_owned(), format!("{path} {nth}"))).collect();
            deployment.connect(&named, &upstream, upstream::settings(path)).await
        };
        let small = connect("victim", "/small", 1).await?[0];
        let hanging = connect("victim", "/hangs", 1).await?[0];
        let client = || Client::builder().timeout(REFUSED).build();
        let victim = Victim { client: client()?, key, small, hanging };

        let consumer =
            deployment.program("consumer").env("BACKHAUL__FETCH__ALLOW_PRIVATE_ADDRESSES", "true").start()?;
        let producer = deployment.program("producer").start()?;
        consumer.ready().await?;
        producer.ready().await?;
        let api = format!("http://{}", producer.address().await?);

        let wide = (Uuid::new_v4(), connect("other", "/wide", 1).await?[0]);
        deployment.publish("start", json!({ "job_id": wide.0, "connection_id": wide.1 })).await?;
        let done = "select count(*) = 1 from jobs where id = any($1) and status = 'completed'";
        deployment.until(done, &[wide.0]).await?;
        let client = client()?;
        let mut many_slices = Vec::new();
        for nth in 0..OF_EACH_KIND {
            many_slices.push(put_many_slices(&client, &api, &keys[0], nth).await?);
        }
        let other = Other {
            wide: wide.0,
            hanging: connect("other", "/hangs", HANGING).await?,
            silent: connect("other", "/silent", OF_EACH_KIND).await?,
            endless: connect("other", "/endless", OF_EACH_KIND).await?,
            huge: connect("other", "/huge", OF_EACH_KIND).await?,
            many_slices,
            client,
            keys,
        };
        let session = Mutex::new(deployment.session().await?);
        Ok(Self { deployment, api, victim, other, session, consumer, producer })
    }

    /// The most memory that one of the processes ever had, in bytes.
    pub(super) fn peak_memory(&self) -> u64 {
        let peaks = [&self.consumer, &self.producer].map(|process| peak_memory(process.pid()));
        peaks.into_iter().flatten().max().unwrap_or_default()
    }
}

/// A connection whose jobs have a slice for each day.
async fn put_many_slices(client: &Client, api: &str, key: &str, nth: usize) -> Result<Uuid> {
    let body = json!({
        "name": format!("many slices {nth}"), "source": "ultravox", "base_url": "https://api.ultravox.ai",
        "credentials": { "api_key": "none" }, "settings": { "slice_days": 1, "max_slices": 10_000 },
    });
    let call = client.post(format!("{api}/source-connections")).header("x-api-key", key).json(&body);
    let made: Value = call.send().await?.error_for_status()?.json().await?;
    Ok(made["id"].as_str().context("a connection")?.parse()?)
}
