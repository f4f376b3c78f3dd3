//! How a session is opened: with the server, or with that of several which can be written.

use super::places;
use super::probe::Probe;
use super::verdict::silent;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Error, Executor, Row};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// After a server that does not take sessions yet.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Of several hosts, each has so long.
const EACH: Duration = Duration::from_secs(2);
/// For the questions that tell whether there is a pooler.
const ASKED_WITHIN: Duration = Duration::from_secs(1);

/// Opens sessions.
#[derive(Debug)]
pub(crate) struct Connector {
    places: Vec<Place>,
    /// The one that was good last.
    good: AtomicUsize,
    /// What every session begins with. Its last column says whether the session can only read.
    first: Arc<str>,
}

#[derive(Debug)]
struct Place {
    options: PgConnectOptions,
    probe: Probe,
}

#[derive(Debug)]
struct Opened {
    session: PgConnection,
    read_only: bool,
}

/// Between two statements of a session, another session had its server.
#[derive(Debug, thiserror::Error)]
#[error("two sessions were answered by one server process, {0}")]
pub(crate) struct Pooled(String);

impl Connector {
    /// # Errors
    /// When the address cannot be read.
    pub(crate) fn new(url: &str, name: &str, first: impl Into<Arc<str>>) -> Result<Self, Error> {
        let place = |options: PgConnectOptions| Place {
            // A pooler refuses extra_float_digits, like any start-up parameter that it does not know. It is about numbers
            // written as text, and Postgres has written them exactly since version 12.
            options: options.application_name(name).extra_float_digits(None),
            probe: Probe::default(),
        };
        let places = places::parse(url)?.into_iter().map(place).collect();
        Ok(Self { places, good: AtomicUsize::new(0), first: first.into() })
    }

    /// Opens a session. A server that is starting is waited for.
    ///
    /// # Errors
    /// What was met last before `deadline`.
    pub(crate) async fn connect(&self, deadline: Instant) -> Result<PgConnection, Error> {
        let begun = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match timeout_at(deadline, self.try_all()).await {
                Ok(Ok(session)) => return Ok(session),
                Ok(Err(error)) => error,
                Err(_late) => return Err(silent(&self.names(), begun.elapsed())),
            };
            if !may_pass(&error) || Instant::now() + pause >= deadline {
                return Err(error);
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Whether the server's end of a session is its own: a pooler in transaction mode gives it to others in between.
    ///
    /// # Errors
    /// [`Pooled`], in a [configuration error](Error::Configuration).
    pub(crate) async fn check_own_server(&self, session: &mut PgConnection) -> Result<(), Error> {
        // A pooler that has no server for a second session lets it wait; then it gives each session its own.
        let second = async {
            let first = process(session).await?;
            let mut other = self.try_all().await?;
            let begun = other.execute("begin").await;
            let refused =
                begun.as_ref().err().and_then(|error| error.as_database_error().map(ToString::to_string));
            if let Some(refused) = refused {
                return Ok(Some(refused));
            }
            begun?;
            let (others, again) = (process(&mut other).await?, process(session).await);
            // In a pool of one server process, the first session waits until the other's transaction is over.
            let shared = others == first || again.is_ok_and(|again| again != first);
            drop(timeout(ASKED_WITHIN, other.close()).await);
            Ok::<_, Error>(shared.then(|| first.to_string()))
        };
        match timeout(2 * ASKED_WITHIN, second).await {
            Ok(Ok(Some(said))) => Err(Error::Configuration(Box::new(Pooled(said)))),
            Ok(Ok(None)) => Ok(()),
            Ok(Err(error)) => {
                tracing::debug!(%error, "whether there is a pooler could not be found out");
                Ok(())
            }
            Err(_late) => Ok(()),
        }
    }

    /// Tries each place, the one that was good last first.
    async fn try_all(&self) -> Result<PgConnection, Error> {
        if let [only] = self.places.as_slice() {
            return Ok(only.open(&self.first).await.map_err(|error| only.located(error))?.session);
        }
        let (mut reading, mut last) = (None, None);
        let good = self.good.load(Ordering::Relaxed);
        let order = (good..self.places.len()).chain(0..good);
        for (at, place) in order.filter_map(|at| Some((at, self.places.get(at)?))) {
            match timeout(EACH, place.open(&self.first)).await {
                Ok(Ok(opened)) if !opened.read_only => {
                    self.good.store(at, Ordering::Relaxed);
                    return Ok(opened.session);
                }
                Ok(Ok(opened)) => reading = reading.or(Some(opened.session)),
                Ok(Err(error)) => last = Some(place.located(error)),
                Err(_late) => last = Some(silent(&place.name(), EACH)),
            }
        }
        match (reading, last) {
            // Whoever wants to write is told why that cannot be.
            (Some(session), _) => Ok(session),
            (None, Some(error)) => Err(error),
            (None, None) => Err(Error::Configuration("it names no host".into())),
        }
    }

    fn names(&self) -> String {
        self.places.iter().map(Place::name).collect::<Vec<_>>().join(", ")
    }
}

impl Place {
    async fn open(&self, first: &Arc<str>) -> Result<Opened, Error> {
        let mut session = match self.address().await {
            Some(address) => self.options.clone().host(&address.to_string()).connect().await?,
            None => self.options.connect().await?,
        };
        let row = session.fetch_one(AssertSqlSafe(Arc::clone(first))).await?;
        let read_only = row.try_get(row.len().saturating_sub(1))?;
        Ok(Opened { session, read_only })
    }

    /// An address of the host that answers, if another does not.
    async fn address(&self) -> Option<IpAddr> {
        let host = self.options.get_host();
        // A certificate is compared with the name that was connected to.
        let by_name = matches!(self.options.get_ssl_mode(), PgSslMode::VerifyFull);
        let resolved = host.starts_with(['/', '[']) || host.parse::<IpAddr>().is_ok() || host == "localhost";
        if by_name || resolved || self.options.get_socket().is_some() {
            return None;
        }
        self.probe.instead_of(host, self.options.get_port()).await
    }

    fn name(&self) -> String {
        format!("{}:{}", self.options.get_host(), self.options.get_port())
    }

    /// An error of the network names no place by itself.
    fn located(&self, error: Error) -> Error {
        if let Error::Io(error) = error {
            return Error::Io(io::Error::new(error.kind(), format!("{}: {error}", self.name())));
        }
        error
    }
}

/// The server's process behind a session. Not prepared, so that every pooler lets it through.
async fn process(session: &mut PgConnection) -> Result<i32, Error> {
    session.fetch_one("select pg_backend_pid()").await?.try_get(0)
}

/// Whether the next try may be answered otherwise, within seconds: the server starts, or has no room at this moment.
fn may_pass(error: &Error) -> bool {
    if let Error::Io(error) = error {
        return error.kind() == io::ErrorKind::ConnectionRefused;
    }
    let code = error.as_database_error().and_then(|error| error.code());
    matches!(code.as_deref(), Some("53300" | "57P03"))
}
