//! `POST /location/update`

use http::Response;
use laneway_runtime::Problem;
use laneway_runtime::http::{Body, Peer};
use laneway_tenancy::Authenticated;

use super::api::{Outcomes, Problem as ProblemBody, Update};
use super::body::Sent;
use super::{answer, denied, problem};
use crate::Ingest;
use crate::accept::{Endpoint, Prepared};
use crate::wire::{Batch, BatchError, quote_non_finite};

/// Takes one fix or many.
///
/// Each fix is judged by itself. 200 where at least one is accepted, 422 where none is, with the
/// same body.
#[utoipa::path(
    post,
    path = "/location/update",
    tag = "fixes",
    request_body = Update,
    responses(
        (status = 200, description = "At least one fix is accepted and durable", body = Outcomes),
        (status = 400, description = "`bad-request`: the body is not JSON of this shape, ends early, or cannot be decompressed", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "`unauthorized`: the credentials are missing or not valid", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "`forbidden`: a key without the grant `location:write`. `tenant-inactive`: the tenant is suspended or closed. `tenant-mismatch`: another tenant is named, whether or not there is one. `address-not-allowed`: the tenant does not take its credentials from there", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "`tenant-not-found`: without credentials, the host or the path names a tenant that there is not", body = ProblemBody, content_type = "application/problem+json"),
        (status = 408, description = "`body-timeout`: the body came too slowly", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "`too-large`: the body is over 1 MiB, as sent or decompressed. `batch-too-large`: there are over 1,000 fixes. `record-too-large`: a record is larger than the log takes", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "`content-type`: not JSON. `content-encoding`: not gzip or zstd", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "`rate-limited`: the rate of the device or the tenant is used up; nothing of the request was taken. `quota-exceeded`: a quota of the day does not have what the request takes; nothing of it was taken. `too-many-failures`: authentication failed too often", body = ProblemBody, content_type = "application/problem+json", headers(("Retry-After" = u32, description = "Seconds"))),
        (status = 500, description = "`internal`: the server failed", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "`log-unavailable`, `log-busy`, `log-full`, `unavailable`: not confirmed; sending it again is safe", body = ProblemBody, content_type = "application/problem+json", headers(("Retry-After" = u32, description = "Seconds"))),
        (status = 422, description = "Every fix is refused; each result says why", body = Outcomes),
    ),
    security(("token" = []), ("password" = []))
)]
pub async fn update(
    ingest: &Ingest,
    sent: Sent<'_>,
    peer: Peer,
) -> Result<Response<Body>, Problem> {
    let (who, bytes) = sent.await?;
    // Answered later, but written while what it names is still borrowed: the body is let go of
    // before the log is waited for.
    let (records, admission, refused, status, answered) = {
        let bytes = bytes;
        let repaired;
        let prepared = match Batch::parse(&bytes, ingest.settings.max_batch) {
            Ok(batch) => prepare(ingest, &who, &peer, batch).await?,
            Err(error @ BatchError::Malformed(_)) => match quote_non_finite(&bytes) {
                Some(quoted) => {
                    repaired = quoted;
                    let batch = Batch::parse(&repaired, ingest.settings.max_batch)
                        .map_err(|e| problem::of_batch(&e))?;
                    prepare(ingest, &who, &peer, batch).await?
                }
                None => return Err(problem::of_batch(&error)),
            },
            Err(error) => return Err(problem::of_batch(&error)),
        };
        let (status, answered) = answer::outcomes(&prepared);
        let refused = prepared.outcomes.len() - prepared.accepted();
        let Prepared {
            records, admission, ..
        } = prepared;
        (records, admission, refused, status, answered)
    };
    let accepted = records.len();
    ingest
        .accept
        .append(records, admission)
        .await
        .map_err(problem::of_refused)?;
    ingest.accept.confirmed(&who, accepted, refused);
    Ok(answer::json(status, answered))
}

async fn prepare<'a>(
    ingest: &Ingest,
    who: &Authenticated,
    peer: &Peer,
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
        .map_err(|refused| denied::problem(ingest, who, peer, Endpoint::Update, refused))
}
