//! `pause`, `unpause` and `resume`: done in the database, through the engine.

use crate::arguments::Resume;
use crate::commands::requested_by;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::Text;
use crate::show::JobJson;
use crate::status::no_job;
use crate::watch;
use protocol::ids::{JobId, TenantId};
use store::Store;

pub(crate) async fn pause(context: &Context, job: JobId) -> Result<(), Failure> {
    let store = context.store()?;
    let tenant = tenant_of(&store, job).await?;
    let (engine, publisher) = context.engine(&store)?;
    let paused = engine.pause(tenant, job, &requested_by()).await;
    publisher.close().await;
    let view = paused?;
    context.output.either(&JobJson::from(&view), || {
        let text = Text::from(format!("job {job} is paused; pages in flight are still imported"));
        text.and(format!("let it go on with: backhaul unpause {job}"))
    })
}

pub(crate) async fn unpause(context: &Context, job: JobId) -> Result<(), Failure> {
    let store = context.store()?;
    let tenant = tenant_of(&store, job).await?;
    let (engine, publisher) = context.engine(&store)?;
    let unpaused = engine.unpause(tenant, job, &requested_by()).await;
    publisher.close().await;
    let view = unpaused?;
    context.output.either(&JobJson::from(&view), || format!("job {job} goes on"))
}

pub(crate) async fn resume(context: &Context, arguments: Resume) -> Result<(), Failure> {
    let store = context.store()?;
    let ended = arguments.job;
    let tenant = tenant_of(&store, ended).await?;
    let (engine, publisher) = context.engine(&store)?;
    let resumed = engine.resume(tenant, ended, &requested_by()).await;
    publisher.close().await;
    let view = resumed?;
    let said = format!("job {} goes on where job {ended} stopped", view.id);
    if arguments.wait {
        if !context.output.is_json() {
            context.output.line(said)?;
        }
        return watch::until_completed(context, &store, view.id).await;
    }
    let hint = format!("follow it with: backhaul watch {}", view.id);
    context.output.either(&JobJson::from(&view), || Text::from(said).and(hint))
}

/// Whoever can reach the database may act for every tenant.
async fn tenant_of(store: &Store, job: JobId) -> Result<TenantId, Failure> {
    Ok(store.jobs().get(job, None).await?.ok_or_else(|| no_job(job))?.tenant)
}
