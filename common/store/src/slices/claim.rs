//! Claiming: what a delivery of a page message may do.

use super::super::StoreError;
use super::{Lease, each};
use crate::handles::Slices;
use chrono::{DateTime, Utc};
use protocol::ids::{ConnectionId, LeaseToken, TenantId, WorkerId};
use protocol::job::JobMode;
use protocol::poison::PoisonPolicy;
use protocol::schema::Fields;
use protocol::slice::{Ring, SliceKind, Span};
use protocol::walk::Walk;
use sealing::{Bound, Sealed};
use serde::Deserialize;
use serde_json::Value;
use sqlx::types::Json;
use std::collections::HashMap;
use std::time::Duration;

/// A delivery's wish to work on a page.
#[derive(Clone, Copy, Debug)]
pub struct ClaimRequest {
    /// What the message says.
    pub ring: Ring,
    /// Whether the broker delivered it before.
    pub redelivered: bool,
    /// Who asks.
    pub worker: WorkerId,
    /// Made before the first try, so that a claim repeated because its answer was lost finds its own lease.
    pub token: LeaseToken,
    /// How long the lease lasts without renewal.
    pub lease: Duration,
    /// The rules about pages that kill their workers.
    pub suspicion: Suspicion,
}

/// When a page is suspected of killing the processes that work on it.
#[derive(Clone, Copy, Debug)]
pub struct Suspicion {
    /// Whether the place for the one suspect that a worker may hold is kept for this claim. `None` if nobody has asked for
    /// it yet: a suspect is then left as it is, and the answer is [`Claim::Suspect`].
    pub has_place: Option<bool>,
    /// Charges that make a suspect.
    pub suspect_after: i32,
    /// Charges that fail the job.
    pub fail_after: i32,
}

/// The answer to a claim.
#[derive(Debug)]
pub enum Claim {
    /// The page is ours.
    Claimed(Box<(Lease, PageContext)>),
    /// Every page of the slice is settled: see whether the job is finished.
    SliceDone,
    /// The slice was closed by a cancel, and the lease that this message answered has ended now.
    LeaseEnded,
    /// Nothing to do: another message or another worker has the page, or it waits.
    Stale,
    /// The job or its connection is paused; refill rings the slice when the pause ends.
    Paused,
    /// A suspect, left as it is: see whether this worker has a place for it, and claim again.
    Suspect,
    /// A suspect, and this worker holds one already: it waits for a few seconds.
    SuspectElsewhere,
    /// The page was being worked on each time when its process died, too often. The job is to be failed.
    Poisoned {
        /// How many processes died.
        deaths: i32,
        /// The page.
        page: i32,
        /// What there is to know of it, so that what follows it may be found.
        context: Box<PageContext>,
    },
}

/// What a job was planned with: it walks to its end with that, whatever becomes of its connection's settings meanwhile.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct Planned {
    /// The kind of source.
    pub source: String,
    /// The upstream's address.
    pub base_url: String,
    /// The settings.
    pub settings: Value,
}

// Settings may be long.
impl std::fmt::Debug for Planned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Planned").field("base_url", &self.base_url).finish_non_exhaustive()
    }
}

