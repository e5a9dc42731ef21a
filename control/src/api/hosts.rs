//! Hosts of a tenant: names of its own under which the API, ingest and streams are reached.

use std::sync::Arc;

use axum::response::Response;
use http::StatusCode;
use laneway_hosts::certificate;
use laneway_runtime::Problem;
use laneway_store::{Host, HostProof, NewCertificate, NewHost};
use laneway_tenancy::control::HostState;
use laneway_tenancy::{Grant, HostPattern};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::page::{Page, PageQuery, time};
use crate::Control;
use crate::caller::Acting;
use crate::error::{ApiError, ApiResult};
use crate::hosts::{micros, new_token, spread};
use crate::json::{In, Json, Params, answer};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HostNew {
    /// A name, or `*.name` for all below. Internationalised names in their ASCII form.
    #[schema(example = "tracks.example.com")]
    host: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CertificateNew {
    /// PEM: the certificate, then its intermediates.
    certificate: String,
    /// PEM, not encrypted. It is never shown again.
    key: String,
}

#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum HostStateView {
    /// Not proved yet.
    Pending,
    /// Names the tenant.
    Live,
    /// Was live; its proof has failed for too long.
    Failing,
}

/// Either of them proves the host; of a wildcard the record alone.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProofView {
    /// Name of a TXT record.
    #[schema(example = "_laneway.tracks.example.com")]
    record: String,
    /// Address of a file, over plain HTTP, answered without a redirect.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    /// What the record or the file says.
    token: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HostView {
    host: String,
    state: HostStateView,
    proof: ProofView,
    /// When a proof was last tried.
    checked_at: Option<String>,
    /// When one last succeeded.
    proved_at: Option<String>,
    /// Why the last one failed.
    problem: Option<String>,
    /// Until when its own certificate is valid; none where it has none.
    certificate_expires_at: Option<String>,
    created_at: String,
}

impl From<Host> for HostView {
    fn from(host: Host) -> Self {
        let name = &host.host;
        let file = format!("http://{}/.well-known/laneway-host", name.base());
        HostView {
            proof: ProofView {
                record: name.proof_name(),
                file: (!name.is_wildcard()).then_some(file),
                token: host.token,
            },
            host: name.to_string(),
            state: match host.state {
                HostState::Pending => HostStateView::Pending,
                HostState::Live => HostStateView::Live,
                HostState::Failing | HostState::Other => HostStateView::Failing,
            },
            checked_at: host.checked_at.map(time),
            proved_at: host.proved_at.map(time),
            problem: host.problem,
            certificate_expires_at: host.certificate_expires_at.map(time),
            created_at: time(host.created_at),
        }
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct HostPath {
    host: String,
}

impl HostPath {
    /// What can be no host is none of the tenant's.
    fn parse(&self) -> ApiResult<HostPattern> {
        self.host.parse().map_err(|_| ApiError::not_found())
    }
}

/// A host that may be registered.
pub(crate) fn checked(control: &Control, name: &str) -> ApiResult<NewHost> {
    let invalid = |e: laneway_tenancy::hosts::HostError| ApiError::invalid(format!("host: {e}."));
    let host: HostPattern = name.parse().map_err(invalid)?;
    let deps = &control.deps;
    if deps.directory.hosts().is_reserved(&host) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "name-reserved",
            "The name is not for registration",
            "It is the platform's own, or names a namespace by itself; register a name of your own.",
        )
        .into());
    }
    let token = new_token(&*deps.random);
    Ok(NewHost { host, token })
}

#[utoipa::path(post, path = "/hosts", tag = "hosts", request_body = HostNew, responses(
    (status = 201, description = "Registered; it is live once it is verified", body = HostView),
    (status = 403, description = "`name-reserved`: the name is the platform's, or names a namespace. `limit-reached`: the tenant has as many as it may"),
    (status = 409, description = "It is registered already"), (status = 422)))]
pub(crate) async fn create(
    acting: Acting,
    control: Arc<Control>,
    Json(new): Json<HostNew>,
) -> ApiResult<Response> {
    let scope = acting.may(Grant::TenantWrite)?;
    let NewHost { host, token } = checked(&control, &new.host)?;
    let deps = &control.deps;
    let most = control.prover.settings().max_hosts;
    let registered = deps
        .store
        .hosts(scope)
        .register(&host, &token, most, deps.clock.now_us())
        .await?;
    Ok(answer(StatusCode::CREATED, &HostView::from(registered)))
}

#[utoipa::path(get, path = "/hosts", tag = "hosts", params(PageQuery),
    responses((status = 200, body = Page<HostView>)))]
