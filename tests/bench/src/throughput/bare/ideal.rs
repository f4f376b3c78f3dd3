//! No queue at all: tasks that walk jobs, page after page. The ceiling that a queue can approach.

use super::database::Session;
use super::page::{Pages, store};
use super::{BEGINS, ENDED, Task};
use anyhow::Result;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

/// Walks all jobs with as many tasks as sessions; each takes the next job when it is done with one.
///
/// # Errors
/// When anything does not answer: it has no second try.
pub async fn ideal(task: Task) -> Result<()> {
    let pages = Arc::new(Pages::of(&task)?);
    let mut sessions = Vec::new();
    for _session in 0..task.sessions {
        sessions.push(Session::open(&task.database).await?);
    }
    let next = Arc::new(AtomicU32::new(0));
    tracing::info!("{BEGINS}");
    let began = Instant::now();
    let mut walks = tokio::task::JoinSet::new();
    for session in sessions {
        let (pages, next, jobs) = (Arc::clone(&pages), Arc::clone(&next), task.jobs);
        walks.spawn(async move {
            loop {
                let job = next.fetch_add(1, Ordering::Relaxed);
                if job >= jobs {
                    return anyhow::Ok(());
                }
                let mut page = Some(pages.first(job));
                while let Some(path) = page {
                    let done = store(&session, job, &pages.get(&path).await?).await?;
                    page = done.next.filter(|_| !done.cancelled);
                }
            }
        });
    }
    while let Some(walked) = walks.join_next().await {
        walked??;
    }
    tracing::info!("{ENDED}{}", began.elapsed().as_secs_f64());
    Ok(())
}