/// What a fetch needs to know.
#[derive(Clone)]
pub struct PageContext {
    /// Where the slice stands; `None` at its first page.
    pub cursor: Option<String>,
    /// An earlier cursor: meeting it again is a loop.
    pub anchor: Option<String>,
    /// Whether the lease was taken over from a lost holder.
    pub taken_over: bool,
    /// The slice's span.
    pub span: Span,
    /// The tenant.
    pub tenant: TenantId,
    /// The connection.
    pub connection: ConnectionId,
    /// The kind of source.
    pub source: String,
    /// The upstream's address.
    pub base_url: String,
    /// The upstream's credentials, sealed; none if it needs none.
    pub credentials: Option<Sealed>,
    /// The connection's settings.
    pub settings: Value,
    /// What the slice is for.
    pub kind: SliceKind,
    /// What its walk has shown so far.
    pub walk: Walk,
    /// What the job pulls.
    pub mode: JobMode,
    /// The scope in which the job was planned; none for a job that was planned without one.
    pub scope: Option<i32>,
    /// Whether the list is read by counting.
    pub counted: bool,
    /// Whether nothing is too new: a full sync of an upstream whose times are those of the last change.
    pub open_end: bool,
    /// Rests that the upstream asked for by 403, since the last settled page.
    pub forbidden_rests: i32,
    /// Whether the walk began anew in this job, since its cursor was refused.
    pub started_over: bool,
    /// What the job was planned with, where that is not what the connection has by now.
    pub planned: Option<Planned>,
    /// The time of the database at the claim.
    pub read_at: DateTime<Utc>,
    /// Whether the connection has a limit of requests per second: each page is admitted first.
    pub limited: bool,
    /// What the connection wants of a page that can never be settled.
    pub on_poison_page: PoisonPolicy,
    /// Whether it has a limit of pages in flight: no page then makes more than one request at a time.
    pub narrow: bool,
    /// The ids that the slice is over, in their order; none for a slice of a span.
    pub documents: Option<Vec<String>>,
    /// The fields by which the job's rows are counted.
    pub schema: Option<Fields>,
}

impl PageContext {
    /// To what the credentials are bound.
    #[must_use]
    pub const fn bound(&self) -> Bound<'_> {
        Bound { connection: self.connection, base_url: self.base_url.as_str(), settings: &self.settings }
    }

    /// The kind of source that the job was planned with.
    #[must_use]
    pub fn source(&self) -> &str {
        self.planned.as_ref().map_or(&self.source, |planned| &planned.source)
    }

    /// The settings that the job was planned with.
    #[must_use]
    pub fn settings(&self) -> &Value {
        self.planned.as_ref().map_or(&self.settings, |planned| &planned.settings)
    }
}

// Settings and sealed credentials would only be noise in a log.
impl std::fmt::Debug for PageContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PageContext")
            .field("connection", &self.connection)
            .field("span", &self.span)
            .field("cursor", &self.cursor)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "lowercase")]
enum Verdict {
    Won,
    Claimed,
    Done,
    Released,
    Stale,
    Paused,
    Suspect,
    Elsewhere,
    Poisoned,
}

impl Slices<'_> {
    /// Claims the page that a delivery asks for, if it may.
    ///
    /// # Errors
    /// When the database cannot be written. The claim may have happened: repeat it with the same token.
    pub async fn claim(self, request: &ClaimRequest) -> Result<Claim, StoreError> {
        let ring = request.ring;
        let row = sqlx::query_file_as!(
            Row,
            "src/sql/claim.sql",
            ring.job.0,
            ring.slice,
            ring.page,
            ring.ring,
            request.redelivered,
            request.worker.0,
            request.token.0,
            request.lease.as_secs_f64() * 1000.0,
            request.suspicion.has_place,
            request.suspicion.suspect_after,
            request.suspicion.fail_after
        )
        .fetch_optional(&self.store.pool)
        .await?;
        Ok(row.map_or(Claim::Stale, |row| row.claim(request)))
    }

    /// Claims for several deliveries of one worker, none of which came before, as [`Slices::claim`] does for each. `None`
    /// where it is not plainly claimed, or somebody had the slice locked for a moment: ask for that one alone.
    ///
    /// # Errors
    /// When the database cannot be written. The claims may have happened: repeat each with its token.
    pub async fn claim_together(self, requests: &[ClaimRequest]) -> Result<Vec<Option<Claim>>, StoreError> {
        let Some(&ClaimRequest { worker, lease, .. }) = requests.first() else { return Ok(Vec::new()) };
        let rows = sqlx::query_file_as!(
            Row,
            "src/sql/claim_together.sql",
            &each(requests, |request| request.ring.job.0),
            &each(requests, |request| request.ring.slice),
            &each(requests, |request| request.ring.page),
            &each(requests, |request| request.ring.ring),
            &each(requests, |request| request.token.0),
            i64::try_from(requests.len()).unwrap_or(i64::MAX),
            worker.0,
            lease.as_secs_f64() * 1000.0
        )
        .fetch_all(&self.store.pool)
        .await?;
        let mut rows: HashMap<i64, Row> = rows.into_iter().map(|row| (row.nth, row)).collect();
        let claims = (1..).zip(requests).map(|(nth, request)| Some(rows.remove(&nth)?.claim(request)));
        Ok(claims.collect())
    }
}

