//! Who calls: an API key, or a user behind a token.

use super::limits::{Caller, Guesser};
use super::{Engine, EngineError};
use identity::api_key::Presented;
use identity::tokens::{Token, TokenError};
use protocol::ids::{JobId, TenantId};
use std::net::IpAddr;
use std::time::SystemTime;
use store::asked_by;
use store::jobs::JobView;

/// A caller who is known and has a tenant: it may read all that is the tenant's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The tenant.
    pub tenant: TenantId,
    /// The user; a key is nobody in particular.
    pub user: Option<String>,
    may_change: bool,
    /// By what they are known.
    pub(super) caller: Caller,
    /// When their token expires; a key does not.
    pub(super) expires: Option<SystemTime>,
}

impl Identity {
    /// The same, if it may start and cancel too.
    ///
    /// # Errors
    /// [`EngineError::ReadOnly`].
    pub fn to_change(self) -> Result<Self, EngineError> {
        if self.may_change { Ok(self) } else { Err(EngineError::ReadOnly) }
    }
}

impl Engine {
    /// Who has this API key, which was presented from this address. Counts a request.
    ///
    /// # Errors
    /// [`EngineError::Unauthenticated`], [`EngineError::TooManyRequests`] or [`EngineError::Store`].
    pub async fn key_holder(&self, key: &str, peer: IpAddr) -> Result<Identity, EngineError> {
        let admitted = self.admit(key, peer).await?;
        self.holder(admitted).await
    }

    /// One job of whoever has this API key. Most calls are of this kind, so it is one statement where all is well. Counts a
    /// request.
    ///
    /// # Errors
    /// As [`Engine::key_holder`] and [`Engine::job`].
    pub async fn job_of_key_holder(
        &self,
        key: &str,
        peer: IpAddr,
        job: JobId,
    ) -> Result<JobView, EngineError> {
        let admitted = self.admit(key, peer).await?;
        if let Some(view) = self.store.jobs().get_by_key(job, &admitted.hash).await? {
            self.met(&admitted)?;
            return Ok(view);
        }
        let holder = self.holder(admitted).await?;
        self.job(holder.tenant, job).await
    }

    /// Whether a key may be looked up. One that is known is counted; one that is not is asked for only if it begins like a
    /// good one, and not too often for where it comes from.
    async fn admit(&self, key: &str, peer: IpAddr) -> Result<Admitted, EngineError> {
        let presented = Presented::read(key).ok_or_else(unknown_key)?;
        let hash = presented.hash();
        if let Some(counted) = self.limits.callers.count_known(&Caller::Key(hash)) {
            counted?;
            asked_by(hash);
            return Ok(Admitted { hash, counted: true });
        }
        // Whoever guesses many keys is one.
        asked_by(asker(format!("{peer} {}", presented.prefix()).as_bytes()));
        if !self.key_prefixes.contain(&self.store, presented.prefix()).await? {
            return Err(unknown_key());
        }
        self.limits.guessers.count(Guesser { peer, prefix: presented.prefix().to_owned() })?;
        Ok(Admitted { hash, counted: false })
    }

    async fn holder(&self, admitted: Admitted) -> Result<Identity, EngineError> {
        let caller = Caller::Key(admitted.hash);
        let Some(tenant) = self.store.tenants().authenticate(&admitted.hash).await? else {
            self.limits.callers.forget(&caller);
            return Err(unknown_key());
        };
        self.met(&admitted)?;
        asked_by(asker(tenant.0.as_bytes()));
        Ok(Identity { tenant, user: None, may_change: true, caller, expires: None })
    }

    /// A key turned out to be good: from now on it has a bucket of its own.
    fn met(&self, admitted: &Admitted) -> Result<(), EngineError> {
        if admitted.counted { Ok(()) } else { self.limits.callers.count(Caller::Key(admitted.hash)) }
    }

    /// Whose token this is. Counts a request.
    ///
    /// # Errors
    /// [`EngineError::Unauthenticated`] for a token that is not believed, [`EngineError::UnknownUser`] for a user who is
    /// unknown or disabled; [`EngineError::TooManyRequests`], [`EngineError::NoAgency`], [`EngineError::NoKeys`] or
    /// [`EngineError::Store`].
    pub async fn token_holder(&self, token: &str) -> Result<Identity, EngineError> {
        let Token { subject, expires } = match self.tokens.read(token).await {
            Ok(token) => token,
            Err(error @ TokenError::NoKeys) => return Err(EngineError::NoKeys(error)),
            Err(error @ (TokenError::Closed | TokenError::Refused(_))) => {
                return Err(EngineError::Unauthenticated(error.to_string()));
            }
        };
        // Before the database is asked: whoever signs may know subjects that we do not.
        let caller = Caller::User(subject.clone());
        self.limits.callers.count(caller.clone())?;
        asked_by(asker(subject.as_bytes()));
        let user = self.store.tenants().user(&subject).await?.filter(|user| user.disabled_at.is_none());
        let user = user.ok_or(EngineError::UnknownUser)?;
        let tenant = user.tenant_id.ok_or(EngineError::NoAgency)?;
        asked_by(asker(tenant.0.as_bytes()));
        let may_change = user.role.may_change();
        Ok(Identity { tenant, user: Some(user.subject), may_change, caller, expires: Some(expires) })
    }
}

/// A key that may be looked up.
struct Admitted {
    hash: [u8; 32],
    /// Whether the request was counted to the key.
    counted: bool,
}

/// Who takes turns, by what they are known by: once that is known, a tenant.
fn asker(known_by: &[u8]) -> [u8; 32] {
    *blake3::hash(known_by).as_bytes()
}

fn unknown_key() -> EngineError {
    let why = "the API key is unknown or was revoked; ask the operator for a new one";
    EngineError::Unauthenticated(why.to_owned())
}
