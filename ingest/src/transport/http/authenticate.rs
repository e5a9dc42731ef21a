//! Who asks: from the cache without waiting, else by asking the store.

use http::{HeaderMap, HeaderValue, header};
use laneway_runtime::Problem;
use laneway_runtime::http::Peer;
use laneway_tenancy::Authenticated;

use super::{denied, problem};
use crate::Ingest;
use crate::accept::Endpoint;

/// Whoever it is.
pub async fn caller(
    ingest: &Ingest,
    endpoint: Endpoint,
    headers: &HeaderMap,
    peer: &Peer,
) -> Result<Authenticated, Problem> {
    let who = known(ingest, headers, peer).await?;
    ingest.accept.requested(&who, endpoint);
    Ok(who)
}

async fn known(
    ingest: &Ingest,
    headers: &HeaderMap,
    peer: &Peer,
) -> Result<Authenticated, Problem> {
    let authorization = headers
        .get(header::AUTHORIZATION)
        .map(HeaderValue::as_bytes);
    if let Some(known) = authorization.and_then(|header| ingest.authenticator.cached(header)) {
        return Ok(known);
    }
    let asked = ingest
        .authenticator
        .authenticate(authorization, peer.address)
        .await;
    asked.map_err(problem::of_authentication)
}

/// Someone who may send locations: known before anything of the body is read.
pub async fn sender(
    ingest: &Ingest,
    endpoint: Endpoint,
    headers: &HeaderMap,
    peer: &Peer,
) -> Result<Authenticated, Problem> {
    let who = caller(ingest, endpoint, headers, peer).await?;
    ingest
        .accept
        .may_send(&who)
        .map_err(|refused| denied::problem(ingest, &who, peer, endpoint, refused))?;
    Ok(who)
}
