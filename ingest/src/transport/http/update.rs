//! `POST /location/update`

use http::{Request, Response};
use hyper::body::Incoming;
use laneway_runtime::Problem;
use laneway_runtime::http::{Body, Peer};
use laneway_tenancy::Authenticated;

use super::{answer, authenticate, body, problem};
use crate::Ingest;
use crate::accept::Prepared;
use crate::wire::{Batch, BatchError, quote_non_finite};

/// Takes one fix or many.
pub async fn update(
    ingest: &Ingest,
    request: Request<Incoming>,
    peer: &Peer,
) -> Result<Response<Body>, Problem> {
    let (head, incoming) = request.into_parts();
    let who = authenticate::authenticate(&ingest.authenticator, &head.headers, peer).await?;
    let bytes = body::read(&head.headers, incoming, &ingest.settings).await?;
    // Answered later, but written while what it names is still borrowed.
    let (records, refused, status, answered) = {
        let repaired;
        let prepared = match Batch::parse(&bytes, ingest.settings.max_batch) {
            Ok(batch) => prepare(ingest, &who, batch).await?,
            Err(error @ BatchError::Malformed(_)) => match quote_non_finite(&bytes) {
                Some(quoted) => {
                    repaired = quoted;
                    let batch = Batch::parse(&repaired, ingest.settings.max_batch)
                        .map_err(|e| problem::of_batch(&e))?;
                    prepare(ingest, &who, batch).await?
                }
                None => return Err(problem::of_batch(&error)),
            },
            Err(error) => return Err(problem::of_batch(&error)),
        };
        let (status, answered) = answer::outcomes(&prepared);
        let refused = prepared.outcomes.len() - prepared.accepted();
        (prepared.records, refused, status, answered)
    };
    let accepted = records.len();
    ingest
        .accept
        .append(records)
        .await
        .map_err(problem::of_refused)?;
    ingest.accept.confirmed(&who, accepted, refused);
    Ok(answer::json(status, answered))
}

async fn prepare<'a>(
    ingest: &Ingest,
    who: &Authenticated,
    batch: Batch<'a>,
) -> Result<Prepared<'a>, Problem> {
    let named = batch
        .items
        .iter()
        .filter_map(|item| item.fix.device.as_deref());
    ingest
        .accept
        .catch_up(who, named)
        .await
        .map_err(problem::of_refused)?;
    ingest
        .accept
        .updates(who, batch)
        .map_err(problem::of_refused)
}
