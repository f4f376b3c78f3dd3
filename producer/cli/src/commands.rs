//! `start` and `cancel`: publish a command as an upstream service would, then say what became of it.

use crate::answer::{self, Patience};
use crate::arguments::{Cancel, Start};
use crate::context::{Context, Names};
use crate::failure::Failure;
use crate::output::Text;
use crate::watch;
use broker::{Destination, Envelope};
use protocol::command::{CancelCommand, Command, StartCommand};
use protocol::ids::{ConnectionId, JobId};
use protocol::job::JobMode;
use protocol::topology::KEY_CANCEL;
use protocol::topology::KEY_START;
use serde_json::{Value, json};
use store::Store;
use store::commands::CommandKind;
use store::jobs::{CancelOutcome, StartOutcome};
use uuid::Uuid;

pub(crate) async fn start(context: &Context, arguments: Start) -> Result<(), Failure> {
    let store = context.store_if_configured()?;
    if arguments.wait && store.is_none() {
        context.store()?;
    }
    let job = arguments.job_id.unwrap_or_else(JobId::random);
    let id = arguments.command_id.unwrap_or_else(|| Uuid::now_v7().to_string());
    let command = StartCommand {
        connection_id: arguments.connection,
        job_id: Some(job),
        command_id: Some(id.clone()),
        date_from: arguments.from,
        date_to: arguments.to,
        mode: if arguments.incremental { JobMode::Incremental } else { arguments.mode },
        on_conflict: arguments.on_conflict,
        name: arguments.name,
        schema_id: arguments.schema,
        document_ids: Some(arguments.document).filter(|ids| !ids.is_empty()),
        requested_by: Some(requested_by()),
    };
    command.check().map_err(Failure::Usage)?;
    if let Some(store) = &store {
        check_connection(store, command.connection_id).await?;
    }
    let envelope = Envelope::new(Destination::StartCommand, KEY_START, json!(command).to_string())
        .with_correlation_id(job.to_string());
    let again = format!(
        "the same command with --job-id {job} --command-id {id} is applied once, however often it is sent"
    );
    publish(context, envelope, again).await?;

    let patience = if arguments.wait { Patience::Endless } else { Patience::Short };
    let answer: Option<StartOutcome> = match &store {
        Some(store) => answer::wait(context, store, CommandKind::Start, &id, patience).await?,
        None => None,
    };
    let (accepted, said) = describe_start(answer, job);
    if arguments.wait
        && let (Some(store), Some(job)) = (&store, accepted)
    {
        if !context.output.is_json() {
            context.output.line(said)?;
        }
        return watch::until_completed(context, store, job).await;
    }
    let hint = accepted.map(|job| format!("follow it with: backhaul watch {job}"));
    let word = answer.and_then(|answer| tag(&json!(answer)));
    let told = json!({ "job_id": accepted.unwrap_or(job), "command_id": id, "published": true, "answer": word, "detail": said });
    finish(context, accepted.is_some(), &told, said, hint)
}

pub(crate) async fn cancel(context: &Context, arguments: Cancel) -> Result<(), Failure> {
    let store = context.store_if_configured()?;
    let id = Uuid::now_v7().to_string();
    let command = CancelCommand {
        job_id: arguments.job,
        connection_id: arguments.connection,
        reason: arguments.reason,
        command_id: Some(id.clone()),
        requested_by: Some(requested_by()),
    };
    command.check().map_err(Failure::Usage)?;
    if let (Some(store), Some(connection)) = (&store, arguments.connection) {
        check_connection(store, connection).await?;
    }
    let mut envelope = Envelope::new(Destination::CancelCommand, KEY_CANCEL, json!(command).to_string());
    if let Some(job) = arguments.job {
        envelope = envelope.with_correlation_id(job.to_string());
    }
    publish(context, envelope, "a cancel may be repeated at any time".to_owned()).await?;

    let answer: Option<CancelOutcome> = match &store {
        Some(store) => answer::wait(context, store, CommandKind::Cancel, &id, Patience::Short).await?,
        None => None,
    };
    let (done, job, said) = describe_cancel(answer);
    let told = json!({
        "job_id": job.or(arguments.job), "connection_id": arguments.connection, "command_id": id, "published": true,
        "answer": answer.and_then(|answer| tag(&json!(answer))), "detail": said,
    });
    finish(context, done, &told, said, None)
}

/// `again` says how to try again without harm, should the broker not confirm.
async fn publish(context: &Context, envelope: Envelope, again: String) -> Result<(), Failure> {
    let publisher = context.publisher().await?;
    let published = publisher.publish(envelope).await;
    publisher.close().await;
    published.map_err(|error| Failure::Publish(error, again))
}

