//! Who calls: an API key, or a user behind a token.

use super::limits::Caller;
use super::{Engine, EngineError};
use crate::api_key;
use crate::auth::TokenError;
use common::ids::{JobId, TenantId};
use common::store::jobs::JobView;

/// A caller who is known and has a tenant: it may read all that is the tenant's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The tenant.
    pub tenant: TenantId,
    /// The user; a key is nobody in particular.
    pub user: Option<String>,
    may_change: bool,
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
    /// Who has this API key. Counts a request.
    ///
    /// # Errors
    /// [`EngineError::Unauthenticated`], [`EngineError::TooManyRequests`] or [`EngineError::Store`].
    pub async fn key_holder(&self, key: &str) -> Result<Identity, EngineError> {
        self.holder(self.may_be_looked_up(key)?).await
    }

    /// One job of whoever has this API key. Most calls are of this kind, so it is one statement where all is well. Counts a
    /// request.
    ///
    /// # Errors
    /// As [`Engine::key_holder`] and [`Engine::job`].
    pub async fn job_of_key_holder(&self, key: &str, job: JobId) -> Result<JobView, EngineError> {
        let hash = self.may_be_looked_up(key)?;
        if let Some(view) = self.store.job_of_key(job, &hash).await? {
            self.limits.count(Caller::Key(hash))?;
            return Ok(view);
        }
        let holder = self.holder(hash).await?;
        self.job(holder.tenant, job).await
    }

    /// The hash of a key that looks like one, unless there were too many unknown ones.
    fn may_be_looked_up(&self, key: &str) -> Result<[u8; 32], EngineError> {
        let hash = api_key::hash(key).ok_or_else(unknown_key)?;
        self.limits.before(&Caller::Key(hash))?;
        Ok(hash)
    }

    async fn holder(&self, hash: [u8; 32]) -> Result<Identity, EngineError> {
        let caller = Caller::Key(hash);
        let Some(tenant) = self.store.authenticate(&hash).await? else {
            self.limits.forget(&caller);
            return Err(unknown_key());
        };
        self.limits.count(caller)?;
        Ok(Identity { tenant, user: None, may_change: true })
    }

    /// Whose token this is. Counts a request.
    ///
    /// # Errors
    /// [`EngineError::Unauthenticated`] for a token that is not believed, [`EngineError::UnknownUser`] for a user who is
    /// unknown or disabled; [`EngineError::TooManyRequests`], [`EngineError::NoAgency`], [`EngineError::NoKeys`] or
    /// [`EngineError::Store`].
    pub async fn token_holder(&self, token: &str) -> Result<Identity, EngineError> {
        let subject = match self.tokens.subject(token).await {
            Ok(subject) => subject,
            Err(error @ TokenError::NoKeys) => return Err(EngineError::NoKeys(error)),
            Err(error @ (TokenError::Closed | TokenError::Refused(_))) => {
                return Err(self.nobody(error.to_string()));
            }
        };
        let Some(user) = self.store.user(&subject).await?.filter(|user| user.disabled_at.is_none()) else {
            self.limits.stranger()?;
            return Err(EngineError::UnknownUser);
        };
        let tenant = user.tenant_id.ok_or(EngineError::NoAgency)?;
        let identity = Identity { tenant, user: Some(user.subject), may_change: user.role.may_change() };
        self.limits.count(Caller::user(&identity))?;
        Ok(identity)
    }

    /// Somebody who is not known: 401, or a refusal of another kind once there are too many of them.
    fn nobody(&self, why: impl Into<String>) -> EngineError {
        self.limits.stranger().err().unwrap_or_else(|| EngineError::Unauthenticated(why.into()))
    }
}

fn unknown_key() -> EngineError {
    let why = "the API key is unknown or was revoked; ask the operator for another";
    EngineError::Unauthenticated(why.to_owned())
}
