//! API keys of a tenant.

pub(crate) mod make;
pub(crate) mod rotate;

use std::sync::Arc;

use axum::response::Response;
use http::StatusCode;
use laneway_store::{ApiKey, KeyChange};
use laneway_tenancy::{AccountId, ChangeKind, Grant, KeyId, Role, TenantScope};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::page::{Page, PageQuery, ahead, time};
use crate::Control;
use crate::caller::{Acting, gives};
use crate::error::{ApiError, ApiResult};
use crate::json::{IfMatch, In, Json, Params, answer, answer_tagged};
use make::check_name;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyNew {
    /// Says what it is for: 1 to 100 characters.
    name: String,
    /// The service account that it belongs to: it may do no more than that, and where neither a
    /// role nor grants are given, as much.
    #[schema(value_type = Option<String>)]
    account: Option<AccountId>,
    /// What a `viewer`, `developer`, `admin` or `owner` may.
    role: Option<String>,
    /// Of that role only these, or these where no role is given: `stream:read`,
    /// `positions:read`, `location:write`, `devices:read`, `devices:write` and so on, or
    /// `tenant:admin` for all that an admin may but read data and send it.
    #[serde(default)]
    grants: Vec<String>,
    /// Holds until before then, RFC 3339. Where the tenant has the option `key_lifetime_seconds`,
    /// it holds for so long at most, and for so long where this is not said.
    expires_at: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyCreated {
    #[schema(value_type = String)]
    pub(crate) id: KeyId,
    name: String,
    #[schema(value_type = Option<String>)]
    account: Option<AccountId>,
    role: Option<&'static str>,
    grants: Vec<&'static str>,
    expires_at: Option<String>,
    /// Until when the secret before this one holds too.
    #[serde(skip_serializing_if = "Option::is_none")]
    former_until: Option<String>,
    /// The key itself, shown this once.
    key: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyView {
    #[schema(value_type = String)]
    id: KeyId,
    name: String,
    /// The service account that it belongs to.
    #[schema(value_type = Option<String>)]
    account: Option<AccountId>,
    role: Option<&'static str>,
    grants: Vec<&'static str>,
    created_at: String,
    expires_at: Option<String>,
    /// Until when the secret that it had before its last rotation holds too.
    former_until: Option<String>,
    /// Within some minutes.
    last_used_at: Option<String>,
}

impl From<ApiKey> for KeyView {
    fn from(key: ApiKey) -> Self {
        KeyView {
            id: key.id,
            name: key.name,
            account: key.account,
            role: key.role.map(Role::name),
            grants: key.grants.names(),
            created_at: time(key.created_at),
            expires_at: key.expires_at.map(time),
            former_until: key.former_until.map(time),
            last_used_at: key.last_used_at.map(time),
        }
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct KeyPath {
    key: KeyId,
}

#[utoipa::path(post, path = "/keys", tag = "keys", request_body = KeyNew,
    responses((status = 201, body = KeyCreated),
        (status = 403, description = "The role does not allow it (`forbidden`), or there are as many people as there may be (`limit-reached`)"),
        (status = 409, description = "It would hold longer than the tenant's keys may, or do more than its account"), (status = 422)))]
pub(crate) async fn create(
    acting: Acting,
    control: Arc<Control>,
    Json(new): Json<KeyNew>,
) -> ApiResult<Response> {
    let scope = acting.may(Grant::KeysWrite)?;
    let (role, grants) = match new.account {
        Some(account) if new.role.is_none() && new.grants.is_empty() => {
            let accounts = control.deps.store.service_accounts(scope);
            let found = accounts.find(account).await?.ok_or_else(no_account)?;
            (found.role, found.grants)
        }
        _ => make::asked(new.role.as_deref(), &new.grants)?,
    };
    gives(scope, grants, "A key")?;
    let now = control.deps.clock.now_us();
    let prepared = make::PreparedKey::new(&control, &new.name, role, grants, now)?
        .of(new.account)
        .until(ahead("expires_at", new.expires_at.as_deref(), now)?);
    let made = make::store(&control, scope, prepared, now).await;
    Ok(answer(StatusCode::CREATED, &made?))
}

fn no_account() -> ApiError {
    ApiError::invalid("account: there is no such service account.")
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

#[utoipa::path(get, path = "/keys/{key}", tag = "keys", params(("key" = String, Path)),
    responses((status = 200, body = KeyView), (status = 404)))]
pub(crate) async fn find(
    acting: Acting,
    control: Arc<Control>,
    In(path): In<KeyPath>,
) -> ApiResult<Response> {
    let scope = acting.may(Grant::KeysRead)?;
    let found = found(&control, scope, path.key).await?;
    Ok(shown(found))
}

fn shown(key: ApiKey) -> Response {
    let version = key.version;
    answer_tagged(StatusCode::OK, &KeyView::from(key), version)
}

async fn found(control: &Control, scope: &TenantScope, id: KeyId) -> ApiResult<ApiKey> {
    let found = control.deps.store.keys(scope).find(id).await?;
    found.ok_or_else(ApiError::not_found)
}

/// What is not said stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyPatch {
    /// 1 to 100 characters.
    name: Option<String>,
    /// As when it is made.
    expires_at: Option<String>,
}

#[utoipa::path(patch, path = "/keys/{key}", tag = "keys", request_body = KeyPatch,
    params(("key" = String, Path), ("If-Match" = Option<String>, Header, description = "The ETag that it was read with")),
    responses((status = 200, body = KeyView), (status = 403, description = "The key may more than the caller"),
        (status = 404), (status = 409, description = "It would hold longer than the tenant's keys may"),
        (status = 412, description = "It has changed meanwhile"), (status = 422)))]
pub(crate) async fn change(
    acting: Acting,
    control: Arc<Control>,
    In(path): In<KeyPath>,
    IfMatch(expected): IfMatch,
    Json(patch): Json<KeyPatch>,
) -> ApiResult<Response> {
    let scope = acting.may(Grant::KeysWrite)?;
    let deps = &control.deps;
    let now = deps.clock.now_us();
    if let Some(name) = &patch.name {
        check_name(name)?;
    }
    let change = KeyChange {
        name: patch.name,
        expires_at: ahead("expires_at", patch.expires_at.as_deref(), now)?,
    };
    let known = found(&control, scope, path.key).await?;
    gives(scope, known.grants, "A key")?;
    let keys = deps.store.keys(scope);
    let changed = keys.change(path.key, expected, change, now).await?;
    forget(&control, scope, path.key);
    Ok(shown(changed))
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
    forget(&control, scope, path.key);
    Ok(StatusCode::NO_CONTENT)
}

/// The same of several.
pub(super) fn forget_all(control: &Control, scope: &TenantScope, keys: &[KeyId]) {
    for key in keys {
        forget(control, scope, *key);
    }
}

/// Elsewhere when the news comes, here at once.
fn forget(control: &Control, scope: &TenantScope, key: KeyId) {
    let authenticator = &control.deps.authenticator;
    authenticator.forget(scope.tenant(), ChangeKind::Key, &key.to_string());
}
