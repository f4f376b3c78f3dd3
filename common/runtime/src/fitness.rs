//! Whether the database can be worked with, looked at again and again on a session of its own: nothing is taken before it can,
//! readiness says why not, and an outage is told once when it begins, now and then while it lasts, and once when it ends.

use configuration::DatabaseConfig;
use protocol::outage::Outage;
use std::sync::Arc;
use std::time::Duration;
use store::{SessionLimits, Store, StoreError};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two looks at the schema, while there is nothing wrong.
const WHOLE_LOOK_EVERY: Duration = Duration::from_secs(15);
/// A look that takes longer has found no database.
const LOOK_WITHIN: Duration = Duration::from_secs(5);
/// Its statements take a millisecond.
const STATEMENT_WITHIN: Duration = Duration::from_secs(1);
/// After a statement that does not fit the database, so long nothing is tried.
const REST: Duration = Duration::from_secs(10);

/// What was seen of the database last. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Fitness {
    /// Looks.
    store: Store,
    /// Works: its sessions are given up when the database is back.
    work: Store,
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
    /// Nothing has been seen yet. `work` is the store whose database is looked at, or one of several that
    /// [share](Store::telling).
    ///
    /// # Errors
    /// When the address cannot be read.
    pub fn new(database: &DatabaseConfig, name: &str, work: &Store) -> Result<Self, StoreError> {
        let limits = SessionLimits {
            lock_timeout: STATEMENT_WITHIN,
            statement_timeout: STATEMENT_WITHIN,
            acquire_timeout: database.connect_timeout.min(LOOK_WITHIN),
            ..SessionLimits::from(database)
        };
        let store = Store::new(database.url.expose(), name, 1, limits)?;
        let looked = Look::Silent("the database has not answered yet".to_owned());
        let seen = Arc::new(watch::Sender::new(Seen { looked, misfit: None }));
        Ok(Self { store, work: work.clone(), seen })
    }

    /// Looks, until `ended`.
    pub async fn run(&self, ended: CancellationToken) {
        let mut whole_at = Instant::now();
        let mut outage = Outage::of("the database");
        loop {
            let begun = Instant::now();
            let whole = whole_at <= begun || self.check().is_err();
            if whole {
                whole_at = begun + WHOLE_LOOK_EVERY;
            }
            self.look(whole).await;
            match self.check() {
                Ok(()) => outage.over(),
                Err(why) => outage.met(&why),
            }
            tokio::select! {
                () = ended.cancelled() => break,
                () = sleep(LOOK_EVERY) => {}
            }
        }
        self.store.close().await;
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
            // What was opened before may lead to a server that is of no use for good, or nowhere.
            if changed && looked == Look::Fit {
                self.work.retire_sessions();
            }
            seen.looked = looked;
            rested || changed
        });
    }

    /// Notes a statement that failed: one that does not fit the database will fail again, for whoever tries it.
    pub fn met(&self, error: &StoreError) {
        if let StoreError::Mismatch(_) | StoreError::Rights(_) = error {
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

    /// Whether the last look has found a database that can be worked with, whatever statements have met.
    #[must_use]
    pub fn looks_fit(&self) -> bool {
        self.seen.borrow().looked == Look::Fit
    }

    /// Whether the database answers, and is of no use.
    #[must_use]
    pub fn is_unfit(&self) -> bool {
        self.seen.borrow().is_unfit()
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

/// Warns of a failure of the store, unless [`Fitness`] tells of the outage that it is part of.
#[macro_export]
macro_rules! warn_unless_outage {
    ($error:expr, $($told:tt)+) => {
        if $error.is_outage() {
            tracing::debug!(error = %$error, $($told)+);
        } else {
            tracing::warn!(error = %$error, $($told)+);
        }
    };
}