pub(crate) async fn list(
    acting: Acting,
    control: Arc<Control>,
    Params(page): Params<PageQuery>,
) -> ApiResult<Response> {
    let scope = acting.may(Grant::TenantRead)?;
    let after: Option<HostPattern> = page.after()?;
    let found = control
        .deps
        .store
        .hosts(scope)
        .list(after.as_ref(), page.limit())
        .await?;
    let items = found.into_iter().map(HostView::from);
    Ok(Page::answer(items, &page, |h| h.host.clone()))
}

#[utoipa::path(get, path = "/hosts/{host}", tag = "hosts", params(("host" = String, Path)),
    responses((status = 200, body = HostView), (status = 404)))]
pub(crate) async fn find(
    acting: Acting,
    control: Arc<Control>,
    In(path): In<HostPath>,
) -> ApiResult<Response> {
    let scope = acting.may(Grant::TenantRead)?;
    let hosts = control.deps.store.hosts(scope);
    let found = hosts.find(&path.parse()?).await?;
    let host = found.ok_or_else(ApiError::not_found)?;
    Ok(answer(StatusCode::OK, &HostView::from(host)))
}

#[utoipa::path(delete, path = "/hosts/{host}", tag = "hosts", params(("host" = String, Path)),
    responses((status = 204), (status = 404)))]
pub(crate) async fn remove(
    acting: Acting,
    control: Arc<Control>,
    In(path): In<HostPath>,
) -> ApiResult<StatusCode> {
    let scope = acting.may(Grant::TenantWrite)?;
    let now = control.deps.clock.now_us();
    let hosts = control.deps.store.hosts(scope);
    hosts.delete(&path.parse()?, now).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Looks for the proof now. A live host whose proof is not found stays live until it has failed
/// for long.
#[utoipa::path(post, path = "/hosts/{host}/verify", tag = "hosts", params(("host" = String, Path)),
    responses((status = 200, description = "Proved: the host is live", body = HostView), (status = 404),
        (status = 409, description = "`host-not-proved`: neither the record nor the file is the token. `conflict`: proved, but live for another tenant")))]
pub(crate) async fn verify(
    acting: Acting,
    control: Arc<Control>,
    In(path): In<HostPath>,
) -> ApiResult<Response> {
    let scope = acting.may(Grant::TenantWrite)?;
    let host = path.parse()?;
    let deps = &control.deps;
    let hosts = deps.store.hosts(scope);
    let registered = hosts.find(&host).await?.ok_or_else(ApiError::not_found)?;
    let proved = control.prover.prove_now(&host, &registered.token).await;
    let outcome = proved.ok_or_else(|| {
        Problem::unavailable("Too many hosts are being verified at the moment.").retry_after(5)
    })?;
    let at = deps.clock.now_us();
    let settings = control.prover.settings();
    let wait = match &outcome {
        Ok(()) => settings.again_seconds,
        Err(_) => settings.retry_seconds,
    };
    let proof = HostProof {
        at,
        next: at + spread(micros(wait), &*deps.random),
        stops: false,
        outcome: outcome.clone(),
    };
    let noted = hosts.note(&host, proof).await?;
    match outcome {
        Ok(()) => {
            tracing::info!(tenant = %scope.tenant(), %host, "a host was proved");
            Ok(answer(StatusCode::OK, &HostView::from(noted)))
        }
        Err(reason) => Err(Problem::new(
            StatusCode::CONFLICT,
            "host-not-proved",
            "The host is not proved to be the tenant's",
            format!("{reason}."),
        )
        .into()),
    }
}

/// Takes the place of the one that it may have, on every node within seconds.
#[utoipa::path(put, path = "/hosts/{host}/certificate", tag = "hosts", request_body = CertificateNew,
    params(("host" = String, Path)),
    responses((status = 200, body = HostView), (status = 404),
        (status = 422, description = "It does not cover the host, is not valid now, or has another key")))]
pub(crate) async fn set_certificate(
    acting: Acting,
    control: Arc<Control>,
    In(path): In<HostPath>,
    Json(new): Json<CertificateNew>,
) -> ApiResult<Response> {
    let scope = acting.may(Grant::TenantWrite)?;
    let host = path.parse()?;
    let now = control.deps.clock.now_us();
    let hosts = control.deps.store.hosts(scope);
    if hosts.find(&host).await?.is_none() {
        return Err(ApiError::not_found());
    }
    let checked = certificate::check(&host, &new.certificate, &new.key, now)
        .map_err(|e| ApiError::invalid(format!("{e}.")))?;
    let certificate = NewCertificate {
        chain: &new.certificate,
        key: &new.key,
        expires_at: checked.expires_at,
    };
    let changed = hosts.set_certificate(&host, certificate, now).await?;
    Ok(answer(StatusCode::OK, &HostView::from(changed)))
}
