//! Whether the database can be worked with, looked at again and again: nothing is taken before it can, and readiness says why
//! not.

use common::store::{Store, StoreError};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two looks at the schema, while there is nothing wrong.
const WHOLE_LOOK_EVERY: Duration = Duration::from_secs(60);
/// A look that takes longer has found no database.
const LOOK_WITHIN: Duration = Duration::from_secs(3);
/// After a statement that does not fit the database, so long nothing is tried.
const REST: Duration = Duration::from_secs(10);

/// What was seen of the database last. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Fitness {
    store: Store,
    seen: Arc<watch::Sender<Seen>>,
}

#[derive(Clone, Debug)]
struct Seen {
    looked: Look,
    /// A statement that did not fit, and since when.
    misfit: Option<(Instant, String)>,
}

/// What a look has found.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Look {
    /// No answer.
    Silent(String),
    /// A database that cannot be worked with.
    Unfit(String),
    Fit,
}

impl Seen {
    fn verdict(&self) -> Result<(), String> {
        match (&self.misfit, &self.looked) {
            (Some((_, why)), _) | (None, Look::Silent(why) | Look::Unfit(why)) => Err(why.clone()),
            (None, Look::Fit) => Ok(()),
        }
    }

    fn is_unfit(&self) -> bool {
        self.misfit.is_some() || matches!(self.looked, Look::Unfit(_))
    }
}

impl Fitness {
    /// Nothing has been seen yet.
    #[must_use]
    pub fn new(store: Store) -> Self {
        let looked = Look::Silent("the database has not answered yet".to_owned());
        Self { store, seen: Arc::new(watch::Sender::new(Seen { looked, misfit: None })) }
    }

    /// Looks, until `ended`.
    pub async fn run(&self, ended: CancellationToken) {
        let mut whole_at = Instant::now();
        loop {
            let whole = whole_at <= Instant::now() || self.check().is_err();
            if whole {
                whole_at = Instant::now() + WHOLE_LOOK_EVERY;
            }
            self.look(whole).await;
            tokio::select! {
                () = ended.cancelled() => return,
                () = sleep(LOOK_EVERY) => {}
            }
        }
    }

    async fn look(&self, whole: bool) {
        let looked = match timeout(LOOK_WITHIN, self.store.fitness(whole)).await {
            Ok(Ok(Ok(()))) => Look::Fit,
            Ok(Ok(Err(unfit))) => Look::Unfit(unfit.to_string()),
            Ok(Err(error)) => Look::Silent(error.to_string()),
            Err(_late) => {
                Look::Silent(format!("the database has not answered within {} s", LOOK_WITHIN.as_secs()))
            }
        };
        self.seen.send_if_modified(|seen| {
            let rested = seen.misfit.take_if(|(since, _)| since.elapsed() >= REST).is_some();
            let changed = seen.looked != looked;
            if changed {
                match &looked {
                    Look::Fit => tracing::info!("the database can be worked with"),
                    Look::Silent(why) | Look::Unfit(why) => {
                        tracing::warn!(why, "nothing is done until the database can be worked with");
                    }
                }
            }
            seen.looked = looked;
            rested || changed
        });
    }

    /// Notes a statement that failed: one that does not fit the database will fail again, for whoever tries it.
    pub fn met(&self, error: &StoreError) {
        if let StoreError::Mismatch(_) = error {
            self.seen.send_modify(|seen| seen.misfit = Some((Instant::now(), error.to_string())));
        }
    }

    /// Why the database cannot be worked with.
    ///
    /// # Errors
    /// The reason, in words.
    pub fn check(&self) -> Result<(), String> {
        self.seen.borrow().verdict()
    }

    /// Waits until a look has found a database that can be worked with. It may be gone again by then.
    pub async fn fit(&self) {
        // The sender is ours, so there is always somebody who may send.
        drop(self.seen.subscribe().wait_for(|seen| seen.verdict().is_ok()).await);
    }

    /// Waits while the database is known to be of no use, for whoever has just had an answer of it.
    pub async fn not_unfit(&self) {
        drop(self.seen.subscribe().wait_for(|seen| !seen.is_unfit()).await);
    }
}
