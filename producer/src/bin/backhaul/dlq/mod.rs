//! `dlq`: the dead letters, and what no queue has taken. Listing takes none away; `retry` sends them back to where they came
//! from, `drop` removes them.

mod arguments;
mod shown;

pub(crate) use arguments::DeadLetterAction;

use crate::context::Context;
use crate::failure::Failure;
use crate::output::table_or;
use arguments::Which;
use common::amqp::{AmqpConfig, AmqpError, DeadLetter, DeadLetters, Done, Fate, Walk};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

pub(crate) async fn run(context: &Context, action: DeadLetterAction) -> Result<(), Failure> {
    match action {
        DeadLetterAction::List { reason, limit } => list(context, reason.as_deref(), limit.into()).await,
        DeadLetterAction::Show { id } => show(context, &id).await,
        DeadLetterAction::Retry(which) => act(context, &which, Fate::Retry).await,
        DeadLetterAction::Drop { which, yes: true } => act(context, &which, Fate::Drop).await,
        DeadLetterAction::Drop { which, yes: false } => Err(Failure::Usage(format!(
            "dropping {which} is for ever; add --yes if that is meant (`backhaul dlq list` shows what there is)"
        ))),
    }
}

async fn list(context: &Context, reason: Option<&str>, limit: usize) -> Result<(), Failure> {
    let (mut letters, mut fitting) = (Vec::new(), 0);
    let keep = |_: &DeadLetter| Fate::Keep;
    walk(context, keep, |letter, _| {
        if reason.is_none() || letter.reason.as_deref() == reason {
            fitting += 1;
            if letters.len() < limit {
                letters.push(letter);
            }
        }
    })
    .await?;
    if fitting > letters.len() {
        let more = fitting - letters.len();
        context.output.note(&format!("{more} more are not shown; see --limit and --reason"));
    }
    let json: Vec<_> = letters.iter().map(shown::in_short).collect();
    context.output.either(&json, || table_or(&shown::table_of(&letters), "no dead letters"))
}

async fn show(context: &Context, id: &str) -> Result<(), Failure> {
    let mut letters = Vec::new();
    let keep = |_: &DeadLetter| Fate::Keep;
    walk(context, keep, |letter, _| {
        if letter.id == id || letter.letter.as_deref() == Some(id) {
            letters.push(letter);
        }
    })
    .await?;
    if letters.is_empty() {
        return Err(no_letter(id));
    }
    let json: Vec<_> = letters.iter().map(shown::in_full).collect();
    let text = || letters.iter().map(shown::text_in_full).collect::<Vec<_>>().join("\n\n");
    context.output.either(&json, text)
}

/// Sends back or drops. Each letter is reported as soon as it is dealt with, so that an interrupt leaves no doubt.
async fn act(context: &Context, which: &Which, fate: Fate) -> Result<(), Failure> {
    let (mut settled, mut stuck) = (Vec::new(), Vec::new());
    // One letter at most where one is named: several may be called the same.
    let mut found = false;
    let decide = |letter: &DeadLetter| {
        let means = which.means(letter) && !(found && which.id.is_some());
        found |= means;
        if means { fate } else { Fate::Keep }
    };
    let output = context.output;
    let mut told = Ok(());
    let mut tell = |line: String| {
        if !output.is_json() && told.is_ok() {
            told = output.line(line);
        }
    };
    let walked = walk(context, decide, |letter, done| match done {
        Done::Kept => {}
        Done::Retried(origin) => {
            tell(format!("{}  sent back to {}", letter.id, shown::place(&origin)));
            settled.push(
                json!({ "id": letter.id, "exchange": origin.exchange, "routing_key": origin.routing_key }),
            );
        }
        Done::Dropped => {
            tell(format!("{}  dropped", letter.id));
            settled.push(json!({ "id": letter.id }));
        }
        Done::Stuck(why) => {
            tell(format!("{}  stays: {why}", letter.id));
            stuck.push(json!({ "id": letter.id, "why": why }));
        }
    })
    .await;
    told?;
    let word = if fate == Fate::Drop { "dropped" } else { "retried" };
    let left = walked.as_ref().map_or(0, |walk| walk.total - walk.seen);
    let report = json!({ word: settled, "stuck": stuck, "not_looked_at": left });
    finish(context, which, word, &report, walked)
}

fn finish(
    context: &Context,
    which: &Which,
    word: &str,
    report: &Value,
    walked: Result<Walk, Failure>,
) -> Result<(), Failure> {
    let count = |key: &str| report[key].as_array().map_or(0, Vec::len);
    let (settled, stuck, left) = (count(word), count("stuck"), report["not_looked_at"].as_u64().unwrap_or(0));
    if walked.is_ok()
        && settled + stuck == 0
        && left == 0
        && let Some(id) = &which.id
    {
        return Err(no_letter(id));
    }
    context.output.either(report, || {
        let stay = if stuck > 0 { format!(", {stuck} stay") } else { String::new() };
        let rest =
            if left > 0 { format!(", {left} not looked at; run it again for these") } else { String::new() };
        format!("{settled} {word}{stay}{rest}")
    })?;
    walked?;
    if stuck > 0 { Err(Failure::Shown) } else { Ok(()) }
}

/// Goes through the queue once. Ctrl-C ends it after the letter in hand, in good order.
async fn walk(
    context: &Context,
    decide: impl FnMut(&DeadLetter) -> Fate,
    done: impl FnMut(DeadLetter, Done),
) -> Result<Walk, Failure> {
    let config: AmqpConfig = context.loaded().section("amqp")?;
    let name = format!("backhaul/cli dlq pid={}", std::process::id());
    let opened = DeadLetters::open(&config, &name).await;
    let mut queue = opened.map_err(|error| Failure::Broker(error, config.shown()))?;
    let stop = CancellationToken::new();
    let interrupted = stop.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            interrupted.cancel();
        }
    });
    let walk = queue.walk(&stop, decide, done).await.map_err(|error| broken_off(&error))?;
    queue.close().await.map_err(|error| broken_off(&error))?;
    if stop.is_cancelled() {
        context.output.note("interrupted; what was not reported is still in the queue");
    }
    Ok(walk)
}

fn broken_off(error: &AmqpError) -> Failure {
    Failure::Refused(format!(
        "the dead-letter queue could not be gone through to the end: {error}\nNothing is lost: what was not reported as \
         done is still in the queue, and what was sent back may be in both places, with the same message_id. Run it again"
    ))
}

fn no_letter(id: &str) -> Failure {
    Failure::Refused(format!("there is no dead letter {id:?}; `backhaul dlq list` shows them"))
}
