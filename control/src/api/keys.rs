//! API keys of a tenant.

use std::sync::Arc;

use axum::response::Response;
use http::StatusCode;
use laneway_runtime::Problem;
use laneway_store::{ApiKey, NewKey};
use laneway_tenancy::{
    ChangeKind, Grant, Grants, KeyId, Role, TenantScope, Token, TokenKind, new_id,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::page::{Page, PageQuery, time};
use crate::Control;
use crate::caller::Acting;
use crate::error::{ApiError, ApiResult};
use crate::json::{In, Json, Params, answer};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyNew {
    /// Says what it is for: 1 to 100 characters.
    name: String,
    /// What a `viewer`, `developer`, `admin` or `owner` may.
    role: Option<String>,
    /// Of that role only these, or these where no role is given: `stream:read`,
    /// `positions:read`, `location:write`, `devices:read`, `devices:write` and so on, or
    /// `tenant:admin` for all that an admin may but read data and send it.
    #[serde(default)]
    grants: Vec<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyCreated {
    #[schema(value_type = String)]
    pub(crate) id: KeyId,
    name: String,
    role: Option<&'static str>,
    grants: Vec<&'static str>,
    /// The key itself, shown this once.
    key: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyView {
    #[schema(value_type = String)]
    id: KeyId,
    name: String,
    role: Option<&'static str>,
    grants: Vec<&'static str>,
    created_at: String,
}

impl From<ApiKey> for KeyView {
    fn from(key: ApiKey) -> Self {
        KeyView {
            id: key.id,
            name: key.name,
            role: key.role.map(Role::name),
            grants: key.grants.names(),
            created_at: time(key.created_at),
        }
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct KeyPath {
    key: KeyId,
}

#[utoipa::path(post, path = "/keys", tag = "keys", request_body = KeyNew,
    responses((status = 201, body = KeyCreated), (status = 422)))]
pub(crate) async fn create(
    acting: Acting,
    control: Arc<Control>,
    Json(new): Json<KeyNew>,
) -> ApiResult<Response> {
    let scope = acting.may(Grant::KeysWrite)?;
    let (role, grants) = asked(&new)?;
    if !scope.grants().include(grants) {
        return Err(Problem::forbidden("A key gives no more than its maker may.").into());
    }
    Ok(answer(
        StatusCode::CREATED,
        &make(&control, scope, &new.name, role, grants).await?,
    ))
}

#[utoipa::path(get, path = "/keys", tag = "keys", params(PageQuery),
    responses((status = 200, body = Page<KeyView>)))]
pub(crate) async fn list(
    acting: Acting,
    control: Arc<Control>,
    Params(page): Params<PageQuery>,
) -> ApiResult<Response> {
    let scope = acting.may(Grant::KeysRead)?;
    let found = control
        .deps
        .store
        .keys(scope)
        .list(page.after()?, page.limit())
        .await?;
    let items = found.into_iter().map(KeyView::from);
    Ok(Page::answer(items, &page, |k| k.id.to_string()))
}

#[utoipa::path(delete, path = "/keys/{key}", tag = "keys", params(("key" = String, Path)),
    responses((status = 204), (status = 404)))]
pub(crate) async fn remove(
    acting: Acting,
    control: Arc<Control>,
    In(path): In<KeyPath>,
) -> ApiResult<StatusCode> {
    let scope = acting.may(Grant::KeysWrite)?;
    control
        .deps
        .store
        .keys(scope)
        .delete(path.key, control.deps.clock.now_us())
        .await?;
    control
        .deps
        .authenticator
        .forget(scope.tenant(), ChangeKind::Key, &path.key.to_string());
    Ok(StatusCode::NO_CONTENT)
}

/// A key that is yet to be stored.
pub(crate) struct PreparedKey {
    id: KeyId,
    name: String,
    role: Option<Role>,
    grants: Grants,
    token: Token,
    hash: [u8; 32],
}

impl PreparedKey {
    /// With any grants; the caller has checked that it may.
    fn new(
        control: &Control,
        name: &str,
        role: Option<Role>,
        grants: Grants,
        now: i64,
    ) -> ApiResult<Self> {
        if name.trim().is_empty() || name.chars().count() > 100 {
            return Err(ApiError::invalid("name: 1 to 100 characters."));
        }
        let deps = &control.deps;
        let token = Token::generate(TokenKind::Key, &*deps.random);
        Ok(PreparedKey {
            id: KeyId::from_u128(new_id(&*deps.random, now)),
            name: name.to_owned(),
            role,
            grants,
            hash: deps.authenticator.hasher().hash(token.reveal().as_bytes()),
            token,
        })
    }

    pub(crate) fn owner(control: &Control, name: &str, now: i64) -> ApiResult<Self> {
        let role = Role::Owner;
        PreparedKey::new(control, name, Some(role), role.grants(), now)
    }

    pub(crate) fn stored(&self) -> NewKey<'_> {
        NewKey {
            id: self.id,
            name: &self.name,
            role: self.role,
            grants: self.grants,
            token_hash: self.hash,
        }
    }

    pub(crate) fn shown(self) -> KeyCreated {
        KeyCreated {
            id: self.id,
            name: self.name,
            role: self.role.map(Role::name),
            grants: self.grants.names(),
            key: self.token.reveal().to_owned(),
        }
    }
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
    let keys = control.deps.store.keys(scope);
    keys.create(prepared.stored(), now).await?;
    Ok(prepared.shown())
}

/// The role and the grants that are asked for.
fn asked(new: &KeyNew) -> ApiResult<(Option<Role>, Grants)> {
    let role = match &new.role {
        Some(name) => Some(Role::parse(name).ok_or_else(|| {
            ApiError::invalid(format!(
                "role: {name:?} is none; there are viewer, developer, admin, owner."
            ))
        })?),
        None => None,
    };
    let mut grants = Grants::NONE;
    for name in &new.grants {
        let grant = Grants::parse(name).filter(|g| !g.has(Grant::Operator));
        grants = grants.and(grant.ok_or_else(|| {
            let known = Role::Owner.grants().names().join(", ");
            ApiError::invalid(format!(
                "grants: {name:?} is none; there are {known} and tenant:admin."
            ))
        })?);
    }
    match role {
        None if new.grants.is_empty() => Err(ApiError::invalid(
            "grants: at least one, where no role is given.",
        )),
        Some(role) if new.grants.is_empty() => Ok((Some(role), role.grants())),
        Some(role) if !role.grants().include(grants) => Err(ApiError::invalid(format!(
            "grants: more than a {} may.",
            role.name()
        ))),
        role => Ok((role, grants)),
    }
}
