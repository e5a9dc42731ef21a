//! A namespace's own values by name: `/config/{key}`.

use std::sync::Arc;

use axum::response::Response;
use http::StatusCode;
use laneway_store::{ConfigEntry, MOST_CONFIG_ENTRIES};
use laneway_tenancy::Grant;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::page::{Page, PageQuery, time};
use crate::Control;
use crate::caller::Acting;
use crate::error::{ApiError, ApiResult};
use crate::json::{IfMatch, In, Json, Params, answer_tagged};

/// Largest value, in bytes of JSON.
const MOST_BYTES: usize = 16 * 1024;

#[derive(Debug, Deserialize)]
pub(crate) struct ConfigPath {
    key: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConfigView {
    key: String,
    #[schema(value_type = Object)]
    value: Value,
    updated_at: String,
}

impl From<ConfigEntry> for ConfigView {
    fn from(entry: ConfigEntry) -> Self {
        ConfigView {
            key: entry.key,
            value: entry.value,
            updated_at: time(entry.updated_at),
        }
    }
}

#[utoipa::path(get, path = "/config", tag = "config", params(PageQuery),
    responses((status = 200, body = Page<ConfigView>)))]
pub(crate) async fn list(
    acting: Acting,
    control: Arc<Control>,
    Params(page): Params<PageQuery>,
) -> ApiResult<Response> {
    let scope = acting.may(Grant::TenantRead)?;
    let after: Option<String> = page.after()?;
    let config = control.deps.store.config(scope);
    let found = config.list(after.as_deref(), page.limit()).await?;
    let items = found.into_iter().map(ConfigView::from);
    Ok(Page::answer(items, &page, |c| c.key.clone()))
}

#[utoipa::path(get, path = "/config/{key}", tag = "config", params(("key" = String, Path)),
    responses((status = 200, body = ConfigView), (status = 404)))]
pub(crate) async fn find(
    acting: Acting,
    control: Arc<Control>,
    In(path): In<ConfigPath>,
) -> ApiResult<Response> {
    let scope = acting.may(Grant::TenantRead)?;
    let found = control.deps.store.config(scope).find(&path.key).await?;
    Ok(shown(
        StatusCode::OK,
        found.ok_or_else(ApiError::not_found)?,
    ))
}

#[utoipa::path(put, path = "/config/{key}", tag = "config", request_body = Object,
    params(("key" = String, Path, description = "1 to 100 of A–Z a–z 0–9 . _ : - beginning with a letter or a digit"),
        ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = ConfigView, description = "Any JSON of at most 16 KiB"),
        (status = 403, description = "As many values as there may be"), (status = 412), (status = 422)))]
pub(crate) async fn set(
    acting: Acting,
    control: Arc<Control>,
    In(path): In<ConfigPath>,
    IfMatch(expected): IfMatch,
    Json(value): Json<Value>,
) -> ApiResult<Response> {
    let scope = acting.may(Grant::TenantWrite)?;
    if !is_key(&path.key) {
        return Err(ApiError::invalid(
            "key: 1 to 100 of A–Z a–z 0–9 . _ : - beginning with a letter or a digit.",
        ));
    }
    if value.to_string().len() > MOST_BYTES {
        return Err(ApiError::invalid(format!(
            "A value has at most {MOST_BYTES} bytes; there may be {MOST_CONFIG_ENTRIES} of them."
        )));
    }
    let now = control.deps.clock.now_us();
    let config = control.deps.store.config(scope);
    let entry = config.set(&path.key, value, expected, now).await?;
    Ok(shown(StatusCode::OK, entry))
}

#[utoipa::path(delete, path = "/config/{key}", tag = "config", params(("key" = String, Path)),
    responses((status = 204), (status = 404)))]
pub(crate) async fn remove(
    acting: Acting,
    control: Arc<Control>,
    In(path): In<ConfigPath>,
) -> ApiResult<StatusCode> {
    let scope = acting.may(Grant::TenantWrite)?;
    let now = control.deps.clock.now_us();
    control
        .deps
        .store
        .config(scope)
        .delete(&path.key, now)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

fn is_key(text: &str) -> bool {
    (1..=100).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-'))
}

fn shown(status: StatusCode, entry: ConfigEntry) -> Response {
    let version = entry.version;
    answer_tagged(status, &ConfigView::from(entry), version)
}
