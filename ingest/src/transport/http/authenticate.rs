//! Who asks: from the cache without waiting, else by asking the store.

use http::{Extensions, HeaderMap, HeaderValue, header};
use laneway_hosts::{Named, admit};
use laneway_runtime::Problem;
use laneway_runtime::http::Peer;
use laneway_tenancy::{AuthError, Authenticated};

use super::denied;
use crate::Ingest;
use crate::accept::Endpoint;

/// Whoever it is; refused where the request names another tenant.
pub async fn caller(
    ingest: &Ingest,
    endpoint: Endpoint,
    headers: &HeaderMap,
    named: &Extensions,
    peer: &Peer,
) -> Result<Authenticated, Problem> {
    let known = known(ingest, headers, peer).await;
    let directory = &ingest.accept.directory;
    let Some(name) = named.get::<Named>() else {
        let who = admit(directory, named, known)?;
        ingest.accept.requested(&who, endpoint);
        return Ok(who);
    };
    let caller = known.as_ref().ok().cloned();
    let who = admit(directory, named, known).inspect_err(|problem| {
        if let Some(caller) = caller.filter(|_| problem.kind == Problem::tenant_mismatch().kind) {
            denied::mismatch(ingest, &caller, peer, endpoint, &name.name);
        }
    })?;
    ingest.accept.requested(&who, endpoint);
    Ok(who)
}

async fn known(
    ingest: &Ingest,
    headers: &HeaderMap,
    peer: &Peer,
) -> Result<Authenticated, AuthError> {
    let authorization = headers
        .get(header::AUTHORIZATION)
        .map(HeaderValue::as_bytes);
    if let Some(known) = authorization.and_then(|header| ingest.authenticator.cached(header)) {
        return Ok(known);
    }
    ingest
        .authenticator
        .authenticate(authorization, peer.address)
        .await
}

/// Someone who may send locations: known before anything of the body is read.
pub async fn sender(
    ingest: &Ingest,
    endpoint: Endpoint,
    headers: &HeaderMap,
    named: &Extensions,
    peer: &Peer,
) -> Result<Authenticated, Problem> {
    let who = caller(ingest, endpoint, headers, named, peer).await?;
    ingest
        .accept
        .may_send(&who)
        .map_err(|refused| denied::problem(ingest, &who, peer, endpoint, refused))?;
    Ok(who)
}
