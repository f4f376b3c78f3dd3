//! What bursts are measured on: one consumer, one producer, and connections whose pages hang.

use super::Build;
use crate::build::Deployment;
use anyhow::Result;
use serde_json::json;
use testkit::process::Process;
use tokio::net::TcpListener;
use uuid::Uuid;

/// The connections are shared out among so many tenants.
const TENANTS: usize = 20;

/// The ground.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) deployment: Deployment,
    pub(super) connections: Vec<Uuid>,
    pub(super) client: reqwest::Client,
    pub(super) api: String,
    /// By tenant, in the order of the connections: that of connection `n` is the `n % TENANTS`-th.
    keys: Vec<String>,
    _processes: [Process; 2],
}

impl Ground {
    /// Starts everything, with so many connections, and slots for so many pages that hang.
    pub(super) async fn prepare(build: &Build, connections: usize, slots: usize) -> Result<Self> {
        let deployment = Deployment::of(build, "bench-commands-logs").await?;
        let tenant = |number: usize| format!("tenant-{}", number % TENANTS);
        let mut keys = Vec::new();
        for number in 0..TENANTS {
            keys.push(deployment.tenant(&tenant(number), 10_000).await?);
        }
        let settings = json!({
            "path": "/records", "records": { "pointer": "/records", "id": "/id" },
            "next": { "style": "next_url", "pointer": "/next" },
        });
        let named: Vec<_> = (0..connections).map(|nth| (tenant(nth), format!("connection {nth}"))).collect();
        let connections = deployment.connect(&named, &hanging_upstream().await?, settings).await?;

        let consumer = deployment
            .program("consumer")
            .env("BACKHAUL__FETCH__ALLOW_PRIVATE_ADDRESSES", "true")
            .env("BACKHAUL__PAGES__SLOTS", slots.to_string())
            .env("BACKHAUL__PAGES__BUDGET_MS", "300000")
            .env("BACKHAUL__FETCH__BYTE_BUDGET", (1_u64 << 30).to_string())
            .start()?;
        let producer = deployment.program("producer").start()?;
        consumer.ready().await?;
        producer.ready().await?;
        let (client, api) =
            (reqwest::Client::new(), format!("http://{}/api/v1/jobs", producer.address().await?));
        for key in &keys {
            // A producer counts callers apart once it has met their keys.
            client.get(&api).bearer_auth(key).send().await?.error_for_status()?;
        }
        Ok(Self { deployment, connections, client, api, keys, _processes: [consumer, producer] })
    }

    /// The API key for the connection with this number.
    pub(super) fn key(&self, connection: usize) -> &str {
        self.keys.get(connection % TENANTS).map_or("", String::as_str)
    }
}

/// An upstream that takes connections, and never answers.
async fn hanging_upstream() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((socket, _)) = listener.accept().await {
            held.push(socket);
        }
    });
    Ok(format!("http://{address}"))
}
