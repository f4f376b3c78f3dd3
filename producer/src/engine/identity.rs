//! Who calls: an API key, or a user behind a token.

use super::{Engine, EngineError};
use crate::auth::TokenError;
use common::ids::TenantId;

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
    /// Who has the API key with this hash.
    ///
    /// # Errors
    /// [`EngineError::Unauthenticated`] or [`EngineError::Store`].
    pub async fn key_holder(&self, hash: &[u8; 32]) -> Result<Identity, EngineError> {
        let tenant = self.store.authenticate(hash).await?.ok_or_else(|| {
            EngineError::Unauthenticated(
                "the API key is unknown or was revoked; ask the operator for another".to_owned(),
            )
        })?;
        Ok(Identity { tenant, user: None, may_change: true })
    }

    /// Whose token this is.
    ///
    /// # Errors
    /// [`EngineError::Unauthenticated`] for a token that is not believed and for a user who is unknown or disabled;
    /// [`EngineError::NoAgency`], [`EngineError::NoKeys`] or [`EngineError::Store`].
    pub async fn token_holder(&self, token: &str) -> Result<Identity, EngineError> {
        let subject = self.tokens.subject(token).await.map_err(|error| match error {
            TokenError::Closed | TokenError::Refused(_) => EngineError::Unauthenticated(error.to_string()),
            TokenError::NoKeys => EngineError::NoKeys(error),
        })?;
        let user = self.store.user(&subject).await?.filter(|user| user.disabled_at.is_none());
        let user = user.ok_or_else(|| {
            EngineError::Unauthenticated(
                "the token is of a user who is unknown here, or disabled; ask the operator".to_owned(),
            )
        })?;
        let tenant = user.tenant_id.ok_or(EngineError::NoAgency)?;
        Ok(Identity { tenant, user: Some(user.subject), may_change: user.role.may_change() })
    }
}
