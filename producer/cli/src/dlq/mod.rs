//! `dlq`: the dead letters, and what no queue has taken. Listing takes none away; `retry` sends them back to where they came
//! from, `drop` removes them.

mod arguments;
mod shown;

pub(crate) use arguments::DeadLetterAction;

use crate::context::Context;
use crate::failure::Failure;
use crate::output::Text;
use arguments::{Which, is_called};
use broker::{AmqpError, DeadLetter, DeadLetters, Done, End, Fate, Reach, Walk};
use configuration::AmqpConfig;
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
    walk(context, Reach::Ready, keep, |letter, _| {
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
        context.output.note(format!("{more} more are not shown; see --limit and --reason"));
    }
    let json: Vec<_> = letters.iter().map(shown::in_short).collect();
    context.output.either(&json, || shown::table_of(&letters).or("no dead letters"))
}

async fn show(context: &Context, id: &str) -> Result<(), Failure> {
    let mut letters = Vec::new();
    let keep = |_: &DeadLetter| Fate::Keep;
    walk(context, Reach::Ready, keep, |letter, _| {
        if is_called(&letter, id) {
            letters.push(letter);
        }
    })
    .await?;
    if letters.is_empty() {
        return Err(no_letter(id));
    }
    let json: Vec<_> = letters.iter().map(shown::in_full).collect();
    context.output.either(&json, || {
        let mut text = Text::default();
        for (nth, letter) in letters.iter().enumerate() {
            if nth > 0 {
                text.push("");
            }
            text.append(shown::text_in_full(letter));
        }
        text
    })
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
    let reach = if which.all { Reach::ReadyAndLate } else { Reach::Ready };
    let walked = walk(context, reach, decide, |letter, done| match done {
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
    let left = walked.as_ref().map_or(0, |walk| walk.left);
    let why = walked.as_ref().ok().filter(|walk| walk.left > 0).map(|walk| why_left(walk.end));
    let report = json!({ word: settled, "stuck": stuck, "not_looked_at": left, "why": why });
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
        let why = report["why"].as_str().unwrap_or_default();
        let rest = if left > 0 { format!(", {left} not looked at: {why}") } else { String::new() };
        format!("{settled} {word}{stay}{rest}")
    })?;
    walked?;
    if stuck > 0 || left > 0 { Err(Failure::Shown) } else { Ok(()) }
}

/// Why letters that were there were not looked at, and what to do.
const fn why_left(end: End) -> &'static str {
    match end {
        End::Through => {
            "somebody else has taken them, or holds them (another `backhaul dlq`, the console); run it again"
        }
        End::Stopped => "it was interrupted; run it again",
        End::Full => {
            "too many before them stay; drop or send back some of those, by --reason or one by one, and run it again"
        }
    }
}

/// Goes through the queue once. Ctrl-C ends it after the letter in hand, in good order.
async fn walk(
    context: &Context,
    reach: Reach,
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
    let walk = queue.walk(reach, &stop, decide, done).await.map_err(|error| broken_off(&error))?;
    queue.close().await.map_err(|error| broken_off(&error))?;
    if stop.is_cancelled() {
        context.output.note("interrupted; what was not reported is still in the queue");
    } else if walk.left > 0 && reach == Reach::Ready {
        context.output.note(format!("{} more were not looked at: {}", walk.left, why_left(walk.end)));
    }
    if walk.away > 0 {
        let text = "letters that were looked at are not back in the queue yet: the broker is still putting them there";
        context.output.note(format!("{} {text}", walk.away));
    }
    Ok(walk)
}

fn broken_off(error: &AmqpError) -> Failure {
    let advice = "Nothing is lost: what was not reported as done is still in the queue, and what was sent back may be in both \
                  places, with the same message_id. Run it again";
    let what = format!("the dead-letter queue could not be gone through to the end: {error}");
    Failure::Advised(Box::new(Failure::Refused(what)), advice.to_owned())
}

fn no_letter(id: &str) -> Failure {
    Failure::Refused(format!("there is no dead letter {id:?}; `backhaul dlq list` shows them"))
}
