//! The broker: reachable, with our topology or nothing of its names, ours to use, and who listens.

use super::STEP;
use super::limits;
use super::report::Report;
use broker::{AmqpError, Inspected, Part, Standing, connect, round_trip};
use configuration::AmqpConfig;
use protocol::topology::Topology;
use std::time::Duration;

const AREA: &str = "broker";
const TOPOLOGY: &str = "topology";
const QUEUES: &str = "queues";

pub(super) async fn check(report: &mut Report, config: &AmqpConfig) {
    // `call_timeout_ms` bounds each call; the doctor has less patience than a process.
    let limit = config.call_timeout.min(STEP);
    let config = AmqpConfig { call_timeout: limit, ..config.clone() };
    let connection = match connect(&config, &format!("backhaul/doctor pid={}", std::process::id())).await {
        Ok(connection) => connection,
        Err(error) => {
            let found = format!("cannot be reached at {}: {error}", config.shown());
            return report.failed(AREA, found, error.advice());
        }
    };
    let (vhost, user) = (connection.status().vhost(), connection.status().username());
    report.passed(AREA, format!("{}: user {user}, virtual host {vhost}", config.shown()));
    if connection.status().blocked() {
        let todo = "it has a memory or disk alarm: free some, or raise the limit; see its console";
        report.warning(AREA, "it takes no publishes at the moment", todo);
    }
    let topology = config.topology();
    permissions(report, round_trip(&connection, &topology, limit).await, &topology);
    match within(broker::inspect(&topology, &connection, limit)).await {
        Ok(all) => {
            declared(report, &all, &topology);
            waiting(report, &all);
            limits::check(report, &config, &topology, vhost.as_str()).await;
        }
        Err(error) => report.failed(TOPOLOGY, error.to_string(), "see the broker's log"),
    }
    // A broker that does not answer this either is not waited for.
    let closed = tokio::time::timeout(limit, connection.close(200, "done".into())).await;
    if !matches!(closed, Ok(Ok(()))) {
        tracing::debug!("the connection did not close in order");
    }
}

/// Each call is bounded; together they are, too.
async fn within<T>(answer: impl Future<Output = Result<T, AmqpError>>) -> Result<T, AmqpError> {
    const ALL: Duration = Duration::from_secs(30);
    let late = AmqpError::TimedOut { call: "look at the topology", after: ALL };
    tokio::time::timeout(ALL, answer).await.unwrap_or(Err(late))
}

fn permissions(report: &mut Report, done: Result<(), AmqpError>, topology: &Topology) {
    match done {
        Ok(()) => report.passed(AREA, "this user may declare, bind, publish and consume"),
        Err(error) => {
            let found = format!("this user lacks a permission that the programs need: {error}");
            let names = format!("^{}\\..*", topology.namespace());
            let todo = format!(
                "grant it configure, write and read on {names} in this virtual host (rabbitmqctl set_permissions)"
            );
            report.failed(AREA, found, todo);
        }
    }
}

fn declared(report: &mut Report, all: &[Inspected], topology: &Topology) {
    let mut missing = Vec::new();
    let mut ours = 0;
    for it in all {
        let part = match it.part {
            Part::Exchange => "exchange",
            Part::Queue => "queue",
        };
        match &it.standing {
            Standing::Ours { .. } => ours += 1,
            Standing::Missing => missing.push(format!("{part} {}", it.name)),
            Standing::Different(words) => report.failed(
                TOPOLOGY,
                format!("the {part} {} has another type or other arguments: {words}", it.name),
                "delete it (it is declared anew at the next connection, and doorbells come back by themselves; move \
                 commands and dead letters away first), or choose another amqp.namespace",
            ),
            Standing::Refused(words) => report.failed(
                TOPOLOGY,
                format!("the {part} {} cannot be looked at: {words}", it.name),
                format!("grant this user the configure permission on ^{}\\..*", topology.namespace()),
            ),
        }
    }
    if missing.is_empty() {
        report.passed(TOPOLOGY, format!("{ours} of {} exchanges and queues are correct", all.len()));
    } else {
        let found = format!("not there: {}", missing.join(", "));
        report.warning(TOPOLOGY, found, "start a consumer, which declares them");
    }
}

fn waiting(report: &mut Report, all: &[Inspected]) {
    for it in all.iter().filter(|it| it.part == Part::Queue) {
        let Standing::Ours { messages, consumers } = it.standing else { continue };
        let found = format!("{}: {messages} messages wait, {consumers} consumers", it.name);
        match (it.word, messages, consumers) {
            ("dead", 0, _) | ("unrouted", 0, _) => report.passed(QUEUES, format!("{} is empty", it.name)),
            ("dead", _, _) => report.warning(
                QUEUES,
                format!("{}: {messages} messages that cannot be applied", it.name),
                "look at them with `backhaul dlq list`; then `backhaul dlq retry` or `backhaul dlq drop`",
            ),
            ("unrouted", _, _) => report.warning(
                QUEUES,
                format!("{}: {messages} messages with an unknown routing key", it.name),
                "look at them with `backhaul dlq list`, and correct the sender: sync.start and sync.cancel are the keys of \
                 commands; a consumer answers them",
            ),
            (_, _, 0) => report.warning(QUEUES, found, "start at least one `consumer`"),
            (_, _, _) => report.passed(QUEUES, found),
        }
    }
}
