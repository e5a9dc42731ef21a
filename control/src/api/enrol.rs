//! Devices that enrol themselves.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::response::Response;
use http::request::Parts;
use http::{StatusCode, header};
use laneway_directory::Chain;
use laneway_runtime::Problem;
use laneway_runtime::http::Peer;
use laneway_store::{Enrolled, Enrolment, NewDevice, NewToken, NotEnrolled, StoreError};
use laneway_tenancy::details::{DeviceDetails, check_labels};
use laneway_tenancy::options::Options;
use laneway_tenancy::{
    AuthError, ChangeKind, CredentialId, DeviceId, Grant, ProvisioningSecret, Token, TokenKind,
    new_id,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Control;
use crate::caller::{Acting, App};
use crate::error::{ApiError, ApiResult};
use crate::json::{Json, answer};
use crate::trail;

/// Who asks to be let in.
pub(crate) struct Newcomer {
    by: By,
    address: Option<IpAddr>,
}

enum By {
    /// What may be a provisioning key, as far as can be told before the store is asked.
    Key(ProvisioningSecret),
    /// Where authentication is off.
    Anyone(Acting),
}

impl FromRequestParts<App> for Newcomer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> ApiResult<Self> {
        let address = parts.extensions.get::<Peer>().and_then(|p| p.address);
        let authenticator = &app.control()?.deps.authenticator;
        let by = if authenticator.is_off() {
            By::Anyone(Acting::from_request_parts(parts, app).await?)
        } else {
            let authorization = parts.headers.get(header::AUTHORIZATION);
            let secret = authorization.map(|value| value.as_bytes());
            By::Key(authenticator.provisioning(secret, address)?)
        };
        Ok(Newcomer { by, address })
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EnrolNew {
    device_id: String,
    /// A secret that the device makes and keeps, 16 to 128 characters. Who sends it again with the
    /// same key and device gets a new token in place of the one before, should the first answer
    /// have been lost; without it a device enrols once.
    proof: Option<String>,
    /// What the device says of itself: as many and as large as labels.
    #[serde(default)]
    hardware: BTreeMap<String, String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EnrolledView {
    device_id: String,
    /// The tenant's slug.
    tenant: String,
    /// The id of the credential.
    credential: String,
    /// The device's own token, shown this once.
    token: String,
}

#[utoipa::path(post, path = "/enrol", tag = "enrolment", request_body = EnrolNew,
    description = "A device registers itself with a provisioning key, and gets a token of its own. Where authentication is off it takes no key, and what the device says of itself becomes its labels.",
    responses((status = 201, body = EnrolledView),
        (status = 200, description = "It was in already, and has proved to be the same", body = EnrolledView),
        (status = 401, description = "There is no such provisioning key"),
        (status = 403, description = "The key lets the device not in (any more), or the tenant has as many as it may"),
        (status = 409, description = "There is such a device"), (status = 422)))]
pub(crate) async fn enrol(
    newcomer: Newcomer,
    control: Arc<Control>,
    Json(new): Json<EnrolNew>,
) -> ApiResult<Response> {
    let deps = &control.deps;
    let device: DeviceId = new
        .device_id
        .parse()
        .map_err(|e| ApiError::invalid(format!("device_id: {e}.")))?;
    check_labels(&new.hardware).map_err(|e| ApiError::invalid(format!("hardware: {e}.")))?;
    let long_enough = |proof: &String| (16..=128).contains(&proof.chars().count());
    if !new.proof.as_ref().is_none_or(long_enough) {
        return Err(ApiError::invalid("proof: 16 to 128 characters."));
    }
    let now = deps.clock.now_us();
    let hasher = deps.authenticator.hasher();
    let token = Token::generate(TokenKind::Device, &*deps.random);
    let credential = CredentialId::from_u128(new_id(&*deps.random, now));
    let its = NewToken {
        credential,
        hash: hasher.hash(token.reveal().as_bytes()),
    };
    let view = |slug: String| EnrolledView {
        device_id: device.to_string(),
        tenant: slug,
        credential: credential.to_string(),
        token: token.reveal().to_owned(),
    };
    let Newcomer { by, address } = newcomer;
    let secret = match by {
        By::Key(secret) => secret,
        By::Anyone(acting) => {
            let details = DeviceDetails {
                labels: new.hardware,
                ..DeviceDetails::default()
            };
            let scope = acting.may(Grant::DevicesWrite)?;
            let new = NewDevice {
                id: device.clone(),
                details,
                token: Some(its),
            };
            deps.store.devices(scope).register(new, now).await?;
            return Ok(answer(StatusCode::CREATED, &view(acting.slug)));
        }
    };
    let enrolment = Enrolment {
        device: device.clone(),
        proof: new.proof.map(|proof| hasher.hash(proof.as_bytes())),
        hardware: new.hardware,
        token: its,
    };
    let takes = |options: &Options| Chain::of(options).lets_in(address);
    let outcome = deps
        .store
        .enrol(&deps.authority, &secret, enrolment, takes, now)
        .await?;
    let enrolled = match outcome {
        Ok(enrolled) => enrolled,
        Err(why) => {
            tracing::info!(target: "audit", %device, ?address, ?why, "a device was not enrolled");
            return Err(refused(&control, why, address));
        }
    };
    let Enrolled {
        tenant,
        slug,
        key,
        again,
    } = enrolled;
    tracing::info!(target: "audit", %tenant, %device, %key, %credential, ?address, again, "a device enrolled itself");
    let status = if again {
        // The token before ends here at once, and elsewhere when the news comes.
        deps.authenticator
            .forget(tenant, ChangeKind::Device, device.as_str());
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    Ok(answer(status, &view(slug)))
}

fn refused(control: &Control, why: NotEnrolled, address: Option<IpAddr>) -> ApiError {
    let not_in = |detail: String| {
        ApiError(Problem::new(
            StatusCode::FORBIDDEN,
            "not-enrolled",
            "The provisioning key does not let this device in",
            detail,
        ))
    };
    match why {
        NotEnrolled::UnknownKey => control
            .deps
            .authenticator
            .provisioning_failed(address)
            .into(),
        NotEnrolled::TenantInactive => AuthError::Suspended.into(),
        NotEnrolled::Elsewhere { tenant, key } => {
            trail::is_by_provisioning_key(tenant, key);
            laneway_hosts::from_elsewhere().into()
        }
        NotEnrolled::Expired => not_in("It has expired.".to_owned()),
        NotEnrolled::UsedUp => not_in("As many devices as it is for have come.".to_owned()),
        NotEnrolled::Pattern(pattern) => {
            not_in(format!("The ids of its devices have the form {pattern}."))
        }
        NotEnrolled::Exists => ApiError::conflict(
            "There is such a device, and nothing proves that it is this one; choose another id, or ask whoever manages the tenant's devices for a token.",
        ),
        NotEnrolled::OverLimit { most } => StoreError::LimitReached {
            limit: "devices",
            most,
        }
        .into(),
    }
}
