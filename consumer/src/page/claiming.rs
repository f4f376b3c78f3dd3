//! Claiming the page that a doorbell asks for.

use super::step::End;
use super::{BETWEEN_TRIES, PageHandler};
use crate::disposition::Outcome;
use crate::in_flight::SuspectPlace;
use protocol::ids::LeaseToken;
use protocol::slice::Ring;
use std::sync::{Mutex, PoisonError};
use store::StoreError;
use store::slices::{Claim, ClaimRequest, Suspicion};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A claim that fails in passing is tried this often before the delivery is held.
const TRIES: u32 = 3;

impl PageHandler {
    /// Claims the page and works on its slice, as often as it has to be claimed anew.
    pub(super) async fn visit(
        &self,
        ring: Ring,
        mut redelivered: bool,
        ending: &CancellationToken,
        token: &Mutex<Option<LeaseToken>>,
    ) -> Result<Outcome, StoreError> {
        loop {
            let free = async {
                if redelivered {
                    self.in_flight.left(ring.job, ring.slice).await;
                }
                self.slots.take().await
            };
            let _slot = tokio::select! {
                biased;
                () = ending.cancelled() => return Ok(Outcome::HandedBack),
                slot = free => slot,
            };
            let asked = Instant::now();
            let (claim, place) = self.claim(ring, redelivered, token).await?;
            let end = match claim {
                Claim::Claimed(claimed) => {
                    let (lease, context) = *claimed;
                    Box::pin(self.work(lease, context, place, asked, ending)).await?
                }
                Claim::SliceDone => {
                    self.finish(ring.job, None).await;
                    End::Over(Outcome::Stale)
                }
                Claim::LeaseEnded => {
                    self.end_cancel(ring.job).await;
                    End::Over(Outcome::GivenUp)
                }
                Claim::Stale => End::Over(Outcome::Stale),
                Claim::Paused => End::Over(Outcome::Paused),
                Claim::Suspect | Claim::SuspectElsewhere => End::Over(Outcome::BackedOff),
                Claim::Poisoned { deaths, page, context } => {
                    self.poisoned(Ring { page, ..ring }, deaths, &context).await?
                }
            };
            match end {
                End::Over(outcome) => return Ok(outcome),
                End::ClaimAgain => redelivered = true,
            }
        }
    }

    /// Claims a page, and the place for a suspect first if the page is one.
    async fn claim(
        &self,
        ring: Ring,
        redelivered: bool,
        token: &Mutex<Option<LeaseToken>>,
    ) -> Result<(Claim, Option<SuspectPlace>), StoreError> {
        let with = LeaseToken::random();
        *token.lock().unwrap_or_else(PoisonError::into_inner) = Some(with);
        let claim = self.claim_with(ring, redelivered, with, None).await?;
        if !matches!(claim, Claim::Suspect) {
            return Ok((claim, None));
        }
        let place = self.in_flight.take_suspect_place();
        let claim = self.claim_with(ring, redelivered, with, Some(place.is_some())).await?;
        Ok((claim, place))
    }

    /// Claims with one token: a claim whose answer was lost finds its own lease when it is repeated.
    async fn claim_with(
        &self,
        ring: Ring,
        redelivered: bool,
        token: LeaseToken,
        has_place: Option<bool>,
    ) -> Result<Claim, StoreError> {
        let request = ClaimRequest {
            ring,
            redelivered,
            worker: self.worker,
            token,
            lease: self.leases.duration,
            suspicion: Suspicion {
                has_place,
                suspect_after: i32::try_from(self.pages.suspect_after).unwrap_or(i32::MAX),
                fail_after: i32::try_from(self.pages.deaths).unwrap_or(i32::MAX),
            },
        };
        let mut tries = 1;
        loop {
            match self.claimer.claim(request).await {
                Err(error) if error.is_transient() && tries < TRIES => tries += 1,
                answer => return answer,
            }
            tokio::time::sleep(BETWEEN_TRIES).await;
        }
    }
}