/// A command for an unknown connection would end among the dead letters, where nobody looks for a typing error.
async fn check_connection(store: &Store, connection: ConnectionId) -> Result<(), Failure> {
    if Names::read(store).await?.has(connection) {
        return Ok(());
    }
    Err(Failure::Refused(format!(
        "there is no connection {connection}; nothing was published. `backhaul admin connection list` shows them"
    )))
}

/// The job, unless the start was refused; and the answer in words.
fn describe_start(answer: Option<StartOutcome>, requested: JobId) -> (Option<JobId>, String) {
    match answer {
        Some(StartOutcome::Accepted(job)) => (Some(job), format!("job {job} is accepted")),
        Some(StartOutcome::Superseding { job, superseded }) => {
            (Some(job), format!("job {job} is accepted, and job {superseded} cancelled for it"))
        }
        Some(StartOutcome::Existing(job)) => {
            (Some(job), format!("job {job} of this connection is pending or running, and serves"))
        }
        Some(StartOutcome::Known(job)) => (Some(job), format!("job {job} is there already")),
        Some(StartOutcome::Active(job)) => (
            None,
            format!(
                "refused: job {job} of this connection is pending or running; wait for it, or: backhaul cancel {job}"
            ),
        ),
        Some(StartOutcome::CancelledBefore(job)) => {
            (None, format!("job {job} is recorded as cancelled: its cancel came before its start"))
        }
        Some(StartOutcome::NoConnection) => {
            (None, "refused: there is no such connection; the command is among the dead letters".to_owned())
        }
        Some(StartOutcome::EmptySpan) => {
            (None, "refused: --from must be before --to (now, if absent)".to_owned())
        }
        Some(StartOutcome::IdTaken(job)) => (
            None,
            format!("refused: the identifier {job} belongs to a job of another connection; choose another"),
        ),
        Some(StartOutcome::NoSchema) => (
            None,
            "refused: the connection's tenant has no such schema; the command is among the dead letters"
                .to_owned(),
        ),
        Some(StartOutcome::KeyReused) => {
            (None, "refused: the command's identifier was used for another request".to_owned())
        }
        None => {
            (Some(requested), format!("the start of job {requested} is published, and waits for a consumer"))
        }
    }
}

/// Whether it took effect, the job, and the answer in words.
fn describe_cancel(answer: Option<CancelOutcome>) -> (bool, Option<JobId>, String) {
    match answer {
        Some(CancelOutcome::Cancelling { job, newly: true }) => {
            (true, Some(job), format!("job {job} is cancelling: nothing more of it is imported"))
        }
        Some(CancelOutcome::Cancelling { job, newly: false }) => {
            (true, Some(job), format!("job {job} is cancelling already"))
        }
        Some(CancelOutcome::Cancelled { job }) => (true, Some(job), format!("job {job} is cancelled")),
        Some(CancelOutcome::Over { job, status }) => {
            (false, Some(job), format!("job {job} cannot be cancelled: it is already {status}"))
        }
        Some(CancelOutcome::Kept { job }) => (
            true,
            Some(job),
            format!("there is no job {job} yet; should its start come within a day, it is cancelled at once"),
        ),
        Some(CancelOutcome::Unknown) => (false, None, "there is no such job".to_owned()),
        Some(CancelOutcome::NoEffect) => {
            (true, None, "no effect: the connection has no pending or running job".to_owned())
        }
        Some(CancelOutcome::KeyReused) => {
            (false, None, "refused: the command's identifier was used for another request".to_owned())
        }
        Some(CancelOutcome::NoConnection) => (
            false,
            None,
            "refused: there is no such connection; the command is among the dead letters".to_owned(),
        ),
        None => (true, None, "the cancel is published, and waits for a consumer".to_owned()),
    }
}

fn finish(
    context: &Context,
    done: bool,
    told: &Value,
    said: String,
    hint: Option<String>,
) -> Result<(), Failure> {
    if done {
        return context.output.either(told, || {
            let mut text = Text::from(said);
            text.extend(hint);
            text
        });
    }
    if context.output.is_json() {
        context.output.json(told)?;
    }
    Err(Failure::Refused(said))
}

/// The word that an answer is stored under.
fn tag(answer: &Value) -> Option<String> {
    Some(answer.get("answer")?.as_str()?.to_owned())
}

pub(crate) fn requested_by() -> String {
    let user = std::env::var("USER").ok().filter(|user| !user.is_empty());
    format!("{} (command line)", user.as_deref().unwrap_or("unknown"))
}
