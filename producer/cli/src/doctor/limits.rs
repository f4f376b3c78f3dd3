//! Whether a delivery limit would delete messages. Only the broker's management API knows: policies do not show over AMQP.

use super::STEP;
use super::report::Report;
use configuration::AmqpConfig;
use protocol::topology::Topology;
use serde::Deserialize;

const AREA: &str = "delivery limits";
/// Below this, what happens in a bad week can reach a limit.
const TOO_LOW: i64 = 10_000;

/// A queue, as `/api/queues` tells of it.
#[derive(Debug, Deserialize)]
struct Queue {
    name: String,
    #[serde(default)]
    arguments: Limits,
    /// An empty list where no policy applies.
    #[serde(default)]
    effective_policy_definition: serde_json::Value,
}

#[derive(Debug, Default, Deserialize)]
struct Limits {
    #[serde(rename = "x-delivery-limit")]
    argument: Option<i64>,
}

impl Queue {
    /// The lowest of its argument and its policies counts. Below zero means "none" to 4.x and "at once" to 3.10.
    fn limit(&self) -> Option<i64> {
        let policy =
            self.effective_policy_definition.get("delivery-limit").and_then(serde_json::Value::as_i64);
        self.arguments.argument.into_iter().chain(policy).min()
    }
}

/// `vhost` is where the queues are.
pub(super) async fn check(report: &mut Report, config: &AmqpConfig, topology: &Topology, vhost: &str) {
    let Some(management) = &config.management_url else {
        let found = "policies could not be looked at: amqp.management_url is not set";
        let todo = "set it to http://user:password@host:15672, to learn whether a policy's delivery-limit would delete messages";
        return report.warning(AREA, found, todo);
    };
    let queues = match read(management.expose(), vhost).await {
        Ok(queues) => queues,
        Err(error) => {
            let found = format!("policies could not be looked at: {}", error.without_url());
            return report.warning(
                AREA,
                found,
                "correct amqp.management_url (its user needs the tag monitoring)",
            );
        }
    };
    let ours: Vec<String> = broker::queue_names(topology).collect();
    let mut fine = 0;
    for queue in queues.iter().filter(|queue| ours.contains(&queue.name)) {
        match queue.limit() {
            Some(limit) if limit < TOO_LOW => report.failed(
                AREA,
                format!("{}: the broker deletes a message that was returned {limit} times", queue.name),
                "take delivery-limit out of the policy or operator policy that matches it (rabbitmqctl list_policies, \
                 list_operator_policies)",
            ),
            Some(_) => fine += 1,
            None => report.failed(
                AREA,
                format!("{}: it was declared without a limit, so RabbitMQ 4 deletes a message when it is returned for the 21st time", queue.name),
                "move its messages elsewhere, delete the queue, and let a consumer declare it again",
            ),
        }
    }
    if fine == ours.len() {
        report.passed(AREA, format!("no policy lowers that of the {fine} queues"));
    }
}

async fn read(management: &str, vhost: &str) -> Result<Vec<Queue>, reqwest::Error> {
    let vhost = vhost.replace('%', "%25").replace('/', "%2F");
    let client = reqwest::Client::builder().timeout(STEP).build()?;
    let answer =
        client.get(format!("{}/api/queues/{vhost}", management.trim_end_matches('/'))).send().await?;
    answer.error_for_status()?.json().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_limit_counts() {
        let limit = |queue: &str| serde_json::from_str::<Queue>(queue).expect("is a queue").limit();
        let argument = r#""arguments": {"x-queue-type": "quorum", "x-delivery-limit": 1000000}"#;
        assert_eq!(
            limit(&format!(r#"{{"name": "q", {argument}, "effective_policy_definition": []}}"#)),
            Some(1_000_000)
        );
        let policy = r#""effective_policy_definition": {"max-length": 5, "delivery-limit": 20}"#;
        assert_eq!(limit(&format!(r#"{{"name": "q", {argument}, {policy}}}"#)), Some(20));
        assert_eq!(limit(r#"{"name": "q", "arguments": {}}"#), None);
    }
}
