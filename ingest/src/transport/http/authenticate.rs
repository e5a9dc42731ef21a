//! Who asks: from the cache without waiting, else by asking the store.

use http::{Extensions, HeaderMap, HeaderValue, header};
use laneway_hosts::{Named, admit};
use laneway_runtime::Problem;
use laneway_runtime::http::Peer;
use laneway_tenancy::{AuthError, Authenticated};

use super::denied;
use crate::Ingest;
use crate::accept::Endpoint;

/// Whoever it is; refused where the request names another tenant or comes from elsewhere.
pub async fn caller(
    ingest: &Ingest,
    endpoint: Endpoint,
    headers: &HeaderMap,
    named: &Extensions,
    peer: &Peer,
) -> Result<Authenticated, Problem> {
    let known = known(ingest, headers, peer).await;
    let directory = &ingest.accept.directory;
    let who = admit(directory, named, peer.address, known).map_err(|denied| {
        let named = named.get::<Named>().map(|named| &*named.name);
        denied::at_the_door(ingest, &denied, peer, endpoint, named);
        Problem::from(denied)
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
    if let Some(known) = ingest.authenticator.cached(authorization) {
        return Ok(known);
    }
    // On the heap: nearly no request waits here.
    Box::pin(
        ingest
            .authenticator
            .authenticate(authorization, peer.address),
    )
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
