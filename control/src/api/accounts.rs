//! Service accounts of a tenant: owners of keys that are no persons.

use std::sync::Arc;

use axum::response::Response;
use http::StatusCode;
use laneway_store::{AccountChange, NewAccount, ServiceAccount};
use laneway_tenancy::{AccountId, Grant, Grants, Role, TenantScope, new_id};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::keys::make::{asked, check_name};
use super::page::{Page, PageQuery, time};
use crate::Control;
use crate::caller::{Acting, gives};
use crate::error::{ApiError, ApiResult};
use crate::json::{IfMatch, In, Json, Params, answer_tagged};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccountNew {
    /// Says what it is for: 1 to 100 characters.
    name: String,
    /// What a `viewer`, `developer`, `admin` or `owner` may.
    role: Option<String>,
    /// Of that role only these, or these where no role is given.
    #[serde(default)]
    grants: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AccountState {
    Active,
    /// Its keys are refused.
    Disabled,
}

/// What is not said stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccountPatch {
    name: Option<String>,
    /// Takes the place of its role and grants, as do `grants`.
    role: Option<String>,
    grants: Option<Vec<String>>,
    state: Option<AccountState>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AccountView {
    #[schema(value_type = String)]
    id: AccountId,
    name: String,
    role: Option<&'static str>,
    /// Its keys may do no more, whatever theirs are.
    grants: Vec<&'static str>,
    state: AccountState,
    created_at: String,
}

impl From<ServiceAccount> for AccountView {
    fn from(account: ServiceAccount) -> Self {
        AccountView {
            id: account.id,
            name: account.name,
            role: account.role.map(Role::name),
            grants: account.grants.names(),
            state: if account.disabled {
                AccountState::Disabled
            } else {
                AccountState::Active
            },
            created_at: time(account.created_at),
        }
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct AccountPath {
    account: AccountId,
}

fn shown(status: StatusCode, account: ServiceAccount) -> Response {
    let version = account.version;
    answer_tagged(status, &AccountView::from(account), version)
}

async fn found(control: &Control, scope: &TenantScope, id: AccountId) -> ApiResult<ServiceAccount> {
    let found = control.deps.store.service_accounts(scope).find(id).await?;
    found.ok_or_else(ApiError::not_found)
}

#[utoipa::path(post, path = "/service-accounts", tag = "keys", request_body = AccountNew,
    responses((status = 201, body = AccountView), (status = 403, description = "It would give more than the caller may"),
        (status = 409, description = "The tenant has as many as it may"), (status = 422)))]
pub(crate) async fn create(
    acting: Acting,
    control: Arc<Control>,
    Json(new): Json<AccountNew>,
) -> ApiResult<Response> {
    let scope = acting.may(Grant::KeysWrite)?;
    check_name(&new.name)?;
    let (role, grants) = asked(new.role.as_deref(), &new.grants)?;
    gives(scope, grants, "A service account")?;
    let deps = &control.deps;
    let now = deps.clock.now_us();
    let new = NewAccount {
        id: AccountId::from_u128(new_id(&*deps.random, now)),
        name: new.name,
        role,
        grants,
    };
    let created = deps.store.service_accounts(scope).create(new, now).await?;
    Ok(shown(StatusCode::CREATED, created))
}

#[utoipa::path(get, path = "/service-accounts", tag = "keys", params(PageQuery),
    responses((status = 200, body = Page<AccountView>)))]
pub(crate) async fn list(
    acting: Acting,
    control: Arc<Control>,
    Params(page): Params<PageQuery>,
) -> ApiResult<Response> {
    let scope = acting.may(Grant::KeysRead)?;
    let accounts = control.deps.store.service_accounts(scope);
    let found = accounts.list(page.after()?, page.limit()).await?;
    let items = found.into_iter().map(AccountView::from);
    Ok(Page::answer(items, &page, |account| account.id.to_string()))
}

#[utoipa::path(get, path = "/service-accounts/{account}", tag = "keys", params(("account" = String, Path)),
    responses((status = 200, body = AccountView), (status = 404)))]
pub(crate) async fn find(
    acting: Acting,
    control: Arc<Control>,
    In(path): In<AccountPath>,
) -> ApiResult<Response> {
    let scope = acting.may(Grant::KeysRead)?;
    let account = found(&control, scope, path.account).await?;
    Ok(shown(StatusCode::OK, account))
}

#[utoipa::path(patch, path = "/service-accounts/{account}", tag = "keys", request_body = AccountPatch,
    params(("account" = String, Path), ("If-Match" = Option<String>, Header, description = "The ETag that it was read with")),
    responses((status = 200, description = "What its keys may do has changed with it", body = AccountView),
        (status = 403, description = "It may more than the caller, or would"), (status = 404),
        (status = 412, description = "It has changed meanwhile"), (status = 422)))]
pub(crate) async fn change(
    acting: Acting,
    control: Arc<Control>,
    In(path): In<AccountPath>,
    IfMatch(expected): IfMatch,
    Json(patch): Json<AccountPatch>,
) -> ApiResult<Response> {
    let scope = acting.may(Grant::KeysWrite)?;
    if let Some(name) = &patch.name {
        check_name(name)?;
    }
    let rights = rights(&patch)?;
    let known = found(&control, scope, path.account).await?;
    if let Some((_, grants)) = rights {
        gives(scope, grants, "A service account")?;
    }
    // What it has comes to life again.
    let enabled = patch.state == Some(AccountState::Active) && known.disabled;
    if enabled {
        let grants = rights.map_or(known.grants, |(_, grants)| grants);
        gives(scope, grants, "A service account")?;
    }
    let change = AccountChange {
        name: patch.name,
        rights,
        disabled: patch.state.map(|state| state == AccountState::Disabled),
    };
    // Nothing has come between what was judged and what is changed.
    let expected = expected.or(enabled.then_some(known.version));
    let deps = &control.deps;
    let accounts = deps.store.service_accounts(scope);
    let now = deps.clock.now_us();
    let (changed, keys) = accounts.change(path.account, expected, change, now).await?;
    super::keys::forget_all(&control, scope, &keys);
    Ok(shown(StatusCode::OK, changed))
}

/// The role and the grants that take the place of those before, where any are given.
fn rights(patch: &AccountPatch) -> ApiResult<Option<(Option<Role>, Grants)>> {
    if patch.role.is_none() && patch.grants.is_none() {
        return Ok(None);
    }
    let grants = patch.grants.as_deref().unwrap_or_default();
    asked(patch.role.as_deref(), grants).map(Some)
}

#[utoipa::path(delete, path = "/service-accounts/{account}", tag = "keys", params(("account" = String, Path)),
    responses((status = 204, description = "Gone, with its keys"), (status = 404)))]
pub(crate) async fn remove(
    acting: Acting,
    control: Arc<Control>,
    In(path): In<AccountPath>,
) -> ApiResult<StatusCode> {
    let scope = acting.may(Grant::KeysWrite)?;
    let deps = &control.deps;
    let accounts = deps.store.service_accounts(scope);
    let keys = accounts.delete(path.account, deps.clock.now_us()).await?;
    super::keys::forget_all(&control, scope, &keys);
    Ok(StatusCode::NO_CONTENT)
}
