//! Who sends: from the cache without waiting, else by asking.

use http::{HeaderMap, HeaderValue, header};
use laneway_runtime::Problem;
use laneway_runtime::http::Peer;
use laneway_tenancy::{Authenticated, Authenticator};

use super::problem;

pub async fn authenticate(
    authenticator: &Authenticator,
    headers: &HeaderMap,
    peer: &Peer,
) -> Result<Authenticated, Problem> {
    let authorization = headers
        .get(header::AUTHORIZATION)
        .map(HeaderValue::as_bytes);
    if let Some(known) = authorization.and_then(|header| authenticator.cached(header)) {
        return Ok(known);
    }
    authenticator
        .authenticate(authorization, peer.address)
        .await
        .map_err(problem::of_authentication)
}
