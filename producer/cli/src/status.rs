//! `status` and `list`.

use crate::arguments::List;
use crate::context::{Context, Names};
use crate::failure::Failure;
use crate::output::{Table, Text};
use crate::show::{
    JobJson, ago, duration, joined, moment, number, outcome, percent, rate, records, remaining, state,
};
use protocol::ids::JobId;
use protocol::warning::Warning;
use store::jobs::{JobFilter, JobView};

pub(crate) async fn status(context: &Context, job: JobId) -> Result<(), Failure> {
    let store = context.store()?;
    let found = store.jobs().get(job, None).await?;
    let job = found.ok_or_else(|| no_job(job))?;
    let names = Names::read(&store).await?;
    context.output.either(&JobJson::from(&job), || in_full(&job, &names.of(&job)))
}

pub(crate) async fn explain(context: &Context, job: JobId) -> Result<(), Failure> {
    let store = context.store()?;
    let situation = store.jobs().situation(job, None).await?.ok_or_else(|| no_job(job))?;
    let reasons = engine::explain::explain(&situation);
    context.output.either(&reasons, || {
        let mut text = Text::from(state(&situation.job));
        text.extend(reasons.iter().map(|reason| format!("- {}", reason.text)));
        text
    })
}

pub(crate) fn no_job(job: JobId) -> Failure {
    Failure::Refused(format!(
        "there is no job {job}: it was never started, or no consumer has taken its start yet; `backhaul list` shows the \
         newest"
    ))
}

pub(crate) async fn list(context: &Context, arguments: List) -> Result<(), Failure> {
    let store = context.store()?;
    let filter = JobFilter {
        connection: arguments.connection,
        statuses: arguments.status.into_iter().collect(),
        limit: i64::from(arguments.limit),
        ..JobFilter::default()
    };
    let jobs = store.jobs().list(&filter).await?;
    let names = Names::read(&store).await?;
    let json: Vec<_> = jobs.iter().map(JobJson::from).collect();
    context.output.either(&json, || {
        let mut table = Table::new(["JOB", "CONNECTION", "STATUS", "DONE", "RECORDS", "RATE", "ACCEPTED"]);
        for job in &jobs {
            table.row([
                job.id.to_string(),
                names.of(job),
                state(job),
                percent(job),
                records(job),
                rate(job),
                ago(job.created_at, job.read_at),
            ]);
        }
        table.or("no jobs; start one with: backhaul start --connection ID")
    })
}

fn in_full(job: &JobView, connection: &str) -> Text {
    let mut rows: Vec<(&str, String)> = Vec::new();
    let mut row = |name, value: String| {
        if !value.is_empty() {
            rows.push((name, value));
        }
    };
    row("job", job.id.to_string());
    row("name", job.name.clone().unwrap_or_default());
    row("connection", format!("{connection}  ({})", job.connection));
    row("span", span(job));
    row("resumes", job.resumed_from.map(|before| format!("job {before}")).unwrap_or_default());
    row("status", state(job));
    row("progress", joined(&[percent(job), format!("{} records", records(job)), rate(job), remaining(job)]));
    row("outcome", outcome(job));
    let skipped = match job.pages_skipped {
        0 => String::new(),
        skipped => format!(", {} of them skipped (see: backhaul explain {})", number(skipped), job.id),
    };
    row("pages", format!("{} settled{skipped}", number(job.pages_settled)));
    row("slices", slices(job));
    let at = |then| format!("{}  ({})", moment(then), ago(then, job.read_at));
    row("accepted", at(job.created_at));
    row("started", job.started_at.map(at).unwrap_or_default());
    row("cancel", job.cancel_requested_at.map(|then| cancel(job, at(then))).unwrap_or_default());
    row("last activity", at(job.last_activity_at));
    row("ended", job.finished_at.map(|then| format!("{}{}", at(then), took(job))).unwrap_or_default());
    for (name, told) in [("warning", &job.warnings), ("note", &job.notes)] {
        for Warning { kind, count, text } in told {
            row(name, format!("{} ({}): {}", kind.word(), number(*count), text));
        }
    }
    let error = job.error.as_ref();
    row("error", error.map(ToString::to_string).unwrap_or_default());
    row("answer", error.and_then(|error| error.body.clone()).unwrap_or_default());

    rows.into_iter().map(|(name, value)| format!("{name:<14} {value}")).collect()
}

fn span(job: &JobView) -> String {
    let from = job.date_from.map_or_else(|| "the beginning".to_owned(), moment);
    format!("{from} to {}", moment(job.date_to))
}

fn slices(job: &JobView) -> String {
    let slices = &job.slices;
    let closed = slices.total - slices.done - slices.ready - slices.queued - slices.waiting;
    let counts = [
        (slices.done, "done"),
        (slices.leased, "in progress"),
        (slices.ready - slices.leased.min(slices.ready), "ready"),
        (slices.queued, "queued"),
        (slices.waiting, "waiting to retry"),
        (closed, "closed"),
    ];
    let said: Vec<_> = counts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{} {what}", number(count)))
        .collect();
    match slices.total {
        0 => "not planned yet".to_owned(),
        total if said.is_empty() => number(total),
        total => format!("{} ({})", number(total), said.join(", ")),
    }
}

fn cancel(job: &JobView, at: String) -> String {
    let by = job.cancel_requested_by.as_deref().map(|by| format!("by {by}")).unwrap_or_default();
    let why = job.cancel_reason.as_deref().map(|why| format!("“{why}”")).unwrap_or_default();
    joined(&[at, by, why])
}

fn took(job: &JobView) -> String {
    let Some((start, end)) = job.started_at.zip(job.finished_at) else { return String::new() };
    format!(", after {}", duration((end - start).num_seconds()))
}