/// What a claim found.
struct Row {
    /// Which request it is the answer to, from 1.
    nth: i64,
    verdict: Verdict,
    page: i32,
    cursor: Option<String>,
    anchor: Option<String>,
    charges: i32,
    taken_over: bool,
    span_from: Option<DateTime<Utc>>,
    span_to: DateTime<Utc>,
    tenant_id: TenantId,
    connection_id: ConnectionId,
    source: String,
    base_url: String,
    credentials_key: Option<Vec<u8>>,
    credentials_nonce: Option<Vec<u8>>,
    credentials: Option<Vec<u8>>,
    settings: Value,
    kind: SliceKind,
    walk: Json<Walk>,
    mode: JobMode,
    scope: Option<i32>,
    counted: bool,
    open_end: bool,
    forbidden_rests: i32,
    started_over: bool,
    planned: Option<Json<Planned>>,
    read_at: DateTime<Utc>,
    limited: bool,
    on_poison_page: PoisonPolicy,
    narrow: bool,
    documents: Option<Vec<String>>,
    schema: Option<Json<Fields>>,
}

impl Row {
    fn claim(self, request: &ClaimRequest) -> Claim {
        let context = PageContext {
            cursor: self.cursor,
            anchor: self.anchor,
            taken_over: self.taken_over && matches!(self.verdict, Verdict::Claimed),
            span: Span { from: self.span_from, to: self.span_to },
            tenant: self.tenant_id,
            connection: self.connection_id,
            source: self.source,
            base_url: self.base_url,
            credentials: sealed(self.credentials_key, self.credentials_nonce, self.credentials),
            settings: self.settings,
            kind: self.kind,
            walk: self.walk.0,
            mode: self.mode,
            scope: self.scope,
            counted: self.counted,
            open_end: self.open_end,
            forbidden_rests: self.forbidden_rests,
            started_over: self.started_over,
            planned: self.planned.map(|planned| planned.0),
            read_at: self.read_at,
            limited: self.limited,
            on_poison_page: self.on_poison_page,
            narrow: self.narrow,
            documents: self.documents,
            schema: self.schema.map(|fields| fields.0),
        };
        match self.verdict {
            Verdict::Won | Verdict::Claimed => Claim::Claimed(Box::new((
                Lease {
                    job: request.ring.job,
                    slice: request.ring.slice,
                    page: self.page,
                    connection: self.connection_id,
                    token: request.token,
                    worker: request.worker,
                },
                context,
            ))),
            Verdict::Done => Claim::SliceDone,
            Verdict::Released => Claim::LeaseEnded,
            Verdict::Stale => Claim::Stale,
            Verdict::Paused => Claim::Paused,
            Verdict::Suspect => Claim::Suspect,
            Verdict::Elsewhere => Claim::SuspectElsewhere,
            Verdict::Poisoned => {
                Claim::Poisoned { deaths: self.charges, page: self.page, context: Box::new(context) }
            }
        }
    }
}

/// The schema's checks hold the three together, and to their lengths.
fn sealed(key: Option<Vec<u8>>, nonce: Option<Vec<u8>>, ciphertext: Option<Vec<u8>>) -> Option<Sealed> {
    Sealed::from_columns(&key?, &nonce?, ciphertext?)
}
