//! Provisioning keys, with which devices enrol themselves.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::response::Response;
use http::StatusCode;
use laneway_store::{ProvisioningKey, ProvisioningTerms};
use laneway_tenancy::{DeviceDetails, Grant, ProvisioningKeyId, Token, TokenKind, new_id};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::page::{Page, PageQuery, micros, time};
use crate::Control;
use crate::caller::Acting;
use crate::error::{ApiError, ApiResult};
use crate::json::{In, Json, Params, answer};

/// Longest pattern, in bytes.
const MAX_PATTERN: usize = 100;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProvisioningKeyNew {
    /// Says what it is for: 1 to 100 characters.
    name: String,
    /// What the ids of its devices look like; each `*` stands for any characters. All where it
    /// is not said.
    pattern: Option<String>,
    /// Group of the devices that come in with it.
    #[serde(default)]
    group: String,
    /// Labels of the devices that come in with it.
    #[serde(default)]
    labels: BTreeMap<String, String>,
    /// Lets in so many devices; 0 for any number.
    #[serde(default)]
    max_uses: u32,
    /// Lets nobody in from then on, RFC 3339.
    expires_at: Option<String>,
}

impl ProvisioningKeyNew {
    fn terms(self, now: i64) -> ApiResult<ProvisioningTerms> {
        if self.name.trim().is_empty() || self.name.chars().count() > 100 {
            return Err(ApiError::invalid("name: 1 to 100 characters."));
        }
        let pattern = self.pattern.unwrap_or_else(|| "*".to_owned());
        if pattern.is_empty() || pattern.len() > MAX_PATTERN {
            return Err(ApiError::invalid(format!(
                "pattern: 1 to {MAX_PATTERN} bytes."
            )));
        }
        let details = DeviceDetails {
            name: String::new(),
            group: self.group,
            labels: self.labels,
        };
        details
            .check()
            .map_err(|e| ApiError::invalid(format!("{e}.")))?;
        let expires_at = micros("expires_at", self.expires_at.as_deref())?;
        if expires_at.is_some_and(|at| at <= now) {
            return Err(ApiError::invalid("expires_at: it is in the past."));
        }
        Ok(ProvisioningTerms {
            name: self.name,
            pattern,
            details,
            max_uses: self.max_uses.into(),
            expires_at,
        })
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProvisioningKeyView {
    #[schema(value_type = String)]
    id: ProvisioningKeyId,
    name: String,
    pattern: String,
    group: String,
    labels: BTreeMap<String, String>,
    max_uses: u64,
    /// Devices that came in with it.
    uses: u64,
    expires_at: Option<String>,
    created_at: String,
}

impl From<ProvisioningKey> for ProvisioningKeyView {
    fn from(key: ProvisioningKey) -> Self {
        ProvisioningKeyView {
            id: key.id,
            name: key.terms.name,
            pattern: key.terms.pattern,
            group: key.terms.details.group,
            labels: key.terms.details.labels,
            max_uses: key.terms.max_uses,
            uses: key.uses,
            expires_at: key.terms.expires_at.map(time),
            created_at: time(key.created_at),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProvisioningKeyCreated {
    #[serde(flatten)]
    view: ProvisioningKeyView,
    /// The key itself, shown this once.
    key: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ProvisioningKeyPath {
    provisioning_key: ProvisioningKeyId,
}

#[utoipa::path(post, path = "/provisioning-keys", tag = "devices", request_body = ProvisioningKeyNew,
    responses((status = 201, body = ProvisioningKeyCreated), (status = 422)))]
pub(crate) async fn create(
    acting: Acting,
    control: Arc<Control>,
    Json(new): Json<ProvisioningKeyNew>,
) -> ApiResult<Response> {
    let scope = acting.may(Grant::DevicesWrite)?;
    let deps = &control.deps;
    let now = deps.clock.now_us();
    let terms = new.terms(now)?;
    let token = Token::generate(TokenKind::Provisioning, &*deps.random);
    let hash = deps.authenticator.hasher().hash(token.reveal().as_bytes());
    let id = ProvisioningKeyId::from_u128(new_id(&*deps.random, now));
    let created = deps
        .store
        .provisioning_keys(scope)
        .create(id, terms, hash, now)
        .await?;
    Ok(answer(
        StatusCode::CREATED,
        &ProvisioningKeyCreated {
            view: created.into(),
            key: token.reveal().to_owned(),
        },
    ))
}

#[utoipa::path(get, path = "/provisioning-keys", tag = "devices", params(PageQuery),
    responses((status = 200, body = Page<ProvisioningKeyView>)))]
pub(crate) async fn list(
    acting: Acting,
    control: Arc<Control>,
    Params(page): Params<PageQuery>,
) -> ApiResult<Response> {
    let scope = acting.may(Grant::DevicesRead)?;
    let found = control
        .deps
        .store
        .provisioning_keys(scope)
        .list(page.after()?, page.limit())
        .await?;
    let items = found.into_iter().map(ProvisioningKeyView::from);
    Ok(Page::answer(items, &page, |k| k.id.to_string()))
}

#[utoipa::path(delete, path = "/provisioning-keys/{provisioning_key}", tag = "devices", params(("provisioning_key" = String, Path)),
    responses((status = 204, description = "It lets nobody in any more; the devices that came in stay"), (status = 404)))]
pub(crate) async fn remove(
    acting: Acting,
    control: Arc<Control>,
    In(path): In<ProvisioningKeyPath>,
) -> ApiResult<StatusCode> {
    let scope = acting.may(Grant::DevicesWrite)?;
    control
        .deps
        .store
        .provisioning_keys(scope)
        .delete(path.provisioning_key, control.deps.clock.now_us())
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
