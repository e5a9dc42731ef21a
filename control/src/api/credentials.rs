//! Credentials of a device.

use std::sync::Arc;

use axum::response::Response;
use http::StatusCode;
use laneway_store::{Credential, CredentialKind, NewCredential, NewSecret};
use laneway_tenancy::{
    ChangeKind, CredentialId, DeviceId, Grant, Token, TokenKind, Validity, new_id,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::devices::DevicePath;
use super::page::{micros, time};
use crate::Control;
use crate::caller::Acting;
use crate::error::{ApiError, ApiResult};
use crate::json::{In, Json, answer};

#[derive(Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum CredentialNew {
    /// A bearer token, which the platform makes; it stands beside the others.
    Token(TokenNew),
    /// A password for HTTP basic authentication; it takes the place of those before it when it
    /// begins.
    Password(PasswordNew),
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenNew {
    /// Holds from then on, RFC 3339; at once where it is not said.
    not_before: Option<String>,
    /// Holds until before then.
    expires_at: Option<String>,
    /// When the tokens that the device has end; they stay where it is not said.
    others_end: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasswordNew {
    /// 12 to 256 bytes.
    password: String,
    /// Holds from then on, RFC 3339; at once where it is not said.
    not_before: Option<String>,
    /// Holds until before then.
    expires_at: Option<String>,
    /// When the passwords that the device has end; they end when this one begins where it is not
    /// said. At most four hold at a time.
    others_end: Option<String>,
}

/// When a new credential begins and ends, and when the others do.
struct Times {
    valid: Validity,
    others_end: Option<i64>,
}

impl CredentialNew {
    fn times(&self, now: i64) -> ApiResult<Times> {
        let (not_before, expires_at, others_end) = match self {
            CredentialNew::Token(new) => (&new.not_before, &new.expires_at, &new.others_end),
            CredentialNew::Password(new) => (&new.not_before, &new.expires_at, &new.others_end),
        };
        let valid = Validity {
            not_before: micros("not_before", not_before.as_deref())?,
            expires_at: micros("expires_at", expires_at.as_deref())?,
        };
        let begins = valid.not_before.unwrap_or(now).max(now);
        if valid.ends_at() <= begins {
            return Err(ApiError::invalid(
                "expires_at: it has to be in the future, and after not_before.",
            ));
        }
        let others_end = micros("others_end", others_end.as_deref())?;
        let replaces = matches!(self, CredentialNew::Password(_)).then_some(begins);
        Ok(Times {
            valid,
            others_end: others_end.or(replaces),
        })
    }
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
    not_before: Option<String>,
    expires_at: Option<String>,
    /// Within some minutes.
    last_used_at: Option<String>,
}

impl From<Credential> for CredentialView {
    fn from(credential: Credential) -> Self {
        CredentialView {
            id: credential.id,
            kind: kind_name(credential.kind),
            created_at: time(credential.created_at),
            not_before: credential.valid.not_before.map(time),
            expires_at: credential.valid.expires_at.map(time),
            last_used_at: credential.last_used_at.map(time),
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
    let times = new.times(now)?;
    let (secret, token, login) = match new {
        CredentialNew::Token(_) => {
            let token = Token::generate(TokenKind::Device, &*deps.random);
            let hash = deps.authenticator.hasher().hash(token.reveal().as_bytes());
            (
                NewSecret::Token(hash),
                Some(token.reveal().to_owned()),
                None,
            )
        }
        CredentialNew::Password(PasswordNew { password, .. }) => {
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
    let new = NewCredential {
        id,
        secret,
        valid: times.valid,
        others_end: times.others_end,
    };
    let created = deps
        .store
        .credentials(scope)
        .add(&path.device, new, now)
        .await?;
    if times.others_end.is_some() {
        // Those before it end, now or later.
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
