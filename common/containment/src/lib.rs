//! Panics while one page or one command is handled: they end that, and not the process, whose other pages are other tenants'.
//!
//! That is safe because a handler changes nothing for good but in single statements of the database, each of which is
//! fenced by the lease it was made under: whatever the handler had half done in memory is dropped with it, and whatever it
//! had asked the database for has happened as a whole or not at all. The page is charged with the panic as it would be with
//! the death of a process. A panic anywhere else, in the loops that all pages share, ends the process.

use futures::FutureExt;
use metrics::counter;
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tokio::task::JoinError;

thread_local! {
    /// How many contained calls this thread is in.
    static INSIDE: Cell<u32> = const { Cell::new(0) };
}

/// A panic that was contained. Its text is in the log alone: it may quote what an upstream sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a defect of this program; its log has the panic and where it happened")]
pub struct Panicked;

/// Writes contained panics into the log, with their backtraces, and counts them. All others end the process, after the usual
/// report: a page that causes one is then charged with the death, and no half-dead worker keeps its leases alive.
pub fn die_of_other_panics() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if INSIDE.get() == 0 {
            report(panic);
            std::process::abort();
        }
        counter!("panics_contained_total").increment(1);
        let backtrace = Backtrace::force_capture();
        tracing::error!(%panic, %backtrace, "a panic ends the page or command that was handled, and nothing else");
    }));
}

/// Runs a handler to its end, or to its panic.
pub fn contained<T>(handler: impl Future<Output = T>) -> impl Future<Output = Result<T, Panicked>> {
    let mut handler = Box::pin(AssertUnwindSafe(handler).catch_unwind());
    poll_fn(move |context| {
        let _inside = Inside::enter();
        handler.as_mut().poll(context).map_err(|_logged| Panicked)
    })
}

/// The same of a call that waits for nothing.
pub fn contained_call<T>(call: impl FnOnce() -> T) -> Result<T, Panicked> {
    let _inside = Inside::enter();
    catch_unwind(AssertUnwindSafe(call)).map_err(|_logged| Panicked)
}

/// Runs a call of a handler on a thread where it may take its time. A panic there is one of the handler's own.
pub async fn on_another_thread<T: Send + 'static>(
    call: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    let task = tokio::task::spawn_blocking(move || {
        let _inside = Inside::enter();
        call()
    });
    match task.await {
        Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
        other => other,
    }
}

/// For as long as it lives, a panic of this thread is contained.
struct Inside;

impl Inside {
    fn enter() -> Self {
        INSIDE.set(INSIDE.get() + 1);
        Self
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.set(INSIDE.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_ends_its_handler_only() {
        let panicked = contained(async {
            std::future::ready(()).await;
            panic!("on purpose") as u8
        });
        assert_eq!(panicked.await, Err(Panicked));
        assert_eq!(contained(async { 3 }).await, Ok(3));
        assert_eq!(contained_call(|| panic!("on purpose") as u8), Err(Panicked));
        assert_eq!(contained_call(|| 3), Ok(3));
        assert!(contained(on_another_thread(|| panic!("on purpose") as u8)).await.is_err());
        assert_eq!(INSIDE.get(), 0);
    }

    #[tokio::test]
    async fn a_handler_is_contained_while_it_runs_and_not_while_it_waits() {
        let (send, receive) = tokio::sync::oneshot::channel::<()>();
        let mut handler = std::pin::pin!(contained(async {
            assert_eq!(INSIDE.get(), 1);
            receive.await.unwrap();
            assert_eq!(INSIDE.get(), 1);
        }));
        assert!(handler.as_mut().now_or_never().is_none());
        assert_eq!(INSIDE.get(), 0);
        send.send(()).unwrap();
        handler.await.unwrap();
        assert_eq!(INSIDE.get(), 0);
    }
}
