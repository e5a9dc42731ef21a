//! Credentials of a device.

use std::sync::Arc;

use axum::response::Response;
use http::StatusCode;
use laneway_store::{Credential, CredentialKind, NewSecret};
use laneway_tenancy::{ChangeKind, CredentialId, DeviceId, Grant, Token, TokenKind, new_id};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::devices::DevicePath;
use super::page::time;
use crate::Control;
use crate::caller::Acting;
use crate::error::{ApiError, ApiResult};
use crate::json::{In, Json, answer};

#[derive(Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum CredentialNew {
    /// A bearer token, which the platform makes.
    Token {},
    /// A password for HTTP basic authentication; it takes the place of the one before.
    Password {
        /// 12 to 256 bytes.
        password: String,
    },
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CredentialCreated {
    #[schema(value_type = String)]
    id: CredentialId,
    kind: &'static str,
    /// The token itself, shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    /// The user name of HTTP basic authentication, `device@tenant`.
    #[serde(skip_serializing_if = "Option::is_none")]
    login: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CredentialView {
    #[schema(value_type = String)]
    id: CredentialId,
    kind: &'static str,
    created_at: String,
}

impl From<Credential> for CredentialView {
    fn from(credential: Credential) -> Self {
        CredentialView {
            id: credential.id,
            kind: kind_name(credential.kind),
            created_at: time(credential.created_at),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CredentialList {
    items: Vec<CredentialView>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct CredentialPath {
    device: DeviceId,
    credential: CredentialId,
}

#[utoipa::path(post, path = "/devices/{device}/credentials", tag = "devices", request_body = CredentialNew,
    params(("device" = String, Path)), responses((status = 201, body = CredentialCreated), (status = 404), (status = 422)))]
pub(crate) async fn create(
    acting: Acting,
    control: Arc<Control>,
    In(path): In<DevicePath>,
    Json(new): Json<CredentialNew>,
) -> ApiResult<Response> {
    let scope = acting.may(Grant::DevicesWrite)?;
    let deps = &control.deps;
    let now = deps.clock.now_us();
    let id = CredentialId::from_u128(new_id(&*deps.random, now));
    let (secret, token, login) = match new {
        CredentialNew::Token {} => {
            let token = Token::generate(TokenKind::Device, &*deps.random);
            let hash = deps.authenticator.hasher().hash(token.reveal().as_bytes());
            (
                NewSecret::Token(hash),
                Some(token.reveal().to_owned()),
                None,
            )
        }
        CredentialNew::Password { password } => {
            let hash = deps
                .authenticator
                .passwords()
                .hash(password, &*deps.random)
                .await?;
            (
                NewSecret::Password(hash),
                None,
                Some(format!("{}@{}", path.device, acting.slug)),
            )
        }
    };
    let created = deps
        .store
        .credentials(scope)
        .create(id, &path.device, secret, now)
        .await?;
    if created.kind == CredentialKind::Password {
        // The password before it ends now.
        deps.authenticator
            .forget(scope.tenant(), ChangeKind::Device, path.device.as_str());
    }
    Ok(answer(
        StatusCode::CREATED,
        &CredentialCreated {
            id: created.id,
            kind: kind_name(created.kind),
            token,
            login,
        },
    ))
}

#[utoipa::path(get, path = "/devices/{device}/credentials", tag = "devices", params(("device" = String, Path)),
    responses((status = 200, body = CredentialList), (status = 404)))]
pub(crate) async fn list(
    acting: Acting,
    control: Arc<Control>,
    In(path): In<DevicePath>,
) -> ApiResult<Response> {
    let scope = acting.may(Grant::DevicesRead)?;
    let store = &control.deps.store;
    store
        .devices(scope)
        .find(&path.device)
        .await?
        .ok_or_else(ApiError::not_found)?;
    let found = store.credentials(scope).of_device(&path.device).await?;
    Ok(answer(
        StatusCode::OK,
        &CredentialList {
            items: found.into_iter().map(CredentialView::from).collect(),
        },
    ))
}

#[utoipa::path(delete, path = "/devices/{device}/credentials/{credential}", tag = "devices",
    params(("device" = String, Path), ("credential" = String, Path)),
    responses((status = 204, description = "Revoked"), (status = 404)))]
pub(crate) async fn remove(
    acting: Acting,
    control: Arc<Control>,
    In(path): In<CredentialPath>,
) -> ApiResult<StatusCode> {
    let scope = acting.may(Grant::DevicesWrite)?;
    let deps = &control.deps;
    deps.store
        .credentials(scope)
        .delete(&path.device, path.credential, deps.clock.now_us())
        .await?;
    deps.authenticator.forget(
        scope.tenant(),
        ChangeKind::Credential,
        &path.credential.to_string(),
    );
    Ok(StatusCode::NO_CONTENT)
}

fn kind_name(kind: CredentialKind) -> &'static str {
    match kind {
        CredentialKind::Token => "token",
        CredentialKind::Password => "password",
    }
}
