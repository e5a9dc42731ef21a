//! New keys: what they may do, and their secrets.

use laneway_store::NewKey;
use laneway_tenancy::options::Options;
use laneway_tenancy::{
    AccountId, Grant, Grants, KeyId, Role, TenantScope, Token, TokenKind, new_id,
};

use super::KeyCreated;
use crate::Control;
use crate::api::page::time;
use crate::error::{ApiError, ApiResult};

/// The role and the grants that are asked for by name.
pub(crate) fn asked(role: Option<&str>, names: &[String]) -> ApiResult<(Option<Role>, Grants)> {
    let role = match role {
        Some(name) => Some(Role::parse(name).ok_or_else(|| {
            ApiError::invalid(format!(
                "role: {name:?} is none; there are viewer, developer, admin, owner."
            ))
        })?),
        None => None,
    };
    let mut grants = Grants::NONE;
    for name in names {
        let grant = Grants::parse(name).filter(|g| !g.has(Grant::Operator));
        grants = grants.and(grant.ok_or_else(|| {
            let known = Role::Owner.grants().names().join(", ");
            ApiError::invalid(format!(
                "grants: {name:?} is none; there are {known} and tenant:admin."
            ))
        })?);
    }
    match role {
        None if names.is_empty() => Err(ApiError::invalid(
            "grants: at least one, where no role is given.",
        )),
        Some(role) if names.is_empty() => Ok((Some(role), role.grants())),
        Some(role) if !role.grants().include(grants) => Err(ApiError::invalid(format!(
            "grants: more than a {} may.",
            role.name()
        ))),
        role => Ok((role, grants)),
    }
}

/// A name of a key or an account: 1 to 100 characters.
pub(crate) fn check_name(name: &str) -> ApiResult<()> {
    if name.trim().is_empty() || name.chars().count() > 100 {
        return Err(ApiError::invalid("name: 1 to 100 characters."));
    }
    Ok(())
}

/// A new secret, and the hash under which it is stored.
pub(super) fn secret(control: &Control) -> (Token, [u8; 32]) {
    let deps = &control.deps;
    let token = Token::generate(TokenKind::Key, &*deps.random);
    let hash = deps.authenticator.hasher().hash(token.reveal().as_bytes());
    (token, hash)
}

/// A key that is yet to be stored.
pub(crate) struct PreparedKey {
    id: KeyId,
    name: String,
    account: Option<AccountId>,
    role: Option<Role>,
    grants: Grants,
    expires_at: Option<i64>,
    token: Token,
    hash: [u8; 32],
}

impl PreparedKey {
    /// With any grants; the caller has checked that it may.
    pub(super) fn new(
        control: &Control,
        name: &str,
        role: Option<Role>,
        grants: Grants,
        now: i64,
    ) -> ApiResult<Self> {
        check_name(name)?;
        let (token, hash) = secret(control);
        Ok(PreparedKey {
            id: KeyId::from_u128(new_id(&*control.deps.random, now)),
            name: name.to_owned(),
            account: None,
            role,
            grants,
            expires_at: None,
            hash,
            token,
        })
    }

    /// The first of a tenant with these options.
    pub(crate) fn owner(
        control: &Control,
        name: &str,
        options: &Options,
        now: i64,
    ) -> ApiResult<Self> {
        let role = Role::Owner;
        let key = PreparedKey::new(control, name, Some(role), role.grants(), now)?;
        Ok(key.until(options.key_ends(now)))
    }

    pub(super) fn of(self, account: Option<AccountId>) -> Self {
        PreparedKey { account, ..self }
    }

    pub(super) fn until(self, expires_at: Option<i64>) -> Self {
        PreparedKey { expires_at, ..self }
    }

    pub(crate) fn stored(&self) -> NewKey<'_> {
        NewKey {
            id: self.id,
            name: &self.name,
            account: self.account,
            role: self.role,
            grants: self.grants,
            token_hash: self.hash,
            expires_at: self.expires_at,
        }
    }

    pub(crate) fn shown(self) -> KeyCreated {
        KeyCreated {
            id: self.id,
            name: self.name,
            account: self.account,
            role: self.role.map(Role::name),
            grants: self.grants.names(),
            expires_at: self.expires_at.map(time),
            former_until: None,
            key: self.token.reveal().to_owned(),
        }
    }
}

pub(super) async fn store(
    control: &Control,
    scope: &TenantScope,
    prepared: PreparedKey,
    now: i64,
) -> ApiResult<KeyCreated> {
    let keys = control.deps.store.keys(scope);
    let stored = keys.create(prepared.stored(), now).await?;
    Ok(prepared.until(stored.expires_at).shown())
}

/// Makes a key with any grants; the caller has checked that it may.
pub(crate) async fn make(
    control: &Control,
    scope: &TenantScope,
    name: &str,
    role: Option<Role>,
    grants: Grants,
) -> ApiResult<KeyCreated> {
    let now = control.deps.clock.now_us();
    let prepared = PreparedKey::new(control, name, role, grants, now)?;
    store(control, scope, prepared, now).await
}
