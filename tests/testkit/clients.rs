//! Clients that are not ours: those of Python and Node, and the HTTP API of RabbitMQ's management plugin.

use crate::fixture::{Fixture, amqp_url};
use crate::process::Program;
use anyhow::{Context, Result, ensure};
use reqwest::Client;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use url::Url;

/// The repository's root.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A Python interpreter that has clients; they are installed if they are not there.
pub async fn python() -> Result<String> {
    installed("python").await
}

/// A folder with the scripts of Node's clients, which are installed in it.
pub async fn node() -> Result<PathBuf> {
    Ok(installed("node").await?.into())
}

async fn installed(clients: &str) -> Result<String> {
    let output = Program::at(root().join("scripts/clients.sh")).arg(clients).output().await?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "scripts/clients.sh {clients} failed:\n{complaint}");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// The management API of the broker that the tests use.
#[derive(Debug)]
pub struct Management {
    base: Url,
    client: Client,
    vhost: String,
    user: (String, String),
}

impl Management {
    /// The one that `MANAGEMENT_URL` names. `None` if there is none, which only somebody's own broker may lack: private
    /// ones and those of docker-compose.yml have it, and `scripts/services.sh run` names it.
    pub fn of_the_broker() -> Result<Option<Self>> {
        let Ok(base) = std::env::var("MANAGEMENT_URL") else {
            ensure!(std::env::var("AMQP_URL").is_ok(), "MANAGEMENT_URL is not set: use `make test`");
            return Ok(None);
        };
        let amqp: Url = amqp_url().parse().context("AMQP_URL is not a URL")?;
        let decode = |text: &str| {
            url::form_urlencoded::parse(format!("x={text}").as_bytes()).next().map(|(_, it)| it.into_owned())
        };
        let user = match amqp.username() {
            "" => ("guest".to_owned(), "guest".to_owned()),
            user => (
                decode(user).unwrap_or_default(),
                decode(amqp.password().unwrap_or_default()).unwrap_or_default(),
            ),
        };
        let vhost = match amqp.path().trim_start_matches('/') {
            "" => "%2F".to_owned(),
            vhost => vhost.to_owned(),
        };
        sealing::install_tls_provider();
        Ok(Some(Self {
            base: base.parse().context("MANAGEMENT_URL is not a URL")?,
            client: Client::new(),
            vhost,
            user,
        }))
    }

    /// The address, as `MANAGEMENT_URL` has it.
    #[must_use]
    pub fn url(&self) -> String {
        self.base.as_str().trim_end_matches('/').to_owned()
    }

    /// The same, with the user and the password.
    pub fn url_with_user(&self) -> Result<String> {
        let mut url = self.base.clone();
        let (user, password) = &self.user;
        let set = url.set_username(user).is_ok() && url.set_password(Some(password)).is_ok();
        ensure!(set, "MANAGEMENT_URL takes no user");
        Ok(url.to_string())
    }

    /// Makes a policy.
    pub async fn put_policy(&self, name: &str, policy: &Value) -> Result<()> {
        self.call(reqwest::Method::PUT, &format!("policies/{}/{name}", self.vhost), policy).await?;
        Ok(())
    }

    /// Removes a policy.
    pub async fn delete_policy(&self, name: &str) -> Result<()> {
        self.call(reqwest::Method::DELETE, &format!("policies/{}/{name}", self.vhost), &json!({})).await?;
        Ok(())
    }

    /// Publishes as the console's "Publish message" does. Says whether it was routed.
    pub async fn publish(
        &self,
        exchange: &str,
        key: &str,
        properties: Value,
        payload: &Value,
    ) -> Result<bool> {
        let body = json!({
            "routing_key": key, "properties": properties, "payload_encoding": "string", "payload": payload.to_string(),
        });
        let answer = self
            .call(reqwest::Method::POST, &format!("exchanges/{}/{exchange}/publish", self.vhost), &body)
            .await?;
        Ok(answer["routed"] == true)
    }

    /// Makes a queue that is bound to an exchange.
    pub async fn queue(&self, queue: &str, exchange: &str, key: &str) -> Result<()> {
        let vhost = &self.vhost;
        let options = json!({ "durable": false, "auto_delete": false });
        self.call(reqwest::Method::PUT, &format!("queues/{vhost}/{queue}"), &options).await?;
        let binding = json!({ "routing_key": key });
        self.call(reqwest::Method::POST, &format!("bindings/{vhost}/e/{exchange}/q/{queue}"), &binding)
            .await?;
        Ok(())
    }

    /// Takes what is in a queue.
    pub async fn get(&self, queue: &str) -> Result<Vec<Value>> {
        let body = json!({ "count": 100, "ackmode": "ack_requeue_false", "encoding": "auto" });
        let answer =
            self.call(reqwest::Method::POST, &format!("queues/{}/{queue}/get", self.vhost), &body).await?;
        Ok(answer.as_array().context("a list of messages")?.clone())
    }

    /// Removes a queue.
    pub async fn remove(&self, queue: &str) -> Result<()> {
        self.call(reqwest::Method::DELETE, &format!("queues/{}/{queue}", self.vhost), &json!({})).await?;
        Ok(())
    }

    async fn call(&self, method: reqwest::Method, path: &str, body: &Value) -> Result<Value> {
        let address = format!("{}/api/{path}", self.url());
        let (user, password) = &self.user;
        let request = self.client.request(method, &address).basic_auth(user, Some(password)).json(body);
        let answer = request.send().await.with_context(|| format!("{address} does not answer"))?;
        let (status, text) = (answer.status(), answer.text().await?);
        ensure!(status.is_success(), "{address} answers {status}: {text}");
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }
}

impl Fixture {
    /// The name of one of this test's exchanges, which begins with its namespace.
    #[must_use]
    pub fn exchange(&self, word: &str) -> String {
        format!("{}.{word}", self.namespace)
    }
}
